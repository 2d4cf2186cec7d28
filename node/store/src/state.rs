//! The door to sled: opening, atomic batches, durability, reading.
//!
//! What this file knows about sled 0.34.7, so that nothing else has to:
//!
//! - A transaction over several trees and a batch on one tree use the same mechanism: a record at
//!   their start in the log that names the log position of their end. Recovery stops before a
//!   batch whose end it did not find. So a transaction over all tables is as atomic as a batch,
//!   and each table can have its own tree.
//! - `flush` only starts the write-back on Linux. A commit is durable after `sync_data` on a
//!   handle of the log file; a handle of our own also sees errors of write-back that sled's
//!   background thread ran into.
//! - A page larger than a quarter of a log segment goes to a file of its own, which sled never
//!   syncs. Segments are as large as sled allows, and records bounded, so that no page gets there.
//! - A process that dies while it opens the database can leave `snap.*.generating` behind. sled
//!   takes it for the newest snapshot and never opens again; it is removed before opening.
//! - The lock of a closed database is sometimes released late.
//!
//! Sources: `transaction.rs`, `pagecache/{mod,iterator,logger,snapshot,blob_io}.rs`, `config.rs`.

use std::any::Any;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use node_core::id::SubmissionId;
use node_core::rows::Table;
use sled::transaction::{
    ConflictableTransactionError, TransactionError, Transactional, TransactionalTree,
};

use crate::batch::{Batch, Change};
use crate::envelope;
use crate::error::StateFault;
use crate::freezer::{Key, Place};
use crate::mark::Tip;
use crate::places::{
    beginning_of, beginning_of_key, drawer_key, drawer_of, DamagedDrawer, Drawer, Places,
};
use crate::record::RECORD_BYTES_MAX;
use crate::sync::sync_dir;

/// Name of the tree that counts commits; public because it stands beside the tables.
pub const META_TREE: &str = "store_meta";
const TIP_KEY: &str = "tip";
const TIP_VERSION: u8 = 1;

/// Beside the tip once a drawer of the freezer's index was met that cannot be read: the next start
/// looks into all of them, which others need not.
const UNREADABLE_DRAWER_KEY: &str = "unreadable_drawer";

/// Name of the tree that says where the records of the freezer are.
pub const FREEZER_TREE: &str = "freezer";

/// Its place among the trees: behind the tables.
const FREEZER_POSITION: usize = Table::ALL.len();

/// Places that are read at once. Lower: the lock is taken more often. Higher: commits wait longer
/// for it.
const PLACES_MAX: usize = 4_096;

/// sled's log segment: the largest it accepts. Changing it makes old stores unreadable.
const SEGMENT_BYTES: usize = 16 << 20;

/// Records in a page: sled splits above 16; some more while a split or merge is under way.
const PAGE_RECORDS_MAX: usize = 24;
const _: () = assert!(PAGE_RECORDS_MAX * RECORD_BYTES_MAX < SEGMENT_BYTES / 4);

/// sled's page cache. Lower: reads go to the disk. Higher: memory that the runs need.
const CACHE_BYTES: u64 = 16 << 20;

/// How long a closing process may hold the database before opening fails. Lower: a quick restart
/// fails. Higher: a start that cannot succeed takes that long to say so.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(2);
const BUSY_RETRY_EVERY: Duration = Duration::from_millis(20);

/// The open database.
pub(crate) struct State {
    db: sled::Db,
    /// In the order of [`Table::ALL`]; then that of the freezer, the meta tree last.
    trees: Vec<sled::Tree>,
    /// Our own handle of sled's log file.
    log_file: File,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    /// Opens or makes the database in a directory, and tells how far it has come.
    ///
    /// # Errors
    ///
    /// [`StateFault::Corrupt`] if sled refuses the files or panics over them.
    pub(crate) fn open(path: &Path) -> Result<(Self, Tip), StateFault> {
        guard(|| {
            remove_unfinished_snapshots(path).map_err(|source| StateFault::Io { source })?;
            let db = open_when_released(path)?;
            let names =
                Table::ALL.iter().map(|table| table.name()).chain([FREEZER_TREE, META_TREE]);
            let trees =
                names.map(|name| db.open_tree(name)).collect::<Result<_, _>>().map_err(fault)?;
            let log_file =
                File::open(path.join("db")).map_err(|source| StateFault::Io { source })?;
            let state = Self { db, trees, log_file };
            state.sync()?;
            sync_dir(path).map_err(|source| StateFault::Io { source })?;
            let tip = state.tip()?;
            Ok((state, tip))
        })
    }

    /// Applies all changes of a batch, where its records went, and the new tip, or nothing. Not
    /// durable yet.
    pub(crate) fn apply(
        &self,
        batch: &Batch,
        places: &[(Key, Place)],
        tip: Tip,
    ) -> Result<(), StateFault> {
        let payload = serde_json::to_vec(&tip)
            .map_err(|error| StateFault::Corrupt { detail: error.to_string() })?;
        let tip = envelope::seal(TIP_VERSION, &payload);
        let applied = guard(|| {
            self.trees
                .as_slice()
                .transaction(|views| {
                    for Change { table, key, record } in &batch.changes {
                        let Some(view) = views.get(position(*table)) else { continue };
                        match record {
                            Some(record) => view.insert(key.as_slice(), record.as_slice())?,
                            None => view.remove(key.as_slice())?,
                        };
                    }
                    let mut are_all_readable = true;
                    for (key, place) in places {
                        let Some(view) = views.get(FREEZER_POSITION) else { continue };
                        are_all_readable &= put_place(view, *key, *place)?;
                    }
                    if let Some(meta) = views.last() {
                        meta.insert(TIP_KEY, tip.as_slice())?;
                        if !are_all_readable {
                            meta.insert(UNREADABLE_DRAWER_KEY, &[])?;
                        }
                    }
                    Ok::<(), ConflictableTransactionError<StateFault>>(())
                })
                .map_err(|error| match error {
                    TransactionError::Storage(error) => fault(error),
                    TransactionError::Abort(fault) => fault,
                })
        });
        if matches!(applied, Err(StateFault::Foreign { .. })) {
            self.remember_unreadable_drawer()?;
        }
        applied
    }

    /// Makes everything applied so far durable.
    pub(crate) fn sync(&self) -> Result<(), StateFault> {
        guard(|| {
            self.db.flush().map_err(fault)?;
            self.log_file.sync_data().map_err(|source| StateFault::Io { source })
        })
    }

    /// Reads every record of a table, in the order of the keys, until `visit` fails.
    pub(crate) fn for_each<E>(
        &self,
        table: Table,
        wrap: impl Fn(StateFault) -> E,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(tree) = self.trees.get(position(table)) else { return Ok(()) };
        let mut records = tree.iter();
        while let Some(record) =
            guard(|| records.next().transpose().map_err(fault)).map_err(&wrap)?
        {
            visit(&record.0, &record.1)?;
        }
        Ok(())
    }

    /// Reads the records of a table behind a key, in order, until `goes_on` says that it was
    /// enough. Whether there are no more.
    pub(crate) fn for_each_after(
        &self,
        table: Table,
        after: Option<&[u8]>,
        mut goes_on: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<bool, StateFault> {
        let Some(tree) = self.trees.get(position(table)) else { return Ok(true) };
        guard(|| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            for record in tree.range::<&[u8], _>((from, Bound::Unbounded)) {
                let (key, record) = record.map_err(fault)?;
                if !goes_on(&key, &record) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// One record, if it is there.
    pub(crate) fn record(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StateFault> {
        let Some(tree) = self.trees.get(position(table)) else { return Ok(None) };
        guard(|| Ok(tree.get(key).map_err(fault)?.map(|record| record.to_vec())))
    }

    /// Where the records of a submission are, the oldest first; and the damaged drawers that may
    /// have named some.
    pub(crate) fn places_of(&self, of: &SubmissionId) -> Result<Places, StateFault> {
        let mut places = Places::default();
        let beginning = beginning_of(&of.0);
        let first = drawer_key(beginning, 0);
        self.for_each_drawer(Bound::Included(first.as_slice()), |key, drawer| {
            let is_of_these = key.starts_with(&beginning);
            if is_of_these {
                places.add(key, drawer);
            }
            is_of_these
        })?;
        places.known.retain(|(key, _)| key.starts_with(&of.0));
        places.known.sort_unstable();
        Ok(places)
    }

    /// What the drawers behind the one under a key say, a piece at a time; of none at the end.
    pub(crate) fn places_after(&self, after: Option<&[u8]>) -> Result<Places, StateFault> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut places = Places::default();
        self.for_each_drawer(from, |key, drawer| {
            places.add(key, drawer);
            places.known.len() < PLACES_MAX && places.damaged.len() < PLACES_MAX
        })?;
        Ok(places)
    }

    /// The drawers that cannot be read.
    ///
    /// # Errors
    ///
    /// [`StateFault::Foreign`] if a newer build wrote one.
    pub(crate) fn damaged_drawers(&self) -> Result<Vec<DamagedDrawer>, StateFault> {
        let mut damaged = Vec::new();
        self.for_each_drawer(Bound::Unbounded, |key, drawer| {
            if drawer.is_none() {
                damaged.push(DamagedDrawer { key: key.to_vec() });
            }
            true
        })?;
        Ok(damaged)
    }

    /// Whether somebody met a drawer that cannot be read, and none was emptied since.
    pub(crate) fn has_unreadable_drawer(&self) -> Result<bool, StateFault> {
        let Some(meta) = self.trees.last() else { return Ok(false) };
        guard(|| meta.contains_key(UNREADABLE_DRAWER_KEY).map_err(fault))
    }

    /// Tells the next start to look into all drawers. Durable with the next commit, or soon: until
    /// then, whoever meets that drawer says it again.
    fn remember_unreadable_drawer(&self) -> Result<(), StateFault> {
        if self.has_unreadable_drawer()? {
            return Ok(());
        }
        let Some(meta) = self.trees.last() else { return Ok(()) };
        guard(|| meta.insert(UNREADABLE_DRAWER_KEY, &[]).map(|_| ()).map_err(fault))
    }

    /// Empties damaged drawers, all that there are; whoever calls it has found their places again,
    /// and that is durable.
    pub(crate) fn empty_drawers(&self, damaged: &[DamagedDrawer]) -> Result<(), StateFault> {
        let Some(tree) = self.trees.get(FREEZER_POSITION) else { return Ok(()) };
        let Some(meta) = self.trees.last() else { return Ok(()) };
        let mut batch = sled::Batch::default();
        for drawer in damaged {
            if drawer.has_a_drawers_key() {
                batch.insert(drawer.key.as_slice(), Drawer::default().sealed());
            } else {
                batch.remove(drawer.key.as_slice());
            }
        }
        guard(|| tree.apply_batch(batch).map_err(fault))?;
        self.sync()?;
        guard(|| meta.remove(UNREADABLE_DRAWER_KEY).map(|_| ()).map_err(fault))?;
        self.sync()
    }

    /// Shows drawers of the freezer's index in the order of their keys, until `visit` says that it
    /// was enough; `None` for one that is damaged. What cannot be read is remembered.
    fn for_each_drawer(
        &self,
        from: Bound<&[u8]>,
        mut visit: impl FnMut(&[u8], Option<Drawer>) -> bool,
    ) -> Result<(), StateFault> {
        let Some(tree) = self.trees.get(FREEZER_POSITION) else { return Ok(()) };
        let mut is_any_damaged = false;
        let visited = guard(|| {
            for record in tree.range::<&[u8], _>((from, Bound::Unbounded)) {
                let (key, record) = record.map_err(fault)?;
                let drawer = drawer_of(&key, &record)?;
                is_any_damaged |= drawer.is_none();
                if !visit(&key, drawer) {
                    break;
                }
            }
            Ok(())
        });
        if is_any_damaged || matches!(visited, Err(StateFault::Foreign { .. })) {
            self.remember_unreadable_drawer()?;
        }
        visited
    }

    /// Writes something else into the first drawer of a submission's; `None` if there is none.
    #[cfg(test)]
    pub(crate) fn change_drawer(
        &self,
        of: &SubmissionId,
        change: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Option<()> {
        let (tree, key) = (self.trees.get(FREEZER_POSITION)?, drawer_key(beginning_of(&of.0), 0));
        let record = tree.get(key).ok()??;
        tree.insert(key, change(record.to_vec())).ok()?;
        self.sync().ok()
    }

    fn tip(&self) -> Result<Tip, StateFault> {
        let Some(meta) = self.trees.last() else { return Ok(Tip::default()) };
        let Some(bytes) = meta.get(TIP_KEY).map_err(fault)? else { return Ok(Tip::default()) };
        let (version, payload) =
            envelope::unseal(&bytes).map_err(|error| corrupt(&error.to_string()))?;
        if version > TIP_VERSION {
            let detail = format!("its commit counter has version {version}");
            return Err(StateFault::Foreign { detail });
        }
        serde_json::from_slice(payload).map_err(|error| corrupt(&error.to_string()))
    }
}

/// Puts a place into the drawer that has one under its key, or the first of its beginning that has
/// room. What a damaged one names is not known: it keeps its number, and others are looked at.
/// Whether all of these could be read.
fn put_place(
    view: &TransactionalTree,
    key: Key,
    place: Place,
) -> Result<bool, ConflictableTransactionError<StateFault>> {
    let beginning = beginning_of_key(&key);
    let (mut chosen, mut are_all_readable) = (None, true);
    for number in 0..=u16::MAX {
        let drawer_key = drawer_key(beginning, number);
        let Some(record) = view.get(drawer_key)? else {
            chosen = chosen.or_else(|| Some((drawer_key, Drawer::default())));
            break;
        };
        let drawer = drawer_of(&drawer_key, &record);
        match drawer.map_err(ConflictableTransactionError::Abort)? {
            Some(drawer) if drawer.has(&key) => {
                chosen = Some((drawer_key, drawer));
                break;
            }
            Some(drawer) if chosen.is_none() && drawer.has_room() => {
                chosen = Some((drawer_key, drawer));
            }
            Some(_) => {}
            None => are_all_readable = false,
        }
    }
    let is_full = || ConflictableTransactionError::Abort(corrupt("the freezer's index is full"));
    let (drawer_key, mut drawer) = chosen.ok_or_else(is_full)?;
    drawer.put(key, place);
    view.insert(drawer_key.as_slice(), drawer.sealed())?;
    Ok(are_all_readable)
}

/// A table's place in [`Table::ALL`].
pub(crate) fn position(table: Table) -> usize {
    Table::ALL.iter().take_while(|other| **other != table).count()
}

fn open_when_released(path: &Path) -> Result<sled::Db, StateFault> {
    let config =
        || sled::Config::new().path(path).segment_size(SEGMENT_BYTES).cache_capacity(CACHE_BYTES);
    let started = Instant::now();
    loop {
        match config().open().map_err(fault) {
            Err(StateFault::Busy) if started.elapsed() < BUSY_WAIT_MAX => {
                std::thread::sleep(BUSY_RETRY_EVERY);
            }
            result => return result,
        }
    }
}

fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn corrupt(detail: &str) -> StateFault {
    StateFault::Corrupt { detail: detail.to_owned() }
}

/// sled reports a held lock, and some torn files, as I/O errors of the kind `Other`.
fn fault(error: sled::Error) -> StateFault {
    match error {
        sled::Error::Io(source) => match source.kind() {
            io::ErrorKind::Other if source.to_string().contains("could not acquire lock") => {
                StateFault::Busy
            }
            io::ErrorKind::Other | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                corrupt(&source.to_string())
            }
            _ => StateFault::Io { source },
        },
        sled::Error::Unsupported(detail) => StateFault::Foreign { detail },
        sled::Error::Corruption { at, .. } => corrupt(&match at {
            Some(at) => format!("sled found corruption at {at:?}"),
            None => "sled found corruption".to_owned(),
        }),
        sled::Error::CollectionNotFound(_) | sled::Error::ReportableBug(_) => {
            corrupt(&error.to_string())
        }
    }
}

/// Turns a panic of sled, which asserts much of what it reads, into a fault.
fn guard<T>(work: impl FnOnce() -> Result<T, StateFault>) -> Result<T, StateFault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(corrupt(&format!("sled panicked: {}", words(&*panic)))))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}
