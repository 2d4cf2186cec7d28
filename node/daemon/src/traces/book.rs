//! Which spans are open: from what the machine is told, says and wants, to spans that have ended.
//!
//! The book owns no clock and sends nothing: the time is passed in, and ended spans wait in it
//! until somebody takes them. What is open is bounded; the oldest goes for the newest, counted.
//!
//! A span has one id for ever, so it is sent once, when it ends. What is open when the node stops
//! is not sent: after the restart it begins anew under the same id, and says so.

use std::collections::BTreeMap;
use std::time::SystemTime;

use node_core::admission::Verdict;
use node_core::evidence::Metrics;
use node_core::id::{ContentDigest, Hotkey, RunId, SubmissionId};
use node_core::lease::{Grant, HoldAnswer, LeaseAnswer, PeerAnswer, PeerRequest, ReleaseReason};
use node_core::limits::{LEASES_HELD_MAX, LEASES_PER_ACQUIRE_MAX};
use node_core::machine::effect::{Effect, Note};
use node_core::machine::event::{Event, Question, Restarted};
use node_core::outcome::Ending;
use node_core::points::points;
use node_core::rows::Row;
use node_core::submission::Submission;
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;

use super::bounded::Bounded;
use super::lease::{OpenLease, Over};
use super::span::{number, text};
use super::submission::OpenSubmission;
use crate::notes;

/// Submissions whose spans are open at once. Lower: those that wait for weeks lose theirs. Higher:
/// memory for what nobody waits for, a few kilobytes each.
const SUBMISSIONS_MAX: usize = 4_096;

/// Grants whose runs have not begun. Lower: one of many that came together has no span. Higher:
/// what was declined without an answer is kept longer.
const GRANTS_MAX: usize = 64;
const _: () = assert!(LEASES_PER_ACQUIRE_MAX < GRANTS_MAX);

/// The key under which a span says that it began with the node's restart.
const RESUMED: &str = "assay.resumed";

/// How much may be open at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) submissions_max: usize,
    pub(super) leases_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { submissions_max: SUBMISSIONS_MAX, leases_max: LEASES_HELD_MAX }
    }
}

/// The open spans of one node.
#[derive(Debug)]
pub(super) struct Book {
    own: Hotkey,
    /// Submissions that are there from the start, without a commitment.
    references: Vec<(SubmissionId, String)>,
    submissions: Bounded<SubmissionId, OpenSubmission>,
    /// For which submission earlier works are read, by its content.
    recalls: Bounded<ContentDigest, SubmissionId>,
    /// Grants that the machine may still decline, and when they came.
    grants: Bounded<RunId, (Grant, SystemTime)>,
    leases: Bounded<RunId, OpenLease>,
    ended: Vec<SpanData>,
    displaced: u64,
}

impl Book {
    pub(super) fn new(
        own: Hotkey,
        references: Vec<(SubmissionId, String)>,
        bounds: Bounds,
    ) -> Self {
        Self {
            own,
            references,
            submissions: Bounded::new(bounds.submissions_max),
            recalls: Bounded::new(bounds.submissions_max),
            grants: Bounded::new(GRANTS_MAX),
            leases: Bounded::new(bounds.leases_max),
            ended: Vec::new(),
            displaced: 0,
        }
    }

    /// Spans that ended since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<SpanData> {
        std::mem::take(&mut self.ended)
    }

    /// How many open spans went for newer ones since the last call.
    pub(super) fn take_displaced(&mut self) -> u64 {
        std::mem::take(&mut self.displaced)
    }

    /// Something happened.
    pub(super) fn saw(&mut self, event: &Event, at: SystemTime) {
        match event {
            Event::Restarted(restarted) => self.restarted(restarted, at),
            Event::ContentFetched { submission, result } => {
                let failure = result.as_ref().err().map(String::as_str);
                self.end_fetch(submission, failure, at);
            }
            Event::ContentUnreadable { submission, rejection } => {
                self.end_fetch(submission, Some(&rejection.to_string()), at);
            }
            Event::ContentMissing { submission } => {
                self.end_admission(submission, None, Some("its content is gone"), at);
            }
            // Of its own work, or, after a verdict, while earlier works are read.
            Event::AdmissionFailed { submission, reason } => {
                self.end_admission(submission, None, Some(reason), at);
                self.end_recall(submission, Some(reason), at);
            }
            Event::SketchesRecalled { content, .. } => {
                if let Some(submission) = self.recalls.remove(content) {
                    self.end_recall(&submission, None, at);
                }
            }
            Event::AdmissionEnded { submission, verdict, .. } => {
                let verdict = match verdict {
                    Verdict::Admitted { .. } => "admitted",
                    Verdict::Rejected { .. } => "rejected",
                };
                self.end_admission(submission, Some(verdict), None, at);
            }
            Event::PeerAnswered { peer, question, result: Ok(answer) } => {
                self.answered(peer, *question, answer, at);
            }
            Event::RenewalEnded { result: Ok(answers), .. } => {
                for (run, answer) in answers {
                    self.renewed(run, answer, at);
                }
            }
            Event::RunStarted { run } => {
                if let Some(lease) = self.leases.get_mut(run) {
                    lease.started(at);
                }
            }
            Event::RunEnded { run, ending, metrics, .. } => {
                self.run_ended(run, ending, metrics.as_ref(), at);
            }
            _ => {}
        }
    }

    /// The machine said something.
    pub(super) fn heard(&mut self, note: &Note, at: SystemTime) {
        match note {
            Note::SubmissionSeen { submission, hotkey, block } => {
                let mut open = OpenSubmission::begin(*submission, &self.own, at);
                open.whole_mut().set("assay.miner", hotkey.to_string());
                open.whole_mut().set("assay.block", number(block.0));
                self.open_submission(*submission, open);
            }
            Note::SubmissionScored { submission, points, worker } => {
                if let Some(open) = self.submissions.get_mut(submission) {
                    open.whole_mut().set("assay.points", number(*points));
                    open.whole_mut().set("assay.worker", worker.to_string());
                }
                self.settle(submission, "scored", None, at);
            }
            Note::SubmissionFailed { submission, reason, worker } => {
                if let Some(open) = self.submissions.get_mut(submission) {
                    open.whole_mut().set("assay.worker", worker.to_string());
                }
                self.settle(submission, "failed", Some(reason), at);
            }
            Note::SubmissionRejected { submission, reason } => {
                self.settle(submission, "rejected", Some(reason), at);
            }
            Note::SubmissionDisputed { submission } => {
                self.settle(submission, "disputed", None, at);
            }
            Note::RunAbandoned { run, reason } => {
                self.close(run, Over::Abandoned, Some(reason), at);
            }
            other => self.event(other, at),
        }
    }

    /// The machine wants something done.
    pub(super) fn performs(&mut self, effect: &Effect, at: SystemTime) {
        match effect {
            Effect::FetchContent { submission, .. } => {
                if let Some(open) = self.submissions.get_mut(submission) {
                    open.begin_fetch(at);
                }
            }
            Effect::Admit { submission, .. } => {
                if let Some(open) = self.submissions.get_mut(submission) {
                    open.begin_admission(at);
                }
            }
            Effect::RecallSketches { submission, content, .. } => {
                if let Some(open) = self.submissions.get_mut(submission) {
                    open.begin_recall(at);
                    self.recalls.insert(*content, *submission);
                }
            }
            Effect::StartRun(spec) => {
                if let Some(lease) = self.taken(&spec.run) {
                    lease.placed(spec);
                }
            }
            Effect::SignSeal { run, .. } => {
                if let Some(lease) = self.taken(run) {
                    lease.begin_seal(at);
                }
            }
            Effect::SignReceipt { run, .. } => {
                if let Some(lease) = self.taken(run) {
                    lease.begin_show(at);
                }
            }
            Effect::AskPeer { question, request, .. } => self.asks(*question, request, at),
            _ => {}
        }
    }

    /// What an earlier life left open begins anew, and the references begin.
    fn restarted(&mut self, restarted: &Restarted, at: SystemTime) {
        let mut references: BTreeMap<SubmissionId, String> =
            std::mem::take(&mut self.references).into_iter().collect();
        for row in &restarted.rows {
            match row {
                Row::Submission(submission) => {
                    let reference = references.remove(&submission.id);
                    if submission.state.is_open() {
                        self.resume_submission(submission, reference, at);
                    }
                }
                Row::Run(row) => {
                    let mut lease = OpenLease::begin(row.grant.clone(), &self.own, at);
                    lease.lease_mut().set(RESUMED, true);
                    self.open_lease(row.run, lease);
                }
                _ => {}
            }
        }
        for (id, name) in references {
            let mut open = OpenSubmission::begin(id, &self.own, at);
            open.whole_mut().set("assay.reference", name);
            // Only their end is stored.
            if !restarted.rows.is_empty() {
                open.whole_mut().set(RESUMED, true);
            }
            self.open_submission(id, open);
        }
    }

    fn resume_submission(
        &mut self,
        submission: &Submission,
        reference: Option<String>,
        at: SystemTime,
    ) {
        let mut open = OpenSubmission::begin(submission.id, &self.own, at);
        if let Some(name) = reference {
            open.whole_mut().set("assay.reference", name);
        }
        open.whole_mut().set("assay.miner", submission.hotkey.to_string());
        open.whole_mut().set("assay.block", number(submission.committed_at.0));
        open.whole_mut().set(RESUMED, true);
        self.open_submission(submission.id, open);
    }

    fn open_submission(&mut self, id: SubmissionId, open: OpenSubmission) {
        if let Some(gone) = self.submissions.insert(id, open) {
            self.displaced = self.displaced.saturating_add(gone.spans());
        }
    }

    fn open_lease(&mut self, run: RunId, open: OpenLease) {
        if let Some(gone) = self.leases.insert(run, open) {
            self.displaced = self.displaced.saturating_add(gone.spans());
        }
    }

    fn end_fetch(&mut self, id: &SubmissionId, failure: Option<&str>, at: SystemTime) {
        let open = self.submissions.get_mut(id);
        self.ended.extend(open.and_then(|open| open.end_fetch(failure, at)));
    }

    fn end_admission(
        &mut self,
        id: &SubmissionId,
        verdict: Option<&'static str>,
        failure: Option<&str>,
        at: SystemTime,
    ) {
        let open = self.submissions.get_mut(id);
        self.ended.extend(open.and_then(|open| open.end_admission(verdict, failure, at)));
    }

    fn end_recall(&mut self, id: &SubmissionId, failure: Option<&str>, at: SystemTime) {
        let open = self.submissions.get_mut(id);
        self.ended.extend(open.and_then(|open| open.end_recall(failure, at)));
    }

    fn settle(
        &mut self,
        id: &SubmissionId,
        outcome: &'static str,
        reason: Option<&str>,
        at: SystemTime,
    ) {
        let settled = self.submissions.remove(id);
        self.ended.extend(settled.into_iter().flat_map(|open| open.settle(outcome, reason, at)));
    }

    /// A note about a submission that is neither its beginning nor its end.
    fn event(&mut self, note: &Note, at: SystemTime) {
        let fields = serde_json::to_value(note).unwrap_or_default();
        let id = fields.get("submission").and_then(Value::as_str);
        let Some(Ok(id)) = id.map(str::parse::<SubmissionId>) else { return };
        let Some(open) = self.submissions.get_mut(&id) else { return };
        let facts = fields.as_object().into_iter().flatten();
        let facts = facts.filter(|(name, _)| !["note", "submission"].contains(&name.as_str()));
        let facts = facts.filter_map(|(name, value)| fact(name, value)).collect();
        open.event(notes::kind(note), at, facts);
    }

    fn answered(&mut self, peer: &Hotkey, question: Question, answer: &PeerAnswer, at: SystemTime) {
        match (question, answer) {
            (Question::Acquire, PeerAnswer::Acquired(Ok(grants))) => {
                // What was granted in the name of somebody else is refused.
                let grants = grants.iter().take(LEASES_PER_ACQUIRE_MAX);
                for grant in grants.filter(|grant| grant.coordinator == *peer) {
                    self.grants.insert(grant.run_of(&self.own), (grant.clone(), at));
                }
            }
            (Question::Seal(run), PeerAnswer::Sealed(HoldAnswer::Kept | HoldAnswer::Reveal(_))) => {
                if let Some(lease) = self.leases.get_mut(&run) {
                    lease.end_seal(at);
                }
            }
            (Question::Seal(run), PeerAnswer::Sealed(answer)) => self.renewed(&run, answer, at),
            (
                Question::Complete(run),
                PeerAnswer::Completed(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone),
            ) => self.close(&run, Over::Completed, None, at),
            (
                Question::Release(run),
                PeerAnswer::Released(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone),
            ) => self.close(&run, Over::Released, None, at),
            _ => {}
        }
    }

    /// A coordinator does not keep a lease.
    fn renewed(&mut self, run: &RunId, answer: &HoldAnswer, at: SystemTime) {
        let HoldAnswer::Refused(refusal) = answer else { return };
        if let Some(lease) = self.leases.get_mut(run) {
            let facts = vec![KeyValue::new("assay.reason", refusal.id())];
            lease.lease_mut().event("renewal_refused", at, facts);
        }
    }

    fn run_ended(
        &mut self,
        run: &RunId,
        ending: &Ending,
        metrics: Option<&Metrics>,
        at: SystemTime,
    ) {
        if let Some(lease) = self.leases.get_mut(run) {
            let points = metrics.and_then(|metrics| points(metrics).ok());
            lease.ended(ending, points, at);
        }
    }

    fn asks(&mut self, question: Question, request: &PeerRequest, at: SystemTime) {
        match (question, request) {
            // A result that was known before, or an earlier life's, is handed in without a run.
            (Question::Seal(run), PeerRequest::Seal(_)) => {
                if let Some(lease) = self.taken(&run) {
                    lease.begin_seal(at);
                }
            }
            (Question::Complete(run), PeerRequest::Complete(_)) => {
                if let Some(lease) = self.taken(&run) {
                    lease.begin_show(at);
                }
            }
            (
                Question::Release(run),
                PeerRequest::Release { reason: ReleaseReason::Declined, .. },
            ) => {
                self.grants.remove(&run);
            }
            // Asked again until it is answered: only the first time says something.
            (Question::Release(run), PeerRequest::Release { reason, .. }) => {
                if let Some(lease) = self.taken(&run) {
                    lease.giving_back(reason, at);
                }
            }
            _ => {}
        }
    }

    /// The lease of this run; it begins with its grant once the machine acts on it.
    fn taken(&mut self, run: &RunId) -> Option<&mut OpenLease> {
        if let Some((grant, at)) = self.grants.remove(run) {
            if !self.leases.contains(run) {
                let lease = OpenLease::begin(grant, &self.own, at);
                self.open_lease(*run, lease);
            }
        }
        self.leases.get_mut(run)
    }

    fn close(&mut self, run: &RunId, over: Over, reason: Option<&str>, at: SystemTime) {
        let closed = self.leases.remove(run);
        self.ended.extend(closed.into_iter().flat_map(|lease| lease.close(over, reason, at)));
    }
}

/// A field of a note as an attribute; `None` if there is nothing in it.
fn fact(name: &str, value: &Value) -> Option<KeyValue> {
    let key = format!("assay.{name}");
    match value {
        Value::String(given) => Some(KeyValue::new(key, text(given))),
        Value::Bool(truth) => Some(KeyValue::new(key, *truth)),
        Value::Number(given) => given.as_u64().map(|given| KeyValue::new(key, number(given))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
