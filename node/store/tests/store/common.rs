//! Rows of every kind, and a history of commits whose state after each step is known.

use std::collections::BTreeMap;

use node_core::assignment::Assignment;
use node_core::commitment::Location;
use node_core::duplicates::{Likeness, Sketch};
use node_core::evidence::{Conduct, Evidence, Flag, Hook, Metrics, ProbeFigure, Receipt};
use node_core::funnel::{MemberState, Passage, TierPlace};
use node_core::health::observation::{ProbeFigures, ProbeStep};
use node_core::health::{Blamed, Cause, DeviceRow, Failure, Order, Seen, Standing};
use node_core::hold::{Doubt, Resolution, Resolved};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, IntentId, LeaseId, Netuid,
    RunId, Salt, Signature, SubmissionId, Uid,
};
use node_core::inventory::{DeviceId, DeviceKind};
use node_core::lease::{Grant, LeaseRow, LeaseState, Seal, Spent};
use node_core::outcome::Ending;
use node_core::priority::Priority;
use node_core::review::{Opinion, Review};
use node_core::reward::{Champion, Family, FamilyId, Fingerprint, Quality};
use node_core::rows::{
    Carries, CursorRow, FamilyRow, Frozen, HorizonRow, IntentRow, IntentState, JournalEntry,
    JournalStep, MeasurementRow, OutcomeRow, ReceiptRow, ReceiptStanding, ReviewRow, Row, RunRow,
    RunState, SignedExtrinsic, StrikeCause, StrikeRow, Table, VerdictRow, Write,
};
use node_core::submission::{Submission, SubmissionState};
use node_core::trial::Trial;
use node_core::unit::{BlockNumber, EpochIndex, UnixMs};
use node_core::{admission, evidence};

/// Rounds of a randomised test: the given number, or what `ASSAY_STORE_TEST_ROUNDS` says.
pub fn rounds(default: u64) -> u64 {
    std::env::var("ASSAY_STORE_TEST_ROUNDS").map_or(default, |rounds| rounds.parse().unwrap())
}

/// Rows that the history writes into, per table.
pub const SLOTS: u64 = 16;

pub fn hash(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[31] = 0xa5;
    bytes
}

pub fn assignment(number: u64) -> Assignment {
    Assignment {
        id: AssignmentId(hash(number)),
        submission: SubmissionId(hash(1)),
        content: ContentDigest(hash(2)),
        tier: 1,
        unit: 2,
        replica: 0,
        seed: Digest(hash(3)),
        policy: Digest(hash(4)),
    }
}

pub fn lease(slot: u64, attempt: u32) -> Row {
    let state = LeaseState::Granted { lease: LeaseId(hash(5)), holder: Hotkey(hash(6)) };
    Row::Lease(Box::new(LeaseRow {
        assignment: assignment(slot),
        attempt: Attempt(attempt),
        spent: Spent { workers_lost: 1, faults: 2, not_started: 3 },
        state,
        reopened: Vec::new(),
    }))
}

pub fn cursor(slot: u64, after: u64) -> Row {
    Row::Cursor(CursorRow { peer: Hotkey(hash(slot)), after })
}

fn receipt_row(slot: u64, sequence: u64) -> ReceiptRow {
    let metrics: evidence::Metrics = Metrics {
        sum_nll_nanonats: u64::MAX,
        covered_bytes: 1,
        tokens: 2,
        batches: 3,
        bad_batches: 0,
        audits: 4,
        step0_loss_nanonats: 5,
        vocabulary: 6,
        heldout_init_nanobpb: 7,
        heldout_nanobpb: 8,
        last_tenth_nanobpb: 9,
        parameters: 10,
        peak_memory_bytes: 11,
        loss_curve_microbpb: (0..256).map(|point| u32::MAX - point).collect(),
        conduct: Conduct {
            wall_ms: 12,
            hooks_used: [(Hook::GetRecipe, 1), (Hook::TrainStep, u32::MAX)].into(),
            architecture: Fingerprint::try_from(vec![1, u64::MAX]).ok(),
            flags: [Flag::NotFinite, Flag::Raised].into(),
            idle_parameters: Some(13),
            embedding_parameters: Some(17),
            probes: vec![ProbeFigure {
                task: u8::MAX,
                score_ppm: 13,
                loss_micronats: 14,
                floor_micronats: u32::MAX,
            }],
            ..Conduct::default()
        },
    };
    let evidence = Evidence {
        genesis: BlockHash(hash(1)),
        netuid: Netuid(2),
        assignment: AssignmentId(hash(slot)),
        submission: SubmissionId(hash(1)),
        tier: 1,
        unit: 2,
        content: ContentDigest(hash(2)),
        lease: LeaseId(hash(3)),
        attempt: Attempt(4),
        run: RunId(hash(5)),
        coordinator: Hotkey(hash(6)),
        worker: Hotkey(hash(7)),
        policy: Digest(hash(8)),
        dataset: Digest(hash(9)),
        image: Digest(hash(10)),
        device: "cpu-0 \"ß\"\n".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics),
        started_at: UnixMs(1),
        ended_at: UnixMs(2),
        salt: Salt(hash(11)),
        coordinator_sealed: Some(Digest(hash(12))),
        shown_before: [(Hotkey(hash(8)), None)].into(),
    };
    ReceiptRow {
        sequence: Some(sequence),
        standing: ReceiptStanding::Late,
        receipt: Receipt { evidence, signature: Signature([3; 64]) },
    }
}

pub fn receipt(slot: u64, sequence: u64) -> Row {
    Row::Receipt(Box::new(receipt_row(slot, sequence)))
}

pub fn measurement(slot: u64) -> Row {
    let evidence = receipt_row(slot, 1).receipt.evidence;
    let seal = Seal::of(&evidence, Signature([3; 64]));
    let shown_to = [(Hotkey(hash(6)), Some(Digest(hash(12)))), (Hotkey(hash(7)), None)].into();
    let fixed_before = [(Hotkey(hash(6)), Digest(hash(12)))].into();
    let Trial { submission, tier, unit } = evidence.trial();
    let row = MeasurementRow { submission, tier, unit, evidence, seal, shown_to, fixed_before };
    Row::Measurement(Box::new(row))
}

pub fn outcome(slot: u64) -> Row {
    Row::Outcome(OutcomeRow {
        trial: Trial { submission: SubmissionId(hash(slot)), tier: 3, unit: 255 },
        verdict: node_core::round::Verdict::Failed { ending: Ending::TooSlow { ran_ms: 7 } },
        worker: Some(Hotkey(hash(2))),
        architecture: Some(Fingerprint::try_from(vec![1, u64::MAX]).unwrap()),
        decided_at: BlockNumber(u64::MAX),
    })
}

pub fn strike(slot: u64) -> Row {
    Row::Strike(StrikeRow {
        validator: Hotkey(hash(slot)),
        submission: SubmissionId(hash(1)),
        cause: StrikeCause::Equivocated,
        evidence: vec![Digest(hash(2)), Digest(hash(3))],
        block: BlockNumber(u64::MAX),
    })
}

pub fn device(number: u64) -> Row {
    let causes = [
        Cause::Xid { code: u32::MAX },
        Cause::MemoryHeld { held_mib: u64::MAX },
        Cause::ProbeFailed { step: Some(ProbeStep::Kernel), detail: "é".to_owned() },
        Cause::Slower { step: ProbeStep::Matrix, percent: 79 },
    ];
    let failure = |cause| Failure { at: UnixMs(u64::MAX), cause };
    let figures =
        ProbeFigures { took_ms: 1, memory_mib: 2, bandwidth_mb_s: 3, matrix_gflop_s: u64::MAX };
    Row::Device(Box::new(DeviceRow {
        device: DeviceId(format!("GPU-{number}")),
        standing: Standing::Cordoned,
        cause: Some(causes[0].clone()),
        since: UnixMs(4),
        order: Some(Order { is_drain: true, reason: "new fan".to_owned(), at: UnixMs(5) }),
        failures: causes.map(failure).to_vec(),
        blamed: vec![Blamed { code: 31, submission: SubmissionId(hash(6)), at: UnixMs(7) }],
        baseline: Some(figures),
        idle_memory_mib: Some(u64::MAX),
        seen: Some(Seen { kind: DeviceKind::Gpu, label: "é".to_owned(), memory_mib: u64::MAX }),
        gone_since: Some(UnixMs(8)),
    }))
}

pub fn run(number: u64) -> Row {
    Row::Run(Box::new(RunRow {
        run: RunId(hash(number)),
        grant: Grant {
            lease: LeaseId(hash(1)),
            assignment: assignment(2),
            attempt: Attempt(3),
            coordinator: Hotkey(hash(4)),
            ttl_ms: 5,
            total_ms: 6,
        },
        devices: ["GPU-1", "GPU-2"].map(|id| DeviceId(id.to_owned())).to_vec(),
        state: RunState::Started,
        started_at: UnixMs(7),
    }))
}

/// An intent for `uids` uids that was signed once; some 15 bytes per uid.
pub fn intent(slot: u64, epoch: u64, uids: u16) -> Row {
    let signed = SignedExtrinsic {
        bytes: (0..usize::from(uids) * 4).map(|byte| byte.to_le_bytes()[0]).collect(),
        hash: Digest(hash(1)),
        nonce: 2,
        anchor: BlockNumber(1),
        era_end: BlockNumber(3),
        spec_version: 300,
        carries: Carries::Plain,
        vector: Vec::new(),
    };
    Row::Intent(IntentRow {
        id: IntentId(hash(slot)),
        netuid: Netuid(1),
        mechanism: 0,
        registered_at: None,
        epoch: EpochIndex(epoch),
        vector: (0..uids).map(|uid| (Uid(uid), u16::MAX)).collect(),
        version_key: 4,
        computed_at: BlockNumber(5),
        signings: vec![signed],
        reveals: Vec::new(),
        updated_at: None,
        state: IntentState::Signed,
    })
}

/// One row of every table, in the order of the tables.
fn resolved() -> Resolved {
    let likeness = Likeness {
        similar_to: SubmissionId(hash(8)),
        hotkey: Hotkey(hash(9)),
        block: BlockNumber(u64::MAX),
        similarity_ppm: 904_000,
    };
    Resolved {
        doubt: Doubt::Similar { likeness },
        since: BlockNumber(1),
        until: BlockNumber(2),
        by_person: Some(Resolution::Reject { reason: "é".to_owned() }),
    }
}

pub fn one_of_each() -> Vec<Row> {
    let submission = Submission {
        id: SubmissionId(hash(1)),
        hotkey: Hotkey(hash(2)),
        committed_at: BlockNumber(3),
        content: ContentDigest(hash(4)),
        location: Location::Https("example.test/a.zip".to_owned()),
        seed_block_hash: BlockHash(hash(5)),
        window_block_hash: Some(BlockHash(hash(6))),
        state: SubmissionState::Scored { points: u64::MAX },
        resolved: Some(Box::new(resolved())),
        unreviewed: None,
        tiers: Some(Box::new([
            TierPlace { state: MemberState::Scored { points: u64::MAX }, passage: Passage::Audit },
            TierPlace { state: MemberState::Failed, passage: Passage::Out },
        ])),
        left_at: Some(BlockNumber(7)),
    };
    let rejection = admission::Rejection {
        rule: admission::Rule::ArchiveTraversal,
        file: Some("../x".to_owned()),
        line: None,
        snippet: None,
        detail: "a path leads out".to_owned(),
    };
    let verdict = VerdictRow {
        content: ContentDigest(hash(1)),
        policy: Digest(hash(2)),
        verdict: admission::Verdict::Rejected { rejection },
        sketch: Some(Sketch::of(&(0..2_000).collect())),
    };
    vec![
        Row::Submission(submission),
        Row::Verdict(verdict),
        lease(1, 2),
        receipt(1, 2),
        run(1),
        intent(1, 2, 256),
        cursor(1, 2),
        measurement(1),
        outcome(1),
        strike(1),
        device(1),
        Row::Review(ReviewRow {
            content: ContentDigest(hash(1)),
            policy: Digest(hash(2)),
            model: "a model".to_owned(),
            review: Review {
                opinion: Opinion::Reject,
                reason: "it is one".to_owned(),
                file: Some("training.py".to_owned()),
                line: Some(3),
                snippet: Some(Digest(hash(3))),
            },
        }),
        Row::Family(Box::new(FamilyRow { id: FamilyId(Digest(hash(1))), family: family() })),
        Row::Horizon(HorizonRow {
            until: BlockNumber(u64::MAX),
            since: BlockNumber(1),
            seen: BlockNumber(2),
        }),
    ]
}

fn family() -> Family {
    let quality = |mean_nano| Quality { mean_nano, variance_nano2: u128::MAX };
    let priority = Priority {
        block: BlockNumber(3),
        content: ContentDigest(hash(4)),
        author: Hotkey(hash(2)),
    };
    Family {
        founder: Fingerprint::try_from(vec![1, u64::MAX]).unwrap(),
        owner: Some(Hotkey(hash(2))),
        architecture: Champion { priority: None, quality: quality(i64::MAX) },
        recipe: Some(Champion { priority: Some(priority), quality: quality(i64::MIN) }),
    }
}

pub fn entry(epoch: u64) -> JournalEntry {
    JournalEntry {
        hotkey: Hotkey(hash(1)),
        intent: IntentId(hash(epoch)),
        netuid: Netuid(1),
        mechanism: 0,
        registered_at: None,
        epoch: EpochIndex(epoch),
        step: JournalStep::Landed { block: BlockNumber(epoch), hash: None },
    }
}

/// Commit number `n` of the history: four tables change together, one row goes, one line comes.
pub fn history(n: u64) -> Vec<Write> {
    let slot = n % SLOTS;
    vec![
        Write::Put(cursor(slot, n)),
        Write::Journal(entry(n)),
        Write::Put(lease(slot, u32::try_from(n).unwrap())),
        Write::Put(receipt(slot, n)),
        Write::Put(intent(slot, n, u16::try_from(n * 37 % 4000).unwrap())),
        Write::Put(run(n)),
        Write::Delete(Table::Runs, hash(n - 1).to_vec()),
        Write::Freeze(Box::new(put_away(n))),
    ]
}

/// What the n-th commit of the history puts away.
pub fn put_away(n: u64) -> Frozen {
    let (submission, rows) = (SubmissionId(hash(n)), vec![run(n)]);
    Frozen { submission, at: BlockNumber(n), part: 0, rows }
}

/// Every row there should be after commits `1..=n` of the history, by table and key.
pub fn state_after(n: u64) -> BTreeMap<(Table, Vec<u8>), Row> {
    let mut state = BTreeMap::new();
    // The last commit of each slot says it all.
    for write in (n.saturating_sub(SLOTS) + 1..=n).flat_map(history) {
        match write {
            Write::Put(row) => drop(state.insert((row.table(), row.key()), row)),
            Write::Delete(table, key) => drop(state.remove(&(table, key))),
            Write::Journal(_) | Write::Freeze(_) | Write::CaughtUp => {}
        }
    }
    state
}

/// Asserts that the rows are exactly those after some commit of the history, and gives its number.
pub fn assert_is_a_prefix(rows: Vec<Row>) -> u64 {
    let newest = rows
        .iter()
        .filter_map(|row| match row {
            Row::Cursor(cursor) => Some(cursor.after),
            _ => None,
        })
        .max()
        .unwrap_or(0);
    let found: BTreeMap<_, _> =
        rows.into_iter().map(|row| ((row.table(), row.key()), row)).collect();
    assert!(found == state_after(newest), "rows are not those after commit {newest}");
    newest
}
