//! `assay version`.

use clap::Args;

use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

/// Print the version.
#[derive(Debug, Args)]
pub struct VersionCommand {}

impl VersionCommand {
    /// Prints the version.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if stdout refuses.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        output::print(concat!("assay ", env!("CARGO_PKG_VERSION")))?;
        Ok(ExitReason::Done)
    }
}
