//! Makes a data set from files with text: the same bytes whatever their order.
//!
//! ```text
//! sources --> documents --> 256 buckets by hash --> sorted, each once --> shards, manifest
//! ```
//!
//! Everything is written to a folder beside the place, which it takes at the end. Memory does not
//! grow with the text; the disk holds it twice for a while.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::buckets::Buckets;
use super::shards::{ShardWriter, SHARDS_MAX};
use super::sources::{self, Progress, Report, Source, SourceKind, RECORD_BYTES_MAX};
use super::{Dataset, Manifest, OpenError, Split, FORMAT, FORMAT_WITH_REVISION, MANIFEST_NAME};

/// Documents of 1,000 that are trained on, by their hash.
const TRAIN_PER_MILLE: u64 = 950;
/// Documents of 1,000 that are held out; what is left of them is the test split.
const VALIDATION_PER_MILLE: u64 = 25;
const _: () = assert!(TRAIN_PER_MILLE + VALIDATION_PER_MILLE < 1000);

/// Bytes of a shard, passed by at most one document. Lower: many files. Higher: a damaged shard
/// costs more to fetch again.
pub const SHARD_BYTES: u64 = 16 << 20;

/// Characters of a revision's name.
const REVISION_CHARS_MAX: usize = 200;

/// How often a caller is told of progress, in documents.
const REPORT_DOCUMENTS: u64 = 1_000;

/// Why no data set was made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// An input cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder has no file of the kind that it was searched for.
    #[error("`{}` has no file that ends in .{suffixes}", path.display())]
    EmptyFolder {
        /// Which.
        path: PathBuf,
        /// What was searched for.
        suffixes: String,
    },
    /// A line or row is not UTF-8.
    #[error("`{}` is not UTF-8 in line or row {record}", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
        /// Line or row, from one.
        record: u64,
    },
    /// A line or row, or a column of a row group, is longer than what is held in memory.
    #[error(
        "`{}` has more than {RECORD_BYTES_MAX} bytes in line or row {record}, or more than a \
         gigabyte in the row group behind it",
        path.display()
    )]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Line or row, from one.
        record: u64,
    },
    /// A line is not an object with the text.
    #[error("`{}` has no record with a text in line {line}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Line, from one.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A table cannot be read.
    #[error("`{}` is not a Parquet file that can be read", path.display())]
    Table {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A table has no such column.
    #[error("`{}` has no column `{field}` with one text per row", path.display())]
    NoColumn {
        /// Which file.
        path: PathBuf,
        /// The column's name.
        field: String,
    },
    /// The name of a revision is not one.
    #[error("a revision is 1 to {REVISION_CHARS_MAX} printable ASCII characters")]
    Revision,
    /// The shards would be too many to keep open.
    #[error("{split} would have more than {SHARDS_MAX} shards")]
    TooManyShards {
        /// The split.
        split: Split,
    },
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
    /// The caller wanted no more of it.
    #[error("stopped before the data set was complete")]
    Stopped,
}

/// Whether another data set in the place may be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replace {
    /// It may.
    Yes,
    /// What is there stays there.
    #[default]
    No,
}

/// What a data set is made of, and how.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Files and folders with documents. Their order makes no difference, and neither do documents
    /// that occur twice.
    pub sources: Vec<Source>,
    /// The name of the text in a record.
    pub field: String,
    /// Which version of the sources this is; stands in the manifest.
    pub revision: Option<String>,
    /// Bytes of a shard, passed by at most one document.
    pub shard_bytes: u64,
    /// Whether another data set in the place may be removed.
    pub replace: Replace,
}

impl Recipe {
    /// A recipe for plain text files.
    #[must_use]
    pub fn text(files: &[PathBuf]) -> Self {
        let source = |path: &PathBuf| Source { path: path.clone(), kind: SourceKind::Text };
        Self {
            sources: files.iter().map(source).collect(),
            field: "text".to_owned(),
            revision: None,
            shard_bytes: SHARD_BYTES,
            replace: Replace::No,
        }
    }
}

/// Makes a data set in `dir` from plain text files, see [`prepare_from`].
///
/// # Errors
///
/// As [`prepare_from`].
pub fn prepare(inputs: &[PathBuf], dir: &Path) -> Result<Dataset, PrepareError> {
    prepare_from(&Recipe::text(inputs), dir, &mut |_| ControlFlow::Continue(()))
}

/// Makes a data set in `dir`.
///
/// - `recipe`: from what.
/// - `dir`: is created, and complete once it exists: shards are written beside it and moved.
/// - `report`: is told how far it is, and may end it.
/// - Result: the data set, opened and checked.
///
/// Doing it again with the same text changes nothing and opens what is there.
///
/// # Errors
///
/// One variant of [`PrepareError`] per step. `dir` is left as it was, and nothing beside it.
pub fn prepare_from(
    recipe: &Recipe,
    dir: &Path,
    report: &mut Report<'_>,
) -> Result<Dataset, PrepareError> {
    let is_name = |name: &String| {
        (1..=REVISION_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    };
    if !recipe.revision.as_ref().is_none_or(is_name) {
        return Err(PrepareError::Revision);
    }
    let files = sources::files(&recipe.sources)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let partial = dir.with_file_name(format!(".{name}.partial-{}", std::process::id()));
    let result = write_all(recipe, &files, &partial, report)
        .and_then(|()| take_place(&partial, dir, recipe.replace));
    if result.is_err() && partial.exists() {
        fs::remove_dir_all(&partial)
            .map_err(|source| PrepareError::Write { path: partial, source })?;
    }
    result
}

/// Who is told of progress, and how far it is.
struct Reporter<'a, 'r> {
    report: &'a mut Report<'r>,
    progress: Progress,
}

impl Reporter<'_, '_> {
    fn tell(&mut self) -> Result<(), PrepareError> {
        match (self.report)(&self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(PrepareError::Stopped),
        }
    }
}

fn write_all(
    recipe: &Recipe,
    files: &[Source],
    dir: &Path,
    report: &mut Report<'_>,
) -> Result<(), PrepareError> {
    fs::create_dir_all(dir)
        .map_err(|source| PrepareError::Write { path: dir.to_owned(), source })?;
    let mut reporter = Reporter { report, progress: Progress::default() };
    let buckets = fill(recipe, files, dir, &mut reporter)?;
    let mut manifest = write_shards(recipe, buckets, dir, &mut reporter)?;
    if let Some(revision) = &recipe.revision {
        FORMAT_WITH_REVISION.clone_into(&mut manifest.format);
        manifest.revision = Some(revision.clone());
    }
    let mut bytes =
        serde_json::to_vec_pretty(&manifest).map_err(|source| PrepareError::Encode { source })?;
    bytes.push(b'\n');
    write_file(&dir.join(MANIFEST_NAME), &bytes)
}

/// Reads every source once.
fn fill(
    recipe: &Recipe,
    files: &[Source],
    dir: &Path,
    reporter: &mut Reporter<'_, '_>,
) -> Result<Buckets, PrepareError> {
    let mut buckets = Buckets::create(dir)?;
    let size = |path: &Path| {
        let read = |source| PrepareError::Read { path: path.to_owned(), source };
        fs::metadata(path).map(|metadata| metadata.len()).map_err(read)
    };
    for file in files {
        let bytes = size(&file.path)?;
        reporter.progress.source_bytes = reporter.progress.source_bytes.saturating_add(bytes);
    }
    let mut before = 0_u64;
    for file in files {
        reporter.tell()?;
        sources::read(file, &recipe.field, &mut |document, at| {
            let progress = &mut reporter.progress;
            progress.documents = progress.documents.saturating_add(1);
            progress.read_bytes = before.saturating_add(at);
            buckets.add(&document)?;
            if reporter.progress.documents.is_multiple_of(REPORT_DOCUMENTS) {
                reporter.tell()?;
            }
            Ok(())
        })?;
        before = before.saturating_add(size(&file.path)?);
    }
    reporter.progress.read_bytes = before;
    reporter.tell()?;
    Ok(buckets)
}

fn split_of(hash: &[u8; 32]) -> Split {
    let head = hash.first_chunk::<8>().copied().unwrap_or_default();
    match u64::from_be_bytes(head) % 1000 {
        place if place < TRAIN_PER_MILLE => Split::Train,
        place if place < TRAIN_PER_MILLE + VALIDATION_PER_MILLE => Split::Validation,
        _ => Split::Test,
    }
}

fn write_shards(
    recipe: &Recipe,
    buckets: Buckets,
    dir: &Path,
    reporter: &mut Reporter<'_, '_>,
) -> Result<Manifest, PrepareError> {
    let writer = |split| ShardWriter::new(split, dir, recipe.shard_bytes);
    let mut train = writer(Split::Train);
    let mut validation = writer(Split::Validation);
    let mut test = writer(Split::Test);
    let mut documents = 0_usize;
    let reporter = RefCell::new(reporter);
    let each = |hash: &[u8; 32], document: &[u8]| {
        documents = documents.saturating_add(1);
        match split_of(hash) {
            Split::Train => train.push(document),
            Split::Validation => validation.push(document),
            Split::Test => test.push(document),
        }
    };
    buckets.sorted(each, |sorted| {
        let mut reporter = reporter.borrow_mut();
        reporter.progress.sorted = sorted;
        reporter.tell()
    })?;
    let finish = |writer: ShardWriter<'_>, split| match writer.finish()? {
        shards if shards.is_empty() => Err(PrepareError::EmptySplit { split, documents }),
        shards => Ok(shards),
    };
    Ok(Manifest {
        format: FORMAT.to_owned(),
        revision: None,
        train: finish(train, Split::Train)?,
        validation: finish(validation, Split::Validation)?,
        test: finish(test, Split::Test)?,
    })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), PrepareError> {
    let write = |source| PrepareError::Write { path: path.to_owned(), source };
    let mut file = File::create_new(path).map_err(write)?;
    file.write_all(bytes).map_err(write)?;
    file.sync_all().map_err(write)
}

/// Moves a complete data set to its place, unless the same one is there already.
fn take_place(partial: &Path, dir: &Path, replace: Replace) -> Result<Dataset, PrepareError> {
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
    match (Dataset::open(dir), replace) {
        (Ok(old), _) if old.digest() == new => {
            fs::remove_dir_all(partial).map_err(write)?;
            Ok(old)
        }
        (_, Replace::Yes) => {
            // Between the two there is no data set: never half of one.
            let old = partial.with_extension("old");
            fs::rename(dir, &old).map_err(write)?;
            fs::rename(partial, dir).map_err(write)?;
            fs::remove_dir_all(&old).map_err(write)?;
            open(dir)
        }
        (_, Replace::No) => Err(PrepareError::Occupied { dir: dir.to_owned() }),
    }
}
