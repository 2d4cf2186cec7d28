//! The leases of this node in the two orders in which they are needed: open ones as they are given
//! out, held ones as they end. Every step costs the logarithm of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::id::{Hotkey, SubmissionId};
use crate::lease_record::LeaseRecord;
use crate::limits::OPEN_LOOKED_AT_MAX;
use crate::unit::{BlockNumber, MonoMs};

/// One replica of one evaluation.
pub(super) type ReplicaKey = (SubmissionId, u8);

/// Older commitments first.
type OpenKey = (BlockNumber, SubmissionId, u8);

#[derive(Clone, Debug, Default)]
pub(super) struct LeaseQueue {
    open: BTreeSet<OpenKey>,
    ends: BTreeSet<(MonoMs, SubmissionId, u8)>,
    placed: BTreeMap<ReplicaKey, (Option<OpenKey>, Option<MonoMs>)>,
    /// Where to go on looking for a worker that may not take what was looked at.
    looked_until: BTreeMap<Hotkey, OpenKey>,
}

impl LeaseQueue {
    /// Puts a replica where it belongs now. Called after every change of its record.
    ///
    /// - `committed_at`: of its submission; `None` if it is not to be given out.
    pub(super) fn place(&mut self, record: &LeaseRecord, committed_at: Option<BlockNumber>) {
        let assignment = &record.row().assignment;
        let key = (assignment.submission, assignment.replica);
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
        ended.map(|(_, submission, replica)| (*submission, *replica)).collect()
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
        let start = from.map_or(Bound::Unbounded, Bound::Excluded);
        let mut chosen: Vec<ReplicaKey> = Vec::new();
        let mut looked_at = 0_usize;
        for key in self.open.range((start, Bound::Unbounded)) {
            let (_, submission, replica) = *key;
            if chosen.len() >= wanted {
                return chosen;
            }
            if looked_at >= OPEN_LOOKED_AT_MAX {
                self.looked_until.insert(worker, *key);
                return chosen;
            }
            looked_at = looked_at.saturating_add(1);
            // One replica of an evaluation per worker.
            let is_new = chosen.last().is_none_or(|(last, _)| *last != submission);
            if is_new && may_take(&(submission, replica)) {
                chosen.push((submission, replica));
            }
        }
        chosen
    }
}
