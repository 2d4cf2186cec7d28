//! A subnet in memory, as far as leases need it: validators, permits, commitments, blocks.
//!
//! Not here: extrinsics and epochs. What becomes of vectors has a simulator of its own in
//! `node/core/src/machine/tests`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use node_core::commitment::{Commitment, Location};
use node_core::id::{BlockHash, ContentDigest, DigestBuilder, Hotkey, Netuid, Uid};
use node_core::unit::window_end;
use node_core::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};
use node_core::view::{ChainView, CommitmentRecord, EpochClock, Neuron, SubnetParams};

use crate::host::UNIX_START_MS;

/// The subnet.
pub(crate) const NETUID: Netuid = Netuid(7);
const STAKE_THRESHOLD_RAO: u64 = 1_000;

/// Blocks of a window in which submissions compete.
pub(crate) const WINDOW_BLOCKS: u64 = 10;

/// Blocks that can still be read. Lower: a node that lags has nothing to read. Higher: memory.
const BLOCKS_KEPT: usize = 64;

/// The chain.
#[derive(Debug)]
pub(crate) struct Chain {
    best: u64,
    /// Blocks from the finalized one to the best one.
    pub(crate) finality_lag: u64,
    /// The highest block that was ever final: finality does not go back.
    finalized: u64,
    /// When the best block was made.
    timestamp: UnixMs,
    neurons: Vec<Neuron>,
    commitments: BTreeMap<Hotkey, (BlockNumber, Vec<u8>)>,
    /// Blocks in which submissions compete.
    window: BlockCount,
    /// The newest blocks, oldest first.
    kept: VecDeque<ChainView>,
}

impl Chain {
    pub(crate) fn new(validators: &[Hotkey], miners: &[Hotkey]) -> Self {
        let neuron = |(uid, hotkey): (u16, &Hotkey)| {
            let is_validator = usize::from(uid) < validators.len();
            Neuron {
                uid: Uid(uid),
                hotkey: *hotkey,
                stake_rao: if is_validator { STAKE_THRESHOLD_RAO } else { 0 },
                validator_permit: is_validator,
                ..Neuron::default()
            }
        };
        let mut chain = Self {
            best: 0,
            finality_lag: 2,
            finalized: 0,
            timestamp: UnixMs(UNIX_START_MS),
            neurons: (0..).zip(validators.iter().chain(miners)).map(neuron).collect(),
            commitments: BTreeMap::new(),
            window: BlockCount(WINDOW_BLOCKS),
            kept: VecDeque::new(),
        };
        chain.keep();
        chain
    }

    /// The next block's height.
    pub(crate) fn next(&self) -> BlockNumber {
        BlockNumber(self.best + 1)
    }

    pub(crate) fn finalized(&self) -> BlockNumber {
        BlockNumber(self.finalized)
    }

    /// The finalized block, or the oldest kept one after `lag` blocks less.
    pub(crate) fn view(&self, lag: u64) -> ChainView {
        let wanted = self.finalized.saturating_sub(lag);
        let oldest = self.kept.front().map_or(0, |view| view.number.0);
        let index = usize::try_from(wanted.saturating_sub(oldest)).unwrap_or(0);
        self.kept.get(index).cloned().unwrap_or_default()
    }

    /// A miner commits; it is in the next block. Returns that block and its successor's hash.
    pub(crate) fn commit(
        &mut self,
        miner: Hotkey,
        content: ContentDigest,
    ) -> (BlockNumber, BlockHash) {
        let commitment = Commitment { content, location: Location::Peers };
        let block = self.next();
        self.commitments.insert(miner, (block, commitment.to_string().into_bytes()));
        (block, hash(block.0 + 1))
    }

    pub(crate) fn set_permit(&mut self, validator: Hotkey, has_permit: bool) {
        for neuron in self.neurons.iter_mut().filter(|neuron| neuron.hotkey == validator) {
            neuron.validator_permit = has_permit;
        }
    }

    pub(crate) fn produce_block(&mut self, now_ms: u64) {
        self.timestamp = UnixMs(UNIX_START_MS + now_ms);
        self.best += 1;
        self.finalized = self.finalized.max(self.best.saturating_sub(self.finality_lag));
        self.keep();
    }

    /// Blocks go by that nobody reads, all of them final.
    pub(crate) fn leap(&mut self, blocks: u64) {
        self.best += blocks;
        self.finalized = self.best;
        self.kept.clear();
        self.keep();
    }

    /// Miners leave the subnet, with their commitments, from the next block on.
    pub(crate) fn remove_miners(&mut self, leaving: &BTreeSet<Hotkey>) {
        self.neurons.retain(|neuron| !leaving.contains(&neuron.hotkey));
        self.commitments.retain(|hotkey, _| !leaving.contains(hotkey));
    }

    fn keep(&mut self) {
        let commitments = self.commitments.iter().map(|(hotkey, (block, bytes))| {
            let has_seed = block.0 < self.best;
            let closes_at = window_end(self.window, *block);
            CommitmentRecord {
                hotkey: *hotkey,
                block: *block,
                bytes: bytes.clone(),
                seed_block_hash: has_seed.then(|| hash(block.0 + 1)),
                window_block_hash: (closes_at.0 <= self.best).then(|| hash(closes_at.0)),
            }
        });
        let view = ChainView {
            genesis: hash(0),
            netuid: NETUID,
            number: BlockNumber(self.best),
            hash: hash(self.best),
            timestamp: self.timestamp,
            spec_version: 1,
            neurons: self.neurons.clone(),
            params: SubnetParams {
                tempo: BlockCount(360),
                min_allowed_weights: 1,
                weights_rate_limit: BlockCount(100),
                stake_threshold_rao: STAKE_THRESHOLD_RAO,
                ..SubnetParams::default()
            },
            epoch: EpochClock {
                index: EpochIndex(self.best / 360),
                last_epoch_block: BlockNumber(self.best / 360 * 360),
                next_epoch_block: Some(BlockNumber((self.best / 360 + 1) * 360)),
                ..EpochClock::default()
            },
            block_ms: 12_000,
            commitments: commitments.collect(),
            ..ChainView::default()
        };
        self.kept.push_back(view);
        // What is not final yet has to be readable once it is.
        let unfinalized = usize::try_from(self.best - self.finalized).unwrap_or(0);
        while self.kept.len() > BLOCKS_KEPT + unfinalized {
            self.kept.pop_front();
        }
    }
}

fn hash(height: u64) -> BlockHash {
    BlockHash(DigestBuilder::new("sim/block").number(height).finish())
}
