//! The index of the freezer: where each of its records is.
//!
//! The database keeps something of each of its pages in memory, and a page has a dozen records.
//! With one record for each place a million receipts took 18 MiB of every node's memory. So places
//! are in drawers: all those of submissions whose ids begin alike, in one record of the database.

use std::collections::BTreeMap;

use crate::envelope;
use crate::error::StateFault;
use crate::freezer::{Key, Place};

const DRAWER_VERSION: u8 = 1;

/// Places of a drawer; further ones go to the next one of that beginning. Lower: more records.
/// Higher: more is written for each place.
const PLACES_IN_DRAWER_MAX: usize = 1_024;

/// Bytes of a submission's id by which drawers are told apart.
const BEGINNING_BYTES: usize = 2;

const KEY_BYTES: usize = size_of::<Key>();
const ENTRY_BYTES: usize = KEY_BYTES + size_of::<u32>() + size_of::<u64>();
const _: () = assert!(PLACES_IN_DRAWER_MAX * ENTRY_BYTES < crate::record::RECORD_BYTES_MAX);

/// How the ids of a drawer's submissions begin.
pub(crate) type Beginning = [u8; BEGINNING_BYTES];

/// The beginning of the submission of a place.
pub(crate) fn beginning_of(submission: &[u8; 32]) -> Beginning {
    let [first, second, ..] = *submission;
    [first, second]
}

/// The beginning of what a key of the freezer is of.
pub(crate) fn beginning_of_key(key: &Key) -> Beginning {
    let [first, second, ..] = *key;
    [first, second]
}

/// Under what a drawer is kept: its beginning, and its number among those of that beginning.
pub(crate) fn drawer_key(beginning: Beginning, number: u16) -> [u8; BEGINNING_BYTES + 2] {
    let ([first, second], [high, low]) = (beginning, number.to_be_bytes());
    [first, second, high, low]
}

/// The beginning of the submissions of a drawer, from its key.
///
/// # Errors
///
/// [`StateFault::Corrupt`] if it is no such key.
pub(crate) fn beginning_of_drawer(key: &[u8]) -> Result<Beginning, StateFault> {
    let is_whole = key.len() == BEGINNING_BYTES + 2;
    key.first_chunk().copied().filter(|_| is_whole).ok_or_else(no_drawer)
}

/// Places of submissions whose ids begin alike.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Drawer(BTreeMap<Key, Place>);

impl Drawer {
    /// Reads the record of a drawer.
    ///
    /// # Errors
    ///
    /// [`StateFault::Corrupt`] if it is damaged, [`StateFault::Foreign`] if a newer build wrote it.
    pub(crate) fn read(record: &[u8]) -> Result<Self, StateFault> {
        let (version, payload) = envelope::unseal(record).map_err(|_| no_drawer())?;
        if version > DRAWER_VERSION {
            let detail = format!("the index of the freezer has version {version}");
            return Err(StateFault::Foreign { detail });
        }
        let (entries, rest) = payload.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(no_drawer());
        }
        entries.iter().map(read_entry).collect::<Option<_>>().map(Self).ok_or_else(no_drawer)
    }

    /// The record of it: `[version, checksum] ([key] [segment: u32] [offset: u64])…`, the numbers
    /// little endian, ascending by their keys.
    pub(crate) fn sealed(&self) -> Vec<u8> {
        let entry = |(key, place): (&Key, &Place)| {
            let Place { segment, offset } = place;
            [key.as_slice(), &segment.to_le_bytes(), &offset.to_le_bytes()].concat()
        };
        let payload: Vec<u8> = self.0.iter().flat_map(entry).collect();
        envelope::seal(DRAWER_VERSION, &payload)
    }

    /// Whether a place under this key belongs here: it is here already, or there is room.
    pub(crate) fn takes(&self, key: &Key) -> bool {
        self.0.len() < PLACES_IN_DRAWER_MAX || self.0.contains_key(key)
    }

    /// Takes in a place, instead of an earlier one under the same key.
    pub(crate) fn put(&mut self, key: Key, place: Place) {
        self.0.insert(key, place);
    }

    /// All of them, ascending by their keys.
    pub(crate) fn into_places(self) -> impl Iterator<Item = (Key, Place)> {
        self.0.into_iter()
    }
}

fn read_entry(entry: &[u8; ENTRY_BYTES]) -> Option<(Key, Place)> {
    let (key, rest) = entry.split_first_chunk::<KEY_BYTES>()?;
    let (segment, rest) = rest.split_first_chunk()?;
    let (offset, _) = rest.split_first_chunk()?;
    let (segment, offset) = (u32::from_le_bytes(*segment), u64::from_le_bytes(*offset));
    Some((*key, Place { segment, offset }))
}

fn no_drawer() -> StateFault {
    StateFault::Corrupt { detail: "the index of the freezer has a record that is none".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: usize) -> (Key, Place) {
        let n = u32::try_from(n).unwrap();
        let mut key = [7; KEY_BYTES];
        key[28..32].copy_from_slice(&n.to_be_bytes());
        (key, Place { segment: n, offset: u64::from(n) << 33 })
    }

    #[test]
    fn a_drawer_is_read_as_it_was_written_and_takes_so_many_places() {
        let mut drawer = Drawer::default();
        for n in 0..PLACES_IN_DRAWER_MAX {
            let (key, place) = place(n);
            assert!(drawer.takes(&key));
            drawer.put(key, place);
        }
        assert!(!drawer.takes(&place(PLACES_IN_DRAWER_MAX).0) && drawer.takes(&place(0).0));
        assert_eq!(Drawer::read(&drawer.sealed()).unwrap(), drawer);
        assert_eq!(Drawer::read(&Drawer::default().sealed()).unwrap(), Drawer::default());
    }

    #[test]
    fn what_is_no_drawer_is_refused() {
        let mut drawer = Drawer::default();
        let (key, place) = place(1);
        drawer.put(key, place);
        let mut damaged = drawer.sealed();
        damaged[9] ^= 1;
        let newer = envelope::seal(DRAWER_VERSION + 1, &[]);
        let cut = envelope::seal(DRAWER_VERSION, &[0; ENTRY_BYTES - 1]);
        assert!(matches!(Drawer::read(&damaged), Err(StateFault::Corrupt { .. })));
        assert!(matches!(Drawer::read(&cut), Err(StateFault::Corrupt { .. })));
        assert!(matches!(Drawer::read(&[]), Err(StateFault::Corrupt { .. })));
        assert!(matches!(Drawer::read(&newer), Err(StateFault::Foreign { .. })));
    }
}
