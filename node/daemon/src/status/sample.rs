//! Reports for tests of everything that shows one.

use std::collections::BTreeMap;

use node_core::funnel::TierReport;
use node_core::health::observation::{Reading, Recovery, Sample, Throttle};
use node_core::health::{Cause, DeviceRow, Failure, Level, Standing};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId,
    SubmissionId, Uid,
};
use node_core::inventory::DeviceId;
use node_core::machine::{Machine, MachineConfig, ReferenceWork, WeightsMode};
use node_core::policy::Policy;
use node_core::publish::KeyStanding;
use node_core::submit_guard::CommitForm;
use node_core::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};

use super::device::{describe_gone, DeviceStatus, HealthStatus, IdleGapStatus};
use super::funnel::FunnelStatus;
use super::journal::JournalStatus;
use super::report::*;
use super::waits::WaitsFor;
use super::watch::{CheckStatus, EndpointStatus, PendingCommitStatus, WatchStatus};

/// 2026-03-04 12:04:31 UTC.
const AS_OF: u64 = 1_772_625_871_000;

fn key(byte: u8) -> Hotkey {
    Hotkey([byte; 32])
}

/// A node of subnet 3 under policy `dev` that knows nothing yet.
pub(crate) fn machine(references: Vec<ReferenceWork>) -> Machine {
    Machine::new(MachineConfig {
        hotkey: key(1),
        netuid: Netuid(3),
        mechanism: 0,
        policy: Policy::dev(),
        image: Digest([2; 32]),
        dataset: Digest([3; 32]),
        references,
        endpoints: BTreeMap::new(),
        weights: WeightsMode::Submit,
        weights_lead: BlockCount(10),
        commit_form: CommitForm::default(),
        review: None,
    })
}

/// A tier that so many entered, in which so many have a score, passed, and passed as audits.
fn tier(tier: u8, [entered, scored, passed, audits]: [u64; 4]) -> TierReport {
    TierReport {
        tier,
        entered,
        scored,
        passed,
        audits,
        pass_rate_ppm: None,
        device_seconds: 60 * entered,
        tau_to_next_ppm: None,
        audits_decided: 0,
        false_negatives_ppm: None,
    }
}

fn event(ago_ms: u64, kind: &str, is_warning: bool, text: &str) -> EventStatus {
    let (at, kind, text) = (UnixMs(AS_OF - ago_ms), kind.to_owned(), text.to_owned());
    EventStatus { at, kind, is_warning, text }
}

fn weights() -> WeightsStatus {
    let landed = WeightsIntent {
        epoch: EpochIndex(13_367),
        state: "landed".to_owned(),
        block: Some(BlockNumber(4_811_904)),
        reason: None,
        vector: (0..10).map(|uid| (Uid(uid), 6553 * (uid + 1))).collect(),
        stage: "landed".to_owned(),
        nonce: Some(7),
        era_end: Some(BlockNumber(4_811_912)),
        opens_in: None,
        round: None,
        revealed_at: None,
        vector_hash: Some(Digest([0x4e; 32])),
        extrinsic_hash: Some(Digest([0x5e; 32])),
    };
    WeightsStatus {
        mode: "submit".to_owned(),
        epoch: Some(EpochIndex(13_368)),
        next_epoch_block: Some(BlockNumber(4_812_618)),
        blocks_left: Some(BlockCount(288)),
        last_landed: Some(landed.clone()),
        latest: Some(landed),
        form: Some("plain".to_owned()),
        not_safe: None,
        reveal_due: None,
        safe_to_restart: false,
    }
}

fn funnel() -> FunnelStatus {
    let tiers = vec![tier(1, [12, 9, 3, 1]), tier(2, [4, 2, 1, 0])];
    FunnelStatus { tiers, ..FunnelStatus::default() }
}

/// A node that was just started.
pub(crate) fn starting() -> StatusReport {
    StatusReport {
        schema: SCHEMA,
        as_of: UnixMs(AS_OF),
        node: NodeStatus {
            hotkey: key(1),
            netuid: Netuid(3),
            uid: None,
            version: "0.1.0".to_owned(),
            started_at: UnixMs(AS_OF - 420),
            is_stopping: false,
        },
        ready: Readiness { ready: false, reasons: vec!["no finalized block seen yet".to_owned()] },
        chain: None,
        endpoints: Vec::new(),
        checks: Vec::new(),
        watch: None,
        journal: None,
        weights: WeightsStatus {
            mode: "submit".to_owned(),
            epoch: None,
            next_epoch_block: None,
            blocks_left: None,
            last_landed: None,
            latest: None,
            form: None,
            not_safe: None,
            reveal_due: None,
            safe_to_restart: true,
        },
        devices: Vec::new(),
        runs: Vec::new(),
        leases: LeaseCounts::default(),
        submission_counts: SubmissionCounts::default(),
        submissions: Vec::new(),
        funnel: FunnelStatus::default(),
        peers: Vec::new(),
        receipts: Vec::new(),
        evaluations: Vec::new(),
        refusals: Vec::new(),
        events: Vec::new(),
        counters: std::collections::BTreeMap::new(),
    }
}

/// A node at work.
pub(crate) fn healthy() -> StatusReport {
    StatusReport {
        node: NodeStatus {
            uid: Some(Uid(4)),
            started_at: UnixMs(AS_OF - 266_400_000),
            ..starting().node
        },
        ready: Readiness { ready: true, reasons: Vec::new() },
        chain: Some(chain()),
        endpoints: endpoints(),
        checks: vec![check("signer", "ok", "no other signer of this hotkey was seen")],
        watch: Some(watch()),
        journal: Some(JournalStatus::new(100 << 20)),
        weights: weights(),
        devices: vec![device("cpu-0", Some(RunId([0x7f; 32]))), device("cpu-1", None)],
        runs: vec![run()],
        leases: LeaseCounts { open: 1, granted: 1, sealed: 0, complete: 211, exhausted: 0 },
        submission_counts: SubmissionCounts {
            admitted: 1,
            scored: 1,
            rejected: 1,
            ..Default::default()
        },
        submissions: submissions(),
        funnel: funnel(),
        events: vec![
            event(70_000, "run_started", false, "submission a2a2a2a2, device cpu-0, attempt 2"),
            event(9_000, "peer_unreachable", true, "peer 5C8ettha, reason connection refused"),
        ],
        peers: vec![
            PeerStatus { is_self: true, ..peer(1) },
            peer(2),
            PeerStatus {
                last_answer_at: None,
                last_call_at: None,
                last_failure: Some("connection refused".to_owned()),
                ..peer(3)
            },
        ],
        receipts: vec![ReceiptStatus {
            assignment: AssignmentId([0xb1; 32]),
            submission: SubmissionId([0xa1; 32]),
            lease: LeaseId([0x2e; 32]),
            worker: key(1),
            coordinator: key(2),
            ending: "completed".to_owned(),
            points: Some(412_233_901),
            ended_at: UnixMs(AS_OF - 60_000),
            is_late: false,
        }],
        ..starting()
    }
}

fn submissions() -> Vec<SubmissionStatus> {
    vec![
        SubmissionStatus {
            stage: SubmissionStage::Scored,
            points: Some(412_233_901),
            worker: Some(key(1)),
            ending: Some("completed".to_owned()),
            metrics: Some(MetricsStatus {
                train_microbpb: Some(1_904_250),
                heldout_init_microbpb: 8_001_000,
                heldout_microbpb: 1_870_000,
                covered_bytes: 200_000,
                parameters: 1_200_000,
            }),
            ..submission(0xa1, 4_812_020)
        },
        SubmissionStatus {
            waits_for: Some(WaitsFor::Run {
                required: 2,
                have: 1,
                state: "running".to_owned(),
                coordinator: key(2),
            }),
            ..submission(0xa2, 4_812_010)
        },
        SubmissionStatus {
            stage: SubmissionStage::Rejected,
            rule: Some("archive-traversal".to_owned()),
            detail: Some(
                "archive-traversal: a path leads out of the archive (../../etc/passwd)".to_owned(),
            ),
            ..submission(0xa3, 4_812_001)
        },
    ]
}

/// A node whose chain stands still and that may not sign.
pub(crate) fn degraded() -> StatusReport {
    let mut report = healthy();
    report.ready = Readiness {
        ready: false,
        reasons: vec![
            "no new finalized block for 171 s (limit 120 s)".to_owned(),
            "the container engine does not answer".to_owned(),
        ],
    };
    report.chain = Some(ChainStatus { finalized_seen_at: UnixMs(AS_OF - 171_000), ..chain() });
    report.weights.latest = Some(WeightsIntent {
        epoch: EpochIndex(13_368),
        state: "committed".to_owned(),
        block: Some(BlockNumber(4_812_300)),
        reason: None,
        vector: vec![(Uid(0), 65_535)],
        stage: "committed".to_owned(),
        nonce: Some(8),
        era_end: Some(BlockNumber(4_812_316)),
        opens_in: Some(EpochIndex(13_369)),
        round: Some(27_412_345),
        revealed_at: None,
        vector_hash: Some(Digest([0x4e; 32])),
        extrinsic_hash: Some(Digest([0x5e; 32])),
    });
    report.weights.not_safe = Some("a signature for epoch 13368 is still valid".to_owned());
    report.weights.form = Some("timelocked".to_owned());
    report.ready.reasons.insert(0, SILENCE.to_owned());
    report.checks = vec![
        check("last_update", "alarm", SILENCE),
        check("stake", "alarm", "stake 4 rao, threshold 10 rao: 6 rao are missing"),
        check("beacon", "warn", "the chain's newest round is 27, 100 rounds (5.0 min) behind"),
        check("consensus", "ok", "Yuma consensus"),
    ];
    report.watch = Some(WatchStatus {
        millitempos_since_update: Some(2_619),
        blocks_since_update: Some(BlockCount(943)),
        pending_commits: vec![PendingCommitStatus {
            block: BlockNumber(4_812_300),
            epoch: EpochIndex(13_368),
            opens_in: EpochIndex(13_369),
            round: Some(27_412_345),
            round_state: "awaited".to_owned(),
        }],
        beacon_lag_rounds: Some(100),
        ..watch()
    });
    report.leases.exhausted = 1;
    report
}

/// What a node says whose vectors do not land.
const SILENCE: &str = "last update in block 4811387, 2.61 tempos ago (943 blocks)";

fn check(id: &str, level: &str, text: &str) -> CheckStatus {
    CheckStatus { id: id.to_owned(), level: level.to_owned(), text: text.to_owned() }
}

fn watch() -> WatchStatus {
    WatchStatus {
        has_permit: Some(true),
        stake_rao: Some(12_000_000_000),
        stake_threshold_rao: 1_000_000_000,
        validator_trust: Some(64_000),
        dividends: Some(9_000),
        blocks_since_update: Some(BlockCount(426)),
        millitempos_since_update: Some(1_183),
        prune_rank: Some(200),
        immunity_left: Some(BlockCount(0)),
        pending_commits: Vec::new(),
        beacon_lag_rounds: Some(2),
    }
}

fn endpoints() -> Vec<EndpointStatus> {
    let endpoint = |place, url: &str| EndpointStatus {
        place,
        endpoint: url.to_owned(),
        is_connected: true,
        genesis: "right".to_owned(),
        best_number: Some(BlockNumber(4_812_333)),
        finalized_number: Some(BlockNumber(4_812_330)),
        lag: Some(BlockCount(0)),
        latency_ms: Some(42),
        ..EndpointStatus::default()
    };
    vec![
        EndpointStatus { is_active: true, ..endpoint(2, "wss://entrypoint.example:443") },
        EndpointStatus {
            is_connected: false,
            best_number: None,
            finalized_number: None,
            lag: None,
            latency_ms: None,
            failures: 12,
            last_error: Some("connection refused".to_owned()),
            backed_off_for_ms: Some(41_000),
            ..endpoint(1, "ws://127.0.0.1:9944")
        },
        EndpointStatus {
            best_number: Some(BlockNumber(4_812_310)),
            lag: Some(BlockCount(23)),
            demotion: Some("23 blocks behind another endpoint".to_owned()),
            ..endpoint(3, "wss://other.example:443")
        },
    ]
}

fn chain() -> ChainStatus {
    ChainStatus {
        endpoint: "wss://entrypoint.example:443".to_owned(),
        endpoint_index: 2,
        endpoints: 3,
        finalized_number: BlockNumber(4_812_330),
        finalized_hash: BlockHash([0xcd; 32]),
        finalized_seen_at: UnixMs(AS_OF - 9_000),
        spec_version: 475,
        genesis: BlockHash([0x2f; 32]),
        best_number: BlockNumber(4_812_333),
        finality_lag: BlockCount(3),
    }
}

fn device(id: &str, run: Option<RunId>) -> DeviceStatus {
    DeviceStatus {
        id: DeviceId(id.to_owned()),
        label: "CPU slot".to_owned(),
        kind: "cpu_slot".to_owned(),
        gone_since: None,
        memory_mib: 4096,
        run,
        obstacle: run.map(|_| "it runs 7866e9f2".to_owned()),
        gpu: None,
        health: None,
        idle_gap: None,
    }
}

/// A GPU that rests because something still holds its memory.
pub(crate) fn gpu_with_held_memory() -> DeviceStatus {
    let id = "GPU-5f7b2c1e-90aa-4d0e-8a55-4c3f2b1a0d9e";
    let cause = Cause::MemoryHeld { held_mib: 40_000 };
    let unusable = format!("cordoned: {cause}");
    let sample = Sample {
        temperature_c: Reading::Value(41),
        slowdown_c: Reading::Value(92),
        memory_used_mib: Reading::Value(40_500),
        throttle: Reading::Value(Throttle::default()),
        recovery: Reading::Value(Recovery::Nothing),
        ecc_uncorrected: Reading::Value(0),
        ecc_corrected: Reading::Value(0),
        is_remap_pending: Reading::Value(false),
        utilisation: Reading::Value(0),
        power_mw: Reading::Value(70_000),
    };
    DeviceStatus {
        label: "NVIDIA H100 80GB HBM3".to_owned(),
        kind: "gpu".to_owned(),
        memory_mib: 81_559,
        obstacle: Some(format!("not usable: {unusable}")),
        health: Some(HealthStatus {
            standing: Standing::Cordoned,
            since: UnixMs(AS_OF - 60_000),
            cause: Some(cause.clone()),
            unusable: Some(unusable),
            order: None,
            level: Level::Critical,
            findings: vec![cause.finding()],
            sample: Some(sample),
            failures: vec![Failure { at: UnixMs(AS_OF - 60_000), cause }],
            probe: None,
            probes: 1,
            baseline: None,
        }),
        idle_gap: Some(IdleGapStatus { last_ms: 260, p50_ms: 1_250, p95_ms: 2_400, count: 9 }),
        ..device(id, None)
    }
}

/// A sound GPU under a policy that needs CPU slots.
pub(crate) fn unused_gpu() -> DeviceStatus {
    let mut device = gpu_with_held_memory();
    device.id = DeviceId("GPU-2c6d0f3b-77e1-4b52-8f0a-6d1e9c8b7a65".to_owned());
    (device.obstacle, device.idle_gap) = (Some("is a gpu, a cpu_slot is needed".to_owned()), None);
    if let Some(health) = &mut device.health {
        (health.standing, health.cause, health.unusable) = (Standing::Healthy, None, None);
        health.level = Level::Pass;
        health.findings.clear();
        health.failures.clear();
    }
    device
}

/// A GPU that fell off the bus and was not there after the restart.
pub(crate) fn gone_gpu() -> DeviceStatus {
    let id = "GPU-09e1d3aa-1c44-4c0b-9b7e-2f6d5a4b3c21";
    let row = DeviceRow {
        device: DeviceId(id.to_owned()),
        cause: Some(Cause::Xid { code: 79 }),
        gone_since: Some(UnixMs(AS_OF - 7_380_000)),
        ..device_row(Standing::Cordoned)
    };
    DeviceStatus {
        label: "NVIDIA H100 80GB HBM3".to_owned(),
        kind: "gpu".to_owned(),
        memory_mib: 81_559,
        ..describe_gone(&row)
    }
}

/// What is stored of a device without failures.
pub(crate) fn device_row(standing: Standing) -> DeviceRow {
    DeviceRow {
        device: DeviceId("GPU-5f7b2c1e".to_owned()),
        standing,
        cause: None,
        since: UnixMs(AS_OF),
        order: None,
        failures: Vec::new(),
        blamed: Vec::new(),
        baseline: None,
        idle_memory_mib: None,
        seen: None,
        gone_since: None,
    }
}

fn run() -> RunStatus {
    RunStatus {
        run: RunId([0x7f; 32]),
        submission: SubmissionId([0xa2; 32]),
        device: "cpu-0".to_owned(),
        lease: LeaseId([0x1e; 32]),
        attempt: Attempt(2),
        coordinator: key(2),
        state: "running".to_owned(),
        started_at: UnixMs(AS_OF - 71_000),
        progress: Some(AttemptStatus {
            covered_bytes: 50_000,
            total_bytes: 200_000,
            microbpb: Some(2_345_678),
            phase: AttemptPhase::Training,
            bytes_per_second: Some(12_500),
            remaining_s: Some(12),
        }),
    }
}

fn submission(byte: u8, block: u64) -> SubmissionStatus {
    SubmissionStatus {
        id: SubmissionId([byte; 32]),
        hotkey: key(byte),
        uid: Some(Uid(u16::from(byte))),
        committed_at: BlockNumber(block),
        content: ContentDigest([byte; 32]),
        stage: SubmissionStage::Admitted,
        points: None,
        worker: None,
        coordinator: Some(key(2)),
        metrics: None,
        rule: None,
        ending: None,
        detail: None,
        waits_for: None,
        place: None,
        units: Vec::new(),
    }
}

fn peer(byte: u8) -> PeerStatus {
    PeerStatus {
        hotkey: key(byte),
        uid: Some(Uid(u16::from(byte))),
        is_self: false,
        endpoint: "10.0.0.7:8091".parse().ok(),
        last_answer_at: Some(UnixMs(AS_OF - 1_400)),
        last_failure: None,
        last_call_at: Some(UnixMs(AS_OF - 2_100)),
        receipts_until: 7,
        is_gone: false,
        strikes: 0,
        certificate: Some(KeyStanding::Published),
    }
}
