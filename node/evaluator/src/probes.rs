//! Small tasks that show what a mechanism can do, beside the loss on text.
//!
//! A model is trained on fresh examples and asked for the answers of others. Each task has a
//! *floor*, what a reader gets that sees which tokens are there and not where, and a *ceiling*,
//! what perfect understanding gets; a score says how far between the two a model came.
//!
//! | task | to be answered |
//! |---|---|
//! | copy | the tokens before the separator, in their order |
//! | induction | the value that was shown beside the queried key |
//! | reasoning | where so many steps lead along pairs in random order |
//! | mini-LM | each next byte of sentences of a small invented language |
//!
//! Examples are made from a seed and are the same on every machine. Answers stand where the input
//! is padding, so no input shows one; only the mini-LM's inputs show earlier answers, as text does.
//! Whoever trains on them gets the inputs and the positions; the answers stay with the meter until
//! it has the predictions.
//!
//! Not here: training (the container), and what a score is worth (nothing: it is reported).

mod induction;
mod language;
mod score;
mod stream;

pub use score::{score_ppm, summary, ProbeSummary};

use std::fmt;

use node_core::id::Digest;
use serde::{Deserialize, Serialize};

use stream::Stream;

/// Fills what has no token.
pub const PAD: u16 = 0;
/// Ends what is shown.
pub const SEPARATOR: u16 = 1;
/// Asks for one step, in the reasoning task.
pub const STEP: u16 = 2;
/// The first token that carries data.
pub const DATA: u16 = 3;

/// Different data tokens of the copy task.
const COPY_ALPHABET: u16 = 16;
/// Symbols of the reasoning task: more than its steps, so that no chain comes round.
const REASONING_SYMBOLS: u16 = 12;
const REASONING_STEPS: std::ops::RangeInclusive<u16> = 2..=8;

/// A task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "task")]
pub enum Probe {
    /// Repeat a random sequence.
    Copy {
        /// Tokens in training.
        train: u16,
        /// Tokens in the test.
        test: u16,
    },
    /// Find the value of a key.
    Induction {
        /// Pairs of key and value.
        pairs: u16,
    },
    /// Follow a chain of 2 to 8 steps.
    Reasoning,
    /// Predict the next byte.
    MiniLm,
}

/// Which examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To train on.
    Train,
    /// To be asked.
    Test,
}

/// One sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// What a model sees.
    pub inputs: Vec<u16>,
    /// What is to be said at which position of the inputs, in their order.
    pub answers: Vec<(usize, u16)>,
}

/// Examples with what is known about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// The sequences, all of one length.
    pub all: Vec<Example>,
    /// Tokens that may occur are below this.
    pub vocabulary: u16,
    /// Mean loss per answer of the reader that sees no order, nats.
    pub floor_nats: f64,
    /// Mean loss per answer of perfect understanding, nats.
    pub ceiling_nats: f64,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { train, test } if train == test => write!(f, "copy of {test}"),
            Self::Copy { train, test } => write!(f, "copy of {test}, trained on {train}"),
            Self::Induction { pairs } => write!(f, "induction over {pairs} pairs"),
            Self::Reasoning => f.write_str("reasoning"),
            Self::MiniLm => f.write_str("mini-LM"),
        }
    }
}

impl Probe {
    /// The tasks of the challenge.
    #[must_use]
    pub fn suite() -> Vec<Self> {
        vec![
            Self::Copy { train: 8, test: 8 },
            Self::Copy { train: 16, test: 16 },
            Self::Copy { train: 32, test: 32 },
            Self::Copy { train: 16, test: 32 },
            Self::Induction { pairs: 3 },
            Self::Induction { pairs: 8 },
            Self::Induction { pairs: 16 },
            Self::Reasoning,
            Self::MiniLm,
        ]
    }

    /// Makes examples.
    ///
    /// - `seed`: from the hash of a block after the commitment. Training and test examples of one
    ///   seed share nothing but the mini-LM's language.
    #[must_use]
    pub fn examples(&self, seed: &Digest, part: Part, count: usize) -> Examples {
        let purpose = match part {
            Part::Train => "train",
            Part::Test => "test",
        };
        let mut stream = Stream::new(seed, &format!("{self:?} {purpose}"));
        match *self {
            Self::Copy { train, test } => {
                let length = if part == Part::Train { train } else { test };
                let all = (0..count).map(|_| copy(&mut stream, length)).collect();
                certain(all, DATA + COPY_ALPHABET, copy_floor)
            }
            Self::Induction { pairs } => {
                let all = (0..count).map(|_| induction::example(&mut stream, pairs)).collect();
                certain(all, DATA + induction::alphabet(pairs), |example| {
                    induction::floor(example, pairs)
                })
            }
            Self::Reasoning => {
                let all = (0..count).map(|_| reasoning(&mut stream)).collect();
                certain(all, DATA + REASONING_SYMBOLS, |_| {
                    libm::log(f64::from(REASONING_SYMBOLS - 1))
                })
            }
            Self::MiniLm => language::examples(seed, &mut stream, count),
        }
    }
}

/// Examples whose answers follow from their inputs: perfect understanding loses nothing.
fn certain(all: Vec<Example>, vocabulary: u16, floor: impl Fn(&Example) -> f64) -> Examples {
    let answers: usize = all.iter().map(|example| example.answers.len()).sum();
    let total: f64 = all.iter().map(|example| floor(example) * count(example.answers.len())).sum();
    let floor_nats = total / count(answers.max(1));
    Examples { all, vocabulary, floor_nats, ceiling_nats: 0.0 }
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn count(number: usize) -> f64 {
    number as f64
}

/// `a1 .. ak | _ .. _`
fn copy(stream: &mut Stream, length: u16) -> Example {
    let data: Vec<u16> = (0..length).map(|_| DATA + stream.below(COPY_ALPHABET)).collect();
    let mut inputs = data.clone();
    inputs.push(SEPARATOR);
    let first = inputs.len();
    inputs.extend(std::iter::repeat_n(PAD, data.len()));
    Example { inputs, answers: (first..).zip(data).collect() }
}

/// The share of each token in what was shown: whoever sees no order says it at each position.
fn copy_floor(example: &Example) -> f64 {
    let length = example.answers.len();
    let of = |token: u16| example.answers.iter().filter(|(_, other)| *other == token).count();
    let loss = |(_, token): &(usize, u16)| -libm::log(count(of(*token)) / count(length));
    example.answers.iter().map(loss).sum::<f64>() / count(length.max(1))
}

/// `a b  c d  .. | start step step .. _`, the pairs being one ring in random order: each symbol
/// is once a source and once a target, so which are there says nothing.
fn reasoning(stream: &mut Stream) -> Example {
    let ring = stream.shuffled(REASONING_SYMBOLS);
    let order = stream.shuffled(REASONING_SYMBOLS);
    let at = |place: u16| DATA + ring[usize::from(place % REASONING_SYMBOLS)];
    let mut inputs: Vec<u16> =
        order.iter().flat_map(|place| [at(*place), at(*place + 1)]).collect();
    let start = stream.below(REASONING_SYMBOLS);
    let range = REASONING_STEPS.end() - REASONING_STEPS.start() + 1;
    let steps = REASONING_STEPS.start() + stream.below(range);
    inputs.extend([SEPARATOR, at(start)]);
    let slots = 0..*REASONING_STEPS.end();
    inputs.extend(slots.map(|slot| if slot < steps { STEP } else { PAD }));
    inputs.push(PAD);
    let last = inputs.len() - 1;
    Example { inputs, answers: vec![(last, at(start + steps))] }
}

#[cfg(test)]
mod tests;
