//! When is an evaluation settled, and with which result? Every validator answers for itself.
//!
//! A receipt counts only if it is for exactly what this validator derived from the chain: the
//! same assignment, content, policy and data set, run by a validator. Leases decide nothing here:
//! whichever coordinator accepted them, each worker has one claim, and claims that agree decide.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

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
        && evidence.trial() == assignment.trial()
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
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
    /// Largest difference of two results that agree, of 1,000,000 parts of the larger.
    pub tolerance_ppm: u32,
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
    let standing = Standing { claimants: BTreeSet::new(), equivocal, decision, needed: 0 };
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
    needing(Standing { decision, ..standing }, claimants, &claims, &all)
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
    let group = agreeing(claims, jury.tolerance_ppm);
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

/// Coordinators that were shown a result of somebody else before they had fixed their own. A worker
/// names also those that were shown it before and took no receipt.
fn informed(receipts: &[&Receipt]) -> BTreeSet<Hotkey> {
    let shown: BTreeSet<(Hotkey, Option<Digest>)> =
        receipts.iter().flat_map(|receipt| receipt.evidence.shown_to()).collect();
    let mut fixed: BTreeMap<Hotkey, BTreeSet<Digest>> =
        shown.iter().map(|(coordinator, _)| (*coordinator, BTreeSet::new())).collect();
    for receipt in receipts {
        // What others fixed is asked of nobody, and takes long to compute.
        if let Some(theirs) = fixed.get_mut(&receipt.evidence.worker) {
            theirs.insert(receipt.evidence.sealed());
        }
    }
    // Whose result is not here yet may still bring what it had fixed.
    let has_fixed = |(coordinator, sealed): &(Hotkey, Option<Digest>)| {
        let theirs = fixed.get(coordinator);
        let can_be = |sealed| theirs.is_none_or(|t| t.is_empty() || t.contains(&sealed));
        sealed.is_some_and(can_be)
    };
    let informed = shown.iter().filter(|shown| !has_fixed(shown));
    informed.map(|(coordinator, _)| *coordinator).collect()
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
fn agreeing<'a, 'c>(claims: &'c [Claim<'a>], tolerance_ppm: u32) -> &'c [Claim<'a>] {
    let mut best: &[Claim<'a>] = &[];
    for (start, first) in claims.iter().enumerate() {
        let rest = claims.get(start..).unwrap_or_default();
        let is_with = |claim: &&Claim<'_>| agree(first.finding, claim.finding, tolerance_ppm);
        let run = rest.get(..rest.iter().take_while(is_with).count()).unwrap_or_default();
        if run.len() > best.len() {
            best = run;
        }
    }
    best
}

fn agree(one: Finding, other: Finding, tolerance_ppm: u32) -> bool {
    match (one, other) {
        (Finding::Failed, Finding::Failed) => true,
        (Finding::Measured(one), Finding::Measured(other)) => {
            let difference = u128::from(one.abs_diff(other)).saturating_mul(1_000_000);
            difference <= u128::from(one.max(other)).saturating_mul(tolerance_ppm.into())
        }
        (Finding::Failed, Finding::Measured(_)) | (Finding::Measured(_), Finding::Failed) => false,
    }
}

fn agrees_with(jury: &Jury, group: &[Claim<'_>], claim: &Claim<'_>) -> bool {
    group.iter().all(|one| agree(one.finding, claim.finding, jury.tolerance_ppm))
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
mod tests;
