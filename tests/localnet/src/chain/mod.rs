//! The chain: blocks, the state of each, the pool, sealing, finality, reorganisations.
//!
//! Everything here is synchronous and may take milliseconds: call it from a blocking thread.
//! Runtime code finds its state through a thread-local, so nothing here may be held across an
//! `await`. A block is written to the journal before anybody can see it.
//!
//! submit --validate--> pool --seal--> best block --lag blocks later--> finalized
//!                       ^                 |
//!                       +---- reorg ------+
//!
//! Not here: when to seal (`server`), and what an endpoint hides of all this (`rpc::endpoint`).

mod author;
mod blocks;
mod fork;
mod pool;
mod pulses;
mod query;
mod sealing;
mod state;
mod timeline;

pub use author::{ApplyExtrinsic, SealError};
pub use blocks::{Bytes, SealedBlock, StorageChange, BLOCKS_KEPT};
pub use fork::{Fate, Reorg, ReorgError};
pub use pool::{SubmitError, TxStatus, Watcher, BAN_BLOCKS, TRANSACTIONS_MAX};
pub use pulses::{PulseFaults, BEACON_GENESIS_S};
pub use query::{metadata, MetadataError, QueryError};
pub use sealing::FINALITY_BLOCKS_MAX;
pub use state::Panicked;
pub use timeline::Moment;

use crate::{
    flavour::Dress,
    genesis::{GenesisError, GenesisSpec},
    journal::{Journal, JournalError, JournalRecord},
    keys::Keyring,
};
use author::rebuild;
use blocks::Blocks;
use codec::Decode;
use node_subtensor_runtime::{BlockNumber, Executive, Hash, Header, UncheckedExtrinsic};
use pool::{Pool, WatchSender};
use pulses::Pulses;
use sealing::Sealer;
use sp_core::storage::{StateVersion, Storage};
use sp_runtime::{
    traits::{BlakeTwo256, Hash as _, Header as _},
    transaction_validity::{TransactionSource, TransactionValidity},
    Digest,
};
use sp_state_machine::Backend as _;
use state::{run, Overlay, State, TrieStore};
use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
    },
};
use thiserror::Error;
use timeline::Timeline;
use tokio::sync::{mpsc, watch};

/// How the chain behaves beyond its genesis.
#[derive(Clone, Copy, Debug)]
pub struct ChainOptions {
    /// Blocks that the finalized head is behind the best one.
    pub finality_lag: BlockNumber,
    /// Blocks whose state can be read. A lite node on the real chain has about 300.
    pub state_window: BlockNumber,
    /// After every block whose number this divides, the chain reorganises itself; 0 for never.
    pub reorg_every: BlockNumber,
    /// How many blocks are given up then, as far as they are not final.
    pub reorg_depth: BlockNumber,
    /// Rounds by which the beacon's pulses come late.
    pub pulse_lag: u32,
    /// How an extrinsic is applied.
    pub apply: ApplyExtrinsic,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            finality_lag: 0,
            state_window: 300,
            reorg_every: 0,
            reorg_depth: 1,
            pulse_lag: 0,
            apply: Executive::apply_extrinsic,
        }
    }
}

/// Heights of the best and the finalized block.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Heads {
    /// The best block.
    pub best: BlockNumber,
    /// The finalized block, at most the best.
    pub finalized: BlockNumber,
}

/// Why a chain did not start.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The description contradicts itself.
    #[error("cannot build the genesis block")]
    Genesis {
        /// How.
        #[source]
        source: GenesisError,
    },
    /// The journal's blocks do not fit.
    #[error("cannot execute the journal's block {number} again")]
    Replay {
        /// The block.
        number: BlockNumber,
        /// Why not.
        #[source]
        source: SealError,
    },
    /// The journal's block came out differently.
    #[error("the journal's block {number} executes to {got:?}, not to {expected:?}; it was written by another build: start with an empty state directory")]
    Diverged {
        /// The block.
        number: BlockNumber,
        /// The hash written down.
        expected: Hash,
        /// The hash computed.
        got: Hash,
    },
    /// The journal lacks a block.
    #[error("the journal has block {number} and not {parent:?} below it; start with an empty state directory")]
    Gap {
        /// The lowest block that hangs in the air.
        number: BlockNumber,
        /// What should be below it.
        parent: Hash,
    },
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Journal {
        /// Why not.
        #[source]
        source: JournalError,
    },
}

/// A running chain.
pub struct Chain {
    genesis_hash: Hash,
    options: ChainOptions,
    finality_lag: AtomicU32,
    finality_stalled: AtomicBool,
    pulses: Pulses,
    store: TrieStore,
    blocks: RwLock<Blocks>,
    pool: Mutex<Pool>,
    sealer: Mutex<Sealer>,
    timeline: RwLock<Timeline>,
    heads: watch::Sender<Heads>,
    /// Rewritten metadata, by what it was and how it was rewritten.
    dressed: Mutex<HashMap<(Hash, Dress, u8), Vec<u8>>>,
    /// Held while somebody signs as `//Alice`, so that two do not take the same nonce.
    pub(crate) alice: Mutex<()>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("genesis_hash", &self.genesis_hash)
            .field("heads", &*self.heads.borrow())
            .finish_non_exhaustive()
    }
}

impl Chain {
    /// A chain in memory.
    ///
    /// # Errors
    ///
    /// [`ChainError::Genesis`] if the description contradicts itself.
    pub fn in_memory(spec: &GenesisSpec, options: ChainOptions) -> Result<Self, ChainError> {
        let storage =
            spec.build_storage(&Keyring::new()).map_err(|source| ChainError::Genesis { source })?;
        let store = TrieStore::default();
        let genesis = genesis_block(&store, storage, options.state_window);
        let genesis_hash = genesis.hash;
        let blocks = Blocks::new(genesis);
        Ok(Self {
            genesis_hash,
            options,
            finality_lag: AtomicU32::new(options.finality_lag),
            finality_stalled: AtomicBool::new(false),
            pulses: Pulses::new(spec, options.pulse_lag),
            store,
            timeline: RwLock::new(Timeline::new(&blocks.best())),
            blocks: RwLock::new(blocks),
            pool: Mutex::default(),
            sealer: Mutex::default(),
            heads: watch::Sender::new(Heads::default()),
            dressed: Mutex::default(),
            alice: Mutex::default(),
        })
    }

    /// A chain that continues a journal: its blocks are executed again, and new ones written down.
    ///
    /// Blocks that a reorganisation gave up are skipped and forgotten.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing was written.
    pub fn from_journal(mut journal: Journal, options: ChainOptions) -> Result<Self, ChainError> {
        let chain = Self::in_memory(journal.genesis(), options)?;
        let records = journal.read_blocks().map_err(|source| ChainError::Journal { source })?;
        for record in longest_line(records, chain.genesis_hash)? {
            chain.replay(record)?;
        }
        let best = chain.best();
        let mut sealer = chain.sealer();
        chain.announce(&mut sealer, vec![best]);
        sealer.journal = Some(journal);
        drop(sealer);
        Ok(chain)
    }

    fn replay(&self, record: JournalRecord) -> Result<(), ChainError> {
        let number = record.number;
        let parent = self.best();
        let state = self.store.state(parent.header.state_root);
        let body: Vec<Bytes> = record.body.into_iter().map(Into::into).collect();
        let built = rebuild(&parent.header, &state, &body)
            .map_err(|source| ChainError::Replay { number, source })?;
        let (expected, got) = (record.hash, built.block.hash);
        if expected != got {
            return Err(ChainError::Diverged { number, expected, got });
        }
        self.publish(built, record.finalized);
        Ok(())
    }

    /// Hash of block 0.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis_hash
    }

    /// The options it was started with.
    pub fn options(&self) -> ChainOptions {
        self.options
    }

    /// The newest block.
    pub fn best(&self) -> Arc<SealedBlock> {
        self.blocks().best()
    }

    /// The newest final block.
    pub fn finalized(&self) -> Arc<SealedBlock> {
        self.blocks().finalized()
    }

    /// The heights, as a channel that tells of every change.
    pub fn watch_heads(&self) -> watch::Receiver<Heads> {
        self.heads.subscribe()
    }

    /// Offers a transaction to the pool.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; the pool is as before, but what the runtime refused is banned.
    pub fn submit(&self, bytes: Vec<u8>) -> Result<Hash, SubmitError> {
        self.submit_with(bytes.into(), Vec::new())
    }

    /// Like [`Self::submit`], and tells what becomes of it.
    ///
    /// # Errors
    ///
    /// As [`Self::submit`].
    pub fn submit_and_watch(&self, bytes: Vec<u8>) -> Result<(Hash, Watcher), SubmitError> {
        // A handful of statuses at most, so the channel needs no bound.
        let (sender, receiver) = mpsc::unbounded_channel();
        Ok((self.submit_with(bytes.into(), vec![sender])?, receiver))
    }

    /// Whether the pool would take a transaction, without giving it to the pool.
    ///
    /// # Errors
    ///
    /// As [`Self::submit`], except for what the pool itself has against it.
    pub fn check(&self, bytes: &[u8]) -> Result<Hash, SubmitError> {
        let validity = self.validate(bytes, &self.best())?;
        validity.map(|_| BlakeTwo256::hash(bytes)).map_err(SubmitError::Invalid)
    }

    fn submit_with(&self, bytes: Bytes, watchers: Vec<WatchSender>) -> Result<Hash, SubmitError> {
        let hash = BlakeTwo256::hash(&bytes);
        loop {
            self.pool().check_unknown(&hash)?;
            let best = self.best();
            let validity = self.validate(&bytes, &best)?;
            let mut pool = self.pool();
            // A block that came meanwhile may have used the nonce. One that comes from here on
            // finds the transaction in the pool and looks at it again.
            if self.best().hash != best.hash {
                continue;
            }
            return match validity {
                Ok(validity) => pool.insert(hash, bytes, validity, watchers).map(|()| hash),
                Err(error) => {
                    pool.ban(hash, best.number());
                    Err(SubmitError::Invalid(error))
                }
            };
        }
    }

    fn validate(&self, bytes: &[u8], at: &SealedBlock) -> Result<TransactionValidity, SubmitError> {
        let extrinsic = UncheckedExtrinsic::decode(&mut &bytes[..])
            .map_err(|error| SubmitError::Decode(error.to_string()))?;
        let state = self.store.state(at.header.state_root);
        let source = TransactionSource::External;
        run(&state, &mut Overlay::default(), || {
            Executive::validate_transaction(source, extrinsic, at.hash)
        })
        .map_err(|panicked| SubmitError::Panicked(panicked.0))
    }

    /// Takes one transaction, or all, out of the pool; watchers hear `status` as their last word.
    ///
    /// Answers with the number of transactions taken out. They are not banned.
    pub fn evict(&self, hash: Option<Hash>, status: &TxStatus) -> usize {
        let mut pool = self.pool();
        let hashes = match hash {
            Some(hash) => vec![hash],
            None => pool.candidates().into_iter().map(|candidate| candidate.hash).collect(),
        };
        hashes.iter().filter(|hash| pool.remove(hash, status)).count()
    }

    /// The finality lag from now on. Finality itself never goes back.
    pub fn set_finality_lag(&self, blocks: BlockNumber) {
        self.finality_lag.store(blocks, Ordering::Relaxed);
        self.move_finality();
    }

    /// Stops finality where it is, or lets it catch up.
    pub fn stall_finality(&self, stalled: bool) {
        self.finality_stalled.store(stalled, Ordering::Relaxed);
        self.move_finality();
    }

    /// Height up to which blocks are final once the best block has this height.
    fn finality_due(&self, best: BlockNumber) -> BlockNumber {
        let stalled = self.finality_stalled.load(Ordering::Relaxed);
        let lag = self.finality_lag.load(Ordering::Relaxed);
        let due = if stalled { 0 } else { best.saturating_sub(lag) };
        due.max(self.finalized().number())
    }

    fn blocks(&self) -> RwLockReadGuard<'_, Blocks> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn timeline(&self) -> RwLockReadGuard<'_, Timeline> {
        self.timeline.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sealer(&self) -> MutexGuard<'_, Sealer> {
        self.sealer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_of(&self, block: &SealedBlock) -> State {
        self.store.state(block.header.state_root)
    }
}

/// The records from genesis to the highest block; of two equally high the one written first.
///
/// A reorganisation that was cut off by a kill never got higher than what it was to replace.
fn longest_line(
    records: Vec<JournalRecord>,
    genesis: Hash,
) -> Result<Vec<JournalRecord>, ChainError> {
    let highest = records.iter().rev().max_by_key(|record| record.number);
    let mut wanted = highest.map_or(genesis, |record| record.hash);
    let mut by_hash: HashMap<Hash, JournalRecord> =
        records.into_iter().map(|record| (record.hash, record)).collect();
    let mut line = Vec::new();
    while let Some(record) = by_hash.remove(&wanted) {
        wanted = record.parent;
        line.push(record);
    }
    if wanted != genesis {
        let number = line.last().map_or(0, |record| record.number);
        return Err(ChainError::Gap { number, parent: wanted });
    }
    line.reverse();
    Ok(line)
}

fn genesis_block(store: &TrieStore, storage: Storage, window: BlockNumber) -> SealedBlock {
    let empty = store.state(sp_trie::empty_trie_root::<sp_trie::LayoutV1<BlakeTwo256>>());
    let top = storage.top.iter().map(|(key, value)| (&key[..], Some(&value[..])));
    let (root, nodes) = empty.storage_root(top, StateVersion::V1);
    store.commit(0, nodes, window);
    let no_extrinsics = BlakeTwo256::ordered_trie_root(Vec::new(), StateVersion::V1);
    let header = Header::new(0, no_extrinsics, root, Hash::default(), Digest::default());
    SealedBlock {
        hash: header.hash(),
        header,
        body: Vec::new(),
        changes: storage.top.into_iter().map(|(key, value)| (key, Some(value))).collect(),
    }
}
