//! Submissions that attack, in real containers through a whole node: each ends as the table of
//! the fixtures says, and nothing else is disturbed by it.
//!
//! Those of the table (`tests/fixtures/submissions/endings.toml`) that say `node`. All of them,
//! with smaller budgets and without a node, are in `cheats.rs`.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_tests::chain::ChainOptions;
use assay_tests::endings::{endings, Row};
use assay_tests::lab::Lab;
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::packed_fixture;
use node_core::id::{ContentDigest, SubmissionId};
use node_core::unit::UnixMs;
use node_daemon::status::{StatusReport, SubmissionStage, SubmissionStatus};

/// How long all evaluations together may take on a loaded machine.
const SETTLED_MAX: Duration = Duration::from_secs(300);
/// How often the node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Age at which a report says that the node's loop was held up; it writes four a second.
const REPORT_AGE_MS_MAX: u64 = 5_000;
/// How long an attack may last, the start of Python and torch included. On a busy machine the
/// memory hog needs a while to fill what the policy allows, and the engine to end a fork bomb; an
/// engine that hangs needs longer than this.
const ATTACK_MS_MAX: u64 = 60_000;
/// By how much bits per byte may differ from the table: they move with the seed.
const BPB_TOLERANCE: f64 = 0.25;

fn is_completed(row: &Row) -> bool {
    row.open() == Some("completed")
}

/// What was seen of the node while it worked.
#[derive(Debug, Default)]
struct Watched {
    /// Whether an honest and a hostile submission ran at the same time.
    is_shared: bool,
    /// When each run started.
    started_at: BTreeMap<SubmissionId, UnixMs>,
}

/// Looks at the node until every submission has its result; it has to be ready at every look.
async fn watch(node: &Node, rows: &BTreeMap<ContentDigest, Row>) -> (Watched, StatusReport) {
    let mut watched = Watched::default();
    let deadline = tokio::time::Instant::now() + SETTLED_MAX;
    loop {
        let report = node.status().await.unwrap();
        assert!(report.ready.ready, "{:?}", report.ready);
        let age_ms = report.age_ms(unix_now());
        assert!(age_ms <= REPORT_AGE_MS_MAX, "the node's loop was held up for {age_ms} ms");
        watched.is_shared |= runs_both_kinds(&report, rows);
        watched.started_at.extend(report.runs.iter().map(|run| (run.submission, run.started_at)));
        let counts = report.submission_counts;
        if counts.scored + counts.failed + counts.rejected == rows.len() as u64 {
            return (watched, report);
        }
        assert!(tokio::time::Instant::now() < deadline, "not settled: {report:#?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn runs_both_kinds(report: &StatusReport, rows: &BTreeMap<ContentDigest, Row>) -> bool {
    let of_run = |id| report.submissions.iter().find(|submission| submission.id == id);
    let running = report.runs.iter().filter(|run| run.state == "running");
    let running = running.filter_map(|run| of_run(run.submission));
    let kinds: BTreeSet<bool> =
        running.filter_map(|s| rows.get(&s.content)).map(is_completed).collect();
    kinds.len() == 2
}

fn unix_now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMs(u64::try_from(since_epoch.as_millis()).unwrap())
}

/// The table against what the node says.
fn check_row(row: &Row, status: &SubmissionStatus) {
    let stage = if is_completed(row) { SubmissionStage::Scored } else { SubmissionStage::Failed };
    assert_eq!(status.stage, stage, "{row:?}: {status:#?}");
    assert_eq!(status.ending.as_deref(), row.open(), "{row:?}: {status:#?}");
    assert_eq!(status.points.is_some(), is_completed(row), "{row:?}: {status:#?}");
    if let Some(detail) = &row.detail {
        let told = status.detail.as_deref().unwrap_or_default();
        assert!(told.contains(detail), "{row:?}: {told}");
    }
    let measured = status.metrics.and_then(|metrics| metrics.train_microbpb);
    match (row.bits_per_byte, measured) {
        (None, None) => {}
        (Some(expected), Some(micro)) => {
            let micro = f64::from(u32::try_from(micro).unwrap());
            let difference = (micro / 1e6 - expected).abs();
            assert!(difference <= BPB_TOLERANCE, "{row:?}: {status:#?}");
        }
        _ => panic!("{row:?}: {status:#?}"),
    }
}

/// Attacks on the machine are over soon after they begin, not at the wall clock.
fn check_durations(watched: &Watched, report: &StatusReport) {
    let attacks = report.receipts.iter().filter(|receipt| receipt.ending != "completed");
    for receipt in attacks {
        // A run so short that no look found it ended soon enough.
        let Some(started_at) = watched.started_at.get(&receipt.submission) else { continue };
        let ran_ms = receipt.ended_at.0 - started_at.0;
        assert!(ran_ms <= ATTACK_MS_MAX, "{}: {ran_ms} ms", receipt.ending);
    }
}

/// Nothing was done twice, nothing was late.
fn check_counters(report: &StatusReport, rows: u64) {
    for late in ["lease_expired", "lease_released", "lease_exhausted", "run_abandoned"] {
        assert_eq!(report.counters.get(late), None, "{:#?}", report.counters);
    }
    for once in ["lease_granted", "run_started", "run_ended", "receipt_accepted"] {
        assert_eq!(report.counters.get(once), Some(&rows), "{once}: {:#?}", report.counters);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_22_26_27_attacks_end_as_the_table_says_and_disturb_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let table = endings().unwrap().into_iter().filter(|row| row.node);
    let rows: BTreeMap<ContentDigest, Row> =
        table.map(|row| (packed_fixture(&row.name).unwrap().digest, row)).collect();
    let miners = u16::try_from(rows.len()).unwrap();
    let options = ChainOptions { validators: 1, miners, block_ms: 500, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    // Honest and hostile submissions run beside each other.
    // With the gates in shadow: what they would refuse has to be held by the container.
    let policy = "dev-open".to_owned();
    let mut node = Node::new(NodeOptions { cpu_slots: 2, policy, ..lab.node_options(0) }).unwrap();
    node.start(None).unwrap();
    let ready = |report: &StatusReport| report.ready.ready;
    node.wait_for("ready", Duration::from_secs(60), ready).await.unwrap();

    let submitting = async {
        for (miner, row) in (0..).zip(rows.values()) {
            let packed = packed_fixture(&row.name).unwrap();
            // The command line would refuse many of them.
            lab.submit_unchecked(miner, &lab.shared_contents(), &packed).await.unwrap();
        }
    };
    let ((), (watched, report)) = tokio::join!(submitting, watch(&node, &rows));

    for (content, row) in &rows {
        let status = report.submissions.iter().find(|s| s.content == *content).unwrap();
        check_row(row, status);
    }
    let points = |project: &str| {
        let (content, _) = rows.iter().find(|(_, row)| row.name == project).unwrap();
        report.submissions.iter().find(|s| s.content == *content).unwrap().points.unwrap()
    };
    assert!(points("forges-result") < points("bigram"), "forging pays: {report:#?}");
    check_counters(&report, u64::from(miners));
    check_durations(&watched, &report);
    assert!(watched.is_shared, "other work waited for the attacks: {watched:?}");
    assert_eq!(node.containers().await.unwrap(), 0);
    let left = std::fs::read_dir(node.data_dir().join("runs")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    // Those of the containers made ahead, one per device, are named with an x.
    let is_ahead = |name: &std::ffi::OsString| name.to_string_lossy().starts_with('x');
    assert!(left.iter().all(is_ahead) && left.len() <= 2, "{left:?}");
    node.end().await;
}
