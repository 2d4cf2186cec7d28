//! One commit as bytes: everything that can be refused is refused before anything is written.

use node_core::rows::{JournalEntry, Row, Table, Write};

use crate::error::CommitError;
use crate::journal;
use crate::record::{self, RECORD_BYTES_MAX};

/// Bytes of one commit, rows and journal lines together. Lower: a burst of receipts needs several
/// commits. Higher: a commit spans more of sled's log segments, all of which it holds in memory.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
const _: () = assert!(RECORD_BYTES_MAX * 16 < BATCH_BYTES_MAX);

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
    /// In order: a later change of the same key wins.
    pub(crate) changes: Vec<Change>,
    /// Whole lines, in order.
    pub(crate) journal_lines: Vec<u8>,
    /// Whether rows that were lost have been told again.
    pub(crate) is_caught_up: bool,
    bytes: usize,
}

impl Batch {
    /// Encodes the writes of one commit.
    ///
    /// # Errors
    ///
    /// [`CommitError::RecordTooLarge`], [`CommitError::BatchTooLarge`], [`CommitError::Encode`].
    pub(crate) fn encode(writes: &[Write]) -> Result<Self, CommitError> {
        let mut batch = Self::default();
        for write in writes {
            match write {
                Write::Put(row) => batch.put(row)?,
                Write::Delete(table, key) => batch.delete(*table, key),
                Write::Journal(entry) => batch.journal(entry)?,
                Write::CaughtUp => batch.is_caught_up = true,
            }
            if batch.bytes > BATCH_BYTES_MAX {
                return Err(CommitError::BatchTooLarge { writes: writes.len() });
            }
        }
        Ok(batch)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.journal_lines.is_empty() && !self.is_caught_up
    }

    fn put(&mut self, row: &Row) -> Result<(), CommitError> {
        let record = record::encode(row)
            .map_err(|source| CommitError::Encode { name: row.table().name(), source })?;
        let key = row.key();
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
        Ok(())
    }
}
