//! Sealing: a block from the pool, its way into the journal and to the followers, and finality.

use super::{
    author::{author, Built, Inherents},
    pool::{Candidate, TxStatus, WatchSender},
    Bytes, Chain, Heads, Moment, SealError, SealedBlock,
};
use crate::journal::Journal;
use node_subtensor_runtime::{BlockNumber, Hash, SlotDuration};
use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

/// Blocks for which a watcher waits for finality before it is told that it did not come; 512 on
/// real nodes too.
pub const FINALITY_BLOCKS_MAX: BlockNumber = 512;

/// A watcher whose transaction is in a block that is not final.
pub(super) struct Awaiting {
    pub(super) number: BlockNumber,
    pub(super) block: Hash,
    pub(super) tx: Hash,
    pub(super) watcher: WatchSender,
}

/// What only the sealer touches.
#[derive(Default)]
pub(super) struct Sealer {
    pub(super) journal: Option<Journal>,
    pub(super) awaiting: VecDeque<Awaiting>,
    /// What watchers are told once the blocks it is about can be asked for.
    news: Vec<(WatchSender, TxStatus)>,
    pub(super) reorgs: u64,
    stopped: bool,
}

impl Chain {
    /// Seals a block from what is in the pool, and reorganises the chain if it is time for that.
    ///
    /// - `now_ms`: its time. It is moved forward if the last block is not older than that.
    /// - Result: the best block afterwards.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the chain is as before.
    pub fn seal(&self, now_ms: u64) -> Result<Arc<SealedBlock>, SealError> {
        let mut sealer = self.sealer();
        let candidates = self.pool().candidates();
        let block = self.seal_one(&mut sealer, now_ms, &candidates)?;
        self.announce(&mut sealer, vec![block]);
        self.reorganise_if_due(&mut sealer);
        Ok(self.best())
    }

    /// Seals a block whose time is one slot after the last one's, or now if that is later.
    ///
    /// # Errors
    ///
    /// As [`Self::seal`].
    pub fn seal_next_slot(&self, now_ms: u64) -> Result<Arc<SealedBlock>, SealError> {
        self.seal(now_ms.max(self.last_timestamp().saturating_add(self.slot_ms())))
    }

    /// Time of the best block in milliseconds, 0 at genesis.
    pub fn last_timestamp(&self) -> u64 {
        self.read(node_subtensor_runtime::Timestamp::get).unwrap_or(0)
    }

    /// Milliseconds per block, as clients read it.
    pub(super) fn slot_ms(&self) -> u64 {
        self.read(SlotDuration::get).unwrap_or(1)
    }

    /// Lets go of the journal. From then on nothing is sealed.
    pub fn stop(&self) {
        let mut sealer = self.sealer();
        sealer.stopped = true;
        sealer.journal = None;
    }

    /// Seals a block without telling the followers.
    pub(super) fn seal_one(
        &self,
        sealer: &mut super::Sealer,
        now_ms: u64,
        candidates: &[Candidate],
    ) -> Result<Arc<SealedBlock>, SealError> {
        if sealer.stopped {
            return Err(SealError::Stopped);
        }
        let parent = self.best();
        let state = self.state_of(&parent);
        let now_ms = now_ms.max(self.last_timestamp().saturating_add(1));
        let inherents = Inherents { now_ms, pulses: self.pulses_due(&parent, now_ms)? };
        let authored = author(&parent.header, &state, &inherents, candidates, self.options.apply)?;
        let number = authored.built.block.number();
        let finalized = self.finality_due(number);
        if let Some(journal) = &mut sealer.journal {
            let failed = |source| SealError::Journal { number, source };
            journal.append(&authored.built.block, finalized).map_err(failed)?;
        }
        let block = self.publish(authored.built, finalized);
        self.settle(sealer, &block, &authored.included, &authored.refused);
        Ok(block)
    }

    pub(super) fn publish(&self, built: Built, finalized: BlockNumber) -> Arc<SealedBlock> {
        let block = Arc::new(built.block);
        self.store.commit(block.number(), built.nodes, self.options.state_window);
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.push(block.clone());
        blocks.finalize(finalized);
        block
    }

    /// Shows the blocks, tells the watchers and wakes the followers. Last of all, so that whoever
    /// sees a block finds the pool settled.
    pub(super) fn announce(&self, sealer: &mut Sealer, imported: Vec<Arc<SealedBlock>>) {
        let (best, finalized) = (self.best(), self.finalized());
        let heads = Heads { best: best.number(), finalized: finalized.number() };
        let moment = Moment { best, finalized, imported };
        self.timeline.write().unwrap_or_else(PoisonError::into_inner).push(moment);
        for (watcher, status) in sealer.news.drain(..) {
            // A watcher that hung up wants no more news.
            let _gone = watcher.send(status);
        }
        self.heads.send_replace(heads);
    }

    /// Moves finality to where it is due, after the lag changed.
    pub(super) fn move_finality(&self) {
        let mut sealer = self.sealer();
        let due = self.finality_due(self.best().number());
        self.blocks.write().unwrap_or_else(PoisonError::into_inner).finalize(due);
        self.tell_final(&mut sealer);
        self.announce(&mut sealer, Vec::new());
    }

    /// Tells the pool and the watchers what the block did.
    fn settle(
        &self,
        sealer: &mut Sealer,
        block: &Arc<SealedBlock>,
        included: &[Hash],
        refused: &[Hash],
    ) {
        let number = block.number();
        let mut pool = self.pool();
        pool.forgive(number);
        for tx in included {
            for watcher in pool.include(tx, number) {
                sealer.news.push((watcher.clone(), TxStatus::InBlock(block.hash)));
                sealer.awaiting.push_back(Awaiting { number, block: block.hash, tx: *tx, watcher });
            }
        }
        for hash in refused {
            pool.refuse(hash, number);
        }
        drop(pool);
        self.revalidate(block);
        self.tell_final(sealer);
    }

    /// Asks the runtime again about everything in the pool.
    pub(super) fn revalidate(&self, at: &SealedBlock) {
        let mut pool = self.pool();
        for candidate in pool.candidates() {
            match self.validate(&candidate.bytes, at) {
                Ok(Ok(validity)) => pool.revalidate(&candidate.hash, validity),
                _ => pool.refuse(&candidate.hash, at.number()),
            }
        }
    }

    fn tell_final(&self, sealer: &mut Sealer) {
        let (best, finalized) = (self.best().number(), self.finalized().number());
        while let Some(first) = sealer.awaiting.front() {
            let last_word = if first.number <= finalized {
                TxStatus::Finalized(first.block)
            } else if first.number + FINALITY_BLOCKS_MAX <= best {
                TxStatus::FinalityTimeout(first.block)
            } else {
                return;
            };
            sealer.news.push((first.watcher.clone(), last_word));
            sealer.awaiting.pop_front();
        }
    }
}

/// A transaction that was in a block which is none any more.
pub(super) struct Returned {
    pub(super) hash: Hash,
    pub(super) bytes: Bytes,
    pub(super) watchers: Vec<WatchSender>,
}
