//! What has been seen from outside: grants, acknowledgements, runs. Invariants compare the nodes
//! with this book, not with what the nodes themselves remember.

use std::collections::{BTreeMap, BTreeSet};

use node_core::id::{AssignmentId, Digest, LeaseId, RunId, SubmissionId};
use node_core::lease::{LeaseAnswer, LeaseState, PeerAnswer, PeerRequest};
use node_core::limits::{LEASE_TOTAL_MS_MAX, LEASE_TTL_MS};
use node_core::machine::effect::Effect;
use node_core::rows::{Row, Write};
use node_core::submission::SubmissionState;

use crate::happening::Asked;
use crate::host::Host;
use crate::invariants::Sight;

/// The latest grant of an assignment that left its coordinator.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its fencing token.
    pub attempt: u32,
    /// The lease.
    pub lease: LeaseId,
    /// To whom.
    pub holder: usize,
    /// Of which submission.
    pub submission: SubmissionId,
    /// When, in the world's time.
    pub granted_at_ms: u64,
    /// Until when the coordinator promised to keep it for its holder.
    pub live_until_ms: u64,
    /// Whether the coordinator stored that it is over.
    pub is_over: bool,
}

/// A grant that left its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// By whom.
    pub coordinator: usize,
    /// Of what.
    pub assignment: AssignmentId,
    /// Under which fencing token.
    pub attempt: u32,
    /// To whom.
    pub holder: usize,
}

/// The book.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The latest grant, by coordinator and assignment.
    pub held: BTreeMap<(usize, AssignmentId), Held>,
    /// Every grant that left.
    pub grants: BTreeMap<LeaseId, Granted>,
    /// The highest attempt that reached its worker, by coordinator and assignment.
    pub delivered: BTreeMap<(usize, AssignmentId), u32>,
    /// Containers that were started: where, and under which lease.
    pub runs: BTreeMap<RunId, (usize, LeaseId)>,
    /// Receipts whose acknowledgement reached their worker: by coordinator and key of the row.
    pub acknowledged: BTreeMap<(usize, Vec<u8>), Digest>,
    /// What each coordinator accepted for an assignment.
    pub accepted: BTreeMap<(usize, AssignmentId), Digest>,
    /// Results of submissions as stored, by node.
    pub settled: BTreeMap<(usize, SubmissionId), SubmissionState>,
    /// Submissions with an assignment that ran out of attempts.
    pub exhausted: BTreeSet<SubmissionId>,
}

impl Ledger {
    /// Takes in what was just seen, after the invariants judged it.
    pub(crate) fn learn(&mut self, now_ms: u64, hosts: &[Host], sight: &Sight<'_>) {
        match sight {
            Sight::Committed { node, writes, .. } => {
                for write in *writes {
                    self.learn_write(*node, write);
                }
            }
            Sight::Answering { node, asked, answer } => {
                let until_ms = now_ms + hosts[*node].in_world_ms(LEASE_TTL_MS);
                self.learn_answer((now_ms, until_ms), hosts, asked, answer);
            }
            Sight::Delivered { asked, answer } => self.learn_delivery(asked, answer),
            Sight::Performing { node, effect, .. } => {
                if let Effect::StartRun(spec) = effect {
                    self.runs.insert(spec.run, (*node, spec.lease));
                }
            }
            Sight::Handled { .. } | Sight::Started { .. } | Sight::Ended => {}
        }
    }

    fn learn_write(&mut self, node: usize, write: &Write) {
        let Write::Put(row) = write else { return };
        match row {
            Row::Lease(row) => {
                if matches!(row.state, LeaseState::Exhausted { .. }) {
                    self.exhausted.insert(row.assignment.submission);
                }
                if let Some(held) = self.held.get_mut(&(node, row.assignment.id)) {
                    let is_held = matches!(row.state, LeaseState::Granted { .. });
                    held.is_over |= !is_held && row.attempt.0 >= held.attempt;
                }
            }
            Row::Receipt(row) if row.sequence.is_some() => {
                let evidence = &row.receipt.evidence;
                self.accepted.insert((node, evidence.assignment), evidence.digest());
            }
            Row::Submission(row) if is_settled(&row.state) => {
                self.settled.insert((node, row.id), row.state.clone());
            }
            Row::Receipt(_)
            | Row::Submission(_)
            | Row::Verdict(_)
            | Row::Run(_)
            | Row::Intent(_)
            | Row::Cursor(_) => {}
        }
    }

    fn learn_answer(
        &mut self,
        (now_ms, until_ms): (u64, u64),
        hosts: &[Host],
        asked: &Asked,
        answer: &PeerAnswer,
    ) {
        let coordinator = asked.to;
        match (&asked.request, answer) {
            (PeerRequest::Acquire(_), PeerAnswer::Acquired(Ok(grants))) => {
                for grant in grants {
                    let (assignment, attempt) = (grant.assignment.id, grant.attempt.0);
                    let holder = asked.from;
                    let granted = Granted { coordinator, assignment, attempt, holder };
                    self.grants.insert(grant.lease, granted);
                    let held = Held {
                        attempt,
                        lease: grant.lease,
                        holder,
                        submission: grant.assignment.submission,
                        granted_at_ms: now_ms,
                        live_until_ms: until_ms,
                        is_over: false,
                    };
                    self.held.insert((coordinator, assignment), held);
                }
            }
            (PeerRequest::Renew(items), PeerAnswer::Renewed(answers)) => {
                let total_ms = hosts[coordinator].in_world_ms(LEASE_TOTAL_MS_MAX);
                for (item, answer) in items.iter().zip(answers) {
                    let held = self.held.get_mut(&(coordinator, item.assignment));
                    let is_kept = matches!(answer, LeaseAnswer::Accepted);
                    if let Some(held) = held.filter(|held| held.lease == item.lease && is_kept) {
                        held.live_until_ms = until_ms.min(held.granted_at_ms + total_ms);
                    }
                }
            }
            _ => {}
        }
    }

    fn learn_delivery(&mut self, asked: &Asked, answer: &PeerAnswer) {
        match (&asked.request, answer) {
            (_, PeerAnswer::Acquired(Ok(grants))) => {
                for grant in grants {
                    let known = self.delivered.entry((asked.to, grant.assignment.id)).or_default();
                    *known = (*known).max(grant.attempt.0);
                }
            }
            (PeerRequest::Complete(receipt), PeerAnswer::Completed(answer)) => {
                if is_acknowledgement(answer) {
                    let evidence = &receipt.evidence;
                    let key = [evidence.assignment.0, evidence.worker.0].concat();
                    self.acknowledged.insert((asked.to, key), evidence.digest());
                }
            }
            _ => {}
        }
    }
}

/// Whether a worker that hears this forgets its result.
pub(crate) fn is_acknowledgement(answer: &LeaseAnswer) -> bool {
    matches!(answer, LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone)
}

/// Whether a submission in this state has its result.
#[must_use]
pub fn is_settled(state: &SubmissionState) -> bool {
    matches!(state, SubmissionState::Scored { .. } | SubmissionState::Failed { .. })
}
