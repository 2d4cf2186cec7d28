//! A submission that the machine knows nothing of any more, from what was put away of it.
//!
//! Several records may hold the same row, as it was at different times: the newest one counts.
//! Not here: what is put away, and when (`settle`), and where it is kept (`node-store`).

use std::collections::{BTreeMap, BTreeSet};

use crate::admission::{Rejection, Verdict};
use crate::funnel::{tier_state, MemberState, Passage, ProjectKind};
use crate::id::Hotkey;
use crate::lease::{Explanation, LeaseRow};
use crate::lease_record::LeaseRecord;
use crate::machine::account::{decisive_metrics, Account, Merit};
use crate::machine::coordinate::replica_standing;
use crate::machine::funnel::{unit_result, UnitResult};
use crate::policy::{FunnelRules, Policy, TierRules};
use crate::rows::{Frozen, OutcomeRow, ReceiptRow, ReceiptStanding, ReviewRow, Row, VerdictRow};
use crate::submission::{Submission, SubmissionState};
use crate::trial::Trial;
use crate::unit::MonoMs;

/// What is known of a submission that was put away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// All that was known of it; its place is the one that its window was closed with. Its
    /// explanation requires no result: nobody waits for one.
    pub account: Account,
    /// What it competed with; `None` if it was judged by other rules than those that hold.
    kind: Option<ProjectKind>,
}

impl Past {
    /// Puts together what was put away; `None` if that is nothing, or does not name it.
    ///
    /// Its merit is that of the latest tier in which it has a score. Of one that was judged by
    /// other rules than `policy` it is that of the first tier: which units make up a later one is
    /// not known then.
    ///
    /// - `records`: all of one submission, the oldest first.
    /// - `policy`: the rules that hold.
    #[must_use]
    pub fn of(records: &[Frozen], policy: &Policy) -> Option<Self> {
        let newest = Newest::of(records);
        let submission = newest.submission?.clone();
        let digest = policy.digest();
        let judged = newest.verdicts.iter().rev().find(|row| row.policy == digest);
        let kind = judged.map(|row| kind_of(&row.verdict));
        let later = kind.and_then(|kind| newest.merit(&policy.scoring.funnel, kind));
        let merit = later.or_else(|| first_merit(&submission));
        let outcomes: Vec<OutcomeRow> = newest.outcomes.values().copied().cloned().collect();
        let verdict = judged.or(newest.verdicts.last());
        let account = Account {
            explanation: newest.explanation(&submission),
            metrics: decisive_metrics(merit, &outcomes, newest.receipts.iter().copied()),
            outcomes,
            merit,
            place: last_place(&submission),
            flags: verdict.map(|row| flags_of(&row.verdict)).unwrap_or_default(),
            review: newest.review.map(|row| (row.model.clone(), row.review.clone())),
            submission,
        };
        Some(Self { account, kind })
    }

    /// What was decided in its units, tier by tier; empty for one that was judged by other rules
    /// than those that hold.
    ///
    /// - `rules`: of the policy by which [`Past::of`] was asked.
    /// - `receipts`: those that were put away of it, in any order.
    #[must_use]
    pub fn unit_results<'a>(
        &'a self,
        rules: &FunnelRules,
        receipts: &'a [ReceiptRow],
    ) -> Vec<UnitResult<'a>> {
        let Some(kind) = self.kind else { return Vec::new() };
        let result = |row: &'a OutcomeRow| {
            let evidence = receipts.iter().filter(|receipt| counts_for(receipt, &row.trial));
            unit_result(rules, kind, row, evidence.map(|receipt| &receipt.receipt.evidence))
        };
        self.account.outcomes.iter().filter_map(result).collect()
    }
}

/// The last tier that it entered, and what became of it there.
fn last_place(submission: &Submission) -> Option<(u8, Passage)> {
    let tiers = submission.tiers.as_deref()?;
    Some((u8::try_from(tiers.len()).ok()?, tiers.last()?.passage))
}

/// The newest row of each kind.
#[derive(Debug, Default)]
struct Newest<'a> {
    submission: Option<&'a Submission>,
    outcomes: BTreeMap<Trial, &'a OutcomeRow>,
    /// All of them, the newest last: rules may have changed.
    verdicts: Vec<&'a VerdictRow>,
    review: Option<&'a ReviewRow>,
    /// By trial and replica.
    leases: BTreeMap<(Trial, u8), &'a LeaseRow>,
    /// All of them.
    receipts: Vec<&'a ReceiptRow>,
}

impl<'a> Newest<'a> {
    fn of(records: &'a [Frozen]) -> Self {
        let mut newest = Self::default();
        for row in records.iter().flat_map(|record| &record.rows) {
            newest.take(row);
        }
        newest
    }

    fn take(&mut self, row: &'a Row) {
        match row {
            Row::Submission(row) => self.submission = Some(row),
            Row::Outcome(row) => {
                self.outcomes.insert(row.trial, row);
            }
            Row::Verdict(row) => self.verdicts.push(row),
            Row::Review(row) => self.review = Some(row),
            Row::Lease(row) => {
                self.leases.insert((row.assignment.trial(), row.assignment.replica), row);
            }
            Row::Receipt(row) => self.receipts.push(row),
            // A result of this node's is among the receipts, if it came to one.
            Row::Measurement(_)
            | Row::Run(_)
            | Row::Intent(_)
            | Row::Cursor(_)
            | Row::Strike(_)
            | Row::Device(_)
            | Row::Family(_)
            | Row::Horizon(_) => {}
        }
    }

    /// Its points in the latest tier in which it has some, as for one that is known.
    fn merit(&self, rules: &FunnelRules, kind: ProjectKind) -> Option<Merit> {
        let submission = self.submission?.id;
        let scored = |(tier, rules): (u8, &TierRules)| {
            let verdict_of = |unit| {
                let trial = Trial { submission, tier, unit };
                self.outcomes.get(&trial).map(|row| &row.verdict)
            };
            match tier_state(rules, kind, verdict_of) {
                MemberState::Scored { points } => Some(Merit { tier, points }),
                MemberState::Missing | MemberState::Failed => None,
            }
        };
        (1_u8..).zip(&rules.tiers).filter_map(scored).last()
    }

    /// How its last decided trial stood.
    fn explanation(&self, submission: &Submission) -> Explanation {
        let last = self.outcomes.keys().next_back().copied();
        let trial = last.unwrap_or_else(|| Trial::first(submission.id));
        let counting = self.receipts.iter().filter(|row| counts_for(row, &trial));
        let claims: BTreeSet<Hotkey> = counting.map(|row| row.receipt.evidence.worker).collect();
        let leases = self.leases.range((trial, 0)..=(trial, u8::MAX));
        // Nothing of it runs any more, so its clocks say nothing.
        let record = |row: &LeaseRow| LeaseRecord::resume(row.clone(), 0, MonoMs(0));
        Explanation {
            summary: crate::limits::clip_detail(&submission.state.to_string()),
            replicas: leases.map(|(_, row)| replica_standing(&record(row))).collect(),
            claims: claims.into_iter().collect(),
            required: 0,
        }
    }
}

fn counts_for(row: &ReceiptRow, trial: &Trial) -> bool {
    row.standing == ReceiptStanding::Counts && row.receipt.evidence.trial() == *trial
}

fn kind_of(verdict: &Verdict) -> ProjectKind {
    match verdict {
        Verdict::Admitted { brings, .. } => brings.kind,
        Verdict::Rejected { .. } => ProjectKind::default(),
    }
}

fn flags_of(verdict: &Verdict) -> Vec<Rejection> {
    match verdict {
        Verdict::Admitted { flags, .. } => flags.clone(),
        Verdict::Rejected { .. } => Vec::new(),
    }
}

/// What the first trial says is what a submission's state says.
fn first_merit(submission: &Submission) -> Option<Merit> {
    let SubmissionState::Scored { points } = submission.state else { return None };
    Some(Merit { tier: 1, points })
}

#[cfg(test)]
mod tests;
