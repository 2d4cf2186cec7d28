//! Signed calls by the letter of `docs/protocol.md`, to be altered, held back and sent again.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use http_body_util::StreamBody;
use node_core::id::{Hotkey, HotkeySigner};
use prost::bytes::Bytes;
use prost::Message;
use proto::v1;
use sha2::{Digest as _, Sha256};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tower::{Service, ServiceExt};

use super::wire::{self, field, number};
use super::{DevKey, Node, SetClock, GENESIS, NETUID};

pub(crate) const RENEW: &str = "/assay.v1.Leases/Renew";

/// One signed call, as bytes that can be sent, altered and sent again.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) method: &'static str,
    pub(crate) message: v1::RenewRequest,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Whose connection it is sent on.
    pub(crate) on: Arc<DevKey>,
}

/// What an attacker may choose before it signs with its own key.
pub(crate) struct Claims {
    pub(crate) receiver: Hotkey,
    pub(crate) genesis: [u8; 32],
    pub(crate) netuid: u64,
    pub(crate) time_ms: u64,
    pub(crate) nonce: [u8; 16],
}

pub(crate) fn renewal() -> v1::RenewRequest {
    let lease = v1::HeldLease { assignment: vec![4; 32], lease: vec![5; 32], attempt: 1 };
    let stage = v1::HeldStage::Running.into();
    v1::RenewRequest { renewals: vec![v1::Renewal { lease: Some(lease), stage }] }
}

impl Claims {
    pub(crate) fn to(node: &Node) -> Self {
        Self::for_receiver(node.key.hotkey())
    }

    pub(crate) fn for_receiver(receiver: Hotkey) -> Self {
        Self {
            receiver,
            genesis: GENESIS.0,
            netuid: NETUID.0.into(),
            time_ms: SetClock::START,
            nonce: [1; 16],
        }
    }

    /// Signs a renewal as `key`, by the letter of the protocol page.
    pub(crate) fn signed(&self, key: &Arc<DevKey>) -> Captured {
        let message = renewal();
        let encoded = message.encode_to_vec();
        let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
        let body = [[0].as_slice(), &length, &encoded].concat();
        let body_digest: [u8; 32] = Sha256::digest(&body).into();
        let preimage = [
            field(b"assay/peer-call/v1"),
            field(&self.genesis),
            number(self.netuid),
            field(&self.receiver.0),
            field(RENEW.as_bytes()),
            field(&body_digest),
            field(&self.nonce),
            number(self.time_ms),
            field(&key.hotkey().0),
        ]
        .concat();
        let digest: [u8; 32] = Sha256::digest(preimage).into();
        let signature = key.sign(&[b"assay/peer-call/v1".as_slice(), &digest].concat());
        let headers = vec![
            ("assay-version", "1".to_owned()),
            ("assay-sender", key.hotkey().to_string()),
            ("assay-receiver", self.receiver.to_string()),
            ("assay-genesis", hex::encode(self.genesis)),
            ("assay-netuid", self.netuid.to_string()),
            ("assay-time-ms", self.time_ms.to_string()),
            ("assay-nonce", hex::encode(self.nonce)),
            ("assay-body-sha256", hex::encode(body_digest)),
            ("assay-signature", signature.to_string()),
        ];
        Captured { method: RENEW, message, headers, on: Arc::clone(key) }
    }
}

impl Captured {
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        let header = self.headers.iter_mut().find(|(known, _)| *known == name).unwrap();
        header.1 = value.to_owned();
        self
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    pub(crate) async fn send(&self, address: SocketAddr) -> Result<v1::RenewResponse, Status> {
        self.send_on(wire::channel(address, &self.on).await).await
    }

    pub(crate) async fn send_on(&self, channel: Channel) -> Result<v1::RenewResponse, Status> {
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_str(self.method).unwrap();
        let request = self.request(self.message.clone());
        let answer = grpc.unary(request, path, tonic_prost::ProstCodec::default()).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Sends the headers and these messages as its body; gives how that ended.
    pub(crate) async fn send_stream(
        &self,
        channel: Channel,
        messages: impl futures_util::Stream<Item = v1::RenewRequest> + Send + 'static,
    ) -> Status {
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<_, v1::RenewResponse>::default();
        let path = PathAndQuery::from_str(self.method).unwrap();
        let sent = grpc.client_streaming(self.request(messages), path, codec).await;
        sent.expect_err("the body is not what was signed")
    }

    /// Sends the headers and a body of `total` bytes of zeros; gives the answer, and how many bytes
    /// were let through.
    pub(crate) async fn send_large(
        &self,
        mut channel: Channel,
        address: SocketAddr,
        total: usize,
    ) -> Result<(http::Response<Body>, usize), tonic::transport::Error> {
        let sent = Arc::new(AtomicUsize::new(0));
        let prefix = [[0].as_slice(), &u32::try_from(total).unwrap().to_be_bytes()].concat();
        let chunk = Bytes::from(vec![0; 64 << 10]);
        let chunks = futures_util::stream::iter(0..total / chunk.len()).map({
            let sent = Arc::clone(&sent);
            move |_| {
                sent.fetch_add(chunk.len(), Ordering::Relaxed);
                chunk.clone()
            }
        });
        let frames = futures_util::stream::iter([Bytes::from(prefix)]).chain(chunks);
        let frames = frames.map(|bytes| Ok::<_, Status>(http_body::Frame::data(bytes)));
        let mut request = http::Request::post(format!("https://{address}{}", self.method))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::new(StreamBody::new(frames))).unwrap();
        let response = channel.ready().await?.call(request).await?;
        Ok((response, sent.load(Ordering::Relaxed)))
    }

    /// Sends it and expects to be refused; gives the refusal's id.
    pub(crate) async fn refused(&self, address: SocketAddr) -> (Code, String) {
        refusal(&self.send(address).await.expect_err("the call must not pass"))
    }
}

/// A refusal's status code and id.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let id = status.metadata().get("assay-refusal").expect("a refusal has an id");
    (status.code(), id.to_str().unwrap().to_owned())
}
