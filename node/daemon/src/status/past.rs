//! What is told of a submission that was put away.

use node_core::evidence::Evidence;
use node_core::id::{Hotkey, SubmissionId};
use node_core::lease::Explanation;
use node_core::machine::past::Past;
use node_core::policy::FunnelRules;
use node_core::round::Verdict;
use node_core::rows::{OutcomeRow, ReceiptRow, ReceiptStanding};
use node_core::unit::BlockNumber;
use serde::{Deserialize, Serialize};

use super::age::grouped;
use super::describe::submission_status;
use super::funnel::unit_status;
use super::report::{ReceiptStatus, SubmissionStatus};
use crate::freezer::Thawed;

/// What was put away of a submission; the answer of `GET /frozen/{submission}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenStatus {
    /// Which.
    pub submission: SubmissionId,
    /// The finalized block at which that happened, the last time; `None` if it never did.
    pub at: Option<BlockNumber>,
    /// The receipts, in the order in which they were put away.
    pub receipts: Vec<ReceiptStatus>,
    /// The submission as it was then; `None` if nothing was put away. A report that lists it is
    /// newer.
    #[serde(default)]
    pub known: Option<SubmissionStatus>,
    /// How its last decided trial stood then.
    #[serde(default)]
    pub explanation: Option<Explanation>,
    /// What was decided in its trials, in their order.
    #[serde(default)]
    pub outcomes: Vec<OutcomeStatus>,
}

/// What was decided in a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeStatus {
    /// Stage of the funnel.
    pub tier: u8,
    /// Which of its units.
    pub unit: u8,
    /// What, in words.
    pub verdict: String,
    /// The score, if it has one.
    pub points: Option<u64>,
    /// By whose result; `None` if by nobody's.
    pub worker: Option<Hotkey>,
    /// The finalized block at which this node decided it.
    pub decided_at: BlockNumber,
}

impl FrozenStatus {
    pub(crate) fn of(submission: SubmissionId, thawed: &Thawed) -> Self {
        let past = thawed.submission.as_ref();
        let outcomes = past.into_iter().flat_map(|past| &past.account.outcomes);
        Self {
            submission,
            at: thawed.at,
            receipts: thawed.receipts.iter().map(ReceiptStatus::of).collect(),
            known: past.map(|past| past.row.clone()),
            explanation: past.map(|past| past.account.explanation.clone()),
            outcomes: outcomes.map(OutcomeStatus::of).collect(),
        }
    }
}

impl OutcomeStatus {
    fn of(row: &OutcomeRow) -> Self {
        let points = match &row.verdict {
            Verdict::Scored { points } => Some(*points),
            Verdict::Failed { .. } | Verdict::Disputed => None,
        };
        Self {
            tier: row.trial.tier,
            unit: row.trial.unit,
            verdict: decided(&row.verdict),
            points,
            worker: row.worker,
            decided_at: row.decided_at,
        }
    }
}

impl SubmissionStatus {
    /// As a report would have it, without what only the present knows: its miner's uid, and what
    /// becomes of it in the funnel.
    ///
    /// - `receipts`: all that were put away of it.
    /// - `rules`: of the policy that holds.
    pub(crate) fn of_past(past: &Past, receipts: &[ReceiptRow], rules: &FunnelRules) -> Self {
        let counting = receipts.iter().filter(|row| row.standing == ReceiptStanding::Counts);
        let evidence: Option<&Evidence> = counting.map(|row| &row.receipt.evidence).next_back();
        let results = past.unit_results(rules, receipts);
        let reaches_later = results.iter().any(|result| result.tier > 1);
        let units = results.into_iter().filter(|_| reaches_later).map(unit_status).collect();
        Self { units, ..submission_status(&past.account.submission, evidence, None) }
    }
}

/// A verdict in words.
pub(crate) fn decided(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Scored { points } => format!("scored: {} points", grouped(*points)),
        Verdict::Failed { ending } => format!("failed: {ending}"),
        Verdict::Disputed => "disputed".to_owned(),
    }
}
