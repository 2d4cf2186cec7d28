//! `assay dataset`.

use clap::Args;

use crate::exit::ExitReason;
use crate::failure::Failure;

/// Prepare and verify data sets.
#[derive(Debug, Args)]
pub struct DatasetCommand {}

impl DatasetCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it could not do what it was asked.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        Err(Failure::unexpected("data sets are not part of this build"))
    }
}
