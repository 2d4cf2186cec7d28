//! Lets a container run before its program does.
//!
//! An OCI runtime creates a container with everything (namespaces, cgroups, mounts) and its first
//! process waits for one byte; its start is that byte. Engines join the two steps. A gate takes
//! them apart again: a shell is the first process, reads one line from a pipe of the host, and
//! becomes the program.
//!
//! ```text
//! start --> /bin/sh reads the pipe ... open --> the same process is the program
//!                     |
//!                     +- the node is gone: end of file, it exits
//! ```
//!
//! The program has the arguments, environment, open files and signals that it would have without a
//! gate. The pipe stays where it is, but nobody outside reads it or writes to it again, and the
//! container's user may not write to it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::fs::{mkfifoat, Mode, CWD};

use crate::spec::ReadOnlyBind;

/// Where the pipe is in the container.
const TARGET: &str = "/assay/gate";

/// Shells set and export `PWD`, some `SHLVL`.
const SCRIPT: &str = "read -r _ </assay/gate && unset PWD SHLVL && exec \"$@\"";

/// The pipe of one container's gate; closed once dropped, and then a shell that still waits ends.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    /// Both ends of it: so neither side ever waits for the other to be there, and what is written
    /// before the shell reads is kept.
    pipe: File,
}

impl Gate {
    /// Makes the pipe.
    ///
    /// - `path`: in a directory that the container's user can search; nothing is there yet.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn make(path: PathBuf) -> std::io::Result<Self> {
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
        let pipe = OpenOptions::new().read(true).write(true).open(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o444))?;
        Ok(Self { path, pipe })
    }

    /// What the container sees of it.
    #[must_use]
    pub fn bind(&self) -> ReadOnlyBind {
        ReadOnlyBind { source: self.path.clone(), target: TARGET.to_owned() }
    }

    /// The command that waits at the gate and then becomes `program`. Needs `/bin/sh` in the
    /// image.
    #[must_use]
    pub fn before(program: Vec<String>) -> Vec<String> {
        let shell = ["/bin/sh", "-c", SCRIPT, "gate"].map(str::to_owned);
        shell.into_iter().chain(program).collect()
    }

    /// Lets the program start, or start at once if the container does not run yet. Once per gate:
    /// nobody reads a second line.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn open(&self) -> std::io::Result<()> {
        // Never blocks: the pipe is empty, and this is one byte.
        (&self.pipe).write_all(b"\n")
    }
}
