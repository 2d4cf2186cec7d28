//! How one submission stands, and why: stage, reasons, findings, queue, replicas.

use node_core::admission::Rejection;
use node_core::commitment::Location;
use node_core::lease::Explanation;
use node_core::queue_place::{Cause, Place};
use node_core::review::Review;
use node_core::submission::{Submission, SubmissionState};

use super::words::{Fact, Name, When};
use crate::api::Known;
use crate::status::{grouped, EvaluationStatus, SubmissionStage, SubmissionStatus};

/// Something that a gate found.
#[derive(Debug)]
pub(super) struct Finding {
    /// The rule's public id.
    pub(super) rule: String,
    /// File and line.
    pub(super) place: String,
    /// What was found.
    pub(super) detail: String,
    /// Whether it is only told, and costs nothing.
    pub(super) is_flag: bool,
}

/// What a language model said.
#[derive(Debug)]
pub(super) struct Opinion {
    /// Which.
    pub(super) model: String,
    /// `approve` or `reject`.
    pub(super) word: &'static str,
    /// Why, in its words.
    pub(super) reason: String,
}

/// One replica of the evaluation.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) number: u8,
    pub(super) attempt: String,
    pub(super) holder: Option<Name>,
    pub(super) state: String,
    pub(super) assignment: Name,
}

/// When the operator gave a replica new attempts.
#[derive(Debug)]
pub(super) struct Reopening {
    pub(super) replica: u8,
    pub(super) block: String,
    pub(super) last: String,
}

/// What the submission is.
pub(super) fn identity(row: Option<&SubmissionStatus>, known: Option<&Known>) -> Vec<Fact> {
    let submission = known.map(|known| &known.account.submission);
    let mut facts = Vec::new();
    if let Some(row) = row {
        facts.push(Fact::exact("Submission", &row.id));
        facts.push(Fact::exact("Miner", &row.hotkey));
        facts.extend(row.uid.map(|uid| Fact::said("Uid", uid.to_string())));
        facts.push(Fact::said("Committed", format!("in block {}", grouped(row.committed_at.0))));
        facts.push(Fact::exact("Content", &row.content));
    } else if let Some(one) = submission {
        facts.push(Fact::exact("Submission", &one.id));
        facts.push(Fact::exact("Miner", &one.hotkey));
        facts.push(Fact::said("Committed", format!("in block {}", grouped(one.committed_at.0))));
        facts.push(Fact::exact("Content", &one.content));
    }
    if let Some(one) = submission {
        facts.push(match &one.location {
            Location::Peers => Fact::said("Location", "with validators, by its digest"),
            named @ (Location::Https(_) | Location::HuggingFace(_)) => {
                Fact::exact("Location", named)
            }
        });
        facts.push(Fact::exact("Source of seeds", &one.seed_block_hash));
        facts.extend(one.window_block_hash.map(|hash| Fact::exact("Source of audits", &hash)));
    }
    if let Some(row) = row {
        facts.extend(row.coordinator.map(|who| Fact::exact("Coordinator", &who)));
        facts.extend(row.worker.map(|who| Fact::exact("Evaluator", &who)));
    }
    facts
}

/// How it stands, and why.
pub(super) fn reasons(row: Option<&SubmissionStatus>, known: Option<&Known>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(known) = known {
        facts.push(Fact::said("State", state(&known.account.submission.state)));
    }
    if let Some(row) = row {
        facts.extend(row.waits_for.as_ref().map(|one| Fact::said("Waits for", one.to_string())));
        facts.extend(row.rule.as_ref().map(|rule| Fact::exact("Rule", rule)));
        facts.extend(row.ending.clone().map(|ending| Fact::said("Ending", ending)));
        let is_said = known.is_some();
        let detail = row.detail.clone().filter(|_| !is_said || row.ending.is_some());
        facts.extend(detail.map(|detail| Fact::said("Because", detail)));
        if let Some(place) = row.place {
            let said = format!("tier {}: {}", place.tier, place.passage.name());
            facts.push(Fact::said("In the funnel", said));
        }
        facts.extend(row.points.map(|points| Fact::said("Points", grouped(points))));
    }
    if let Some(known) = known {
        facts.extend(known.place.iter().flat_map(queue));
        let summary = &known.account.explanation.summary;
        if !summary.is_empty() && *summary != known.account.submission.state.to_string() {
            facts.push(Fact::said("Evaluation", summary.clone()));
        }
    }
    facts
}

/// As it says itself; points as on all pages.
fn state(state: &SubmissionState) -> String {
    match state {
        SubmissionState::Scored { points } => format!("scored with {} points", grouped(*points)),
        state => state.to_string(),
    }
}

fn queue(place: &Place) -> Vec<Fact> {
    let mut facts = vec![Fact::said("In the queue", format!("{} of {}", place.place, place.of))];
    if let Some(moved) = &place.moved {
        let mut because: Vec<String> = moved.causes.iter().map(cause).collect();
        if moved.more > 0 {
            because.push(format!("and {} more", moved.more));
        }
        let at = When::at(moved.at).said;
        let said = format!("from {} to {}, {at}: {}", moved.from, moved.to, because.join("; "));
        facts.push(Fact::said("Moved", said));
    }
    facts
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Left { submission, became } => {
            format!("{} was before it and is {became}", submission.short())
        }
        Cause::Came { submission } => {
            format!("{} was committed earlier and came into the queue", submission.short())
        }
    }
}

/// What gates found: the rule that it broke, then what is only told.
pub(super) fn findings(known: &Known) -> Vec<Finding> {
    let account = &known.account;
    let broken = match &account.submission.state {
        SubmissionState::Rejected { rejection } => Some(finding(rejection, false)),
        SubmissionState::Committed { .. }
        | SubmissionState::Fetched
        | SubmissionState::Admitted
        | SubmissionState::Held { .. }
        | SubmissionState::Scored { .. }
        | SubmissionState::Failed { .. }
        | SubmissionState::Disputed => None,
    };
    let flags = account.flags.iter().map(|flag| finding(flag, true));
    broken.into_iter().chain(flags).collect()
}

fn finding(rejection: &Rejection, is_flag: bool) -> Finding {
    let place = match (&rejection.file, rejection.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.clone(),
        (None, _) => String::new(),
    };
    let (rule, detail) = (rejection.rule.id().to_owned(), rejection.detail.clone());
    Finding { rule, place, detail, is_flag }
}

/// What a language model said, if one was asked.
pub(super) fn opinion(known: &Known) -> Option<Opinion> {
    let (model, review) = known.account.review.as_ref()?;
    let Review { opinion, reason, .. } = review;
    Some(Opinion { model: model.clone(), word: opinion.name(), reason: reason.clone() })
}

/// The replicas of its evaluation here.
pub(super) fn replicas(explanation: &Explanation) -> Vec<Replica> {
    let replica = |one: &node_core::lease::ReplicaStanding| Replica {
        number: one.replica,
        attempt: one.attempt.to_string(),
        holder: one.holder.as_ref().map(Name::hotkey),
        state: one.state.clone(),
        assignment: Name::of(&one.assignment, one.assignment.short()),
    };
    explanation.replicas.iter().map(replica).collect()
}

/// When its replicas got new attempts.
pub(super) fn reopenings(evaluation: &EvaluationStatus) -> Vec<Reopening> {
    let reopening = |one: &crate::status::ReopenedStatus| Reopening {
        replica: one.replica,
        block: grouped(one.before.block.0),
        last: one.before.last.clone(),
    };
    evaluation.reopened.iter().map(reopening).collect()
}

/// The stage of a submission that is in no report any more.
pub(super) fn stage_of(submission: &Submission) -> SubmissionStage {
    match submission.state {
        SubmissionState::Committed { .. } => SubmissionStage::Committed,
        SubmissionState::Fetched => SubmissionStage::Fetched,
        SubmissionState::Admitted => SubmissionStage::Admitted,
        SubmissionState::Held { .. } => SubmissionStage::Held,
        SubmissionState::Rejected { .. } => SubmissionStage::Rejected,
        SubmissionState::Scored { .. } => SubmissionStage::Scored,
        SubmissionState::Failed { .. } => SubmissionStage::Failed,
        SubmissionState::Disputed => SubmissionStage::Disputed,
    }
}
