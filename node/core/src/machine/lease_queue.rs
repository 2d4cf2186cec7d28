//! The leases of this node in the two orders in which they are needed: open ones as they are given
//! out, held ones as they end. Every step costs the logarithm of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::id::Hotkey;
use crate::lease_record::LeaseRecord;
use crate::limits::OPEN_LOOKED_AT_MAX;
use crate::trial::Trial;
use crate::unit::{BlockNumber, MonoMs};

/// One replica of one evaluation.
pub(super) type ReplicaKey = (Trial, u8);

/// Older commitments first.
type OpenKey = (BlockNumber, Trial, u8);

#[derive(Clone, Debug, Default)]
pub(super) struct LeaseQueue {
    open: BTreeSet<OpenKey>,
    ends: BTreeSet<(MonoMs, Trial, u8)>,
    placed: BTreeMap<ReplicaKey, (Option<OpenKey>, Option<MonoMs>)>,
    /// Where to go on looking for a worker that may not take what was looked at: the first one
    /// that was not.
    looked_until: BTreeMap<Hotkey, OpenKey>,
}

impl LeaseQueue {
    /// Puts a replica where it belongs now. Called after every change of its record.
    ///
    /// - `committed_at`: of its submission; `None` if it is not to be given out.
    pub(super) fn place(&mut self, record: &LeaseRecord, committed_at: Option<BlockNumber>) {
        let assignment = &record.row().assignment;
        let key = (assignment.trial(), assignment.replica);
        self.remove(&key);
        let open = committed_at
            .filter(|_| record.open_since().is_some())
            .map(|committed_at| (committed_at, key.0, key.1));
        let end = record.deadline();
        self.open.extend(open);
        self.ends.extend(end.map(|end| (end, key.0, key.1)));
        if open.is_some() || end.is_some() {
            self.placed.insert(key, (open, end));
        }
    }

    pub(super) fn remove(&mut self, key: &ReplicaKey) {
        let Some((open, end)) = self.placed.remove(key) else { return };
        if let Some(open) = open {
            self.open.remove(&open);
        }
        if let Some(end) = end {
            self.ends.remove(&(end, key.0, key.1));
        }
    }

    /// Replicas whose time is over.
    pub(super) fn ended(&self, now: MonoMs) -> Vec<ReplicaKey> {
        let ended = self.ends.iter().take_while(|(end, _, _)| *end <= now);
        ended.map(|(_, trial, replica)| (*trial, *replica)).collect()
    }

    /// Up to `wanted` open replicas that `worker` may take. Looks at a bounded number of them, and
    /// goes on from there the next time, so that what a worker may not take hides nothing for ever.
    pub(super) fn choose(
        &mut self,
        worker: Hotkey,
        wanted: usize,
        may_take: impl Fn(&ReplicaKey) -> bool,
    ) -> Vec<ReplicaKey> {
        let from = self.looked_until.remove(&worker);
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let mut chosen: Vec<ReplicaKey> = Vec::new();
        let mut looked_at = 0_usize;
        for key in self.open.range((start, Bound::Unbounded)) {
            let (_, trial, replica) = *key;
            if chosen.len() >= wanted {
                return chosen;
            }
            if looked_at >= OPEN_LOOKED_AT_MAX {
                self.looked_until.insert(worker, *key);
                return chosen;
            }
            looked_at = looked_at.saturating_add(1);
            // One replica of an evaluation per worker.
            let is_new = chosen.last().is_none_or(|(last, _)| *last != trial);
            if is_new && may_take(&(trial, replica)) {
                chosen.push((trial, replica));
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::Assignment;
    use crate::commitment::Location;
    use crate::id::{Attempt, BlockHash, ContentDigest, Digest};
    use crate::lease::{LeaseRow, LeaseState, Spent};
    use crate::submission::Submission;

    const WORKER: Hotkey = Hotkey([1; 32]);

    /// So many open replicas, one of each submission, the oldest first.
    fn queue(count: usize) -> (LeaseQueue, Vec<ReplicaKey>) {
        let mut queue = LeaseQueue::default();
        let mut keys = Vec::new();
        for block in (1..).take(count) {
            let committed_at = BlockNumber(block);
            let submission = Submission::committed(
                Hotkey([9; 32]),
                committed_at,
                ContentDigest([4; 32]),
                Location::Peers,
                BlockHash([5; 32]),
            );
            let row = LeaseRow {
                assignment: Assignment::derive(&submission, (1, 0), 0, Digest([7; 32])),
                attempt: Attempt(0),
                spent: Spent::default(),
                state: LeaseState::Open,
                reopened: Vec::new(),
            };
            queue.place(&LeaseRecord::resume(row, 1, MonoMs(0)), Some(committed_at));
            keys.push((Trial::first(submission.id), 0));
        }
        (queue, keys)
    }

    #[test]
    fn older_commitments_are_given_out_first() {
        let (mut queue, keys) = queue(5);
        assert_eq!(queue.choose(WORKER, 3, |_| true), keys[..3]);
    }

    #[test]
    fn whatever_a_worker_may_take_it_finds_after_a_few_questions() {
        for place in 0..2 * OPEN_LOOKED_AT_MAX + 3 {
            let (mut queue, keys) = queue(2 * OPEN_LOOKED_AT_MAX + 3);
            let wanted = keys[place];
            let found = (0..4).any(|_| queue.choose(WORKER, 1, |key| *key == wanted) == [wanted]);
            assert!(found, "place {place} is hidden");
        }
    }
}
