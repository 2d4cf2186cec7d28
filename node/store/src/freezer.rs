//! What was put away: records in files that only grow, found by an index in the state.
//!
//! ```text
//! <data dir>/freezer/
//!   00000001.seg     a line that says what it is, then frames
//!
//! frame     [bytes behind this: u32, little endian] [sealed: see `envelope`]
//! payload   [submission: 32 bytes] [block: u64, big endian] [part: u16, big endian]
//!           [zstd of the rows and of the versions that they are encoded in]
//! ```
//!
//! No start reads any of it. A frame is synced before the commit that names it; one that no commit
//! names is dead space. Each life of the process begins a file of its own, and so does whoever goes
//! on after a failed write: a frame that was never finished is the last of its file.
//!
//! Not in sled: a million receipts there took 2.1 GB, 2.4 s of every start and 101 MB of memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use node_core::id::SubmissionId;
use node_core::rows::{Frozen, Row, Table};
use node_core::unit::BlockNumber;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{self, EnvelopeError};
use crate::error::StateFault;
use crate::migration::{older_tables, upgrade_row, MigrationError};
use crate::packed;
use crate::sync::{create_private_dir, private_file, sync_dir};

pub(crate) const FREEZER_DIR: &str = "freezer";
const EXTENSION: &str = "seg";
const HEADER: &[u8] = b"assay freezer 1\n";

/// The encoding of a payload; grows with every change that older builds cannot read. Rows have
/// versions of their own.
const VERSION: u8 = 1;

/// Bytes of a file, but for its last frames. Lower: more files. Higher: a damaged disk takes more
/// with it before whoever copies files by hand notices.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a frame, and of what it unpacks to. Lower: the rows that core puts into one record do
/// not fit. Higher: a damaged length takes that much memory before it is refused.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// How hard is packed. Higher: slower, and a tenth smaller at best.
const ZSTD_LEVEL: i32 = 3;

const FRAME_LENGTH_BYTES: usize = 4;
const KEY_BYTES: usize = 32 + 8 + 2;

/// What a record is found by: submission, block and part.
pub(crate) type Key = [u8; KEY_BYTES];

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The number of its file.
    pub(crate) segment: u32,
    /// Its first byte there.
    pub(crate) offset: u64,
}

/// Why a record of the freezer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FreezerFault {
    /// Its file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its bytes are not what was written.
    #[error("the bytes from {offset} on in {} are damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it begins.
        offset: u64,
        /// How.
        #[source]
        source: EnvelopeError,
    },
    /// It is no frame, or one of something else than the index says.
    #[error("from {offset} on, {} has not what the index says", path.display())]
    Astray {
        /// The file.
        path: PathBuf,
        /// Where it should begin.
        offset: u64,
    },
    /// A record of the index is damaged; what it named is in the files, and is found there again.
    #[error("record {drawer} of the freezer's index is damaged; the next start makes it anew")]
    Index {
        /// Its key, hexadecimal.
        drawer: String,
    },
    /// A newer build wrote it.
    #[error("a newer build wrote what {} has from {offset} on", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Where it begins.
        offset: u64,
    },
    /// Its rows are old and cannot be upgraded.
    #[error("old rows in {} cannot be upgraded", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrationError,
    },
    /// It is whole, and no rows.
    #[error("what {} has from {offset} on are no rows", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// Where it begins.
        offset: u64,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

/// What is packed.
///
/// - `R`: the rows, or what passes over those of another build.
#[derive(Serialize, Deserialize)]
struct Packed<R> {
    /// Versions of the rows' encoding, by table.
    schemas: BTreeMap<String, u8>,
    rows: R,
}

/// A record as it goes into a file.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) key: Key,
    bytes: Vec<u8>,
}

impl Frame {
    /// Encodes a record.
    ///
    /// # Errors
    ///
    /// Those of the writer, and for a record that nobody could read: core bounds them far below.
    pub(crate) fn encode(frozen: &Frozen) -> Result<Self, serde_json::Error> {
        let key = key_of(frozen);
        let tables = frozen.rows.iter().map(Row::table);
        let version = |table: Table| (table.name().to_owned(), table.schema_version());
        let schemas = tables.map(version).collect();
        let mut unpacked = Vec::new();
        packed::write(&Packed { schemas, rows: frozen.rows.as_slice() }, &mut unpacked)?;
        let compressed = zstd::bulk::compress(&unpacked, ZSTD_LEVEL);
        let compressed = compressed.map_err(serde_json::Error::io)?;
        let sealed = envelope::seal(VERSION, &[key.as_slice(), &compressed].concat());
        let is_readable = unpacked.len().max(sealed.len()) <= FRAME_BYTES_MAX;
        let length = u32::try_from(sealed.len()).ok().filter(|_| is_readable);
        let length = length.ok_or_else(|| serde_json::Error::io(too_large(unpacked.len())))?;
        let bytes = [length.to_le_bytes().as_slice(), &sealed].concat();
        Ok(Self { key, bytes })
    }
}

fn too_large(bytes: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{bytes} bytes are too many"))
}

fn key_of(frozen: &Frozen) -> Key {
    let Frozen { submission, at, part, .. } = frozen;
    let mut key = [0; KEY_BYTES];
    let bytes = submission.0.into_iter().chain(at.0.to_be_bytes()).chain(part.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    key
}

/// The files that are written.
#[derive(Debug)]
pub(crate) struct Freezer {
    dir: PathBuf,
    /// The file of this life; `None` before its first record.
    segment: Option<Segment>,
    /// The number of the next file.
    next: u32,
}

#[derive(Debug)]
struct Segment {
    number: u32,
    file: File,
    bytes: u64,
}

impl Freezer {
    /// The freezer of a data directory. Nothing is made before there is something to keep.
    ///
    /// # Errors
    ///
    /// Those of reading the directory.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let dir = data_dir.join(FREEZER_DIR);
        let next = segments(&dir)?.last().map_or(1, |last| last.saturating_add(1));
        Ok(Self { dir, segment: None, next })
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Behind everything that was written.
    pub(crate) fn end(&self) -> Place {
        let next = Place { segment: self.next, offset: 0 };
        self.segment
            .as_ref()
            .map_or(next, |open| Place { segment: open.number, offset: open.bytes })
    }

    /// Writes records, and says where they are. Durable when it returns.
    ///
    /// # Errors
    ///
    /// Those of the file system; what was written then is dead space.
    pub(crate) fn append(&mut self, frames: &[Frame]) -> io::Result<Vec<Place>> {
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.append_to_open(frames);
        if appended.is_err() {
            self.segment = None;
        }
        appended
    }

    fn append_to_open(&mut self, frames: &[Frame]) -> io::Result<Vec<Place>> {
        let has_room = self.segment.as_ref().is_some_and(|open| open.bytes < SEGMENT_BYTES_MAX);
        if !has_room {
            self.segment = Some(self.begin()?);
        }
        let Some(open) = &mut self.segment else { return Ok(Vec::new()) };
        let mut places = Vec::new();
        let mut bytes = Vec::new();
        for frame in frames {
            let offset = open.bytes + bytes.len() as u64;
            places.push(Place { segment: open.number, offset });
            bytes.extend_from_slice(&frame.bytes);
        }
        open.file.write_all(&bytes)?;
        open.file.sync_data()?;
        open.bytes += bytes.len() as u64;
        Ok(places)
    }

    fn begin(&mut self) -> io::Result<Segment> {
        // Each time: whoever made it may have failed before its name was durable.
        create_private_dir(&self.dir)?;
        self.dir.parent().map_or(Ok(()), sync_dir)?;
        let number = self.next;
        self.next = number.saturating_add(1);
        let mut file = private_file().create_new(true).open(segment_path(&self.dir, number))?;
        file.write_all(HEADER)?;
        file.sync_all()?;
        sync_dir(&self.dir)?;
        Ok(Segment { number, file, bytes: HEADER.len() as u64 })
    }
}

fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.{EXTENSION}"))
}

/// The numbers of its files, ascending. What has another name is nobody's business here.
fn segments(dir: &Path) -> io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|extension| extension == EXTENSION);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
        numbers.extend(number.filter(|_| is_segment));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the record that the index names.
///
/// # Errors
///
/// [`FreezerFault`].
pub(crate) fn read(dir: &Path, key: &Key, place: Place) -> Result<Frozen, FreezerFault> {
    let mut reader = SegmentReader::open(dir, place.segment)?;
    reader.go_to(place.offset)?;
    let found = reader.next_frame()?.ok_or_else(|| reader.astray())?;
    if found.key != *key {
        return Err(reader.astray());
    }
    reader.unpack(&found)
}

/// Every record that there is, and where: what the index says, found without it. A file is read up
/// to where it is damaged, or was never finished.
///
/// # Errors
///
/// Those of `visit`, and of the directory.
pub(crate) fn for_each_place(
    dir: &Path,
    mut visit: impl FnMut(Key, Place) -> Result<(), StateFault>,
) -> Result<(), StateFault> {
    for segment in segments(dir).map_err(|source| StateFault::Io { source })? {
        let Ok(mut reader) = SegmentReader::open(dir, segment) else { continue };
        let mut offset = HEADER.len() as u64;
        if reader.go_to(offset).is_err() {
            continue;
        }
        while let Ok(Some(found)) = reader.next_frame() {
            visit(found.key, Place { segment, offset })?;
            offset = reader.offset;
        }
    }
    Ok(())
}

/// A whole frame, its rows still packed.
struct Found {
    key: Key,
    version: u8,
    compressed: Vec<u8>,
}

/// A file that is read.
struct SegmentReader {
    path: PathBuf,
    file: File,
    /// Behind the last frame that was read.
    offset: u64,
    /// Where that began.
    began: u64,
}

impl SegmentReader {
    fn open(dir: &Path, number: u32) -> Result<Self, FreezerFault> {
        let path = segment_path(dir, number);
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file, offset: 0, began: 0 }),
            Err(source) => Err(FreezerFault::Io { path, source }),
        }
    }

    /// To a frame of a file that is one of the freezer's.
    fn go_to(&mut self, offset: u64) -> Result<(), FreezerFault> {
        self.began = offset;
        let mut header = [0; HEADER.len()];
        let read = self.file.read_exact(&mut header);
        read.map_err(|source| self.unreadable(source))?;
        if header != HEADER {
            return Err(self.astray());
        }
        let moved = self.file.seek(SeekFrom::Start(offset));
        self.offset = moved.map_err(|source| self.unreadable(source))?;
        Ok(())
    }

    /// The next frame; `None` at the end of the file.
    fn next_frame(&mut self) -> Result<Option<Found>, FreezerFault> {
        self.began = self.offset;
        let mut length = [0; FRAME_LENGTH_BYTES];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(|source| self.unreadable(source))?,
        }
        let length = u32::from_le_bytes(length);
        if length as usize > FRAME_BYTES_MAX {
            return Err(self.astray());
        }
        let mut sealed = Vec::new();
        let read = (&self.file).take(u64::from(length)).read_to_end(&mut sealed);
        let read = read.map_err(|source| self.unreadable(source))?;
        self.offset += (FRAME_LENGTH_BYTES + read) as u64;
        let damaged = |source| {
            let (path, offset) = (self.path.clone(), self.began);
            FreezerFault::Damaged { path, offset, source }
        };
        let (version, payload) = envelope::unseal(&sealed).map_err(damaged)?;
        let split = payload.split_first_chunk::<KEY_BYTES>();
        let (key, compressed) = split.ok_or_else(|| self.astray())?;
        Ok(Some(Found { key: *key, version, compressed: compressed.to_vec() }))
    }

    /// What is in the frame that was read last.
    fn unpack(&self, found: &Found) -> Result<Frozen, FreezerFault> {
        let (path, offset) = (|| self.path.clone(), self.began);
        if found.version > VERSION {
            return Err(FreezerFault::Newer { path: path(), offset });
        }
        let unreadable = |source| FreezerFault::Io { path: path(), source };
        let mut unpacked = Vec::new();
        zstd::stream::read::Decoder::new(found.compressed.as_slice())
            .and_then(|decoder| decoder.take(FRAME_BYTES_MAX as u64).read_to_end(&mut unpacked))
            .map_err(unreadable)?;
        let rows = |source| FreezerFault::Rows { path: path(), offset, source };
        let Packed::<IgnoredAny> { schemas, .. } = packed::read(&unpacked).map_err(rows)?;
        let older =
            older_tables(schemas).map_err(|_| FreezerFault::Newer { path: path(), offset })?;
        if !older.is_empty() {
            let mut value = packed::to_json(&unpacked).map_err(rows)?;
            let old = value.get_mut("rows").and_then(Value::as_array_mut);
            old.into_iter()
                .flatten()
                .try_for_each(|row| upgrade_row(row, &older))
                .map_err(|source| FreezerFault::Migration { path: path(), source })?;
            unpacked = packed::of_json(&value).map_err(rows)?;
        }
        let Packed { rows, .. } = packed::read(&unpacked).map_err(rows)?;
        let (submission, at, part) = parts_of(&found.key);
        Ok(Frozen { submission, at, part, rows })
    }

    fn unreadable(&self, source: io::Error) -> FreezerFault {
        FreezerFault::Io { path: self.path.clone(), source }
    }

    fn astray(&self) -> FreezerFault {
        FreezerFault::Astray { path: self.path.clone(), offset: self.began }
    }
}

fn parts_of(key: &Key) -> (SubmissionId, BlockNumber, u16) {
    let (mut submission, mut at, mut part) = ([0; 32], [0; 8], [0; 2]);
    let places = submission.iter_mut().chain(&mut at).chain(&mut part);
    places.zip(key).for_each(|(place, byte)| *place = *byte);
    (SubmissionId(submission), BlockNumber(u64::from_be_bytes(at)), u16::from_be_bytes(part))
}

#[cfg(test)]
mod tests;
