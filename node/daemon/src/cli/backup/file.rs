//! A file that has its name once it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
struct NotWritten {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A file of this name is there.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is there already; nothing was done")]
struct Exists(PathBuf);

/// What stands in a file's name between the name that it will have and its process's number.
pub(super) const PARTIAL: &str = ".partial-";

/// A file under another name until it is complete. Removed if it never is, except where the process
/// is killed: the next one of that name does it then (`leftovers`).
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    out: BufWriter<File>,
    is_kept: bool,
}

impl NewFile {
    /// Begins `FILE.partial-PID`, which only its owner can read.
    ///
    /// - `replaces`: whether a file at `path` may be there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if one is and may not, or if it cannot be written there.
    pub(super) fn create(path: &Path, replaces: bool) -> Result<Self, Failure> {
        if !replaces && path.symlink_metadata().is_ok() {
            return Err(Failure::bad_configuration(Exists(path.to_owned()))
                .hint("name another file, or give `--force` to replace it"));
        }
        let mut partial = path.as_os_str().to_owned();
        // Two copies under one name are made beside each other; the later one stays.
        partial.push(format!("{PARTIAL}{}", std::process::id()));
        let partial = PathBuf::from(partial);
        // One that a killed process left may have other permissions.
        drop(std::fs::remove_file(&partial));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&partial);
        let file = file.map_err(|source| not_written(path, source))?;
        // For `leftovers` alone: where there are no locks, the process's number has to do.
        drop(file.try_lock());
        let out = BufWriter::new(file);
        Ok(Self { path: path.to_owned(), partial, out, is_kept: false })
    }

    /// Where it is written to.
    pub(super) fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Makes what was written durable, under its other name.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the disk refuses.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        let synced = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(|source| not_written(&self.path, source))
    }

    /// The name that it has meanwhile.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Gives it its name.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the file system refuses.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        std::fs::rename(&self.partial, &self.path)
            .and_then(|()| File::open(folder_of(&self.path))?.sync_all())
            .map_err(|source| not_written(&self.path, source))?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            drop(std::fs::remove_file(&self.partial));
        }
    }
}

/// The folder in which a file lies.
pub(super) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The failure to write the file of this name.
pub(super) fn not_written(path: &Path, source: io::Error) -> Failure {
    Failure::unavailable(NotWritten { path: path.to_owned(), source })
        .hint("name a file in a directory that is there, may be written and has room")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_leaves_nothing_if_it_never_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy");
        let mut file = NewFile::create(&path, false).unwrap();
        file.out().write_all(b"one").unwrap();
        file.sync().unwrap();
        assert_eq!(std::fs::read(file.partial()).unwrap(), b"one");
        drop(file);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        // Left by a process that was killed, and open to others.
        let left = format!("copy.partial-{}", std::process::id());
        std::fs::write(dir.path().join(left), "left").unwrap();
        let mut file = NewFile::create(&path, false).unwrap();
        file.out().write_all(b"two").unwrap();
        file.sync().unwrap();
        file.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = NewFile::create(&path, false).unwrap_err();
        assert_eq!(refused.exit().code(), 64);
        let mut file = NewFile::create(&path, true).unwrap();
        file.out().write_all(b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two", "it stands until the new one is whole");
        file.sync().unwrap();
        file.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        let nowhere = NewFile::create(&dir.path().join("no/copy"), false).unwrap_err();
        assert_eq!(nowhere.exit().code(), 69);
    }
}
