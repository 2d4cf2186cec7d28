//! When is an assignment settled, and by which receipt? Every validator answers for itself.
//!
//! A receipt counts only if it is for exactly what this validator derived from the chain: the
//! same assignment, content, policy and data set, granted by a validator, run by a validator.
//! First form: one replica. Sealing, agreement and strikes between replicas are not here yet.

use crate::assignment::Assignment;
use crate::evidence::{Evidence, Receipt};
use crate::id::{BlockHash, Digest, Hotkey, Netuid};
use crate::outcome::{Ending, Fault};
use crate::points::points;
use crate::view::ChainView;

/// What a receipt is compared with: facts that this validator derived itself.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The chain.
    pub genesis: BlockHash,
    /// The subnet.
    pub netuid: Netuid,
    /// The assignment.
    pub assignment: &'a Assignment,
    /// The data set.
    pub dataset: Digest,
}

/// Why a receipt does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceRejected {
    /// It belongs to another chain or subnet.
    #[error("the receipt is for another chain or subnet")]
    OtherChain,
    /// It is about another assignment, submission or content.
    #[error("the receipt is for another assignment")]
    OtherAssignment,
    /// It was measured by other rules.
    #[error("the receipt was made under policy {got}, not {expected}")]
    PolicyMismatch {
        /// Ours.
        expected: Digest,
        /// Its.
        got: Digest,
    },
    /// It was measured on other data.
    #[error("the receipt was made with data set {got}, not {expected}")]
    DatasetMismatch {
        /// Ours.
        expected: Digest,
        /// Its.
        got: Digest,
    },
    /// It has metrics without success or success without metrics, or its ending is no result.
    #[error("the receipt has no result")]
    Empty,
    /// Its worker or coordinator is not a validator.
    #[error("{hotkey} is not a validator of the subnet")]
    NotAValidator {
        /// Who.
        hotkey: Hotkey,
    },
}

/// Compares evidence with what this validator expects.
///
/// # Errors
///
/// The first difference, cheap ones first.
pub fn check_evidence(
    expected: &Expected<'_>,
    evidence: &Evidence,
) -> Result<(), EvidenceRejected> {
    if evidence.genesis != expected.genesis || evidence.netuid != expected.netuid {
        return Err(EvidenceRejected::OtherChain);
    }
    let assignment = expected.assignment;
    let is_same = evidence.assignment == assignment.id
        && evidence.submission == assignment.submission
        && evidence.content == assignment.content;
    if !is_same {
        return Err(EvidenceRejected::OtherAssignment);
    }
    if evidence.policy != assignment.policy {
        return Err(EvidenceRejected::PolicyMismatch {
            expected: assignment.policy,
            got: evidence.policy,
        });
    }
    if evidence.dataset != expected.dataset {
        return Err(EvidenceRejected::DatasetMismatch {
            expected: expected.dataset,
            got: evidence.dataset,
        });
    }
    let has_result = match evidence.ending.fault() {
        Fault::None => evidence.metrics.is_some(),
        Fault::Submission => evidence.metrics.is_none(),
        Fault::Infrastructure | Fault::Worker => false,
    };
    if has_result {
        Ok(())
    } else {
        Err(EvidenceRejected::Empty)
    }
}

/// Checks that those who signed and granted may do so in `view`.
///
/// # Errors
///
/// [`EvidenceRejected::NotAValidator`] with the one who may not.
pub fn check_parties(view: &ChainView, evidence: &Evidence) -> Result<(), EvidenceRejected> {
    for hotkey in [evidence.worker, evidence.coordinator] {
        if !view.is_validator(&hotkey) {
            return Err(EvidenceRejected::NotAValidator { hotkey });
        }
    }
    Ok(())
}

/// The result of a settled assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has a score.
    Scored {
        /// Larger is better.
        points: u64,
    },
    /// It has none, by its own fault.
    Failed {
        /// How its run ended.
        ending: Ending,
    },
}

/// Settles an assignment from receipts that passed [`check_evidence`] and [`check_parties`].
///
/// Where several coordinators accepted a receipt (one took over from another), the one that ranks
/// first decides, and of its receipts the latest attempt: every validator that has the same
/// receipts chooses the same one.
#[must_use]
pub fn settle<'a>(
    coordinators: &[Hotkey],
    receipts: impl Iterator<Item = &'a Receipt>,
) -> Option<(&'a Receipt, Verdict)> {
    let rank = |hotkey: &Hotkey| coordinators.iter().position(|ranked| ranked == hotkey);
    let deciding = receipts.min_by_key(|receipt| {
        let evidence = &receipt.evidence;
        let place = rank(&evidence.coordinator).unwrap_or(usize::MAX);
        (place, std::cmp::Reverse(evidence.attempt), evidence.worker)
    })?;
    let evidence = &deciding.evidence;
    let verdict = match evidence.metrics.as_ref().map(points) {
        Some(Ok(points)) => Verdict::Scored { points },
        Some(Err(not_scored)) => {
            Verdict::Failed { ending: Ending::ContractViolated { detail: not_scored.to_string() } }
        }
        None => Verdict::Failed { ending: evidence.ending.clone() },
    };
    Some((deciding, verdict))
}
