//! How a run ended, between the wire and core.

use node_core::outcome::Ending;
use proto::v1;
use proto::v1::ending::Ending as Wire;

use super::{detail, required, ConvertError};

fn told(text: &str) -> v1::Detail {
    v1::Detail { text: text.to_owned() }
}

pub(super) fn to_wire(ending: &Ending) -> v1::Ending {
    let nothing = v1::Nothing {};
    let wire = match ending {
        Ending::Completed => Wire::Completed(nothing),
        Ending::NotCausal { batch } => Wire::NotCausalBatch(*batch),
        Ending::UntrainedNotCausal { tokens } => Wire::UntrainedNotCausalTokens(*tokens),
        Ending::UntrainedBatchDependent { tokens } => Wire::UntrainedBatchDependentTokens(*tokens),
        Ending::UntrainedNotFinite { tokens } => Wire::UntrainedNotFiniteTokens(*tokens),
        Ending::SubmissionFailed { detail } => Wire::SubmissionFailed(told(detail)),
        Ending::ContractViolated { detail } => Wire::ContractViolated(told(detail)),
        Ending::TokenizerRefused { detail } => Wire::TokenizerRefused(told(detail)),
        Ending::TokenizerLossy { batch } => Wire::TokenizerLossyBatch(*batch),
        Ending::TooManyParameters { parameters } => Wire::TooManyParameters(*parameters),
        Ending::TooSlow { ran_ms } => Wire::TooSlowRanMs(*ran_ms),
        Ending::OutOfMemory => Wire::OutOfMemory(nothing),
        Ending::OutOfDeviceMemory => Wire::OutOfDeviceMemory(nothing),
        Ending::OutOfPids => Wire::OutOfPids(nothing),
        Ending::TooMuchOutput => Wire::TooMuchOutput(nothing),
        Ending::TooMuchCpuTime { used_ms } => Wire::TooMuchCpuTimeUsedMs(*used_ms),
        Ending::Killed { exit_code } => Wire::KilledExitCode(*exit_code),
        Ending::EngineFailed { detail } => Wire::EngineFailed(told(detail)),
        Ending::DeviceFailed { detail } => Wire::DeviceFailed(told(detail)),
        Ending::ImageMissing => Wire::ImageMissing(nothing),
        Ending::DatasetMissing => Wire::DatasetMissing(nothing),
        Ending::ProfileMismatch { detail } => Wire::ProfileMismatch(told(detail)),
        Ending::WorkerRestarted => Wire::WorkerRestarted(nothing),
        Ending::LeaseLost => Wire::LeaseLost(nothing),
        Ending::Stopped => Wire::Stopped(nothing),
    };
    v1::Ending { ending: Some(wire) }
}

pub(super) fn from_wire(ending: v1::Ending) -> Result<Ending, ConvertError> {
    let ending = match required("ending", ending.ending)? {
        Wire::Completed(v1::Nothing {}) => Ending::Completed,
        Wire::NotCausalBatch(batch) => Ending::NotCausal { batch },
        Wire::UntrainedNotCausalTokens(tokens) => Ending::UntrainedNotCausal { tokens },
        Wire::UntrainedBatchDependentTokens(tokens) => Ending::UntrainedBatchDependent { tokens },
        Wire::UntrainedNotFiniteTokens(tokens) => Ending::UntrainedNotFinite { tokens },
        Wire::SubmissionFailed(text) => {
            Ending::SubmissionFailed { detail: detail("submission_failed", text)? }
        }
        Wire::ContractViolated(text) => {
            Ending::ContractViolated { detail: detail("contract_violated", text)? }
        }
        Wire::TokenizerRefused(text) => {
            Ending::TokenizerRefused { detail: detail("tokenizer_refused", text)? }
        }
        Wire::TokenizerLossyBatch(batch) => Ending::TokenizerLossy { batch },
        Wire::TooManyParameters(parameters) => Ending::TooManyParameters { parameters },
        Wire::TooSlowRanMs(ran_ms) => Ending::TooSlow { ran_ms },
        Wire::OutOfMemory(v1::Nothing {}) => Ending::OutOfMemory,
        Wire::OutOfDeviceMemory(v1::Nothing {}) => Ending::OutOfDeviceMemory,
        Wire::OutOfPids(v1::Nothing {}) => Ending::OutOfPids,
        Wire::TooMuchOutput(v1::Nothing {}) => Ending::TooMuchOutput,
        Wire::TooMuchCpuTimeUsedMs(used_ms) => Ending::TooMuchCpuTime { used_ms },
        Wire::KilledExitCode(exit_code) => Ending::Killed { exit_code },
        Wire::EngineFailed(text) => Ending::EngineFailed { detail: detail("engine_failed", text)? },
        Wire::DeviceFailed(text) => Ending::DeviceFailed { detail: detail("device_failed", text)? },
        Wire::ImageMissing(v1::Nothing {}) => Ending::ImageMissing,
        Wire::DatasetMissing(v1::Nothing {}) => Ending::DatasetMissing,
        Wire::ProfileMismatch(text) => {
            Ending::ProfileMismatch { detail: detail("profile_mismatch", text)? }
        }
        Wire::WorkerRestarted(v1::Nothing {}) => Ending::WorkerRestarted,
        Wire::LeaseLost(v1::Nothing {}) => Ending::LeaseLost,
        Wire::Stopped(v1::Nothing {}) => Ending::Stopped,
    };
    Ok(ending)
}
