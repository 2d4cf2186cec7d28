//! A world of machines: one clock, one chain, a network, a disk and a container engine per node.
//!
//! Everything happens in the order of one queue, chosen by one seed. The world performs effects as
//! the daemon would: it commits the writes, then acts. It can kill a node at any point between,
//! and it checks after every step what must hold at all times (`checks`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chain::{Chain, NETUID};
use super::host::{CrashPoint, Gpu, Host};
use super::prng::Prng;
use crate::admission::{Brings, Rejection, Rule, Verdict};
use crate::assignment::coordinators;
use crate::commitment::{Commitment, Location};
use crate::duplicates::Sketch;
pub(super) use crate::evidence::tests::metrics;
use crate::evidence::{Evidence, Flag, Receipt};
use crate::id::{
    AssignmentId, ContentDigest, Digest, DigestBuilder, Hotkey, RunId, Salt, Signature,
    SubmissionId,
};
use crate::inventory::DeviceKind;
use crate::lease::{Grant, HoldAnswer, LeaseAnswer, LeaseRefusal, PeerAnswer, PeerRequest, Seal};
use crate::machine::effect::{Effect, Note, Outcome, RunSpec};
use crate::machine::event::{CallId, Event, Question};
use crate::machine::operator::OperatorAnswer;
use crate::machine::{MachineConfig, ReferenceWork, WeightsMode};
use crate::outcome::{Ending, Fault};
use crate::policy::{GateMode, Policy};
use crate::review::{Review, ReviewFailure};
use crate::reward::Fingerprint;
use crate::submission::{Submission, SubmissionState};
use crate::submit_guard::CommitForm;
use crate::unit::{BlockCount, BlockNumber};

pub(super) const BLOCK_MS: u64 = 3_000;
pub(super) const RUN_MS: u64 = 10_000;
const RESTART_MS: u64 = 1_000;

/// What becomes of a content when it is judged and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It scores; the less, the more.
    Scores { nll_nanonats: u64 },
    /// Its run ends like this.
    Ends(Ending),
    /// It is not admitted.
    IsRejected,
}

/// What the network and the hosts do wrong, in 1,000 cases.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) lost_messages: u64,
    pub(super) duplicated_messages: u64,
    pub(super) delay_ms_max: u64,
    pub(super) crashes: u64,
    pub(super) failed_fetches: u64,
    pub(super) lost_extrinsics: u64,
}

/// A crash that a test asked for: at the n-th outcome with writes or effects that matches.
pub(super) struct PlannedCrash {
    pub(super) node: usize,
    pub(super) point: CrashPoint,
    pub(super) countdown: usize,
    pub(super) when: fn(&Outcome) -> bool,
}

#[allow(clippy::large_enum_variant, reason = "a test has few of them at a time")]
#[derive(Debug)]
pub(super) enum Happening {
    Reported { node: usize, life: u32, event: Event },
    Ticked { node: usize, life: u32 },
    BlockProduced,
    ViewRead { node: usize, life: u32, height: BlockNumber },
    ContainerExited { node: usize, life: u32, run: RunId, ending: Option<Ending> },
    RequestArrived { to: usize, call: CallId },
    QuestionEnded { id: u64, result: Result<PeerAnswer, String> },
    NodeStarted { node: usize },
}

/// A question on its way; it ends once, with an answer or without.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) peer: Hotkey,
    /// `None`: who keeps the leases asks, and not the machine.
    pub(super) question: Option<Question>,
    pub(super) request: PeerRequest,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: Prng,
    pub(super) now_ms: u64,
    pub(super) chain: Chain,
    pub(super) hosts: Vec<Host>,
    pub(super) faults: Faults,
    pub(super) fates: BTreeMap<ContentDigest, Fate>,
    /// Losses in trials that differ from the content's fate, by content, tier and unit.
    pub(super) results: BTreeMap<(ContentDigest, u8, u8), u64>,
    /// What containers trace.
    pub(super) architectures: BTreeMap<ContentDigest, Fingerprint>,
    /// Contents whose untrained model the gate finds something in.
    pub(super) unsound: BTreeSet<ContentDigest>,
    /// Runs that were started, by node.
    pub(super) started: Vec<(usize, RunSpec)>,
    pub(super) unreachable_contents: BTreeSet<ContentDigest>,
    /// Contents whose bytes were removed, by node.
    pub(super) dropped: Vec<(usize, ContentDigest)>,
    /// Over whose admission every node fails.
    pub(super) crashing_contents: BTreeSet<ContentDigest>,
    /// By what contents are compared, if they are.
    pub(super) sketches: BTreeMap<ContentDigest, Sketch>,
    /// Of what stored sketches were asked for, by node.
    pub(super) recalled: Vec<(usize, Vec<ContentDigest>)>,
    /// Stored sketches cannot be read.
    pub(super) has_damaged_sketches: bool,
    /// What contents compete with; full projects without.
    pub(super) brings: BTreeMap<ContentDigest, Brings>,
    pub(super) run_ms: u64,
    pub(super) planned_crash: Option<PlannedCrash>,
    /// Outcomes with writes or effects, per node: the places where a crash can matter.
    pub(super) crash_places: Vec<usize>,
    /// Verdicts asked for, by node and content.
    pub(super) judged: BTreeMap<(usize, ContentDigest), usize>,
    /// Requests as their receivers saw them, with the answers that left.
    pub(super) answers: Vec<(Asked, PeerAnswer)>,
    pub(super) questions: BTreeMap<u64, Asked>,
    /// Every copy of a question that reached the network.
    pub(super) calls: Vec<(u64, Asked)>,
    pub(super) questions_asked: u64,
    pub(super) tick_ms: u64,
    /// The next answers to these questions of these nodes make no sense.
    pub(super) nonsense: Vec<(usize, Option<Question>)>,
    /// What language models say, in this order; then they say nothing.
    pub(super) reviews: VecDeque<Result<Review, ReviewFailure>>,
    /// When which node asked a model about which content.
    pub(super) reviews_asked: Vec<(u64, usize, ContentDigest)>,
    /// What the operator was answered.
    pub(super) operator_answers: Vec<OperatorAnswer>,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    /// A node lost rows: it may grant again what somebody still runs.
    pub(super) was_forgetful: bool,
    pub(super) granted: BTreeMap<(Hotkey, AssignmentId, u32), Hotkey>,
    pub(super) acknowledged: BTreeSet<(usize, Digest)>,
    contents_made: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "world: seed {} at {} ms, block {}",
                self.seed,
                self.now_ms,
                self.chain.best()
            );
        }
    }
}

/// The loss of the reference.
pub(super) const REFERENCE_FATE: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

/// What others are measured by.
pub(super) fn reference() -> ReferenceWork {
    ReferenceWork { name: "reference".to_owned(), content: ContentDigest([0xee; 32]) }
}

pub(super) fn validator(index: usize) -> Hotkey {
    Hotkey([u8::try_from(index).unwrap() + 1; 32])
}

pub(super) fn miner(index: usize) -> Hotkey {
    Hotkey([u8::try_from(index).unwrap() + 101; 32])
}

impl World {
    /// Validators with one CPU slot each, and miners, on a chain at block 0. Nodes are up.
    /// One evaluation of a submission is enough.
    pub(super) fn new(seed: u64, validators: usize, miners: usize) -> Self {
        Self::with_replicas(seed, validators, miners, 1)
    }

    /// As [`World::new`], with as many replicas of each evaluation.
    pub(super) fn with_replicas(seed: u64, validators: usize, miners: usize, replicas: u8) -> Self {
        let mut policy = Policy::quick();
        policy.agreement.replicas = replicas;
        Self::with_policy(seed, validators, miners, policy)
    }

    /// As [`World::new`], under these rules. Where they pay places, there is one reference.
    pub(super) fn with_policy(seed: u64, validators: usize, miners: usize, policy: Policy) -> Self {
        let hotkeys: Vec<Hotkey> = (0..validators).map(validator).collect();
        let miners: Vec<Hotkey> = (0..miners).map(miner).collect();
        let endpoint = |(port, hotkey): (u16, &Hotkey)| (*hotkey, ([127, 0, 0, 1], port).into());
        let endpoints: BTreeMap<_, _> = (9_000..).zip(&hotkeys).map(endpoint).collect();
        let config = |hotkey: &Hotkey| MachineConfig {
            hotkey: *hotkey,
            netuid: NETUID,
            mechanism: 0,
            policy: policy.clone(),
            image: Digest([0xaa; 32]),
            dataset: Digest([0xdd; 32]),
            references: vec![reference()],
            endpoints: endpoints.clone(),
            weights: WeightsMode::Submit,
            weights_lead: BlockCount(10),
            commit_form: CommitForm::default(),
            review: None,
        };
        let mut world = Self {
            seed,
            rng: Prng::new(seed),
            now_ms: 1_000,
            chain: Chain::new(&hotkeys, &miners),
            hosts: hotkeys.iter().map(|hotkey| Host::new(config(hotkey))).collect(),
            faults: Faults::default(),
            fates: [(reference().content, REFERENCE_FATE)].into(),
            results: BTreeMap::new(),
            architectures: BTreeMap::new(),
            unsound: BTreeSet::new(),
            started: Vec::new(),
            unreachable_contents: BTreeSet::new(),
            dropped: Vec::new(),
            crashing_contents: BTreeSet::new(),
            sketches: BTreeMap::new(),
            recalled: Vec::new(),
            has_damaged_sketches: false,
            brings: BTreeMap::new(),
            run_ms: RUN_MS,
            planned_crash: None,
            crash_places: vec![0; validators],
            judged: BTreeMap::new(),
            answers: Vec::new(),
            questions: BTreeMap::new(),
            calls: Vec::new(),
            questions_asked: 0,
            tick_ms: 1_000,
            nonsense: Vec::new(),
            reviews: VecDeque::new(),
            reviews_asked: Vec::new(),
            operator_answers: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            was_forgetful: false,
            granted: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            contents_made: 0,
        };
        for node in 0..validators {
            world.start(node);
        }
        world.after(BLOCK_MS, Happening::BlockProduced);
        world
    }

    /// As [`World::new`], with so many GPUs in each node, which evaluations need.
    pub(super) fn on_gpus(seed: u64, validators: usize, miners: usize, gpus: usize) -> Self {
        let mut world = Self::new(seed, validators, miners);
        for node in 0..validators {
            world.kill(node);
            let host = &mut world.hosts[node];
            host.config.policy.run.device = DeviceKind::Gpu;
            host.gpus = vec![Gpu::sound(); gpus];
            world.start(node);
        }
        world
    }

    /// One node with so many GPUs, of which each evaluation needs several.
    pub(super) fn on_gangs(seed: u64, gpus: usize, device_count: u8) -> Self {
        let mut world = Self::on_gpus(seed, 1, 4, gpus);
        world.kill(0);
        world.hosts[0].config.policy.run.device_count = device_count;
        world.start(0);
        world
    }

    // What a test does to the world.

    /// A miner commits a new content with this fate; it is on chain in the next block.
    pub(super) fn submit(&mut self, miner: Hotkey, fate: Fate) -> SubmissionId {
        let content = self.new_content(|_| true);
        self.submit_content(miner, content, fate)
    }

    /// As [`Self::submit`], of a content that `node` will coordinate.
    pub(super) fn submit_to(&mut self, node: usize, miner: Hotkey, fate: Fate) -> SubmissionId {
        let hotkey = validator(node);
        let view = self.chain.view(self.chain.finalized(), &hotkey);
        let content = self.new_content(|content| coordinators(&view, &miner, content)[0] == hotkey);
        self.submit_content(miner, content, fate)
    }

    pub(super) fn submit_content(
        &mut self,
        miner: Hotkey,
        content: ContentDigest,
        fate: Fate,
    ) -> SubmissionId {
        self.fates.insert(content, fate);
        let commitment = Commitment { content, location: Location::Peers };
        let block = self.chain.commit(miner, commitment.to_string().into_bytes());
        Submission::identity(&miner, block, &content)
    }

    pub(super) fn new_content(&mut self, fits: impl Fn(&ContentDigest) -> bool) -> ContentDigest {
        loop {
            self.contents_made += 1;
            let digest = DigestBuilder::new("test/content").number(self.contents_made).finish();
            let content = ContentDigest(digest);
            if fits(&content) {
                return content;
            }
        }
    }

    /// Kills the process of a node, if it runs.
    pub(super) fn kill(&mut self, node: usize) {
        self.hosts[node].kill();
    }

    /// Kills a node and takes its rows; what it promised on them is forgotten with them.
    pub(super) fn lose_rows(&mut self, node: usize) {
        self.kill(node);
        self.hosts[node].disk.lose_rows();
        self.was_forgetful = true;
        self.granted.retain(|(coordinator, _, _), _| *coordinator != validator(node));
        self.acknowledged.retain(|(at, _)| *at != node);
    }

    /// Starts the process of a node from what its disk and its engine hold.
    pub(super) fn start(&mut self, node: usize) {
        let now_ms = self.now_ms;
        let host = &mut self.hosts[node];
        host.start(now_ms);
        let life = host.life;
        let found = crate::machine::event::Restarted {
            rows: host.disk.rows(),
            journal: host.disk.journal().to_vec(),
            devices: host.inventory(),
            leftovers: host.containers.keys().copied().collect(),
            has_lost_rows: host.disk.lacks_rows(),
        };
        self.check_promises(node);
        self.after(500, Happening::ViewRead { node, life, height: self.chain.finalized() });
        self.after(self.tick_ms, Happening::Ticked { node, life });
        self.deliver(node, life, Event::Restarted(Box::new(found)));
    }

    /// Asks `node` in the name of `peer`, past the network, and returns what it says.
    pub(super) fn ask_directly(
        &mut self,
        peer: Hotkey,
        node: usize,
        request: PeerRequest,
    ) -> PeerAnswer {
        let (call, now_ms) = (CallId(u64::MAX), self.now_ms);
        let outcome = self.hosts[node].apply(now_ms, Event::PeerAsked { call, peer, request });
        self.hosts[node].disk.commit_journal(&outcome.writes);
        self.hosts[node].disk.commit_rows(&outcome.writes);
        self.hosts[node].notes.extend(outcome.notes);
        let mut answers = outcome.effects.into_iter().filter_map(|effect| {
            let Effect::Answer { answer, .. } = effect else { return None };
            Some(answer)
        });
        answers.next().expect("every call is answered")
    }

    pub(super) fn crash_at(&mut self, node: usize, point: CrashPoint, when: fn(&Outcome) -> bool) {
        self.planned_crash = Some(PlannedCrash { node, point, countdown: 0, when });
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.step();
        }
    }

    /// Runs until `is_done`, and fails the test if that takes longer than `ms`.
    pub(super) fn run_until(&mut self, ms: u64, what: &str, is_done: impl Fn(&Self) -> bool) {
        let end = self.now_ms + ms;
        while !is_done(self) {
            assert!(self.now_ms < end, "{what}: not within {ms} ms\n{}", self.picture());
            self.step();
        }
    }

    // What a test asks the world.

    pub(super) fn state(&self, node: usize, id: SubmissionId) -> Option<SubmissionState> {
        let host = &self.hosts[node];
        let mut known = host.is_up().then(|| host.machine().submissions()).into_iter().flatten();
        known.find(|submission| submission.id == id).map(|submission| submission.state.clone())
    }

    pub(super) fn is_settled(&self, node: usize, id: SubmissionId) -> bool {
        self.state(node, id).is_some_and(|state| match state {
            SubmissionState::Committed { .. }
            | SubmissionState::Fetched
            | SubmissionState::Held { .. }
            | SubmissionState::Admitted => false,
            SubmissionState::Rejected { .. }
            | SubmissionState::Scored { .. }
            | SubmissionState::Failed { .. }
            | SubmissionState::Disputed => true,
        })
    }

    pub(super) fn is_settled_everywhere(&self, id: SubmissionId) -> bool {
        (0..self.hosts.len()).all(|node| self.is_settled(node, id))
    }

    pub(super) fn notes(&self, node: usize, is_meant: impl Fn(&Note) -> bool) -> usize {
        self.hosts[node].notes.iter().filter(|note| is_meant(note)).count()
    }

    pub(super) fn landed(&self, node: usize) -> usize {
        let hotkey = validator(node);
        self.chain.landed.iter().filter(|landed| landed.call.hotkey == hotkey).count()
    }

    /// Answers of `node` to completions, oldest first.
    pub(super) fn completions_at(&self, node: usize) -> Vec<LeaseAnswer> {
        let coordinator = validator(node);
        let answers = self.answers.iter().filter(|(asked, _)| asked.peer == coordinator);
        answers
            .filter_map(|(_, answer)| {
                let PeerAnswer::Completed(answer) = answer else { return None };
                Some(*answer)
            })
            .collect()
    }

    /// Why seals were refused at a node, in the order in which the answers left.
    pub(super) fn seals_refused_at(&self, node: usize) -> Vec<LeaseRefusal> {
        let at_node = |asked: &Asked| asked.peer == validator(node);
        let answers = self.answers.iter().filter(|(asked, _)| at_node(asked));
        answers
            .filter_map(|(_, answer)| {
                let PeerAnswer::Sealed(HoldAnswer::Refused(refusal)) = answer else { return None };
                Some(*refusal)
            })
            .collect()
    }

    // The world's own course.

    pub(super) fn after(&mut self, ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + ms, self.sequence), happening);
    }

    pub(super) fn step(&mut self) {
        let ((at, _), happening) = self.queue.pop_first().expect("blocks never end");
        self.now_ms = at;
        if self.is_for(&happening, |host| host.is_paused) {
            self.after(500, happening);
            return;
        }
        if self.is_for(&happening, |host| host.is_hung) {
            self.happen_to_hung(happening);
            return;
        }
        match happening {
            Happening::Reported { node, life, event } => self.deliver(node, life, event),
            Happening::Ticked { node, life } => {
                if self.hosts[node].life == life && self.hosts[node].is_up() {
                    self.after(self.tick_ms, Happening::Ticked { node, life });
                    self.deliver(node, life, Event::Ticked);
                    self.read_gpus(node);
                    self.renew_leases(node, life);
                }
            }
            Happening::BlockProduced => self.produce_block(),
            Happening::ViewRead { node, .. } if self.hosts[node].is_blind => {}
            Happening::ViewRead { node, life, height } => {
                let view = self.chain.view(height, &validator(node));
                self.deliver(node, life, Event::BlockFinalized(Box::new(view)));
            }
            Happening::ContainerExited { node, life, run, ending } => {
                self.end_run(node, life, run, ending);
            }
            Happening::RequestArrived { to, call } => self.ask(to, call),
            Happening::QuestionEnded { id, result } => self.answer(id, result),
            Happening::NodeStarted { node } => {
                if !self.hosts[node].is_up() {
                    self.start(node);
                }
            }
        }
        self.check();
    }

    /// The loop of a node hangs. Whoever keeps its leases goes on without it; all else waits.
    fn happen_to_hung(&mut self, happening: Happening) {
        if let Happening::Ticked { node, life } = happening {
            self.after(self.tick_ms, happening);
            let now = self.hosts[node].now(self.now_ms).mono;
            self.hosts[node].keeper.trip(now);
            self.kill_lapsed(node);
            self.renew_leases(node, life);
            return;
        }
        if let Happening::QuestionEnded { id, result } = &happening {
            if self.questions[id].question.is_none() {
                self.renewed(*id, result.clone());
                return;
            }
        }
        self.after(500, happening);
    }

    fn kill_lapsed(&mut self, node: usize) {
        let (life, unix) = (self.hosts[node].life, self.hosts[node].now(self.now_ms).unix);
        let lapsed: Vec<RunId> = self.hosts[node].keeper.to_stop().collect();
        for run in lapsed {
            if self.hosts[node].containers.remove(&run).is_some() {
                let (ending, metrics, ended_at) = (Ending::LeaseLost, None, unix);
                let event = Event::RunEnded { run, ending, metrics, ended_at, salt: salt(&run) };
                self.after(0, Happening::Reported { node, life, event });
            }
        }
    }

    fn is_for(&self, happening: &Happening, is_so: fn(&Host) -> bool) -> bool {
        let node = match happening {
            Happening::Reported { node, .. }
            | Happening::Ticked { node, .. }
            | Happening::ViewRead { node, .. }
            | Happening::ContainerExited { node, .. }
            | Happening::RequestArrived { to: node, .. }
            | Happening::NodeStarted { node } => *node,
            Happening::QuestionEnded { id, .. } => match self.questions.get(id) {
                Some(asked) => asked.node,
                None => return false,
            },
            Happening::BlockProduced => return false,
        };
        is_so(&self.hosts[node])
    }

    fn produce_block(&mut self) {
        self.chain.produce_block();
        let height = self.chain.finalized();
        for node in 0..self.hosts.len() {
            let life = self.hosts[node].life;
            let delay = self.rng.below(self.faults.delay_ms_max.max(1));
            self.after(delay, Happening::ViewRead { node, life, height });
        }
        self.after(BLOCK_MS, Happening::BlockProduced);
        self.check_landed();
    }

    fn end_run(&mut self, node: usize, life: u32, run: RunId, ending: Option<Ending>) {
        let host = &mut self.hosts[node];
        if host.life != life || !host.is_up() {
            return;
        }
        let Some(spec) = host.containers.remove(&run) else { return };
        let fate = self.fates[&spec.assignment.content].clone();
        let is_unsound = self.unsound.contains(&spec.assignment.content);
        let own_ending = match fate {
            _ if is_unsound && spec.untrained == GateMode::Reject => {
                Ending::UntrainedNotCausal { tokens: 64 }
            }
            Fate::Scores { .. } | Fate::IsRejected => Ending::Completed,
            Fate::Ends(ending) => ending,
        };
        let ending = ending.or(host.run_fault.clone()).unwrap_or(own_ending);
        let metrics = match (ending.fault(), &self.fates[&spec.assignment.content]) {
            (Fault::None, Fate::Scores { nll_nanonats }) => {
                let (content, tier, unit) =
                    (spec.assignment.content, spec.assignment.tier, spec.assignment.unit);
                let own = self.results.get(&(content, tier, unit)).unwrap_or(nll_nanonats);
                let mut metrics = metrics(host.lie_nanonats.unwrap_or(*own));
                metrics.conduct.architecture = self.architectures.get(&content).cloned();
                let flags = is_unsound && spec.untrained == GateMode::Flag;
                metrics.conduct.flags = flags.then_some(Flag::NotCausal).into_iter().collect();
                Some(metrics)
            }
            _ => None,
        };
        let ended_at = host.now(self.now_ms).unix;
        self.deliver(
            node,
            life,
            Event::RunEnded { run, ending, metrics, ended_at, salt: salt(&run) },
        );
    }

    fn ask(&mut self, to: usize, call: CallId) {
        // The question may have ended by now: its receiver cannot know.
        let (_, asked) = self.calls[usize::try_from(call.0).unwrap()].clone();
        let (peer, request) = (validator(asked.node), asked.request);
        if self.is_connected(to, asked.node) {
            let life = self.hosts[to].life;
            self.deliver(to, life, Event::PeerAsked { call, peer, request });
        }
    }

    pub(super) fn is_connected(&self, one: usize, other: usize) -> bool {
        one == other || !(self.hosts[one].is_cut_off || self.hosts[other].is_cut_off)
    }

    /// A question of the keeper of a node's leases ended.
    fn renewed(&mut self, id: u64, result: Result<PeerAnswer, String>) {
        let Some(asked) = self.questions.remove(&id) else { return };
        let host = &mut self.hosts[asked.node];
        if host.life != asked.life || !host.is_up() {
            return;
        }
        let result = result.and_then(|answer| {
            let PeerAnswer::Renewed(answers) = answer else { return Err("nonsense".to_owned()) };
            Ok(answers)
        });
        let now = host.now(self.now_ms).mono;
        host.keeper.answered(now, asked.peer, result);
    }

    fn answer(&mut self, id: u64, result: Result<PeerAnswer, String>) {
        let Some(asked) = self.questions.get(&id).cloned() else { return };
        let (peer, question) = (asked.peer, asked.question);
        let nonsense = self.nonsense.iter().position(|wanted| *wanted == (asked.node, question));
        let result = match nonsense {
            None => result,
            Some(index) => {
                self.nonsense.remove(index);
                Ok(PeerAnswer::Released(LeaseAnswer::Accepted))
            }
        };
        let (node, life) = (asked.node, asked.life);
        if let Some(question) = question {
            self.questions.remove(&id);
            self.deliver(node, life, Event::PeerAnswered { peer, question, result });
        } else {
            self.renewed(id, result);
            self.tell_news(node, life);
        }
    }

    /// Sends the renewals that are due.
    fn renew_leases(&mut self, node: usize, life: u32) {
        let host = &mut self.hosts[node];
        if host.life != life || !host.is_up() {
            return;
        }
        let now = host.now(self.now_ms).mono;
        for ask in host.keeper.due(now) {
            let request = PeerRequest::Renew(ask.renewals);
            self.send_question(node, ask.peer.hotkey, None, request);
        }
    }

    /// The dead man's switch, and what the keeper of the leases has to tell.
    fn tell_news(&mut self, node: usize, life: u32) {
        let host = &mut self.hosts[node];
        if host.life != life || !host.is_up() {
            return;
        }
        let now = host.now(self.now_ms).mono;
        host.keeper.trip(now);
        for event in host.keeper.take_news() {
            self.deliver_one(node, life, event);
        }
    }

    /// Gives an event to a node, after what the keeper of its leases has to tell.
    pub(super) fn deliver(&mut self, node: usize, life: u32, event: Event) {
        self.tell_news(node, life);
        self.deliver_one(node, life, event);
    }

    /// Gives an event to a node: commits what it writes, then does what it wants, unless it dies.
    fn deliver_one(&mut self, node: usize, life: u32, event: Event) {
        let host = &mut self.hosts[node];
        if host.life != life || !host.is_up() {
            return;
        }
        let mut outcome = host.apply(self.now_ms, event);
        let crash = self.crash_now(node, &outcome);
        let host = &mut self.hosts[node];
        if crash != Some(CrashPoint::BeforeWrites) {
            host.disk.commit_journal(&outcome.writes);
        }
        if !matches!(crash, Some(CrashPoint::BeforeWrites | CrashPoint::AfterJournal)) {
            host.disk.commit_rows(&outcome.writes);
            host.notes.append(&mut outcome.notes);
        }
        let effects = match crash {
            None | Some(CrashPoint::AfterEffects) => outcome.effects.len(),
            Some(CrashPoint::AfterHalfTheEffects) => outcome.effects.len() / 2,
            Some(CrashPoint::BeforeWrites | CrashPoint::AfterJournal | CrashPoint::AfterWrites) => {
                0
            }
        };
        for effect in outcome.effects.into_iter().take(effects) {
            self.perform(node, effect);
        }
        if crash.is_some() {
            self.hosts[node].kill();
            self.after(RESTART_MS, Happening::NodeStarted { node });
        }
    }

    fn crash_now(&mut self, node: usize, outcome: &Outcome) -> Option<CrashPoint> {
        if outcome.writes.is_empty() && outcome.effects.is_empty() {
            return None;
        }
        self.crash_places[node] += 1;
        if let Some(planned) = &mut self.planned_crash {
            if planned.node == node && (planned.when)(outcome) {
                if planned.countdown == 0 {
                    return self.planned_crash.take().map(|planned| planned.point);
                }
                planned.countdown -= 1;
            }
        }
        let index = self.rng.happens(self.faults.crashes).then(|| self.rng.below(5))?;
        Some(CrashPoint::ALL[usize::try_from(index).unwrap()])
    }

    /// A receipt for `grant` as an honest `worker` would make it.
    pub(super) fn receipt(&self, worker: Hotkey, grant: &Grant) -> Receipt {
        let assignment = &grant.assignment;
        let now = self.hosts[0].now(self.now_ms).unix;
        let evidence = Evidence {
            genesis: self.chain.view(BlockNumber(0), &worker).genesis,
            netuid: NETUID,
            assignment: assignment.id,
            submission: assignment.submission,
            tier: grant.assignment.tier,
            unit: grant.assignment.unit,
            content: assignment.content,
            lease: grant.lease,
            attempt: grant.attempt,
            run: RunId([7; 32]),
            coordinator: grant.coordinator,
            worker,
            policy: assignment.policy,
            dataset: self.hosts[0].config.dataset,
            image: self.hosts[0].config.image,
            device: "cpu_slot (one CPU)".to_owned(),
            ending: Ending::Completed,
            metrics: Some(metrics(400_000_000_000_000)),
            started_at: now,
            ended_at: now,
            salt: Salt(worker.0),
            coordinator_sealed: None,
            shown_before: BTreeMap::new(),
        };
        Receipt { evidence, signature: Signature([1; 64]) }
    }

    /// The promise of a receipt.
    pub(super) fn seal(receipt: &Receipt) -> Seal {
        Seal::of(&receipt.evidence, Signature([2; 64]))
    }

    pub(super) fn rejection() -> Verdict {
        Verdict::Rejected { rejection: Rejection::new(Rule::ContractFile, "there is no model.py") }
    }
}

/// One that differs from run to run.
pub(super) fn salt(run: &RunId) -> Salt {
    Salt(run.0)
}
