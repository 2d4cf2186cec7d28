//! From receipts to results: which evaluations are decided, which need more replicas, and who
//! stood alone.

use std::collections::BTreeSet;

use crate::assignment::Assignment;
use crate::evidence::{Evidence, Receipt};
use crate::id::{AssignmentId, Digest, Hotkey, SubmissionId};
use crate::limits::{
    FROZEN_PER_BLOCK_MAX, FROZEN_ROWS_MAX, REPLICA_NUMBERS_MAX, RETENTION_BLOCKS,
    STRIKES_KEPT_BLOCKS, STRIKES_MAX,
};
use crate::machine::effect::{Note, Outcome};
use crate::machine::Machine;
use crate::reward::Fingerprint;
use crate::round::{
    check_evidence, settle, Decision, EvidenceRejected, Expected, Jury, Standing, Verdict,
};
use crate::rows::{CursorRow, Frozen, OutcomeRow, Row, StrikeCause, StrikeRow, Table, Write};
use crate::submission::{Submission, SubmissionState};
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber, Now};
use crate::view::ChainView;

/// Numbers of the parts of what is put away of a submission at a block: its evaluation, and what is
/// left when it is forgotten. Both may be at the same block, and parts are told apart by these.
pub(super) const EVALUATION_PART: u16 = 0;
/// See [`EVALUATION_PART`]. More parts than there are before it would be as many millions of rows.
pub(super) const FORGOTTEN_PART: u16 = 0x8000;

/// An evaluation that is not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// The block at which it was first seen so.
    pub(super) since: BlockNumber,
    /// Validators that coordinate it beside the first one, because it stands for so long.
    pub(super) helpers: u64,
    /// Claims that are needed in all.
    pub(super) needed: usize,
    /// Workers that have one.
    pub(super) claimants: BTreeSet<Hotkey>,
    /// Since when this node's own claim is the only one that is missing: others, who may have
    /// decided without it, know all that they ask for.
    pub(super) ours_missing_since: Option<BlockNumber>,
    /// For so long that nobody is expected to offer it to this node any more.
    pub(super) for_itself: bool,
}

/// Whether a strike counts at this block.
pub(super) fn counts_at(number: BlockNumber, row: &StrikeRow) -> bool {
    number.since(row.block) < BlockCount(STRIKES_KEPT_BLOCKS)
}

/// Whether of those who can be asked only this node is not among `claimants`, and there are some.
fn is_only_missing(jury: &Jury, claimants: &BTreeSet<Hotkey>) -> bool {
    let missing = jury.eligible.difference(claimants);
    jury.own.is_some() && !claimants.is_empty() && missing.eq(&jury.own)
}

impl Machine {
    /// What each validator derives for one replica of a trial of the submission.
    pub(super) fn assignment_of(
        &self,
        submission: &Submission,
        trial: Trial,
        replica: u8,
    ) -> Assignment {
        Assignment::derive(submission, (trial.tier, trial.unit), replica, self.policy_digest)
    }

    /// The replica of the trial that has this id; `None` too for a trial that the policy does not
    /// have: whoever sends receipts could name as many as there are numbers.
    pub(super) fn assignment_with(&self, trial: Trial, id: AssignmentId) -> Option<Assignment> {
        let submission = self.submissions.get(&trial.submission)?;
        if !self.is_possible(submission, trial) {
            return None;
        }
        (0..REPLICA_NUMBERS_MAX)
            .map(|replica| self.assignment_of(submission, trial, replica))
            .find(|assignment| assignment.id == id)
    }

    /// Whether a receipt is for what this node derived itself.
    pub(super) fn check_receipt(&self, receipt: &Receipt) -> Result<(), EvidenceRejected> {
        let genesis =
            self.view.as_ref().map(|view| view.genesis).ok_or(EvidenceRejected::OtherChain)?;
        let evidence = &receipt.evidence;
        let assignment = self
            .assignment_with(evidence.trial(), evidence.assignment)
            .ok_or(EvidenceRejected::OtherAssignment)?;
        let expected = Expected {
            genesis,
            netuid: self.config.netuid,
            assignment: &assignment,
            dataset: self.config.dataset,
        };
        check_evidence(&expected, evidence)
    }

    /// Whether this host has a device on which a submission can be evaluated.
    pub(super) fn can_evaluate(&self) -> bool {
        let limits = &self.config.policy.run;
        self.placement.check(limits).is_ok()
    }

    /// Who has to agree on a trial, from what is known now.
    pub(super) fn jury(&self, trial: &Trial) -> Jury {
        let own_hotkey = self.config.hotkey;
        let is_validator = self.view.as_ref().is_some_and(|view| view.is_validator(&own_hotkey));
        let own = (is_validator && self.can_evaluate()).then_some(own_hotkey);
        // Who is granted nothing, or never has a result, cannot be waited for.
        let can_be_asked = |hotkey: &&Hotkey| {
            **hotkey != own_hotkey
                && self.duties.is_able(hotkey)
                && !self.is_barred(hotkey, &trial.submission)
                && !self.is_struck_out(hotkey)
        };
        let others = self.duties.present().filter(can_be_asked).copied();
        let claimants = self.receipts.counting(trial).map(|receipt| receipt.evidence.worker);
        let eligible: BTreeSet<Hotkey> = others.chain(own).chain(claimants).collect();
        let agreement = &self.config.policy.agreement;
        Jury {
            wanted: usize::from(agreement.replicas),
            eligible,
            tolerance_ppm: agreement.tolerance_ppm,
            own,
        }
    }

    /// Plans everything anew that depends on who is there: evaluations that are not decided, and
    /// those that were decided by fewer validators than there are now.
    pub(super) fn touch_all(&mut self) {
        let admitted = self.submissions.values().filter(|s| s.state.is_admitted());
        let touched: Vec<Trial> = admitted
            .flat_map(|submission| self.trials_of(submission))
            .filter(|trial| self.is_current(trial) || self.pending.contains_key(trial))
            .collect();
        self.to_settle.extend(touched);
    }

    /// Settles every trial that something changed for.
    pub(super) fn settle_touched(&mut self, now: Now, out: &mut Outcome) {
        if self.view.is_none() {
            return;
        }
        loop {
            for trial in std::mem::take(&mut self.to_settle) {
                self.settle_one(now, trial, out);
            }
            // Results of one tier may be what another one waited for; there are few tiers.
            if !self.is_funnel_stale {
                return;
            }
            self.refresh_funnel();
        }
    }

    /// Whether the latest view shows the submission.
    fn is_current(&self, trial: &Trial) -> bool {
        self.current.contains(&trial.submission)
    }

    fn settle_one(&mut self, now: Now, trial: Trial, out: &mut Outcome) {
        let Some(submission) = self.submissions.get(&trial.submission) else { return };
        if !submission.state.is_admitted() {
            return;
        }
        let is_planned = self.trials_of(submission).contains(&trial);
        let counting =
            self.receipts.counting(&trial).filter(|receipt| self.check_receipt(receipt).is_ok());
        let jury = self.jury(&trial);
        let standing = settle(&jury, counting);
        let is_undecided = !self.outcomes.contains_key(&trial);
        let is_wanted = standing.decision.is_none()
            && is_planned
            && !self.retired.contains(&trial.submission)
            && (self.is_current(&trial) || (is_undecided && self.is_under_way(&trial)));
        for worker in &standing.equivocal {
            self.strike(*worker, trial.submission, StrikeCause::Equivocated, out);
        }
        if let Some(decision) = &standing.decision {
            self.apply_decision(trial, decision, out);
        }
        let is_ours_missing = is_only_missing(&jury, &standing.claimants);
        self.put_pending(trial, standing, is_ours_missing, is_wanted);
        self.asked_for_work = None;
        self.plan_replicas(now, trial, out);
    }

    /// Whether somebody may be at work on a trial of a submission that the view does not show any
    /// more.
    fn is_under_way(&self, trial: &Trial) -> bool {
        self.pending.contains_key(trial) || self.evaluations.contains_key(trial)
    }

    fn put_pending(
        &mut self,
        trial: Trial,
        standing: Standing,
        is_ours_missing: bool,
        is_wanted: bool,
    ) {
        if !is_wanted {
            self.pending.remove(&trial);
            return;
        }
        let number = self.view.as_ref().map(|view| view.number).unwrap_or_default();
        let Standing { claimants, needed, .. } = standing;
        let known = self.pending.get(&trial);
        let missing_since = known.and_then(|known| known.ours_missing_since).unwrap_or(number);
        let pending = Pending {
            since: known.map_or(number, |known| known.since),
            helpers: known.map_or(0, |known| known.helpers),
            needed,
            claimants,
            ours_missing_since: is_ours_missing.then_some(missing_since),
            for_itself: is_ours_missing && known.is_some_and(|known| known.for_itself),
        };
        self.pending.insert(trial, pending);
    }

    fn apply_decision(&mut self, trial: Trial, decision: &Decision, out: &mut Outcome) {
        let id = trial.submission;
        for worker in &decision.alone {
            self.strike(*worker, id, StrikeCause::StoodAlone, out);
        }
        if trial == Trial::first(id) {
            self.score(id, decision, out);
        }
        let (verdict, worker) = (decision.verdict.clone(), decision.worker);
        let architecture = worker.and_then(|worker| self.traced(&trial, &worker));
        let is_same =
            |known: &OutcomeRow| known.verdict == verdict && known.architecture == architecture;
        if self.outcomes.get(&trial).is_some_and(is_same) {
            return;
        }
        self.is_funnel_stale = true;
        let decided_at = self.view.as_ref().map(|view| view.number).unwrap_or_default();
        let row = OutcomeRow { trial, verdict, worker, architecture, decided_at };
        out.put(Row::Outcome(row.clone()));
        self.outcomes.insert(trial, row);
        self.tell_failing_reference(id, out);
    }

    /// The architecture as a worker's container traced it.
    fn traced(&self, trial: &Trial, worker: &Hotkey) -> Option<Fingerprint> {
        let mut theirs = self.receipts.counting(trial).map(|receipt| &receipt.evidence);
        let evidence = theirs.find(|evidence| evidence.worker == *worker)?;
        evidence.metrics.as_ref()?.conduct.architecture.clone()
    }

    /// What the first trial says is what a submission's state says.
    fn score(&mut self, id: SubmissionId, decision: &Decision, out: &mut Outcome) {
        let state = match &decision.verdict {
            Verdict::Scored { points } => SubmissionState::Scored { points: *points },
            Verdict::Failed { ending } => SubmissionState::Failed { ending: ending.clone() },
            Verdict::Disputed => SubmissionState::Disputed,
        };
        let Some(submission) = self.submissions.get_mut(&id) else { return };
        if submission.state == state {
            return;
        }
        let worker = decision.worker;
        match (&decision.verdict, worker) {
            (Verdict::Scored { points }, Some(worker)) => {
                out.note(Note::SubmissionScored { submission: id, points: *points, worker });
            }
            (Verdict::Failed { ending }, Some(worker)) => {
                let reason = ending.to_string();
                out.note(Note::SubmissionFailed { submission: id, reason, worker });
            }
            _ => out.note(Note::SubmissionDisputed { submission: id }),
        }
        submission.state = state;
        out.put(Row::Submission(submission.clone()));
    }

    /// Writes a strike into this node's own book, once per cause and submission.
    pub(super) fn strike(
        &mut self,
        validator: Hotkey,
        submission: SubmissionId,
        cause: StrikeCause,
        out: &mut Outcome,
    ) {
        if self.strikes.contains_key(&(validator, submission, cause)) {
            return;
        }
        let theirs = self.receipts.of_submission(submission).map(|row| &row.receipt.evidence);
        let evidence: Vec<Digest> = theirs.map(Evidence::digest).collect();
        let block = self.view.as_ref().map(|view| view.number).unwrap_or_default();
        let row = StrikeRow { validator, submission, cause, evidence, block };
        out.note(Note::Strike { validator, submission, cause: cause.name().to_owned() });
        out.put(Row::Strike(row.clone()));
        self.strikes.insert((validator, submission, cause), row);
        if self.is_struck_out(&validator) {
            // What waited for it is planned without it, by the next tick at the latest.
            self.touch_all();
        }
    }

    /// Whether a validator is not asked again to evaluate this submission: it broke a seal of it,
    /// or said two things.
    pub(super) fn is_barred(&self, validator: &Hotkey, id: &SubmissionId) -> bool {
        [StrikeCause::BrokeSeal, StrikeCause::Equivocated]
            .iter()
            .any(|cause| self.strikes.contains_key(&(*validator, *id, *cause)))
    }

    /// Whether a validator did too much lately that it should not have done.
    pub(super) fn is_struck_out(&self, validator: &Hotkey) -> bool {
        let Some(view) = &self.view else { return false };
        if self.strikes.len() < STRIKES_MAX {
            return false;
        }
        let first = SubmissionId([0; 32]);
        let theirs = self
            .strikes
            .range((*validator, first, StrikeCause::StoodAlone)..)
            .take_while(|((hotkey, _, _), _)| hotkey == validator)
            .filter(|(_, row)| counts_at(view.number, row));
        theirs.count() >= STRIKES_MAX
    }

    /// The submissions that are evaluated as of this view.
    fn asked_for(&self, view: &ChainView) -> BTreeSet<SubmissionId> {
        let shown: BTreeSet<(Hotkey, BlockNumber)> =
            view.commitments.iter().map(|record| (record.hotkey, record.block)).collect();
        let miners: BTreeSet<Hotkey> = view.neurons.iter().map(|neuron| neuron.hotkey).collect();
        let span = BlockCount(self.config.policy.recommit_blocks);
        // A miner's newer commitment replaces the one before only when the policy allows another,
        // and takes no place from it in a tier that it has entered.
        let is_competing = |s: &Submission| {
            let is_first = view.number < s.committed_at.plus(span);
            miners.contains(&s.hotkey) && (is_first || self.is_in_later_tier(s, view.number))
        };
        let is_asked_for = |s: &&Submission| {
            shown.contains(&(s.hotkey, s.committed_at)) || self.is_measure(&s.id) || is_competing(s)
        };
        self.submissions.values().filter(is_asked_for).map(|s| s.id).collect()
    }

    /// Notices which submissions are no longer evaluated, and forgets what has not been for long.
    pub(super) fn retire(&mut self, out: &mut Outcome) {
        let Some(view) = &self.view else { return };
        let number = view.number;
        let current = self.asked_for(view);
        // What an endpoint that lags did not show when it was planned is planned again.
        let again = current.difference(&self.current);
        let again = again.filter_map(|id| self.submissions.get(id));
        let again: Vec<Trial> = again.flat_map(|s| self.trials_of(s)).collect();
        self.to_settle.extend(again);
        self.current = current;
        self.retired.retain(|id| !self.current.contains(id));
        self.note_who_left(number, out);
        let mut over = self.long_gone(number);
        if !over.is_empty() {
            // What is paid stays explained.
            let paid = self.paid_champions();
            for id in over.extract_if(.., |id| paid.contains(id)) {
                // Looked at again when it would have been forgotten next.
                self.paid_at.insert(id, number);
            }
        }
        let writes_before = out.writes.len();
        for id in over {
            if out.writes.len().saturating_sub(writes_before) > FROZEN_PER_BLOCK_MAX {
                break;
            }
            self.forget_evaluation(id, out);
        }
        let receipts = &self.receipts;
        self.strikes.retain(|_, row| {
            // As long as what it is for is there, it would be written down anew.
            let is_kept =
                counts_at(number, row) || receipts.of_submission(row.submission).next().is_some();
            if !is_kept {
                let row = Row::Strike(row.clone());
                out.writes.push(Write::Delete(Table::Strikes, row.key()));
            }
            is_kept
        });
        let counted = self.strikes().count();
        if counted < std::mem::replace(&mut self.strikes_counted, counted) {
            self.touch_all();
        }
    }

    /// Writes down since when a submission is not asked for, and of one that is again, that it is.
    fn note_who_left(&mut self, number: BlockNumber, out: &mut Outcome) {
        let current = &self.current;
        let left_at = |one: &Submission| match current.contains(&one.id) {
            true => None,
            false => one.left_at.or(Some(number)),
        };
        let has_changed = |one: &&mut Submission| one.left_at != left_at(one);
        // The others follow at the next block.
        for one in self.submissions.values_mut().filter(has_changed).take(FROZEN_PER_BLOCK_MAX) {
            one.left_at = left_at(one);
            // Those of the challenge itself are no rows.
            if !self.references.iter().any(|(id, _)| *id == one.id) {
                out.put(Row::Submission(one.clone()));
            }
        }
        self.paid_at.retain(|id, _| !self.current.contains(id));
    }

    /// Submissions that are not asked for since long, and whose evaluation is still here.
    fn long_gone(&self, number: BlockNumber) -> Vec<SubmissionId> {
        let is_long_gone = |one: &&Submission| {
            let since = one.left_at.max(self.paid_at.get(&one.id).copied());
            since.is_some_and(|since| number.since(since) > BlockCount(RETENTION_BLOCKS))
        };
        let gone = self.submissions.values().filter(is_long_gone).map(|one| one.id);
        gone.filter(|id| !self.retired.contains(id)).collect()
    }

    fn forget_evaluation(&mut self, id: SubmissionId, out: &mut Outcome) {
        self.retired.insert(id);
        self.duties.forget(&id);
        let own = self.config.hotkey;
        let trials = Trial::all_of(id);
        self.pending.retain(|trial, _| trial.submission != id);
        let receipts = self.receipts.remove(id);
        if receipts.iter().any(|row| row.receipt.evidence.coordinator == own) {
            // Or their numbers would be given again after the next start, and nobody would read
            // what has them.
            let after = self.next_sequence.saturating_sub(1);
            out.put(Row::Cursor(CursorRow { peer: own, after }));
        }
        let mut rows: Vec<Row> =
            receipts.into_iter().map(|row| Row::Receipt(Box::new(row))).collect();
        let evaluated: Vec<Trial> =
            self.evaluations.range(trials.clone()).map(|(trial, _)| *trial).collect();
        for trial in evaluated {
            let Some(evaluation) = self.evaluations.remove(&trial) else { continue };
            for record in evaluation.replicas() {
                let assignment = &record.row().assignment;
                self.queue.remove(&(trial, assignment.replica));
                self.replica_of.remove(&assignment.id);
                rows.push(Row::Lease(Box::new(record.row().clone())));
            }
        }
        let measured: Vec<Trial> =
            self.measurements.range(trials).map(|(trial, _)| *trial).collect();
        let measured = measured.iter().filter_map(|trial| self.measurements.remove(trial));
        rows.extend(measured.map(|row| Row::Measurement(Box::new(row))));
        self.put_away(id, EVALUATION_PART, rows, out);
    }

    /// Takes rows of a submission out of what a start reads, and keeps them in the freezer.
    ///
    /// - `first`: the number of the first part: one of [`EVALUATION_PART`] and [`FORGOTTEN_PART`].
    pub(super) fn put_away(&self, id: SubmissionId, first: u16, rows: Vec<Row>, out: &mut Outcome) {
        if rows.is_empty() {
            return;
        }
        let delete = |row: &Row| Write::Delete(row.table(), row.key());
        out.writes.extend(rows.iter().map(delete));
        // With what explains them, which stays for longer.
        let submission = self.submissions.get(&id).cloned().map(Row::Submission);
        let decided = self.outcomes.range(Trial::all_of(id)).map(|(_, row)| row.clone());
        let mut rows = submission.into_iter().chain(decided.map(Row::Outcome)).chain(rows);
        let at = self.view.as_ref().map(|view| view.number).unwrap_or_default();
        for part in first.. {
            let rows: Vec<Row> = rows.by_ref().take(FROZEN_ROWS_MAX).collect();
            if rows.is_empty() {
                return;
            }
            let frozen = Frozen { submission: id, at, part, rows };
            out.writes.push(Write::Freeze(Box::new(frozen)));
        }
    }
}
