//! A miner who knows nothing of this project's tools: an unmodified Python client commits, the
//! node evaluates, and the client reads what the node set as weights.
//!
//! What the client itself does is `tests/python/substrate_client.py`; how the chain treats it is
//! asserted beside the local chain.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::time::Duration;

use assay_tests::binaries::repository;
use assay_tests::chain::ChainOptions;
use assay_tests::lab::{run_checked, Lab, NETUID};
use assay_tests::submissions::{packed_fixture, provide};
use node_core::commitment::{Commitment, Location};
use node_daemon::status::{StatusReport, SubmissionStage};
use serde_json::{json, Value};
use tokio::process::Command;

/// How long the way from the commitment to weights on chain may take.
const LAND_MAX: Duration = Duration::from_secs(180);

/// The hotkey that the local chain gives its first miner.
const MINER: &str = "//miner//0//hotkey";

/// What the client reports; without `text` it only reads.
async fn client(python: &str, lab: &Lab, text: Option<&str>) -> Value {
    let mut command = Command::new(python);
    command
        .arg(repository().join("tests/python/substrate_client.py"))
        .args([lab.chain.url(), &NETUID.to_string(), MINER])
        .args(text);
    serde_json::from_str(&run_checked(command).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_miner_is_scored_and_reads_the_weights_that_the_node_set() {
    let python = run_checked(Command::new(repository().join("scripts/python-venv"))).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions {
        validators: 1,
        miners: 1,
        tempo: 20,
        block_ms: 500,
        ..ChainOptions::default()
    };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let mut node = lab.node(0, "").unwrap();
    node.start(None).unwrap();
    let packed = packed_fixture("bigram").unwrap();
    provide(&lab.shared_contents(), &packed).unwrap();
    let text = Commitment { content: packed.digest, location: Location::Peers }.to_string();
    assert!(text.starts_with("nas:1:"), "{text}");

    let committed = client(python.trim(), &lab, Some(&text)).await;
    assert_eq!(committed["success"], true, "{committed}");
    let stored = format!("0x{}", hex::encode(&text));
    let field = &committed["commitment"]["info"]["fields"][0];
    assert_eq!(field[format!("Raw{}", text.len())], stored, "{committed}");

    let miner = u16::try_from(committed["uid"].as_u64().unwrap()).unwrap();
    let has_landed = |report: &StatusReport| {
        let landed = report.weights.last_landed.as_ref();
        landed.is_some_and(|row| row.vector.iter().any(|(uid, w)| uid.0 == miner && *w > 0))
    };
    let report = node.wait_for("weights for the miner", LAND_MAX, has_landed).await.unwrap();
    let submission = report.submissions.first().unwrap();
    assert_eq!(submission.content, packed.digest);
    assert_eq!(submission.stage, SubmissionStage::Scored, "{submission:#?}");
    assert_eq!(submission.hotkey.to_string(), committed["hotkey"].as_str().unwrap());

    // The results stay as they are, and so does every later vector.
    let read = client(python.trim(), &lab, None).await;
    let landed = report.weights.last_landed.unwrap();
    let row: Vec<[u16; 2]> = landed.vector.iter().map(|(uid, w)| [uid.0, *w]).collect();
    let own = report.node.uid.unwrap().0.to_string();
    assert_eq!(read["weights"], json!({ own: row }), "{read}");
    assert_eq!(read["commitment"], committed["commitment"]);
    node.end().await;
}
