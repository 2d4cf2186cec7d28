//! Reorganisations: the newest blocks are given up for a longer line.
//!
//! Followers see what they would see on the real chain: a best block whose parent is not the one
//! they saw last, higher than it by one. Final blocks are never given up.

use super::{
    blocks::is_signed,
    pool::TxStatus,
    sealing::{Returned, Sealer},
    Chain, SealError, SealedBlock,
};
use node_subtensor_runtime::BlockNumber;
use serde::{Deserialize, Serialize};
use sp_runtime::traits::{BlakeTwo256, Hash as _};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};
use thiserror::Error;

/// What becomes of the transactions in blocks that are given up.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// They go back to the pool, and the new line is built from the pool.
    #[default]
    Return,
    /// The new line is empty; then they go back to the pool.
    Later,
    /// Nobody has them any more, as when they never reached the authors of the new line.
    Lost,
}

/// A reorganisation that happened.
#[derive(Clone, Debug)]
pub struct Reorg {
    /// The highest block that both lines have.
    pub fork: Arc<SealedBlock>,
    /// The blocks given up, oldest first.
    pub given_up: Vec<Arc<SealedBlock>>,
    /// The blocks of the new line, oldest first; one more than were given up.
    pub line: Vec<Arc<SealedBlock>>,
}

/// Why nothing was reorganised.
#[derive(Debug, Error)]
pub enum ReorgError {
    /// No blocks, or final ones.
    #[error("{depth} blocks cannot be given up: {unfinalized} are not final; use 1 to {unfinalized}, or a greater finality lag")]
    Depth {
        /// Blocks asked for.
        depth: BlockNumber,
        /// Blocks that are not final.
        unfinalized: BlockNumber,
    },
    /// The new line could not be built. It stays as short as it got, and the next blocks
    /// continue it; followers heard of nothing.
    #[error("cannot build the new line of blocks")]
    Seal {
        /// Why not.
        #[source]
        source: SealError,
    },
}

impl Chain {
    /// Gives up the newest `depth` blocks for a line that is longer by one.
    ///
    /// # Errors
    ///
    /// [`ReorgError`].
    pub fn reorg(&self, depth: BlockNumber, fate: Fate) -> Result<Reorg, ReorgError> {
        self.reorganise(&mut self.sealer(), depth, fate)
    }

    /// The reorganisations asked for in the options.
    pub(super) fn reorganise_if_due(&self, sealer: &mut Sealer) {
        let best = self.best().number();
        let every = self.options.reorg_every;
        let depth = self.options.reorg_depth.min(best - self.finalized().number());
        if every == 0 || !best.is_multiple_of(every) || depth == 0 {
            return;
        }
        match self.reorganise(sealer, depth, Fate::Return) {
            Ok(reorg) => tracing::info!(fork = reorg.fork.number(), depth, "reorganised"),
            Err(error) => tracing::error!(%error, "not reorganised"),
        }
    }

    fn reorganise(
        &self,
        sealer: &mut Sealer,
        depth: BlockNumber,
        fate: Fate,
    ) -> Result<Reorg, ReorgError> {
        let best = self.best().number();
        let unfinalized = best - self.finalized().number();
        let fork = best.checked_sub(depth).and_then(|number| self.block_at(number));
        let Some(fork) = fork.filter(|_| (1..=unfinalized).contains(&depth)) else {
            return Err(ReorgError::Depth { depth, unfinalized });
        };
        let first_ms = self.time_of(sealer, &fork);
        let given_up =
            self.blocks.write().unwrap_or_else(PoisonError::into_inner).give_up_above(&fork);
        self.store.give_up_above(fork.number());
        let mut returned = retract(sealer, &fork, &given_up);
        if fate == Fate::Return {
            self.put_back(std::mem::take(&mut returned));
        }
        self.revalidate(&fork);
        let line = self
            .build_line(sealer, depth + 1, first_ms, fate)
            .map_err(|source| ReorgError::Seal { source })?;
        match fate {
            Fate::Return => {}
            Fate::Later => self.put_back(returned),
            Fate::Lost => self.lose(returned),
        }
        self.announce(sealer, line.clone());
        Ok(Reorg { fork, given_up, line })
    }

    /// The time of the first block on top of `fork`: one slot later, and another than before, so
    /// that an empty block does not come out as the one that was given up.
    fn time_of(&self, sealer: &mut Sealer, fork: &SealedBlock) -> u64 {
        let slot_ms = self.slot_ms();
        sealer.reorgs += 1;
        let other = 1 + sealer.reorgs % (slot_ms / 2).max(1);
        self.read_at(fork, node_subtensor_runtime::Timestamp::get)
            .unwrap_or(0)
            .saturating_add(slot_ms + other)
    }

    fn build_line(
        &self,
        sealer: &mut Sealer,
        blocks: BlockNumber,
        first_ms: u64,
        fate: Fate,
    ) -> Result<Vec<Arc<SealedBlock>>, SealError> {
        let slot_ms = self.slot_ms();
        let mut now_ms = first_ms;
        let mut line = Vec::new();
        for _ in 0..blocks {
            let candidates =
                if fate == Fate::Return { self.pool().candidates() } else { Vec::new() };
            line.push(self.seal_one(sealer, now_ms, &candidates)?);
            now_ms = now_ms.saturating_add(slot_ms);
        }
        Ok(line)
    }

    /// Puts transactions back into the pool, as far as they are still valid.
    fn put_back(&self, returned: Vec<Returned>) {
        let best = self.best();
        for Returned { hash, bytes, watchers } in returned {
            let validity = self.validate(&bytes, &best);
            let mut pool = self.pool();
            pool.unban(&hash);
            let last_word = match validity {
                Ok(Ok(validity)) => match pool.insert(hash, bytes, validity, watchers.clone()) {
                    Ok(()) => continue,
                    Err(_) => TxStatus::Dropped,
                },
                _ => TxStatus::Invalid,
            };
            for watcher in watchers {
                // A watcher that hung up wants no more news.
                let _gone = watcher.send(last_word.clone());
            }
        }
    }

    fn lose(&self, returned: Vec<Returned>) {
        let mut pool = self.pool();
        for Returned { hash, watchers, .. } in returned {
            pool.unban(&hash);
            for watcher in watchers {
                // A watcher that hung up wants no more news.
                let _gone = watcher.send(TxStatus::Dropped);
            }
        }
    }
}

/// The signed transactions of blocks that are given up; their watchers are told.
fn retract(
    sealer: &mut Sealer,
    fork: &SealedBlock,
    given_up: &[Arc<SealedBlock>],
) -> Vec<Returned> {
    let mut watchers: HashMap<_, Vec<_>> = HashMap::new();
    let (kept, retracted): (Vec<_>, Vec<_>) =
        sealer.awaiting.drain(..).partition(|awaiting| awaiting.number <= fork.number());
    sealer.awaiting = kept.into();
    for awaiting in retracted {
        // A watcher that hung up wants no more news.
        let _gone = awaiting.watcher.send(TxStatus::Retracted(awaiting.block));
        watchers.entry(awaiting.tx).or_default().push(awaiting.watcher);
    }
    let bodies = given_up.iter().flat_map(|block| block.body.iter());
    let signed = bodies.filter(|bytes| is_signed(bytes));
    signed
        .map(|bytes| {
            let hash = BlakeTwo256::hash(bytes);
            let watchers = watchers.remove(&hash).unwrap_or_default();
            Returned { hash, bytes: bytes.clone(), watchers }
        })
        .collect()
}
