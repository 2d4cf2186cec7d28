//! Who was first.

use serde::{Deserialize, Serialize};

use crate::id::{ContentDigest, Hotkey, SubmissionId};
use crate::submission::Submission;
use crate::unit::BlockNumber;

/// The place of a submission among those that compete for the same; the smaller came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Priority {
    /// The commit block.
    pub block: BlockNumber,
    /// What was committed. Decides within a block.
    pub content: ContentDigest,
    /// By whom. Decides only where two commit the same content in the same block.
    pub author: Hotkey,
}

impl Priority {
    /// That of a submission.
    #[must_use]
    pub fn of(submission: &Submission) -> Self {
        let Submission { hotkey, committed_at, content, .. } = submission;
        Self { block: *committed_at, content: *content, author: *hotkey }
    }

    /// The submission that has it.
    #[must_use]
    pub fn submission(&self) -> SubmissionId {
        Submission::identity(&self.author, self.block, &self.content)
    }
}
