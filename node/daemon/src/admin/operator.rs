//! What only the operator may ask for: who can read the address file in the node's data directory.

use std::fmt;

use node_core::hold::Resolution;
use node_core::id::{AssignmentId, SubmissionId};
use node_core::inventory::DeviceId;
use node_core::machine::operator::{DeviceOrder, OperatorAnswer, OperatorRequest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

/// Header of a request of the operator, with the token.
pub const TOKEN_HEADER: &str = "assay-operator";

/// By what a node knows its operator: 32 random bytes, drawn at each start.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorToken(String);

impl OperatorToken {
    pub(super) fn draw() -> Self {
        Self(hex::encode(rand::random::<[u8; 32]>()))
    }

    pub(super) fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it is sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Compares digests: how long that takes says nothing about the token.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(given)
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken")
    }
}

/// A request of the operator that waits for the loop.
#[derive(Debug)]
pub struct OperatorCall {
    /// What is asked for.
    pub request: OperatorRequest,
    /// Whoever waits for the answer; it comes after the change is durable.
    pub answer: oneshot::Sender<OperatorAnswer>,
}

/// Body of `POST /leases/reopen`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReopenRequest {
    /// Which assignment.
    pub assignment: AssignmentId,
}

/// Body of `POST /submissions/resolve`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// Which submission.
    pub submission: SubmissionId,
    /// What is decided.
    pub resolution: Resolution,
}

/// Body of `POST /devices/order`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// Which device.
    pub device: DeviceId,
    /// What is ordered.
    pub order: DeviceOrder,
}

/// Body of an answer that says no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRefusal {
    /// Why, as one word: `unknown`, `not_exhausted`, `settled`, `not_held`, `gone`, `busy`,
    /// `nothing_to_probe`, `not_ready`, `no_answer`.
    pub refused: String,
    /// Why, as a sentence.
    pub message: String,
}
