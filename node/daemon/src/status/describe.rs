//! From the machine's state to a report.
//!
//! Pure: what the machine does not know (process, endpoints, progress) comes in as [`HostFacts`].
//! Credentials in URLs, also in reasons, are hidden here: a report goes to whoever asks.

use std::collections::{BTreeMap, BTreeSet};

use node_chain::EndpointState;
use node_core::evidence::{Evidence, Metrics};
use node_core::id::{AssignmentId, Attempt, Hotkey, RunId, SubmissionId};
use node_core::inventory::DeviceId;
use node_core::lease::{LeaseRow, LeaseState, Reopened};
use node_core::lease_record::LeaseRecord;
use node_core::machine::Machine;
use node_core::points::{bits_per_byte, points};
use node_core::preflight::Preflight;
use node_core::publish::KeyStanding;
use node_core::rows::{Carries, IntentRow, IntentState, ReceiptRow, ReceiptStanding, RunState};
use node_core::submission::{Submission, SubmissionState};
use node_core::unit::{EpochIndex, UnixMs};
use node_core::vector::digest;
use node_core::view::ChainView;

use super::certificate::own_key_check;
use super::device;
use super::funnel::FunnelStatus;
use super::gates::gates_check;
use super::journal::JournalStatus;
use super::lack::host_check;
use super::report::{
    AttemptStatus, ChainStatus, EvaluationStatus, EventStatus, LeaseCounts, MetricsStatus,
    NodeStatus, PeerStatus, Readiness, ReceiptStatus, RefusalStatus, ReopenedStatus, RevealStatus,
    RunStatus, StatusReport, SubmissionCounts, SubmissionStage, SubmissionStatus, WeightsIntent,
    WeightsStatus, ROWS_MAX, SCHEMA,
};
use super::waits::WaitsFor;
use super::watch::{checks, endpoints, CheckStatus, WatchStatus};
use crate::config::hide_credentials;

/// What the machine does not know about itself.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Now.
    pub now: UnixMs,
    /// When the process started.
    pub started_at: UnixMs,
    /// Whether the node does its work, and what is wrong.
    pub ready: Readiness,
    /// The endpoint in use.
    pub endpoint: String,
    /// Which one that is, counted from one.
    pub endpoint_index: u32,
    /// How many there are.
    pub endpoints: u32,
    /// How each endpoint stands, in the order of the configuration.
    pub endpoint_states: Vec<EndpointState>,
    /// When the latest finalized block was seen.
    pub view_seen_at: UnixMs,
    /// `submit`, `dry_run` or `off`.
    pub weights_mode: String,
    /// How far each run's meter is.
    pub progress: BTreeMap<RunId, AttemptStatus>,
    /// Bytes of the journal of what was signed.
    pub journal_bytes: u64,
    /// What was refused lately.
    pub refusals: Vec<RefusalStatus>,
    /// How the keys of validators' connections stand to the chain, as far as known; this node's
    /// among them.
    pub key_standings: BTreeMap<Hotkey, KeyStanding>,
    /// Whether this node publishes its own.
    pub publishes_key: bool,
    /// What the gates before the container found in what ships with the node.
    pub gate_faults: Vec<String>,
    /// What happened lately.
    pub events: Vec<EventStatus>,
    /// How often each kind of note was taken.
    pub counters: BTreeMap<String, u64>,
}

/// Says how the node stands.
#[must_use]
pub fn describe(machine: &Machine, facts: HostFacts) -> StatusReport {
    let (submission_counts, submissions) = submissions(machine);
    let evaluations = evaluations(machine, &submissions);
    let preflight = machine.preflight();
    let journal = JournalStatus::new(facts.journal_bytes);
    let report = StatusReport {
        schema: SCHEMA,
        as_of: facts.now,
        node: node(machine, &facts),
        chain: machine.view().map(|view| chain(machine, view, &facts)),
        endpoints: endpoints(&facts),
        weights: weights(machine, preflight.as_ref(), &facts),
        checks: preflight
            .as_ref()
            .map(|preflight| all_checks(machine, preflight, &facts, &journal))
            .unwrap_or_default(),
        journal: Some(journal),
        watch: preflight.as_ref().map(|preflight| WatchStatus::from(&preflight.facts)),
        devices: device::devices(machine),
        runs: runs(machine, &facts),
        leases: leases(machine),
        submission_counts,
        submissions,
        funnel: FunnelStatus::of(machine),
        peers: peers(machine, &facts),
        receipts: receipts(machine),
        evaluations,
        refusals: facts.refusals.clone(),
        ready: readiness(&facts, preflight.as_ref()),
        events: facts.events,
        counters: facts.counters,
    };
    with_reasons(report)
}

/// Adds what each submission waits for, which follows from the rest.
fn with_reasons(mut report: StatusReport) -> StatusReport {
    let reason = |row: &SubmissionStatus| WaitsFor::of(&report, row);
    let reasons: Vec<Option<WaitsFor>> = report.submissions.iter().map(reason).collect();
    for (row, reason) in report.submissions.iter_mut().zip(reasons) {
        row.waits_for = reason;
    }
    report
}

/// What the chain says, then of our own key, of the gates, of the host, and last what it leads to
/// on the disk.
fn all_checks(
    machine: &Machine,
    preflight: &Preflight,
    facts: &HostFacts,
    journal: &JournalStatus,
) -> Vec<CheckStatus> {
    let own_key = facts.key_standings.get(&machine.config().hotkey);
    let own_key = own_key.map(|standing| own_key_check(*standing, facts.publishes_key));
    let gates = gates_check(&facts.gate_faults, machine.untrained_fault());
    let host = host_check(machine.host_lack());
    checks(preflight).into_iter().chain(own_key).chain([gates, host, journal.check()]).collect()
}

/// What the host says, and above it what the chain says: a node whose vectors do not land is not
/// ready, whatever else it does.
fn readiness(facts: &HostFacts, preflight: Option<&Preflight>) -> Readiness {
    let unready: Vec<String> = preflight
        .iter()
        .flat_map(|preflight| preflight.unready())
        .map(|check| check.text.clone())
        .collect();
    let ready = facts.ready.ready && unready.is_empty();
    let said = facts.ready.reasons.iter().map(|reason| hide_credentials(reason));
    Readiness { ready, reasons: unready.into_iter().chain(said).collect() }
}

fn node(machine: &Machine, facts: &HostFacts) -> NodeStatus {
    let hotkey = machine.config().hotkey;
    NodeStatus {
        hotkey,
        netuid: machine.config().netuid,
        uid: machine.view().and_then(|view| view.neuron(&hotkey)).map(|neuron| neuron.uid),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: facts.started_at,
        is_stopping: machine.is_stopping(),
    }
}

fn chain(machine: &Machine, view: &ChainView, facts: &HostFacts) -> ChainStatus {
    // The view may be of a block whose head was not told yet.
    let best_number = machine.head().map_or(view.number, |head| head.number.max(view.number));
    ChainStatus {
        endpoint: hide_credentials(&facts.endpoint),
        endpoint_index: facts.endpoint_index,
        endpoints: facts.endpoints,
        finalized_number: view.number,
        finalized_hash: view.hash,
        finalized_seen_at: facts.view_seen_at,
        spec_version: view.spec_version,
        genesis: view.genesis,
        best_number,
        finality_lag: best_number.since(view.number),
    }
}

fn weights(machine: &Machine, preflight: Option<&Preflight>, facts: &HostFacts) -> WeightsStatus {
    let intent = |row: &IntentRow| intent(machine, row);
    let clock = machine.head().map(|view| (view.number, view.epoch));
    let next_epoch_block = clock.and_then(|(_, epoch)| epoch.next_epoch_block);
    let landed = |row: &&IntentRow| row.updated_at.is_some();
    WeightsStatus {
        mode: facts.weights_mode.clone(),
        epoch: clock.map(|(_, epoch)| epoch.index),
        next_epoch_block,
        blocks_left: clock.zip(next_epoch_block).map(|((now, _), next)| next.since(now)),
        last_landed: machine.intents().filter(landed).max_by_key(|row| row.place()).map(intent),
        latest: machine.intents().max_by_key(|row| row.place()).map(intent),
        form: preflight
            .and_then(|preflight| preflight.facts.form)
            .map(|form| form.name().to_owned()),
        not_safe: machine.not_safe().map(ToString::to_string),
        reveal_due: machine.due_reveal().map(|reveal| RevealStatus {
            epoch: reveal.epoch,
            opens_in: reveal.opens_in,
            is_now: reveal.is_now,
            from: reveal.from,
            until: reveal.until,
        }),
        safe_to_restart: machine.is_safe_to_restart(),
    }
}

/// The vectors of the epochs that the machine remembers, the latest first.
pub(crate) fn vectors(machine: &Machine) -> Vec<WeightsIntent> {
    let mut rows: Vec<&IntentRow> = machine.intents().collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.epoch, row.computed_at)));
    rows.into_iter().map(|row| intent(machine, row)).collect()
}

fn intent(machine: &Machine, row: &IntentRow) -> WeightsIntent {
    let (state, block, reason) = match &row.state {
        IntentState::Open => ("open", None, None),
        IntentState::Signed => ("signed", None, None),
        IntentState::Landed { block } => ("landed", Some(*block), None),
        IntentState::Committed { block, .. } => ("committed", Some(*block), None),
        IntentState::Revealed { .. } => ("revealed", row.updated_at, None),
        IntentState::Lost { reason } => ("lost", row.updated_at, Some(reason.clone())),
        IntentState::Abandoned { reason } => ("abandoned", None, Some(reason.clone())),
    };
    let state = state.to_owned();
    let signed = row.signings.last();
    let revealed_at = match row.state {
        IntentState::Revealed { block } => Some(block),
        _ => None,
    };
    let (opens_in, round) = opening(machine, row);
    WeightsIntent {
        epoch: row.epoch,
        state,
        block,
        reason,
        vector: row.vector.clone(),
        stage: machine.stage(row).name().to_owned(),
        nonce: signed.map(|signed| signed.nonce),
        era_end: signed.map(|signed| signed.era_end),
        opens_in,
        round,
        revealed_at,
        vector_hash: Some(digest(&row.vector)),
        extrinsic_hash: signed.map(|signed| signed.hash),
    }
}

/// In which epoch a commit is opened, as signed or as the chain counts it, and by which round.
fn opening(machine: &Machine, row: &IntentRow) -> (Option<EpochIndex>, Option<u64>) {
    let period = machine.view().map_or(1, |view| view.params.reveal_period.max(1));
    let counted = match row.state {
        IntentState::Committed { epoch, .. } => Some(EpochIndex(epoch.0.saturating_add(period))),
        _ => None,
    };
    match row.signings.last().map(|signed| &signed.carries) {
        Some(Carries::Timelocked { reveal_round, reveal_epoch, .. }) => {
            (counted.or(Some(*reveal_epoch)), Some(*reveal_round))
        }
        Some(Carries::Plain | Carries::Hashed { .. } | Carries::Reveal) | None => (counted, None),
    }
}

fn runs(machine: &Machine, facts: &HostFacts) -> Vec<RunStatus> {
    machine
        .runs()
        .map(|run| RunStatus {
            run: run.row.run,
            submission: run.row.grant.assignment.submission,
            device: names(&run.row.devices),
            lease: run.row.grant.lease,
            attempt: run.row.grant.attempt,
            coordinator: run.row.grant.coordinator,
            state: match run.row.state {
                RunState::Started => "running",
                RunState::Sealing { .. } => "sealed",
                RunState::Completing { .. } => "completing",
                RunState::Releasing { .. } => "releasing",
            }
            .to_owned(),
            started_at: run.row.started_at,
            progress: facts.progress.get(&run.row.run).copied(),
        })
        .collect()
}

fn names(devices: &[DeviceId]) -> String {
    let names: Vec<&str> = devices.iter().map(|device| device.0.as_str()).collect();
    names.join(", ")
}

fn leases(machine: &Machine) -> LeaseCounts {
    let mut counts = LeaseCounts::default();
    for lease in machine.leases() {
        match lease.row().state {
            LeaseState::Open => counts.open += 1,
            LeaseState::Granted { .. } => counts.granted += 1,
            LeaseState::Sealed { .. } => counts.sealed += 1,
            LeaseState::Complete { .. } => counts.complete += 1,
            LeaseState::Exhausted { .. } => counts.exhausted += 1,
        }
    }
    counts
}

fn submissions(machine: &Machine) -> (SubmissionCounts, Vec<SubmissionStatus>) {
    let mut evidence: BTreeMap<SubmissionId, &Evidence> = BTreeMap::new();
    for row in machine.receipts() {
        evidence.insert(row.receipt.evidence.submission, &row.receipt.evidence);
    }
    let leases: BTreeMap<SubmissionId, &LeaseRow> =
        machine.leases().map(|lease| (lease.row().assignment.submission, lease.row())).collect();
    let own_runs: BTreeSet<SubmissionId> =
        machine.runs().map(|run| run.row.grant.assignment.submission).collect();
    let mut counts = SubmissionCounts::default();
    let mut rows: Vec<SubmissionStatus> = machine
        .listed()
        .map(|submission| {
            let evidence = evidence.get(&submission.id).copied();
            let mut status = submission_status(submission, evidence, machine.view());
            status.coordinator =
                status.coordinator.or_else(|| machine.coordinator_of(&submission.id));
            if let (SubmissionStage::Admitted, Some(lease)) =
                (status.stage, leases.get(&submission.id))
            {
                add_lease(&mut status, lease);
            }
            // Another coordinator's lease is not known here, the run it is for is.
            if status.worker.is_none() && own_runs.contains(&submission.id) {
                status.worker = Some(machine.config().hotkey);
            }
            status.place = super::funnel::place(machine, &submission.id);
            if status.place.is_some_and(|place| place.tier > 1) {
                status.units = super::funnel::units(machine, &submission.id);
            }
            status
        })
        .collect();
    for row in &rows {
        match row.stage {
            SubmissionStage::Committed => counts.committed += 1,
            SubmissionStage::Fetched => counts.fetched += 1,
            SubmissionStage::Admitted => counts.admitted += 1,
            SubmissionStage::Held => counts.held += 1,
            SubmissionStage::Rejected => counts.rejected += 1,
            SubmissionStage::Scored => counts.scored += 1,
            SubmissionStage::Failed => counts.failed += 1,
            SubmissionStage::Disputed => counts.disputed += 1,
        }
    }
    rows.sort_by_key(|row| (std::cmp::Reverse(row.committed_at), row.id));
    rows.truncate(ROWS_MAX);
    (counts, rows)
}

pub(super) fn submission_status(
    submission: &Submission,
    evidence: Option<&Evidence>,
    view: Option<&ChainView>,
) -> SubmissionStatus {
    let mut status = SubmissionStatus {
        id: submission.id,
        hotkey: submission.hotkey,
        uid: view.and_then(|view| view.neuron(&submission.hotkey)).map(|neuron| neuron.uid),
        committed_at: submission.committed_at,
        content: submission.content,
        stage: SubmissionStage::Committed,
        points: None,
        worker: evidence.map(|evidence| evidence.worker),
        coordinator: evidence.map(|evidence| evidence.coordinator),
        metrics: evidence.and_then(|evidence| evidence.metrics.as_ref()).map(metrics_status),
        rule: None,
        ending: evidence.map(|evidence| evidence.ending.name().to_owned()),
        detail: None,
        waits_for: None,
        place: None,
        units: Vec::new(),
    };
    match &submission.state {
        SubmissionState::Committed { fetch_failure } => status.detail.clone_from(fetch_failure),
        SubmissionState::Fetched => status.stage = SubmissionStage::Fetched,
        SubmissionState::Admitted => status.stage = SubmissionStage::Admitted,
        SubmissionState::Held { .. } => {
            status.stage = SubmissionStage::Held;
            status.detail = Some(submission.state.to_string());
        }
        SubmissionState::Rejected { rejection } => {
            status.stage = SubmissionStage::Rejected;
            status.rule = Some(rejection.rule.id().to_owned());
            status.detail = Some(rejection.to_string());
        }
        SubmissionState::Scored { points } => {
            status.stage = SubmissionStage::Scored;
            status.points = Some(*points);
        }
        SubmissionState::Failed { ending } => {
            status.stage = SubmissionStage::Failed;
            status.ending = Some(ending.name().to_owned());
            status.detail = Some(format!("{ending}; {}", ending.consequence()));
        }
        SubmissionState::Disputed => {
            status.stage = SubmissionStage::Disputed;
            status.detail = Some(submission.state.to_string());
        }
    }
    status
}

/// What the coordinator knows about an evaluation that is still owed.
fn add_lease(status: &mut SubmissionStatus, lease: &LeaseRow) {
    let attempt = lease.attempt;
    match &lease.state {
        LeaseState::Open if attempt == Attempt::default() => {}
        LeaseState::Open => {
            status.detail = Some(format!("attempt {attempt} was lost, waits for a worker"));
        }
        LeaseState::Granted { holder, .. } => {
            status.worker = Some(*holder);
            status.detail = Some(format!("attempt {attempt} runs"));
        }
        LeaseState::Sealed { seal } => {
            status.worker = Some(seal.worker);
            status.detail = Some("measured, waits for other replicas".to_owned());
        }
        LeaseState::Complete { .. } => {}
        LeaseState::Exhausted { last } => {
            status.detail = Some(format!("all {attempt} attempts were lost: {last}"));
        }
    }
}

fn metrics_status(metrics: &Metrics) -> MetricsStatus {
    MetricsStatus {
        train_microbpb: bits_per_byte(metrics).ok().map(to_micro),
        heldout_init_microbpb: metrics.heldout_init_nanobpb / 1000,
        heldout_microbpb: metrics.heldout_nanobpb / 1000,
        covered_bytes: metrics.covered_bytes,
        parameters: metrics.parameters,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits per byte are finite and not negative; the cast saturates"
)]
fn to_micro(bits_per_byte: f64) -> u64 {
    (bits_per_byte * 1e6).round() as u64
}

fn peers(machine: &Machine, facts: &HostFacts) -> Vec<PeerStatus> {
    let own = machine.config().hotkey;
    let strikes = |hotkey: &Hotkey| {
        let theirs = machine.strikes().filter(|strike| strike.validator == *hotkey).count();
        u64::try_from(theirs).unwrap_or(u64::MAX)
    };
    machine
        .peers()
        .map(|(hotkey, state)| {
            let neuron = machine.view().and_then(|view| view.neuron(hotkey));
            let set = machine.config().endpoints.get(hotkey).copied();
            PeerStatus {
                hotkey: *hotkey,
                uid: neuron.map(|neuron| neuron.uid),
                is_self: *hotkey == own,
                endpoint: set.or_else(|| neuron.and_then(|neuron| neuron.axon)),
                last_answer_at: state.last_answer(),
                last_failure: state.last_failure().map(str::to_owned),
                last_call_at: state.last_call(),
                receipts_until: state.receipts_until(),
                is_gone: machine.gone().any(|gone| gone == hotkey),
                strikes: strikes(hotkey),
                certificate: facts.key_standings.get(hotkey).copied(),
            }
        })
        .collect()
}

/// Of those submissions that were admitted.
fn evaluations(machine: &Machine, submissions: &[SubmissionStatus]) -> Vec<EvaluationStatus> {
    let is_evaluated = |row: &&SubmissionStatus| {
        !matches!(
            row.stage,
            SubmissionStage::Committed
                | SubmissionStage::Fetched
                | SubmissionStage::Held
                | SubmissionStage::Rejected
        )
    };
    let mut leases: BTreeMap<SubmissionId, Vec<&LeaseRow>> = BTreeMap::new();
    let is_told = |row: &&LeaseRow| !row.reopened.is_empty() || is_exhausted(row);
    for row in machine.leases().map(LeaseRecord::row).filter(is_told) {
        leases.entry(row.assignment.submission).or_default().push(row);
    }
    let evaluation = |row: &SubmissionStatus| {
        let leases = leases.remove(&row.id).unwrap_or_default();
        let exhausted = leases.iter().filter(|row| is_exhausted(row));
        EvaluationStatus {
            submission: row.id,
            explanation: machine.explain(&row.id),
            exhausted: exhausted.map(|row| row.assignment.id).collect(),
            reopened: leases.into_iter().flat_map(reopened).collect(),
        }
    };
    submissions.iter().filter(is_evaluated).map(evaluation).collect()
}

fn is_exhausted(row: &LeaseRow) -> bool {
    matches!(row.state, LeaseState::Exhausted { .. })
}

fn reopened(row: &LeaseRow) -> impl Iterator<Item = ReopenedStatus> + '_ {
    let (assignment, replica) = (row.assignment.id, row.assignment.replica);
    let told =
        move |before: &Reopened| ReopenedStatus { assignment, replica, before: before.clone() };
    row.reopened.iter().map(told)
}

impl ReceiptStatus {
    /// What is told of a receipt.
    pub(crate) fn of(row: &ReceiptRow) -> Self {
        let evidence = &row.receipt.evidence;
        Self {
            assignment: evidence.assignment,
            submission: evidence.submission,
            lease: evidence.lease,
            worker: evidence.worker,
            coordinator: evidence.coordinator,
            ending: evidence.ending.name().to_owned(),
            points: evidence.metrics.as_ref().and_then(|metrics| points(metrics).ok()),
            ended_at: evidence.ended_at,
            is_late: row.standing == ReceiptStanding::Late,
        }
    }
}

fn receipts(machine: &Machine) -> Vec<ReceiptStatus> {
    let mut rows: Vec<ReceiptStatus> = machine.receipts().map(ReceiptStatus::of).collect();
    rows.sort_by_key(|row| -> (std::cmp::Reverse<UnixMs>, AssignmentId) {
        (std::cmp::Reverse(row.ended_at), row.assignment)
    });
    rows.truncate(ROWS_MAX);
    rows
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use node_core::id::LeaseId;
    use node_core::lease::Spent;
    use node_core::unit::BlockCount;

    fn facts() -> HostFacts {
        HostFacts {
            now: UnixMs(1000),
            started_at: UnixMs(1),
            ready: Readiness {
                ready: false,
                reasons: vec!["`wss://me:secret@h/key` is silent".to_owned()],
            },
            endpoint: "wss://me:secret@h/key".to_owned(),
            endpoint_index: 1,
            endpoints: 1,
            endpoint_states: Vec::new(),
            view_seen_at: UnixMs(0),
            weights_mode: "submit".to_owned(),
            progress: BTreeMap::new(),
            journal_bytes: 600 << 20,
            refusals: Vec::new(),
            events: Vec::new(),
            key_standings: BTreeMap::from([(Hotkey([1; 32]), KeyStanding::New)]),
            publishes_key: true,
            gate_faults: Vec::new(),
            counters: BTreeMap::new(),
        }
    }

    #[test]
    fn a_report_of_a_machine_that_knows_nothing_survives_json_and_holds_no_credentials() {
        let report = describe(&sample::machine(Vec::new()), facts());
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<StatusReport>(&text).unwrap(), report);
        assert!(!text.contains("secret") && !text.contains("key`"), "{text}");
    }

    #[test]
    fn how_full_the_journal_is_is_known_before_the_first_block() {
        let report = describe(&sample::machine(Vec::new()), facts());
        assert_eq!(report.journal.map(|journal| journal.bytes), Some(600 << 20));
        assert!(report.chain.is_none() && report.checks.is_empty(), "{report:?}");
    }

    fn scored() -> Submission {
        let mut submission = Submission::committed(
            Hotkey([1; 32]),
            node_core::unit::BlockNumber(5),
            node_core::id::ContentDigest([6; 32]),
            node_core::commitment::Location::Peers,
            node_core::id::BlockHash([7; 32]),
        );
        submission.state = SubmissionState::Scored { points: 7 };
        submission
    }

    /// Block 1000 of a subnet with a tempo of 100, on which our last update was in `last_update`.
    fn seen(last_update: u64) -> Machine {
        use node_core::machine::event::{Event, Restarted};
        use node_core::rows::Row;
        use node_core::unit::{BlockNumber, Now};
        use node_core::view::{Neuron, SubnetParams};
        let mut machine = sample::machine(Vec::new());
        let found = Restarted { rows: vec![Row::Submission(scored())], ..Restarted::default() };
        machine.apply(Now::default(), Event::Restarted(Box::new(found)));
        let mut view = ChainView {
            number: BlockNumber(1000),
            neurons: vec![Neuron {
                hotkey: Hotkey([1; 32]),
                validator_permit: true,
                last_update: BlockNumber(last_update),
                ..Neuron::default()
            }],
            params: SubnetParams { tempo: BlockCount(100), ..SubnetParams::default() },
            ..ChainView::default()
        };
        view.epoch.next_epoch_block = Some(BlockNumber(1010));
        machine.apply(Now::default(), Event::BlockFinalized(Box::new(view)));
        machine
    }

    #[test]
    fn a_gate_that_refuses_a_reference_is_an_alarm_that_stops_nothing() {
        let faults = vec!["the gate `source` refuses the reference `ssm`".to_owned()];
        let ready = Readiness { ready: true, reasons: Vec::new() };
        let said = |gate_faults| {
            let facts = HostFacts { gate_faults, ready: ready.clone(), ..facts() };
            let report = describe(&seen(800), facts);
            let check = report.checks.iter().find(|check| check.id == "gates").unwrap().clone();
            (check.level, check.text, report.ready.ready)
        };
        let (level, text, is_ready) = said(faults);
        assert!(level == "alarm" && text.contains("`source`") && is_ready, "{text}");
        assert_eq!(said(Vec::new()).0, "ok");
    }

    #[test]
    fn a_node_whose_vectors_do_not_land_is_not_ready_whatever_the_host_says() {
        let ready = Readiness { ready: true, reasons: vec!["no GPU".to_owned()] };
        let said = |last_update| {
            let facts = HostFacts { ready: ready.clone(), ..facts() };
            describe(&seen(last_update), facts)
        };
        let well = said(800);
        assert_eq!(well.ready, ready);
        assert_eq!(well.watch.unwrap().millitempos_since_update, Some(2_000));
        let silent = said(700);
        assert!(!silent.ready.ready);
        let [first, second] = silent.ready.reasons.as_slice() else { panic!("{:?}", silent.ready) };
        assert!(first.contains("3.00 tempos ago"), "{first}");
        assert_eq!(second, "no GPU");
        let journal = silent.checks.last().unwrap();
        assert_eq!((journal.id.as_str(), journal.level.as_str()), ("journal", "warn"));
        let text = serde_json::to_string(&said(700)).unwrap();
        assert_eq!(serde_json::from_str::<StatusReport>(&text).unwrap(), said(700));
    }

    #[test]
    fn a_submission_whose_attempts_were_lost_says_so() {
        let submission = Submission::committed(
            Hotkey([4; 32]),
            node_core::unit::BlockNumber(5),
            node_core::id::ContentDigest([6; 32]),
            node_core::commitment::Location::Peers,
            node_core::id::BlockHash([7; 32]),
        );
        let assignment = node_core::assignment::Assignment::derive(
            &submission,
            (1, 0),
            0,
            node_core::id::Digest([8; 32]),
        );
        let said = |state: LeaseState, attempt: u32| {
            let mut status = submission_status(&submission, None, None);
            let assignment = assignment.clone();
            let (attempt, spent) = (Attempt(attempt), Spent::default());
            let reopened = Vec::new();
            add_lease(&mut status, &LeaseRow { assignment, attempt, spent, state, reopened });
            (status.detail, status.worker)
        };
        let holder = Hotkey([9; 32]);
        let lease = LeaseId([1; 32]);
        assert_eq!(said(LeaseState::Open, 0), (None, None));
        let lost = "attempt 2 was lost, waits for a worker".to_owned();
        assert_eq!(said(LeaseState::Open, 2), (Some(lost), None));
        assert_eq!(
            said(LeaseState::Granted { lease, holder }, 1),
            (Some("attempt 1 runs".to_owned()), Some(holder)),
        );
        let exhausted = "all 5 attempts were lost: no disk".to_owned();
        assert_eq!(
            said(LeaseState::Exhausted { last: "no disk".to_owned() }, 5),
            (Some(exhausted), None),
        );
    }
}
