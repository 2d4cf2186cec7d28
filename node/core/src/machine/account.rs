//! What a node tells anybody about submissions: nothing in it is secret.

use std::collections::BTreeMap;

use crate::admission::{Rejection, Verdict};
use crate::evidence::{Evidence, Metrics};
use crate::funnel::{MemberState, Passage};
use crate::id::{Hotkey, SubmissionId};
use crate::lease::Explanation;
use crate::machine::funnel::Entrant;
use crate::machine::Machine;
use crate::priority::Priority;
use crate::review::Review;
use crate::rows::{OutcomeRow, ReceiptRow, ReceiptStanding};
use crate::submission::{Submission, SubmissionState};
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber, EpochIndex};

/// How good a submission is known to be: the later the tier, the better, and within a tier the more
/// points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Merit {
    /// The latest tier in which it has a score.
    pub tier: u8,
    /// Its points there.
    pub points: u64,
}

/// All that is known of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The submission.
    pub submission: Submission,
    /// How its evaluation stands here.
    pub explanation: Explanation,
    /// What was decided in its trials.
    pub outcomes: Vec<OutcomeRow>,
    /// What was measured by the worker whose result decided the first of them in the tier of its
    /// merit, or in the first tier.
    pub metrics: Option<Metrics>,
    /// How good it is; `None` without a score.
    pub merit: Option<Merit>,
    /// The last tier that it entered, and what becomes of it there; `None` for one that takes no
    /// part, and under a policy of one tier.
    pub place: Option<(u8, Passage)>,
    /// What gates in shadow found in its files.
    pub flags: Vec<Rejection>,
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

impl Account {
    /// Takes in receipts that were put away, where none were at hand.
    pub fn recall<'a>(&mut self, receipts: impl Iterator<Item = &'a ReceiptRow>) {
        if self.metrics.is_none() {
            self.metrics = decisive_metrics(self.merit, &self.outcomes, receipts);
        }
    }
}

/// What was measured by the worker whose result decided the first trial in the tier of the merit.
pub(super) fn decisive_metrics<'a>(
    merit: Option<Merit>,
    outcomes: &[OutcomeRow],
    receipts: impl Iterator<Item = &'a ReceiptRow>,
) -> Option<Metrics> {
    let tier = merit.map_or(1, |merit| merit.tier);
    let decided = outcomes.iter().find(|row| row.trial.tier == tier)?;
    let counting = receipts.filter(|row| row.standing == ReceiptStanding::Counts);
    let is_decisive = |evidence: &&Evidence| {
        evidence.trial() == decided.trial && Some(evidence.worker) == decided.worker
    };
    counting.map(|row| &row.receipt.evidence).find(is_decisive)?.metrics.clone()
}

impl Machine {
    /// What is known of a submission; `None` if it is unknown here.
    #[must_use]
    pub fn account(&self, id: &SubmissionId) -> Option<Account> {
        let submission = self.submissions.get(id)?.clone();
        let outcomes: Vec<OutcomeRow> =
            self.outcomes.range(Trial::all_of(*id)).map(|(_, row)| row.clone()).collect();
        let merit = self.merit(id);
        let metrics = decisive_metrics(merit, &outcomes, self.receipts.of_submission(*id));
        let model = self.config.review.as_ref().map(|rules| rules.model.clone());
        let review = model.zip(self.review_of(submission.content).cloned());
        Some(Account {
            explanation: self.explain(id),
            place: self.place_in_funnel(id).map(|(tier, _, passage)| (tier, passage)),
            flags: self.flags_of(&submission),
            submission,
            outcomes,
            metrics,
            merit,
            review,
        })
    }

    /// The receipts of a submission in the order of its trials, late ones too.
    pub fn receipts_of(&self, id: &SubmissionId) -> impl Iterator<Item = &ReceiptRow> {
        self.receipts.of_submission(*id)
    }

    fn flags_of(&self, submission: &Submission) -> Vec<Rejection> {
        match self.verdicts.get(&(submission.content, self.policy_digest)) {
            Some(Verdict::Admitted { flags, .. }) => flags.clone(),
            Some(Verdict::Rejected { .. }) | None => Vec::new(),
        }
    }

    /// How good a submission is known to be; `None` without a score. A tier that it failed takes
    /// nothing from what it had before.
    #[must_use]
    pub fn merit(&self, id: &SubmissionId) -> Option<Merit> {
        let scored = |(tier, entrants): (u8, &BTreeMap<SubmissionId, Entrant>)| {
            let member = entrants.get(id)?.member;
            match member.state {
                MemberState::Scored { points } => Some(Merit { tier, points }),
                MemberState::Missing | MemberState::Failed => None,
            }
        };
        let first = || {
            let SubmissionState::Scored { points } = self.submissions.get(id)?.state else {
                return None;
            };
            Some(Merit { tier: 1, points })
        };
        (1_u8..).zip(&self.tiers).filter_map(scored).last().or_else(first)
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
    pub fn ranking(&self) -> Vec<(Merit, &Submission)> {
        let mut ranked: Vec<(Merit, &Submission)> =
            self.submissions().filter_map(|one| Some((self.merit(&one.id)?, one))).collect();
        ranked.sort_by_key(|(merit, one)| (std::cmp::Reverse(*merit), Priority::of(one)));
        ranked
    }

    /// What the next vector would be made of: points per hotkey, or parts of the reward. Empty
    /// before the first block, and while there is no vector.
    #[must_use]
    pub fn points_now(&self) -> BTreeMap<Hotkey, u64> {
        let parts = self.head().map(|head| self.parts_by_hotkey(head));
        parts.and_then(Result::ok).unwrap_or_default()
    }

    /// Where the subnet stands; `None` before the first finalized block.
    #[must_use]
    pub fn epoch_account(&self) -> Option<EpochAccount> {
        let view = self.view()?;
        let (index, length) = (view.epoch.index, view.params.tempo);
        Some(EpochAccount { index, block: view.number, length })
    }
}
