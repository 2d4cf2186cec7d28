//! Text into batches, piece by piece: a pass holds the tokens of a few pieces and never all.

use std::collections::{HashMap, VecDeque};

use node_core::id::Digest;
use node_core::policy::MeterRules;

use super::audit::Altered;
use super::seed::SeedStream;
use crate::dataset::{Dataset, Split, TextError};
use crate::tokenizer::{EncodeError, Tokenizer};

/// Bytes of a log-probability.
const ENTRY_BYTES: u64 = 4;

/// Bytes of text for each token of a batch in the pool of an audit's tails.
const POOL_BYTES_PER_TOKEN: u64 = 8;

/// Sequences whose tokens, if they were bytes, are a piece of text that is tokenized at once.
const CHUNK_SEQUENCES: u64 = 64;

/// Least and most bytes of such a piece. Smaller: more sequences run over the seam between two
/// pieces that are no neighbours. Larger: text is mixed less.
const CHUNK_BYTES: (u64, u64) = (1 << 10, 64 << 10);

/// Bytes of the longest character.
const CHAR_BYTES_MAX: u64 = 4;

/// Numbers that all batches of a run share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) sequences: usize,
    pub(super) tokens: usize,
    /// Entries of the vocabulary, the start mark included.
    pub(super) vocabulary: u32,
    /// Positions that a batch is asked for.
    pub(super) positions: usize,
}

impl Shape {
    pub(super) fn new(rules: &MeterRules, vocabulary: u32) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (sequences, tokens) = (size(rules.batch_sequences), size(rules.sequence_tokens));
        let all = sequences.saturating_mul(tokens);
        let sampled = size(rules.tokens.sampled_positions).clamp(1, all);
        let is_every = vocabulary <= rules.tokens.every_position_vocabulary_max;
        let positions = if is_every { all } else { sampled };
        Self { sequences, tokens, vocabulary, positions }
    }

    /// Tokens of a batch.
    pub(super) fn batch_tokens(&self) -> usize {
        self.sequences.saturating_mul(self.tokens)
    }

    pub(super) fn row_len(&self) -> usize {
        usize::try_from(self.vocabulary).unwrap_or(usize::MAX)
    }

    /// Bytes of the predictions for a batch.
    pub(super) fn prediction_bytes(&self) -> u64 {
        let entries = (self.positions as u64).saturating_mul(u64::from(self.vocabulary));
        entries.saturating_mul(ENTRY_BYTES)
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.positions < self.batch_tokens()
    }
}

/// A batch, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// 0 is the held-out pass before training, then the training batches from 1, then the held-out
    /// pass after training.
    pub(super) number: u32,
    pub(super) split: Split,
    /// What the model sees, sequence after sequence.
    pub(super) inputs: Vec<u32>,
    /// What it has to predict.
    pub(super) targets: Vec<u32>,
    /// Bytes of text that the targets are.
    pub(super) bytes: u64,
    /// Which positions are asked for, in ascending order.
    pub(super) positions: Vec<usize>,
    /// For an audit, what is asked first.
    pub(super) altered: Option<Altered>,
}

/// Why there is no batch.
#[derive(Debug)]
pub(super) enum BatchError {
    /// The data set cannot be read any more.
    Text,
    /// The tokenizer's text of this batch is another than went in.
    Lossy {
        /// As in [`Batch::number`].
        batch: u32,
    },
    /// The tokenizer failed.
    Tokenizer(String),
}

impl From<TextError> for BatchError {
    fn from(_: TextError) -> Self {
        Self::Text
    }
}

/// One pass over text.
#[derive(Debug)]
pub(super) struct Passage {
    split: Split,
    pieces: std::vec::IntoIter<u64>,
    /// Number of its next batch.
    pub(super) number: u32,
    /// With a tokenizer: tokens that wait for a batch, and what the batches may cover.
    pending: VecDeque<u32>,
    budget: u64,
    covered: u64,
}

impl Passage {
    pub(super) fn new(split: Split, pieces: Vec<u64>, budget: u64) -> Self {
        let pieces = pieces.into_iter();
        Self { split, pieces, number: 0, pending: VecDeque::new(), budget, covered: 0 }
    }

    /// Bytes of a piece of text that a tokenizer gets at once.
    pub(super) fn chunk_bytes(sequence_tokens: u32) -> u64 {
        let (least, most) = CHUNK_BYTES;
        u64::from(sequence_tokens).saturating_mul(CHUNK_SEQUENCES).clamp(least, most)
    }

    pub(super) fn pieces_left(&self) -> &[u64] {
        self.pieces.as_slice()
    }

    /// The next batch, until the pieces or the budget are used up.
    pub(super) fn next(
        &mut self,
        dataset: &Dataset,
        tokenizer: Option<&Tokenizer>,
        shape: &Shape,
    ) -> Result<Option<Batch>, BatchError> {
        let drawn = match tokenizer {
            None => self.next_bytes(dataset, shape)?,
            Some(tokenizer) => self.next_tokens(dataset, tokenizer, shape)?,
        };
        let Some((targets, bytes)) = drawn else { return Ok(None) };
        let mark = tokenizer.map_or(0, Tokenizer::start_mark);
        let mut inputs = vec![mark; targets.len()];
        for (input, target) in inputs.chunks_mut(shape.tokens).zip(targets.chunks(shape.tokens)) {
            // The start mark, then the sequence without its last token.
            input.iter_mut().skip(1).zip(target).for_each(|(input, target)| *input = *target);
        }
        let (number, split) = (self.number, self.split);
        Ok(Some(Batch {
            number,
            split,
            inputs,
            targets,
            bytes,
            positions: Vec::new(),
            altered: None,
        }))
    }

    fn next_bytes(
        &mut self,
        dataset: &Dataset,
        shape: &Shape,
    ) -> Result<Option<(Vec<u32>, u64)>, TextError> {
        let windows: Vec<u64> = self.pieces.by_ref().take(shape.sequences).collect();
        if windows.len() < shape.sequences {
            return Ok(None);
        }
        let mut text = vec![0; shape.batch_tokens()];
        for (window, into) in windows.iter().zip(text.chunks_mut(shape.tokens)) {
            dataset.read(self.split, window.saturating_mul(shape.tokens as u64), into)?;
        }
        let bytes = text.len() as u64;
        Ok(Some((text.into_iter().map(u32::from).collect(), bytes)))
    }

    /// Budgets are rounded down to whole batches, and are one batch at least.
    fn next_tokens(
        &mut self,
        dataset: &Dataset,
        tokenizer: &Tokenizer,
        shape: &Shape,
    ) -> Result<Option<(Vec<u32>, u64)>, BatchError> {
        self.fill(dataset, tokenizer, shape)?;
        if self.pending.len() < shape.batch_tokens() {
            if self.covered == 0 {
                let detail = "its tokens are so long that the budget does not fill a batch";
                return Err(BatchError::Tokenizer(detail.to_owned()));
            }
            return Ok(None);
        }
        let next = || self.pending.iter().take(shape.batch_tokens()).copied();
        let bytes = next().fold(0, |sum: u64, id| sum.saturating_add(tokenizer.bytes_of(id)));
        let covered = self.covered.saturating_add(bytes);
        if covered > self.budget && self.covered > 0 {
            return Ok(None);
        }
        self.covered = covered;
        Ok(Some((self.pending.drain(..shape.batch_tokens()).collect(), bytes)))
    }

    /// Tokenizes pieces until a batch is there; how many tokens of how many bytes wait then.
    pub(super) fn fill(
        &mut self,
        dataset: &Dataset,
        tokenizer: &Tokenizer,
        shape: &Shape,
    ) -> Result<(u64, u64), BatchError> {
        let tokens = u32::try_from(shape.tokens).unwrap_or(u32::MAX);
        while self.pending.len() < shape.batch_tokens() {
            let Some(piece) = self.pieces.next() else { break };
            let from = piece.saturating_mul(Self::chunk_bytes(tokens));
            let text = read_chars(dataset, self.split, from, Self::chunk_bytes(tokens))?;
            self.pending.extend(encoded(tokenizer, &text, self.number)?);
        }
        let bytes =
            self.pending.iter().fold(0, |sum: u64, id| sum.saturating_add(tokenizer.bytes_of(*id)));
        Ok((self.pending.len() as u64, bytes))
    }
}

fn encoded(tokenizer: &Tokenizer, text: &str, batch: u32) -> Result<Vec<u32>, BatchError> {
    tokenizer.encode(text).map_err(|error| match error {
        EncodeError::Lossy => BatchError::Lossy { batch },
        other => BatchError::Tokenizer(other.to_string()),
    })
}

/// The characters that begin in these bytes: neighbouring ranges have each character once.
pub(super) fn read_chars(
    dataset: &Dataset,
    split: Split,
    from: u64,
    bytes: u64,
) -> Result<String, TextError> {
    let there = dataset.bytes(split).saturating_sub(from);
    let wanted = bytes.saturating_add(CHAR_BYTES_MAX - 1).min(there);
    let mut text = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
    dataset.read(split, from, &mut text)?;
    let begins = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    let first = text.iter().position(begins).unwrap_or(text.len());
    let range = usize::try_from(bytes).unwrap_or(usize::MAX).min(text.len());
    let beyond = text.iter().skip(range).position(begins);
    let end = beyond.map_or(text.len(), |more| range.saturating_add(more));
    let inside = text.get(first..end).unwrap_or_default();
    Ok(String::from_utf8_lossy(inside).into_owned())
}

/// What is drawn for each batch, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Draws {
    audits: SeedStream,
    positions: SeedStream,
    /// The first batch of a run is always audited.
    is_first: bool,
}

impl Draws {
    pub(super) fn new(seed: &Digest) -> Self {
        let audits = SeedStream::new(seed, "audit");
        Self { audits, positions: SeedStream::new(seed, "positions"), is_first: true }
    }

    /// Positions of the next batch: all, or a uniform sample, whatever its text and targets.
    pub(super) fn positions(&mut self, shape: &Shape) -> Vec<usize> {
        if !shape.is_sampled() {
            return (0..shape.batch_tokens()).collect();
        }
        let (all, some) = (shape.batch_tokens() as u64, shape.positions as u64);
        let drawn = self.positions.distinct_below(all, some);
        let mut drawn: Vec<usize> =
            drawn.into_iter().filter_map(|position| usize::try_from(position).ok()).collect();
        drawn.sort_unstable();
        drawn
    }

    pub(super) fn is_audited(&mut self, per_mille: u32) -> bool {
        let is_drawn = self.audits.below(1000) < u64::from(per_mille);
        std::mem::take(&mut self.is_first) || is_drawn
    }

    /// The batch's inputs with another text from each sequence's cut on, from a pool of text that
    /// is drawn for it.
    pub(super) fn altered(
        &mut self,
        dataset: &Dataset,
        (batch, tokenizer): (&Batch, Option<&Tokenizer>),
        shape: &Shape,
    ) -> Result<Altered, BatchError> {
        let cuts = self.cuts(batch, shape);
        let all = dataset.bytes(batch.split);
        let bytes = (shape.batch_tokens() as u64).saturating_mul(POOL_BYTES_PER_TOKEN).min(all);
        let from = self.audits.below(all.saturating_sub(bytes).saturating_add(1));
        let pool: Vec<u32> = match tokenizer {
            None => {
                let mut text = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
                dataset.read(batch.split, from, &mut text)?;
                text.into_iter().map(u32::from).collect()
            }
            Some(tokenizer) => {
                let text = read_chars(dataset, batch.split, from, bytes)?;
                encoded(tokenizer, &text, batch.number)?
            }
        };
        let mut counts: HashMap<u32, u64> = HashMap::new();
        for token in &pool {
            let count = counts.entry(*token).or_default();
            *count = count.saturating_add(1);
        }
        let mut inputs = batch.inputs.clone();
        for (sequence, cut) in inputs.chunks_mut(shape.tokens).zip(&cuts) {
            let offset = self.audits.below(pool.len() as u64);
            let tail = pool.iter().cycle().skip(usize::try_from(offset).unwrap_or_default());
            sequence.iter_mut().skip(*cut).zip(tail).for_each(|(input, tail)| *input = *tail);
        }
        Ok(Altered { inputs, cuts, counts })
    }

    /// Per sequence a cut after at least one token, before the last one's end: anywhere, or behind
    /// one of the positions that are asked where they are a sample.
    fn cuts(&mut self, batch: &Batch, shape: &Shape) -> Vec<usize> {
        let within = |sequence: usize| {
            let from = sequence.saturating_mul(shape.tokens);
            let asked = batch.positions.iter().filter_map(move |at| at.checked_sub(from));
            asked.filter(|token| token.saturating_add(1) < shape.tokens).collect::<Vec<usize>>()
        };
        (0..shape.sequences)
            .map(|sequence| {
                let asked = if shape.is_sampled() { within(sequence) } else { Vec::new() };
                let drawn = if asked.is_empty() {
                    self.audits.below((shape.tokens as u64).saturating_sub(1))
                } else {
                    let which = self.audits.below(asked.len() as u64);
                    let which = usize::try_from(which).unwrap_or_default();
                    asked.get(which).map_or(0, |token| *token as u64)
                };
                usize::try_from(drawn).unwrap_or_default().saturating_add(1)
            })
            .collect()
    }
}
