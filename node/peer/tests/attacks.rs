//! Calls that must not pass. The attacker's code follows `docs/protocol.md` and shares none with
//! the crate, so these tests also show that the page is enough to write another node.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use common::{acquire_request, held, DevKey, Node, SetClock, GENESIS, NETUID};
use http::uri::PathAndQuery;
use node_core::id::{Hotkey, HotkeySigner};
use node_core::lease::{LeaseAnswer, PeerAnswer, PeerRequest};
use node_core::limits::PEER_MESSAGE_BYTES_MAX;
use node_peer::limits::{
    CALLS_PER_PEER_MAX, CALL_HELD_BACK_MS_MAX, CALL_WINDOW_MS, CONNECTIONS_PER_ADDRESS_MAX,
};
use node_peer::{AskError, AuthRefusal, PeerDirectory};
use prost::Message;
use proto::v1;
use sha2::{Digest as _, Sha256};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

const RENEW: &str = "/assay.v1.Leases/Renew";

/// One signed call, as bytes that can be sent, altered and sent again.
#[derive(Clone, Debug)]
struct Captured {
    method: &'static str,
    message: v1::RenewRequest,
    headers: Vec<(&'static str, String)>,
}

/// What an attacker may choose before it signs with its own key.
struct Claims {
    receiver: Hotkey,
    genesis: [u8; 32],
    netuid: u64,
    time_ms: u64,
    nonce: [u8; 16],
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

fn number(number: u64) -> Vec<u8> {
    field(&number.to_le_bytes())
}

fn renewal() -> v1::RenewRequest {
    let lease = v1::HeldLease { assignment: vec![4; 32], lease: vec![5; 32], attempt: 1 };
    v1::RenewRequest { leases: vec![lease] }
}

impl Claims {
    fn to(node: &Node) -> Self {
        Self {
            receiver: node.key.hotkey(),
            genesis: GENESIS.0,
            netuid: NETUID.0.into(),
            time_ms: SetClock::START,
            nonce: [1; 16],
        }
    }

    /// Signs a renewal as `key`, by the letter of the protocol page.
    fn signed(&self, key: &Arc<DevKey>) -> Captured {
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
        Captured { method: RENEW, message, headers }
    }
}

impl Captured {
    fn with_header(mut self, name: &str, value: &str) -> Self {
        let header = self.headers.iter_mut().find(|(known, _)| *known == name).unwrap();
        header.1 = value.to_owned();
        self
    }

    async fn send(&self, address: SocketAddr) -> Result<v1::RenewResponse, Status> {
        let mut grpc = tonic::client::Grpc::new(connect(address).await);
        grpc.ready().await.unwrap();
        let mut request = Request::new(self.message.clone());
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let codec = tonic_prost::ProstCodec::default();
        let path = PathAndQuery::from_str(self.method).unwrap();
        grpc.unary(request, path, codec).await.map(tonic::Response::into_inner)
    }

    /// Sends the headers and never a byte of the body; gives how that ended.
    async fn send_without_end(&self, address: SocketAddr) -> Status {
        let mut grpc = tonic::client::Grpc::new(connect(address).await);
        grpc.ready().await.unwrap();
        let mut request = Request::new(futures_util::stream::pending::<v1::RenewRequest>());
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let codec = tonic_prost::ProstCodec::<_, v1::RenewResponse>::default();
        let path = PathAndQuery::from_str(self.method).unwrap();
        grpc.client_streaming(request, path, codec).await.expect_err("the body never ended")
    }

    /// Sends it and expects to be refused; gives the refusal's id.
    async fn refused(&self, address: SocketAddr) -> (Code, String) {
        let status = self.send(address).await.expect_err("the call must not pass");
        let id = status.metadata().get("assay-refusal").expect("a refusal has an id");
        (status.code(), id.to_str().unwrap().to_owned())
    }
}

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Answers every call with one accepted renewal and counts nothing.
fn accept_all(node: &mut Node) -> tokio::task::JoinHandle<()> {
    let (_, closed) = tokio::sync::mpsc::channel(1);
    let mut calls = std::mem::replace(&mut node.calls, closed);
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            let PeerRequest::Renew(items) = call.request else { panic!("{:?}", call.request) };
            let answer = PeerAnswer::Renewed(vec![LeaseAnswer::Accepted; items.len()]);
            call.answer.send(answer).expect("the caller waits");
        }
    })
}

#[tokio::test]
async fn a_call_written_by_the_letter_of_the_protocol_page_passes() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    let response = Claims::to(&node).signed(&bob).send(node.address()).await.unwrap();
    let accepted = v1::lease_answer::Answer::Accepted(v1::Nothing {});
    assert_eq!(response.answers, vec![v1::LeaseAnswer { answer: Some(accepted) }]);
}

#[tokio::test]
async fn case_18_a_replayed_call_is_refused_on_any_connection() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    let captured = Claims::to(&node).signed(&bob);
    captured.send(node.address()).await.unwrap();
    for _ in 0..3 {
        let refused = captured.refused(node.address()).await;
        assert_eq!(refused, (Code::AlreadyExists, "replayed".to_owned()));
    }
}

#[tokio::test]
async fn case_18_a_call_for_another_receiver_chain_or_subnet_is_refused() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let to = |change: fn(&mut Claims)| {
        let mut claims = Claims::to(&node);
        change(&mut claims);
        claims.signed(&bob)
    };
    let cross_peer = to(|claims| claims.receiver = DevKey::named("Carol").hotkey());
    let refused = cross_peer.refused(node.address()).await;
    assert_eq!(refused, (Code::NotFound, "wrong_receiver".to_owned()));
    for wrong_chain in [to(|claims| claims.netuid = 8), to(|claims| claims.genesis = [0; 32])] {
        let refused = wrong_chain.refused(node.address()).await;
        assert_eq!(refused, (Code::FailedPrecondition, "wrong_chain".to_owned()));
    }
}

#[tokio::test]
async fn case_18_a_captured_call_cannot_be_readdressed() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let carol = DevKey::named("Carol").hotkey();
    let elsewhere = Claims { receiver: carol, ..Claims::to(&node) }.signed(&bob);
    let other_subnet = Claims { netuid: 8, ..Claims::to(&node) }.signed(&bob);
    let good = Claims::to(&node).signed(&bob);
    let signature = good.headers.last().unwrap().1.clone();
    let flipped =
        format!("{}{}", if signature.starts_with('0') { '1' } else { '0' }, &signature[1..]);
    let later = (SetClock::START + 1).to_string();
    let changed = [
        elsewhere.with_header("assay-receiver", &node.key.hotkey().to_string()),
        other_subnet.with_header("assay-netuid", &NETUID.to_string()),
        good.clone().with_header("assay-signature", &flipped),
        good.clone().with_header("assay-nonce", &hex::encode([2; 16])),
        good.clone().with_header("assay-time-ms", &later),
        Captured { method: "/assay.v1.Leases/Acquire", ..good },
    ];
    for captured in changed {
        let refused = captured.refused(node.address()).await;
        assert_eq!(refused, (Code::Unauthenticated, "bad_signature".to_owned()));
    }
}

#[tokio::test]
async fn case_18_an_altered_body_is_refused() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let mut captured = Claims::to(&node).signed(&bob);
    captured.message.leases[0].attempt = 2;
    let refused = captured.refused(node.address()).await;
    assert_eq!(refused, (Code::DataLoss, "body_mismatch".to_owned()));
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
}

#[tokio::test]
async fn case_18_a_call_held_back_behind_much_later_ones_is_refused() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    let held_back = Claims::to(&node).signed(&bob);
    let time_ms = SetClock::START + CALL_HELD_BACK_MS_MAX + 1;
    node.clock.advance(CALL_HELD_BACK_MS_MAX + 1);
    let newer = Claims { time_ms, nonce: [2; 16], ..Claims::to(&node) }.signed(&bob);
    newer.send(node.address()).await.unwrap();
    let refused = held_back.refused(node.address()).await;
    assert_eq!(refused, (Code::Aborted, "reordered".to_owned()));
}

#[tokio::test]
async fn case_17_a_call_signed_outside_the_time_window_is_refused_and_at_its_edge_is_not() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    node.clock.advance(CALL_WINDOW_MS);
    let now = SetClock::START + CALL_WINDOW_MS;
    let hour = 3_600_000;
    for time_ms in [now + CALL_WINDOW_MS + 1, now + hour, SetClock::START - 1, now - hour] {
        let captured = Claims { time_ms, ..Claims::to(&node) }.signed(&bob);
        let refused = captured.refused(node.address()).await;
        assert_eq!(refused, (Code::DeadlineExceeded, "stale_time".to_owned()));
    }
    Claims::to(&node).signed(&bob).send(node.address()).await.unwrap();
    let time_ms = now + CALL_WINDOW_MS;
    Claims { time_ms, ..Claims::to(&node) }.signed(&bob).send(node.address()).await.unwrap();
}

#[tokio::test]
async fn case_18_a_call_from_before_the_receivers_start_is_refused() {
    // What the receiver saw before it restarted is forgotten, and these are inside the window.
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let time_ms = SetClock::START - 1;
    let captured = Claims { time_ms, ..Claims::to(&node) }.signed(&bob);
    let refused = captured.refused(node.address()).await;
    assert_eq!(refused, (Code::DeadlineExceeded, "stale_time".to_owned()));
}

#[tokio::test]
async fn a_stranger_is_refused_whatever_its_signature() {
    let (bob, mallory) = (DevKey::named("Bob"), DevKey::named("Mallory"));
    let node = Node::start("Alice", &[&bob], 8).await;
    let own_name = Claims::to(&node).signed(&mallory);
    let refused = own_name.refused(node.address()).await;
    assert_eq!(refused, (Code::PermissionDenied, "not_a_validator".to_owned()));
    let in_bobs_name = own_name.with_header("assay-sender", &bob.hotkey().to_string());
    let refused = in_bobs_name.refused(node.address()).await;
    assert_eq!(refused, (Code::Unauthenticated, "bad_signature".to_owned()));
}

#[tokio::test]
async fn case_19_a_permit_lost_in_mid_session_ends_the_session_with_the_next_call() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    let client = node.client_of(&bob);
    let ask = || client.ask(node.key.hotkey(), node.address(), PeerRequest::Renew(vec![held(1)]));
    ask().await.unwrap();
    node.directory.send_replace(PeerDirectory::default());
    assert_eq!(ask().await, Err(AskError::Auth(AuthRefusal::NotAValidator)));
}

#[tokio::test]
async fn a_call_without_headers_or_by_other_rules_is_refused() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let good = Claims::to(&node).signed(&bob);
    let bare = Captured { headers: Vec::new(), ..good.clone() };
    let refused = bare.refused(node.address()).await;
    assert_eq!(refused, (Code::InvalidArgument, "malformed".to_owned()));
    let newer = good.with_header("assay-version", "2").refused(node.address()).await;
    assert_eq!(newer, (Code::Unimplemented, "unsupported_version".to_owned()));
}

#[tokio::test]
async fn case_20_a_message_above_the_limit_is_refused_before_it_is_held() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let mut captured = Claims::to(&node).signed(&bob);
    let many = PEER_MESSAGE_BYTES_MAX / 70;
    captured.message.leases = vec![captured.message.leases[0].clone(); many];
    assert!(captured.message.encoded_len() > PEER_MESSAGE_BYTES_MAX);
    let refused = captured.refused(node.address()).await;
    assert_eq!(refused, (Code::OutOfRange, "too_large".to_owned()));
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
}

#[tokio::test]
async fn case_20_one_validator_cannot_take_more_than_its_share_of_calls() {
    let bob = DevKey::named("Bob");
    let carol = DevKey::named("Carol");
    let mut node = Node::start("Alice", &[&bob, &carol], 64).await;
    let (peer, address) = (node.key.hotkey(), node.address());
    let greedy = Arc::new(node.client_of(&bob));
    let mut waiting = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..CALLS_PER_PEER_MAX {
        let greedy = Arc::clone(&greedy);
        waiting.push(tokio::spawn(async move {
            greedy.ask(peer, address, PeerRequest::Acquire(acquire_request())).await
        }));
        calls.push(node.next_call().await);
    }
    let got = greedy.ask(peer, address, PeerRequest::Acquire(acquire_request())).await;
    assert_eq!(got, Err(AskError::Auth(AuthRefusal::TooManyCalls)));

    let modest = node.client_of(&carol);
    let asked = tokio::spawn(async move {
        modest.ask(peer, address, PeerRequest::Acquire(acquire_request())).await
    });
    let call = node.next_call().await;
    assert_eq!(call.peer, carol.hotkey());
    call.answer.send(PeerAnswer::Acquired(Ok(Vec::new()))).unwrap();
    assert_eq!(asked.await.unwrap(), Ok(PeerAnswer::Acquired(Ok(Vec::new()))));

    for call in calls {
        call.answer.send(PeerAnswer::Acquired(Ok(Vec::new()))).unwrap();
    }
    for asked in waiting {
        assert_eq!(asked.await.unwrap(), Ok(PeerAnswer::Acquired(Ok(Vec::new()))));
    }
}

#[tokio::test]
async fn case_20_one_address_cannot_open_more_than_its_share_of_connections() {
    use tokio::io::AsyncReadExt;
    let node = Node::start("Alice", &[], 8).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_PER_ADDRESS_MAX {
        open.push(tokio::net::TcpStream::connect(node.address()).await.unwrap());
    }
    let mut one_more = tokio::net::TcpStream::connect(node.address()).await.unwrap();
    let mut byte = [0];
    // The others got a settings frame or wait for ours; this one is closed without a word.
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), one_more.read(&mut byte));
    assert!(matches!(read.await.unwrap(), Ok(0) | Err(_)));
    for stream in &mut open {
        let mut byte = [0];
        let closed = matches!(stream.try_read(&mut byte), Ok(0));
        assert!(!closed, "a connection within the share was closed");
    }
}

#[tokio::test]
async fn case_20_calls_whose_bodies_never_end_are_given_up_and_free_their_places() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    let address = node.address();
    let mut stalled = Vec::new();
    for number in 0..CALLS_PER_PEER_MAX {
        let nonce = [u8::try_from(number).unwrap(); 16];
        let captured = Claims { nonce, ..Claims::to(&node) }.signed(&bob);
        stalled.push(tokio::spawn(async move { captured.send_without_end(address).await }));
    }
    let client = node.client_of(&bob);
    let ask = || client.ask(node.key.hotkey(), address, PeerRequest::Renew(vec![held(1)]));
    let refused = Err(AskError::Auth(AuthRefusal::TooManyCalls));
    for _ in 0..1_000 {
        if ask().await == refused {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(ask().await, refused, "all places are taken");
    for stalled in stalled {
        assert_eq!(stalled.await.unwrap().code(), Code::Cancelled);
    }
    ask().await.unwrap();
}
