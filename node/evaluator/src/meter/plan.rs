//! What a measurement asks, in which order: fixed by data set, policy and seed before it starts.

use node_core::id::Digest;
use node_core::policy::MeterRules;

use super::seed::SeedStream;
use super::wire::PREDICTION_BYTES_MAX;
use super::VOCABULARY;
use crate::dataset::{Dataset, Split, TextError};

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
/// A split is cut into windows of `sequence_tokens` bytes; a batch is `batch_sequences` windows,
/// drawn without repetition in an order that the seed decides. Held-out text after training is
/// other text than before, so that remembering it is of no use.
#[derive(Debug)]
pub struct MeterPlan<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) rules: MeterRules,
    pub(super) model_seed: u32,
    /// Training batches.
    pub(super) batches_total: u32,
    pub(super) heldout_before: Vec<BatchPlan>,
    pub(super) training: Vec<BatchPlan>,
    pub(super) heldout_after: Vec<BatchPlan>,
    /// UUIDs of the devices that the container was given.
    pub(super) devices: Vec<String>,
}

/// Where the text of a batch stands, and how it is audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchPlan {
    /// Number of the batch: 0 is the held-out pass before training, then the training batches
    /// from 1, then the held-out pass after training.
    pub(super) number: u32,
    /// Where its text comes from.
    pub(super) split: Split,
    /// Which windows of that text.
    pub(super) windows: Vec<u64>,
    audit: Option<AuditPlan>,
}

/// Where each sequence of an audited batch is cut, and where its other tail stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AuditPlan {
    cuts: Vec<usize>,
    tails: Vec<u64>,
}

/// A batch's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchText {
    /// What the model sees, sequence after sequence.
    pub(super) inputs: Vec<u8>,
    /// What it has to predict.
    pub(super) targets: Vec<u8>,
    /// For an audit, other inputs, and per sequence the first one that differs.
    pub(super) altered: Option<(Vec<u8>, Vec<usize>)>,
}

impl<'a> MeterPlan<'a> {
    /// Chooses text and audits for a run.
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
        let (sequences, tokens) = (rules.batch_sequences, rules.sequence_tokens);
        if sequences < 2 || tokens < 2 {
            return Err(PlanError::BatchTooSmall { sequences, tokens });
        }
        let batch_bytes = u64::from(sequences).saturating_mul(u64::from(tokens));
        let bytes = batch_bytes.saturating_mul(u64::from(VOCABULARY) * 4);
        if bytes > PREDICTION_BYTES_MAX as u64 {
            return Err(PlanError::BatchTooLarge { bytes });
        }
        let count = |bytes: u64| (bytes / batch_bytes).max(1);
        let (training, heldout) = (count(rules.train_bytes), count(rules.heldout_bytes));
        let batches = training.saturating_add(heldout.saturating_mul(2));
        if u32::try_from(batches).is_err() {
            return Err(PlanError::TooManyBatches { batches });
        }
        let mut draw = Draw { dataset, rules, seed, audit: SeedStream::new(seed, "audit") };
        let heldout_windows = draw.windows(Split::Validation, "heldout", heldout * 2)?;
        let training_windows = draw.windows(Split::Train, "train", training)?;
        let (before, after) = heldout_windows.split_at(heldout_windows.len() / 2);
        let batches_total = u32::try_from(training).unwrap_or(u32::MAX);
        let last = batches_total.saturating_add(1);
        Ok(Self {
            dataset,
            rules: rules.clone(),
            model_seed: model_seed(seed),
            batches_total,
            heldout_before: draw.batches(Split::Validation, before, |_| 0),
            training: draw.batches(Split::Train, &training_windows, |index| index + 1),
            heldout_after: draw.batches(Split::Validation, after, |_| last),
            devices: Vec::new(),
        })
    }

    /// The same for a container that was given these GPUs or slices, by UUID: it has to see them
    /// and no others. Without a call it must see none.
    #[must_use]
    pub fn on_devices(mut self, uuids: Vec<String>) -> Self {
        self.devices = uuids;
        self
    }

    /// Tokens of a batch, and bytes of its text.
    pub(super) fn batch_tokens(&self) -> usize {
        self.sequences().saturating_mul(self.tokens())
    }

    pub(super) fn sequences(&self) -> usize {
        usize::try_from(self.rules.batch_sequences).unwrap_or(usize::MAX)
    }

    pub(super) fn tokens(&self) -> usize {
        usize::try_from(self.rules.sequence_tokens).unwrap_or(usize::MAX)
    }

    /// Reads a batch's text.
    pub(super) fn text(&self, batch: &BatchPlan) -> Result<BatchText, TextError> {
        let tokens = self.tokens();
        let mut targets = vec![0; self.batch_tokens()];
        for (window, into) in batch.windows.iter().zip(targets.chunks_mut(tokens)) {
            self.dataset.read(batch.split, window.saturating_mul(tokens as u64), into)?;
        }
        let mut inputs = vec![0; targets.len()];
        for (input, target) in inputs.chunks_mut(tokens).zip(targets.chunks(tokens)) {
            shift(target, input);
        }
        let altered = match &batch.audit {
            Some(audit) => Some((self.altered(batch.split, &inputs, audit)?, audit.cuts.clone())),
            None => None,
        };
        Ok(BatchText { inputs, targets, altered })
    }

    /// The inputs with another text from each sequence's cut on.
    fn altered(
        &self,
        split: Split,
        inputs: &[u8],
        audit: &AuditPlan,
    ) -> Result<Vec<u8>, TextError> {
        let mut altered = inputs.to_vec();
        let places = audit.cuts.iter().zip(&audit.tails);
        for (sequence, (cut, tail)) in altered.chunks_mut(self.tokens()).zip(places) {
            if let Some(into) = sequence.get_mut(*cut..) {
                self.dataset.read(split, *tail, into)?;
            }
        }
        Ok(altered)
    }
}

/// Puts the start mark before a sequence and drops its last byte.
fn shift(targets: &[u8], inputs: &mut [u8]) {
    for (input, target) in inputs.iter_mut().skip(1).zip(targets) {
        *input = *target;
    }
}

/// The seed that a submission's own randomness gets: it says nothing about the meter's choices.
fn model_seed(seed: &Digest) -> u32 {
    let number = SeedStream::new(seed, "model").below(1 << 31);
    u32::try_from(number).unwrap_or_default()
}

struct Draw<'a> {
    dataset: &'a Dataset,
    rules: &'a MeterRules,
    seed: &'a Digest,
    audit: SeedStream,
}

impl Draw<'_> {
    fn windows(&self, split: Split, purpose: &str, batches: u64) -> Result<Vec<u64>, PlanError> {
        let tokens = u64::from(self.rules.sequence_tokens);
        let needed = batches.saturating_mul(u64::from(self.rules.batch_sequences));
        let got = self.dataset.bytes(split);
        let windows = SeedStream::new(self.seed, purpose).distinct_below(got / tokens, needed);
        if (windows.len() as u64) < needed {
            let needed = needed.saturating_mul(tokens);
            return Err(PlanError::TooLittleText { split, needed, got });
        }
        Ok(windows)
    }

    /// Batches of the windows, in order; the first of the whole run is always audited.
    fn batches(
        &mut self,
        split: Split,
        windows: &[u64],
        number: impl Fn(u32) -> u32,
    ) -> Vec<BatchPlan> {
        let sequences = usize::try_from(self.rules.batch_sequences).unwrap_or(usize::MAX);
        let chunks = (0_u32..).zip(windows.chunks(sequences));
        chunks
            .map(|(index, windows)| {
                let number = number(index);
                let is_first = number == 0 && index == 0;
                let is_drawn = self.audit.below(1000) < u64::from(self.rules.audits_per_mille);
                let audit = (is_first || is_drawn).then(|| self.audit(split, windows.len()));
                BatchPlan { number, split, windows: windows.to_vec(), audit }
            })
            .collect()
    }

    /// A cut after at least one token, before the last one's end, and a tail from anywhere.
    fn audit(&mut self, split: Split, sequences: usize) -> AuditPlan {
        let tokens = u64::from(self.rules.sequence_tokens);
        let starts = self.dataset.bytes(split).saturating_sub(tokens);
        let mut cut = || 1 + self.audit.below(tokens - 1);
        let cuts: Vec<u64> = (0..sequences).map(|_| cut()).collect();
        let cuts = cuts.into_iter().map(|cut| usize::try_from(cut).unwrap_or(1)).collect();
        let tails = (0..sequences).map(|_| self.audit.below(starts)).collect();
        AuditPlan { cuts, tails }
    }
}
