//! What `status` is told: the machine's state, and what the machine cannot know.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use node_core::id::{Hotkey, Netuid};
use node_core::machine::effect::Note;
use node_core::machine::Machine;
use node_core::publish::KeyStanding;
use node_core::submit_guard::NotSafe;
use node_core::unit::UnixMs;
use node_evaluator::meter::Phase;
use node_peer::{NodeCertificate, PeerDirectory};
use node_store::Store;
use tokio::sync::watch;

use super::chain_task::ChainFacts;
use super::clock::unix_now;
use super::evaluate::Progress;
use super::perform::Performer;
use crate::config::WeightsMode;
use crate::metrics::Metrics;
use crate::notes;
use crate::status::{
    describe, AttemptPhase, AttemptStatus, EventStatus, FunnelStatus, HostFacts, LeaseCounts,
    NodeStatus, PublishedReport, Readiness, RefusalStatus, StatusReport, SubmissionCounts,
    WeightsStatus, SCHEMA,
};

/// Age of the latest block at which the node does not count as following the chain.
const BLOCK_AGE_MS_MAX: u64 = 60_000;

/// Age of a report at which the next one is due though nothing was decided. Lower: an idle node
/// describes again and again what it described before. Higher: progress of runs and ages of devices
/// are older.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Refusals that are remembered. Lower: what was refused is forgotten before anybody asks. Higher:
/// every report carries them.
const REFUSALS_KEPT: usize = 32;

/// Events that are remembered. Lower: a busy minute hides what was before. Higher: every report
/// carries them.
const EVENTS_KEPT: usize = 64;

/// Publishes reports.
#[derive(Debug)]
pub(crate) struct Reporter {
    pub(crate) reports: watch::Sender<Arc<PublishedReport>>,
    pub(crate) chain: watch::Receiver<ChainFacts>,
    /// How many there are.
    pub(crate) endpoints: usize,
    pub(crate) weights_mode: String,
    pub(crate) started_at: UnixMs,
    pub(crate) metrics: Arc<Metrics>,
    /// It knows how long the journal is.
    pub(crate) store: Arc<Store>,
    /// What the host lacks, found at start.
    pub(crate) host_reasons: Vec<String>,
    /// What peers were refused lately.
    pub(crate) refusals: VecDeque<RefusalStatus>,
    /// What happened lately.
    pub(crate) events: VecDeque<EventStatus>,
    /// What this node's connections show.
    pub(crate) certificate: watch::Receiver<NodeCertificate>,
    /// What the chain says of validators.
    pub(crate) directory: watch::Receiver<PeerDirectory>,
    /// Whether this node publishes its own key.
    pub(crate) publishes: bool,
    /// What the gates found in what ships with the node, found at start.
    pub(crate) gate_faults: Vec<String>,
    /// Whether something was decided since the last report.
    pub(crate) has_news: bool,
    /// When the last report was published.
    pub(crate) published_at: Option<Instant>,
}

impl Reporter {
    /// Remembers what an operator may ask about later.
    pub(crate) fn heard(&mut self, note: &Note) {
        self.events.extend(notes::event(note, unix_now()));
        if self.events.len() > EVENTS_KEPT {
            self.events.pop_front();
        }
        let Note::LeaseRefused { peer, call, submission, reason } = note else { return };
        if self.refusals.len() >= REFUSALS_KEPT {
            self.refusals.pop_front();
        }
        let (peer, call, submission, reason) =
            (*peer, (*call).to_owned(), *submission, reason.clone());
        self.refusals.push_back(RefusalStatus { at: unix_now(), peer, call, submission, reason });
    }

    /// Publishes a report if something was decided since the last one, or it is a second old.
    pub(crate) fn publish_if_due(&mut self, machine: &Machine, performer: &Performer) {
        let is_fresh = self.published_at.is_some_and(|at| at.elapsed() < REPORT_EVERY);
        if self.has_news || !is_fresh {
            self.publish(machine, performer);
        }
    }

    pub(crate) fn publish(&mut self, machine: &Machine, performer: &Performer) {
        self.has_news = false;
        self.published_at = Some(Instant::now());
        let chain = self.chain.borrow().clone();
        let endpoint = chain.endpoint.clone().unwrap_or_default();
        let index = chain.endpoint_index.map_or(0, |at| at.saturating_add(1));
        let facts = HostFacts {
            now: unix_now(),
            started_at: self.started_at,
            ready: self.readiness(machine, &chain),
            endpoint,
            endpoint_index: u32::try_from(index).unwrap_or(u32::MAX),
            endpoints: u32::try_from(self.endpoints).unwrap_or(u32::MAX),
            endpoint_states: chain.endpoint_states,
            view_seen_at: chain.finalized_seen_at.unwrap_or_default(),
            weights_mode: self.weights_mode.clone(),
            progress: progress(machine, performer),
            journal_bytes: self.store.journal_bytes(),
            refusals: self.refusals.iter().cloned().collect(),
            key_standings: self.key_standings(machine, performer),
            publishes_key: self.publishes,
            gate_faults: self.gate_faults.clone(),
            events: self.events.iter().cloned().collect(),
            counters: self.metrics.counts(),
        };
        let mut report = describe(machine, facts);
        let mut gaps = performer.evaluator.idle_gaps().figures();
        for device in &mut report.devices {
            device.idle_gap = gaps.remove(&device.id).map(Into::into);
        }
        self.reports.send_replace(Arc::new(report.into()));
    }

    /// How the keys of validators' connections stand to what they published, this node's with them.
    fn key_standings(
        &self,
        machine: &Machine,
        performer: &Performer,
    ) -> BTreeMap<Hotkey, KeyStanding> {
        let own = machine.config().hotkey;
        let others = machine.peers().map(|(hotkey, _)| *hotkey).filter(|hotkey| *hotkey != own);
        let mut standings: BTreeMap<_, _> = others
            .filter_map(|hotkey| Some((hotkey, performer.peers.key_standing(&hotkey)?)))
            .collect();
        let directory = self.directory.borrow();
        if directory.knows_certificates() && directory.contains(&own) {
            let certificate = self.certificate.borrow();
            standings.insert(own, certificate.standing(directory.published(&own), unix_now()));
        }
        standings
    }

    fn readiness(&self, machine: &Machine, chain: &ChainFacts) -> Readiness {
        let mut reasons = Vec::new();
        if machine.is_stopping() {
            reasons.push("the node is stopping".to_owned());
        }
        match (machine.view(), chain.view_seen_at) {
            (Some(_), Some(seen_at)) => {
                let age_ms = unix_now().0.saturating_sub(seen_at.0);
                if age_ms > BLOCK_AGE_MS_MAX {
                    reasons.push(format!("no new block for {} s", age_ms / 1000));
                }
            }
            _ => reasons.push("no block read yet".to_owned()),
        }
        if chain.endpoint.is_none() {
            let why = chain.last_error.as_deref().unwrap_or("connecting");
            reasons.push(format!("no chain endpoint answers: {why}"));
        }
        if let Some(not_safe) = machine.not_safe().filter(|not_safe| is_standing(not_safe)) {
            reasons.push(format!("cannot set weights: {not_safe}"));
        }
        let ready = reasons.is_empty();
        reasons.extend(self.host_reasons.iter().cloned());
        Readiness { ready, reasons }
    }
}

/// What is said before the machine exists.
pub(crate) fn starting(hotkey: Hotkey, netuid: Netuid, mode: &WeightsMode) -> StatusReport {
    let now = unix_now();
    StatusReport {
        schema: SCHEMA,
        as_of: now,
        node: NodeStatus {
            hotkey,
            netuid,
            uid: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now,
            is_stopping: false,
        },
        ready: Readiness { ready: false, reasons: vec!["the node is starting".to_owned()] },
        chain: None,
        endpoints: Vec::new(),
        checks: Vec::new(),
        watch: None,
        journal: None,
        weights: WeightsStatus {
            mode: mode_name(mode).to_owned(),
            epoch: None,
            next_epoch_block: None,
            blocks_left: None,
            last_landed: None,
            latest: None,
            form: None,
            not_safe: None,
            reveal_due: None,
            safe_to_restart: true,
        },
        devices: Vec::new(),
        runs: Vec::new(),
        leases: LeaseCounts::default(),
        submission_counts: SubmissionCounts::default(),
        submissions: Vec::new(),
        funnel: FunnelStatus::default(),
        peers: Vec::new(),
        receipts: Vec::new(),
        evaluations: Vec::new(),
        refusals: Vec::new(),
        events: Vec::new(),
        counters: BTreeMap::new(),
    }
}

/// The mode's name in the configuration and in the status.
pub(crate) fn mode_name(mode: &WeightsMode) -> &'static str {
    match mode {
        WeightsMode::Submit => "submit",
        WeightsMode::DryRun => "dry_run",
        WeightsMode::Off => "off",
    }
}

/// Whether waiting does not help: somebody has to do something.
fn is_standing(not_safe: &NotSafe) -> bool {
    match not_safe {
        NotSafe::OtherSigner { .. }
        | NotSafe::NotRegistered { .. }
        | NotSafe::NoPermit
        | NotSafe::StakeTooLow { .. }
        | NotSafe::UnknownConsensus { .. }
        | NotSafe::NoSuchMechanism { .. }
        | NotSafe::SafeMode { .. }
        | NotSafe::UnknownCommitVersion { .. }
        | NotSafe::UnknownCall { .. }
        | NotSafe::NoBeacon
        | NotSafe::RoundPassed { .. }
        | NotSafe::FinalityTooFar { .. }
        | NotSafe::CatchingUp
        | NotSafe::NoEpochs => true,
        NotSafe::AlreadyIntended { .. }
        | NotSafe::RegisteredAnew { .. }
        | NotSafe::Settling { .. }
        | NotSafe::Restored { .. }
        | NotSafe::UnexplainedUpdate { .. }
        | NotSafe::OlderSignatureLive { .. }
        | NotSafe::RateLimited { .. }
        | NotSafe::Early { .. }
        | NotSafe::Late { .. } => false,
    }
}

fn progress(
    machine: &Machine,
    performer: &Performer,
) -> BTreeMap<node_core::id::RunId, AttemptStatus> {
    let planned = machine.config().policy.meter.train_bytes;
    let told = performer.progress();
    told.into_iter().map(|(run, progress)| (run, attempt_status(&progress, planned))).collect()
}

/// How far a meter is, in words that others may rely on.
///
/// - `planned_bytes`: of training text, until the meter has said how much there is.
pub(crate) fn attempt_status(progress: &Progress, planned_bytes: u64) -> AttemptStatus {
    let is_told = progress.bytes_total > 0;
    AttemptStatus {
        covered_bytes: progress.bytes_done,
        total_bytes: if is_told { progress.bytes_total } else { planned_bytes },
        microbpb: (progress.batches_done > 0).then_some(progress.nanobpb / 1000),
        phase: match progress.phase {
            Phase::Starting => AttemptPhase::Starting,
            Phase::HeldOutBefore => AttemptPhase::HeldOutBefore,
            Phase::Training => AttemptPhase::Training,
            Phase::HeldOutAfter => AttemptPhase::HeldOutAfter,
            Phase::Finished => AttemptPhase::Finished,
        },
        bytes_per_second: progress.bytes_per_second(),
        remaining_s: progress.remaining_s(),
    }
}
