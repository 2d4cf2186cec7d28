//! Connections before HTTP: who gets a place, who proves a hotkey in time, and for how long.
//!
//! ```text
//! accepted -> a place by address -> a place for the handshake -> TLS, within its deadline
//!   -> a place by hotkey -> HTTP, until: too old, no validator any more, server cut
//! ```
//!
//! A peer cannot prevent its end by reading slowly or by answering pings. Whoever gets no place is
//! closed without a word; whose certificate is refused is told why by an alert.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{self, Stream};
use node_core::id::Hotkey;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

use crate::auth::ConnectedPeer;
use crate::budget::{Budget, Place};
use crate::clock::WallClock;
use crate::directory::PeerDirectory;
use crate::limits::{
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_PER_PEER_MAX,
    CONNECTION_AGE_GRACE_MS, CONNECTION_AGE_MS_MAX, HANDSHAKES_MAX, HANDSHAKES_OF_STRANGERS_MAX,
    HANDSHAKES_PER_ADDRESS_MAX, HANDSHAKES_PER_STRANGER_MAX, HANDSHAKE_MS_MAX,
};
use crate::tls::{peer_of, speaks_h2, RefusedBy, VerifiedPeer};

/// How long the listener rests when the system cannot accept (out of descriptors, for example).
const ACCEPT_PAUSE_MS: u64 = 100;

/// Bytes that are still read from a peer that was refused, so that closing does not overtake the
/// alert: a system that has unread bytes of the peer resets the connection.
const LINGER_BYTES_MAX: u64 = 64 << 10;

/// A connection with a validator that ends by itself.
pub(super) struct Connection {
    tls: TlsStream<TcpStream>,
    peer: Hotkey,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
    _places: (Place<IpAddr>, Place<Hotkey>),
}

/// What decides about connections.
#[derive(Clone)]
pub(super) struct Doorkeeper {
    tls: TlsAcceptor,
    world: World,
    places: Places,
}

/// What ends a connection beside its age.
#[derive(Clone)]
struct World {
    directory: watch::Receiver<PeerDirectory>,
    clock: Arc<dyn WallClock>,
    cut: watch::Receiver<bool>,
}

#[derive(Clone)]
struct Places {
    by_address: Budget<IpAddr>,
    by_peer: Budget<Hotkey>,
    handshakes: Budget<IpAddr>,
    handshakes_of_strangers: Budget<IpAddr>,
}

/// Why an accepted connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum NotLetIn {
    #[error("no TLS handshake within {HANDSHAKE_MS_MAX} ms")]
    TooSlow,
    #[error("{0}")]
    Refused(RefusedBy),
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("HTTP/2 was not asked for")]
    OtherProtocol,
    #[error("{0} has all the connections that one validator may have")]
    NoPlace(Hotkey),
}

impl Doorkeeper {
    pub(super) fn new(
        tls: TlsAcceptor,
        directory: watch::Receiver<PeerDirectory>,
        clock: Arc<dyn WallClock>,
        cut: watch::Receiver<bool>,
    ) -> Self {
        let places = Places {
            by_address: Budget::new(CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX),
            by_peer: Budget::new(CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX),
            handshakes: Budget::new(HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX),
            handshakes_of_strangers: Budget::new(
                HANDSHAKES_OF_STRANGERS_MAX,
                HANDSHAKES_PER_STRANGER_MAX,
            ),
        };
        Self { tls, world: World { directory, clock, cut }, places }
    }

    /// The connections of validators, as their handshakes succeed.
    pub(super) fn incoming(
        self,
        listener: TcpListener,
    ) -> impl Stream<Item = io::Result<Connection>> {
        let state = (self, listener, JoinSet::new());
        stream::unfold(state, |(keeper, listener, mut handshakes)| async move {
            let connection = keeper.next(&listener, &mut handshakes).await;
            Some((Ok(connection), (keeper, listener, handshakes)))
        })
    }

    async fn next(
        &self,
        listener: &TcpListener,
        handshakes: &mut JoinSet<Option<Connection>>,
    ) -> Connection {
        loop {
            tokio::select! {
                Some(done) = handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok((tcp, address)) => self.begin(tcp, address, handshakes),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a peer's connection");
                        tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    }
                }
            }
        }
    }

    /// Starts the handshake, if there is a place for it.
    fn begin(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        handshakes: &mut JoinSet<Option<Connection>>,
    ) {
        let Some(places) = self.places.for_handshake(address.ip(), &self.world.directory) else {
            tracing::debug!(%address, "peer connection refused: no place left");
            return;
        };
        let keeper = self.clone();
        handshakes.spawn(async move {
            let (place, _handshake) = places;
            let let_in = keeper.let_in(tcp, place).await;
            let_in.inspect_err(|reason| tracing::debug!(%address, %reason, "no connection")).ok()
        });
    }

    async fn let_in(&self, tcp: TcpStream, place: Place<IpAddr>) -> Result<Connection, NotLetIn> {
        // Small answers wait for nothing; without this they are only later.
        drop(tcp.set_nodelay(true));
        let deadline = Duration::from_millis(HANDSHAKE_MS_MAX);
        let shaken = tokio::time::timeout(deadline, self.shake_hands(tcp)).await;
        let tls = shaken.map_err(|_| NotLetIn::TooSlow)??;
        let (_, session) = tls.get_ref();
        if !speaks_h2(session.alpn_protocol()) {
            return Err(NotLetIn::OtherProtocol);
        }
        let peer = peer_of(session.peer_certificates()).ok_or(NotLetIn::OtherProtocol)?;
        let own = self.places.by_peer.take(peer.hotkey).ok_or(NotLetIn::NoPlace(peer.hotkey))?;
        let end = Box::pin(end_of_life(peer, self.world.clone()));
        Ok(Connection { tls, peer: peer.hotkey, end, ended: false, _places: (place, own) })
    }

    async fn shake_hands(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, NotLetIn> {
        let (error, tcp) = match self.tls.accept(tcp).into_fallible().await {
            Ok(tls) => return Ok(tls),
            Err(failed) => failed,
        };
        linger(tcp).await;
        Err(RefusedBy::from_io(&error).map_or(NotLetIn::Tls(error), NotLetIn::Refused))
    }
}

impl Places {
    /// A place for the connection and one for its handshake.
    fn for_handshake(
        &self,
        address: IpAddr,
        directory: &watch::Receiver<PeerDirectory>,
    ) -> Option<(Place<IpAddr>, Place<IpAddr>)> {
        let is_known = directory.borrow().serves_from(address);
        let handshakes = if is_known { &self.handshakes } else { &self.handshakes_of_strangers };
        Some((self.by_address.take(address)?, handshakes.take(address)?))
    }
}

/// Lets the peer read why it was refused. Ends when the peer closes; the caller bounds the time.
async fn linger(mut tcp: TcpStream) {
    if tcp.shutdown().await.is_err() {
        return;
    }
    let mut rest = tcp.take(LINGER_BYTES_MAX);
    drop(tokio::io::copy(&mut rest, &mut tokio::io::sink()).await);
}

/// Resolves when the connection has to go.
async fn end_of_life(peer: VerifiedPeer, world: World) {
    let World { mut directory, clock, mut cut } = world;
    let too_old =
        tokio::time::sleep(Duration::from_millis(CONNECTION_AGE_MS_MAX + CONNECTION_AGE_GRACE_MS));
    let refused = async {
        if directory.wait_for(|view| view.admit(&peer, clock.unix()).is_err()).await.is_err() {
            // No view will come any more: the node is ending.
            std::future::pending::<()>().await;
        }
        tracing::info!(peer = %peer.hotkey, "session closed: the peer is not admitted any more");
    };
    let cut_off = async {
        if cut.wait_for(|cut| *cut).await.is_err() {
            // The server was dropped: calls in work may finish, within the connection's life.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = too_old => {}
        () = refused => {}
        () = cut_off => {}
    }
}

impl Connection {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.ended = self.ended || self.end.poll_unpin(cx).is_ready();
        if self.ended {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the connection's time is over"));
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectedPeer;

    fn connect_info(&self) -> ConnectedPeer {
        ConnectedPeer(self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.tls).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.tls).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The TLS goodbye waits for a peer that reads; one whose time is over is not waited for.
        self.check(cx)?;
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use node_core::publish::NEW_KEY_MS_MAX;
    use node_core::unit::{BlockNumber, UnixMs};

    use super::*;
    use crate::tls::tests::{Standing, NOW};
    use crate::tls::CertificateKey;

    /// Endorsed so long ago that its key is not new any more.
    const PEER: VerifiedPeer = VerifiedPeer {
        hotkey: Hotkey([1; 32]),
        key: CertificateKey([2; 32]),
        endorsed_at: UnixMs(NOW.0 - NEW_KEY_MS_MAX),
    };

    fn after(ms: u64) -> tokio::time::Sleep {
        tokio::time::sleep(Duration::from_millis(ms))
    }

    fn world(directory: &watch::Receiver<PeerDirectory>, cut: &watch::Receiver<bool>) -> World {
        World { directory: directory.clone(), clock: Arc::new(Standing), cut: cut.clone() }
    }

    fn with_peer() -> PeerDirectory {
        PeerDirectory::of(BlockNumber(1), [(PEER.hotkey, None)])
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lives_to_its_age_and_no_longer() {
        let (_keep, cut) = watch::channel(false);
        let (_view, directory) = watch::channel(with_peer());
        let end = end_of_life(PEER, world(&directory, &cut));
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
    async fn case_19_a_connection_ends_with_the_first_view_that_does_not_admit_its_peer() {
        let (_keep, cut) = watch::channel(false);
        let other_key = vec![1; 33];
        for revoked in
            [PeerDirectory::default(), with_peer().with_certificates([(PEER.hotkey, other_key)])]
        {
            let (view, directory) = watch::channel(with_peer());
            let end = end_of_life(PEER, world(&directory, &cut));
            tokio::pin!(end);
            let own_key = vec![(PEER.hotkey, crate::tls::published_form(PEER.key))];
            for admits in [with_peer(), with_peer().with_certificates(own_key)] {
                view.send_replace(admits);
                tokio::select! {
                    () = &mut end => panic!("ended although the view admits it"),
                    () = after(1) => {}
                }
            }
            view.send_replace(revoked);
            tokio::select! {
                () = end => {}
                () = after(1) => panic!("still open"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn case_19_a_connection_with_a_new_key_outlives_the_view_that_still_says_the_old_one() {
        let (_keep, cut) = watch::channel(false);
        let (view, directory) = watch::channel(with_peer());
        let peer = VerifiedPeer { endorsed_at: UnixMs(NOW.0 - NEW_KEY_MS_MAX + 1), ..PEER };
        let end = end_of_life(peer, world(&directory, &cut));
        tokio::pin!(end);
        view.send_replace(with_peer().with_certificates([(PEER.hotkey, vec![1; 33])]));
        tokio::select! {
            () = &mut end => panic!("ended although the key is new"),
            () = after(1) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn cutting_the_server_ends_connections_and_dropping_it_does_not() {
        let (view, directory) = watch::channel(with_peer());
        let (server, cut) = watch::channel(false);
        server.send_replace(true);
        end_of_life(PEER, world(&directory, &cut)).await;

        let (server, cut) = watch::channel(false);
        drop((server, view));
        tokio::select! {
            () = end_of_life(PEER, world(&directory, &cut)) => panic!("ended"),
            () = after(CONNECTION_AGE_MS_MAX / 2) => {}
        }
    }

    #[test]
    fn case_20_strangers_handshakes_leave_places_for_the_hosts_of_validators() {
        let (_view, directory) = watch::channel(PeerDirectory::of(
            BlockNumber(1),
            [(PEER.hotkey, Some(SocketAddr::from(([10, 0, 0, 1], 9000))))],
        ));
        let (_keep, cut) = watch::channel(false);
        let (_certificate, shown) = watch::channel(crate::tls::tests::certificate());
        let tls = crate::tls::tests::parts(shown, directory.clone());
        let tls = TlsAcceptor::from(Arc::new(crate::tls::server_config(tls).unwrap()));
        let places = Doorkeeper::new(tls, directory.clone(), Arc::new(Standing), cut).places;
        let mut held = Vec::new();
        for host in 0..=255u8 {
            while let Some(place) =
                places.for_handshake(IpAddr::from([192, 0, 2, host]), &directory)
            {
                held.push(place);
            }
        }
        assert_eq!(held.len(), HANDSHAKES_OF_STRANGERS_MAX as usize);
        let known = IpAddr::from([10, 0, 0, 1]);
        assert!(places.for_handshake(known, &directory).is_some());
    }
}
