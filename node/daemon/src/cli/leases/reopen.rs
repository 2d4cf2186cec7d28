//! `assay leases reopen`.

use clap::Args;
use node_core::id::AssignmentId;
use node_core::lease::{Reopened, Reopening};

use crate::admin::{OperatorRefusal, ReopenRequest};
use crate::cli::operator::Operator;
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::StatusReport;

const EXAMPLES: &str = "\
Examples:
  assay leases reopen 3fa1c07e             by the beginning of the id that `assay leases` prints
  assay leases reopen --json 3fa1c07e | jq .attempt

When this is needed: every attempt at an evaluation was lost, so this node gives it to nobody any
more; `assay explain` says how the last one ended. Find out why and mend it first: what fails again
uses the new attempts up as well.

What it does: the node stores that the budgets for lost workers, faults and late starts begin anew,
and gives the assignment out again under the next attempt. Late results of earlier attempts stay
refused. When it was done, and what stood there before, is kept: `assay explain` shows it.

Exit codes: 0 opened; 1 refused: no such assignment, attempts are left, or no result is missing;
3 not running or not answering. Without an answer, `assay explain` says whether it was done.";

/// Where to look whether it was done.
const LOOK: &str = "`assay explain` shows it under `reopened` if it was done; else ask again";

/// Give an assignment whose attempts are used up all of them again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReopenCommand {
    /// The beginning of an assignment's id, or all of it
    #[arg(value_name = "ASSIGNMENT")]
    assignment: String,

    /// Print JSON: `assignment`, `submission`, `replica`, `is_on_duty`, `block`, `attempt`, `spent`
    /// and `last`; or `refused` and `message`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Why nothing was opened.
#[derive(Debug, thiserror::Error)]
enum NotReopened {
    #[error("no assignment that this node reports begins with `{0}`")]
    Nothing(String),
    #[error("`{0}` is the beginning of {1} assignments")]
    Several(String, usize),
    #[error("not opened: {0}")]
    Refused(String),
}

impl ReopenCommand {
    /// Asks the running node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if none runs, or if it refuses.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let (operator, report) = Operator::of_running_node(&self.flags)?;
        let assignment = find(&report, &self.assignment).map_err(|error| {
            Failure::unexpected(error).hint("`assay leases` lists them; give more digits, or all")
        })?;
        let said = operator
            .post::<Reopening>("/leases/reopen", &ReopenRequest { assignment })
            .map_err(|lost| lost.failure(LOOK))?;
        match said {
            Ok(reopening) => {
                let text = if self.json {
                    serde_json::to_string_pretty(&reopening).map_err(Failure::unexpected)?
                } else {
                    render(&reopening)
                };
                output::print(&text)?;
                Ok(ExitReason::Done)
            }
            Err(refusal) => {
                if self.json {
                    let text = serde_json::to_string_pretty(&refusal);
                    output::print(&text.map_err(Failure::unexpected)?)?;
                }
                Err(refused(refusal))
            }
        }
    }
}

/// The assignment whose id begins so; a whole id need not be in the report, which has a limit.
fn find(report: &StatusReport, id: &str) -> Result<AssignmentId, NotReopened> {
    if let Ok(whole) = id.parse() {
        return Ok(whole);
    }
    let replicas = report.evaluations.iter().flat_map(|one| &one.explanation.replicas);
    let all = replicas.map(|replica| replica.assignment);
    let mut found: Vec<AssignmentId> = all.filter(|all| all.to_string().starts_with(id)).collect();
    match (found.pop(), found.len()) {
        (None, _) => Err(NotReopened::Nothing(id.to_owned())),
        (Some(one), 0) => Ok(one),
        (Some(_), others) => Err(NotReopened::Several(id.to_owned(), others + 1)),
    }
}

fn refused(refusal: OperatorRefusal) -> Failure {
    let (exit, hint) = match refusal.refused.as_str() {
        "unknown" => {
            (ExitReason::Failed, "ask the node that coordinates it; `assay explain` names it")
        }
        "not_exhausted" => (ExitReason::Failed, "`assay leases` shows who has it"),
        "settled" => (ExitReason::Failed, "there is nothing to do; `assay explain` says more"),
        "not_ready" => (ExitReason::NotRunning, "`assay status` says what it waits for"),
        "no_answer" => (ExitReason::NotRunning, LOOK),
        _ => (ExitReason::Failed, "run it as the node's user: `runuser -u assay -- assay ...`"),
    };
    Failure::new(exit, NotReopened::Refused(refusal.message)).hint(hint)
}

fn render(reopening: &Reopening) -> String {
    let Reopening { assignment, submission, replica, is_on_duty, before } = reopening;
    let Reopened { attempt, spent, last, .. } = before;
    let lost = [
        ("workers lost", spent.workers_lost),
        ("faults", spent.faults),
        ("not started", spent.not_started),
    ];
    let lost: Vec<String> =
        lost.iter().filter(|(_, count)| *count > 0).map(|(of, n)| format!("{n} {of}")).collect();
    let next = if *is_on_duty {
        "it is given out again"
    } else {
        "another validator is on duty for it and gives it out"
    };
    let replica = format!("replica {replica} of submission {}", submission.short());
    format!(
        "{:<12}{}, {replica}\n{:<12}{attempt} attempts, {}; the last: {last}\n{:<12}{next}\n",
        "opened",
        assignment.short(),
        "before",
        lost.join(", "),
        "now"
    )
}

#[cfg(test)]
mod tests {
    use node_core::id::{Attempt, SubmissionId};
    use node_core::lease::{Explanation, ReplicaStanding, Spent};
    use node_core::unit::BlockNumber;

    use super::*;
    use crate::status::{sample, EvaluationStatus};

    fn report(ids: &[u8]) -> StatusReport {
        let replica = |id: &u8| ReplicaStanding {
            assignment: AssignmentId([*id; 32]),
            replica: 0,
            attempt: Attempt(3),
            holder: None,
            state: "no disk".to_owned(),
        };
        let replicas = ids.iter().map(replica).collect();
        let evaluation = EvaluationStatus {
            submission: SubmissionId([7; 32]),
            explanation: Explanation { replicas, ..Explanation::default() },
            exhausted: Vec::new(),
            reopened: Vec::new(),
        };
        StatusReport { evaluations: vec![evaluation], ..sample::healthy() }
    }

    #[test]
    fn an_assignment_is_found_by_its_beginning_and_a_whole_id_anywhere() {
        let report = report(&[0x11, 0x12, 0x22]);
        assert_eq!(find(&report, "22").unwrap(), AssignmentId([0x22; 32]));
        assert!(matches!(find(&report, "1"), Err(NotReopened::Several(_, 2))));
        assert!(matches!(find(&report, "3"), Err(NotReopened::Nothing(_))));
        let elsewhere = AssignmentId([0x33; 32]);
        assert_eq!(find(&report, &elsewhere.to_string()).unwrap(), elsewhere);
    }

    #[test]
    fn what_was_opened_is_told_with_what_stood_there() {
        let reopening = Reopening {
            assignment: AssignmentId([0x11; 32]),
            submission: SubmissionId([0x22; 32]),
            replica: 1,
            is_on_duty: true,
            before: Reopened {
                block: BlockNumber(9),
                attempt: Attempt(4),
                spent: Spent { workers_lost: 1, faults: 3, not_started: 0 },
                last: "no disk".to_owned(),
            },
        };
        assert_eq!(
            render(&reopening),
            "opened      11111111, replica 1 of submission 22222222\n\
             before      4 attempts, 1 workers lost, 3 faults; the last: no disk\n\
             now         it is given out again\n"
        );
    }
}
