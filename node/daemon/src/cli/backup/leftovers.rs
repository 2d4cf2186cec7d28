//! What copies left that were killed, so that nothing could put them away.
//!
//! A copy that is being made has a living process and a lock on its file. What has neither is left
//! over; both are asked, because a process may be in another container and share the folder, and
//! because there are file systems without locks.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::file::{folder_of, PARTIAL};
use crate::cli::process;

/// Entries of a folder that are looked at. Higher: a folder of millions takes longer than a copy.
const ENTRIES_MAX: usize = 100_000;

/// Files that are told of.
const TOLD_MAX: usize = 16;

/// What was left over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leftovers {
    /// Parts of copies under the name that the next one has: they are gone now.
    pub(super) removed: Vec<PathBuf>,
    /// Parts of copies under other names, or that could not be removed.
    pub(super) there: Vec<PathBuf>,
}

/// Looks for what is left over beside `path`, and removes what has its name.
pub(super) fn clear(path: &Path) -> Leftovers {
    let mut found = Leftovers::default();
    // A folder that cannot be read takes no copy either, and that is told then.
    let Ok(entries) = folder_of(path).read_dir() else { return found };
    for entry in entries.take(ENTRIES_MAX).filter_map(Result::ok) {
        // As the file was named, also where that was without a folder.
        let left = path.with_file_name(entry.file_name());
        let Some(whole) = left.file_name().and_then(of_the_dead) else { continue };
        if !is_unlocked_file(&left) {
            continue;
        }
        let is_removed =
            path.file_name() == Some(OsStr::new(whole)) && std::fs::remove_file(&left).is_ok();
        let list = if is_removed { &mut found.removed } else { &mut found.there };
        if list.len() < TOLD_MAX {
            list.push(left);
        }
    }
    found.removed.sort_unstable();
    found.there.sort_unstable();
    found
}

impl Leftovers {
    /// A line for each, as people read it.
    pub(super) fn text(&self) -> Vec<String> {
        let removed = self.removed.iter().map(|path| {
            format!("removed `{}`, which an `assay backup` that was killed left", path.display())
        });
        let there = self.there.iter().map(|path| {
            format!(
                "`{}` is what an `assay backup` that was killed left: remove it, it holds vectors \
                 before they are revealed",
                path.display()
            )
        });
        removed.chain(there).collect()
    }
}

/// The name that a copy would have got, if its process is not there any more.
fn of_the_dead(name: &OsStr) -> Option<&str> {
    let (whole, pid) = name.to_str()?.rsplit_once(PARTIAL)?;
    let pid: u32 = pid.parse().ok()?;
    let is_dead = pid != std::process::id() && !process::is_there(pid);
    (is_dead && !whole.is_empty()).then_some(whole)
}

fn is_unlocked_file(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    is_file && File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Higher than any process's number.
    const DEAD: u32 = 4_194_999;

    #[test]
    fn only_what_nobody_makes_any_more_is_left_over_and_only_what_has_its_name_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let put = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "part").unwrap();
            path
        };
        let dead = put(&format!("copy.partial-{DEAD}"));
        let other = put(&format!("yesterday.partial-{DEAD}"));
        let stay = [
            put("copy.partial-1"),
            put(&format!("copy.partial-{own}")),
            put("copy.partial-x"),
            put(&format!(".partial-{DEAD}")),
            put("copy"),
        ];
        // Of a process elsewhere, which has the same folder.
        let locked = put(&format!("copy.partial-{}", DEAD + 1));
        let held = File::open(&locked).unwrap();
        held.try_lock().unwrap();

        let found = clear(&dir.path().join("copy"));
        let expected = Leftovers { removed: vec![dead.clone()], there: vec![other.clone()] };
        assert_eq!(found, expected);
        assert!(!dead.exists() && other.exists() && locked.exists());
        assert!(stay.iter().all(|path| path.exists()));
        let told = found.text();
        assert!(told[0].starts_with("removed ") && told[1].contains("remove it"), "{told:?}");
        drop(held);
        assert_eq!(clear(&dir.path().join("copy")).removed, [locked]);
        assert_eq!(clear(&dir.path().join("no/copy")), Leftovers::default());
    }
}
