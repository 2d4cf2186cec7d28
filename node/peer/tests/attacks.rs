//! Calls that must not pass. The attacker's code follows `docs/protocol.md` and shares none with
//! the crate, so these tests also show that the page is enough to write another node.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::sync::Arc;

use common::calls::{refusal, Captured, Claims};
use common::wire;
use common::{acquire_request, renewal, DevKey, Node, SetClock, NETUID};
use node_core::id::HotkeySigner;
use node_core::lease::{HoldAnswer, PeerAnswer, PeerRequest};
use node_core::limits::PEER_MESSAGE_BYTES_MAX;
use node_peer::limits::{
    CALLS_PER_PEER_MAX, CALL_HELD_BACK_MS_MAX, CALL_WINDOW_MS, NONCES_PER_PEER_MAX,
};
use node_peer::{AskError, AuthRefusal};
use prost::Message;
use proto::v1;
use tonic::Code;

/// Answers every call with one accepted renewal and counts nothing.
fn accept_all(node: &mut Node) -> tokio::task::JoinHandle<()> {
    let (_, closed) = tokio::sync::mpsc::channel(1);
    let mut calls = std::mem::replace(&mut node.calls, closed);
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            let PeerRequest::Renew(items) = call.request else { panic!("{:?}", call.request) };
            let answer = PeerAnswer::Renewed(vec![HoldAnswer::Kept; items.len()]);
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
    let kept = v1::hold_answer::Answer::Kept(v1::Nothing {});
    assert_eq!(response.answers, vec![v1::HoldAnswer { answer: Some(kept) }]);
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
    captured.message.renewals[0].stage = 1;
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
async fn case_18_a_call_on_another_validators_connection_is_refused() {
    let (bob, carol) = (DevKey::named("Bob"), DevKey::named("Carol"));
    let mut node = Node::start("Alice", &[&bob, &carol], 8).await;
    let captured = Captured { on: Arc::clone(&carol), ..Claims::to(&node).signed(&bob) };
    let refused = captured.refused(node.address()).await;
    assert_eq!(refused, (Code::Unknown, "wrong_sender".to_owned()));
    let in_bobs_name =
        Claims::to(&node).signed(&carol).with_header("assay-sender", &bob.hotkey().to_string());
    let refused = in_bobs_name.refused(node.address()).await;
    assert_eq!(refused, (Code::Unknown, "wrong_sender".to_owned()));
    let mallory_for_bob = Claims::to(&node)
        .signed(&DevKey::named("Mallory"))
        .with_header("assay-sender", &bob.hotkey().to_string());
    let on_bobs = Captured { on: Arc::clone(&bob), ..mallory_for_bob };
    let refused = on_bobs.refused(node.address()).await;
    assert_eq!(refused, (Code::Unauthenticated, "bad_signature".to_owned()));
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
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
    captured.message.renewals = vec![captured.message.renewals[0].clone(); many];
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
async fn case_20_calls_whose_bodies_never_end_are_given_up_and_free_their_places() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    let address = node.address();
    let channel = wire::channel(address, &bob).await;
    let mut stalled = Vec::new();
    for number in 0..CALLS_PER_PEER_MAX {
        let nonce = [u8::try_from(number).unwrap(); 16];
        let captured = Claims { nonce, ..Claims::to(&node) }.signed(&bob);
        let (channel, never) = (channel.clone(), futures_util::stream::pending());
        stalled.push(tokio::spawn(async move { captured.send_stream(channel, never).await }));
    }
    let client = node.client_of(&bob);
    let ask = || client.ask(node.key.hotkey(), address, PeerRequest::Renew(vec![renewal(1)]));
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

#[tokio::test]
async fn case_20_a_message_of_a_gibibyte_is_refused_while_it_is_sent() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let channel = wire::channel(node.address(), &bob).await;
    let captured = Claims::to(&node).signed(&bob);
    let (response, sent) = captured.send_large(channel, node.address(), 1 << 30).await.unwrap();
    assert_eq!(response.headers()["assay-refusal"], "too_large");
    assert!(sent < 16 * PEER_MESSAGE_BYTES_MAX, "{sent} bytes were let through");
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
}

#[tokio::test]
async fn case_18_a_validator_that_spends_its_nonces_is_refused_and_the_others_are_served() {
    let (bob, carol) = (DevKey::named("Bob"), DevKey::named("Carol"));
    let mut node = Node::start("Alice", &[&bob, &carol], 8).await;
    accept_all(&mut node);
    let channel = wire::channel(node.address(), &bob).await;
    let claims = |number: usize| {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        Claims { nonce, ..Claims::to(&node) }
    };
    for number in 0..NONCES_PER_PEER_MAX {
        claims(number).signed(&bob).send_on(channel.clone()).await.unwrap();
    }
    let over = claims(NONCES_PER_PEER_MAX).signed(&bob);
    let refused = over.send_on(channel.clone()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "too_many_calls".to_owned()));
    Claims::to(&node).signed(&carol).send(node.address()).await.unwrap();

    node.clock.advance(CALL_WINDOW_MS + 1);
    let time_ms = SetClock::START + CALL_WINDOW_MS + 1;
    let later = Claims { time_ms, ..Claims::to(&node) }.signed(&bob);
    later.send_on(channel).await.unwrap();
}
