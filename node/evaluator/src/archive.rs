//! A submission's ZIP: read within running limits, named by its content, packed the same way.
//!
//! [`read_archive`] never trusts what an archive says about itself. Its directory is checked
//! entry by entry before anything is unpacked (`directory`, `names`); then each file is unpacked
//! into memory, and stopped at the byte where it would pass the limit. Nothing touches the disk,
//! so a path cannot lead anywhere; paths are refused anyway, because the container's side writes
//! them to its own disk later.
//!
//! Not here: what the files mean (`contract`), and whether they are the committed ones (`admit`).

mod content;
mod directory;
mod names;
mod pack;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use node_core::admission::{Rejection, Rule};
use node_core::limits::clip_detail;
use node_core::policy::ArchiveLimits;
use zip::read::{ArchiveOffset, Config, ZipArchive};

pub use content::content_digest;
pub use pack::{pack, pack_files, PackError, Packed};

use directory::{Directory, Entry};
use names::Names;

/// Characters of an archive entry's name that evidence carries.
const NAME_CHARS_MAX: usize = 120;

/// A submission's files, unpacked into memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// Content by path. Paths are relative, use `/`, and contain printable ASCII only; contents
    /// are UTF-8.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    /// Bytes of all files together.
    #[must_use]
    pub fn unpacked_bytes(&self) -> u64 {
        self.files.values().map(|content| content.len() as u64).sum()
    }
}

/// Unpacks a ZIP into memory within `limits`.
///
/// - `bytes`: the archive as fetched; anything at all.
/// - Result: every file under its path. Directories leave no trace.
///
/// Memory beyond `bytes` stays below the unpacked limit plus a small record per allowed entry,
/// whatever the archive claims; entries above the limit are counted, not read.
///
/// # Errors
///
/// The first broken rule, in the order of [`Rule`], with the entry where it was found.
pub fn read_archive(bytes: &[u8], limits: &ArchiveLimits) -> Result<Archive, Rejection> {
    let packed = bytes.len() as u64;
    if packed > limits.packed_bytes_max {
        let detail =
            format!("the archive has {packed} bytes, more than {}", limits.packed_bytes_max);
        return Err(rejection(Rule::ArchivePackedSize, None, detail));
    }
    let directory = Directory::locate(bytes)?;
    if directory.count > u64::from(limits.files_max) {
        let detail =
            format!("the archive has {} entries, more than {}", directory.count, limits.files_max);
        return Err(rejection(Rule::ArchiveFileCount, None, detail));
    }
    let entries = directory.entries()?;
    let mut names = Names::default();
    let mut paths = Vec::with_capacity(entries.len());
    for entry in &entries {
        let path = names::checked_path(entry.name, limits)?;
        directory::check_kind(entry)?;
        names.insert(&path, entry.is_directory())?;
        if !entry.is_directory() {
            names::check_suffix(&path, limits)?;
        }
        paths.push(path);
    }
    check_claimed_sizes(&entries, packed, limits)?;
    unpack(bytes, &entries, paths, limits)
}

/// Refuses on what the archive itself claims, before unpacking a byte of it.
///
/// Files that share compressed bytes are the trick behind small archives that take for ever to
/// unpack; together, honest files are never longer than the archive.
fn check_claimed_sizes(
    entries: &[Entry<'_>],
    packed: u64,
    limits: &ArchiveLimits,
) -> Result<(), Rejection> {
    let compressed: u64 = entries.iter().map(|entry| u64::from(entry.compressed_bytes)).sum();
    if compressed > packed {
        let detail = "the files overlap: their compressed parts are longer than the archive";
        return Err(rejection(Rule::ArchiveFormat, None, detail.to_owned()));
    }
    let claimed: u64 = entries.iter().map(|entry| u64::from(entry.unpacked_bytes)).sum();
    if claimed > limits.unpacked_bytes_max {
        return Err(too_large(None, limits));
    }
    Ok(())
}

fn unpack(
    bytes: &[u8],
    entries: &[Entry<'_>],
    paths: Vec<String>,
    limits: &ArchiveLimits,
) -> Result<Archive, Rejection> {
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut zip = ZipArchive::with_config(config, Cursor::new(bytes))
        .map_err(|error| unreadable(None, &error))?;
    // The library merges entries of one name; a difference means that it saw another archive.
    if zip.len() != entries.len() {
        let detail = "the archive can be read in two ways".to_owned();
        return Err(rejection(Rule::ArchiveFormat, None, detail));
    }
    let mut files = BTreeMap::new();
    let mut left = limits.unpacked_bytes_max;
    for (index, (entry, path)) in entries.iter().zip(paths).enumerate() {
        if entry.is_directory() {
            continue;
        }
        let file = zip.by_index(index).map_err(|error| unreadable(Some(&path), &error))?;
        if file.name() != path {
            let detail = "the entry has two names".to_owned();
            return Err(rejection(Rule::ArchivePathName, Some(&path), detail));
        }
        let content =
            read_file(file, entry, &path, left)?.ok_or_else(|| too_large(Some(&path), limits))?;
        left = left.saturating_sub(content.len() as u64);
        check_text(&path, &content)?;
        files.insert(path, content);
    }
    Ok(Archive { files })
}

/// Reads one file to its end; `None` as soon as it passes the `left` bytes.
fn read_file(
    file: impl Read,
    entry: &Entry<'_>,
    path: &str,
    left: u64,
) -> Result<Option<Vec<u8>>, Rejection> {
    let claimed = u64::from(entry.unpacked_bytes);
    let mut content = Vec::new();
    // One byte beyond what is allowed tells "too long" from "just fits".
    file.take(left.min(claimed).saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|error| unreadable(Some(path), &error))?;
    let got = content.len() as u64;
    if got > left {
        return Ok(None);
    }
    if got != claimed {
        let detail = format!("the file claims {claimed} bytes and has another length");
        return Err(rejection(Rule::ArchiveUnpackedSize, Some(path), detail));
    }
    Ok(Some(content))
}

/// A file must be UTF-8 without NUL: everything in a submission can be read by a person.
fn check_text(path: &str, content: &[u8]) -> Result<(), Rejection> {
    let bad = match std::str::from_utf8(content) {
        Ok(_) => content.iter().position(|byte| *byte == 0),
        Err(error) => Some(error.valid_up_to()),
    };
    let Some(bad) = bad else { return Ok(()) };
    let newlines = content.iter().take(bad).filter(|byte| **byte == b'\n').count();
    let detail = format!("byte {bad} is not UTF-8 text");
    let mut rejection = rejection(Rule::ArchiveNotText, Some(path), detail);
    rejection.line = u32::try_from(newlines.saturating_add(1)).ok();
    Err(rejection)
}

fn too_large(path: Option<&str>, limits: &ArchiveLimits) -> Rejection {
    let detail = format!("the files together have more than {} bytes", limits.unpacked_bytes_max);
    rejection(Rule::ArchiveUnpackedSize, path, detail)
}

fn unreadable(path: Option<&str>, error: &dyn std::error::Error) -> Rejection {
    rejection(Rule::ArchiveFormat, path, format!("not a readable ZIP archive: {error}"))
}

/// A broken rule with its evidence, both made safe to print.
pub(crate) fn rejection(rule: Rule, file: Option<&str>, detail: String) -> Rejection {
    let file = file.map(|name| name.escape_debug().take(NAME_CHARS_MAX).collect());
    Rejection { rule, file, line: None, snippet: None, detail: clip_detail(&detail) }
}
