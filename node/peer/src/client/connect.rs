//! Opens a connection to one peer, and remembers why it was refused.
//!
//! In TLS 1.3 the caller's handshake is over before the other end has looked at the caller's
//! certificate: its refusal comes as an alert in place of the first answer. HTTP/2 would tell that
//! as a broken connection, so the stream notes it on the way.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use node_core::id::Hotkey;
use rustls::pki_types::ServerName;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::met::Met;
use crate::tls::{peer_of, speaks_h2, RefusedBy};

/// Which certificate was refused on a channel's newest connection, if one was.
#[derive(Clone, Debug, Default)]
pub(super) struct Fault(Arc<Mutex<Option<RefusedBy>>>);

impl Fault {
    pub(super) fn get(&self) -> Option<RefusedBy> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    fn note(&self, error: &io::Error) {
        if let Some(refused) = RefusedBy::from_io(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        }
    }
}

/// Connects to one peer at one endpoint.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) peer: Hotkey,
    pub(super) endpoint: SocketAddr,
    pub(super) config: Arc<ClientConfig>,
    pub(super) fault: Fault,
    pub(super) met: Arc<Met>,
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<Watched>> {
        self.fault.clear();
        let tcp = TcpStream::connect(self.endpoint).await?;
        tcp.set_nodelay(true)?;
        // Whom we call is a hotkey, which the verifier knows; the name is only what TLS wants.
        let name = ServerName::IpAddress(self.endpoint.ip().into());
        let tls = TlsConnector::from(self.config).connect(name, tcp).await;
        let tls = tls.inspect_err(|error| {
            self.fault.note(error);
            self.met.refused(self.peer, self.fault.get());
        })?;
        if let Some(peer) = peer_of(tls.get_ref().1.peer_certificates()) {
            self.met.connected(peer);
        }
        if !speaks_h2(tls.get_ref().1.alpn_protocol()) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "no HTTP/2 spoken there"));
        }
        Ok(TokioIo::new(Watched { tls, fault: self.fault }))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Watched>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Watched>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A connection whose refusal is noted.
pub(super) struct Watched {
    tls: TlsStream<TcpStream>,
    fault: Fault,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.tls).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read {
            self.fault.note(error);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
