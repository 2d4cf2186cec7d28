//! `assay submissions show`.

use clap::Args;

use super::find;
use crate::cli::report::{ask, Asked};
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{grouped, SubmissionStatus};

const EXAMPLES: &str = "\
Examples:
  assay submissions show 7866e9f2
  assay submissions show --json 7866e9f2 | jq .detail

`assay explain` says who has it and what it waits for.

Exit codes: 0 shown; 1 no such submission; 3 not running or not answering.";

/// Show what is known of one submission.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ShowCommand {
    /// The beginning of its id, or all of it
    #[arg(value_name = "SUBMISSION")]
    submission: String,

    /// Print JSON: the submission as `assay status --json` has it
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl ShowCommand {
    /// Prints it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is none with that id, or several.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let Asked { report, headline, exit } = ask(&self.flags)?;
        let row = find(&report, &self.submission)?;
        let text = if self.json {
            serde_json::to_string_pretty(row).map_err(Failure::unexpected)?
        } else {
            format!("{headline}{}", render(row))
        };
        output::print(&text)?;
        Ok(exit)
    }
}

fn render(row: &SubmissionStatus) -> String {
    let mut lines = vec![
        ("submission", row.id.to_string()),
        ("miner", row.hotkey.to_string()),
        ("content", row.content.to_string()),
        ("committed", format!("in block {}", row.committed_at)),
        ("stage", row.stage.name().to_owned()),
    ];
    lines.extend(row.detail.clone().map(|detail| ("because", detail)));
    lines.extend(row.rule.clone().map(|rule| ("rule", rule)));
    lines.extend(row.points.map(|points| ("points", grouped(points))));
    lines.extend(row.worker.map(|worker| ("worker", worker.to_string())));
    if let Some(metrics) = &row.metrics {
        let text = format!(
            "{} parameters, {} bytes of text",
            grouped(metrics.parameters),
            grouped(metrics.covered_bytes)
        );
        lines.push(("measured", text));
    }
    lines.iter().map(|(name, text)| format!("{name:<12}{text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn one_submission_is_found_by_its_beginning_and_shown_with_its_reason() {
        let report = sample::healthy();
        let rejected = find(&report, "a3").unwrap();
        let text = render(rejected);
        assert!(text.contains("rule        archive-traversal"), "{text}");
        assert!(find(&report, "a").unwrap_err().to_string().contains("3 submissions"));
        assert!(find(&report, "ff").is_err());
    }
}
