//! The coordinator's side: which replicas are open, who gets them, whose results are taken.

use crate::evaluation::Evaluation;
use crate::evidence::Receipt;
use crate::id::{AssignmentId, Attempt, Digest, Hotkey, LeaseId, SubmissionId};
use crate::lease::{
    AcquireRequest, Explanation, Grant, HeldLease, HoldAnswer, LeaseAnswer, LeaseRefusal,
    LeaseState, PeerAnswer, PeerRequest, ReleaseReason, Renewal, ReplicaStanding, Seal,
};
use crate::lease_record::LeaseRecord;
use crate::limits::{LEASES_PER_ACQUIRE_MAX, REPLICA_NUMBERS_MAX, SELF_GRANT_AFTER_MS};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::CallId;
use crate::machine::lease_queue::ReplicaKey;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::rows::{ReceiptRow, ReceiptStanding, Row, StrikeCause, Table, Write};
use crate::submission::Submission;
use crate::trial::Trial;
use crate::unit::{MonoMs, Now};

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
        if let Some(state) = self.peers.get_mut(&peer) {
            state.called(now);
        }
        let refusal = match &self.view {
            None => Some(LeaseRefusal::NotReady),
            Some(view) => (!view.is_validator(&peer)).then_some(LeaseRefusal::NotAValidator),
        };
        let refused = refusal.map(LeaseAnswer::Refused);
        let subjects = self.subjects(&request);
        let answer = match request {
            PeerRequest::Acquire(request) => PeerAnswer::Acquired(match refusal {
                Some(refusal) => Err(refusal),
                None => self.grant(now, peer, &request, out),
            }),
            PeerRequest::Renew(items) => PeerAnswer::Renewed(
                items
                    .iter()
                    .map(|item| match refusal {
                        Some(refusal) => HoldAnswer::Refused(refusal),
                        None => self.renew(now, peer, item, out),
                    })
                    .collect(),
            ),
            PeerRequest::Seal(seal) => PeerAnswer::Sealed(match refusal {
                Some(refusal) => HoldAnswer::Refused(refusal),
                None => self.take_seal(now, peer, &seal, out),
            }),
            PeerRequest::Complete(receipt) => PeerAnswer::Completed(
                refused.unwrap_or_else(|| self.complete(now, peer, *receipt, out)),
            ),
            PeerRequest::Release { item, reason } => PeerAnswer::Released(
                refused.unwrap_or_else(|| self.take_back(now, peer, &item, &reason, out)),
            ),
            PeerRequest::Receipts { of, after } => PeerAnswer::Receipts(self.page_of(of, after)),
            PeerRequest::Explain { submission } => PeerAnswer::Explained(self.explain(&submission)),
        };
        note_refusals(peer, &subjects, &answer, out);
        out.perform(Effect::Answer { call, answer });
    }

    /// The submissions that a request is about, as far as this node coordinates them.
    fn subjects(&self, request: &PeerRequest) -> Vec<Option<SubmissionId>> {
        let of = |assignment| self.replica_of.get(assignment).map(|(trial, _)| trial.submission);
        match request {
            PeerRequest::Renew(items) => {
                items.iter().map(|item| of(&item.held.assignment)).collect()
            }
            PeerRequest::Seal(seal) => vec![of(&seal.held.assignment)],
            PeerRequest::Complete(receipt) => vec![of(&receipt.evidence.assignment)],
            PeerRequest::Release { item, .. } => vec![of(&item.assignment)],
            PeerRequest::Acquire(_)
            | PeerRequest::Receipts { .. }
            | PeerRequest::Explain { .. } => vec![None],
        }
    }

    /// Opens and closes replicas of one submission as its standing and this node's duty ask for,
    /// and makes its receipts public once nothing depends on their secrecy.
    pub(super) fn plan_replicas(&mut self, now: Now, id: Trial, out: &mut Outcome) {
        let is_on_duty = self.is_on_duty(&id);
        let pending = self.pending.get(&id).cloned();
        match &pending {
            Some(pending) if is_on_duty => {
                let Some(submission) = self.submissions.get(&id.submission).cloned() else {
                    return;
                };
                let mut evaluation = self.evaluations.remove(&id).unwrap_or_default();
                let derive = |replica| self.assignment_of(&submission, id, replica);
                let (needed, claimants) = (pending.needed, &pending.claimants);
                let total_ms = self.lease_total_ms(id.tier);
                let opened = evaluation.open(needed, claimants, derive, total_ms, now.mono);
                for number in opened {
                    self.on_opened(&evaluation, number, out);
                }
                self.evaluations.insert(id, evaluation);
            }
            Some(_) => {}
            None => self.close_unused(id, out),
        }
        self.place_all(id);
        // Off duty others decide whom to ask, and who is asked next must not have seen these.
        let evaluation = self.evaluations.get(&id);
        let is_secret = !is_on_duty || evaluation.is_some_and(Evaluation::has_unshown);
        // What was decided once is public; who opens the question again has to be heard of.
        let was_decided = self.outcomes.contains_key(&id);
        self.publish(id, pending.is_some() && !was_decided && is_secret, out);
    }

    fn on_opened(&mut self, evaluation: &Evaluation, number: u8, out: &mut Outcome) {
        let Some(record) = evaluation.replica(number) else { return };
        let assignment = &record.row().assignment;
        self.replica_of.insert(assignment.id, (assignment.trial(), number));
        out.put(Row::Lease(Box::new(record.row().clone())));
    }

    /// Drops replicas of a decided evaluation that were never given to anybody.
    pub(super) fn close_unused(&mut self, id: Trial, out: &mut Outcome) {
        let Some(evaluation) = self.evaluations.get_mut(&id) else { return };
        for record in evaluation.drop_unused() {
            let row = record.row().clone();
            self.replica_of.remove(&row.assignment.id);
            self.queue.remove(&(id, row.assignment.replica));
            let row = Row::Lease(Box::new(row));
            out.writes.push(Write::Delete(Table::Leases, row.key()));
        }
    }

    /// Puts every replica of a submission where it belongs in the queue.
    fn place_all(&mut self, id: Trial) {
        let committed_at = self.given_out(&id);
        let Some(evaluation) = self.evaluations.get(&id) else { return };
        for record in evaluation.replicas() {
            self.queue.place(record, committed_at);
        }
    }

    /// The block by which replicas of a submission are ordered, if this node gives them out.
    fn given_out(&mut self, id: &Trial) -> Option<crate::unit::BlockNumber> {
        let is_given_out = self.pending.contains_key(id) && self.is_on_duty(id);
        let submission = self.submissions.get(&id.submission)?;
        is_given_out.then_some(submission.committed_at)
    }

    /// Gives the receipts that this node accepted for a submission their places in its sequence.
    /// Where they are secret only those of workers that are known: others settle without what such
    /// a receipt says of its coordinator, and know nothing more of the result by it. And those that
    /// this node had published before it lost its rows: whoever has read past them asks for no
    /// earlier ones, and who lost its rows too would never hear of them.
    fn publish(&mut self, id: Trial, is_secret: bool, out: &mut Outcome) {
        // Which numbers were given is not known before.
        if self.is_catching_up() {
            return;
        }
        for (digest, mut row) in self.receipts.unpublished(&self.config.hotkey, &id) {
            let is_public = || self.receipts.is_public(&id, &row.receipt.evidence.worker);
            if is_secret && self.was_accepted(&id, &digest) && !is_public() {
                continue;
            }
            row.sequence = Some(self.take_number());
            out.put(Row::Receipt(Box::new(row.clone())));
            self.receipts.put_as(digest, row);
        }
    }

    /// Whether this node accepted it under a lease that it knows of.
    ///
    /// If not, rows were lost. Most such receipts came back from peers, who have them only because
    /// they had been published. Where the record of a lease alone was damaged, its receipt is still
    /// here, and may never have been: nothing tells it from those, so it is published before its
    /// time, and whoever is asked next could have seen it.
    fn was_accepted(&self, id: &Trial, digest: &Digest) -> bool {
        self.evaluations.get(id).is_some_and(|evaluation| evaluation.has_accepted(digest))
    }

    /// The next number of this node's sequence.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next_sequence;
        self.next_sequence = self.next_sequence.saturating_add(1);
        number
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
        if peer != self.config.hotkey && self.is_struck_out(&peer) {
            return Err(LeaseRefusal::TooManyStrikes);
        }
        let fits = request.policy == self.policy_digest
            && request.dataset == self.config.dataset
            && request.device == self.config.policy.run.device;
        if !fits {
            return Ok(Vec::new());
        }
        let wanted = usize::try_from(request.leases_max).unwrap_or(usize::MAX);
        let wanted = wanted.min(LEASES_PER_ACQUIRE_MAX);
        let mut queue = std::mem::take(&mut self.queue);
        let chosen = queue.choose(peer, wanted, |key| self.may_take(key, &peer, now.mono));
        self.queue = queue;
        let own = self.config.hotkey;
        let mut grants = Vec::new();
        for key in chosen {
            let from = self.attempts_from;
            let grant = self.change(key, out, |record| {
                // After rows were lost nobody knows which attempts were given.
                record.skip_to(from);
                record.grant(peer, own, now.mono)
            });
            let Some(grant) = grant.flatten() else { continue };
            out.note(Note::LeaseGranted {
                submission: grant.assignment.submission,
                holder: peer,
                attempt: grant.attempt.0,
            });
            grants.push(grant);
        }
        Ok(grants)
    }

    /// Whether an open replica is for `peer`. Our own node waits where there are enough others, so
    /// that whoever coordinates a submission is not usually who evaluates it.
    fn may_take(&self, key: &ReplicaKey, peer: &Hotkey, now: MonoMs) -> bool {
        let (id, number) = key;
        let Some(pending) = self.pending.get(id) else { return false };
        let Some(evaluation) = self.evaluations.get(id) else { return false };
        if self.is_barred(peer, &id.submission) || !evaluation.may_take(peer, &pending.claimants) {
            return false;
        }
        // Somebody offered it all the same.
        if *peer == self.config.hotkey && pending.for_itself && self.is_at_work_on(id) {
            return false;
        }
        let Some(record) = evaluation.replica(*number) else { return false };
        let Some(open_since) = record.open_since() else { return false };
        let open_for_ms = now.since_ms(open_since);
        let own = self.config.hotkey;
        let can = |other: &&Hotkey| evaluation.may_take(other, &pending.claimants);
        let has_others = self.duties.present().filter(can).any(|other| other != peer);
        let others_of_own = self.duties.present().filter(can).filter(|other| **other != own);
        let missing = pending.needed.saturating_sub(pending.claimants.len());
        let is_new_and_ours = *peer == own && record.row().attempt == Attempt(0);
        let waits_for_others = is_new_and_ours
            && open_for_ms < SELF_GRANT_AFTER_MS
            && others_of_own.count() >= missing;
        let waits_elsewhere =
            record.was_lost_by(peer) && open_for_ms < ELSEWHERE_FOR_MS && has_others;
        // Why it declined one replica holds for the others, too.
        let declined_at = evaluation.replicas().filter_map(|record| record.declined_at(peer));
        let has_declined = declined_at.max().is_some_and(|at| now.since_ms(at) < ELSEWHERE_FOR_MS);
        !waits_for_others && !waits_elsewhere && !has_declined
    }

    /// Changes one record, stores it and puts it where it belongs. `None` if there is none.
    pub(super) fn change<T>(
        &mut self,
        key: ReplicaKey,
        out: &mut Outcome,
        change: impl FnOnce(&mut LeaseRecord) -> T,
    ) -> Option<T> {
        let record = self.evaluations.get_mut(&key.0)?.replica_mut(key.1)?;
        let before = record.row().clone();
        let changed = change(record);
        if *record.row() != before {
            out.put(Row::Lease(Box::new(record.row().clone())));
        }
        let record = record.clone();
        let committed_at = self.given_out(&key.0);
        self.queue.place(&record, committed_at);
        Some(changed)
    }

    fn replica_key(&self, assignment: &AssignmentId) -> Result<ReplicaKey, LeaseRefusal> {
        self.replica_of.get(assignment).copied().ok_or(LeaseRefusal::NotCoordinator)
    }

    fn renew(
        &mut self,
        now: Now,
        peer: Hotkey,
        renewal: &Renewal,
        out: &mut Outcome,
    ) -> HoldAnswer {
        let key = match self.replica_key(&renewal.held.assignment) {
            Ok(key) => key,
            Err(refusal) => return HoldAnswer::Refused(refusal),
        };
        let renewed = self
            .change(key, out, |record| record.renew(&peer, &renewal.held, renewal.stage, now.mono));
        match renewed {
            Some(Ok(())) => self.hold_answer(&key),
            Some(Err(refusal)) => HoldAnswer::Refused(refusal),
            None => HoldAnswer::Refused(LeaseRefusal::NotCoordinator),
        }
    }

    /// Whether a sealed result may be shown now.
    fn hold_answer(&self, (id, number): &ReplicaKey) -> HoldAnswer {
        let Some(evaluation) = self.evaluations.get(id) else { return HoldAnswer::Kept };
        let is_sealed = evaluation.replica(*number).is_some_and(|record| record.seal().is_some());
        let is_revealing = self
            .pending
            .get(id)
            .is_none_or(|pending| evaluation.is_revealing(pending.needed, &pending.claimants));
        if is_sealed && is_revealing {
            HoldAnswer::Reveal(self.seals(id, evaluation))
        } else {
            HoldAnswer::Kept
        }
    }

    /// The seals of all replicas. Ours is among them wherever it was handed in: who shows a result
    /// to us has to see that we had fixed ours.
    fn seals(&self, id: &Trial, evaluation: &Evaluation) -> Vec<Seal> {
        let own = self.measurements.get(id).map(|measured| measured.seal);
        let others = evaluation
            .seals()
            .into_iter()
            .filter(|seal| own.is_none_or(|own| own.worker != seal.worker));
        own.into_iter().chain(others).take(usize::from(REPLICA_NUMBERS_MAX)).collect()
    }

    fn take_seal(&mut self, now: Now, peer: Hotkey, seal: &Seal, out: &mut Outcome) -> HoldAnswer {
        let key = match self.replica_key(&seal.held.assignment) {
            Ok(key) => key,
            Err(refusal) => return HoldAnswer::Refused(refusal),
        };
        match self.change(key, out, |record| record.fix(&peer, seal, now.mono)) {
            Some(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone) => {
                // It waits for as many as it would itself; so who was left out is counted again.
                self.took_part(&peer);
                self.settle_touched(now, out);
                self.hold_answer(&key)
            }
            Some(LeaseAnswer::Refused(refusal)) => HoldAnswer::Refused(refusal),
            None => HoldAnswer::Refused(LeaseRefusal::NotCoordinator),
        }
    }

    fn take_back(
        &mut self,
        now: Now,
        peer: Hotkey,
        held: &HeldLease,
        reason: &ReleaseReason,
        out: &mut Outcome,
    ) -> LeaseAnswer {
        let key = match self.replica_key(&held.assignment) {
            Ok(key) => key,
            Err(refusal) => return LeaseAnswer::Refused(refusal),
        };
        // A submission's own fault is a result; giving it back would retry it for ever.
        if let ReleaseReason::RunEnded { ending } = reason {
            if matches!(ending.fault(), Fault::None | Fault::Submission) {
                return LeaseAnswer::Refused(LeaseRefusal::EvidenceEmpty);
            }
        }
        let answer = self.change(key, out, |record| record.release(&peer, held, reason, now.mono));
        let Some(answer) = answer else {
            return LeaseAnswer::Refused(LeaseRefusal::NotCoordinator);
        };
        if answer == LeaseAnswer::Accepted {
            let submission = key.0.submission;
            out.note(Note::LeaseReleased { submission, holder: peer, attempt: held.attempt.0 });
            self.note_if_exhausted(key, peer, out);
        }
        answer
    }

    fn note_if_exhausted(&mut self, key: ReplicaKey, holder: Hotkey, out: &mut Outcome) {
        let record = self.evaluations.get(&key.0).and_then(|e| e.replica(key.1));
        if record.is_some_and(|r| matches!(r.row().state, LeaseState::Exhausted { .. })) {
            out.note(Note::LeaseExhausted { submission: key.0.submission, holder });
            self.to_settle.insert(key.0);
        }
    }

    fn complete(
        &mut self,
        now: Now,
        peer: Hotkey,
        receipt: Receipt,
        out: &mut Outcome,
    ) -> LeaseAnswer {
        let evidence = &receipt.evidence;
        let key = match self.replica_key(&evidence.assignment) {
            Ok(key) => key,
            Err(refusal) => return LeaseAnswer::Refused(refusal),
        };
        let (digest, sealed) = evidence.digest_and_sealed();
        match self.check_completion(key, peer, &receipt, &sealed) {
            Ok(()) => {}
            Err(LeaseRefusal::AlreadySettled) if self.is_repeat(key, evidence.lease, &digest) => {
                return LeaseAnswer::AlreadyDone;
            }
            Err(refusal) => {
                if refusal == LeaseRefusal::SealMismatch {
                    self.on_broken_seal(now, key, peer, out);
                }
                self.on_refused_receipt(key, refusal, receipt, out);
                return LeaseAnswer::Refused(refusal);
            }
        }
        let lease = evidence.lease;
        self.change(key, out, |record| record.complete(lease, digest));
        let row = ReceiptRow { sequence: None, standing: ReceiptStanding::Counts, receipt };
        self.keep_receipt(digest, row, out);
        self.to_settle.insert(key.0);
        self.settle_touched(now, out);
        LeaseAnswer::Accepted
    }

    fn is_repeat(&self, (id, number): ReplicaKey, under: LeaseId, digest: &Digest) -> bool {
        let record = self.evaluations.get(&id).and_then(|evaluation| evaluation.replica(number));
        let Some(LeaseState::Complete { lease, evidence, .. }) = record.map(|r| &r.row().state)
        else {
            return false;
        };
        *lease == under && evidence == digest
    }

    fn check_completion(
        &self,
        (id, number): ReplicaKey,
        peer: Hotkey,
        receipt: &Receipt,
        sealed: &Digest,
    ) -> Result<(), LeaseRefusal> {
        let evidence = &receipt.evidence;
        if evidence.worker != peer || evidence.coordinator != self.config.hotkey {
            return Err(LeaseRefusal::EvidenceMismatch);
        }
        self.check_receipt(receipt).map_err(|rejected| match rejected {
            crate::round::EvidenceRejected::Empty => LeaseRefusal::EvidenceEmpty,
            crate::round::EvidenceRejected::OtherChain
            | crate::round::EvidenceRejected::OtherAssignment
            | crate::round::EvidenceRejected::PolicyMismatch { .. }
            | crate::round::EvidenceRejected::DatasetMismatch { .. }
            | crate::round::EvidenceRejected::NotAValidator { .. } => {
                LeaseRefusal::EvidenceMismatch
            }
        })?;
        let evaluation = self.evaluations.get(&id).ok_or(LeaseRefusal::NotCoordinator)?;
        let record = evaluation.replica(number).ok_or(LeaseRefusal::NotCoordinator)?;
        record.check_holder(&peer, &HeldLease::of(evidence))?;
        let seal = record.seal().ok_or(LeaseRefusal::NotSealed)?;
        if seal.result == *sealed {
            Ok(())
        } else {
            Err(LeaseRefusal::SealMismatch)
        }
    }

    /// A strike, and the replica is for somebody else.
    fn on_broken_seal(&mut self, now: Now, key: ReplicaKey, peer: Hotkey, out: &mut Outcome) {
        self.change(key, out, |record| record.break_seal(now.mono));
        self.strike(peer, key.0.submission, StrikeCause::BrokeSeal, out);
        self.note_if_exhausted(key, peer, out);
        // Who is not asked again is not waited for.
        self.to_settle.insert(key.0);
        self.settle_touched(now, out);
    }

    /// What a refused receipt still tells: a late result is kept and never scored; a second result
    /// is a strike.
    fn on_refused_receipt(
        &mut self,
        key: ReplicaKey,
        refusal: LeaseRefusal,
        receipt: Receipt,
        out: &mut Outcome,
    ) {
        let (id, worker) = (key.0, receipt.evidence.worker);
        let is_late = matches!(
            refusal,
            LeaseRefusal::StaleAttempt
                | LeaseRefusal::NotGranted
                | LeaseRefusal::NotHolder
                | LeaseRefusal::AlreadySettled
        );
        if is_late && !self.receipts.contains(&receipt) && self.receipts.has_room_for_late(&id) {
            let says_otherwise = self
                .receipts
                .of(&id)
                .map(|row| &row.receipt.evidence)
                .any(|known| known.worker == worker && !known.says_the_same(&receipt.evidence));
            if says_otherwise {
                self.strike(worker, id.submission, StrikeCause::Equivocated, out);
            }
            let row = ReceiptRow { sequence: None, standing: ReceiptStanding::Late, receipt };
            out.note(Note::ReceiptLate { submission: id.submission, worker });
            out.put(Row::Receipt(Box::new(row.clone())));
            self.receipts.put(row);
        }
    }

    pub(super) fn expire_leases(&mut self, now: Now, out: &mut Outcome) {
        for key in self.queue.ended(now.mono) {
            let expired =
                self.change(key, out, |record| (record.row().attempt.0, record.expire(now.mono)));
            let Some((attempt, Some(expired))) = expired else { continue };
            let (submission, holder) = (key.0.submission, expired.holder);
            out.note(Note::LeaseExpired { submission, holder, attempt });
            self.to_settle.insert(key.0);
            self.note_if_exhausted(key, holder, out);
        }
        self.settle_touched(now, out);
    }

    /// The first trial of a submission that is not decided; else its last one.
    #[must_use]
    pub fn trial_in_question(&self, submission: &Submission) -> Trial {
        let trials = self.trials_of(submission);
        let open = trials.iter().find(|trial| !self.outcomes.contains_key(trial));
        let trial = open.or_else(|| trials.last()).copied();
        trial.unwrap_or_else(|| Trial::first(submission.id))
    }

    /// How a submission stands here, for people and for peers.
    #[must_use]
    pub fn explain(&self, id: &SubmissionId) -> Explanation {
        let Some(submission) = self.submissions.get(id) else {
            let summary = "this node knows no such submission".to_owned();
            return Explanation { summary, ..Explanation::default() };
        };
        let trial = self.trial_in_question(submission);
        let records = self.evaluations.get(&trial).into_iter().flat_map(Evaluation::replicas);
        let replicas = records.map(replica_standing).collect();
        let mut claims: Vec<Hotkey> =
            self.receipts.counting(&trial).map(|receipt| receipt.evidence.worker).collect();
        claims.sort_unstable();
        claims.dedup();
        Explanation {
            summary: crate::limits::clip_detail(&format!("{}", submission.state)),
            replicas,
            claims,
            required: u32::try_from(self.jury(&trial).required()).unwrap_or(u32::MAX),
        }
    }
}

pub(super) fn replica_standing(record: &LeaseRecord) -> ReplicaStanding {
    let row = record.row();
    let state = match &row.state {
        LeaseState::Open => "open",
        LeaseState::Granted { .. } if record.is_started() => "running",
        LeaseState::Granted { .. } => "granted",
        LeaseState::Sealed { .. } => "sealed",
        LeaseState::Complete { .. } => "complete",
        LeaseState::Exhausted { last } => last,
    };
    ReplicaStanding {
        assignment: row.assignment.id,
        replica: row.assignment.replica,
        attempt: row.attempt,
        holder: record.holder().or_else(|| record.seal().map(|seal| seal.worker)),
        state: crate::limits::clip_detail(state),
    }
}

fn note_refusals(
    peer: Hotkey,
    subjects: &[Option<SubmissionId>],
    answer: &PeerAnswer,
    out: &mut Outcome,
) {
    let mut note = |call: &'static str, at: usize, refusal: &LeaseRefusal| {
        let submission = subjects.get(at).copied().flatten();
        let reason = refusal.id().to_owned();
        out.note(Note::LeaseRefused { peer, call, submission, reason });
    };
    match answer {
        PeerAnswer::Acquired(Err(refusal)) => note("acquire", 0, refusal),
        PeerAnswer::Completed(LeaseAnswer::Refused(refusal)) => note("complete", 0, refusal),
        PeerAnswer::Released(LeaseAnswer::Refused(refusal)) => note("release", 0, refusal),
        PeerAnswer::Sealed(HoldAnswer::Refused(refusal)) => note("seal", 0, refusal),
        PeerAnswer::Renewed(answers) => {
            for (at, answer) in answers.iter().enumerate() {
                if let HoldAnswer::Refused(refusal) = answer {
                    note("renew", at, refusal);
                }
            }
        }
        PeerAnswer::Acquired(Ok(_))
        | PeerAnswer::Sealed(HoldAnswer::Kept | HoldAnswer::Reveal(_))
        | PeerAnswer::Completed(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone)
        | PeerAnswer::Released(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone)
        | PeerAnswer::Receipts(_)
        | PeerAnswer::Explained(_) => {}
    }
}
