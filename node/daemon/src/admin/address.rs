//! The file that names the admin listener, for `assay status`.
//!
//! Two lines: the address, and the name of the instance that listens there.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFile {
    /// Where it listens.
    pub address: SocketAddr,
    /// A name that no other process has had on this host.
    pub instance: String,
}

/// Why the file gives no address.
#[derive(Debug, thiserror::Error)]
pub enum AddressFileError {
    /// It cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has other content.
    #[error("`{path}` is not an address file")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl AddressFile {
    pub(super) fn of_this_process(address: SocketAddr) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { address, instance: format!("{}-{}", std::process::id(), since.as_nanos()) }
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`AddressFileError::Read`] and [`AddressFileError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, AddressFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| AddressFileError::Read { path: path.to_path_buf(), source })?;
        let mut lines = text.lines();
        let address = lines.next().and_then(|line| line.parse().ok());
        let instance = lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
        match (address, instance) {
            (Some(address), Some(instance)) => Ok(Self { address, instance }),
            _ => Err(AddressFileError::Malformed { path: path.to_path_buf() }),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), AddressFileError> {
        let failed = |source| AddressFileError::Write { path: path.to_path_buf(), source };
        let beside = path.with_extension("addr.new");
        std::fs::write(&beside, format!("{}\n{}\n", self.address, self.instance))
            .map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }

    /// Removes the file if it is still this one; a file left behind is recognised as stale.
    pub(super) fn remove(&self, path: &Path) {
        if Self::read(path).is_ok_and(|file| file == *self) {
            drop(std::fs::remove_file(path));
        }
    }
}
