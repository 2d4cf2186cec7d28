//! What is remembered from one view for the next: the hashes of final blocks, whom to ask about,
//! and how often that was right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use node_core::id::BlockHash;
use node_core::limits::UIDS_MAX;
use node_core::unit::BlockNumber;

use crate::encode::EncodeError;
use crate::keys::{Extent, Keys, Names};
use crate::question::{Question, QUESTIONS_MAX};
use crate::read::Subject;
use crate::runtime::Runtime;

/// Seed hashes kept. Lower: a view asks for the same hashes again. Higher: forty bytes each.
const SEED_HASHES_MAX: usize = 2 * UIDS_MAX;

/// Blocks whose height is kept. Lower: a view of an older one asks for its header again. Higher:
/// longer to search.
const HEIGHTS_MAX: usize = 64;

/// How views were read since the client was made.
///
/// A view takes one round of calls, all sent at once, if everything it needs could be named in
/// advance: by what the view before found. The other counts say why it took more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Views read.
    pub views: u64,
    /// Views whose first round could name everything.
    pub one_round: u64,
    /// Rounds repeated because another runtime had come.
    pub other_runtime: u64,
    /// Rounds for uids, hotkeys or epochs that the first round did not ask about.
    pub not_foreseen: u64,
    /// Increments that became full reads: another epoch, other neurons or another runtime.
    pub refreshed: u64,
    /// Reads without the selective metagraph, or with one that could not be used.
    pub without_metagraph: u64,
    /// Rounds for block hashes that seed commitments.
    pub seeds_fetched: u64,
    /// Commitments left out because they could not be read; the same one counts in every view.
    pub unreadable_commitments: u64,
}

/// A client's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) seeds: SeedHashes,
    pub(crate) counts: Counts,
    guess: Mutex<Option<Arc<Guess>>>,
    questions: Mutex<Vec<Arc<Question>>>,
}

/// What the next view is expected to be about.
#[derive(Debug)]
pub(crate) struct Guess {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) names: Names,
}

impl Memory {
    pub(crate) fn guess(&self) -> Option<Arc<Guess>> {
        self.guess.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn learn(&self, guess: Guess) {
        let mut kept = self.guess.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Arc::new(guess));
    }

    /// What to ask storage for, made anew only if something of it changed.
    pub(crate) fn question(
        &self,
        runtime: &Arc<Runtime>,
        subject: Subject,
        extent: Extent,
        asked: Keys,
    ) -> Result<Arc<Question>, EncodeError> {
        let known = || self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |one: &&Arc<Question>| one.is(runtime, subject, extent, &asked);
        if let Some(same) = known().iter().find(is_same).cloned() {
            return Ok(same);
        }
        let made = Arc::new(Question::new(runtime, subject, extent, asked)?);
        let mut known = known();
        known.retain(|one| !one.is_replaced_by(&made));
        if known.len() < QUESTIONS_MAX {
            known.push(Arc::clone(&made));
        }
        Ok(made)
    }
}

/// A counter for each field of [`ReadCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) views: Counter,
    pub(crate) one_round: Counter,
    pub(crate) other_runtime: Counter,
    pub(crate) not_foreseen: Counter,
    pub(crate) refreshed: Counter,
    pub(crate) without_metagraph: Counter,
    pub(crate) seeds_fetched: Counter,
    pub(crate) unreadable_commitments: Counter,
}

impl Counts {
    pub(crate) fn now(&self) -> ReadCounts {
        ReadCounts {
            views: self.views.get(),
            one_round: self.one_round.get(),
            other_runtime: self.other_runtime.get(),
            not_foreseen: self.not_foreseen.get(),
            refreshed: self.refreshed.get(),
            without_metagraph: self.without_metagraph.get(),
            seeds_fetched: self.seeds_fetched.get(),
            unreadable_commitments: self.unreadable_commitments.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Hashes of blocks that follow a commitment. Only finalized blocks enter, so none ever changes.
#[derive(Debug, Default)]
pub(crate) struct SeedHashes(Mutex<BTreeMap<BlockNumber, BlockHash>>);

impl SeedHashes {
    pub(crate) fn of(&self, numbers: &BTreeSet<BlockNumber>) -> BTreeMap<BlockNumber, BlockHash> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().filter_map(|number| Some((*number, *kept.get(number)?))).collect()
    }

    pub(crate) fn keep(&self, hashes: &BTreeMap<BlockNumber, BlockHash>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(hashes);
        while kept.len() > SEED_HASHES_MAX {
            kept.pop_first();
        }
    }
}

/// Heights of the last blocks seen, each taken from the header that the block's hash is the hash
/// of: true of that block for ever, and whoever else says so.
#[derive(Debug, Default)]
pub(crate) struct Heights(Mutex<VecDeque<(BlockHash, BlockNumber)>>);

impl Heights {
    pub(crate) fn of(&self, block: BlockHash) -> Option<BlockNumber> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|(hash, _)| *hash == block).map(|(_, number)| *number)
    }

    pub(crate) fn keep(&self, block: BlockHash, number: BlockNumber) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.iter().any(|(hash, _)| *hash == block) {
            return;
        }
        if kept.len() >= HEIGHTS_MAX {
            kept.pop_front();
        }
        kept.push_back((block, number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_bounded_and_the_oldest_go_first() {
        let heights = Heights::default();
        let block = |at: usize| BlockHash([u8::try_from(at).unwrap(); 32]);
        for at in (0..=HEIGHTS_MAX).chain([HEIGHTS_MAX]) {
            heights.keep(block(at), BlockNumber(at as u64));
        }
        assert_eq!(heights.of(block(0)), None);
        assert_eq!(heights.of(block(1)), Some(BlockNumber(1)));
        assert_eq!(heights.of(block(HEIGHTS_MAX)), Some(BlockNumber(HEIGHTS_MAX as u64)));
    }

    #[test]
    fn seed_hashes_are_bounded_and_the_oldest_go_first() {
        let seeds = SeedHashes::default();
        let all: BTreeMap<_, _> = (0..=SEED_HASHES_MAX as u64)
            .map(|number| (BlockNumber(number), BlockHash([1; 32])))
            .collect();
        seeds.keep(&all);
        let asked = BTreeSet::from([BlockNumber(0), BlockNumber(1)]);
        assert_eq!(seeds.of(&asked).into_keys().collect::<Vec<_>>(), [BlockNumber(1)]);
    }
}
