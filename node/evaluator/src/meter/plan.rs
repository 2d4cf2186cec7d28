//! What a measurement asks, in which order: fixed by data set, policy, tokenizer and seed before it
//! starts.

use node_core::funnel::{ProjectKind, Task};
use node_core::id::Digest;
use node_core::policy::{MeterRules, Policy, UntrainedRules};

use super::passage::{Draws, Passage, Shape};
use super::probing::ProbePlan;
use super::project::Entries;
use super::seed::SeedStream;
use super::untrained::Untrained;
use super::wire::PREDICTION_BYTES_MAX;
use super::VOCABULARY;
use crate::dataset::{Dataset, Split};
use crate::tokenizer::Tokenizer;

pub(super) use super::passage::{Batch, BatchError};

/// Why nothing can be measured with a data set under a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The policy's batches make no sense.
    #[error("batches of {sequences} sequences of {tokens} tokens: both must be 2 or more")]
    BatchTooSmall {
        /// Sequences in a batch.
        sequences: u32,
        /// Tokens in a sequence.
        tokens: u32,
    },
    /// The predictions for one batch do not fit into a frame.
    #[error("predictions of a batch take {bytes} bytes, more than {PREDICTION_BYTES_MAX}")]
    BatchTooLarge {
        /// Bytes they would take.
        bytes: u64,
    },
    /// More batches than can be counted.
    #[error("the budget is {batches} batches, more than {}", u32::MAX)]
    TooManyBatches {
        /// Batches there would be.
        batches: u64,
    },
    /// The policy asks for more text than there is.
    #[error("the policy needs {needed} bytes of {split} text, the data set has {got}")]
    TooLittleText {
        /// Where it is missing.
        split: Split,
        /// Bytes needed, in whole batches.
        needed: u64,
        /// Bytes there are.
        got: u64,
    },
}

/// One measurement, ready to start.
///
/// A split is cut into pieces, which are drawn without repetition in an order that the seed
/// decides. With bytes as tokens a piece is a sequence; with a tokenizer it is some kilobytes of
/// text, and the sequences are cut from its tokens as they come. Held-out text after training is
/// other text than before, so that remembering it is of no use.
#[derive(Debug)]
pub struct MeterPlan<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) rules: MeterRules,
    pub(super) model_seed: u32,
    pub(super) shape: Shape,
    pub(super) draws: Draws,
    pub(super) heldout_before: Passage,
    pub(super) training: Passage,
    pub(super) heldout_after: Passage,
    /// `None`: tokens are bytes.
    pub(super) tokenizer: Option<Tokenizer>,
    pub(super) entries: Entries,
    /// UUIDs of the devices that the container was given.
    pub(super) devices: Vec<String>,
    /// Processes that train together in the container.
    pub(super) world_size: u32,
    /// Tokens of the longest sequence that a model of this policy is ever asked for, beside those
    /// of its batches.
    pub(super) tokens_max: u32,
    /// What the untrained model is asked first.
    pub(super) untrained: Option<Untrained>,
    /// What is run instead of a text.
    pub(super) probes: Option<ProbePlan>,
}

impl<'a> MeterPlan<'a> {
    /// Chooses text and audits for a run whose tokens are bytes.
    ///
    /// - `dataset`: must hold the whole training budget, and the held-out budget twice.
    /// - `rules`: budgets are rounded down to whole batches, and are one batch at least.
    /// - `seed`: of the assignment; the container learns only a number derived from it.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if the policy's numbers do not fit each other or the data set. No run with
    /// this data set can be measured then.
    pub fn new(dataset: &'a Dataset, rules: &MeterRules, seed: &Digest) -> Result<Self, PlanError> {
        Self::plan(dataset, rules, seed, None)
    }

    /// The same for a submission with a tokenizer of its own. Budgets stay what they are, bytes of
    /// text; how many batches they are depends on the tokenizer, and is known when they are over.
    ///
    /// # Errors
    ///
    /// As [`MeterPlan::new`].
    pub fn with_tokenizer(
        dataset: &'a Dataset,
        rules: &MeterRules,
        seed: &Digest,
        tokenizer: Tokenizer,
    ) -> Result<Self, PlanError> {
        Self::plan(dataset, rules, seed, Some(tokenizer))
    }

    fn plan(
        dataset: &'a Dataset,
        rules: &MeterRules,
        seed: &Digest,
        tokenizer: Option<Tokenizer>,
    ) -> Result<Self, PlanError> {
        let vocabulary = tokenizer.as_ref().map_or(VOCABULARY, Tokenizer::vocabulary);
        let shape = checked_shape(rules, vocabulary)?;
        let cut = Cut { dataset, rules, is_bytes: tokenizer.is_none() };
        let needs = cut.needs()?;
        let mut held = cut.draw(seed, "heldout", Split::Validation, needs.heldout);
        let after = held.split_off(held.len() / 2);
        let drawn = cut.draw(seed, "train", Split::Train, needs.training);
        let passage = |split, pieces, budget| Passage::new(split, pieces, budget);
        let mut plan = Self {
            dataset,
            rules: rules.clone(),
            model_seed: model_seed(seed),
            shape,
            draws: Draws::new(seed),
            heldout_before: passage(Split::Validation, held, rules.heldout_bytes),
            training: passage(Split::Train, drawn, rules.train_bytes),
            heldout_after: passage(Split::Validation, after, rules.heldout_bytes),
            tokenizer,
            entries: Entries::default(),
            devices: Vec::new(),
            world_size: 1,
            tokens_max: 0,
            untrained: None,
            probes: None,
        };
        plan.training.number = 1;
        Ok(plan)
    }

    /// The same for a project whose functions are elsewhere than the default, or whose contract is
    /// known.
    #[must_use]
    pub fn with_entries(mut self, entries: Entries) -> Self {
        self.entries = entries;
        self
    }

    /// The same for a container that was given these GPUs or slices, by UUID: it has to see them
    /// and no others. Without a call it must see none.
    #[must_use]
    pub fn on_devices(mut self, uuids: Vec<String>) -> Self {
        self.devices = uuids;
        self
    }

    /// The same for a container in which so many processes train together, one per device.
    #[must_use]
    pub fn with_world_size(mut self, world_size: u32) -> Self {
        self.world_size = world_size.max(1);
        self
    }

    /// The same under a policy with this gate: the container is told the longest sequence that the
    /// gate asks for, in every trial, so that a submission's model is the same in all of them.
    #[must_use]
    pub fn under_gate(mut self, rules: &UntrainedRules) -> Self {
        self.tokens_max = rules.tokens_max();
        self
    }

    /// [`MeterPlan::under_gate`] for a submission's first trial, which begins with the gate.
    ///
    /// - `seed`: of the assignment.
    #[must_use]
    pub fn through_gate(mut self, rules: &UntrainedRules, seed: &Digest) -> Self {
        let mark = self.tokenizer.as_ref().map_or(0, Tokenizer::start_mark);
        self.untrained = Untrained::new(rules, (self.shape.vocabulary, mark), seed);
        self.under_gate(rules)
    }

    /// The same, and instead of a text the probe tasks are run, in the container's first process.
    #[must_use]
    pub fn for_probes(mut self, probes: ProbePlan) -> Self {
        self.probes = Some(probes);
        self
    }

    /// How many training batches the budget will be: exactly where tokens are bytes, otherwise
    /// about so many, as the first text tells.
    pub(super) fn expected_batches(&mut self) -> Result<u32, BatchError> {
        let batch_tokens = self.shape.batch_tokens() as u64;
        let batches = match &self.tokenizer {
            None => (self.training.pieces_left().len() / self.shape.sequences) as u64,
            Some(tokenizer) => {
                let first = self.training.fill(self.dataset, tokenizer, &self.shape);
                let (tokens, bytes) = first?;
                // In the order that does not round to nothing.
                let tokens = self.rules.train_bytes.saturating_mul(tokens) / bytes.max(1);
                (tokens / batch_tokens).max(1)
            }
        };
        Ok(u32::try_from(batches).unwrap_or(u32::MAX))
    }

    /// Bytes of training text that so many batches cover: exactly where tokens are bytes, otherwise
    /// the budget, of which at most a batch is left.
    pub(super) fn training_bytes(&self, batches: u32) -> u64 {
        match &self.tokenizer {
            None => u64::from(batches).saturating_mul(self.shape.batch_tokens() as u64),
            Some(_) => self.rules.train_bytes,
        }
    }

    /// The next batch of a pass, until its budget is used up.
    pub(super) fn next(&mut self, part: Part) -> Result<Option<Batch>, BatchError> {
        let passage = match part {
            Part::HeldOutBefore => &mut self.heldout_before,
            Part::Training => &mut self.training,
            Part::HeldOutAfter => &mut self.heldout_after,
        };
        let next = passage.next(self.dataset, self.tokenizer.as_ref(), &self.shape)?;
        let Some(mut batch) = next else { return Ok(None) };
        match part {
            // All of a held-out pass has one number.
            Part::HeldOutBefore | Part::HeldOutAfter => {}
            Part::Training => {
                self.training.number = self.training.number.saturating_add(1);
                self.heldout_after.number = self.training.number;
            }
        }
        batch.positions = self.draws.positions(&self.shape);
        let is_audited = self.draws.is_audited(self.rules.audits_per_mille);
        if is_audited {
            let audited = (&batch, self.tokenizer.as_ref());
            batch.altered = Some(self.draws.altered(self.dataset, audited, &self.shape)?);
        }
        Ok(Some(batch))
    }
}

/// Which pass over text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    HeldOutBefore,
    Training,
    HeldOutAfter,
}

/// The seed that a submission's own randomness gets: it says nothing about the meter's choices.
fn model_seed(seed: &Digest) -> u32 {
    let number = SeedStream::new(seed, "model").below(1 << 31);
    u32::try_from(number).unwrap_or_default()
}

/// Whether everything that a policy measures of a submission can be measured with a data set,
/// whatever the submission's tokens are.
///
/// # Errors
///
/// [`NotMeasurable`] names the first unit that cannot.
pub fn check_dataset(dataset: &Dataset, policy: &Policy) -> Result<(), NotMeasurable> {
    for (tier, rules) in (1..=u8::MAX).zip(&policy.scoring.funnel.tiers) {
        for plan in rules.units(ProjectKind::Full) {
            let Task::Text { .. } = plan.task else { continue };
            check_rules(dataset, &plan.meter_rules(&policy.meter, rules))
                .map_err(|error| NotMeasurable { tier, unit: plan.unit, error })?;
        }
    }
    Ok(())
}

/// A part of a policy that cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unit {unit} of tier {tier} cannot be measured")]
pub struct NotMeasurable {
    /// The tier, from 1.
    pub tier: u8,
    /// The unit of the tier, from zero.
    pub unit: u8,
    /// Why.
    #[source]
    pub error: PlanError,
}

fn check_rules(dataset: &Dataset, rules: &MeterRules) -> Result<(), PlanError> {
    checked_shape(rules, VOCABULARY)?;
    for is_bytes in [true, false] {
        Cut { dataset, rules, is_bytes }.needs()?;
    }
    Ok(())
}

fn checked_shape(rules: &MeterRules, vocabulary: u32) -> Result<Shape, PlanError> {
    let (sequences, tokens) = (rules.batch_sequences, rules.sequence_tokens);
    if sequences < 2 || tokens < 2 {
        return Err(PlanError::BatchTooSmall { sequences, tokens });
    }
    let shape = Shape::new(rules, vocabulary);
    let bytes = shape.prediction_bytes();
    if bytes > PREDICTION_BYTES_MAX as u64 {
        return Err(PlanError::BatchTooLarge { bytes });
    }
    Ok(shape)
}

/// How a data set is cut into pieces.
struct Cut<'a> {
    dataset: &'a Dataset,
    rules: &'a MeterRules,
    is_bytes: bool,
}

/// Pieces that a measurement takes; the data set has them.
struct Needs {
    /// Of the validation text, for both passes.
    heldout: u64,
    training: u64,
}

impl Cut<'_> {
    fn piece_bytes(&self) -> u64 {
        if self.is_bytes {
            u64::from(self.rules.sequence_tokens)
        } else {
            Passage::chunk_bytes(self.rules.sequence_tokens)
        }
    }

    fn batch_bytes(&self) -> u64 {
        u64::from(self.rules.batch_sequences).saturating_mul(u64::from(self.rules.sequence_tokens))
    }

    /// Pieces that a budget takes, in whole batches where tokens are bytes, otherwise with what is
    /// left over at both ends of a piece and with one batch of long tokens at least.
    fn pieces(&self, budget: u64) -> u64 {
        if self.is_bytes {
            let batches = (budget / self.batch_bytes()).max(1);
            return batches.saturating_mul(u64::from(self.rules.batch_sequences));
        }
        let least = self.batch_bytes().saturating_mul(BYTES_PER_TOKEN);
        (budget.max(least) / self.piece_bytes()).saturating_add(2)
    }

    fn batches(&self, pieces: u64) -> u64 {
        pieces.saturating_mul(self.piece_bytes()) / self.batch_bytes()
    }

    fn needs(&self) -> Result<Needs, PlanError> {
        let heldout = self.pieces(self.rules.heldout_bytes).saturating_mul(2);
        let training = self.pieces(self.rules.train_bytes);
        let batches = self.batches(training.saturating_add(heldout));
        if u32::try_from(batches).is_err() {
            return Err(PlanError::TooManyBatches { batches });
        }
        for (split, needed) in [(Split::Validation, heldout), (Split::Train, training)] {
            if self.there(split) < needed {
                let (needed, got) =
                    (needed.saturating_mul(self.piece_bytes()), self.dataset.bytes(split));
                return Err(PlanError::TooLittleText { split, needed, got });
            }
        }
        Ok(Needs { heldout, training })
    }

    /// Pieces that a split has.
    fn there(&self, split: Split) -> u64 {
        self.dataset.bytes(split) / self.piece_bytes()
    }

    fn draw(&self, seed: &Digest, purpose: &str, split: Split, needed: u64) -> Vec<u64> {
        SeedStream::new(seed, purpose).distinct_below(self.there(split), needed)
    }
}

/// Bytes of text that a token stands for, at most on average, if a batch is to be filled from a
/// budget that is smaller than one.
const BYTES_PER_TOKEN: u64 = 8;
