//! Numbers by chance, the same for the same seed on every machine.

/// `SplitMix64`: fixed by its definition, so that a seed means the same for ever.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// A stream for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number above 0 and up to 1.
    pub fn unit(&mut self) -> f64 {
        let top = u32::try_from(self.bits() >> 32).unwrap_or(u32::MAX);
        (f64::from(top) + 1.0) / (f64::from(u32::MAX) + 1.0)
    }

    /// A waiting time for something that happens every `mean` on average, whenever it likes.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(self.unit()) * mean
    }

    /// A log-normal number with this median; `sigma` is the deviation of its logarithm.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        let normal = radius * libm::cos(std::f64::consts::TAU * self.unit());
        median * libm::exp(sigma * normal)
    }

    /// One of several, as often as their weights say.
    pub fn weighted<T: Copy>(&mut self, choices: &[(T, u32)]) -> T {
        let sum: u32 = choices.iter().map(|(_, weight)| weight).sum();
        let mut left = self.unit() * f64::from(sum);
        for (choice, weight) in choices {
            left -= f64::from(*weight);
            if left <= 0.0 {
                return *choice;
            }
        }
        choices[choices.len() - 1].0
    }
}

/// Whole milliseconds, at least one.
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest whole number that there is"
)]
pub fn whole_ms(ms: f64) -> u64 {
    (ms.round() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_normal_has_its_median_and_its_mean() {
        let mut draw = Draw::new(1);
        let mut drawn: Vec<f64> = (0..100_001).map(|_| draw.log_normal(600.0, 1.0)).collect();
        drawn.sort_by(f64::total_cmp);
        let (median, mean) = (drawn[50_000], drawn.iter().sum::<f64>() / 100_001.0);
        assert!((median / 600.0 - 1.0).abs() < 0.02, "{median}");
        assert!((mean / (600.0 * libm::exp(0.5)) - 1.0).abs() < 0.03, "{mean}");
    }
}
