//! A copy of everything as JSON lines: what `assay backup` writes and a person can read.
//!
//! ```text
//! {"begin":{"format":1}}
//! {"row":{"lease":{...}}}              every row, table by table
//! {"journal":{...}}                    every entry, oldest first
//! {"end":{"rows":12,"journal":3,"crc32":"0123abcd"}}
//! ```
//!
//! The checksum covers all lines before the last one. Restoring one is a step of its own: rows
//! can be committed to a new store, but a journal from a copy may be older than the last
//! signature and must not replace a newer one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use node_core::rows::{JournalEntry, Row, Table};
use serde::{Deserialize, Serialize};

use crate::error::ReadError;
use crate::record;
use crate::state::State;
use crate::sync::{private_file, sync_dir};

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin { format: u32 },
    Row(Row),
    Journal(JournalEntry),
    End { rows: usize, journal: usize, crc32: String },
}

/// What a copy holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Every row, table by table.
    pub rows: Vec<Row>,
    /// Every journal entry, oldest first.
    pub journal: Vec<JournalEntry>,
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
    /// Its first line names no format that this build knows, or comes twice.
    #[error("{} is not a backup of format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// Its last line is missing or does not fit the others.
    #[error("{} is incomplete or was changed", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
}

struct Out {
    file: BufWriter<File>,
    crc: crc32fast::Hasher,
}

impl Out {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.crc.update(&text);
        self.file.write_all(&text)
    }
}

/// Writes a copy next to its final name, syncs it and renames it.
pub(crate) fn write_backup(
    path: &Path,
    state: &State,
    journal: &[JournalEntry],
) -> Result<(), ReadError> {
    let failed = |source| ReadError::Write { path: path.to_owned(), source };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let file = private_file().create(true).truncate(true).open(&partial).map_err(failed)?;
    let mut out = Out { file: BufWriter::new(file), crc: crc32fast::Hasher::new() };
    write_lines(path, &mut out, state, journal)?;
    let file = out.file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_dir(parent.unwrap_or(Path::new("."))).map_err(failed)
}

fn write_lines(
    path: &Path,
    out: &mut Out,
    state: &State,
    journal: &[JournalEntry],
) -> Result<(), ReadError> {
    let failed = |source| ReadError::Write { path: path.to_owned(), source };
    let mut rows = 0;
    out.line(&Line::Begin { format: FORMAT }).map_err(failed)?;
    for table in Table::ALL.iter().copied() {
        state.for_each(
            table,
            |source| ReadError::State { source },
            |key, bytes| {
                let row = record::decode(table, key, bytes)
                    .map_err(|source| ReadError::Damaged { source })?;
                rows += 1;
                out.line(&Line::Row(row)).map_err(failed)
            },
        )?;
    }
    for entry in journal {
        out.line(&Line::Journal(entry.clone())).map_err(failed)?;
    }
    let crc32 = format!("{:08x}", out.crc.clone().finalize());
    out.line(&Line::End { rows, journal: journal.len(), crc32 }).map_err(failed)
}

/// Reads a copy that [`crate::Store::export`] wrote.
///
/// # Errors
///
/// [`BackupError`] for every file that is not exactly what was written.
pub fn read_backup(path: &Path) -> Result<Backup, BackupError> {
    let failed = |source| BackupError::Io { path: path.to_owned(), source };
    let incomplete = || BackupError::Incomplete { path: path.to_owned() };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut backup = Backup::default();
    let mut crc = crc32fast::Hasher::new();
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        reader.read_until(b'\n', &mut text).map_err(failed)?;
        if text.is_empty() {
            break;
        }
        let parsed = serde_json::from_slice(&text).map_err(|source| BackupError::Line {
            path: path.to_owned(),
            line,
            source,
        })?;
        match parsed {
            Line::Begin { format: FORMAT } if line == 1 => {}
            Line::Begin { .. } => return Err(BackupError::Format { path: path.to_owned() }),
            _ if line == 1 => return Err(BackupError::Format { path: path.to_owned() }),
            Line::Row(row) => backup.rows.push(row),
            Line::Journal(entry) => backup.journal.push(entry),
            Line::End { rows, journal, crc32 } => {
                let is_whole = rows == backup.rows.len()
                    && journal == backup.journal.len()
                    && crc32 == format!("{:08x}", crc.clone().finalize())
                    && reader.fill_buf().map_err(failed)?.is_empty();
                return if is_whole { Ok(backup) } else { Err(incomplete()) };
            }
        }
        crc.update(&text);
    }
    Err(incomplete())
}
