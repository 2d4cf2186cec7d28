//! What waits for the opinion of a language model, and what becomes of it.
//!
//! ```text
//! breaks no rule, is no copy ──> gate: held, asked for ──opinion──> admitted | rejected
//!                           └──> advise: admitted, asked for beside it
//! ```
//!
//! A model that is away, or makes no sense, is asked again, ever more rarely, for as long as
//! somebody waits. Time alone admits nobody: code that confuses the model would get past it. A
//! person can decide instead.

use std::collections::BTreeSet;

use crate::hold::Doubt;
use crate::id::{ContentDigest, SubmissionId};
use crate::limits::{clip_detail, REVIEW_PAUSE_ASKED_MS_MAX, REVIEW_RETRY_MS, REVIEW_RETRY_MS_MAX};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::{FetchClock, Machine};
use crate::review::{
    model_digest, Opinion, Review, ReviewFailure, ReviewKey, ReviewMode, ReviewRules,
};
use crate::rows::{ReviewRow, Row};
use crate::submission::{Submission, SubmissionState};
use crate::unit::{MonoMs, Now};

impl Machine {
    /// Whether a submission that breaks no rule and is no copy may be evaluated now. If not, it is
    /// rejected or waits.
    pub(super) fn passes_review(&mut self, id: SubmissionId, out: &mut Outcome) -> bool {
        let Some(rules) = self.config.review.clone() else { return true };
        let Some(submission) = self.submissions.get(&id) else { return true };
        // A person has looked at it.
        if submission.unreviewed.is_some() {
            return true;
        }
        let content = submission.content;
        let known = self.review_of(content).cloned();
        match (known, rules.mode) {
            (Some(review), ReviewMode::Gate) if review.opinion == Opinion::Reject => {
                self.withdraw(id, out);
                self.reject(id, review.rejection(&rules.model), out);
                false
            }
            (Some(_), ReviewMode::Gate | ReviewMode::Advise) => true,
            (None, ReviewMode::Advise) => {
                self.ask_review(content, out);
                true
            }
            (None, ReviewMode::Gate) => {
                if !is_unreviewed(submission) {
                    let since = self.number();
                    self.hold(id, Doubt::Unreviewed { failure: None }, since, out);
                }
                self.ask_review(content, out);
                false
            }
        }
    }

    /// What the model that is configured now said of a content.
    #[must_use]
    pub fn review_of(&self, content: ContentDigest) -> Option<&Review> {
        let rules = self.config.review.as_ref()?;
        self.reviews.get(&self.review_key(content, rules)).map(|row| &row.review)
    }

    fn review_key(&self, content: ContentDigest, rules: &ReviewRules) -> ReviewKey {
        (content, self.policy_digest, model_digest(&rules.model))
    }

    /// Asks unless that was done already: one opinion for all submissions of a content.
    fn ask_review(&mut self, content: ContentDigest, out: &mut Outcome) {
        if self.reviewing.contains_key(&content) {
            return;
        }
        let clock = FetchClock { is_running: true, failures: 0, again_at: MonoMs::default() };
        self.reviewing.insert(content, clock);
        out.perform(Effect::Review { content });
    }

    pub(super) fn retry_reviews(&mut self, now: Now, out: &mut Outcome) {
        let due = |clock: &FetchClock| !clock.is_running && clock.again_at <= now.mono;
        let due: Vec<ContentDigest> =
            self.reviewing.iter().filter(|(_, clock)| due(clock)).map(|(key, _)| *key).collect();
        for content in due {
            if let Some(clock) = self.reviewing.get_mut(&content) {
                clock.is_running = true;
                out.perform(Effect::Review { content });
            }
        }
    }

    pub(super) fn on_reviewed(
        &mut self,
        now: Now,
        content: ContentDigest,
        result: Result<Review, ReviewFailure>,
        out: &mut Outcome,
    ) {
        let Some(rules) = self.config.review.clone() else { return };
        // Only what was asked for in this life counts.
        let Some(clock) = self.reviewing.remove(&content) else { return };
        match result {
            Ok(review) => {
                let (opinion, reason) = (review.opinion.name(), review.reason.clone());
                out.note(Note::ContentReviewed { content, opinion, reason });
                let (policy, model) = (self.policy_digest, rules.model.clone());
                let row = ReviewRow { content, policy, model, review };
                out.put(Row::Review(row.clone()));
                self.reviews.insert(self.review_key(content, &rules), row);
                for id in self.unreviewed(content) {
                    self.compare(id, out);
                }
                self.adopt_orphans(out);
                self.settle_touched(now, out);
            }
            Err(failure) => self.review_later(now, content, clock.failures, &failure, out),
        }
    }

    fn review_later(
        &mut self,
        now: Now,
        content: ContentDigest,
        failures: u32,
        failure: &ReviewFailure,
        out: &mut Outcome,
    ) {
        let reason = clip_detail(&failure.detail);
        out.note(Note::ReviewFailed { content, reason: reason.clone() });
        for id in self.unreviewed(content) {
            let Some(submission) = self.submissions.get_mut(&id) else { continue };
            let SubmissionState::Held { doubt, .. } = &mut submission.state else { continue };
            let told = Doubt::Unreviewed { failure: Some(reason.clone()) };
            if *doubt != told {
                *doubt = told;
                out.put(Row::Submission(submission.clone()));
            }
        }
        let factor = 1u64.checked_shl(failures).unwrap_or(u64::MAX);
        let pause = REVIEW_RETRY_MS.saturating_mul(factor).min(REVIEW_RETRY_MS_MAX);
        let asked = failure.retry_after_ms.unwrap_or(0).min(REVIEW_PAUSE_ASKED_MS_MAX);
        let again_at = now.mono.plus_ms(pause.max(asked));
        let failures = failures.saturating_add(1);
        self.reviewing.insert(content, FetchClock { is_running: false, failures, again_at });
    }

    /// Submissions of a content that wait for its review.
    fn unreviewed(&self, content: ContentDigest) -> Vec<SubmissionId> {
        let theirs = self.submissions.values().filter(|known| known.content == content);
        theirs.filter(|known| is_unreviewed(known)).map(|known| known.id).collect()
    }

    /// Has those looked at again that waited for a review in an earlier life: the operator may have
    /// chosen another model since, or none.
    pub(super) fn resume_reviews(&mut self, now: Now, out: &mut Outcome) {
        let waiting: BTreeSet<SubmissionId> =
            self.submissions.values().filter(|one| is_unreviewed(one)).map(|one| one.id).collect();
        if waiting.is_empty() {
            return;
        }
        for id in waiting {
            self.compare(id, out);
        }
        self.adopt_orphans(out);
        self.settle_touched(now, out);
    }
}

fn is_unreviewed(submission: &Submission) -> bool {
    matches!(submission.state, SubmissionState::Held { doubt: Doubt::Unreviewed { .. }, .. })
}
