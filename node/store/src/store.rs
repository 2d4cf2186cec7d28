//! The store: opened once, written by one thread, reopened after a failure.
//!
//! Here is what writes; `read` looks through all of it and copies it, beside the one who writes.

mod read;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use node_core::rows::{JournalEntry, Row, Table, Write};

use crate::batch::Batch;
use crate::compact::{write_smaller, Compacted, Compaction, Fresh};
use crate::copied::Copied;
use crate::copying::Copying;
use crate::error::{CommitError, CompactError, OpenError, StateFault};
use crate::freezer::{self, Freezer, Key, Place, FREEZER_DIR};
use crate::instance::Instance;
use crate::journal::{
    Acknowledged, Journal, JournalContent, JournalFault, TornTail, JOURNAL_BYTES_MAX,
};
use crate::mark::{Mark, Tip};
use crate::places::{beginning_of_key, DamagedDrawer};
use crate::record::{self, DamagedRecord, RecordFault};
use crate::restore::is_half_restored;
use crate::state::State;
use crate::sync::{create_private_dir, rewrite_in_place, sync_dir};

pub use read::VerifyReport;

pub(crate) const STATE_DIR: &str = "state";

/// Places of the freezer that are written down at once.
const PLACES_PER_COMMIT: usize = 4_096;

/// Names tried for a damaged state that was moved aside within one second.
const ASIDE_NAMES_MAX: u32 = 100;

/// An open store. Its data directory is locked until it is dropped.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    inner: Mutex<Inner>,
    // Last: the lock is released after everything else is closed.
    _instance: Instance,
}

/// What a store held when it was opened.
#[derive(Debug)]
#[must_use]
pub struct Loaded {
    /// Every readable row.
    pub rows: Vec<Row>,
    /// Everything that was ever signed, oldest first.
    pub journal: Vec<JournalEntry>,
    /// The state was damaged and is empty now.
    pub rebuilt: Option<Rebuilt>,
    /// The state opened, and lacks commits that were acknowledged.
    pub lost_commits: Option<LostCommits>,
    /// Rows were lost in an earlier life, and it ended before they were told again.
    pub lacks_rows: bool,
    /// Records that cannot be read; their rows are missing above.
    pub damaged: Vec<DamagedRecord>,
    /// Records of the freezer's index that could not be read, and were made anew from what its
    /// files hold. No row is missing for it.
    pub damaged_drawers: usize,
    /// An unfinished line that was cut off the journal.
    pub torn_tail: Option<TornTail>,
    /// The journal was long, and was made smaller; or could not be, and is as it was.
    pub compacted: Option<io::Result<Compacted>>,
    /// Lines of the journal are lost; only [`Store::open_to_repair`] opens a store then.
    pub journal_loss: Option<JournalFault>,
    /// The journal was put back from a copy, and what was signed after that copy can still land.
    pub is_of_a_copy: bool,
}

impl Loaded {
    /// Whether every acknowledged row is there. If not, leases may have been granted and receipts
    /// accepted that are unknown now: catch up with chain and peers before signing or granting,
    /// and commit [`Write::CaughtUp`] then; until that, every opening says it again.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.has_lost_rows() && !self.lacks_rows
    }

    /// Whether something may have been signed that neither journal nor rows tell of: the journal is
    /// lost, and the rows do not make up for it, because they come from a copy or are lost as well.
    ///
    /// Without a copy whole rows do: a signature is sent once its row is durable.
    #[must_use]
    pub fn may_lack_signatures(&self) -> bool {
        self.journal_loss.is_some() && (self.is_of_a_copy || !self.is_complete())
    }

    /// Whether a loss was found just now.
    fn has_lost_rows(&self) -> bool {
        self.rebuilt.is_some() || self.lost_commits.is_some() || !self.damaged.is_empty()
    }
}

/// A damaged state was moved aside and an empty one made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// What was wrong.
    pub reason: String,
    /// Where the damaged files are now.
    pub moved_to: PathBuf,
}

/// The state is older than the mark beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostCommits {
    /// Commits that were acknowledged.
    pub acknowledged: u64,
    /// Commits found.
    pub found: u64,
}

#[derive(Debug)]
struct Inner {
    /// `None` while a failed reopening waits for the next one.
    state: Option<State>,
    freezer: Freezer,
    journal: Journal,
    mark: Mark,
    tip: Tip,
    first_failure: Option<String>,
    /// A copy that is under way.
    copying: Option<Copying>,
}

impl Store {
    /// Opens the store of a data directory, or makes one, and reads all of it.
    ///
    /// A damaged state is moved to `state.broken-<unix seconds>` and replaced by an empty one;
    /// [`Loaded`] says so. A damaged journal is never replaced.
    ///
    /// # Errors
    ///
    /// Every [`OpenError`]. [`OpenError::Locked`] leaves the other process and its files alone.
    pub fn open(dir: &Path) -> Result<(Self, Loaded), OpenError> {
        Self::open_with(dir, OnJournalLoss::Refuse, Compaction::default())
    }

    /// As [`Store::open`], for commands that write down anew what was signed: a journal that is
    /// missing or short is taken as it is, and [`Loaded::journal_loss`] says so. Until something is
    /// committed, [`Store::open`] refuses the directory as before.
    ///
    /// # Errors
    ///
    /// Every [`OpenError`], also [`OpenError::Journal`] for a journal that is damaged.
    pub fn open_to_repair(dir: &Path) -> Result<(Self, Loaded), OpenError> {
        Self::open_with(dir, OnJournalLoss::Accept, Compaction::default())
    }

    /// Opens the store of a stopped node to be looked through or copied, and reads none of it.
    /// Every commit is refused, and what is damaged stays where it is.
    ///
    /// Two things are changed all the same: the database writes down how far it came, as with every
    /// opening, and a line of the journal that was never finished is cut off.
    ///
    /// # Errors
    ///
    /// Every [`OpenError`], also [`OpenError::NoStore`].
    pub fn open_to_read(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(STATE_DIR);
        if !path.is_dir() {
            return Err(OpenError::NoStore { path: dir.to_owned() });
        }
        let instance = Instance::lock(dir)?;
        if is_half_restored(dir) {
            return Err(OpenError::HalfRestored { path: dir.to_owned() });
        }
        let mark_failed = |source| OpenError::Mark { path: dir.to_owned(), source };
        let (mark, marked) = Mark::open(dir).map_err(mark_failed)?;
        let (state, tip) = State::open(&path).map_err(|fault| state_failed(&path, fault))?;
        let is_behind = tip.commits < marked.commits;
        let acknowledged = Acknowledged {
            bytes: tip.journal_bytes.max(marked.journal_bytes),
            is_exact: tip.commits > 0 && !is_behind,
        };
        let (journal, _) =
            Journal::open(dir, acknowledged).map_err(|source| OpenError::Journal { source })?;
        let lacks_rows = tip.lacks_rows || is_behind;
        let inner = Inner {
            state: Some(state),
            freezer: open_freezer(dir)?,
            journal,
            mark,
            tip: Tip { lacks_rows, ..tip },
            first_failure: Some("it was opened to be read".to_owned()),
            copying: None,
        };
        Ok(Self { dir: dir.to_owned(), inner: Mutex::new(inner), _instance: instance })
    }

    /// Writes down that rows are missing, as after a loss: whoever opens the store next is told.
    pub(crate) fn say_that_rows_are_missing(&self) -> Result<(), StateFault> {
        let mut inner = self.lock();
        let tip = Tip { lacks_rows: true, ..inner.tip };
        let Some(state) = &inner.state else { return Ok(()) };
        remember_loss(state, tip)?;
        inner.tip = tip;
        Ok(())
    }

    fn open_with(
        dir: &Path,
        on_loss: OnJournalLoss,
        compaction: Compaction,
    ) -> Result<(Self, Loaded), OpenError> {
        create_private_dir(dir)
            .map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
        let instance = Instance::lock(dir)?;
        if is_half_restored(dir) {
            return Err(OpenError::HalfRestored { path: dir.to_owned() });
        }
        let mark_failed = |source| OpenError::Mark { path: dir.to_owned(), source };
        let (mark, marked) = Mark::open(dir).map_err(mark_failed)?;
        let (opened, rebuilt) = open_or_rebuild(dir)?;
        let Opened { state, tip, rows, damaged } = opened;
        let lost_commits = (tip.commits < marked.commits)
            .then_some(LostCommits { acknowledged: marked.commits, found: tip.commits });
        let acknowledged = Acknowledged {
            bytes: tip.journal_bytes.max(marked.journal_bytes),
            // A new, rebuilt or outdated state does not know what was acknowledged.
            is_exact: tip.commits > 0 && lost_commits.is_none(),
        };
        let (journal, content, journal_loss) = open_journal(dir, acknowledged, on_loss)
            .map_err(|source| OpenError::Journal { source })?;
        let journal_bytes = if journal_loss.is_some() { journal.len() } else { acknowledged.bytes };
        let mut loaded = Loaded {
            rows,
            journal: content.entries,
            rebuilt,
            lost_commits,
            lacks_rows: tip.lacks_rows,
            damaged,
            damaged_drawers: 0,
            torn_tail: content.torn_tail,
            compacted: None,
            journal_loss,
            is_of_a_copy: false,
        };
        let freezer = open_freezer(dir)?;
        loaded.damaged_drawers =
            find_lost_places(&state, freezer.dir(), tip, loaded.has_lost_rows())
                .map_err(|fault| state_failed(&dir.join(STATE_DIR), fault))?;
        let is_of_a_copy = is_of_a_copy(&loaded, tip);
        loaded.is_of_a_copy = is_of_a_copy;
        let lacks_rows = !loaded.is_complete();
        if lacks_rows && !tip.lacks_rows {
            // Now, and not with the first commit: the node may die before that.
            remember_loss(&state, tip)
                .map_err(|fault| state_failed(&dir.join(STATE_DIR), fault))?;
        }
        let commits = tip.commits.max(marked.commits);
        let tip = Tip { commits, journal_bytes, lacks_rows, is_of_a_copy };
        let state = Some(state);
        let (first_failure, copying) = (None, None);
        let mut inner = Inner { state, freezer, journal, mark, tip, first_failure, copying };
        if loaded.is_complete() && loaded.journal_loss.is_none() && loaded.torn_tail.is_none() {
            let fresh = write_smaller(dir, &mut loaded.journal, inner.journal.len(), compaction);
            let compacted = fresh.transpose().map(|fresh| match fresh {
                Ok(fresh) => inner.take(dir, fresh).map(Ok),
                Err(error) => Ok(Err(error)),
            });
            let compacted = compacted.transpose();
            loaded.compacted = compacted.map_err(|source| OpenError::Compact { source })?;
        }
        Ok((Self { dir: dir.to_owned(), inner: Mutex::new(inner), _instance: instance }, loaded))
    }

    /// Makes writes durable: journal entries first, then what goes to the freezer, then all rows at
    /// once.
    ///
    /// When it returns, a power cut loses nothing of it. If the process dies before, the journal
    /// may have entries whose rows are missing, and of the rows there are all or none. Writes
    /// apply in order; the same writes again change no row and repeat their journal lines.
    ///
    /// # Errors
    ///
    /// A refusal ([`CommitError::is_refusal`]) wrote nothing. After any other error the store
    /// refuses every commit until [`Store::reopen`] succeeded; then the same writes can be
    /// committed again.
    pub fn commit(&self, writes: &[Write]) -> Result<(), CommitError> {
        let batch = Batch::encode(writes)?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        let (has_bytes, adds_bytes) = (inner.journal.len(), batch.journal_lines.len() as u64);
        if adds_bytes > 0 && has_bytes.saturating_add(adds_bytes) > JOURNAL_BYTES_MAX {
            return Err(CommitError::JournalFull { has_bytes, adds_bytes });
        }
        inner.commit(&batch)
    }

    /// Opens state and journal anew after a failed commit, in the same process and under the same
    /// lock. Acknowledged rows are all there afterwards; those of the failed commit may be.
    ///
    /// # Errors
    ///
    /// Every [`OpenError`] of a state that cannot be opened; the store stays as it was, and the
    /// call can be repeated. Nothing is moved aside here.
    pub fn reopen(&self) -> Result<(), OpenError> {
        let path = self.dir.join(STATE_DIR);
        let mut inner = self.lock();
        inner.state = None;
        let failed = |source| OpenError::State { path: path.clone(), source };
        rewrite_in_place(&path.join("db")).map_err(|source| failed(StateFault::Io { source }))?;
        let (state, found) = State::open(&path).map_err(failed)?;
        if found.commits < inner.tip.commits {
            let acknowledged = inner.tip.commits;
            let found = found.commits;
            let detail = format!("{found} commits of {acknowledged} are there after a failure");
            return Err(failed(StateFault::Corrupt { detail }));
        }
        inner.journal.reopen().map_err(|source| OpenError::Journal {
            source: crate::JournalFault::Io { path: self.dir.clone(), source },
        })?;
        let (mark, _) = Mark::open(&self.dir)
            .map_err(|source| OpenError::Mark { path: self.dir.clone(), source })?;
        inner.mark = mark;
        // A commit that failed after it was applied was counted and not acknowledged.
        inner.tip.commits = found.commits;
        inner.tip.lacks_rows = found.lacks_rows;
        inner.tip.is_of_a_copy = found.is_of_a_copy;
        inner.state = Some(state);
        inner.first_failure = None;
        Ok(())
    }

    /// Bytes of the journal, all of them whole and synced.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        self.lock().journal.len()
    }

    /// Bytes that the store takes on the disk.
    ///
    /// # Errors
    ///
    /// Those of reading directories.
    pub fn size_on_disk(&self) -> io::Result<u64> {
        allocated_bytes(&self.dir)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            let mut inner = poisoned.into_inner();
            inner.fail("a commit panicked");
            inner
        })
    }
}

impl Inner {
    fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        if let Some(first_failure) = self.first_failure.clone() {
            return Err(CommitError::Poisoned { first_failure });
        }
        let result = self.commit_durably(batch);
        if let Err(error) = &result {
            self.fail(&error.to_string());
        }
        result
    }

    fn commit_durably(&mut self, batch: &Batch) -> Result<(), CommitError> {
        self.journal
            .append(&batch.journal_lines)
            .map_err(|source| CommitError::Journal { source })?;
        let placed = self.freezer.append(&batch.frozen);
        let placed = placed.map_err(|source| CommitError::Freezer { source })?;
        let keys = batch.frozen.iter().map(|frame| frame.key);
        let places: Vec<(Key, Place)> = keys.zip(placed).collect();
        let tip = Tip {
            commits: self.tip.commits + 1,
            journal_bytes: self.journal.len(),
            lacks_rows: self.tip.lacks_rows && !batch.is_caught_up,
            is_of_a_copy: batch.is_of_a_copy.unwrap_or(self.tip.is_of_a_copy),
        };
        let state = self.state.as_ref().ok_or_else(|| CommitError::Poisoned {
            first_failure: "the state is closed".to_owned(),
        })?;
        if let Some(copying) = &mut self.copying {
            copying.keep(state, &batch.changes);
        }
        state.apply(batch, &places, tip).map_err(|source| CommitError::State { source })?;
        state.sync().map_err(|source| CommitError::Sync { source })?;
        self.mark.set(tip).map_err(|source| CommitError::Mark { source })?;
        if self.tip.journal_bytes == 0 && tip.journal_bytes > 0 {
            self.mark.sync().map_err(|source| CommitError::Mark { source })?;
        }
        self.tip = tip;
        Ok(())
    }

    /// Puts a smaller journal in the place of the one there is. First everybody who remembers how
    /// long that was is told that it may be shorter; a crash in between leaves the long one.
    fn take(&mut self, dir: &Path, fresh: Fresh) -> Result<Compacted, CompactError> {
        let (from_bytes, to_bytes) = (self.journal.len(), fresh.bytes);
        self.remember_length(to_bytes)?;
        fresh.take_its_place(dir)?;
        let acknowledged = Acknowledged { bytes: to_bytes, is_exact: true };
        (self.journal, _) = Journal::open(dir, acknowledged)?;
        Ok(Compacted { from_bytes, to_bytes })
    }

    fn remember_length(&mut self, journal_bytes: u64) -> Result<(), CompactError> {
        let tip = Tip { journal_bytes, ..self.tip };
        if let Some(state) = &self.state {
            state.apply(&Batch::default(), &[], tip)?;
            state.sync()?;
        }
        self.mark.set(tip)?;
        self.mark.sync()?;
        self.tip = tip;
        Ok(())
    }

    fn fail(&mut self, failure: &str) {
        self.first_failure.get_or_insert_with(|| failure.to_owned());
    }
}

/// What to do about a journal that lacks lines this node has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnJournalLoss {
    /// Nothing may be signed: do not open.
    Refuse,
    /// It is about to be written anew.
    Accept,
}

type OpenedJournal = (Journal, JournalContent, Option<JournalFault>);

fn open_journal(
    dir: &Path,
    acknowledged: Acknowledged,
    on_loss: OnJournalLoss,
) -> Result<OpenedJournal, JournalFault> {
    let loss = match Journal::open(dir, acknowledged) {
        Ok((journal, content)) => return Ok((journal, content, None)),
        Err(error) => error,
    };
    match (&loss, on_loss) {
        (JournalFault::Missing { .. } | JournalFault::Short { .. }, OnJournalLoss::Accept) => {
            let (journal, content) = Journal::open(dir, Acknowledged::default())?;
            Ok((journal, content, Some(loss)))
        }
        _ => Err(loss),
    }
}

/// Whether the journal is a copy that has not settled.
fn is_of_a_copy(loaded: &Loaded, tip: Tip) -> bool {
    let said = loaded.journal.iter().rev().find_map(|line| line.step.says_of_a_copy());
    match &loaded.journal_loss {
        // A journal that is whole knows best.
        None => said == Some(true),
        // Of one that is not, the last word may be lost.
        Some(_) => tip.is_of_a_copy || said == Some(true),
    }
}

/// Writes down in the state, and nothing else there, that rows were lost.
fn remember_loss(state: &State, found: Tip) -> Result<(), StateFault> {
    state.apply(&Batch::default(), &[], Tip { lacks_rows: true, ..found })?;
    state.sync()
}

fn open_freezer(dir: &Path) -> Result<Freezer, OpenError> {
    Freezer::open(dir).map_err(|source| OpenError::Freezer { path: dir.join(FREEZER_DIR), source })
}

/// Finds again what the index of the freezer has lost: all of it where rows are lost, for the
/// places may be as well; else what damaged drawers named, if one was met. Those are emptied when
/// that is durable: who dies before finds them damaged again. How many there were.
///
/// Other starts do not look: what the index holds of a million receipts would be read by each, and
/// be in memory at its beginning.
fn find_lost_places(
    state: &State,
    freezer: &Path,
    tip: Tip,
    has_lost_rows: bool,
) -> Result<usize, StateFault> {
    if !has_lost_rows && !state.has_unreadable_drawer()? {
        return Ok(0);
    }
    let damaged = state.damaged_drawers()?;
    let beginnings: BTreeSet<_> = damaged.iter().map(DamagedDrawer::beginning).collect();
    // Where a key tells of no beginning, another one's drawer is gone.
    let is_any_lost = has_lost_rows || beginnings.contains(&None);
    let is_lost = |key: &Key| is_any_lost || beginnings.contains(&Some(beginning_of_key(key)));
    if is_any_lost || !damaged.is_empty() {
        find_places(state, freezer, tip, is_lost)?;
    }
    state.empty_drawers(&damaged)?;
    Ok(damaged.len())
}

/// Writes down again where the records of the freezer are whose places are lost. What cannot be
/// read is not found again, and stays where it is.
fn find_places(
    state: &State,
    freezer: &Path,
    tip: Tip,
    is_lost: impl Fn(&Key) -> bool,
) -> Result<(), StateFault> {
    let mut places = Vec::new();
    let apply = |places: &mut Vec<(Key, Place)>| {
        state.apply(&Batch::default(), &std::mem::take(places), tip)
    };
    freezer::for_each_place(freezer, |key, place| {
        places.extend(is_lost(&key).then_some((key, place)));
        if places.len() < PLACES_PER_COMMIT {
            return Ok(());
        }
        apply(&mut places)
    })?;
    apply(&mut places)?;
    state.sync()
}

struct Opened {
    state: State,
    tip: Tip,
    rows: Vec<Row>,
    damaged: Vec<DamagedRecord>,
}

enum LoadError {
    State(StateFault),
    NewerSchema(DamagedRecord),
}

fn load(path: &Path) -> Result<Opened, LoadError> {
    let (state, _) = State::open(path).map_err(LoadError::State)?;
    let mut copied = Copied::default();
    for table in Table::ALL.iter().copied() {
        state.for_each(table, LoadError::State, |key, bytes| {
            copied.push(table, key, bytes);
            Ok(())
        })?;
    }
    // sled keeps what it has read, whatever its cache may hold: all rows would be in memory twice.
    drop(state);
    let (state, tip) = State::open(path).map_err(LoadError::State)?;
    let mut rows = Vec::with_capacity(copied.len());
    let mut damaged = Vec::new();
    copied.consume(|table, key, bytes| {
        match record::decode(table, key, bytes) {
            Ok(mut row) => {
                share_architecture(&mut row, rows.last());
                rows.push(row);
            }
            Err(record) if matches!(record.fault, RecordFault::NewerSchema { .. }) => {
                return Err(LoadError::NewerSchema(record));
            }
            Err(record) => damaged.push(record),
        }
        Ok(())
    })?;
    Ok(Opened { state, tip, rows, damaged })
}

/// The trials of a submission, which follow each other, show the same architecture. It is kept once
/// from the beginning: later, the room of the others would lie between what stays.
fn share_architecture(row: &mut Row, before: Option<&Row>) {
    if let (Row::Outcome(row), Some(Row::Outcome(before))) = (row, before) {
        if let Some(traced) = &mut row.architecture {
            traced.share(before.architecture.iter());
        }
    }
}

fn open_or_rebuild(dir: &Path) -> Result<(Opened, Option<Rebuilt>), OpenError> {
    let path = dir.join(STATE_DIR);
    let reason = match load(&path) {
        Ok(opened) => {
            sync_dir(dir).map_err(|source| state_failed(&path, StateFault::Io { source }))?;
            return Ok((opened, None));
        }
        Err(LoadError::State(fault @ StateFault::Corrupt { .. })) => fault.to_string(),
        Err(error) => return Err(refused(&path, error)),
    };
    let moved_to =
        move_aside(dir).map_err(|source| OpenError::MoveAside { path: path.clone(), source })?;
    let opened = load(&path).map_err(|error| refused(&path, error))?;
    Ok((opened, Some(Rebuilt { reason, moved_to })))
}

fn state_failed(path: &Path, source: StateFault) -> OpenError {
    OpenError::State { path: path.to_owned(), source }
}

fn refused(path: &Path, error: LoadError) -> OpenError {
    match error {
        LoadError::State(source) => state_failed(path, source),
        LoadError::NewerSchema(source) => OpenError::NewerSchema { source },
    }
}

fn move_aside(dir: &Path) -> io::Result<PathBuf> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let names = std::iter::once(format!("{STATE_DIR}.broken-{seconds}"))
        .chain((1..ASIDE_NAMES_MAX).map(|n| format!("{STATE_DIR}.broken-{seconds}.{n}")));
    for target in names.map(|name| dir.join(name)) {
        if !target.try_exists()? {
            std::fs::rename(dir.join(STATE_DIR), &target)?;
            sync_dir(dir)?;
            return Ok(target);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn allocated_bytes(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::read_dir(dir)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // sled removes files while it runs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sum),
            metadata => metadata?,
        };
        let bytes = if metadata.is_dir() {
            allocated_bytes(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
        Ok(sum + bytes)
    })
}

#[cfg(test)]
mod tests;
