//! `assay submissions list`.

use clap::Args;

use crate::cli::report::{ask, Asked};
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{table, StatusReport, SubmissionStatus};

const EXAMPLES: &str = "\
Examples:
  assay submissions list                      the newest first
  assay submissions list --stage held         those that wait for a person
  assay submissions list --json | jq '.[].id'

Exit codes: 0 shown; 3 not running or not answering (what is shown is the last snapshot).";

/// Stages that can be asked for.
const STAGES: [&str; 8] =
    ["committed", "fetched", "held", "admitted", "rejected", "scored", "failed", "disputed"];

/// List the submissions that this node knows, the newest first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListCommand {
    /// Only those that got so far
    #[arg(long, value_name = "STAGE", value_parser = STAGES)]
    stage: Option<String>,

    /// Print JSON: an array of submissions as `assay status --json` has them
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl ListCommand {
    /// Prints them.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to show.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let Asked { report, headline, exit } = ask(&self.flags)?;
        let rows = chosen(&report, self.stage.as_deref());
        let text = if self.json {
            serde_json::to_string_pretty(&rows).map_err(Failure::unexpected)?
        } else {
            format!("{headline}{}", render(&rows))
        };
        output::print(&text)?;
        Ok(exit)
    }
}

fn chosen<'a>(report: &'a StatusReport, stage: Option<&str>) -> Vec<&'a SubmissionStatus> {
    let is_wanted = |row: &&SubmissionStatus| stage.is_none_or(|stage| row.stage.name() == stage);
    report.submissions.iter().filter(is_wanted).collect()
}

fn render(rows: &[&SubmissionStatus]) -> String {
    if rows.is_empty() {
        return "no submission is so far\n".to_owned();
    }
    let mut table = table(&["submission", "miner", "block", "stage", "points", ""]);
    for row in rows {
        table.add_row([
            row.id.short(),
            row.hotkey.short(),
            row.committed_at.to_string(),
            row.stage.name().to_owned(),
            row.points.map(crate::status::grouped).unwrap_or_default(),
            row.detail.clone().unwrap_or_default(),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn a_stage_leaves_out_the_others_and_none_of_it_is_said() {
        let report = sample::healthy();
        assert_eq!(chosen(&report, None).len(), report.submissions.len());
        let scored = chosen(&report, Some("scored"));
        assert!(!scored.is_empty() && scored.len() < report.submissions.len());
        assert!(render(&scored).contains("412 233 901"), "{}", render(&scored));
        assert_eq!(render(&chosen(&report, Some("held"))), "no submission is so far\n");
    }
}
