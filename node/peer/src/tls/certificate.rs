//! This node's certificate: made, kept, renewed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use node_core::id::{Hotkey, HotkeySigner};
use node_core::publish::KeyStanding;
use node_core::unit::UnixMs;
use rand::TryRngCore as _;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::endorsement::{published_form, CertificateKey, Endorsement, EXTENSION_OID};
use super::{CertificateRefusal, EndorsedKey};
use crate::directory::NodeIdentity;
use crate::limits::{CERTIFICATE_BYTES_MAX, ENDORSEMENT_LIFE_MS};

/// What the bytes of a kept certificate begin with.
const MAGIC: &[u8] = b"assay/node-certificate/v1\n";

const SECRET_BYTES: usize = 32;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are no certificate that was kept.
    #[error("the bytes are not those of a node's certificate; without them a new one is made")]
    Unreadable,
    /// The certificate that was kept, or made, is none that a peer would take.
    #[error("a peer would refuse the certificate")]
    Refused(#[source] CertificateRefusal),
    /// The certificate is for another key than the one kept with it.
    #[error("the certificate is not for the key beside it; without both a new one is made")]
    OtherKey,
    /// The system has no randomness.
    #[error("the system gives no randomness for a key")]
    Randomness(#[source] Box<dyn Error + Send + Sync>),
    /// The certificate could not be written.
    #[error("cannot write the certificate")]
    Write(#[source] Box<dyn Error + Send + Sync>),
}

/// A node's key for connections, and the certificate with the hotkey's endorsement of it.
///
/// The key is no hotkey and can be lost: a new one is endorsed at the next start, and published
/// again where it was published. Who has it can be this node towards peers until the endorsement
/// ends, and sign no call; so its bytes belong into a file that only the node may read (mode 0600,
/// which the daemon sees to). It is wiped from memory with the last clone, and never printed.
#[derive(Clone)]
pub struct NodeCertificate {
    secret: Arc<SigningKey>,
    endorsed: EndorsedKey,
    certified: Arc<CertifiedKey>,
}

/// What a node's connections show: the newest certificate.
pub(crate) type CurrentCertificate = watch::Receiver<NodeCertificate>;

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificate")
            .field("hotkey", &self.hotkey())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

impl NodeCertificate {
    /// Makes a key and has it endorsed by `signer` for `identity`'s chain and subnet, from `now`
    /// on for [`ENDORSEMENT_LIFE_MS`].
    ///
    /// # Errors
    ///
    /// [`CertificateError::Randomness`] and [`CertificateError::Write`];
    /// [`CertificateError::Refused`] if `signer` does not sign.
    pub fn generate(
        identity: &NodeIdentity,
        signer: &dyn HotkeySigner,
        now: UnixMs,
    ) -> Result<Self, CertificateError> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        rand::rngs::OsRng
            .try_fill_bytes(secret.as_mut_slice())
            .map_err(|error| CertificateError::Randomness(error.into()))?;
        Self::endorsed(Arc::new(SigningKey::from_bytes(&secret)), identity, signer, now)
    }

    /// The same key with a new endorsement, if the one it has is for another hotkey, chain or
    /// subnet, or if a third or less of its life is left at `now`; else `None`. To be asked at the
    /// start and then at least daily.
    ///
    /// # Errors
    ///
    /// As [`Self::generate`].
    pub fn renewed_if_due(
        &self,
        identity: &NodeIdentity,
        signer: &dyn HotkeySigner,
        now: UnixMs,
    ) -> Result<Option<Self>, CertificateError> {
        let is_ours = self.hotkey() == signer.hotkey();
        let is_valid = self.endorsed.check_scope(identity, now).is_ok();
        let left_ms = self.expires_at().0.saturating_sub(now.0);
        if is_ours && is_valid && left_ms > ENDORSEMENT_LIFE_MS / 3 {
            return Ok(None);
        }
        Self::endorsed(Arc::clone(&self.secret), identity, signer, now).map(Some)
    }

    /// The same key with a new endorsement, if the chain says another key (`published`) and the
    /// endorsement it has will not be new for much longer; else `None`. Peers take a key that the
    /// chain contradicts only while its endorsement is new, so whoever cannot publish yet asks
    /// this at least hourly.
    ///
    /// # Errors
    ///
    /// As [`Self::generate`].
    pub fn renewed_if_contradicted(
        &self,
        published: Option<&[u8]>,
        identity: &NodeIdentity,
        signer: &dyn HotkeySigner,
        now: UnixMs,
    ) -> Result<Option<Self>, CertificateError> {
        if !self.standing(published, now).wants_endorsement(self.endorsed.endorsed_at(), now) {
            return Ok(None);
        }
        Self::endorsed(Arc::clone(&self.secret), identity, signer, now).map(Some)
    }

    /// How the key stands to what the chain says for its hotkey.
    #[must_use]
    pub fn standing(&self, published: Option<&[u8]>, now: UnixMs) -> KeyStanding {
        KeyStanding::of(published, &self.published_form(), self.endorsed.endorsed_at(), now)
    }

    fn endorsed(
        secret: Arc<SigningKey>,
        identity: &NodeIdentity,
        signer: &dyn HotkeySigner,
        now: UnixMs,
    ) -> Result<Self, CertificateError> {
        let expires_at = UnixMs(now.0.saturating_add(ENDORSEMENT_LIFE_MS));
        let key = CertificateKey(secret.verifying_key().to_bytes());
        let endorsement = Endorsement::sign(key, identity, expires_at, signer);
        let certificate = write_certificate(&secret, &endorsement.to_bytes(), endorsement.hotkey)?;
        let made = Self::assembled(secret, certificate)?;
        made.endorsed.check_signature().map_err(CertificateError::Refused)?;
        Ok(made)
    }

    fn assembled(secret: Arc<SigningKey>, certificate: Vec<u8>) -> Result<Self, CertificateError> {
        let endorsed = EndorsedKey::read(&certificate).map_err(CertificateError::Refused)?;
        if endorsed.key.0 != secret.verifying_key().to_bytes() {
            return Err(CertificateError::OtherKey);
        }
        let signer = Arc::new(HandshakeKey(Arc::clone(&secret)));
        let certified = CertifiedKey::new(vec![CertificateDer::from(certificate)], signer);
        Ok(Self { secret, endorsed, certified: Arc::new(certified) })
    }

    /// Reads what [`Self::to_bytes`] wrote. The caller wipes its own copy of the bytes.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Unreadable`] for other bytes, [`CertificateError::OtherKey`] if key and
    /// certificate do not belong together, [`CertificateError::Refused`] for a certificate without
    /// a readable endorsement. Whether the endorsement is valid now says [`Self::renewed_if_due`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CertificateError::Unreadable)?;
        let (secret, certificate) =
            rest.split_first_chunk::<SECRET_BYTES>().ok_or(CertificateError::Unreadable)?;
        if certificate.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Unreadable);
        }
        Self::assembled(Arc::new(SigningKey::from_bytes(secret)), certificate.to_vec())
    }

    /// The key and the certificate, to be kept where only the node can read. Wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let certificate = self.certificate();
        // Reserved in full, so that growing leaves no copy behind.
        let len = MAGIC.len() + SECRET_BYTES + certificate.len();
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.secret.as_bytes());
        bytes.extend_from_slice(certificate);
        bytes
    }

    /// The certificate, X.509 in DER: what peers are shown.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.certified.cert.first().map_or(&[], |certificate| certificate.as_ref())
    }

    /// The key as `serve_axon_tls` publishes it: a byte for the algorithm (1, Ed25519) and 32 of
    /// the key. Stays the same over renewals.
    #[must_use]
    pub fn published_form(&self) -> Vec<u8> {
        published_form(self.endorsed.key)
    }

    /// Whose endorsement it carries.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        self.endorsed.hotkey()
    }

    /// When the endorsement ends.
    #[must_use]
    pub fn expires_at(&self) -> UnixMs {
        self.endorsed.expires_at()
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// A self-signed certificate of the key with `endorsement` in it. Its dates are those of a
/// certificate that never ends: what ends is the endorsement.
fn write_certificate(
    secret: &SigningKey,
    endorsement: &[u8],
    hotkey: Hotkey,
) -> Result<Vec<u8>, CertificateError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, hotkey.to_string());
    params.distinguished_name = name;
    let extension = CustomExtension::from_oid_content(&EXTENSION_OID, endorsement.to_vec());
    params.custom_extensions.push(extension);
    let key = SelfSigner { secret, public: secret.verifying_key().to_bytes() };
    let certificate =
        params.self_signed(&key).map_err(|error| CertificateError::Write(error.into()))?;
    Ok(certificate.der().to_vec())
}

/// The key as the writer of certificates wants it.
struct SelfSigner<'a> {
    secret: &'a SigningKey,
    public: [u8; 32],
}

impl PublicKeyData for SelfSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for SelfSigner<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.secret.sign(message).to_vec())
    }
}

/// The key as TLS wants it. Our own instead of the provider's, whose keys are not wiped.
struct HandshakeKey(Arc<SigningKey>);

impl fmt::Debug for HandshakeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeKey")
    }
}

impl rustls::sign::SigningKey for HandshakeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = || Box::new(Self(Arc::clone(&self.0))) as Box<dyn Signer>;
        offered.contains(&SignatureScheme::ED25519).then(signer)
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for HandshakeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(message).to_vec())
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
