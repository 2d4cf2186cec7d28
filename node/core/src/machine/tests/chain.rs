//! A subnet in memory: blocks, finality behind them, an epoch clock, a pool, stored weights.
//!
//! It judges what the nodes send as the real chain does (era, nonce, permit, rate limit) and
//! remembers everything that was ever sent, to answer the question that matters: can two
//! signatures of one hotkey still land?

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::funnel::CohortId;
use crate::id::{sha256, BlockHash, Digest, DigestBuilder, Hotkey, IntentId, Netuid, Uid};
use crate::machine::event::Traced;
use crate::policy::ScoringRules;
use crate::unit::{window_starts, BlockCount, BlockNumber, EpochIndex, UnixMs};
use crate::view::{ChainView, CommitmentRecord, EpochClock, Neuron, SubnetParams};

pub(super) const NETUID: Netuid = Netuid(7);
pub(super) const TEMPO: u64 = 20;
pub(super) const SPEC_VERSION: u32 = 1;
const STAKE_THRESHOLD: u64 = 1_000;

/// What a signed extrinsic of this world says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct SetWeights {
    pub(super) hotkey: Hotkey,
    pub(super) intent: IntentId,
    pub(super) nonce: u32,
    pub(super) era_end: BlockNumber,
    pub(super) version_key: u64,
    pub(super) vector: Vec<(Uid, u16)>,
}

/// A vector that the chain stored.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    pub(super) call: SetWeights,
    pub(super) block: BlockNumber,
}

#[derive(Debug)]
pub(super) struct Chain {
    pub(super) params: SubnetParams,
    pub(super) neurons: Vec<Neuron>,
    /// Blocks between arrival in the pool and inclusion.
    pub(super) include_after: u64,
    /// Blocks between the best and the finalized one.
    pub(super) finality_lag: u64,
    /// The pool forgets what arrives while this is set, after having said yes.
    pub(super) is_forgetful: bool,
    pub(super) landed: Vec<Landed>,
    best: u64,
    epoch: EpochClock,
    commitments: BTreeMap<Hotkey, (BlockNumber, Vec<u8>)>,
    weights: BTreeMap<Uid, Vec<(Uid, u16)>>,
    nonces: BTreeMap<Hotkey, u32>,
    pool: Vec<(u64, SetWeights)>,
    /// Every extrinsic in a block, by its hash, and whether its call succeeded.
    included: Vec<(Digest, BlockNumber, Result<(), String>)>,
    sent: BTreeSet<SetWeights>,
    history: Vec<ChainView>,
    nonce_history: Vec<BTreeMap<Hotkey, u32>>,
}

impl Chain {
    pub(super) fn new(validators: &[Hotkey], miners: &[Hotkey]) -> Self {
        let neuron = |(uid, hotkey): (u16, &Hotkey)| Neuron {
            uid: Uid(uid),
            hotkey: *hotkey,
            stake_rao: if validators.contains(hotkey) { STAKE_THRESHOLD } else { 0 },
            validator_permit: validators.contains(hotkey),
            ..Neuron::default()
        };
        let mut chain = Self {
            params: SubnetParams {
                tempo: BlockCount(TEMPO),
                min_allowed_weights: 1,
                weights_rate_limit: BlockCount(5),
                weights_version_key: 3,
                stake_threshold_rao: STAKE_THRESHOLD,
                ..SubnetParams::default()
            },
            neurons: (0..).zip(validators.iter().chain(miners)).map(neuron).collect(),
            include_after: 1,
            finality_lag: 2,
            is_forgetful: false,
            landed: Vec::new(),
            best: 0,
            epoch: EpochClock {
                index: EpochIndex(0),
                last_epoch_block: BlockNumber(0),
                next_epoch_block: Some(BlockNumber(TEMPO)),
                ..EpochClock::default()
            },
            commitments: BTreeMap::new(),
            weights: BTreeMap::new(),
            nonces: BTreeMap::new(),
            pool: Vec::new(),
            included: Vec::new(),
            sent: BTreeSet::new(),
            history: Vec::new(),
            nonce_history: Vec::new(),
        };
        chain.remember();
        chain
    }

    pub(super) fn best(&self) -> BlockNumber {
        BlockNumber(self.best)
    }

    pub(super) fn finalized(&self) -> BlockNumber {
        BlockNumber(self.best.saturating_sub(self.finality_lag))
    }

    pub(super) fn nonce(&self, hotkey: &Hotkey) -> u32 {
        self.nonces.get(hotkey).copied().unwrap_or(0)
    }

    /// The block `height` as `reader` reads it.
    pub(super) fn view(&self, height: BlockNumber, reader: &Hotkey) -> ChainView {
        let index = usize::try_from(height.0).unwrap();
        let own_nonce = self.nonce_history[index].get(reader).copied().unwrap_or(0);
        ChainView { own_nonce, ..self.history[index].clone() }
    }

    pub(super) fn weights_of(&self, hotkey: &Hotkey) -> Vec<(Uid, u16)> {
        let own = self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey);
        own.and_then(|neuron| self.weights.get(&neuron.uid)).cloned().unwrap_or_default()
    }

    pub(super) fn neuron_mut(&mut self, hotkey: &Hotkey) -> &mut Neuron {
        self.neurons.iter_mut().find(|neuron| neuron.hotkey == *hotkey).unwrap()
    }

    /// In the next block, `hotkey` commits these bytes.
    pub(super) fn commit(&mut self, hotkey: Hotkey, bytes: Vec<u8>) -> BlockNumber {
        let block = BlockNumber(self.best + 1);
        self.commitments.insert(hotkey, (block, bytes));
        block
    }

    /// From the next block on, a new hotkey holds the uid of `old`.
    pub(super) fn replace(&mut self, old: &Hotkey, new: Hotkey) {
        let registered_at = BlockNumber(self.best + 1);
        let neuron = self.neuron_mut(old);
        neuron.hotkey = new;
        neuron.registered_at = registered_at;
        self.commitments.remove(old);
    }

    /// Takes bytes into the pool, or says why not. Harmless to repeat.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let call: SetWeights = serde_json::from_slice(bytes).unwrap();
        self.sent.insert(call.clone());
        if self.best + 1 >= call.era_end.0 || call.nonce < self.nonce(&call.hotkey) {
            return Err("outdated".to_owned());
        }
        if self.is_forgetful || self.pool.iter().any(|(_, known)| *known == call) {
            return Ok(());
        }
        self.pool.push((self.best + self.include_after, call));
        Ok(())
    }

    /// Extrinsics of `hotkey` that were handed out and that could still be included, one beside the
    /// other or both for one epoch.
    pub(super) fn live(&self, hotkey: &Hotkey) -> usize {
        let is_live = |call: &&SetWeights| {
            call.hotkey == *hotkey
                && call.nonce >= self.nonce(hotkey)
                && self.best + 1 < call.era_end.0
        };
        let live = || self.sent.iter().filter(is_live);
        let nonces: BTreeSet<u32> = live().map(|call| call.nonce).collect();
        let of_one = |intent| live().filter(|call| call.intent == intent).count();
        live().map(|call| of_one(call.intent)).max().unwrap_or_default().max(nonces.len())
    }

    pub(super) fn produce_block(&mut self) {
        self.best += 1;
        if self.epoch.next_epoch_block.is_some_and(|next| next.0 <= self.best) {
            self.epoch = EpochClock {
                index: EpochIndex(self.epoch.index.0 + 1),
                last_epoch_block: BlockNumber(self.best),
                next_epoch_block: Some(BlockNumber(self.best + self.params.tempo.0)),
                ..EpochClock::default()
            };
        }
        let (due, waiting) = self.pool.drain(..).partition(|(due_at, _)| *due_at <= self.best);
        self.pool = waiting;
        for (_, call) in due {
            self.include(call);
        }
        self.remember();
    }

    fn include(&mut self, call: SetWeights) {
        let nonce = self.nonce(&call.hotkey);
        if self.best >= call.era_end.0 || call.nonce != nonce {
            return;
        }
        // The nonce is used even if the call then fails.
        self.nonces.insert(call.hotkey, nonce + 1);
        let hash = sha256(&serde_json::to_vec(&call).unwrap());
        let result = self.set_weights(call);
        self.included.push((hash, BlockNumber(self.best), result));
    }

    fn set_weights(&mut self, call: SetWeights) -> Result<(), String> {
        let (best, params) = (BlockNumber(self.best), self.params.clone());
        let own = self.neurons.iter_mut().find(|neuron| neuron.hotkey == call.hotkey);
        let own = own.ok_or("HotKeyNotRegisteredInSubNet")?;
        let is_too_fast =
            own.last_update.0 > 0 && best.since(own.last_update) < params.weights_rate_limit;
        let is_refused = is_too_fast
            || params.commit_reveal_enabled
            || !own.validator_permit
            || own.stake_rao < params.stake_threshold_rao
            || call.version_key < params.weights_version_key
            || call.vector.len() < usize::from(params.min_allowed_weights);
        if is_refused {
            return Err("Refused".to_owned());
        }
        own.last_update = best;
        self.weights.insert(own.uid, call.vector.clone());
        self.landed.push(Landed { call, block: best });
        Ok(())
    }

    /// What became of an extrinsic, as a search of the blocks finds it.
    pub(super) fn trace(
        &self,
        hashes: &[Digest],
        after: BlockNumber,
        until: BlockNumber,
    ) -> Traced {
        let is_meant = |(hash, block, _): &&(Digest, BlockNumber, Result<(), String>)| {
            hashes.contains(hash) && *block > after && *block <= until
        };
        match self.included.iter().find(is_meant).cloned() {
            None => Traced::NotFound,
            Some((hash, block, Ok(()))) => Traced::Succeeded { hash, block },
            Some((hash, block, Err(error))) => Traced::Failed { hash, block, error },
        }
    }

    fn hash(height: u64) -> BlockHash {
        BlockHash(DigestBuilder::new("test/block").number(height).finish())
    }

    fn remember(&mut self) {
        let funnel = ScoringRules::dev().funnel;
        let commitments = self.commitments.iter().map(|(hotkey, (block, bytes))| {
            let has_seed = block.0 < self.best;
            let closes_at = CohortId::of(&funnel, *block).closes_at(&funnel);
            CommitmentRecord {
                hotkey: *hotkey,
                block: *block,
                bytes: bytes.clone(),
                seed_block_hash: has_seed.then(|| Self::hash(block.0 + 1)),
                window_block_hash: (closes_at.0 <= self.best).then(|| Self::hash(closes_at.0)),
            }
        });
        let window = BlockCount(funnel.window_blocks);
        let starts = window_starts(window, BlockNumber(self.best));
        let window_hashes = starts.map(|start| (start, Self::hash(start.0))).collect();
        self.history.push(ChainView {
            window_hashes,
            genesis: Self::hash(0),
            netuid: NETUID,
            number: BlockNumber(self.best),
            hash: Self::hash(self.best),
            timestamp: UnixMs(1_700_000_000_000 + self.best * 12_000),
            spec_version: SPEC_VERSION,
            neurons: self.neurons.clone(),
            params: self.params.clone(),
            epoch: self.epoch,
            commitments: commitments.collect(),
            weights: self.weights.iter().map(|(uid, row)| (*uid, row.clone())).collect(),
            ..ChainView::default()
        });
        self.nonce_history.push(self.nonces.clone());
    }
}
