//! How a tier went for a submission, from what was decided in its units.

use super::{MemberState, ProjectKind, Scale, Task, Trainer, UnitPlan};
use crate::policy::TierRules;
use crate::reward::{architecture_quality, recipe_quality, Attribution, NotAttributed, Quality};
use crate::round::Verdict;

/// What the verdicts on some units come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Points {
    /// At least one is not decided.
    Missing,
    /// At least one has no score.
    Failed,
    /// The points of each, by number.
    All(Vec<u64>),
}

impl Points {
    /// Of the trainings in the policy's own setting, by this trainer.
    fn of<'a>(
        plans: &[UnitPlan],
        by: Trainer,
        verdict_of: &impl Fn(u8) -> Option<&'a Verdict>,
    ) -> Option<Self> {
        let task = Task::Text { trainer: by, scale: Scale::Quartered(0) };
        let verdicts: Vec<Option<&Verdict>> = plans
            .iter()
            .filter(|plan| plan.task == task)
            .map(|plan| verdict_of(plan.unit))
            .collect();
        (!verdicts.is_empty()).then(|| Self::in_all(&verdicts))
    }

    /// A failure decides, whatever is missing.
    fn in_all(verdicts: &[Option<&Verdict>]) -> Self {
        let mut all = Vec::new();
        let mut is_missing = false;
        for verdict in verdicts {
            match verdict {
                Some(Verdict::Scored { points }) => all.push(*points),
                Some(Verdict::Failed { .. } | Verdict::Disputed) => return Self::Failed,
                None => is_missing = true,
            }
        }
        if is_missing {
            Self::Missing
        } else {
            Self::All(all)
        }
    }
}

/// How far a submission got in a tier it entered.
///
/// It ranks by the mean over seeds of its points in the policy's own setting, under its own trainer
/// where it brings one. Other settings and the probe tasks are reported and rank nobody.
///
/// - `verdict_of`: what was decided in a unit, by its number.
#[must_use]
pub fn tier_state<'a>(
    tier: &TierRules,
    kind: ProjectKind,
    verdict_of: impl Fn(u8) -> Option<&'a Verdict>,
) -> MemberState {
    let plans = tier.units(kind);
    let by = |trainer| Points::of(&plans, trainer, &verdict_of);
    match by(Trainer::Own).or_else(|| by(Trainer::Reference)) {
        Some(Points::Failed) => MemberState::Failed,
        Some(Points::All(points)) => MemberState::Scored { points: mean(&points) },
        Some(Points::Missing) | None => MemberState::Missing,
    }
}

fn mean(points: &[u64]) -> u64 {
    let sum: u128 = points.iter().map(|points| u128::from(*points)).sum();
    let count = u128::try_from(points.len()).unwrap_or(u128::MAX);
    sum.checked_div(count).and_then(|mean| u64::try_from(mean).ok()).unwrap_or(0)
}

/// The quality of an architecture in a tier that attributes, under the reference trainer.
///
/// - `kind`: of the project; one that brings no architecture has none.
/// - `reference`: points of the reference submission in the same tier, one per seed.
/// - Result: `None` as long as a unit is not decided, and if one has no score.
///
/// # Errors
///
/// [`NotAttributed`].
pub fn quality<'a>(
    tier: &TierRules,
    kind: ProjectKind,
    verdict_of: impl Fn(u8) -> Option<&'a Verdict>,
    reference: &[u64],
) -> Result<Option<Quality>, NotAttributed> {
    let plans = tier.units(kind);
    quality_of(Points::of(&plans, Trainer::Reference, &verdict_of), reference)
}

fn quality_of(points: Option<Points>, reference: &[u64]) -> Result<Option<Quality>, NotAttributed> {
    match points {
        Some(Points::All(points)) => architecture_quality(&points, reference).map(Some),
        Some(Points::Failed | Points::Missing) | None => Ok(None),
    }
}

/// The points of the reference submission in a tier, one per seed; `None` until all are decided,
/// and if one has no score.
#[must_use]
pub fn reference_points<'a>(
    tier: &TierRules,
    verdict_of: impl Fn(u8) -> Option<&'a Verdict>,
) -> Option<Vec<u64>> {
    let plans = tier.units(ProjectKind::ArchitectureOnly);
    match Points::of(&plans, Trainer::Reference, &verdict_of)? {
        Points::All(points) => Some(points),
        Points::Failed | Points::Missing => None,
    }
}

/// What a submission is paid for, once all of its trainings in the policy's own setting are
/// decided. A part that failed is not there; the other one counts.
///
/// - `known`: the quality of the architecture that a `training_for_arch` trains.
///
/// # Errors
///
/// [`NotAttributed`].
pub fn attribute<'a>(
    tier: &TierRules,
    kind: ProjectKind,
    verdict_of: impl Fn(u8) -> Option<&'a Verdict>,
    reference: &[u64],
    known: Option<&Quality>,
) -> Result<Option<Attribution>, NotAttributed> {
    let plans = tier.units(kind);
    let by = |trainer| Points::of(&plans, trainer, &verdict_of);
    let (own, with_reference) = (by(Trainer::Own), by(Trainer::Reference));
    if own == Some(Points::Missing) || with_reference == Some(Points::Missing) {
        return Ok(None);
    }
    let architecture = quality_of(with_reference, reference)?;
    // Who brings an architecture is compared with that one, whichever its manifest names.
    let trained = match kind {
        ProjectKind::TrainingForArch => known,
        ProjectKind::Full | ProjectKind::ArchitectureOnly => architecture.as_ref(),
    };
    let of_recipe = quality_of(own, reference)?;
    let recipe = of_recipe.zip(trained).map(|(own, trained)| recipe_quality(&own, trained));
    Ok(Some(Attribution { architecture, recipe }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Ending;
    use crate::policy::ScoringRules;

    fn tier(number: u8) -> TierRules {
        *ScoringRules::standard().funnel.tier(number).unwrap()
    }

    /// Verdicts by unit: zero points have failed.
    fn verdicts(points: &[Option<u64>]) -> Vec<Option<Verdict>> {
        let verdict = |points: &Option<u64>| {
            points.map(|points| match points {
                0 => Verdict::Failed { ending: Ending::OutOfMemory },
                points => Verdict::Scored { points },
            })
        };
        points.iter().map(verdict).collect()
    }

    fn state(number: u8, kind: ProjectKind, points: &[Option<u64>]) -> MemberState {
        let verdicts = verdicts(points);
        tier_state(&tier(number), kind, |unit| verdicts.get(usize::from(unit))?.as_ref())
    }

    fn attributed(kind: ProjectKind, points: &[Option<u64>]) -> Option<Attribution> {
        let verdicts = verdicts(points);
        let of = |unit: u8| verdicts.get(usize::from(unit))?.as_ref();
        let known = Quality { mean_nano: 1_000_000_000, variance_nano2: 0 };
        attribute(&tier(2), kind, of, &[100, 100], Some(&known)).unwrap()
    }

    #[test]
    fn a_full_project_ranks_by_its_own_trainer_and_an_architecture_by_the_reference_trainer() {
        let points = [Some(10), Some(13), Some(90), None];
        assert_eq!(state(2, ProjectKind::Full, &points), MemberState::Scored { points: 11 });
        assert_eq!(state(2, ProjectKind::ArchitectureOnly, &points), MemberState::Missing);
        let points = [None, None, Some(90), Some(92)];
        let scored = MemberState::Scored { points: 91 };
        assert_eq!(state(2, ProjectKind::ArchitectureOnly, &points), scored);
    }

    #[test]
    fn a_failed_seed_fails_the_tier_before_the_others_are_known() {
        assert_eq!(state(2, ProjectKind::Full, &[None, Some(0)]), MemberState::Failed);
        assert_eq!(state(2, ProjectKind::Full, &[None, Some(1)]), MemberState::Missing);
    }

    #[test]
    fn the_last_tier_ranks_by_the_largest_model_whatever_the_other_settings_gave() {
        let points = [Some(7), Some(0), None];
        assert_eq!(state(3, ProjectKind::Full, &points), MemberState::Scored { points: 7 });
    }

    #[test]
    fn both_parts_are_paid_for_what_they_are() {
        let full = [Some(130), Some(130), Some(110), Some(110)];
        let both = attributed(ProjectKind::Full, &full).unwrap();
        assert_eq!(both.architecture.unwrap().mean_nano, 1_100_000_000);
        assert_eq!(both.recipe.unwrap().mean_nano, 200_000_000);
        let recipe = attributed(ProjectKind::TrainingForArch, &full).unwrap();
        assert_eq!((recipe.architecture, recipe.recipe.unwrap().mean_nano), (None, 300_000_000));
        let alone = attributed(ProjectKind::ArchitectureOnly, &full).unwrap();
        assert_eq!((alone.architecture, alone.recipe), (both.architecture, None));
    }

    #[test]
    fn a_part_that_failed_costs_the_other_one_nothing() {
        let own_failed = [Some(0), Some(130), Some(110), Some(110)];
        let left = attributed(ProjectKind::Full, &own_failed).unwrap();
        assert_eq!((left.architecture.unwrap().mean_nano, left.recipe), (1_100_000_000, None));
        assert_eq!(attributed(ProjectKind::Full, &[Some(1), Some(1), None, Some(1)]), None);
    }

    #[test]
    fn a_recipe_is_never_compared_with_an_architecture_that_it_did_not_train() {
        let architecture_failed = [Some(130), Some(130), Some(0), Some(110)];
        let left = attributed(ProjectKind::Full, &architecture_failed).unwrap();
        assert_eq!(left, Attribution::default());
    }

    #[test]
    fn the_reference_is_its_own_measure() {
        let decided = verdicts(&[None, None, Some(120), Some(80)]);
        let of = |unit: u8| decided.get(usize::from(unit))?.as_ref();
        let reference = reference_points(&tier(2), of).unwrap();
        assert_eq!(reference, [120, 80]);
        let own = quality(&tier(2), ProjectKind::ArchitectureOnly, of, &reference).unwrap();
        assert_eq!(own.unwrap().mean_nano, 1_000_000_000);
    }
}
