//! Connections before HTTP: who gets a place, and for how long.
//!
//! A connection ends when no call on it was verified within its first seconds, when it is much
//! older than a connection should be, or when the server is cut. A peer cannot prevent that by
//! reading slowly or by answering pings.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::server::Connected;

use crate::auth::ConnectionState;
use crate::budget::{Budget, Place};
use crate::limits::{
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, CONNECTION_AGE_GRACE_MS, CONNECTION_AGE_MS_MAX,
    CONNECTION_UNVERIFIED_MS_MAX,
};

/// How long the listener rests when the system cannot accept (out of descriptors, for example).
const ACCEPT_PAUSE_MS: u64 = 100;

/// An accepted connection that ends by itself.
pub(super) struct Connection {
    tcp: TcpStream,
    state: ConnectionState,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
    _place: Place<IpAddr>,
}

struct Acceptor {
    listener: TcpListener,
    places: Budget<IpAddr>,
    cut: watch::Receiver<bool>,
}

/// The connections that got a place; others are closed at once.
pub(super) fn incoming(
    listener: TcpListener,
    cut: watch::Receiver<bool>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Budget::new(CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX);
    let acceptor = Acceptor { listener, places, cut };
    stream::unfold(acceptor, |acceptor| async move {
        let connection = acceptor.accept().await;
        Some((Ok(connection), acceptor))
    })
}

impl Acceptor {
    async fn accept(&self) -> Connection {
        loop {
            let (tcp, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a peer's connection");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    continue;
                }
            };
            let Some(place) = self.places.take(address.ip()) else {
                tracing::debug!(%address, "peer connection refused: no place left");
                continue;
            };
            // Small answers wait for nothing; without this they are only later.
            drop(tcp.set_nodelay(true));
            return Connection::new(tcp, place, self.cut.clone());
        }
    }
}

impl Connection {
    fn new(tcp: TcpStream, place: Place<IpAddr>, cut: watch::Receiver<bool>) -> Self {
        let state = ConnectionState::default();
        let end = Box::pin(end_of_life(state.clone(), cut));
        Self { tcp, state, end, ended: false, _place: place }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.ended = self.ended || self.end.poll_unpin(cx).is_ready();
        if self.ended {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the connection's time is over"));
        }
        Ok(())
    }
}

/// Resolves when the connection has to go.
async fn end_of_life(state: ConnectionState, mut cut: watch::Receiver<bool>) {
    let life = async {
        tokio::time::sleep(Duration::from_millis(CONNECTION_UNVERIFIED_MS_MAX)).await;
        if state.is_verified() {
            let rest = CONNECTION_AGE_MS_MAX + CONNECTION_AGE_GRACE_MS;
            let rest = rest - CONNECTION_UNVERIFIED_MS_MAX;
            tokio::time::sleep(Duration::from_millis(rest)).await;
        }
    };
    let cut_off = async {
        if cut.wait_for(|cut| *cut).await.is_err() {
            // The server was dropped: calls in work may finish, within the connection's life.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = life => {}
        () = cut_off => {}
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionState;

    fn connect_info(&self) -> ConnectionState {
        self.state.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ms: u64) -> tokio::time::Sleep {
        tokio::time::sleep(Duration::from_millis(ms))
    }

    #[tokio::test(start_paused = true)]
    async fn case_20_a_connection_without_a_verified_call_ends_soon() {
        let (_keep, cut) = watch::channel(false);
        let end = end_of_life(ConnectionState::default(), cut);
        tokio::select! {
            () = end => {}
            () = after(CONNECTION_UNVERIFIED_MS_MAX + 1) => panic!("still open"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_verified_connection_lives_to_its_age_and_no_longer() {
        let (_keep, cut) = watch::channel(false);
        let state = ConnectionState::verified_for_test();
        let end = end_of_life(state, cut);
        tokio::pin!(end);
        tokio::select! {
            () = &mut end => panic!("ended early"),
            () = after(CONNECTION_AGE_MS_MAX) => {}
        }
        tokio::select! {
            () = end => {}
            () = after(CONNECTION_AGE_GRACE_MS + 1) => panic!("still open"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn cutting_the_server_ends_connections_and_dropping_it_does_not() {
        let (server, cut) = watch::channel(false);
        server.send_replace(true);
        end_of_life(ConnectionState::verified_for_test(), cut).await;

        let (server, cut) = watch::channel(false);
        drop(server);
        tokio::select! {
            () = end_of_life(ConnectionState::verified_for_test(), cut) => panic!("ended"),
            () = after(CONNECTION_UNVERIFIED_MS_MAX * 2) => {}
        }
    }
}
