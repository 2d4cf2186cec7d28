//! The status as data: the schema of `GET /status`, `status.json` and `assay status --json`.
//!
//! Fields are added, never renamed; a change of meaning raises [`SCHEMA`]. Times are milliseconds
//! since the Unix epoch by the node's clock, bits per byte are integers times 1e6.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId,
    SubmissionId, Uid,
};
use node_core::lease::{Explanation, Reopened};
use node_core::publish::KeyStanding;
use node_core::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::device::DeviceStatus;
use super::funnel::{FunnelStatus, PlaceStatus, UnitStatus};
use super::journal::JournalStatus;
use super::schema::{
    AddressText, ExplanationSchema, HexText, KeyStandingSchema, ReopenedSchema, TimeMs,
};
use super::waits::WaitsFor;
use super::watch::{CheckStatus, EndpointStatus, WatchStatus};

/// Version of the schema.
pub const SCHEMA: u32 = 1;

/// Rows of one kind in a report. Lower: a busy subnet's submissions are cut off. Higher: every
/// request makes the node write that much more.
pub const ROWS_MAX: usize = 1024;
// The docs of the fields, which become the schema's, name the number.
const _: () = assert!(ROWS_MAX == 1024);

/// Age at which a report no longer counts as the present: the loop that writes it hangs.
pub const STALE_MS: u64 = 60_000;

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReport {
    /// Version of the schema that the writer follows.
    pub schema: u32,
    /// When it was written.
    #[schemars(with = "TimeMs")]
    pub as_of: UnixMs,
    /// Who writes.
    pub node: NodeStatus,
    /// Whether the node does its work.
    pub ready: Readiness,
    /// The chain as last seen; `null` before the first block.
    pub chain: Option<ChainStatus>,
    /// The chain's endpoints, the active one first.
    #[serde(default)]
    pub endpoints: Vec<EndpointStatus>,
    /// The way of the weights.
    pub weights: WeightsStatus,
    /// What was looked at and how it stands; empty before the first block.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
    /// The numbers behind the checks; `null` before the first block.
    #[serde(default)]
    pub watch: Option<WatchStatus>,
    /// How full the journal of what was signed is; `null` until it is read.
    #[serde(default)]
    pub journal: Option<JournalStatus>,
    /// What this host can run on.
    pub devices: Vec<DeviceStatus>,
    /// Runs of this node that are not acknowledged yet.
    pub runs: Vec<RunStatus>,
    /// Leases that this node coordinates.
    pub leases: LeaseCounts,
    /// All submissions, by stage.
    pub submission_counts: SubmissionCounts,
    /// Submissions, the latest commitment first, at most 1024.
    pub submissions: Vec<SubmissionStatus>,
    /// How far they get, and who holds which place.
    #[serde(default)]
    pub funnel: FunnelStatus,
    /// Other validators, by hotkey.
    pub peers: Vec<PeerStatus>,
    /// Receipts, the latest first, at most 1024.
    pub receipts: Vec<ReceiptStatus>,
    /// How the evaluations of the submissions above stand here.
    #[serde(default)]
    pub evaluations: Vec<EvaluationStatus>,
    /// What this node refused its peers lately, the latest last.
    #[serde(default)]
    pub refusals: Vec<RefusalStatus>,
    /// What happened lately, the latest last.
    #[serde(default)]
    pub events: Vec<EventStatus>,
    /// How often each kind of thing happened since the start, by its name in the log.
    pub counters: BTreeMap<String, u64>,
}

/// Who writes the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStatus {
    /// The node's hotkey.
    #[schemars(with = "AddressText")]
    pub hotkey: Hotkey,
    /// The subnet it validates.
    #[schemars(with = "u16")]
    pub netuid: Netuid,
    /// Its uid there, if it is registered.
    #[schemars(with = "Option<u16>")]
    pub uid: Option<Uid>,
    /// Version of the program.
    pub version: String,
    /// When the process started.
    #[schemars(with = "TimeMs")]
    pub started_at: UnixMs,
    /// Whether it was asked to stop.
    pub is_stopping: bool,
}

/// Whether the node does its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// What is wrong, the most important first. A ready node may have reasons too: something
    /// that is worth knowing and stops nothing.
    pub reasons: Vec<String>,
}

/// The chain as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainStatus {
    /// The endpoint in use, without credentials; empty while connecting.
    pub endpoint: String,
    /// Which one that is, counted from one; 0 while connecting.
    pub endpoint_index: u32,
    /// How many there are.
    pub endpoints: u32,
    /// Height of the latest finalized block.
    #[schemars(with = "u64")]
    pub finalized_number: BlockNumber,
    /// Its hash.
    #[schemars(with = "HexText")]
    pub finalized_hash: BlockHash,
    /// When this node saw it.
    #[schemars(with = "TimeMs")]
    pub finalized_seen_at: UnixMs,
    /// Version of the chain's runtime.
    pub spec_version: u32,
    /// Hash of block 0.
    #[schemars(with = "HexText")]
    pub genesis: BlockHash,
    /// Height of the newest block, which may not be final.
    #[serde(default)]
    #[schemars(with = "u64")]
    pub best_number: BlockNumber,
    /// Blocks by which the finalized one is behind it.
    #[serde(default)]
    #[schemars(with = "u64")]
    pub finality_lag: BlockCount,
}

/// The way of the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WeightsStatus {
    /// `submit`, `dry_run` or `off`.
    pub mode: String,
    /// The chain's present epoch.
    #[schemars(with = "Option<u64>")]
    pub epoch: Option<EpochIndex>,
    /// When it ends.
    #[schemars(with = "Option<u64>")]
    pub next_epoch_block: Option<BlockNumber>,
    /// Blocks until then.
    #[schemars(with = "Option<u64>")]
    pub blocks_left: Option<BlockCount>,
    /// The latest vector found on the finalized chain.
    pub last_landed: Option<WeightsIntent>,
    /// The latest vector of all.
    pub latest: Option<WeightsIntent>,
    /// In which form the subnet takes weights: `plain`, `timelocked` or `hash`; `null` if it is
    /// not known, or this build does not know it.
    #[serde(default)]
    pub form: Option<String>,
    /// Why nothing is signed at present, if nothing is.
    pub not_safe: Option<String>,
    /// The hash commit that this node has to reveal next, if there is one.
    #[serde(default)]
    pub reveal_due: Option<RevealStatus>,
    /// Whether a restart now would interrupt neither a run, nor a vector on its way, nor a reveal
    /// whose epoch is the present one.
    pub safe_to_restart: bool,
}

/// A hash commit that this node has to reveal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevealStatus {
    /// The epoch that the vector is for.
    #[schemars(with = "u64")]
    pub epoch: EpochIndex,
    /// The epoch in which alone the chain takes the reveal.
    #[schemars(with = "u64")]
    pub opens_in: EpochIndex,
    /// Whether that is the present one.
    pub is_now: bool,
    /// The first block of that epoch, where it is known.
    #[schemars(with = "Option<u64>")]
    pub from: Option<BlockNumber>,
    /// The first block after that epoch, if it is the present one.
    #[schemars(with = "Option<u64>")]
    pub until: Option<BlockNumber>,
}

/// A vector and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WeightsIntent {
    /// The epoch it is for.
    #[schemars(with = "u64")]
    pub epoch: EpochIndex,
    /// `open`, `signed`, `landed`, `committed`, `revealed`, `lost` or `abandoned`.
    pub state: String,
    /// The block in which it landed, if it did.
    #[schemars(with = "Option<u64>")]
    pub block: Option<BlockNumber>,
    /// Why it was given up, if it was.
    pub reason: Option<String>,
    /// The vector: uid and weight, ascending by uid.
    #[schemars(with = "Vec<(u16, u16)>")]
    pub vector: Vec<(Uid, u16)>,
    /// Digest of the vector: nodes that computed the same have the same.
    #[serde(default)]
    #[schemars(with = "Option<HexText>")]
    pub vector_hash: Option<Digest>,
    /// Hash of its last extrinsic, as block explorers know it; `null` before it is signed.
    #[serde(default)]
    #[schemars(with = "Option<HexText>")]
    pub extrinsic_hash: Option<Digest>,
    /// How far it got, finer than `state`: `intended`, `signed`, `sent`, `in_block`, `finalized`,
    /// `landed`, `committed`, `revealed`, `lost` or `abandoned`.
    #[serde(default)]
    pub stage: String,
    /// Nonce of its last signature.
    #[serde(default)]
    pub nonce: Option<u32>,
    /// The first block in which that one is no longer valid.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub era_end: Option<BlockNumber>,
    /// Of a commit: the epoch in which it is opened.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub opens_in: Option<EpochIndex>,
    /// Of a timelocked commit: the beacon's round that opens it.
    #[serde(default)]
    pub round: Option<u64>,
    /// Of a commit that was opened: the block in which that was seen.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub revealed_at: Option<BlockNumber>,
}

/// A run of this node that is not acknowledged yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStatus {
    /// Its identity.
    #[schemars(with = "HexText")]
    pub run: RunId,
    /// What it evaluates.
    #[schemars(with = "HexText")]
    pub submission: SubmissionId,
    /// Where: its device, or the names of several with commas; empty for what was given back before
    /// it had any.
    pub device: String,
    /// Under which lease.
    #[schemars(with = "HexText")]
    pub lease: LeaseId,
    /// Its fencing token.
    #[schemars(with = "u32")]
    pub attempt: Attempt,
    /// Who granted the lease.
    #[schemars(with = "AddressText")]
    pub coordinator: Hotkey,
    /// `running`, `completing` or `releasing`.
    pub state: String,
    /// When it started.
    #[schemars(with = "TimeMs")]
    pub started_at: UnixMs,
    /// How far the meter is, where it says so.
    pub progress: Option<AttemptStatus>,
}

/// How far a meter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptStatus {
    /// Bytes of training text measured.
    pub covered_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bits per byte so far, times 1e6; `null` before the first batch.
    pub microbpb: Option<u64>,
    /// What is happening.
    #[serde(default)]
    pub phase: AttemptPhase,
    /// Bytes of training text per second so far; `null` before the first batch.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// Seconds until the text is used up at this rate; `null` while that is unknown.
    #[serde(default)]
    pub remaining_s: Option<u64>,
}

/// What a measurement is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptPhase {
    /// The container builds its model.
    #[default]
    Starting,
    /// The untrained model predicts the held-out text.
    HeldOutBefore,
    /// Predicting and training, batch by batch.
    Training,
    /// The trained model predicts the held-out text.
    HeldOutAfter,
    /// Everything is measured.
    Finished,
}

impl AttemptPhase {
    /// Its public name, the same as when it is serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::HeldOutBefore => "held_out_before",
            Self::Training => "training",
            Self::HeldOutAfter => "held_out_after",
            Self::Finished => "finished",
        }
    }
}

/// Leases that this node coordinates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseCounts {
    /// Waiting for a worker.
    pub open: u64,
    /// Held by a worker.
    pub granted: u64,
    /// Measured; the result is shown when those of the other replicas are fixed too.
    #[serde(default)]
    pub sealed: u64,
    /// Settled by a receipt.
    pub complete: u64,
    /// Every attempt was lost.
    pub exhausted: u64,
}

/// Submissions by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionCounts {
    /// Seen on chain; their bytes are not here.
    pub committed: u64,
    /// In admission.
    pub fetched: u64,
    /// Waiting for their evaluation.
    pub admitted: u64,
    /// Refused by a rule.
    pub rejected: u64,
    /// Evaluated, and the result counts.
    pub scored: u64,
    /// Evaluated, not scored by their own fault.
    pub failed: u64,
    /// Evaluated, not scored because validators measured different things.
    #[serde(default)]
    pub disputed: u64,
    /// Waiting for a person.
    #[serde(default)]
    pub held: u64,
}

/// How far a submission got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStage {
    /// Seen on chain; its bytes are not here.
    Committed,
    /// In admission.
    Fetched,
    /// Waiting for its evaluation.
    Admitted,
    /// Waiting for a person to look at it.
    Held,
    /// Refused by a rule.
    Rejected,
    /// Evaluated, and the result counts.
    Scored,
    /// Evaluated, not scored by its own fault.
    Failed,
    /// Validators measured different things, and nobody is left to ask.
    Disputed,
}

impl SubmissionStage {
    /// The name in JSON and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Fetched => "fetched",
            Self::Admitted => "admitted",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Scored => "scored",
            Self::Failed => "failed",
            Self::Disputed => "disputed",
        }
    }
}

/// A submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionStatus {
    /// Its identity.
    #[schemars(with = "HexText")]
    pub id: SubmissionId,
    /// The miner.
    #[schemars(with = "AddressText")]
    pub hotkey: Hotkey,
    /// Its uid, while it is registered.
    #[schemars(with = "Option<u16>")]
    pub uid: Option<Uid>,
    /// Block of the commitment.
    #[schemars(with = "u64")]
    pub committed_at: BlockNumber,
    /// What was committed.
    #[schemars(with = "HexText")]
    pub content: ContentDigest,
    /// How far it got.
    pub stage: SubmissionStage,
    /// The score, if it has one.
    pub points: Option<u64>,
    /// Who evaluates or evaluated it.
    #[schemars(with = "Option<AddressText>")]
    pub worker: Option<Hotkey>,
    /// Who granted the lease, or would.
    #[schemars(with = "Option<AddressText>")]
    pub coordinator: Option<Hotkey>,
    /// What was measured.
    pub metrics: Option<MetricsStatus>,
    /// The rule it broke, if one: a public id.
    pub rule: Option<String>,
    /// How its evaluation ended, if it did: a public name.
    pub ending: Option<String>,
    /// One sentence about rule, ending, failed fetch or lost attempts.
    pub detail: Option<String>,
    /// What it waits for; `null` if all of it is decided.
    #[serde(default)]
    pub waits_for: Option<WaitsFor>,
    /// How far it got, under a policy of several tiers.
    #[serde(default)]
    pub place: Option<PlaceStatus>,
    /// What was decided in its units, tier by tier; of those beyond the first tier only.
    #[serde(default)]
    pub units: Vec<UnitStatus>,
}

/// What was measured, shortened. Bits per byte, times 1e6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsStatus {
    /// Of the training text, while it was learned; `null` where nothing was covered.
    pub train_microbpb: Option<u64>,
    /// Of the held-out text, before the first batch.
    pub heldout_init_microbpb: u64,
    /// Of the held-out text, after the last batch.
    pub heldout_microbpb: u64,
    /// Bytes of training text.
    pub covered_bytes: u64,
    /// Parameters of the model.
    pub parameters: u64,
}

/// Another validator, or this node's own service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerStatus {
    /// Who.
    #[schemars(with = "AddressText")]
    pub hotkey: Hotkey,
    /// Its uid, while it is registered.
    #[schemars(with = "Option<u16>")]
    pub uid: Option<Uid>,
    /// Whether it is this node itself.
    pub is_self: bool,
    /// Where, if that is known.
    pub endpoint: Option<SocketAddr>,
    /// When it last answered.
    #[schemars(with = "Option<TimeMs>")]
    pub last_answer_at: Option<UnixMs>,
    /// Why it did not answer the last time, if it did not.
    pub last_failure: Option<String>,
    /// When it last asked this node something: proof that others reach it.
    #[serde(default)]
    #[schemars(with = "Option<TimeMs>")]
    pub last_call_at: Option<UnixMs>,
    /// Sequence number of its last receipt known here.
    pub receipts_until: u64,
    /// Whether nothing was heard of it for so long that others take its place.
    #[serde(default)]
    pub is_gone: bool,
    /// Strikes that count; see `docs/protocol.md`.
    #[serde(default)]
    pub strikes: u64,
    /// How the key that it showed when it was last called stands to what it published: `published`,
    /// `endorsed` (it published none), `new` (the chain says another one, and this was endorsed
    /// lately) or `contradicts` (the chain says another one: refused). `null` if that is not known.
    #[serde(default)]
    #[schemars(with = "Option<KeyStandingSchema>")]
    pub certificate: Option<KeyStanding>,
}

/// How a peer takes the calls of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// It answered the last one.
    Answers,
    /// It did not answer the last one.
    Fails,
    /// This node has not called it since its start, or waits for the first answer.
    NotCalledYet,
}

impl PeerStatus {
    /// How it takes the calls of this node.
    #[must_use]
    pub fn answering(&self) -> Answering {
        match (&self.last_failure, self.last_answer_at) {
            (Some(_), _) => Answering::Fails,
            (None, Some(_)) => Answering::Answers,
            (None, None) => Answering::NotCalledYet,
        }
    }

    /// Why there is no answer of it, in words; empty if it answers.
    #[must_use]
    pub fn why_silent(&self) -> &str {
        match self.answering() {
            Answering::Answers => "",
            Answering::Fails => self.last_failure.as_deref().unwrap_or_default(),
            Answering::NotCalledYet => "not called yet",
        }
    }
}

/// How the evaluation of one submission stands here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluationStatus {
    /// Of which submission.
    #[schemars(with = "HexText")]
    pub submission: SubmissionId,
    /// Replicas, results and how many have to agree.
    #[serde(flatten)]
    #[schemars(with = "ExplanationSchema")]
    pub explanation: Explanation,
    /// Assignments of this node's whose attempts are used up; `assay leases reopen` gives them new
    /// ones.
    #[serde(default)]
    #[schemars(with = "Vec<HexText>")]
    pub exhausted: Vec<AssignmentId>,
    /// When the operator did that, oldest first.
    #[serde(default)]
    pub reopened: Vec<ReopenedStatus>,
}

/// An assignment that the operator opened again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReopenedStatus {
    /// Which.
    #[schemars(with = "HexText")]
    pub assignment: AssignmentId,
    /// Which replica of its evaluation.
    pub replica: u8,
    /// When, and what stood there before.
    #[serde(flatten)]
    #[schemars(with = "ReopenedSchema")]
    pub before: Reopened,
}

/// Something that this node refused a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusalStatus {
    /// When.
    #[schemars(with = "TimeMs")]
    pub at: UnixMs,
    /// Whom.
    #[schemars(with = "AddressText")]
    pub peer: Hotkey,
    /// What it asked.
    pub call: String,
    /// About which submission, if this node coordinates it.
    #[schemars(with = "Option<HexText>")]
    pub submission: Option<SubmissionId>,
    /// Why: a refusal's public id.
    pub reason: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventStatus {
    /// When.
    #[schemars(with = "TimeMs")]
    pub at: UnixMs,
    /// What: its name in the log and in `counters`.
    pub kind: String,
    /// Whether the log has it as a warning.
    pub is_warning: bool,
    /// Whom and what it is about, ids shortened.
    pub text: String,
}

/// A receipt that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptStatus {
    /// What was evaluated.
    #[schemars(with = "HexText")]
    pub assignment: AssignmentId,
    /// Of which submission.
    #[schemars(with = "HexText")]
    pub submission: SubmissionId,
    /// Under which lease.
    #[schemars(with = "HexText")]
    pub lease: LeaseId,
    /// Who ran it.
    #[schemars(with = "AddressText")]
    pub worker: Hotkey,
    /// Who granted the lease.
    #[schemars(with = "AddressText")]
    pub coordinator: Hotkey,
    /// How it ended.
    pub ending: String,
    /// What it is worth, if it completed.
    pub points: Option<u64>,
    /// When it ended, by the worker's clock.
    #[schemars(with = "TimeMs")]
    pub ended_at: UnixMs,
    /// It came after its lease was over: kept, never scored.
    #[serde(default)]
    pub is_late: bool,
}

impl StatusReport {
    /// Milliseconds since it was written.
    #[must_use]
    pub fn age_ms(&self, now: UnixMs) -> u64 {
        now.0.saturating_sub(self.as_of.0)
    }

    /// Whether the node is ready by this report at `now`, and what is wrong.
    ///
    /// A report that nobody renews is no sign of life: past [`STALE_MS`] the answer is no.
    #[must_use]
    pub fn readiness_at(&self, now: UnixMs) -> Readiness {
        let age_ms = self.age_ms(now);
        if age_ms <= STALE_MS {
            return self.ready.clone();
        }
        let stale = format!("the node's loop has not reported for {} s", age_ms / 1000);
        let reasons = std::iter::once(stale).chain(self.ready.reasons.iter().cloned()).collect();
        Readiness { ready: false, reasons }
    }

    /// How many other validators take the calls of this node so.
    #[must_use]
    pub fn peers_that(&self, answering: Answering) -> usize {
        let others = self.peers.iter().filter(|peer| !peer.is_self);
        others.filter(|peer| peer.answering() == answering).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_peer_answers_if_it_has_answered_and_its_last_call_did_not_fail() {
        let (at, failure) = (Some(UnixMs(1)), || Some("connection refused".to_owned()));
        for (last_answer_at, last_failure, answering, why) in [
            (at, None, Answering::Answers, ""),
            (at, failure(), Answering::Fails, "connection refused"),
            (None, failure(), Answering::Fails, "connection refused"),
            (None, None, Answering::NotCalledYet, "not called yet"),
        ] {
            let bare = sample::healthy().peers.remove(1);
            let peer = PeerStatus { last_answer_at, last_failure, ..bare };
            assert_eq!((peer.answering(), peer.why_silent()), (answering, why), "{peer:?}");
        }
    }

    #[test]
    fn this_node_is_none_of_its_peers() {
        let mut report = sample::healthy();
        report.peers.push(PeerStatus { last_answer_at: None, ..report.peers[1].clone() });
        report.peers.push(PeerStatus { is_self: true, ..report.peers[1].clone() });
        let count = |answering| report.peers_that(answering);
        assert_eq!(count(Answering::Answers), 1);
        assert_eq!(count(Answering::Fails), 1);
        assert_eq!(count(Answering::NotCalledYet), 1);
    }
}
