//! Tokens: which vocabularies a submission may bring, and what is asked of a large one.

use serde::{Deserialize, Serialize};

/// Which vocabularies a submission may bring, and what is asked of a large one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRules {
    /// Entries of a vocabulary, its start mark included.
    pub vocabulary_max: u32,
    /// Largest vocabulary whose predictions are asked for at every position.
    pub every_position_vocabulary_max: u32,
    /// Positions of a batch that are asked for where the vocabulary is larger. Fewer: the loss of
    /// a run is known less exactly. More: more bytes leave the container for each batch.
    pub sampled_positions: u32,
}

impl TokenRules {
    /// The rules of every policy so far. The predictions for the sampled positions of the largest
    /// vocabulary are 64 MiB.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            vocabulary_max: 1 << 16,
            every_position_vocabulary_max: 4096,
            sampled_positions: 256,
        }
    }

    pub(super) fn numbers(&self) -> [u64; 3] {
        let Self { vocabulary_max, every_position_vocabulary_max, sampled_positions } = self;
        [*vocabulary_max, *every_position_vocabulary_max, *sampled_positions].map(u64::from)
    }
}
