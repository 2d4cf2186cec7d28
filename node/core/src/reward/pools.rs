//! What each hotkey gets, and what is burned.

use std::collections::BTreeMap;

use super::attribution::NANO;
use super::decay::pay_ppb;
use super::standings::{Champion, Table};
use crate::id::Hotkey;
use crate::policy::{PoolRules, PPM};
use crate::unit::BlockNumber;

/// All of the reward, in units of 1e-12.
pub const SHARES_TOTAL: u64 = 1_000_000_000_000;

/// Something is to be burned, and the subnet has no owner whose hotkey burns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{burned} of {SHARES_TOTAL} parts are to be burned, and the subnet has no owner's hotkey")]
pub struct NobodyBurns {
    /// Parts of [`SHARES_TOTAL`].
    pub burned: u64,
}

/// Parts of the reward; together they are [`SHARES_TOTAL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Parts by hotkey, all above zero.
    pub by_hotkey: BTreeMap<Hotkey, u64>,
    /// What nobody gets.
    pub burned: u64,
}

/// The shares at a block.
///
/// - The pool of architectures is divided among families with an owner in proportion to their
///   best architecture, the pool of recipes among families with a recipe in proportion to theirs.
/// - Then each part is cut by its champion's age. What is cut, what a pool without anybody holds,
///   and what rounding leaves, is burned: nobody gains because another one's champion grows old.
#[must_use]
pub fn shares(rules: &PoolRules, table: &Table, at: BlockNumber) -> Shares {
    let owned = table
        .families
        .values()
        .filter_map(|family| family.owner.map(|owner| (owner, &family.architecture)));
    let recipes = table.families.values().filter_map(|family| {
        let recipe = family.recipe.as_ref()?;
        recipe.priority.map(|priority| (priority.author, recipe))
    });
    let mut by_hotkey: BTreeMap<Hotkey, u64> = BTreeMap::new();
    let pools = [
        (rules.architectures_ppm, owned.collect::<Vec<_>>()),
        (rules.recipes_ppm, recipes.collect()),
    ];
    let mut left = SHARES_TOTAL;
    for (ppm, champions) in pools {
        // Two pools that are more than everything leave the second what the first left.
        let pool = scaled(SHARES_TOTAL, u64::from(ppm), PPM).min(left);
        left = left.saturating_sub(pool);
        for (hotkey, part) in divide(rules, pool, &champions, at) {
            let sum = by_hotkey.entry(hotkey).or_insert(0);
            *sum = sum.saturating_add(part);
        }
    }
    by_hotkey.retain(|_, part| *part > 0);
    let paid: u64 = by_hotkey.values().sum();
    Shares { by_hotkey, burned: SHARES_TOTAL.saturating_sub(paid) }
}

fn divide(
    rules: &PoolRules,
    pool: u64,
    champions: &[(Hotkey, &Champion)],
    at: BlockNumber,
) -> Vec<(Hotkey, u64)> {
    let weight = |champion: &Champion| u64::try_from(champion.quality.mean_nano).unwrap_or(0);
    let weights = champions.iter().map(|(_, champion)| weight(champion));
    let total = weights.fold(0_u64, u64::saturating_add);
    let part = |(hotkey, champion): &(Hotkey, &Champion)| {
        let full = scaled(pool, weight(champion), total);
        (*hotkey, scaled(full, pay_ppb(rules, champion.age(at)), NANO))
    };
    champions.iter().map(part).collect()
}

/// `amount * part / whole`, rounded down; zero of nothing.
fn scaled(amount: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(amount).saturating_mul(u128::from(part));
    let quotient = product.checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

impl Shares {
    /// Before anybody holds a place: all is burned.
    #[must_use]
    pub fn nobodys() -> Self {
        Self { by_hotkey: BTreeMap::new(), burned: SHARES_TOTAL }
    }

    /// The same, with the parts of some hotkeys burned.
    #[must_use]
    pub fn without(mut self, is_burned: impl Fn(&Hotkey) -> bool) -> Self {
        self.by_hotkey.retain(|hotkey, _| !is_burned(hotkey));
        let paid: u64 = self.by_hotkey.values().sum();
        self.burned = SHARES_TOTAL.saturating_sub(paid);
        self
    }

    /// The parts as they are handed to the chain: what is burned goes to the hotkey of the subnet's
    /// owner, whose incentive the chain burns.
    ///
    /// # Errors
    ///
    /// [`NobodyBurns`] if something is to be burned and there is no such hotkey: left out, it would
    /// be shared among all others. The caller keeps what is on chain.
    pub fn with_burn_to(
        &self,
        owner: Option<Hotkey>,
    ) -> Result<BTreeMap<Hotkey, u64>, NobodyBurns> {
        let mut all = self.by_hotkey.clone();
        if self.burned > 0 {
            let owner = owner.ok_or(NobodyBurns { burned: self.burned })?;
            let sum = all.entry(owner).or_insert(0);
            *sum = sum.saturating_add(self.burned);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ScoringRules;
    use crate::reward::fingerprint::tests::{fingerprint, ssm, transformer};
    use crate::reward::standings::tests::{result, ALICE, BOB};
    use crate::reward::standings::{Settled, Standings};

    fn shares_at(results: &[Settled], at: u64) -> Shares {
        let rules = ScoringRules::standard();
        let mut standings = Standings::new(rules.clone(), Vec::new());
        results.iter().for_each(|result| standings.apply(result.clone()));
        shares(&rules.pools, &standings.table(BlockNumber(at)), BlockNumber(at))
    }

    fn of(shares: &Shares, author: u8) -> u64 {
        shares.by_hotkey.get(&Hotkey([author; 32])).copied().unwrap_or(0)
    }

    #[test]
    fn nobody_means_that_all_is_burned() {
        let shares = shares_at(&[], 0);
        assert_eq!((shares.by_hotkey.len(), shares.burned), (0, SHARES_TOTAL));
        assert_eq!(shares.with_burn_to(None), Err(NobodyBurns { burned: SHARES_TOTAL }));
        let owner = Hotkey([9; 32]);
        let payable = shares.with_burn_to(Some(owner)).unwrap();
        assert_eq!(payable, [(owner, SHARES_TOTAL)].into());
    }

    #[test]
    fn families_share_by_quality_and_a_pool_without_anybody_is_burned() {
        let one = result(1, ALICE, &fingerprint(&transformer(2)), Some(1_000), None);
        let other = result(2, BOB, &fingerprint(&ssm(2)), Some(500), None);
        let shares = shares_at(&[one, other], 10);
        assert_eq!(of(&shares, ALICE), 400_000_000_000);
        assert_eq!(of(&shares, BOB), 200_000_000_000);
        assert_eq!(shares.burned, 400_000_000_000);
    }

    #[test]
    fn an_old_champion_is_paid_less_and_nobody_gets_the_rest() {
        let one = result(0, ALICE, &fingerprint(&transformer(2)), Some(1_000), Some(100));
        let other = result(20_000, BOB, &fingerprint(&ssm(2)), Some(1_000), None);
        let shares = shares_at(&[one, other], 28_800);
        assert_eq!(of(&shares, ALICE), 150_000_000_000 + 200_000_000_000);
        assert_eq!(of(&shares, BOB), 300_000_000_000);
        assert_eq!(shares.burned, 350_000_000_000);
    }
}
