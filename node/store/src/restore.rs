//! Putting a copy back into a data directory in which no node has lived yet.
//!
//! ```text
//! <data dir>/
//!   lock               held from the beginning to the end
//!   restoring/         everything is made here first
//!     state/  freezer/  signed.journal  commit.mark  identity.json      a store like any other
//!     complete         made last: from then on only places change
//! ```
//!
//! In the directory and not beside it: a service's data directory is often a mount, or lies where
//! its user may make nothing. Whatever ends the process before `complete` is there leaves a
//! directory in which no node has lived, and the next restore begins anew. After that it leaves one
//! that no node starts in, and the next restore puts the rest into place.
//!
//! A copy is older than what was last signed may be, and than the leases that were last granted. So
//! what is put back says both of itself: rows are missing (the node catches up with its peers
//! before it grants or signs), and the journal is a copy ([`JournalStep::Restored`]; the node signs
//! nothing until nothing is left of what it does not know, see `node_core::restoration`). Nothing
//! here replaces a journal that is there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use node_core::rows::{JournalStep, Table, Write};
use node_core::unit::EpochIndex;

use crate::dump::{check_backup, BackupError, BackupItem, BackupReader, BackupReport};
use crate::error::{OpenError, ReadError, StateFault};
use crate::freezer::FREEZER_DIR;
use crate::history::History;
use crate::import::{Batch, ImportError};
use crate::instance::Instance;
use crate::store::Store;
use crate::sync::{create_private_dir, sync_dir};

const RESTORING_DIR: &str = "restoring";
const COMPLETE_FILE: &str = "complete";

/// What a node leaves that another one's copy must not be put over, in the order in which it gets
/// its place: with the journal there, whatever else is missing is noticed.
const PLACES: [&str; 5] = ["signed.journal", "commit.mark", "identity.json", "freezer", "state"];

/// Why nothing was put back, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory cannot be made, locked or written as a store.
    #[error("the data directory cannot be filled")]
    Open {
        /// Why.
        #[source]
        source: OpenError,
    },
    /// A node has lived there.
    #[error("the data directory {} is not empty: it has `{found}`", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// What lies there.
        found: &'static str,
    },
    /// The copy cannot be trusted.
    #[error("the copy cannot be put back; nothing was changed")]
    Backup {
        /// Why.
        #[source]
        source: BackupError,
    },
    /// A row or line was refused.
    #[error("the store does not take what the copy holds")]
    Write {
        /// Why.
        #[source]
        source: ImportError,
    },
    /// The state does not take that it is incomplete.
    #[error("the store does not take that it comes from a copy")]
    State {
        /// Why.
        #[source]
        source: StateFault,
    },
    /// What was put back cannot be read again.
    #[error("what was put back cannot be read again")]
    Read {
        /// Why.
        #[source]
        source: ReadError,
    },
    /// What was put back is not what the copy holds.
    #[error("{got} of `{table}` were put back, and the copy holds {expected}")]
    Differs {
        /// A table, or the journal.
        table: &'static str,
        /// What the copy holds.
        expected: u64,
        /// What is there.
        got: u64,
    },
    /// The file system refused.
    #[error("cannot put `{}` into place", path.display())]
    Place {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How a restore finds its directory.
#[derive(Debug)]
pub enum Begun {
    /// Empty, and locked.
    Empty(Restoring),
    /// An earlier restore had been cut off when all was written. It is complete now.
    Finished,
}

/// A data directory that is being filled. Its lock is held until this is dropped.
#[derive(Debug)]
pub struct Restoring {
    dir: PathBuf,
    inside: PathBuf,
    _instance: Instance,
}

impl Restoring {
    /// Locks a data directory, makes it if need be, and sees that no node has lived there. What
    /// else lies in it (a data set, archives) does not matter and stays.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Open`] while a process uses it; [`RestoreError::NotEmpty`];
    /// [`RestoreError::Place`] if it cannot be written.
    pub fn begin(dir: &Path) -> Result<Begun, RestoreError> {
        create_private_dir(dir).map_err(|source| RestoreError::Open {
            source: OpenError::Directory { path: dir.to_owned(), source },
        })?;
        let instance = Instance::lock(dir).map_err(|source| RestoreError::Open { source })?;
        let inside = dir.join(RESTORING_DIR);
        let begun = Self { dir: dir.to_owned(), inside, _instance: instance };
        if is_half_restored(dir) {
            begun.put_into_place()?;
            return Ok(Begun::Finished);
        }
        let found = PLACES.into_iter().find(|name| dir.join(name).symlink_metadata().is_ok());
        if let Some(found) = found {
            return Err(RestoreError::NotEmpty { path: dir.to_owned(), found });
        }
        begun.clear()?;
        Ok(Begun::Empty(begun))
    }

    /// Where everything is made: whose it is has to be written there as well.
    #[must_use]
    pub fn inside(&self) -> &Path {
        &self.inside
    }

    /// Checks a copy, and makes a store of it. Nothing of it has its place before
    /// [`Restoring::finish`].
    ///
    /// # Errors
    ///
    /// Every other [`RestoreError`].
    pub fn fill(&self, copy: &Path) -> Result<BackupReport, RestoreError> {
        let backup = |source| RestoreError::Backup { source };
        let report = check_backup(copy).map_err(backup)?;
        let opened = Store::open(&self.inside);
        let (store, _) = opened.map_err(|source| RestoreError::Open { source })?;
        store.say_that_rows_are_missing().map_err(|source| RestoreError::State { source })?;
        let write = |source| RestoreError::Write { source };
        let mut batch = Batch::new(&store);
        let mut reader = BackupReader::open(copy).map_err(backup)?;
        while let Some(item) = reader.next_item().map_err(backup)? {
            let item = match item {
                BackupItem::Row(row) => Write::Put(*row),
                BackupItem::Frozen(frozen) => Write::Freeze(frozen),
                BackupItem::Journal(entry) => Write::Journal(*entry),
            };
            batch.add(vec![item]).map_err(write)?;
        }
        let step = JournalStep::Restored { since: None, spent: None };
        let line = History::new(report.head.owner).entry(0, EpochIndex(0), step);
        batch.add(vec![Write::Journal(line)]).map_err(write)?;
        batch.commit().map_err(write)?;
        check(&store, &report)?;
        Ok(report)
    }

    /// Gives everything its place. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Place`]; the next restore goes on.
    pub fn finish(self) -> Result<(), RestoreError> {
        let path = self.inside.join(COMPLETE_FILE);
        let made = File::create(&path).and_then(|file| file.sync_all());
        made.and_then(|()| sync_dir(&self.inside))
            .and_then(|()| sync_dir(&self.dir))
            .map_err(|source| RestoreError::Place { path, source })?;
        self.put_into_place()
    }

    fn put_into_place(&self) -> Result<(), RestoreError> {
        for name in PLACES {
            let path = self.inside.join(name);
            match std::fs::rename(&path, self.dir.join(name)) {
                // It has its place already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved.map_err(|source| RestoreError::Place { path, source })?,
            }
        }
        sync_dir(&self.dir)
            .map_err(|source| RestoreError::Place { path: self.dir.clone(), source })?;
        self.clear()
    }

    /// Removes what an earlier restore left, or this one does not need any more.
    fn clear(&self) -> Result<(), RestoreError> {
        match std::fs::remove_dir_all(&self.inside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            cleared => {
                cleared.map_err(|source| RestoreError::Place { path: self.inside.clone(), source })
            }
        }
    }
}

/// Whether a restore was cut off after everything was written, and before all of it had its place.
pub(crate) fn is_half_restored(dir: &Path) -> bool {
    dir.join(RESTORING_DIR).join(COMPLETE_FILE).exists()
}

/// Reads everything back: as many rows of each table, and the journal with the line about the copy.
fn check(store: &Store, report: &BackupReport) -> Result<(), RestoreError> {
    let found = store.verify().map_err(|source| RestoreError::Read { source })?;
    let got = |table: Table| {
        found.records.iter().find(|(of, _)| *of == table).map_or(0, |(_, count)| *count)
    };
    for (table, expected) in report.records.iter().copied() {
        let (table, got) = (table.name(), got(table));
        if got != expected {
            return Err(RestoreError::Differs { table, expected, got });
        }
    }
    let (expected, got) = (report.copied.frozen, found.frozen);
    if got != expected {
        return Err(RestoreError::Differs { table: FREEZER_DIR, expected, got });
    }
    let (expected, got) = (report.copied.journal + 1, found.journal_entries as u64);
    if got != expected {
        return Err(RestoreError::Differs { table: "signed.journal", expected, got });
    }
    Ok(())
}
