//! The public HTTP interface: what miners and anybody else may ask about submissions, and where
//! miners leave archives that peers fetch by digest.
//!
//! The routes are those of PRISM, so that its clients work; `GET /openapi.json` describes them.
//! Nothing here decides: answers come from the loop's state, which is only read, and an archive
//! that was left here counts only once its digest is committed on chain.
//!
//! Bounds: requests per address, bytes of a body, questions that wait for the loop, archives that
//! nobody committed to. Not here: what the operator may do (`admin`), and TLS (a proxy's).

mod desk;
mod limit;
mod routes;
mod schema;
mod uploads;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use node_core::policy::ArchiveLimits;
use node_evaluator::gates::Gates;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use desk::{Answer, Call, Desk, Known, LiveRun, Question};
pub(crate) use uploads::Uploads;

use crate::config;
use crate::freezer::FreezerDoor;

/// Questions that wait for the loop. Lower: a burst of readers is refused. Higher: the loop answers
/// readers for longer at a time.
pub(crate) const CALLS_QUEUED_MAX: usize = 64;

/// Why the public listener is not there.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be had.
    #[error("cannot listen on `{listen}` (`api.listen`)")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token cannot be read.
    #[error("cannot read `{path}` (`api.token_file`)")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A token that anybody could guess.
    #[error("`{path}` (`api.token_file`) has fewer than {TOKEN_CHARS_MIN} characters")]
    ShortToken {
        /// The file.
        path: PathBuf,
    },
    /// The listener broke.
    #[error("the public listener failed")]
    Serve(#[source] io::Error),
}

/// Least characters of the token.
const TOKEN_CHARS_MIN: usize = 16;

/// A bound listener that does not answer yet.
#[derive(Debug)]
pub(crate) struct Api {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<String>,
    settings: config::Api,
}

/// What the routes answer from.
#[derive(Clone)]
struct ApiState {
    calls: mpsc::Sender<Call>,
    uploads: Uploads,
    archive: ArchiveLimits,
    gates: Arc<Gates>,
    freezer: FreezerDoor,
    token: Option<Arc<str>>,
    limit: Arc<limit::RateLimit>,
    behind_proxy: bool,
}

impl Api {
    /// Binds the address of the settings, if there is one, and reads the token.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub(crate) async fn bind(settings: &config::Api) -> Result<Option<Self>, ApiError> {
        let Some(listen) = settings.listen else { return Ok(None) };
        let token = settings.token_file.as_ref().map(read_token).transpose()?;
        let bound = |source| ApiError::Bind { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        Ok(Some(Self { listener, address, token, settings: settings.clone() }))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is cancelled.
    ///
    /// # Errors
    ///
    /// [`ApiError::Serve`] if the listener breaks.
    pub(crate) async fn serve(
        self,
        calls: mpsc::Sender<Call>,
        uploads: Uploads,
        gates: Arc<Gates>,
        freezer: FreezerDoor,
        stop: CancellationToken,
    ) -> Result<(), ApiError> {
        let state = ApiState {
            calls,
            uploads,
            archive: gates.policy().archive.clone(),
            gates,
            freezer,
            token: self.token.map(Arc::from),
            limit: Arc::new(limit::RateLimit::new(self.settings.requests_per_minute)),
            behind_proxy: self.settings.behind_proxy,
        };
        let routes = routes::routes(state).into_make_service_with_connect_info::<SocketAddr>();
        tokio::select! {
            served = async { axum::serve(self.listener, routes).await } => served,
            () = stop.cancelled() => Ok(()),
        }
        .map_err(ApiError::Serve)
    }
}

fn read_token(path: &PathBuf) -> Result<String, ApiError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ApiError::Token { path: path.clone(), source })?;
    let token = text.trim().to_owned();
    if token.chars().count() < TOKEN_CHARS_MIN {
        return Err(ApiError::ShortToken { path: path.clone() });
    }
    Ok(token)
}

impl ApiState {
    /// Asks the loop. `None` if it does not answer: it starts, stops, or has too much to do.
    async fn ask(&self, question: Question) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.calls.try_send(Call { question, answer }).ok()?;
        answered.await.ok()
    }
}

impl ApiState {
    /// Brings back what was measured of one that was put away.
    async fn recall(&self, known: &mut Known) {
        let is_decided = !known.account.outcomes.is_empty();
        if known.account.metrics.is_some() || !is_decided {
            return;
        }
        match self.freezer.of(known.account.submission.id).await {
            Ok(thawed) => known.account.recall(thawed.receipts.iter()),
            Err(reason) => tracing::warn!(reason, "what was put away cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests;
