//! `assay status`.

use clap::Args;
use serde::Serialize;

use super::flags::ConfigFlags;
use super::report::no_node;
use super::runtime::block_on;
use super::watch::watch;
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{find, render, unix_now, Found, FoundStatus, StatusReport};

const EXAMPLES: &str = "\
Examples:
  assay status                     what the node does, what is wrong first
  assay status --watch             the same, every second, as much as fits the window
  assay status --json | jq '.report.submissions[] | {id, stage, points}'

Exit codes: 0 ready; 1 running, not ready; 3 not running or not answering (the text then is the
last snapshot, and says so).";

/// Say what the node does and what is wrong.
///
/// Asks the node that runs with the same data directory; when none does, shows its last snapshot.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusCommand {
    /// Print JSON: `source` (running, not_running, not_answering) and `report`
    #[arg(long)]
    json: bool,

    /// Print again every second, until interrupted
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    source: &'static str,
    report: &'a StatusReport,
}

impl StatusCommand {
    /// Prints the status; the exit reason says how the node is.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to show.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let settings = self.flags.settings();
        let data_dir = settings.section(DataDir::read).map_err(Failure::bad_configuration)?;
        block_on(async {
            if !self.watch {
                let (text, exit) = self.look(&data_dir).await?;
                output::print(&text)?;
                return Ok(exit);
            }
            let look = async || self.look(&data_dir).await.map(|(text, _)| text);
            watch(self.json, look).await
        })
        .map_err(Failure::unexpected)?
    }

    async fn look(&self, data_dir: &DataDir) -> Result<(String, ExitReason), Failure> {
        let status = find(data_dir).await.map_err(no_node)?;
        let now = unix_now();
        let exit = match status.found {
            Found::Running if status.report.readiness_at(now).ready => ExitReason::Done,
            Found::Running => ExitReason::Failed,
            Found::NotRunning | Found::NotAnswering { .. } => ExitReason::NotRunning,
        };
        let text = if self.json { json(&status)? } else { render(&status, now) };
        Ok((text, exit))
    }
}

fn json(status: &FoundStatus) -> Result<String, Failure> {
    let source = match status.found {
        Found::Running => "running",
        Found::NotRunning => "not_running",
        Found::NotAnswering { .. } => "not_answering",
    };
    serde_json::to_string_pretty(&Answer { source, report: &status.report })
        .map_err(Failure::unexpected)
}
