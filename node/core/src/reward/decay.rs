//! What a champion is still paid.

use super::attribution::NANO;
use crate::policy::PoolRules;
use crate::unit::BlockCount;

/// The share of its pay that a champion gets at this age, in 1e-9.
///
/// Full for `full_blocks`; one half `halving_blocks` later, a quarter after as many again, and in
/// a straight line between, so that no block is worth waiting for.
#[must_use]
pub fn pay_ppb(rules: &PoolRules, age: BlockCount) -> u64 {
    let over = age.0.saturating_sub(rules.full_blocks);
    let halving = rules.halving_blocks.max(1);
    let halvings = over.checked_div(halving).unwrap_or(u64::MAX);
    let begun = over.checked_rem(halving).unwrap_or(0);
    let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
    let before = NANO.checked_shr(halvings).unwrap_or(0);
    let lost = u128::from(before).saturating_mul(u128::from(begun));
    let lost = lost.checked_div(u128::from(halving).saturating_mul(2)).unwrap_or(0);
    before.saturating_sub(u64::try_from(lost).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ScoringRules;
    use proptest::prelude::*;

    fn pay(age: u64) -> u64 {
        pay_ppb(&ScoringRules::standard().pools, BlockCount(age))
    }

    #[test]
    fn pay_is_full_for_21600_blocks_and_then_halves_each_7200() {
        assert_eq!(pay(0), NANO);
        assert_eq!(pay(21_600), NANO);
        assert_eq!(pay(21_600 + 3_600), NANO / 4 * 3);
        assert_eq!(pay(21_600 + 7_200), NANO / 2);
        assert_eq!(pay(21_600 + 14_400), NANO / 4);
        assert_eq!(pay(21_600 + 7_200 * 40), 0);
        assert_eq!(pay(u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn it_never_rises_and_no_block_costs_much(age in 0u64..200_000) {
            prop_assert!(pay(age + 1) <= pay(age));
            prop_assert!(pay(age) - pay(age + 1) <= NANO / 14_400 + 1);
        }
    }
}
