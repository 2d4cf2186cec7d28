//! The miner's side: a directory into an archive that admission will read the same way.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use node_core::admission::Rejection;
use node_core::id::ContentDigest;
use node_core::policy::ArchiveLimits;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{content_digest, read_archive};

/// Deflate level of packed archives; part of what makes packing repeatable.
const DEFLATE_LEVEL: i64 = 9;

/// A packed submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The ZIP.
    pub bytes: Vec<u8>,
    /// The digest to commit on chain.
    pub digest: ContentDigest,
}

/// Why a directory was not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something that is neither a plain file nor a directory.
    #[error("`{}` is neither a plain file nor a directory", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// A name that is not UTF-8.
    #[error("the name of `{}` is not UTF-8", path.display())]
    NameNotText {
        /// Which.
        path: PathBuf,
    },
    /// More files, or more bytes, than the policy allows; nothing beyond them was read.
    #[error("`{}` has more than {files_max} files or {bytes_max} bytes", dir.display())]
    TooLarge {
        /// The directory to pack.
        dir: PathBuf,
        /// Files allowed.
        files_max: u32,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write {
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
    /// Admission would refuse the archive.
    #[error("a validator would refuse it: {rejection}")]
    Refused {
        /// The rule it breaks.
        rejection: Rejection,
    },
}

/// Packs the files under `dir` into a ZIP, the same bytes for the same files.
///
/// Leaves out what is not part of a project: names that start with a dot, and `__pycache__`.
/// The result has passed [`read_archive`] with the same limits.
///
/// # Errors
///
/// One variant of [`PackError`] per step. Nothing is written anywhere.
pub fn pack(dir: &Path, limits: &ArchiveLimits) -> Result<Packed, PackError> {
    let mut files = BTreeMap::new();
    collect(dir, dir, limits, &mut files)?;
    pack_files(&files, limits)
}

/// Packs files that are in memory, as [`pack`] does.
///
/// # Errors
///
/// [`PackError::Write`] and [`PackError::Refused`].
pub fn pack_files(
    files: &BTreeMap<String, Vec<u8>>,
    limits: &ArchiveLimits,
) -> Result<Packed, PackError> {
    let bytes = write_zip(files).map_err(|source| PackError::Write { source })?;
    read_archive(&bytes, limits).map_err(|rejection| PackError::Refused { rejection })?;
    Ok(Packed { bytes, digest: content_digest(files) })
}

fn collect(
    root: &Path,
    dir: &Path,
    limits: &ArchiveLimits,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), PackError> {
    let read = |path: &Path, source| PackError::Read { path: path.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(|source| read(dir, source))? {
        let path = entry.map_err(|source| read(dir, source))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "__pycache__" {
            continue;
        }
        let metadata = path.symlink_metadata().map_err(|source| read(&path, source))?;
        if metadata.is_dir() {
            collect(root, &path, limits, files)?;
        } else if metadata.is_file() {
            let unpacked: u64 = files.values().map(|content| content.len() as u64).sum();
            let is_full = files.len() as u64 >= u64::from(limits.files_max);
            if is_full || unpacked.saturating_add(metadata.len()) > limits.unpacked_bytes_max {
                return Err(PackError::TooLarge {
                    dir: root.to_owned(),
                    files_max: limits.files_max,
                    bytes_max: limits.unpacked_bytes_max,
                });
            }
            let content = std::fs::read(&path).map_err(|source| read(&path, source))?;
            files.insert(archive_path(root, &path)?, content);
        } else {
            return Err(PackError::NotAFile { path });
        }
    }
    Ok(())
}

fn archive_path(root: &Path, path: &Path) -> Result<String, PackError> {
    let not_text = || PackError::NameNotText { path: path.to_owned() };
    let inside = path.strip_prefix(root).unwrap_or(path);
    let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
    Ok(parts.ok_or_else(not_text)?.join("/"))
}

/// Times and permissions are fixed: they would be the only difference between two packings.
fn write_zip(files: &BTreeMap<String, Vec<u8>>) -> zip::result::ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(DEFLATE_LEVEL))
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(path.as_str(), options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}
