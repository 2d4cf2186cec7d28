//! Makes a data set from plain text files: the same bytes whatever their order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use node_core::id::sha256;

use super::documents::documents;
use super::{Dataset, Manifest, OpenError, ShardEntry, Split, FORMAT, MANIFEST_NAME};

/// Documents of 1,000 that are trained on, by their hash.
const TRAIN_PER_MILLE: u64 = 950;
/// Documents of 1,000 that are held out; what is left of them is the test split.
const VALIDATION_PER_MILLE: u64 = 25;
const _: () = assert!(TRAIN_PER_MILLE + VALIDATION_PER_MILLE < 1000);

/// Bytes of a shard, passed by at most one document. Lower: many files. Higher: a damaged shard
/// costs more to fetch again.
const SHARD_BYTES_MAX: usize = 16 << 20;

/// Bytes of all inputs together. They are held in memory while they are sorted.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// Why no data set was made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// An input cannot be read, or is not UTF-8.
    #[error("cannot read `{}` as text", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The inputs are larger than what is sorted in memory.
    #[error("the inputs have more than {TEXT_BYTES_MAX} bytes together")]
    TooLarge,
    /// No document fell into a split.
    #[error("no document for {split}: {documents} documents are too few, add text")]
    EmptySplit {
        /// Which.
        split: Split,
        /// Documents in all.
        documents: usize,
    },
    /// The directory holds something else already.
    #[error("`{}` is not empty and holds another data set or none", dir.display())]
    Occupied {
        /// Which.
        dir: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest cannot be encoded.
    #[error("cannot encode the manifest")]
    Encode {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What was written does not open.
    #[error("the data set was written and does not open")]
    Open {
        /// Why.
        #[source]
        source: OpenError,
    },
}

/// Makes a data set in `dir` from plain text files.
///
/// - `inputs`: UTF-8 files. Each is cut into documents of some 2 KiB at blank lines; the order of
///   the files, and documents that occur twice, make no difference.
/// - `dir`: is created, and complete once it exists: shards are written beside it and moved.
/// - Result: the data set, opened and checked.
///
/// Doing it again with the same text changes nothing and opens what is there.
///
/// # Errors
///
/// One variant of [`PrepareError`] per step. `dir` is left as it was.
pub fn prepare(inputs: &[PathBuf], dir: &Path) -> Result<Dataset, PrepareError> {
    let sorted = sorted_documents(inputs)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let partial = dir.with_file_name(format!(".{name}.partial-{}", std::process::id()));
    let result = write_all(&sorted, &partial).and_then(|()| take_place(&partial, dir));
    if result.is_err() && partial.exists() {
        fs::remove_dir_all(&partial)
            .map_err(|source| PrepareError::Write { path: partial, source })?;
    }
    result
}

/// Documents by their SHA-256, which decides their split and their order in it.
fn sorted_documents(inputs: &[PathBuf]) -> Result<BTreeMap<[u8; 32], String>, PrepareError> {
    let mut sorted = BTreeMap::new();
    let mut bytes = 0_u64;
    for path in inputs {
        let read = |source| PrepareError::Read { path: path.clone(), source };
        bytes = bytes.saturating_add(fs::metadata(path).map_err(read)?.len());
        if bytes > TEXT_BYTES_MAX {
            return Err(PrepareError::TooLarge);
        }
        let text = fs::read_to_string(path).map_err(read)?;
        for document in documents(&text) {
            sorted.insert(sha256(document.as_bytes()).0, document);
        }
    }
    Ok(sorted)
}

fn split_of(hash: &[u8; 32]) -> Split {
    let head = hash.first_chunk::<8>().copied().unwrap_or_default();
    match u64::from_be_bytes(head) % 1000 {
        place if place < TRAIN_PER_MILLE => Split::Train,
        place if place < TRAIN_PER_MILLE + VALIDATION_PER_MILLE => Split::Validation,
        _ => Split::Test,
    }
}

fn write_all(sorted: &BTreeMap<[u8; 32], String>, dir: &Path) -> Result<(), PrepareError> {
    fs::create_dir_all(dir)
        .map_err(|source| PrepareError::Write { path: dir.to_owned(), source })?;
    let write = |split| {
        let shards = write_split(sorted, split, dir)?;
        if shards.is_empty() {
            return Err(PrepareError::EmptySplit { split, documents: sorted.len() });
        }
        Ok(shards)
    };
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        train: write(Split::Train)?,
        validation: write(Split::Validation)?,
        test: write(Split::Test)?,
    };
    let mut bytes =
        serde_json::to_vec_pretty(&manifest).map_err(|source| PrepareError::Encode { source })?;
    bytes.push(b'\n');
    write_file(&dir.join(MANIFEST_NAME), &bytes)
}

fn write_split(
    sorted: &BTreeMap<[u8; 32], String>,
    split: Split,
    dir: &Path,
) -> Result<Vec<ShardEntry>, PrepareError> {
    let mut entries = Vec::new();
    let mut shard = String::new();
    let mut documents = 0_u64;
    let mut close = |shard: &mut String, documents: &mut u64| {
        let file = format!("{split}-{:04}.txt", entries.len());
        write_file(&dir.join(&file), shard.as_bytes())?;
        let bytes = shard.len() as u64;
        let sha256 = sha256(shard.as_bytes());
        entries.push(ShardEntry { file, documents: *documents, bytes, sha256 });
        shard.clear();
        *documents = 0;
        Ok(())
    };
    for (_, document) in sorted.iter().filter(|(hash, _)| split_of(hash) == split) {
        shard.push_str(document);
        documents += 1;
        if shard.len() >= SHARD_BYTES_MAX {
            close(&mut shard, &mut documents)?;
        }
    }
    if !shard.is_empty() {
        close(&mut shard, &mut documents)?;
    }
    Ok(entries)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), PrepareError> {
    let write = |source| PrepareError::Write { path: path.to_owned(), source };
    let mut file = File::create_new(path).map_err(write)?;
    file.write_all(bytes).map_err(write)?;
    file.sync_all().map_err(write)
}

/// Moves a complete data set to its place, unless the same one is there already.
fn take_place(partial: &Path, dir: &Path) -> Result<Dataset, PrepareError> {
    let write = |source| PrepareError::Write { path: dir.to_owned(), source };
    let open = |dir: &Path| Dataset::open(dir).map_err(|source| PrepareError::Open { source });
    let is_free = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_free {
        fs::rename(partial, dir).map_err(write)?;
        return open(dir);
    }
    let new = open(partial)?.digest();
    match Dataset::open(dir) {
        Ok(old) if old.digest() == new => {
            fs::remove_dir_all(partial).map_err(write)?;
            Ok(old)
        }
        _ => Err(PrepareError::Occupied { dir: dir.to_owned() }),
    }
}
