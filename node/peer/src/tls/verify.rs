//! The checks of a peer's certificate inside of the TLS handshake.

use std::sync::Arc;

use node_core::id::Hotkey;
use node_core::unit::UnixMs;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls13_signature_with_raw_key, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio::sync::watch;

use super::{CertificateKey, CertificateRefusal, EndorsedKey};
use crate::clock::WallClock;
use crate::directory::{NodeIdentity, PeerDirectory};

/// Whom a connection may be with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedPeer {
    /// Any validator of the latest view: who calls us.
    Validator,
    /// This hotkey: whom we call.
    Hotkey(Hotkey),
}

/// Who is at the other end of a connection: the hotkey, the key it endorsed, and when it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedPeer {
    pub(crate) hotkey: Hotkey,
    pub(crate) key: CertificateKey,
    pub(crate) endorsed_at: UnixMs,
}

/// The peer of a connection whose handshake succeeded.
pub(crate) fn peer_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<VerifiedPeer> {
    EndorsedKey::read(certificates?.first()?).ok().map(|endorsed| endorsed.peer())
}

/// Checks certificates of peers.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) directory: watch::Receiver<PeerDirectory>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) expected: ExpectedPeer,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), CertificateRefusal> {
        if !intermediates.is_empty() {
            return Err(CertificateRefusal::Malformed);
        }
        let endorsed = EndorsedKey::read(end_entity)?;
        let now = self.clock.unix();
        endorsed.check_scope(&self.identity, now)?;
        self.check_expected(&endorsed.peer(), now)?;
        endorsed.check_signature()
    }

    fn check_expected(&self, peer: &VerifiedPeer, now: UnixMs) -> Result<(), CertificateRefusal> {
        let directory = self.directory.borrow();
        match self.expected {
            ExpectedPeer::Validator => directory.admit(peer, now),
            ExpectedPeer::Hotkey(hotkey) if hotkey != peer.hotkey => {
                Err(CertificateRefusal::WrongPeer)
            }
            ExpectedPeer::Hotkey(_) => directory.check_key(peer, now),
        }
    }

    fn check_handshake(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let endorsed = EndorsedKey::read(certificate).map_err(CertificateRefusal::into_tls)?;
        let key = SubjectPublicKeyInfoDer::from(endorsed.key.subject_public_key_info());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

/// Ed25519 is all that a certificate may have.
fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ED25519]
}

/// TLS 1.2 is not offered; what asks for its signatures is refused.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken".to_owned()))
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map_err(CertificateRefusal::into_tls)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates).map_err(CertificateRefusal::into_tls)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
