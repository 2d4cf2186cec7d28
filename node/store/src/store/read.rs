//! Reading a store while somebody else may commit: looking something up, looking through all of
//! it, and copying it.
//!
//! All of it takes the lock for a piece at a time, so a commit waits for a few milliseconds at
//! most: a look through and a copy for some records of a table, who looks something up for the
//! places of one submission or the verdicts on one content. Files of the freezer are read without
//! it. A look through may see rows of different moments; a copy is of one moment, see `copying`.

use std::io::Write;
use std::path::PathBuf;

use node_core::duplicates::Sketch;
use node_core::id::{ContentDigest, SubmissionId};
use node_core::rows::{Frozen, Row, Table};

use super::{Inner, Store};
use crate::copying::{read_piece, Copying, Records};
use crate::dump::{BackupHead, BackupWriter, Copied};
use crate::error::ReadError;
use crate::freezer::{self, FreezerFault, Key, Place};
use crate::journal::{self, JournalFault};
use crate::places::Places;
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
    /// All of them, and those of the freezer.
    pub damaged_count: u64,
    /// Readable records of the freezer.
    pub frozen: u64,
    /// Records of the freezer, and of its index, that cannot be read, the first thousand.
    pub damaged_frozen: Vec<FreezerFault>,
    /// Lines of the journal, all of them whole.
    pub journal_entries: usize,
    /// Rows were lost, or come from a copy, and peers have not told them again yet.
    pub lacks_rows: bool,
}

impl VerifyReport {
    /// Takes in a record of the freezer, or why it cannot be read.
    fn add_frozen(&mut self, read: Result<Frozen, FreezerFault>) {
        let Err(fault) = read else {
            self.frozen += 1;
            return;
        };
        self.damaged_count += 1;
        if self.damaged_frozen.len() < DAMAGED_LISTED_MAX {
            self.damaged_frozen.push(fault);
        }
    }
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
            frozen: 0,
            damaged_frozen: Vec::new(),
            journal_entries: 0,
            lacks_rows: self.lock().tip.lacks_rows,
        };
        for table in Table::ALL.iter().copied() {
            let readable = self.verify_table(table, &mut report)?;
            report.records.push((table, readable));
        }
        self.verify_freezer(&mut report)?;
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

    fn verify_freezer(&self, report: &mut VerifyReport) -> Result<(), ReadError> {
        let dir = self.lock().freezer.dir().to_owned();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let Places { known, damaged, last } = self.places_after(after.as_deref())?;
            damaged.iter().for_each(|drawer| report.add_frozen(Err(drawer.fault())));
            for (key, place) in &known {
                report.add_frozen(freezer::read(&dir, key, *place));
            }
            if last.is_none() {
                return Ok(());
            }
            after = last;
        }
    }

    /// What was put away of a submission, the oldest first; nothing for most.
    ///
    /// # Errors
    ///
    /// [`ReadError::Freezer`], also where the index may have named more and is damaged;
    /// [`ReadError::State`] and [`ReadError::Closed`].
    pub fn frozen(&self, submission: &SubmissionId) -> Result<Vec<Frozen>, ReadError> {
        let (dir, places) = {
            let inner = self.lock();
            let state = inner.state.as_ref().ok_or(ReadError::Closed)?;
            let places = state.places_of(submission);
            let places = places.map_err(|source| ReadError::State { source })?;
            (inner.freezer.dir().to_owned(), places)
        };
        places.check_whole()?;
        let read = |(key, place): &(Key, Place)| freezer::read(&dir, key, *place);
        Ok(places.known.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The sketches that were stored with the verdicts on these contents, of each content all that
    /// differ: two policies may have other ways to shingles. A content that was not judged, or has
    /// none, is left out.
    ///
    /// So is what is damaged. With an error nothing near such a work could ever be judged; left out
    /// it is like nothing, as it is after the next start, which tells of the damage and knows
    /// neither verdict nor sketch.
    ///
    /// # Errors
    ///
    /// [`ReadError::State`] and [`ReadError::Closed`].
    pub fn sketches(
        &self,
        contents: &[ContentDigest],
    ) -> Result<Vec<(ContentDigest, Sketch)>, ReadError> {
        let mut found = Vec::new();
        for content in contents {
            found.extend(self.sketches_of(content)?.into_iter().map(|sketch| (*content, sketch)));
        }
        Ok(found)
    }

    fn sketches_of(&self, content: &ContentDigest) -> Result<Vec<Sketch>, ReadError> {
        let table = Table::Verdicts;
        let mut sketches: Vec<Sketch> = Vec::new();
        let inner = self.lock();
        let state = inner.state.as_ref().ok_or(ReadError::Closed)?;
        let visited = state.for_each_after(table, Some(&content.0), |key, bytes| {
            if !key.starts_with(&content.0) {
                return false;
            }
            if let Ok(Row::Verdict(verdict)) = record::decode(table, key, bytes) {
                let sketch = verdict.sketch.filter(|sketch| !sketches.contains(sketch));
                sketches.extend(sketch);
            }
            true
        });
        visited.map_err(|source| ReadError::State { source })?;
        Ok(sketches)
    }

    /// Writes a copy of rows, freezer and journal as JSON lines, as they are when this is called.
    /// Commits go on meanwhile, and are not in it; whatever `out` does, no lock is held while it
    /// does it.
    ///
    /// # Errors
    ///
    /// - [`ReadError::Busy`] while another copy is made.
    /// - [`ReadError::Damaged`] and [`ReadError::Freezer`] if a record cannot be read: the copy
    ///   would be incomplete.
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
        self.export_freezer(copy.freezer_end, &mut writer)?;
        let wrap = |source: JournalFault| ReadError::Journal { source };
        let (path, bytes) = &copy.journal;
        journal::for_each_entry(path, *bytes, wrap, |entry| writer.entry(&entry).map_err(written))?;
        writer.end().map_err(written)
    }

    /// Copies what was put away before `end`. Such records change no more.
    fn export_freezer(&self, end: Place, writer: &mut BackupWriter<'_>) -> Result<(), ReadError> {
        let dir = self.lock().freezer.dir().to_owned();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let places = self.places_after(after.as_deref())?;
            places.check_whole()?;
            for (key, place) in places.known.iter().filter(|(_, place)| *place < end) {
                let frozen = freezer::read(&dir, key, *place)?;
                writer.frozen(&frozen).map_err(|source| ReadError::Write { source })?;
            }
            if places.last.is_none() {
                return Ok(());
            }
            after = places.last;
        }
    }

    fn places_after(&self, after: Option<&[u8]>) -> Result<Places, ReadError> {
        let inner = self.lock();
        let state = inner.state.as_ref().ok_or(ReadError::Closed)?;
        state.places_after(after).map_err(|source| ReadError::State { source })
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
    /// Behind what was put away before the beginning.
    freezer_end: Place,
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
        let freezer_end = inner.freezer.end();
        Ok(Self { store, journal, freezer_end })
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
