//! Writing down what was signed elsewhere: journal lines first, and rows for the newest epochs, so
//! that a node that starts next knows them.

use node_core::rows::{IntentRow, IntentState, JournalEntry, JournalStep, Row, Write};
use node_core::unit::{BlockNumber, EpochIndex};

use crate::batch::BATCH_BYTES_MAX;
use crate::error::CommitError;
use crate::history::{EpochKey, History, Owner};
use crate::journal::{encode_line, JOURNAL_BYTES_MAX};
use crate::store::{Loaded, Store};

/// Epochs of each mechanism whose rows are written: as many as a node keeps.
const ROWS_MAX: usize = 64;

/// Bytes of one commit at most; what a line takes as a row too is counted in.
const COMMIT_BYTES: usize = 1 << 20;
const _: () = assert!(COMMIT_BYTES <= BATCH_BYTES_MAX / 4);

/// Why nothing, or not everything, was written down. The same call again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The journal would grow beyond what a node reads.
    #[error(
        "the journal has {has_bytes} bytes and would get {adds_bytes} more, beyond the \
         {JOURNAL_BYTES_MAX} that a node reads"
    )]
    Full {
        /// Bytes there are.
        has_bytes: u64,
        /// Bytes of the new lines.
        adds_bytes: u64,
    },
    /// A line has no text.
    #[error("a line of the journal cannot be encoded")]
    Encode {
        /// What the writer said.
        #[source]
        source: serde_json::Error,
    },
    /// The store did not take it.
    #[error("the store does not take what was signed")]
    Commit {
        /// Why.
        #[source]
        source: CommitError,
    },
}

/// What an import added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Epochs of which something new is known.
    pub epochs: usize,
    /// Signatures that were not known.
    pub signatures: usize,
    /// Lines that were written.
    pub lines: usize,
    /// Epochs that are known now.
    pub epochs_known: usize,
}

/// What a store knows of everything that was signed: its journal, and what its rows know beyond.
#[must_use]
pub fn known_history(owner: Owner, loaded: &Loaded) -> History {
    let mut history = History::of_journal(owner, &loaded.journal);
    for row in &loaded.rows {
        if let Row::Intent(row) = row {
            history.learn_row(row);
        }
    }
    history
}

impl Store {
    /// Merges `theirs` into what was loaded, and writes down what is new. Nothing known is lowered,
    /// and a second time nothing is written.
    ///
    /// The newest epochs are written first: if it is cut off, what could be signed again is known.
    ///
    /// A journal that is lost beside rows that do not make up for it ([`Loaded`] says so) begins
    /// with the line of one that was put back from a copy. Else the node would sign for the epoch
    /// in which a signature was made that nobody here knows: the line about the copy is lost with
    /// the journal, and vouching for an update does not say for which epoch it was.
    ///
    /// # Errors
    ///
    /// [`ImportError`].
    pub fn import(&self, loaded: &Loaded, theirs: &History) -> Result<Imported, ImportError> {
        let journalled = History::of_journal(theirs.owner, &loaded.journal);
        let known = known_history(theirs.owner, loaded);
        let mut merged = known.clone();
        merged.merge(theirs);
        let added = merged.entries_beyond(&journalled);
        let rows = merged.newest_rows(ROWS_MAX).into_iter().filter(|row| !is_there(loaded, row));
        let rows: Vec<IntentRow> = rows.map(|row| look_again(&merged, row)).collect();
        let lines: Vec<JournalEntry> = added.iter().flat_map(|(_, lines)| lines.clone()).collect();
        self.check_room(&lines)?;
        let mut batch = Batch::new(self);
        if loaded.may_lack_signatures() {
            // First: cut off after any commit, it is there.
            let step = JournalStep::Restored { since: None, spent: None };
            let line = History::new(theirs.owner).entry(0, EpochIndex(0), step);
            batch.add(vec![Write::Journal(line)])?;
        }
        // A row says what its lines say: it comes in the commit behind them, or in the same.
        for (epoch, entries) in &added {
            let rows = rows.iter().filter(|row| EpochKey::of_row(row) == *epoch);
            let writes = entries.iter().cloned().map(Write::Journal);
            let rows = rows.cloned().map(|row| Write::Put(Row::Intent(row)));
            batch.add(writes.chain(rows).collect())?;
        }
        let is_written =
            |row: &&IntentRow| added.iter().any(|(epoch, _)| EpochKey::of_row(row) == *epoch);
        for row in rows.iter().filter(|row| !is_written(row)) {
            batch.add(vec![Write::Put(Row::Intent(row.clone()))])?;
        }
        batch.commit()?;
        let is_epoch = |(_, lines): &&(EpochKey, Vec<JournalEntry>)| {
            !lines.iter().all(|line| matches!(line.step, JournalStep::Adopted { .. }))
        };
        Ok(Imported {
            epochs: added.iter().filter(is_epoch).count(),
            signatures: merged.signatures().saturating_sub(journalled.signatures()),
            lines: lines.len(),
            epochs_known: merged.epochs(),
        })
    }

    /// Writes down that the operator vouches for every update of the hotkey up to `block`. What
    /// the rows know and a lost journal does not is written down with it.
    ///
    /// # Errors
    ///
    /// [`ImportError`].
    pub fn adopt(
        &self,
        loaded: &Loaded,
        owner: Owner,
        mechanism: u8,
        block: BlockNumber,
    ) -> Result<Imported, ImportError> {
        let mut vouched = History::new(owner);
        vouched.mechanisms.entry(mechanism).or_default().adopted = Some(block);
        self.import(loaded, &vouched)
    }

    fn check_room(&self, lines: &[JournalEntry]) -> Result<(), ImportError> {
        let mut adds_bytes = 0;
        for line in lines {
            let line = encode_line(line).map_err(|source| ImportError::Encode { source })?;
            adds_bytes += line.len() as u64;
        }
        let has_bytes = self.journal_bytes();
        if has_bytes.saturating_add(adds_bytes) > JOURNAL_BYTES_MAX {
            return Err(ImportError::Full { has_bytes, adds_bytes });
        }
        Ok(())
    }
}

/// Where a history does not say which one of several signed commits landed, the node looks for it
/// in the finalized blocks again: the salt of that one is needed.
fn look_again(history: &History, mut row: IntentRow) -> IntentRow {
    let mechanism = history.mechanisms.get(&row.mechanism);
    let known = mechanism.and_then(|known| known.epochs.get(&EpochKey::of_row(&row)));
    let is_known = known.is_some_and(|known| known.found_signing().is_some());
    let is_committed = matches!(row.state, IntentState::Committed { .. });
    if is_committed && row.signings.len() > 1 && !is_known {
        row.state = IntentState::Signed;
    }
    row
}

fn is_there(loaded: &Loaded, row: &IntentRow) -> bool {
    loaded.rows.iter().any(|there| match there {
        Row::Intent(there) => {
            there.id == row.id
                && there.state == row.state
                && there.signings.len() == row.signings.len()
                && there.reveals.len() == row.reveals.len()
        }
        _ => false,
    })
}

/// Writes on their way, in commits of a bounded size.
pub(crate) struct Batch<'a> {
    store: &'a Store,
    writes: Vec<Write>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, writes: Vec::new(), bytes: 0 }
    }

    pub(crate) fn add(&mut self, writes: Vec<Write>) -> Result<(), ImportError> {
        for write in writes {
            let bytes = encoded_bytes(&write)?;
            if self.bytes.saturating_add(bytes) > COMMIT_BYTES {
                self.commit()?;
            }
            self.bytes = self.bytes.saturating_add(bytes);
            self.writes.push(write);
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<(), ImportError> {
        let writes = std::mem::take(&mut self.writes);
        self.bytes = 0;
        self.store.commit(&writes).map_err(|source| ImportError::Commit { source })
    }
}

fn encoded_bytes(write: &Write) -> Result<usize, ImportError> {
    let text = match write {
        Write::Journal(entry) => encode_line(entry),
        Write::Put(row) => serde_json::to_string(row),
        Write::Freeze(frozen) => serde_json::to_string(frozen),
        Write::Delete(..) | Write::CaughtUp => return Ok(0),
    };
    text.map(|text| text.len()).map_err(|source| ImportError::Encode { source })
}

#[cfg(test)]
mod tests;
