//! `assay miner`: what a miner does before a validator sees anything.

mod check;
mod pack;
mod submission;
mod submit;

use clap::{Args, Subcommand};

use crate::exit::ExitReason;
use crate::failure::Failure;

/// Check, pack and submit a submission.
#[derive(Debug, Args)]
pub struct MinerCommand {
    #[command(subcommand)]
    command: MinerSubcommand,
}

#[derive(Debug, Subcommand)]
enum MinerSubcommand {
    Pack(pack::PackCommand),
    Check(check::CheckCommand),
    Submit(submit::SubmitCommand),
}

impl MinerCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it could not do what it was asked.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        match self.command {
            MinerSubcommand::Pack(pack) => pack.execute(),
            MinerSubcommand::Check(check) => check.execute(),
            MinerSubcommand::Submit(submit) => submit.execute(),
        }
    }
}
