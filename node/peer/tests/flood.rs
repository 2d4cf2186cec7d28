//! An honest peer's calls while hostile validators and strangers flood the node, which runs in a
//! process of its own. Memory is measured in every run; latency depends on what else the machine
//! does, so it is measured in a run by itself:
//! `cargo nextest run -p node-peer --run-ignored only case_20_flood`.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]
#![allow(clippy::print_stdout, reason = "figures, and what the child tells its parent")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::calls::{Captured, Claims};
use common::wire::{self, Endorsement, Shown, DAY_MS};
use common::{identity, renewal, Archives, DevKey};
use node_core::id::{Hotkey, HotkeySigner};
use node_core::lease::{HoldAnswer, PeerAnswer, PeerRequest};
use node_core::unit::{BlockNumber, UnixMs};
use node_peer::{
    ClientParts, NodeCertificate, PeerClient, PeerDirectory, PeerServer, ServerParts, SystemClock,
    WallClock,
};
use proto::v1;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;

const STREAMS: usize = 10_000;
const STREAMS_PER_BATCH: usize = 10;
/// Connections of each hostile validator; with the honest peer's and the strangers' as many as one
/// address may have.
const HOSTILE_CONNECTIONS: usize = 6;
const STRANGERS: usize = 6;
const GIBIBYTE: usize = 1 << 30;
const LATENCY_P99_MAX: Duration = Duration::from_millis(100);
const MEMORY_KIB_MAX: u64 = 256 << 10;
const ADDRESS_VARIABLE: &str = "ASSAY_TEST_FLOOD";

fn now() -> UnixMs {
    SystemClock.unix()
}

fn hostile() -> Vec<Arc<DevKey>> {
    ["Mallory", "Mordred", "Moriarty", "Morgana"].map(DevKey::named).to_vec()
}

fn fresh_certificate(key: &DevKey) -> NodeCertificate {
    NodeCertificate::generate(&identity(key.hotkey()), key, now()).unwrap()
}

/// The node that is flooded: says where it listens, serves until its input ends, then says how
/// much memory it ever had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the flood"]
async fn child_serves() {
    if std::env::var_os(ADDRESS_VARIABLE).is_none() {
        return;
    }
    let key = DevKey::named("Alice");
    let (handler, mut calls) = mpsc::channel(64);
    let validators = hostile().into_iter().chain([DevKey::named("Bob")]);
    let view = PeerDirectory::of(BlockNumber(1), validators.map(|key| (key.hotkey(), None)));
    let parts = ServerParts {
        handler,
        contents: Arc::new(Archives::default()),
        content_bytes_max: 1,
        directory: watch::channel(view).1,
        certificate: watch::channel(fresh_certificate(&key)).1,
        ready: watch::channel(true).1,
        identity: identity(key.hotkey()),
        clock: Arc::new(SystemClock),
    };
    let server = PeerServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), parts).await.unwrap();
    println!("listens {}", server.local_addr());
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::pin!(ended);
    loop {
        tokio::select! {
            call = calls.recv() => {
                let answer = PeerAnswer::Renewed(vec![HoldAnswer::Kept]);
                drop(call.unwrap().answer.send(answer));
            }
            read = &mut ended => {
                read.unwrap().unwrap();
                break;
            }
        }
    }
    println!("peak_kib {}", memory_kib());
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The node as a process.
struct Flooded {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Flooded {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_serves", "--exact", "--ignored", "--nocapture"])
            .env(ADDRESS_VARIABLE, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let address = next(&mut lines, "listens ").parse().unwrap();
        Self { child, lines, address }
    }

    /// Ends it; gives the most memory that it had, in KiB.
    fn end(mut self) -> u64 {
        drop(self.child.stdin.take());
        let peak = next(&mut self.lines, "peak_kib ").parse().unwrap();
        assert!(self.child.wait().unwrap().success());
        peak
    }
}

fn next(lines: &mut impl BufRead, word: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the node ended without `{word}`");
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
    }
}

/// One hostile validator: its connections, and a number that it never used before.
struct Hostile {
    key: Arc<DevKey>,
    channels: Vec<Channel>,
    address: SocketAddr,
    victim: Hotkey,
}

impl Hostile {
    async fn connect(key: Arc<DevKey>, address: SocketAddr, victim: Hotkey) -> Self {
        let expires_at_ms = now().0 + 30 * DAY_MS;
        let shown = Shown::endorsed(&Endorsement { expires_at_ms, ..Endorsement::of(&key) });
        let mut channels = Vec::new();
        for _ in 0..HOSTILE_CONNECTIONS {
            // Strangers that begin handshakes take its place at times.
            let connected = async {
                loop {
                    if let Ok(channel) = wire::try_channel_with(address, &shown).await {
                        return channel;
                    }
                }
            };
            channels.push(wire::soon(connected).await);
        }
        Self { key, channels, address, victim }
    }

    /// A call that is signed well.
    fn signed(&self, number: usize) -> Captured {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        Claims { time_ms: now().0, nonce, ..Claims::for_receiver(self.victim) }.signed(&self.key)
    }

    fn channel(&self, number: usize) -> Channel {
        self.channels[number % self.channels.len()].clone()
    }
}

/// A stream that never ends, with a forged signature. Gives whether that was the reason it ended.
async fn forged(hostile: Arc<Hostile>, number: usize) -> bool {
    let call = hostile.signed(number).with_header("assay-signature", &"01".repeat(64));
    let lease = v1::HeldLease { assignment: vec![0; 16 << 10], ..Default::default() };
    let endless = futures_util::stream::repeat(v1::RenewRequest {
        renewals: vec![v1::Renewal { lease: Some(lease), stage: 1 }],
    });
    refusal_id(&call.send_stream(hostile.channel(number), endless).await) == "bad_signature"
}

fn refusal_id(status: &tonic::Status) -> &str {
    status.metadata().get("assay-refusal").map_or("", |id| id.to_str().unwrap())
}

/// A call that is signed well and whose body comes slower than it is waited for.
async fn slow(hostile: Arc<Hostile>, number: usize) -> bool {
    let call = hostile.signed(STREAMS + number);
    call.send_stream(hostile.channel(number), futures_util::stream::pending()).await;
    false
}

/// A call that is signed well and whose body is a gibibyte.
async fn large(hostile: Arc<Hostile>, number: usize) -> bool {
    let call = hostile.signed(2 * STREAMS + number);
    drop(call.send_large(hostile.channel(number), hostile.address, GIBIBYTE).await);
    false
}

/// Opens all streams at a pace that leaves the machine time: this measures what strangers cost the
/// node, not who wins a race for the CPU.
async fn flood(address: SocketAddr, victim: Hotkey, pace: Duration) {
    let mut hostiles = Vec::new();
    for key in hostile() {
        hostiles.push(Arc::new(Hostile::connect(key, address, victim).await));
    }
    let mut streams = JoinSet::new();
    let mut pace = tokio::time::interval(pace);
    for batch in 0..STREAMS / STREAMS_PER_BATCH {
        pace.tick().await;
        let hostile = Arc::clone(&hostiles[batch % hostiles.len()]);
        for number in 0..STREAMS_PER_BATCH {
            let number = batch * STREAMS_PER_BATCH + number;
            streams.spawn(forged(Arc::clone(&hostile), number));
        }
        if batch % 5 == 0 {
            streams.spawn(slow(Arc::clone(&hostile), batch));
        }
        if batch % 50 == 0 {
            streams.spawn(large(Arc::clone(&hostile), batch));
        }
    }
    // The slow ones are cut one by one; who still waits then leaves.
    let mut refused = 0;
    let drained = async {
        while let Some(was_refused) = streams.join_next().await {
            refused += usize::from(was_refused.unwrap());
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(12), drained).await);
    // Some find their connection's places taken by the slow ones.
    println!("{refused} of {STREAMS} forged streams reached the node and were refused");
    assert!(refused > STREAMS / 2, "{refused}");
}

/// Connects, begins a handshake and says no more, again and again.
async fn stall(address: SocketAddr) {
    loop {
        let Ok(mut tcp) = TcpStream::connect(address).await else { continue };
        drop(tcp.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await);
        drop(tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Floods a node and asks it meanwhile. Gives how long each honest call took, in order, and the
/// node's peak of memory.
async fn honest_calls_during_a_flood(pace: Duration) -> (Vec<Duration>, u64) {
    let node = Flooded::start();
    let address = node.address;
    let (alice, bob) = (DevKey::named("Alice").hotkey(), DevKey::named("Bob"));
    let honest = PeerClient::new(ClientParts {
        identity: identity(bob.hotkey()),
        signer: Arc::clone(&bob) as Arc<dyn HotkeySigner>,
        clock: Arc::new(SystemClock),
        certificate: watch::channel(fresh_certificate(&bob)).1,
        directory: watch::channel(PeerDirectory::default()).1,
    });
    let request = || PeerRequest::Renew(vec![renewal(1)]);
    honest.ask(alice, address, request()).await.unwrap();

    let attacker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut strangers = JoinSet::new();
            for _ in 0..STRANGERS {
                strangers.spawn(stall(address));
            }
            flood(address, alice, pace).await;
        });
    });
    let mut latencies = Vec::new();
    while !attacker.is_finished() {
        let start = Instant::now();
        honest.ask(alice, address, request()).await.unwrap();
        latencies.push(start.elapsed());
        // Its own pace: a worker makes far fewer calls than its share.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    attacker.join().unwrap();
    latencies.sort_unstable();
    (latencies, node.end())
}

fn report(latencies: &[Duration], memory_kib: u64) -> Duration {
    assert!(latencies.len() >= 100, "too few calls to speak of a p99: {}", latencies.len());
    let p99 = latencies[latencies.len() * 99 / 100];
    println!("{} honest calls, p99 {p99:?}, peak {} MiB", latencies.len(), memory_kib >> 10);
    p99
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_20_ten_thousand_streams_slow_senders_and_gibibytes_leave_memory_bounded() {
    let (latencies, memory) = honest_calls_during_a_flood(Duration::from_millis(2)).await;
    report(&latencies, memory);
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures time; run it by itself"]
async fn case_20_flood_leaves_an_honest_peer_served_in_time() {
    let (latencies, memory) = honest_calls_during_a_flood(Duration::from_millis(20)).await;
    let p99 = report(&latencies, memory);
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
    assert!(p99 < LATENCY_P99_MAX, "{p99:?}");
}
