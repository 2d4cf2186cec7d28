//! The machine: one owner of the node's state, one event at a time.
//!
//! [`Machine::apply`] takes an event and the time and returns what to store, what to do and what
//! to say. It is synchronous and deterministic: the same events give the same outcomes.
//!
//! The machine composes smaller parts, a file each: `restart` (what was and what is), `intake`
//! (from commitment to verdict), `trained` (whose architecture a recipe trains), `devices` (what
//! may be given runs), `duty` (who coordinates what), `coordinate` (leases granted), `operator`
//! (what a person asks for), `work` (leases held), `exchange` (receipts), `settle` (from receipts
//! to results), `horizon` (what is settled for good, and forgotten), `weights` (from points to the
//! chain).

pub mod account;
mod catch_up;
mod coordinate;
mod devices;
mod duty;
pub mod effect;
pub mod event;
mod exchange;
mod funnel;
mod gone;
mod hold;
mod horizon;
mod intake;
mod lack;
mod lease_queue;
pub mod operator;
pub mod past;
pub mod places;
mod receipts;
mod restart;
mod review;
mod rewards;
mod settle;
mod sketches;
#[cfg(test)]
mod tests;
mod trained;
mod untrained;
mod weights;
mod work;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::admission::Verdict;
use crate::duplicates::{KnownSketch, SketchIndex};
use crate::evaluation::Evaluation;
use crate::evidence::Receipt;
use crate::health::{DeviceHealth, DeviceRow};
use crate::id::{
    AssignmentId, Attempt, ContentDigest, Digest, Hotkey, IntentId, Netuid, RunId, SubmissionId,
};
use crate::inventory::{Device, DeviceId};
use crate::lease_record::LeaseRecord;
use crate::machine::catch_up::CatchingUp;
use crate::machine::duty::Duties;
use crate::machine::effect::{Outcome, PeerAddress};
use crate::machine::event::Event;
use crate::machine::funnel::{reference_submission, Tiers};
use crate::machine::horizon::Horizon;
use crate::machine::lease_queue::{LeaseQueue, ReplicaKey};
use crate::machine::receipts::Receipts;
use crate::machine::settle::Pending;
use crate::machine::sketches::Judged;
use crate::placement::HostPlacement;
use crate::policy::{Policy, RewardBasis};
use crate::preflight::{self, Preflight, Stage};
use crate::restoration::Restoration;
use crate::review::{ReviewKey, ReviewRules};
use crate::reward::Standings;
use crate::rows::{
    IntentRow, MeasurementRow, OutcomeRow, ReceiptRow, ReviewRow, StrikeCause, StrikeRow, Table,
    Write,
};
use crate::submission::{Submission, SubmissionState};
use crate::submit_guard::{CommitForm, NotSafe, Sight};
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber, EpochIndex, MonoMs, Now};
use crate::view::ChainView;

use weights::{Said, Signers};

pub use exchange::PeerState;
pub use funnel::{ReferenceWork, UnitResult};
pub use lack::HostLack;
pub use untrained::UntrainedFault;
pub use work::Run;

/// Facts that do not change while the process lives.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Our hotkey.
    pub hotkey: Hotkey,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism whose weights we set.
    pub mechanism: u8,
    /// The rules.
    pub policy: Policy,
    /// The evaluator image's id.
    pub image: Digest,
    /// The data set.
    pub dataset: Digest,
    /// The challenge's own submissions; others are measured by the first.
    pub references: Vec<ReferenceWork>,
    /// Where validators serve, in place of what they published; holds our own address too.
    pub endpoints: BTreeMap<Hotkey, SocketAddr>,
    /// What becomes of vectors.
    pub weights: WeightsMode,
    /// Blocks before the epoch's end from which on the vector is sent.
    pub weights_lead: BlockCount,
    /// How weights are concealed where the subnet conceals them.
    pub commit_form: CommitForm,
    /// How submissions are reviewed by a language model, if they are.
    pub review: Option<ReviewRules>,
}

/// What becomes of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsMode {
    /// None is computed.
    Off,
    /// Computed and kept for `status`, never signed.
    DryRun,
    /// Signed and sent.
    Submit,
}

/// The state of a node.
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    policy_digest: Digest,
    view: Option<ChainView>,
    /// The best block, if one newer than the finalized block was read.
    head: Option<ChainView>,
    is_stopping: bool,
    catching_up: Option<CatchingUp>,
    devices: Vec<Device>,
    placement: HostPlacement,
    health: BTreeMap<DeviceId, DeviceHealth>,
    host_lack: Option<HostLack>,
    gone: BTreeMap<DeviceId, DeviceRow>,
    submissions: BTreeMap<SubmissionId, Submission>,
    verdicts: BTreeMap<(ContentDigest, Digest), Verdict>,
    /// By what admitted contents are compared.
    sketches: BTreeMap<ContentDigest, Arc<KnownSketch>>,
    /// The submissions that were accepted, to compare others with.
    works: SketchIndex,
    /// Contents whose verdict was asked for in this life.
    /// What was found of one waits here for the samples of sketches that may be like its own.
    judging: BTreeMap<ContentDigest, Option<Judged>>,
    /// What language models said.
    reviews: BTreeMap<ReviewKey, ReviewRow>,
    /// Contents of which one was asked for its opinion in this life and has not given it.
    reviewing: BTreeMap<ContentDigest, FetchClock>,
    fetching: BTreeMap<SubmissionId, FetchClock>,
    /// Commitments that are no submissions, by hotkey: said once each.
    passed_over: BTreeMap<Hotkey, BlockNumber>,
    /// Who is there, and who coordinates what.
    duties: Duties,
    /// What this node coordinates, or did.
    evaluations: BTreeMap<Trial, Evaluation>,
    replica_of: BTreeMap<AssignmentId, ReplicaKey>,
    queue: LeaseQueue,
    /// Attempts are numbered from after this one.
    attempts_from: Attempt,
    /// Trials that are not decided.
    pending: BTreeMap<Trial, Pending>,
    /// What was decided.
    outcomes: BTreeMap<Trial, OutcomeRow>,
    /// The challenge's own submissions and their names, in the order of the configuration.
    references: Vec<(SubmissionId, String)>,
    /// Who entered which tier.
    tiers: Tiers,
    /// Whose architectures recipes in a tier are compared with, by tier.
    compared: BTreeSet<(u8, SubmissionId)>,
    /// Whether something changed that decides about tiers.
    is_funnel_stale: bool,
    /// Whether the gate of the untrained model turned somebody away, as far as the funnel knows.
    gate_refused: bool,
    /// What was said about a reference that fails it.
    untrained_told: Option<UntrainedFault>,
    /// Trials that have to be settled again.
    to_settle: BTreeSet<Trial>,
    /// Submissions that the latest view shows.
    current: BTreeSet<SubmissionId>,
    /// Those of the others that are paid all the same: when that was seen the last time.
    paid_at: BTreeMap<SubmissionId, BlockNumber>,
    /// Those whose evaluation was put away.
    retired: BTreeSet<SubmissionId>,
    /// What is settled for good.
    horizon: Horizon,
    told: Told,
    strikes: BTreeMap<(Hotkey, SubmissionId, StrikeCause), StrikeRow>,
    /// How many of them counted at the latest block.
    strikes_counted: usize,
    runs: BTreeMap<RunId, Run>,
    /// What this node measured.
    measurements: BTreeMap<Trial, MeasurementRow>,
    /// Coordinators with work for this node, unless that has to be found out again.
    asked_for_work: Option<Vec<Hotkey>>,
    receipts: Receipts,
    /// Receipts that cannot be judged yet: whose sequence, which place.
    orphans: Vec<(Hotkey, u64, Receipt)>,
    next_sequence: u64,
    peers: BTreeMap<Hotkey, PeerState>,
    intents: BTreeMap<IntentId, IntentRow>,
    /// Intents whose signature was asked for in this life.
    signing: BTreeSet<IntentId>,
    /// Intents whose extrinsics are searched for, and which of them.
    tracing: BTreeMap<IntentId, Vec<Digest>>,
    /// Signed extrinsics of unfinished intents that were found dead: their nonce is used.
    spent: BTreeSet<Digest>,
    sent_at: BTreeMap<IntentId, BlockNumber>,
    signers: Signers,
    /// The journal came from a copy, and what it may lack is waited for.
    restoration: Option<Restoration>,
    /// Before which block nothing is signed, since a copy of the journal had not settled then.
    settled_at: Option<BlockNumber>,
    said: Said,
    /// The epoch for which it was said that there is nothing to send.
    no_vector_epoch: Option<EpochIndex>,
    not_safe: Option<NotSafe>,
}

/// What readers were told of the standings, until something changes that decides about them.
#[derive(Debug, Default)]
struct Told {
    standings: OnceCell<Option<Standings>>,
    /// An event is being applied, and what would be kept might be outdated at its end.
    is_applying: bool,
}

impl Told {
    fn while_applying() -> Self {
        Self { is_applying: true, ..Self::default() }
    }
}

/// Whether a write changes what decides about places.
fn decides_places(write: &Write) -> bool {
    let table = match write {
        Write::Put(row) => row.table(),
        Write::Delete(table, _) => *table,
        Write::Journal(_) | Write::Freeze(_) | Write::CaughtUp => return false,
    };
    match table {
        Table::Submissions
        | Table::Verdicts
        | Table::Outcomes
        | Table::Families
        | Table::Horizon => true,
        Table::Leases
        | Table::Receipts
        | Table::Runs
        | Table::Intents
        | Table::Cursors
        | Table::Measurements
        | Table::Strikes
        | Table::Devices
        | Table::Reviews => false,
    }
}

/// When something that somebody else has is asked for again.
#[derive(Clone, Copy, Debug)]
struct FetchClock {
    is_running: bool,
    failures: u32,
    again_at: MonoMs,
}

impl Machine {
    /// A machine that knows nothing yet; its first event is [`Event::Restarted`].
    #[must_use]
    pub fn new(config: MachineConfig) -> Self {
        let policy_digest = config.policy.digest();
        let submissions: Vec<(Submission, String)> = config
            .references
            .iter()
            .filter(|_| config.policy.scoring.basis == RewardBasis::Standings)
            .map(|work| (reference_submission(work, &policy_digest), work.name.clone()))
            .collect();
        let references = submissions.iter().map(|(one, name)| (one.id, name.clone())).collect();
        let submissions = submissions.into_iter().map(|(one, _)| (one.id, one)).collect();
        Self {
            config,
            policy_digest,
            view: None,
            head: None,
            is_stopping: false,
            catching_up: None,
            devices: Vec::new(),
            placement: HostPlacement::default(),
            health: BTreeMap::new(),
            host_lack: None,
            gone: BTreeMap::new(),
            submissions,
            verdicts: BTreeMap::new(),
            sketches: BTreeMap::new(),
            works: SketchIndex::default(),
            judging: BTreeMap::new(),
            reviews: BTreeMap::new(),
            reviewing: BTreeMap::new(),
            fetching: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            duties: Duties::default(),
            evaluations: BTreeMap::new(),
            replica_of: BTreeMap::new(),
            queue: LeaseQueue::default(),
            attempts_from: Attempt(0),
            pending: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            references,
            tiers: Tiers::new(),
            compared: BTreeSet::new(),
            is_funnel_stale: false,
            gate_refused: false,
            untrained_told: None,
            to_settle: BTreeSet::new(),
            current: BTreeSet::new(),
            paid_at: BTreeMap::new(),
            retired: BTreeSet::new(),
            horizon: Horizon::default(),
            told: Told::default(),
            strikes: BTreeMap::new(),
            strikes_counted: 0,
            runs: BTreeMap::new(),
            measurements: BTreeMap::new(),
            asked_for_work: None,
            receipts: Receipts::default(),
            orphans: Vec::new(),
            next_sequence: 1,
            peers: BTreeMap::new(),
            intents: BTreeMap::new(),
            signing: BTreeSet::new(),
            tracing: BTreeMap::new(),
            spent: BTreeSet::new(),
            sent_at: BTreeMap::new(),
            signers: Signers::default(),
            restoration: None,
            settled_at: None,
            said: Said::default(),
            no_vector_epoch: None,
            not_safe: None,
        }
    }

    /// Applies one event.
    ///
    /// The state has changed when this returns; the caller commits the writes before it performs
    /// the effects, and stops for good if the commit fails.
    pub fn apply(&mut self, now: Now, event: Event) -> Outcome {
        let is_block = matches!(event, Event::BlockFinalized(_) | Event::Restarted(_));
        let told = std::mem::replace(&mut self.told, Told::while_applying());
        let out = self.apply_event(now, event);
        let is_outdated = is_block || out.writes.iter().any(decides_places);
        self.told = if is_outdated { Told::default() } else { told };
        out
    }

    fn apply_event(&mut self, now: Now, event: Event) -> Outcome {
        let mut out = Outcome::default();
        self.on_event(now, event, &mut out);
        self.said.keep_new(&mut out.notes);
        out
    }

    fn on_event(&mut self, now: Now, event: Event, out: &mut Outcome) {
        match event {
            Event::Restarted(found) => self.on_restarted(now, *found, out),
            Event::BlockFinalized(view) => self.on_block(now, *view, out),
            Event::BestBlock(view) => {
                self.head = Some(*view);
                self.on_best_weights(out);
            }
            Event::ContentFetched { submission, result } => {
                self.on_fetched(now, submission, result, out);
            }
            Event::ContentUnreadable { submission, rejection } => {
                self.on_content_unreadable(submission, rejection, out);
            }
            Event::ContentMissing { submission } => {
                self.on_content_missing(now, submission, out);
            }
            Event::AdmissionFailed { submission, reason } => {
                self.on_admission_failed(now, submission, &reason, out);
            }
            Event::Reviewed { content, result } => {
                self.on_reviewed(now, content, result, out);
            }
            Event::AdmissionEnded { submission, verdict, sketch } => {
                self.on_admission_ended(now, submission, verdict, sketch, out);
            }
            Event::SketchesRecalled { content, found } => {
                self.on_sketches_recalled(now, content, found, out);
            }
            Event::PeerAsked { call, peer, request } => {
                self.on_asked(now, call, peer, request, out);
            }
            Event::OperatorAsked { call, request } => {
                self.on_operator_asked(now, call, request, out);
            }
            Event::DeviceSeen { device, observation } => {
                self.on_device_seen(now, &device, *observation, out);
            }
            Event::DeviceRead { device, run, observation } => {
                self.on_device_read(now, &device, run, *observation, out);
            }
            Event::EngineAsked { fault } => self.on_engine_asked(now, fault.as_deref(), out),
            Event::PeerAnswered { peer, question, result } => {
                self.on_answered(now, peer, question, result, out);
            }
            Event::LeaseLapsed { run, lapse } => self.on_lapsed(run, lapse, out),
            Event::RenewalEnded { peer, result } => {
                self.on_renewal_ended(now, peer, result, out);
            }
            Event::RunStarted { run } => self.on_run_started(run),
            Event::RunEnded { run, ending, metrics, ended_at, salt } => {
                let ended = work::EndedRun { run, ending, metrics, ended_at, salt };
                self.on_run_ended(now, ended, out);
            }
            Event::SealSigned { run, evidence, signature } => {
                self.on_seal_signed(now, run, *evidence, signature, out);
            }
            Event::ReceiptSigned { run, receipt } => {
                self.on_receipt_signed(now, run, *receipt, out);
            }
            Event::WeightsSigned { intent, result } => {
                self.on_weights_signed(intent, result, out);
            }
            Event::WeightsSent { intent, result } => self.on_weights_sent(intent, result, out),
            Event::WeightsTraced { intent, result } => {
                self.on_weights_traced(intent, result, out);
            }
            Event::Ticked => self.on_tick(now, out),
            Event::StopRequested => self.is_stopping = true,
            Event::StopForced => self.on_stop_forced(out),
        }
    }

    fn on_block(&mut self, now: Now, view: ChainView, out: &mut Outcome) {
        // Finalized views only move forward; an older one comes from a lagging endpoint.
        if self.view.as_ref().is_some_and(|known| known.number >= view.number) {
            return;
        }
        self.view = Some(view);
        self.refresh_peers();
        self.take_in_commitments(now, out);
        self.retire(out);
        self.release_held(now, out);
        self.look_for_architectures(out);
        self.is_funnel_stale = true;
        if self.update_duties(now) {
            self.touch_all();
        }
        self.adopt_orphans(out);
        self.update_abilities();
        self.take_over_stuck();
        self.asked_for_work = None;
        self.settle_touched(now, out);
        self.close_windows(out);
        self.forget_past(out);
        self.check_caught_up(now, out);
        self.on_finalized_weights(out);
    }

    fn on_tick(&mut self, now: Now, out: &mut Outcome) {
        self.retry_fetches(now, out);
        self.retry_reviews(now, out);
        if self.update_duties(now) {
            self.touch_all();
            self.settle_touched(now, out);
        }
        self.expire_leases(now, out);
        self.show_overdue(now, out);
        self.report_results(now, out);
        self.watch_devices(now, out);
        self.acquire_work(now, out);
        self.ask_for_receipts(now, out);
    }

    fn address_of(&self, hotkey: &Hotkey) -> Option<PeerAddress> {
        let published = || self.view.as_ref()?.neuron(hotkey)?.axon;
        let endpoint = self.config.endpoints.get(hotkey).copied().or_else(published)?;
        Some(PeerAddress { hotkey: *hotkey, endpoint })
    }

    /// Every other validator with an address.
    fn other_validators(&self) -> Vec<PeerAddress> {
        let Some(view) = &self.view else { return Vec::new() };
        view.validators()
            .filter(|neuron| neuron.hotkey != self.config.hotkey)
            .filter_map(|neuron| self.address_of(&neuron.hotkey))
            .collect()
    }
}

/// Read-only access, for `status` and for tests.
impl Machine {
    /// The facts given at the start.
    #[must_use]
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The latest finalized view, if one was read.
    #[must_use]
    pub fn view(&self) -> Option<&ChainView> {
        self.view.as_ref()
    }

    /// The newest view: of the best block where that was read, else of the finalized one.
    #[must_use]
    pub fn head(&self) -> Option<&ChainView> {
        let newer = |head: &&ChainView| {
            self.view.as_ref().is_none_or(|finalized| head.number > finalized.number)
        };
        self.head.as_ref().filter(newer).or(self.view.as_ref())
    }

    /// The host's devices.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Every miner's submission, by id.
    pub fn submissions(&self) -> impl Iterator<Item = &Submission> {
        self.submissions.values().filter(|known| !self.is_reference(&known.id))
    }

    /// Whether a trial of a submission needs further results. An earlier verdict may stand until
    /// they come.
    #[must_use]
    pub fn needs_results(&self, id: &SubmissionId) -> bool {
        self.pending.range(Trial::all_of(*id)).next().is_some()
    }

    /// Who can be asked for a result of a trial, as this node sees it, or has one.
    #[must_use]
    pub fn eligible(&self, trial: &Trial) -> BTreeSet<Hotkey> {
        self.jury(trial).eligible
    }

    /// How many of them have to agree.
    #[must_use]
    pub fn required(&self, trial: &Trial) -> usize {
        self.jury(trial).required()
    }

    /// What was decided, by trial.
    pub fn outcomes(&self) -> impl Iterator<Item = &OutcomeRow> {
        self.outcomes.values()
    }

    /// Leases that this node coordinates, or did.
    pub fn leases(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.evaluations.values().flat_map(Evaluation::replicas)
    }

    /// Strikes that count.
    pub fn strikes(&self) -> impl Iterator<Item = &StrikeRow> {
        let number = self.view.as_ref().map(|view| view.number).unwrap_or_default();
        self.strikes.values().filter(move |row| settle::counts_at(number, row))
    }

    /// Validators whose place others take.
    pub fn gone(&self) -> impl Iterator<Item = &Hotkey> {
        self.duties.gone()
    }

    /// Runs of this node that are not acknowledged yet.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// Receipts, late ones too.
    pub fn receipts(&self) -> impl Iterator<Item = &ReceiptRow> {
        self.receipts.all()
    }

    /// Other validators as this node sees them.
    pub fn peers(&self) -> impl Iterator<Item = (&Hotkey, &PeerState)> {
        self.peers.iter()
    }

    /// Every intent, by id.
    pub fn intents(&self) -> impl Iterator<Item = &IntentRow> {
        self.intents.values()
    }

    /// Why no vector is signed now, if one is not.
    #[must_use]
    pub fn not_safe(&self) -> Option<&NotSafe> {
        self.not_safe.as_ref()
    }

    /// The newest blocks; `None` before the first finalized one.
    fn sight(&self) -> Option<Sight<'_>> {
        Some(Sight { head: self.head()?, finalized: self.view()? })
    }

    /// How everything stands that vectors depend on; `None` before the first finalized block.
    #[must_use]
    pub fn preflight(&self) -> Option<Preflight> {
        let intents: Vec<&IntentRow> = self.intents.values().collect();
        Some(preflight::preflight(&preflight::Subject {
            sight: self.sight()?,
            terms: self.terms(),
            is_submitting: self.config.weights == WeightsMode::Submit,
            intents: &intents,
            not_safe: self.not_safe.as_ref(),
            has_nothing_to_send: self.has_nothing_to_send(),
        }))
    }

    /// Whether nobody has points, or nobody with points was registered in this epoch or the last.
    fn has_nothing_to_send(&self) -> bool {
        let is_scored = |submission: &Submission| {
            let SubmissionState::Scored { points } = submission.state else { return false };
            points > 0
        };
        let now = self.head().map(|head| head.epoch.index);
        let is_recent =
            |epoch: EpochIndex| now.is_some_and(|now| epoch.0.saturating_add(1) >= now.0);
        let has_nothing = !self.pays_standings() && !self.submissions().any(is_scored);
        self.no_vector_epoch.is_some_and(is_recent) || has_nothing
    }

    /// How far a vector got on its way to the chain.
    #[must_use]
    pub fn stage(&self, intent: &IntentRow) -> Stage {
        preflight::stage(intent, self.sight(), self.sent_at.contains_key(&intent.id))
    }

    /// Whether the operator asked the node to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Whether a restart now would interrupt neither a run, nor a vector on its way, nor a reveal
    /// whose epoch is the present one.
    #[must_use]
    pub fn is_safe_to_restart(&self) -> bool {
        let is_revealing = self.due_reveal().is_some_and(|reveal| reveal.is_now);
        let is_interrupted = |run: &Run| {
            // What a coordinator that is gone should hear waits on the disk as well as in memory.
            let is_for_nobody = run.is_durable() && self.duties.is_gone(&run.row.grant.coordinator);
            !run.is_waiting() && !is_for_nobody
        };
        !self.runs.values().any(is_interrupted) && !self.has_live_intent() && !is_revealing
    }

    /// Submissions whose evaluation is still owed, in whichever tier.
    pub fn unsettled(&self) -> impl Iterator<Item = &Submission> {
        self.submissions().filter(|submission| {
            self.pending.range(Trial::all_of(submission.id)).next().is_some()
                || submission.state.is_open()
        })
    }
}
