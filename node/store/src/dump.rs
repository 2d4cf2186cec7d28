//! A copy of everything as JSON lines: what `assay backup` writes and a person can read.
//!
//! ```text
//! {"begin":{"format":1,"genesis":"...","netuid":3,"hotkey":"5G...","made_at":1,"schemas":{}}}
//! {"row":{"lease":{...}}}              every row, table by table
//! {"frozen":{...}}                   every record of the freezer
//! {"journal":{...}}                    every entry, oldest first
//! {"end":{"rows":12,"frozen":5,"journal":3,"crc32":"0123abcd"}}
//! ```
//!
//! The checksum covers all lines before the last one. `schemas` says by table how rows were
//! encoded: those of an older build are upgraded as they are read, as in the store. Whoever could
//! not finish a copy ends it with `{"failed":{"reason":"..."}}`, so that who reads it is told why.
//!
//! There is no key and no password in it. There are salts of hash commits, and vectors that are not
//! revealed yet. Restoring one is a step of its own: see `restore`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::rows::{Frozen, JournalEntry, Row, Table};
use node_core::unit::UnixMs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::Owner;
use crate::migration::{self, MigrationError, NewerRows};

/// The format of the lines; a change that older builds misread raises it. 2: there can be records
/// of the freezer.
pub const BACKUP_FORMAT: u32 = 2;

/// Bytes of one line at most. Lower: the journal's line about a vector of 4096 uids does not fit.
/// Higher: a file that is none takes that much memory before it is refused.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Whose copy it is, and of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupHead {
    /// Whose state.
    pub owner: Owner,
    /// When it was begun, by the wall clock: it holds what there was then.
    pub made_at: UnixMs,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    format: u32,
    genesis: BlockHash,
    netuid: Netuid,
    hotkey: Hotkey,
    made_at: UnixMs,
    /// Version of the rows' encoding by name of the table.
    schemas: BTreeMap<String, u8>,
}

/// The format alone, of whatever build.
#[derive(Deserialize)]
struct FormatLine {
    begin: FormatOnly,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Written<'a> {
    Begin(Begin),
    Row(&'a Row),
    Frozen(&'a Frozen),
    Journal(&'a JournalEntry),
    End { rows: u64, frozen: u64, journal: u64, crc32: String },
    Failed { reason: String },
}

/// - `R`: a row, or the value of one that has to be upgraded.
/// - `A`: the same of a record of the freezer.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<R, A> {
    Begin(Begin),
    Row(R),
    Frozen(A),
    Journal(Box<JournalEntry>),
    End {
        rows: u64,
        /// Copies of format 1 have none.
        #[serde(default)]
        frozen: u64,
        journal: u64,
        crc32: String,
    },
    Failed {
        reason: String,
    },
}

/// What a copy holds, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupItem {
    /// A row.
    Row(Box<Row>),
    /// A record of the freezer.
    Frozen(Box<Frozen>),
    /// A line of the journal.
    Journal(Box<JournalEntry>),
}

/// How much was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows of all tables.
    pub rows: u64,
    /// Records of the freezer.
    pub frozen: u64,
    /// Lines of the journal.
    pub journal: u64,
    /// Bytes of the copy.
    pub bytes: u64,
}

/// What a sound copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Whose it is.
    pub head: BackupHead,
    /// Rows per table, in the order of [`Table::ALL`].
    pub records: Vec<(Table, u64)>,
    /// All of it.
    pub copied: Copied,
}

/// Why a file is not a copy that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line is not of this format.
    #[error("line {line} of {} cannot be read", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A row is of an older build and cannot be upgraded.
    #[error("the row in line {line} of {} cannot be upgraded", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// Why.
        #[source]
        source: MigrationError,
    },
    /// Its first line names no format that this build knows, or comes twice.
    #[error("{} is not a backup of format {BACKUP_FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A newer build wrote it.
    #[error("{} was written by a newer build: {what}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What this build does not read.
        what: String,
    },
    /// Its last line is missing or does not fit the others.
    #[error("{} is incomplete or was changed", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// Whoever wrote it could not finish it.
    #[error("{} was not finished: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl BackupError {
    /// What the operator can do about it.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Io { .. } => "name a file that this user can read",
            Self::Newer { .. } => "use the build that wrote it, or a newer one",
            Self::Format { .. } | Self::Line { .. } => {
                "name a file that `assay backup` wrote, with this build or an older one"
            }
            Self::Migration { .. } | Self::Incomplete { .. } => {
                "use another copy: a part of this one would be missing"
            }
            Self::Failed { .. } => "make it again with `assay backup`",
        }
    }
}

/// The end of a copy that cannot be finished.
#[must_use]
pub fn unfinished(reason: &str) -> Vec<u8> {
    let line = Written::Failed { reason: reason.to_owned() };
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Writes a copy, a line at a time.
pub(crate) struct BackupWriter<'a> {
    out: &'a mut dyn Write,
    crc: crc32fast::Hasher,
    copied: Copied,
}

impl<'a> BackupWriter<'a> {
    pub(crate) fn begin(out: &'a mut dyn Write, head: &BackupHead) -> io::Result<Self> {
        let mut writer = Self { out, crc: crc32fast::Hasher::new(), copied: Copied::default() };
        let Owner { genesis, netuid, hotkey } = head.owner;
        let version = |table: &Table| (table.name().to_owned(), table.schema_version());
        let schemas = Table::ALL.iter().map(version).collect();
        let (format, made_at) = (BACKUP_FORMAT, head.made_at);
        writer.line(&Written::Begin(Begin {
            format,
            genesis,
            netuid,
            hotkey,
            made_at,
            schemas,
        }))?;
        Ok(writer)
    }

    pub(crate) fn row(&mut self, row: &Row) -> io::Result<()> {
        self.copied.rows += 1;
        self.line(&Written::Row(row))
    }

    pub(crate) fn frozen(&mut self, frozen: &Frozen) -> io::Result<()> {
        self.copied.frozen += 1;
        self.line(&Written::Frozen(frozen))
    }

    pub(crate) fn entry(&mut self, entry: &JournalEntry) -> io::Result<()> {
        self.copied.journal += 1;
        self.line(&Written::Journal(entry))
    }

    pub(crate) fn end(mut self) -> io::Result<Copied> {
        let Copied { rows, frozen, journal, .. } = self.copied;
        let crc32 = format!("{:08x}", self.crc.clone().finalize());
        self.line(&Written::End { rows, frozen, journal, crc32 })?;
        self.out.flush()?;
        Ok(self.copied)
    }

    fn line(&mut self, line: &Written<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.crc.update(&text);
        self.copied.bytes += text.len() as u64;
        self.out.write_all(&text)
    }
}

/// Reads a copy, a line at a time. What it gives may be relied on once the end was reached.
#[derive(Debug)]
pub struct BackupReader<R = File> {
    lines: Lines<R>,
    head: BackupHead,
    /// Tables whose rows are of an older version, and which.
    older: BTreeMap<Table, u8>,
    rows: u64,
    frozen: u64,
    journal: u64,
}

/// The lines of a file, each with the checksum of those before it.
#[derive(Debug)]
struct Lines<R> {
    path: PathBuf,
    reader: BufReader<R>,
    /// Of all lines before the present one.
    crc: crc32fast::Hasher,
    text: Vec<u8>,
    /// Which it is, counted from one.
    line: usize,
    bytes: u64,
}

impl<R: Read> Lines<R> {
    fn of(path: &Path, reader: R) -> Self {
        let (path, reader) = (path.to_owned(), BufReader::new(reader));
        let (crc, text) = (crc32fast::Hasher::new(), Vec::new());
        Self { path, reader, crc, text, line: 0, bytes: 0 }
    }

    /// Reads the next line; whether there was one.
    fn advance(&mut self) -> Result<bool, BackupError> {
        self.crc.update(&self.text);
        self.text.clear();
        let mut bounded = self.reader.by_ref().take(LINE_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut self.text);
        let bytes = read.map_err(|source| BackupError::Io { path: self.path.clone(), source })?;
        self.line += 1;
        self.bytes += bytes as u64;
        Ok(bytes > 0)
    }

    fn parse<T, U>(&self) -> Result<Line<T, U>, BackupError>
    where
        T: DeserializeOwned,
        U: DeserializeOwned,
    {
        serde_json::from_slice(&self.text).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: serde_json::Error) -> BackupError {
        BackupError::Line { path: self.path.clone(), line: self.line, source }
    }

    fn incomplete(&self) -> BackupError {
        BackupError::Incomplete { path: self.path.clone() }
    }

    /// Why the first line does not begin a copy: it is something else, or the end of one that was
    /// never begun.
    fn not_begun(&self) -> BackupError {
        match self.parse::<Value, Value>() {
            Ok(Line::Failed { reason }) => self.failed(reason),
            _ => self.other_format(),
        }
    }

    fn failed(&self, reason: String) -> BackupError {
        BackupError::Failed { path: self.path.clone(), reason }
    }

    fn other_format(&self) -> BackupError {
        BackupError::Format { path: self.path.clone() }
    }

    fn newer(&self, what: String) -> BackupError {
        BackupError::Newer { path: self.path.clone(), what }
    }

    /// The first line.
    fn begin(&mut self) -> Result<Begin, BackupError> {
        if !self.advance()? {
            return Err(self.incomplete());
        }
        let format = match serde_json::from_slice(&self.text) {
            Ok(FormatLine { begin: FormatOnly { format } }) => format,
            Err(_) => return Err(self.not_begun()),
        };
        if format > BACKUP_FORMAT {
            let what = format!("it has format {format}, this build reads {BACKUP_FORMAT}");
            return Err(self.newer(what));
        }
        let line: Line<Value, Value> = self.parse()?;
        let Line::Begin(begin) = line else { return Err(self.other_format()) };
        Ok(begin)
    }
}

impl BackupReader {
    /// Opens a copy that [`crate::Store::export`] wrote, and reads whose it is.
    ///
    /// # Errors
    ///
    /// [`BackupError`], but for those of later lines.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        match File::open(path) {
            Ok(file) => Self::of(path, file),
            Err(source) => Err(BackupError::Io { path: path.to_owned(), source }),
        }
    }
}

impl<R: Read> BackupReader<R> {
    /// As [`BackupReader::open`], of what `reader` gives.
    ///
    /// - `path`: how errors call it.
    pub(crate) fn of(path: &Path, reader: R) -> Result<Self, BackupError> {
        let mut lines = Lines::of(path, reader);
        let Begin { genesis, netuid, hotkey, made_at, schemas, .. } = lines.begin()?;
        let older = migration::older_tables(schemas).map_err(|newer| {
            let NewerRows { table, version, known } = newer;
            lines.newer(format!("rows of `{table}` have version {version}, it knows {known}"))
        })?;
        let head = BackupHead { owner: Owner { genesis, netuid, hotkey }, made_at };
        Ok(Self { lines, head, older, rows: 0, frozen: 0, journal: 0 })
    }

    /// Whose copy it is.
    #[must_use]
    pub fn head(&self) -> &BackupHead {
        &self.head
    }

    /// The next row or journal line; `None` at the end: then everything was as it had been written.
    ///
    /// # Errors
    ///
    /// [`BackupError`] for a file that is not exactly what was written.
    pub fn next_item(&mut self) -> Result<Option<BackupItem>, BackupError> {
        if !self.lines.advance()? {
            return Err(self.lines.incomplete());
        }
        match self.parse()? {
            Line::Begin(_) => Err(self.lines.other_format()),
            Line::Row(row) => {
                self.rows += 1;
                Ok(Some(BackupItem::Row(row)))
            }
            Line::Frozen(frozen) => {
                self.frozen += 1;
                Ok(Some(BackupItem::Frozen(frozen)))
            }
            Line::Journal(entry) => {
                self.journal += 1;
                Ok(Some(BackupItem::Journal(entry)))
            }
            Line::Failed { reason } => Err(self.lines.failed(reason)),
            Line::End { rows, frozen, journal, crc32 } => {
                let found = format!("{:08x}", self.lines.crc.clone().finalize());
                let is_whole = (rows, frozen, journal) == (self.rows, self.frozen, self.journal)
                    && found == crc32
                    && !self.lines.advance()?;
                if is_whole {
                    Ok(None)
                } else {
                    Err(self.lines.incomplete())
                }
            }
        }
    }

    /// How much was read.
    fn copied(&self) -> Copied {
        let Self { rows, frozen, journal, .. } = *self;
        Copied { rows, frozen, journal, bytes: self.lines.bytes }
    }

    /// The line as it stands, its row upgraded where an older build wrote it.
    fn parse(&self) -> Result<Line<Box<Row>, Box<Frozen>>, BackupError> {
        if self.older.is_empty() {
            return self.lines.parse();
        }
        let line: Line<Value, Value> = self.lines.parse()?;
        Ok(match line {
            Line::Row(value) => Line::Row(Box::new(self.upgraded(value)?)),
            Line::Frozen(value) => Line::Frozen(Box::new(self.upgraded_record(value)?)),
            Line::Begin(begin) => Line::Begin(begin),
            Line::Journal(entry) => Line::Journal(entry),
            Line::End { rows, frozen, journal, crc32 } => {
                Line::End { rows, frozen, journal, crc32 }
            }
            Line::Failed { reason } => Line::Failed { reason },
        })
    }

    fn upgraded(&self, mut value: Value) -> Result<Row, BackupError> {
        self.upgrade(&mut value)?;
        serde_json::from_value(value).map_err(|source| self.lines.unreadable(source))
    }

    /// A record of the freezer, each of its rows upgraded.
    fn upgraded_record(&self, mut value: Value) -> Result<Frozen, BackupError> {
        let rows = value.get_mut("rows").and_then(Value::as_array_mut);
        rows.into_iter().flatten().try_for_each(|row| self.upgrade(row))?;
        serde_json::from_value(value).map_err(|source| self.lines.unreadable(source))
    }

    fn upgrade(&self, row: &mut Value) -> Result<(), BackupError> {
        migration::upgrade_row(row, &self.older).map_err(|source| {
            let (path, line) = (self.lines.path.clone(), self.lines.line);
            BackupError::Migration { path, line, source }
        })
    }
}

/// Reads all of a copy and says what it holds; none of it is kept in memory.
///
/// # Errors
///
/// [`BackupError`] for every file that is not exactly what was written.
pub fn check_backup(path: &Path) -> Result<BackupReport, BackupError> {
    check(BackupReader::open(path)?)
}

/// Reads to the end.
pub(crate) fn check<R: Read>(mut reader: BackupReader<R>) -> Result<BackupReport, BackupError> {
    let mut records: Vec<(Table, u64)> = Table::ALL.iter().map(|table| (*table, 0)).collect();
    while let Some(item) = reader.next_item()? {
        if let BackupItem::Row(row) = item {
            let of_table = records.iter_mut().find(|(table, _)| *table == row.table());
            of_table.into_iter().for_each(|(_, count)| *count += 1);
        }
    }
    Ok(BackupReport { head: reader.head, records, copied: reader.copied() })
}

#[cfg(test)]
mod tests;
