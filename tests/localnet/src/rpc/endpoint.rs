//! One endpoint's view of the chain: usually all of it, with faults less.
//!
//! An endpoint that lags or is frozen stands at an earlier moment of the chain's timeline. What it
//! answers is consistent with that moment: heads, the line of blocks, state without a block given.

use crate::{
    chain::{Bytes, Chain, Moment, QueryError, SealedBlock, StorageChange, SubmitError, Watcher},
    faults::{FaultSwitch, Present, Switchboard},
};
use node_subtensor_runtime::{AccountId, BlockNumber, Hash, Nonce};
use sp_version::RuntimeVersion;
use std::sync::Arc;
use tokio::sync::watch;

/// What the methods of one listener work on.
#[derive(Clone, Debug)]
pub struct Endpoint {
    chain: Arc<Chain>,
    switch: Arc<FaultSwitch>,
    switchboard: Arc<Switchboard>,
}

impl Endpoint {
    /// An endpoint with the faults of `switch`, from which those of `switchboard` can be changed.
    pub fn new(chain: Arc<Chain>, switch: Arc<FaultSwitch>, switchboard: Arc<Switchboard>) -> Self {
        Self { chain, switch, switchboard }
    }

    /// An endpoint without faults.
    pub fn plain(chain: Arc<Chain>) -> Self {
        Self::new(chain, Arc::new(FaultSwitch::new(0)), Arc::new(Switchboard::new(0)))
    }

    /// The chain itself.
    pub(super) fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    pub(super) fn switchboard(&self) -> &Switchboard {
        &self.switchboard
    }

    pub(super) fn watch_faults(&self) -> watch::Receiver<Present> {
        self.switch.watch()
    }

    /// Number of the moment at which the endpoint stands.
    pub(super) fn moment_number(&self) -> u64 {
        let newest = self.switch.frozen_at().unwrap_or_else(|| self.chain.newest_moment());
        let lag = self.switch.faults().lag_blocks;
        if lag == 0 {
            return newest;
        }
        let best = self.chain.moment(newest).map_or(0, |moment| moment.best.number());
        self.chain.moment_when_best_was(best.saturating_sub(lag)).min(newest)
    }

    /// A moment, or the oldest that is remembered.
    pub(super) fn moment_at(&self, number: u64) -> Moment {
        self.chain.moment(number).unwrap_or_else(|| self.chain.oldest_moment())
    }

    fn moment(&self) -> Moment {
        self.moment_at(self.moment_number())
    }

    pub(super) fn best(&self) -> Arc<SealedBlock> {
        self.moment().best
    }

    pub(super) fn finalized(&self) -> Arc<SealedBlock> {
        self.moment().finalized
    }

    pub(super) fn block(&self, at: Option<Hash>) -> Result<Arc<SealedBlock>, QueryError> {
        let best = self.best();
        let Some(hash) = at else { return Ok(best) };
        let block = self.chain.block(Some(hash))?;
        if block.number() > best.number() {
            return Err(QueryError::UnknownBlock(hash));
        }
        Ok(block)
    }

    pub(super) fn block_hash(&self, number: BlockNumber) -> Option<Hash> {
        self.chain.block_hash_below(&self.best(), number)
    }

    fn at(&self, at: Option<Hash>) -> Result<Option<Hash>, QueryError> {
        Ok(Some(self.block(at)?.hash))
    }

    pub(super) fn storage(
        &self,
        key: &[u8],
        at: Option<Hash>,
    ) -> Result<Option<Vec<u8>>, QueryError> {
        self.chain.storage(key, self.at(at)?)
    }

    /// The values of keys at a block, with the keys.
    pub(super) fn values(
        &self,
        keys: &[Vec<u8>],
        at: Hash,
    ) -> Result<Vec<StorageChange>, QueryError> {
        let value = |key: &Vec<u8>| Ok((key.clone(), self.chain.storage(key, Some(at))?));
        keys.iter().map(value).collect()
    }

    pub(super) fn keys_paged(
        &self,
        prefix: &[u8],
        count: usize,
        start: Option<&[u8]>,
        at: Option<Hash>,
    ) -> Result<Vec<Vec<u8>>, QueryError> {
        self.chain.keys_paged(prefix, count, start, self.at(at)?)
    }

    pub(super) fn call(
        &self,
        method: &str,
        arguments: &[u8],
        at: Option<Hash>,
    ) -> Result<Vec<u8>, QueryError> {
        self.chain.call(method, arguments, self.at(at)?)
    }

    pub(super) fn version(&self, at: Option<Hash>) -> Result<RuntimeVersion, QueryError> {
        self.chain.version(self.at(at)?)
    }

    pub(super) fn next_index(&self, who: &AccountId) -> Result<Nonce, QueryError> {
        self.chain.next_index(who)
    }

    pub(super) fn pending(&self) -> Vec<Bytes> {
        self.chain.pending()
    }

    pub(super) fn submit(&self, bytes: Vec<u8>) -> Result<Hash, SubmitError> {
        if self.switch.faults().lose_transactions {
            return self.chain.check(&bytes);
        }
        self.chain.submit(bytes)
    }

    /// Submits and watches; there is nothing to watch where transactions get lost.
    pub(super) fn submit_and_watch(&self, bytes: Vec<u8>) -> Result<Option<Watcher>, SubmitError> {
        if self.switch.faults().lose_transactions {
            return self.chain.check(&bytes).map(|_| None);
        }
        self.chain.submit_and_watch(bytes).map(|(_, watcher)| Some(watcher))
    }
}
