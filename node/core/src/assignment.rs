//! Which evaluations exist, and who hands them out. Derived by every validator from the chain.

use serde::{Deserialize, Serialize};

use crate::id::{AssignmentId, ContentDigest, Digest, DigestBuilder, Hotkey, SubmissionId};
use crate::submission::Submission;
use crate::view::ChainView;

/// One evaluation of one submission in one tier with one seed by one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its identity, over all that follows.
    pub id: AssignmentId,
    /// The submission.
    pub submission: SubmissionId,
    /// Its content.
    pub content: ContentDigest,
    /// Stage of the funnel.
    pub tier: u8,
    /// Which of the independent evaluations this is.
    pub replica: u8,
    /// Source of all randomness in the run.
    pub seed: Digest,
    /// The rules.
    pub policy: Digest,
}

impl Assignment {
    /// The assignment of `submission` in `tier` for `replica`, under the policy with this digest.
    #[must_use]
    pub fn derive(submission: &Submission, tier: u8, replica: u8, policy: Digest) -> Self {
        let seed = DigestBuilder::new("assay/seed/v1")
            .bytes(&submission.seed_block_hash.0)
            .bytes(&submission.content.0)
            .number(u64::from(tier))
            .finish();
        let id = DigestBuilder::new("assay/assignment/v1")
            .bytes(&submission.id.0)
            .bytes(&submission.content.0)
            .number(u64::from(tier))
            .number(u64::from(replica))
            .bytes(&seed)
            .bytes(&policy.0)
            .finish();
        Self {
            id: AssignmentId(id),
            submission: submission.id,
            content: submission.content,
            tier,
            replica,
            seed: Digest(seed),
            policy,
        }
    }
}

/// The validators of `view`, the best coordinator of this content first (rendezvous hashing).
///
/// Every validator computes the same order from the same view. A validator that joins or leaves
/// moves only what it gains or loses.
#[must_use]
pub fn coordinators(view: &ChainView, miner: &Hotkey, content: &ContentDigest) -> Vec<Hotkey> {
    let mut ranked: Vec<([u8; 32], Hotkey)> = view
        .validators()
        .map(|validator| {
            let rank = DigestBuilder::new("assay/coordinator/v1")
                .bytes(&miner.0)
                .bytes(&content.0)
                .bytes(&validator.hotkey.0)
                .finish();
            (rank, validator.hotkey)
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, hotkey)| hotkey).collect()
}
