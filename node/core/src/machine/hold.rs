//! Whose work a submission is: what is compared with others' when it is admitted, what waits for a
//! person, and what becomes of it.
//!
//! Validators fetch contents in different orders, and in the end they have to agree. So a work that
//! is admitted is compared in both directions: with the earlier ones, and the later ones with it,
//! also if those were admitted already.

use std::sync::Arc;

use crate::admission::{Rejection, Rule};
use crate::duplicates::{judge_beside, Judgement, Work};
use crate::hold::{Doubt, NotResolved, Resolution, Resolved};
use crate::id::SubmissionId;
use crate::machine::effect::{Note, Outcome};
use crate::machine::Machine;
use crate::priority::Priority;
use crate::rows::Row;
use crate::submission::{Submission, SubmissionState};
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber, Now};

impl Machine {
    /// Compares a submission that breaks no other rule with the works of others, and the later
    /// ones of those with it.
    pub(super) fn compare(&mut self, id: SubmissionId, out: &mut Outcome) {
        self.place_beside_others(id, out);
        let later: Vec<SubmissionId> = self.later_works_like(id);
        for other in later {
            self.works.remove(&other);
            self.place_beside_others(other, out);
        }
    }

    /// Admits, holds or rejects a submission for what it has in common with earlier works.
    fn place_beside_others(&mut self, id: SubmissionId, out: &mut Outcome) {
        match self.judgement(id) {
            Judgement::Unique => self.accept(id, out),
            Judgement::Held { likeness } => {
                let since = self.number();
                self.hold(id, Doubt::Similar { likeness }, since, out);
            }
            judgement @ Judgement::Rejected { .. } => {
                if let Some(rejection) = judgement.rejection() {
                    self.withdraw(id, out);
                    self.reject(id, rejection, out);
                }
            }
        }
    }

    fn judgement(&self, id: SubmissionId) -> Judgement {
        let Some(submission) = self.submissions.get(&id) else { return Judgement::Unique };
        // A person has looked at it, or nobody wanted to.
        if submission.resolved.is_some() {
            return Judgement::Unique;
        }
        let Some(sketch) = self.sketches.get(&submission.content) else { return Judgement::Unique };
        let rules = &self.config.policy.duplicates;
        let counts = |id: &SubmissionId, _: &Work| {
            let work = self.submissions.get(id);
            work.is_some_and(|work| self.is_remembered(work, submission.committed_at))
        };
        judge_beside(&self.works, rules, sketch, Priority::of(submission), counts)
    }

    /// Accepted works of others that came later and may be copies of this one.
    fn later_works_like(&self, id: SubmissionId) -> Vec<SubmissionId> {
        let Some(submission) = self.submissions.get(&id) else { return Vec::new() };
        if !submission.state.is_admitted() {
            return Vec::new();
        }
        let Some(sketch) = self.sketches.get(&submission.content) else { return Vec::new() };
        let priority = Priority::of(submission);
        let is_later =
            |work: &Work| work.priority.author != submission.hotkey && work.priority > priority;
        let similar = self.works.candidates(sketch).filter(|(_, work)| is_later(work));
        let mut similar: Vec<(Priority, SubmissionId)> =
            similar.map(|(id, work)| (work.priority, id)).collect();
        similar.sort_unstable();
        similar.into_iter().map(|(_, id)| id).collect()
    }

    /// Lets a submission be evaluated; one that is already stays as it is.
    fn accept(&mut self, id: SubmissionId, out: &mut Outcome) {
        let is_admitted = |known: &Submission| known.state.is_admitted();
        let is_new = !self.submissions.get(&id).is_some_and(is_admitted);
        if is_new && !(self.has_its_architecture(id, out) && self.passes_review(id, out)) {
            return;
        }
        let Some(submission) = self.submissions.get_mut(&id) else { return };
        if is_new {
            out.note(Note::SubmissionAdmitted { submission: id });
            submission.state = SubmissionState::Admitted;
            out.put(Row::Submission(submission.clone()));
        }
        self.add_work(id);
        let trials = self.submissions.get(&id).map(|known| self.trials_of(known));
        self.to_settle.extend(trials.into_iter().flatten());
    }

    fn add_work(&mut self, id: SubmissionId) {
        let Some(submission) = self.submissions.get(&id) else { return };
        let Some(sketch) = self.sketches.get(&submission.content) else { return };
        let priority = Priority::of(submission);
        self.works.insert(id, Work { priority, sketch: Arc::clone(sketch) });
    }

    pub(super) fn hold(
        &mut self,
        id: SubmissionId,
        doubt: Doubt,
        since: BlockNumber,
        out: &mut Outcome,
    ) {
        self.withdraw(id, out);
        let Some(submission) = self.submissions.get_mut(&id) else { return };
        out.note(Note::SubmissionHeld { submission: id, reason: doubt.to_string() });
        submission.state = SubmissionState::Held { doubt, since };
        out.put(Row::Submission(submission.clone()));
    }

    /// Ends what was planned for a submission that is not evaluated any more. Leases that are held
    /// end by themselves.
    pub(super) fn withdraw(&mut self, id: SubmissionId, out: &mut Outcome) {
        self.works.remove(&id);
        let trials: Vec<Trial> =
            self.pending.range(Trial::all_of(id)).map(|(trial, _)| *trial).collect();
        for trial in trials {
            self.pending.remove(&trial);
            self.close_unused(trial, out);
        }
        self.asked_for_work = None;
    }

    /// What a person decides about a submission that is held.
    pub(super) fn resolve(
        &mut self,
        now: Now,
        id: SubmissionId,
        resolution: Resolution,
        out: &mut Outcome,
    ) -> Result<Submission, NotResolved> {
        if self.view.is_none() || self.is_stopping {
            return Err(NotResolved::NotReady);
        }
        let submission = self.submissions.get(&id).ok_or(NotResolved::Unknown)?;
        let SubmissionState::Held { doubt, .. } = &submission.state else {
            return Err(NotResolved::NotHeld);
        };
        let waits_for_files = matches!(doubt, Doubt::NoArchitecture { .. });
        if waits_for_files && resolution == Resolution::Admit {
            return Err(NotResolved::NoArchitecture);
        }
        self.end_hold(now, id, Some(resolution), out);
        self.submissions.get(&id).cloned().ok_or(NotResolved::Unknown)
    }

    /// Lets those be evaluated that nobody decided about in the policy's time.
    pub(super) fn release_held(&mut self, now: Now, out: &mut Outcome) {
        let (number, patience) = (self.number(), BlockCount(self.config.policy.hold_blocks));
        let is_over = |submission: &&Submission| {
            let SubmissionState::Held { doubt, since } = &submission.state else { return false };
            match doubt {
                Doubt::Similar { .. } => number.since(*since) >= patience,
                // Time does not read code, and brings no architecture.
                Doubt::Unreviewed { .. } | Doubt::NoArchitecture { .. } => false,
            }
        };
        let over: Vec<SubmissionId> =
            self.submissions.values().filter(is_over).map(|submission| submission.id).collect();
        for id in over {
            self.end_hold(now, id, None, out);
        }
    }

    fn end_hold(
        &mut self,
        now: Now,
        id: SubmissionId,
        by_person: Option<Resolution>,
        out: &mut Outcome,
    ) {
        let until = self.number();
        let Some(submission) = self.submissions.get_mut(&id) else { return };
        let SubmissionState::Held { doubt, since } = &submission.state else { return };
        let (doubt, since) = (doubt.clone(), *since);
        let by = by_person.clone();
        let resolved = Box::new(Resolved { doubt: doubt.clone(), since, until, by_person: by });
        // To have answered one doubt answers no other.
        let rule = match doubt {
            Doubt::Similar { .. } => {
                submission.resolved = Some(resolved);
                Rule::DuplicateStructure
            }
            Doubt::Unreviewed { .. } => {
                submission.unreviewed = Some(resolved);
                Rule::ReviewRejected
            }
            // Of its code, since nobody can decide what there is to train.
            Doubt::NoArchitecture { .. } => Rule::ReviewRejected,
        };
        out.note(Note::HoldResolved { submission: id, by_person: by_person.is_some() });
        match by_person {
            Some(Resolution::Reject { reason }) => {
                let detail = crate::limits::clip_detail(&format!("after a look at it: {reason}"));
                self.reject(id, Rejection::new(rule, detail), out);
            }
            Some(Resolution::Admit) | None => {
                self.compare(id, out);
                self.adopt_orphans(out);
                self.settle_touched(now, out);
            }
        }
    }

    /// What was accepted in an earlier life.
    pub(super) fn remember_works(&mut self) {
        let admitted = self.submissions.values().filter(|known| known.state.is_admitted());
        let admitted: Vec<SubmissionId> = admitted.map(|known| known.id).collect();
        for id in admitted {
            self.add_work(id);
        }
    }

    /// The latest finalized block.
    pub(super) fn number(&self) -> BlockNumber {
        self.view.as_ref().map(|view| view.number).unwrap_or_default()
    }
}
