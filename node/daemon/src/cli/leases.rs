//! `assay leases`.

mod reopen;

use clap::{Args, Subcommand};
use node_core::id::Hotkey;
use serde::Serialize;

use super::report::{ask, Asked};
use super::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{clock_time, table, EvaluationStatus, RefusalStatus, RunStatus, StatusReport};

const EXAMPLES: &str = "\
Examples:
  assay leases                  leases that this node gave and holds, and what it refused lately
  assay leases --all            completed ones too
  assay leases --json | jq '.held[].state'
  assay leases reopen 3fa1c07e  give one whose attempts are used up new ones

Exit codes: 0 shown; 3 not running or not answering (what is shown is the last snapshot).";

/// Show the leases that this node gave and the ones it holds.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct LeasesCommand {
    #[command(subcommand)]
    command: Option<LeasesSubcommand>,

    /// Show completed leases too
    #[arg(long)]
    all: bool,

    /// Print JSON: `given`, `held` and `refused`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

#[derive(Debug, Subcommand)]
enum LeasesSubcommand {
    Reopen(Box<reopen::ReopenCommand>),
}

#[derive(Serialize)]
struct Answer<'a> {
    given: Vec<&'a EvaluationStatus>,
    held: &'a [RunStatus],
    refused: &'a [RefusalStatus],
}

impl LeasesCommand {
    /// Prints them, or does what the subcommand says.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to show.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        if let Some(LeasesSubcommand::Reopen(reopen)) = self.command {
            return reopen.execute();
        }
        let Asked { report, headline, exit } = ask(&self.flags)?;
        let answer = Answer {
            given: given(&report, self.all),
            held: &report.runs,
            refused: &report.refusals,
        };
        let text = if self.json {
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            format!("{headline}{}", render(&answer, self.all))
        };
        output::print(&text)?;
        Ok(exit)
    }
}

/// Evaluations with a lease of this node's in one of the states that are wanted.
fn given(report: &StatusReport, all: bool) -> Vec<&EvaluationStatus> {
    let is_shown = |state: &str| all || state != COMPLETE;
    let replicas = |evaluation: &EvaluationStatus| evaluation.explanation.replicas.clone();
    let is_wanted = |evaluation: &&EvaluationStatus| {
        replicas(evaluation).iter().any(|replica| is_shown(&replica.state))
    };
    report.evaluations.iter().filter(is_wanted).collect()
}

const COMPLETE: &str = "complete";

fn render(answer: &Answer<'_>, all: bool) -> String {
    let mut out = String::new();
    let mut given = table(&["given", "submission", "replica", "attempt", "state", "holder"]);
    for evaluation in &answer.given {
        let shown = |state: &str| all || state != COMPLETE;
        for replica in evaluation.explanation.replicas.iter().filter(|r| shown(&r.state)) {
            given.add_row([
                replica.assignment.short(),
                evaluation.submission.short(),
                replica.replica.to_string(),
                replica.attempt.to_string(),
                replica.state.clone(),
                replica.holder.as_ref().map(Hotkey::short).unwrap_or_default(),
            ]);
        }
    }
    out.push_str(&section(&given, "no lease of this node's is open"));
    let mut held = table(&["held", "submission", "device", "attempt", "state", "coordinator"]);
    for run in answer.held {
        held.add_row([
            run.run.short(),
            run.submission.short(),
            run.device.clone(),
            run.attempt.to_string(),
            run.state.clone(),
            run.coordinator.short(),
        ]);
    }
    out.push_str(&section(&held, "this node holds no lease"));
    let mut refused = table(&["refused", "peer", "asked", "submission", "reason"]);
    for refusal in answer.refused {
        refused.add_row([
            clock_time(refusal.at),
            refusal.peer.short(),
            refusal.call.clone(),
            refusal.submission.map(|id| id.short()).unwrap_or_default(),
            refusal.reason.clone(),
        ]);
    }
    out.push_str(&section(&refused, "nothing was refused lately"));
    out
}

fn section(table: &comfy_table::Table, empty: &str) -> String {
    if table.is_empty() {
        format!("{empty}\n")
    } else {
        format!("{}\n", table.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_core::id::{AssignmentId, Attempt, SubmissionId};
    use node_core::lease::{Explanation, ReplicaStanding};

    fn evaluation(states: &[&str]) -> EvaluationStatus {
        let replica = |(number, state): (u8, &&str)| ReplicaStanding {
            assignment: AssignmentId([number; 32]),
            replica: number,
            attempt: Attempt(1),
            holder: None,
            state: (*state).to_owned(),
        };
        let replicas = (0..).zip(states).map(replica).collect();
        let explanation = Explanation { replicas, ..Explanation::default() };
        EvaluationStatus {
            submission: SubmissionId([7; 32]),
            explanation,
            exhausted: Vec::new(),
            reopened: Vec::new(),
        }
    }

    #[test]
    fn completed_leases_are_shown_only_when_asked_for() {
        let report = StatusReport {
            evaluations: vec![evaluation(&["complete", "running"]), evaluation(&["complete"])],
            ..crate::status::sample::healthy()
        };
        assert_eq!(given(&report, false).len(), 1);
        assert_eq!(given(&report, true).len(), 2);
        let answer = Answer { given: given(&report, false), held: &[], refused: &[] };
        let text = render(&answer, false);
        assert!(text.contains("running") && !text.contains("complete"), "{text}");
        assert!(text.contains("this node holds no lease"), "{text}");
    }
}
