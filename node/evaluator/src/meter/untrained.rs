//! What a model is asked before it has learned anything, and what its answers say.
//!
//! Three questions to the untrained model, with random tokens:
//!
//! 1. **Causality**: does a prediction change with tokens that come later?
//! 2. **Batch independence**: is a sequence predicted alike alone, beside others, and elsewhere in
//!    its batch?
//! 3. **Finite**: are the predictions for sequences of odd and large lengths distributions at all?
//!
//! This is a gate for honest mistakes. A container can tell these questions from a run's own: they
//! come first, and their tokens are no text. Whoever answers them well and cheats later meets the
//! audits (`super::audit`). The tokens are no text so that nobody gets text that is not counted.

use node_core::evidence::Flag;
use node_core::id::Digest;
use node_core::outcome::Ending;
use node_core::policy::{GateMode, UntrainedRules};

use super::audit::agree;
use super::loss::Position;
use super::seed::SeedStream;

/// Bytes of the answer to one question. Lower: of a large vocabulary fewer positions are looked at.
/// Higher: two answers cost the node that much memory.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a log-probability.
const ENTRY_BYTES: u64 = 4;

/// The questions to one untrained model.
#[derive(Debug)]
pub(super) struct Untrained {
    pub(super) rules: UntrainedRules,
    draws: SeedStream,
    vocabulary: u32,
    /// What every sequence begins with.
    mark: u32,
}

/// One thing to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// In sequences of so many tokens.
    Causality(u32),
    BatchIndependence(u32),
    Finite(u32),
}

/// A batch of random tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) sequences: usize,
    pub(super) tokens: usize,
    pub(super) inputs: Vec<u32>,
    /// Which positions are asked for, in ascending order.
    pub(super) positions: Vec<usize>,
}

impl Question {
    /// Whether only some positions are asked for.
    pub(super) fn is_sampled(&self) -> bool {
        self.positions.len() < self.inputs.len()
    }
}

/// Questions of which the first is compared with each of the others.
#[derive(Debug)]
pub(super) struct Probe {
    /// What it means if the answers are not as they should be.
    pub(super) flag: Flag,
    pub(super) ending: Ending,
    pub(super) first: Question,
    pub(super) others: Vec<Other>,
    /// How far log-probabilities may differ.
    tolerance: f64,
}

/// A question that repeats a part of the first.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) question: Question,
    /// Rows of the first answer, each with the row of this one's that has to agree with it.
    same: Vec<(usize, usize)>,
}

impl Untrained {
    /// `None` where the policy asks nothing.
    ///
    /// - `vocabulary`, `mark`: entries, and the one that every sequence begins with: the first or
    ///   the last.
    /// - `seed`: of the assignment, so that all nodes ask the same.
    pub(super) fn new(
        rules: &UntrainedRules,
        (vocabulary, mark): (u32, u32),
        seed: &Digest,
    ) -> Option<Self> {
        let draws = SeedStream::new(seed, "untrained");
        match rules.mode {
            GateMode::Reject | GateMode::Flag => {
                Some(Self { rules: rules.clone(), draws, vocabulary, mark })
            }
            GateMode::Off => None,
        }
    }

    /// All there is to find out, in this order.
    pub(super) fn checks(&self) -> Vec<Check> {
        let UntrainedRules { causality_tokens, batch_tokens, finite_tokens, .. } = &self.rules;
        let causality = causality_tokens.iter().copied().map(Check::Causality);
        let batch = std::iter::once(Check::BatchIndependence(*batch_tokens));
        causality.chain(batch).chain(finite_tokens.iter().copied().map(Check::Finite)).collect()
    }

    /// The questions that find it out.
    pub(super) fn probe(&mut self, check: Check) -> Probe {
        let micronats = |tolerance: u32| f64::from(tolerance) * 1e-6;
        let (causality, batch) =
            (self.rules.causality_tolerance_micronats, self.rules.batch_tolerance_micronats);
        let (flag, ending, (first, others), tolerance) = match check {
            Check::Causality(tokens) => {
                let ending = Ending::UntrainedNotCausal { tokens };
                (Flag::NotCausal, ending, self.tails(size(tokens)), causality)
            }
            Check::BatchIndependence(tokens) => {
                let ending = Ending::UntrainedBatchDependent { tokens };
                (Flag::BatchDependent, ending, self.batches(size(tokens)), batch)
            }
            Check::Finite(tokens) => {
                let ending = Ending::UntrainedNotFinite { tokens };
                let positions = self.positions(size(tokens), self.rows_max(), &[]);
                let inputs = self.sequence(size(tokens));
                let one = Question { sequences: 1, tokens: size(tokens), inputs, positions };
                (Flag::NotFinite, ending, (one, Vec::new()), 0)
            }
        };
        Probe { flag, ending, first, others, tolerance: micronats(tolerance) }
    }

    /// One sequence, and the same with other tokens from a random place on, some times over.
    fn tails(&mut self, tokens: usize) -> (Question, Vec<Other>) {
        let cuts: Vec<usize> = (0..self.rules.causality_cuts)
            .map(|_| self.below(tokens.saturating_sub(1)).saturating_add(1))
            .collect();
        let inputs = self.sequence(tokens);
        // The prediction right before the cut is the one that looks one token ahead.
        let last: Vec<usize> = cuts.iter().map(|cut| cut.saturating_sub(1)).collect();
        let positions = self.positions(tokens, self.rows_max(), &last);
        let first = Question { sequences: 1, tokens, inputs, positions };
        let others = cuts.into_iter().map(|cut| self.other_tail(&first, cut)).collect();
        (first, others)
    }

    fn other_tail(&mut self, first: &Question, cut: usize) -> Other {
        let mut question = first.clone();
        let tail = question.inputs.iter_mut().skip(cut);
        tail.for_each(|token| *token = self.other_token(*token));
        let before = first.positions.iter().take_while(|position| **position < cut).count();
        Other { question, same: (0..before).map(|row| (row, row)).collect() }
    }

    /// Some sequences at once; then the first of them alone, then at another place beside others,
    /// then all in another order.
    fn batches(&mut self, tokens: usize) -> (Question, Vec<Other>) {
        let sequences = size(self.rules.batch_sequences).max(2);
        let offsets = self.positions(tokens, (self.rows_max() / sequences).max(1), &[]);
        let own: Vec<Vec<u32>> = (0..sequences).map(|_| self.sequence(tokens)).collect();
        let mut beside: Vec<Vec<u32>> = (0..sequences).map(|_| self.sequence(tokens)).collect();
        if let (Some(second), Some(first)) = (beside.get_mut(1), own.first()) {
            second.clone_from(first);
        }
        let mut turned = own.clone();
        turned.rotate_left(1);
        let question = |batch: &[Vec<u32>]| {
            let each = 0..batch.len();
            let at = |sequence: usize| sequence.saturating_mul(tokens);
            let positions = each
                .flat_map(|one| offsets.iter().map(move |offset| at(one).saturating_add(*offset)));
            Question {
                sequences: batch.len(),
                tokens,
                inputs: batch.concat(),
                positions: positions.collect(),
            }
        };
        let rows = offsets.len();
        // Rows of a sequence in the first answer and in another one.
        let pairs = |from: usize, to: usize| {
            let row = move |sequence: usize, row: usize| {
                sequence.saturating_mul(rows).saturating_add(row)
            };
            (0..rows).map(move |offset| (row(from, offset), row(to, offset)))
        };
        let alone = own.get(..1).unwrap_or_default();
        let everywhere = (0..sequences).flat_map(|to| pairs(to.saturating_add(1) % sequences, to));
        let others = vec![
            Other { question: question(alone), same: pairs(0, 0).collect() },
            Other { question: question(&beside), same: pairs(0, 1).collect() },
            Other { question: question(&turned), same: everywhere.collect() },
        ];
        (question(&own), others)
    }

    /// Positions of a sequence of so many tokens: all, or a sample with these among it.
    fn positions(&mut self, tokens: usize, most: usize, always: &[usize]) -> Vec<usize> {
        if tokens <= most {
            return (0..tokens).collect();
        }
        let drawn = self.draws.distinct_below(tokens as u64, most as u64);
        let drawn = drawn.into_iter().filter_map(|position| usize::try_from(position).ok());
        let chosen: std::collections::BTreeSet<usize> =
            always.iter().copied().chain(drawn).take(most).collect();
        chosen.into_iter().collect()
    }

    /// Rows that an answer may have.
    fn rows_max(&self) -> usize {
        let row = u64::from(self.vocabulary).saturating_mul(ENTRY_BYTES).max(1);
        usize::try_from(ANSWER_BYTES_MAX / row).unwrap_or(usize::MAX)
    }

    /// The mark, and random tokens.
    fn sequence(&mut self, tokens: usize) -> Vec<u32> {
        let mut sequence: Vec<u32> = (0..tokens).map(|_| self.token()).collect();
        if let Some(first) = sequence.first_mut() {
            *first = self.mark;
        }
        sequence
    }

    /// Any entry but the mark.
    fn token(&mut self) -> u32 {
        let drawn = self.draws.below(u64::from(self.vocabulary.saturating_sub(1)));
        let drawn = u32::try_from(drawn).unwrap_or_default();
        if self.mark == 0 {
            drawn.saturating_add(1)
        } else {
            drawn
        }
    }

    /// Any entry but the mark and this one, where there are so many.
    fn other_token(&mut self, token: u32) -> u32 {
        let drawn = self.token();
        if drawn != token {
            return drawn;
        }
        let least = u32::from(self.mark == 0);
        let entries = self.vocabulary.saturating_sub(1).max(1);
        drawn.saturating_sub(least).saturating_add(1) % entries + least
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draws.below(bound as u64)).unwrap_or_default()
    }
}

impl Probe {
    /// Whether all predictions of an answer to the first question are distributions, where that is
    /// what is to be found out.
    pub(super) fn is_finite(&self, answer: &[f32], vocabulary: usize) -> bool {
        let mut rows = answer.chunks(vocabulary.max(1));
        self.flag != Flag::NotFinite || rows.all(|row| Position::new(row).is_some())
    }

    /// Whether the answer to another question agrees with that to the first where it has to.
    pub(super) fn agrees(&self, other: &Other, answers: [&[f32]; 2], vocabulary: usize) -> bool {
        let row = |answer: &'_ [f32], row: usize| -> Option<(usize, usize)> {
            let from = row.checked_mul(vocabulary)?;
            let to = from.checked_add(vocabulary)?;
            (to <= answer.len()).then_some((from, to))
        };
        other.same.iter().all(|(one, two)| {
            let [one, two] = [(answers[0], *one), (answers[1], *two)].map(|(answer, number)| {
                let (from, to) = row(answer, number)?;
                answer.get(from..to).and_then(Position::new)
            });
            agree(one.as_ref(), two.as_ref(), self.tolerance)
        })
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
