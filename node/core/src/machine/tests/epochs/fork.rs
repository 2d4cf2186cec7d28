//! A subnet whose unfinalized blocks may be taken back: an epoch clock, a pool, commits and their
//! reveals, upgrades. One validator's calls only; it judges them as the real chain does.

use serde::{Deserialize, Serialize};

use crate::epoch::{BeaconSchedule, EpochClock};
use crate::id::{sha256, BlockHash, Digest, DigestBuilder, Hotkey, IntentId, Netuid, Uid};
use crate::machine::event::Traced;
use crate::rows::Carries;
use crate::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};
use crate::view::{Beacon, ChainView, Neuron, OwnCommit, SubnetParams};

pub(super) const NETUID: Netuid = Netuid(7);
pub(super) const OWN: Hotkey = Hotkey([1; 32]);
pub(super) const RATE_LIMIT: u64 = 10;
pub(super) const BLOCK_MS: u64 = 12_000;
const BEACON: BeaconSchedule = BeaconSchedule { genesis: UnixMs(0), period_ms: 3_000 };

/// Blocks kept; older ones are not asked for.
const BLOCKS_KEPT: usize = 400;

/// What a signed extrinsic of this world says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) intent: IntentId,
    pub(super) nonce: u32,
    pub(super) anchor: BlockNumber,
    pub(super) anchor_hash: BlockHash,
    pub(super) era_end: BlockNumber,
    pub(super) spec_version: u32,
    pub(super) version_key: u64,
    pub(super) vector: Vec<(Uid, u16)>,
    pub(super) carries: Carries,
    /// What the reveal of a hash commit shows.
    pub(super) salt: Vec<u16>,
}

impl Call {
    pub(super) fn hash(&self) -> Digest {
        sha256(&self.bytes())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap()
    }
}

/// A commit in the chain's queue.
#[derive(Clone, Debug)]
struct Kept {
    commit: OwnCommit,
    vector: Vec<(Uid, u16)>,
}

/// The subnet after one block.
#[derive(Clone, Debug)]
pub(super) struct State {
    number: u64,
    pub(super) spec_version: u32,
    pub(super) tempo: u64,
    /// The beacon's rounds from here on do not reach the chain.
    pub(super) rounds_end_at: Option<u64>,
    /// What every reveal fails with.
    pub(super) refuses_reveals: Option<&'static str>,
    pub(super) index: u64,
    last_epoch: u64,
    pub(super) pending_at: u64,
    since_step: u64,
    pub(super) commit_reveal: bool,
    pub(super) version_key: u64,
    pub(super) nonce: u32,
    pub(super) neurons: Vec<Neuron>,
    pub(super) registered_at: u64,
    row: Vec<(Uid, u16)>,
    kept: Vec<Kept>,
}

/// A block, what it holds and what it leads to.
#[derive(Clone, Debug)]
pub(super) struct Block {
    hash: BlockHash,
    pub(super) state: State,
    /// Every extrinsic, and whether its call succeeded.
    pub(super) included: Vec<(Call, Result<(), String>)>,
}

#[derive(Debug)]
pub(super) struct Forks {
    /// The best chain from `base` on.
    blocks: Vec<Block>,
    base: u64,
    finalized: u64,
    pool: Vec<Call>,
    salt: u64,
    /// The next block has the next runtime. Never a block that was seen already.
    pub(super) upgrades_next: bool,
}

impl Forks {
    pub(super) fn new(neurons: Vec<Neuron>, tempo: u64, commit_reveal: bool) -> Self {
        let state = State {
            number: 0,
            spec_version: 1,
            tempo,
            rounds_end_at: None,
            refuses_reveals: None,
            index: 0,
            last_epoch: 0,
            pending_at: 0,
            since_step: 0,
            commit_reveal,
            version_key: 3,
            nonce: 0,
            neurons,
            registered_at: 0,
            row: Vec::new(),
            kept: Vec::new(),
        };
        let genesis = Block { hash: hash(0, 0), state, included: Vec::new() };
        Self {
            blocks: vec![genesis],
            base: 0,
            finalized: 0,
            pool: Vec::new(),
            salt: 0,
            upgrades_next: false,
        }
    }

    pub(super) fn best(&self) -> u64 {
        self.blocks.last().unwrap().state.number
    }

    pub(super) fn tempo(&self) -> u64 {
        self.blocks.last().unwrap().state.tempo
    }

    pub(super) fn finalized(&self) -> u64 {
        self.finalized
    }

    pub(super) fn block(&self, number: u64) -> &Block {
        &self.blocks[usize::try_from(number - self.base).unwrap()]
    }

    /// Changes what the next block builds upon.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut State)) {
        change(&mut self.blocks.last_mut().unwrap().state);
    }

    /// Moves finality forward; returns the blocks that became final.
    pub(super) fn finalize(&mut self, lag: u64) -> Vec<Block> {
        let from = self.finalized;
        self.finalized = self.finalized.max(self.best().saturating_sub(lag));
        let fresh = (from + 1..=self.finalized).map(|number| self.block(number).clone()).collect();
        let surplus = self.blocks.len().saturating_sub(BLOCKS_KEPT);
        let dropped = surplus.min(usize::try_from(self.finalized - self.base).unwrap());
        self.blocks.drain(..dropped);
        self.base += dropped as u64;
        fresh
    }

    /// Takes back the newest `depth` blocks, none of them final; what they held goes back to the
    /// pool. The other fork is one block longer.
    pub(super) fn reorganise(&mut self, depth: u64) {
        let depth = depth.min(self.best() - self.finalized);
        let keep = self.blocks.len() - usize::try_from(depth).unwrap();
        for block in self.blocks.drain(keep..) {
            self.pool.extend(block.included.into_iter().map(|(call, _)| call));
        }
        for _ in 0..depth {
            self.produce(false);
        }
    }

    pub(super) fn send(&mut self, call: Call) -> Result<(), String> {
        let state = &self.blocks.last().unwrap().state;
        if state.number + 1 >= call.era_end.0 || call.nonce < state.nonce {
            return Err("outdated".to_owned());
        }
        if call.spec_version != state.spec_version {
            return Err("bad signature".to_owned());
        }
        if is_update(&call) && state.is_limited_in(state.number + 1) {
            return Err("Custom error: 6".to_owned());
        }
        if self.pool.contains(&call) {
            return Err("1013".to_owned());
        }
        if self.pool.iter().any(|known| known.nonce == call.nonce) {
            return Err("1014".to_owned());
        }
        self.pool.push(call);
        Ok(())
    }

    /// Builds the next block; `defers` puts a due epoch off by a block.
    pub(super) fn produce(&mut self, defers: bool) {
        let mut state = self.blocks.last().unwrap().state.clone();
        state.begin_block(defers);
        state.spec_version += u32::from(std::mem::take(&mut self.upgrades_next));
        self.salt += 1;
        let mut included = Vec::new();
        let mut waiting = Vec::new();
        self.pool.sort_by_key(|call| call.nonce);
        for call in self.pool.drain(..) {
            let is_dead = state.number >= call.era_end.0
                || call.spec_version != state.spec_version
                || call.nonce < state.nonce
                || (is_update(&call) && state.is_limited_in(state.number));
            if is_dead {
                continue;
            }
            if call.nonce > state.nonce {
                waiting.push(call);
                continue;
            }
            state.nonce += 1;
            let result = state.dispatch(&call);
            included.push((call, result));
        }
        self.pool = waiting;
        let hash = hash(state.number, self.salt);
        self.blocks.push(Block { hash, state, included });
    }

    /// What became of extrinsics, as a search of finalized blocks finds it.
    pub(super) fn trace(&self, hashes: &[Digest], after: u64, until: u64) -> Traced {
        assert!(until <= self.finalized, "a search beyond finality");
        for number in (after + 1).max(self.base)..=until {
            for (call, result) in &self.block(number).included {
                let (hash, block) = (call.hash(), BlockNumber(number));
                if hashes.contains(&hash) {
                    return match result.clone() {
                        Ok(()) => Traced::Succeeded { hash, block },
                        Err(error) => Traced::Failed { hash, block, error },
                    };
                }
            }
        }
        Traced::NotFound
    }

    pub(super) fn view(&self, number: u64) -> ChainView {
        let Block { hash, state, .. } = self.block(number);
        let number = BlockNumber(state.number);
        let tempo = BlockCount(state.tempo);
        ChainView {
            netuid: NETUID,
            number,
            hash: *hash,
            timestamp: UnixMs(number.0 * BLOCK_MS),
            spec_version: state.spec_version,
            neurons: state.neurons.clone(),
            params: SubnetParams {
                tempo,
                min_allowed_weights: 1,
                weights_rate_limit: BlockCount(RATE_LIMIT),
                weights_version_key: state.version_key,
                commit_reveal_enabled: state.commit_reveal,
                commit_reveal_version: Some(4),
                reveal_period: 1,
                mechanism_count: 1,
                registered_at: BlockNumber(state.registered_at),
                ..SubnetParams::default()
            },
            epoch: EpochClock::stateful(
                number,
                tempo,
                EpochIndex(state.index),
                BlockNumber(state.last_epoch),
                BlockNumber(state.pending_at),
                state.since_step,
            ),
            block_ms: BLOCK_MS,
            beacon: Some(Beacon {
                schedule: BEACON,
                public_key: vec![1],
                last_stored_round: state.newest_round(),
            }),
            own_commits: state.kept.iter().map(|kept| kept.commit.clone()).collect(),
            weights: vec![(Uid(0), state.row.clone())],
            own_nonce: state.nonce,
            ..ChainView::default()
        }
    }
}

/// Whether a call moves the hotkey's last update.
pub(super) fn is_update(call: &Call) -> bool {
    call.carries != Carries::Reveal
}

impl State {
    fn own(&self) -> &Neuron {
        &self.neurons[0]
    }

    /// As the owner may: the cycle begins anew.
    pub(super) fn set_tempo(&mut self, tempo: u64) {
        (self.tempo, self.last_epoch) = (tempo, self.number);
    }

    /// Another subnet gets the number, with the same hotkeys.
    pub(super) fn register_anew(&mut self) {
        self.registered_at = self.number;
        (self.index, self.last_epoch, self.pending_at, self.since_step) = (0, self.number, 0, 0);
        self.row.clear();
        self.kept.clear();
        for neuron in &mut self.neurons {
            let block = BlockNumber(self.number);
            (neuron.registered_at, neuron.last_update) = (block, block);
        }
    }

    fn is_limited_in(&self, block: u64) -> bool {
        let last_update = self.own().last_update.0;
        last_update > 0 && block - last_update < RATE_LIMIT
    }

    fn newest_round(&self) -> u64 {
        // The pulse takes a block to reach the chain.
        let number = self.rounds_end_at.map_or(self.number, |end| end.min(self.number));
        BEACON.newest_at(UnixMs(number.saturating_sub(1) * BLOCK_MS))
    }

    fn is_due(&self) -> bool {
        (self.pending_at > 0 && self.number >= self.pending_at)
            || self.number - self.last_epoch >= self.tempo
    }

    /// The chain's order: reveals, then the epoch, then extrinsics.
    fn begin_block(&mut self, defers: bool) {
        self.number += 1;
        self.open_commits();
        if self.is_due() && !defers {
            (self.last_epoch, self.pending_at, self.since_step) = (self.number, 0, 0);
            self.index += 1;
            return;
        }
        if self.is_due() {
            self.pending_at = self.number + 1;
        }
        self.since_step += 1;
    }

    /// As the chain does with commits whose epoch is over.
    pub(super) fn drop_commits(&mut self) {
        self.kept.clear();
    }

    pub(super) fn row(&self) -> Vec<(Uid, u16)> {
        self.row.clone()
    }

    fn lookahead(&self) -> u64 {
        self.index + u64::from(self.is_due())
    }

    fn open_commits(&mut self) {
        let (epoch, newest) = (self.lookahead(), self.newest_round());
        let mut kept = Vec::new();
        for entry in std::mem::take(&mut self.kept) {
            let opens = entry.commit.epoch.0 + 1;
            match entry.commit.reveal_round {
                Some(round) if epoch == opens && round <= newest => self.open(entry),
                _ if epoch <= opens => kept.push(entry),
                _ => {}
            }
        }
        self.kept = kept;
    }

    /// Without concealment, as a plain vector: within the rate limit, and it is an update.
    fn open(&mut self, entry: Kept) {
        if !self.commit_reveal {
            if self.is_limited_in(self.number) {
                return;
            }
            self.neurons[0].last_update = BlockNumber(self.number);
        }
        self.row = entry.vector;
    }

    fn dispatch(&mut self, call: &Call) -> Result<(), String> {
        if call.version_key < self.version_key {
            return Err("IncorrectWeightVersionKey".to_owned());
        }
        match &call.carries {
            Carries::Plain if self.commit_reveal => Err("CommitRevealEnabled".to_owned()),
            Carries::Plain => {
                self.row.clone_from(&call.vector);
                self.neurons[0].last_update = BlockNumber(self.number);
                Ok(())
            }
            Carries::Reveal => self.reveal(call),
            Carries::Timelocked { .. } | Carries::Hashed { .. } if !self.commit_reveal => {
                Err("CommitRevealDisabled".to_owned())
            }
            Carries::Timelocked { commit, reveal_round, .. } => {
                self.keep(*commit, Some(*reveal_round), call);
                Ok(())
            }
            Carries::Hashed { commit, .. } => {
                self.keep(*commit, None, call);
                Ok(())
            }
        }
    }

    fn keep(&mut self, hash: Digest, reveal_round: Option<u64>, call: &Call) {
        let (block, epoch) = (BlockNumber(self.number), EpochIndex(self.lookahead()));
        let commit = OwnCommit { hash, block, epoch, reveal_round };
        self.kept.push(Kept { commit, vector: call.vector.clone() });
        self.neurons[0].last_update = block;
    }

    fn reveal(&mut self, call: &Call) -> Result<(), String> {
        if !self.commit_reveal {
            return Err("CommitRevealDisabled".to_owned());
        }
        if let Some(error) = self.refuses_reveals {
            return Err(format!("SubtensorModule::{error}"));
        }
        let hash = commit_hash(&call.vector, &call.salt, call.version_key);
        let found = self.kept.iter().position(|kept| kept.commit.hash == hash);
        let at = found.ok_or("InvalidRevealCommitHashNotMatch")?;
        if self.kept[at].commit.epoch.0 + 1 != self.lookahead() {
            return Err("RevealTooEarly".to_owned());
        }
        self.row = self.kept.remove(at).vector;
        Ok(())
    }
}

/// What stands for a commit's bytes.
pub(super) fn commit_hash(vector: &[(Uid, u16)], salt: &[u16], version_key: u64) -> Digest {
    sha256(&serde_json::to_vec(&(vector, salt, version_key)).unwrap())
}

fn hash(number: u64, salt: u64) -> BlockHash {
    BlockHash(DigestBuilder::new("test/fork").number(number).number(salt).finish())
}
