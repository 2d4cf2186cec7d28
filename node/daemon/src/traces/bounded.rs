//! A map with a bound.

use std::collections::BTreeMap;

/// A map that lets go of what it took first when it is full.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    entries_max: usize,
    taken: u64,
    /// With the place in the order of taking.
    entries: BTreeMap<K, (u64, V)>,
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries_max, taken: 0, entries: BTreeMap::new() }
    }

    /// Takes an entry, in place of one with the same key. Returns what had to go for it.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.taken = self.taken.saturating_add(1);
        let replaced = self.entries.insert(key, (self.taken, value));
        let is_full = self.entries.len() > self.entries_max;
        let oldest = is_full.then(|| {
            let first = self.entries.iter().min_by_key(|(_, (taken, _))| *taken);
            first.map(|(key, _)| key.clone())
        });
        let displaced = oldest.flatten().and_then(|key| self.entries.remove(&key));
        replaced.or(displaced).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_lets_go_of_what_it_took_first() {
        let mut map = Bounded::new(2);
        assert_eq!(map.insert(9, "first"), None);
        assert_eq!(map.insert(1, "second"), None);
        assert_eq!(map.insert(5, "third"), Some("first"));
        assert!(!map.contains(&9) && map.contains(&1) && map.contains(&5));
        assert_eq!(map.remove(&1), Some("second"));
        assert_eq!(map.insert(9, "fourth"), None);
    }

    #[test]
    fn an_entry_with_the_same_key_is_replaced_and_is_the_newest_then() {
        let mut map = Bounded::new(2);
        map.insert(1, "first");
        map.insert(2, "second");
        assert_eq!(map.insert(1, "again"), Some("first"));
        assert_eq!(map.insert(3, "third"), Some("second"));
        assert_eq!(map.get_mut(&1).copied(), Some("again"));
    }
}
