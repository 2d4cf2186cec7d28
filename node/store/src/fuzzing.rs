//! A copy of everything as bytes from outside: for the fuzz target in `tests/fuzz`, and for the
//! test that replays its corpus (`tests/corpus.rs`). No node uses it.

use std::io;
use std::path::Path;

use crate::dump::{check, BackupHead, BackupItem, BackupReader, BackupWriter, Written};

/// One kind of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the fuzz target, and of its folder in the corpus.
    pub name: &'static str,
    /// Reads bytes.
    ///
    /// # Errors
    ///
    /// [`Broken`] if this crate has a fault.
    pub read: fn(&[u8]) -> Result<Reading, Broken>,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// They were refused.
    Refused,
    /// They were read.
    Taken,
}

/// What must never come of any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Reading them again gives something else.
    #[error("reading it again gives something else")]
    NotTheSame,
    /// More comes of them than there are lines.
    #[error("more comes of it than it has lines")]
    TooMuch,
    /// Written again, what was read is something else.
    #[error("written again, what was read is something else")]
    NotWrittenAgain,
    /// The report counts otherwise than what was read.
    #[error("the report counts otherwise than what was read")]
    Miscounted,
}

/// Every kind.
pub const TARGETS: &[Target] = &[Target { name: "backup", read: backup }];

/// The kind with this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// A file of `assay backup`, as it stands and with an end that fits it: a checksum alone would keep
/// everything from being taken that is not a copy.
fn backup(bytes: &[u8]) -> Result<Reading, Broken> {
    reading(&sealed(bytes))?;
    reading(bytes)
}

type Content = (BackupHead, Vec<BackupItem>);

fn reading(bytes: &[u8]) -> Result<Reading, Broken> {
    let first = content(bytes);
    if first != content(bytes) {
        return Err(Broken::NotTheSame);
    }
    let Some((head, items)) = first else { return Ok(Reading::Refused) };
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    if items.len() > ends {
        return Err(Broken::TooMuch);
    }
    check_counts(bytes, &items)?;
    let again = written(&head, &items).map_err(|_| Broken::NotWrittenAgain)?;
    if content(&again) != Some((head, items)) {
        return Err(Broken::NotWrittenAgain);
    }
    Ok(Reading::Taken)
}

/// All of it; nothing if it is no copy.
fn content(bytes: &[u8]) -> Option<Content> {
    let mut reader = BackupReader::of(Path::new("copy"), bytes).ok()?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item().ok()? {
        items.push(item);
    }
    Some((*reader.head(), items))
}

fn check_counts(bytes: &[u8], items: &[BackupItem]) -> Result<(), Broken> {
    let reader = BackupReader::of(Path::new("copy"), bytes).map_err(|_| Broken::NotTheSame)?;
    let report = check(reader).map_err(|_| Broken::NotTheSame)?;
    let rows = items.iter().filter(|item| matches!(item, BackupItem::Row(_))).count() as u64;
    let of_tables: u64 = report.records.iter().map(|(_, count)| count).sum();
    let frozen = items.iter().filter(|item| matches!(item, BackupItem::Frozen(_))).count() as u64;
    let is_right = report.copied.rows == rows
        && of_tables == rows
        && report.copied.frozen == frozen
        && report.copied.journal == items.len() as u64 - rows - frozen
        && report.copied.bytes == bytes.len() as u64;
    if is_right {
        Ok(())
    } else {
        Err(Broken::Miscounted)
    }
}

fn written(head: &BackupHead, items: &[BackupItem]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = BackupWriter::begin(&mut out, head)?;
    for item in items {
        match item {
            BackupItem::Row(row) => writer.row(row)?,
            BackupItem::Frozen(frozen) => writer.frozen(frozen)?,
            BackupItem::Journal(entry) => writer.entry(entry)?,
        }
    }
    writer.end()?;
    Ok(out)
}

/// The same lines with another last one, which fits those before it.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut text = lines.get(..end).unwrap_or_default().to_vec();
    let count = |kind: &[u8]| {
        text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(kind)).count() as u64
    };
    let (rows, frozen) = (count(b"{\"row\""), count(b"{\"frozen\""));
    let journal = count(b"{\"journal\"");
    let crc32 = format!("{:08x}", crc32fast::hash(&text));
    let last = serde_json::to_vec(&Written::End { rows, frozen, journal, crc32 });
    text.extend(last.unwrap_or_default());
    text.push(b'\n');
    text
}
