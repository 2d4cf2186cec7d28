//! What the node remembers: rows in sled, and the journal of what was signed in a file beside it.
//!
//! ```text
//! <data dir>/
//!   lock             one process at a time; holds the pid of the holder
//!   state/           sled: one tree per table, and one record that counts commits
//!   freezer/         what was put away: read when somebody asks for it, never at a start
//!   signed.journal   one checksummed JSON line per signing step, append-only
//!   commit.mark      how many commits were acknowledged; shows when the state lost one
//! ```
//!
//! A commit is durable when [`Store::commit`] returns and never before. After a failed write the
//! store claims nothing any more until [`Store::reopen`] succeeded. The interface blocks: call it
//! from a thread of its own.
//!
//! What was signed can leave as a file and be merged into another store: see [`History`]. All of it
//! can leave as a copy, also while the node runs, and be put back elsewhere: see [`Store::export`]
//! and [`Restoring`].
//!
//! What a copy consists of is a function of bytes for the fuzzer: [`fuzzing`]; no node uses it.
//!
//! Not here: what the rows mean (`node/core`), and what to do about a rebuilt store (the daemon).

mod batch;
mod compact;
mod copied;
mod copying;
mod dump;
mod envelope;
mod error;
mod freezer;
pub mod fuzzing;
mod history;
mod import;
mod instance;
mod interchange;
mod journal;
mod mark;
mod migration;
mod packed;
mod places;
mod record;
mod restore;
mod state;
mod store;
mod sync;

pub use compact::Compacted;
pub use dump::{
    check_backup, unfinished, BackupError, BackupHead, BackupItem, BackupReader, BackupReport,
    Copied, BACKUP_FORMAT,
};
pub use envelope::EnvelopeError;
pub use error::{CommitError, CompactError, OpenError, ReadError, StateFault};
pub use freezer::FreezerFault;
pub use history::{EpochHistory, EpochKey, History, Intended, MechanismHistory, Owner};
pub use import::{known_history, ImportError, Imported};
pub use interchange::{
    read_interchange, state_name, write_interchange, EpochProblem, InterchangeError,
    INTERCHANGE_BYTES_MAX, INTERCHANGE_FORMAT, INTERCHANGE_VERSION,
};
pub use journal::{
    read_journal, JournalFault, JournalRead, TornTail, JOURNAL_BYTES_MAX, JOURNAL_FILE,
};
pub use migration::MigrationError;
pub use record::{DamagedRecord, RecordFault, RECORD_BYTES_MAX};
pub use restore::{Begun, RestoreError, Restoring};
pub use state::{FREEZER_TREE, META_TREE};
pub use store::{Loaded, LostCommits, Rebuilt, Store, VerifyReport};

pub use batch::BATCH_BYTES_MAX;
