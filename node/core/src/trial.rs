//! One question that the funnel asks about a submission. Several validators answer it, each for
//! itself; what they measured is compared only with what others measured for the same trial.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::id::SubmissionId;

/// A submission in one tier of the funnel, in one of the tier's units: one training with one seed,
/// or one set of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Trial {
    /// The submission.
    pub submission: SubmissionId,
    /// Stage of the funnel.
    pub tier: u8,
    /// Which of the tier's units, counted from zero.
    pub unit: u8,
}

impl Trial {
    /// The first measurement of every admitted submission.
    #[must_use]
    pub fn first(submission: SubmissionId) -> Self {
        Self { submission, tier: 1, unit: 0 }
    }

    /// All trials that a submission can have.
    #[must_use]
    pub fn all_of(submission: SubmissionId) -> RangeInclusive<Self> {
        let first = Self { submission, tier: 0, unit: 0 };
        first..=Self { submission, tier: u8::MAX, unit: u8::MAX }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tier {} unit {}", self.submission, self.tier, self.unit)
    }
}
