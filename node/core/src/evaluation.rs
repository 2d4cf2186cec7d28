//! The coordinator's side of one evaluation: its replicas, who may take which, and when their
//! results may be shown.
//!
//! Synchronous, without a clock and without a network. Which receipts count, and so how many
//! replicas are needed, is for `round`; one lease is `lease_record`.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::Assignment;
use crate::id::{Attempt, Digest, Hotkey};
use crate::lease::{LeaseRow, LeaseState, Seal, Spent};
use crate::lease_record::LeaseRecord;
use crate::limits::REPLICA_NUMBERS_MAX;
use crate::unit::MonoMs;

/// One submission in one tier, as this node coordinates it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    replicas: BTreeMap<u8, LeaseRecord>,
}

impl Evaluation {
    /// Adds a stored replica.
    pub fn insert(&mut self, record: LeaseRecord) {
        self.replicas.insert(record.row().assignment.replica, record);
    }

    /// Its replicas, in order.
    pub fn replicas(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.replicas.values()
    }

    /// One replica.
    #[must_use]
    pub fn replica(&self, number: u8) -> Option<&LeaseRecord> {
        self.replicas.get(&number)
    }

    /// One replica, to change it.
    pub fn replica_mut(&mut self, number: u8) -> Option<&mut LeaseRecord> {
        self.replicas.get_mut(&number)
    }

    /// Opens replicas until those without a result and the workers that already have one are as
    /// many as `needed`. Returns the new numbers.
    ///
    /// - `claimants`: workers whose receipts count, whoever coordinated them.
    /// - `assignment`: derives the assignment of a replica.
    /// - `total_ms`: longest time from a grant of it to its end.
    pub fn open(
        &mut self,
        needed: usize,
        claimants: &BTreeSet<Hotkey>,
        assignment: impl Fn(u8) -> Assignment,
        total_ms: u64,
        now: MonoMs,
    ) -> Vec<u8> {
        // What is exhausted keeps its place: its budget is all that the evaluation gets.
        let is_wanted = |record: &&LeaseRecord| {
            // What a worker with a known result holds brings nothing new.
            let is_known = record.holder().is_some_and(|holder| claimants.contains(&holder));
            !is_complete(record) && !is_known
        };
        let taken = self.replicas.values().filter(is_wanted).count();
        let missing = needed.saturating_sub(claimants.len()).saturating_sub(taken);
        // A number stands for one assignment for ever.
        let numbers = (0..REPLICA_NUMBERS_MAX).filter(|number| !self.replicas.contains_key(number));
        let opened: Vec<u8> = numbers.take(missing).collect();
        for number in &opened {
            let row = LeaseRow {
                assignment: assignment(*number),
                attempt: Attempt(0),
                spent: Spent::default(),
                state: LeaseState::Open,
                reopened: Vec::new(),
            };
            self.replicas.insert(*number, LeaseRecord::resume(row, total_ms, now));
        }
        opened
    }

    /// Whether `peer` may take one more replica: it holds none, completed none, and has no receipt
    /// that counts.
    #[must_use]
    pub fn may_take(&self, peer: &Hotkey, claimants: &BTreeSet<Hotkey>) -> bool {
        let takes_part = |record: &LeaseRecord| {
            record.holder() == Some(*peer) || record.seal().is_some_and(|seal| seal.worker == *peer)
        };
        !claimants.contains(peer) && !self.replicas.values().any(takes_part)
    }

    /// Whether somebody could still hand in another result after seeing those that are here: who
    /// has fixed none; who has fixed one and not shown it, as its lease may end unshown and another
    /// one may follow; and who gets elsewhere, or later, what is exhausted here.
    #[must_use]
    pub fn has_unshown(&self) -> bool {
        let is_shown =
            |record: &LeaseRecord| matches!(record.row().state, LeaseState::Complete { .. });
        self.replicas.values().any(|record| !is_shown(record))
    }

    /// Whether evidence with this digest was accepted under a lease of it.
    #[must_use]
    pub fn has_accepted(&self, digest: &Digest) -> bool {
        self.replicas.values().any(|record| {
            let state = &record.row().state;
            matches!(state, LeaseState::Complete { evidence, .. } if evidence == digest)
        })
    }

    /// Removes the replicas that were never given to anybody, and returns them. Those that were
    /// keep their attempt.
    pub fn drop_unused(&mut self) -> Vec<LeaseRecord> {
        let is_unused = |record: &LeaseRecord| {
            let row = record.row();
            row.state == LeaseState::Open && row.attempt == Attempt(0)
        };
        let unused: Vec<u8> =
            self.replicas.iter().filter(|(_, r)| is_unused(r)).map(|(n, _)| *n).collect();
        unused.iter().filter_map(|number| self.replicas.remove(number)).collect()
    }

    /// Seals of all replicas, in order.
    #[must_use]
    pub fn seals(&self) -> Vec<Seal> {
        self.replicas.values().filter_map(LeaseRecord::seal).copied().collect()
    }

    /// Whether results may be shown: as many workers as are `needed` have fixed theirs.
    #[must_use]
    pub fn is_revealing(&self, needed: usize, claimants: &BTreeSet<Hotkey>) -> bool {
        let sealed = self.replicas.values().filter_map(LeaseRecord::seal).map(|seal| seal.worker);
        let fixed: BTreeSet<Hotkey> = sealed.chain(claimants.iter().copied()).collect();
        // With nothing more to come there is nothing to wait for.
        fixed.len() >= needed || !self.replicas.values().any(is_running)
    }
}

/// Whether somebody may still fix a result under it.
fn is_running(record: &LeaseRecord) -> bool {
    matches!(record.row().state, LeaseState::Open | LeaseState::Granted { .. })
}

fn is_complete(record: &LeaseRecord) -> bool {
    matches!(record.row().state, LeaseState::Complete { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commitment::Location;
    use crate::id::{BlockHash, ContentDigest, Signature};
    use crate::lease::{Grant, HeldLease, LeaseAnswer};
    use crate::submission::Submission;
    use crate::unit::BlockNumber;

    const COORDINATOR: Hotkey = Hotkey([1; 32]);
    const A: Hotkey = Hotkey([2; 32]);
    const B: Hotkey = Hotkey([3; 32]);
    const TOTAL_MS: u64 = 60 * 60 * 1000;
    const NOW: MonoMs = MonoMs(0);

    fn assignment(replica: u8) -> Assignment {
        let submission = Submission::committed(
            Hotkey([9; 32]),
            BlockNumber(1),
            ContentDigest([4; 32]),
            Location::Peers,
            BlockHash([5; 32]),
        );
        Assignment::derive(&submission, (1, 0), replica, Digest([7; 32]))
    }

    fn nobody() -> BTreeSet<Hotkey> {
        BTreeSet::new()
    }

    fn opened(needed: usize) -> Evaluation {
        let mut evaluation = Evaluation::default();
        evaluation.open(needed, &nobody(), assignment, TOTAL_MS, NOW);
        evaluation
    }

    fn grant(evaluation: &mut Evaluation, replica: u8, worker: Hotkey) -> Grant {
        evaluation.replica_mut(replica).unwrap().grant(worker, COORDINATOR, NOW).unwrap()
    }

    fn seal(evaluation: &mut Evaluation, grant: &Grant, worker: Hotkey) {
        let held = HeldLease {
            assignment: grant.assignment.id,
            lease: grant.lease,
            attempt: grant.attempt,
        };
        let seal =
            Seal { held, worker, result: Digest([worker.0[0]; 32]), signature: Signature([0; 64]) };
        let record = evaluation.replica_mut(grant.assignment.replica).unwrap();
        assert_eq!(record.fix(&worker, &seal, NOW), LeaseAnswer::Accepted);
    }

    #[test]
    fn as_many_replicas_are_opened_as_are_missing() {
        let mut evaluation = opened(2);
        assert_eq!(evaluation.replicas().count(), 2);
        assert_eq!(evaluation.open(2, &nobody(), assignment, TOTAL_MS, NOW), Vec::<u8>::new());
        let claimants = BTreeSet::from([B]);
        assert_eq!(Evaluation::default().open(2, &claimants, assignment, TOTAL_MS, NOW), vec![0]);
        assert_eq!(
            evaluation.open(3, &nobody(), assignment, TOTAL_MS, NOW),
            vec![2],
            "one more evaluator"
        );
    }

    #[test]
    fn what_a_worker_with_a_known_result_holds_does_not_stand_for_another_one() {
        let mut evaluation = opened(2);
        grant(&mut evaluation, 0, A);
        grant(&mut evaluation, 1, B);
        // Both had a result elsewhere, and they disagree.
        let claimants = BTreeSet::from([A, B]);
        assert_eq!(evaluation.open(3, &claimants, assignment, TOTAL_MS, NOW), vec![2]);
        assert_eq!(evaluation.open(3, &claimants, assignment, TOTAL_MS, NOW), Vec::<u8>::new());
    }

    #[test]
    fn a_worker_takes_one_replica_of_an_evaluation() {
        let mut evaluation = opened(2);
        assert!(evaluation.may_take(&A, &nobody()));
        let granted = grant(&mut evaluation, 0, A);
        assert!(!evaluation.may_take(&A, &nobody()) && evaluation.may_take(&B, &nobody()));
        seal(&mut evaluation, &granted, A);
        evaluation.replica_mut(0).unwrap().complete(granted.lease, Digest([0; 32]));
        assert!(!evaluation.may_take(&A, &nobody()), "its receipt came");
        assert!(!evaluation.may_take(&B, &BTreeSet::from([B])), "it has one from elsewhere");
    }

    #[test]
    fn results_are_shown_once_all_are_fixed() {
        let mut evaluation = opened(2);
        let first = grant(&mut evaluation, 0, A);
        let second = grant(&mut evaluation, 1, B);
        seal(&mut evaluation, &first, A);
        assert!(!evaluation.is_revealing(2, &nobody()));
        assert!(evaluation.is_revealing(1, &nobody()), "alone there is nothing to wait for");
        assert!(evaluation.is_revealing(2, &BTreeSet::from([B])), "the other one is known");
        seal(&mut evaluation, &second, B);
        assert!(evaluation.is_revealing(2, &nobody()));
        assert_eq!(evaluation.seals().iter().map(|seal| seal.worker).collect::<Vec<_>>(), [A, B]);
    }

    #[test]
    fn what_is_sealed_and_not_shown_can_still_be_exchanged_for_something_else() {
        let mut evaluation = opened(1);
        assert!(evaluation.has_unshown());
        let granted = grant(&mut evaluation, 0, A);
        assert!(evaluation.has_unshown());
        seal(&mut evaluation, &granted, A);
        assert!(evaluation.has_unshown());
        evaluation.replica_mut(0).unwrap().complete(granted.lease, Digest([0; 32]));
        assert!(!evaluation.has_unshown());
    }

    #[test]
    fn what_is_exhausted_here_somebody_may_still_get_elsewhere() {
        let mut evaluation = Evaluation::default();
        evaluation.insert(LeaseRecord::resume(
            LeaseRow {
                assignment: assignment(0),
                attempt: Attempt(5),
                spent: Spent::default(),
                state: LeaseState::Exhausted { last: "worker_lost".to_owned() },
                reopened: Vec::new(),
            },
            TOTAL_MS,
            NOW,
        ));
        assert!(evaluation.has_unshown());
    }

    #[test]
    fn a_number_is_never_given_to_another_assignment() {
        let mut evaluation = opened(1);
        let granted = grant(&mut evaluation, 0, A);
        seal(&mut evaluation, &granted, A);
        evaluation.replica_mut(0).unwrap().complete(granted.lease, Digest([0; 32]));
        // The receipt stopped counting: somebody else has to run.
        assert_eq!(evaluation.open(1, &nobody(), assignment, TOTAL_MS, NOW), vec![1]);
    }
}
