//! A peer that follows `docs/protocol.md` with code of its own, and breaks its rules on demand: the
//! bytes of certificates and endorsements, and connections with them. Shares nothing with the
//! crate, so that it also shows that the page is enough to write another node.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use node_core::id::{Hotkey, HotkeySigner};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::{DevKey, SetClock, GENESIS, NETUID};

pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The extension's number, as the page has it.
pub(crate) const OID: [u64; 3] = [2, 25, 7_737_493_515_357_366_300];

pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

pub(crate) fn number(number: u64) -> Vec<u8> {
    field(&number.to_le_bytes())
}

/// What an endorsement says, for whoever writes one to choose.
#[derive(Clone)]
pub(crate) struct Endorsement {
    pub(crate) hotkey: Hotkey,
    pub(crate) signer: Arc<DevKey>,
    pub(crate) genesis: [u8; 32],
    pub(crate) netuid: u64,
    pub(crate) expires_at_ms: u64,
    pub(crate) layout: u8,
}

impl Endorsement {
    pub(crate) fn of(key: &Arc<DevKey>) -> Self {
        Self {
            hotkey: key.hotkey(),
            signer: Arc::clone(key),
            genesis: GENESIS.0,
            netuid: NETUID.0.into(),
            expires_at_ms: SetClock::START + 30 * DAY_MS,
            layout: 1,
        }
    }

    /// The extension's value for a certificate's key.
    pub(crate) fn value(&self, key: &KeyPair) -> Vec<u8> {
        let key_digest: [u8; 32] = Sha256::digest(spki(key)).into();
        let preimage = [
            field(b"assay/peer-endorsement/v1"),
            field(&key_digest),
            field(&self.genesis),
            number(self.netuid),
            number(self.expires_at_ms),
        ]
        .concat();
        let digest: [u8; 32] = Sha256::digest(preimage).into();
        let signature =
            self.signer.sign(&[b"assay/peer-endorsement/v1".as_slice(), &digest].concat());
        [
            [self.layout].as_slice(),
            &self.hotkey.0,
            &self.genesis,
            &self.netuid.to_le_bytes(),
            &self.expires_at_ms.to_le_bytes(),
            &signature.0,
        ]
        .concat()
    }
}

/// The key as it stands in a certificate.
pub(crate) fn spki(key: &KeyPair) -> Vec<u8> {
    let prefix = hex::decode("302a300506032b6570032100").unwrap();
    [prefix, key.public_key_raw().to_vec()].concat()
}

/// A certificate and its key.
pub(crate) struct Shown {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Shown {
    /// With these values of our extension.
    pub(crate) fn with(key: KeyPair, values: Vec<Vec<u8>>) -> Self {
        let mut params = CertificateParams::default();
        for value in values {
            params.custom_extensions.push(CustomExtension::from_oid_content(&OID, value));
        }
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, key }
    }

    pub(crate) fn endorsed(endorsement: &Endorsement) -> Self {
        let key = ed25519();
        let value = endorsement.value(&key);
        Self::with(key, vec![value])
    }

    /// A good one.
    pub(crate) fn of(key: &Arc<DevKey>) -> Self {
        Self::endorsed(&Endorsement::of(key))
    }

    /// As the chain keeps it.
    pub(crate) fn published(&self) -> Vec<u8> {
        [&[1], self.key.public_key_raw()].concat()
    }

    pub(crate) fn secret(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

pub(crate) fn ed25519() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

/// Takes any server.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A client's settings; resumes sessions if it is let.
pub(crate) fn client_config(shown: Option<&Shown>) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match shown {
        Some(shown) => {
            config.with_client_auth_cert(vec![shown.certificate.clone()], shown.secret()).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A connection after TLS, before HTTP.
pub(crate) async fn connect_with(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::IpAddress(address.ip().into());
    TlsConnector::from(config).connect(name, tcp).await
}

pub(crate) async fn connect(
    address: SocketAddr,
    shown: Option<&Shown>,
) -> io::Result<TlsStream<TcpStream>> {
    connect_with(address, Arc::new(client_config(shown))).await
}

/// A channel on a connection of its own, with a good certificate of `key`.
pub(crate) async fn channel(address: SocketAddr, key: &Arc<DevKey>) -> Channel {
    channel_with(address, &Shown::of(key)).await
}

/// The same with another certificate.
pub(crate) async fn channel_with(address: SocketAddr, shown: &Shown) -> Channel {
    try_channel_with(address, shown).await.unwrap()
}

/// The same, where the node may refuse the connection.
pub(crate) async fn try_channel_with(
    address: SocketAddr,
    shown: &Shown,
) -> Result<Channel, tonic::transport::Error> {
    let config = Arc::new(client_config(Some(shown)));
    let connector = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move { connect_with(address, config).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect_with_connector(connector).await
}

/// Bounds what must come to an end by itself.
pub(crate) async fn soon<T>(future: impl std::future::Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it never ended")
}
