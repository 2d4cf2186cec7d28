//! The data set as a node needs it: there, unchanged, and large enough for its policy.

use std::path::Path;

use node_core::policy::Policy;
use node_evaluator::dataset::{Dataset, OpenError};
use node_evaluator::meter::{check_dataset, NotMeasurable, PlanError};

/// Why a node cannot measure with a data set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatasetFault {
    /// It is not there, or not what its manifest says.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The policy asks for what it cannot give.
    #[error(transparent)]
    NotMeasurable(#[from] NotMeasurable),
}

impl DatasetFault {
    /// What to do about it.
    pub(crate) fn next_step(&self) -> &'static str {
        match self {
            Self::Open(OpenError::Read { .. }) => {
                "`assay dataset prepare` makes one; set `challenge.nas.dataset` to its directory"
            }
            Self::Open(
                OpenError::Manifest { .. }
                | OpenError::Format { .. }
                | OpenError::ShardName { .. }
                | OpenError::Altered { .. },
            ) => {
                "copy it here once more, or make it anew with `assay dataset prepare`; `assay \
                 dataset verify` checks it"
            }
            Self::NotMeasurable(fault) => match fault.error {
                PlanError::TooLittleText { .. } => "prepare a larger data set, from more text",
                PlanError::BatchTooSmall { .. }
                | PlanError::BatchTooLarge { .. }
                | PlanError::TooManyBatches { .. } => {
                    "change the policy's batches: `challenge.nas.policy_file`"
                }
            },
        }
    }
}

/// Opens the data set in a directory, and checks that everything the policy measures can be
/// measured with it: found out now and not by every run. Reads all of its text.
///
/// # Errors
///
/// [`DatasetFault`] with what to do about it.
pub(crate) fn open_for(path: &Path, policy: &Policy) -> Result<Dataset, DatasetFault> {
    let dataset = Dataset::open(path)?;
    check_dataset(&dataset, policy)?;
    Ok(dataset)
}
