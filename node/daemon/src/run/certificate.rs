//! The certificate that this node's connections show: kept in its data directory, endorsed anew
//! before the endorsement ends, and while the chain says another key.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use node_chain::Keypair;
use node_core::unit::UnixMs;
use node_peer::{CertificateError, NodeCertificate, NodeIdentity, PeerDirectory};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::clock::unix_now;
use super::perform::describe;

/// Its name in the data directory.
const FILE: &str = "peer.key";

/// Longest such file that is read.
const FILE_BYTES_MAX: u64 = 16 << 10;

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
    let known = match read(directory)? {
        Some(Ok(known)) => Some(known),
        Some(Err(error)) => {
            tracing::warn!(path = %path.display(), error = %describe(&error),
                "the certificate for peers is unreadable; a new one is made");
            None
        }
        None => None,
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

/// The certificate kept in `directory`, if there is one, as it is; or why it is none.
///
/// # Errors
///
/// [`CertificateFileError::File`] if the file cannot be read.
pub(crate) fn read(
    directory: &Path,
) -> Result<Option<Result<NodeCertificate, CertificateError>>, CertificateFileError> {
    use std::io::Read as _;
    let path = directory.join(FILE);
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = std::fs::File::open(&path);
    match opened.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(NodeCertificate::from_bytes(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertificateFileError::File { path, source }),
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

/// What has the certificate endorsed anew, for as long as it is shown.
#[derive(Debug)]
pub(crate) struct Endorser {
    /// The data directory.
    pub(crate) directory: PathBuf,
    pub(crate) identity: NodeIdentity,
    pub(crate) keypair: Arc<Keypair>,
    /// What connections show.
    pub(crate) certificate: watch::Sender<NodeCertificate>,
    /// What the chain says, with each finalized block.
    pub(crate) peers: watch::Receiver<PeerDirectory>,
}

impl Endorser {
    /// Endorses before the endorsement ends, and again and again while the chain says another key:
    /// peers take that for a new key only for a while, and whoever cannot publish must not be
    /// locked out by it. Ends with the directory's sender.
    pub(crate) async fn keep_endorsed(mut self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            let renewed = tokio::select! {
                _ = ticks.tick() => open(&self.directory, &self.identity, &self.keypair).map(Some),
                changed = self.peers.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.renewed_if_contradicted(unix_now())
                }
            };
            match renewed {
                Ok(Some(current)) => drop(self.certificate.send_replace(current)),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(error = %describe(&error), "the certificate is not renewed");
                }
            }
        }
    }

    fn renewed_if_contradicted(
        &mut self,
        now: UnixMs,
    ) -> Result<Option<NodeCertificate>, CertificateFileError> {
        let hotkey = self.identity.hotkey;
        let published = self.peers.borrow_and_update().published(&hotkey).map(<[u8]>::to_vec);
        let current = self.certificate.borrow().clone();
        let renewed = current
            .renewed_if_contradicted(published.as_deref(), &self.identity, &*self.keypair, now)
            .map_err(CertificateFileError::Make)?;
        if let Some(renewed) = &renewed {
            tracing::warn!(
                "the chain says another key than the one of this node's connections, which was \
                 endorsed anew so that peers go on taking it"
            );
            let path = self.directory.join(FILE);
            // Used all the same: without it peers would refuse this node.
            if let Err(error) = write(&path, &renewed.to_bytes()) {
                tracing::error!(path = %path.display(), %error, "the certificate is not kept");
            }
        }
        Ok(renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_core::id::{BlockHash, HotkeySigner as _, Netuid};
    use node_core::publish::NEW_KEY_MS_MAX;
    use node_core::unit::BlockNumber;
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

    #[test]
    fn a_key_that_the_chain_contradicts_is_endorsed_anew_and_kept_so() {
        let dir = tempfile::tempdir().unwrap();
        let keypair = Arc::new(Keypair::from_uri("//Alice").unwrap());
        let identity = identity(&keypair);
        let first = open(dir.path(), &identity, &keypair).unwrap();
        let says = |key: Vec<u8>| {
            PeerDirectory::of(BlockNumber(1), [(identity.hotkey, None)])
                .with_certificates([(identity.hotkey, key)])
        };
        let (view, peers) = watch::channel(says(first.published_form()));
        let certificate = watch::Sender::new(first.clone());
        let directory = dir.path().to_owned();
        let mut endorser =
            Endorser { directory, identity: identity.clone(), keypair, certificate, peers };
        let later = UnixMs(unix_now().0 + NEW_KEY_MS_MAX / 2);
        assert!(endorser.renewed_if_contradicted(later).unwrap().is_none(), "the chain agrees");
        view.send_replace(says(vec![1; 33]));
        assert!(endorser.renewed_if_contradicted(unix_now()).unwrap().is_none(), "it is new");
        let renewed = endorser.renewed_if_contradicted(later).unwrap().expect("half is over");
        assert_eq!(renewed.published_form(), first.published_form());
        let kept = read(dir.path()).unwrap().unwrap().unwrap();
        assert_eq!(kept.certificate(), renewed.certificate());
    }
}
