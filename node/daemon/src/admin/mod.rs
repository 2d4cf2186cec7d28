//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/status` and the pages over HTTP.
//!
//! - `/livez`: the process answers. No more: it is what a supervisor restarts on.
//! - `/readyz`: 200 when the node does its work, else 503; the reasons as JSON.
//! - `/metrics`: OpenMetrics text, see `docs/metrics.md`.
//! - `/status`: the latest [`StatusReport`](crate::status::StatusReport) as JSON.
//! - `/frozen/{submission}`: what was put away of one that left the chain.
//! - `/`, `/submissions`, `/submissions/{id}`, `/leaderboard`, `/devices`, `/epochs`, `/peers`: the
//!   same for a browser, with `/events` and `/assets/{name}`; see `page`.
//! - `POST /leases/reopen`: gives an assignment new attempts; only for the operator.
//! - `POST /submissions/resolve`: decides about one that is held; only for the operator.
//! - `POST /devices/order`: cordons, drains, probes or returns a device; only for the operator.
//! - `POST /store/backup`: a copy of everything that the node knows; only for the operator.
//! - `POST /store/verify`: reads all of it and says how it looks; only for the operator, and one at
//!   a time.
//!
//! What only tells has no authentication: loopback by default, and nothing secret in any answer.
//! What changes something, takes long, or holds vectors before they are revealed asks for the token
//! in the address file. Not here: what the answers say (`status`, `metrics`, `page`), and what is
//! changed (the machine).

mod address;
mod operator;
mod routes;
mod store;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use node_core::policy::Policy;
use node_store::Store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::metrics::Metrics;
use crate::page::PageState;
use crate::status::PublishedReport;

pub use address::{AddressFile, AddressFileError};
pub use operator::{
    OperatorCall, OperatorRefusal, OperatorToken, OrderRequest, ReopenRequest, ResolveRequest,
    TOKEN_HEADER,
};
pub use store::StoreSummary;

use store::StoreDoor;

/// Header of every answer with the instance's name, see [`AddressFile`].
pub const INSTANCE_HEADER: &str = "assay-instance";

/// A bound listener that does not answer yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    file: AddressFile,
    path: PathBuf,
    calls: Option<mpsc::Sender<api::Call>>,
    store: Option<StoreDoor>,
}

/// Why the admin listener is not there.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be had.
    #[error("cannot listen on `{listen}` (`admin.listen`)")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address cannot be published for `assay status`.
    #[error("cannot write the admin address")]
    Publish(#[source] AddressFileError),
    /// The listener broke.
    #[error("the admin listener failed")]
    Serve(#[source] io::Error),
}

/// What the routes answer from.
#[derive(Clone, Debug)]
struct AdminState {
    reports: watch::Receiver<Arc<PublishedReport>>,
    metrics: Arc<Metrics>,
    instance: Arc<str>,
    operator: mpsc::Sender<OperatorCall>,
    token: Option<OperatorToken>,
    store: Option<StoreDoor>,
}

impl Admin {
    /// Binds `listen` and writes the address to `path` (`<data_dir>/admin.addr`), which has to be
    /// in a directory that this process holds the lock of.
    ///
    /// # Errors
    ///
    /// [`AdminError::Bind`] and [`AdminError::Publish`].
    pub async fn bind(listen: SocketAddr, path: PathBuf) -> Result<Self, AdminError> {
        let bound = |source| AdminError::Bind { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        let file = AddressFile::of_this_process(address);
        file.write(&path).map_err(AdminError::Publish)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "admin listener is open to other hosts");
        }
        Ok(Self { listener, address, file, path, calls: None, store: None })
    }

    /// Has pages ask the loop for what no report has.
    #[must_use]
    pub(crate) fn asking(mut self, calls: mpsc::Sender<api::Call>) -> Self {
        self.calls = Some(calls);
        self
    }

    /// Has the operator's requests for copies and checks answered from this store.
    ///
    /// - `data_dir`: of the store; whose it is stands there.
    /// - `policy`: the rules that hold, by which what was put away is read.
    #[must_use]
    pub fn keeping(mut self, store: Arc<Store>, data_dir: PathBuf, policy: Policy) -> Self {
        self.store = Some(StoreDoor::new(store, data_dir, Arc::new(policy)));
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is cancelled; then removes the address file.
    ///
    /// - `operator`: to the loop, with what only the operator may ask for.
    ///
    /// # Errors
    ///
    /// [`AdminError::Serve`] if the listener breaks.
    pub async fn serve(
        self,
        reports: watch::Receiver<Arc<PublishedReport>>,
        metrics: Arc<Metrics>,
        operator: mpsc::Sender<OperatorCall>,
        stop: CancellationToken,
    ) -> Result<(), AdminError> {
        let instance = Arc::from(self.file.instance.as_str());
        let token = self.file.token.clone();
        let store = self.store;
        let freezer = store.as_ref().map(StoreDoor::freezer);
        let ip = self.address.ip();
        let page = PageState::follow(reports.clone(), self.calls, freezer, ip);
        let state = AdminState { reports, metrics, instance, operator, token, store };
        let routes = routes::routes(state, page);
        // Connections that are kept open must not delay the exit, so there is no waiting for them.
        let served = tokio::select! {
            served = async { axum::serve(self.listener, routes).await } => served,
            () = stop.cancelled() => Ok(()),
        };
        self.file.remove(&self.path);
        served.map_err(AdminError::Serve)
    }
}
