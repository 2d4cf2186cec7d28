//! What a model is asked before it has learned anything.

use serde::{Deserialize, Serialize};

use super::GateMode;
use crate::id::DigestBuilder;

/// The gate of the untrained model: the first thing that happens in the container of a submission's
/// first trial. Its inputs are random tokens.
///
/// Whatever the mode, a project is told the longest of these lengths, so that its model is the same
/// in every trial under a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntrainedRules {
    /// What happens to a model that fails.
    pub mode: GateMode,
    /// Tokens of the sequences whose tails are changed: predictions before must stay.
    pub causality_tokens: Vec<u32>,
    /// Places at which each of them is cut.
    pub causality_cuts: u32,
    /// How far a prediction may move by that, 1e-6 nats.
    pub causality_tolerance_micronats: u32,
    /// Tokens of the sequences that are asked alone, beside others and in another order.
    pub batch_tokens: u32,
    /// How many sequences that are at once.
    pub batch_sequences: u32,
    /// How far a prediction may move by that, 1e-6 nats. More than for causality: libraries add up
    /// in another order for batches of another size.
    pub batch_tolerance_micronats: u32,
    /// Tokens of the sequences that must have finite, normalised predictions.
    pub finite_tokens: Vec<u32>,
}

impl UntrainedRules {
    /// The gate of the challenge. Lengths that are no multiples of a power of two find models that
    /// are right only in whole chunks; those above 128, decays that were divided by.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            mode: GateMode::Reject,
            causality_tokens: vec![64, 129, 256, 512],
            causality_cuts: 4,
            causality_tolerance_micronats: 1_000,
            batch_tokens: 64,
            batch_sequences: 4,
            batch_tolerance_micronats: 10_000,
            finite_tokens: vec![64, 130, 256, 1_024, 2_048],
        }
    }

    /// The same with sequences that one CPU gets through in a second.
    #[must_use]
    pub fn short() -> Self {
        Self {
            causality_tokens: vec![64, 129],
            finite_tokens: vec![64, 130, 256],
            ..Self::standard()
        }
    }

    /// Tokens of the longest sequence that is asked for; zero if none is.
    #[must_use]
    pub fn tokens_max(&self) -> u32 {
        let lengths = self.causality_tokens.iter().chain(&self.finite_tokens).copied();
        let longest = lengths.chain([self.batch_tokens]).max().unwrap_or(0);
        match self.mode {
            GateMode::Reject | GateMode::Flag => longest,
            GateMode::Off => 0,
        }
    }

    /// Appends every field to a policy's digest: adding one without hashing it does not compile.
    pub(super) fn hash(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self {
            mode,
            causality_tokens,
            causality_cuts,
            causality_tolerance_micronats,
            batch_tokens,
            batch_sequences,
            batch_tolerance_micronats,
            finite_tokens,
        } = self;
        let numbers = [
            *causality_cuts,
            *causality_tolerance_micronats,
            *batch_tokens,
            *batch_sequences,
            *batch_tolerance_micronats,
        ];
        let lists = [causality_tokens, finite_tokens].into_iter().flat_map(|tokens| {
            let length = u64::try_from(tokens.len()).unwrap_or(u64::MAX);
            [length].into_iter().chain(tokens.iter().copied().map(u64::from))
        });
        let digest = digest.bytes(mode.name().as_bytes());
        digest.numbers(numbers.into_iter().map(u64::from)).numbers(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn the_longest_sequence_is_told_unless_none_is_asked_for() {
        assert_eq!(UntrainedRules::standard().tokens_max(), 2_048);
        assert_eq!(UntrainedRules::short().tokens_max(), 256);
        let off = UntrainedRules { mode: GateMode::Off, ..UntrainedRules::short() };
        assert_eq!(off.tokens_max(), 0);
    }

    #[test]
    fn every_number_of_the_gate_changes_the_digest() {
        let with = |change: fn(&mut UntrainedRules)| {
            let mut policy = Policy::dev();
            change(&mut policy.admission.untrained);
            policy.digest()
        };
        let changes: [fn(&mut UntrainedRules); 9] = [
            |_| {},
            |rules| rules.mode = GateMode::Off,
            |rules| rules.causality_tokens = vec![64],
            |rules| rules.causality_cuts = 5,
            |rules| rules.causality_tolerance_micronats = 5,
            |rules| rules.batch_tokens = 5,
            |rules| rules.batch_sequences = 5,
            |rules| rules.batch_tolerance_micronats = 5,
            |rules| rules.finite_tokens = vec![64],
        ];
        let digests: std::collections::BTreeSet<_> = changes.into_iter().map(with).collect();
        assert_eq!(digests.len(), changes.len());
    }
}
