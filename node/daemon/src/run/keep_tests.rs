//! Claims about the thread that keeps leases: with a clock that the tests move, and coordinators
//! that are real servers on loopback, or only a channel.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;

use node_chain::Keypair;
use node_core::id::{AssignmentId, Attempt, BlockHash, LeaseId, Netuid};
use node_core::keeper::{Kept, Lapse};
use node_core::lease::{HeldLease, HeldStage, Renewal};
use node_core::limits::LEASE_RENEW_EVERY_MS;
use node_core::policy::Policy;
use node_core::unit::BlockNumber;
use node_peer::{
    ClientParts, ContentFuture, ContentSource, NodeCertificate, NodeIdentity, PeerCall,
    PeerDirectory, PeerServer, ServerParts, SystemClock,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::clock::unix_now;
use super::*;

#[path = "keep_bombs_tests.rs"]
mod bombs;

const RUN: RunId = RunId([7; 32]);
const COORDINATOR: Hotkey = Hotkey([1; 32]);

/// How long anything may take that is not the point of a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Stopwatch for SetClock {
    fn mono(&self) -> MonoMs {
        MonoMs(self.0.load(Ordering::SeqCst))
    }
}

fn held() -> HeldLease {
    HeldLease { assignment: AssignmentId([4; 32]), lease: LeaseId([5; 32]), attempt: Attempt(1) }
}

fn kept(coordinator: Hotkey, endpoint: SocketAddr) -> Kept {
    Kept {
        run: RUN,
        coordinator,
        endpoint: Some(endpoint),
        renewal: Renewal { held: held(), stage: HeldStage::Running },
        leased_at: MonoMs(0),
        total_ms: Policy::dev().limits_in(1).lease_total_ms(),
        holds_device: true,
        is_waiting: false,
    }
}

/// What reached the doors, in order.
#[derive(Debug)]
enum Done {
    Asked(oneshot::Sender<Result<Vec<HoldAnswer>, String>>),
    Killed(RunId),
}

/// Doors behind which stands the test.
struct TestDoors(blocking::Sender<Done>);

impl Doors for TestDoors {
    fn renew(&self, _: Ask) -> BoxFuture<'static, Result<Vec<HoldAnswer>, String>> {
        let (answer, answered) = oneshot::channel();
        drop(self.0.send(Done::Asked(answer)));
        Box::pin(async move { answered.await.unwrap_or(Err("silence".to_owned())) })
    }

    fn kill(&self, run: RunId) -> BoxFuture<'static, Result<(), String>> {
        drop(self.0.send(Done::Killed(run)));
        Box::pin(async { Ok(()) })
    }
}

/// A peer client and a test that sees what is killed.
struct PeerDoors {
    peers: Arc<PeerClient>,
    killed: blocking::Sender<RunId>,
}

impl Doors for PeerDoors {
    fn renew(&self, ask: Ask) -> BoxFuture<'static, Result<Vec<HoldAnswer>, String>> {
        let peers = Arc::clone(&self.peers);
        renewed(peers, ask)
    }

    fn kill(&self, run: RunId) -> BoxFuture<'static, Result<(), String>> {
        self.killed.send(run).unwrap_or_default();
        Box::pin(async { Ok(()) })
    }
}

/// The thread with a table and a clock of its own.
struct Keeping {
    clock: Arc<SetClock>,
    metrics: Arc<Metrics>,
    leases: Arc<Leases>,
    thread: KeeperThread,
}

impl Keeping {
    fn start(doors: Arc<dyn Doors>) -> Self {
        let (clock, metrics) = (Arc::new(SetClock::default()), Arc::new(Metrics::new()));
        let stopwatch = Arc::clone(&clock) as Arc<dyn Stopwatch>;
        let leases = Arc::new(Leases::new(stopwatch, Arc::clone(&metrics)));
        let thread = KeeperThread::start(Arc::clone(&leases), doors).unwrap();
        Self { clock, metrics, leases, thread }
    }

    fn hold(&self, kept: Kept) {
        self.leases.with(|keeper, now| keeper.hold(now, [kept]));
    }

    fn set(&self, at_ms: u64) {
        self.clock.0.store(at_ms, Ordering::SeqCst);
    }

    /// The value of a metric, as an operator reads it.
    fn metric(&self, name: &str) -> String {
        let report = crate::status::sample::healthy();
        let text = self.metrics.encode(&report, report.as_of).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    }

    /// Waits until the thread has looked at the clock that was set.
    fn wait_for(&self, name: &str, value: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.metric(name) != value {
            assert!(std::time::Instant::now() < deadline, "{name} is {}", self.metric(name));
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

fn keeping_with_test_doors() -> (Keeping, blocking::Receiver<Done>) {
    let (done, seen) = blocking::channel();
    let keeping = Keeping::start(Arc::new(TestDoors(done)));
    keeping.hold(kept(COORDINATOR, ([127, 0, 0, 1], 9).into()));
    (keeping, seen)
}

fn asked(seen: &blocking::Receiver<Done>) -> oneshot::Sender<Result<Vec<HoldAnswer>, String>> {
    match seen.recv_timeout(PATIENCE).unwrap() {
        Done::Asked(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn assert_killed(seen: &blocking::Receiver<Done>) {
    let done = seen.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(done, Done::Killed(RUN)), "{done:?}");
}

/// A main runtime all of whose threads wait for something that does not come, until it is dropped.
struct Blocked {
    runtime: Option<tokio::runtime::Runtime>,
    locks: Vec<blocking::Sender<()>>,
}

impl Blocked {
    fn new() -> Self {
        let threads = 2;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build();
        let runtime = runtime.unwrap();
        let (blocked, is_blocked) = blocking::channel();
        let locks = (0..threads).map(|_| {
            let (lock, locked) = blocking::channel::<()>();
            let blocked = blocked.clone();
            runtime.spawn(async move {
                blocked.send(()).unwrap();
                locked.recv().unwrap_or_default();
            });
            is_blocked.recv_timeout(PATIENCE).unwrap();
            lock
        });
        let locks = locks.collect();
        Self { runtime: Some(runtime), locks }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.locks.clear();
        drop(self.runtime.take());
    }
}

#[derive(Debug)]
struct NoContents;

impl ContentSource for NoContents {
    fn read(&self, _: node_core::id::ContentDigest) -> ContentFuture<'_> {
        Box::pin(async { None })
    }
}

fn identity(key: &Keypair) -> NodeIdentity {
    NodeIdentity {
        hotkey: key.public(),
        genesis: BlockHash([9; 32]),
        netuid: Netuid(7),
        software_version: "assay 0.1.0".to_owned(),
    }
}

fn certificate(key: &Keypair) -> watch::Receiver<NodeCertificate> {
    let certificate = NodeCertificate::generate(&identity(key), key, unix_now()).unwrap();
    watch::channel(certificate).1
}

/// A coordinator with a server and a runtime of its own; what it is asked comes to the test.
struct Coordinator {
    hotkey: Hotkey,
    address: SocketAddr,
    calls: mpsc::Receiver<PeerCall>,
    runtime: tokio::runtime::Runtime,
    _server: PeerServer,
    _ready: watch::Sender<bool>,
}

impl Coordinator {
    fn start(worker: &Keypair) -> Self {
        Self::of(&Keypair::from_uri("//Bob").unwrap(), worker)
    }

    fn of(key: &Keypair, worker: &Keypair) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (handler, calls) = mpsc::channel(8);
        let (ready, is_ready) = watch::channel(true);
        let view = PeerDirectory::of(BlockNumber(1), [(worker.public(), None)]);
        let parts = ServerParts {
            handler,
            contents: Arc::new(NoContents),
            content_bytes_max: 1 << 20,
            directory: watch::channel(view).1,
            certificate: certificate(key),
            ready: is_ready,
            identity: identity(key),
            clock: Arc::new(SystemClock),
        };
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = runtime.block_on(PeerServer::bind(any_port, parts)).unwrap();
        let (hotkey, address) = (key.public(), server.local_addr());
        Self { hotkey, address, calls, runtime, _server: server, _ready: ready }
    }

    fn next_call(&mut self) -> PeerCall {
        let call = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.calls.recv()).await });
        call.unwrap().unwrap()
    }
}

fn client(key: Keypair) -> Arc<PeerClient> {
    Arc::new(PeerClient::new(ClientParts {
        identity: identity(&key),
        certificate: certificate(&key),
        signer: Arc::new(key),
        clock: Arc::new(SystemClock),
        directory: watch::channel(PeerDirectory::default()).1,
    }))
}

fn keeping_at(coordinator: &Coordinator, key: Keypair) -> (Keeping, blocking::Receiver<RunId>) {
    let (killed, seen) = blocking::channel();
    let keeping = Keeping::start(Arc::new(PeerDoors { peers: client(key), killed }));
    keeping.hold(kept(coordinator.hotkey, coordinator.address));
    (keeping, seen)
}

#[test]
fn leases_are_renewed_while_all_threads_of_the_main_runtime_are_blocked() {
    let key = Keypair::from_uri("//Alice").unwrap();
    let mut coordinator = Coordinator::start(&key);
    let _blocked = Blocked::new();
    let (keeping, killed) = keeping_at(&coordinator, key);
    // Well beyond the TTL.
    for round in 1..=6 {
        keeping.set(round * LEASE_RENEW_EVERY_MS);
        let call = coordinator.next_call();
        let PeerRequest::Renew(renewals) = call.request else { panic!("{:?}", call.request) };
        assert_eq!(renewals, [Renewal { held: held(), stage: HeldStage::Running }]);
        call.answer.send(PeerAnswer::Renewed(vec![HoldAnswer::Kept])).unwrap();
        keeping.wait_for("assay_renewals_total{what=\"kept\"}", &round.to_string());
        keeping.wait_for("assay_renewal_age_seconds", "0");
    }
    assert_eq!(killed.try_recv(), Err(blocking::TryRecvError::Empty));
    assert_eq!(keeping.metric("assay_runs_lapsed_total"), "0");
}

#[test]
fn a_coordinator_that_does_not_answer_has_the_run_stopped_in_time_with_the_loop_blocked() {
    let key = Keypair::from_uri("//Alice").unwrap();
    let mut coordinator = Coordinator::start(&key);
    let _blocked = Blocked::new();
    let (keeping, killed) = keeping_at(&coordinator, key);
    keeping.set(LEASE_RENEW_EVERY_MS);
    let unanswered = coordinator.next_call();
    keeping.set(LEASE_STOP_AFTER_MS - 1);
    keeping.wait_for("assay_renewal_age_seconds", "47");
    assert_eq!(killed.try_recv(), Err(blocking::TryRecvError::Empty), "too soon");
    keeping.set(LEASE_STOP_AFTER_MS);
    assert_eq!(killed.recv_timeout(PATIENCE), Ok(RUN));
    assert_eq!(keeping.metric("assay_runs_lapsed_total"), "1");
    drop(unanswered);
    // The loop hears of it when it goes on, before anything else.
    let lapsed = Event::LeaseLapsed { run: RUN, lapse: Lapse::Unrenewed };
    assert_eq!(keeping.leases.news().first(), Some(&lapsed));
}

#[test]
fn a_renewal_answered_late_counts_from_when_it_was_sent() {
    let (keeping, seen) = keeping_with_test_doors();
    let sent_ms = LEASE_RENEW_EVERY_MS;
    keeping.set(sent_ms);
    let answer = asked(&seen);
    keeping.set(sent_ms + 9_000);
    answer.send(Ok(vec![HoldAnswer::Kept])).unwrap();
    keeping.wait_for("assay_renewals_total{what=\"kept\"}", "1");
    keeping.wait_for("assay_renewal_age_seconds", "9");
    keeping.set(sent_ms + LEASE_RENEW_EVERY_MS);
    let unanswered = asked(&seen);
    keeping.set(sent_ms + LEASE_STOP_AFTER_MS - 1);
    keeping.wait_for("assay_renewal_age_seconds", "47");
    assert!(seen.try_recv().is_err(), "too soon");
    keeping.set(sent_ms + LEASE_STOP_AFTER_MS);
    assert_killed(&seen);
    drop(unanswered);
}

#[test]
fn after_a_standstill_the_switch_comes_first_and_nothing_is_sent() {
    let (keeping, seen) = keeping_with_test_doors();
    // As after SIGCONT, or when the lid is opened: much later at once, renewals long due.
    keeping.set(10 * LEASE_TTL_MS);
    let lapsed = Event::LeaseLapsed { run: RUN, lapse: Lapse::Unrenewed };
    assert_eq!(keeping.leases.news(), [lapsed], "whoever looks first");
    assert!(keeping.leases.is_over(RUN), "nothing starts for it");
    assert_killed(&seen);
    // Killed again until the machine does not hold it any more, and never renewed.
    assert_killed(&seen);
    assert_eq!(keeping.metric("assay_renewals_total{what=\"sent\"}"), "0");
    assert_eq!(keeping.leases.news(), [], "told once");
}

#[test]
fn a_refused_lease_stops_its_run_at_once_with_nobody_listening() {
    let (keeping, seen) = keeping_with_test_doors();
    keeping.set(LEASE_RENEW_EVERY_MS);
    let refusal = HoldAnswer::Refused(node_core::lease::LeaseRefusal::NotHolder);
    asked(&seen).send(Ok(vec![refusal.clone()])).unwrap();
    assert_killed(&seen);
    assert_eq!(keeping.metric("assay_renewals_total{what=\"refused\"}"), "1");
    let result = Ok(vec![(RUN, refusal)]);
    let ended = Event::RenewalEnded { peer: COORDINATOR, result };
    assert_eq!(keeping.leases.news(), [ended]);
}

#[test]
fn a_renewal_whose_task_dies_is_sent_again() {
    let (keeping, seen) = keeping_with_test_doors();
    keeping.set(LEASE_RENEW_EVERY_MS);
    drop(asked(&seen));
    keeping.wait_for("assay_renewals_total{what=\"lost\"}", "1");
    keeping.set(LEASE_RENEW_EVERY_MS + 1_000);
    drop(asked(&seen));
}

#[test]
fn what_the_killed_container_of_a_lapsed_run_looks_like_is_no_fault_of_the_submission() {
    let (keeping, _seen) = keeping_with_test_doors();
    let killed = || (Ending::Killed { exit_code: 137 }, None);
    assert_eq!(keeping.leases.judge(RUN, killed()), killed(), "before");
    keeping.set(LEASE_STOP_AFTER_MS);
    assert_eq!(keeping.leases.judge(RUN, killed()), (Ending::LeaseLost, None));
    let measured = (Ending::Completed, None);
    assert_eq!(keeping.leases.judge(RUN, measured.clone()), measured, "it stands");
}

#[test]
fn the_loop_is_woken_by_news_and_sees_that_the_thread_is_gone() {
    let (keeping, seen) = keeping_with_test_doors();
    assert!(keeping.thread.is_alive());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    keeping.set(LEASE_STOP_AFTER_MS);
    let heard = keeping.leases.heard();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, heard).await }).unwrap();
    drop(seen);
    keeping.thread.stop.cancel();
    let deadline = std::time::Instant::now() + PATIENCE;
    while keeping.thread.is_alive() {
        assert!(std::time::Instant::now() < deadline, "it goes on");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
