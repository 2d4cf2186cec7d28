//! Submissions that wait for a person: why, and what was decided about them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::duplicates::Likeness;
use crate::id::ContentDigest;
use crate::unit::BlockNumber;

/// Why a submission is not evaluated yet although no rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "doubt")]
pub enum Doubt {
    /// Much of its structure is somebody else's earlier work, and not so much that it is a copy.
    Similar {
        /// Which work, and how similar.
        likeness: Likeness,
    },
    /// The language model that this node asks for its opinion has not given it.
    Unreviewed {
        /// Why not, when it was asked last.
        failure: Option<String>,
    },
    /// It trains the architecture of a submission that is not accepted here.
    NoArchitecture {
        /// The content that it names.
        content: ContentDigest,
        /// From this block on it is rejected.
        until: BlockNumber,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Similar { likeness } => write!(f, "{likeness}"),
            Self::Unreviewed { failure: None } => {
                f.write_str("it waits for its review by a language model")
            }
            Self::Unreviewed { failure: Some(failure) } => {
                write!(f, "it waits for its review by a language model: {failure}")
            }
            Self::NoArchitecture { content, until } => write!(
                f,
                "it trains the architecture of {content}, and no accepted submission that was \
                 committed before it has that content; it waits until block {until}"
            ),
        }
    }
}

/// What a person decides about a submission that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "resolution", deny_unknown_fields)]
pub enum Resolution {
    /// It is evaluated.
    Admit,
    /// It is not.
    Reject {
        /// Why, for the miner.
        reason: String,
    },
}

/// A hold that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Why it had waited.
    pub doubt: Doubt,
    /// Since when.
    pub since: BlockNumber,
    /// Until when.
    pub until: BlockNumber,
    /// What was decided; `None` if nobody did in the policy's time, which admits it.
    pub by_person: Option<Resolution>,
}

/// Why nothing was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotResolved {
    /// The node does not know it.
    #[error("this node knows no such submission")]
    Unknown,
    /// It does not wait.
    #[error("the submission does not wait for anybody")]
    NotHeld,
    /// It waits for an architecture, which a decision does not bring.
    #[error("there is nothing to run it with before the architecture that it names is accepted")]
    NoArchitecture,
    /// No finalized block was read yet, or the node stops.
    #[error("the node is starting or stopping")]
    NotReady,
}

impl NotResolved {
    /// Its public name, the same as when it is serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotHeld => "not_held",
            Self::NoArchitecture => "no_architecture",
            Self::NotReady => "not_ready",
        }
    }
}
