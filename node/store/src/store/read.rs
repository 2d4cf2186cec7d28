//! Looking through all of a store and copying it, while somebody else may commit.
//!
//! Both take the lock for a piece at a time, so a commit waits for a few milliseconds at most. A
//! check may see rows of different moments; a copy is of one moment, see `copying`.

use std::io::Write;
use std::path::PathBuf;

use node_core::rows::Table;

use super::{Inner, Store};
use crate::copying::{read_piece, Copying, Records};
use crate::dump::{BackupHead, BackupWriter, Copied};
use crate::error::ReadError;
use crate::journal::{self, JournalFault};
use crate::record::{self, DamagedRecord};

/// Damaged records that are listed; more are counted. Lower: an operator sees too few to know what
/// they have in common. Higher: a store of which nothing is left takes that much memory to say so.
const DAMAGED_LISTED_MAX: usize = 1_000;

/// What [`Store::verify`] found.
#[derive(Debug)]
#[must_use]
pub struct VerifyReport {
    /// Readable records per table, in the order of [`Table::ALL`].
    pub records: Vec<(Table, u64)>,
    /// Records that cannot be read, the first thousand.
    pub damaged: Vec<DamagedRecord>,
    /// All of them.
    pub damaged_count: u64,
    /// Lines of the journal, all of them whole.
    pub journal_entries: usize,
    /// Rows were lost, or come from a copy, and peers have not told them again yet.
    pub lacks_rows: bool,
}

impl Store {
    /// Reads every record and every journal line. Commits go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`ReadError::State`] and [`ReadError::Journal`]; a damaged record is no error but part of
    /// the report.
    pub fn verify(&self) -> Result<VerifyReport, ReadError> {
        let mut report = VerifyReport {
            records: Vec::new(),
            damaged: Vec::new(),
            damaged_count: 0,
            journal_entries: 0,
            lacks_rows: self.lock().tip.lacks_rows,
        };
        for table in Table::ALL.iter().copied() {
            let readable = self.verify_table(table, &mut report)?;
            report.records.push((table, readable));
        }
        let (path, bytes) = self.journal_now();
        let wrap = |source: JournalFault| ReadError::Journal { source };
        report.journal_entries = journal::for_each_entry(&path, bytes, wrap, |_| Ok(()))?;
        Ok(report)
    }

    /// Readable records of a table.
    fn verify_table(&self, table: Table, report: &mut VerifyReport) -> Result<u64, ReadError> {
        let mut readable = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (records, is_end) = self.piece_after(table, after.as_deref())?;
            for (key, bytes) in &records {
                match record::decode(table, key, bytes) {
                    Ok(_) => readable += 1,
                    Err(record) => {
                        report.damaged_count += 1;
                        if report.damaged.len() < DAMAGED_LISTED_MAX {
                            report.damaged.push(record);
                        }
                    }
                }
            }
            if is_end {
                return Ok(readable);
            }
            after = records.into_keys().next_back();
        }
    }

    /// Writes a copy of rows and journal as JSON lines, as they are when this is called. Commits go
    /// on meanwhile, and are not in it; whatever `out` does, no lock is held while it does it.
    ///
    /// # Errors
    ///
    /// - [`ReadError::Busy`] while another copy is made.
    /// - [`ReadError::Damaged`] if a record cannot be read: the copy would be incomplete.
    /// - [`ReadError::ChangedTooMuch`] if more changes meanwhile than memory is given to.
    /// - [`ReadError::Write`] if `out` fails. What it was given has no end, and is no copy.
    pub fn export(&self, head: &BackupHead, out: &mut dyn Write) -> Result<Copied, ReadError> {
        let written = |source| ReadError::Write { source };
        let copy = UnderWay::begin(self)?;
        let mut writer = BackupWriter::begin(out, head).map_err(written)?;
        while let Some((table, records)) = copy.next_piece()? {
            for (key, bytes) in &records {
                let row = record::decode(table, key, bytes)
                    .map_err(|source| ReadError::Damaged { source })?;
                writer.row(&row).map_err(written)?;
            }
        }
        let wrap = |source: JournalFault| ReadError::Journal { source };
        let (path, bytes) = &copy.journal;
        journal::for_each_entry(path, *bytes, wrap, |entry| writer.entry(&entry).map_err(written))?;
        writer.end().map_err(written)
    }

    fn piece_after(
        &self,
        table: Table,
        after: Option<&[u8]>,
    ) -> Result<(Records, bool), ReadError> {
        let inner = self.lock();
        let state = inner.state.as_ref().ok_or(ReadError::Closed)?;
        read_piece(state, table, after).map_err(|source| ReadError::State { source })
    }

    /// The journal's file, and how much of it is written and synced.
    fn journal_now(&self) -> (PathBuf, u64) {
        let inner = self.lock();
        (inner.journal.path().to_owned(), inner.journal.len())
    }
}

/// A copy that is under way; commits set nothing aside any more once it is dropped.
struct UnderWay<'a> {
    store: &'a Store,
    /// The journal, up to where it was at the beginning. It only grows.
    journal: (PathBuf, u64),
}

impl<'a> UnderWay<'a> {
    fn begin(store: &'a Store) -> Result<Self, ReadError> {
        let mut inner = store.lock();
        if inner.copying.is_some() {
            return Err(ReadError::Busy);
        }
        if inner.state.is_none() {
            return Err(ReadError::Closed);
        }
        inner.copying = Some(Copying::begin());
        let journal = (inner.journal.path().to_owned(), inner.journal.len());
        Ok(Self { store, journal })
    }

    fn next_piece(&self) -> Result<Option<(Table, Records)>, ReadError> {
        let mut inner = self.store.lock();
        let Inner { state, copying, .. } = &mut *inner;
        match (state, copying) {
            (Some(state), Some(copying)) => copying.piece(state),
            _ => Err(ReadError::Closed),
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.store.lock().copying = None;
    }
}
