//! The chain: one line of blocks, the state of each, the pool, and sealing.
//!
//! Everything here is synchronous and may take milliseconds: call it from a blocking thread.
//! Runtime code finds its state through a thread-local, so nothing here may be held across an
//! `await`. A block is written to the journal before anybody can see it.
//!
//! submit --validate--> pool --seal--> best block --lag blocks later--> finalized
//!
//! Not here: when to seal (`server`), and forks: there is one line of blocks.

mod author;
mod blocks;
mod pool;
mod query;
mod state;

pub use author::{ApplyExtrinsic, SealError};
pub use blocks::{Bytes, SealedBlock, StorageChange, BLOCKS_KEPT};
pub use pool::{SubmitError, TxStatus, Watcher, BAN_BLOCKS, TRANSACTIONS_MAX};
pub use query::{metadata, MetadataError, QueryError};
pub use state::Panicked;

use crate::{
    genesis::{GenesisError, GenesisSpec},
    journal::{Journal, JournalError, JournalRecord},
    keys::Keyring,
};
use author::{author, rebuild, Built};
use blocks::Blocks;
use codec::Decode;
use node_subtensor_runtime::{
    BlockNumber, Executive, Hash, Header, SlotDuration, UncheckedExtrinsic,
};
use pool::{Pool, WatchSender};
use sp_core::storage::{StateVersion, Storage};
use sp_runtime::{
    traits::{BlakeTwo256, Hash as _, Header as _},
    transaction_validity::{TransactionSource, TransactionValidity},
    Digest,
};
use sp_state_machine::Backend as _;
use state::{run, Overlay, State, TrieStore};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// How the chain behaves beyond its genesis.
#[derive(Clone, Copy, Debug)]
pub struct ChainOptions {
    /// Blocks that the finalized head is behind the best one.
    pub finality_lag: BlockNumber,
    /// Blocks whose state can be read. A lite node on the real chain has about 300.
    pub state_window: BlockNumber,
    /// How an extrinsic is applied.
    pub apply: ApplyExtrinsic,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self { finality_lag: 0, state_window: 300, apply: Executive::apply_extrinsic }
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
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Journal {
        /// Why not.
        #[source]
        source: JournalError,
    },
}

/// What only the sealer touches.
struct Sealer {
    journal: Option<Journal>,
    awaiting_finality: VecDeque<(BlockNumber, Hash, WatchSender)>,
}

/// A running chain.
pub struct Chain {
    genesis_hash: Hash,
    options: ChainOptions,
    store: TrieStore,
    blocks: RwLock<Blocks>,
    pool: Mutex<Pool>,
    sealer: Mutex<Sealer>,
    heads: watch::Sender<Heads>,
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
        Ok(Self {
            genesis_hash: genesis.hash,
            options,
            store,
            blocks: RwLock::new(Blocks::new(genesis)),
            pool: Mutex::default(),
            sealer: Mutex::new(Sealer { journal: None, awaiting_finality: VecDeque::new() }),
            heads: watch::Sender::new(Heads::default()),
        })
    }

    /// A chain that continues a journal: its blocks are executed again, and new ones written down.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing was written.
    pub fn from_journal(mut journal: Journal, options: ChainOptions) -> Result<Self, ChainError> {
        let chain = Self::in_memory(journal.genesis(), options)?;
        let records = journal.read_blocks().map_err(|source| ChainError::Journal { source })?;
        for record in records {
            chain.replay(record)?;
        }
        chain.announce();
        chain.sealer().journal = Some(journal);
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
        self.publish(built);
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
        self.submit_with(bytes.into(), None)
    }

    /// Like [`Self::submit`], and tells what becomes of it.
    ///
    /// # Errors
    ///
    /// As [`Self::submit`].
    pub fn submit_and_watch(&self, bytes: Vec<u8>) -> Result<(Hash, Watcher), SubmitError> {
        // A handful of statuses at most, so the channel needs no bound.
        let (sender, receiver) = mpsc::unbounded_channel();
        Ok((self.submit_with(bytes.into(), Some(sender))?, receiver))
    }

    fn submit_with(&self, bytes: Bytes, watcher: Option<WatchSender>) -> Result<Hash, SubmitError> {
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
                Ok(validity) => pool.insert(hash, bytes, validity, watcher).map(|()| hash),
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

    /// Seals a block from what is in the pool.
    ///
    /// - `now_ms`: its time. It is moved forward if the last block is not older than that.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the chain is as before.
    pub fn seal(&self, now_ms: u64) -> Result<Arc<SealedBlock>, SealError> {
        let mut sealer = self.sealer();
        let parent = self.best();
        let state = self.store.state(parent.header.state_root);
        let now_ms = now_ms.max(self.last_timestamp().saturating_add(1));
        let candidates = self.pool().candidates();
        let authored = author(&parent.header, &state, now_ms, &candidates, self.options.apply)?;
        if let Some(journal) = &mut sealer.journal {
            let block = &authored.built.block;
            let number = block.number();
            journal.append(block).map_err(|source| SealError::Journal { number, source })?;
        }
        let block = self.publish(authored.built);
        self.settle(&mut sealer, &block, &authored.included, &authored.refused);
        self.announce();
        Ok(block)
    }

    /// Seals a block whose time is one slot after the last one's, or now if that is later.
    ///
    /// # Errors
    ///
    /// As [`Self::seal`].
    pub fn seal_next_slot(&self, now_ms: u64) -> Result<Arc<SealedBlock>, SealError> {
        let slot = self.read(SlotDuration::get).unwrap_or(1);
        self.seal(now_ms.max(self.last_timestamp().saturating_add(slot)))
    }

    /// Time of the best block in milliseconds, 0 at genesis.
    pub fn last_timestamp(&self) -> u64 {
        self.read(node_subtensor_runtime::Timestamp::get).unwrap_or(0)
    }

    fn publish(&self, built: Built) -> Arc<SealedBlock> {
        let block = Arc::new(built.block);
        self.store.commit(block.number(), built.nodes, self.options.state_window);
        self.blocks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(block.clone(), self.options.finality_lag);
        block
    }

    /// Wakes the followers. Last of all, so that whoever sees a block finds the pool settled.
    fn announce(&self) {
        let (best, finalized) = (self.best().number(), self.finalized().number());
        self.heads.send_replace(Heads { best, finalized });
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
        for hash in included {
            let watchers = pool.include(hash, block.hash, number).into_iter();
            sealer.awaiting_finality.extend(watchers.map(|watcher| (number, block.hash, watcher)));
        }
        for hash in refused {
            pool.refuse(hash, number);
        }
        for candidate in pool.candidates() {
            match self.validate(&candidate.bytes, block) {
                Ok(Ok(validity)) => pool.revalidate(&candidate.hash, validity),
                _ => pool.refuse(&candidate.hash, number),
            }
        }
        let finalized = self.finalized().number();
        while sealer.awaiting_finality.front().is_some_and(|(at, ..)| *at <= finalized) {
            let Some((_, hash, watcher)) = sealer.awaiting_finality.pop_front() else { break };
            // A watcher that hung up wants no more news.
            let _gone = watcher.send(TxStatus::Finalized(hash));
        }
    }

    fn blocks(&self) -> RwLockReadGuard<'_, Blocks> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner)
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
