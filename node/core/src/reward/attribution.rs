//! What an architecture is, and what a recipe adds.
//!
//! ```text
//! q of a run     = points of the run / mean points of the reference submission
//! q_arch         = mean over seeds of q, under the reference trainer
//! q_recipe       = mean over seeds of q, under its own trainer  -  q_arch of that architecture
//! ```
//!
//! Points already fall with bits per byte and already hold the gap and the audit of the first
//! batch, so q orders runs as the score does. The reference is measured on the same tier, policy,
//! kind of device and image. The reference trainer itself adds nothing: its recipe has q zero.

use serde::{Deserialize, Serialize};

use crate::limits::SEEDS_MIN;

/// One, in units of 1e-9.
pub const NANO: u64 = 1_000_000_000;

/// Largest quality, a thousand times the reference's. A reference with almost no points would
/// else give numbers whose squares do not fit.
pub const QUALITY_MAX: u64 = 1_000 * NANO;

/// Why there is no quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAttributed {
    /// One seed has no spread.
    #[error("{seeds} seeds are too few to know a spread, at least {SEEDS_MIN} are needed")]
    TooFewSeeds {
        /// How many there are.
        seeds: usize,
    },
    /// Nothing to compare with.
    #[error("the reference submission has no points in this tier")]
    NoReference,
}

/// A mean over seeds and its spread, in units of 1e-9 of the reference submission's quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quality {
    /// The mean, rounded down. Negative for a recipe that is worse than the reference trainer.
    pub mean_nano: i64,
    /// The square of the spread (the sample's standard deviation), rounded up: exact where a
    /// square root would not be.
    #[serde(with = "decimal")]
    pub variance_nano2: u128,
}

/// A number as its decimal digits: those of JSON end at 64 bits for many who read it.
mod decimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let digits = String::deserialize(from)?;
        digits.parse().map_err(D::Error::custom)
    }
}

/// What a submission is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attribution {
    /// Its architecture under the reference trainer; `None` if it brought none.
    pub architecture: Option<Quality>,
    /// What its trainer adds; `None` if it brought none.
    pub recipe: Option<Quality>,
}

/// The quality of runs with these points, one per seed.
///
/// - `reference`: points of the reference submission in the same tier, one per seed.
/// - Result: rounded down to 1e-9, at most [`QUALITY_MAX`].
///
/// # Errors
///
/// [`NotAttributed::TooFewSeeds`] below [`SEEDS_MIN`]; [`NotAttributed::NoReference`] if the
/// reference has no points at all.
pub fn architecture_quality(points: &[u64], reference: &[u64]) -> Result<Quality, NotAttributed> {
    if points.len() < SEEDS_MIN {
        return Err(NotAttributed::TooFewSeeds { seeds: points.len() });
    }
    let of_reference: u128 = reference.iter().map(|points| u128::from(*points)).sum();
    let count = u128::try_from(reference.len()).unwrap_or(u128::MAX);
    let quality = |points: &u64| {
        let scaled = u128::from(*points).saturating_mul(count).saturating_mul(u128::from(NANO));
        scaled.checked_div(of_reference).map(|quality| quality.min(u128::from(QUALITY_MAX)))
    };
    let qualities: Option<Vec<u128>> = points.iter().map(quality).collect();
    Ok(summary(&qualities.ok_or(NotAttributed::NoReference)?))
}

/// What a trainer adds to an architecture.
///
/// - `own`: the architecture under its own trainer, `with_reference`: under the reference trainer.
/// - Result: the difference of the means, and both spreads together.
#[must_use]
pub fn recipe_quality(own: &Quality, with_reference: &Quality) -> Quality {
    Quality {
        mean_nano: own.mean_nano.saturating_sub(with_reference.mean_nano),
        variance_nano2: own.variance_nano2.saturating_add(with_reference.variance_nano2),
    }
}

/// Mean and variance of at least two numbers up to [`QUALITY_MAX`].
fn summary(values: &[u128]) -> Quality {
    let count = u128::try_from(values.len()).unwrap_or(u128::MAX);
    let sum: u128 = values.iter().sum();
    let squares: u128 = values.iter().map(|value| value.saturating_mul(*value)).sum();
    // n * sum of squares - square of the sum, over n * (n - 1): no rounding before the division.
    let spread = count.saturating_mul(squares).saturating_sub(sum.saturating_mul(sum));
    let pairs = count.saturating_mul(count.saturating_sub(1)).max(1);
    Quality {
        mean_nano: sum
            .checked_div(count)
            .and_then(|mean| i64::try_from(mean).ok())
            .unwrap_or_default(),
        variance_nano2: spread.div_ceil(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_itself_has_quality_one_and_its_trainer_adds_nothing() {
        let points = [300_000_000, 310_000_000];
        let quality = architecture_quality(&points, &points).unwrap();
        assert!(quality.mean_nano.abs_diff(1_000_000_000) <= 1, "{quality:?}");
        assert_eq!(recipe_quality(&quality, &quality).mean_nano, 0);
    }

    #[test]
    fn the_spread_is_that_of_the_sample() {
        // q of 1.0 and 1.1: the standard deviation is 0.1 / sqrt(2).
        let quality = architecture_quality(&[100, 110], &[100]).unwrap();
        assert_eq!(quality.mean_nano, 1_050_000_000);
        assert_eq!(quality.variance_nano2, 5_000_000_000_000_000);
        assert_eq!(architecture_quality(&[7, 7, 7], &[7]).unwrap().variance_nano2, 0);
    }

    #[test]
    fn one_seed_or_no_reference_is_no_quality() {
        let one = Err(NotAttributed::TooFewSeeds { seeds: 1 });
        assert_eq!(architecture_quality(&[1], &[1]), one);
        for reference in [&[][..], &[0, 0]] {
            assert_eq!(architecture_quality(&[1, 2], reference), Err(NotAttributed::NoReference));
        }
    }

    #[test]
    fn a_reference_of_almost_nothing_gives_the_largest_quality_and_not_an_overflow() {
        let quality = architecture_quality(&[u64::MAX, u64::MAX], &[1]).unwrap();
        assert_eq!(quality, Quality { mean_nano: 1_000_000_000_000, variance_nano2: 0 });
    }

    #[test]
    fn a_worse_recipe_is_negative_and_carries_both_spreads() {
        let own = Quality { mean_nano: 900, variance_nano2: 3 };
        let with_reference = Quality { mean_nano: 1_000, variance_nano2: 4 };
        let added = recipe_quality(&own, &with_reference);
        assert_eq!(added, Quality { mean_nano: -100, variance_nano2: 7 });
    }
}
