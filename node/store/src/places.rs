//! The index of the freezer: where each of its records is.
//!
//! The database keeps something of each of its pages in memory, and a page has a dozen records.
//! With one record for each place a million receipts took 18 MiB of every node's memory. So places
//! are in drawers: all those of submissions whose ids begin alike, in one record of the database.
//!
//! A drawer that cannot be read takes nothing from what is put away after it: that goes into the
//! next one. The frames say themselves what they are of, so the next start finds its places again
//! in the freezer's files; only then it is emptied. It is not removed: the numbers of a beginning's
//! drawers have no gaps.

use std::collections::BTreeMap;

use crate::envelope;
use crate::error::StateFault;
use crate::freezer::{FreezerFault, Key, Place};

const DRAWER_VERSION: u8 = 1;

/// Places of a drawer; further ones go to the next one of that beginning. Lower: more records.
/// Higher: more is written for each place.
const PLACES_IN_DRAWER_MAX: usize = 1_024;

/// Bytes of a submission's id by which drawers are told apart.
const BEGINNING_BYTES: usize = 2;

/// Bytes of what a drawer is kept under: a beginning, and a number.
const DRAWER_KEY_BYTES: usize = BEGINNING_BYTES + size_of::<u16>();

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
pub(crate) fn drawer_key(beginning: Beginning, number: u16) -> [u8; DRAWER_KEY_BYTES] {
    let ([first, second], [high, low]) = (beginning, number.to_be_bytes());
    [first, second, high, low]
}

/// The drawer of a record of the index; `None` if the record is damaged.
///
/// # Errors
///
/// [`StateFault::Foreign`] if a newer build wrote it.
pub(crate) fn drawer_of(key: &[u8], record: &[u8]) -> Result<Option<Drawer>, StateFault> {
    if key.len() != DRAWER_KEY_BYTES {
        return Ok(None);
    }
    match Drawer::read(record) {
        Ok(drawer) => Ok(Some(drawer)),
        Err(StateFault::Corrupt { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A record of the index that cannot be read. Where the records are that it named is known again
/// when the freezer's files were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DamagedDrawer {
    /// Under what it is kept.
    pub(crate) key: Vec<u8>,
}

impl DamagedDrawer {
    /// How the ids of its submissions begin; `None` if its key does not tell.
    pub(crate) fn beginning(&self) -> Option<Beginning> {
        self.key.first_chunk().copied().filter(|_| self.has_a_drawers_key())
    }

    /// Whether it is kept where a drawer may be.
    pub(crate) fn has_a_drawers_key(&self) -> bool {
        self.key.len() == DRAWER_KEY_BYTES
    }

    /// What is wrong with it.
    pub(crate) fn fault(&self) -> FreezerFault {
        FreezerFault::Index { drawer: hex::encode(&self.key) }
    }
}

/// What some drawers say.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Where records are.
    pub(crate) known: Vec<(Key, Place)>,
    /// Those that cannot be read.
    pub(crate) damaged: Vec<DamagedDrawer>,
    /// Under what the last of them is kept; `None` if there was none.
    pub(crate) last: Option<Vec<u8>>,
}

impl Places {
    /// Takes in what the next drawer says; `None` if it is damaged.
    pub(crate) fn add(&mut self, key: &[u8], drawer: Option<Drawer>) {
        self.last = Some(key.to_vec());
        match drawer {
            Some(drawer) => self.known.extend(drawer.into_places()),
            None => self.damaged.push(DamagedDrawer { key: key.to_vec() }),
        }
    }

    /// Whether all of them could be read.
    ///
    /// # Errors
    ///
    /// [`FreezerFault::Index`] of the first that could not.
    pub(crate) fn check_whole(&self) -> Result<(), FreezerFault> {
        self.damaged.first().map_or(Ok(()), |drawer| Err(drawer.fault()))
    }
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

    /// Whether there is a place under this key.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < PLACES_IN_DRAWER_MAX
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
            assert!(drawer.has_room() && !drawer.has(&key));
            drawer.put(key, place);
        }
        assert!(!drawer.has_room() && drawer.has(&place(0).0));
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
        let (key, whole) = (drawer_key([1, 2], 3), drawer.sealed());
        assert_eq!(drawer_of(&key, &whole).unwrap(), Some(drawer));
        assert_eq!(drawer_of(&key, &damaged).unwrap(), None);
        assert_eq!(drawer_of(&key[1..], &whole).unwrap(), None, "nobody keeps one there");
        assert!(matches!(drawer_of(&key, &newer), Err(StateFault::Foreign { .. })));
    }
}
