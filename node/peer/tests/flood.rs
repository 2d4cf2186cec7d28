//! An honest peer's calls while strangers flood the node. Measures time and memory, so it is run
//! by itself: `cargo nextest run -p node-peer --run-ignored only case_20_flood`.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{renewal, DevKey, Node, GENESIS, NETUID};
use http::uri::PathAndQuery;
use node_core::id::HotkeySigner;
use node_core::lease::{HoldAnswer, PeerAnswer, PeerRequest};
use node_peer::limits::CONNECTIONS_PER_ADDRESS_MAX;
use proto::v1;
use tonic::transport::{Channel, Endpoint};
use tonic::Request;

const STREAMS: usize = 10_000;
const STREAMS_PER_BATCH: usize = 10;
const LATENCY_P99_MAX: Duration = Duration::from_millis(100);
const MEMORY_KIB_MAX: u64 = 256 << 10;

/// Headers in `victim`'s name that pass every check before the signature.
fn forged(request: &mut Request<impl Sized>, node: &Node, victim: &DevKey) {
    let headers = [
        ("assay-version", "1".to_owned()),
        ("assay-sender", victim.hotkey().to_string()),
        ("assay-receiver", node.key.hotkey().to_string()),
        ("assay-genesis", GENESIS.to_string()),
        ("assay-netuid", NETUID.to_string()),
        ("assay-time-ms", common::SetClock::START.to_string()),
        ("assay-nonce", "00".repeat(16)),
        ("assay-body-sha256", "00".repeat(32)),
        ("assay-signature", "01".repeat(64)),
    ];
    for (name, value) in headers {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
}

/// One stream whose message would never end.
async fn open_stream(channel: Channel, node: Arc<Node>, victim: Arc<DevKey>) {
    let lease = v1::HeldLease { assignment: vec![0; 16 << 10], lease: vec![], attempt: 0 };
    let endless = futures_util::stream::repeat(v1::RenewRequest {
        renewals: vec![v1::Renewal { lease: Some(lease), stage: 1 }],
    });
    let mut request = Request::new(endless);
    forged(&mut request, &node, &victim);
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<_, v1::RenewResponse>::default();
    let path = PathAndQuery::from_static("/assay.v1.Leases/Renew");
    grpc.client_streaming(request, path, codec).await.expect_err("forged");
}

/// Opens all streams over all connections that one address may have, at a pace that leaves the
/// machine time: this measures what strangers cost the node, not who wins a race for the CPU.
async fn flood(node: Arc<Node>, victim: Arc<DevKey>) {
    let mut channels = Vec::new();
    for _ in 1..CONNECTIONS_PER_ADDRESS_MAX {
        let uri = format!("http://{}", node.address());
        channels.push(Endpoint::from_shared(uri).unwrap().connect().await.unwrap());
    }
    let mut streams = tokio::task::JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for batch in 0..STREAMS / STREAMS_PER_BATCH {
        pace.tick().await;
        for number in 0..STREAMS_PER_BATCH {
            let channel = channels[(batch + number) % channels.len()].clone();
            streams.spawn(open_stream(channel, Arc::clone(&node), Arc::clone(&victim)));
        }
    }
    while let Some(stream) = streams.join_next().await {
        stream.unwrap();
    }
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures time and memory; run it by itself"]
async fn case_20_flood_of_forged_calls_leaves_an_honest_peer_served() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 64).await;
    let (_, closed) = tokio::sync::mpsc::channel(1);
    let mut calls = std::mem::replace(&mut node.calls, closed);
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            call.answer.send(PeerAnswer::Renewed(vec![HoldAnswer::Kept])).unwrap();
        }
    });
    let node = Arc::new(node);
    let honest = node.client_of(&bob);
    let request = || PeerRequest::Renew(vec![renewal(1)]);
    honest.ask(node.key.hotkey(), node.address(), request()).await.unwrap();

    let attacker = std::thread::spawn({
        let (node, bob) = (Arc::clone(&node), Arc::clone(&bob));
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(flood(node, bob));
        }
    });
    let mut latencies = Vec::new();
    while !attacker.is_finished() {
        let start = Instant::now();
        honest.ask(node.key.hotkey(), node.address(), request()).await.unwrap();
        latencies.push(start.elapsed());
        // Its own pace: a worker makes far fewer calls than its share.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    attacker.join().unwrap();
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    let memory = memory_kib();
    println!("{} honest calls, p99 {p99:?}, peak {} MiB", latencies.len(), memory >> 10);
    assert!(latencies.len() >= 100, "too few calls to speak of a p99: {}", latencies.len());
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
    assert!(p99 < LATENCY_P99_MAX, "{p99:?}");
}
