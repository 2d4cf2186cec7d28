//! When is an evaluation settled, and with which result? Every validator answers for itself.
//!
//! A receipt counts only if it is for exactly what this validator derived from the chain: the
//! same assignment, content, policy and data set, run by a validator. Leases decide nothing here:
//! whichever coordinator accepted them, each worker has one claim, and claims that agree decide.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::Assignment;
use crate::evidence::{Evidence, Receipt};
use crate::id::{BlockHash, Digest, Hotkey, Netuid};
use crate::limits::REPLICAS_MAX;
use crate::outcome::{Ending, Fault};
use crate::points::{nanobits_per_byte, points};
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
    /// Its worker is not a validator.
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

/// Checks that who signed may evaluate in `view`. Who granted does not matter: leases decide
/// nothing.
///
/// # Errors
///
/// [`EvidenceRejected::NotAValidator`] with the worker.
pub fn check_worker(view: &ChainView, evidence: &Evidence) -> Result<(), EvidenceRejected> {
    let hotkey = evidence.worker;
    if view.is_validator(&hotkey) {
        Ok(())
    } else {
        Err(EvidenceRejected::NotAValidator { hotkey })
    }
}

/// The result of a settled evaluation.
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
    /// Validators measured different things, and nobody is left to ask.
    Disputed,
}

/// Who has to agree before this node believes a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jury {
    /// Replicas that the policy asks for.
    pub wanted: usize,
    /// Validators that can still evaluate, or have.
    pub eligible: BTreeSet<Hotkey>,
    /// Largest difference of two results that agree, in 1e-9 bits per byte.
    pub tolerance_nanobpb: u64,
    /// This node, if it can evaluate itself.
    pub own: Option<Hotkey>,
}

impl Jury {
    /// How many have to agree.
    #[must_use]
    pub fn required(&self) -> usize {
        self.wanted.min(self.eligible.len()).max(1)
    }

    /// How many claims there can be at most.
    fn most(&self) -> usize {
        self.eligible.len().min(REPLICAS_MAX)
    }

    fn without(&self, others: &BTreeSet<Hotkey>) -> Self {
        let eligible = self.eligible.difference(others).copied().collect();
        Self { eligible, ..*self }
    }
}

/// How the receipts of one evaluation stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Those who are not asked (again): workers with a claim, and those of whom a claim would say
    /// nothing new.
    pub claimants: BTreeSet<Hotkey>,
    /// Workers whose receipts say different things. None of them counts.
    pub equivocal: BTreeSet<Hotkey>,
    /// What was decided, if anything.
    pub decision: Option<Decision>,
    /// How many claimants are needed in all, more than there are unless it is decided.
    pub needed: usize,
    /// Only this node's own result is missing, which counts for nobody else: others may not offer
    /// it to run it any more.
    pub for_itself: bool,
}

/// A decided evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it means.
    pub verdict: Verdict,
    /// The worker whose result decides; `None` if nobody's does.
    pub worker: Option<Hotkey>,
    /// Workers that stand alone against those who agree.
    pub alone: BTreeSet<Hotkey>,
}

/// What one worker says, reduced to what can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    /// It failed by the submission's fault.
    Failed,
    /// It was measured; bits per byte in units of 1e-9.
    Measured(u64),
}

#[derive(Clone, Copy)]
struct Claim<'a> {
    finding: Finding,
    worker: Hotkey,
    evidence: &'a Evidence,
}

/// Settles an evaluation from receipts for it that passed [`check_evidence`] and whose workers may
/// evaluate. The order of the receipts changes nothing, so whoever has the same ones and asks the
/// same validators gets the same.
///
/// A coordinator that was shown a result before it had fixed its own is *informed*: its own result
/// may be a copy. It is asked, and counts, only where nobody else is left to ask.
#[must_use]
pub fn settle<'a>(jury: &Jury, receipts: impl Iterator<Item = &'a Receipt>) -> Standing {
    let mut receipts: Vec<&Receipt> = receipts.collect();
    let (claims, equivocal) = claims(&receipts);
    // Who says two things cannot be asked either, and says nothing about others.
    let all = jury.without(&equivocal);
    receipts.retain(|receipt| !equivocal.contains(&receipt.evidence.worker));
    let informed = informed(&receipts);
    let (seen, independent): (Vec<Claim<'_>>, Vec<Claim<'_>>) =
        claims.iter().partition(|claim| informed.contains(&claim.worker));
    let others = all.without(&informed);
    let agreed = |is_own_needed| {
        decided(&others, &independent, &seen, is_own_needed)
            .map(|group| decide(jury, &group, &informed, &claims))
    };
    // Where fewer agree because some are informed, those are asked first: or who has its own result
    // would believe it and ask nobody, and the informed ones would wait for ever to be asked.
    let is_short = others.required() < all.required();
    let decision = if is_short { None } else { agreed(false) };
    let claimants = BTreeSet::new();
    let standing = Standing { claimants, equivocal, decision, needed: 0, for_itself: false };
    if standing.decision.is_some() || independent.len() < others.most() {
        let claimants = independent.iter().map(|claim| claim.worker).chain(informed).collect();
        return needing(standing, claimants, &independent, &others);
    }
    let claimants = claims.iter().map(|claim| claim.worker).collect();
    let is_over = claims.len() >= all.most() && !claims.is_empty();
    let last = || agreed(is_short).unwrap_or_else(|| decide_alone(&all, &claims));
    let decision = decided(&all, &claims, &[], false)
        .map(|group| decide(jury, &group, &informed, &claims))
        .or_else(|| is_over.then(last));
    let is_missing =
        |own: Hotkey| informed.contains(&own) && claims.iter().all(|claim| claim.worker != own);
    let for_itself = decision.is_none() && jury.own.is_some_and(is_missing);
    needing(Standing { decision, for_itself, ..standing }, claimants, &claims, &all)
}

/// Completes a standing: of those who are asked, so many are needed as make a decision possible.
fn needing(
    standing: Standing,
    claimants: BTreeSet<Hotkey>,
    claims: &[Claim<'_>],
    jury: &Jury,
) -> Standing {
    let more = jury.required().saturating_sub(claims.len()).max(1);
    let more = if standing.decision.is_some() { 0 } else { more };
    let needed = claimants.len().saturating_add(more);
    Standing { claimants, needed, ..standing }
}

/// Those who agree, if they are enough.
///
/// - `seen`: claims that may be copies. One that says otherwise is none, and stands against them.
fn decided<'a>(
    jury: &Jury,
    claims: &[Claim<'a>],
    seen: &[Claim<'a>],
    is_own_needed: bool,
) -> Option<Vec<Claim<'a>>> {
    let group = agreeing(claims, jury.tolerance_nanobpb);
    let against = seen.iter().filter(|claim| !agrees_with(jury, group, claim)).count();
    let is_most = group.len().saturating_mul(2) > claims.len().saturating_add(against);
    let is_enough = group.len() >= jury.required() && is_most;
    // Nobody is believed only because others cannot be asked.
    let is_short = jury.required() < jury.wanted;
    let has_own = match jury.own {
        Some(own) => !is_short || group.iter().any(|claim| claim.worker == own),
        None => !is_own_needed,
    };
    (is_enough && has_own).then(|| group.to_vec())
}

/// Coordinators that were shown a result of somebody else before they had fixed their own.
fn informed(receipts: &[&Receipt]) -> BTreeSet<Hotkey> {
    let coordinators: BTreeSet<Hotkey> =
        receipts.iter().map(|receipt| receipt.evidence.coordinator).collect();
    let mut fixed: BTreeMap<Hotkey, BTreeSet<Digest>> = BTreeMap::new();
    for receipt in receipts {
        let evidence = &receipt.evidence;
        if !coordinators.contains(&evidence.worker) {
            continue;
        }
        fixed.entry(evidence.worker).or_default().insert(evidence.sealed());
    }
    let is_informed = |evidence: &&Evidence| {
        let theirs = fixed.get(&evidence.coordinator);
        let is_fixed = evidence
            .coordinator_sealed
            .is_some_and(|sealed| theirs.is_none_or(|theirs| theirs.contains(&sealed)));
        evidence.coordinator != evidence.worker && !is_fixed
    };
    let shown = receipts.iter().map(|receipt| &receipt.evidence).filter(is_informed);
    shown.map(|evidence| evidence.coordinator).collect()
}

/// One claim per worker, ordered by what was found; and those who said different things.
fn claims<'a>(receipts: &[&'a Receipt]) -> (Vec<Claim<'a>>, BTreeSet<Hotkey>) {
    let mut by_worker: BTreeMap<Hotkey, &Evidence> = BTreeMap::new();
    let mut equivocal = BTreeSet::new();
    for receipt in receipts {
        let evidence = &receipt.evidence;
        let known = *by_worker.entry(evidence.worker).or_insert(evidence);
        if !known.says_the_same(evidence) {
            equivocal.insert(evidence.worker);
        }
    }
    by_worker.retain(|worker, _| !equivocal.contains(worker));
    let mut claims: Vec<Claim<'_>> = by_worker
        .into_iter()
        .map(|(worker, evidence)| Claim { finding: finding(evidence), worker, evidence })
        .collect();
    claims.sort_unstable_by_key(|claim| (claim.finding, claim.worker));
    (claims, equivocal)
}

fn finding(evidence: &Evidence) -> Finding {
    let measured = evidence.metrics.as_ref().map(nanobits_per_byte);
    measured.and_then(Result::ok).map_or(Finding::Failed, Finding::Measured)
}

/// The largest run of claims in which any two agree; of several, the one that found least.
fn agreeing<'a, 'c>(claims: &'c [Claim<'a>], tolerance: u64) -> &'c [Claim<'a>] {
    let mut best: &[Claim<'a>] = &[];
    for (start, first) in claims.iter().enumerate() {
        let rest = claims.get(start..).unwrap_or_default();
        let is_with = |claim: &&Claim<'_>| agree(first.finding, claim.finding, tolerance);
        let run = rest.get(..rest.iter().take_while(is_with).count()).unwrap_or_default();
        if run.len() > best.len() {
            best = run;
        }
    }
    best
}

fn agree(one: Finding, other: Finding, tolerance: u64) -> bool {
    match (one, other) {
        (Finding::Failed, Finding::Failed) => true,
        (Finding::Measured(one), Finding::Measured(other)) => one.abs_diff(other) <= tolerance,
        (Finding::Failed, Finding::Measured(_)) | (Finding::Measured(_), Finding::Failed) => false,
    }
}

fn agrees_with(jury: &Jury, group: &[Claim<'_>], claim: &Claim<'_>) -> bool {
    group.iter().all(|one| agree(one.finding, claim.finding, jury.tolerance_nanobpb))
}

/// What a group decides: the lower median of those who did not see another result first, so that no
/// member can shift it by being extreme.
fn decide(
    jury: &Jury,
    group: &[Claim<'_>],
    informed: &BTreeSet<Hotkey>,
    claims: &[Claim<'_>],
) -> Decision {
    let members: BTreeSet<Hotkey> = group.iter().map(|claim| claim.worker).collect();
    let is_informed = |claim: &Claim<'_>| informed.contains(&claim.worker);
    let independent: Vec<Claim<'_>> =
        group.iter().filter(|claim| !is_informed(claim)).copied().collect();
    let counted = if independent.is_empty() { group } else { independent.as_slice() };
    let median = counted.get(counted.len().saturating_sub(1) / 2);
    // Whose result did not have to be counted stands alone only if it says otherwise.
    let stands_alone = |claim: &&Claim<'_>| {
        let is_uncounted = is_informed(claim) && agrees_with(jury, group, claim);
        !members.contains(&claim.worker) && !is_uncounted
    };
    Decision {
        verdict: median.map_or(Verdict::Disputed, |claim| verdict(claim.evidence)),
        worker: median.map(|claim| claim.worker),
        alone: claims.iter().filter(stands_alone).map(|claim| claim.worker).collect(),
    }
}

/// Nobody is left to ask: this node believes its own result, if it has one. Nobody gets a strike.
fn decide_alone(jury: &Jury, claims: &[Claim<'_>]) -> Decision {
    let own = claims.iter().find(|claim| Some(claim.worker) == jury.own);
    Decision {
        verdict: own.map_or(Verdict::Disputed, |claim| verdict(claim.evidence)),
        worker: own.map(|claim| claim.worker),
        alone: BTreeSet::new(),
    }
}

fn verdict(evidence: &Evidence) -> Verdict {
    match evidence.metrics.as_ref().map(points) {
        Some(Ok(points)) => Verdict::Scored { points },
        Some(Err(not_scored)) => {
            Verdict::Failed { ending: Ending::ContractViolated { detail: not_scored.to_string() } }
        }
        None => Verdict::Failed { ending: evidence.ending.clone() },
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commitment::Location;
    use crate::evidence::Metrics;
    use crate::id::{Attempt, ContentDigest, LeaseId, RunId, Salt, Signature};
    use crate::submission::Submission;
    use crate::unit::{BlockNumber, UnixMs};

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
            coordinator: WORKER,
            worker: WORKER,
            policy: assignment.policy,
            dataset: DATASET,
            image: Digest([0; 32]),
            device: "cpu_slot (one CPU)".to_owned(),
            ending: Ending::Completed,
            metrics: Some(metrics(400_000_000_000_000)),
            started_at: UnixMs(1),
            ended_at: UnixMs(2),
            salt: Salt([0; 32]),
            coordinator_sealed: None,
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

    fn claim(worker: u8, bpb_nano: u64) -> Receipt {
        receipt(|e| {
            (e.worker, e.coordinator) = (Hotkey([worker; 32]), Hotkey([worker; 32]));
            // 200,000 bytes; one nat is 1/ln 2 bits.
            let nll = u128::from(bpb_nano) * 200_000 * 693_147_181 / 1_000_000_000;
            e.metrics = Some(metrics(u64::try_from(nll).unwrap()));
        })
    }

    fn failed(worker: u8) -> Receipt {
        receipt(|e| {
            (e.worker, e.coordinator) = (Hotkey([worker; 32]), Hotkey([worker; 32]));
            e.ending = Ending::NotCausal { batch: u32::from(worker) };
            e.metrics = None;
        })
    }

    const TOLERANCE: u64 = 5_000_000;
    const BPB: u64 = 2_000_000_000;

    fn jury(wanted: usize, eligible: usize) -> Jury {
        let eligible = (1..).take(eligible).map(|number| Hotkey([number; 32])).collect();
        Jury { wanted, eligible, tolerance_nanobpb: TOLERANCE, own: None }
    }

    fn own(worker: u8, jury: Jury) -> Jury {
        Jury { own: Some(Hotkey([worker; 32])), ..jury }
    }

    fn settled(jury: &Jury, receipts: &[Receipt]) -> Standing {
        let standing = settle(jury, receipts.iter());
        let reversed = settle(jury, receipts.iter().rev());
        assert_eq!(standing, reversed, "the order of receipts changes nothing");
        standing
    }

    fn keys(workers: &[u8]) -> BTreeSet<Hotkey> {
        workers.iter().map(|worker| Hotkey([*worker; 32])).collect()
    }

    #[test]
    fn nothing_is_settled_before_enough_agree() {
        assert_eq!(settled(&jury(2, 4), &[]).needed, 2);
        let one = settled(&jury(2, 4), &[claim(1, BPB)]);
        assert_eq!((one.decision, one.needed), (None, 2));
        let two = settled(&jury(2, 4), &[claim(1, BPB), claim(2, BPB + TOLERANCE / 2)]);
        let decision = two.decision.unwrap();
        assert!(matches!(decision.verdict, Verdict::Scored { points: 1.. }));
        assert_eq!(decision.worker, Some(Hotkey([1; 32])), "the lower median");
        assert_eq!(decision.alone, keys(&[]));
        assert_eq!(two.needed, 2, "nobody else is asked");
    }

    #[test]
    fn the_same_worker_counts_once_under_however_many_leases() {
        let again = Receipt {
            evidence: Evidence {
                attempt: Attempt(2),
                coordinator: SECOND,
                lease: LeaseId([9; 32]),
                ..claim(1, BPB).evidence
            },
            ..claim(1, BPB)
        };
        let standing = settled(&jury(2, 4), &[claim(1, BPB), again]);
        assert_eq!(standing.claimants, keys(&[1, 2]), "and who was shown it");
        assert_eq!((standing.decision, standing.needed), (None, 3));
    }

    #[test]
    fn who_says_two_things_says_nothing() {
        let receipts = [claim(1, BPB), claim(1, BPB + 1_000), claim(2, BPB), claim(3, BPB)];
        let standing = settled(&jury(2, 4), &receipts);
        assert_eq!((standing.claimants, standing.equivocal), (keys(&[2, 3]), keys(&[1])));
        assert!(standing.decision.is_some());
    }

    #[test]
    fn case_35_who_lies_stands_alone_and_changes_nothing() {
        let liar = claim(3, BPB / 2);
        let disputed = settled(&jury(2, 4), &[claim(1, BPB), liar.clone()]);
        assert_eq!((disputed.decision, disputed.needed), (None, 3), "one more is asked");
        let honest = settled(&jury(2, 4), &[claim(1, BPB), claim(2, BPB)]);
        let settled = settled(&jury(2, 4), &[claim(1, BPB), liar, claim(2, BPB)]);
        let decision = settled.decision.unwrap();
        assert_eq!(decision.verdict, honest.decision.unwrap().verdict);
        assert_eq!(decision.alone, keys(&[3]));
    }

    #[test]
    fn a_tie_is_no_majority() {
        let two_and_two = [claim(1, BPB), claim(2, BPB), claim(3, BPB / 2), claim(4, BPB / 2)];
        let standing = settled(&jury(2, 9), &two_and_two);
        assert_eq!((standing.decision, standing.needed), (None, 5));
    }

    #[test]
    fn failures_agree_with_failures_only() {
        let failed_twice = settled(&jury(2, 4), &[failed(1), failed(2)]);
        let verdict = failed_twice.decision.unwrap().verdict;
        assert_eq!(verdict, Verdict::Failed { ending: Ending::NotCausal { batch: 1 } });
        assert_eq!(settled(&jury(2, 4), &[failed(1), claim(2, BPB)]).decision, None);
        let impossible = settled(&jury(1, 1), &[claim(1, 0)]).decision.unwrap().verdict;
        let Verdict::Failed { ending: Ending::ContractViolated { .. } } = impossible else {
            panic!("a loss of zero is not a score: {impossible:?}");
        };
    }

    /// A claim that was accepted by this coordinator, which had fixed this then.
    fn shown_to(coordinator: u8, sealed: Option<&Receipt>, claim: Receipt) -> Receipt {
        let evidence = Evidence {
            coordinator: Hotkey([coordinator; 32]),
            coordinator_sealed: sealed.map(|receipt| receipt.evidence.sealed()),
            ..claim.evidence
        };
        Receipt { evidence, ..claim }
    }

    #[test]
    fn case_35_who_saw_a_result_before_fixing_its_own_confirms_nothing() {
        let copy = shown_to(3, None, claim(3, BPB));
        let other = claim(3, BPB + 1);
        for sealed in [None, Some(&other)] {
            let honest = shown_to(3, sealed, claim(1, BPB));
            let standing = settled(&jury(2, 4), &[honest.clone(), copy.clone()]);
            assert_eq!(standing.decision, None);
            assert_eq!((standing.claimants, standing.needed), (keys(&[1, 3]), 3), "one more");
            let third = settled(&jury(2, 4), &[honest, copy.clone(), claim(2, BPB + 1_000)]);
            let decision = third.decision.unwrap();
            assert_eq!((decision.worker, decision.alone), (Some(Hotkey([1; 32])), keys(&[])));
        }
    }

    #[test]
    fn a_coordinator_that_had_fixed_its_result_counts_as_everybody_does() {
        let own = shown_to(3, None, claim(3, BPB));
        let other = shown_to(3, Some(&own), claim(1, BPB));
        assert!(settled(&jury(2, 4), &[other.clone(), own]).decision.is_some());
        let waiting = settled(&jury(2, 4), &[other]);
        assert_eq!((waiting.claimants, waiting.needed), (keys(&[1]), 2), "its result comes");
    }

    #[test]
    fn who_coordinates_and_has_no_result_is_not_asked_for_one_while_others_are_there() {
        let standing = settled(&jury(2, 4), &[shown_to(3, None, claim(1, BPB))]);
        assert_eq!((standing.claimants, standing.needed), (keys(&[1, 3]), 3));
    }

    #[test]
    fn with_nobody_else_left_a_coordinator_that_saw_the_results_breaks_the_tie() {
        let two = [shown_to(3, None, claim(1, BPB)), shown_to(3, None, claim(2, BPB / 2))];
        let standing = settled(&jury(2, 3), &two);
        assert_eq!((standing.decision, standing.needed), (None, 3));
        assert_eq!(standing.claimants, keys(&[1, 2]), "the third one is asked");
        let [one, other] = two;
        let third = shown_to(3, None, claim(3, BPB + 1_000));
        let decision = settled(&jury(2, 3), &[one, other, third]).decision.unwrap();
        assert_eq!((decision.worker, decision.alone), (Some(Hotkey([1; 32])), keys(&[2])));
    }

    #[test]
    fn of_two_validators_both_take_the_result_that_was_not_seen_before() {
        let slow = shown_to(2, None, claim(2, BPB - 1_000));
        let first = shown_to(2, None, claim(1, BPB));
        for node in [1, 2] {
            let receipts = [first.clone(), slow.clone()];
            let decision = settled(&own(node, jury(2, 2)), &receipts).decision.unwrap();
            assert_eq!(decision.worker, Some(Hotkey([1; 32])), "at node {node}");
        }
        // Who has no device believes neither of them alone.
        let alone = settled(&jury(2, 2), std::slice::from_ref(&first));
        assert_eq!((alone.decision, alone.needed), (None, 2));
        assert!(settled(&jury(2, 2), &[first, slow]).decision.is_some());
    }

    #[test]
    fn who_was_shown_a_result_is_asked_before_anybody_believes_itself_alone() {
        // Else who coordinates believes itself and grants nothing, and the other one waits.
        let first = shown_to(2, None, claim(1, BPB));
        for node in [1, 2] {
            let standing = settled(&own(node, jury(2, 2)), std::slice::from_ref(&first));
            assert_eq!((standing.decision, standing.needed), (None, 2), "at node {node}");
            assert_eq!(standing.claimants, keys(&[1]), "at node {node}");
        }
        let two = [shown_to(3, None, claim(1, BPB)), claim(2, BPB)];
        for node in [1, 2, 3] {
            let standing = settled(&own(node, jury(3, 3)), &two);
            assert_eq!((standing.decision, standing.needed), (None, 3), "at node {node}");
        }
        // It lies: who does not believe two of three believes itself.
        let [one, other] = two;
        let lie = shown_to(3, None, claim(3, BPB / 2));
        let receipts = [one, other, lie];
        for (node, believed) in [(1, 1), (2, 1), (3, 3)] {
            let decision = settled(&own(node, jury(3, 3)), &receipts).decision.unwrap();
            assert_eq!(decision.worker, Some(Hotkey([believed; 32])), "at node {node}");
        }
    }

    #[test]
    fn case_35_who_says_two_things_cannot_make_others_count_for_less() {
        let liar = [BPB / 2, BPB / 3].map(|bpb| shown_to(3, None, claim(4, bpb)));
        let own = shown_to(3, None, claim(3, BPB));
        let honest = [shown_to(3, Some(&own), claim(1, BPB)), own];
        let alone = settled(&jury(2, 3), &honest);
        let receipts: Vec<Receipt> = honest.into_iter().chain(liar).collect();
        let standing = settled(&jury(2, 4), &receipts);
        assert_eq!(standing.decision, alone.decision);
        assert!(standing.decision.is_some());
    }

    #[test]
    fn who_saw_a_result_and_says_otherwise_did_not_copy_it() {
        let liar = shown_to(3, None, claim(1, BPB / 2));
        let honest = shown_to(3, None, claim(3, BPB));
        let standing = settled(&jury(1, 4), &[liar.clone(), honest.clone()]);
        assert_eq!((standing.decision, standing.needed), (None, 3), "one more is asked");
        let third = settled(&jury(1, 4), &[liar, honest, claim(2, BPB)]);
        assert_ne!(third.decision.map(|decision| decision.alone), Some(keys(&[3])));
    }

    #[test]
    fn who_saw_a_result_and_says_otherwise_stands_alone() {
        let receipts =
            [shown_to(3, None, claim(1, BPB)), claim(2, BPB), shown_to(3, None, claim(3, BPB / 2))];
        let decision = settled(&jury(2, 4), &receipts).decision.unwrap();
        assert_eq!(decision.alone, keys(&[3]));
    }

    #[test]
    fn a_chain_of_small_differences_is_no_agreement() {
        let step = TOLERANCE * 2 / 3;
        let receipts = [claim(1, BPB), claim(2, BPB + step), claim(3, BPB + 2 * step)];
        let standing = settled(&jury(3, 5), &receipts);
        assert_eq!(standing.decision, None, "the first and the third do not agree");
    }

    #[test]
    fn alone_the_own_result_is_enough_and_a_foreign_one_is_not() {
        let alone = own(1, jury(2, 1));
        assert!(settled(&alone, &[claim(1, BPB)]).decision.is_some());
        // Node 2 left a receipt and is gone; this node has still to measure itself.
        let with_foreign = settled(&own(1, jury(2, 2)), &[claim(2, BPB)]);
        assert_eq!((with_foreign.decision, with_foreign.needed), (None, 2));
        let unable = settled(&jury(2, 1), &[claim(2, BPB)]);
        assert!(unable.decision.is_some(), "a node without a device has nobody else");
    }

    #[test]
    fn made_short_of_peers_a_node_does_not_believe_the_rest_without_its_own_result() {
        let short = own(1, jury(3, 2));
        assert_eq!(short.required(), 2);
        let others = settled(&short, &[claim(2, BPB), claim(3, BPB)]);
        assert_ne!(others.decision.and_then(|decision| decision.worker), Some(Hotkey([2; 32])));
    }

    #[test]
    fn with_nobody_left_to_ask_each_believes_itself() {
        let receipts = [claim(1, BPB), claim(2, BPB / 2)];
        for node in [1, 2] {
            let decision = settled(&own(node, jury(2, 2)), &receipts).decision.unwrap();
            assert_eq!(decision.worker, Some(Hotkey([node; 32])));
            assert_eq!(decision.alone, keys(&[]), "one against one proves nothing");
        }
        let decision = settled(&own(3, jury(2, 2)), &receipts).decision.unwrap();
        assert_eq!((decision.verdict, decision.worker), (Verdict::Disputed, None));
    }
}
