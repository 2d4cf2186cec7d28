//! A submission's identity and its way through the funnel.
//!
//! ```text
//! committed -> fetched -> admitted -> evaluating -> scored
//!     |            |   held ^              |
//!     |            +-> rejected            +-> failed
//!     +-> unreadable (the commitment itself is malformed)
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::admission::Rejection;
use crate::commitment::Location;
use crate::funnel::TierPlace;
use crate::hold::{Doubt, Resolved};
use crate::id::{BlockHash, ContentDigest, DigestBuilder, Hotkey, SubmissionId};
use crate::outcome::Ending;
use crate::unit::BlockNumber;

/// Content that a commitment points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Its identity.
    pub id: SubmissionId,
    /// The miner.
    pub hotkey: Hotkey,
    /// Block of the commitment.
    pub committed_at: BlockNumber,
    /// What was committed.
    pub content: ContentDigest,
    /// Where to fetch it.
    pub location: Location,
    /// Source of its seeds: the hash of the block after the commitment.
    pub seed_block_hash: BlockHash,
    /// Source of its window's audits: the hash of the first block after the window; `None` before
    /// that is known.
    #[serde(default)]
    pub window_block_hash: Option<BlockHash>,
    /// How far it got.
    pub state: SubmissionState,
    /// The hold that it was in, if it was in one that is over.
    #[serde(default)]
    pub resolved: Option<Box<Resolved>>,
    /// The hold for want of a review that a person ended.
    #[serde(default)]
    pub unreviewed: Option<Box<Resolved>>,
    /// Its place in each tier that it entered, the first tier first, once its window is closed for
    /// good; `None` before.
    #[serde(default)]
    pub tiers: Option<Box<[TierPlace]>>,
    /// The first block at which nothing asked for its evaluation any more: its commitment was
    /// replaced, or its miner left. `None` while something does.
    #[serde(default)]
    pub left_at: Option<BlockNumber>,
}

/// How far a submission got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SubmissionState {
    /// Seen on chain; its bytes are not here yet.
    Committed {
        /// Why the last fetch failed, if one did.
        fetch_failure: Option<String>,
    },
    /// Its bytes are here and match the digest; admission runs.
    Fetched,
    /// Admission passed; its assignments can be leased.
    Admitted,
    /// No rule is broken, and a person has to look at it, or the policy's time to pass.
    Held {
        /// Why.
        doubt: Doubt,
        /// Since when.
        since: BlockNumber,
    },
    /// Admission failed, with evidence.
    Rejected {
        /// The rule it broke.
        rejection: Rejection,
    },
    /// Every assignment settled and the result counts.
    Scored {
        /// The score, larger is better.
        points: u64,
    },
    /// Evaluated, but not scored, by its own fault.
    Failed {
        /// How its run ended.
        ending: Ending,
    },
    /// Validators measured different things, nobody is left to ask, and this node has no result of
    /// its own: not scored.
    Disputed,
}

impl SubmissionState {
    /// Whether admission has ended, one way or the other.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        !matches!(self, Self::Committed { .. } | Self::Fetched)
    }

    /// Whether its end is still waited for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Committed { .. } | Self::Fetched | Self::Held { .. } | Self::Admitted => true,
            Self::Rejected { .. } | Self::Scored { .. } | Self::Failed { .. } | Self::Disputed => {
                false
            }
        }
    }

    /// Whether admission passed, whatever came of the evaluation.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        match self {
            Self::Admitted | Self::Scored { .. } | Self::Failed { .. } | Self::Disputed => true,
            Self::Committed { .. } | Self::Fetched | Self::Held { .. } | Self::Rejected { .. } => {
                false
            }
        }
    }
}

impl fmt::Display for SubmissionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed { fetch_failure: None } => f.write_str("its content is fetched"),
            Self::Committed { fetch_failure: Some(reason) } => {
                write!(f, "its content could not be fetched: {reason}")
            }
            Self::Fetched => f.write_str("its content is judged"),
            Self::Admitted => f.write_str("admitted, its evaluation is not decided"),
            Self::Held { doubt, .. } => write!(f, "held: {doubt}"),
            Self::Rejected { rejection } => write!(f, "rejected: {rejection}"),
            Self::Scored { points } => write!(f, "scored with {points} points"),
            Self::Failed { ending } => write!(f, "failed: {ending}"),
            Self::Disputed => f.write_str("validators measured different things"),
        }
    }
}

impl Submission {
    /// A submission as it is when first seen on chain.
    #[must_use]
    pub fn committed(
        hotkey: Hotkey,
        committed_at: BlockNumber,
        content: ContentDigest,
        location: Location,
        seed_block_hash: BlockHash,
    ) -> Self {
        let id = Self::identity(&hotkey, committed_at, &content);
        let state = SubmissionState::Committed { fetch_failure: None };
        Self {
            id,
            hotkey,
            committed_at,
            content,
            location,
            seed_block_hash,
            window_block_hash: None,
            state,
            resolved: None,
            unreviewed: None,
            tiers: None,
            left_at: None,
        }
    }

    /// The identity of (hotkey, commit block, content digest).
    #[must_use]
    pub fn identity(
        hotkey: &Hotkey,
        committed_at: BlockNumber,
        content: &ContentDigest,
    ) -> SubmissionId {
        let digest = DigestBuilder::new("assay/submission/v1")
            .bytes(&hotkey.0)
            .number(committed_at.0)
            .bytes(&content.0);
        SubmissionId(digest.finish())
    }
}
