//! Rules for paths inside an archive: where they may lead, and which may stand side by side.

use std::collections::BTreeMap;

use node_core::admission::{Rejection, Rule};
use node_core::policy::ArchiveLimits;

use super::rejection;

/// The entry's path without a directory's trailing slash, if it stays inside and is plain text.
pub(super) fn checked_path(name: &[u8], limits: &ArchiveLimits) -> Result<String, Rejection> {
    let shown = String::from_utf8_lossy(name);
    let refuse = |rule, detail: &str| Err(rejection(rule, Some(&shown), detail.to_owned()));
    if name.contains(&b'\\') {
        return refuse(Rule::ArchiveTraversal, "the path contains a backslash");
    }
    if name.starts_with(b"/") {
        return refuse(Rule::ArchiveTraversal, "the path is absolute");
    }
    if matches!(name, [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return refuse(Rule::ArchiveTraversal, "the path starts with a drive letter");
    }
    if name.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return refuse(Rule::ArchiveTraversal, "the path leads out of the archive");
    }
    let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if !name.iter().all(printable) || name.contains(&b':') {
        return refuse(Rule::ArchivePathName, "the path is not plain text");
    }
    let path = shown.strip_suffix('/').unwrap_or(&shown);
    if path.len() as u64 > u64::from(limits.path_chars_max) {
        let detail = format!("the path is longer than {} characters", limits.path_chars_max);
        return refuse(Rule::ArchivePathName, &detail);
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return refuse(Rule::ArchivePathName, "a part of the path is empty");
    }
    Ok(path.to_owned())
}

/// A file's suffix must be one of the policy's, after at least one other character.
pub(super) fn check_suffix(path: &str, limits: &ArchiveLimits) -> Result<(), Rejection> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_allowed = |suffix: &String| name.len() > suffix.len() && name.ends_with(suffix.as_str());
    if limits.suffixes.iter().any(is_allowed) {
        return Ok(());
    }
    let detail = format!("only {} files are allowed", limits.suffixes.join(" "));
    Err(rejection(Rule::ArchiveSuffix, Some(path), detail))
}

/// What stands under a path, under names that differ in case counted as one.
#[derive(Debug)]
struct Taken {
    spelling: String,
    is_directory: bool,
}

/// The paths seen so far, with the directories they imply.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: BTreeMap<String, Taken>,
}

impl Names {
    /// Takes a path, and each directory above it.
    ///
    /// A directory may be named any number of times, always spelled the same way; a file once, and
    /// nothing may stand below it.
    pub(super) fn insert(&mut self, path: &str, is_directory: bool) -> Result<(), Rejection> {
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or_default();
            self.take(above, true, path)?;
        }
        self.take(path, is_directory, path)
    }

    fn take(&mut self, path: &str, is_directory: bool, entry: &str) -> Result<(), Rejection> {
        let folded = path.to_ascii_lowercase();
        let Some(taken) = self.taken.get(&folded) else {
            self.taken.insert(folded, Taken { spelling: path.to_owned(), is_directory });
            return Ok(());
        };
        let detail = if taken.spelling != path {
            format!("`{}` differs from it only in case", taken.spelling)
        } else if taken.is_directory && is_directory {
            return Ok(());
        } else {
            "the archive already has a file or directory of this name".to_owned()
        };
        Err(rejection(Rule::ArchiveDuplicateName, Some(entry), detail))
    }
}
