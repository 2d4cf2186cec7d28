//! A lease: one validator's right to run one assignment, for a bounded time.
//!
//! This module holds the words that coordinator and worker exchange, and the coordinator's record
//! of each assignment. It owns no clock and no socket.
//!
//! ```text
//! open --grant--> granted --seal--> sealed --complete--> complete
//!   ^                |                |
//!   +--- expired, released, not started --- budgets used up --> exhausted
//! ```
//!
//! The attempt is a fencing token: it grows by one per grant and is durable before the grant
//! leaves, so a holder that was thought dead can never complete what another one now runs.
//!
//! Not here: which assignments exist (`assignment`), on which device one runs (`placement`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::evidence::{Evidence, Receipt};
use crate::id::{
    AssignmentId, Attempt, BlockHash, Digest, DigestBuilder, Hotkey, LeaseId, Netuid, RunId,
    Signature, SubmissionId,
};
use crate::inventory::DeviceKind;
use crate::outcome::Ending;
use crate::unit::BlockNumber;

/// A worker's request for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquireRequest {
    /// Free devices of one kind.
    pub device: DeviceKind,
    /// How many leases it can start at once.
    pub leases_max: u32,
    /// The evaluator image it would use.
    pub image: Digest,
    /// The data set it would use.
    pub dataset: Digest,
    /// The policy it would apply.
    pub policy: Digest,
}

/// A granted lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// This grant.
    pub lease: LeaseId,
    /// What to run.
    pub assignment: Assignment,
    /// Its fencing token.
    pub attempt: Attempt,
    /// Who granted it.
    pub coordinator: Hotkey,
    /// How long it holds without renewal, milliseconds.
    pub ttl_ms: u64,
    /// How long the run may take in all, milliseconds.
    pub total_ms: u64,
}

impl Grant {
    /// The identity of its execution by this worker.
    #[must_use]
    pub fn run_of(&self, worker: &Hotkey) -> RunId {
        let digest = DigestBuilder::new("assay/run/v1").bytes(&worker.0).bytes(&self.lease.0);
        RunId(digest.finish())
    }
}

/// One lease that its holder wants to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLease {
    /// The assignment it is for.
    pub assignment: AssignmentId,
    /// The lease.
    pub lease: LeaseId,
    /// Its fencing token.
    pub attempt: Attempt,
}

impl HeldLease {
    /// The lease under which something was measured.
    #[must_use]
    pub fn of(evidence: &Evidence) -> Self {
        let Evidence { assignment, lease, attempt, .. } = *evidence;
        Self { assignment, lease, attempt }
    }
}

/// How far a holder is with a lease that it wants to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldStage {
    /// The run has not started yet.
    Preparing,
    /// The run has started.
    Running,
    /// The result is sealed and waits to be shown.
    Sealed,
}

/// A renewal of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Which lease.
    pub held: HeldLease,
    /// How far its holder is.
    pub stage: HeldStage,
}

/// A worker's promise that its result is this one, before anybody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The lease under which it was measured.
    pub held: HeldLease,
    /// Who measured.
    pub worker: Hotkey,
    /// [`Evidence::sealed`] of the result that will be shown.
    pub result: Digest,
    /// The worker's signature over [`Seal::signing_message`].
    pub signature: Signature,
}

impl Seal {
    /// What the worker of this evidence signs to fix it.
    #[must_use]
    pub fn message_for(evidence: &Evidence) -> Vec<u8> {
        let Evidence { genesis, netuid, worker, .. } = evidence;
        let held = HeldLease::of(evidence);
        Self::signing_message(genesis, *netuid, &held, worker, &evidence.sealed())
    }

    /// The seal of this evidence.
    ///
    /// - `signature`: over [`Seal::message_for`].
    #[must_use]
    pub fn of(evidence: &Evidence, signature: Signature) -> Self {
        let (held, result) = (HeldLease::of(evidence), evidence.sealed());
        Self { held, worker: evidence.worker, result, signature }
    }

    /// What the worker signs: the chain, the subnet and everything of the seal.
    #[must_use]
    pub fn signing_message(
        genesis: &BlockHash,
        netuid: Netuid,
        held: &HeldLease,
        worker: &Hotkey,
        result: &Digest,
    ) -> Vec<u8> {
        let digest = DigestBuilder::new("assay/seal/v1")
            .bytes(&genesis.0)
            .number(u64::from(netuid.0))
            .bytes(&held.assignment.0)
            .bytes(&held.lease.0)
            .number(u64::from(held.attempt.0))
            .bytes(&worker.0)
            .bytes(&result.0)
            .finish();
        [b"assay/seal/v1".as_slice(), &digest].concat()
    }
}

/// What the coordinator says to a renewal or a seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldAnswer {
    /// The lease holds for another TTL.
    Kept,
    /// Enough results are sealed: show yours. These are the seals of all replicas.
    Reveal(Vec<Seal>),
    /// Not kept, and why.
    Refused(LeaseRefusal),
}

/// What the coordinator says to a completion or a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAnswer {
    /// Done.
    Accepted,
    /// A repeat of something already done; nothing changed.
    AlreadyDone,
    /// Not done, and why.
    Refused(LeaseRefusal),
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $id:literal: $text:literal,)*) => {
        /// Why a coordinator refuses. A refusal is an answer, not an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum LeaseRefusal {
            $($(#[$doc])* #[serde(rename = $id)] $name,)*
        }
        impl LeaseRefusal {
            /// Every refusal.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// The public id, as in the protocol and in metrics.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }
            /// The refusal with this public id.
            #[must_use]
            pub fn from_id(id: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|refusal| refusal.id() == id)
            }
        }
        impl fmt::Display for LeaseRefusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

refusals! {
    /// The caller may not take part: no permit, too little stake, not registered.
    NotAValidator = "not_a_validator": "the caller is not a validator of this subnet",
    /// This node does not coordinate the assignment.
    NotCoordinator = "not_coordinator": "this node does not coordinate the assignment",
    /// A newer attempt exists.
    StaleAttempt = "stale_attempt": "a newer attempt of the assignment exists",
    /// Someone else holds the lease.
    NotHolder = "not_holder": "another validator holds the lease",
    /// The lease expired or was given back.
    NotGranted = "not_granted": "the lease is not granted any more",
    /// The assignment already has its result.
    AlreadySettled = "already_settled": "the assignment already has a result",
    /// The receipt does not fit the grant: other content, policy, worker or coordinator.
    EvidenceMismatch = "evidence_mismatch": "the receipt is for something else than the lease",
    /// The receipt claims success and has no metrics, or the other way round.
    EvidenceEmpty = "evidence_empty": "the receipt has no result",
    /// The receipt is not the one that was sealed.
    SealMismatch = "seal_mismatch": "the receipt is not the one that was sealed",
    /// No result was sealed under the lease, or it is not time to show it.
    NotSealed = "not_sealed": "the result was not sealed first",
    /// The caller stood alone or cheated too often.
    TooManyStrikes = "too_many_strikes": "the caller has too many strikes here",
    /// The signature is not the worker's.
    BadSignature = "bad_signature": "the receipt is not signed by the worker",
    /// The node is stopping or has not caught up.
    NotReady = "not_ready": "the node is not ready",
}

/// Why a holder gives a lease back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum ReleaseReason {
    /// No device was free after all.
    NoDevice,
    /// The content could not be had.
    ContentMissing,
    /// It was not tried: its submission is not admitted here, or is evaluated here already.
    Declined,
    /// The run ended without a result through no fault of the submission.
    RunEnded {
        /// How.
        ending: Ending,
    },
}

/// The coordinator's record of one assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// What is to be run.
    pub assignment: Assignment,
    /// Token of the latest grant; zero before the first.
    pub attempt: Attempt,
    /// What was lost on the way.
    #[serde(default)]
    pub spent: Spent,
    /// Where it stands.
    pub state: LeaseState,
    /// When a person opened it again, the latest last; at most [`REOPENINGS_KEPT`].
    ///
    /// [`REOPENINGS_KEPT`]: crate::limits::REOPENINGS_KEPT
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reopened: Vec<Reopened>,
}

/// What stood there when a person opened an assignment again whose attempts were used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopened {
    /// The latest finalized block.
    pub block: BlockNumber,
    /// The latest attempt; the next one has a higher number.
    pub attempt: Attempt,
    /// What was spent; nothing is any more.
    pub spent: Spent,
    /// How the latest attempt had ended.
    pub last: String,
}

/// An assignment that a person opened again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopening {
    /// Which.
    pub assignment: AssignmentId,
    /// Of which submission.
    pub submission: SubmissionId,
    /// Of which of its replicas.
    pub replica: u8,
    /// Whether this node gives it out now; if not, whoever is on duty evaluates the submission.
    pub is_on_duty: bool,
    /// What stood there before.
    #[serde(flatten)]
    pub before: Reopened,
}

/// Why an assignment is not opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NotReopened {
    /// This node coordinates no such assignment.
    #[error("this node coordinates no such assignment")]
    Unknown,
    /// Attempts are left, or one is under way, or it is complete.
    #[error("its attempts are not used up")]
    NotExhausted,
    /// No result is missing: it is decided, or its commitment is gone from the chain.
    #[error("its submission needs no result any more")]
    Settled,
    /// The node is stopping, or does not know yet what it gave out before.
    #[error("the node gives nothing out now: it is stopping, starting or catching up")]
    NotReady,
}

/// How often an assignment was given out in vain, by cause. Each has its own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Its worker went away, or was told to.
    pub workers_lost: u32,
    /// Its worker's machine failed.
    pub faults: u32,
    /// It was given back or expired before the run started.
    pub not_started: u32,
}

/// Where an assignment stands at its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum LeaseState {
    /// Waiting for a worker.
    Open,
    /// A worker holds it.
    Granted {
        /// The grant.
        lease: LeaseId,
        /// The worker.
        holder: Hotkey,
    },
    /// Its result is fixed and not shown yet.
    Sealed {
        /// The worker's promise.
        seal: Seal,
    },
    /// A receipt completed it.
    Complete {
        /// The grant that completed it.
        lease: LeaseId,
        /// Digest of the evidence.
        evidence: Digest,
        /// What the worker had promised.
        #[serde(default)]
        seal: Option<Seal>,
    },
    /// A budget is used up; it waits for a person.
    Exhausted {
        /// How the last attempt ended.
        last: String,
    },
}

/// The identity of a grant: (assignment, coordinator, attempt).
#[must_use]
pub fn lease_id(assignment: &AssignmentId, coordinator: &Hotkey, attempt: Attempt) -> LeaseId {
    let digest = DigestBuilder::new("assay/lease/v1")
        .bytes(&assignment.0)
        .bytes(&coordinator.0)
        .number(u64::from(attempt.0));
    LeaseId(digest.finish())
}

/// A request of one validator to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRequest {
    /// Give me work.
    Acquire(AcquireRequest),
    /// Keep my leases.
    Renew(Vec<Renewal>),
    /// This will be my result.
    Seal(Box<Seal>),
    /// Here is a result.
    Complete(Box<Receipt>),
    /// I give a lease back.
    Release {
        /// Which.
        item: HeldLease,
        /// Why.
        reason: ReleaseReason,
    },
    /// Which receipts did this coordinator accept after this sequence number?
    Receipts {
        /// Whose sequence: the one that is asked, or another one that is gone.
        of: Hotkey,
        /// The last one already known; zero for all.
        after: u64,
    },
    /// How does this submission stand at your place?
    Explain {
        /// Which.
        submission: SubmissionId,
    },
}

/// The answer to a [`PeerRequest`], variant by variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAnswer {
    /// Grants, possibly none; or why not.
    Acquired(Result<Vec<Grant>, LeaseRefusal>),
    /// One answer per item, in order.
    Renewed(Vec<HoldAnswer>),
    /// To a seal.
    Sealed(HoldAnswer),
    /// To a completion.
    Completed(LeaseAnswer),
    /// To a release.
    Released(LeaseAnswer),
    /// A page of receipts with their sequence numbers, ascending, at most
    /// [`crate::limits::RECEIPTS_PER_PAGE_MAX`]; ask again after the last one.
    Receipts(Vec<(u64, Receipt)>),
    /// How a submission stands.
    Explained(Explanation),
}

/// How a submission stands at one node, for people and for peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// In one sentence; at most [`crate::limits::DETAIL_CHARS_MAX`] characters.
    pub summary: String,
    /// Its replicas here, in order; at most [`crate::limits::REPLICAS_MAX`].
    pub replicas: Vec<ReplicaStanding>,
    /// Who has a receipt that counts.
    pub claims: Vec<Hotkey>,
    /// How many replicas have to agree.
    pub required: u32,
}

/// One replica in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStanding {
    /// The assignment.
    pub assignment: AssignmentId,
    /// Its number.
    pub replica: u8,
    /// The latest attempt.
    pub attempt: Attempt,
    /// Who holds or completed it.
    pub holder: Option<Hotkey>,
    /// Where it stands, in words.
    pub state: String,
}
