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
    /// It hit its limit of processes and threads.
    OutOfPids,
    /// It wrote more to stdout and stderr than allowed.
    TooMuchOutput,
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
            | Self::SubmissionFailed { .. }
            | Self::ContractViolated { .. }
            | Self::TooManyParameters { .. }
            | Self::TooSlow { .. }
            | Self::OutOfMemory
            | Self::OutOfPids
            | Self::TooMuchOutput
            | Self::Killed { .. } => Fault::Submission,
            Self::EngineFailed { .. }
            | Self::ImageMissing
            | Self::DatasetMissing
            | Self::ProfileMismatch { .. } => Fault::Infrastructure,
            Self::WorkerRestarted | Self::LeaseLost | Self::Stopped => Fault::Worker,
        }
    }

    /// The name used in tables, metrics and the protocol; equal to the serialised tag.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NotCausal { .. } => "not_causal",
            Self::SubmissionFailed { .. } => "submission_failed",
            Self::ContractViolated { .. } => "contract_violated",
            Self::TooManyParameters { .. } => "too_many_parameters",
            Self::TooSlow { .. } => "too_slow",
            Self::OutOfMemory => "out_of_memory",
            Self::OutOfPids => "out_of_pids",
            Self::TooMuchOutput => "too_much_output",
            Self::Killed { .. } => "killed",
            Self::EngineFailed { .. } => "engine_failed",
            Self::ImageMissing => "image_missing",
            Self::DatasetMissing => "dataset_missing",
            Self::ProfileMismatch { .. } => "profile_mismatch",
            Self::WorkerRestarted => "worker_restarted",
            Self::LeaseLost => "lease_lost",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::NotCausal { batch } => {
                write!(f, "NotCausal: predictions in batch {batch} depend on later tokens")
            }
            Self::SubmissionFailed { detail } => write!(f, "the submission failed: {detail}"),
            Self::ContractViolated { detail } => write!(f, "the contract was violated: {detail}"),
            Self::TooManyParameters { parameters } => {
                write!(f, "the model has {parameters} parameters, more than the policy allows")
            }
            Self::TooSlow { ran_ms } => write!(f, "TooSlow: stopped after {ran_ms} ms"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::OutOfPids => f.write_str("too many processes or threads"),
            Self::TooMuchOutput => f.write_str("too much output"),
            Self::Killed { exit_code } => {
                write!(f, "killed from inside the container (exit code {exit_code})")
            }
            Self::EngineFailed { detail } => write!(f, "the container engine failed: {detail}"),
            Self::ImageMissing => f.write_str("the evaluator image is not on this host"),
            Self::DatasetMissing => f.write_str("the data set is not on this host"),
            Self::ProfileMismatch { detail } => {
                write!(f, "the container differs from the sandbox profile: {detail}")
            }
            Self::WorkerRestarted => f.write_str("the node was restarted"),
            Self::LeaseLost => f.write_str("the lease could not be renewed"),
            Self::Stopped => f.write_str("stopped by the operator"),
        }
    }
}
