//! One commit as bytes: everything that can be refused is refused before anything is written.

use std::collections::HashMap;

use node_core::rows::{Frozen, JournalEntry, Row, Table, Write};

use crate::error::CommitError;
use crate::freezer::{Frame, FREEZER_DIR};
use crate::journal;
use crate::record::{self, RECORD_BYTES_MAX};

/// Bytes of one commit, rows and journal lines together. Lower: what one event decides for a whole
/// subnet (4096 submissions whose evaluations open anew, 16 KiB each) does not fit, and a node that
/// cannot store what it decided stops. Higher: a commit spans more of sled's log segments, all of
/// which it holds in memory.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(4096 * (16 << 10) <= BATCH_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX * 256 < BATCH_BYTES_MAX);

/// One change of a table.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    /// The record; `None` removes it.
    pub(crate) record: Option<Vec<u8>>,
}

/// One commit.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// One per key: of several, the last.
    pub(crate) changes: Vec<Change>,
    /// Whole lines, in order.
    pub(crate) journal_lines: Vec<u8>,
    /// Records of the freezer; their bytes go to files of their own and count for none here.
    pub(crate) frozen: Vec<Frame>,
    /// Whether rows that were lost have been told again.
    pub(crate) is_caught_up: bool,
    /// What its lines say of the journal being a copy, if they do: that it is one, or that it has
    /// settled.
    pub(crate) is_of_a_copy: Option<bool>,
    bytes: usize,
}

impl Batch {
    /// Encodes the writes of one commit. Of several changes of one row only the last is encoded:
    /// all become durable together, so nobody could ever read the others.
    ///
    /// # Errors
    ///
    /// [`CommitError::RecordTooLarge`], [`CommitError::BatchTooLarge`], [`CommitError::Encode`].
    pub(crate) fn encode(writes: &[Write]) -> Result<Self, CommitError> {
        let mut batch = Self::default();
        let keys: Vec<Option<(Table, Vec<u8>)>> = writes.iter().map(key_of).collect();
        let mut last: HashMap<&(Table, Vec<u8>), usize> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            last.extend(key.as_ref().map(|key| (key, at)));
        }
        for (at, (write, key)) in writes.iter().zip(&keys).enumerate() {
            if key.as_ref().is_some_and(|key| last.get(key) != Some(&at)) {
                continue;
            }
            match (write, key) {
                (Write::Put(row), Some((_, key))) => batch.put(row, key.clone())?,
                (Write::Delete(..), Some((table, key))) => batch.delete(*table, key),
                (Write::Journal(entry), _) => batch.journal(entry)?,
                (Write::Freeze(frozen), _) => batch.frozen.push(encode_record(frozen)?),
                (Write::CaughtUp, _) => batch.is_caught_up = true,
                (Write::Put(_) | Write::Delete(..), None) => {}
            }
            if batch.bytes > BATCH_BYTES_MAX {
                return Err(CommitError::BatchTooLarge { writes: writes.len() });
            }
        }
        Ok(batch)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let has_rows = !self.changes.is_empty() || !self.frozen.is_empty();
        !has_rows && self.journal_lines.is_empty() && !self.is_caught_up
    }

    fn put(&mut self, row: &Row, key: Vec<u8>) -> Result<(), CommitError> {
        let record = record::encode(row)
            .map_err(|source| CommitError::Encode { name: row.table().name(), source })?;
        if record.len() > RECORD_BYTES_MAX {
            let (table, key) = (row.table(), hex::encode(key));
            return Err(CommitError::RecordTooLarge { table, key, got_bytes: record.len() });
        }
        self.bytes += key.len() + record.len();
        self.changes.push(Change { table: row.table(), key, record: Some(record) });
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        self.bytes += key.len();
        self.changes.push(Change { table, key: key.to_vec(), record: None });
    }

    fn journal(&mut self, entry: &JournalEntry) -> Result<(), CommitError> {
        let line = journal::encode_line(entry)
            .map_err(|source| CommitError::Encode { name: "signed.journal", source })?;
        self.bytes += line.len();
        self.journal_lines.extend_from_slice(line.as_bytes());
        self.is_of_a_copy = entry.step.says_of_a_copy().or(self.is_of_a_copy);
        Ok(())
    }
}

fn encode_record(frozen: &Frozen) -> Result<Frame, CommitError> {
    Frame::encode(frozen).map_err(|source| CommitError::Encode { name: FREEZER_DIR, source })
}

/// Which row a write changes, if it changes one.
fn key_of(write: &Write) -> Option<(Table, Vec<u8>)> {
    match write {
        Write::Put(row) => Some((row.table(), row.key())),
        Write::Delete(table, key) => Some((*table, key.clone())),
        Write::Journal(_) | Write::Freeze(_) | Write::CaughtUp => None,
    }
}

#[cfg(test)]
mod tests {
    use node_core::id::Hotkey;
    use node_core::rows::CursorRow;

    use super::*;

    fn put(peer: u8, after: u64) -> Write {
        Write::Put(Row::Cursor(CursorRow { peer: Hotkey([peer; 32]), after }))
    }

    fn delete(peer: u8) -> Write {
        Write::Delete(Table::Cursors, vec![peer; 32])
    }

    #[test]
    fn of_several_changes_of_a_row_the_last_one_is_written() {
        let batch = Batch::encode(&[put(1, 1), put(2, 1), put(1, 2), delete(2), put(3, 1)]);
        let changes = batch.unwrap().changes;
        let expected = Batch::encode(&[put(1, 2), delete(2), put(3, 1)]).unwrap().changes;
        let shown = |changes: &[Change]| {
            let shown = changes.iter().map(|c| (c.table, c.key.clone(), c.record.clone()));
            shown.collect::<Vec<_>>()
        };
        assert_eq!(shown(&changes), shown(&expected));
    }
}
