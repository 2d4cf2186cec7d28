//! `assay explain`.

use clap::Args;
use node_core::id::{Attempt, Hotkey, LeaseId};
use node_core::inventory::DeviceId;
use node_core::lease::{lease_id, Reopened, ReplicaStanding};
use serde::Serialize;

use super::report::{ask, Asked};
use super::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{
    clock_time, grouped, DeviceStatus, EvaluationStatus, ReceiptStatus, RefusalStatus,
    StatusReport, SubmissionStage, SubmissionStatus, WaitsFor,
};

const EXAMPLES: &str = "\
Examples:
  assay explain 7866e9f2                 by the beginning of a submission's id
  assay explain 5DAAnrj7                 by the miner's hotkey: its latest submission
  assay explain --json 7866e9f2 | jq .waits_for

Ids of submissions, contents, assignments, leases and runs are understood, as `assay status`, `assay
leases` and the log print them.

Exit codes: 0 explained; 1 nothing has that id; 3 not running or not answering.";

/// Say where a submission is, who has it, and what it waits for.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainCommand {
    /// The beginning of an id, or of a miner's hotkey
    #[arg(value_name = "ID")]
    id: String,

    /// Print JSON: `submission`, `evaluation`, `receipts`, `refused`, `waits_for` and `devices`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Nothing to explain.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error("nothing that this node reports begins with `{0}`")]
    Nothing(String),
    #[error("`{0}` is the beginning of {1} submissions")]
    Several(String, usize),
}

#[derive(Serialize)]
struct Answer<'a> {
    submission: &'a SubmissionStatus,
    evaluation: Option<&'a EvaluationStatus>,
    receipts: Vec<&'a ReceiptStatus>,
    refused: Vec<&'a RefusalStatus>,
    waits_for: String,
    /// Why it is not begun here: each device, and what keeps it from it. Empty if a device is free,
    /// or if it is not to be begun.
    devices: Vec<DeviceObstacle<'a>>,
}

#[derive(Debug, Serialize)]
struct DeviceObstacle<'a> {
    device: &'a DeviceId,
    obstacle: &'a str,
}

impl ExplainCommand {
    /// Prints the explanation.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing with that id, or several.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let Asked { report, headline, exit } = ask(&self.flags)?;
        let answer = find(&report, &self.id).map_err(|error| {
            let hint = match error {
                NotFound::Nothing(_) => "`assay status` lists submissions",
                NotFound::Several(..) => "give more digits; `assay status` lists submissions",
            };
            Failure::unexpected(error).hint(hint)
        })?;
        let text = if self.json {
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            format!("{headline}{}", render(&answer))
        };
        output::print(&text)?;
        Ok(exit)
    }
}

fn find<'a>(report: &'a StatusReport, id: &str) -> Result<Answer<'a>, NotFound> {
    let begins = |text: String| text.starts_with(id);
    let of_replica = |row: &SubmissionStatus| {
        evaluation(report, row).is_some_and(|evaluation| {
            let replicas = &evaluation.explanation.replicas;
            replicas.iter().any(|replica| {
                begins(replica.assignment.to_string())
                    || leases_of(report.node.hotkey, replica).any(|id| begins(id.to_string()))
            })
        })
    };
    let of_run = |row: &SubmissionStatus| {
        report.runs.iter().any(|run| {
            run.submission == row.id
                && (begins(run.run.to_string()) || begins(run.lease.to_string()))
        })
    };
    let of_receipt = |row: &SubmissionStatus| {
        report.receipts.iter().any(|receipt| {
            receipt.submission == row.id
                && (begins(receipt.assignment.to_string()) || begins(receipt.lease.to_string()))
        })
    };
    let is_meant = |row: &&SubmissionStatus| {
        begins(row.id.to_string())
            || begins(row.content.to_string())
            || of_replica(row)
            || of_run(row)
            || of_receipt(row)
    };
    let found: Vec<&SubmissionStatus> = report.submissions.iter().filter(is_meant).collect();
    // The latest commitment stands first.
    let of_miner = || report.submissions.iter().find(|row| begins(row.hotkey.to_string()));
    match found.as_slice() {
        [one] => Ok(explain(report, one)),
        [] => of_miner()
            .map(|row| explain(report, row))
            .ok_or_else(|| NotFound::Nothing(id.to_owned())),
        several => Err(NotFound::Several(id.to_owned(), several.len())),
    }
}

/// Attempts by whose leases a replica is found, the latest ones. All budgets together are fewer,
/// and after rows were lost the first attempt has a high number.
const ATTEMPTS_FOUND: u32 = 64;

/// The leases that this node gave of a replica.
fn leases_of(own: Hotkey, replica: &ReplicaStanding) -> impl Iterator<Item = LeaseId> + '_ {
    let last = replica.attempt.0;
    let attempts = last.saturating_sub(ATTEMPTS_FOUND).max(1)..=last;
    attempts.map(move |attempt| lease_id(&replica.assignment, &own, Attempt(attempt)))
}

fn evaluation<'a>(
    report: &'a StatusReport,
    row: &SubmissionStatus,
) -> Option<&'a EvaluationStatus> {
    report.evaluations.iter().find(|evaluation| evaluation.submission == row.id)
}

fn explain<'a>(report: &'a StatusReport, row: &'a SubmissionStatus) -> Answer<'a> {
    let evaluation = evaluation(report, row);
    let receipts = report.receipts.iter().filter(|receipt| receipt.submission == row.id).collect();
    let refused = report.refusals.iter().filter(|refusal| refusal.submission == Some(row.id));
    let waits_for = row
        .waits_for
        .as_ref()
        .map_or_else(|| "nothing: it is decided".to_owned(), WaitsFor::to_string);
    let devices = obstacles(report, row);
    Answer { submission: row, evaluation, receipts, refused: refused.collect(), waits_for, devices }
}

fn obstacles<'a>(report: &'a StatusReport, row: &SubmissionStatus) -> Vec<DeviceObstacle<'a>> {
    let is_here = report.runs.iter().any(|run| run.submission == row.id)
        || report
            .receipts
            .iter()
            .any(|receipt| receipt.submission == row.id && receipt.worker == report.node.hotkey);
    if row.stage != SubmissionStage::Admitted || is_here {
        return Vec::new();
    }
    let of_device = |device: &'a DeviceStatus| {
        let obstacle = device.obstacle.as_deref()?;
        Some(DeviceObstacle { device: &device.id, obstacle })
    };
    let all: Option<Vec<_>> = report.devices.iter().map(of_device).collect();
    all.unwrap_or_default()
}

fn render(answer: &Answer<'_>) -> String {
    let row = answer.submission;
    let mut out = String::new();
    let mut line = |name: &str, text: &str| out.push_str(&format!("{name:<12}{text}\n"));
    line("submission", &row.id.to_string());
    let uid = row.uid.map_or_else(|| "not registered".to_owned(), |uid| format!("uid {uid}"));
    line("miner", &format!("{}, {uid}", row.hotkey));
    line("content", &row.content.to_string());
    line("committed", &format!("in block {}", grouped(row.committed_at.0)));
    let detail = row.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let points = row.points.map(|points| format!(", {} points", grouped(points)));
    line("stage", &format!("{}{}{detail}", row.stage.name(), points.unwrap_or_default()));
    line("waits for", &answer.waits_for);
    if let Some(coordinator) = &row.coordinator {
        line("coordinator", &coordinator.to_string());
    }
    for DeviceObstacle { device, obstacle } in &answer.devices {
        line("not here", &format!("{device}: {obstacle}"));
    }
    let replicas = answer.evaluation.map(|evaluation| &evaluation.explanation.replicas);
    for replica in replicas.into_iter().flatten() {
        let holder = replica.holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
        let attempt = replica.attempt;
        let text =
            format!("{} attempt {attempt}, {}{holder}", replica.assignment.short(), replica.state);
        line(&format!("replica {}", replica.replica), &text);
    }
    for before in answer.evaluation.iter().flat_map(|evaluation| &evaluation.reopened) {
        let Reopened { block, attempt, last, .. } = &before.before;
        let block = grouped(block.0);
        line(
            "reopened",
            &format!(
                "replica {} in block {block}, after attempt {attempt}: {last}",
                before.replica
            ),
        );
    }
    for exhausted in answer.evaluation.iter().flat_map(|evaluation| &evaluation.exhausted) {
        let id = exhausted.short();
        line("next step", &format!("mend what failed, then `assay leases reopen {id}`"));
    }
    for receipt in &answer.receipts {
        let points = receipt.points.map(|points| format!(", {} points", grouped(points)));
        let late = if receipt.is_late { ", late: not counted" } else { "" };
        let points = points.unwrap_or_default();
        line("result", &format!("{} by {}{points}{late}", receipt.ending, receipt.worker));
    }
    for RefusalStatus { at, peer, call, reason, .. } in &answer.refused {
        line("refused", &format!("{call} of {peer} at {}: {reason}", clock_time(*at)));
    }
    out
}

#[cfg(test)]
mod tests {
    use node_core::id::AssignmentId;
    use node_core::unit::UnixMs;

    use super::*;
    use crate::status::sample;

    #[test]
    fn a_submission_is_found_by_the_beginning_of_its_id_and_by_its_miner() {
        let report = sample::healthy();
        let row = &report.submissions[0];
        let by_id = find(&report, &row.id.short()).unwrap();
        assert_eq!(by_id.submission.id, row.id);
        let by_miner = find(&report, &row.hotkey.to_string()).unwrap();
        assert_eq!(by_miner.submission.hotkey, row.hotkey);
        assert!(matches!(find(&report, "zzzz"), Err(NotFound::Nothing(_))));
        assert!(matches!(find(&report, ""), Err(NotFound::Several(..))));
    }

    #[test]
    fn a_submission_is_found_by_the_lease_of_its_run_or_receipt() {
        let report = sample::healthy();
        let receipt = &report.receipts[0];
        for id in [receipt.lease.to_string(), receipt.assignment.to_string()] {
            assert_eq!(find(&report, &id).unwrap().submission.id, receipt.submission);
        }
        let run = &report.runs[0];
        let found = find(&report, &run.lease.to_string()).unwrap();
        assert_eq!(found.submission.id, run.submission);
    }

    #[test]
    fn the_leases_of_a_replica_are_found_and_end() {
        let assignment = AssignmentId([7; 32]);
        let (own, state) = (Hotkey([1; 32]), "open".to_owned());
        let leases = |attempt| {
            let attempt = Attempt(attempt);
            let state = state.clone();
            let standing = ReplicaStanding { assignment, replica: 0, attempt, holder: None, state };
            leases_of(own, &standing).collect::<Vec<_>>()
        };
        assert_eq!(leases(0), []);
        let first = lease_id(&assignment, &own, Attempt(1));
        assert_eq!(leases(1), [first]);
        assert!(leases(u32::MAX).contains(&lease_id(&assignment, &own, Attempt(u32::MAX))));
    }

    #[test]
    fn a_submission_that_no_device_is_free_for_says_what_each_of_them_does() {
        let mut report = sample::healthy();
        report.runs.clear();
        report.receipts.clear();
        report.submissions[0].stage = SubmissionStage::Admitted;
        let one_is_free = explain(&report, &report.submissions[0]);
        assert!(one_is_free.devices.is_empty());
        report.devices[1].obstacle = Some("not usable: cordoned by the operator".to_owned());
        let text = render(&explain(&report, &report.submissions[0]));
        assert!(text.contains("not here    cpu-0: it runs 7866e9f2\n"), "{text}");
        assert!(text.contains("not here    cpu-1: not usable: cordoned"), "{text}");
        report.submissions[0].stage = SubmissionStage::Scored;
        assert!(explain(&report, &report.submissions[0]).devices.is_empty());
    }

    #[test]
    fn what_was_refused_about_a_submission_is_told_with_it() {
        let mut report = sample::healthy();
        let submission = report.submissions[0].id;
        let refused = |submission| RefusalStatus {
            at: UnixMs(0),
            peer: Hotkey([2; 32]),
            call: "complete".to_owned(),
            submission,
            reason: "seal_mismatch".to_owned(),
        };
        report.refusals = vec![refused(None), refused(Some(submission))];
        let answer = find(&report, &submission.to_string()).unwrap();
        assert_eq!(answer.refused.len(), 1);
        let text = render(&answer);
        assert!(text.contains("refused     complete of "), "{text}");
        assert!(text.contains(": seal_mismatch"), "{text}");
    }

    #[test]
    fn what_is_decided_waits_for_nothing_and_names_its_results() {
        let report = sample::healthy();
        let scored = report.submissions.iter().find(|row| row.stage == SubmissionStage::Scored);
        let answer = find(&report, &scored.unwrap().id.short()).unwrap();
        let text = render(&answer);
        assert!(text.contains("waits for   nothing: it is decided"), "{text}");
        assert!(text.contains("completed by"), "{text}");
    }
}
