//! A world of real machines: one clock, one chain, a network, a disk and a container engine each.
//!
//! Everything happens in one thread in the order of one queue, and chance comes from one seed. The
//! world does with an outcome what the daemon does: it commits the writes, then performs the
//! effects. It can end a process at any point between, and checks every invariant all the time.
//!
//! Files: here the course of events; `perform` (what effects do), `weather` (what goes wrong).

use std::collections::BTreeMap;
use std::rc::Rc;

use node_core::commitment::Location;
use node_core::id::{Digest, Hotkey, SubmissionId};
use node_core::inventory::DeviceKind;
use node_core::limits::UNABLE_AFTER_BLOCKS;
use node_core::machine::effect::{Effect, Outcome};
use node_core::machine::event::{Event, Restarted};
use node_core::machine::{MachineConfig, WeightsMode};
use node_core::policy::{FunnelRules, Policy, ScoringRules};
use node_core::rows::Write;
use node_core::submission::Submission;
use node_core::submit_guard::CommitForm;
use node_core::unit::BlockCount;
use node_history::Violation;
use serde::Serialize;

use crate::chain::{Chain, NETUID, WINDOW_BLOCKS};
use crate::fault::{Fault, Faults};
use crate::gpu::Gpu;
use crate::happening::{Asked, Happening, Queue, Spell};
use crate::host::Host;
use crate::invariants::{
    unfinished, Breach, Invariant, Scene, Sight, EVERYTHING_SETTLES, INVARIANTS,
};
use crate::keys::Keys;
use crate::ledger::{is_settled, Counts, Ledger};
use crate::net::Network;
use crate::plan::{Broken, Plan};
use crate::prng::Prng;
use crate::record::Recorder;
use crate::truth::Work;

/// Simulated time after which everything has to be settled once everything healed. No lease that is
/// renewed for its longest time and no seal that waits for as long as it may fits into it. The
/// blocks come on top for which a validator without a device is waited for, once for each time that
/// it may have to be noticed anew.
const LIVENESS_MS: u64 = 2 * 60 * 60 * 1000;
const LIVENESS_BLOCKS: u64 = 3 * UNABLE_AFTER_BLOCKS;

/// For how long the world goes on when everything is settled: what comes late comes then.
const QUIET_MS: u64 = 10 * 60 * 1000;

/// What ends a history that takes more events than it may.
const IS_LEFT_OFF: &str = "is_left_off";

/// How often it is asked whether everything is settled.
const LOOK_EVERY_MS: u64 = 10_000;

/// What a history was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Events that machines handled.
    pub steps: u64,
    /// Simulated time.
    pub simulated_ms: u64,
    /// How often things happened.
    pub counts: Counts,
    /// Submissions that have a result on the first node.
    pub settled: u64,
    /// Submissions that ran out of attempts somewhere.
    pub exhausted: u64,
    /// From healing until everything was settled.
    pub settled_after_ms: u64,
}

impl Report {
    /// Adds up; of the time to settle, the longest.
    pub fn add(&mut self, other: &Self) {
        let Self { steps, simulated_ms, counts, settled, exhausted, settled_after_ms } = other;
        self.steps += steps;
        self.simulated_ms += simulated_ms;
        self.counts.add(counts);
        self.settled += settled;
        self.exhausted += exhausted;
        self.settled_after_ms = self.settled_after_ms.max(*settled_after_ms);
    }
}

/// Where in the handling of one event a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CrashPoint {
    BeforeCommit,
    AfterCommit,
    BetweenEffects,
    AfterEffects,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    /// What goes wrong now: the plan's faults until everything heals.
    pub(crate) faults: Faults,
    pub(crate) rng: Prng,
    pub(crate) now_ms: u64,
    pub(crate) step: u64,
    /// The history is left off after so many.
    pub(crate) steps_max: u64,
    pub(crate) chain: Chain,
    pub(crate) is_chain_stalled: bool,
    pub(crate) hosts: Vec<Host>,
    pub(crate) nodes: BTreeMap<Hotkey, usize>,
    pub(crate) works: Vec<Work>,
    pub(crate) submissions: BTreeMap<SubmissionId, usize>,
    pub(crate) keys: Keys,
    pub(crate) network: Network,
    pub(crate) queue: Queue,
    pub(crate) ledger: Ledger,
    pub(crate) recorder: Option<Recorder>,
    invariants: Vec<&'static Invariant>,
    policy: Digest,
}

/// The validator of a node.
#[must_use]
pub fn validator(node: usize) -> Hotkey {
    Hotkey([u8::try_from(node).unwrap_or(u8::MAX).saturating_add(1); 32])
}

/// The miner of a submission.
#[must_use]
pub fn miner(submission: usize) -> Hotkey {
    let mut key = [0xee; 32];
    key[..8].copy_from_slice(&(submission as u64).to_be_bytes());
    Hotkey(key)
}

/// The tiers of `dev` with short windows: whoever is best goes on before the history is over.
pub(crate) fn tiers() -> FunnelRules {
    let rules = ScoringRules::dev().funnel;
    FunnelRules { window_blocks: WINDOW_BLOCKS, late_blocks: 2 * WINDOW_BLOCKS, ..rules }
}

fn policy(plan: &Plan) -> Policy {
    let mut policy = Policy::quick();
    policy.agreement.replicas = plan.replicas;
    if plan.has_tiers {
        policy.scoring.funnel = tiers();
    }
    if plan.has_gpus() {
        policy.run.device = DeviceKind::Gpu;
        policy.run.device_count = plan.gang();
    }
    policy
}

fn config(hotkey: Hotkey, policy: Policy, validators: &[Hotkey]) -> MachineConfig {
    let endpoint = |(port, hotkey): (u16, &Hotkey)| (*hotkey, ([127, 0, 0, 1], port).into());
    MachineConfig {
        hotkey,
        netuid: NETUID,
        mechanism: 0,
        policy,
        image: Digest([0xaa; 32]),
        dataset: Digest([0xdd; 32]),
        references: Vec::new(),
        endpoints: (9_000..).zip(validators).map(endpoint).collect(),
        weights: WeightsMode::Off,
        weights_lead: BlockCount(10),
        commit_form: CommitForm::default(),
        review: None,
    }
}

impl World {
    pub(crate) fn new(plan: &Plan, recorder: Option<Recorder>) -> Self {
        let mut rng = Prng::new(plan.seed ^ 0x5eed_0f70_0a57_0a11);
        let validators: Vec<Hotkey> = (0..plan.nodes).map(validator).collect();
        let miners: Vec<Hotkey> = (0..plan.submissions).map(miner).collect();
        let host = |(node, hotkey): (usize, &Hotkey)| {
            let config = config(*hotkey, policy(plan), &validators);
            let mut host = Host::new(config, plan.characters[node], plan.devices[node]);
            if plan.has_gpus() {
                host.gpus = vec![Gpu::default(); plan.devices[node] * usize::from(plan.gang())];
            }
            host
        };
        let is_checked =
            |invariant: &&Invariant| plan.ignored.iter().all(|ignored| *ignored != invariant.name);
        let mut world = Self {
            works: Work::draw_all(plan, &mut rng),
            plan: plan.clone(),
            faults: plan.faults.clone(),
            rng,
            now_ms: 1_000,
            step: 0,
            steps_max: u64::MAX,
            chain: Chain::new(&validators, &miners),
            is_chain_stalled: false,
            hosts: validators.iter().enumerate().map(host).collect(),
            nodes: validators.iter().enumerate().map(|(node, key)| (*key, node)).collect(),
            submissions: BTreeMap::new(),
            keys: Keys::new(plan.seed, &validators),
            network: Network::default(),
            queue: Queue::default(),
            ledger: Ledger::default(),
            recorder,
            invariants: INVARIANTS.iter().filter(is_checked).collect(),
            policy: policy(plan).digest(),
        };
        if let Some(recorder) = &mut world.recorder {
            recorder.name_hotkeys(plan);
        }
        world.set_clocks();
        world
    }

    /// Lives from the first event to the last.
    pub(crate) fn live(&mut self) -> Result<Report, Box<Violation>> {
        for submission in 0..self.plan.submissions {
            let after_ms = self.works[submission].committed_at_ms;
            self.after(after_ms, Happening::Committed { submission });
        }
        self.after(1, Happening::BlockDue);
        self.after(1, Happening::WeatherDue);
        if self.plan.has_gpus() {
            self.after(1, Happening::SensorsDue);
        }
        for node in 0..self.plan.nodes {
            self.start(node)?;
        }
        let storm_ends_ms = self.now_ms + self.plan.storm_ms;
        while self.now_ms < storm_ends_ms {
            self.go_on()?;
        }
        self.heal()?;
        let healed_ms = self.now_ms;
        self.go_on_until_settled(healed_ms)?;
        let settled_after_ms = self.now_ms - healed_ms;
        let end_ms = self.now_ms + QUIET_MS;
        while self.now_ms < end_ms {
            self.go_on()?;
        }
        self.look(&Sight::Ended)?;
        let report = self.report();
        self.grow_old()?;
        Ok(Report { settled_after_ms, ..report })
    }

    fn report(&self) -> Report {
        let settled =
            self.ledger.settled.iter().filter(|((node, _), state)| *node == 0 && is_settled(state));
        Report {
            steps: self.step,
            simulated_ms: self.now_ms,
            counts: self.ledger.counts,
            settled: settled.count() as u64,
            exhausted: self.ledger.exhausted.len() as u64,
            settled_after_ms: 0,
        }
    }

    fn go_on_until_settled(&mut self, healed_ms: u64) -> Result<(), Box<Violation>> {
        loop {
            let look_at_ms = self.now_ms + LOOK_EVERY_MS;
            while self.now_ms < look_at_ms {
                self.go_on()?;
            }
            let Some(breach) = unfinished(&self.scene()) else { return Ok(()) };
            if self.now_ms - healed_ms > LIVENESS_MS + LIVENESS_BLOCKS * self.plan.block_ms {
                return Err(self.violation(EVERYTHING_SETTLES, breach));
            }
        }
    }

    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene {
            plan: &self.plan,
            hosts: &self.hosts,
            ledger: &self.ledger,
            works: &self.works,
            submissions: &self.submissions,
            now_ms: self.now_ms,
        }
    }

    pub(crate) fn violation(&self, invariant: &str, breach: Breach) -> Box<Violation> {
        Box::new(Violation {
            invariant: invariant.to_owned(),
            detail: self
                .recorder
                .as_ref()
                .map_or_else(|| breach.detail.clone(), |recorder| recorder.tell(&breach.detail)),
            nodes: breach.nodes,
            step: self.step,
            at_ms: self.now_ms,
        })
    }

    /// Checks every invariant against what is seen, then remembers it.
    pub(crate) fn look(&mut self, sight: &Sight<'_>) -> Result<(), Box<Violation>> {
        let scene = self.scene();
        for invariant in &self.invariants {
            if let Err(breach) = invariant.check(&scene, sight) {
                return Err(self.violation(invariant.name, breach));
            }
        }
        self.ledger.learn(self.now_ms, &self.hosts, sight);
        Ok(())
    }

    pub(crate) fn after(&mut self, ms: u64, happening: Happening) {
        self.queue.put(self.now_ms + ms, happening);
    }

    /// From here on nothing is checked but what the caller checks.
    pub(crate) fn leave_invariants(&mut self) {
        self.invariants.clear();
    }

    /// Says in the journal what the world did.
    pub(crate) fn remark(&mut self, node: Option<usize>, text: impl FnOnce() -> String) {
        let (step, now_ms) = (self.step, self.now_ms);
        if let Some(recorder) = &mut self.recorder {
            recorder.remark(step, now_ms, node, text());
        }
    }

    pub(crate) fn go_on(&mut self) -> Result<(), Box<Violation>> {
        // Blocks come for ever, so something always does.
        let Some((at_ms, happening)) = self.queue.next() else { return Ok(()) };
        self.now_ms = at_ms;
        if let Some(node) = happening.node() {
            if self.has_to_wait(node, &happening) {
                self.hosts[node].backlog.push_back(happening);
                return Ok(());
            }
        }
        self.happen(happening)
    }

    pub(crate) fn happen(&mut self, happening: Happening) -> Result<(), Box<Violation>> {
        match happening {
            Happening::Reported { node, life, event } => {
                if self.hosts[node].is_up() && self.hosts[node].life == life {
                    self.note_doubt(node, &event);
                }
                self.deliver(node, life, *event, None)
            }
            Happening::SensorsDue => {
                self.read_gpus();
                Ok(())
            }
            Happening::Ticked { node, life } => {
                if self.hosts[node].life != life || !self.hosts[node].is_up() {
                    return Ok(());
                }
                self.after(self.plan.tick_ms, Happening::Ticked { node, life });
                if self.hosts[node].is_hung {
                    self.kill_lapsed(node);
                } else {
                    self.deliver(node, life, Event::Ticked, None)?;
                }
                self.renew_leases(node, life);
                Ok(())
            }
            Happening::BlockDue => {
                self.produce_block();
                Ok(())
            }
            Happening::ViewRead { node, life } => self.read_view(node, life),
            Happening::ContainerExited { node, run, ending } => self.exit(node, run, ending),
            Happening::RequestArrived { asked } => self.receive(&asked),
            Happening::QuestionEnded { asked, result } => self.hear(&asked, result),
            Happening::NodeStarted { node } => self.start(node),
            Happening::Committed { submission } => {
                self.commit(submission);
                Ok(())
            }
            Happening::WeatherDue => {
                self.change_weather();
                Ok(())
            }
            Happening::Over(spell) => self.end_spell(spell),
        }
    }

    fn commit(&mut self, index: usize) {
        let (miner, content) = (miner(index), self.works[index].content);
        let (block, seed) = self.chain.commit(miner, content);
        let submission = Submission::committed(miner, block, content, Location::Peers, seed);
        self.submissions.insert(submission.id, index);
        let policy = self.policy;
        if let Some(recorder) = &mut self.recorder {
            recorder.name_submission(index, &submission, policy);
        }
        self.remark(None, || format!("miner {index} commits s{index} for block {block}"));
    }

    fn produce_block(&mut self) {
        self.after(self.plan.block_ms, Happening::BlockDue);
        if self.is_chain_stalled {
            return;
        }
        self.chain.produce_block(self.now_ms);
        for node in 0..self.hosts.len() {
            let host = &self.hosts[node];
            if host.is_up() && !host.is_blind {
                let life = host.life;
                let delay = self.rng.below(2_000);
                self.after(delay, Happening::ViewRead { node, life });
            }
        }
    }

    fn read_view(&mut self, node: usize, life: u32) -> Result<(), Box<Violation>> {
        let host = &self.hosts[node];
        let Some(machine) = host.machine.as_ref().filter(|_| host.life == life) else {
            return Ok(());
        };
        let known = machine.view().map(|view| view.number.0);
        let offered = self.chain.finalized().0.saturating_sub(host.lag_blocks);
        // The machine passes over what is not newer; reading it costs more than that.
        if host.is_blind || known.is_some_and(|known| known >= offered) {
            return Ok(());
        }
        let view = Box::new(self.chain.view(host.lag_blocks));
        self.deliver(node, life, Event::BlockFinalized(view), None)
    }

    /// Starts a process from what its disk and its engine hold, unless it runs or is gone.
    pub(crate) fn start(&mut self, node: usize) -> Result<(), Box<Violation>> {
        let host = &mut self.hosts[node];
        if host.is_up() || host.is_gone {
            return Ok(());
        }
        host.start(self.now_ms);
        let life = host.life;
        let found = Restarted {
            rows: host.disk.rows(),
            journal: host.disk.journal().to_vec(),
            devices: host.inventory(),
            leftovers: host.containers.keys().copied().collect(),
            has_lost_rows: host.disk.is_incomplete,
        };
        self.look(&Sight::Started { node })?;
        self.after(500, Happening::ViewRead { node, life });
        let first_tick = 1 + self.rng.below(self.plan.tick_ms);
        self.after(first_tick, Happening::Ticked { node, life });
        self.deliver(node, life, Event::Restarted(Box::new(found)), None)
    }

    /// Ends a process, without a word to it.
    pub(crate) fn kill(&mut self, node: usize) {
        if self.hosts[node].is_up() {
            self.ledger.counts.crashes += 1;
            self.hosts[node].kill();
            self.network.drop_calls_to(node);
            self.remark(Some(node), || "the process dies".to_owned());
        }
    }

    /// The dead man's switch, and what the keeper of a node's leases has to tell.
    pub(crate) fn tell_news(&mut self, node: usize, life: u32) -> Result<(), Box<Violation>> {
        let host = &mut self.hosts[node];
        if host.life != life || !host.is_up() || host.is_hung {
            return Ok(());
        }
        let now = host.now(self.now_ms).mono;
        host.keeper.trip(now);
        host.keeper
            .take_news()
            .into_iter()
            .try_for_each(|event| self.handle(node, life, event, None))
    }

    /// Gives an event to a machine, after what the keeper of its leases has to tell.
    pub(crate) fn deliver(
        &mut self,
        node: usize,
        life: u32,
        event: Event,
        cause: Option<&Asked>,
    ) -> Result<(), Box<Violation>> {
        self.tell_news(node, life)?;
        self.handle(node, life, event, cause)
    }

    /// Gives an event to a machine: commits what it writes, then does what it wants, unless its
    /// process dies.
    fn handle(
        &mut self,
        node: usize,
        life: u32,
        event: Event,
        cause: Option<&Asked>,
    ) -> Result<(), Box<Violation>> {
        let host = &mut self.hosts[node];
        let now = host.now(self.now_ms);
        let Some(machine) = host.machine.as_mut().filter(|_| host.life == life) else {
            return Ok(());
        };
        if self.step >= self.steps_max {
            let breach = Breach { detail: "it takes more events".to_owned(), nodes: Vec::new() };
            return Err(self.violation(IS_LEFT_OFF, breach));
        }
        self.step += 1;
        let told = self.recorder.as_ref().map(|recorder| recorder.tell_event(&event));
        let is_tick = matches!(event, Event::Ticked);
        let outcome = machine.apply(now, event);
        host.keeper.hold(now.mono, machine.leases_held());
        if let (Some(recorder), Some(told)) = (&mut self.recorder, told) {
            let at = (self.step, self.now_ms, node, life);
            recorder.record(at, told, &outcome, (!is_tick).then_some(&*machine));
        }
        let crash = self.crash_point(&outcome);
        self.carry_out(node, outcome, crash, cause)?;
        if crash.is_some() {
            self.kill(node);
            let down_ms = 500 + self.rng.spread(1, 120_000);
            self.after(down_ms, Happening::NodeStarted { node });
            return Ok(());
        }
        self.look(&Sight::Handled { node })
    }

    fn carry_out(
        &mut self,
        node: usize,
        outcome: Outcome,
        crash: Option<CrashPoint>,
        cause: Option<&Asked>,
    ) -> Result<(), Box<Violation>> {
        let Outcome { writes, effects, .. } = outcome;
        if self.plan.broken == Some(Broken::EffectsBeforeCommit) {
            let is_committed = writes.is_empty();
            self.perform_all(node, effects, is_committed)?;
            if crash != Some(CrashPoint::BeforeCommit) {
                self.commit_all(node, writes, cause)?;
            }
            return Ok(());
        }
        if crash == Some(CrashPoint::BeforeCommit) {
            return self.tear(node, writes, cause);
        }
        self.commit_all(node, writes, cause)?;
        let mut effects = effects;
        match crash {
            None | Some(CrashPoint::AfterEffects) => {}
            Some(CrashPoint::BeforeCommit | CrashPoint::AfterCommit) => effects.clear(),
            Some(CrashPoint::BetweenEffects) => {
                let performed = self.rng.index(effects.len().max(1));
                effects.truncate(performed);
            }
        }
        self.perform_all(node, effects, true)
    }

    fn commit_all(
        &mut self,
        node: usize,
        writes: Vec<Write>,
        cause: Option<&Asked>,
    ) -> Result<(), Box<Violation>> {
        if writes.is_empty() {
            return Ok(());
        }
        self.look(&Sight::Committed { node, writes: &writes, cause })?;
        self.hosts[node].disk.commit_journal(&writes);
        self.hosts[node].disk.commit_rows(writes);
        Ok(())
    }

    /// What a crash leaves of a commit in flight: mostly nothing, sometimes all of it, or only its
    /// journal, which is synced first.
    fn tear(
        &mut self,
        node: usize,
        writes: Vec<Write>,
        cause: Option<&Asked>,
    ) -> Result<(), Box<Violation>> {
        if !self.rng.happens(self.faults.rate(Fault::UnsyncedWrites), 1_000) {
            return Ok(());
        }
        if self.rng.below(4) == 0 {
            self.hosts[node].disk.commit_journal(&writes);
            return Ok(());
        }
        self.commit_all(node, writes, cause)
    }

    fn perform_all(
        &mut self,
        node: usize,
        effects: Vec<Effect>,
        is_committed: bool,
    ) -> Result<(), Box<Violation>> {
        for effect in effects {
            self.look(&Sight::Performing { node, effect: &effect, is_committed })?;
            self.perform(node, effect)?;
        }
        Ok(())
    }

    /// Outcomes that only answer are many, and a crash there says little.
    fn crash_point(&mut self, outcome: &Outcome) -> Option<CrashPoint> {
        let of = match (outcome.writes.is_empty(), outcome.effects.is_empty()) {
            (true, true) => return None,
            (true, false) => 500_000,
            (false, _) => 10_000,
        };
        if !self.rng.happens(self.faults.rate(Fault::Crash), of) {
            return None;
        }
        Some(match self.rng.below(4) {
            0 => CrashPoint::BeforeCommit,
            1 => CrashPoint::AfterCommit,
            2 => CrashPoint::BetweenEffects,
            _ => CrashPoint::AfterEffects,
        })
    }

    /// Whether something that happens to a node waits until its process, or its loop, goes on.
    fn has_to_wait(&mut self, node: usize, happening: &Happening) -> bool {
        let host = &mut self.hosts[node];
        if host.is_stalled {
            return true;
        }
        let waits = host.is_hung && happening.is_for_the_loop();
        if let (true, Happening::ContainerExited { run, .. }) = (waits, happening) {
            if let Some(container) = host.containers.get_mut(run) {
                container.has_ended = true;
            }
        }
        waits
    }

    /// A loop that hung goes on with what waited for it, in its order.
    pub(crate) fn unhang(&mut self, node: usize) -> Result<(), Box<Violation>> {
        let host = &mut self.hosts[node];
        if !std::mem::take(&mut host.is_hung) || host.is_stalled {
            return Ok(());
        }
        let backlog = std::mem::take(&mut host.backlog);
        self.remark(Some(node), || "the loop goes on".to_owned());
        backlog.into_iter().try_for_each(|happening| self.happen(happening))
    }

    /// A process that was stopped goes on: time first, as in the daemon, then what waited.
    pub(crate) fn wake(&mut self, node: usize) -> Result<(), Box<Violation>> {
        if !self.hosts[node].is_stalled {
            return Ok(());
        }
        let host = &mut self.hosts[node];
        host.is_stalled = false;
        host.is_hung = false;
        host.awake_since_ms = self.now_ms;
        let backlog = std::mem::take(&mut host.backlog);
        let current = host.life;
        // A tick that an earlier life waited for may be there too.
        let (ticks, waiting): (Vec<_>, Vec<_>) = backlog.into_iter().partition(
            |happening| matches!(happening, Happening::Ticked { life, .. } if *life == current),
        );
        self.remark(Some(node), || "the process goes on".to_owned());
        for happening in ticks.into_iter().chain(waiting) {
            self.happen(happening)?;
        }
        Ok(())
    }

    pub(crate) fn end_later(&mut self, ms: u64, spell: Spell) {
        self.after(ms, Happening::Over(spell));
    }

    pub(crate) fn node_of(&self, hotkey: &Hotkey) -> Option<usize> {
        self.nodes.get(hotkey).copied()
    }

    /// Sends a question on its way, each copy by itself; it ends after its time at the latest.
    pub(crate) fn send(&mut self, asked: Asked) {
        let asked = Rc::new(asked);
        let arrivals = self.network.arrivals(&mut self.rng, &self.faults, (asked.from, asked.to));
        for delay in arrivals.into_iter().flatten() {
            self.after(delay, Happening::RequestArrived { asked: Rc::clone(&asked) });
        }
        let result = Err("no answer in time");
        self.after(node_core::limits::PEER_CALL_MS_MAX, Happening::QuestionEnded { asked, result });
    }
}
