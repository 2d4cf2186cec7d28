//! TLS as peers speak it: version 1.3, HTTP/2, a certificate at both ends, no resumption.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{ring, CryptoProvider};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use tokio::sync::watch;

use super::verify::{ExpectedPeer, PeerVerifier};
use super::CurrentCertificate;
use crate::clock::WallClock;
use crate::directory::{NodeIdentity, PeerDirectory};

/// HTTP/2, in the handshake's list of protocols.
const H2: &[u8] = b"h2";

/// What certificates are checked against.
#[derive(Clone, Debug)]
pub(crate) struct TlsParts {
    pub(crate) identity: Arc<NodeIdentity>,
    pub(crate) directory: watch::Receiver<PeerDirectory>,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) certificate: CurrentCertificate,
}

impl TlsParts {
    fn verifier(self, expected: ExpectedPeer, provider: &CryptoProvider) -> Arc<PeerVerifier> {
        Arc::new(PeerVerifier {
            identity: self.identity,
            directory: self.directory,
            clock: self.clock,
            expected,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

/// For who calls us: validators of the latest view.
///
/// # Errors
///
/// If the provider cannot do TLS 1.3, which this one can.
pub(crate) fn server_config(parts: TlsParts) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let shown = Arc::new(Shown(parts.certificate.clone()));
    let verifier = parts.verifier(ExpectedPeer::Validator, &provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![H2.to_vec()];
    // A resumed session would skip the check of the certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For whom we call: `peer` and nobody else.
///
/// # Errors
///
/// As [`server_config`].
pub(crate) fn client_config(
    parts: TlsParts,
    peer: node_core::id::Hotkey,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let shown = Arc::new(Shown(parts.certificate.clone()));
    let verifier = parts.verifier(ExpectedPeer::Hotkey(peer), &provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(shown);
    config.alpn_protocols = vec![H2.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// Whether the handshake settled on HTTP/2. A peer that names no protocol at all is let through by
/// TLS and speaks something else.
pub(crate) fn speaks_h2(protocol: Option<&[u8]>) -> bool {
    protocol == Some(H2)
}

/// Shows the newest certificate, so that a renewal needs no restart.
#[derive(Debug)]
struct Shown(CurrentCertificate);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().certified())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().certified())
    }
    fn has_certs(&self) -> bool {
        true
    }
}
