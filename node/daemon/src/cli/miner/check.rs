//! `assay miner check`.

use std::path::PathBuf;

use clap::Args;
use node_core::admission::Verdict;

use super::submission::{evidence_lines, judge, verdict_text};
use crate::cli::flags::ConfigFlags;
use crate::config::Nas;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay miner check my-model/
  assay miner check my-model.zip --json

Exit codes: 0 admitted; 1 rejected.";

/// Say what a validator's admission would say.
///
/// It is the same code on the same bytes: the verdict is identical. Nothing is executed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckCommand {
    /// A project's folder, or an archive
    path: PathBuf,

    /// Print JSON: the verdict, and the content digest if there is one
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl CheckCommand {
    /// Prints the verdict.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to judge.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let nas = self.flags.settings().section(Nas::read).map_err(Failure::bad_configuration)?;
        let submission = judge(&self.path, &nas.rules()?)?;
        let text = if self.json {
            serde_json::json!({ "verdict": submission.verdict, "content": submission.digest })
                .to_string()
        } else {
            let mut lines = vec![verdict_text(&submission.verdict)];
            lines.extend(evidence_lines(&submission.verdict));
            lines.extend(submission.faults.iter().map(|fault| format!("alarm     {fault}")));
            lines.extend(submission.digest.map(|digest| format!("content   {digest}")));
            lines.join("\n")
        };
        output::print(&text)?;
        Ok(match submission.verdict {
            Verdict::Admitted { .. } => ExitReason::Done,
            Verdict::Rejected { .. } => ExitReason::Failed,
        })
    }
}
