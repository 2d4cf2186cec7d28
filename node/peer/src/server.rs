//! Listens for peers and hands what they ask to the daemon's loop.
//!
//! ```text
//! connection (places, TLS, age) -> h2 limits -> VerifyLayer -> service -> conversion -> PeerCall
//! ```
//!
//! A full queue sheds load at once; a call whose answer does not come in time is given up, and
//! may still have had its effect. The server holds no state that has to survive a restart.

mod connection;
mod health;
mod leases;
mod services;
mod streams;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use node_core::id::{ContentDigest, Hotkey};
use node_core::lease::{PeerAnswer, PeerRequest};
use node_core::limits::PEER_CALL_MS_MAX;
use proto::v1;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::auth::{Gate, VerifyLayer};
use crate::clock::WallClock;
use crate::directory::{NodeIdentity, PeerDirectory};
use crate::limits::{
    CALLS_PER_CONNECTION_MAX, CONNECTION_AGE_MS_MAX, CONNECTION_WINDOW_BYTES, HEADERS_BYTES_MAX,
    KEEPALIVE_ANSWER_MS_MAX, KEEPALIVE_MS, STOP_GRACE_MS, STREAMS_PER_CONNECTION_MAX,
    STREAM_WINDOW_BYTES,
};
use crate::tls::{server_config, NodeCertificate, TlsParts};
use connection::Doorkeeper;
use services::Services;

/// A verified request of a peer, on its way to the daemon's loop.
#[derive(Debug)]
pub struct PeerCall {
    /// Who asks, proven by signature and a validator of the latest view.
    pub peer: Hotkey,
    /// What it asks.
    pub request: PeerRequest,
    /// Where the answer goes, in the variant that belongs to the request. Dropping it tells the
    /// peer that the node is stopping.
    pub answer: oneshot::Sender<PeerAnswer>,
}

/// A read that may take a while.
pub type ContentFuture<'a> = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send + 'a>>;

/// Where archives that peers ask for are read.
pub trait ContentSource: Send + Sync + 'static {
    /// The archive with this content digest, if it is here.
    fn read(&self, content: ContentDigest) -> ContentFuture<'_>;
}

/// What a server is made of.
pub struct ServerParts {
    /// The daemon's loop. Its capacity bounds the calls that wait; a batch of up to
    /// [`crate::limits::BATCH_ITEMS_MAX`] items takes a place for each.
    pub handler: mpsc::Sender<PeerCall>,
    /// Archives.
    pub contents: Arc<dyn ContentSource>,
    /// Largest archive that is sent: the policy's `packed_bytes_max`.
    pub content_bytes_max: u64,
    /// The validators of the latest view. Connections of who leaves it are closed.
    pub directory: watch::Receiver<PeerDirectory>,
    /// What this node shows to who connects; a renewed one is shown from then on.
    pub certificate: watch::Receiver<NodeCertificate>,
    /// Whether the node is ready, as its health service tells.
    pub ready: watch::Receiver<bool>,
    /// This node.
    pub identity: NodeIdentity,
    /// The wall clock.
    pub clock: Arc<dyn WallClock>,
}

impl std::fmt::Debug for ServerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerParts").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen for peers on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS for peers")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// The descriptors of the services are unreadable: a fault of the build.
    #[error("cannot set up reflection")]
    Reflection(#[source] Box<dyn Error + Send + Sync>),
}

/// A listening server. Dropping it stops listening and lets calls in work finish.
#[derive(Debug)]
pub struct PeerServer {
    local_addr: SocketAddr,
    stop: oneshot::Sender<()>,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl PeerServer {
    /// Listens on `address` (port 0: any free port) and serves until [`PeerServer::shutdown`].
    ///
    /// # Errors
    ///
    /// [`BindError::Listen`] if the address cannot be had; the others do not happen.
    pub async fn bind(address: SocketAddr, parts: ServerParts) -> Result<Self, BindError> {
        let reflection =
            health::reflection().map_err(|error| BindError::Reflection(error.into()))?;
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let (cut, is_cut) = watch::channel(false);
        let identity = Arc::new(parts.identity);
        let tls = server_config(TlsParts {
            identity: Arc::clone(&identity),
            directory: parts.directory.clone(),
            clock: Arc::clone(&parts.clock),
            certificate: parts.certificate,
        });
        let tls = TlsAcceptor::from(Arc::new(tls.map_err(|error| BindError::Tls(error.into()))?));
        let keeper =
            Doorkeeper::new(tls, parts.directory.clone(), Arc::clone(&parts.clock), is_cut);
        let incoming = keeper.incoming(listener);
        let gate = Gate::new(Arc::clone(&identity), parts.directory, parts.clock);
        let services =
            Services::new(parts.handler, parts.contents, parts.content_bytes_max, identity);
        let serving = limited_server().layer(VerifyLayer(Arc::new(gate)));
        let (reporter, health) = health::service();
        let routes = routes(services).add_service(health).add_service(reflection).prepare();
        let task = tokio::spawn(async move {
            let stopped = async {
                // An error means that the server was dropped, which stops it as well.
                drop(stopped.await);
            };
            let serving = serving.serve_with_incoming_shutdown(routes, incoming, stopped);
            tokio::select! {
                served = serving => if let Err(error) = served {
                    tracing::error!(%error, "peer server ended");
                },
                () = health::follow(reporter, parts.ready) => {}
            }
        });
        Ok(Self { local_addr, stop, cut, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops listening, lets calls in work finish for at most [`STOP_GRACE_MS`], then cuts what is
    /// left. Returns whether everything finished by itself.
    pub async fn shutdown(self) -> bool {
        let Self { stop, cut, mut task, .. } = self;
        if stop.send(()).is_err() {
            tracing::debug!("peer server had already ended");
        }
        let finished = tokio::time::timeout(Duration::from_millis(STOP_GRACE_MS), &mut task).await;
        if finished.is_ok() {
            return true;
        }
        cut.send_replace(true);
        drop(task.await);
        false
    }
}

fn limited_server() -> Server {
    Server::builder()
        .timeout(Duration::from_millis(PEER_CALL_MS_MAX))
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .load_shed(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(Duration::from_millis(KEEPALIVE_MS)))
        .http2_keepalive_timeout(Some(Duration::from_millis(KEEPALIVE_ANSWER_MS_MAX)))
        // Only asks the connection to end; `connection` cuts it when it does not.
        .max_connection_age(Duration::from_millis(CONNECTION_AGE_MS_MAX))
}

fn routes(services: Services) -> Routes {
    use node_core::limits::PEER_MESSAGE_BYTES_MAX as MESSAGE_MAX;
    let leases = v1::leases_server::LeasesServer::new(services.clone())
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let receipts = v1::receipts_server::ReceiptsServer::new(services.clone())
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let contents = v1::contents_server::ContentsServer::new(services.clone())
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    // Open to strangers, and its request is empty.
    let node = v1::node_server::NodeServer::new(services).max_decoding_message_size(1 << 10);
    Routes::new(leases).add_service(receipts).add_service(contents).add_service(node)
}
