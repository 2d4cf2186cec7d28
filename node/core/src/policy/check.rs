//! What a policy has to keep to, wherever it comes from.

use super::{Policy, RewardBasis, TierRules};
use crate::limits::{
    GANG_DEVICES_MAX, LEASE_TOTAL_MS_MAX, PREDICTION_BYTES_MAX, REPLICAS_MAX, SEEDS_MIN,
};

/// Characters of a policy's name.
const NAME_CHARS_MAX: usize = 64;

/// Tiers of a funnel. Submissions, outcomes and answers count them from 1.
const TIERS_MAX: u64 = 3;

/// All of something.
const PPM: u64 = 1_000_000;

const MIB: u64 = 1 << 20;

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefused {
    /// A number is out of its bounds.
    #[error("`{field}` is {got}; it may be {least} to {most}")]
    Bounds {
        /// Which.
        field: String,
        /// What it is.
        got: u64,
        /// The smallest that it may be.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// The name is empty, too long, or has other characters.
    #[error("`name` has 1 to {NAME_CHARS_MAX} small letters, digits and dashes")]
    Name,
    /// The two places of the first tier's budget differ.
    #[error(
        "`meter.train_bytes` is {meter} and the first tier's `train_bytes` is {tier}: they are one \
         budget"
    )]
    FirstTier {
        /// That of the meter.
        meter: u64,
        /// That of the tier.
        tier: u64,
    },
    /// The limits of time of a tier do not lie within each other.
    #[error(
        "the limits of time of tier {tier} do not lie within each other: {cpu_ms} ms of CPU time, \
         {wall_ms} ms of wall clock, and a lease of at most {LEASE_TOTAL_MS_MAX} ms around them"
    )]
    Nest {
        /// Which.
        tier: u8,
        /// Its CPU time.
        cpu_ms: u64,
        /// Its wall clock.
        wall_ms: u64,
    },
    /// A threshold is above the one that it has to be below.
    #[error("`{lower}` is above `{upper}`")]
    Order {
        /// The one that has to be lower.
        lower: &'static str,
        /// The other one.
        upper: &'static str,
    },
    /// Nobody could ever be paid.
    #[error("nobody could be paid: {problem}")]
    NobodyPaid {
        /// Why.
        problem: &'static str,
    },
    /// The predictions of a batch do not fit into a frame.
    #[error(
        "the predictions of a batch, or of one of twice as many sequences, may take {bytes} bytes, \
         more than {PREDICTION_BYTES_MAX}"
    )]
    Predictions {
        /// How many they may take.
        bytes: u64,
    },
    /// More is paid than there is.
    #[error("`scoring.pools` pays {ppm} of 1,000,000 parts")]
    Pools {
        /// What both pools pay.
        ppm: u64,
    },
}

impl Policy {
    /// Checks what the node relies on. That a data set has enough text for it is not known here.
    ///
    /// # Errors
    ///
    /// [`PolicyRefused`], the first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyRefused> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let chars = self.name.chars().count();
        if chars == 0 || chars > NAME_CHARS_MAX || !self.name.chars().all(is_plain) {
            return Err(PolicyRefused::Name);
        }
        self.check_admission()?;
        self.check_runs()?;
        self.check_predictions()?;
        self.check_scoring()?;
        let tiers = &self.scoring.funnel.tiers;
        within("scoring.funnel.tiers", tiers.len() as u64, 1, TIERS_MAX)?;
        for (tier, rules) in (1_u8..).zip(tiers) {
            check_tier(tier, rules)?;
            let limits = self.limits_in(tier);
            if !limits.nest() {
                let (cpu_ms, wall_ms) = (limits.cpu_ms, limits.wall_ms);
                return Err(PolicyRefused::Nest { tier, cpu_ms, wall_ms });
            }
        }
        let (meter, tier) = (self.meter.train_bytes, tiers.first().map_or(0, |t| t.train_bytes));
        if meter != tier {
            return Err(PolicyRefused::FirstTier { meter, tier });
        }
        self.check_memory()?;
        self.check_pay()
    }

    fn check_admission(&self) -> Result<(), PolicyRefused> {
        let (archive, admission, duplicates) = (&self.archive, &self.admission, &self.duplicates);
        let untrained = &admission.untrained;
        all_within(&[
            ("recommit_blocks", self.recommit_blocks, 1, u64::from(u32::MAX)),
            ("hold_blocks", self.hold_blocks, 0, u64::from(u32::MAX)),
            ("archive.packed_bytes_max", archive.packed_bytes_max, 1_024, 64 * MIB),
            ("archive.unpacked_bytes_max", archive.unpacked_bytes_max, 1_024, 256 * MIB),
            ("archive.files_max", archive.files_max.into(), 1, 10_000),
            ("archive.path_chars_max", archive.path_chars_max.into(), 1, 4_096),
            ("admission.python_bytes_max", admission.python_bytes_max, 1, 16 * MIB),
            ("admission.untrained.causality_cuts", untrained.causality_cuts.into(), 1, 64),
            ("admission.untrained.batch_tokens", untrained.batch_tokens.into(), 2, 65_536),
            ("admission.untrained.batch_sequences", untrained.batch_sequences.into(), 2, 64),
            ("duplicates.rejected_ppm", duplicates.rejected_ppm.into(), 0, PPM),
        ])?;
        let lengths = [
            ("admission.untrained.causality_tokens", &untrained.causality_tokens),
            ("admission.untrained.finite_tokens", &untrained.finite_tokens),
        ];
        for (field, lengths) in lengths {
            within(field, lengths.len() as u64, 1, 16)?;
            for length in lengths {
                within(field, (*length).into(), 2, 65_536)?;
            }
        }
        let (lower, upper) = ("duplicates.held_ppm", "duplicates.rejected_ppm");
        in_order((lower, duplicates.held_ppm), (upper, duplicates.rejected_ppm))
    }

    /// A window closes for good only when its results are in, nothing of it is held any more, and
    /// no commitment of then makes another one come too soon.
    fn check_memory(&self) -> Result<(), PolicyRefused> {
        let funnel = &self.scoring.funnel;
        let late = funnel.late_blocks.saturating_mul(funnel.tiers.len() as u64);
        let least = [self.recommit_blocks, self.hold_blocks, self.scoring.families.hold_blocks]
            .into_iter()
            .fold(late, u64::max);
        within("memory_blocks", self.memory_blocks, least.max(1), u64::from(u32::MAX))
    }

    fn check_runs(&self) -> Result<(), PolicyRefused> {
        let (meter, run, agreement) = (&self.meter, &self.run, &self.agreement);
        all_within(&[
            ("meter.heldout_bytes", meter.heldout_bytes, 1, 1 << 40),
            ("meter.batch_sequences", meter.batch_sequences.into(), 4, 4_096),
            ("meter.sequence_tokens", meter.sequence_tokens.into(), 2, 65_536),
            ("meter.audits_per_mille", meter.audits_per_mille.into(), 0, 1_000),
            ("meter.parameters_max", meter.parameters_max, 1, 1 << 40),
            ("meter.tokens.vocabulary_max", meter.tokens.vocabulary_max.into(), 257, 1 << 20),
            ("meter.tokens.sampled_positions", meter.tokens.sampled_positions.into(), 1, 1 << 20),
            ("run.device_count", run.device_count.into(), 1, GANG_DEVICES_MAX.into()),
            ("run.memory_mib", run.memory_mib, 64, 4 * MIB),
            ("run.pids", run.pids.into(), 8, 65_536),
            ("run.tmpfs_mib", run.tmpfs_mib, 1, MIB),
            ("run.output_bytes", run.output_bytes, 1, 1 << 30),
            ("run.cpu_ms", run.cpu_ms, 1_000, LEASE_TOTAL_MS_MAX),
            ("run.wall_ms", run.wall_ms, 1_000, LEASE_TOTAL_MS_MAX),
            ("agreement.replicas", agreement.replicas.into(), 1, REPLICAS_MAX as u64),
            ("agreement.tolerance_ppm", agreement.tolerance_ppm.into(), 0, PPM),
        ])
    }

    /// A run asks for all positions of a small vocabulary, or for a sample of a large one; one run
    /// of a tier that stretches has twice as many sequences.
    fn check_predictions(&self) -> Result<(), PolicyRefused> {
        let (meter, tokens) = (&self.meter, &self.meter.tokens);
        let stretches = self.scoring.funnel.tiers.iter().any(|tier| tier.stretches);
        let times = if stretches { 2 } else { 1 };
        let positions = u64::from(meter.batch_sequences)
            .saturating_mul(meter.sequence_tokens.into())
            .saturating_mul(times);
        let rows = [
            (positions, tokens.every_position_vocabulary_max),
            (tokens.sampled_positions.into(), tokens.vocabulary_max),
        ];
        let bytes =
            |(rows, entries): (u64, u32)| rows.saturating_mul(entries.into()).saturating_mul(4);
        let bytes = rows.map(bytes).into_iter().fold(0, u64::max);
        if bytes > PREDICTION_BYTES_MAX as u64 {
            return Err(PolicyRefused::Predictions { bytes });
        }
        Ok(())
    }

    /// Places in families are paid for what two trainers reached in a tier after the first, with
    /// seeds enough to know a spread.
    fn check_pay(&self) -> Result<(), PolicyRefused> {
        match self.scoring.basis {
            RewardBasis::Points => return Ok(()),
            RewardBasis::Standings => {}
        }
        let mut tiers = (1_u8..).zip(&self.scoring.funnel.tiers);
        let problem = match tiers.find(|(_, tier)| tier.attributes) {
            None => "no tier has `attributes`, and places are paid",
            Some((1, _)) => "the first tier has `attributes`: a later one has to",
            Some((_, tier)) if usize::from(tier.seeds) < SEEDS_MIN => {
                "the tier with `attributes` has too few `seeds` to know a spread"
            }
            Some(_) => return Ok(()),
        };
        Err(PolicyRefused::NobodyPaid { problem })
    }

    fn check_scoring(&self) -> Result<(), PolicyRefused> {
        let (families, pools, funnel) =
            (&self.scoring.families, &self.scoring.pools, &self.scoring.funnel);
        all_within(&[
            ("scoring.families.same_ppm", families.same_ppm.into(), 0, PPM),
            ("scoring.pools.halving_blocks", pools.halving_blocks, 1, u64::from(u32::MAX)),
            ("scoring.funnel.window_blocks", funnel.window_blocks, 1, u64::from(u32::MAX)),
            ("scoring.funnel.late_blocks", funnel.late_blocks, 0, u64::from(u32::MAX)),
        ])?;
        let (lower, upper) = ("scoring.families.other_ppm", "scoring.families.same_ppm");
        in_order((lower, families.other_ppm), (upper, families.same_ppm))?;
        let ppm = u64::from(pools.architectures_ppm).saturating_add(pools.recipes_ppm.into());
        if ppm > PPM {
            return Err(PolicyRefused::Pools { ppm });
        }
        Ok(())
    }
}

fn check_tier(tier: u8, rules: &TierRules) -> Result<(), PolicyRefused> {
    let fields = [
        ("train_bytes", rules.train_bytes, 1, 1 << 40),
        ("seeds", rules.seeds.into(), 1, 8),
        ("sizes", rules.sizes.into(), 1, 6),
        ("probe_seeds", rules.probe_seeds.into(), 0, 16),
        ("probe_bytes", rules.probe_bytes, 0, 1 << 40),
        ("time_factor", rules.time_factor.into(), 1, 255),
        ("pass_ppm", rules.pass_ppm.into(), 0, PPM),
        ("audit_ppm", rules.audit_ppm.into(), 0, PPM),
    ];
    fields.into_iter().try_for_each(|(field, got, least, most)| {
        within(&format!("scoring.funnel.tiers: {field} of tier {tier}"), got, least, most)
    })
}

fn all_within(fields: &[(&str, u64, u64, u64)]) -> Result<(), PolicyRefused> {
    fields.iter().try_for_each(|(field, got, least, most)| within(field, *got, *least, *most))
}

fn within(field: &str, got: u64, least: u64, most: u64) -> Result<(), PolicyRefused> {
    if (least..=most).contains(&got) {
        return Ok(());
    }
    Err(PolicyRefused::Bounds { field: field.to_owned(), got, least, most })
}

fn in_order(
    (lower, low): (&'static str, u32),
    (upper, high): (&'static str, u32),
) -> Result<(), PolicyRefused> {
    if low <= high {
        Ok(())
    } else {
        Err(PolicyRefused::Order { lower, upper })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::all_policies;

    type Change = fn(&mut Policy);

    #[test]
    fn every_policy_that_is_built_in_passes() {
        for policy in all_policies() {
            policy.check().unwrap();
        }
    }

    #[test]
    fn what_the_node_cannot_hold_to_is_refused_by_name() {
        let refused = |change: Change| {
            let mut policy = Policy::dev();
            change(&mut policy);
            policy.check().unwrap_err().to_string()
        };
        let cases: [(Change, &str); 15] = [
            (|p| p.name = "My policy".to_owned(), "`name` has 1 to 64 small letters"),
            (|p| p.agreement.replicas = 0, "`agreement.replicas` is 0; it may be 1 to"),
            (|p| p.run.device_count = 9, "`run.device_count` is 9; it may be 1 to 8"),
            (|p| p.meter.sequence_tokens = 1, "`meter.sequence_tokens` is 1; it may be 2 to"),
            (|p| p.scoring.funnel.tiers.clear(), "`scoring.funnel.tiers` is 0; it may be 1 to 3"),
            (
                |p| p.scoring.funnel.tiers[1].seeds = 0,
                "`scoring.funnel.tiers: seeds of tier 2` is 0; it may be 1 to 8",
            ),
            (
                |p| p.scoring.funnel.tiers[2].time_factor = 200,
                "the limits of time of tier 3 do not lie",
            ),
            (|p| p.meter.train_bytes += 1, "they are one budget"),
            (|p| p.scoring.funnel.tiers.truncate(1), "no tier has `attributes`"),
            (|p| p.scoring.funnel.tiers[0].attributes = true, "the first tier has `attributes`"),
            (|p| p.scoring.funnel.tiers[1].seeds = 1, "too few `seeds` to know a spread"),
            (|p| p.meter.batch_sequences = 2_048, "the predictions of a batch"),
            (|p| p.duplicates.held_ppm = 970_000, "`duplicates.held_ppm` is above"),
            (|p| p.memory_blocks = 99, "`memory_blocks` is 99; it may be 120 to"),
            (|p| p.scoring.pools.recipes_ppm = 400_001, "pays 1000001 of 1,000,000 parts"),
        ];
        for (change, told) in cases {
            let refused = refused(change);
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn several_devices_are_allowed() {
        let mut policy = Policy::standard();
        policy.run.device_count = 4;
        policy.check().unwrap();
    }
}
