//! Locked data: text in shards, split once, and checked by digest whenever it is opened.
//!
//! ```text
//! MANIFEST.json         what there is: per split its shards with bytes, documents and SHA-256
//! train-0000.txt ...    950 of 1,000 documents, chosen by their hash
//! validation-0000.txt   25 of 1,000: held-out text
//! test-0000.txt         25 of 1,000: not used by the meter
//! ```
//!
//! The data set's digest is the SHA-256 of `MANIFEST.json`, so `sha256sum` shows it too. Two
//! validators with the same digest have the same bytes.
//!
//! Data stays on this side: it is never mounted into a container. Not here: which part of it a
//! run sees (`meter`).

mod buckets;
mod documents;
mod prepare;
mod shards;
mod sources;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use node_core::id::{sha256, Digest};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

pub use prepare::{prepare, prepare_from, PrepareError, Recipe, Replace, SHARD_BYTES};
pub(crate) use sources::read_records;
pub use sources::{Progress, Report, Source, SourceKind};

/// File name of the manifest.
pub const MANIFEST_NAME: &str = "MANIFEST.json";

/// Format of the manifest and the shards. A manifest that names a revision has the later one, since
/// older builds do not know the field; any other format is refused.
const FORMAT: &str = "assay-dataset/v1";
const FORMAT_WITH_REVISION: &str = "assay-dataset/v2";

/// Bytes of a manifest that are read. Lower: large data sets do not open. Higher: a wrong file in
/// its place is read whole.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// Bytes hashed at a time.
const HASH_BUFFER_BYTES: usize = 1 << 16;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Text that submissions train on.
    Train,
    /// Held-out text, whose targets are never revealed.
    Validation,
    /// Kept for later comparisons.
    Test,
}

impl Split {
    /// All of them, in the manifest's order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// What a data set consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    train: Vec<ShardEntry>,
    validation: Vec<ShardEntry>,
    test: Vec<ShardEntry>,
}

impl Manifest {
    fn shards(&self, split: Split) -> &[ShardEntry] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// Which version of its sources it was made from, where its maker said so.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    fn has_known_format(&self) -> bool {
        match self.format.as_str() {
            FORMAT => self.revision.is_none(),
            FORMAT_WITH_REVISION => self.revision.is_some(),
            _ => false,
        }
    }

    /// Bytes of text in a split.
    #[must_use]
    pub fn bytes(&self, split: Split) -> u64 {
        self.shards(split).iter().map(|shard| shard.bytes).fold(0, u64::saturating_add)
    }

    /// Documents in a split.
    #[must_use]
    pub fn documents(&self, split: Split) -> u64 {
        self.shards(split).iter().map(|shard| shard.documents).fold(0, u64::saturating_add)
    }
}

/// One file of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardEntry {
    file: String,
    documents: u64,
    bytes: u64,
    sha256: Digest,
}

/// Why a data set was not opened, or no longer holds.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest is not one.
    #[error("`{}` is not a manifest", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The manifest is of another format.
    #[error("the data set has the format `{got}`, this build reads `{FORMAT}` and later")]
    Format {
        /// The format found.
        got: String,
    },
    /// A shard's name is not a plain file name.
    #[error("the manifest names a shard `{file}`, which is not a plain file name")]
    ShardName {
        /// The name found.
        file: String,
    },
    /// A shard is not what the manifest says.
    #[error("`{}` has the digest {got}, the manifest says {expected}", path.display())]
    Altered {
        /// Which.
        path: PathBuf,
        /// Digest in the manifest.
        expected: Digest,
        /// Digest found.
        got: Digest,
    },
}

/// Text was asked for that is not there, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The range passes the end of the split.
    #[error("bytes {start} to {end} lie beyond the {len} bytes of {split}")]
    OutOfRange {
        /// The split.
        split: Split,
        /// First byte asked for.
        start: u64,
        /// Byte after the last one.
        end: u64,
        /// Bytes there are.
        len: u64,
    },
    /// A shard cannot be read any more.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An open data set whose every shard had the digest that its manifest names.
#[derive(Debug)]
pub struct Dataset {
    digest: Digest,
    manifest: Manifest,
    splits: [SplitFiles; 3],
}

#[derive(Debug)]
struct SplitFiles {
    shards: Vec<Shard>,
    bytes: u64,
    byte_counts: [u64; 256],
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    start: u64,
    bytes: u64,
    sha256: Digest,
    /// Of the file as it was last checked; `None` if it may have been written to at that time.
    checked: Mutex<Option<Stamp>>,
}

/// What changes whenever a file is written to: its length, and when its inode last changed, to the
/// nanosecond. Nobody sets that time but by setting the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    changed: (i64, i64),
}

/// A file that changed this shortly before it was read may change again without another time: file
/// systems count in ticks of some milliseconds.
const SETTLED_AFTER_S: i64 = 2;

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(Self { bytes: facts.len(), changed: (facts.ctime(), facts.ctime_nsec()) })
    }

    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_s = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok());
        now_s.is_some_and(|now_s| self.changed.0.saturating_add(SETTLED_AFTER_S) < now_s)
    }
}

impl Dataset {
    /// Opens the data set in `dir`, reading every shard once to check its digest.
    ///
    /// # Errors
    ///
    /// One variant of [`OpenError`] per step; a single altered byte is [`OpenError::Altered`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(MANIFEST_NAME);
        let bytes = read_manifest(&path)?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|source| OpenError::Manifest { path: path.clone(), source })?;
        if !manifest.has_known_format() {
            return Err(OpenError::Format { got: manifest.format });
        }
        let [train, validation, test] =
            Split::ALL.map(|split| SplitFiles::open(dir, manifest.shards(split)));
        let splits = [train?, validation?, test?];
        Ok(Self { digest: sha256(&bytes), manifest, splits })
    }

    /// Checks every shard that was written to since it was last checked, before a run.
    ///
    /// # Errors
    ///
    /// [`OpenError::Altered`] for a shard that changed since, [`OpenError::Read`] for one that
    /// cannot be read.
    pub fn verify(&self) -> Result<(), OpenError> {
        self.splits.iter().flat_map(|split| &split.shards).try_for_each(Shard::verify)
    }

    /// Digest of the manifest, and so of everything it names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the data set consists of.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of text in a split.
    #[must_use]
    pub fn bytes(&self, split: Split) -> u64 {
        self.files(split).bytes
    }

    /// How often each byte value occurs in a split.
    #[must_use]
    pub fn byte_counts(&self, split: Split) -> &[u64; 256] {
        &self.files(split).byte_counts
    }

    /// Fills `into` with the split's text from byte `start`, across shards.
    ///
    /// # Errors
    ///
    /// [`TextError`]; `into` is then partly filled.
    pub fn read(&self, split: Split, start: u64, into: &mut [u8]) -> Result<(), TextError> {
        let files = self.files(split);
        let end = start.saturating_add(into.len() as u64);
        if end > files.bytes {
            return Err(TextError::OutOfRange { split, start, end, len: files.bytes });
        }
        let mut at = start;
        let mut rest = into;
        for shard in &files.shards {
            let inside = at.saturating_sub(shard.start);
            if rest.is_empty() || inside >= shard.bytes {
                continue;
            }
            let here = usize::try_from(shard.bytes - inside).unwrap_or(usize::MAX).min(rest.len());
            let (head, tail) = rest.split_at_mut(here);
            shard
                .file
                .read_exact_at(head, inside)
                .map_err(|source| TextError::Read { path: shard.path.clone(), source })?;
            at = at.saturating_add(here as u64);
            rest = tail;
        }
        Ok(())
    }

    fn files(&self, split: Split) -> &SplitFiles {
        let [train, validation, test] = &self.splits;
        match split {
            Split::Train => train,
            Split::Validation => validation,
            Split::Test => test,
        }
    }
}

fn read_manifest(path: &Path) -> Result<Vec<u8>, OpenError> {
    let read = |source| OpenError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MANIFEST_BYTES_MAX), &mut bytes)
        .map_err(read)?;
    Ok(bytes)
}

impl SplitFiles {
    fn open(dir: &Path, entries: &[ShardEntry]) -> Result<Self, OpenError> {
        let mut split = Self { shards: Vec::new(), bytes: 0, byte_counts: [0; 256] };
        for entry in entries {
            let shard = Shard::open(dir, entry, split.bytes)?;
            for (total, count) in split.byte_counts.iter_mut().zip(shard.checked_byte_counts()?) {
                *total = total.saturating_add(count);
            }
            split.bytes = split.bytes.saturating_add(shard.bytes);
            split.shards.push(shard);
        }
        Ok(split)
    }
}

impl Shard {
    fn open(dir: &Path, entry: &ShardEntry, start: u64) -> Result<Self, OpenError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if entry.file.starts_with('.') || !entry.file.chars().all(plain) {
            return Err(OpenError::ShardName { file: entry.file.clone() });
        }
        let path = dir.join(&entry.file);
        let file =
            File::open(&path).map_err(|source| OpenError::Read { path: path.clone(), source })?;
        let (bytes, sha256) = (entry.bytes, entry.sha256);
        Ok(Self { path, file, start, bytes, sha256, checked: Mutex::new(None) })
    }

    fn verify(&self) -> Result<(), OpenError> {
        let read = |source| OpenError::Read { path: self.path.clone(), source };
        let stamp = Stamp::of(&self.file).map_err(read)?;
        if *self.checked.lock().unwrap_or_else(PoisonError::into_inner) == Some(stamp) {
            return Ok(());
        }
        self.checked_byte_counts().map(|_| ())
    }

    /// Reads the whole file, refuses it if it is not what the manifest says, and counts its bytes.
    fn checked_byte_counts(&self) -> Result<[u64; 256], OpenError> {
        let read = |source| OpenError::Read { path: self.path.clone(), source };
        // Before the first byte: what is written meanwhile is seen the next time.
        let stamp = Stamp::of(&self.file).map_err(read)?;
        let mut hash = sha2::Sha256::new();
        let mut counts = [0_u64; 256];
        let mut buffer = vec![0; HASH_BUFFER_BYTES];
        let mut at = 0_u64;
        loop {
            let got = self.file.read_at(&mut buffer, at).map_err(read)?;
            let chunk = buffer.get(..got).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            hash.update(chunk);
            for byte in chunk {
                if let Some(count) = counts.get_mut(usize::from(*byte)) {
                    *count = count.saturating_add(1);
                }
            }
            at = at.saturating_add(got as u64);
        }
        let got = Digest(hash.finalize().into());
        if got != self.sha256 || at != self.bytes {
            let (path, expected) = (self.path.clone(), self.sha256);
            return Err(OpenError::Altered { path, expected, got });
        }
        let settled = Some(stamp).filter(Stamp::is_settled);
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = settled;
        Ok(counts)
    }
}
