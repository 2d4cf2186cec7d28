//! Whether predictions depend on tokens that come later.
//!
//! Two questions to a batch that was asked twice, first with another tail after a cut:
//!
//! 1. Do the predictions before the cut agree? An honest model cannot see the tail.
//! 2. Did the first answer know the altered byte? It is drawn at random, so a model that cannot
//!    see it gains nothing on average: with q the byte's frequency, the expectation of the product
//!    of p/q over the sequences is at most 1, and by Markov's inequality that product exceeds 1e9
//!    for one honest audit in 1e9. A container that looks ahead and later repeats what it said
//!    passes the first question, and fails this one.

use node_core::policy::MeterRules;

use super::loss::Position;

/// Logarithm of 1e9: how much better than chance an altered byte may be foretold.
const FORESIGHT_NATS_MAX: f64 = 20.723_265_836_946_414;

/// An audited batch: two answers of the same shape.
#[derive(Debug)]
pub(super) struct Audit<'a> {
    /// Log-probabilities for the altered inputs, and for the real ones.
    pub(super) answers: [&'a [f32]; 2],
    /// The altered inputs.
    pub(super) altered: &'a [u8],
    /// Per sequence, the first input that differs.
    pub(super) cuts: &'a [usize],
    /// How often each byte occurs in the text the tails come from.
    pub(super) byte_counts: &'a [u64; 256],
}

impl Audit<'_> {
    /// Whether both answers could come from a model that sees only what came before.
    pub(super) fn is_causal(&self, rules: &MeterRules, vocabulary: usize) -> bool {
        let tolerance = f64::from(rules.audit_tolerance_micronats) * 1e-6;
        let tokens = usize::try_from(rules.sequence_tokens).unwrap_or(usize::MAX);
        let sequence_len = tokens.saturating_mul(vocabulary);
        let [first, second] = self.answers.map(|answer| answer.chunks(sequence_len));
        let mut foresight = 0.0;
        let sequences = first.zip(second).zip(self.altered.chunks(tokens)).zip(self.cuts);
        for (((first, second), altered), cut) in sequences {
            let rows = first.chunks(vocabulary).zip(second.chunks(vocabulary)).take(*cut);
            let mut before_cut = None;
            for (one, two) in rows {
                let (one, two) = (Position::new(one), Position::new(two));
                if !agree(one.as_ref(), two.as_ref(), tolerance) {
                    return false;
                }
                before_cut = one;
            }
            if let (Some(position), Some(byte)) = (before_cut, altered.get(*cut)) {
                foresight += position.log_p(*byte) - self.log_frequency(*byte);
            }
        }
        foresight <= FORESIGHT_NATS_MAX
    }

    fn log_frequency(&self, byte: u8) -> f64 {
        let [total, count] = [
            self.byte_counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)),
            self.byte_counts.get(usize::from(byte)).copied().unwrap_or(0),
        ]
        .map(float);
        libm::log(count / total)
    }
}

/// Two positions agree if both are distributions within the tolerance, or neither is one.
fn agree(one: Option<&Position<'_>>, two: Option<&Position<'_>>, tolerance: f64) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one.distance(two) <= tolerance,
        (None, None) => true,
        _ => false,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a frequency needs no more than 53 bits")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use node_core::policy::Policy;

    use super::*;

    const TOKENS: usize = 4;

    fn rules() -> MeterRules {
        MeterRules { batch_sequences: 2, sequence_tokens: 4, ..Policy::dev().meter }
    }

    /// Two sequences of uniform rows.
    fn uniform() -> Vec<f32> {
        vec![-(256_f32.ln()); 2 * TOKENS * 256]
    }

    /// Uniform, but in one row `shift` nats move from one byte to another.
    fn shifted(row: usize, shift: f32) -> Vec<f32> {
        let mut answer = uniform();
        let p = 1.0 / 256.0;
        answer[row * 256] = (p * shift.exp()).ln();
        answer[row * 256 + 1] = (2.0 * p - p * shift.exp()).ln();
        answer
    }

    fn is_causal(first: &[f32], second: &[f32], cuts: [usize; 2]) -> bool {
        let byte_counts = [10; 256];
        let answers = [first, second];
        let audit = Audit { answers, altered: b"aaaaaaaa", cuts: &cuts, byte_counts: &byte_counts };
        audit.is_causal(&rules(), 256)
    }

    #[test]
    fn predictions_before_the_cut_may_differ_by_the_tolerance_and_no_more() {
        assert!(is_causal(&uniform(), &uniform(), [1, 3]));
        assert!(is_causal(&uniform(), &shifted(0, 0.0009), [1, 3]));
        assert!(!is_causal(&uniform(), &shifted(0, 0.0011), [1, 3]));
        assert!(!is_causal(&uniform(), &shifted(TOKENS + 2, 0.0011), [1, 3]));
    }

    #[test]
    fn predictions_after_the_cut_may_differ_at_will() {
        assert!(is_causal(&uniform(), &shifted(1, 0.5), [1, 3]));
        assert!(is_causal(&uniform(), &shifted(TOKENS + 3, 0.5), [1, 3]));
    }

    #[test]
    fn a_position_that_is_a_distribution_in_one_answer_only_is_not_causal() {
        let mut broken = uniform();
        broken[0] = f32::NAN;
        assert!(!is_causal(&uniform(), &broken, [1, 1]));
        assert!(is_causal(&broken, &broken, [1, 1]));
    }

    #[test]
    fn knowing_the_altered_bytes_is_foresight_and_guessing_one_is_not() {
        // One certain byte of 256 is worth ln 256 = 5.5 nats; four are worth 22.
        let sure = |sequences: usize| {
            let mut answer = uniform().repeat(2);
            for from in (0..sequences).map(|sequence| sequence * TOKENS * 256) {
                answer[from..from + 256].fill(f32::NEG_INFINITY);
                answer[from + usize::from(b'a')] = 0.0;
            }
            answer
        };
        let is_causal = |answer: &[f32]| {
            let audit = Audit {
                answers: [answer, answer],
                altered: &[b'a'; 4 * TOKENS],
                cuts: &[1; 4],
                byte_counts: &[10; 256],
            };
            audit.is_causal(&rules(), 256)
        };
        assert!(is_causal(&sure(1)));
        assert!(is_causal(&sure(3)));
        assert!(!is_causal(&sure(4)));
    }
}
