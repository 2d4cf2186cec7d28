//! Requests of one share with equal needs, in the order of the queue, and by how long they may run.
//!
//! The first of all is known, and so is the first of those that end within a time, which is what
//! back-fill asks for: limits are kept in classes of a quarter octave, each in order.

use std::collections::BTreeSet;

use crate::limits::{BACKFILL_LOOKED_AT_MAX, RUN_LIMIT_MS_MAX};

use super::bits::Mask;
use super::request::Rank;

/// Limits below this are one class, ms.
const SHORT_MS: u64 = 1 << SHORT_LOG2;
const SHORT_LOG2: u32 = 11;
const CLASSES: usize = 64;
const _: () = assert!(class_of(RUN_LIMIT_MS_MAX) < CLASSES);

/// The class of a limit; a longer limit never has a smaller class.
const fn class_of(limit_ms: u64) -> usize {
    if limit_ms < SHORT_MS {
        return 0;
    }
    let log2 = limit_ms.ilog2();
    let quarter = limit_ms.wrapping_shr(log2.wrapping_sub(2)) & 3;
    let octave = log2.wrapping_sub(SHORT_LOG2) as usize;
    octave.wrapping_mul(4).wrapping_add(quarter as usize).wrapping_add(1)
}

/// A request in the order of its line.
pub(super) type Waiting = (Rank, u64);

#[derive(Clone, Debug)]
pub(super) struct Line {
    by_limit: Vec<BTreeSet<Waiting>>,
    /// The first of each class.
    heads: Vec<Option<Waiting>>,
    filled: Mask,
    first: Option<Rank>,
}

impl Line {
    pub(super) fn new() -> Self {
        let by_limit = vec![BTreeSet::new(); CLASSES];
        Self { by_limit, heads: vec![None; CLASSES], filled: Mask::default(), first: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    pub(super) fn insert(&mut self, rank: Rank, limit_ms: u64) {
        self.change(class_of(limit_ms), |set| set.insert((rank, limit_ms)));
    }

    pub(super) fn remove(&mut self, rank: Rank, limit_ms: u64) {
        self.change(class_of(limit_ms), |set| set.remove(&(rank, limit_ms)));
    }

    fn change(&mut self, class: usize, change: impl FnOnce(&mut BTreeSet<Waiting>) -> bool) {
        let Some(set) = self.by_limit.get_mut(class) else { return };
        change(set);
        let head = set.first().copied();
        let bit = Mask::one(class);
        self.filled = if head.is_some() { self.filled.or(bit) } else { self.filled.without(bit) };
        if let Some(slot) = self.heads.get_mut(class) {
            *slot = head;
        }
        self.first = self.heads_of(self.filled).map(|(rank, _)| rank).min();
    }

    /// The first of all.
    pub(super) fn first(&self) -> Option<Rank> {
        self.first
    }

    /// The first of those with a limit of at most `limit_ms`. Of the class in which that lies, the
    /// first [`BACKFILL_LOOKED_AT_MAX`] are looked at.
    pub(super) fn first_within(&self, limit_ms: u64) -> Option<Rank> {
        let class = class_of(limit_ms);
        let shorter = self.heads_of(self.filled.and(Mask::first(class)));
        let equal = self.by_limit.get(class).into_iter().flatten().take(BACKFILL_LOOKED_AT_MAX);
        let equal = equal.copied().find(|(_, limit)| *limit <= limit_ms);
        shorter.chain(equal).map(|(rank, _)| rank).min()
    }

    /// Requests before this one.
    pub(super) fn before(&self, rank: Rank) -> usize {
        self.by_limit.iter().map(|set| set.range(..(rank, 0)).count()).sum()
    }

    fn heads_of(&self, classes: Mask) -> impl Iterator<Item = Waiting> + '_ {
        classes.bits().filter_map(|class| self.heads.get(class).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::DeviceKind;
    use crate::placement::request::{Needs, Request, ShareId, Ticket};
    use crate::unit::MonoMs;

    fn rank(ticket: u64) -> Rank {
        let needs = Needs { kind: DeviceKind::Gpu, memory_mib: 1, count: 1, image: None };
        let request = Request {
            share: ShareId(0),
            priority: 0,
            submitted_at: MonoMs(0),
            needs,
            limit_ms: 1,
            content: None,
        };
        request.rank(Ticket(ticket))
    }

    #[test]
    fn a_longer_limit_never_has_a_smaller_class() {
        let mut last = 0;
        for limit_ms in (0..RUN_LIMIT_MS_MAX).step_by(97) {
            assert!(class_of(limit_ms) >= last);
            last = class_of(limit_ms);
        }
        assert!(last > 50, "{last}");
    }

    #[test]
    fn the_first_that_ends_within_a_time_is_found_before_earlier_ones_that_do_not() {
        let mut line = Line::new();
        for (ticket, limit_ms) in [(1, 600_001), (2, 600_000), (3, 1_000), (4, 600_000)] {
            line.insert(rank(ticket), limit_ms);
        }
        assert_eq!(line.first(), Some(rank(1)));
        assert_eq!(line.first_within(600_000), Some(rank(2)));
        assert_eq!(line.first_within(599_999), Some(rank(3)));
        assert_eq!(line.first_within(999), None);
        assert_eq!(line.before(rank(3)), 2);
        for (ticket, limit_ms) in [(1, 600_001), (3, 1_000), (2, 600_000)] {
            line.remove(rank(ticket), limit_ms);
        }
        assert_eq!((line.first(), line.first_within(1_000)), (Some(rank(4)), None));
        line.remove(rank(4), 600_000);
        assert!(line.is_empty());
    }
}
