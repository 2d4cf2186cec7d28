//! One process per data directory.
//!
//! The lock is the kernel's and dies with its holder; the pid in the file only serves the error
//! message of whoever comes second.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use fs4::{FileExt, TryLockError};

use crate::error::OpenError;
use crate::sync::private_file;

const LOCK_FILE: &str = "lock";

/// Longest pid read from a lock file.
const PID_CHARS_MAX: u64 = 20;

/// The held lock; released when dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    _file: File,
}

impl Instance {
    /// Locks a data directory and writes our pid into the lock file.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`] while another process holds it; nothing is changed then.
    /// [`OpenError::LockFile`] if the file cannot be made or locked.
    pub(crate) fn lock(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_FILE);
        let failed = |source| OpenError::LockFile { path: path.clone(), source };
        let mut file = private_file().create(true).truncate(false).open(&path).map_err(failed)?;
        match FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { pid: read_pid(&mut file), path });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// `None` between the moment the holder locked the file and the moment it wrote its pid.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_CHARS_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
