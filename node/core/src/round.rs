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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commitment::Location;
    use crate::evidence::Metrics;
    use crate::id::{Attempt, ContentDigest, LeaseId, RunId, Signature};
    use crate::submission::Submission;
    use crate::unit::{BlockNumber, UnixMs};

    const FIRST: Hotkey = Hotkey([1; 32]);
    const SECOND: Hotkey = Hotkey([2; 32]);
    const WORKER: Hotkey = Hotkey([3; 32]);
    const DATASET: Digest = Digest([6; 32]);
    const GENESIS: BlockHash = BlockHash([0; 32]);

    fn assignment() -> Assignment {
        let submission = Submission::committed(
            Hotkey([9; 32]),
            BlockNumber(1),
            ContentDigest([4; 32]),
            Location::Peers,
            BlockHash([5; 32]),
        );
        Assignment::derive(&submission, 1, 0, Digest([7; 32]))
    }

    fn metrics(sum_nll_nanonats: u64) -> Metrics {
        Metrics {
            sum_nll_nanonats,
            covered_bytes: 200_000,
            tokens: 200_000,
            batches: 195,
            bad_batches: 0,
            audits: 5,
            step0_loss_nanonats: 5_545_177_444,
            vocabulary: 256,
            heldout_init_nanobpb: 8_000_000_000,
            heldout_nanobpb: 2_000_000_000,
            last_tenth_nanobpb: 2_000_000_000,
            parameters: 1000,
            peak_memory_bytes: 0,
            loss_curve_microbpb: Vec::new(),
        }
    }

    fn evidence() -> Evidence {
        let assignment = assignment();
        Evidence {
            genesis: GENESIS,
            netuid: Netuid(1),
            assignment: assignment.id,
            submission: assignment.submission,
            content: assignment.content,
            lease: LeaseId([8; 32]),
            attempt: Attempt(1),
            run: RunId([8; 32]),
            coordinator: FIRST,
            worker: WORKER,
            policy: assignment.policy,
            dataset: DATASET,
            image: Digest([0; 32]),
            device: "cpu_slot (one CPU)".to_owned(),
            ending: Ending::Completed,
            metrics: Some(metrics(400_000_000_000_000)),
            started_at: UnixMs(1),
            ended_at: UnixMs(2),
        }
    }

    fn check(change: impl Fn(&mut Evidence)) -> Result<(), EvidenceRejected> {
        let assignment = assignment();
        let expected = Expected {
            genesis: GENESIS,
            netuid: Netuid(1),
            assignment: &assignment,
            dataset: DATASET,
        };
        let mut evidence = evidence();
        change(&mut evidence);
        check_evidence(&expected, &evidence)
    }

    fn receipt(change: impl Fn(&mut Evidence)) -> Receipt {
        let mut evidence = evidence();
        change(&mut evidence);
        Receipt { evidence, signature: Signature([0; 64]) }
    }

    #[test]
    fn evidence_for_what_was_expected_passes_and_each_difference_has_its_name() {
        use EvidenceRejected as Rejected;
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|e| e.genesis.0[0] ^= 1), Err(Rejected::OtherChain));
        assert_eq!(check(|e| e.netuid.0 ^= 1), Err(Rejected::OtherChain));
        assert_eq!(check(|e| e.assignment.0[0] ^= 1), Err(Rejected::OtherAssignment));
        assert_eq!(check(|e| e.submission.0[0] ^= 1), Err(Rejected::OtherAssignment));
        assert_eq!(check(|e| e.content.0[0] ^= 1), Err(Rejected::OtherAssignment));
        let policy = check(|e| e.policy.0[0] ^= 1);
        assert!(matches!(policy, Err(Rejected::PolicyMismatch { .. })));
        let dataset = check(|e| e.dataset.0[0] ^= 1);
        assert!(matches!(dataset, Err(Rejected::DatasetMismatch { .. })));
    }

    #[test]
    fn metrics_and_a_completed_run_come_together_or_not_at_all() {
        let empty = Err(EvidenceRejected::Empty);
        assert_eq!(check(|e| e.metrics = None), empty);
        assert_eq!(check(|e| e.ending = Ending::OutOfMemory), empty);
        assert_eq!(
            check(|e| {
                e.ending = Ending::OutOfMemory;
                e.metrics = None;
            }),
            Ok(())
        );
        for ending in [Ending::LeaseLost, Ending::ImageMissing, Ending::Stopped] {
            assert_eq!(check(|e| e.ending = ending.clone()), empty, "with metrics");
            let is_no_result = check(|e| {
                e.ending = ending.clone();
                e.metrics = None;
            });
            assert_eq!(is_no_result, empty, "a fault of the machine is no result");
        }
    }

    #[test]
    fn the_coordinator_that_ranks_first_decides_whatever_came_first() {
        let first = receipt(|e| e.metrics = Some(metrics(300_000_000_000_000)));
        let second = receipt(|e| e.coordinator = SECOND);
        let ranked = [FIRST, SECOND];
        for receipts in [[&first, &second], [&second, &first]] {
            let (deciding, verdict) = settle(&ranked, receipts.into_iter()).unwrap();
            assert_eq!(deciding, &first);
            assert!(matches!(verdict, Verdict::Scored { points: 1.. }));
        }
        let unranked = receipt(|e| e.coordinator = Hotkey([77; 32]));
        let (deciding, _) = settle(&ranked, [&unranked, &second].into_iter()).unwrap();
        assert_eq!(deciding, &second, "who does not coordinate ranks last");
    }

    #[test]
    fn of_one_coordinator_the_latest_attempt_decides() {
        let old = receipt(|_| {});
        let new = receipt(|e| e.attempt = Attempt(2));
        for receipts in [[&old, &new], [&new, &old]] {
            assert_eq!(settle(&[FIRST], receipts.into_iter()).unwrap().0, &new);
        }
    }

    #[test]
    fn a_failed_run_settles_without_points_and_no_receipt_settles_nothing() {
        let failed = receipt(|e| {
            e.ending = Ending::NotCausal { batch: 1 };
            e.metrics = None;
        });
        let (_, verdict) = settle(&[FIRST], [&failed].into_iter()).unwrap();
        assert_eq!(verdict, Verdict::Failed { ending: Ending::NotCausal { batch: 1 } });
        assert_eq!(settle(&[FIRST], std::iter::empty()), None);
        let impossible = receipt(|e| e.metrics = Some(metrics(0)));
        let (_, verdict) = settle(&[FIRST], [&impossible].into_iter()).unwrap();
        let Verdict::Failed { ending: Ending::ContractViolated { .. } } = verdict else {
            panic!("a loss of zero is not a score: {verdict:?}");
        };
    }
}
