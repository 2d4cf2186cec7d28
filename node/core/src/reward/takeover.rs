//! When is a result so much better that it takes a place?

use super::attribution::Quality;
use crate::policy::{Margin, PPM};

/// Whether `new - old > max(absolute, |old| * relative, z * sqrt(s_new^2 + s_old^2))`.
///
/// Each of the three is compared by itself and the last one squared, so nothing is rounded. A
/// product too large for 128 bits counts as a margin that nothing exceeds.
#[must_use]
pub fn takes_over(margin: &Margin, new: &Quality, old: &Quality) -> bool {
    let ppm = u128::from(PPM);
    let better = i128::from(new.mean_nano).saturating_sub(i128::from(old.mean_nano));
    let Ok(better) = u128::try_from(better) else { return false };
    let above_absolute = better > u128::from(margin.absolute_nano);
    let relative =
        u128::from(old.mean_nano.unsigned_abs()).saturating_mul(u128::from(margin.relative_ppm));
    let above_relative = better.saturating_mul(ppm) > relative;
    let spreads = u128::from(margin.spreads_ppm);
    let variance = new.variance_nano2.saturating_add(old.variance_nano2);
    let noise = spreads.saturating_mul(spreads).checked_mul(variance);
    let square =
        better.checked_mul(better).and_then(|square| square.checked_mul(ppm.saturating_mul(ppm)));
    let above_noise = match (square, noise) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(square), Some(noise)) => square > noise,
    };
    above_absolute && above_relative && above_noise
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ScoringRules;
    use proptest::prelude::*;

    fn quality(mean_nano: i64, spread_nano: u128) -> Quality {
        Quality { mean_nano, variance_nano2: spread_nano * spread_nano }
    }

    #[test]
    fn each_comparison_of_the_table_holds_exactly_above_its_margin() {
        let rules = ScoringRules::standard().takeover;
        let table = [
            (rules.architecture, 10_000_000),
            (rules.ownership, 80_000_000),
            (rules.recipe, 20_000_000),
            (rules.recipe_transfer, 50_000_000),
        ];
        for (margin, absolute) in table {
            let old = quality(1_000_000_000, 0);
            assert!(!takes_over(&margin, &quality(1_000_000_000 + absolute, 0), &old));
            assert!(takes_over(&margin, &quality(1_000_000_001 + absolute, 0), &old));
        }
    }

    #[test]
    fn of_a_great_old_quality_a_share_is_asked() {
        let margin = ScoringRules::standard().takeover.ownership;
        // 5 % of 4 is 0.2.
        let old = quality(4_000_000_000, 0);
        assert!(!takes_over(&margin, &quality(4_200_000_000, 0), &old));
        assert!(takes_over(&margin, &quality(4_200_000_001, 0), &old));
        let worse = quality(-4_000_000_000, 0);
        assert!(!takes_over(&margin, &quality(-3_800_000_000, 0), &worse));
        assert!(takes_over(&margin, &quality(-3_799_999_999, 0), &worse));
    }

    #[test]
    fn what_noise_explains_takes_nothing() {
        let margin = ScoringRules::standard().takeover.architecture;
        // Spreads of 0.3 and 0.4 make 0.5.
        let old = quality(1_000_000_000, 300_000_000);
        assert!(!takes_over(&margin, &quality(1_500_000_000, 400_000_000), &old));
        assert!(takes_over(&margin, &quality(1_500_000_001, 400_000_000), &old));
        let endless = Quality { mean_nano: i64::MAX, variance_nano2: u128::MAX };
        assert!(!takes_over(&margin, &endless, &old));
    }

    proptest! {
        #[test]
        fn no_two_take_over_each_other(
            one in -1_000_000_000_000i64..1_000_000_000_000,
            other in -1_000_000_000_000i64..1_000_000_000_000,
            spreads in (0u128..1_000_000_000_000, 0u128..1_000_000_000_000),
        ) {
            let margin = ScoringRules::standard().takeover.architecture;
            let (one, other) = (quality(one, spreads.0), quality(other, spreads.1));
            prop_assert!(!(takes_over(&margin, &one, &other) && takes_over(&margin, &other, &one)));
        }

        #[test]
        fn it_is_the_formula(
            old in 0i64..3_000_000_000,
            step in 0i64..400_000_000,
            spreads in (0u128..200_000_000, 0u128..200_000_000),
        ) {
            let margin = ScoringRules::standard().takeover.recipe_transfer;
            let (new, old) = (quality(old + step, spreads.0), quality(old, spreads.1));
            #[allow(clippy::cast_precision_loss, reason = "compared with room for it")]
            let (difference, wanted) = {
                let noise = ((new.variance_nano2 + old.variance_nano2) as f64).sqrt();
                (step as f64, 5e7_f64.max(old.mean_nano as f64 * 0.03).max(noise))
            };
            prop_assume!((difference - wanted).abs() > 10.0);
            prop_assert_eq!(takes_over(&margin, &new, &old), difference > wanted);
        }
    }
}
