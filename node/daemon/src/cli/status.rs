//! `assay status`.

use clap::Args;
use node_core::unit::UnixMs;

use super::dashboard;
use super::flags::ConfigFlags;
use super::report::no_node;
use super::runtime::block_on;
use super::watch::watch;
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{find, render, schema_text, unix_now, FoundStatus, NodeHealth, StatusAnswer};

const EXAMPLES: &str = "\
Examples:
  assay status                     what the node does, what is wrong first
  assay status --watch             live: devices, runs, submissions, leases, peers, events
  assay status --json | jq '.report.submissions[] | {id, stage, points}'
  assay status --schema            what --json prints, as JSON Schema; docs/status.md explains it

Exit codes: 0 healthy; 1 degraded: something keeps it from part of its work; 2 unsafe: another
signer of its hotkey, another subnet under its number, or a journal that is nearly full; 3
unreachable: not running or not answering (the text then is the last snapshot, and says so). With
--watch in a terminal: 0 when it was left with q, Esc or Ctrl-C; 130 when a signal ended it.";

/// Say what the node does and what is wrong.
///
/// Asks the node that runs with the same data directory; when none does, shows its last snapshot.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusCommand {
    /// Print JSON: `health` (healthy, degraded, unsafe, unreachable), `needs_person`, `source`
    /// (running, not_running, not_answering) and `report`
    #[arg(long)]
    json: bool,

    /// Print the JSON Schema of what `--json` prints; asks no node
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    schema: bool,

    /// Show it live in a terminal, until `q`; elsewhere, and with `--json`, print it every second
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl StatusCommand {
    /// Prints the status; the exit reason says how the node is.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to show.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        if self.schema {
            output::print(&schema_text())?;
            return Ok(ExitReason::Done);
        }
        let settings = self.flags.settings();
        let data_dir = settings.section(DataDir::read).map_err(Failure::bad_configuration)?;
        block_on(async {
            if !self.watch {
                let (text, exit) = self.look(&data_dir).await?;
                output::print(&text)?;
                return Ok(exit);
            }
            if !self.json && dashboard::is_possible() {
                return dashboard::show(&data_dir).await;
            }
            let look = async || self.look(&data_dir).await.map(|(text, _)| text);
            watch(self.json, look).await
        })
        .map_err(Failure::unexpected)?
    }

    async fn look(&self, data_dir: &DataDir) -> Result<(String, ExitReason), Failure> {
        let status = find(data_dir).await.map_err(no_node)?;
        let now = unix_now();
        let health = status.health(now);
        let exit = match health {
            NodeHealth::Healthy => ExitReason::Done,
            NodeHealth::Degraded => ExitReason::Failed,
            NodeHealth::Unsafe => ExitReason::Unsafe,
            NodeHealth::Unreachable => ExitReason::NotRunning,
        };
        let text = if self.json { json(status, now)? } else { render(&status, now) };
        Ok((text, exit))
    }
}

/// Room that a printed report begins with: the report of a node with a long past. What is not used
/// of it costs nothing, and text that grows is copied again and again.
const TEXT_BYTES: usize = 2 << 20;

fn json(status: FoundStatus, now: UnixMs) -> Result<String, Failure> {
    let mut text = Vec::with_capacity(TEXT_BYTES);
    serde_json::to_writer_pretty(&mut text, &StatusAnswer::of(status, now))
        .map_err(Failure::unexpected)?;
    String::from_utf8(text).map_err(Failure::unexpected)
}
