//! What has been seen from outside: grants, acknowledgements, runs. Invariants compare the nodes
//! with this book, not with what the nodes themselves remember.

use std::collections::{BTreeMap, BTreeSet};

use node_core::id::{AssignmentId, Digest, Hotkey, LeaseId, RunId, SubmissionId};
use node_core::lease::{
    HeldLease, HeldStage, HoldAnswer, LeaseAnswer, LeaseRefusal, LeaseState, PeerAnswer,
    PeerRequest,
};
use node_core::limits::{LEASE_START_MS_MAX, LEASE_TTL_MS};
use node_core::machine::effect::Effect;
use node_core::rows::{ReceiptStanding, Row, RunState, Write};
use node_core::submission::SubmissionState;
use node_core::trial::Trial;
use serde::Serialize;

use crate::happening::Asked;
use crate::host::Host;
use crate::invariants::Sight;
use crate::plan::Character;

/// The latest grant of an assignment that left its coordinator.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its fencing token.
    pub attempt: u32,
    /// The lease.
    pub lease: LeaseId,
    /// To whom.
    pub holder: usize,
    /// Of which trial.
    pub trial: Trial,
    /// When, in the world's time.
    pub granted_at_ms: u64,
    /// Until when the coordinator promised to keep it for its holder.
    pub live_until_ms: u64,
    /// By when the holder has to have said that its run started; `None` once it has.
    pub start_by_ms: Option<u64>,
    /// Until when the lease can be held at most.
    pub ends_at_ms: u64,
    /// Whether the coordinator stored that it is over.
    pub is_over: bool,
    /// Whether it is over because its result was taken.
    pub is_complete: bool,
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
    /// Leases of coordinators that lost their rows since: they cannot know of them.
    pub forgotten: BTreeSet<LeaseId>,
    /// The latest grant, by coordinator and assignment.
    pub held: BTreeMap<(usize, AssignmentId), Held>,
    /// Every grant that left.
    pub grants: BTreeMap<LeaseId, Granted>,
    /// The highest attempt that reached its worker, by coordinator and assignment.
    pub delivered: BTreeMap<(usize, AssignmentId), u32>,
    /// Grants that reached a node with the event that it handles now, and are not given back.
    pub just_delivered: Vec<(usize, LeaseId)>,
    /// Runs: where, and under which lease their container was started or their result signed.
    pub runs: BTreeMap<RunId, (usize, LeaseId)>,
    /// Receipts whose acknowledgement reached their worker, by coordinator.
    pub acknowledged: BTreeSet<(usize, Digest)>,
    /// Workers that sent a seal, by trial.
    pub sealed: BTreeMap<Trial, BTreeSet<usize>>,
    /// When the result of a run was signed.
    pub signed_at_ms: BTreeMap<RunId, u64>,
    /// Runs whose result was to be shown.
    pub revealed: BTreeSet<RunId>,
    /// What each coordinator accepted for an assignment.
    pub accepted: BTreeMap<(usize, AssignmentId), Digest>,
    /// Results of submissions as stored, by node.
    pub settled: BTreeMap<(usize, SubmissionId), SubmissionState>,
    /// Submissions that an honest node has decided.
    pub decided: BTreeSet<SubmissionId>,
    /// Whose results are copies that were made before that, and whose results they copied.
    pub copied: BTreeMap<(SubmissionId, Hotkey), Hotkey>,
    /// Submissions with an assignment that ran out of attempts.
    pub exhausted: BTreeSet<SubmissionId>,
    /// What there was of everything.
    pub counts: Counts,
}

/// How often things happened: a history in which nothing does proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Processes that died.
    pub crashes: u64,
    /// Grants that left their coordinators.
    pub grants: u64,
    /// Those of them that were not of the first validator in the ranking.
    pub takeovers: u64,
    /// Requests that were refused for an old attempt, or because the lease was over.
    pub stale: u64,
    /// Results that were fixed by a seal.
    pub seals: u64,
    /// Strikes that nodes wrote down.
    pub strikes: u64,
    /// Results that came too late and were kept.
    pub late: u64,
    /// Sealed results that a coordinator had shown to it before others were fixed.
    pub peeks: u64,
    /// Results that were copied from somebody else before anybody had decided.
    pub copies: u64,
    /// Those of them that were reported under a lease of somebody else.
    pub copies_for_others: u64,
    /// Runs that were killed because the lease lapsed while the loop hung.
    pub killed: u64,
    /// Evaluations that ended undecided on a node.
    pub disputes: u64,
    /// Trials beyond the first that nodes decided.
    pub further: u64,
}

impl Counts {
    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        let Self { crashes, grants, takeovers, stale, seals, strikes, late, .. } = other;
        let Self { peeks, copies, copies_for_others, killed, disputes, further, .. } = other;
        self.crashes += crashes;
        self.grants += grants;
        self.takeovers += takeovers;
        self.stale += stale;
        self.seals += seals;
        self.strikes += strikes;
        self.late += late;
        self.peeks += peeks;
        self.copies += copies;
        self.copies_for_others += copies_for_others;
        self.killed += killed;
        self.disputes += disputes;
        self.further += further;
    }
}

impl Held {
    /// When the coordinator may take it away if nothing more is heard.
    #[must_use]
    pub fn due_at_ms(&self) -> u64 {
        let until_ms = self.live_until_ms.min(self.ends_at_ms);
        self.start_by_ms.map_or(until_ms, |start_by_ms| start_by_ms.min(until_ms))
    }
}

/// How long a lease of this tier may live, and what was sealed under it may wait.
fn total_ms(host: &Host, tier: u8) -> u64 {
    host.config.policy.limits_in(tier).lease_total_ms()
}

impl Ledger {
    /// Takes in what was just seen, after the invariants judged it.
    pub(crate) fn learn(&mut self, now_ms: u64, hosts: &[Host], sight: &Sight<'_>) {
        match sight {
            Sight::Committed { node, writes, .. } => {
                let host = &hosts[*node];
                let sealed_until_ms = |tier: u8| now_ms + host.in_world_ms(total_ms(host, tier));
                for write in *writes {
                    self.learn_write(*node, write, &sealed_until_ms);
                    self.learn_decision(&hosts[*node], write);
                }
            }
            Sight::Answering { node, asked, answer } => {
                self.learn_answer(now_ms, &hosts[*node], asked, answer);
            }
            Sight::Delivered { asked, answer } => self.learn_delivery(asked, answer),
            Sight::Handled { .. } | Sight::Started { .. } => self.just_delivered.clear(),
            Sight::Performing { node, effect, .. } => self.learn_effect(now_ms, *node, effect),
            Sight::Ended => {}
        }
    }

    /// A node lost its rows: it cannot keep what it promised. Attempts still must not be given
    /// again.
    pub(crate) fn forget(&mut self, node: usize) {
        self.delivered.retain(|(at, _), _| *at != node);
        self.acknowledged.retain(|(at, _)| *at != node);
        self.accepted.retain(|(at, _), _| *at != node);
        self.settled.retain(|(at, _), _| *at != node);
        for (_, held) in self.held.iter_mut().filter(|((at, _), _)| *at == node) {
            (held.is_over, held.is_complete) = (true, false);
        }
        let own = self.grants.iter().filter(|(_, granted)| granted.coordinator == node);
        self.forgotten.extend(own.map(|(lease, _)| *lease));
    }

    fn learn_effect(&mut self, now_ms: u64, node: usize, effect: &Effect) {
        match effect {
            Effect::StartRun(spec) => {
                self.runs.insert(spec.run, (node, spec.lease));
            }
            // A result that is known already is handed in under another lease without a container.
            Effect::SignSeal { run, evidence } => {
                self.runs.entry(*run).or_insert((node, evidence.lease));
                self.signed_at_ms.entry(*run).or_insert(now_ms);
            }
            Effect::AskPeer { request: PeerRequest::Seal(seal), .. } => {
                self.counts.seals += 1;
                if let Some(trial) = self.trial_of(&seal.held) {
                    self.sealed.entry(trial).or_default().insert(node);
                }
            }
            Effect::AskPeer { request: PeerRequest::Release { item, .. }, .. } => {
                self.just_delivered.retain(|(_, lease)| *lease != item.lease);
            }
            _ => {}
        }
    }

    fn trial_of(&self, held: &HeldLease) -> Option<Trial> {
        let granted = self.grants.get(&held.lease)?;
        self.held.get(&(granted.coordinator, granted.assignment)).map(|held| held.trial)
    }

    fn learn_decision(&mut self, host: &Host, write: &Write) {
        let Write::Put(Row::Submission(row)) = write else { return };
        let is_decided = is_settled(&row.state) && row.state != SubmissionState::Disputed;
        if is_decided && host.character == Character::Honest {
            self.decided.insert(row.id);
        }
    }

    fn learn_write(&mut self, node: usize, write: &Write, sealed_until_ms: &impl Fn(u8) -> u64) {
        let Write::Put(row) = write else { return };
        match row {
            Row::Lease(row) => {
                if matches!(row.state, LeaseState::Exhausted { .. }) {
                    self.exhausted.insert(row.assignment.submission);
                }
                if let Some(held) = self.held.get_mut(&(node, row.assignment.id)) {
                    let is_held =
                        matches!(row.state, LeaseState::Granted { .. } | LeaseState::Sealed { .. });
                    let is_newest = row.attempt.0 >= held.attempt;
                    if matches!(row.state, LeaseState::Sealed { .. }) && is_newest {
                        let until_ms = sealed_until_ms(row.assignment.tier);
                        held.ends_at_ms = held.ends_at_ms.max(until_ms);
                    }
                    held.is_over |= !is_held && is_newest;
                    let is_complete = matches!(row.state, LeaseState::Complete { .. });
                    held.is_complete |= is_complete && is_newest;
                }
            }
            Row::Receipt(row) if row.standing == ReceiptStanding::Counts => {
                let evidence = &row.receipt.evidence;
                let by = self.grants.get(&evidence.lease).map(|granted| granted.coordinator);
                if by == Some(node) && !self.forgotten.contains(&evidence.lease) {
                    self.accepted.insert((node, evidence.assignment), evidence.digest());
                }
            }
            Row::Submission(row) if is_settled(&row.state) => {
                self.counts.disputes += u64::from(row.state == SubmissionState::Disputed);
                self.settled.insert((node, row.id), row.state.clone());
            }
            Row::Outcome(row) => self.counts.further += u64::from(row.trial.tier > 1),
            Row::Run(row) => {
                if let RunState::Completing { receipt } = &row.state {
                    self.revealed.insert(receipt.evidence.run);
                }
            }
            Row::Strike(_) => self.counts.strikes += 1,
            Row::Receipt(_) => self.counts.late += 1,
            Row::Submission(_)
            | Row::Verdict(_)
            | Row::Intent(_)
            | Row::Measurement(_)
            | Row::Cursor(_)
            | Row::Device(_)
            | Row::Review(_)
            | Row::Family(_)
            | Row::Horizon(_) => {}
        }
    }

    fn learn_answer(&mut self, now_ms: u64, host: &Host, asked: &Asked, answer: &PeerAnswer) {
        let coordinator = asked.to;
        let after = |ms: u64| now_ms + host.in_world_ms(ms);
        match (&asked.request, answer) {
            (PeerRequest::Acquire(_), PeerAnswer::Acquired(Ok(grants))) => {
                self.counts.grants += grants.len() as u64;
                for grant in grants {
                    let (assignment, attempt) = (grant.assignment.id, grant.attempt.0);
                    let holder = asked.from;
                    let granted = Granted { coordinator, assignment, attempt, holder };
                    self.grants.insert(grant.lease, granted);
                    let held = Held {
                        attempt,
                        lease: grant.lease,
                        holder,
                        trial: grant.assignment.trial(),
                        granted_at_ms: now_ms,
                        live_until_ms: after(LEASE_TTL_MS),
                        start_by_ms: Some(after(LEASE_START_MS_MAX)),
                        ends_at_ms: after(total_ms(host, grant.assignment.tier)),
                        is_over: false,
                        is_complete: false,
                    };
                    self.held.insert((coordinator, assignment), held);
                }
            }
            (PeerRequest::Renew(items), PeerAnswer::Renewed(answers)) => {
                for (item, answer) in items.iter().zip(answers) {
                    let Some(held) = self.kept(coordinator, &item.held, answer) else { continue };
                    held.live_until_ms = after(LEASE_TTL_MS);
                    if item.stage > HeldStage::Preparing {
                        held.start_by_ms = None;
                    }
                }
            }
            (PeerRequest::Seal(seal), PeerAnswer::Sealed(answer)) => {
                if let Some(held) = self.kept(coordinator, &seal.held, answer) {
                    held.live_until_ms = after(LEASE_TTL_MS);
                    held.start_by_ms = None;
                }
            }
            (_, PeerAnswer::Completed(LeaseAnswer::Refused(refusal))) => {
                self.counts.stale += u64::from(is_stale(refusal));
            }
            _ => {}
        }
        if let PeerAnswer::Sealed(HoldAnswer::Refused(refusal)) = answer {
            self.counts.stale += u64::from(is_stale(refusal));
        }
    }

    /// The lease that was just kept for its holder, if it is the latest.
    fn kept(&mut self, at: usize, of: &HeldLease, answer: &HoldAnswer) -> Option<&mut Held> {
        let held = self.held.get_mut(&(at, of.assignment))?;
        let is_kept = matches!(answer, HoldAnswer::Kept | HoldAnswer::Reveal(_));
        (held.lease == of.lease && is_kept).then_some(held)
    }

    fn learn_delivery(&mut self, asked: &Asked, answer: &PeerAnswer) {
        match (&asked.request, answer) {
            (_, PeerAnswer::Acquired(Ok(grants))) => {
                for grant in grants {
                    self.just_delivered.push((asked.from, grant.lease));
                    if self.forgotten.contains(&grant.lease) {
                        continue;
                    }
                    let known = self.delivered.entry((asked.to, grant.assignment.id)).or_default();
                    *known = (*known).max(grant.attempt.0);
                }
            }
            (PeerRequest::Complete(receipt), PeerAnswer::Completed(answer))
                if is_acknowledgement(answer)
                    && !self.forgotten.contains(&receipt.evidence.lease) =>
            {
                self.acknowledged.insert((asked.to, receipt.evidence.digest()));
            }
            _ => {}
        }
    }
}

fn is_stale(refusal: &LeaseRefusal) -> bool {
    matches!(
        refusal,
        LeaseRefusal::StaleAttempt | LeaseRefusal::NotGranted | LeaseRefusal::NotHolder
    )
}

/// Whether a worker that hears this forgets its result.
pub(crate) fn is_acknowledgement(answer: &LeaseAnswer) -> bool {
    matches!(answer, LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone)
}

/// Whether the evaluation of a submission in this state has ended.
#[must_use]
pub fn is_settled(state: &SubmissionState) -> bool {
    state.is_admitted() && *state != SubmissionState::Admitted
}
