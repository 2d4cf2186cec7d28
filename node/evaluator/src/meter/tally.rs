//! Losses into the integers of a result.

use node_core::evidence::{Conduct, Metrics};
use node_core::limits::LOSS_CURVE_POINTS_MAX;

use super::loss::BatchLoss;

/// Sums of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) heldout_before: Vec<BatchLoss>,
    training: Vec<BatchLoss>,
    training_total: BatchLoss,
    pub(super) heldout_after: Vec<BatchLoss>,
    pub(super) audits: u32,
    pub(super) parameters: u64,
    pub(super) vocabulary: u32,
    /// What is noted of the run itself, as far as it is known here.
    pub(super) conduct: Conduct,
}

/// The sum of several batches, in their order: floating-point sums depend on it.
fn total(batches: &[BatchLoss]) -> BatchLoss {
    batches.iter().fold(BatchLoss::default(), BatchLoss::plus)
}

impl Tally {
    /// For a run with so many entries of the vocabulary.
    pub(super) fn new(vocabulary: u32) -> Self {
        Self { vocabulary, ..Self::default() }
    }

    /// Adds the next training batch.
    pub(super) fn push_training(&mut self, loss: BatchLoss) {
        self.training_total = self.training_total.plus(&loss);
        self.training.push(loss);
    }

    /// Training batches scored.
    pub(super) fn batches(&self) -> u32 {
        u32::try_from(self.training.len()).unwrap_or(u32::MAX)
    }

    /// Bytes of training text scored, and bits per byte over them times 1e9.
    pub(super) fn so_far(&self) -> (u64, u64) {
        (self.training_total.bytes, nano(bits_per_byte(&self.training_total)))
    }

    /// The result.
    pub(super) fn metrics(&self) -> Metrics {
        let training = self.training_total;
        let tenth = self.training.len().div_ceil(10);
        let last_tenth = self.training.len().saturating_sub(tenth);
        let last_tenth = total(self.training.get(last_tenth..).unwrap_or_default());
        let step0 = total(self.training.get(..1).unwrap_or_default());
        let all = [&self.heldout_before, &self.training, &self.heldout_after];
        let bad_batches = all.iter().flat_map(|batches| batches.iter()).filter(|b| b.is_bad);
        Metrics {
            sum_nll_nanonats: nano(training.nats),
            covered_bytes: training.bytes,
            tokens: training.tokens,
            batches: self.batches(),
            bad_batches: u32::try_from(bad_batches.count()).unwrap_or(u32::MAX),
            audits: self.audits,
            step0_loss_nanonats: nano(per_token(&step0)),
            vocabulary: self.vocabulary,
            heldout_init_nanobpb: nano(bits_per_byte(&total(&self.heldout_before))),
            heldout_nanobpb: nano(bits_per_byte(&total(&self.heldout_after))),
            last_tenth_nanobpb: nano(bits_per_byte(&last_tenth)),
            parameters: self.parameters,
            peak_memory_bytes: 0,
            loss_curve_microbpb: self.curve(),
            conduct: Conduct { scored_positions: training.positions, ..self.conduct.clone() },
        }
    }

    /// Bits per byte over the run: as many batches per point as it takes to stay below the limit.
    fn curve(&self) -> Vec<u32> {
        let per_point = self.training.len().div_ceil(LOSS_CURVE_POINTS_MAX).max(1);
        let point = |batches| {
            let micro = nano(bits_per_byte(&total(batches))) / 1000;
            u32::try_from(micro).unwrap_or(u32::MAX)
        };
        self.training.chunks(per_point).map(point).collect()
    }
}

fn per_token(loss: &BatchLoss) -> f64 {
    loss.nats / float(loss.tokens)
}

fn bits_per_byte(loss: &BatchLoss) -> f64 {
    loss.nats / float(loss.bytes) / std::f64::consts::LN_2
}

/// A count to divide by.
fn float(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "2^53 tokens are more than any budget")]
    let count = count.max(1) as f64;
    count
}

/// A non-negative number times 1e9, rounded.
fn nano(value: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates; losses are finite and not negative"
    )]
    let nano = (value * 1e9).round() as u64;
    nano
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bits_per_byte: f64) -> BatchLoss {
        let nats = bits_per_byte * std::f64::consts::LN_2 * 1024.0;
        BatchLoss { nats, tokens: 1024, bytes: 1024, positions: 1024, is_bad: false }
    }

    #[test]
    fn golden_numbers_of_a_small_run() {
        let mut tally = Tally {
            heldout_before: vec![batch(8.0), batch(8.0)],
            heldout_after: vec![batch(3.0), BatchLoss { is_bad: true, ..batch(4.0) }],
            audits: 3,
            parameters: 1000,
            ..Tally::default()
        };
        (0..20).for_each(|index| tally.push_training(batch(8.0 - 0.25 * f64::from(index))));
        let metrics = tally.metrics();
        // 20 batches with a mean of 5.625 bits: 20 * 1024 * 5.625 * ln 2 nats.
        assert_eq!(metrics.sum_nll_nanonats, 79850555200506);
        assert_eq!(metrics.covered_bytes, 20 * 1024);
        assert_eq!(metrics.step0_loss_nanonats, 5_545_177_444);
        assert_eq!(metrics.heldout_init_nanobpb, 8_000_000_000);
        assert_eq!(metrics.heldout_nanobpb, 3_500_000_000);
        assert_eq!(metrics.last_tenth_nanobpb, 3_375_000_000);
        assert_eq!((metrics.batches, metrics.bad_batches, metrics.audits), (20, 1, 3));
        assert_eq!(metrics.loss_curve_microbpb.len(), 20);
        assert_eq!(metrics.loss_curve_microbpb[..2], [8_000_000, 7_750_000]);
    }

    #[test]
    fn tokens_of_several_bytes_count_as_their_bytes() {
        let mut tally = Tally::default();
        let nats = 3.0 * 4096.0 * std::f64::consts::LN_2;
        tally.push_training(BatchLoss {
            nats,
            tokens: 1024,
            bytes: 4096,
            positions: 256,
            is_bad: false,
        });
        let metrics = tally.metrics();
        assert_eq!((metrics.covered_bytes, metrics.tokens), (4096, 1024));
        assert_eq!(metrics.conduct.scored_positions, 256);
        assert_eq!(tally.so_far(), (4096, 3_000_000_000));
        assert_eq!(metrics.loss_curve_microbpb, [3_000_000]);
        // Twelve bits for each token, eight of which are three quarters of knowing nothing.
        assert_eq!(metrics.step0_loss_nanonats, 8_317_766_167);
    }

    #[test]
    fn long_curves_are_averaged_into_the_limit() {
        let mut tally = Tally::default();
        (0..1000).for_each(|_| tally.push_training(batch(2.0)));
        let curve = tally.metrics().loss_curve_microbpb;
        assert_eq!(curve.len(), 250);
        assert!(curve.iter().all(|point| *point == 2_000_000));
    }

    #[test]
    fn nothing_measured_is_zero_and_not_nan() {
        assert_eq!(Tally::default().so_far(), (0, 0));
        assert_eq!(Tally::default().metrics().last_tenth_nanobpb, 0);
    }
}
