//! The coordinator's side of one lease: who may run the assignment now, and until when.
//!
//! Synchronous, without a clock: the caller passes the time in. Every transition returns the row
//! to persist before the answer leaves. Time is not persisted: after a restart every granted lease
//! gets a whole TTL, because its holder could not renew while we were away.
//!
//! Not here: the words (`lease`), and whether a receipt's content is right (`round`).

use crate::id::{Attempt, Hotkey};
use crate::lease::{
    lease_id, Grant, LeaseAnswer, LeaseRefusal, LeaseRow, LeaseState, ReleaseReason, RenewItem,
};
use crate::limits::{ATTEMPTS_MAX, LEASE_TOTAL_MS_MAX, LEASE_TTL_MS};
use crate::outcome::Fault;
use crate::unit::MonoMs;

/// A [`LeaseRow`] with its clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    row: LeaseRow,
    opened_at: MonoMs,
    /// Who held it last and lost it or gave it back, in this life of the process.
    lost_by: Option<Hotkey>,
    expires_at: MonoMs,
    ends_at: MonoMs,
}

/// What passing time did to a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expired {
    /// It is open again.
    Reopened {
        /// Who lost it.
        holder: Hotkey,
    },
    /// It was the last attempt.
    Exhausted {
        /// Who lost it.
        holder: Hotkey,
    },
}

impl LeaseRecord {
    /// A record as it was stored, or a new one; all clocks start now.
    #[must_use]
    pub fn resume(row: LeaseRow, now: MonoMs) -> Self {
        Self {
            row,
            opened_at: now,
            lost_by: None,
            expires_at: now.plus_ms(LEASE_TTL_MS),
            ends_at: now.plus_ms(LEASE_TOTAL_MS_MAX),
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
        self.ends_at = now.plus_ms(LEASE_TOTAL_MS_MAX);
        Some(Grant {
            lease,
            assignment: self.row.assignment.clone(),
            attempt,
            coordinator,
            ttl_ms: LEASE_TTL_MS,
            total_ms: LEASE_TOTAL_MS_MAX,
        })
    }

    /// Whether `peer` holds the lease under exactly this attempt.
    ///
    /// # Errors
    ///
    /// [`LeaseRefusal::StaleAttempt`] for an older attempt, [`LeaseRefusal::NotHolder`] for
    /// another peer, [`LeaseRefusal::NotGranted`] if nobody holds it,
    /// [`LeaseRefusal::AlreadySettled`] once it is complete.
    pub fn check_holder(&self, peer: &Hotkey, item: &RenewItem) -> Result<(), LeaseRefusal> {
        match &self.row.state {
            LeaseState::Complete { .. } => Err(LeaseRefusal::AlreadySettled),
            _ if item.attempt < self.row.attempt => Err(LeaseRefusal::StaleAttempt),
            LeaseState::Open | LeaseState::Exhausted { .. } => Err(LeaseRefusal::NotGranted),
            LeaseState::Granted { lease, holder } => {
                if holder == peer && *lease == item.lease && item.attempt == self.row.attempt {
                    Ok(())
                } else {
                    Err(LeaseRefusal::NotHolder)
                }
            }
        }
    }

    /// Prolongs the lease by a TTL, never beyond its total time. Nothing to persist.
    pub fn renew(&mut self, peer: &Hotkey, item: &RenewItem, now: MonoMs) -> LeaseAnswer {
        match self.check_holder(peer, item) {
            Ok(()) => {
                self.expires_at = now.plus_ms(LEASE_TTL_MS).min(self.ends_at);
                LeaseAnswer::Accepted
            }
            Err(refusal) => LeaseAnswer::Refused(refusal),
        }
    }

    /// Opens the lease again because its holder gives it back. A fault of the machine counts
    /// against the attempts; a repeat is [`LeaseAnswer::AlreadyDone`].
    pub fn release(
        &mut self,
        peer: &Hotkey,
        item: &RenewItem,
        reason: &ReleaseReason,
        now: MonoMs,
    ) -> LeaseAnswer {
        let is_repeat = item.attempt == self.row.attempt
            && matches!(self.row.state, LeaseState::Open | LeaseState::Exhausted { .. });
        if is_repeat {
            return LeaseAnswer::AlreadyDone;
        }
        if let Err(refusal) = self.check_holder(peer, item) {
            return LeaseAnswer::Refused(refusal);
        }
        let what = match reason {
            ReleaseReason::NoDevice => "no device was free".to_owned(),
            ReleaseReason::ContentMissing => "the content could not be had".to_owned(),
            ReleaseReason::RunEnded { ending } => {
                debug_assert!(!matches!(ending.fault(), Fault::None | Fault::Submission));
                ending.to_string()
            }
        };
        self.reopen(what, now);
        LeaseAnswer::Accepted
    }

    /// Marks the assignment as settled by this evidence.
    pub fn settle(&mut self, item: &RenewItem, evidence: crate::id::Digest) {
        self.row.state = LeaseState::Complete { lease: item.lease, evidence };
    }

    /// Takes the lease away from a holder that did not renew.
    pub fn expire(&mut self, now: MonoMs) -> Option<Expired> {
        let LeaseState::Granted { holder, .. } = self.row.state else { return None };
        if now < self.expires_at {
            return None;
        }
        self.reopen(format!("{holder} did not renew"), now);
        Some(match self.row.state {
            LeaseState::Exhausted { .. } => Expired::Exhausted { holder },
            LeaseState::Open | LeaseState::Granted { .. } | LeaseState::Complete { .. } => {
                Expired::Reopened { holder }
            }
        })
    }

    fn reopen(&mut self, last: String, now: MonoMs) {
        self.opened_at = now;
        if let LeaseState::Granted { holder, .. } = self.row.state {
            self.lost_by = Some(holder);
        }
        self.row.state = if self.row.attempt < Attempt(ATTEMPTS_MAX) {
            LeaseState::Open
        } else {
            LeaseState::Exhausted { last }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::Assignment;
    use crate::id::{AssignmentId, ContentDigest, Digest, LeaseId, SubmissionId};
    use crate::outcome::Ending;

    const COORDINATOR: Hotkey = Hotkey([1; 32]);
    const WORKER: Hotkey = Hotkey([2; 32]);
    const OTHER: Hotkey = Hotkey([3; 32]);
    const START: MonoMs = MonoMs(1_000);

    fn record() -> LeaseRecord {
        let assignment = Assignment {
            id: AssignmentId([9; 32]),
            submission: SubmissionId([8; 32]),
            content: ContentDigest([7; 32]),
            tier: 1,
            replica: 0,
            seed: Digest([6; 32]),
            policy: Digest([5; 32]),
        };
        let row = LeaseRow { assignment, attempt: Attempt(0), state: LeaseState::Open };
        LeaseRecord::resume(row, START)
    }

    fn item(grant: &Grant) -> RenewItem {
        RenewItem { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt }
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
        assert_eq!(lease.renew(&WORKER, &item(&grant), in_time), LeaseAnswer::Accepted);
        assert_eq!(lease.expire(late), None);
        assert!(lease.expire(in_time.plus_ms(LEASE_TTL_MS)).is_some());
        assert_eq!(
            lease.renew(&WORKER, &item(&grant), late),
            LeaseAnswer::Refused(LeaseRefusal::NotGranted)
        );
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
        let refused = LeaseAnswer::Refused(LeaseRefusal::NotHolder);
        assert_eq!(lease.renew(&OTHER, &item(&grant), START), refused);
        assert_eq!(lease.release(&OTHER, &item(&grant), &ReleaseReason::NoDevice, START), refused);
        let forged = RenewItem { lease: LeaseId([0; 32]), ..item(&grant) };
        assert_eq!(lease.renew(&WORKER, &forged, START), refused);
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
    fn attempts_are_bounded() {
        let mut lease = record();
        for _ in 0..ATTEMPTS_MAX {
            lease.grant(WORKER, COORDINATOR, START).unwrap();
            lease.expire(START.plus_ms(LEASE_TTL_MS)).unwrap();
        }
        assert!(matches!(lease.row().state, LeaseState::Exhausted { .. }));
        assert_eq!(lease.grant(WORKER, COORDINATOR, START), None);
    }

    #[test]
    fn a_lease_cannot_be_renewed_for_ever() {
        let mut lease = record();
        let grant = lease.grant(WORKER, COORDINATOR, START).unwrap();
        let end = START.plus_ms(LEASE_TOTAL_MS_MAX);
        lease.renew(&WORKER, &item(&grant), end);
        assert!(lease.expire(end).is_some());
    }
}
