//! `assay explain`.

use clap::Args;
use node_core::id::{Attempt, Hotkey, LeaseId, SubmissionId};
use node_core::inventory::DeviceId;
use node_core::lease::{lease_id, Reopened, ReplicaStanding};
use serde::Serialize;

use super::report::{ask, Asked};
use super::runtime::block_on;
use super::ConfigFlags;
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{
    clock_time, frozen, grouped, DeviceStatus, EvaluationStatus, FrozenStatus, NotTold,
    OutcomeStatus, ReceiptStatus, RefusalStatus, StatusReport, SubmissionStage, SubmissionStatus,
    WaitsFor,
};

const EXAMPLES: &str = "\
Examples:
  assay explain 7866e9f2                 by the beginning of a submission's id
  assay explain 5DAAnrj7                 by the miner's hotkey: its latest submission
  assay explain --json 7866e9f2 | jq .waits_for

Ids of submissions, contents, assignments, leases and runs are understood, as `assay status`, `assay
leases` and the log print them. A submission that was put away, long after it left the chain, is
found by its whole id, as long as the node runs.

Exit codes: 0 explained; 1 nothing has that id; 3 not running or not answering.";

/// Say where a submission is, who has it, and what it waits for.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainCommand {
    /// The beginning of an id, or of a miner's hotkey
    #[arg(value_name = "ID")]
    id: String,

    /// Print JSON: `submission`, `evaluation`, `receipts`, `refused`, `put_away`, `waits_for` and
    /// `devices`
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
    #[error("nothing that this node reports begins with `{0}`, and it put nothing of that away")]
    NotPutAway(SubmissionId),
    #[error("nothing that this node reports begins with `{id}`, and what it put away is not told")]
    NotTold {
        id: SubmissionId,
        #[source]
        source: NotTold,
    },
}

impl NotFound {
    fn hint(&self) -> &'static str {
        match self {
            Self::Nothing(_) => {
                "`assay status` lists submissions; one that was put away is found by its whole id"
            }
            Self::Several(..) => "give more digits; `assay status` lists submissions",
            Self::NotPutAway(_) => {
                "`assay status` lists submissions; the page of the node also has those that left \
                 the chain before anything of them was measured"
            }
            Self::NotTold { source: NotTold::NotRunning, .. } => {
                "start the node with `assay run`: it tells what it put away"
            }
            Self::NotTold { source: NotTold::NotSaid { .. }, .. } => {
                "`assay verify` looks through the store"
            }
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    submission: &'a SubmissionStatus,
    evaluation: Option<&'a EvaluationStatus>,
    receipts: Vec<&'a ReceiptStatus>,
    refused: Vec<&'a RefusalStatus>,
    /// What was put away; none of one whose commitment is on the chain.
    put_away: Option<&'a FrozenStatus>,
    /// Whether `submission` is of it as well: no report has it any more.
    #[serde(skip)]
    is_past: bool,
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
        let data_dir = self.flags.settings().section(DataDir::read);
        let data_dir = data_dir.map_err(Failure::bad_configuration)?;
        let look = |id: &SubmissionId| block_on(frozen(&data_dir, id)).map_err(Failure::unexpected);
        let told: FrozenStatus;
        let answer = match find(&report, &self.id) {
            Ok(answer) if answer.receipts.is_empty() => match look(&answer.submission.id)? {
                Ok(frozen) if frozen.at.is_some() => {
                    told = frozen;
                    Answer { put_away: Some(&told), ..answer }
                }
                // Everything else about it is known.
                Ok(_) | Err(_) => answer,
            },
            Ok(answer) => answer,
            Err(not_found) => {
                let id = whole_id(not_found).map_err(failure)?;
                let frozen = look(&id)?.map_err(|source| NotFound::NotTold { id, source });
                told = frozen.map_err(failure)?;
                explain_past(&report, &told).map_err(failure)?
            }
        };
        let text = if self.json {
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            format!("{headline}{}", render(&answer))
        };
        output::print(&text)?;
        Ok(exit)
    }
}

fn failure(error: NotFound) -> Failure {
    let exit = match &error {
        NotFound::NotTold { source: NotTold::NotRunning, .. } => ExitReason::NotRunning,
        NotFound::NotTold { source: NotTold::NotSaid { .. }, .. }
        | NotFound::Nothing(_)
        | NotFound::Several(..)
        | NotFound::NotPutAway(_) => ExitReason::Failed,
    };
    let hint = error.hint();
    Failure::new(exit, error).hint(hint)
}

/// The id of a submission that is in no report, if a whole one was asked for.
fn whole_id(not_found: NotFound) -> Result<SubmissionId, NotFound> {
    match not_found {
        NotFound::Nothing(id) => id.parse().map_err(|_| NotFound::Nothing(id)),
        other @ (NotFound::Several(..) | NotFound::NotPutAway(_) | NotFound::NotTold { .. }) => {
            Err(other)
        }
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
    let (submission, refused) = (row, refused.collect());
    let (put_away, is_past) = (None, false);
    Answer { submission, evaluation, receipts, refused, put_away, is_past, waits_for, devices }
}

/// Of one that no report has any more.
fn explain_past<'a>(
    report: &'a StatusReport,
    frozen: &'a FrozenStatus,
) -> Result<Answer<'a>, NotFound> {
    let submission = frozen.known.as_ref().ok_or(NotFound::NotPutAway(frozen.submission))?;
    let refused = report.refusals.iter().filter(|one| one.submission == Some(submission.id));
    Ok(Answer {
        submission,
        evaluation: None,
        receipts: Vec::new(),
        refused: refused.collect(),
        put_away: Some(frozen),
        is_past: true,
        waits_for: "nothing: it left the chain long ago, and was put away".to_owned(),
        devices: Vec::new(),
    })
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
    line("miner", &miner(answer));
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
    for replica in replicas(answer) {
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
    let put_away = answer.put_away;
    for outcome in put_away.filter(|_| answer.is_past).into_iter().flat_map(|one| &one.outcomes) {
        line("decided", &decided(outcome));
    }
    if let Some(block) = put_away.and_then(|frozen| frozen.at) {
        line("put away", &format!("at block {}, with these results", grouped(block.0)));
    }
    let put_away = put_away.into_iter().flat_map(|frozen| &frozen.receipts);
    for receipt in answer.receipts.iter().copied().chain(put_away) {
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

/// Who submitted it; whether that is registered now is not known of one that was put away.
fn miner(answer: &Answer<'_>) -> String {
    let hotkey = answer.submission.hotkey;
    match answer.submission.uid {
        Some(uid) => format!("{hotkey}, uid {uid}"),
        None if answer.is_past => hotkey.to_string(),
        None => format!("{hotkey}, not registered"),
    }
}

fn replicas<'a>(answer: &Answer<'a>) -> impl Iterator<Item = &'a ReplicaStanding> {
    let of_report = answer.evaluation.map(|evaluation| &evaluation.explanation);
    let of_past = answer.put_away.filter(|_| answer.is_past);
    let explanation = of_report.or(of_past.and_then(|frozen| frozen.explanation.as_ref()));
    explanation.into_iter().flat_map(|explanation| &explanation.replicas)
}

fn decided(outcome: &OutcomeStatus) -> String {
    let OutcomeStatus { tier, unit, verdict, worker, decided_at, .. } = outcome;
    let worker = worker.map(|worker| format!(" by {worker}")).unwrap_or_default();
    let block = grouped(decided_at.0);
    format!("tier {tier} unit {unit}, {verdict}{worker}, at block {block}")
}

#[cfg(test)]
mod tests {
    use node_core::id::AssignmentId;
    use node_core::unit::{BlockNumber, UnixMs};

    use super::*;
    use crate::failure::told;
    use crate::freezer::{sample as past, Thawed};
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
    fn results_that_were_put_away_are_told_with_the_block_at_which_they_were() {
        let mut report = sample::healthy();
        let receipt = report.receipts[0].clone();
        report.receipts.clear();
        let row = report.submissions.iter().find(|row| row.id == receipt.submission).unwrap();
        let mut answer = explain(&report, row);
        assert!(!render(&answer).contains("result"), "{}", render(&answer));
        let worker = receipt.worker;
        let frozen = FrozenStatus {
            submission: receipt.submission,
            at: Some(BlockNumber(7_200)),
            receipts: vec![receipt],
            known: None,
            explanation: None,
            outcomes: Vec::new(),
        };
        answer.put_away = Some(&frozen);
        let text = render(&answer);
        assert!(text.contains("put away    at block 7 200, with these results\n"), "{text}");
        assert!(text.contains(&format!(" by {worker}")), "{text}");
    }

    #[test]
    fn a_submission_that_no_report_has_is_explained_from_what_was_put_away() {
        let report = sample::healthy();
        let frozen = FrozenStatus::of(past::submission().id, &past::thawed());
        let answer = explain_past(&report, &frozen).unwrap();
        insta::assert_snapshot!("put_away", render(&answer));
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json["submission"]["id"], past::submission().id.to_string());
        assert_eq!(json["put_away"]["at"], 7_200);
    }

    #[test]
    fn what_is_nowhere_says_how_what_was_put_away_is_found() {
        let report = sample::healthy();
        let short = whole_id(NotFound::Nothing("77aa".to_owned())).unwrap_err();
        assert!(matches!(&short, NotFound::Nothing(id) if id == "77aa"));
        let id = past::submission().id;
        let whole = whole_id(NotFound::Nothing(id.to_string()));
        assert_eq!(whole.unwrap(), id);
        let nothing = FrozenStatus::of(id, &Thawed::default());
        let Err(unknown) = explain_past(&report, &nothing) else { panic!("nobody knows it") };
        assert!(matches!(unknown, NotFound::NotPutAway(named) if named == id));
    }

    #[test]
    fn each_thing_that_is_not_explained_says_what_next() {
        let id = SubmissionId([7; 32]);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        let silent = |source| NotFound::NotTold { id, source };
        let all = [
            NotFound::Nothing("77aa".to_owned()),
            NotFound::Several("7".to_owned(), 3),
            NotFound::NotPutAway(id),
            silent(NotTold::NotRunning),
            silent(NotTold::NotSaid { address, reason: "it hung up".to_owned() }),
        ];
        insta::assert_snapshot!(told(all.map(failure)));
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
