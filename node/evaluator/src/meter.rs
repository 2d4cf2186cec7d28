//! The meter: owns the text, hands out inputs, takes predictions, then reveals targets.
//!
//! Everything inside the container can be bent by the submission, so nothing that comes out of it
//! is believed. The container gets inputs; its answer for each position that is asked for is a
//! distribution over all tokens; the loss is computed here, and the targets of a batch leave only
//! after its predictions arrived. Each batch is used once, so the sum of the losses is a code
//! length, and the only way to a better number is to predict better.
//!
//! ```text
//! hello ->  <- start  ready ->
//!                                [<- probe  predictions ->]*               a first trial's gate
//!                                [<- ask  predictions ->]*   <- train      held out, before
//!           next ->              [<- ask  predictions ->]+   <- targets    each batch, then end
//!           trained ->           [<- ask  predictions ->]*   <- finish     the rest, held out
//! ```
//!
//! **Tokens** are bytes, a vocabulary of 256, or those of a tokenizer that the submission brings
//! and that only the meter uses. Text contains no zero byte, so zero is the start mark where tokens
//! are bytes; a tokenizer's vocabulary gets one entry more for it. A sequence's inputs are the mark
//! and all its tokens but the last, its targets all its tokens. Budgets are bytes of text.
//!
//! **Positions.** All of them are asked for with small vocabularies; with large ones a sample that
//! is drawn for each batch. Their losses stand for all of the batch (`loss::scaled`).
//!
//! **Audits.** The first batch, and others by chance, are asked twice: first with another tail
//! after a random cut in each sequence, then as they are. Predictions before the cut must agree.
//! The altered one comes first, so that a container that remembers its answers has nothing to
//! repeat yet; and it must not predict the altered token better than its frequency allows
//! (`audit`).
//!
//! **A submission that stops asking** before the budget is used up is not stopped: its final model
//! predicts the remaining batches, and their targets are never revealed.
//!
//! The meter has no deadline: a container that says nothing is the runner's to stop. Dropping the
//! future of [`run_meter`] at any point is harmless. Not here: containers, and what a number is
//! worth.

mod audit;
mod exponential;
mod loss;
mod operators;
mod passage;
mod plan;
mod probing;
#[cfg(test)]
mod probing_tests;
mod project;
mod seed;
mod session;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
mod untrained;
mod wire;

use std::collections::BTreeMap;

use node_core::evidence::Metrics;
use node_core::outcome::Ending;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::archive::Archive;

pub use plan::{check_dataset, MeterPlan, NotMeasurable, PlanError};
pub use probing::ProbePlan;
pub use project::{Contract, Entries, NotRunnable, OtherProject, TokenizerSource};
pub use wire::{
    DEVICES_BYTES_MAX, ERROR_BYTES_MAX, LOG_BYTES_MAX, LOG_FRAMES_MAX, OPERATORS_BYTES_MAX,
    PREDICTION_BYTES_MAX, PROTOCOL_VERSION,
};

/// Entries of the byte vocabulary.
pub const VOCABULARY: u32 = 256;

/// Log lines that an outcome keeps; later ones are counted only.
pub const LOG_LINES_MAX: usize = 256;

/// How far a measurement is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is happening.
    pub phase: Phase,
    /// Training batches scored.
    pub batches_done: u32,
    /// Training batches in all; with a tokenizer about so many.
    pub batches_total: u32,
    /// Bytes of training text scored.
    pub bytes_done: u64,
    /// Bytes of training text in all.
    pub bytes_total: u64,
    /// Milliseconds since training began.
    pub trained_ms: u64,
    /// Bits per byte so far, times 1e9.
    pub nanobpb: u64,
}

impl Progress {
    /// Bytes of training text per second so far; `None` before the first batch.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        let bytes = self.bytes_done.checked_mul(1000).filter(|bytes| *bytes > 0)?;
        bytes.checked_div(self.trained_ms)
    }

    /// Seconds until the budget is used up at this rate, rounded up; `None` while it is unknown.
    #[must_use]
    pub fn remaining_s(&self) -> Option<u64> {
        let rate = self.bytes_per_second().filter(|rate| *rate > 0)?;
        Some(self.bytes_total.saturating_sub(self.bytes_done).div_ceil(rate))
    }
}

/// What a measurement is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the container to build its model, and asking that before any text.
    #[default]
    Starting,
    /// Asking for held-out text with the untrained model.
    HeldOutBefore,
    /// Scoring and training, batch by batch.
    Training,
    /// Asking for held-out text with the trained model.
    HeldOutAfter,
    /// Over.
    Finished,
}

/// Numbers that the submission reported for people. Claims, never part of a score.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Training batches scored when it arrived.
    pub batches_done: u32,
    /// Value by name.
    pub values: BTreeMap<String, f64>,
}

/// What a measurement came to.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterOutcome {
    /// How it ended, as far as the meter can tell.
    pub ending: Ending,
    /// The result, if it completed. `peak_memory_bytes` is zero: the runner knows it.
    /// `parameters` is the largest number the container claimed.
    pub metrics: Option<Metrics>,
    /// Numbers the submission logged, the first [`LOG_LINES_MAX`].
    pub logs: Vec<LogLine>,
    /// The container closed the channel without a reason. How the container ended (out of memory,
    /// killed) then explains more than `ending` does.
    pub peer_left: bool,
}

/// Measures one submission over an open channel to its container.
///
/// - `io`: the channel, a Unix socket in production. The peer is hostile.
/// - `archive`: the submission's files, which are sent to the peer.
/// - `plan`: what is asked, fixed by data set, policy and seed.
/// - `progress`: told about every batch.
///
/// Memory stays below the plan's predictions for one batch, three times, whatever the peer sends.
/// The same plan with the same answers gives the same metrics, bit for bit.
///
/// Every way the peer can misbehave has its [`Ending`]: a closed channel or an exception is
/// `SubmissionFailed`, anything that the protocol does not allow `ContractViolated`, too large a
/// model `TooManyParameters`, predictions that depend on later tokens `NotCausal`; a model that
/// fails the gate before any text has one of its three endings. A data set that cannot be read
/// any more is `DatasetMissing`.
pub async fn run_meter<S>(
    io: S,
    archive: &Archive,
    plan: MeterPlan<'_>,
    progress: &watch::Sender<Progress>,
) -> MeterOutcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    session::Session::new(io, plan, progress).run(archive).await
}
