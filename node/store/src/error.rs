//! What can go wrong when the store is opened, written and read.

use std::io;
use std::path::PathBuf;

use node_core::rows::Table;

use crate::freezer::FreezerFault;
use crate::journal::{JournalFault, JOURNAL_BYTES_MAX};
use crate::record::DamagedRecord;

/// What the database said, in words of this crate.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// The file system refused.
    #[error("the file system refused")]
    Io {
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The database is not what was written.
    #[error("the database is damaged: {detail}")]
    Corrupt {
        /// What was found.
        detail: String,
    },
    /// Another build or other settings made it.
    #[error("the database belongs to another build: {detail}")]
    Foreign {
        /// What differs.
        detail: String,
    },
    /// A closing process still holds it.
    #[error("the database is still held by a process that is closing it")]
    Busy,
}

impl StateFault {
    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source } => Some(source.kind()),
            Self::Corrupt { .. } | Self::Foreign { .. } | Self::Busy => None,
        }
    }
}

/// Why the store did not open. Nothing was changed, except where it says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be made.
    #[error("cannot make the data directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process uses it.
    #[error(
        "the data directory is in use by another process{} ({} is locked)",
        pid.map(|pid| format!(", pid {pid}")).unwrap_or_default(),
        path.display()
    )]
    Locked {
        /// That process, unless it has only just started.
        pid: Option<u32>,
        /// The lock file.
        path: PathBuf,
    },
    /// There is no store to be read.
    #[error("there is no store in {}", path.display())]
    NoStore {
        /// The data directory.
        path: PathBuf,
    },
    /// A copy is being put back here, and not everything has its name yet.
    #[error("a restore into {} was cut off before its end", path.display())]
    HalfRestored {
        /// The data directory.
        path: PathBuf,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {}", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The state cannot be opened, for a reason that a new state would not cure.
    #[error("cannot open the state in {}", path.display())]
    State {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: StateFault,
    },
    /// What was put away cannot be listed.
    #[error("cannot look into {}", path.display())]
    Freezer {
        /// Its directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The damaged state could not be moved aside.
    #[error("cannot move the damaged state in {} aside", path.display())]
    MoveAside {
        /// Its directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A newer build wrote some records. Going on without them could grant a lease twice.
    #[error("the state was written by a newer build; start that one")]
    NewerSchema {
        /// The first such record.
        #[source]
        source: DamagedRecord,
    },
    /// The journal of what was signed cannot be used.
    #[error("the journal of what was signed cannot be used")]
    Journal {
        /// Why, and the safe procedure.
        #[source]
        source: JournalFault,
    },
    /// The journal cannot be made smaller. What it says is there, in the file as it was.
    #[error("cannot write a smaller journal of what was signed")]
    Compact {
        /// Why.
        #[source]
        source: CompactError,
    },
    /// The commit mark cannot be opened.
    #[error("cannot open the commit mark in {}", path.display())]
    Mark {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why the journal was not made smaller.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The file system refused.
    #[error("the file system refused")]
    Io(#[from] io::Error),
    /// The state did not take the new length.
    #[error("the state does not take the new length")]
    State(#[from] StateFault),
    /// The smaller one cannot be read.
    #[error("the smaller one cannot be read")]
    Journal(#[from] JournalFault),
}

/// Why a commit is not durable.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A row is larger than a record may be. Nothing was written; other commits go on.
    #[error(
        "row {key} of `{}` takes {got_bytes} bytes, more than a record may have",
        table.name()
    )]
    RecordTooLarge {
        /// Its table.
        table: Table,
        /// Its key, hexadecimal.
        key: String,
        /// Its size.
        got_bytes: usize,
    },
    /// The writes together are larger than a commit may be. Nothing was written.
    #[error("{writes} writes are larger than one commit may be")]
    BatchTooLarge {
        /// How many there were.
        writes: usize,
    },
    /// The journal would grow beyond what a node reads. Nothing was written; the next start makes
    /// it smaller.
    #[error(
        "signed.journal has {has_bytes} bytes and would get {adds_bytes} more, beyond the \
         {JOURNAL_BYTES_MAX} that a node reads; start the node anew, which makes it smaller"
    )]
    JournalFull {
        /// Bytes there are.
        has_bytes: u64,
        /// Bytes of the new lines.
        adds_bytes: u64,
    },
    /// A value has no encoding. Nothing was written.
    #[error("a value of `{name}` cannot be encoded")]
    Encode {
        /// Its table or file.
        name: &'static str,
        /// What the writer said.
        #[source]
        source: serde_json::Error,
    },
    /// The journal could not be written or synced; no row was.
    #[error("cannot append to the journal of what was signed")]
    Journal {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was put away could not be written or synced; no row was changed.
    #[error("cannot write to the freezer")]
    Freezer {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The rows could not be written. Their journal entries are there.
    #[error("cannot write to the state")]
    State {
        /// Why.
        #[source]
        source: StateFault,
    },
    /// The rows were written and could not be synced.
    #[error("cannot sync the state")]
    Sync {
        /// Why.
        #[source]
        source: StateFault,
    },
    /// The commit mark could not be moved.
    #[error("cannot move the commit mark")]
    Mark {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier commit failed; what is on the disk is unknown until the store is reopened.
    #[error("the store was not reopened after a failure: {first_failure}")]
    Poisoned {
        /// The failure.
        first_failure: String,
    },
}

impl CommitError {
    /// Whether nothing was written and the next commit may succeed at once.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::RecordTooLarge { .. }
                | Self::BatchTooLarge { .. }
                | Self::JournalFull { .. }
                | Self::Encode { .. }
        )
    }

    /// Whether the disk, a quota or a file size limit is full: reopen when space returned.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        let kind = match self {
            Self::Journal { source } | Self::Freezer { source } | Self::Mark { source } => {
                Some(source.kind())
            }
            Self::State { source } | Self::Sync { source } => source.io_kind(),
            Self::RecordTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::JournalFull { .. }
            | Self::Encode { .. }
            | Self::Poisoned { .. } => None,
        };
        matches!(
            kind,
            Some(
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            )
        )
    }
}

/// Why the store could not be read or copied.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("cannot read the state")]
    State {
        /// Why.
        #[source]
        source: StateFault,
    },
    /// The journal failed.
    #[error("cannot read the journal of what was signed")]
    Journal {
        /// Why.
        #[source]
        source: JournalFault,
    },
    /// The freezer failed, or what is in it is damaged.
    #[error("cannot read the freezer")]
    Freezer {
        /// Why.
        #[from]
        source: FreezerFault,
    },
    /// A record is damaged, so that the copy would be incomplete.
    #[error("the store has a damaged record")]
    Damaged {
        /// The first one.
        #[source]
        source: DamagedRecord,
    },
    /// The copy could not be written.
    #[error("cannot write the copy")]
    Write {
        /// What whoever takes it said.
        #[source]
        source: io::Error,
    },
    /// Another copy is being made.
    #[error("another copy of the store is being made")]
    Busy,
    /// Commits changed more during the copy than is set aside.
    #[error("too much changed while the store was copied")]
    ChangedTooMuch,
    /// The store failed earlier and was not reopened.
    #[error("the store was not reopened after a failure")]
    Closed,
}
