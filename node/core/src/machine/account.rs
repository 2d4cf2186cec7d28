//! What a node tells anybody about submissions: nothing in it is secret.

use std::collections::BTreeMap;

use crate::evidence::{Evidence, Metrics};
use crate::id::{Hotkey, SubmissionId};
use crate::lease::Explanation;
use crate::machine::Machine;
use crate::review::Review;
use crate::rows::OutcomeRow;
use crate::submission::{Submission, SubmissionState};
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber, EpochIndex};

/// All that is known of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The submission.
    pub submission: Submission,
    /// How its evaluation stands here.
    pub explanation: Explanation,
    /// What was decided in its trials.
    pub outcomes: Vec<OutcomeRow>,
    /// What was measured by the worker whose result decided the first of them.
    pub metrics: Option<Metrics>,
    /// What the language model said that this node asks: its name, and its opinion.
    pub review: Option<(String, Review)>,
}

/// Why a node takes no upload of a hotkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadRefused {
    /// No finalized block was read yet.
    #[error("the node has not read the chain yet")]
    NotReady,
    /// It has no neuron on the subnet.
    #[error("the hotkey is not registered on the subnet")]
    NotRegistered,
    /// Validators do not submit.
    #[error("the hotkey is a validator's; validators do not submit")]
    Validator,
}

/// Where the subnet stands in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochAccount {
    /// The epoch.
    pub index: EpochIndex,
    /// The newest finalized block.
    pub block: BlockNumber,
    /// Blocks of an epoch.
    pub length: BlockCount,
}

impl Machine {
    /// What is known of a submission; `None` if it is unknown here.
    #[must_use]
    pub fn account(&self, id: &SubmissionId) -> Option<Account> {
        let submission = self.submissions.get(id)?.clone();
        let outcomes: Vec<OutcomeRow> =
            self.outcomes.range(Trial::all_of(*id)).map(|(_, row)| row.clone()).collect();
        let decided = outcomes.first();
        let mut evidence = decided.into_iter().flat_map(|row| {
            let theirs = |evidence: &&Evidence| Some(evidence.worker) == row.worker;
            self.receipts.counting(&row.trial).map(|receipt| &receipt.evidence).filter(theirs)
        });
        let metrics = evidence.next().and_then(|evidence| evidence.metrics.clone());
        let model = self.config.review.as_ref().map(|rules| rules.model.clone());
        let review = model.zip(self.review_of(submission.content).cloned());
        Some(Account { explanation: self.explain(id), submission, outcomes, metrics, review })
    }

    /// What a hotkey submitted, the latest commitment first.
    #[must_use]
    pub fn submissions_of(&self, hotkey: &Hotkey) -> Vec<&Submission> {
        let mut theirs: Vec<&Submission> =
            self.submissions.values().filter(|one| one.hotkey == *hotkey).collect();
        theirs.sort_by_key(|one| (std::cmp::Reverse(one.committed_at), one.id));
        theirs
    }

    /// Whether `hotkey` may leave an archive here before or after it commits to it.
    ///
    /// # Errors
    ///
    /// [`UploadRefused`].
    pub fn may_upload(&self, hotkey: &Hotkey) -> Result<(), UploadRefused> {
        let view = self.view().ok_or(UploadRefused::NotReady)?;
        if view.neuron(hotkey).is_none() {
            Err(UploadRefused::NotRegistered)
        } else if view.is_validator(hotkey) {
            Err(UploadRefused::Validator)
        } else {
            Ok(())
        }
    }

    /// Scored submissions, the best first; of equal ones the earlier commitment, then the smaller
    /// content digest.
    #[must_use]
    pub fn ranking(&self) -> Vec<&Submission> {
        let points = |submission: &Submission| {
            let SubmissionState::Scored { points } = submission.state else { return None };
            Some(points)
        };
        let mut ranked: Vec<(u64, &Submission)> =
            self.submissions.values().filter_map(|one| Some((points(one)?, one))).collect();
        ranked.sort_by_key(|(points, one)| {
            (std::cmp::Reverse(*points), one.committed_at, one.content)
        });
        ranked.into_iter().map(|(_, one)| one).collect()
    }

    /// What the next vector would be made of: points per hotkey. Empty before the first block.
    #[must_use]
    pub fn points_now(&self) -> BTreeMap<Hotkey, u64> {
        self.head().map(|head| self.points_by_hotkey(head)).unwrap_or_default()
    }

    /// Where the subnet stands; `None` before the first finalized block.
    #[must_use]
    pub fn epoch_account(&self) -> Option<EpochAccount> {
        let view = self.view()?;
        let (index, length) = (view.epoch.index, view.params.tempo);
        Some(EpochAccount { index, block: view.number, length })
    }
}
