//! Two real nodes on loopback, and what they lease to each other.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use node_core::assignment::Assignment;
use node_core::evidence::{Evidence, Receipt};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, HotkeySigner, LeaseId, Netuid,
    RunId, Salt, Signature, SubmissionId,
};
use node_core::inventory::DeviceKind;
use node_core::lease::{AcquireRequest, Grant, HeldLease, HeldStage, Renewal, Seal};
use node_core::outcome::Ending;
use node_core::unit::{BlockNumber, UnixMs};
use node_peer::{
    ClientParts, ContentFuture, ContentSource, NodeCertificate, NodeIdentity, PeerCall, PeerClient,
    PeerDirectory, PeerServer, ServerParts, WallClock,
};
use sp_core::{sr25519, Pair};
use tokio::sync::{mpsc, watch};

pub(crate) mod calls;
pub(crate) mod wire;

pub(crate) const GENESIS: BlockHash = BlockHash([0x9e; 32]);
pub(crate) const NETUID: Netuid = Netuid(7);
pub(crate) const CONTENT_BYTES_MAX: u64 = 4 << 20;

/// A development key; its debug form names the hotkey only.
pub(crate) struct DevKey(sr25519::Pair);

impl DevKey {
    pub(crate) fn named(name: &str) -> Arc<Self> {
        Arc::new(Self(sr25519::Pair::from_string(&format!("//{name}"), None).unwrap()))
    }
}

impl std::fmt::Debug for DevKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DevKey({})", self.hotkey())
    }
}

impl HotkeySigner for DevKey {
    fn hotkey(&self) -> Hotkey {
        Hotkey(self.0.public().0)
    }
    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).0)
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(crate) struct SetClock(AtomicU64);

impl SetClock {
    pub(crate) const START: u64 = 1_700_000_000_000;

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(Self::START)))
    }
    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl WallClock for SetClock {
    fn unix(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

/// Archives in memory.
#[derive(Default)]
pub(crate) struct Archives(pub(crate) BTreeMap<ContentDigest, Vec<u8>>);

impl ContentSource for Archives {
    fn read(&self, content: ContentDigest) -> ContentFuture<'_> {
        let bytes = self.0.get(&content).cloned();
        Box::pin(async move { bytes })
    }
}

/// A listening node whose loop is the test.
pub(crate) struct Node {
    pub(crate) server: PeerServer,
    pub(crate) calls: mpsc::Receiver<PeerCall>,
    pub(crate) directory: watch::Sender<PeerDirectory>,
    pub(crate) certificate: watch::Sender<NodeCertificate>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) key: Arc<DevKey>,
}

pub(crate) fn identity(hotkey: Hotkey) -> NodeIdentity {
    NodeIdentity {
        hotkey,
        genesis: GENESIS,
        netuid: NETUID,
        software_version: "assay 0.1.0".to_owned(),
    }
}

pub(crate) fn directory(keys: &[&Arc<DevKey>]) -> PeerDirectory {
    PeerDirectory::of(BlockNumber(1), keys.iter().map(|key| (key.hotkey(), None)))
}

/// A certificate in `key`'s name.
pub(crate) fn certificate(key: &DevKey) -> NodeCertificate {
    let now = UnixMs(SetClock::START);
    NodeCertificate::generate(&identity(key.hotkey()), key, now).unwrap()
}

impl Node {
    /// A node with `name`'s key that takes calls of `peers` and lets `queue` of them wait.
    pub(crate) async fn start(name: &str, peers: &[&Arc<DevKey>], queue: usize) -> Self {
        Self::start_with(name, peers, queue, Archives::default()).await
    }

    pub(crate) async fn start_with(
        name: &str,
        peers: &[&Arc<DevKey>],
        queue: usize,
        contents: Archives,
    ) -> Self {
        let key = DevKey::named(name);
        let clock = SetClock::new();
        let (handler, calls) = mpsc::channel(queue);
        let (directory, view) = watch::channel(directory(peers));
        let (certificate, shown) = watch::channel(certificate(&key));
        let (ready, is_ready) = watch::channel(true);
        let parts = ServerParts {
            handler,
            contents: Arc::new(contents),
            content_bytes_max: CONTENT_BYTES_MAX,
            directory: view,
            certificate: shown,
            ready: is_ready,
            identity: identity(key.hotkey()),
            clock: Arc::clone(&clock) as _,
        };
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = PeerServer::bind(any_port, parts).await.unwrap();
        Self { server, calls, directory, certificate, ready, clock, key }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// A client in `key`'s name whose clock is this node's.
    pub(crate) fn client_of(&self, key: &Arc<DevKey>) -> PeerClient {
        self.client_with(key, certificate(key), PeerDirectory::default())
    }

    /// The same, with another certificate, and a view of its own.
    pub(crate) fn client_with(
        &self,
        key: &Arc<DevKey>,
        certificate: NodeCertificate,
        directory: PeerDirectory,
    ) -> PeerClient {
        PeerClient::new(ClientParts {
            identity: identity(key.hotkey()),
            signer: Arc::clone(key) as Arc<dyn HotkeySigner>,
            clock: Arc::clone(&self.clock) as _,
            certificate: watch::channel(certificate).1,
            directory: watch::channel(directory).1,
        })
    }

    /// The next call, which must come.
    pub(crate) async fn next_call(&mut self) -> PeerCall {
        let wait = std::time::Duration::from_secs(10);
        tokio::time::timeout(wait, self.calls.recv()).await.unwrap().unwrap()
    }
}

pub(crate) fn acquire_request() -> AcquireRequest {
    AcquireRequest {
        device: DeviceKind::CpuSlot,
        leases_max: 2,
        image: Digest([1; 32]),
        dataset: Digest([2; 32]),
        policy: Digest([3; 32]),
    }
}

pub(crate) fn held(attempt: u32) -> HeldLease {
    HeldLease {
        assignment: AssignmentId([4; 32]),
        lease: LeaseId([5; 32]),
        attempt: Attempt(attempt),
    }
}

pub(crate) fn renewal(attempt: u32) -> Renewal {
    Renewal { held: held(attempt), stage: HeldStage::Running }
}

/// A seal that `worker` signed.
pub(crate) fn seal(worker: &Arc<DevKey>, attempt: u32) -> Seal {
    let (held, result) = (held(attempt), Digest([0x5e; 32]));
    let worker_key = worker.hotkey();
    let message = Seal::signing_message(&GENESIS, NETUID, &held, &worker_key, &result);
    Seal { held, worker: worker_key, result, signature: worker.sign(&message) }
}

pub(crate) fn grant(coordinator: Hotkey) -> Grant {
    let assignment = Assignment {
        id: AssignmentId([4; 32]),
        submission: SubmissionId([6; 32]),
        content: ContentDigest([7; 32]),
        tier: 1,
        unit: 0,
        replica: 0,
        seed: Digest([8; 32]),
        policy: Digest([3; 32]),
    };
    Grant {
        lease: LeaseId([5; 32]),
        assignment,
        attempt: Attempt(1),
        coordinator,
        ttl_ms: 60_000,
        total_ms: 3_600_000,
    }
}

/// A receipt that `worker` signed.
pub(crate) fn receipt(worker: &Arc<DevKey>, coordinator: Hotkey) -> Receipt {
    let evidence = Evidence {
        genesis: GENESIS,
        netuid: NETUID,
        assignment: AssignmentId([4; 32]),
        submission: SubmissionId([6; 32]),
        tier: 1,
        unit: 0,
        content: ContentDigest([7; 32]),
        lease: LeaseId([5; 32]),
        attempt: Attempt(1),
        run: RunId([9; 32]),
        coordinator,
        worker: worker.hotkey(),
        policy: Digest([3; 32]),
        dataset: Digest([2; 32]),
        image: Digest([1; 32]),
        device: "cpu-0".to_owned(),
        ending: Ending::TooSlow { ran_ms: 600_000 },
        metrics: None,
        started_at: UnixMs(SetClock::START),
        ended_at: UnixMs(SetClock::START + 600_000),
        salt: Salt([0x5a; 32]),
        coordinator_sealed: None,
        shown_before: BTreeMap::new(),
    };
    let signature = worker.sign(&evidence.signing_message());
    Receipt { evidence, signature }
}
