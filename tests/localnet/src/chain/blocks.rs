//! The blocks by hash, the line of them that counts, and the lines given up.
//!
//! Up to the finalized block there is one line. Above it a reorganisation may give blocks up for
//! a longer line; they stay known by their hash for as long as other blocks do.

use codec::Decode;
use node_subtensor_runtime::{BlockNumber, Hash, Header, UncheckedExtrinsic};
use sp_runtime::generic::Preamble;
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

    /// How many of its extrinsics somebody signed. The others set the time and bring pulses.
    pub fn signed(&self) -> usize {
        self.body.iter().filter(|bytes| is_signed(bytes)).count()
    }
}

/// Whether somebody signed an extrinsic.
pub(super) fn is_signed(bytes: &[u8]) -> bool {
    UncheckedExtrinsic::decode(&mut &bytes[..])
        .is_ok_and(|extrinsic| matches!(extrinsic.preamble, Preamble::Signed(..)))
}

/// The chain's blocks. Never empty: it starts with the genesis block.
pub(super) struct Blocks {
    by_hash: HashMap<Hash, Arc<SealedBlock>>,
    hashes: BTreeMap<BlockNumber, Hash>,
    given_up: BTreeMap<BlockNumber, Vec<Hash>>,
    best: Arc<SealedBlock>,
    finalized: Arc<SealedBlock>,
}

impl Blocks {
    pub(super) fn new(genesis: SealedBlock) -> Self {
        let genesis = Arc::new(genesis);
        Self {
            by_hash: HashMap::from([(genesis.hash, genesis.clone())]),
            hashes: BTreeMap::from([(0, genesis.hash)]),
            given_up: BTreeMap::new(),
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

    /// Whether a block is in the line that counts.
    pub(super) fn counts(&self, block: &SealedBlock) -> bool {
        self.hash(block.number()) == Some(block.hash)
    }

    /// The hash at a height on the line that ends in `tip`, also when that line was given up.
    pub(super) fn hash_below(&self, tip: &SealedBlock, number: BlockNumber) -> Option<Hash> {
        if number > tip.number() {
            return None;
        }
        let (mut at, mut hash, mut parent) = (tip.number(), tip.hash, tip.header.parent_hash);
        loop {
            if self.hash(at) == Some(hash) {
                return self.hash(number);
            }
            if at == number {
                return Some(hash);
            }
            let block = self.get(&parent)?;
            (at, hash, parent) = (block.number(), block.hash, block.header.parent_hash);
        }
    }

    /// Adds a block on top of the best one.
    pub(super) fn push(&mut self, block: Arc<SealedBlock>) {
        let number = block.number();
        self.hashes.insert(number, block.hash);
        self.by_hash.insert(block.hash, block.clone());
        self.best = block;
        self.forget(number);
    }

    /// Goes back to a block below the best one, and says which blocks are given up, oldest first.
    pub(super) fn give_up_above(&mut self, fork: &Arc<SealedBlock>) -> Vec<Arc<SealedBlock>> {
        let above = self.hashes.split_off(&(fork.number() + 1));
        for (number, hash) in &above {
            self.given_up.entry(*number).or_default().push(*hash);
        }
        self.best = fork.clone();
        above.into_values().filter_map(|hash| self.get(&hash)).collect()
    }

    /// Moves finality forward, never backwards and never beyond the best block.
    pub(super) fn finalize(&mut self, number: BlockNumber) {
        if number > self.finalized.number() {
            if let Some(block) = self.at(number) {
                self.finalized = block;
            }
        }
    }

    /// Drops the bodies that left the window. Hashes stay, and so does genesis.
    fn forget(&mut self, best: BlockNumber) {
        let Some(old) = best.checked_sub(BLOCKS_KEPT).filter(|old| *old > 0) else { return };
        if let Some(hash) = self.hash(old) {
            self.by_hash.remove(&hash);
        }
        for hash in self.given_up.remove(&old).unwrap_or_default() {
            self.by_hash.remove(&hash);
        }
    }
}
