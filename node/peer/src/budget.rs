//! A number of places, with a share per key that nobody can exceed: connections by address, calls
//! and streams by hotkey.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Places, all together and per key. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Budget<K: Ord + Copy> {
    total_max: u32,
    each_max: u32,
    // Guards are dropped in whatever task ends a call, so the counts cannot live in one task. The
    // lock is held for a map operation and never across an await.
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    total: u32,
    by_key: BTreeMap<K, u32>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Ord + Copy> {
    key: K,
    budget: Budget<K>,
}

impl<K: Ord + Copy> Budget<K> {
    pub(crate) fn new(total_max: u32, each_max: u32) -> Self {
        let taken = Taken { total: 0, by_key: BTreeMap::new() };
        Self { total_max, each_max, taken: Arc::new(Mutex::new(taken)) }
    }

    /// Takes a place for `key`; `None` if all, or all of its own, are taken.
    pub(crate) fn take(&self, key: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_key.get(&key).copied().unwrap_or(0);
        if taken.total >= self.total_max || own >= self.each_max {
            return None;
        }
        taken.total += 1;
        taken.by_key.insert(key, own + 1);
        Some(Place { key, budget: self.clone() })
    }
}

impl<K: Ord + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        let own = taken.by_key.get(&self.key).copied().unwrap_or(0);
        if own <= 1 {
            taken.by_key.remove(&self.key);
        } else {
            taken.by_key.insert(self.key, own - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_its_share_and_all_together_not_more_than_there_is() {
        let budget = Budget::new(3, 2);
        let _first = budget.take('a').unwrap();
        let second = budget.take('a').unwrap();
        assert!(budget.take('a').is_none());
        let _third = budget.take('b').unwrap();
        assert!(budget.take('b').is_none(), "the budget is spent");
        drop(second);
        assert!(budget.take('b').is_some());
    }

    #[test]
    fn a_key_without_places_leaves_no_trace() {
        let budget = Budget::new(8, 8);
        for key in 0..100 {
            drop(budget.take(key));
        }
        let taken = budget.taken.lock().unwrap();
        assert_eq!((taken.total, taken.by_key.len()), (0, 0));
    }
}
