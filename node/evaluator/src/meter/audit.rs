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
