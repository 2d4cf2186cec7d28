//! Which trials there are: who entered which tier, and what the challenge's own references run for.
//!
//! What is here follows from the chain and from what was decided, and from nothing else: nodes that
//! know the same plan the same trials, whenever they learnt it.

use std::collections::{BTreeMap, BTreeSet};

use crate::admission::{Brings, Verdict};
use crate::commitment::Location;
use crate::evidence::{Evidence, Metrics};
use crate::funnel::{
    promote, report, tier_state, CohortId, Member, MemberState, Passage, ProjectKind, Task,
    TierMember, TierPlace, TierReport, UnitPlan,
};
use crate::id::{BlockHash, ContentDigest, Digest, DigestBuilder, Hotkey, SubmissionId};
use crate::machine::Machine;
use crate::policy::{FunnelRules, RewardBasis, TierRules};
use crate::priority::Priority;
use crate::rows::OutcomeRow;
use crate::submission::{Submission, SubmissionState};
use crate::trial::Trial;
use crate::unit::BlockNumber;

/// A submission that the challenge itself brings: others are measured by the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceWork {
    /// By what name a project can train it.
    pub name: String,
    /// Its content, which every node has.
    pub content: ContentDigest,
}

/// Who entered which tier, by tier: the first tier first.
pub(super) type Tiers = Vec<BTreeMap<SubmissionId, Entrant>>;

/// What was decided in a unit.
#[derive(Clone, Copy, Debug)]
pub struct UnitResult<'a> {
    /// Stage of the funnel.
    pub tier: u8,
    /// What was measured.
    pub plan: UnitPlan,
    /// What was decided.
    pub verdict: &'a crate::round::Verdict,
    /// The numbers that decided, as far as their receipt is kept.
    pub metrics: Option<&'a Metrics>,
}

/// A submission in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entrant {
    /// What is known of it there.
    pub(super) member: Member,
    /// What becomes of it.
    pub(super) passage: Passage,
}

/// A submission of a cohort on its way into a tier.
#[derive(Clone, Copy, Debug)]
struct Entering<'a> {
    submission: &'a Submission,
    /// Whether it passed every tier before, or may still do so.
    is_sure: bool,
}

impl Entering<'_> {
    /// As it enters the next tier, unless it ended in this one.
    fn after(self, passages: &BTreeMap<SubmissionId, Passage>) -> Option<Self> {
        match passages.get(&self.submission.id)? {
            Passage::Passes | Passage::Audit => Some(self),
            Passage::Open => Some(Self { is_sure: false, ..self }),
            Passage::Out => None,
        }
    }
}

/// What was decided in a trial, with the numbers that decided; `None` if a project of this kind has
/// no such unit.
///
/// - `evidence`: of the trial, as far as it counts.
pub(super) fn unit_result<'a>(
    rules: &FunnelRules,
    kind: ProjectKind,
    row: &'a OutcomeRow,
    mut evidence: impl Iterator<Item = &'a Evidence>,
) -> Option<UnitResult<'a>> {
    let Trial { tier, unit, .. } = row.trial;
    let plan = rules.tier(tier)?.unit(kind, unit)?;
    let decisive = evidence.find(|evidence| Some(evidence.worker) == row.worker);
    let metrics = decisive.and_then(|evidence| evidence.metrics.as_ref());
    Some(UnitResult { tier, plan, verdict: &row.verdict, metrics })
}

/// Nobody's: no seed is known whose public key this is.
const NOBODY: Hotkey = Hotkey([0; 32]);

/// The submission of a reference under a policy.
pub(super) fn reference_submission(work: &ReferenceWork, policy: &Digest) -> Submission {
    let seed = DigestBuilder::new("assay/reference-seed/v1").bytes(&policy.0).finish();
    let (block, location) = (BlockNumber(0), Location::Peers);
    let mut submission =
        Submission::committed(NOBODY, block, work.content, location, BlockHash(seed));
    submission.state = SubmissionState::Admitted;
    submission
}

/// Its places in the tiers, as its window was closed with them; none for one that was not seen
/// until then.
fn enter_as_settled(submission: &Submission, tiers: &mut Tiers) {
    let priority = Priority::of(submission);
    for (place, entrants) in submission.tiers.iter().flatten().zip(tiers) {
        let TierPlace { state, passage } = *place;
        let entrant = Entrant { member: Member { priority, state }, passage };
        entrants.insert(submission.id, entrant);
    }
}

impl Machine {
    /// Whether it is one of the challenge's own.
    #[must_use]
    pub fn is_reference(&self, id: &SubmissionId) -> bool {
        self.references.iter().any(|(reference, _)| reference == id)
    }

    /// The challenge's own, by the names that projects know them by; none under a policy that needs
    /// none.
    pub fn references(&self) -> impl Iterator<Item = (SubmissionId, &str)> {
        self.references.iter().map(|(id, name)| (*id, name.as_str()))
    }

    /// Whether it entered a tier after the first, and results of its last one still count.
    pub(super) fn is_in_later_tier(&self, submission: &Submission, now: BlockNumber) -> bool {
        let rules = &self.config.policy.scoring.funnel;
        let last = u8::try_from(rules.tiers.len()).unwrap_or(u8::MAX);
        let mut later = self.tiers.iter().skip(1);
        later.any(|entrants| entrants.contains_key(&submission.id))
            && now < CohortId::of(rules, submission.committed_at).due_at(rules, last)
    }

    /// Whether others are compared with it: its own miner may have gone on to other work.
    pub(super) fn is_measure(&self, id: &SubmissionId) -> bool {
        self.is_reference(id) || self.compared.iter().any(|(_, compared)| compared == id)
    }

    /// What the project competes with; a full one where that is not known.
    pub(super) fn brings(&self, submission: &Submission) -> Brings {
        if self.is_reference(&submission.id) {
            // It has no trainer of its own: it is measured under the reference trainer.
            return Brings { kind: ProjectKind::ArchitectureOnly, architecture_id: None };
        }
        match self.verdicts.get(&(submission.content, self.policy_digest)) {
            Some(Verdict::Admitted { brings, .. }) => brings.clone(),
            Some(Verdict::Rejected { .. }) | None => Brings::default(),
        }
    }

    /// The trials that a submission is to pass, as far as it is known now.
    pub(super) fn trials_of(&self, submission: &Submission) -> Vec<Trial> {
        let id = submission.id;
        let is_reference = self.is_reference(&id);
        let kind = self.brings(submission).kind;
        let tiers = (1_u8..).zip(&self.config.policy.scoring.funnel.tiers);
        // References run what others are compared with: where parts are paid, and the probes.
        let is_wanted = |rules: &TierRules, task: Task| {
            !is_reference || rules.attributes || matches!(task, Task::Probes)
        };
        let trials = tiers.flat_map(|(tier, rules)| {
            let units = if self.has_entered(&id, tier) {
                rules.units(kind)
            } else if self.compared.contains(&(tier, id)) {
                // For a recipe's sake: as an architecture, under the reference trainer.
                rules.units(ProjectKind::ArchitectureOnly)
            } else {
                Vec::new()
            };
            let units = units.into_iter().filter(move |plan| is_wanted(rules, plan.task));
            units.map(move |plan| Trial { submission: id, tier, unit: plan.unit })
        });
        trials.collect()
    }

    /// References are in every tier that somebody entered, and in the first that pays for parts
    /// once the gate of the untrained model turned somebody away.
    fn has_entered(&self, id: &SubmissionId, tier: u8) -> bool {
        let entrants = self.tiers.get(usize::from(tier.saturating_sub(1)));
        if self.is_reference(id) {
            let is_needed = entrants.is_some_and(|entrants| !entrants.is_empty());
            let pays_first = self.paying_tier().is_some_and(|(first, _)| first == tier);
            return is_needed || (pays_first && self.gate_refused);
        }
        tier == 1 || entrants.is_some_and(|entrants| entrants.contains_key(id))
    }

    /// Whether the policy has this trial for a project of this kind, planned by now or not. Others
    /// may have planned it before this node knows why.
    pub(super) fn is_possible(&self, submission: &Submission, trial: Trial) -> bool {
        let kind = self.brings(submission).kind;
        let rules = self.config.policy.scoring.funnel.tier(trial.tier);
        rules.is_some_and(|rules| rules.unit(kind, trial.unit).is_some())
    }

    /// Plans what follows from a change of submissions, of results or of the block.
    pub(super) fn refresh_funnel(&mut self) {
        self.is_funnel_stale = false;
        if self.config.policy.scoring.funnel.tiers.len() < 2 {
            return;
        }
        let tiers = self.compute_tiers();
        let before = std::mem::replace(&mut self.tiers, tiers);
        let refused = self.has_gate_refused();
        let is_refused_anew = std::mem::replace(&mut self.gate_refused, refused) != refused;
        let of = |tiers: &Tiers| -> BTreeSet<(usize, SubmissionId)> {
            let ids = |(tier, entrants): (usize, &BTreeMap<SubmissionId, Entrant>)| {
                entrants.keys().map(move |id| (tier, *id)).collect::<Vec<_>>()
            };
            tiers.iter().enumerate().skip(1).flat_map(ids).collect()
        };
        let compared = self.compared_with();
        let compared_before = std::mem::replace(&mut self.compared, compared);
        let (old, new) = (of(&before), of(&self.tiers));
        if old == new && compared_before == self.compared && !is_refused_anew {
            return;
        }
        let changed: BTreeSet<SubmissionId> = old
            .symmetric_difference(&new)
            .map(|(_, id)| *id)
            .chain(compared_before.symmetric_difference(&self.compared).map(|(_, id)| *id))
            .collect();
        let references: Vec<SubmissionId> = self.references.iter().map(|(id, _)| *id).collect();
        for id in changed.into_iter().chain(references) {
            let planned = self.submissions.get(&id).map(|known| self.trials_of(known));
            self.to_settle.extend(planned.into_iter().flatten());
            // Also those that are not planned any more.
            let waiting = self.pending.range(Trial::all_of(id)).map(|(trial, _)| *trial);
            self.to_settle.extend(waiting);
        }
    }

    fn compute_tiers(&self) -> Tiers {
        let rules = &self.config.policy.scoring.funnel;
        let mut tiers = vec![BTreeMap::new(); rules.tiers.len()];
        let mut cohorts: BTreeMap<CohortId, Vec<&Submission>> = BTreeMap::new();
        for submission in self.submissions() {
            if self.is_in_closed_window(submission) {
                enter_as_settled(submission, &mut tiers);
            } else {
                let cohort = CohortId::of(rules, submission.committed_at);
                cohorts.entry(cohort).or_default().push(submission);
            }
        }
        for (cohort, submissions) in cohorts {
            self.pass_cohort(cohort, &submissions, &mut tiers);
        }
        tiers
    }

    /// Lets a cohort go as far as it gets.
    fn pass_cohort(&self, cohort: CohortId, submissions: &[&Submission], tiers: &mut Tiers) {
        let rules = &self.config.policy.scoring.funnel;
        let number = self.view.as_ref().map(|view| view.number).unwrap_or_default();
        let drawn = submissions.iter().find_map(|submission| submission.window_block_hash);
        let drawn = drawn.filter(|_| number >= cohort.closes_at(rules));
        let mut entering: Vec<Entering<'_>> =
            submissions.iter().map(|submission| Entering { submission, is_sure: true }).collect();
        for ((number_of_tier, tier), entrants) in (1_u8..).zip(&rules.tiers).zip(tiers) {
            let member = |one: &Entering<'_>| {
                let member = self.member(one.submission, number_of_tier, tier)?;
                // One that may still come in is as good as one whose result is missing.
                let state = if one.is_sure { member.state } else { MemberState::Missing };
                Some((one.submission.id, Member { state, ..member }))
            };
            let members: BTreeMap<SubmissionId, Member> =
                entering.iter().filter_map(member).collect();
            let is_due = number >= cohort.due_at(rules, number_of_tier);
            // Before the window closed nobody passes: it may have members that nobody knows.
            let passages = match &drawn {
                Some(seed) => promote(tier, &members, is_due, &seed.0),
                None => members.keys().map(|id| (*id, Passage::Open)).collect(),
            };
            let entrant = |one: &Entering<'_>| {
                let id = one.submission.id;
                let entrant = Entrant { member: *members.get(&id)?, passage: *passages.get(&id)? };
                one.is_sure.then_some((id, entrant))
            };
            entrants.extend(entering.iter().filter_map(entrant));
            entering = entering.into_iter().filter_map(|one| one.after(&passages)).collect();
        }
    }

    /// What is known of a submission in a tier that it entered; `None` if it takes no part.
    fn member(&self, submission: &Submission, number: u8, tier: &TierRules) -> Option<Member> {
        let priority = Priority::of(submission);
        let state = match &submission.state {
            SubmissionState::Rejected { .. } => return None,
            // It may still be admitted, and then it competes.
            SubmissionState::Committed { .. }
            | SubmissionState::Fetched
            | SubmissionState::Held { .. } => MemberState::Missing,
            SubmissionState::Admitted
            | SubmissionState::Scored { .. }
            | SubmissionState::Failed { .. }
            | SubmissionState::Disputed => {
                let kind = self.brings(submission).kind;
                tier_state(tier, kind, |unit| self.verdict_in(submission.id, number, unit))
            }
        };
        Some(Member { priority, state })
    }

    /// What was decided in a trial.
    pub(super) fn verdict_in(
        &self,
        submission: SubmissionId,
        tier: u8,
        unit: u8,
    ) -> Option<&crate::round::Verdict> {
        self.outcomes.get(&Trial { submission, tier, unit }).map(|row| &row.verdict)
    }

    /// How far a submission got: the last tier that it entered, and what becomes of it there.
    /// `None` for one that takes no part, and under a policy of one tier.
    #[must_use]
    pub fn place_in_funnel(&self, id: &SubmissionId) -> Option<(u8, MemberState, Passage)> {
        let numbered = (1_u8..).zip(&self.tiers);
        let entered = numbered.filter_map(|(tier, entrants)| Some((tier, entrants.get(id)?)));
        let (tier, Entrant { member, passage }) = entered.last()?;
        Some((tier, member.state, *passage))
    }

    /// What was decided in the trials of a submission that it was to pass, tier by tier.
    #[must_use]
    pub fn unit_results(&self, id: &SubmissionId) -> Vec<UnitResult<'_>> {
        let Some(submission) = self.submissions.get(id) else { return Vec::new() };
        let kind = self.brings(submission).kind;
        let rules = &self.config.policy.scoring.funnel;
        let trials = self.trials_of(submission).into_iter();
        let result = |trial: Trial| {
            let evidence = self.receipts.counting(&trial).map(|receipt| &receipt.evidence);
            unit_result(rules, kind, self.outcomes.get(&trial)?, evidence)
        };
        trials.filter_map(result).collect()
    }

    /// The funnel in figures, of all that this node knows; empty under a policy of one tier.
    #[must_use]
    pub fn funnel_report(&self) -> Vec<TierReport> {
        let tiers: Vec<BTreeMap<SubmissionId, TierMember>> = (1_u8..)
            .zip(&self.tiers)
            .map(|(tier, entrants)| {
                let member = |(id, entrant): (&SubmissionId, &Entrant)| {
                    let points = match entrant.member.state {
                        MemberState::Scored { points } => Some(points),
                        MemberState::Missing | MemberState::Failed => None,
                    };
                    let device_ms = self.device_ms(*id, tier);
                    (*id, TierMember { points, passage: entrant.passage, device_ms })
                };
                entrants.iter().map(member).collect()
            })
            .collect();
        report(&tiers)
    }

    /// Time of all runs of a submission in a tier, whoever's, as far as their receipts are kept.
    fn device_ms(&self, id: SubmissionId, tier: u8) -> u64 {
        let evidence = self.receipts.of_submission(id).map(|row| &row.receipt.evidence);
        let metrics =
            evidence.filter(|one| one.tier == tier).filter_map(|one| one.metrics.as_ref());
        metrics.map(|metrics| metrics.conduct.wall_ms).fold(0, u64::saturating_add)
    }

    /// Whether places in families are paid, and not points.
    pub(super) fn pays_standings(&self) -> bool {
        match self.config.policy.scoring.basis {
            RewardBasis::Standings => true,
            RewardBasis::Points => false,
        }
    }
}
