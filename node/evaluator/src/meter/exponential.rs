//! The exponential function of many numbers at once.
//!
//! Every entry of the vocabulary at every position passes through here, so it is most of what the
//! meter computes. Additions and multiplications in a fixed order alone: each machine gets the same
//! bits, whatever its vectors, and the compiler can do several at once.

use std::f64::consts::LOG2_E;

/// Numbers that are summed beside each other.
const LANES: usize = 8;

/// Beyond it, in both directions, the power of two would not be a normal number. `exp(-700)` is
/// 1e-304, which is nothing beside one.
const EXPONENT_MAX: f64 = 700.0;

/// Added to a number below 2^51 it leaves no room for a fraction: what was added is rounded, and
/// stands as an integer in the lowest bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// The natural logarithm of two in two parts. The first ends in so many zeros that a multiple of it
/// is exact.
const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// One over the factorials of twelve down to one: the series is cut where what is left is below a
/// unit in the last place.
const COEFFICIENTS: [f64; 12] = [
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    1.0 / 2.0,
    1.0,
];

/// The sum of `exp(x)` over a row. NaN if any of it is; minus infinity counts as nothing.
pub(super) fn sum_of_exponentials(row: &[f32]) -> f64 {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *sum += exponential(f64::from(*x));
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += exponential(f64::from(*x));
    }
    sums.iter().sum()
}

/// `exp(x)`, to a few units in the last place, within [`EXPONENT_MAX`] of zero.
#[inline]
fn exponential(x: f64) -> f64 {
    // Comparisons as they are let NaN through.
    let x = if x < -EXPONENT_MAX { -EXPONENT_MAX } else { x };
    let x = if x > EXPONENT_MAX { EXPONENT_MAX } else { x };
    let rounded = x * LOG2_E + ROUNDING;
    let power = rounded - ROUNDING;
    let left = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let mut series = 0.0;
    for coefficient in COEFFICIENTS {
        series = series * left + coefficient;
    }
    let power_of_two = f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52);
    (series * left + 1.0) * power_of_two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_function_to_a_few_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for step in 0..=1_000_000 {
            let x = f64::from(step) * -7e-4 + 3.0;
            let exact = libm::exp(x);
            worst = worst.max((exponential(x) - exact).abs() / exact);
        }
        assert!(worst < 1e-15, "{worst:e}");
        assert!((exponential(0.0) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_no_number_stays_none_and_what_is_too_large_is_never_one() {
        assert!(exponential(f64::NAN).is_nan());
        assert!(exponential(f64::NEG_INFINITY) < 1e-300);
        assert!(exponential(f64::INFINITY) > 1e300);
        for place in [0, 5, 7, 8, 10] {
            let mut row = [-2.0_f32; 11];
            row[place] = f32::NAN;
            assert!(sum_of_exponentials(&row).is_nan(), "{place}");
            row[place] = f32::NEG_INFINITY;
            let others = 10.0 * libm::exp(-2.0);
            assert!((sum_of_exponentials(&row) - others).abs() < 1e-14, "{place}");
        }
        assert!(sum_of_exponentials(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn every_machine_gets_these_bits() {
        let row: Vec<f32> = (0_u8..=255).map(|entry| -f32::from(entry) / 16.0).collect();
        assert_eq!(sum_of_exponentials(&row).to_bits(), 4_625_339_020_195_107_323);
    }
}
