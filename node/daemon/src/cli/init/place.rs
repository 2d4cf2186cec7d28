//! The file on the disk: there whole or not at all, and for its owner alone, or for whom what it
//! replaces was.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{fchown, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whether something has the name, also a link to nowhere.
pub(super) fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Writes `text`, and makes the folders above it. On an error everything is as it was, except for
/// these folders.
///
/// - `replace`: whether a file that is there goes; its owner and who may read it stay.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if the name was taken meanwhile; those of the file system.
pub(super) fn write(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "it names no file");
    let (folder, name) = (path.parent().ok_or_else(no_name)?, path.file_name());
    let name = name.ok_or_else(no_name)?.to_string_lossy().into_owned();
    std::fs::create_dir_all(folder)?;
    let partial = Partial(folder.join(format!(".{name}.partial-{}", std::process::id())));
    // Of a process with this number that was killed.
    drop(std::fs::remove_file(&partial.0));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial.0)?;
    if let (true, Ok(old)) = (replace, path.metadata()) {
        // A service under another user reads what stands there: its new text is for the same.
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
        file.set_permissions(Permissions::from_mode(old.mode() & 0o660))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // Two who write the same file within a moment are the same person.
    if !replace && is_taken(path) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(&partial.0, path)?;
    File::open(folder)?.sync_all()
}

/// What is not whole yet; it goes with its owner.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Of a file that got its name nothing is left here.
        drop(std::fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_for_its_owner_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/for/it/assay.toml");
        write(&path, "one", false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(path.parent().unwrap()), ["assay.toml"]);
    }

    #[test]
    fn a_file_that_is_there_stays_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assay.toml");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = write(&path, "new", false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        write(&path, "new", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(dir.path()), ["assay.toml"]);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("assay.toml");
        std::fs::create_dir(&folder).unwrap();
        assert!(write(&folder, "text", true).is_err());
        assert_eq!(names(dir.path()), ["assay.toml"]);
        assert!(write(Path::new("/"), "text", true).is_err());
    }
}
