//! The transaction pool in miniature.
//!
//! It keeps what the runtime called valid, in the order of arrival within a priority. A
//! transaction whose `requires` nobody provides waits as *future*. Priorities are flat on this
//! chain, so nothing in the pool is ever replaced by something of the same nonce. A transaction
//! that was included or refused is banned for a while, as real nodes do.

use super::blocks::Bytes;
use node_subtensor_runtime::{BlockNumber, Hash};
use serde::Serialize;
use sp_runtime::transaction_validity::{TransactionValidityError, ValidTransaction};
use std::collections::{HashMap, HashSet};
use thiserror::Error;
use tokio::sync::mpsc;

/// Transactions held. Lower: bursts are refused with 1016. Higher: sealing and re-validating take
/// longer than a block.
pub const TRANSACTIONS_MAX: usize = 4096;
/// Blocks for which an included or refused transaction is banned: half an hour at 12 s, as on real
/// nodes. Higher: more memory; lower: a client learns less about what it sent twice.
pub const BAN_BLOCKS: BlockNumber = 150;

/// What became of a watched transaction, in the words of `author_submitAndWatchExtrinsic`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TxStatus {
    /// It waits for an earlier nonce.
    Future,
    /// It can go into the next block.
    Ready,
    /// It is in a block.
    InBlock(Hash),
    /// Its block was given up for another line of blocks.
    Retracted(Hash),
    /// Its block is final.
    Finalized(Hash),
    /// Its block did not become final for very long.
    FinalityTimeout(Hash),
    /// Another transaction took its place.
    Usurped(Hash),
    /// The pool had no room.
    Dropped,
    /// The runtime refused it.
    Invalid,
}

/// Receives the statuses of one transaction; ends after the last.
pub type Watcher = mpsc::UnboundedReceiver<TxStatus>;
pub(super) type WatchSender = mpsc::UnboundedSender<TxStatus>;

/// Why the pool did not take a transaction.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SubmitError {
    /// The bytes are not a transaction of this runtime.
    #[error("the transaction does not decode: {0}")]
    Decode(String),
    /// The runtime refused it.
    #[error("the runtime refuses the transaction: {0:?}")]
    Invalid(TransactionValidityError),
    /// It was included or refused a short while ago.
    #[error("the transaction is temporarily banned")]
    TemporarilyBanned,
    /// It is in the pool.
    #[error("the transaction {0:?} is already imported")]
    AlreadyImported(Hash),
    /// The pool holds another one with this nonce.
    #[error("the pool holds a transaction of priority {old} where this one has {new}")]
    TooLowPriority {
        /// Priority of the one in the pool.
        old: u64,
        /// Priority of this one.
        new: u64,
    },
    /// The pool is full.
    #[error("the pool is full")]
    ImmediatelyDropped,
    /// The runtime panicked over it.
    #[error("the runtime panicked over the transaction: {0}")]
    Panicked(String),
}

/// A transaction as the block builder sees it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) hash: Hash,
    pub(super) bytes: Bytes,
    pub(super) requires: Vec<Vec<u8>>,
    pub(super) provides: Vec<Vec<u8>>,
}

struct Entry {
    candidate: Candidate,
    priority: u64,
    arrived: u64,
    watchers: Vec<WatchSender>,
}

impl Entry {
    fn notify(&self, status: &TxStatus) {
        for watcher in &self.watchers {
            // A watcher that hung up wants no more news.
            let _gone = watcher.send(status.clone());
        }
    }
}

/// The pool.
#[derive(Default)]
pub(super) struct Pool {
    entries: HashMap<Hash, Entry>,
    provided: HashMap<Vec<u8>, Hash>,
    banned_until: HashMap<Hash, BlockNumber>,
    arrivals: u64,
}

impl Pool {
    /// Whether a transaction may be looked at at all.
    pub(super) fn check_unknown(&self, hash: &Hash) -> Result<(), SubmitError> {
        if self.banned_until.contains_key(hash) {
            return Err(SubmitError::TemporarilyBanned);
        }
        if self.entries.contains_key(hash) {
            return Err(SubmitError::AlreadyImported(*hash));
        }
        Ok(())
    }

    pub(super) fn ban(&mut self, hash: Hash, best: BlockNumber) {
        self.banned_until.insert(hash, best + BAN_BLOCKS);
    }

    /// Takes in a transaction that the runtime called valid.
    pub(super) fn insert(
        &mut self,
        hash: Hash,
        bytes: Bytes,
        validity: ValidTransaction,
        watchers: Vec<WatchSender>,
    ) -> Result<(), SubmitError> {
        self.check_unknown(&hash)?;
        let rivals: HashSet<Hash> =
            validity.provides.iter().filter_map(|tag| self.provided.get(tag).copied()).collect();
        let strongest = rivals.iter().filter_map(|rival| self.entries.get(rival));
        if let Some(old) = strongest.map(|entry| entry.priority).max() {
            if old >= validity.priority {
                return Err(SubmitError::TooLowPriority { old, new: validity.priority });
            }
        }
        if self.entries.len() >= TRANSACTIONS_MAX {
            return Err(SubmitError::ImmediatelyDropped);
        }
        for rival in rivals {
            self.remove(&rival, &TxStatus::Usurped(hash));
        }
        let ready = validity.requires.iter().all(|tag| self.provided.contains_key(tag));
        let candidate =
            Candidate { hash, bytes, requires: validity.requires, provides: validity.provides };
        for tag in &candidate.provides {
            self.provided.insert(tag.clone(), hash);
        }
        let entry =
            Entry { candidate, priority: validity.priority, arrived: self.arrivals, watchers };
        self.arrivals += 1;
        entry.notify(if ready { &TxStatus::Ready } else { &TxStatus::Future });
        self.entries.insert(hash, entry);
        Ok(())
    }

    /// Everything in the order in which a block should try it.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.priority), entry.arrived));
        entries.into_iter().map(|entry| entry.candidate.clone()).collect()
    }

    /// Takes an included transaction out. Its watchers are still to be told, and want to hear of
    /// finality too.
    pub(super) fn include(&mut self, hash: &Hash, best: BlockNumber) -> Vec<WatchSender> {
        self.ban(*hash, best);
        self.take(hash).map(|entry| entry.watchers).unwrap_or_default()
    }

    /// Takes a refused transaction out.
    pub(super) fn refuse(&mut self, hash: &Hash, best: BlockNumber) {
        self.ban(*hash, best);
        self.remove(hash, &TxStatus::Invalid);
    }

    /// Puts the runtime's present answer in the place of the old one.
    pub(super) fn revalidate(&mut self, hash: &Hash, validity: ValidTransaction) {
        let Some(entry) = self.entries.get_mut(hash) else { return };
        let was_future = !entry.candidate.requires.is_empty();
        let is_ready = validity.requires.is_empty();
        entry.candidate.requires = validity.requires;
        entry.priority = validity.priority;
        if was_future && is_ready {
            entry.notify(&TxStatus::Ready);
        }
    }

    /// Ends the ban of one transaction.
    pub(super) fn unban(&mut self, hash: &Hash) {
        self.banned_until.remove(hash);
    }

    /// Ends the bans that are over.
    pub(super) fn forgive(&mut self, best: BlockNumber) {
        self.banned_until.retain(|_, until| *until > best);
    }

    /// Whether some transaction in the pool provides this.
    pub(super) fn provides(&self, tag: &[u8]) -> bool {
        self.provided.contains_key(tag)
    }

    /// Takes a transaction out with these last words; whether it was there.
    pub(super) fn remove(&mut self, hash: &Hash, status: &TxStatus) -> bool {
        let entry = self.take(hash);
        if let Some(entry) = &entry {
            entry.notify(status);
        }
        entry.is_some()
    }

    fn take(&mut self, hash: &Hash) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        for tag in &entry.candidate.provides {
            self.provided.remove(tag);
        }
        Some(entry)
    }
}
