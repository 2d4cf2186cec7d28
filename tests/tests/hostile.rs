//! Submissions that attack, in real containers through a whole node: each ends as the table of
//! the fixtures says, and nothing else is disturbed by it.
//!
//! The table is `tests/fixtures/submissions/README.md`. Not here: `sleeper`, since a submission
//! counts as too slow only at the policy's wall clock, after ten minutes; the runner's tests hold
//! that ending with a shorter clock.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::{fixture, packed_fixture};
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
/// Ends at the policy's wall clock only.
const TOO_SLOW: &str = "sleeper";
/// By how much bits per byte may differ from the table: they move with the seed.
const BPB_TOLERANCE: f64 = 0.25;

/// A row of the table.
#[derive(Clone, Debug)]
struct Row {
    project: String,
    /// The public name of the ending.
    ending: String,
    /// What the ending's sentence must say.
    detail: Option<String>,
    bits_per_byte: Option<f64>,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let project = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        let _about = cells.next()?;
        let ends_as = cells.next()?;
        let (ending, detail) = match ends_as.split_once([':', ',']) {
            Some((ending, detail)) => (ending, Some(detail.trim().to_owned())),
            None => (ends_as, None),
        };
        let bits_per_byte = cells.next()?;
        Some(Self {
            project,
            ending: ending.replace(' ', "_"),
            detail,
            bits_per_byte: (!bits_per_byte.is_empty()).then(|| bits_per_byte.parse().unwrap()),
        })
    }

    fn is_completed(&self) -> bool {
        self.ending == "completed"
    }
}

fn table() -> Vec<Row> {
    let text = std::fs::read_to_string(fixture("README.md")).unwrap();
    text.lines().filter(|line| line.starts_with("| `")).map(|l| Row::parse(l).unwrap()).collect()
}

#[test]
fn every_fixture_has_a_row_and_every_row_a_fixture() {
    let rows: Vec<String> = table().into_iter().map(|row| row.project).collect();
    let named: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(named.len(), rows.len(), "a row twice: {rows:?}");
    let found: BTreeSet<String> = std::fs::read_dir(fixture("."))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, named);
    assert!(named.contains(TOO_SLOW));
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
        running.filter_map(|s| rows.get(&s.content)).map(Row::is_completed).collect();
    kinds.len() == 2
}

fn unix_now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMs(u64::try_from(since_epoch.as_millis()).unwrap())
}

/// The table against what the node says.
fn check_row(row: &Row, status: &SubmissionStatus) {
    let stage = if row.is_completed() { SubmissionStage::Scored } else { SubmissionStage::Failed };
    assert_eq!(status.stage, stage, "{row:?}: {status:#?}");
    assert_eq!(status.ending.as_deref(), Some(row.ending.as_str()), "{row:?}: {status:#?}");
    assert_eq!(status.points.is_some(), row.is_completed(), "{row:?}: {status:#?}");
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
    let table = table().into_iter().filter(|row| row.project != TOO_SLOW);
    let rows: BTreeMap<ContentDigest, Row> =
        table.map(|row| (packed_fixture(&row.project).unwrap().digest, row)).collect();
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
            let packed = packed_fixture(&row.project).unwrap();
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
        let (content, _) = rows.iter().find(|(_, row)| row.project == project).unwrap();
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
