//! What the world was told, in order: every change of the heads, with the blocks it brought.
//!
//! Followers walk it and so see each change once, a reorganisation included, however late they
//! come. An endpoint that lags is one that stands further back in it.

use super::blocks::SealedBlock;
use std::{collections::VecDeque, sync::Arc};

/// Moments kept. Lower: a follower that is slow for long misses heads. Higher: memory.
const MOMENTS_KEPT: usize = 4096;

/// One change of the heads.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The best block from then on.
    pub best: Arc<SealedBlock>,
    /// The finalized block from then on.
    pub finalized: Arc<SealedBlock>,
    /// The blocks that became known with it, oldest first. Usually the best block alone; after a
    /// reorganisation the whole new line; none when only finality moved.
    pub imported: Vec<Arc<SealedBlock>>,
}

/// All moments that are remembered. Never empty.
pub(super) struct Timeline {
    first: u64,
    moments: VecDeque<Moment>,
}

impl Timeline {
    pub(super) fn new(genesis: &Arc<SealedBlock>) -> Self {
        let moment = Moment {
            best: genesis.clone(),
            finalized: genesis.clone(),
            imported: vec![genesis.clone()],
        };
        Self { first: 0, moments: VecDeque::from([moment]) }
    }

    pub(super) fn push(&mut self, moment: Moment) {
        self.moments.push_back(moment);
        if self.moments.len() > MOMENTS_KEPT {
            self.moments.pop_front();
            self.first += 1;
        }
    }

    /// Number of the newest moment.
    pub(super) fn newest(&self) -> u64 {
        self.first + u64::try_from(self.moments.len()).unwrap_or(u64::MAX) - 1
    }

    /// A moment, if it is remembered.
    pub(super) fn at(&self, number: u64) -> Option<Moment> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.moments.get(index).cloned()
    }

    /// The oldest moment that is remembered.
    pub(super) fn oldest(&self) -> Moment {
        self.moments.front().cloned().expect("a timeline is never empty")
    }

    /// The newest moment at which the best block was not above that height; the oldest that is
    /// remembered if it always was.
    pub(super) fn when_best_was(&self, height: u32) -> u64 {
        let higher = |moment: &&Moment| moment.best.number() > height;
        let after = self.moments.iter().rev().take_while(higher).count();
        let index = self.moments.len().saturating_sub(after + 1);
        self.first + u64::try_from(index).unwrap_or(0)
    }
}
