//! The leases of runs that try to use up the host: the real thread with the real clock renews
//! them at real servers over TLS, while every bomb goes off in real containers.

use std::ops::RangeInclusive;

use node_core::id::{sha256, Digest};
use node_core::inventory::DeviceKind;
use node_core::outcome::Fault;
use node_core::policy::RunLimits;
use node_runner::{EngineConfig, Owner, RunLabels, SandboxSpec};

use super::super::super::clock::Clock;
use super::*;

const IMAGE: &str = "assay-test:busybox";

const FORKS: &str = "bomb() { bomb | bomb & }; bomb; sleep 30";
const MEMORY: &str = "x=aaaaaaaa; while :; do x=$x$x; done";
const DESCRIPTORS: &str = "while :; do awk \
    'BEGIN { for (i = 0; ; i++) print i > (\"/tmp/f\" i) }'; done";
const BUSY: &str = "for i in 1 2 3; do while :; do :; done & done; while :; do :; done";
const SLEEP: &str = "trap '' TERM INT HUP; sleep 1000000";

/// So many coordinators, each with a lease; their renewals are spread over a rhythm.
const COORDINATORS: u64 = 5;
const APART_MS: u64 = LEASE_RENEW_EVERY_MS / COORDINATORS;

/// For how long bombs are set off, on the clock of the leases: each of them is renewed, and the
/// first one a second time.
const TIME_MS: RangeInclusive<u64> = LEASE_RENEW_EVERY_MS..=2 * LEASE_RENEW_EVERY_MS + APART_MS;

/// How long each bomb has.
const BOMB_MS: u64 = 6_000;

/// How late a renewal may be, sending and answering together. Two could be lost and a third be as
/// late as this before a run had to stop.
const LATE_MS_MAX: u64 = 2_000;
const _: () = assert!(2 * LEASE_RENEW_EVERY_MS + LATE_MS_MAX < LEASE_STOP_AFTER_MS);

/// The system's clock, as it shows when leases that began at zero are due for the first time.
#[derive(Debug)]
struct LaterClock(Clock);

impl Stopwatch for LaterClock {
    fn mono(&self) -> MonoMs {
        self.0.mono().plus_ms(*TIME_MS.start())
    }
}

/// Coordinators that keep every lease.
fn coordinators(worker: &Keypair) -> Vec<Coordinator> {
    let start = |number: u64| {
        let key = Keypair::from_uri(&format!("//Coordinator{number}")).unwrap();
        let mut coordinator = Coordinator::of(&key, worker);
        let (_, none) = mpsc::channel(1);
        let mut calls = std::mem::replace(&mut coordinator.calls, none);
        coordinator.runtime.spawn(async move {
            while let Some(PeerCall { request, answer, .. }) = calls.recv().await {
                let PeerRequest::Renew(renewals) = request else { panic!("{request:?}") };
                let kept = vec![HoldAnswer::Kept; renewals.len()];
                answer.send(PeerAnswer::Renewed(kept)).unwrap();
            }
        });
        coordinator
    };
    (0..COORDINATORS).map(start).collect()
}

/// Leases of which one is due at once, and the others a part of the rhythm after each other.
fn leases_of(coordinators: &[Coordinator]) -> Vec<Kept> {
    let lease = |(number, coordinator): (u64, &Coordinator)| Kept {
        run: RunId(sha256(&number.to_le_bytes()).0),
        leased_at: MonoMs(number * APART_MS),
        ..kept(coordinator.hotkey, coordinator.address)
    };
    (0..).zip(coordinators).map(lease).collect()
}

async fn engine() -> (Engine, Digest) {
    let config =
        EngineConfig { host: None, runtime: None, node: sha256(b"keep-bombs").to_string() };
    let engine = Engine::connect(config).await.unwrap_or_else(|error| {
        panic!(
            "this test needs a container engine: {error}\n\
             run `scripts/engine ensure --install && scripts/images busybox`"
        )
    });
    for leftover in engine.leftovers().await.unwrap() {
        engine.remove_leftover(&leftover).await.unwrap();
    }
    let image = engine.image(IMAGE).await.unwrap();
    (engine, image.unwrap_or_else(|| panic!("no {IMAGE}: run `scripts/images busybox`")))
}

/// A run of a shell script in the sandbox of this repository.
fn bomb(script: &str, image: Digest) -> SandboxSpec {
    let lease = held();
    SandboxSpec {
        owner: Owner::Run(RunLabels {
            run: RunId(sha256(script.as_bytes()).0),
            assignment: lease.assignment,
            lease: lease.lease,
            attempt: lease.attempt,
        }),
        image,
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        binds: Vec::new(),
        limits: RunLimits {
            device: DeviceKind::CpuSlot,
            memory_mib: 48,
            pids: 32,
            tmpfs_mib: 16,
            output_bytes: 65_536,
            cpu_ms: BOMB_MS,
            wall_ms: BOMB_MS,
            warm_start: false,
        },
        gpus: Vec::new(),
    }
}

/// Sets all of them off at once and waits for the last to end, by its own fault.
async fn set_off(engine: &Engine, image: Digest) {
    let bombs = [FORKS, MEMORY, DESCRIPTORS, BUSY, SLEEP];
    let runs = bombs.map(|script| async move {
        engine.create(bomb(script, image)).await.unwrap().start().await.unwrap().finished().await
    });
    let reports = futures_util::future::join_all(runs).await;
    for (report, script) in reports.iter().zip(bombs) {
        let fault = report.ending.as_ref().map(Ending::fault);
        assert_eq!(fault, Some(Fault::Submission), "{script}: {report:?}");
        assert!(report.removed, "{script}: {report:?}");
    }
}

#[test]
fn case_21_renewals_of_the_real_thread_are_never_late_while_every_bomb_goes_off() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (engine, image) = runtime.block_on(engine());
    let key = Keypair::from_uri("//Alice").unwrap();
    let coordinators = coordinators(&key);
    let clock = Arc::new(LaterClock(Clock::start()));
    let stopwatch = Arc::clone(&clock) as Arc<dyn Stopwatch>;
    let leases = Arc::new(Leases::new(stopwatch, Arc::new(Metrics::new())));
    let held = leases_of(&coordinators);
    leases.with(|keeper, now| keeper.hold(now, held.iter().copied()));
    let doors = Arc::new(RealDoors { peers: client(key), engine: engine.clone() });
    let thread = KeeperThread::start(Arc::clone(&leases), doors).unwrap();

    let mut rounds = 0;
    while clock.mono().0 < *TIME_MS.end() {
        runtime.block_on(set_off(&engine, image));
        rounds += 1;
    }

    let figures = leases.with(|keeper, _| keeper.figures());
    assert!(thread.is_alive());
    assert!(figures.kept > COORDINATORS, "each of them, and one again: {figures:?}");
    assert_eq!((figures.refused, figures.lost, figures.lapsed), (0, 0, 0), "{figures:?}");
    let late_ms = figures.unconfirmed_ms_max.checked_sub(LEASE_RENEW_EVERY_MS).unwrap();
    assert!(late_ms <= LATE_MS_MAX, "{late_ms} ms late: {figures:?}");
    assert!(!held.iter().any(|kept| leases.is_over(kept.run)));
    let unconfirmed_ms = leases.with(|keeper, now| keeper.oldest_confirmed_ms(now));
    assert!(unconfirmed_ms <= LEASE_RENEW_EVERY_MS + LATE_MS_MAX, "{unconfirmed_ms} ms by now");
    assert_eq!(runtime.block_on(engine.leftovers()).unwrap(), []);
    println!("{rounds} rounds of bombs; the latest renewal was {late_ms} ms late: {figures:?}");
}
