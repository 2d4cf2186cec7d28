//! Every call between two real nodes, and what happens when one of them has trouble.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::{
    acquire_request, grant, held, receipt, renewal, seal, Archives, DevKey, Node, CONTENT_BYTES_MAX,
};
use node_core::id::{AssignmentId, Attempt, ContentDigest, Hotkey, HotkeySigner, SubmissionId};
use node_core::lease::{
    Explanation, HoldAnswer, LeaseAnswer, LeaseRefusal, PeerAnswer, PeerRequest, ReleaseReason,
    ReplicaStanding,
};
use node_core::limits::RECEIPTS_PER_PAGE_MAX;
use node_core::outcome::Ending;
use node_peer::limits::{BATCH_ITEMS_MAX, CONTENT_CHUNK_BYTES, RENEW_ITEMS_MAX};
use node_peer::{AnswerError, AskError, CertificateRefusal, FetchError, Refused, ServeRefusal};

/// Asks `node` as `key` and lets the node answer; gives what the node saw and the caller got.
async fn exchange(
    node: &mut Node,
    key: &std::sync::Arc<DevKey>,
    request: PeerRequest,
    answer: PeerAnswer,
) -> (PeerRequest, Result<PeerAnswer, AskError>) {
    let client = node.client_of(key);
    let (peer, address) = (node.key.hotkey(), node.address());
    let asked = tokio::spawn(async move { client.ask(peer, address, request).await });
    let call = node.next_call().await;
    assert_eq!(call.peer, key.hotkey());
    call.answer.send(answer).unwrap();
    (call.request, asked.await.unwrap())
}

fn explanation(holder: Hotkey) -> Explanation {
    let replica = ReplicaStanding {
        assignment: AssignmentId([4; 32]),
        replica: 1,
        attempt: Attempt(2),
        holder: Some(holder),
        state: "running".to_owned(),
    };
    let open = ReplicaStanding { holder: None, state: "open".to_owned(), ..replica.clone() };
    Explanation {
        summary: "waits for two replicas".to_owned(),
        replicas: vec![open, replica],
        claims: vec![holder],
        required: 2,
    }
}

#[tokio::test]
async fn every_request_and_its_answer_arrive_as_they_were_sent_in_both_directions() {
    let (alice, bob) = (DevKey::named("Alice"), DevKey::named("Bob"));
    let mut nodes = [
        (Node::start("Alice", &[&alice, &bob], 8).await, &bob),
        (Node::start("Bob", &[&alice, &bob], 8).await, &alice),
    ];
    let carol = DevKey::named("Carol");
    for (node, caller) in &mut nodes {
        let coordinator = node.key.hotkey();
        let signed = receipt(caller, coordinator);
        let ended = ReleaseReason::RunEnded { ending: Ending::WorkerRestarted };
        let refused = HoldAnswer::Refused(LeaseRefusal::StaleAttempt);
        let exchanges = [
            (
                PeerRequest::Acquire(acquire_request()),
                PeerAnswer::Acquired(Ok(vec![grant(coordinator), grant(coordinator)])),
            ),
            (
                PeerRequest::Acquire(acquire_request()),
                PeerAnswer::Acquired(Err(LeaseRefusal::NotReady)),
            ),
            (
                PeerRequest::Renew(vec![renewal(1), renewal(2)]),
                PeerAnswer::Renewed(vec![HoldAnswer::Kept, refused]),
            ),
            (PeerRequest::Renew(Vec::new()), PeerAnswer::Renewed(Vec::new())),
            (
                PeerRequest::Complete(Box::new(signed.clone())),
                PeerAnswer::Completed(LeaseAnswer::AlreadyDone),
            ),
            (
                PeerRequest::Release { item: held(1), reason: ended },
                PeerAnswer::Released(LeaseAnswer::Accepted),
            ),
            (
                PeerRequest::Receipts { of: coordinator, after: 41 },
                PeerAnswer::Receipts(vec![(42, signed.clone()), (50, signed)]),
            ),
            (
                PeerRequest::Receipts { of: caller.hotkey(), after: u64::MAX },
                PeerAnswer::Receipts(Vec::new()),
            ),
            (
                PeerRequest::Seal(Box::new(seal(caller, 3))),
                PeerAnswer::Sealed(HoldAnswer::Reveal(vec![seal(caller, 3), seal(&carol, 1)])),
            ),
            (
                PeerRequest::Renew(vec![renewal(3)]),
                PeerAnswer::Renewed(vec![HoldAnswer::Reveal(vec![seal(&carol, 1)])]),
            ),
            (
                PeerRequest::Explain { submission: SubmissionId([6; 32]) },
                PeerAnswer::Explained(explanation(caller.hotkey())),
            ),
        ];
        for (request, answer) in exchanges {
            let (seen, got) = exchange(node, caller, request.clone(), answer.clone()).await;
            assert_eq!(seen, request);
            assert_eq!(got, Ok(answer));
        }
    }
}

#[tokio::test]
async fn a_validator_may_ask_who_a_node_is() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 1).await;
    let info = node.client_of(&bob).info(node.key.hotkey(), node.address()).await.unwrap();
    assert_eq!(info.protocol_version, node_peer::PROTOCOL_VERSION);
    assert_eq!(info.identity, common::identity(node.key.hotkey()));
}

#[tokio::test]
async fn a_full_page_of_receipts_arrives_and_a_longer_one_is_refused() {
    let (alice, bob) = (DevKey::named("Alice"), DevKey::named("Bob"));
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let signed = receipt(&bob, alice.hotkey());
    let page = |len: u64| PeerAnswer::Receipts((1..=len).map(|n| (n, signed.clone())).collect());
    let full = RECEIPTS_PER_PAGE_MAX as u64;
    let request = PeerRequest::Receipts { of: alice.hotkey(), after: 0 };
    let (_, got) = exchange(&mut node, &bob, request.clone(), page(full)).await;
    assert_eq!(got, Ok(page(full)));
    let (_, got) = exchange(&mut node, &bob, request, page(full + 1)).await;
    assert_eq!(got, Err(AskError::MalformedAnswer(AnswerError::TooManyReceipts)));
}

#[tokio::test]
async fn a_receipt_with_a_flipped_bit_is_refused_by_a_coordinator_before_its_loop_sees_it() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let client = node.client_of(&bob);
    let good = receipt(&bob, node.key.hotkey());
    let mut forged = vec![good.clone(), good.clone(), good];
    forged[0].signature.0[17] ^= 1;
    forged[1].evidence.run.0[0] ^= 1;
    forged[2].evidence.ended_at.0 ^= 1;
    for receipt in forged {
        let request = PeerRequest::Complete(Box::new(receipt));
        let answer = client.ask(node.key.hotkey(), node.address(), request).await.unwrap();
        let refused = LeaseAnswer::Refused(LeaseRefusal::BadSignature);
        assert_eq!(answer, PeerAnswer::Completed(refused));
    }
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
}

#[tokio::test]
async fn a_seal_that_is_not_its_workers_is_refused_before_the_loop_sees_it() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let client = node.client_of(&bob);
    let mut forged = [seal(&bob, 1); 4];
    forged[0].signature.0[17] ^= 1;
    forged[1].held.attempt.0 ^= 2;
    forged[2].result.0[0] ^= 1;
    forged[3].worker = node.key.hotkey();
    for seal in forged {
        let request = PeerRequest::Seal(Box::new(seal));
        let answer = client.ask(node.key.hotkey(), node.address(), request).await.unwrap();
        let refused = HoldAnswer::Refused(LeaseRefusal::BadSignature);
        assert_eq!(answer, PeerAnswer::Sealed(refused));
    }
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
}

#[tokio::test]
async fn a_seal_that_is_not_its_workers_is_dropped_from_a_reveal_and_counted() {
    let (bob, carol) = (DevKey::named("Bob"), DevKey::named("Carol"));
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let (good, mut forged) = (seal(&bob, 1), seal(&carol, 1));
    forged.result.0[31] ^= 1;
    let told = HoldAnswer::Reveal(vec![forged, good, forged]);
    let believed = HoldAnswer::Reveal(vec![good]);
    let asks = [
        (
            PeerRequest::Seal(Box::new(good)),
            PeerAnswer::Sealed(told.clone()),
            PeerAnswer::Sealed(believed.clone()),
        ),
        (
            PeerRequest::Renew(vec![renewal(1)]),
            PeerAnswer::Renewed(vec![told]),
            PeerAnswer::Renewed(vec![believed]),
        ),
    ];
    for (request, told, believed) in asks {
        let client = node.client_of(&bob);
        let (peer, address) = (node.key.hotkey(), node.address());
        let asked = tokio::spawn(async move {
            (client.ask(peer, address, request).await, client.seals_refused())
        });
        node.next_call().await.answer.send(told).unwrap();
        let refused = Refused { bad_signature: 2, malformed: 0 };
        assert_eq!(asked.await.unwrap(), (Ok(believed), refused));
    }
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item_and_only_signed_ones_reach_the_loop() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let (peer, address) = (node.key.hotkey(), node.address());
    let (first, last) = (seal(&bob, 1), seal(&bob, 3));
    let mut forged = seal(&bob, 2);
    forged.result.0[0] ^= 1;
    let client = node.client_of(&bob);
    let asked =
        tokio::spawn(async move { client.seal_all(peer, address, &[first, forged, last]).await });
    for (seal, answer) in [(first, HoldAnswer::Kept), (last, HoldAnswer::Reveal(vec![first]))] {
        let call = node.next_call().await;
        assert_eq!(call.request, PeerRequest::Seal(Box::new(seal)));
        call.answer.send(PeerAnswer::Sealed(answer)).unwrap();
    }
    let refused = HoldAnswer::Refused(LeaseRefusal::BadSignature);
    let want = vec![HoldAnswer::Kept, refused, HoldAnswer::Reveal(vec![first])];
    assert_eq!(asked.await.unwrap(), Ok(want));

    let good = receipt(&bob, peer);
    let mut forged = good.clone();
    forged.evidence.run.0[0] ^= 1;
    let client = node.client_of(&bob);
    let batch = [forged, good.clone()];
    let asked = tokio::spawn(async move { client.complete_all(peer, address, &batch).await });
    let call = node.next_call().await;
    assert_eq!(call.request, PeerRequest::Complete(Box::new(good)));
    call.answer.send(PeerAnswer::Completed(LeaseAnswer::Accepted)).unwrap();
    let refused = LeaseAnswer::Refused(LeaseRefusal::BadSignature);
    assert_eq!(asked.await.unwrap(), Ok(vec![refused, LeaseAnswer::Accepted]));
}

#[tokio::test]
async fn case_20_one_validator_has_one_batch_in_work_and_single_items_beside_it() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let (peer, address) = (node.key.hotkey(), node.address());
    let batch = [seal(&bob, 1), seal(&bob, 2)];
    let client = node.client_of(&bob);
    let first = tokio::spawn(async move { client.seal_all(peer, address, &batch).await });
    let waiting = [node.next_call().await, node.next_call().await];

    let client = std::sync::Arc::new(node.client_of(&bob));
    let second = client.seal_all(peer, address, &batch).await;
    assert_eq!(second, Err(AskError::Refused(ServeRefusal::Busy)));
    let single = tokio::spawn({
        let client = std::sync::Arc::clone(&client);
        async move { client.seal_all(peer, address, &batch[..1]).await }
    });
    let kept = || PeerAnswer::Sealed(HoldAnswer::Kept);
    node.next_call().await.answer.send(kept()).unwrap();
    assert_eq!(single.await.unwrap(), Ok(vec![HoldAnswer::Kept]));

    for call in waiting {
        call.answer.send(kept()).unwrap();
    }
    assert_eq!(first.await.unwrap(), Ok(vec![HoldAnswer::Kept; 2]));
}

#[tokio::test]
async fn a_batch_that_does_not_fit_the_queue_whole_puts_nothing_into_it() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 3).await;
    let client = node.client_of(&bob);
    let seals: Vec<_> = (1..=4).map(|attempt| seal(&bob, attempt)).collect();
    let got = client.seal_all(node.key.hotkey(), node.address(), &seals).await;
    assert_eq!(got, Err(AskError::Refused(ServeRefusal::Busy)));
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
}

#[tokio::test]
async fn a_receipt_with_a_flipped_bit_in_a_stream_is_skipped_and_counted() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let client = node.client_of(&bob);
    let (peer, address) = (node.key.hotkey(), node.address());
    let good = receipt(&bob, peer);
    let mut forged = good.clone();
    forged.evidence.attempt.0 ^= 1;
    let asked = tokio::spawn(async move {
        let got = client.ask(peer, address, PeerRequest::Receipts { of: peer, after: 0 }).await;
        (got, client.receipts_refused())
    });
    let page = vec![(1, good.clone()), (2, forged), (3, good.clone())];
    node.next_call().await.answer.send(PeerAnswer::Receipts(page)).unwrap();
    let (got, refused) = asked.await.unwrap();
    assert_eq!(got, Ok(PeerAnswer::Receipts(vec![(1, good.clone()), (3, good)])));
    assert_eq!(refused, Refused { bad_signature: 1, malformed: 0 });
}

#[tokio::test]
async fn answers_that_do_not_fit_the_request_are_malformed() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    let alice = node.key.hotkey();
    let acquire = || PeerRequest::Acquire(acquire_request());
    let cases = [
        (
            acquire(),
            PeerAnswer::Acquired(Ok(vec![grant(alice); 3])),
            AnswerError::TooManyGrants { asked: 2, got: 3 },
        ),
        (
            acquire(),
            PeerAnswer::Acquired(Ok(vec![grant(bob.hotkey())])),
            AnswerError::WrongCoordinator { coordinator: bob.hotkey() },
        ),
        (
            PeerRequest::Renew(vec![renewal(1), renewal(2)]),
            PeerAnswer::Renewed(vec![HoldAnswer::Kept]),
            AnswerError::Count { asked: 2, got: 1 },
        ),
        (
            PeerRequest::Receipts { of: alice, after: 5 },
            PeerAnswer::Receipts(vec![(5, receipt(&bob, alice))]),
            AnswerError::OutOfOrder { sequence: 5, previous: 5 },
        ),
    ];
    for (request, answer, error) in cases {
        let (_, got) = exchange(&mut node, &bob, request, answer).await;
        assert_eq!(got, Err(AskError::MalformedAnswer(error)));
    }
    let (_, got) =
        exchange(&mut node, &bob, acquire(), PeerAnswer::Completed(LeaseAnswer::Accepted)).await;
    assert_eq!(got, Err(AskError::Refused(ServeRefusal::Internal)), "another variant");
}

#[tokio::test]
async fn a_message_that_breaks_a_limit_is_refused_with_the_reason() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let client = node.client_of(&bob);
    let items = PeerRequest::Renew(vec![renewal(1); RENEW_ITEMS_MAX + 1]);
    let got = client.ask(node.key.hotkey(), node.address(), items).await;
    assert_eq!(got, Err(AskError::Refused(ServeRefusal::BadMessage)));
    let many = vec![seal(&bob, 1); BATCH_ITEMS_MAX + 1];
    let got = client.seal_all(node.key.hotkey(), node.address(), &many).await;
    assert_eq!(got, Err(AskError::Refused(ServeRefusal::BadMessage)));
    let many = vec![receipt(&bob, node.key.hotkey()); BATCH_ITEMS_MAX + 1];
    let got = client.complete_all(node.key.hotkey(), node.address(), &many).await;
    assert_eq!(got, Err(AskError::Refused(ServeRefusal::BadMessage)));
    let items = PeerRequest::Renew(vec![renewal(1); 20_000]);
    let got = client.ask(node.key.hotkey(), node.address(), items).await;
    assert!(matches!(got, Err(AskError::RequestTooLarge { .. })), "{got:?}");
}

#[tokio::test]
async fn a_full_queue_sheds_load_and_a_stopped_loop_says_so() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 1).await;
    let (peer, address) = (node.key.hotkey(), node.address());
    let waiting = node.client_of(&bob);
    let first = tokio::spawn(async move {
        waiting.ask(peer, address, PeerRequest::Acquire(acquire_request())).await
    });
    // The queue is full as soon as the first call stands in it.
    while node.calls.is_empty() {
        tokio::task::yield_now().await;
    }
    let client = node.client_of(&bob);
    let got = client.ask(peer, address, PeerRequest::Acquire(acquire_request())).await;
    assert_eq!(got, Err(AskError::Refused(ServeRefusal::Busy)));

    drop(node.next_call().await.answer);
    assert_eq!(first.await.unwrap(), Err(AskError::Refused(ServeRefusal::Stopping)));
    node.calls.close();
    let got = client.ask(peer, address, PeerRequest::Acquire(acquire_request())).await;
    assert_eq!(got, Err(AskError::Refused(ServeRefusal::Stopping)));
}

fn archive(bytes: usize) -> (ContentDigest, Archives, Vec<u8>) {
    let content = ContentDigest([0xc0; 32]);
    let data: Vec<u8> = (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect();
    (content, Archives(BTreeMap::from([(content, data.clone())])), data)
}

#[tokio::test]
async fn a_content_arrives_whole_in_bounded_chunks() {
    let bob = DevKey::named("Bob");
    for size in [0, 1, CONTENT_CHUNK_BYTES, CONTENT_CHUNK_BYTES * 5 + 3, 4 << 20] {
        let (content, archives, data) = archive(size);
        let node = Node::start_with("Alice", &[&bob], 1, archives).await;
        let client = node.client_of(&bob);
        let fetched = client
            .fetch_content(node.key.hotkey(), node.address(), content, CONTENT_BYTES_MAX)
            .await;
        assert_eq!(fetched.unwrap(), data);
    }
}

#[tokio::test]
async fn a_fetch_stops_above_its_limit_and_an_unknown_content_is_named() {
    let bob = DevKey::named("Bob");
    let (content, archives, data) = archive(300_000);
    let node = Node::start_with("Alice", &[&bob], 1, archives).await;
    let client = node.client_of(&bob);
    let (peer, address) = (node.key.hotkey(), node.address());

    let exact = client.fetch_content(peer, address, content, 300_000).await;
    assert_eq!(exact.unwrap(), data);
    let short = client.fetch_content(peer, address, content, 299_999).await;
    assert_eq!(short, Err(FetchError::TooLarge { content, bytes_max: 299_999 }));
    let other = ContentDigest([1; 32]);
    let unknown = client.fetch_content(peer, address, other, 300_000).await;
    assert_eq!(unknown, Err(FetchError::Unknown { content: other }));
}

#[tokio::test]
async fn a_content_above_the_policys_limit_is_not_sent() {
    let bob = DevKey::named("Bob");
    let (content, archives, _) = archive(usize::try_from(CONTENT_BYTES_MAX).unwrap() + 1);
    let node = Node::start_with("Alice", &[&bob], 1, archives).await;
    let client = node.client_of(&bob);
    let got = client.fetch_content(node.key.hotkey(), node.address(), content, u64::MAX).await;
    assert_eq!(got, Err(FetchError::Unknown { content }));
}

#[tokio::test]
async fn a_stranger_gets_no_content() {
    let (content, archives, _) = archive(10);
    let node = Node::start_with("Alice", &[], 1, archives).await;
    let client = node.client_of(&DevKey::named("Mallory"));
    let got = client.fetch_content(node.key.hotkey(), node.address(), content, 10).await;
    let source = AskError::CertificateRefused(CertificateRefusal::NotAValidator);
    assert_eq!(got, Err(FetchError::Ask { content, source }));
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 1).await;
    let client = node.client_of(&bob);
    let (peer, address) = (node.key.hotkey(), node.address());
    assert!(node.server.shutdown().await);
    let got = client.ask(peer, address, PeerRequest::Receipts { of: peer, after: 0 }).await;
    assert!(matches!(got, Err(AskError::Unreachable { .. })), "{got:?}");
}

#[tokio::test]
async fn a_call_in_work_is_answered_before_the_server_is_gone() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 1).await;
    let client = node.client_of(&bob);
    let (peer, address) = (node.key.hotkey(), node.address());
    let asked = tokio::spawn(async move {
        client.ask(peer, address, PeerRequest::Renew(vec![renewal(1)])).await
    });
    let call = node.next_call().await;
    let stopped = tokio::spawn(node.server.shutdown());
    // The listener is gone while the call is still in work.
    while std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
        tokio::task::yield_now().await;
    }
    call.answer.send(PeerAnswer::Renewed(vec![HoldAnswer::Kept])).unwrap();
    assert_eq!(asked.await.unwrap(), Ok(PeerAnswer::Renewed(vec![HoldAnswer::Kept])));
    assert!(stopped.await.unwrap(), "nothing had to be cut");
}

#[tokio::test]
async fn an_address_in_use_is_named_in_the_error() {
    let node = Node::start("Alice", &[], 1).await;
    let address: SocketAddr = node.address();
    let (handler, _calls) = tokio::sync::mpsc::channel(1);
    let (_directory, view) = tokio::sync::watch::channel(common::directory(&[]));
    let (_certificate, shown) = tokio::sync::watch::channel(common::certificate(&node.key));
    let (_ready, is_ready) = tokio::sync::watch::channel(true);
    let parts = node_peer::ServerParts {
        handler,
        contents: std::sync::Arc::new(Archives::default()),
        content_bytes_max: 1,
        directory: view,
        certificate: shown,
        ready: is_ready,
        identity: common::identity(node.key.hotkey()),
        clock: std::sync::Arc::new(node_peer::SystemClock),
    };
    let error = node_peer::PeerServer::bind(address, parts).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen for peers on {address}"));
}
