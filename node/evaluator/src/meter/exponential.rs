//! The exponential function of many numbers at once.
//!
//! Every entry of the vocabulary at every position passes through here, so it is most of what the
//! meter computes. Additions and multiplications in a fixed order alone: each machine gets the same
//! bits, whatever its vectors, and the compiler can do several at once.
//!
//! Single precision, as what comes from the container: a sum is right to some 1e-7, ten thousand
//! times as exact as the tolerance that it is held against, and the same everywhere.

use std::f32::consts::LOG2_E;

/// Numbers that are summed beside each other.
const LANES: usize = 8;

/// Numbers whose sum is kept in single precision before it is added to the rest.
const BLOCK: usize = 32 * LANES;

/// Beyond it, in both directions, the power of two would not be a normal number. `exp(-87)` is
/// 1e-38, which is nothing beside one.
const EXPONENT_MAX: f32 = 87.0;

/// Added to a number below 2^22 it leaves no room for a fraction: what was added is rounded, and
/// stands as an integer in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;

/// The natural logarithm of two in two parts. The first has nine bits, so that a multiple of it is
/// exact.
const LN_2_HIGH: f32 = f32::from_bits(0x3f31_8000);
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// One over the factorials of seven down to one: the series is cut where what is left is below a
/// unit in the last place.
const COEFFICIENTS: [f32; 7] =
    [1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0, 1.0];

/// The sum of `exp(x)` over a row. NaN if any of it is; minus infinity counts as nothing.
pub(super) fn sum_of_exponentials(row: &[f32]) -> f64 {
    row.chunks(BLOCK).map(|block| f64::from(sum_of_block(block))).sum()
}

fn sum_of_block(block: &[f32]) -> f32 {
    let (lanes, rest) = block.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for lane in lanes {
        for (sum, x) in sums.iter_mut().zip(lane) {
            *sum += exponential(*x);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += exponential(*x);
    }
    sums.iter().sum()
}

/// `exp(x)`, to a few units in the last place, within [`EXPONENT_MAX`] of zero.
#[inline]
fn exponential(x: f32) -> f32 {
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
    let power_of_two = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    (series * left + 1.0) * power_of_two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_function_to_a_few_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for step in 0_u16..=60_000 {
            let x = f32::from(step) * -1.4e-3 + 3.0;
            let exact = libm::exp(f64::from(x));
            worst = worst.max((f64::from(exponential(x)) - exact).abs() / exact);
        }
        assert!(worst < 3e-7, "{worst:e}");
        assert!((exponential(0.0) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn the_sum_of_a_long_row_is_right_to_a_ten_millionth() {
        let row: Vec<f32> =
            (0_u16..50_000).map(|entry| -4.0 - f32::from(entry % 997) / 90.0).collect();
        let exact: f64 = row.iter().map(|x| libm::exp(f64::from(*x))).sum();
        let relative = (sum_of_exponentials(&row) - exact).abs() / exact;
        assert!(relative < 1e-7, "{relative:e}");
    }

    #[test]
    fn what_is_no_number_stays_none_and_what_is_too_large_is_never_one() {
        assert!(exponential(f32::NAN).is_nan());
        assert!(exponential(f32::NEG_INFINITY) < 1e-37);
        assert!(exponential(f32::INFINITY) > 1e37);
        for place in [0, 5, 7, 8, 10] {
            let mut row = [-2.0_f32; 11];
            row[place] = f32::NAN;
            assert!(sum_of_exponentials(&row).is_nan(), "{place}");
            row[place] = f32::NEG_INFINITY;
            let others = 10.0 * libm::exp(-2.0);
            assert!((sum_of_exponentials(&row) - others).abs() < 1e-6, "{place}");
        }
        assert!(sum_of_exponentials(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn every_machine_gets_these_bits() {
        let row: Vec<f32> = (0_u8..=255).map(|entry| -f32::from(entry) / 16.0).collect();
        assert_eq!(sum_of_exponentials(&row).to_bits(), 4_625_339_019_918_573_568);
    }
}
