//! `assay weights`: what was signed, what would be, and how it moves to another machine.
//!
//! Everything that was signed stands in the journal; these commands read it, compare it with the
//! chain, and merge it with what another machine knows. Not here: what may be signed (`node-core`),
//! and how a journal is merged (`node-store`).

mod adopt;
pub(super) mod compare;
mod export;
mod history;
mod import;
mod place;
mod plan;
mod show;
mod table;
mod verify;

use clap::{Args, Subcommand};

use crate::exit::ExitReason;
use crate::failure::Failure;

/// Show, check and move what this hotkey signed.
///
/// The node writes every step of every vector into `signed.journal` before anything leaves. That
/// file is what keeps it from signing twice: keep it, and move it with the hotkey.
#[derive(Debug, Args)]
pub struct WeightsCommand {
    #[command(subcommand)]
    command: WeightsSubcommand,
}

#[derive(Debug, Subcommand)]
enum WeightsSubcommand {
    Plan(plan::PlanCommand),
    Show(show::ShowCommand),
    History(history::HistoryCommand),
    Verify(verify::VerifyCommand),
    Export(export::ExportCommand),
    Import(import::ImportCommand),
    Adopt(adopt::AdoptCommand),
}

impl WeightsCommand {
    /// Does what the subcommand says.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the next step.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        match self.command {
            WeightsSubcommand::Plan(plan) => plan.execute(),
            WeightsSubcommand::Show(show) => show.execute(),
            WeightsSubcommand::History(history) => history.execute(),
            WeightsSubcommand::Verify(verify) => verify.execute(),
            WeightsSubcommand::Export(export) => export.execute(),
            WeightsSubcommand::Import(import) => import.execute(),
            WeightsSubcommand::Adopt(adopt) => adopt.execute(),
        }
    }
}
