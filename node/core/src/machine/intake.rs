//! From a commitment on chain to a verdict: seen, fetched, admitted or rejected.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;

use crate::admission::{Rejection, Rule, Verdict};
use crate::commitment::Commitment;
use crate::duplicates::Sketch;
use crate::funnel::CohortId;
use crate::id::{BlockHash, ContentDigest, SubmissionId};
use crate::limits::{clip_detail, FETCH_RETRY_MS, FETCH_RETRY_MS_MAX};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::{FetchClock, Machine};
use crate::priority::Priority;
use crate::rows::{Row, VerdictRow};
use crate::submission::{Submission, SubmissionState};
use crate::unit::{BlockCount, Now};
use crate::view::CommitmentRecord;

impl Machine {
    pub(super) fn take_in_commitments(&mut self, now: Now, out: &mut Outcome) {
        let Some(view) = &self.view else { return };
        // A commitment without its seed block is read again in the next view.
        let records: Vec<CommitmentRecord> =
            view.commitments.iter().filter(|c| c.seed_block_hash.is_some()).cloned().collect();
        for record in &records {
            self.take_in(now, record, out);
        }
        self.learn_windows(out);
    }

    /// Takes down what draws the audits of each window, once that is known: any commitment of a
    /// window tells it of all, also one that is no submission.
    fn learn_windows(&mut self, out: &mut Outcome) {
        let Some(view) = &self.view else { return };
        let rules = &self.config.policy.scoring.funnel;
        let cohort = |block| CohortId::of(rules, block);
        let of_records = view.commitments.iter();
        let of_records = of_records.filter_map(|r| Some((cohort(r.block), r.window_block_hash?)));
        let of_starts = view.window_hashes.iter().filter(|(start, _)| start.0 > 0);
        let of_starts = of_starts.map(|(start, hash)| (cohort(start.minus(BlockCount(1))), *hash));
        let told: BTreeMap<CohortId, BlockHash> = of_starts.chain(of_records).collect();
        for submission in self.submissions.values_mut() {
            let hash = told.get(&cohort(submission.committed_at));
            if let (None, Some(hash)) = (submission.window_block_hash, hash) {
                submission.window_block_hash = Some(*hash);
                out.put(Row::Submission(submission.clone()));
            }
        }
    }

    fn take_in(&mut self, now: Now, record: &CommitmentRecord, out: &mut Outcome) {
        let Some(seed_block_hash) = record.seed_block_hash else { return };
        let commitment = match Commitment::parse(&record.bytes) {
            Ok(commitment) => commitment,
            Err(error) => {
                let reason = error.to_string();
                let (hotkey, block) = (record.hotkey, record.block);
                self.pass_over(record, Note::CommitmentUnreadable { hotkey, block, reason }, out);
                return;
            }
        };
        let id = Submission::identity(&record.hotkey, record.block, &commitment.content);
        if self.submissions.contains_key(&id) {
            return;
        }
        if let Some(note) = self.objection(record) {
            self.pass_over(record, note, out);
            return;
        }
        let mut submission = Submission::committed(
            record.hotkey,
            record.block,
            commitment.content,
            commitment.location,
            seed_block_hash,
        );
        submission.window_block_hash = record.window_block_hash;
        out.put(Row::Submission(submission.clone()));
        out.note(Note::SubmissionSeen {
            submission: id,
            hotkey: record.hotkey,
            block: record.block,
        });
        self.submissions.insert(id, submission);
        self.fetch(now, id, out);
    }

    /// Why a well-formed commitment is not a submission.
    fn objection(&self, record: &CommitmentRecord) -> Option<Note> {
        let (hotkey, block) = (record.hotkey, record.block);
        if self.view.as_ref().is_some_and(|view| view.is_validator(&hotkey)) {
            return Some(Note::CommitmentByValidator { hotkey, block });
        }
        let distance = BlockCount(self.config.policy.recommit_blocks);
        let previous =
            self.submissions.values().filter(|s| s.hotkey == hotkey).map(|s| s.committed_at).max();
        let allowed_at = previous?.plus(distance);
        (block < allowed_at).then_some(Note::CommitmentTooSoon { hotkey, block, allowed_at })
    }

    fn pass_over(&mut self, record: &CommitmentRecord, note: Note, out: &mut Outcome) {
        if self.passed_over.insert(record.hotkey, record.block) != Some(record.block) {
            out.note(note);
        }
    }

    fn fetch(&mut self, now: Now, id: SubmissionId, out: &mut Outcome) {
        let Some(submission) = self.submissions.get(&id) else { return };
        let failures = self.fetching.get(&id).map_or(0, |clock| clock.failures);
        self.fetching.insert(id, FetchClock { is_running: true, failures, again_at: now.mono });
        out.perform(Effect::FetchContent {
            submission: id,
            content: submission.content,
            location: submission.location.clone(),
            peers: self.other_validators(),
        });
    }

    pub(super) fn retry_fetches(&mut self, now: Now, out: &mut Outcome) {
        let due: Vec<SubmissionId> = self
            .fetching
            .iter()
            .filter(|(_, clock)| !clock.is_running && clock.again_at <= now.mono)
            .map(|(id, _)| *id)
            // What nobody asks for any more waits until somebody does.
            .filter(|id| self.current.contains(id))
            .collect();
        for id in due {
            self.fetch(now, id, out);
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        now: Now,
        id: SubmissionId,
        result: Result<(), String>,
        out: &mut Outcome,
    ) {
        let Some(submission) = self.submissions.get_mut(&id) else { return };
        if !matches!(submission.state, SubmissionState::Committed { .. }) {
            return;
        }
        match result {
            Ok(()) => {
                self.fetching.remove(&id);
                submission.state = SubmissionState::Fetched;
                out.note(Note::ContentFetched { submission: id });
                out.put(Row::Submission(submission.clone()));
                self.judge(now, id, out);
            }
            Err(reason) => {
                let fetch_failure = Some(clip_detail(&reason));
                let state = SubmissionState::Committed { fetch_failure };
                if submission.state != state {
                    submission.state = state;
                    out.put(Row::Submission(submission.clone()));
                    out.note(Note::FetchFailed { submission: id, reason: clip_detail(&reason) });
                }
                self.fetch_later(now, id);
            }
        }
    }

    fn fetch_later(&mut self, now: Now, id: SubmissionId) {
        let failures = self.fetching.get(&id).map_or(0, |clock| clock.failures);
        let factor = 1u64.checked_shl(failures).unwrap_or(u64::MAX);
        let pause_ms = FETCH_RETRY_MS.saturating_mul(factor).min(FETCH_RETRY_MS_MAX);
        let again_at = now.mono.plus_ms(pause_ms);
        let failures = failures.saturating_add(1);
        self.fetching.insert(id, FetchClock { is_running: false, failures, again_at });
    }

    /// Rejects this submission alone: bytes without the committed digest say nothing about others
    /// that committed to it.
    pub(super) fn on_content_unreadable(
        &mut self,
        id: SubmissionId,
        rejection: Rejection,
        out: &mut Outcome,
    ) {
        let Some(submission) = self.submissions.get(&id) else { return };
        if matches!(submission.state, SubmissionState::Committed { .. }) {
            self.fetching.remove(&id);
            self.reject(id, rejection, out);
        }
    }

    pub(super) fn reject(&mut self, id: SubmissionId, rejection: Rejection, out: &mut Outcome) {
        let Some(submission) = self.submissions.get_mut(&id) else { return };
        out.note(Note::SubmissionRejected { submission: id, reason: rejection.to_string() });
        submission.state = SubmissionState::Rejected { rejection };
        out.put(Row::Submission(submission.clone()));
    }

    /// The earlier submission of the same content by somebody else, if there is one.
    fn original_of(&self, submission: &Submission) -> Option<&Submission> {
        let priority = Priority::of(submission);
        self.submissions().find(|other| {
            other.content == submission.content
                && other.hotkey != submission.hotkey
                && Priority::of(other) < priority
                && !matches!(other.state, SubmissionState::Rejected { .. })
                && self.is_remembered(other, submission.committed_at)
        })
    }

    pub(super) fn on_content_missing(&mut self, now: Now, id: SubmissionId, out: &mut Outcome) {
        let Some(submission) = self.submissions.get_mut(&id) else { return };
        if submission.state != SubmissionState::Fetched {
            return;
        }
        let content = submission.content;
        self.judging.remove(&content);
        for id in self.fetched(content) {
            let Some(submission) = self.submissions.get_mut(&id) else { continue };
            submission.state = SubmissionState::Committed { fetch_failure: None };
            out.put(Row::Submission(submission.clone()));
            self.fetch(now, id, out);
        }
    }

    pub(super) fn on_admission_failed(
        &mut self,
        now: Now,
        id: SubmissionId,
        reason: &str,
        out: &mut Outcome,
    ) {
        let Some(submission) = self.submissions.get(&id) else { return };
        let content = submission.content;
        if self.judging.remove(&content).is_none() {
            return;
        }
        let reason = clip_detail(reason);
        for id in self.fetched(content) {
            let Some(submission) = self.submissions.get_mut(&id) else { continue };
            submission.state = SubmissionState::Committed { fetch_failure: Some(reason.clone()) };
            out.put(Row::Submission(submission.clone()));
            out.note(Note::FetchFailed { submission: id, reason: reason.clone() });
            // It will most likely fail again until somebody mends this node.
            let again_at = now.mono.plus_ms(FETCH_RETRY_MS_MAX);
            self.fetching.insert(id, FetchClock { is_running: false, failures: 0, again_at });
        }
    }

    /// Uses the stored verdict, or asks for one.
    fn judge(&mut self, now: Now, id: SubmissionId, out: &mut Outcome) {
        let Some(submission) = self.submissions.get(&id) else { return };
        let content = submission.content;
        if let Some(original) = self.original_of(submission) {
            let detail = format!(
                "{} committed to the same content at block {}",
                original.hotkey, original.committed_at
            );
            self.reject(id, Rejection::new(Rule::ContentDuplicate, detail), out);
            return;
        }
        match self.verdicts.get(&(content, self.policy_digest)).cloned() {
            Some(verdict) => self.apply_verdict(now, id, verdict, out),
            // Another submission of the same content may have asked already: one verdict for all.
            None => {
                let Entry::Vacant(place) = self.judging.entry(content) else { return };
                place.insert(None);
                out.perform(Effect::Admit { submission: id, content });
            }
        }
    }

    /// Stores a verdict with what the content is compared by, and applies it.
    pub(super) fn end_judging(
        &mut self,
        now: Now,
        content: ContentDigest,
        verdict: Verdict,
        sketch: Option<Box<Sketch>>,
        out: &mut Outcome,
    ) {
        if self.judging.remove(&content).is_none() {
            return;
        }
        let (policy, sketch) = (self.policy_digest, sketch.map(|sketch| *sketch));
        let row = VerdictRow { content, policy, verdict: verdict.clone(), sketch: sketch.clone() };
        out.put(Row::Verdict(row));
        if let Some(sketch) = sketch {
            self.remember_sketch(content, sketch);
        }
        self.verdicts.insert((content, policy), verdict.clone());
        for id in self.fetched(content) {
            self.apply_verdict(now, id, verdict.clone(), out);
        }
    }

    fn fetched(&self, content: ContentDigest) -> Vec<SubmissionId> {
        self.submissions
            .values()
            .filter(|s| s.content == content && s.state == SubmissionState::Fetched)
            .map(|submission| submission.id)
            .collect()
    }

    fn apply_verdict(&mut self, now: Now, id: SubmissionId, verdict: Verdict, out: &mut Outcome) {
        match verdict {
            Verdict::Admitted { .. } => self.compare(id, out),
            Verdict::Rejected { rejection } => self.reject(id, rejection, out),
        }
        self.is_funnel_stale = true;
        self.adopt_orphans(out);
        self.settle_touched(now, out);
    }

    /// Continues where an earlier life stopped.
    pub(super) fn resume_intake(&mut self, now: Now, out: &mut Outcome) {
        let waiting: Vec<(SubmissionId, bool)> = self
            .submissions
            .values()
            .filter_map(|submission| match submission.state {
                SubmissionState::Committed { .. } => Some((submission.id, false)),
                SubmissionState::Fetched => Some((submission.id, true)),
                SubmissionState::Admitted
                | SubmissionState::Held { .. }
                | SubmissionState::Rejected { .. }
                | SubmissionState::Scored { .. }
                | SubmissionState::Failed { .. }
                | SubmissionState::Disputed => None,
            })
            .collect();
        for (id, is_fetched) in waiting {
            if is_fetched {
                self.judge(now, id, out);
            } else {
                self.fetch(now, id, out);
            }
        }
    }
}
