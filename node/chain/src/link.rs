//! The connection to one of several endpoints, with a deadline on every call.
//!
//! Endpoints are tried in their order, and the first that answers with the right genesis is used
//! until a call fails on the way (not: is refused by the node). Then the connection is dropped,
//! and the next call connects again, starting with the endpoint *after* the failed one: a node
//! that accepts connections and answers nothing must not be chosen for ever.
//!
//! Errors name an endpoint by its shown form, without credentials (`endpoint`).
//!
//! Not here: comparing the endpoints' heights, and what is asked (`read`, `submit`, `follow`).

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use node_core::id::BlockHash;
use node_core::unit::BlockNumber;
use subxt::config::substrate::H256;
use subxt::config::RpcConfigFor;
use subxt::SubstrateConfig;
use subxt_rpcs::methods::legacy::NumberOrHex;
use subxt_rpcs::{rpc_params, LegacyRpcMethods, RpcClient};
use tokio::sync::{watch, Mutex, Notify};
use tracing::instrument::WithSubscriber as _;

use crate::endpoint::Endpoint;

/// An error of the transport: its messages, without the credentials of the endpoint.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync + 'static>;

type Legacy = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// What a node can be asked: the legacy methods, and forms of them that the library lacks.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    legacy: Legacy,
    client: RpcClient,
}

impl Deref for Methods {
    type Target = Legacy;

    fn deref(&self) -> &Legacy {
        &self.legacy
    }
}

impl Methods {
    fn new(client: RpcClient) -> Self {
        Self { legacy: Legacy::new(client.clone()), client }
    }

    /// Hashes of the canonical blocks of these heights, in one call.
    pub(crate) async fn block_hashes(
        &self,
        numbers: &[BlockNumber],
    ) -> Result<Vec<Option<BlockHash>>, subxt_rpcs::Error> {
        let heights: Vec<u64> = numbers.iter().map(|number| number.0).collect();
        let hashes: Vec<Option<H256>> =
            self.client.request("chain_getBlockHash", rpc_params![heights]).await?;
        Ok(hashes.into_iter().map(|hash| hash.map(|hash| BlockHash(hash.0))).collect())
    }
}

/// What a node answered instead of a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node answered {code}: {message}{}", .data.as_deref().map(|data| format!(" ({data})")).unwrap_or_default())]
pub struct RpcRefusal {
    /// JSON-RPC error code.
    pub code: i32,
    /// Its message.
    pub message: String,
    /// Its data as text; the reason is often only here.
    pub data: Option<String>,
}

/// Why a call to the chain has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No endpoint could be connected to.
    #[error("no endpoint can be used")]
    NoEndpoint(#[source] ConnectError),
    /// The endpoint did not answer in time.
    #[error("`{endpoint}` did not answer `{method}` within {after_ms} ms")]
    Deadline {
        /// The endpoint, without credentials.
        endpoint: String,
        /// The RPC method.
        method: &'static str,
        /// The deadline.
        after_ms: u64,
    },
    /// The connection broke, or the answer was not one.
    #[error("the call `{method}` to `{endpoint}` failed")]
    Transport {
        /// The endpoint, without credentials.
        endpoint: String,
        /// The RPC method.
        method: &'static str,
        /// Why.
        #[source]
        source: BoxedError,
    },
    /// The node refused the call.
    #[error("`{endpoint}` refused `{method}`")]
    Refused {
        /// The endpoint, without credentials.
        endpoint: String,
        /// The RPC method.
        method: &'static str,
        /// Its answer.
        #[source]
        source: RpcRefusal,
    },
}

impl CallError {
    /// Whether another endpoint, or the same one later, may answer the same call.
    #[must_use]
    pub fn is_on_the_way(&self) -> bool {
        matches!(self, Self::Deadline { .. } | Self::Transport { .. })
    }
}

/// Why no endpoint can be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// None was configured.
    #[error("no endpoint is configured")]
    NoneConfigured,
    /// Each one failed; the reasons in the order tried.
    #[error("none of {} endpoints can be used: {}", .0.len(), list(.0))]
    AllFailed(Vec<EndpointFailure>),
}

/// An endpoint and why it cannot be used.
#[derive(Debug)]
pub struct EndpointFailure {
    /// The endpoint, without credentials.
    pub endpoint: String,
    /// Why.
    pub error: EndpointError,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is not a URL.
    #[error("not a URL")]
    NotAUrl(#[source] BoxedError),
    /// The connection would be readable and changeable on the way.
    #[error("not encrypted: use `wss://`, or a loopback address, or allow it")]
    Insecure,
    /// It did not answer in time.
    #[error("no answer within {after_ms} ms")]
    Deadline {
        /// The deadline.
        after_ms: u64,
    },
    /// It cannot be reached, or does not speak JSON-RPC.
    #[error("cannot be reached: {}", root_cause(.0.as_ref()))]
    Unreachable(#[source] BoxedError),
    /// It serves another chain.
    #[error("serves the chain {got}, not {expected}")]
    WrongGenesis {
        /// The genesis expected.
        expected: BlockHash,
        /// The genesis found.
        got: BlockHash,
    },
}

fn list(failures: &[EndpointFailure]) -> String {
    let line = |failure: &EndpointFailure| format!("`{}`: {}", failure.endpoint, failure.error);
    failures.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// How to reach the chain.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) list: Vec<Endpoint>,
    pub(crate) allow_insecure: bool,
    pub(crate) call_timeout: Duration,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    pub(crate) methods: Methods,
    is_retired: watch::Sender<bool>,
}

impl Link {
    pub(crate) fn new(endpoint: Endpoint, methods: Methods) -> Self {
        Self { endpoint, methods, is_retired: watch::Sender::new(false) }
    }

    /// Asks those who follow this connection to go on with another one.
    pub(crate) fn retire(&self) {
        self.is_retired.send_replace(true);
    }

    /// Ends when this connection is not to be followed any longer.
    pub(crate) async fn retired(&self) {
        let mut is_retired = self.is_retired.subscribe();
        // The sender lives as long as the link.
        let _ended = is_retired.wait_for(|is_retired| *is_retired).await.map(|_| ());
    }
}

#[derive(Debug, Default)]
struct State {
    link: Option<Arc<Link>>,
    /// Where the next attempt starts.
    start: usize,
}

/// At most one open connection, opened when needed.
#[derive(Debug)]
pub(crate) struct Links {
    endpoints: Endpoints,
    genesis: BlockHash,
    state: Mutex<State>,
    probe: Notify,
}

impl Links {
    /// Connects to the first endpoint that answers. With no `expected` genesis, that endpoint's is
    /// the one every later connection must have.
    pub(crate) async fn connect(
        endpoints: Endpoints,
        expected: Option<BlockHash>,
    ) -> Result<Self, ConnectError> {
        let (link, genesis) = connect_any(&endpoints, expected, 0).await?;
        let state = Mutex::new(State { start: link.endpoint.index(), link: Some(Arc::new(link)) });
        Ok(Self { endpoints, genesis, state, probe: Notify::new() })
    }

    pub(crate) fn genesis(&self) -> BlockHash {
        self.genesis
    }

    pub(crate) fn endpoint_count(&self) -> usize {
        self.endpoints.list.len()
    }

    /// The open connection, or a new one.
    pub(crate) async fn get(&self) -> Result<Arc<Link>, CallError> {
        let mut state = self.state.lock().await;
        if let Some(link) = &state.link {
            return Ok(Arc::clone(link));
        }
        let connected = connect_any(&self.endpoints, Some(self.genesis), state.start).await;
        let (link, _) = connected.map_err(CallError::NoEndpoint)?;
        let link = Arc::new(link);
        state.start = link.endpoint.index();
        state.link = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Has the endpoints compared at once.
    pub(crate) fn probe_soon(&self) {
        self.probe.notify_one();
    }

    /// Gives a broken connection up; the next attempt starts behind its endpoint.
    pub(crate) async fn give_up(&self, link: &Arc<Link>, _why: &str) {
        let mut state = self.state.lock().await;
        if state.link.as_ref().is_some_and(|open| Arc::ptr_eq(open, link)) {
            state.link = None;
            state.start = (link.endpoint.index() + 1) % self.endpoints.list.len().max(1);
        }
    }

    /// Calls a method on the open connection, within the deadline.
    pub(crate) async fn call<T, F, Fut>(&self, method: &'static str, ask: F) -> Result<T, CallError>
    where
        F: FnOnce(Methods) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let link = self.get().await?;
        self.call_on(&link, method, ask).await
    }

    /// Calls a method on this connection, within the deadline. A broken one is given up.
    pub(crate) async fn call_on<T, F, Fut>(
        &self,
        link: &Arc<Link>,
        method: &'static str,
        ask: F,
    ) -> Result<T, CallError>
    where
        F: FnOnce(Methods) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let timeout = self.endpoints.call_timeout;
        let answer = tokio::time::timeout(timeout, ask(link.methods.clone())).await;
        let error = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => call_error(error, &link.endpoint, method),
            Err(_) => CallError::Deadline {
                endpoint: link.endpoint.shown().to_owned(),
                method,
                after_ms: millis(timeout),
            },
        };
        if error.is_on_the_way() {
            self.give_up(link, &error.to_string()).await;
        }
        Err(error)
    }
}

/// The last place where what a node or the transport says may hold credentials.
pub(crate) fn call_error(
    error: subxt_rpcs::Error,
    at: &Endpoint,
    method: &'static str,
) -> CallError {
    let endpoint = at.shown().to_owned();
    match error {
        subxt_rpcs::Error::User(user) => {
            let source = RpcRefusal {
                code: user.code,
                message: at.hide(&user.message),
                data: user.data.map(|data| at.hide(&plain_text(data.get()))),
            };
            CallError::Refused { endpoint, method, source }
        }
        other => CallError::Transport { endpoint, method, source: at.told(&other) },
    }
}

/// A JSON string without its quotes; other JSON as it is.
fn plain_text(json: &str) -> String {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())
}

pub(crate) async fn connect_any(
    endpoints: &Endpoints,
    expected: Option<BlockHash>,
    start: usize,
) -> Result<(Link, BlockHash), ConnectError> {
    let count = endpoints.list.len();
    let mut failures = Vec::new();
    let order = (0..count).map(|step| (start + step) % count);
    for endpoint in order.filter_map(|at| endpoints.list.get(at)) {
        match connect_one(endpoints, endpoint, expected).await {
            Ok((methods, genesis)) => {
                return Ok((Link::new(endpoint.clone(), methods), genesis));
            }
            Err(error) => {
                let endpoint = endpoint.shown().to_owned();
                failures.push(EndpointFailure { endpoint, error });
            }
        }
    }
    if failures.is_empty() {
        return Err(ConnectError::NoneConfigured);
    }
    Err(ConnectError::AllFailed(failures))
}

async fn connect_one(
    endpoints: &Endpoints,
    endpoint: &Endpoint,
    expected: Option<BlockHash>,
) -> Result<(Methods, BlockHash), EndpointError> {
    let secure = subxt_rpcs::utils::url_is_secure(endpoint.url())
        .map_err(|error| EndpointError::NotAUrl(endpoint.told(&error)))?;
    if !secure && !endpoints.allow_insecure {
        return Err(EndpointError::Insecure);
    }
    let open = async {
        let client = RpcClient::from_insecure_url(endpoint.url()).await?;
        let methods = Methods::new(client);
        let genesis = methods.chain_get_block_hash(Some(NumberOrHex::Number(0))).await?;
        Ok::<_, subxt_rpcs::Error>((methods, genesis))
    };
    // The transport logs the path, the query and the password that it connects with.
    let open = open.with_subscriber(tracing::Dispatch::none());
    let (methods, genesis) = tokio::time::timeout(endpoints.call_timeout, open)
        .await
        .map_err(|_| EndpointError::Deadline { after_ms: millis(endpoints.call_timeout) })?
        .map_err(|error| EndpointError::Unreachable(endpoint.told(&error)))?;
    let got = BlockHash(genesis.unwrap_or_default().0);
    match expected {
        Some(expected) if expected != got => Err(EndpointError::WrongGenesis { expected, got }),
        _ => Ok((methods, got)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
