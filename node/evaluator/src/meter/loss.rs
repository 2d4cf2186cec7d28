//! What a prediction costs, given what came.

use super::exponential::sum_of_exponentials;

/// How far the probabilities of one position may be from one, as the logarithm of their sum.
const NORMALISATION_NATS_MAX: f64 = 1e-3;

/// Most that one token costs: a probability of 1e-28. Lower: declaring likely symbols impossible
/// pays off. Higher: one confident mistake decides a run.
pub(super) const TOKEN_NATS_MAX: f64 = 64.0;

/// What the predictions of a batch cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct BatchLoss {
    /// Sum over its tokens; where positions are sampled, an unbiased estimate of it.
    pub(super) nats: f64,
    /// Tokens.
    pub(super) tokens: u64,
    /// Bytes of text that they cover.
    pub(super) bytes: u64,
    /// Positions whose predictions were asked for.
    pub(super) positions: u64,
    /// Whether any position was missing, infinite or unnormalised.
    pub(super) is_bad: bool,
}

impl BatchLoss {
    /// The sum of two.
    pub(super) fn plus(self, other: &Self) -> Self {
        Self {
            nats: self.nats + other.nats,
            tokens: self.tokens.saturating_add(other.tokens),
            bytes: self.bytes.saturating_add(other.bytes),
            positions: self.positions.saturating_add(other.positions),
            is_bad: self.is_bad || other.is_bad,
        }
    }
}

/// Normalised log-probabilities of one position, or nothing if they are no distribution.
///
/// A sum within the tolerance of one is brought to one, so that the tolerance is worth nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position<'a> {
    row: &'a [f32],
    log_sum: f64,
}

impl<'a> Position<'a> {
    pub(super) fn new(row: &'a [f32]) -> Option<Self> {
        let log_sum = libm::log(sum_of_exponentials(row));
        // Written so that NaN, which fails every comparison, fails this one too.
        (log_sum.abs() <= NORMALISATION_NATS_MAX).then_some(Self { row, log_sum })
    }

    /// Log-probability of a token, at least `-TOKEN_NATS_MAX`.
    pub(super) fn log_p(&self, token: u32) -> f64 {
        let index = usize::try_from(token).unwrap_or(usize::MAX);
        let log_p = self.row.get(index).copied().unwrap_or(f32::NEG_INFINITY);
        (f64::from(log_p) - self.log_sum).max(-TOKEN_NATS_MAX)
    }

    /// Largest difference to another position's log-probabilities, tails cut off alike.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        let floor = |log_p: &f32| f64::from(*log_p).max(-TOKEN_NATS_MAX);
        let pairs = self.row.iter().zip(other.row);
        pairs.map(|(one, two)| (floor(one) - floor(two)).abs()).fold(0.0, f64::max)
    }
}

/// Cost of a token whose predictions are no distribution: twice that of knowing nothing.
pub(super) fn unusable_nats(vocabulary: usize) -> f64 {
    let vocabulary = u32::try_from(vocabulary).unwrap_or(u32::MAX);
    2.0 * libm::log(f64::from(vocabulary))
}

/// Cost of the asked positions of a batch, as if they were all: `log_probs` has one row of
/// `vocabulary` entries per target. Tokens and bytes are for the caller to fill in.
pub(super) fn positions_loss(
    log_probs: &[f32],
    targets: impl ExactSizeIterator<Item = u32>,
    vocabulary: usize,
) -> BatchLoss {
    let positions = targets.len() as u64;
    let mut loss = BatchLoss { tokens: positions, positions, ..BatchLoss::default() };
    let mut rows = log_probs.chunks_exact(vocabulary);
    for target in targets {
        let (nats, is_bad) = match rows.next().and_then(Position::new) {
            Some(position) => {
                let nats = -position.log_p(target);
                (nats, nats >= TOKEN_NATS_MAX)
            }
            None => (unusable_nats(vocabulary), true),
        };
        loss.nats += nats;
        loss.is_bad |= is_bad;
    }
    loss
}

/// Cost of a whole batch of which some positions were asked: each stands for as many others.
///
/// The positions are a uniform sample without repetition, so the expectation over them is the sum
/// over all. Where all were asked nothing is scaled, and no bit of the sum changes.
pub(super) fn scaled(asked: BatchLoss, tokens: u64, bytes: u64) -> BatchLoss {
    #[allow(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^53 tokens")]
    let nats = match asked.positions {
        0 => 0.0,
        all if all == tokens => asked.nats,
        some => asked.nats * (tokens as f64 / some as f64),
    };
    BatchLoss { nats, tokens, bytes, ..asked }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LN_2: f64 = std::f64::consts::LN_2;

    fn batch_loss(log_probs: &[f32], targets: &[u8], vocabulary: usize) -> BatchLoss {
        let targets: Vec<u32> = targets.iter().map(|byte| u32::from(*byte)).collect();
        let tokens = targets.len() as u64;
        let asked = positions_loss(log_probs, targets.into_iter(), vocabulary);
        scaled(asked, tokens, tokens)
    }

    #[test]
    fn a_sample_of_positions_stands_for_all_and_is_right_on_average() {
        // Four positions with losses 1, 2, 3 and 4 bits; every pair of them once.
        let row = |bits: i32| peaked(b'a', 0.5_f64.powi(bits));
        let rows: Vec<Vec<f32>> = (1..=4).map(row).collect();
        let mut sum = 0.0;
        for (one, two) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let log_probs = [rows[one].as_slice(), &rows[two]].concat();
            let asked = positions_loss(&log_probs, [97_u32; 2].into_iter(), 256);
            let batch = scaled(asked, 4, 9);
            assert_eq!((batch.tokens, batch.bytes, batch.positions), (4, 9, 2));
            sum += batch.nats / LN_2;
        }
        assert!((sum / 6.0 - 10.0).abs() < 1e-5, "{sum}");
        let nothing = scaled(BatchLoss::default(), 4, 9);
        assert_eq!((nothing.nats, nothing.tokens), (0.0, 4));
    }

    fn uniform() -> Vec<f32> {
        vec![-(256_f32.ln()); 256]
    }

    /// A distribution with `p` on one byte and the rest spread evenly.
    #[allow(clippy::cast_possible_truncation, reason = "predictions arrive as f32")]
    fn peaked(byte: u8, p: f64) -> Vec<f32> {
        let mut row = vec![((1.0 - p) / 255.0).ln() as f32; 256];
        row[usize::from(byte)] = p.ln() as f32;
        row
    }

    #[test]
    fn a_uniform_prediction_costs_eight_bits_a_token() {
        let loss = batch_loss(&uniform().repeat(3), b"abc", 256);
        assert!((loss.nats / LN_2 - 24.0).abs() < 1e-6, "{loss:?}");
        assert_eq!((loss.tokens, loss.is_bad), (3, false));
    }

    #[test]
    fn a_certain_prediction_costs_nothing_or_the_most() {
        let mut row = vec![f32::NEG_INFINITY; 256];
        row[usize::from(b'a')] = 0.0;
        assert_eq!(batch_loss(&row, b"a", 256).nats, 0.0);
        let wrong = batch_loss(&row, b"b", 256);
        assert_eq!((wrong.nats, wrong.is_bad), (TOKEN_NATS_MAX, true));
    }

    #[test]
    fn half_a_bit_of_doubt_costs_half_a_bit() {
        let row = peaked(b'a', 0.5_f64.sqrt());
        let loss = batch_loss(&row, b"a", 256);
        assert!((loss.nats / LN_2 - 0.5).abs() < 1e-6, "{loss:?}");
    }

    #[test]
    fn no_distribution_costs_sixteen_bits_whatever_it_says_of_the_target() {
        let cases = [
            vec![f32::NAN; 256],
            vec![f32::NEG_INFINITY; 256],
            vec![f32::INFINITY; 256],
            vec![0.0; 256],
            vec![-100.0; 256],
            uniform().iter().map(|log_p| log_p + 0.0011).collect(),
            {
                let mut one_nan = uniform();
                one_nan[7] = f32::NAN;
                one_nan
            },
            Vec::new(),
        ];
        for row in cases {
            let loss = batch_loss(&row, b"a", 256);
            assert!((loss.nats / LN_2 - 16.0).abs() < 1e-12, "{loss:?} for {row:?}");
            assert!(loss.is_bad);
        }
    }

    #[test]
    fn the_tolerance_of_normalisation_is_worth_nothing() {
        let inflated: Vec<f32> = uniform().iter().map(|log_p| log_p + 0.0009).collect();
        let loss = batch_loss(&inflated, b"a", 256);
        assert!((loss.nats / LN_2 - 8.0).abs() < 1e-6, "{loss:?}");
        assert!(!loss.is_bad);
    }

    #[test]
    fn hiding_improbable_bytes_never_pays() {
        // A model that knows 99 % spreads its doubt, or declares the rest impossible.
        let honest = peaked(b'a', 0.99);
        let mut hiding = vec![f32::NEG_INFINITY; 256];
        hiding[usize::from(b'a')] = 0.0;
        let expected = |row: &[f32]| {
            0.99 * batch_loss(row, b"a", 256).nats + 0.01 * batch_loss(row, b"b", 256).nats
        };
        assert!(expected(&honest) < expected(&hiding));
    }
}
