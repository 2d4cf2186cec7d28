//! A lease: one validator's right to run one assignment, for a bounded time.
//!
//! This module holds the words that coordinator and worker exchange, and the coordinator's record
//! of each assignment. It owns no clock and no socket.
//!
//! ```text
//! open --grant--> granted --complete--> complete
//!   ^                |
//!   +--- expire -----+
//!   +--- release ----+
//! ```
//!
//! The attempt is a fencing token: it grows by one per grant and is durable before the grant
//! leaves, so a holder that was thought dead can never complete what another one now runs.
//!
//! Not here: which assignments exist (`assignment`), on which device one runs (`placement`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::evidence::Receipt;
use crate::id::{AssignmentId, Attempt, Digest, DigestBuilder, Hotkey, LeaseId};
use crate::inventory::DeviceKind;
use crate::outcome::Ending;

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
    /// How long it can be held in all, milliseconds.
    pub total_ms: u64,
}

/// One lease that its holder wants to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewItem {
    /// The assignment it is for.
    pub assignment: AssignmentId,
    /// The lease.
    pub lease: LeaseId,
    /// Its fencing token.
    pub attempt: Attempt,
}

/// What the coordinator says to one renewal, a completion or a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAnswer {
    /// Done. For a renewal: the lease holds for another TTL.
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
    /// Where it stands.
    pub state: LeaseState,
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
    /// A receipt settled it.
    Complete {
        /// The grant that settled it.
        lease: LeaseId,
        /// Digest of the evidence.
        evidence: Digest,
    },
    /// Every attempt was lost; it waits for a person.
    Exhausted {
        /// How the last one ended.
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
    Renew(Vec<RenewItem>),
    /// Here is a result.
    Complete(Box<Receipt>),
    /// I give a lease back.
    Release {
        /// Which.
        item: RenewItem,
        /// Why.
        reason: ReleaseReason,
    },
    /// Which receipts did you accept as a coordinator after this sequence number?
    Receipts {
        /// The last one already known; zero for all.
        after: u64,
    },
}

/// The answer to a [`PeerRequest`], variant by variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAnswer {
    /// Grants, possibly none; or why not.
    Acquired(Result<Vec<Grant>, LeaseRefusal>),
    /// One answer per item, in order.
    Renewed(Vec<LeaseAnswer>),
    /// To a completion.
    Completed(LeaseAnswer),
    /// To a release.
    Released(LeaseAnswer),
    /// A page of receipts with their sequence numbers, ascending, at most
    /// [`crate::limits::RECEIPTS_PER_PAGE_MAX`]; ask again after the last one.
    Receipts(Vec<(u64, Receipt)>),
}
