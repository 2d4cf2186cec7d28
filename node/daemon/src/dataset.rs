//! The data set as a node needs it: there, unchanged, and large enough for its policy.

use std::path::Path;

use node_core::policy::Policy;
use node_evaluator::dataset::{Dataset, OpenError};
use node_evaluator::meter::{check_dataset, NotMeasurable};

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
            Self::Open(_) => {
                "`assay dataset prepare` makes one; set `challenge.nas.dataset` to its directory"
            }
            Self::NotMeasurable(_) => "prepare a larger data set, from more text",
        }
    }
}

/// Opens the data set in a directory, and checks that everything the policy measures can be measured
/// with it: found out now and not by every run. Reads all of its text.
///
/// # Errors
///
/// [`DatasetFault`] with what to do about it.
pub(crate) fn open_for(path: &Path, policy: &Policy) -> Result<Dataset, DatasetFault> {
    let dataset = Dataset::open(path)?;
    check_dataset(&dataset, policy)?;
    Ok(dataset)
}
