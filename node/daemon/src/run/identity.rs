//! Whose state lies in a data directory: one hotkey on one subnet of one chain.
//!
//! What was signed for one of them says nothing about another, so a directory is never shared.

use std::io;
use std::path::{Path, PathBuf};

use node_core::id::{BlockHash, Hotkey, Netuid};
use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";
const INSTANCE_FILE: &str = "instance";

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) hotkey: Hotkey,
    pub(crate) netuid: Netuid,
    pub(crate) genesis: BlockHash,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot use `{path}`")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is damaged.
    #[error("`{path}` is damaged")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// The directory belongs to somebody else.
    #[error(
        "the data directory `{directory}` belongs to hotkey {} on subnet {} of chain {}, not to \
         hotkey {} on subnet {} of chain {}",
        known.hotkey, known.netuid, known.genesis, own.hotkey, own.netuid, own.genesis
    )]
    Other { directory: PathBuf, known: Box<Identity>, own: Box<Identity> },
}

/// The name of the node that owns `directory`: drawn once, and kept. Two nodes of one hotkey on one
/// host (for two subnets, say) have two names, so neither takes the other's containers for its own.
///
/// # Errors
///
/// [`IdentityError::File`] if the name cannot be read or written.
pub(crate) fn instance(directory: &Path) -> Result<String, IdentityError> {
    let path = directory.join(INSTANCE_FILE);
    let file = |source| IdentityError::File { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(error)),
        Ok(_) | Err(_) => {
            let name = hex::encode(rand::random::<[u8; 16]>());
            write_whole(&path, name.as_bytes()).map_err(file)?;
            Ok(name)
        }
    }
}

/// Writes a file that is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes)?;
    std::fs::File::open(&partial)?.sync_all()?;
    std::fs::rename(&partial, path)
}

/// Whose state lies in `directory`; `None` if nobody's yet.
///
/// # Errors
///
/// [`IdentityError::File`] and [`IdentityError::Damaged`].
pub(crate) fn read(directory: &Path) -> Result<Option<Identity>, IdentityError> {
    let path = directory.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(known) => Ok(Some(known)),
            Err(source) => Err(IdentityError::Damaged { path, source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { path, source }),
    }
}

/// Claims `directory` for `own`, or finds that it was claimed for it before.
///
/// # Errors
///
/// [`IdentityError::Other`] if it was claimed for somebody else; nothing is changed then.
pub(crate) fn claim(directory: &Path, own: Identity) -> Result<(), IdentityError> {
    let path = directory.join(FILE);
    match read(directory)? {
        Some(known) if known == own => Ok(()),
        Some(known) => {
            let directory = directory.to_owned();
            Err(IdentityError::Other { directory, known: Box::new(known), own: Box::new(own) })
        }
        None => {
            let bytes = serde_json::to_vec_pretty(&own)
                .map_err(|source| IdentityError::Damaged { path: path.clone(), source })?;
            write_whole(&path, &bytes).map_err(|source| IdentityError::File { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_and_two_nodes_have_two() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = instance(one.path()).unwrap();
        assert_eq!(instance(one.path()).unwrap(), name);
        assert_ne!(instance(other.path()).unwrap(), name);
    }

    #[test]
    fn a_directory_belongs_to_who_claimed_it_first() {
        let directory = tempfile::tempdir().unwrap();
        let own =
            Identity { hotkey: Hotkey([1; 32]), netuid: Netuid(1), genesis: BlockHash([2; 32]) };
        claim(directory.path(), own).unwrap();
        claim(directory.path(), own).unwrap();
        let other = Identity { genesis: BlockHash([3; 32]), ..own };
        let refused = claim(directory.path(), other).unwrap_err();
        assert!(matches!(refused, IdentityError::Other { .. }), "{refused}");
    }
}
