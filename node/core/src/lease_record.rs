//! The coordinator's side of one lease: who may run the assignment now, and until when.
//!
//! Synchronous, without a clock: the caller passes the time in. Every transition that has to
//! survive changes the row, which the caller persists before the answer leaves. Time is not
//! persisted: after a restart every held lease gets a whole TTL, because its holder could not
//! renew while we were away.
//!
//! Not here: the words (`lease`), the replicas of one evaluation (`evaluation`), and whether a
//! receipt's content is right (`round`).

use std::collections::BTreeMap;

use crate::id::{Attempt, Digest, Hotkey, LeaseId};
use crate::lease::{
    lease_id, Grant, HeldLease, HeldStage, LeaseAnswer, LeaseRefusal, LeaseRow, LeaseState,
    NotReopened, ReleaseReason, Reopened, Seal, Spent,
};
use crate::limits::{
    FAULTS_MAX, LEASE_START_MS_MAX, LEASE_TTL_MS, NOT_STARTED_MAX, REOPENINGS_KEPT,
    WORKERS_LOST_MAX,
};
use crate::outcome::Fault;
use crate::unit::{BlockNumber, MonoMs};

/// A [`LeaseRow`] with its clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    row: LeaseRow,
    opened_at: MonoMs,
    /// Who held it last and lost it or gave it back, in this life of the process.
    lost_by: Option<Hotkey>,
    /// Who gave it back untried, and when, in this life of the process.
    declined: BTreeMap<Hotkey, MonoMs>,
    expires_at: MonoMs,
    /// By when the run must have started; `None` once it has.
    start_by: Option<MonoMs>,
    ends_at: MonoMs,
    /// Longest time from a grant to its end, and then from a seal to when it was shown: another run
    /// may still go on.
    total_ms: u64,
}

/// What passing time did to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Who lost it.
    pub holder: Hotkey,
    /// Whether a budget is used up by it; else it is open again.
    pub is_exhausted: bool,
}

/// Why a lease is open again.
enum Cause {
    WorkerLost,
    Fault,
    NotStarted,
}

impl LeaseRecord {
    /// A record as it was stored, or a new one; all clocks start now.
    ///
    /// - `total_ms`: longest time from a grant to its end.
    #[must_use]
    pub fn resume(row: LeaseRow, total_ms: u64, now: MonoMs) -> Self {
        Self {
            row,
            opened_at: now,
            lost_by: None,
            declined: BTreeMap::new(),
            expires_at: now.plus_ms(LEASE_TTL_MS),
            // Whether a run had started is not stored; its holder will say.
            start_by: Some(now.plus_ms(LEASE_START_MS_MAX)),
            ends_at: now.plus_ms(total_ms),
            total_ms,
        }
    }

    /// What is stored.
    #[must_use]
    pub fn row(&self) -> &LeaseRow {
        &self.row
    }

    /// Since when it has been open, if it is.
    #[must_use]
    pub fn open_since(&self) -> Option<MonoMs> {
        matches!(self.row.state, LeaseState::Open).then_some(self.opened_at)
    }

    /// Whether `peer` is who held it last: what failed there is tried elsewhere, if possible.
    #[must_use]
    pub fn was_lost_by(&self, peer: &Hotkey) -> bool {
        self.lost_by.as_ref() == Some(peer)
    }

    /// When `peer` last gave it back untried, if it did.
    #[must_use]
    pub fn declined_at(&self, peer: &Hotkey) -> Option<MonoMs> {
        self.declined.get(peer).copied()
    }

    /// Who holds it now.
    #[must_use]
    pub fn holder(&self) -> Option<Hotkey> {
        match &self.row.state {
            LeaseState::Granted { holder, .. } => Some(*holder),
            LeaseState::Sealed { seal } => Some(seal.worker),
            LeaseState::Open | LeaseState::Complete { .. } | LeaseState::Exhausted { .. } => None,
        }
    }

    /// Whether its holder said that the run has started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.holder().is_some() && self.start_by.is_none()
    }

    /// The promise of its worker, once it was made.
    #[must_use]
    pub fn seal(&self) -> Option<&Seal> {
        match &self.row.state {
            LeaseState::Sealed { seal } => Some(seal),
            LeaseState::Complete { seal, .. } => seal.as_ref(),
            LeaseState::Open | LeaseState::Granted { .. } | LeaseState::Exhausted { .. } => None,
        }
    }

    /// When it ends if nothing is heard; `None` if nobody holds it.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoMs> {
        self.holder()?;
        let by_renewal = self.expires_at.min(self.ends_at);
        Some(self.start_by.map_or(by_renewal, |start_by| start_by.min(by_renewal)))
    }

    /// Gives the lease to `holder` under the next attempt. `None` if it is not open.
    pub fn grant(&mut self, holder: Hotkey, coordinator: Hotkey, now: MonoMs) -> Option<Grant> {
        if !matches!(self.row.state, LeaseState::Open) {
            return None;
        }
        let attempt = self.row.attempt.next();
        let lease = lease_id(&self.row.assignment.id, &coordinator, attempt);
        self.row.attempt = attempt;
        self.row.state = LeaseState::Granted { lease, holder };
        self.expires_at = now.plus_ms(LEASE_TTL_MS);
        self.start_by = Some(now.plus_ms(LEASE_START_MS_MAX));
        self.ends_at = now.plus_ms(self.total_ms);
        Some(Grant {
            lease,
            assignment: self.row.assignment.clone(),
            attempt,
            coordinator,
            ttl_ms: LEASE_TTL_MS,
            total_ms: self.total_ms,
        })
    }

    /// Whether `peer` holds the lease under exactly this attempt.
    ///
    /// # Errors
    ///
    /// [`LeaseRefusal::StaleAttempt`] for an older attempt, [`LeaseRefusal::NotHolder`] for
    /// another peer, [`LeaseRefusal::NotGranted`] if nobody holds it,
    /// [`LeaseRefusal::AlreadySettled`] once it is complete.
    pub fn check_holder(&self, peer: &Hotkey, held: &HeldLease) -> Result<(), LeaseRefusal> {
        let (lease, holder) = match &self.row.state {
            LeaseState::Complete { .. } => return Err(LeaseRefusal::AlreadySettled),
            _ if held.attempt < self.row.attempt => return Err(LeaseRefusal::StaleAttempt),
            LeaseState::Open | LeaseState::Exhausted { .. } => {
                return Err(LeaseRefusal::NotGranted)
            }
            LeaseState::Granted { lease, holder } => (lease, holder),
            LeaseState::Sealed { seal } => (&seal.held.lease, &seal.worker),
        };
        if holder == peer && *lease == held.lease && held.attempt == self.row.attempt {
            Ok(())
        } else {
            Err(LeaseRefusal::NotHolder)
        }
    }

    /// Prolongs the lease by a TTL, never beyond its total time. Nothing to persist.
    ///
    /// # Errors
    ///
    /// As [`LeaseRecord::check_holder`].
    pub fn renew(
        &mut self,
        peer: &Hotkey,
        held: &HeldLease,
        stage: HeldStage,
        now: MonoMs,
    ) -> Result<(), LeaseRefusal> {
        self.check_holder(peer, held)?;
        self.expires_at = now.plus_ms(LEASE_TTL_MS).min(self.ends_at);
        if stage > HeldStage::Preparing {
            self.start_by = None;
        }
        Ok(())
    }

    /// Fixes the result of the holder. The same seal again is [`LeaseAnswer::AlreadyDone`].
    pub fn fix(&mut self, peer: &Hotkey, seal: &Seal, now: MonoMs) -> LeaseAnswer {
        if self.seal() == Some(seal) && seal.worker == *peer {
            self.expires_at = now.plus_ms(LEASE_TTL_MS).min(self.ends_at);
            return LeaseAnswer::AlreadyDone;
        }
        if let Err(refusal) = self.check_holder(peer, &seal.held) {
            return LeaseAnswer::Refused(refusal);
        }
        // What was promised once cannot be exchanged.
        if matches!(self.row.state, LeaseState::Sealed { .. }) || seal.worker != *peer {
            return LeaseAnswer::Refused(LeaseRefusal::SealMismatch);
        }
        self.row.state = LeaseState::Sealed { seal: *seal };
        self.start_by = None;
        self.ends_at = now.plus_ms(self.total_ms.saturating_add(LEASE_TTL_MS));
        self.expires_at = now.plus_ms(LEASE_TTL_MS);
        LeaseAnswer::Accepted
    }

    /// Opens the lease again because its holder gives it back; a repeat is
    /// [`LeaseAnswer::AlreadyDone`].
    pub fn release(
        &mut self,
        peer: &Hotkey,
        held: &HeldLease,
        reason: &ReleaseReason,
        now: MonoMs,
    ) -> LeaseAnswer {
        let is_repeat = held.attempt == self.row.attempt
            && matches!(self.row.state, LeaseState::Open | LeaseState::Exhausted { .. });
        if is_repeat {
            return LeaseAnswer::AlreadyDone;
        }
        if let Err(refusal) = self.check_holder(peer, held) {
            return LeaseAnswer::Refused(refusal);
        }
        let (cause, what) = match reason {
            ReleaseReason::Declined => {
                self.decline(*peer, now);
                return LeaseAnswer::Accepted;
            }
            ReleaseReason::NoDevice => (Cause::NotStarted, "no device was free".to_owned()),
            ReleaseReason::ContentMissing => {
                (Cause::NotStarted, "the content could not be had".to_owned())
            }
            ReleaseReason::RunEnded { ending } => {
                let is_worker = ending.fault() == Fault::Worker;
                let cause = if is_worker { Cause::WorkerLost } else { Cause::Fault };
                (cause, ending.to_string())
            }
        };
        self.reopen(&cause, what, now);
        LeaseAnswer::Accepted
    }

    /// Opens it again for others. Nothing was tried, so nothing is spent: many that cannot take it
    /// must not use up what those have who can.
    fn decline(&mut self, peer: Hotkey, now: MonoMs) {
        self.declined.insert(peer, now);
        self.opened_at = now;
        self.row.state = LeaseState::Open;
    }

    /// Takes the lease away from a holder that showed another result than it had sealed.
    pub fn break_seal(&mut self, now: MonoMs) {
        if let LeaseState::Sealed { seal } = &self.row.state {
            let last = format!("{} broke its seal", seal.worker);
            self.reopen(&Cause::WorkerLost, last, now);
        }
    }

    /// Marks the assignment as completed by this evidence.
    pub fn complete(&mut self, lease: LeaseId, evidence: Digest) {
        let seal = self.seal().copied();
        self.row.state = LeaseState::Complete { lease, evidence, seal };
    }

    /// Takes the lease away from a holder that did not renew, did not start, or is over its time.
    pub fn expire(&mut self, now: MonoMs) -> Option<Expired> {
        let holder = self.holder()?;
        if now < self.deadline()? {
            return None;
        }
        if self.start_by.is_some() {
            self.reopen(&Cause::NotStarted, format!("{holder} did not start it"), now);
        } else {
            self.reopen(&Cause::WorkerLost, format!("{holder} did not renew"), now);
        }
        let is_exhausted = matches!(self.row.state, LeaseState::Exhausted { .. });
        Some(Expired { holder, is_exhausted })
    }

    fn reopen(&mut self, cause: &Cause, last: String, now: MonoMs) {
        self.opened_at = now;
        self.lost_by = self.holder();
        let spent = &mut self.row.spent;
        let (count, most) = match cause {
            Cause::WorkerLost => (&mut spent.workers_lost, WORKERS_LOST_MAX),
            Cause::Fault => (&mut spent.faults, FAULTS_MAX),
            Cause::NotStarted => (&mut spent.not_started, NOT_STARTED_MAX),
        };
        *count = count.saturating_add(1);
        self.row.state =
            if *count < most { LeaseState::Open } else { LeaseState::Exhausted { last } };
    }

    /// Opens it again for a person, who says that what used its attempts up is mended: all budgets
    /// start anew, attempts go on.
    ///
    /// # Errors
    ///
    /// [`NotReopened::NotExhausted`].
    pub fn reopen_by_hand(
        &mut self,
        block: BlockNumber,
        now: MonoMs,
    ) -> Result<Reopened, NotReopened> {
        let LeaseState::Exhausted { last } = &self.row.state else {
            return Err(NotReopened::NotExhausted);
        };
        let (attempt, spent) = (self.row.attempt, self.row.spent);
        let before = Reopened { block, attempt, spent, last: last.clone() };
        let forgotten = self.row.reopened.len().saturating_add(1).saturating_sub(REOPENINGS_KEPT);
        self.row.reopened.drain(..forgotten);
        self.row.reopened.push(before.clone());
        self.row.spent = Spent::default();
        self.row.state = LeaseState::Open;
        self.opened_at = now;
        // Whoever failed may be who was mended.
        (self.lost_by, self.declined) = (None, BTreeMap::new());
        Ok(before)
    }

    /// Numbers attempts from after `attempt`: those that were given before are not known any more.
    pub fn skip_to(&mut self, attempt: Attempt) {
        self.row.attempt = self.row.attempt.max(attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::Assignment;
    use crate::id::{AssignmentId, ContentDigest, LeaseId, Signature, SubmissionId};
    use crate::outcome::Ending;

    const COORDINATOR: Hotkey = Hotkey([1; 32]);
    const WORKER: Hotkey = Hotkey([2; 32]);
    const OTHER: Hotkey = Hotkey([3; 32]);
    const TOTAL_MS: u64 = 2 * 60 * 60 * 1000;
    const START: MonoMs = MonoMs(1_000);

    fn record() -> LeaseRecord {
        let assignment = Assignment {
            id: AssignmentId([9; 32]),
            submission: SubmissionId([8; 32]),
            content: ContentDigest([7; 32]),
            tier: 1,
            unit: 0,
            replica: 0,
            seed: Digest([6; 32]),
            policy: Digest([5; 32]),
        };
        let row = LeaseRow {
            assignment,
            attempt: Attempt(0),
            spent: Spent::default(),
            state: LeaseState::Open,
            reopened: Vec::new(),
        };
        LeaseRecord::resume(row, TOTAL_MS, START)
    }

    fn item(grant: &Grant) -> HeldLease {
        HeldLease { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt }
    }

    fn renew(
        lease: &mut LeaseRecord,
        peer: &Hotkey,
        held: &HeldLease,
        now: MonoMs,
    ) -> Result<(), LeaseRefusal> {
        lease.renew(peer, held, HeldStage::Running, now)
    }

    #[test]
    fn each_grant_has_a_new_attempt_and_a_new_lease_id() {
        let mut lease = record();
        let first = lease.grant(WORKER, COORDINATOR, START).unwrap();
        assert_eq!(lease.grant(OTHER, COORDINATOR, START), None, "one holder at a time");
        lease.expire(START.plus_ms(LEASE_TTL_MS)).unwrap();
        let second = lease.grant(OTHER, COORDINATOR, START).unwrap();
        assert!(second.attempt > first.attempt);
        assert_ne!(second.lease, first.lease);
    }

    #[test]
    fn renewing_in_time_keeps_the_lease_and_renewing_late_does_not() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        let late = START.plus_ms(LEASE_TTL_MS);
        let in_time = START.plus_ms(LEASE_TTL_MS - 1);
        assert_eq!(renew(&mut lease, &WORKER, &item(&grant), in_time), Ok(()));
        assert_eq!(lease.expire(late), None);
        assert!(lease.expire(in_time.plus_ms(LEASE_TTL_MS)).is_some());
        let refused = renew(&mut lease, &WORKER, &item(&grant), late);
        assert_eq!(refused, Err(LeaseRefusal::NotGranted));
    }

    #[test]
    fn case_15_an_old_attempt_of_the_same_peer_is_refused() {
        let mut lease = record();
        let old = lease.grant(WORKER, COORDINATOR, START).unwrap();
        lease.expire(START.plus_ms(LEASE_TTL_MS)).unwrap();
        let other = lease.grant(OTHER, COORDINATOR, START).unwrap();
        lease.release(&OTHER, &item(&other), &ReleaseReason::NoDevice, START);
        lease.grant(WORKER, COORDINATOR, START).unwrap();
        assert_eq!(lease.check_holder(&WORKER, &item(&old)), Err(LeaseRefusal::StaleAttempt));
    }

    #[test]
    fn a_peer_cannot_renew_or_release_what_another_one_holds() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        let refused = LeaseRefusal::NotHolder;
        assert_eq!(renew(&mut lease, &OTHER, &item(&grant), START), Err(refused));
        let released = lease.release(&OTHER, &item(&grant), &ReleaseReason::NoDevice, START);
        assert_eq!(released, LeaseAnswer::Refused(refused));
        let forged = HeldLease { lease: LeaseId([0; 32]), ..item(&grant) };
        assert_eq!(renew(&mut lease, &WORKER, &forged, START), Err(refused));
    }

    #[test]
    fn a_lease_remembers_who_lost_it_last() {
        let mut lease = record();
        assert!(!lease.was_lost_by(&WORKER));
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        lease.release(&WORKER, &item(&grant), &ReleaseReason::NoDevice, START);
        assert!(lease.was_lost_by(&WORKER) && !lease.was_lost_by(&OTHER));
        lease.grant(OTHER, COORDINATOR, START).unwrap();
        lease.expire(START.plus_ms(LEASE_TTL_MS)).unwrap();
        assert!(lease.was_lost_by(&OTHER) && !lease.was_lost_by(&WORKER));
    }

    #[test]
    fn a_repeated_release_changes_nothing() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        let reason = ReleaseReason::RunEnded { ending: Ending::ImageMissing };
        let release =
            |lease: &mut LeaseRecord| lease.release(&WORKER, &item(&grant), &reason, START);
        assert_eq!(release(&mut lease), LeaseAnswer::Accepted);
        assert_eq!(release(&mut lease), LeaseAnswer::AlreadyDone);
        assert_eq!(lease.row().attempt, grant.attempt);
    }

    #[test]
    fn each_cause_has_its_own_budget() {
        let failed = ReleaseReason::RunEnded { ending: Ending::ImageMissing };
        let stopped = ReleaseReason::RunEnded { ending: Ending::Stopped };
        for (reason, most) in [
            (ReleaseReason::NoDevice, NOT_STARTED_MAX),
            (failed, FAULTS_MAX),
            (stopped, WORKERS_LOST_MAX),
        ] {
            let mut lease = record();
            for given in 0..most {
                let grant = lease.grant(WORKER, COORDINATOR, START);
                let grant = grant.unwrap_or_else(|| panic!("{reason:?} ended it after {given}"));
                lease.release(&WORKER, &item(&grant), &reason, START);
            }
            assert!(matches!(lease.row().state, LeaseState::Exhausted { .. }));
            assert_eq!(lease.grant(WORKER, COORDINATOR, START), None);
        }
    }

    fn exhaust(lease: &mut LeaseRecord) {
        for _ in 0..FAULTS_MAX {
            let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
            let reason = ReleaseReason::RunEnded { ending: Ending::ImageMissing };
            lease.release(&WORKER, &item(&grant), &reason, START);
        }
    }

    #[test]
    fn a_person_opens_what_is_exhausted_with_all_budgets_and_a_higher_attempt() {
        let mut lease = record();
        let block = BlockNumber(7);
        assert_eq!(lease.reopen_by_hand(block, START), Err(NotReopened::NotExhausted));
        exhaust(&mut lease);
        let before = lease.reopen_by_hand(block, START).unwrap();
        let spent = Spent { faults: FAULTS_MAX, ..Spent::default() };
        let last = Ending::ImageMissing.to_string();
        assert_eq!(before, Reopened { block, attempt: Attempt(FAULTS_MAX), spent, last });
        assert_eq!((lease.row().spent, lease.open_since()), (Spent::default(), Some(START)));
        assert_eq!(lease.reopen_by_hand(block, START), Err(NotReopened::NotExhausted));
        assert!(!lease.was_lost_by(&WORKER), "it may be who was mended");
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        assert_eq!(grant.attempt, Attempt(FAULTS_MAX + 1));
    }

    #[test]
    fn the_latest_times_that_it_was_opened_again_are_remembered() {
        let mut lease = record();
        for block in 1..=REOPENINGS_KEPT as u64 + 3 {
            exhaust(&mut lease);
            lease.reopen_by_hand(BlockNumber(block), START).unwrap();
        }
        let blocks: Vec<u64> = lease.row().reopened.iter().map(|before| before.block.0).collect();
        assert_eq!(blocks, (4..=REOPENINGS_KEPT as u64 + 3).collect::<Vec<_>>());
    }

    #[test]
    fn a_grant_that_never_starts_ends_although_it_is_renewed() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        let end = START.plus_ms(LEASE_START_MS_MAX);
        let mut now = START;
        while now < end {
            assert_eq!(lease.expire(now), None);
            lease.renew(&WORKER, &item(&grant), HeldStage::Preparing, now).unwrap();
            now = now.plus_ms(LEASE_TTL_MS / 3);
        }
        assert_eq!(lease.expire(end).map(|expired| expired.holder), Some(WORKER));
        assert_eq!(lease.row().spent, Spent { not_started: 1, ..Spent::default() });
    }

    #[test]
    fn what_is_declined_costs_no_attempt_that_counts_and_is_for_others_first() {
        let mut lease = record();
        for _ in 0..2 * NOT_STARTED_MAX {
            let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
            let answer = lease.release(&WORKER, &item(&grant), &ReleaseReason::Declined, START);
            assert_eq!(answer, LeaseAnswer::Accepted);
        }
        assert_eq!((lease.row().spent, lease.open_since()), (Spent::default(), Some(START)));
        assert_eq!(lease.row().attempt, Attempt(2 * NOT_STARTED_MAX));
        assert_eq!((lease.declined_at(&WORKER), lease.declined_at(&OTHER)), (Some(START), None));
    }

    #[test]
    fn a_lease_cannot_be_renewed_for_ever() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        let end = START.plus_ms(TOTAL_MS);
        renew(&mut lease, &WORKER, &item(&grant), end).unwrap();
        assert!(lease.expire(end).is_some());
    }

    fn seal(grant: &Grant, result: u8) -> Seal {
        Seal {
            held: item(grant),
            worker: WORKER,
            result: Digest([result; 32]),
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn a_sealed_result_cannot_be_exchanged_and_outlives_the_run() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        assert_eq!(lease.fix(&WORKER, &seal(&grant, 1), START), LeaseAnswer::Accepted);
        assert_eq!(lease.fix(&WORKER, &seal(&grant, 1), START), LeaseAnswer::AlreadyDone);
        let refused = LeaseAnswer::Refused(LeaseRefusal::SealMismatch);
        assert_eq!(lease.fix(&WORKER, &seal(&grant, 2), START), refused);
        let late = START.plus_ms(TOTAL_MS);
        renew(&mut lease, &WORKER, &item(&grant), late).unwrap();
        assert_eq!(lease.expire(late), None, "it waits for the others");
        assert!(lease.expire(late.plus_ms(LEASE_TTL_MS)).is_some(), "and not for ever");
        let refused = LeaseAnswer::Refused(LeaseRefusal::NotGranted);
        assert_eq!(lease.fix(&WORKER, &seal(&grant, 1), late), refused);
    }

    #[test]
    fn a_seal_stays_known_after_its_receipt_came() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        lease.fix(&WORKER, &seal(&grant, 1), START);
        lease.complete(grant.lease, Digest([3; 32]));
        assert_eq!(lease.seal(), Some(&seal(&grant, 1)));
        assert_eq!(lease.fix(&WORKER, &seal(&grant, 1), START), LeaseAnswer::AlreadyDone);
    }
}
