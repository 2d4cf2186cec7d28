//! `kill -9` at the worst moments: nothing is scored twice, nothing is left running, and one
//! vector per epoch is on chain.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::{Lab, NETUID};
use assay_tests::node::Node;
use assay_tests::submissions::packed_fixture;
use node_daemon::status::StatusReport;
use serde_json::json;

/// How long a small submission may take from commitment to score.
const SCORE_MAX: Duration = Duration::from_secs(180);
/// How long the rest of an epoch may take, with what it takes to land.
const LAND_MAX: Duration = Duration::from_secs(120);

/// One validator, one miner, one submission that is scored in seconds.
async fn lab(dir: &Path) -> (Lab, Node) {
    let options = ChainOptions { validators: 1, miners: 1, tempo: 20, ..ChainOptions::default() };
    let lab = Lab::start(dir, &options).await.unwrap();
    // Without an address on chain, every extrinsic of the hotkey is a vector.
    let node = lab.node(0, "").unwrap();
    let config = std::fs::read_to_string(node.config_file()).unwrap();
    let config = config.replace("publish_axon = true", "publish_axon = false");
    std::fs::write(node.config_file(), config).unwrap();
    (lab, node)
}

async fn submit(lab: &Lab) {
    let packed = packed_fixture("bigram").unwrap();
    lab.submit(0, &lab.shared_contents(), &packed).await.unwrap();
}

/// Waits until the submission's score is on chain, and checks everything that must hold then.
async fn check_once_on_chain(lab: &Lab, node: &mut Node) {
    let landed = |report: &StatusReport| report.weights.last_landed.is_some();
    let report = node.wait_for("landed weights", LAND_MAX, landed).await.unwrap();
    assert_eq!(report.receipts.len(), 1, "{report:#?}");
    let scored = node.process().unwrap().log().matches("submission scored").count();
    assert_eq!(scored, 1, "scored {scored} times over all lives");
    let row = report.weights.last_landed.clone().unwrap();
    let uid = report.node.uid.unwrap();
    let stored = lab.chain.stored_weights(NETUID, uid.0).await.unwrap();
    let computed: Vec<(u16, u16)> = row.vector.iter().map(|(uid, w)| (uid.0, *w)).collect();
    assert_eq!(stored, computed);
    // Nothing but vectors used the hotkey's nonce: one per epoch that landed, none else.
    let nonce = lab
        .chain
        .call("system_accountNextIndex", json!([report.node.hotkey.to_string()]))
        .await
        .unwrap();
    let landed = report.counters.get("weights_landed").copied().unwrap_or(0);
    assert_eq!(nonce.as_u64(), Some(landed), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_killed_during_a_run_the_run_is_done_again_and_scored_once() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path()).await;
    node.start(None).unwrap();
    submit(&lab).await;
    let measuring = |report: &StatusReport| {
        report.runs.iter().any(|run| run.progress.is_some_and(|p| p.covered_bytes > 0))
    };
    node.wait_for("a run that measures", SCORE_MAX, measuring).await.unwrap();
    node.kill().await.unwrap();
    assert_eq!(node.containers().await.unwrap(), 1, "the killed node leaves its container");

    node.start(None).unwrap();
    let adopted = |report: &StatusReport| {
        report.ready.ready && report.counters.contains_key("leftover_found")
    };
    node.wait_for("ready again", Duration::from_secs(60), adopted).await.unwrap();
    let scored = |report: &StatusReport| report.submission_counts.scored == 1;
    node.wait_for("a score", SCORE_MAX, scored).await.unwrap();
    assert_eq!(node.containers().await.unwrap(), 0, "nothing runs that nobody waits for");
    check_once_on_chain(&lab, &mut node).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_killed_during_completion_the_receipt_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path()).await;
    node.start(Some("completion-committed-before-answer")).unwrap();
    submit(&lab).await;
    node.wait_for_end(SCORE_MAX).await.unwrap();

    node.start(None).unwrap();
    let acknowledged =
        |report: &StatusReport| report.submission_counts.scored == 1 && report.runs.is_empty();
    node.wait_for("an acknowledged result", SCORE_MAX, acknowledged).await.unwrap();
    assert_eq!(node.containers().await.unwrap(), 0);
    check_once_on_chain(&lab, &mut node).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_07_killed_between_signed_and_sent_one_vector_is_on_chain() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path()).await;
    node.start(Some("weights-signed-before-send")).unwrap();
    submit(&lab).await;
    node.wait_for_end(SCORE_MAX + LAND_MAX).await.unwrap();
    let journal = std::fs::read_to_string(node.data_dir().join("signed.journal")).unwrap();
    assert_eq!(journal.matches("\"signed\"").count(), 2, "step and payload of one signature");

    node.start(None).unwrap();
    check_once_on_chain(&lab, &mut node).await;
    node.end().await;
}
