//! The worker's side: asking for leases, running them, keeping them, reporting what came out.

use crate::evidence::{Evidence, Metrics, Receipt};
use crate::id::{DigestBuilder, Hotkey, RunId};
use crate::lease::{
    AcquireRequest, Grant, LeaseAnswer, LeaseRefusal, PeerRequest, ReleaseReason, RenewItem,
};
use crate::limits::{
    ACQUIRE_EVERY_MS, LEASE_RENEW_EVERY_MS, LEASE_STOP_AFTER_MS, LEASE_TOTAL_MS_MAX, LEASE_TTL_MS,
};
use crate::machine::effect::{Effect, Note, Outcome, RunSpec};
use crate::machine::event::Question;
use crate::machine::Machine;
use crate::outcome::{Ending, Fault};
use crate::placement;
use crate::rows::{Row, RunRow, RunState, Table, Write};
use crate::submission::SubmissionState;
use crate::unit::{MonoMs, Now, UnixMs};

/// How long a result waits for the next try to hand it in.
const REPORT_AGAIN_MS: u64 = 2_000;

/// How long a run may hold a lease, renewed or not: the coordinator's last renewals end with the
/// lease's total time and so may be shorter than a TTL.
const LEASE_HELD_MS_MAX: u64 = LEASE_TOTAL_MS_MAX - (LEASE_TTL_MS - LEASE_STOP_AFTER_MS);

/// An execution of this node, until its coordinator has acknowledged the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is stored.
    pub row: RunRow,
    pub(super) phase: Phase,
    /// By when the lease must have been renewed.
    valid_until: MonoMs,
    /// When it has to stop though it was renewed.
    ends_at: MonoMs,
    renew_at: MonoMs,
    report_at: MonoMs,
    give_up_at: MonoMs,
}

/// Where a run is in this life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Stopping,
    Signing,
    ReadyToReport,
    Reporting,
}

/// How a run ended, as the runner reports it.
#[derive(Debug)]
pub(super) struct EndedRun {
    pub(super) run: RunId,
    pub(super) ending: Ending,
    pub(super) metrics: Option<Metrics>,
    pub(super) ended_at: UnixMs,
}

impl Run {
    /// Whether its container may still use the device.
    #[must_use]
    pub fn holds_device(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopping)
    }

    /// A run that an earlier life started. Its container is removed, its lease given back; a
    /// result that was signed is handed in again.
    pub(super) fn resume(mut row: RunRow, now: Now) -> Self {
        if row.state == RunState::Started {
            let reason = ReleaseReason::RunEnded { ending: Ending::WorkerRestarted };
            row.state = RunState::Releasing { reason };
        }
        Self::new(row, Phase::ReadyToReport, now.mono)
    }

    fn new(row: RunRow, phase: Phase, leased_at: MonoMs) -> Self {
        Self {
            row,
            phase,
            valid_until: leased_at.plus_ms(LEASE_STOP_AFTER_MS),
            renew_at: leased_at.plus_ms(LEASE_RENEW_EVERY_MS),
            report_at: leased_at,
            ends_at: leased_at.plus_ms(LEASE_HELD_MS_MAX),
            give_up_at: leased_at.plus_ms(LEASE_TOTAL_MS_MAX),
        }
    }

    /// The coordinator renewed the lease, asked at this time.
    fn renewed(&mut self, asked_at: MonoMs) {
        self.valid_until = asked_at.plus_ms(LEASE_STOP_AFTER_MS).min(self.ends_at);
        self.renew_at = asked_at.plus_ms(LEASE_RENEW_EVERY_MS);
    }

    fn item(&self) -> RenewItem {
        let grant = &self.row.grant;
        RenewItem { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt }
    }
}

/// The identity of a run: the worker's execution of one grant.
fn run_id(worker: &Hotkey, grant: &Grant) -> RunId {
    RunId(DigestBuilder::new("assay/run/v1").bytes(&worker.0).bytes(&grant.lease.0).finish())
}

impl Machine {
    /// Asks coordinators of unsettled submissions for work, one question each at a time.
    pub(super) fn acquire_work(&mut self, now: Now, out: &mut Outcome) {
        let limits = &self.config.policy.run;
        let kind = limits.device;
        let free = placement::free_count(&self.devices, &self.busy_devices(), limits);
        let is_asking = self.peers.values().any(|peer| peer.acquire_asked_at.is_some());
        if self.is_stopping || free == 0 || is_asking {
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
            leases_max: u32::try_from(free).unwrap_or(u32::MAX),
            image: self.config.image,
            dataset: self.config.dataset,
            policy: self.policy_digest,
        });
        let Some(state) = self.peers.get_mut(&peer.hotkey) else { return };
        state.acquire_asked_at = Some(now.mono);
        out.perform(Effect::AskPeer { peer, question: Question::Acquire, request });
    }

    /// Coordinators of submissions that wait for an evaluation, others before ourselves.
    fn coordinators_with_work(&self) -> Vec<Hotkey> {
        let mut hotkeys: Vec<Hotkey> = self
            .submissions
            .values()
            .filter(|submission| submission.state == SubmissionState::Admitted)
            .filter_map(|submission| self.coordinators_of(submission).first().copied())
            .collect();
        hotkeys.sort_unstable_by_key(|hotkey| (*hotkey == self.config.hotkey, *hotkey));
        hotkeys.dedup();
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
        for grant in grants {
            if let Err(reason) = self.check_grant(&peer, &grant) {
                out.note(Note::GrantIgnored { coordinator: peer, reason: reason.to_owned() });
                continue;
            }
            self.begin(now, asked_at, grant, out);
        }
    }

    /// A grant is taken only for an assignment that this node derived and admitted itself.
    fn check_grant(&self, peer: &Hotkey, grant: &Grant) -> Result<(), &'static str> {
        if grant.coordinator != *peer {
            return Err("granted in the name of another validator");
        }
        let submission = self
            .submissions
            .get(&grant.assignment.submission)
            .ok_or("its submission is unknown here")?;
        if submission.state != SubmissionState::Admitted {
            return Err("its submission is not admitted here");
        }
        if self.assignment_of(submission) != grant.assignment {
            return Err("this node derives another assignment");
        }
        if self.runs.contains_key(&run_id(&self.config.hotkey, grant)) {
            return Err("the grant is already known");
        }
        Ok(())
    }

    fn begin(&mut self, now: Now, asked_at: MonoMs, grant: Grant, out: &mut Outcome) {
        let run = run_id(&self.config.hotkey, &grant);
        let chosen = if self.is_stopping {
            Err(ReleaseReason::RunEnded { ending: Ending::Stopped })
        } else {
            // None is free: the coordinator granted more than was asked for.
            placement::choose(&self.devices, &self.busy_devices(), &self.config.policy.run)
                .cloned()
                .map_err(|_| ReleaseReason::NoDevice)
        };
        let (state, phase, device) = match chosen {
            Ok(device) => (RunState::Started, Phase::Running, device),
            Err(reason) => {
                let Some(device) = self.devices.first().cloned() else { return };
                (RunState::Releasing { reason }, Phase::ReadyToReport, device)
            }
        };
        let row = RunRow { run, grant, device: device.id.clone(), state, started_at: now.unix };
        out.put(Row::Run(row.clone()));
        if phase == Phase::Running {
            let assignment = row.grant.assignment.clone();
            out.note(Note::RunStarted {
                run,
                submission: assignment.submission,
                device: device.id.to_string(),
                attempt: row.grant.attempt.0,
            });
            let (lease, attempt) = (row.grant.lease, row.grant.attempt);
            let spec = RunSpec { run, assignment, lease, attempt, device };
            out.perform(Effect::StartRun(Box::new(spec)));
        }
        self.runs.insert(run, Run::new(row, phase, asked_at));
    }

    /// Renews what is due, one question per coordinator at a time.
    pub(super) fn renew_leases(&mut self, now: Now, out: &mut Outcome) {
        let mut coordinators: Vec<Hotkey> = self
            .runs
            .values()
            .filter(|run| now.mono >= run.renew_at)
            .map(|run| run.row.grant.coordinator)
            .collect();
        coordinators.sort_unstable();
        coordinators.dedup();
        for coordinator in coordinators {
            let Some(peer) = self.address_of(&coordinator) else { continue };
            let state = self.peers.entry(coordinator).or_default();
            if state.renewing.is_some() {
                continue;
            }
            let (runs, items): (Vec<RunId>, Vec<RenewItem>) = self
                .runs
                .values()
                .filter(|run| run.row.grant.coordinator == coordinator)
                .map(|run| (run.row.run, run.item()))
                .unzip();
            state.renewing = Some((now.mono, runs));
            let request = PeerRequest::Renew(items);
            out.perform(Effect::AskPeer { peer, question: Question::Renew, request });
        }
    }

    pub(super) fn on_renewed(&mut self, peer: Hotkey, answers: &[LeaseAnswer], out: &mut Outcome) {
        let Some((asked_at, runs)) = self.peers.get_mut(&peer).and_then(|p| p.renewing.take())
        else {
            return;
        };
        // An unanswered renewal leaves `renew_at` in the past, so the next tick asks again.
        for (run, answer) in runs.iter().zip(answers) {
            let Some(run) = self.runs.get_mut(run) else { continue };
            match answer {
                LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone => run.renewed(asked_at),
                LeaseAnswer::Refused(LeaseRefusal::NotReady) => {
                    run.renew_at = asked_at.plus_ms(REPORT_AGAIN_MS);
                }
                LeaseAnswer::Refused(_) => {
                    run.renew_at = asked_at.plus_ms(LEASE_RENEW_EVERY_MS);
                    stop(run, Ending::LeaseLost, out);
                }
            }
        }
    }

    pub(super) fn stop_unrenewed_runs(&mut self, now: Now, out: &mut Outcome) {
        for run in self.runs.values_mut().filter(|run| now.mono >= run.valid_until) {
            stop(run, Ending::LeaseLost, out);
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
        let Some(row) = known.map(|run| run.row.clone()) else {
            out.note(Note::RunUnknown { run: ended.run });
            return;
        };
        out.note(Note::RunEnded {
            run: ended.run,
            submission: row.grant.assignment.submission,
            reason: ended.ending.to_string(),
        });
        let result = self.result(&row, ended);
        let Some(run) = self.runs.get_mut(&row.run) else { return };
        match result {
            Ok(evidence) => {
                run.phase = Phase::Signing;
                out.perform(Effect::SignReceipt { run: row.run, evidence });
            }
            Err(ending) => {
                let reason = ReleaseReason::RunEnded { ending };
                run.row.state = RunState::Releasing { reason };
                run.phase = Phase::ReadyToReport;
                out.put(Row::Run(run.row.clone()));
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
        let device = self.devices.iter().find(|device| device.id == row.device)?;
        Some(Evidence {
            genesis: self.view.as_ref()?.genesis,
            netuid: self.config.netuid,
            assignment: assignment.id,
            submission: assignment.submission,
            content: assignment.content,
            lease: row.grant.lease,
            attempt: row.grant.attempt,
            run: row.run,
            coordinator: row.grant.coordinator,
            worker: self.config.hotkey,
            policy: assignment.policy,
            dataset: self.config.dataset,
            image: self.config.image,
            device: format!("{} ({})", device.kind, device.label),
            ending: ended.ending,
            metrics: ended.metrics,
            started_at: row.started_at,
            ended_at: ended.ended_at,
        })
    }

    pub(super) fn on_receipt_signed(
        &mut self,
        now: Now,
        run: RunId,
        receipt: Receipt,
        out: &mut Outcome,
    ) {
        let Some(run) = self.runs.get_mut(&run).filter(|run| run.phase == Phase::Signing) else {
            return;
        };
        run.row.state = RunState::Completing { receipt: Box::new(receipt) };
        run.phase = Phase::ReadyToReport;
        run.report_at = now.mono;
        out.put(Row::Run(run.row.clone()));
        self.report_results(now, out);
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

fn stop(run: &mut Run, ending: Ending, out: &mut Outcome) {
    if run.phase == Phase::Running {
        run.phase = Phase::Stopping;
        out.perform(Effect::StopRun { run: run.row.run, ending });
    }
}
