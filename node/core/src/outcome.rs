//! Every way a run can end has a name, and each name says whose fault it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ending")]
pub enum Ending {
    /// The meter measured everything it wanted.
    Completed,
    /// An audit found predictions that depend on later tokens.
    NotCausal {
        /// The audited batch, counted from zero; the held-out pass before training is batch 0.
        batch: u32,
    },
    /// Before any training, its predictions changed with tokens that come later.
    UntrainedNotCausal {
        /// Tokens of the sequence in which it showed.
        tokens: u32,
    },
    /// Before any training, it predicted a sequence otherwise beside other sequences.
    UntrainedBatchDependent {
        /// Tokens of the sequence in which it showed.
        tokens: u32,
    },
    /// Before any training, its predictions were not finite, or no distributions.
    UntrainedNotFinite {
        /// Tokens of the sequence in which it showed.
        tokens: u32,
    },
    /// The submission raised an exception or left early.
    SubmissionFailed {
        /// Its last words, shortened.
        detail: String,
    },
    /// The container's side of the meter protocol said something it must not say.
    ContractViolated {
        /// What was wrong.
        detail: String,
    },
    /// The submission's tokenizer is none that can be used, or does not get along with its text.
    TokenizerRefused {
        /// Why.
        detail: String,
    },
    /// What its tokenizer made of the text is not the text.
    TokenizerLossy {
        /// The batch, as in `NotCausal`.
        batch: u32,
    },
    /// The model is larger than the policy allows.
    TooManyParameters {
        /// Parameters counted.
        parameters: u64,
    },
    /// The wall clock of the policy ran out.
    TooSlow {
        /// Milliseconds it had run.
        ran_ms: u64,
    },
    /// The kernel killed it for memory.
    OutOfMemory,
    /// Its device's memory did not suffice, as the container's side says.
    OutOfDeviceMemory,
    /// It hit its limit of processes and threads.
    OutOfPids,
    /// It wrote more to stdout and stderr than allowed.
    TooMuchOutput,
    /// It used more CPU time than the policy allows.
    TooMuchCpuTime {
        /// Milliseconds used when it was seen.
        used_ms: u64,
    },
    /// Something in the container killed the evaluation from inside.
    Killed {
        /// Exit code of the container.
        exit_code: i64,
    },
    /// The container engine went away or refused.
    EngineFailed {
        /// What it said.
        detail: String,
    },
    /// The device failed, or the container did not get the one that was meant for it.
    DeviceFailed {
        /// What was seen.
        detail: String,
    },
    /// The evaluator image is not on this host.
    ImageMissing,
    /// The data set is missing here or is another one.
    DatasetMissing,
    /// The container's settings differ from the sandbox profile; it was not started.
    ProfileMismatch {
        /// Which setting, with both values.
        detail: String,
    },
    /// The node was restarted while it ran.
    WorkerRestarted,
    /// The lease could not be renewed in time.
    LeaseLost,
    /// The operator asked the node to stop.
    Stopped,
}

/// Whose doing an ending is: decides whether and where the assignment is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nobody's: a result exists.
    None,
    /// The submission's: never tried again.
    Submission,
    /// The machine's: tried again, elsewhere if possible.
    Infrastructure,
    /// The worker went away or was told to: tried again.
    Worker,
}

impl Ending {
    /// Whose doing it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Completed => Fault::None,
            Self::NotCausal { .. }
            | Self::UntrainedNotCausal { .. }
            | Self::UntrainedBatchDependent { .. }
            | Self::UntrainedNotFinite { .. }
            | Self::SubmissionFailed { .. }
            | Self::ContractViolated { .. }
            | Self::TokenizerRefused { .. }
            | Self::TokenizerLossy { .. }
            | Self::TooManyParameters { .. }
            | Self::TooSlow { .. }
            | Self::OutOfMemory
            | Self::OutOfDeviceMemory
            | Self::OutOfPids
            | Self::TooMuchOutput
            | Self::TooMuchCpuTime { .. }
            | Self::Killed { .. } => Fault::Submission,
            Self::EngineFailed { .. }
            | Self::DeviceFailed { .. }
            | Self::ImageMissing
            | Self::DatasetMissing
            | Self::ProfileMismatch { .. } => Fault::Infrastructure,
            Self::WorkerRestarted | Self::LeaseLost | Self::Stopped => Fault::Worker,
        }
    }

    /// Whether it tells that this host lacks what every run needs, and not only this one.
    #[must_use]
    pub fn is_lack_of_host(&self) -> bool {
        matches!(self, Self::ImageMissing | Self::DatasetMissing | Self::ProfileMismatch { .. })
    }

    /// What a node does after such an ending, for whoever reads about it: a sentence without its
    /// full stop, that goes behind the ending's own.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::ImageMissing => {
                "given back and tried elsewhere; `assay doctor` says how this node gets its image"
            }
            Self::DatasetMissing => {
                "given back and tried elsewhere; this node needs `challenge.nas.dataset`"
            }
            Self::ProfileMismatch { .. } => {
                "not started, given back and tried elsewhere; `assay doctor` looks at the engine"
            }
            Self::EngineFailed { .. } => {
                "given back and tried again; `assay doctor` looks at the engine"
            }
            Self::DeviceFailed { .. } => "given back and tried again on another device",
            Self::WorkerRestarted | Self::LeaseLost | Self::Stopped => {
                "its container was removed; the lease is given out again"
            }
            Self::Completed => "the result counts",
            Self::NotCausal { .. }
            | Self::UntrainedNotCausal { .. }
            | Self::UntrainedBatchDependent { .. }
            | Self::UntrainedNotFinite { .. }
            | Self::SubmissionFailed { .. }
            | Self::ContractViolated { .. }
            | Self::TokenizerRefused { .. }
            | Self::TokenizerLossy { .. }
            | Self::TooManyParameters { .. }
            | Self::TooSlow { .. }
            | Self::OutOfMemory
            | Self::OutOfDeviceMemory
            | Self::OutOfPids
            | Self::TooMuchOutput
            | Self::TooMuchCpuTime { .. }
            | Self::Killed { .. } => "the submission's own doing: not tried again",
        }
    }

    /// The name used in tables, metrics and the protocol; equal to the serialised tag.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NotCausal { .. } => "not_causal",
            Self::UntrainedNotCausal { .. } => "untrained_not_causal",
            Self::UntrainedBatchDependent { .. } => "untrained_batch_dependent",
            Self::UntrainedNotFinite { .. } => "untrained_not_finite",
            Self::SubmissionFailed { .. } => "submission_failed",
            Self::ContractViolated { .. } => "contract_violated",
            Self::TokenizerRefused { .. } => "tokenizer_refused",
            Self::TokenizerLossy { .. } => "tokenizer_lossy",
            Self::TooManyParameters { .. } => "too_many_parameters",
            Self::TooSlow { .. } => "too_slow",
            Self::OutOfMemory => "out_of_memory",
            Self::OutOfDeviceMemory => "out_of_device_memory",
            Self::OutOfPids => "out_of_pids",
            Self::TooMuchOutput => "too_much_output",
            Self::TooMuchCpuTime { .. } => "too_much_cpu_time",
            Self::Killed { .. } => "killed",
            Self::EngineFailed { .. } => "engine_failed",
            Self::DeviceFailed { .. } => "device_failed",
            Self::ImageMissing => "image_missing",
            Self::DatasetMissing => "dataset_missing",
            Self::ProfileMismatch { .. } => "profile_mismatch",
            Self::WorkerRestarted => "worker_restarted",
            Self::LeaseLost => "lease_lost",
            Self::Stopped => "stopped",
        }
    }
}

/// The sentences are part of what workers sign: changing one makes receipts that are kept
/// unreadable as signed. What is to be said better goes into [`Ending::consequence`].
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::NotCausal { batch } => {
                write!(f, "NotCausal: predictions in batch {batch} depend on later tokens")
            }
            Self::UntrainedNotCausal { tokens } => write!(
                f,
                "the untrained model is not causal: in {tokens} tokens, predictions depend on \
                 later ones"
            ),
            Self::UntrainedBatchDependent { tokens } => write!(
                f,
                "the untrained model depends on its batch: it predicts the same {tokens} tokens \
                 otherwise beside others"
            ),
            Self::UntrainedNotFinite { tokens } => write!(
                f,
                "the untrained model is not finite: for {tokens} tokens its predictions are no \
                 distributions"
            ),
            Self::SubmissionFailed { detail } => write!(f, "the submission failed: {detail}"),
            Self::ContractViolated { detail } => write!(f, "the contract was violated: {detail}"),
            Self::TokenizerRefused { detail } => write!(f, "the tokenizer is refused: {detail}"),
            Self::TokenizerLossy { batch } => {
                write!(f, "the tokenizer is lossy: batch {batch} does not decode to its text")
            }
            Self::TooManyParameters { parameters } => {
                write!(f, "the model has {parameters} parameters, more than the policy allows")
            }
            Self::TooSlow { ran_ms } => write!(f, "TooSlow: stopped after {ran_ms} ms"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::OutOfDeviceMemory => f.write_str("out of the device's memory"),
            Self::OutOfPids => f.write_str("too many processes or threads"),
            Self::TooMuchOutput => f.write_str("too much output"),
            Self::TooMuchCpuTime { used_ms } => {
                write!(f, "too much CPU time: stopped after {used_ms} ms of it")
            }
            Self::Killed { exit_code } => {
                write!(f, "killed from inside the container (exit code {exit_code})")
            }
            Self::EngineFailed { detail } => write!(f, "the container engine failed: {detail}"),
            Self::DeviceFailed { detail } => write!(f, "the device failed: {detail}"),
            Self::ImageMissing => f.write_str("the evaluator image is not on this host"),
            Self::DatasetMissing => f.write_str("the data set is not on this host, or was altered"),
            Self::ProfileMismatch { detail } => {
                write!(f, "the container differs from the sandbox profile: {detail}")
            }
            Self::WorkerRestarted => f.write_str("the node was restarted"),
            Self::LeaseLost => f.write_str("the lease could not be renewed"),
            Self::Stopped => f.write_str("stopped by the operator"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_another_try_is_what_happens() {
        let detail = String::new;
        let tried_again = [
            Ending::EngineFailed { detail: detail() },
            Ending::DeviceFailed { detail: detail() },
            Ending::ImageMissing,
            Ending::DatasetMissing,
            Ending::ProfileMismatch { detail: detail() },
            Ending::WorkerRestarted,
            Ending::LeaseLost,
            Ending::Stopped,
        ];
        for ending in tried_again {
            assert!(matches!(ending.fault(), Fault::Infrastructure | Fault::Worker), "{ending:?}");
            assert!(ending.consequence().contains("given"), "{ending:?}");
        }
        for ending in [
            Ending::OutOfDeviceMemory,
            Ending::TooMuchCpuTime { used_ms: 1 },
            Ending::Killed { exit_code: 1 },
        ] {
            assert_eq!(ending.fault(), Fault::Submission);
            assert!(ending.consequence().contains("not tried again"), "{ending:?}");
        }
    }
}
