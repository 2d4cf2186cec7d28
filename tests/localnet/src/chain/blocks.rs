//! The blocks of the one chain there is, by hash and by height.

use node_subtensor_runtime::{BlockNumber, Hash, Header};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Bytes of an extrinsic, shared between pool, block and subscribers.
pub type Bytes = Arc<[u8]>;

/// Blocks whose body is kept. Lower: clients that are late cannot find their transaction. Higher:
/// memory. Must exceed the longest era, so that a signer always finds its checkpoint.
pub const BLOCKS_KEPT: BlockNumber = 8192;
const _: () = assert!(BLOCKS_KEPT > node_subtensor_runtime::BLOCK_HASH_COUNT);

/// A storage key and its new value; `None` if it was removed.
pub type StorageChange = (Vec<u8>, Option<Vec<u8>>);

/// A sealed block.
#[derive(Clone, Debug)]
pub struct SealedBlock {
    /// Blake2-256 of the header.
    pub hash: Hash,
    /// The header.
    pub header: Header,
    /// The extrinsics; the first sets the time.
    pub body: Vec<Bytes>,
    /// What it changed in storage.
    pub changes: Vec<StorageChange>,
}

impl SealedBlock {
    /// Height.
    pub fn number(&self) -> BlockNumber {
        self.header.number
    }
}

/// The chain's blocks. Never empty: it starts with the genesis block.
pub(super) struct Blocks {
    by_hash: HashMap<Hash, Arc<SealedBlock>>,
    hashes: BTreeMap<BlockNumber, Hash>,
    best: Arc<SealedBlock>,
    finalized: Arc<SealedBlock>,
}

impl Blocks {
    pub(super) fn new(genesis: SealedBlock) -> Self {
        let genesis = Arc::new(genesis);
        Self {
            by_hash: HashMap::from([(genesis.hash, genesis.clone())]),
            hashes: BTreeMap::from([(0, genesis.hash)]),
            best: genesis.clone(),
            finalized: genesis,
        }
    }

    pub(super) fn best(&self) -> Arc<SealedBlock> {
        self.best.clone()
    }

    pub(super) fn finalized(&self) -> Arc<SealedBlock> {
        self.finalized.clone()
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Arc<SealedBlock>> {
        self.by_hash.get(hash).cloned()
    }

    pub(super) fn hash(&self, number: BlockNumber) -> Option<Hash> {
        self.hashes.get(&number).copied()
    }

    pub(super) fn at(&self, number: BlockNumber) -> Option<Arc<SealedBlock>> {
        self.get(&self.hash(number)?)
    }

    /// Adds the new best block and moves finality to `lag` blocks behind it, never backwards.
    pub(super) fn push(&mut self, block: Arc<SealedBlock>, lag: BlockNumber) {
        let number = block.number();
        self.hashes.insert(number, block.hash);
        self.by_hash.insert(block.hash, block.clone());
        self.best = block;
        let due = number.saturating_sub(lag);
        if due > self.finalized.number() {
            if let Some(block) = self.at(due) {
                self.finalized = block;
            }
        }
        self.forget(number);
    }

    /// Drops the body that left the window. Hashes stay, and so does genesis.
    fn forget(&mut self, best: BlockNumber) {
        let Some(old) = best.checked_sub(BLOCKS_KEPT).filter(|old| *old > 0) else { return };
        if let Some(hash) = self.hash(old) {
            self.by_hash.remove(&hash);
        }
    }
}
