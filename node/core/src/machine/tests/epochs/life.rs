//! One validator's life on that chain: endpoints that hang and lag, a process that dies anywhere,
//! and what is checked of it after every block.

use std::collections::{BTreeMap, BTreeSet};

use super::fork::{commit_hash, is_update, Block, Call, Forks, State, NETUID, OWN, RATE_LIMIT};
use crate::commitment::Location;
use crate::id::{BlockHash, ContentDigest, Digest, DigestBuilder, Hotkey, IntentId, Uid};
use crate::limits::REORGANISED_BLOCKS_MAX;
use crate::machine::effect::{Effect, Halt, Outcome, WeightsToSign};
use crate::machine::event::{Event, Restarted};
use crate::machine::tests::host::{CrashPoint, Host};
use crate::machine::tests::prng::Prng;
use crate::machine::{MachineConfig, WeightsMode};
use crate::policy::Policy;
use crate::rows::{Carries, JournalStep, Row, SignedExtrinsic, Write};
use crate::submission::{Submission, SubmissionState};
use crate::submit_guard::{CommitForm, WeightsForm};
use crate::unit::{BlockCount, BlockNumber};
use crate::view::{ChainView, Neuron};

pub(super) const LEAD: u64 = 100;
const MINERS: u16 = 6;
/// Blocks that finality is behind, at most.
pub(super) const LAG_MAX: u64 = 20;

/// Reachable blocks in its window with which an epoch must have a vector. Hash commits need two
/// extrinsics in an epoch, the second after the first: the reveal of the epoch before, and theirs.
const REACHABLE_MIN: usize = 10;
const REACHABLE_MIN_HASHED: usize = 2 * REACHABLE_MIN;

/// What goes wrong, each in so many of 1,000 blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) crashes: u64,
    pub(super) reorganisations: u64,
    pub(super) outages: u64,
    pub(super) lost_extrinsics: u64,
    pub(super) upgrades: u64,
    pub(super) triggers: u64,
    pub(super) tempo_changes: u64,
    pub(super) lag_changes: u64,
    pub(super) deferrals: u64,
    pub(super) new_miners: u64,
    pub(super) failed_searches: u64,
    /// Signatures and searches that take some blocks.
    pub(super) slow_answers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Up,
    Hanging,
    Lagging(u64),
}

#[derive(Debug)]
pub(super) struct Life {
    seed: u64,
    rng: Prng,
    pub(super) faults: Faults,
    pub(super) chain: Forks,
    pub(super) host: Host,
    pub(super) lag: u64,
    endpoints: [(Endpoint, u64); 2],
    pub(super) down_until: u64,
    next_miner: u64,
    pub(super) signed: BTreeMap<Digest, Call>,
    /// The runtime of every block that the node saw.
    runtimes: BTreeMap<BlockHash, u32>,
    /// Blocks of each epoch in which the node saw that it could set weights.
    reachable: BTreeMap<u64, BTreeSet<u64>>,
    /// Epochs with an update of ours on the finalized chain.
    pub(super) updated: BTreeSet<u64>,
    landed: BTreeSet<IntentId>,
    /// Something else signs with the same hotkey.
    pub(super) has_rival: bool,
    /// The chain takes nothing from it, so no epoch is owed.
    pub(super) is_barred: bool,
    pub(super) halted: Option<Halt>,
    /// Searches take until they are released.
    pub(super) holds_searches: bool,
    /// Signatures of vectors take until they are released.
    pub(super) holds_vectors: bool,
    /// Signatures of reveals do.
    pub(super) holds_reveals: bool,
    /// Answers that are not there yet, and the block in which they come.
    held: Vec<(u64, Event)>,
    pub(super) epochs: u64,
    pub(super) crashes: u64,
    pub(super) missed_for_lack_of_blocks: u64,
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, lag, endpoints, .. } = self;
            eprintln!(
                "epochs: seed {seed} (ASSAY_SEED={seed} repeats it), block {}, finalized {}, \
                 lag {lag}, endpoints {endpoints:?}, faults {:?}",
                self.chain.best(),
                self.chain.finalized(),
                self.faults
            );
            eprintln!("{}", self.latest_notes());
        }
    }
}

impl Life {
    pub(super) fn new(seed: u64, faults: Faults, commit: Option<CommitForm>) -> Self {
        let mut rng = Prng::new(seed);
        let neuron = |uid: u16| Neuron {
            uid: Uid(uid),
            hotkey: if uid == 0 { OWN } else { miner(uid.into()) },
            validator_permit: uid == 0,
            ..Neuron::default()
        };
        let neurons = (0..=MINERS).map(neuron).collect();
        let tempo = 12 + rng.below(100);
        let config = MachineConfig {
            hotkey: OWN,
            netuid: NETUID,
            mechanism: 0,
            policy: Policy::quick(),
            image: Digest([0xaa; 32]),
            dataset: Digest([0xdd; 32]),
            references: Vec::new(),
            endpoints: BTreeMap::new(),
            weights: WeightsMode::Submit,
            weights_lead: BlockCount(LEAD),
            commit_form: commit.unwrap_or_default(),
            review: None,
        };
        let mut life = Self {
            seed,
            rng,
            faults,
            chain: Forks::new(neurons, tempo, commit.is_some()),
            host: Host::new(config),
            lag: 3,
            endpoints: [(Endpoint::Up, 0); 2],
            down_until: 0,
            next_miner: u64::from(MINERS) + 1,
            signed: BTreeMap::new(),
            runtimes: BTreeMap::new(),
            reachable: BTreeMap::new(),
            updated: BTreeSet::new(),
            landed: BTreeSet::new(),
            has_rival: false,
            is_barred: false,
            halted: None,
            holds_searches: false,
            holds_vectors: false,
            holds_reveals: false,
            held: Vec::new(),
            epochs: 0,
            crashes: 0,
            missed_for_lack_of_blocks: 0,
        };
        for uid in 1..=MINERS {
            life.score(miner(uid.into()), 0);
        }
        life.start();
        life
    }

    fn now_ms(&self) -> u64 {
        1_000 + self.chain.best() * super::fork::BLOCK_MS
    }

    /// A submission that was scored while nobody looked; it counts from the next start on.
    fn score(&mut self, hotkey: Hotkey, committed_at: u64) {
        let digest = DigestBuilder::new("test/scored").bytes(&hotkey.0).number(committed_at);
        let content = ContentDigest(digest.finish());
        let committed_at = BlockNumber(committed_at);
        let seed = BlockHash([9; 32]);
        let mut row = Submission::committed(hotkey, committed_at, content, Location::Peers, seed);
        row.state = SubmissionState::Scored { points: 1 + self.rng.below(1_000) };
        self.host.disk.commit_rows(&[Write::Put(Row::Submission(row))]);
    }

    /// The answers of searches and signatures that took long.
    pub(super) fn release_answers(&mut self) {
        self.holds_searches = false;
        (self.holds_vectors, self.holds_reveals) = (false, false);
        self.bring_answers(u64::MAX);
    }

    /// The answer to an effect, at once or some blocks later.
    fn answer(&mut self, event: Event) -> Option<Event> {
        if !self.rng.happens(self.faults.slow_answers) {
            return Some(event);
        }
        let due = self.chain.best() + 1 + self.rng.below(3);
        self.held.push((due, event));
        None
    }

    fn bring_answers(&mut self, until: u64) {
        let all = std::mem::take(&mut self.held);
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(due, _)| *due <= until);
        self.held = later;
        for (_, event) in due {
            if self.host.is_up() {
                self.apply(event);
            }
        }
    }

    /// The process dies and its rows are lost; what peers know of scores comes back.
    pub(super) fn lose_rows(&mut self) {
        self.host.kill();
        self.host.disk.lose_rows();
        self.score(miner(1), 0);
    }

    /// Another subnet gets the number; miners are scored on it, and a restart counts that.
    pub(super) fn register_anew(&mut self) {
        self.chain.change(State::register_anew);
        let block = self.chain.best();
        for uid in 1..=MINERS {
            self.score(miner(uid.into()), block);
        }
        self.host.kill();
    }

    fn start(&mut self) {
        // What an earlier life waited for never arrives.
        self.held.clear();
        let now_ms = self.now_ms();
        self.host.start(now_ms);
        let found = Restarted {
            rows: self.host.disk.rows(),
            journal: self.host.disk.journal().to_vec(),
            devices: self.host.inventory(),
            ..Restarted::default()
        };
        self.apply(Event::Restarted(Box::new(found)));
    }

    /// One more block, and everything that comes of it.
    pub(super) fn step(&mut self) {
        self.change_chain();
        let defers = self.rng.happens(self.faults.deferrals);
        self.chain.produce(defers);
        for block in self.chain.finalize(self.lag) {
            self.check_final(&block);
        }
        self.change_endpoints();
        if !self.host.is_up() {
            if self.chain.best() < self.down_until {
                return;
            }
            self.start();
        }
        self.bring_answers(self.chain.best());
        if self.host.is_up() {
            self.look();
        }
    }

    fn change_chain(&mut self) {
        if self.rng.happens(self.faults.lag_changes) {
            self.lag = self.rng.below(LAG_MAX + 1);
        }
        if self.rng.happens(self.faults.reorganisations) {
            let depth = 1 + self.rng.below(REORGANISED_BLOCKS_MAX);
            self.chain.reorganise(depth);
        }
        if self.rng.happens(self.faults.upgrades) {
            self.chain.upgrades_next = true;
        }
        if self.rng.happens(self.faults.triggers) {
            let fires_at = self.chain.best() + 10;
            self.chain.change(|state| {
                if state.pending_at == 0 && !state.commit_reveal {
                    state.pending_at = fires_at;
                }
            });
        }
        if self.rng.happens(self.faults.tempo_changes) {
            let tempo = 12 + self.rng.below(100);
            self.chain.change(|state| state.set_tempo(tempo));
        }
        if self.rng.happens(self.faults.new_miners) {
            self.replace_miner();
        }
    }

    pub(super) fn replace_miner(&mut self) {
        // The first one stays, so that there are points at any time.
        let uid = 2 + usize::try_from(self.rng.below(u64::from(MINERS) - 1)).unwrap();
        let (hotkey, registered_at) = (miner(self.next_miner), self.chain.best());
        self.next_miner += 1;
        self.chain.change(|state| {
            state.neurons[uid].hotkey = hotkey;
            state.neurons[uid].registered_at = BlockNumber(registered_at);
        });
        self.score(hotkey, registered_at + 1);
    }

    fn change_endpoints(&mut self) {
        let best = self.chain.best();
        for at in 0..self.endpoints.len() {
            if self.endpoints[at].1 > best {
                continue;
            }
            self.endpoints[at].0 = Endpoint::Up;
            if self.rng.happens(self.faults.outages) {
                let kind = self.rng.below(3);
                let state = if kind == 0 {
                    Endpoint::Lagging(1 + self.rng.below(3))
                } else {
                    Endpoint::Hanging
                };
                // Now and then both are gone for long.
                let longest = if self.rng.happens(200) { 150 } else { 12 };
                let blocks = 1 + self.rng.below(longest);
                self.endpoints[at] = (state, best + blocks);
            }
        }
    }

    /// How many blocks behind the best one the node sees, if it sees anything.
    fn sees(&self) -> Option<u64> {
        self.endpoints.iter().find_map(|(state, _)| match state {
            Endpoint::Up => Some(0),
            Endpoint::Lagging(blocks) => Some(*blocks),
            Endpoint::Hanging => None,
        })
    }

    /// The node reads the best and the finalized block, in either order.
    fn look(&mut self) {
        let Some(behind) = self.sees() else { return };
        let height = self.chain.best().saturating_sub(behind).max(self.chain.finalized());
        let head = self.chain.view(height);
        self.note_reachable(&head);
        self.runtimes.insert(head.hash, head.spec_version);
        let finalized = self.chain.view(self.chain.finalized());
        self.runtimes.insert(finalized.hash, finalized.spec_version);
        let mut events =
            vec![Event::BestBlock(Box::new(head)), Event::BlockFinalized(Box::new(finalized))];
        if self.rng.happens(500) {
            events.reverse();
        }
        for event in events {
            if self.host.is_up() {
                self.apply(event);
            }
        }
    }

    fn note_reachable(&mut self, head: &ChainView) {
        let left = head.epoch.next_epoch_block.unwrap().since(head.number).0;
        let last_update = head.neurons[0].last_update.0;
        let is_free = last_update == 0 || head.number.0 + 1 - last_update >= RATE_LIMIT;
        let began = head.epoch.last_epoch_block.0;
        let is_settled =
            self.chain.finalized() >= began || head.number.0 >= began + REORGANISED_BLOCKS_MAX;
        if (2..=LEAD).contains(&left) && is_free && is_settled {
            self.reachable.entry(head.epoch.index.0).or_default().insert(head.number.0);
        }
    }

    fn apply(&mut self, event: Event) {
        let mut queue = vec![event];
        while let Some(event) = queue.pop() {
            if !self.host.is_up() {
                return;
            }
            let now_ms = self.now_ms();
            let outcome = self.host.apply(now_ms, event);
            queue.extend(self.commit_and_perform(outcome));
        }
    }

    /// Commits and performs an outcome, dying somewhere if chance says so.
    fn commit_and_perform(&mut self, outcome: Outcome) -> Vec<Event> {
        let matters = !outcome.writes.is_empty() || !outcome.effects.is_empty();
        let dies = matters && self.rng.happens(self.faults.crashes);
        let at = usize::try_from(self.rng.below(5)).unwrap();
        let point = dies.then(|| CrashPoint::ALL[at]);
        if point == Some(CrashPoint::BeforeWrites) {
            return self.die();
        }
        self.host.disk.commit_journal(&outcome.writes);
        if point == Some(CrashPoint::AfterJournal) {
            return self.die();
        }
        self.host.disk.commit_rows(&outcome.writes);
        self.host.notes.extend(outcome.notes);
        if point == Some(CrashPoint::AfterWrites) {
            return self.die();
        }
        let half = outcome.effects.len().div_ceil(2);
        let mut events = Vec::new();
        for (index, effect) in outcome.effects.into_iter().enumerate() {
            if point == Some(CrashPoint::AfterHalfTheEffects) && index >= half {
                return self.die();
            }
            events.extend(self.perform(effect));
        }
        if point.is_some() {
            return self.die();
        }
        events
    }

    fn die(&mut self) -> Vec<Event> {
        self.host.kill();
        self.crashes += 1;
        self.down_until = self.chain.best() + self.rng.below(4);
        Vec::new()
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::SignWeights(to_sign) => {
                let is_reveal = matches!(to_sign.form, WeightsForm::Reveal { .. });
                let event = self.sign(to_sign);
                let is_held = if is_reveal { self.holds_reveals } else { self.holds_vectors };
                if is_held {
                    self.held.push((u64::MAX, event));
                    return None;
                }
                self.answer(event)
            }
            Effect::SendWeights { intent, bytes, .. } => {
                let result = self.send(&bytes);
                Some(Event::WeightsSent { intent, result })
            }
            Effect::TraceWeights { intent, hashes, after, until } => {
                let result = if self.rng.happens(self.faults.failed_searches) {
                    Err("the endpoint lacks the block's body".to_owned())
                } else {
                    Ok(self.chain.trace(&hashes, after.0, until.0))
                };
                let event = Event::WeightsTraced { intent, result };
                if self.holds_searches {
                    self.held.push((u64::MAX, event));
                    return None;
                }
                self.answer(event)
            }
            Effect::Halt(halt) => {
                assert!(self.has_rival, "nobody else signs here: {halt:?}");
                self.halted = Some(halt);
                None
            }
            Effect::FetchContent { .. }
            | Effect::Admit { .. }
            | Effect::RecallSketches { .. }
            | Effect::Review { .. }
            | Effect::Answer { .. }
            | Effect::AnswerOperator { .. }
            | Effect::ReadDevice { .. }
            | Effect::ProbeDevice { .. }
            | Effect::AskPeer { .. }
            | Effect::StartRun(_)
            | Effect::StopRun { .. }
            | Effect::DropContent { .. }
            | Effect::RemoveLeftover { .. }
            | Effect::SignSeal { .. }
            | Effect::SignReceipt { .. } => None,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let call: Call = serde_json::from_slice(bytes).unwrap();
        if self.sees().is_none() {
            return Err("no endpoint".to_owned());
        }
        if self.rng.happens(self.faults.lost_extrinsics) {
            // Said yes, and forgot.
            return Ok(());
        }
        self.chain.send(call)
    }

    fn sign(&mut self, to_sign: WeightsToSign) -> Event {
        let WeightsToSign { intent, vector, version_key, form, binding, .. } = to_sign;
        let finalized = self.chain.view(binding.anchor.0);
        assert_eq!(finalized.hash, binding.anchor_hash, "the anchor is not on the chain");
        let drawn: Vec<u16> =
            (0..8).map(|_| u16::try_from(self.rng.below(65_536)).unwrap()).collect();
        let (carries, salt) = match form {
            WeightsForm::Plain => (Carries::Plain, Vec::new()),
            WeightsForm::Timelocked { reveal_round, reveal_epoch, .. } => {
                let commit = commit_hash(&vector, &drawn, version_key);
                (Carries::Timelocked { commit, reveal_round, reveal_epoch }, Vec::new())
            }
            WeightsForm::Hashed => {
                let commit = commit_hash(&vector, &drawn, version_key);
                (Carries::Hashed { commit, salt: drawn }, Vec::new())
            }
            WeightsForm::Reveal { salt } => (Carries::Reveal, salt),
        };
        let call = Call {
            intent,
            nonce: binding.nonce,
            anchor: binding.anchor,
            anchor_hash: binding.anchor_hash,
            era_end: binding.anchor.plus(BlockCount(binding.era_blocks)),
            spec_version: self.runtimes[&binding.head],
            version_key,
            vector,
            carries,
            salt,
        };
        self.check_signature(&call);
        let signed = SignedExtrinsic {
            bytes: call.bytes(),
            hash: call.hash(),
            nonce: call.nonce,
            anchor: call.anchor,
            era_end: call.era_end,
            spec_version: call.spec_version,
            carries: call.carries.clone(),
            vector: Vec::new(),
        };
        self.signed.insert(signed.hash, call);
        Event::WeightsSigned { intent, result: Ok(signed) }
    }

    /// No second signature for one epoch that could land beside an earlier one that left the node.
    fn check_signature(&self, new: &Call) {
        let finalized = &self.chain.block(self.chain.finalized()).state;
        let best = self.chain.best();
        for old in self.signed.values().filter(|old| old.intent == new.intent) {
            let is_same_kind = is_update(old) == is_update(new);
            let has_left = self.is_journalled(old);
            let can_land = self.chain.finalized() < old.era_end.0
                && finalized.nonce <= old.nonce
                && finalized.spec_version <= old.spec_version;
            let is_dead = best + 1 >= old.era_end.0 || new.spec_version != old.spec_version;
            let excludes = old.nonce == new.nonce && is_dead;
            assert!(
                !is_same_kind || !has_left || !can_land || excludes,
                "a second signature: {old:?}, then {new:?}"
            );
        }
    }

    fn is_journalled(&self, call: &Call) -> bool {
        let hash = call.hash();
        self.host.disk.journal().iter().any(|entry| {
            matches!(
                &entry.step,
                JournalStep::Signed { signed } | JournalStep::RevealSigned { signed }
                    if signed.hash == hash
            )
        })
    }

    /// The vector that the journal planned before it was signed.
    fn planned(&self, hash: &Digest) -> Vec<(Uid, u16)> {
        let mut plans: BTreeMap<IntentId, Vec<(Uid, u16)>> = BTreeMap::new();
        for entry in self.host.disk.journal() {
            if let JournalStep::Intended { vector, .. } = &entry.step {
                plans.insert(entry.intent, vector.clone());
            }
            let JournalStep::Signed { signed } = &entry.step else { continue };
            if signed.hash == *hash {
                return plans[&entry.intent].clone();
            }
        }
        panic!("something landed that is not in the journal: {hash}");
    }

    fn check_final(&mut self, block: &Block) {
        for (call, result) in &block.included {
            if result.is_err() || !is_update(call) || !self.signed.contains_key(&call.hash()) {
                continue;
            }
            assert!(self.landed.insert(call.intent), "an intent landed twice: {call:?}");
            assert_eq!(call.vector, self.planned(&call.hash()), "not the plan");
            self.updated.insert(block.state.index);
        }
        if block.state.index > self.epochs {
            for epoch in self.epochs..block.state.index {
                self.check_epoch(epoch);
            }
            self.epochs = block.state.index;
        }
    }

    fn check_epoch(&mut self, epoch: u64) {
        let reachable = self.reachable.remove(&epoch).unwrap_or_default();
        if self.updated.contains(&epoch) || self.has_rival || self.is_barred {
            return;
        }
        self.missed_for_lack_of_blocks += 1;
        let least = match self.host.config.commit_form {
            CommitForm::Hashed => REACHABLE_MIN_HASHED,
            CommitForm::Timelocked => REACHABLE_MIN,
        };
        assert!(
            reachable.len() < least,
            "epoch {epoch} has no vector, though {} blocks were there: {reachable:?}",
            reachable.len()
        );
    }

    fn latest_notes(&self) -> String {
        let from = self.host.notes.len().saturating_sub(14);
        self.host.notes[from..].iter().map(|note| format!("  {note:?}\n")).collect()
    }

    /// Notes of one kind, over all lives.
    pub(super) fn noted(&self, is_meant: impl Fn(&crate::machine::effect::Note) -> bool) -> usize {
        self.host.notes.iter().filter(|note| is_meant(note)).count()
    }

    /// Vectors of ours on the finalized chain.
    pub(super) fn landed(&self) -> usize {
        self.landed.len()
    }
}

fn miner(index: u64) -> Hotkey {
    let mut key = [200; 32];
    key[..8].copy_from_slice(&index.to_le_bytes());
    Hotkey(key)
}
