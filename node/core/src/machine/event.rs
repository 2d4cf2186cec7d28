//! What the world tells the machine. Past tense: it happened.

use crate::admission::{Rejection, Verdict};
use crate::duplicates::Sketch;
use crate::evidence::{Evidence, Metrics, Receipt};
use crate::health::observation::Observation;
use crate::id::{ContentDigest, Digest, Hotkey, IntentId, RunId, Salt, Signature, SubmissionId};
use crate::inventory::{Device, DeviceId};
use crate::keeper::Lapse;
use crate::lease::{HoldAnswer, PeerAnswer, PeerRequest};
use crate::machine::operator::OperatorRequest;
use crate::outcome::Ending;
use crate::review::{Review, ReviewFailure};
use crate::rows::{JournalEntry, Row, SignedExtrinsic};
use crate::unit::{BlockNumber, UnixMs};
use crate::view::ChainView;

/// Matches an answer to the call that waits for it. Given by the daemon, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The process started: what was stored, what the host has, what an earlier life left over.
    Restarted(Box<Restarted>),
    /// A block was finalized and read.
    BlockFinalized(Box<ChainView>),
    /// The best block was read: newer than the finalized one, and not sure to stay.
    BestBlock(Box<ChainView>),
    /// A fetch ended.
    ContentFetched {
        /// For which submission.
        submission: SubmissionId,
        /// The bytes are stored under their digest, or why not.
        result: Result<(), String>,
    },
    /// The miner's own location, or the operator's directory, has bytes that are no archive with
    /// this digest, and nobody else has better ones.
    ContentUnreadable {
        /// Of which submission.
        submission: SubmissionId,
        /// The rule they break.
        rejection: Rejection,
    },
    /// Bytes that had been fetched are gone.
    ContentMissing {
        /// Of which submission.
        submission: SubmissionId,
    },
    /// This node failed over an archive: a verdict is nobody's then, and is asked for again later.
    AdmissionFailed {
        /// The submission whose admission was asked for.
        submission: SubmissionId,
        /// What went wrong, for people.
        reason: String,
    },
    /// Admission ended.
    AdmissionEnded {
        /// For which submission.
        submission: SubmissionId,
        /// With which verdict.
        verdict: Verdict,
        /// By what its code is compared with others', if it was admitted.
        sketch: Option<Box<Sketch>>,
    },
    /// Stored sketches were read, as [`Effect::RecallSketches`] asked.
    ///
    /// [`Effect::RecallSketches`]: crate::machine::effect::Effect::RecallSketches
    SketchesRecalled {
        /// For the judgement of which content.
        content: ContentDigest,
        /// Those that are there; of a content that several policies judged, each that differs.
        found: Vec<(ContentDigest, Sketch)>,
    },
    /// A language model was asked for its opinion.
    Reviewed {
        /// About what.
        content: ContentDigest,
        /// What it said, or why it said nothing.
        result: Result<Review, ReviewFailure>,
    },
    /// A peer asks; it proved who it is.
    PeerAsked {
        /// The waiting call.
        call: CallId,
        /// Who asks.
        peer: Hotkey,
        /// What.
        request: PeerRequest,
    },
    /// The operator asks for something.
    OperatorAsked {
        /// The waiting call.
        call: CallId,
        /// What.
        request: OperatorRequest,
    },
    /// Something was seen of a device.
    DeviceSeen {
        /// Which.
        device: DeviceId,
        /// What.
        observation: Box<Observation>,
    },
    /// The container engine was asked whether it answers.
    EngineAsked {
        /// Why it does not, for people.
        fault: Option<String>,
    },
    /// A device was read after a run, as [`Effect::ReadDevice`] asked.
    ///
    /// [`Effect::ReadDevice`]: crate::machine::effect::Effect::ReadDevice
    DeviceRead {
        /// Which.
        device: DeviceId,
        /// After which run.
        run: RunId,
        /// What was seen.
        observation: Box<Observation>,
    },
    /// A question of ours was answered, or was not.
    PeerAnswered {
        /// Who was asked.
        peer: Hotkey,
        /// What was asked.
        question: Question,
        /// The answer, or why there is none.
        result: Result<PeerAnswer, String>,
    },
    /// A run has to stop: its lease may be given away soon. Whoever keeps the leases stops its
    /// container too, without waiting for the machine.
    LeaseLapsed {
        /// Which.
        run: RunId,
        /// Why.
        lapse: Lapse,
    },
    /// Leases held at a coordinator were renewed there, or were not.
    RenewalEnded {
        /// Who was asked.
        peer: Hotkey,
        /// What was answered for each run; or why nothing was.
        result: Result<Vec<(RunId, HoldAnswer)>, String>,
    },
    /// The container of a run was started.
    RunStarted {
        /// Which.
        run: RunId,
    },
    /// A run ended and its container is gone.
    RunEnded {
        /// Which.
        run: RunId,
        /// How.
        ending: Ending,
        /// What was measured, if it completed.
        metrics: Option<Metrics>,
        /// When, by the wall clock.
        ended_at: UnixMs,
        /// Random bytes, drawn for this result alone.
        salt: Salt,
    },
    /// The seal of a result was signed.
    SealSigned {
        /// Of which run.
        run: RunId,
        /// The result.
        evidence: Box<Evidence>,
        /// Over [`crate::lease::Seal::message_for`].
        signature: Signature,
    },
    /// A receipt was signed.
    ReceiptSigned {
        /// Of which run.
        run: RunId,
        /// The receipt.
        receipt: Box<Receipt>,
    },
    /// A vector was signed, or could not be.
    WeightsSigned {
        /// For which intent.
        intent: IntentId,
        /// The bytes, or why not.
        result: Result<SignedExtrinsic, String>,
    },
    /// Signed bytes were handed to the chain, or refused.
    WeightsSent {
        /// For which intent.
        intent: IntentId,
        /// Why not, if refused.
        result: Result<(), String>,
    },
    /// A search for a signed extrinsic ended.
    WeightsTraced {
        /// Of which intent.
        intent: IntentId,
        /// What became of the extrinsics, or why that is not known.
        result: Result<Traced, String>,
    },
    /// Time passed.
    Ticked,
    /// The operator asked the node to stop: take nothing new.
    StopRequested,
    /// The grace is over: stop what runs.
    StopForced,
}

/// What became of signed extrinsics on the finalized chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// None of them is in any of the blocks.
    NotFound,
    /// One was included and did what it says.
    Succeeded {
        /// Which.
        hash: Digest,
        /// In which block.
        block: BlockNumber,
    },
    /// One was included and failed; its nonce is used.
    Failed {
        /// Which.
        hash: Digest,
        /// In which block.
        block: BlockNumber,
        /// The chain's error by name.
        error: String,
    },
}

/// What the process found when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarted {
    /// Every stored row.
    pub rows: Vec<Row>,
    /// The journal of what was signed.
    pub journal: Vec<JournalEntry>,
    /// The host's devices.
    pub devices: Vec<Device>,
    /// Runs whose containers still exist.
    pub leftovers: Vec<RunId>,
    /// Whether the store lacks rows that were acknowledged.
    pub has_lost_rows: bool,
}

/// A question of ours, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// For work.
    Acquire,
    /// To fix the result of this run.
    Seal(RunId),
    /// To accept the result of this run.
    Complete(RunId),
    /// To take back the lease of this run.
    Release(RunId),
    /// For receipts.
    Receipts {
        /// Whose sequence.
        of: Hotkey,
    },
}
