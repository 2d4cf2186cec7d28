//! One connection's client: the library's, without its timer for every request.
//!
//! The library arms a timer of a thread of its own for each request, which is woken when the
//! request leaves and again when its answer is there: ten times for a view, and more of its CPU
//! time than reading the answers. Every call here has a deadline already (`link`), so requests are
//! given to what lies below that timer. Subscriptions, which are few, are made the library's way.
//!
//! Not here: deadlines (`link`), and what is asked (`methods`).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jsonrpsee_client_transport::ws::{Url, WsHandshakeError, WsTransportClientBuilder};
use jsonrpsee_core::client::async_client::RpcService;
use jsonrpsee_core::client::{Client, ClientBuilder, Error as ClientError, IdKind};
use jsonrpsee_core::middleware::{Request, RpcServiceBuilder, RpcServiceT as _};
use serde::de::DeserializeOwned;
use subxt_rpcs::client::{RawRpcFuture, RawRpcSubscription, RawValue, RpcClientT};

/// Longest message taken or sent, in bytes. Lower: nodes answer the pages of large subnets with up
/// to 10 MiB. Higher: what one message of a hostile node may take of our memory.
const MESSAGE_BYTES_MAX: u32 = 10 * 1024 * 1024;

/// Requests that wait for being written. Lower: calls wait for each other. Higher: memory.
const WAITING_MAX: usize = 256;

/// Items of one subscription that wait for being read; more end it. Lower: a burst of heads while
/// the node is busy ends the subscription. Higher: memory.
const ITEMS_WAITING_MAX: usize = 4096;

/// Addresses tried while connecting. More would follow redirects, from `wss` to `ws` as well, and
/// send what the URL holds in the clear.
const ADDRESSES_MAX: usize = 1;

/// Length of a log line of the library.
const LOGGED_BYTES_MAX: u32 = 1024;

/// First number of our requests. The library numbers its subscriptions from zero; the two meet
/// after a billion of them.
const FIRST_ID: u64 = 1 << 30;

/// An open WebSocket connection that speaks JSON-RPC. It closes when it is dropped.
pub(crate) struct Socket {
    client: Client,
    requests: RpcService,
    next_id: AtomicU64,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    /// Connects, inside a tokio runtime. The URL may hold credentials; errors may repeat them.
    pub(crate) async fn open(url: &str) -> Result<Self, subxt_rpcs::Error> {
        let client = |error| subxt_rpcs::Error::Client(Box::new(error));
        let url = Url::parse(url).map_err(|error| client(ClientError::Transport(error.into())))?;
        let (sender, receiver) = WsTransportClientBuilder::default()
            .max_request_size(MESSAGE_BYTES_MAX)
            .max_response_size(MESSAGE_BYTES_MAX)
            .max_redirections(ADDRESSES_MAX)
            .build(url)
            .await
            .map_err(|error| client(not_connected(error)))?;
        let below: Arc<OnceLock<RpcService>> = Arc::default();
        let seen = Arc::clone(&below);
        let layers =
            RpcServiceBuilder::new().rpc_logger(LOGGED_BYTES_MAX).layer_fn(move |service| {
                seen.get_or_init(|| RpcService::clone(&service));
                service
            });
        let built = ClientBuilder::new()
            .max_concurrent_requests(WAITING_MAX)
            .max_buffer_capacity_per_subscription(ITEMS_WAITING_MAX)
            .set_rpc_middleware(layers)
            .build_with_tokio(sender, receiver);
        let Some(requests) = below.get().cloned() else {
            return Err(client(ClientError::ServiceDisconnect));
        };
        Ok(Self { client: built, requests, next_id: AtomicU64::new(FIRST_ID) })
    }

    /// Asks, and has the answer's JSON read where it lies. There is no deadline here.
    pub(crate) async fn request<T>(
        &self,
        method: &str,
        params: Option<&RawValue>,
        read: impl FnOnce(&str) -> Result<T, serde_json::Error>,
    ) -> Result<T, subxt_rpcs::Error> {
        let id = IdKind::Number.into_id(self.next_id.fetch_add(1, Ordering::Relaxed));
        let answer = match self.requests.call(Request::borrowed(method, params, id)).await {
            Ok(answer) => answer.into_response(),
            // The reason is told elsewhere.
            Err(ClientError::ServiceDisconnect) => {
                return Err(self.client.on_disconnect().await.into());
            }
            Err(error) => return Err(error.into()),
        };
        match (answer.as_success(), answer.as_error()) {
            (Some(result), _) => {
                read(result.get()).map_err(|error| ClientError::ParseError(error).into())
            }
            (None, Some(error)) => Err(ClientError::Call(error.clone().into_owned()).into()),
            (None, None) => Err(ClientError::Custom("neither a result nor an error".into()).into()),
        }
    }
}

/// Why there is no connection. A redirect that is not followed looks like a name without addresses.
fn not_connected(error: WsHandshakeError) -> ClientError {
    let is_redirect = matches!(error, WsHandshakeError::NoAddressFound(_));
    let redirects = "it redirects to another address: configure that one, if it is to be trusted";
    if is_redirect {
        ClientError::Custom(redirects.to_owned())
    } else {
        ClientError::Transport(error.into())
    }
}

/// Reads an answer as what its type says.
pub(crate) fn read_json<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(json)
}

impl RpcClientT for Socket {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move { self.request(method, params.as_deref(), read_json).await })
    }

    fn subscribe_raw<'a>(
        &'a self,
        subscribe: &'a str,
        params: Option<Box<RawValue>>,
        unsubscribe: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        self.client.subscribe_raw(subscribe, params, unsubscribe)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_says_so() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = elsewhere.local_addr().unwrap();
        let url = format!("ws://{}/key", endpoint.local_addr().unwrap());
        let redirecting = async {
            let (mut stream, _) = endpoint.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer = format!(
                "HTTP/1.1 301 Moved Permanently\r\nlocation: ws://{target}/\r\n\
                 content-length: 0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (opened, ()) = tokio::join!(Socket::open(&url), redirecting);
        let error = crate::call_error::with_causes(&opened.unwrap_err());
        assert!(error.contains("redirects to another address"), "{error}");
        tokio::select! {
            biased;
            _ = elsewhere.accept() => panic!("the redirect was followed"),
            () = tokio::task::yield_now() => {}
        }
    }
}
