//! The rows as they were at one moment, read a piece at a time while commits go on.
//!
//! sled has no snapshots, and its iterators show what is committed while they run: a copy that lets
//! commits through would mix moments, one that holds them back would stand in the way of the node
//! for as long as it takes. So the copy goes through the tables in order, a piece at a time under
//! the store's lock, and a commit that comes in between first sets aside what it is about to change
//! and the copy has not come by yet. The copy then takes that in place of what it finds.
//!
//! ```text
//! begin ---- piece ---- piece ---- piece ---- end       each under the lock
//!                |          ^
//!              commit: the old record of a row ahead is set aside
//! ```
//!
//! What is set aside is bounded; a copy during which more changes is given up and says so.

use std::collections::BTreeMap;

use node_core::rows::Table;

use crate::batch::Change;
use crate::error::{ReadError, StateFault};
use crate::state::{position, State};

/// Records of one piece. Lower: the lock is taken more often. Higher: commits wait longer for it.
const PIECE_RECORDS_MAX: usize = 256;

/// Bytes of one piece, but for its last record. Commits wait while so much is read.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Bytes that are set aside at most. Lower: a copy of a busy node is given up. Higher: a copy takes
/// that much memory from the runs. A commit has 64 MiB at most.
const ASIDE_BYTES_MAX: usize = 128 << 20;
const _: () = assert!(ASIDE_BYTES_MAX >= crate::batch::BATCH_BYTES_MAX);

/// Records in the order of their keys.
pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A row's place: its table's in [`Table::ALL`], then its key.
type Place = (usize, Vec<u8>);

/// A copy that is under way.
#[derive(Debug)]
pub(crate) struct Copying {
    /// The table that is read now.
    table: usize,
    /// Its last key that was read.
    after: Option<Vec<u8>>,
    /// Records ahead as they were at the beginning; `None` for one that was not there.
    aside: BTreeMap<Place, Option<Vec<u8>>>,
    aside_bytes: usize,
    aside_bytes_max: usize,
    is_overrun: bool,
}

impl Copying {
    /// One that begins now.
    pub(crate) fn begin() -> Self {
        Self {
            table: 0,
            after: None,
            aside: BTreeMap::new(),
            aside_bytes: 0,
            aside_bytes_max: ASIDE_BYTES_MAX,
            is_overrun: false,
        }
    }

    #[cfg(test)]
    pub(crate) fn pretend_room(&mut self, bytes: usize) {
        self.aside_bytes_max = bytes;
    }

    /// Sets aside what a commit is about to change. To be called before it is applied.
    pub(crate) fn keep(&mut self, state: &State, changes: &[Change]) {
        for Change { table, key, .. } in changes {
            let place = (position(*table), key.clone());
            if self.is_overrun || self.has_passed(&place) || self.aside.contains_key(&place) {
                continue;
            }
            // A state that cannot be read fails the commit as well; the copy ends in any case.
            let Ok(record) = state.record(*table, key) else {
                self.is_overrun = true;
                continue;
            };
            self.aside_bytes += bytes_of(&place, record.as_deref());
            self.aside.insert(place, record);
            if self.aside_bytes > self.aside_bytes_max {
                self.is_overrun = true;
                self.aside.clear();
            }
        }
    }

    /// The next records, and whose they are; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::ChangedTooMuch`] and [`ReadError::State`].
    pub(crate) fn piece(&mut self, state: &State) -> Result<Option<(Table, Records)>, ReadError> {
        if self.is_overrun {
            return Err(ReadError::ChangedTooMuch);
        }
        let Some(table) = Table::ALL.get(self.table).copied() else { return Ok(None) };
        let (mut records, is_end) = read_piece(state, table, self.after.as_deref())
            .map_err(|source| ReadError::State { source })?;
        let last = records.keys().next_back().cloned().filter(|_| !is_end);
        for (key, record) in self.set_aside_up_to(last.as_deref()) {
            match record {
                Some(record) => drop(records.insert(key, record)),
                None => drop(records.remove(&key)),
            }
        }
        self.after = last;
        if is_end {
            self.table += 1;
        }
        Ok(Some((table, records)))
    }

    fn has_passed(&self, (table, key): &Place) -> bool {
        let is_behind = || self.after.as_ref().is_some_and(|after| key <= after);
        *table < self.table || (*table == self.table && is_behind())
    }

    /// Takes what was set aside of the present table, up to this key or all of it.
    fn set_aside_up_to(&mut self, last: Option<&[u8]>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut taken = Vec::new();
        while let Some(first) = self.aside.first_entry() {
            let (table, key) = first.key();
            if *table != self.table || last.is_some_and(|last| key.as_slice() > last) {
                break;
            }
            let (place, record) = first.remove_entry();
            self.aside_bytes = self.aside_bytes.saturating_sub(bytes_of(&place, record.as_deref()));
            taken.push((place.1, record));
        }
        taken
    }
}

/// The records of a table behind a key, at most a piece of them, and whether there are no more.
pub(crate) fn read_piece(
    state: &State,
    table: Table,
    after: Option<&[u8]>,
) -> Result<(Records, bool), StateFault> {
    let mut records = Records::new();
    let mut bytes = 0;
    let is_end = state.for_each_after(table, after, |key, record| {
        bytes += key.len() + record.len();
        records.insert(key.to_vec(), record.to_vec());
        records.len() < PIECE_RECORDS_MAX && bytes < PIECE_BYTES_MAX
    })?;
    Ok((records, is_end))
}

fn bytes_of((_, key): &Place, record: Option<&[u8]>) -> usize {
    key.len() + record.map_or(0, <[u8]>::len)
}
