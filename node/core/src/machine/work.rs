//! The worker's side: asking for leases, running them, keeping them, reporting what came out.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Evidence, Metrics, Receipt};
use crate::id::{Digest, Hotkey, RunId, Salt, Signature};
use crate::inventory::Device;
use crate::keeper::{Kept, Lapse};
use crate::lease::{
    AcquireRequest, Grant, HeldLease, HeldStage, HoldAnswer, LeaseAnswer, LeaseRefusal,
    PeerRequest, ReleaseReason, Renewal, Seal,
};
use crate::limits::{
    ACQUIRE_EVERY_MS, LEASES_HELD_MAX, LEASES_PER_ACQUIRE_MAX, REPLICA_NUMBERS_MAX, REVEAL_WAIT_MS,
    SHOWN_BEFORE_MAX,
};
use crate::machine::effect::{Effect, Note, Outcome, RunSpec};
use crate::machine::event::Question;
use crate::machine::Machine;
use crate::outcome::{Ending, Fault};
use crate::rows::{MeasurementRow, Row, RunRow, RunState, Table, Write};
use crate::trial::Trial;
use crate::unit::{MonoMs, Now, UnixMs};

/// How long a result waits for the next try to hand it in.
const REPORT_AGAIN_MS: u64 = 2_000;

/// An execution of this node, until its coordinator has acknowledged the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is stored.
    pub row: RunRow,
    pub(super) phase: Phase,
    /// When the lease was asked for: it is held from then on.
    pub(super) leased_at: MonoMs,
    report_at: MonoMs,
    give_up_at: MonoMs,
    /// When the result is shown whatever others do.
    show_at: MonoMs,
    has_started: bool,
    /// Longest life of its lease, and how long its sealed result waits for those of others.
    total_ms: u64,
}

/// Where a run is in this life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Stopping,
    Signing,
    ReadyToReport,
    Reporting,
    /// Its result is sealed, and is shown when others' are sealed too.
    Waiting,
}

/// How a run ended, as the runner reports it.
#[derive(Debug)]
pub(super) struct EndedRun {
    pub(super) run: RunId,
    pub(super) ending: Ending,
    pub(super) metrics: Option<Metrics>,
    pub(super) ended_at: UnixMs,
    pub(super) salt: Salt,
}

impl Run {
    /// Whether its container may still use the device.
    #[must_use]
    pub fn holds_device(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopping)
    }

    /// Whether its coordinator has its sealed result, which only waits to be shown: a restart
    /// interrupts nothing.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// Whether it ended and what came of it is stored.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.row.state != RunState::Started
    }

    /// A run that an earlier life started. Its container is removed, its lease given back; a
    /// result that was signed is handed in again.
    pub(super) fn resume(mut row: RunRow, total_ms: u64, now: Now) -> Self {
        if row.state == RunState::Started {
            let reason = ReleaseReason::RunEnded { ending: Ending::WorkerRestarted };
            row.state = RunState::Releasing { reason };
        }
        Self::new(row, Phase::ReadyToReport, total_ms, now.mono)
    }

    fn new(row: RunRow, phase: Phase, total_ms: u64, leased_at: MonoMs) -> Self {
        Self {
            row,
            phase,
            leased_at,
            report_at: leased_at,
            // Its own, and as long as another one's run may go on after it.
            give_up_at: leased_at.plus_ms(total_ms.saturating_mul(2)),
            show_at: leased_at.plus_ms(total_ms),
            total_ms,
            has_started: false,
        }
    }

    fn renewal(&self) -> Renewal {
        let stage = match self.row.state {
            RunState::Started if self.has_started => HeldStage::Running,
            RunState::Started => HeldStage::Preparing,
            RunState::Sealing { .. } | RunState::Completing { .. } | RunState::Releasing { .. } => {
                HeldStage::Sealed
            }
        };
        Renewal { held: self.item(), stage }
    }

    /// Whether its lease has to be kept: the others are being handed in or back.
    fn wants_renewal(&self) -> bool {
        matches!(self.row.state, RunState::Started | RunState::Sealing { .. })
    }

    fn item(&self) -> HeldLease {
        held(&self.row.grant)
    }
}

fn held(grant: &Grant) -> HeldLease {
    HeldLease { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt }
}

impl Machine {
    /// Longest time from the grant of a run of this tier to its end, and then from its seal to when
    /// it is shown.
    pub(super) fn lease_total_ms(&self, tier: u8) -> u64 {
        self.config.policy.limits_in(tier).lease_total_ms()
    }

    /// Asks coordinators of unsettled submissions for work, one question each at a time.
    pub(super) fn acquire_work(&mut self, now: Now, out: &mut Outcome) {
        let limits = &self.config.policy.run;
        let kind = limits.device;
        let wanted = self.leases_to_ask(now, self.placement.room(limits));
        let is_asking = self.peers.values().any(|peer| peer.acquire_asked_at.is_some());
        let cannot = self.is_stopping || self.is_catching_up();
        if cannot || wanted == 0 || is_asking {
            return;
        }
        // The one that has waited longest, so that those that never answer delay the others and do
        // not keep them from being asked.
        let due = self
            .coordinators_with_work()
            .into_iter()
            .filter_map(|hotkey| {
                let again_at = self.peers.get(&hotkey)?.acquire_again_at;
                Some((again_at, self.address_of(&hotkey)?))
            })
            .filter(|(again_at, _)| now.mono >= *again_at)
            .min_by_key(|(again_at, _)| *again_at);
        let Some((_, peer)) = due else { return };
        let request = PeerRequest::Acquire(AcquireRequest {
            device: kind,
            leases_max: u32::try_from(wanted).unwrap_or(u32::MAX),
            image: self.config.image,
            dataset: self.config.dataset,
            policy: self.policy_digest,
        });
        let Some(state) = self.peers.get_mut(&peer.hotkey) else { return };
        state.acquire_asked_at = Some(now.mono);
        out.perform(Effect::AskPeer { peer, question: Question::Acquire, request });
    }

    /// Coordinators of evaluations that this node can still take part in, others before ourselves.
    /// Found again only when something changed.
    fn coordinators_with_work(&mut self) -> Vec<Hotkey> {
        if let Some(known) = &self.asked_for_work {
            return known.clone();
        }
        let own = self.config.hotkey;
        let present = self.duties.present().count();
        let mut found: BTreeSet<Hotkey> = BTreeSet::new();
        let pending = std::mem::take(&mut self.pending);
        let open = pending.iter().filter(|(_, pending)| !pending.claimants.contains(&own));
        for (id, pending) in open {
            // Of many open evaluations the first few name everybody.
            if found.len() >= present {
                break;
            }
            let (helpers, for_itself) = (pending.helpers, pending.for_itself);
            found.extend(self.coordinators_with_helpers(&id.submission, helpers, for_itself));
        }
        self.pending = pending;
        let mut hotkeys: Vec<Hotkey> = found.into_iter().collect();
        hotkeys.sort_unstable_by_key(|hotkey| (*hotkey == own, *hotkey));
        self.asked_for_work = Some(hotkeys.clone());
        hotkeys
    }

    pub(super) fn on_acquired(
        &mut self,
        now: Now,
        peer: Hotkey,
        grants: Vec<Grant>,
        out: &mut Outcome,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(asked_at) = state.acquire_asked_at.take() else { return };
        state.acquire_again_at = now.mono.plus_ms(ACQUIRE_EVERY_MS);
        for grant in grants.into_iter().take(LEASES_PER_ACQUIRE_MAX) {
            if let Err(reason) = self.check_grant(&peer, &grant) {
                out.note(Note::GrantIgnored { coordinator: peer, reason: reason.to_owned() });
                self.decline(&peer, &grant, out);
                continue;
            }
            self.begin(now, asked_at, grant, out);
        }
    }

    /// Whether this node evaluates the trial for a coordinator that is there.
    pub(super) fn is_at_work_on(&self, trial: &Trial) -> bool {
        self.runs.values().map(|run| &run.row.grant).any(|grant| {
            grant.assignment.trial() == *trial && !self.duties.is_gone(&grant.coordinator)
        })
    }

    /// A grant is taken only for an assignment that this node derived and admitted itself.
    fn check_grant(&self, peer: &Hotkey, grant: &Grant) -> Result<(), &'static str> {
        if grant.coordinator != *peer {
            return Err("granted in the name of another validator");
        }
        if self.runs.len() >= LEASES_HELD_MAX {
            return Err("this node holds as many leases as it can keep");
        }
        let submission = self
            .submissions
            .get(&grant.assignment.submission)
            .ok_or("its submission is unknown here")?;
        if !submission.state.is_admitted() {
            return Err("its submission is not admitted here");
        }
        let (trial, replica) = (grant.assignment.trial(), grant.assignment.replica);
        if replica >= REPLICA_NUMBERS_MAX
            || !self.trials_of(submission).contains(&trial)
            || self.assignment_of(submission, trial, replica) != grant.assignment
        {
            return Err("this node derives another assignment");
        }
        if self.runs.contains_key(&grant.run_of(&self.config.hotkey)) {
            return Err("the grant is already known");
        }
        // A result that waits at another coordinator may be handed in here too: that one may be
        // gone.
        let is_in_the_way = |run: &Run| {
            let of_same = run.row.grant.assignment.trial() == trial;
            let at_same = run.row.grant.coordinator == *peer && run.wants_renewal();
            of_same && (at_same || run.row.state == RunState::Started)
        };
        if self.runs.values().any(is_in_the_way) {
            return Err("this node already evaluates it");
        }
        if self.devices.is_empty() {
            return Err("this node has no device");
        }
        Ok(())
    }

    /// Gives back at once what is not taken, so that others need not wait for its end. Said once:
    /// if it is not heard, the lease ends by itself. What is being run is kept.
    fn decline(&self, peer: &Hotkey, grant: &Grant, out: &mut Outcome) {
        let run = grant.run_of(&self.config.hotkey);
        if grant.coordinator != *peer || self.runs.contains_key(&run) {
            return;
        }
        let Some(peer) = self.address_of(peer) else { return };
        let item = held(grant);
        let request = PeerRequest::Release { item, reason: ReleaseReason::Declined };
        out.perform(Effect::AskPeer { peer, question: Question::Release(run), request });
    }

    fn begin(&mut self, now: Now, asked_at: MonoMs, grant: Grant, out: &mut Outcome) {
        let run = grant.run_of(&self.config.hotkey);
        if let Some(evidence) = self.known_result(run, &grant) {
            self.hand_in_again(asked_at, grant, evidence, out);
            return;
        }
        let limits = self.config.policy.limits_in(grant.assignment.tier);
        let chosen = if self.is_stopping {
            Err(ReleaseReason::RunEnded { ending: Ending::Stopped })
        } else {
            // Too few are free: the coordinator granted more than was asked for, or one of them
            // failed meanwhile.
            self.placement.place(now.mono, run, &limits).map_err(|refusal| {
                let reason = refusal.to_string();
                out.note(Note::GrantIgnored { coordinator: grant.coordinator, reason });
                ReleaseReason::NoDevice
            })
        };
        let (state, phase, devices) = match chosen {
            Ok(devices) => (RunState::Started, Phase::Running, devices),
            Err(reason) => (RunState::Releasing { reason }, Phase::ReadyToReport, Vec::new()),
        };
        let row = RunRow { run, grant, devices, state, started_at: now.unix };
        out.put(Row::Run(Box::new(row.clone())));
        if phase == Phase::Running {
            self.start_run(&row, out);
        }
        let total_ms = self.lease_total_ms(row.grant.assignment.tier);
        self.runs.insert(run, Run::new(row, phase, total_ms, asked_at));
    }

    fn start_run(&self, row: &RunRow, out: &mut Outcome) {
        let assignment = row.grant.assignment.clone();
        let names: Vec<&str> = row.devices.iter().map(|device| device.0.as_str()).collect();
        out.note(Note::RunStarted {
            run: row.run,
            submission: assignment.submission,
            device: names.join(", "),
            attempt: row.grant.attempt.0,
        });
        let (run, lease, attempt) = (row.run, row.grant.lease, row.grant.attempt);
        let devices = self.devices_of(row).cloned().collect();
        let untrained = self.untrained_gate(assignment.trial());
        let architecture = self.architecture_source(&assignment.submission);
        let spec = RunSpec { run, assignment, lease, attempt, devices, architecture, untrained };
        out.perform(Effect::StartRun(Box::new(spec)));
    }

    /// A run's devices, in the inventory's order.
    fn devices_of<'a>(&'a self, row: &'a RunRow) -> impl Iterator<Item = &'a Device> {
        self.devices.iter().filter(|device| row.devices.contains(&device.id))
    }

    /// What this node measured for the same evaluation before, as a result of this grant.
    fn known_result(&self, run: RunId, grant: &Grant) -> Option<Evidence> {
        let trial = grant.assignment.trial();
        let measured = self.measurements.get(&trial).map(|row| &row.evidence);
        // After rows were lost others still know what this node had measured.
        let shown = self.receipts.counting(&trial).map(|receipt| &receipt.evidence);
        let own = self.config.hotkey;
        let known = measured.or_else(|| shown.into_iter().find(|shown| shown.worker == own))?;
        let is_same = known.policy == self.policy_digest
            && known.dataset == self.config.dataset
            && known.image == self.config.image
            && known.content == grant.assignment.content;
        is_same.then(|| Evidence {
            assignment: grant.assignment.id,
            lease: grant.lease,
            attempt: grant.attempt,
            run,
            coordinator: grant.coordinator,
            coordinator_sealed: None,
            shown_before: BTreeMap::new(),
            ..known.clone()
        })
    }

    /// Hands a known result in under another lease: nothing is run twice.
    fn hand_in_again(
        &mut self,
        asked_at: MonoMs,
        grant: Grant,
        evidence: Evidence,
        out: &mut Outcome,
    ) {
        let (run, started_at) = (evidence.run, evidence.started_at);
        let devices = Vec::new();
        let row = RunRow { run, grant, devices, state: RunState::Started, started_at };
        out.put(Row::Run(Box::new(row.clone())));
        let total_ms = self.lease_total_ms(row.grant.assignment.tier);
        self.runs.insert(run, Run::new(row, Phase::Signing, total_ms, asked_at));
        out.perform(Effect::SignSeal { run, evidence: Box::new(evidence) });
    }

    pub(super) fn on_run_started(&mut self, run: RunId) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.has_started = true;
        }
    }

    /// The leases that have to be kept, and where.
    pub fn leases_held(&self) -> impl Iterator<Item = Kept> + '_ {
        self.runs.values().filter(|run| run.wants_renewal()).map(|run| {
            let coordinator = run.row.grant.coordinator;
            Kept {
                run: run.row.run,
                coordinator,
                endpoint: self.address_of(&coordinator).map(|peer| peer.endpoint),
                renewal: run.renewal(),
                leased_at: run.leased_at,
                total_ms: run.total_ms,
                holds_device: run.holds_device(),
                is_waiting: run.is_waiting(),
            }
        })
    }

    /// The lease of a run may be given away soon.
    pub(super) fn on_lapsed(&mut self, id: RunId, lapse: Lapse, out: &mut Outcome) {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.phase == Phase::Running) else {
            return;
        };
        let submission = run.row.grant.assignment.submission;
        out.note(Note::RunLapsed { run: id, submission, reason: lapse.to_string() });
        stop(run, Ending::LeaseLost, out);
    }

    /// What a coordinator says to a renewal or a seal.
    pub(super) fn on_held(&mut self, now: Now, id: RunId, answer: &HoldAnswer, out: &mut Outcome) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let is_sealed = matches!(run.row.state, RunState::Sealing { .. });
        match answer {
            HoldAnswer::Kept => {}
            HoldAnswer::Reveal(seals) => self.show_if_fixed(now, id, seals, out),
            HoldAnswer::Refused(LeaseRefusal::NotReady) => {
                if run.phase == Phase::Reporting {
                    run.phase = Phase::ReadyToReport;
                }
                run.report_at = now.mono.plus_ms(REPORT_AGAIN_MS);
            }
            HoldAnswer::Refused(refusal) if is_sealed => {
                out.note(Note::RunAbandoned { run: id, reason: refusal.to_string() });
                self.forget(id, out);
            }
            HoldAnswer::Refused(_) => stop(run, Ending::LeaseLost, out),
        }
    }

    /// Shows a sealed result if as many others are fixed as have to agree with it.
    fn show_if_fixed(&mut self, now: Now, id: RunId, seals: &[Seal], out: &mut Outcome) {
        let Some(run) = self.runs.get(&id).filter(|run| run.phase != Phase::Signing) else {
            return;
        };
        let RunState::Sealing { evidence, .. } = &run.row.state else { return };
        let (trial, mut evidence) = (evidence.trial(), evidence.clone());
        let own = self.config.hotkey;
        let known = self.receipts.counting(&trial).map(|known| known.evidence.worker);
        let mut fixed: BTreeSet<Hotkey> = known.collect();
        fixed.extend(
            seals.iter().filter(|seal| self.is_seal_of(trial, seal)).map(|seal| seal.worker),
        );
        // A coordinator that has not gives up its own say by being shown this: nobody waits for it.
        fixed.insert(evidence.coordinator);
        fixed.remove(&own);
        let others = self.jury(&trial).required().saturating_sub(1);
        let is_public = self.receipts.is_public(&trial, &own);
        if fixed.len() < others && !is_public && now.mono < run.show_at {
            // Its coordinator may see fewer who can be asked than this node does.
            let show_at = run.show_at.min(now.mono.plus_ms(REVEAL_WAIT_MS));
            if let Some(run) = self.runs.get_mut(&id) {
                run.show_at = show_at;
            }
            return;
        }
        let known = self.fixed_results(trial, seals);
        let mut shown_to = self.first_shown_with(trial, evidence.coordinator, known, out);
        evidence.coordinator_sealed = shown_to.remove(&evidence.coordinator).flatten();
        evidence.shown_before = shown_to;
        if let Some(run) = self.runs.get_mut(&id) {
            run.phase = Phase::Signing;
        }
        out.perform(Effect::SignReceipt { run: id, evidence });
    }

    /// What others have fixed as their own results, as far as this node can see.
    fn fixed_results(&self, trial: Trial, seals: &[Seal]) -> BTreeMap<Hotkey, Digest> {
        let theirs = seals.iter().filter(|seal| self.is_seal_of(trial, seal));
        let sealed = theirs.map(|seal| (seal.worker, seal.result)).rev();
        let known = self.receipts.counting(&trial).map(|receipt| &receipt.evidence);
        // Of several seals the first counts, and before all what was shown.
        let mut fixed: BTreeMap<Hotkey, Digest> = sealed.collect();
        fixed.extend(known.map(|known| (known.worker, known.sealed())));
        fixed.remove(&self.config.hotkey);
        fixed
    }

    /// Who was shown this node's result, the coordinator among them, and what each had fixed before
    /// anybody was: what it fixed since, it may have copied, from the others who were shown it or
    /// from what they made public. Stored before anything is shown.
    ///
    /// - `known`: what others have fixed by now.
    fn first_shown_with(
        &mut self,
        trial: Trial,
        coordinator: Hotkey,
        known: BTreeMap<Hotkey, Digest>,
        out: &mut Outcome,
    ) -> BTreeMap<Hotkey, Option<Digest>> {
        let Some(row) = self.measurements.get_mut(&trial) else {
            return BTreeMap::from([(coordinator, known.get(&coordinator).copied())]);
        };
        if row.shown_to.is_empty() {
            row.fixed_before = known;
        }
        if !row.shown_to.contains_key(&coordinator) {
            if row.shown_to.len() > SHOWN_BEFORE_MAX {
                // Who had fixed its result then confirms something, remembered or not.
                let fixed = row.shown_to.iter().find(|(_, sealed)| sealed.is_some());
                let least = fixed.or_else(|| row.shown_to.first_key_value());
                if let Some(least) = least.map(|(coordinator, _)| *coordinator) {
                    row.shown_to.remove(&least);
                }
            }
            let sealed = row.fixed_before.get(&coordinator).copied();
            row.shown_to.insert(coordinator, sealed);
            out.put(Row::Measurement(Box::new(row.clone())));
        }
        row.shown_to.clone()
    }

    fn hand_in(&mut self, now: Now, id: RunId, state: RunState, out: &mut Outcome) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.row.state = state;
        run.phase = Phase::ReadyToReport;
        run.report_at = now.mono;
        out.put(Row::Run(Box::new(run.row.clone())));
        self.report_results(now, out);
    }

    /// Whether a seal is of a validator, for a replica of the trial.
    fn is_seal_of(&self, trial: Trial, seal: &Seal) -> bool {
        let is_validator = self.view.as_ref().is_some_and(|view| view.is_validator(&seal.worker));
        is_validator && self.assignment_with(trial, seal.held.assignment).is_some()
    }

    /// Shows results that waited for others for as long as a result waits.
    pub(super) fn show_overdue(&mut self, now: Now, out: &mut Outcome) {
        let is_overdue = |run: &&Run| {
            matches!(run.row.state, RunState::Sealing { .. })
                && run.phase == Phase::Waiting
                && now.mono >= run.show_at
        };
        let overdue: Vec<RunId> =
            self.runs.values().filter(is_overdue).map(|run| run.row.run).collect();
        for id in overdue {
            self.show_if_fixed(now, id, &[], out);
        }
    }

    pub(super) fn on_stop_forced(&mut self, out: &mut Outcome) {
        self.is_stopping = true;
        for run in self.runs.values_mut() {
            stop(run, Ending::Stopped, out);
        }
    }

    pub(super) fn on_run_ended(&mut self, now: Now, ended: EndedRun, out: &mut Outcome) {
        let known = self.runs.get(&ended.run).filter(|run| run.holds_device());
        let Some((row, leased_at)) = known.map(|run| (run.row.clone(), run.leased_at)) else {
            out.note(Note::RunUnknown { run: ended.run });
            return;
        };
        out.note(Note::RunEnded {
            run: ended.run,
            submission: row.grant.assignment.submission,
            reason: ended.ending.to_string(),
        });
        self.release_devices(now, &row, &ended.ending, out);
        self.learn_lack(now, leased_at, &ended.ending, out);
        let result = self.result(&row, ended);
        let Some(run) = self.runs.get_mut(&row.run) else { return };
        match result {
            Ok(evidence) => {
                run.phase = Phase::Signing;
                out.perform(Effect::SignSeal { run: row.run, evidence });
            }
            Err(ending) => {
                let reason = ReleaseReason::RunEnded { ending };
                run.row.state = RunState::Releasing { reason };
                run.phase = Phase::ReadyToReport;
                out.put(Row::Run(Box::new(run.row.clone())));
                self.report_results(now, out);
            }
        }
    }

    /// The evidence of a run that has a result, or the ending with which its lease is given back.
    fn result(&self, row: &RunRow, ended: EndedRun) -> Result<Box<Evidence>, Ending> {
        let metrics = match ended.ending.fault() {
            Fault::Infrastructure | Fault::Worker => return Err(ended.ending),
            Fault::Submission => None,
            Fault::None if ended.metrics.is_none() => {
                let detail = "the run completed without metrics".to_owned();
                return Err(Ending::EngineFailed { detail });
            }
            Fault::None => ended.metrics,
        };
        self.evidence(row, EndedRun { metrics, ..ended }).map(Box::new).ok_or_else(|| {
            let detail = "its device or the chain is not known any more".to_owned();
            Ending::EngineFailed { detail }
        })
    }

    fn evidence(&self, row: &RunRow, ended: EndedRun) -> Option<Evidence> {
        let assignment = &row.grant.assignment;
        let evidence = Evidence {
            genesis: self.view.as_ref()?.genesis,
            netuid: self.config.netuid,
            assignment: assignment.id,
            submission: assignment.submission,
            tier: assignment.tier,
            unit: assignment.unit,
            content: assignment.content,
            lease: row.grant.lease,
            attempt: row.grant.attempt,
            run: row.run,
            coordinator: row.grant.coordinator,
            worker: self.config.hotkey,
            policy: assignment.policy,
            dataset: self.config.dataset,
            image: self.config.image,
            device: named(self.devices_of(row))?,
            ending: ended.ending,
            metrics: ended.metrics,
            started_at: row.started_at,
            ended_at: ended.ended_at,
            salt: ended.salt,
            coordinator_sealed: None,
            shown_before: BTreeMap::new(),
        };
        let known = self.measurements.get(&assignment.trial()).map(|row| &row.evidence);
        // The same result is fixed once, or it would look like two; by other rules it is another.
        let again = known.map(|known| Evidence { salt: known.salt, ..evidence.clone() });
        let is_fixed = |again: &Evidence| known.map(Evidence::sealed) == Some(again.sealed());
        Some(again.filter(is_fixed).unwrap_or(evidence))
    }

    pub(super) fn on_seal_signed(
        &mut self,
        now: Now,
        run: RunId,
        evidence: Evidence,
        signature: Signature,
        out: &mut Outcome,
    ) {
        let Some(run) = self.runs.get_mut(&run).filter(|run| run.phase == Phase::Signing) else {
            return;
        };
        let seal = Seal::of(&evidence, signature);
        run.show_at = now.mono.plus_ms(run.total_ms);
        let id = run.row.run;
        self.remember_result(&evidence, seal, out);
        let state = RunState::Sealing { evidence: Box::new(evidence), seal };
        self.hand_in(now, id, state, out);
    }

    fn remember_result(&mut self, evidence: &Evidence, seal: Seal, out: &mut Outcome) {
        let Trial { submission, tier, unit } = evidence.trial();
        let is_known = |row: &MeasurementRow| row.evidence.sealed() == evidence.sealed();
        if self.measurements.get(&evidence.trial()).is_some_and(is_known) {
            return;
        }
        let (evidence, shown_to) = (evidence.clone(), BTreeMap::new());
        let fixed_before = BTreeMap::new();
        let row = MeasurementRow { submission, tier, unit, evidence, seal, shown_to, fixed_before };
        out.put(Row::Measurement(Box::new(row.clone())));
        self.measurements.insert(row.trial(), row);
        self.tell_failing_reference(submission, out);
    }

    pub(super) fn on_receipt_signed(
        &mut self,
        now: Now,
        run: RunId,
        receipt: Receipt,
        out: &mut Outcome,
    ) {
        let Some(run) = self.runs.get(&run).filter(|run| run.phase == Phase::Signing) else {
            return;
        };
        let state = RunState::Completing { receipt: Box::new(receipt) };
        self.hand_in(now, run.row.run, state, out);
    }

    /// Hands results and releases to their coordinators, until each is acknowledged.
    pub(super) fn report_results(&mut self, now: Now, out: &mut Outcome) {
        let due: Vec<RunId> = self
            .runs
            .values()
            .filter(|run| run.phase == Phase::ReadyToReport && now.mono >= run.report_at)
            .map(|run| run.row.run)
            .collect();
        for id in due {
            self.report(now, id, out);
        }
    }

    fn report(&mut self, now: Now, id: RunId, out: &mut Outcome) {
        let Some(run) = self.runs.get(&id) else { return };
        if now.mono >= run.give_up_at {
            let reason = "its coordinator did not answer in time".to_owned();
            out.note(Note::RunAbandoned { run: id, reason });
            self.forget(id, out);
            return;
        }
        let Some(peer) = self.address_of(&run.row.grant.coordinator) else { return };
        let item = run.item();
        let (question, request) = match &run.row.state {
            RunState::Started => return,
            RunState::Sealing { seal, .. } => {
                (Question::Seal(id), PeerRequest::Seal(Box::new(*seal)))
            }
            RunState::Completing { receipt } => {
                (Question::Complete(id), PeerRequest::Complete(receipt.clone()))
            }
            RunState::Releasing { reason } => {
                let reason = reason.clone();
                (Question::Release(id), PeerRequest::Release { item, reason })
            }
        };
        if let Some(run) = self.runs.get_mut(&id) {
            run.phase = Phase::Reporting;
        }
        out.perform(Effect::AskPeer { peer, question, request });
    }

    pub(super) fn on_sealed(
        &mut self,
        now: Now,
        id: RunId,
        answer: Option<&HoldAnswer>,
        out: &mut Outcome,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.phase != Phase::Reporting {
            return;
        }
        match answer {
            Some(answer) => {
                if !matches!(answer, HoldAnswer::Refused(_)) {
                    run.phase = Phase::Waiting;
                }
                self.on_held(now, id, answer, out);
            }
            None => {
                run.phase = Phase::ReadyToReport;
                run.report_at = now.mono.plus_ms(REPORT_AGAIN_MS);
            }
        }
    }

    pub(super) fn on_reported(
        &mut self,
        now: Now,
        id: RunId,
        answer: Option<LeaseAnswer>,
        out: &mut Outcome,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match answer {
            Some(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone) => self.forget(id, out),
            None | Some(LeaseAnswer::Refused(LeaseRefusal::NotReady)) => {
                run.phase = Phase::ReadyToReport;
                run.report_at = now.mono.plus_ms(REPORT_AGAIN_MS);
            }
            Some(LeaseAnswer::Refused(refusal)) => {
                out.note(Note::RunAbandoned { run: id, reason: refusal.to_string() });
                self.forget(id, out);
            }
        }
    }

    fn forget(&mut self, id: RunId, out: &mut Outcome) {
        self.runs.remove(&id);
        out.writes.push(Write::Delete(Table::Runs, id.0.to_vec()));
    }
}

pub(super) fn stop(run: &mut Run, ending: Ending, out: &mut Outcome) {
    if run.phase == Phase::Running {
        run.phase = Phase::Stopping;
        out.perform(Effect::StopRun { run: run.row.run, ending });
    }
}

/// What evidence says of the devices, which are equal: how many, of which kind, and their name.
fn named<'a>(mut devices: impl Iterator<Item = &'a Device>) -> Option<String> {
    let Device { kind, label, .. } = devices.next()?;
    Some(match devices.count() {
        0 => format!("{kind} ({label})"),
        others => format!("{} x {kind} ({label})", others.saturating_add(1)),
    })
}
