//! `kill -TERM` at a node that works: what it still does, and with what it leaves.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::{Lab, NETUID};
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::{fixture, packed_fixture, packed_with_note, Packed};
use node_daemon::exit::ExitReason;
use node_daemon::status::StatusReport;
use tokio::time::Instant;

/// How long a small submission may take from commitment to score.
const SCORE_MAX: Duration = Duration::from_secs(180);
/// How long a run may take until its container is there.
const RUN_MAX: Duration = Duration::from_secs(120);
/// How long the rest of an epoch may take, with what it takes to land.
const LAND_MAX: Duration = Duration::from_secs(60);
/// How long a node may take that has nothing left to do.
const LEAVE_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Seconds that a run takes at least: more than two renewals of its lease are apart.
const LONG_RUN_S: u32 = 45;

/// A subnet with epochs of five seconds, and a validator whose rules let submissions sleep.
async fn lab(dir: &Path, grace: &str) -> (Lab, Node) {
    let options = ChainOptions { validators: 1, miners: 2, tempo: 20, ..ChainOptions::default() };
    let lab = Lab::start(dir, &options).await.unwrap();
    let policy = "dev-open".to_owned();
    let extra = format!("[stop]\ngrace = \"{grace}\"\n");
    let node = Node::new(NodeOptions { policy, extra, ..lab.node_options(0) }).unwrap();
    (lab, node)
}

/// A submission that does nothing for so long, and learns nothing then.
fn long_run(seconds: u32) -> Packed {
    let dir = tempfile::tempdir().unwrap();
    let architecture = fixture("sleeper").join("architecture.py");
    std::fs::copy(architecture, dir.path().join("architecture.py")).unwrap();
    let training = format!(
        "import time\n\n\ndef train(ctx):\n    time.sleep({seconds})\n    return ctx.build_model()\n"
    );
    std::fs::write(dir.path().join("training.py"), training).unwrap();
    packed_with_note(dir.path(), "sleeps").unwrap()
}

async fn submit(lab: &Lab, miner: u16, packed: &Packed) {
    lab.submit_unchecked(miner, &lab.shared_contents(), packed).await.unwrap();
}

async fn wait_for_run(node: &mut Node) {
    let has_run = |report: &StatusReport| report.runs.iter().any(|run| run.state == "running");
    node.wait_for("a run", RUN_MAX, has_run).await.unwrap();
    let deadline = Instant::now() + RUN_MAX;
    while node.containers().await.unwrap() == 0 {
        node.process().unwrap().check_alive().unwrap();
        assert!(Instant::now() < deadline, "no container");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The exit code, and all that the node wrote.
async fn leaves(node: &mut Node, limit: Duration) -> (Option<i32>, String) {
    let process = node.process().unwrap();
    let ended = process.wait(limit).await.unwrap();
    (ended.code(), process.log())
}

/// Two signals that are seen as two: those that come at once are one.
async fn signal_twice(node: &mut Node, signal: &str) {
    let process = node.process().unwrap();
    let deadline = Instant::now() + LEAVE_MAX;
    for said in ["stopping: nothing new is taken", "second signal"] {
        let before = process.log().matches(said).count();
        process.signal(signal).await.unwrap();
        while process.log().matches(said).count() == before {
            process.check_alive().unwrap();
            assert!(Instant::now() < deadline, "`{said}` is not said\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn landed(report: &StatusReport) -> u64 {
    report.counters.get("weights_landed").copied().unwrap_or_default()
}

/// Renewals that a coordinator confirmed since the start.
async fn renewals(node: &Node) -> u64 {
    let metrics = node.page("/metrics").await.unwrap();
    let of = |line: &str| {
        let value = line.strip_prefix("assay_renewals_total{what=\"kept\"} ")?;
        value.parse().ok()
    };
    metrics.lines().find_map(of).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_30_a_long_run_is_kept_and_the_weights_that_are_due_land_before_a_node_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path(), "5m").await;
    node.start(None).unwrap();
    submit(&lab, 0, &packed_fixture("bigram").unwrap()).await;
    let is_scored = |report: &StatusReport| report.submission_counts.scored == 1;
    node.wait_for("a score", SCORE_MAX, is_scored).await.unwrap();
    submit(&lab, 1, &long_run(LONG_RUN_S)).await;
    wait_for_run(&mut node).await;

    node.process().unwrap().signal("TERM").await.unwrap();
    let is_stopping = |report: &StatusReport| report.node.is_stopping && !report.ready.ready;
    let told = node.wait_for("its word on it", LEAVE_MAX, is_stopping).await.unwrap();
    let kept = renewals(&node).await;
    let has_landed = |report: &StatusReport| landed(report) > landed(&told);
    let report = node.wait_for("the next vector", LAND_MAX, has_landed).await.unwrap();
    assert!(!report.runs.is_empty(), "the run goes on: {report:#?}");
    let deadline = Instant::now() + SCORE_MAX;
    while renewals(&node).await == kept {
        node.process().unwrap().check_alive().unwrap();
        assert!(Instant::now() < deadline, "its lease is not renewed");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let (code, log) = leaves(&mut node, SCORE_MAX).await;
    assert_eq!(code, Some(ExitReason::Done.code().into()), "{log}");
    assert_eq!(log.matches("submission scored").count(), 2, "{log}");
    assert_eq!(node.containers().await.unwrap(), 0);
    let stored = lab.chain.stored_weights(NETUID, told.node.uid.unwrap().0).await.unwrap();
    assert!(!stored.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_or_the_end_of_the_grace_stops_runs_and_a_third_leaves_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path(), "2s").await;
    node.start(None).unwrap();
    submit(&lab, 1, &long_run(500)).await;
    wait_for_run(&mut node).await;
    node.process().unwrap().signal("TERM").await.unwrap();
    let (code, log) = leaves(&mut node, LEAVE_MAX).await;
    assert_eq!(code, Some(ExitReason::GraceRanOut.code().into()), "{log}");
    assert!(log.contains("the grace is over"), "{log}");
    assert_eq!(node.containers().await.unwrap(), 0, "stopped and removed");

    let config = std::fs::read_to_string(node.config_file()).unwrap();
    let patient = config.replace("grace = \"2s\"", "grace = \"5m\"");
    assert_ne!(config, patient);
    std::fs::write(node.config_file(), patient).unwrap();
    node.start(None).unwrap();
    wait_for_run(&mut node).await;
    signal_twice(&mut node, "INT").await;
    let (code, log) = leaves(&mut node, LEAVE_MAX).await;
    assert_eq!(code, Some(ExitReason::GraceRanOut.code().into()), "{log}");
    assert!(log.contains("second signal"), "{log}");
    assert_eq!(node.containers().await.unwrap(), 0, "stopped and removed");

    node.start(None).unwrap();
    wait_for_run(&mut node).await;
    signal_twice(&mut node, "TERM").await;
    node.process().unwrap().signal("TERM").await.unwrap();
    let (code, log) = leaves(&mut node, LEAVE_MAX).await;
    // On a machine that is busy enough the container is gone first.
    let left = [ExitReason::LeftAtOnce, ExitReason::GraceRanOut].map(|exit| exit.code().into());
    assert!(code.is_some_and(|code| left.contains(&code)), "{code:?}\n{log}");

    node.start(None).unwrap();
    let is_ready = |report: &StatusReport| report.ready.ready;
    node.wait_for("ready again", LEAVE_MAX, is_ready).await.unwrap();
    node.end().await;
    assert_eq!(node.containers().await.unwrap(), 0, "the next life removes what was left");
}

/// One life of a node that gets SIGTERM when it comes to `phase`; what it logged from there on.
async fn is_told_to_end_at(node: &mut Node, phase: &str) -> String {
    let before = std::fs::read_to_string(node.log_file()).unwrap_or_default().len();
    node.start(Some(&format!("term:{phase}"))).unwrap();
    let (code, log) = leaves(node, SCORE_MAX).await;
    let log = log[before..].to_owned();
    assert_eq!(code, Some(ExitReason::Done.code().into()), "{phase}: {log}");
    assert_eq!(node.containers().await.unwrap(), 0, "{phase}");
    let (_, since) = log.split_once("fail point: SIGTERM").expect("it never came to it");
    assert!(since.contains("stopping: nothing new is taken"), "{phase}: {since}");
    since.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_end_in_any_phase_ends_what_it_began_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path(), "5m").await;
    submit(&lab, 0, &packed_fixture("bigram").unwrap()).await;
    for phase in ["fetch-asked", "admission-asked"] {
        let log = is_told_to_end_at(&mut node, phase).await;
        assert!(!log.contains("run over"), "nothing new is begun\n{log}");
    }
    let log = is_told_to_end_at(&mut node, "run-committed-before-start").await;
    assert_eq!(log.matches("submission scored").count(), 1, "{log}");
    submit(&lab, 1, &packed_with_note(&fixture("bigram"), "again").unwrap()).await;
    let log = is_told_to_end_at(&mut node, "run-ended-before-receipt").await;
    assert_eq!(log.matches("submission scored").count(), 1, "{log}");
    let of_weights = [
        "weights-intended-before-signing",
        "weights-signed-before-send",
        "weights-sent-before-found",
    ];
    for phase in of_weights {
        let log = is_told_to_end_at(&mut node, phase).await;
        assert_eq!(log.matches("weights landed").count(), 1, "{phase}: {log}");
    }
}
