//! What the machine wants done, and what it wants known. Imperative: do it.
//!
//! The daemon commits an outcome's writes first, then performs its effects in order. A crash
//! between the two repeats effects after the restart, so each is harmless twice.

use std::net::SocketAddr;

use serde::Serialize;

use crate::assignment::Assignment;
use crate::commitment::Location;
use crate::evidence::Evidence;
use crate::id::{ContentDigest, Digest, Hotkey, IntentId, Netuid, RunId, SubmissionId, Uid};
use crate::inventory::{Device, DeviceId};
use crate::lease::{PeerAnswer, PeerRequest};
use crate::machine::event::{CallId, Question};
use crate::machine::operator::OperatorAnswer;
use crate::outcome::Ending;
use crate::policy::GateMode;
use crate::rows::Write;
use crate::submit_guard::{Binding, WeightsForm};
use crate::unit::BlockNumber;

/// The result of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// To commit, all together, before anything else.
    pub writes: Vec<Write>,
    /// To do afterwards, in order.
    pub effects: Vec<Effect>,
    /// To log and count.
    pub notes: Vec<Note>,
}

/// A peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Who.
    pub hotkey: Hotkey,
    /// Where.
    pub endpoint: SocketAddr,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Get a submission's bytes: from disk, from its location, or from a peer.
    FetchContent {
        /// For which submission.
        submission: SubmissionId,
        /// Which bytes.
        content: ContentDigest,
        /// Where the miner says they are.
        location: Location,
        /// Validators that may have them.
        peers: Vec<PeerAddress>,
    },
    /// Remove the bytes of a content that no submission has any more. Without it they are left
    /// behind, and fetched again if somebody commits to them anew.
    DropContent {
        /// Which bytes.
        content: ContentDigest,
    },
    /// Judge a submission whose bytes are here.
    Admit {
        /// Which.
        submission: SubmissionId,
        /// Its bytes.
        content: ContentDigest,
    },
    /// Read sketches that were stored with verdicts, whose samples are not remembered; at most
    /// [`RECALL_MAX`] at a time. What is damaged is left out; a store that cannot be read fails the
    /// admission.
    ///
    /// [`RECALL_MAX`]: crate::limits::RECALL_MAX
    RecallSketches {
        /// Whose admission waits for it.
        submission: SubmissionId,
        /// Its content.
        content: ContentDigest,
        /// Of which contents.
        of: Vec<ContentDigest>,
    },
    /// Ask the language model for its opinion of a content whose bytes are here.
    Review {
        /// The content.
        content: ContentDigest,
    },
    /// Answer a waiting call.
    Answer {
        /// Which.
        call: CallId,
        /// With what.
        answer: PeerAnswer,
    },
    /// Answer the operator's waiting call.
    AnswerOperator {
        /// Which.
        call: CallId,
        /// What was done, or why nothing was.
        answer: OperatorAnswer,
    },
    /// Ask a validator, possibly ourselves.
    AskPeer {
        /// Whom, where.
        peer: PeerAddress,
        /// Returned with the answer.
        question: Question,
        /// What.
        request: PeerRequest,
    },
    /// Run an assignment in a container.
    StartRun(Box<RunSpec>),
    /// Stop a run; its end is reported as this ending.
    StopRun {
        /// Which.
        run: RunId,
        /// Why.
        ending: Ending,
    },
    /// Remove the container of a run that an earlier life started.
    RemoveLeftover {
        /// Which.
        run: RunId,
    },
    /// Read a device's sensors now, and say that it was for this run.
    ReadDevice {
        /// Which.
        device: DeviceId,
        /// The run that ended on it.
        run: RunId,
    },
    /// Probe a device in a process of its own.
    ProbeDevice {
        /// Which.
        device: DeviceId,
    },
    /// Sign the seal of a result with the hotkey.
    SignSeal {
        /// Of which run.
        run: RunId,
        /// The result.
        evidence: Box<Evidence>,
    },
    /// Sign evidence with the hotkey.
    SignReceipt {
        /// Of which run.
        run: RunId,
        /// What to sign.
        evidence: Box<Evidence>,
    },
    /// Sign a vector; nothing leaves the node.
    SignWeights(WeightsToSign),
    /// Find out what became of signed extrinsics whose nonce was used on the finalized chain.
    TraceWeights {
        /// Of which intent.
        intent: IntentId,
        /// Blake2-256 of the bytes of each; at most one of them can be found.
        hashes: Vec<Digest>,
        /// The last block that cannot hold them.
        after: BlockNumber,
        /// The last finalized block to search.
        until: BlockNumber,
    },
    /// Stop the process for good, with the exit code that says so.
    Halt(Halt),
    /// Hand signed bytes to the chain. Harmless to repeat.
    SendWeights {
        /// For which intent.
        intent: IntentId,
        /// The extrinsic.
        bytes: Vec<u8>,
        /// The first block in which it is no longer valid.
        era_end: BlockNumber,
    },
}

/// Why the process must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// Something else updates weights with this hotkey.
    OtherSigner {
        /// In which block it did.
        block: BlockNumber,
    },
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSpec {
    /// The execution.
    pub run: RunId,
    /// What it evaluates.
    pub assignment: Assignment,
    /// Under which lease, for the container's labels.
    pub lease: crate::id::LeaseId,
    /// Under which attempt, likewise.
    pub attempt: crate::id::Attempt,
    /// Where: all of them, in the inventory's order.
    pub devices: Vec<Device>,
    /// What the gate of the untrained model does with what it finds; `Off` where it does not ask.
    pub untrained: GateMode,
    /// The submission whose architecture is trained, if the one that is run brings none.
    pub architecture: Option<ContentSource>,
}

/// A content, and who may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentSource {
    /// What is looked for.
    pub content: ContentDigest,
    /// Where its miner says that it is.
    pub location: Location,
    /// Validators that may have it.
    pub peers: Vec<PeerAddress>,
}

/// A vector to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsToSign {
    /// The intent, already durable.
    pub intent: IntentId,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism.
    pub mechanism: u8,
    /// The vector.
    pub vector: Vec<(Uid, u16)>,
    /// The version key.
    pub version_key: u64,
    /// In which form.
    pub form: WeightsForm,
    /// How it is bound to the chain.
    pub binding: Binding,
}

/// Something an operator may want to know: one log line and one counter per kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "note")]
#[allow(missing_docs, reason = "each variant is one log line whose fields name themselves")]
pub enum Note {
    SubmissionSeen {
        submission: SubmissionId,
        hotkey: Hotkey,
        block: BlockNumber,
    },
    CommitmentUnreadable {
        hotkey: Hotkey,
        block: BlockNumber,
        reason: String,
    },
    CommitmentTooSoon {
        hotkey: Hotkey,
        block: BlockNumber,
        allowed_at: BlockNumber,
    },
    CommitmentByValidator {
        hotkey: Hotkey,
        block: BlockNumber,
    },
    ContentFetched {
        submission: SubmissionId,
    },
    FetchFailed {
        submission: SubmissionId,
        reason: String,
    },
    SubmissionAdmitted {
        submission: SubmissionId,
    },
    SubmissionRejected {
        submission: SubmissionId,
        reason: String,
    },
    SubmissionScored {
        submission: SubmissionId,
        points: u64,
        worker: Hotkey,
    },
    SubmissionFailed {
        submission: SubmissionId,
        reason: String,
        worker: Hotkey,
    },
    /// A gate that rejects found something in a reference: from now on it only flags.
    GateFailsReference {
        cause: String,
        reason: String,
    },
    SubmissionDisputed {
        submission: SubmissionId,
    },
    Strike {
        validator: Hotkey,
        submission: SubmissionId,
        cause: String,
    },
    ReceiptLate {
        submission: SubmissionId,
        worker: Hotkey,
    },
    LeaseGranted {
        submission: SubmissionId,
        holder: Hotkey,
        attempt: u32,
    },
    LeaseExpired {
        submission: SubmissionId,
        holder: Hotkey,
        attempt: u32,
    },
    LeaseReleased {
        submission: SubmissionId,
        holder: Hotkey,
        attempt: u32,
    },
    LeaseExhausted {
        submission: SubmissionId,
        holder: Hotkey,
    },
    LeaseReopened {
        submission: SubmissionId,
        attempt: u32,
    },
    ContentReviewed {
        content: ContentDigest,
        opinion: &'static str,
        reason: String,
    },
    ReviewFailed {
        content: ContentDigest,
        reason: String,
    },
    SubmissionHeld {
        submission: SubmissionId,
        reason: String,
    },
    HoldResolved {
        submission: SubmissionId,
        by_person: bool,
    },
    LeaseRefused {
        peer: Hotkey,
        call: &'static str,
        submission: Option<SubmissionId>,
        reason: String,
    },
    ReceiptAccepted {
        submission: SubmissionId,
        worker: Hotkey,
    },
    ReceiptIgnored {
        coordinator: Hotkey,
        reason: String,
    },
    GrantIgnored {
        coordinator: Hotkey,
        reason: String,
    },
    RunStarted {
        run: RunId,
        submission: SubmissionId,
        device: String,
        attempt: u32,
    },
    RunEnded {
        run: RunId,
        submission: SubmissionId,
        reason: String,
    },
    RunUnknown {
        run: RunId,
    },
    /// This host lacks what every run needs: no work is asked for until later.
    HostLacks {
        cause: String,
        reason: String,
    },
    DeviceChanged {
        device: String,
        standing: &'static str,
        reason: String,
    },
    DeviceDistrusted {
        device: String,
        standing: &'static str,
        reason: String,
    },
    RunAbandoned {
        run: RunId,
        reason: String,
    },
    RunLapsed {
        run: RunId,
        submission: SubmissionId,
        reason: String,
    },
    LeftoverFound {
        run: RunId,
    },
    PeerUnreachable {
        peer: Hotkey,
        reason: String,
    },
    WeightsIntended {
        epoch: u64,
        entries: u64,
    },
    WeightsNotSafe {
        epoch: u64,
        reason: String,
    },
    WeightsSigned {
        epoch: u64,
        nonce: u32,
        era_end: BlockNumber,
    },
    WeightsNotSigned {
        epoch: u64,
        reason: String,
    },
    WeightsRefused {
        epoch: u64,
        reason: String,
    },
    WeightsLanded {
        epoch: u64,
        block: BlockNumber,
    },
    WeightsCommitted {
        epoch: u64,
        block: BlockNumber,
        commit_epoch: u64,
    },
    WeightsRevealed {
        epoch: u64,
        block: BlockNumber,
    },
    WeightsLost {
        epoch: u64,
        reason: String,
    },
    WeightsFailed {
        epoch: u64,
        block: BlockNumber,
        error: String,
    },
    WeightsUntraced {
        epoch: u64,
        reason: String,
    },
    WeightsDiffer {
        epoch: u64,
        block: BlockNumber,
    },
    RevealSigned {
        epoch: u64,
        nonce: u32,
        era_end: BlockNumber,
    },
    WeightsAbandoned {
        epoch: u64,
        reason: String,
    },
    NonceUsedElsewhere {
        nonce: u32,
    },
    HotkeyAdopted {
        block: BlockNumber,
    },
    OtherSigner {
        block: BlockNumber,
    },
    UnexpectedAnswer {
        peer: Hotkey,
    },
    CaughtUp {
        block: BlockNumber,
    },
}

impl Outcome {
    /// Appends a note.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Appends an effect.
    pub fn perform(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Appends a row to commit.
    pub fn put(&mut self, row: crate::rows::Row) {
        self.writes.push(Write::Put(row));
    }
}
