//! The certificate that this node's connections show: kept in its data directory, endorsed anew
//! before the endorsement ends.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use node_chain::Keypair;
use node_peer::{CertificateError, NodeCertificate, NodeIdentity};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::durable::unix_now;
use super::perform::describe;

/// Its name in the data directory.
const FILE: &str = "peer.key";

/// How often it is looked at whether the endorsement ends soon; its life is counted in weeks.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateFileError {
    /// The file cannot be read or written.
    #[error("cannot use `{path}`")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate for connections of peers")]
    Make(#[source] CertificateError),
}

/// The certificate kept in `directory`, made or endorsed anew where needed. One that cannot be read
/// is replaced: all that is lost with it is the key that connections showed.
///
/// # Errors
///
/// [`CertificateFileError`].
pub(crate) fn open(
    directory: &Path,
    identity: &NodeIdentity,
    keypair: &Keypair,
) -> Result<NodeCertificate, CertificateFileError> {
    let path = directory.join(FILE);
    let file = |source| CertificateFileError::File { path: path.clone(), source };
    let known = match std::fs::read(&path).map(Zeroizing::new) {
        Ok(bytes) => NodeCertificate::from_bytes(&bytes)
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), error = %describe(error),
                    "the certificate for peers is unreadable; a new one is made");
            })
            .ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(file(error)),
    };
    let now = unix_now();
    let renewed = match &known {
        Some(known) => known.renewed_if_due(identity, keypair, now),
        None => NodeCertificate::generate(identity, keypair, now).map(Some),
    };
    match (renewed.map_err(CertificateFileError::Make)?, known) {
        (Some(new), _) => {
            write(&path, &new.to_bytes()).map_err(file)?;
            Ok(new)
        }
        (None, Some(known)) => Ok(known),
        (None, None) => Err(CertificateFileError::Make(CertificateError::Unreadable)),
    }
}

/// Writes a file that is there whole or not at all, and that only this user can read.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let partial = path.with_extension("partial");
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

/// Has the certificate endorsed anew before its endorsement ends, for as long as it is shown.
pub(crate) async fn keep_endorsed(
    directory: PathBuf,
    identity: NodeIdentity,
    keypair: Arc<Keypair>,
    certificate: watch::Sender<NodeCertificate>,
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        match open(&directory, &identity, &keypair) {
            Ok(current) => drop(certificate.send(current)),
            Err(error) => {
                tracing::error!(error = %describe(&error), "the certificate is not renewed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_core::id::{BlockHash, HotkeySigner as _, Netuid};
    use std::os::unix::fs::PermissionsExt as _;

    fn identity(keypair: &Keypair) -> NodeIdentity {
        NodeIdentity {
            hotkey: keypair.hotkey(),
            genesis: BlockHash([1; 32]),
            netuid: Netuid(2),
            software_version: "test".to_owned(),
        }
    }

    #[test]
    fn a_certificate_is_kept_for_its_owner_alone_and_shown_again() {
        let dir = tempfile::tempdir().unwrap();
        let keypair = Keypair::from_uri("//Alice").unwrap();
        let first = open(dir.path(), &identity(&keypair), &keypair).unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = open(dir.path(), &identity(&keypair), &keypair).unwrap();
        assert_eq!(first.certificate(), again.certificate());
    }

    #[test]
    fn a_damaged_certificate_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let keypair = Keypair::from_uri("//Alice").unwrap();
        let first = open(dir.path(), &identity(&keypair), &keypair).unwrap();
        std::fs::write(dir.path().join(FILE), b"nonsense").unwrap();
        let second = open(dir.path(), &identity(&keypair), &keypair).unwrap();
        assert_ne!(first.certificate(), second.certificate());
    }
}
