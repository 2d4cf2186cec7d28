//! The file that names the admin listener, for `assay status`.
//!
//! Three lines: the address, the name of the instance that listens there, and the token by which
//! that instance knows its operator. Only the node's own user can read them.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::operator::OperatorToken;

/// Content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFile {
    /// Where it listens.
    pub address: SocketAddr,
    /// A name that no other process has had on this host.
    pub instance: String,
    /// What makes a request the operator's; nodes of earlier versions have none.
    pub token: Option<OperatorToken>,
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
        let instance = format!("{}-{}", std::process::id(), since.as_nanos());
        Self { address, instance, token: Some(OperatorToken::draw()) }
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
        let token = lines.next().filter(|line| !line.is_empty()).map(OperatorToken::from_text);
        match (address, instance) {
            (Some(address), Some(instance)) => Ok(Self { address, instance, token }),
            _ => Err(AddressFileError::Malformed { path: path.to_path_buf() }),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), AddressFileError> {
        let failed = |source| AddressFileError::Write { path: path.to_path_buf(), source };
        let beside = path.with_extension("addr.new");
        let token = self.token.as_ref().map(OperatorToken::text).unwrap_or_default();
        // One that a killed process left may have other permissions.
        drop(std::fs::remove_file(&beside));
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
        write!(file, "{}\n{}\n{token}\n", self.address, self.instance).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }

    /// Removes the file if it is still this one; a file left behind is recognised as stale.
    pub(super) fn remove(&self, path: &Path) {
        if Self::read(path).is_ok_and(|file| file == *self) {
            drop(std::fs::remove_file(path));
        }
    }
}
