//! How results become rewards: families, places, pools, and the tiers of the funnel, as data.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, DigestBuilder};

/// One in parts per million.
pub const PPM: u64 = 1_000_000;

/// How results become rewards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoringRules {
    /// When two architectures are variants of one.
    pub families: FamilyRules,
    /// By how much a better one has to be better.
    pub takeover: TakeoverRules,
    /// What is paid to whom.
    pub pools: PoolRules,
    /// What is paid for at all.
    pub basis: RewardBasis,
    /// Who is evaluated how far.
    pub funnel: FunnelRules,
}

/// What is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardBasis {
    /// The places that architectures and recipes hold in their families.
    Standings,
    /// The points of the first tier, in proportion: no second run, no references.
    Points,
}

/// When two architectures are variants of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyRules {
    /// Similarity from which an architecture belongs to a known family, of 1,000,000.
    pub same_ppm: u32,
    /// Similarity below which it founds a new one. What lies between is held.
    pub other_ppm: u32,
    /// Blocks after which what is held counts as a variant of the nearest family.
    pub hold_blocks: u64,
}

/// By how much a result has to be better to take a place; see
/// [`takes_over`](crate::reward::takes_over).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeoverRules {
    /// To become the best architecture of its family.
    pub architecture: Margin,
    /// To take the family's ownership.
    pub ownership: Margin,
    /// To become the best recipe of a family that has none, or whose best is by the same author.
    pub recipe: Margin,
    /// To take that place from another author.
    pub recipe_transfer: Margin,
}

/// A difference of qualities: the largest of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Margin {
    /// In 1e-9 of the reference's quality.
    pub absolute_nano: u64,
    /// Of the old quality, of 1,000,000.
    pub relative_ppm: u32,
    /// Spreads of both together, of 1,000,000: `z` in the formula.
    pub spreads_ppm: u32,
}

/// What is paid to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRules {
    /// To the owners of families, of 1,000,000.
    pub architectures_ppm: u32,
    /// To the authors of recipes, of 1,000,000. What both leave is burned.
    pub recipes_ppm: u32,
    /// Blocks for which a champion is paid in full.
    pub full_blocks: u64,
    /// Blocks in which its pay halves after that, again and again.
    pub halving_blocks: u64,
}

/// Who is evaluated how far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunnelRules {
    /// Submissions committed in the same window of so many blocks compete.
    pub window_blocks: u64,
    /// Blocks after a window's end until which a missing result may still displace others.
    pub late_blocks: u64,
    /// Tiers 1, 2 and 3; tier 0 is admission.
    pub tiers: Vec<TierRules>,
}

/// One tier of the funnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierRules {
    /// Bytes of training text per run.
    pub train_bytes: u64,
    /// Seeds per submission and trainer.
    pub seeds: u8,
    /// Model sizes per submission.
    pub sizes: u8,
    /// Whether the architecture runs under the reference trainer as well.
    pub attributes: bool,
    /// Whether one run each has longer sequences and larger batches.
    pub stretches: bool,
    /// Seeds of the probe tasks; none without.
    pub probe_seeds: u8,
    /// Bytes of examples per run of the probe tasks.
    pub probe_bytes: u64,
    /// How many times the limits of time of [`super::RunLimits`] a run may take.
    pub time_factor: u8,
    /// Best share that passes, of 1,000,000, and at least one.
    pub pass_ppm: u32,
    /// Chance of each other to pass as an audit, of 1,000,000.
    pub audit_ppm: u32,
}

impl ScoringRules {
    /// The rules of the challenge.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            families: FamilyRules { same_ppm: 820_000, other_ppm: 550_000, hold_blocks: 7_200 },
            takeover: TakeoverRules {
                architecture: Margin::new(10_000_000, 5_000),
                ownership: Margin::new(80_000_000, 50_000),
                recipe: Margin::new(20_000_000, 5_000),
                recipe_transfer: Margin::new(50_000_000, 30_000),
            },
            pools: PoolRules {
                architectures_ppm: 600_000,
                recipes_ppm: 400_000,
                full_blocks: 21_600,
                halving_blocks: 7_200,
            },
            basis: RewardBasis::Standings,
            funnel: FunnelRules::standard(),
        }
    }

    /// [`Self::standard`] with budgets and windows for two CPU cores.
    #[must_use]
    pub fn dev() -> Self {
        let mut rules = Self::standard();
        rules.families.hold_blocks = 20;
        rules.funnel.window_blocks = 20;
        rules.funnel.late_blocks = 40;
        for (tier, train_bytes) in rules.funnel.tiers.iter_mut().zip([200_000, 100_000, 100_000]) {
            tier.train_bytes = train_bytes;
            // Less, and nothing is learned that asks for more than copying.
            tier.probe_bytes = tier.probe_bytes.min(400_000);
            tier.time_factor = 1;
        }
        rules
    }

    /// The first tier of [`Self::dev`] alone, paid by its points.
    #[must_use]
    pub fn quick() -> Self {
        let mut rules = Self::dev();
        rules.basis = RewardBasis::Points;
        rules.funnel.tiers.truncate(1);
        rules
    }

    /// Covers every field: adding one without hashing it does not compile.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Self { families, takeover, pools, basis, funnel } = self;
        let FamilyRules { same_ppm, other_ppm, hold_blocks } = families;
        let TakeoverRules { architecture, ownership, recipe, recipe_transfer } = takeover;
        let PoolRules { architectures_ppm, recipes_ppm, full_blocks, halving_blocks } = pools;
        let FunnelRules { window_blocks, late_blocks, tiers } = funnel;
        let digest = DigestBuilder::new("assay/scoring-rules/v1")
            .number(u64::from(*same_ppm))
            .number(u64::from(*other_ppm))
            .number(*hold_blocks)
            .number(u64::from(*architectures_ppm))
            .number(u64::from(*recipes_ppm))
            .number(*full_blocks)
            .number(*halving_blocks)
            .number(*window_blocks)
            .number(*late_blocks)
            .number(match basis {
                RewardBasis::Standings => 0,
                RewardBasis::Points => 1,
            });
        let digest = [architecture, ownership, recipe, recipe_transfer]
            .into_iter()
            .fold(digest, |digest, margin| margin.hash(digest));
        Digest(tiers.iter().fold(digest, |digest, tier| tier.hash(digest)).finish())
    }
}

impl FunnelRules {
    fn standard() -> Self {
        let proxy = TierRules {
            train_bytes: 20_000_000,
            seeds: 1,
            sizes: 1,
            attributes: false,
            stretches: false,
            probe_seeds: 0,
            probe_bytes: 0,
            time_factor: 1,
            pass_ppm: 250_000,
            audit_ppm: 50_000,
        };
        let short = TierRules {
            train_bytes: 200_000_000,
            seeds: 2,
            attributes: true,
            time_factor: 2,
            pass_ppm: 100_000,
            audit_ppm: 0,
            ..proxy
        };
        let full = TierRules {
            train_bytes: 2_000_000_000,
            seeds: 1,
            sizes: 3,
            attributes: false,
            stretches: true,
            probe_seeds: 3,
            probe_bytes: 200_000_000,
            time_factor: 6,
            pass_ppm: 1_000_000,
            ..short
        };
        Self { window_blocks: 7_200, late_blocks: 7_200, tiers: vec![proxy, short, full] }
    }

    /// The rules of a tier, from 1.
    #[must_use]
    pub fn tier(&self, tier: u8) -> Option<&TierRules> {
        self.tiers.get(usize::from(tier.checked_sub(1)?))
    }
}

impl Margin {
    const fn new(absolute_nano: u64, relative_ppm: u32) -> Self {
        Self { absolute_nano, relative_ppm, spreads_ppm: 1_000_000 }
    }

    fn hash(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self { absolute_nano, relative_ppm, spreads_ppm } = self;
        digest
            .number(*absolute_nano)
            .number(u64::from(*relative_ppm))
            .number(u64::from(*spreads_ppm))
    }
}

impl TierRules {
    fn hash(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self {
            train_bytes,
            seeds,
            sizes,
            attributes,
            stretches,
            probe_seeds,
            probe_bytes,
            time_factor,
            pass_ppm,
            audit_ppm,
        } = self;
        digest
            .number(*train_bytes)
            .number(u64::from(*seeds))
            .number(u64::from(*sizes))
            .number(u64::from(*attributes))
            .number(u64::from(*stretches))
            .number(u64::from(*probe_seeds))
            .number(*probe_bytes)
            .number(u64::from(*time_factor))
            .number(u64::from(*pass_ppm))
            .number(u64::from(*audit_ppm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_rule_changes_the_digest() {
        let standard = ScoringRules::standard();
        assert_ne!(standard.digest(), ScoringRules::dev().digest());
        let changed = |change: fn(&mut ScoringRules)| {
            let mut rules = ScoringRules::standard();
            change(&mut rules);
            rules.digest()
        };
        for digest in [
            changed(|rules| rules.takeover.recipe_transfer.relative_ppm += 1),
            changed(|rules| rules.pools.halving_blocks += 1),
            changed(|rules| rules.funnel.tiers[2].sizes += 1),
            changed(|rules| rules.families.other_ppm += 1),
        ] {
            assert_ne!(digest, standard.digest());
        }
    }

    #[test]
    fn each_tier_costs_more_and_passes_fewer_than_the_one_before() {
        for rules in [ScoringRules::standard(), ScoringRules::dev()] {
            assert_eq!(rules.funnel.tiers.len(), 3);
            let cost = |tier: u8| {
                let tier = rules.funnel.tier(tier).unwrap();
                let trainers = 1 + u64::from(tier.attributes);
                tier.train_bytes * u64::from(tier.seeds) * u64::from(tier.sizes) * trainers
            };
            assert!(cost(1) < cost(2) && cost(1) < cost(3));
            assert!(
                rules.funnel.tier(2).unwrap().pass_ppm < rules.funnel.tier(1).unwrap().pass_ppm
            );
            assert_eq!(rules.funnel.tier(0), None);
            assert_eq!(rules.funnel.tier(4), None);
        }
    }
}
