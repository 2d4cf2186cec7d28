//! `assay miner`: a miner's way from a first project to weights. What comes before a validator sees
//! anything happens on the miner's machine alone; the rest asks validators over HTTP.

mod answers;
mod check;
mod init;
mod pack;
mod status;
mod submission;
mod submit;
mod table;
mod validator;

use clap::{Args, Subcommand};

use crate::exit::ExitReason;
use crate::failure::Failure;

/// Begin, check, pack and submit a submission, and follow it.
#[derive(Debug, Args)]
pub struct MinerCommand {
    #[command(subcommand)]
    command: MinerSubcommand,
}

#[derive(Debug, Subcommand)]
enum MinerSubcommand {
    Init(init::InitCommand),
    Check(check::CheckCommand),
    Pack(pack::PackCommand),
    Submit(submit::SubmitCommand),
    Status(status::StatusCommand),
}

impl MinerCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it could not do what it was asked.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        match self.command {
            MinerSubcommand::Init(init) => init.execute(),
            MinerSubcommand::Check(check) => check.execute(),
            MinerSubcommand::Pack(pack) => pack.execute(),
            MinerSubcommand::Submit(submit) => submit.execute(),
            MinerSubcommand::Status(status) => status.execute(),
        }
    }
}
