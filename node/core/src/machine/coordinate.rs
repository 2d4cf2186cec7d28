//! The coordinator's side: which leases are open, who gets them, whose results count.

use crate::evidence::Receipt;
use crate::id::{AssignmentId, Attempt, Hotkey};
use crate::lease::{
    AcquireRequest, Grant, LeaseAnswer, LeaseRefusal, LeaseRow, LeaseState, PeerAnswer,
    PeerRequest, ReleaseReason, RenewItem,
};
use crate::lease_record::{Expired, LeaseRecord};
use crate::limits::{LEASES_PER_ACQUIRE_MAX, RECEIPTS_PER_PAGE_MAX, SELF_GRANT_AFTER_MS};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::CallId;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::round::{check_evidence, Expected};
use crate::rows::{ReceiptRow, Row};
use crate::submission::SubmissionState;
use crate::unit::{BlockNumber, MonoMs, Now};

/// Time in which a lease that was lost or given back is for others than who held it. Lower: one
/// host whose runs fail at once uses up every attempt. Higher: where only one host can run it, an
/// assignment waits that long for its next attempt.
const ELSEWHERE_FOR_MS: u64 = 60_000;

impl Machine {
    pub(super) fn on_asked(
        &mut self,
        now: Now,
        call: CallId,
        peer: Hotkey,
        request: PeerRequest,
        out: &mut Outcome,
    ) {
        let refusal = match &self.view {
            None => Some(LeaseRefusal::NotReady),
            Some(view) => (!view.is_validator(&peer)).then_some(LeaseRefusal::NotAValidator),
        };
        let refused = refusal.map(LeaseAnswer::Refused);
        let answer = match request {
            PeerRequest::Acquire(request) => PeerAnswer::Acquired(match refusal {
                Some(refusal) => Err(refusal),
                None => self.grant(now, peer, &request, out),
            }),
            PeerRequest::Renew(items) => PeerAnswer::Renewed(
                items
                    .iter()
                    .map(|item| refused.unwrap_or_else(|| self.renew(now, peer, item)))
                    .collect(),
            ),
            PeerRequest::Complete(receipt) => {
                PeerAnswer::Completed(refused.unwrap_or_else(|| self.complete(peer, *receipt, out)))
            }
            PeerRequest::Release { item, reason } => PeerAnswer::Released(
                refused.unwrap_or_else(|| self.take_back(now, peer, &item, &reason, out)),
            ),
            PeerRequest::Receipts { after } => PeerAnswer::Receipts(self.receipts_after(after)),
        };
        note_refusals(peer, &answer, out);
        out.perform(Effect::Answer { call, answer });
    }

    /// Makes a lease for each admitted submission that this node coordinates.
    pub(super) fn open_leases(&mut self, now: Now, out: &mut Outcome) {
        let mine: Vec<_> = self
            .submissions
            .values()
            .filter(|submission| submission.state == SubmissionState::Admitted)
            .filter(|s| self.coordinators_of(s).first() == Some(&self.config.hotkey))
            .map(|submission| self.assignment_of(submission))
            .filter(|assignment| !self.leases.contains_key(&assignment.id))
            .collect();
        for assignment in mine {
            let id = assignment.id;
            let row = LeaseRow { assignment, attempt: Attempt(0), state: LeaseState::Open };
            out.put(Row::Lease(row.clone()));
            self.leases.insert(id, LeaseRecord::resume(row, now.mono));
        }
    }

    fn grant(
        &mut self,
        now: Now,
        peer: Hotkey,
        request: &AcquireRequest,
        out: &mut Outcome,
    ) -> Result<Vec<Grant>, LeaseRefusal> {
        if self.is_stopping || self.is_catching_up() {
            return Err(LeaseRefusal::NotReady);
        }
        let fits = request.policy == self.policy_digest
            && request.dataset == self.config.dataset
            && request.device == self.config.policy.run.device;
        if !fits {
            return Ok(Vec::new());
        }
        let wanted = usize::try_from(request.leases_max).unwrap_or(usize::MAX);
        let mut grants = Vec::new();
        for id in self.open_for(&peer, now.mono) {
            if grants.len() >= wanted.min(LEASES_PER_ACQUIRE_MAX) {
                break;
            }
            let Some(record) = self.leases.get_mut(&id) else { continue };
            let Some(grant) = record.grant(peer, self.config.hotkey, now.mono) else { continue };
            out.put(Row::Lease(record.row().clone()));
            out.note(Note::LeaseGranted {
                submission: grant.assignment.submission,
                holder: peer,
                attempt: grant.attempt.0,
            });
            grants.push(grant);
        }
        Ok(grants)
    }

    /// Open leases that `peer` may take, the earliest commitment first. Our own node waits, so
    /// that whoever coordinates a submission is not usually who evaluates it.
    fn open_for(&self, peer: &Hotkey, now: MonoMs) -> Vec<AssignmentId> {
        let is_self = *peer == self.config.hotkey;
        let has_others = !self.other_validators().is_empty();
        let mut open: Vec<(BlockNumber, AssignmentId)> = self
            .leases
            .iter()
            .filter_map(|(id, record)| {
                let open_since = record.open_since()?;
                let open_for_ms = now.since_ms(open_since);
                let is_new_and_ours = is_self && record.row().attempt == Attempt(0);
                let waits_for_others = has_others
                    && (is_new_and_ours && open_for_ms < SELF_GRANT_AFTER_MS
                        || record.was_lost_by(peer) && open_for_ms < ELSEWHERE_FOR_MS);
                let submission = self.submissions.get(&record.row().assignment.submission)?;
                let is_wanted = submission.state == SubmissionState::Admitted && !waits_for_others;
                is_wanted.then_some((submission.committed_at, *id))
            })
            .collect();
        open.sort_unstable();
        open.into_iter().map(|(_, id)| id).collect()
    }

    fn renew(&mut self, now: Now, peer: Hotkey, item: &RenewItem) -> LeaseAnswer {
        self.leases
            .get_mut(&item.assignment)
            .map_or(LeaseAnswer::Refused(LeaseRefusal::NotCoordinator), |record| {
                record.renew(&peer, item, now.mono)
            })
    }

    fn take_back(
        &mut self,
        now: Now,
        peer: Hotkey,
        item: &RenewItem,
        reason: &ReleaseReason,
        out: &mut Outcome,
    ) -> LeaseAnswer {
        let Some(record) = self.leases.get_mut(&item.assignment) else {
            return LeaseAnswer::Refused(LeaseRefusal::NotCoordinator);
        };
        // A submission's own fault is a result; giving it back would retry it for ever.
        if let ReleaseReason::RunEnded { ending } = reason {
            if matches!(ending.fault(), Fault::None | Fault::Submission) {
                return LeaseAnswer::Refused(LeaseRefusal::EvidenceEmpty);
            }
        }
        let answer = record.release(&peer, item, reason, now.mono);
        if answer == LeaseAnswer::Accepted {
            let submission = record.row().assignment.submission;
            out.put(Row::Lease(record.row().clone()));
            out.note(Note::LeaseReleased { submission, holder: peer, attempt: item.attempt.0 });
            if matches!(record.row().state, LeaseState::Exhausted { .. }) {
                out.note(Note::LeaseExhausted { submission, holder: peer });
            }
        }
        answer
    }

    fn complete(&mut self, peer: Hotkey, receipt: Receipt, out: &mut Outcome) -> LeaseAnswer {
        let evidence = &receipt.evidence;
        let item = RenewItem {
            assignment: evidence.assignment,
            lease: evidence.lease,
            attempt: evidence.attempt,
        };
        let Some(record) = self.leases.get(&item.assignment) else {
            return LeaseAnswer::Refused(LeaseRefusal::NotCoordinator);
        };
        let digest = evidence.digest();
        if let LeaseState::Complete { lease, evidence: settled_by } = record.row().state {
            let is_repeat = lease == item.lease && settled_by == digest;
            return if is_repeat {
                LeaseAnswer::AlreadyDone
            } else {
                LeaseAnswer::Refused(LeaseRefusal::AlreadySettled)
            };
        }
        if let Err(refusal) = self.check_completion(record, peer, &receipt, &item) {
            return LeaseAnswer::Refused(refusal);
        }
        let Some(record) = self.leases.get_mut(&item.assignment) else {
            return LeaseAnswer::Refused(LeaseRefusal::NotCoordinator);
        };
        record.settle(&item, digest);
        out.put(Row::Lease(record.row().clone()));
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        self.keep_receipt(ReceiptRow { sequence: Some(sequence), receipt }, out);
        self.settle_all(out);
        LeaseAnswer::Accepted
    }

    fn check_completion(
        &self,
        record: &LeaseRecord,
        peer: Hotkey,
        receipt: &Receipt,
        item: &RenewItem,
    ) -> Result<(), LeaseRefusal> {
        record.check_holder(&peer, item)?;
        let evidence = &receipt.evidence;
        if evidence.worker != peer || evidence.coordinator != self.config.hotkey {
            return Err(LeaseRefusal::EvidenceMismatch);
        }
        let genesis = self.view.as_ref().map(|view| view.genesis).ok_or(LeaseRefusal::NotReady)?;
        let expected = Expected {
            genesis,
            netuid: self.config.netuid,
            assignment: &record.row().assignment,
            dataset: self.config.dataset,
        };
        check_evidence(&expected, evidence).map_err(|rejected| match rejected {
            crate::round::EvidenceRejected::Empty => LeaseRefusal::EvidenceEmpty,
            crate::round::EvidenceRejected::OtherChain
            | crate::round::EvidenceRejected::OtherAssignment
            | crate::round::EvidenceRejected::PolicyMismatch { .. }
            | crate::round::EvidenceRejected::DatasetMismatch { .. }
            | crate::round::EvidenceRejected::NotAValidator { .. } => {
                LeaseRefusal::EvidenceMismatch
            }
        })
    }

    fn receipts_after(&self, after: u64) -> Vec<(u64, Receipt)> {
        let mut page: Vec<(u64, Receipt)> = self
            .receipts
            .values()
            .filter_map(|row| Some((row.sequence?, row.receipt.clone())))
            .filter(|(sequence, _)| *sequence > after)
            .collect();
        page.sort_unstable_by_key(|(sequence, _)| *sequence);
        page.truncate(RECEIPTS_PER_PAGE_MAX);
        page
    }

    pub(super) fn expire_leases(&mut self, now: Now, out: &mut Outcome) {
        for record in self.leases.values_mut() {
            let Some(expired) = record.expire(now.mono) else { continue };
            let submission = record.row().assignment.submission;
            let attempt = record.row().attempt.0;
            out.put(Row::Lease(record.row().clone()));
            match expired {
                Expired::Reopened { holder } => {
                    out.note(Note::LeaseExpired { submission, holder, attempt });
                }
                Expired::Exhausted { holder } => {
                    out.note(Note::LeaseExpired { submission, holder, attempt });
                    out.note(Note::LeaseExhausted { submission, holder });
                }
            }
        }
    }
}

fn note_refusals(peer: Hotkey, answer: &PeerAnswer, out: &mut Outcome) {
    let mut note = |call: &'static str, refusal: &LeaseRefusal| {
        out.note(Note::LeaseRefused { peer, call, reason: refusal.id().to_owned() });
    };
    match answer {
        PeerAnswer::Acquired(Err(refusal)) => note("acquire", refusal),
        PeerAnswer::Completed(LeaseAnswer::Refused(refusal)) => note("complete", refusal),
        PeerAnswer::Released(LeaseAnswer::Refused(refusal)) => note("release", refusal),
        PeerAnswer::Renewed(answers) => {
            for answer in answers {
                if let LeaseAnswer::Refused(refusal) = answer {
                    note("renew", refusal);
                }
            }
        }
        PeerAnswer::Acquired(Ok(_))
        | PeerAnswer::Completed(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone)
        | PeerAnswer::Released(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone)
        | PeerAnswer::Receipts(_) => {}
    }
}
