//! From measurements to points: the `nas` score.
//!
//! Inputs are integers from a receipt. The arithmetic is IEEE 754 double precision in a fixed
//! order, with transcendental functions from `libm` instead of the platform's, so two validators
//! with the same receipt get the same points.

use crate::evidence::Metrics;

/// Points of a perfect submission (zero bits per byte).
pub const POINTS_MAX: u64 = 1_000_000_000;

const NANO: f64 = 1e-9;
/// Above this difference of held-out and training bits per byte, a submission counts half.
const GAP_MAX: f64 = 1.0;
/// A lower bits per byte by more than this never ranks lower.
const RESOLUTION_BPB: f64 = 5e-3;
/// Largest tie-breaking bonus.
const TIE_MAX: f64 = 1e-3;
/// An untrained model that loses less than this share of `ln V` has seen the answers.
const STEP0_SHARE_MIN: f64 = 0.5;

/// Why a completed run has no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotScored {
    /// No text was covered.
    #[error("no text was covered")]
    NothingCovered,
    /// The loss is zero: impossible for text that was not known before.
    #[error("the loss is zero")]
    ZeroLoss,
}

/// Bits per byte of the training text, the prequential code length.
///
/// # Errors
///
/// [`NotScored`] if nothing was covered or nothing was lost.
pub fn bits_per_byte(metrics: &Metrics) -> Result<f64, NotScored> {
    if metrics.covered_bytes == 0 {
        return Err(NotScored::NothingCovered);
    }
    if metrics.sum_nll_nanonats == 0 {
        return Err(NotScored::ZeroLoss);
    }
    let bits = to_f64(metrics.sum_nll_nanonats) * NANO / core::f64::consts::LN_2;
    Ok(bits / to_f64(metrics.covered_bytes))
}

/// [`bits_per_byte`] in units of 1e-9, rounded down; what two validators compare.
///
/// # Errors
///
/// As [`bits_per_byte`].
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and what does not fit saturates"
)]
pub fn nanobits_per_byte(metrics: &Metrics) -> Result<u64, NotScored> {
    Ok(libm::floor(bits_per_byte(metrics)? * 1e9) as u64)
}

/// The score, at most [`POINTS_MAX`]; larger is better. Rounds down.
///
/// # Errors
///
/// As [`bits_per_byte`].
pub fn points(metrics: &Metrics) -> Result<u64, NotScored> {
    let bpb = bits_per_byte(metrics)?;
    let heldout = to_f64(metrics.heldout_nanobpb) * NANO;
    let gap = heldout - to_f64(metrics.last_tenth_nanobpb) * NANO;
    let delta = to_f64(metrics.heldout_init_nanobpb) * NANO - heldout;
    let penalty = if gap > GAP_MAX { 0.5 } else { 1.0 };
    let bonus = TIE_MAX.min(0.5 * (base(bpb) - base(bpb + RESOLUTION_BPB)));
    let score = base(bpb) * penalty + bonus * penalty * libm::tanh(delta);
    let knew_answers = to_f64(metrics.step0_loss_nanonats) * NANO
        < STEP0_SHARE_MIN * libm::log(f64::from(metrics.vocabulary.max(2)));
    if knew_answers {
        return Ok(0);
    }
    Ok(floor_to_points(score))
}

fn base(bpb: f64) -> f64 {
    1.0 / (1.0 + bpb)
}

#[allow(clippy::cast_precision_loss, reason = "values stay below 2^53: nano units of minutes")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=POINTS_MAX before the conversion"
)]
fn floor_to_points(score: f64) -> u64 {
    let scaled = libm::floor(score * 1e9);
    scaled.clamp(0.0, 1e9) as u64
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the tests choose numbers that fit"
)]
mod tests {
    use super::*;
    use crate::evidence::tests as evidence;
    use proptest::prelude::*;

    pub(crate) fn metrics(bpb: f64) -> Metrics {
        let nll = bpb * core::f64::consts::LN_2 * 200_000.0 * 1e9;
        Metrics {
            heldout_nanobpb: (bpb * 1e9) as u64,
            last_tenth_nanobpb: (bpb * 1e9) as u64,
            ..evidence::metrics(nll as u64)
        }
    }

    #[test]
    fn known_scores_stay_what_they_are() {
        assert_eq!(points(&metrics(2.0)).unwrap() / 1_000_000, 333);
        assert_eq!(points(&metrics(8.0)).unwrap() / 1_000_000, 111);
    }

    #[test]
    fn an_untrained_model_that_knows_the_answers_gets_nothing() {
        let cheat = Metrics { step0_loss_nanonats: 1_000_000_000, ..metrics(1.0) };
        assert_eq!(points(&cheat), Ok(0));
    }

    #[test]
    fn nothing_covered_and_zero_loss_are_not_scores() {
        let empty = Metrics { covered_bytes: 0, ..metrics(1.0) };
        assert_eq!(points(&empty), Err(NotScored::NothingCovered));
        let zero = Metrics { sum_nll_nanonats: 0, ..metrics(1.0) };
        assert_eq!(points(&zero), Err(NotScored::ZeroLoss));
    }

    /// The score as the rules write it, in plain floating point.
    fn by_the_rules(bpb: f64, init: f64, heldout: f64, last_tenth: f64) -> f64 {
        let base = |bpb: f64| 1.0 / (1.0 + bpb);
        let penalty = if heldout - last_tenth > 1.0 { 0.5 } else { 1.0 };
        let delta = init - heldout;
        let tie = f64::min(1e-3 * penalty, 0.5 * penalty * (base(bpb) - base(bpb + 5e-3)));
        (base(bpb) * penalty + tie * delta.tanh()) * 1e9
    }

    #[test]
    fn training_that_made_the_held_out_text_worse_loses_ties() {
        let of = |init| points(&Metrics { heldout_init_nanobpb: init, ..metrics(2.0) }).unwrap();
        assert!(of(1_000_000_000) < of(2_000_000_000));
        assert!(of(2_000_000_000) < of(8_000_000_000));
    }

    proptest! {
        #[test]
        fn points_follow_the_rules(
            bpb in 0.01f64..12.0,
            init in 0u64..20_000_000_000,
            heldout in 0u64..20_000_000_000,
            last_tenth in 0u64..20_000_000_000,
        ) {
            let measured = Metrics {
                heldout_init_nanobpb: init,
                heldout_nanobpb: heldout,
                last_tenth_nanobpb: last_tenth,
                ..metrics(bpb)
            };
            prop_assume!(heldout.abs_diff(last_tenth).abs_diff(1_000_000_000) > 10);
            let [init, heldout, last_tenth] =
                [init, heldout, last_tenth].map(|nano| to_f64(nano) * 1e-9);
            let expected = by_the_rules(bpb, init, heldout, last_tenth);
            let got = to_f64(points(&measured).unwrap());
            prop_assert!((got - expected).abs() < 5.0, "{got} {expected}");
        }

        #[test]
        fn a_strictly_lower_bpb_never_ranks_lower(
            low in 0.01f64..12.0,
            step in 0.0051f64..4.0,
            heldout_low in 0u64..20_000_000_000,
            heldout_high in 0u64..20_000_000_000,
        ) {
            // Both without the gap penalty, whatever the held-out text says about ties: it may
            // also have become worse than it was before training.
            let fit = |bpb: f64, init| Metrics { heldout_init_nanobpb: init, ..metrics(bpb) };
            let better = points(&fit(low, heldout_low)).unwrap();
            let worse = points(&fit(low + step, heldout_high)).unwrap();
            prop_assert!(better >= worse);
        }
    }
}
