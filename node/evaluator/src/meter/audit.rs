//! Whether predictions depend on tokens that come later.
//!
//! Two questions to a batch that was asked twice, first with another tail after a cut:
//!
//! 1. Do the predictions before the cut agree? An honest model cannot see the tail.
//! 2. Did the first answer know the altered token? The tail is drawn at random from a pool of text,
//!    so a model that cannot see it gains nothing on average: with q the token's share of the pool,
//!    the expectation of the product of p/q over the sequences is at most 1, and by Markov's
//!    inequality that product exceeds 1e9 for one honest audit in 1e9. A container that looks
//!    ahead and later repeats what it said passes the first question, and fails this one.
//!
//! Both are asked of the positions that the batch is asked for. Where these are a sample, a
//! sequence is cut right behind one of them, so that the second question always has something to
//! ask; the sample itself is drawn as for every other batch and tells nothing of an audit.

use std::collections::HashMap;

use node_core::policy::MeterRules;

use super::loss::Position;

/// Logarithm of 1e9: how much better than chance an altered token may be foretold.
const FORESIGHT_NATS_MAX: f64 = 20.723_265_836_946_414;

/// The other inputs of a batch that is audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Altered {
    /// The inputs, with another text from each sequence's cut on.
    pub(super) inputs: Vec<u32>,
    /// Per sequence, the first input that differs.
    pub(super) cuts: Vec<usize>,
    /// How often each token occurs where the tails were drawn from.
    pub(super) counts: HashMap<u32, u64>,
}

/// An audited batch: two answers of the same shape.
#[derive(Debug)]
pub(super) struct Audit<'a> {
    /// Log-probabilities for the altered inputs, and for the real ones.
    pub(super) answers: [&'a [f32]; 2],
    /// The altered inputs.
    pub(super) altered: &'a Altered,
    /// Which positions the answers are for, in ascending order.
    pub(super) positions: &'a [usize],
    /// Entries of a row.
    pub(super) vocabulary: usize,
}

impl Audit<'_> {
    /// Whether both answers could come from a model that sees only what came before.
    pub(super) fn is_causal(&self, rules: &MeterRules) -> bool {
        let tolerance = f64::from(rules.audit_tolerance_micronats) * 1e-6;
        let tokens = usize::try_from(rules.sequence_tokens).unwrap_or(usize::MAX).max(1);
        let [first, second] = self.answers.map(|answer| answer.chunks(self.vocabulary.max(1)));
        let total =
            self.altered.counts.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let mut foresight = 0.0;
        for ((one, two), position) in first.zip(second).zip(self.positions) {
            let cut = self.altered.cuts.get(position / tokens).copied().unwrap_or(0);
            let token = position % tokens;
            if token >= cut {
                continue;
            }
            let (one, two) = (Position::new(one), Position::new(two));
            if !agree(one.as_ref(), two.as_ref(), tolerance) {
                return false;
            }
            // The input behind this position is what it predicts.
            let foretold = self.altered.inputs.get(position.saturating_add(1));
            if let (Some(one), Some(altered), true) = (one, foretold, token + 1 == cut) {
                let count = self.altered.counts.get(altered).copied().unwrap_or(0);
                foresight += one.log_p(*altered) - libm::log(float(count) / float(total));
            }
        }
        foresight <= FORESIGHT_NATS_MAX
    }
}

/// Two positions agree if both are distributions within the tolerance, or neither is one.
pub(super) fn agree(
    one: Option<&Position<'_>>,
    two: Option<&Position<'_>>,
    tolerance: f64,
) -> bool {
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
        is_causal_at(first, second, &cuts, &(0..2 * TOKENS).collect::<Vec<_>>())
    }

    /// Every altered byte is an `a`, and every byte equally frequent.
    fn is_causal_at(first: &[f32], second: &[f32], cuts: &[usize], positions: &[usize]) -> bool {
        let altered = Altered {
            inputs: vec![u32::from(b'a'); cuts.len() * TOKENS],
            cuts: cuts.to_vec(),
            counts: (0..256).map(|byte| (byte, 10)).collect(),
        };
        let answers = [first, second];
        let audit = Audit { answers, altered: &altered, positions, vocabulary: 256 };
        audit.is_causal(&rules())
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
        let all: Vec<usize> = (0..4 * TOKENS).collect();
        let is_causal = |answer: &[f32]| is_causal_at(answer, answer, &[1; 4], &all);
        assert!(is_causal(&sure(1)));
        assert!(is_causal(&sure(3)));
        assert!(!is_causal(&sure(4)));
    }

    #[test]
    fn a_sample_of_positions_is_held_to_the_same() {
        // Asked at positions 1 of the first and 0 and 2 of the second sequence.
        let positions = [1, TOKENS, TOKENS + 2];
        let pick = |answer: &[f32]| -> Vec<f32> {
            positions.iter().flat_map(|p| answer[p * 256..(p + 1) * 256].to_vec()).collect()
        };
        let is_causal =
            |second: &[f32], cuts| is_causal_at(&pick(&uniform()), &pick(second), cuts, &positions);
        assert!(is_causal(&shifted(1, 0.5), &[1, 3]), "it lies behind the cut");
        assert!(!is_causal(&shifted(1, 0.5), &[2, 3]));
        assert!(!is_causal(&shifted(TOKENS + 2, 0.5), &[2, 3]));
        assert!(is_causal(&shifted(TOKENS + 1, 0.5), &[2, 3]), "nobody asked there");
        let mut sure = uniform().repeat(2);
        for sequence in 0..4 {
            let from = (sequence * TOKENS + 1) * 256;
            sure[from..from + 256].fill(f32::NEG_INFINITY);
            sure[from + usize::from(b'a')] = 0.0;
        }
        let positions: Vec<usize> = (0..4).map(|sequence| sequence * TOKENS + 1).collect();
        let asked: Vec<f32> =
            positions.iter().flat_map(|p| sure[p * 256..(p + 1) * 256].to_vec()).collect();
        assert!(!is_causal_at(&asked, &asked, &[2; 4], &positions));
        assert!(
            is_causal_at(&asked, &asked, &[3; 4], &positions),
            "a position further on is foretold"
        );
    }
}
