//! What a tier measures of a submission: its units, each a run of its own.
//!
//! Every validator derives the same units from the policy and the kind of project. A unit keeps its
//! number whatever else a tier plans, so a half project leaves out numbers and shifts none.

use serde::{Deserialize, Serialize};

use crate::policy::{MeterRules, TierRules};

/// Which parts a project brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectKind {
    /// Both.
    #[default]
    Full,
    /// An architecture: the reference trainer trains it.
    ArchitectureOnly,
    /// A training for an architecture that is known.
    TrainingForArch,
}

/// Who trains the architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trainer {
    /// The project's own training.
    Own,
    /// The challenge's.
    Reference,
}

/// In what a training differs from the policy's setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// A quarter of the parameters, so many times over.
    Quartered(u8),
    /// Sequences of twice the length, half as many in a batch.
    LongSequences,
    /// Twice as many sequences in a batch.
    LargeBatches,
}

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// The code length of text, learned as it comes.
    Text {
        /// Who trains.
        trainer: Trainer,
        /// In which setting.
        scale: Scale,
    },
    /// The probe tasks; they are reported and pay nothing.
    Probes,
}

/// One unit of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitPlan {
    /// Its number in the tier, from zero.
    pub unit: u8,
    /// Which of the seeds of its task, from zero.
    pub seed: u8,
    /// What it measures.
    pub task: Task,
}

/// Most units of a tier: more could not be told apart by a number of eight bits, and no policy
/// comes near.
const UNITS_MAX: usize = 256;

impl TierRules {
    /// The units of this tier for a project of this kind, by number.
    ///
    /// Where nothing is attributed, an architecture alone is trained by the reference trainer and
    /// everything else by its own.
    #[must_use]
    pub fn units(&self, kind: ProjectKind) -> Vec<UnitPlan> {
        let all = self.tasks().into_iter().take(UNITS_MAX).zip(0..=u8::MAX);
        let plans = all.map(|((task, seed), unit)| UnitPlan { unit, seed, task });
        plans.filter_map(|plan| plan.of(kind, self.attributes)).collect()
    }

    /// The unit of this number, if a project of this kind has it.
    #[must_use]
    pub fn unit(&self, kind: ProjectKind, unit: u8) -> Option<UnitPlan> {
        self.units(kind).into_iter().find(|plan| plan.unit == unit)
    }

    fn tasks(&self) -> Vec<(Task, u8)> {
        let trainers: &[Trainer] =
            if self.attributes { &[Trainer::Own, Trainer::Reference] } else { &[Trainer::Own] };
        let larger = [Scale::LongSequences, Scale::LargeBatches];
        let larger = larger.into_iter().filter(|_| self.stretches);
        let scales: Vec<Scale> = (0..self.sizes).map(Scale::Quartered).chain(larger).collect();
        let mut tasks = Vec::new();
        for trainer in trainers {
            for scale in &scales {
                let task = Task::Text { trainer: *trainer, scale: *scale };
                tasks.extend((0..self.seeds).map(|seed| (task, seed)));
            }
        }
        tasks.extend((0..self.probe_seeds).map(|seed| (Task::Probes, seed)));
        tasks
    }
}

impl UnitPlan {
    /// The plan as a project of this kind has it, if it has it.
    fn of(self, kind: ProjectKind, attributes: bool) -> Option<Self> {
        let Task::Text { trainer, scale } = self.task else { return Some(self) };
        let trainer = match (kind, trainer) {
            (ProjectKind::ArchitectureOnly, Trainer::Own) if attributes => return None,
            (ProjectKind::ArchitectureOnly, _) => Trainer::Reference,
            (ProjectKind::TrainingForArch, Trainer::Reference) => return None,
            (ProjectKind::Full | ProjectKind::TrainingForArch, trainer) => trainer,
        };
        Some(Self { task: Task::Text { trainer, scale }, ..self })
    }

    /// The meter's rules for this unit.
    ///
    /// - `rules`: the policy's.
    /// - `tier`: those of the unit's tier.
    #[must_use]
    pub fn meter_rules(&self, rules: &MeterRules, tier: &TierRules) -> MeterRules {
        let mut rules = MeterRules { train_bytes: tier.train_bytes, ..rules.clone() };
        match self.task {
            Task::Probes => rules.train_bytes = tier.probe_bytes,
            Task::Text { scale: Scale::Quartered(0), .. } => {}
            Task::Text { scale: Scale::Quartered(times), .. } => {
                let shift = u32::from(times).saturating_mul(2);
                rules.parameters_max = rules.parameters_max.checked_shr(shift).unwrap_or(0);
            }
            Task::Text { scale: Scale::LongSequences, .. } => {
                rules.sequence_tokens = rules.sequence_tokens.saturating_mul(2);
                rules.batch_sequences = (rules.batch_sequences / 2).max(1);
            }
            Task::Text { scale: Scale::LargeBatches, .. } => {
                rules.batch_sequences = rules.batch_sequences.saturating_mul(2);
            }
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, ScoringRules};

    fn tier(number: u8) -> TierRules {
        *ScoringRules::standard().funnel.tier(number).unwrap()
    }

    fn trainers(tier: &TierRules, kind: ProjectKind) -> Vec<(u8, Trainer)> {
        let trainer = |plan: UnitPlan| match plan.task {
            Task::Text { trainer, .. } => Some((plan.unit, trainer)),
            Task::Probes => None,
        };
        tier.units(kind).into_iter().filter_map(trainer).collect()
    }

    #[test]
    fn a_project_is_attributed_by_what_it_brings_and_units_keep_their_numbers() {
        use Trainer::{Own, Reference};
        let full = trainers(&tier(2), ProjectKind::Full);
        assert_eq!(full, [(0, Own), (1, Own), (2, Reference), (3, Reference)]);
        let architecture = trainers(&tier(2), ProjectKind::ArchitectureOnly);
        assert_eq!(architecture, [(2, Reference), (3, Reference)]);
        assert_eq!(trainers(&tier(2), ProjectKind::TrainingForArch), [(0, Own), (1, Own)]);
        assert_eq!(trainers(&tier(1), ProjectKind::ArchitectureOnly), [(0, Reference)]);
        assert_eq!(trainers(&tier(1), ProjectKind::TrainingForArch), [(0, Own)]);
        assert_eq!(tier(2).unit(ProjectKind::ArchitectureOnly, 0), None);
    }

    #[test]
    fn the_last_tier_has_three_sizes_stretched_settings_and_three_sets_of_probes() {
        let units = tier(3).units(ProjectKind::Full);
        let scales: Vec<Scale> = units
            .iter()
            .filter_map(|plan| match plan.task {
                Task::Text { scale, .. } => Some(scale),
                Task::Probes => None,
            })
            .collect();
        let sizes = [0, 1, 2].map(Scale::Quartered);
        assert_eq!(scales, [&sizes[..], &[Scale::LongSequences, Scale::LargeBatches]].concat());
        let probes = units.iter().filter(|plan| plan.task == Task::Probes);
        assert_eq!(probes.map(|plan| plan.seed).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_scale_changes_one_setting_and_the_tier_the_budget() {
        let (rules, tier) = (Policy::standard().meter, tier(3));
        let with = |scale| {
            let task = Task::Text { trainer: Trainer::Own, scale };
            UnitPlan { unit: 0, seed: 0, task }.meter_rules(&rules, &tier)
        };
        assert_eq!(with(Scale::Quartered(0)).train_bytes, 2_000_000_000);
        assert_eq!(with(Scale::Quartered(2)).parameters_max, rules.parameters_max / 16);
        assert_eq!(with(Scale::Quartered(200)).parameters_max, 0);
        let long = with(Scale::LongSequences);
        assert_eq!(long.sequence_tokens, 2 * rules.sequence_tokens);
        assert_eq!(long.batch_sequences * 2, rules.batch_sequences);
        assert_eq!(with(Scale::LargeBatches).batch_sequences, 2 * rules.batch_sequences);
        let probes = UnitPlan { unit: 5, seed: 0, task: Task::Probes };
        let dev = ScoringRules::dev().funnel.tiers[2];
        assert_eq!(probes.meter_rules(&rules, &dev).train_bytes, dev.probe_bytes);
        assert!(dev.probe_bytes > dev.train_bytes);
    }
}
