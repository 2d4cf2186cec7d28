//! From a loss to a score.

use serde::{Deserialize, Serialize};

/// Scores of several seeds or tasks together, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// Their mean, rounded down.
    pub mean_ppm: u32,
    /// The worst of them.
    pub worst_ppm: u32,
}

/// `clamp((floor - loss) / (floor - ceiling))` in parts per million: 0 for what reads no order, or
/// worse, and 1,000,000 for perfect understanding.
///
/// A loss that is no number scores 0, and so does everything where the floor is not above the
/// ceiling.
#[must_use]
pub fn score_ppm(floor_nats: f64, ceiling_nats: f64, loss_nats: f64) -> u32 {
    let share = (floor_nats - loss_nats) / (floor_nats - ceiling_nats);
    if !share.is_finite() || floor_nats <= ceiling_nats {
        return 0;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1,000,000 before the conversion"
    )]
    let ppm = libm::floor(share.clamp(0.0, 1.0) * 1e6) as u32;
    ppm
}

/// Mean and worst of scores; `None` of none.
#[must_use]
pub fn summary(scores_ppm: &[u32]) -> Option<ProbeSummary> {
    let sum: u64 = scores_ppm.iter().map(|score| u64::from(*score)).sum();
    let mean = sum.checked_div(u64::try_from(scores_ppm.len()).ok()?)?;
    Some(ProbeSummary { mean_ppm: u32::try_from(mean).ok()?, worst_ppm: *scores_ppm.iter().min()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_the_way_from_floor_to_ceiling_and_never_beyond() {
        assert_eq!(score_ppm(2.0, 0.0, 2.0), 0);
        assert_eq!(score_ppm(2.0, 0.0, 0.5), 750_000);
        assert_eq!(score_ppm(2.0, 1.0, 1.25), 750_000);
        assert_eq!(score_ppm(2.0, 0.0, -1.0), 1_000_000);
        assert_eq!(score_ppm(2.0, 0.0, 3.0), 0);
        for loss in [f64::NAN, f64::INFINITY] {
            assert_eq!(score_ppm(2.0, 0.0, loss), 0);
        }
        assert_eq!(score_ppm(1.0, 1.0, 0.5), 0);
        assert_eq!(score_ppm(1.0, 2.0, 0.5), 0);
    }

    #[test]
    fn mean_and_worst_of_seeds() {
        let of_three = summary(&[900_000, 300_000, 600_001]).unwrap();
        assert_eq!(of_three, ProbeSummary { mean_ppm: 600_000, worst_ppm: 300_000 });
        assert_eq!(summary(&[]), None);
    }
}
