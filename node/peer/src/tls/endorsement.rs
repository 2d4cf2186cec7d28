//! The endorsement of a certificate's key by a hotkey: its bytes, and reading them from a
//! certificate. Pure functions over bytes; whether an endorsement is accepted is in `verify`.

use node_core::id::{
    sha256, BlockHash, Digest, DigestBuilder, Hotkey, HotkeySigner, Netuid, Signature,
    SignatureVerifier,
};
use node_core::unit::UnixMs;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateRefusal, VerifiedPeer};
use crate::directory::NodeIdentity;
use crate::limits::{CERTIFICATE_BYTES_MAX, ENDORSEMENT_LIFE_MS, ENDORSEMENT_LIFE_MS_MAX};
use crate::signature::Sr25519Verifier;

/// The extension that carries the endorsement. Below 2.25, which needs no registration; the number
/// is the first eight bytes of the domain's SHA-256, halved: writers of certificates commonly have
/// room for 63 bits.
pub(super) const EXTENSION_OID: [u64; 3] = [2, 25, 7_737_493_515_357_366_300];

/// Domain of the digest, and prefix of the bytes that are signed.
const DOMAIN: &str = "assay/peer-endorsement/v1";

/// Layout of the extension's value.
const LAYOUT: u8 = 1;

/// Bytes of the extension's value.
const ENDORSEMENT_BYTES: usize = 1 + 32 + 32 + 8 + 8 + 64;

/// What stands before the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410).
const KEY_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The number of Ed25519 in front of the key, as the chain keeps it.
const PUBLISHED_ALGORITHM: u8 = 1;

/// A certificate's public key: Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CertificateKey(pub(crate) [u8; 32]);

impl CertificateKey {
    /// The key as it stands in a certificate.
    pub(super) fn subject_public_key_info(&self) -> Vec<u8> {
        [KEY_PREFIX.as_slice(), &self.0].concat()
    }

    fn from_subject_public_key_info(bytes: &[u8]) -> Option<Self> {
        bytes.strip_prefix(&KEY_PREFIX)?.try_into().ok().map(Self)
    }
}

/// A certificate's key as `serve_axon_tls` publishes it: a byte for the algorithm, then the key.
pub(crate) fn published_form(key: CertificateKey) -> Vec<u8> {
    [[PUBLISHED_ALGORITHM].as_slice(), &key.0].concat()
}

/// A hotkey's word for a certificate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endorsement {
    pub(super) hotkey: Hotkey,
    pub(super) genesis: BlockHash,
    pub(super) netuid: Netuid,
    pub(super) expires_at: UnixMs,
    pub(super) signature: Signature,
}

impl Endorsement {
    /// Endorses `key` for `identity`'s chain and subnet until `expires_at`.
    pub(super) fn sign(
        key: CertificateKey,
        identity: &NodeIdentity,
        expires_at: UnixMs,
        signer: &dyn HotkeySigner,
    ) -> Self {
        let mut endorsement = Self {
            hotkey: signer.hotkey(),
            genesis: identity.genesis,
            netuid: identity.netuid,
            expires_at,
            signature: Signature([0; 64]),
        };
        endorsement.signature = signer.sign(&endorsement.signing_message(key));
        endorsement
    }

    /// What the hotkey signs.
    fn signing_message(&self, key: CertificateKey) -> Vec<u8> {
        let key_digest: Digest = sha256(&key.subject_public_key_info());
        let digest = DigestBuilder::new(DOMAIN)
            .bytes(&key_digest.0)
            .bytes(&self.genesis.0)
            .number(u64::from(self.netuid.0))
            .number(self.expires_at.0)
            .finish();
        [DOMAIN.as_bytes(), &digest].concat()
    }

    /// The extension's value.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [
            [LAYOUT].as_slice(),
            &self.hotkey.0,
            &self.genesis.0,
            &u64::from(self.netuid.0).to_le_bytes(),
            &self.expires_at.0.to_le_bytes(),
            &self.signature.0,
        ]
        .concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENDORSEMENT_BYTES] = bytes.try_into().ok()?;
        let (layout, rest) = bytes.split_first()?;
        let (hotkey, rest) = rest.split_first_chunk::<32>()?;
        let (genesis, rest) = rest.split_first_chunk::<32>()?;
        let (netuid, rest) = rest.split_first_chunk::<8>()?;
        let (expires_at, rest) = rest.split_first_chunk::<8>()?;
        let signature: [u8; 64] = rest.try_into().ok()?;
        (*layout == LAYOUT).then_some(())?;
        Some(Self {
            hotkey: Hotkey(*hotkey),
            genesis: BlockHash(*genesis),
            netuid: Netuid(u16::try_from(u64::from_le_bytes(*netuid)).ok()?),
            expires_at: UnixMs(u64::from_le_bytes(*expires_at)),
            signature: Signature(signature),
        })
    }
}

/// A certificate's key with its endorsement, read and not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsedKey {
    pub(super) key: CertificateKey,
    pub(super) endorsement: Endorsement,
}

impl EndorsedKey {
    /// Reads a certificate (X.509, DER). Nothing but its key and its endorsement is looked at:
    /// names, dates and its own signature say nothing that the endorsement does not say better.
    ///
    /// # Errors
    ///
    /// [`CertificateRefusal::Malformed`] for more than [`CERTIFICATE_BYTES_MAX`] bytes, what is no
    /// certificate, what follows one, a key that is not Ed25519, and an endorsement of another
    /// length or layout; [`CertificateRefusal::EndorsementMissing`] without one.
    pub fn read(certificate: &[u8]) -> Result<Self, CertificateRefusal> {
        if certificate.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateRefusal::Malformed);
        }
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| CertificateRefusal::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateRefusal::Malformed);
        }
        let key = CertificateKey::from_subject_public_key_info(parsed.public_key().raw)
            .ok_or(CertificateRefusal::Malformed)?;
        let oid = Oid::from(&EXTENSION_OID).map_err(|_| CertificateRefusal::Malformed)?;
        let extension =
            parsed.get_extension_unique(&oid).map_err(|_| CertificateRefusal::Malformed)?;
        let extension = extension.ok_or(CertificateRefusal::EndorsementMissing)?;
        let endorsement =
            Endorsement::from_bytes(extension.value).ok_or(CertificateRefusal::Malformed)?;
        Ok(Self { key, endorsement })
    }

    /// The hotkey that the endorsement names.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        self.endorsement.hotkey
    }

    /// When the endorsement ends.
    #[must_use]
    pub fn expires_at(&self) -> UnixMs {
        self.endorsement.expires_at
    }

    /// When the endorsement was made, as its end says it: every one has the same life.
    pub(super) fn endorsed_at(&self) -> UnixMs {
        UnixMs(self.expires_at().0.saturating_sub(ENDORSEMENT_LIFE_MS))
    }

    /// Who shows it.
    pub(super) fn peer(&self) -> VerifiedPeer {
        VerifiedPeer { hotkey: self.hotkey(), key: self.key, endorsed_at: self.endorsed_at() }
    }

    /// Whether the endorsement is for `identity`'s chain and subnet, and valid at `now`.
    pub(super) fn check_scope(
        &self,
        identity: &NodeIdentity,
        now: UnixMs,
    ) -> Result<(), CertificateRefusal> {
        let Endorsement { genesis, netuid, expires_at, .. } = &self.endorsement;
        if *genesis != identity.genesis {
            return Err(CertificateRefusal::WrongChain);
        }
        if *netuid != identity.netuid {
            return Err(CertificateRefusal::WrongNetuid);
        }
        let is_too_far = expires_at.0 > now.0.saturating_add(ENDORSEMENT_LIFE_MS_MAX);
        if *expires_at <= now || is_too_far {
            return Err(CertificateRefusal::Expired);
        }
        Ok(())
    }

    /// Whether the hotkey signed it. The dear check: last.
    pub(super) fn check_signature(&self) -> Result<(), CertificateRefusal> {
        let message = self.endorsement.signing_message(self.key);
        let Endorsement { hotkey, signature, .. } = &self.endorsement;
        if Sr25519Verifier.is_valid(hotkey, &message, signature) {
            Ok(())
        } else {
            Err(CertificateRefusal::BadSignature)
        }
    }
}

#[cfg(test)]
#[path = "endorsement_tests.rs"]
mod tests;
