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
                PlanError::TooLittleText { .. } => {
                    "prepare a larger data set, from more text: `assay dataset prepare`"
                }
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

#[cfg(test)]
mod tests {
    use node_core::id::Digest;
    use node_evaluator::dataset::Split;

    use super::*;
    use crate::failure::{told, Failure};

    /// Every way in which nothing can be measured. A new one does not compile until it stands here.
    fn unmeasurable() -> Vec<PlanError> {
        let split = Split::ALL[0];
        let all = vec![
            PlanError::BatchTooSmall { sequences: 1, tokens: 1 },
            PlanError::BatchTooLarge { bytes: 1 << 40 },
            PlanError::TooManyBatches { batches: 1 << 40 },
            PlanError::TooLittleText { split, needed: 9, got: 7 },
        ];
        for error in &all {
            match error {
                PlanError::BatchTooSmall { .. }
                | PlanError::BatchTooLarge { .. }
                | PlanError::TooManyBatches { .. }
                | PlanError::TooLittleText { .. } => {}
            }
        }
        all
    }

    /// Every way in which a data set does not open. A new one does not compile until it stands
    /// here.
    fn unopened() -> Vec<OpenError> {
        let path = || "/srv/dataset/manifest.json".into();
        let (expected, got) = (Digest([1; 32]), Digest([2; 32]));
        let not_json = serde_json::from_str::<u8>("x").unwrap_err();
        let gone = std::io::ErrorKind::NotFound.into();
        let all = vec![
            OpenError::Read { path: path(), source: gone },
            OpenError::Manifest { path: path(), source: not_json },
            OpenError::Format { got: "assay-dataset/9".to_owned() },
            OpenError::ShardName { file: "../train".to_owned() },
            OpenError::Altered { path: path(), expected, got },
        ];
        for error in &all {
            match error {
                OpenError::Read { .. }
                | OpenError::Manifest { .. }
                | OpenError::Format { .. }
                | OpenError::ShardName { .. }
                | OpenError::Altered { .. } => {}
            }
        }
        all
    }

    #[test]
    fn each_data_set_that_a_node_cannot_use_says_what_next() {
        let unmeasurable = unmeasurable().into_iter().map(|error| {
            let (tier, unit) = (1, 0);
            DatasetFault::NotMeasurable(NotMeasurable { tier, unit, error })
        });
        let faults = unopened().into_iter().map(DatasetFault::Open).chain(unmeasurable);
        // As a start tells it.
        let failures = faults.map(|fault| {
            let next = fault.next_step();
            Failure::unavailable(fault).hint(next)
        });
        insta::assert_snapshot!(told(failures));
    }
}
