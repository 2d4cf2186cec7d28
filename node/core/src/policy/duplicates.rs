//! When a submission counts as another one's copy.

use serde::{Deserialize, Serialize};

use crate::id::DigestBuilder;

/// Version of the way from source files to shingles. Another one gives other similarities, so
/// other verdicts: it is part of the policy's digest.
pub const FINGERPRINT_VERSION: u32 = 2;

/// When a submission counts as another one's copy. Similarities are in millionths: the share of
/// the shingles of both that both have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateRules {
    /// From here on it is rejected.
    pub rejected_ppm: u32,
    /// From here on it is held, for a person to look at.
    pub held_ppm: u32,
    /// Shingles that a submission has beyond those of the references, for its structure to say
    /// anything. Lower: a few common lines make two honest projects alike. Higher: small projects
    /// can be copied.
    pub shingles_min: u32,
}

impl Default for DuplicateRules {
    fn default() -> Self {
        Self { rejected_ppm: 960_000, held_ppm: 850_000, shingles_min: 32 }
    }
}

impl DuplicateRules {
    /// Nobody's code is compared with another's.
    pub(super) fn off() -> Self {
        Self { shingles_min: u32::MAX, ..Self::default() }
    }

    /// Adds every field to a policy's digest.
    pub(super) fn hash_into(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self { rejected_ppm, held_ppm, shingles_min } = self;
        digest
            .number(u64::from(FINGERPRINT_VERSION))
            .number(u64::from(*rejected_ppm))
            .number(u64::from(*held_ppm))
            .number(u64::from(*shingles_min))
    }
}
