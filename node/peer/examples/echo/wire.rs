//! Connections, plain or with TLS 1.3 as the library does it: nobody is asked for a hotkey.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{client, server, TlsAcceptor, TlsConnector};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

use crate::Failed;

const NAME: &str = "localhost";

/// A connection that tells the server nothing about who is there.
pub(crate) struct Io<S>(S);

impl<S> Connected for Io<S> {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

async fn bind(ready: &str, certificate: &[u8]) -> Result<TcpListener, Failed> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let port = listener.local_addr()?.port();
    let line = format!("{port} {} {}\n", std::process::id(), hex::encode(certificate));
    std::fs::write(ready, line)?;
    Ok(listener)
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

pub(crate) async fn listen(
    ready: &str,
) -> Result<impl Stream<Item = io::Result<Io<TcpStream>>>, Failed> {
    let listener = bind(ready, &[]).await?;
    Ok(stream::unfold(listener, |listener| async {
        Some((accept(&listener).await.map(Io), listener))
    }))
}

pub(crate) async fn listen_with_tls(
    ready: &str,
) -> Result<impl Stream<Item = io::Result<Io<server::TlsStream<TcpStream>>>>, Failed> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = bind(ready, made.cert.der()).await?;
    Ok(stream::unfold((listener, acceptor), |(listener, acceptor)| async {
        let tls = match accept(&listener).await {
            Ok(tcp) => acceptor.accept(tcp).await.map(Io),
            Err(error) => Err(error),
        };
        Some((tls, (listener, acceptor)))
    }))
}

fn fields(ready: &str) -> Result<(u16, u32, Vec<u8>), Failed> {
    let text = std::fs::read_to_string(ready)?;
    let mut fields = text.trim_end_matches('\n').split(' ');
    let mut next = || fields.next().ok_or("the ready file is not whole");
    Ok((next()?.parse()?, next()?.parse()?, hex::decode(next()?)?))
}

pub(crate) fn server_pid(ready: &str) -> Result<u32, Failed> {
    fields(ready).map(|(_, pid, _)| pid)
}

pub(crate) async fn connect(ready: &str, is_tls: bool) -> Result<Channel, Failed> {
    let (port, _, certificate) = fields(ready)?;
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    if !is_tls {
        return Ok(endpoint.tcp_nodelay(true).connect().await?);
    }
    let connector = tower::service_fn(move |_| {
        let certificate = CertificateDer::from(certificate.clone());
        async move { connect_with_tls(port, certificate).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}

async fn connect_with_tls(
    port: u16,
    certificate: CertificateDer<'static>,
) -> Result<client::TlsStream<TcpStream>, Failed> {
    let tcp = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    tcp.set_nodelay(true)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME)?, tcp).await?)
}
