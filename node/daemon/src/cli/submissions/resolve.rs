//! `assay submissions resolve`.

use clap::Args;
use node_core::hold::Resolution;
use node_core::submission::Submission;

use super::find;
use crate::admin::{OperatorRefusal, ResolveRequest};
use crate::cli::operator::Operator;
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay submissions resolve 7866e9f2 --admit
  assay submissions resolve 7866e9f2 --reject \"the same model with another name\"

What is decided is stored before this command returns, and holds for this node alone: other
validators look at it themselves. The miner can read the reason of a rejection.

Exit codes: 0 done; 1 refused: no such submission, or it is not held; 3 not running or not
answering. Without an answer, `assay submissions show` says whether it was done.";

/// Where to look whether it was done.
const LOOK: &str = "`assay submissions show` shows how it stands; ask again if it is still held";

/// Decide about a submission that is held.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ResolveCommand {
    /// The beginning of its id, or all of it
    #[arg(value_name = "SUBMISSION")]
    submission: String,

    /// Let it be evaluated
    #[arg(long, required_unless_present = "reject", conflicts_with = "reject")]
    admit: bool,

    /// Reject it, for this reason
    #[arg(long, value_name = "REASON")]
    reject: Option<String>,

    /// Print JSON: the submission as it is now; or `refused` and `message`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
#[error("not resolved: {0}")]
struct Refused(String);

impl ResolveCommand {
    /// Asks the running node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if none runs, or if it refuses.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let (operator, report) = Operator::of_running_node(&self.flags)?;
        let submission = find(&report, &self.submission)?.id;
        let resolution = match self.reject {
            Some(reason) => Resolution::Reject { reason },
            None => Resolution::Admit,
        };
        let said = operator
            .post::<Submission>("/submissions/resolve", &ResolveRequest { submission, resolution })
            .map_err(|lost| lost.failure(LOOK))?;
        let (text, result) = match said {
            Ok(submission) if self.json => (serde_json::to_string_pretty(&submission), Ok(())),
            Ok(submission) => {
                let (id, state) = (submission.id.short(), &submission.state);
                (Ok(format!("{:<12}{id}\n{:<12}{state}\n", "resolved", "now")), Ok(()))
            }
            Err(refusal) if self.json => {
                (serde_json::to_string_pretty(&refusal), Err(refused(refusal)))
            }
            Err(refusal) => return Err(refused(refusal)),
        };
        output::print(&text.map_err(Failure::unexpected)?)?;
        result.map(|()| ExitReason::Done)
    }
}

fn refused(refusal: OperatorRefusal) -> Failure {
    let (exit, hint) = match refusal.refused.as_str() {
        "unknown" | "not_held" => (ExitReason::Failed, "`assay submissions list --stage held`"),
        "not_ready" => (ExitReason::NotRunning, "`assay status` says what it waits for"),
        "no_answer" => (ExitReason::NotRunning, LOOK),
        _ => (ExitReason::Failed, "run it as the node's user: `runuser -u assay -- assay ...`"),
    };
    Failure::new(exit, Refused(refusal.message)).hint(hint)
}
