//! Where documents come from: plain text, lines of JSON, Parquet. Read as a stream, within limits.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};

use super::documents::{whole, Cutter};
use super::prepare::PrepareError;
use super::table;

/// Bytes of a line, and of a record's text. Lower: long documents are refused. Higher: a file that
/// is no text at all is held in memory up to there.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

/// What a source's files contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// UTF-8 text, cut into documents of some 2 KiB at blank lines.
    Text,
    /// One JSON object per line, one document each.
    JsonLines,
    /// Apache Parquet, one document per row.
    Parquet,
}

impl SourceKind {
    /// Suffixes of the files that a folder is searched for.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["txt", "md"],
            Self::JsonLines => &["jsonl", "ndjson", "json"],
            Self::Parquet => &["parquet"],
        }
    }
}

/// A file with documents, or a folder with such files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub kind: SourceKind,
}

/// The files of all sources, folders searched with everything below them.
///
/// # Errors
///
/// [`PrepareError::Read`] for a path that cannot be looked at, [`PrepareError::EmptyFolder`] for a
/// folder without a file of its kind.
pub(super) fn files(sources: &[Source]) -> Result<Vec<Source>, PrepareError> {
    let mut found = Vec::new();
    for source in sources {
        let before = found.len();
        let mut waiting = vec![source.path.clone()];
        while let Some(path) = waiting.pop() {
            let read = |source| PrepareError::Read { path: path.clone(), source };
            if !fs::metadata(&path).map_err(read)?.is_dir() {
                let is_named = path == source.path;
                if is_named || has_suffix(&path, source.kind.suffixes()) {
                    found.push(Source { path, kind: source.kind });
                }
                continue;
            }
            for entry in fs::read_dir(&path).map_err(read)? {
                waiting.push(entry.map_err(read)?.path());
            }
        }
        if found.len() == before {
            let suffixes = source.kind.suffixes().join(", .");
            return Err(PrepareError::EmptyFolder { path: source.path.clone(), suffixes });
        }
    }
    found.sort();
    Ok(found)
}

fn has_suffix(path: &Path, suffixes: &[&str]) -> bool {
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    suffix.is_some_and(|suffix| suffixes.contains(&suffix))
}

/// What takes documents in, together with how many bytes of their file were read so far.
pub(super) type Take<'a> = dyn FnMut(String, u64) -> Result<(), PrepareError> + 'a;

/// Reads all documents of a file.
///
/// - `field`: the name of the text in a record.
///
/// # Errors
///
/// What is wrong with the file, with the line or row; or what `take` answered.
pub(super) fn read(file: &Source, field: &str, take: &mut Take<'_>) -> Result<(), PrepareError> {
    let path = &file.path;
    let open =
        || File::open(path).map_err(|source| PrepareError::Read { path: path.clone(), source });
    match file.kind {
        SourceKind::Text => read_text(path, BufReader::new(open()?), take),
        SourceKind::JsonLines => read_json_lines(path, BufReader::new(open()?), field, take),
        SourceKind::Parquet => guarded(path, || table::read(path, open()?, field, take)),
    }
}

/// Ends a panic: a damaged table can trip an assertion in the library that reads it.
fn guarded(
    path: &Path,
    read: impl FnOnce() -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let source = "the reader of Parquet gave up on it".into();
        Err(PrepareError::Table { path: path.to_owned(), source })
    })
}

/// The documents of a file that is in memory.
pub(crate) fn read_records(
    content: Vec<u8>,
    kind: SourceKind,
    field: &str,
) -> Result<Vec<String>, PrepareError> {
    let (path, mut documents) = (Path::new("memory"), Vec::new());
    let mut take = |document, _| {
        documents.push(document);
        Ok(())
    };
    match kind {
        SourceKind::Text => read_text(path, content.as_slice(), &mut take)?,
        SourceKind::JsonLines => read_json_lines(path, content.as_slice(), field, &mut take)?,
        SourceKind::Parquet => {
            let content = bytes::Bytes::from(content);
            guarded(path, || table::read(path, content, field, &mut take))?;
        }
    }
    Ok(documents)
}

fn read_text(path: &Path, from: impl BufRead, take: &mut Take<'_>) -> Result<(), PrepareError> {
    let mut cutter = Cutter::default();
    lines(path, from, |line, _, at| match cutter.line(line) {
        Some(document) => take(document, at),
        None => Ok(()),
    })?;
    let end = fs::metadata(path).map_or(0, |metadata| metadata.len());
    cutter.end().map_or(Ok(()), |document| take(document, end))
}

fn read_json_lines(
    path: &Path,
    from: impl BufRead,
    field: &str,
    take: &mut Take<'_>,
) -> Result<(), PrepareError> {
    lines(path, from, |line, number, at| {
        if line.trim().is_empty() {
            return Ok(());
        }
        let json = |source| PrepareError::Json { path: path.to_owned(), line: number, source };
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let text = deserializer.deserialize_map(TextOf { field }).map_err(json)?;
        deserializer.end().map_err(json)?;
        whole(&text).map_or(Ok(()), |document| take(document, at))
    })
}

/// Hands over the lines of a file without their ends, each with its number from one and the bytes
/// read so far.
fn lines(
    path: &Path,
    mut from: impl BufRead,
    mut each: impl FnMut(&str, u64, u64) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    let path = || path.to_owned();
    let (mut line, mut number, mut at) = (Vec::new(), 0_u64, 0_u64);
    loop {
        line.clear();
        let mut limited = io::Read::take(&mut from, RECORD_BYTES_MAX as u64);
        let got = limited
            .read_until(b'\n', &mut line)
            .map_err(|source| PrepareError::Read { path: path(), source })?;
        if got == 0 {
            return Ok(());
        }
        number = number.saturating_add(1);
        at = at.saturating_add(got as u64);
        if got == RECORD_BYTES_MAX && line.last() != Some(&b'\n') {
            return Err(PrepareError::TooLong { path: path(), record: number });
        }
        let text = std::str::from_utf8(&line)
            .map_err(|_| PrepareError::NotText { path: path(), record: number })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        each(text.strip_suffix('\r').unwrap_or(text), number, at)?;
    }
}

/// Takes one field out of an object; what else there is makes no difference.
struct TextOf<'a> {
    field: &'a str,
}

impl<'de> Visitor<'de> for TextOf<'_> {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an object with a text in `{}`", self.field)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut text: Option<String> = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != self.field {
                map.next_value::<IgnoredAny>()?;
            } else if text.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom(format!("`{key}` stands there twice")));
            }
        }
        text.ok_or_else(|| A::Error::custom(format!("there is no `{}`", self.field)))
    }
}

/// What the caller of a long piece of work wants: to know how far it is, and to end it.
pub type Report<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// How far the making of a data set is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the sources that were read.
    pub read_bytes: u64,
    /// Bytes of the sources.
    pub source_bytes: u64,
    /// Documents that were found, those that occur twice too.
    pub documents: u64,
    /// Parts of 256 that were sorted and written.
    pub sorted: u16,
}
