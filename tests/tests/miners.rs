//! A miner's whole way: a client that knows nothing of this project's tools, and the tools
//! themselves.
//!
//! What the foreign client does is `tests/python/http_miner.py` and `substrate_client.py`.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::time::Duration;

use assay_tests::binaries::{binary, repository};
use assay_tests::chain::ChainOptions;
use assay_tests::lab::{run_checked, Lab, NETUID};
use assay_tests::node::Node;
use assay_tests::submissions::{packed_fixture, provide};
use serde_json::Value;
use tokio::process::Command;

/// How long the way from the commitment to a score may take.
const SCORED_MAX: Duration = Duration::from_secs(240);

/// How long a node may take until it has read the chain.
const READY_MAX: Duration = Duration::from_secs(60);

/// The hotkey that the local chain gives its first miner.
const MINER: &str = "//miner//0//hotkey";

/// A chain with one validator that listens for miners, and where it listens.
async fn laboratory(dir: &Path) -> (Lab, Node, String) {
    let options = ChainOptions { validators: 1, miners: 2, ..ChainOptions::default() };
    let lab = Lab::start(dir, &options).await.unwrap();
    // Bound and released: the number has to stand in the configuration.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api = format!("[api]\nlisten = \"{free}\"\nrequests_per_minute = 6000");
    let mut node = lab.node(0, &api).unwrap();
    node.start(None).unwrap();
    node.wait_for("the chain", READY_MAX, |report| report.ready.ready).await.unwrap();
    (lab, node, format!("http://{free}"))
}

async fn python(interpreter: &str, script: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new(interpreter);
    command.arg(repository().join("tests/python").join(script)).args(arguments);
    serde_json::from_str(&run_checked(command).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_leaves_an_archive_and_follows_it_over_http() {
    let venv = run_checked(Command::new(repository().join("scripts/python-venv"))).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node, url) = laboratory(dir.path()).await;
    let packed = packed_fixture("bigram").unwrap();
    // Not where the node looks: it has to come by the upload.
    let archive = provide(&dir.path().join("at-the-miner"), &packed).unwrap();

    let stranger = ["upload", &url, "//nobody", archive.to_str().unwrap()];
    let mut command = Command::new(venv.trim());
    command.arg(repository().join("tests/python/http_miner.py")).args(stranger);
    let refused = command.output().await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(answer["body"]["error"], "not_a_miner", "{answer}");

    let sent = ["upload", &url, MINER, archive.to_str().unwrap()];
    let answer = python(venv.trim(), "http_miner.py", &sent).await;
    assert_eq!(answer["body"]["code_hash"], packed.digest.to_string(), "{answer}");
    let commitment = answer["body"]["commitment"].as_str().unwrap();
    let netuid = NETUID.to_string();
    let commit = [lab.chain.url(), netuid.as_str(), MINER, commitment];
    let committed = python(venv.trim(), "substrate_client.py", &commit).await;
    assert_eq!(committed["success"], true, "{committed}");

    let (address, seconds) =
        (committed["hotkey"].as_str().unwrap(), SCORED_MAX.as_secs().to_string());
    let follow = ["follow", &url, address, "scored,failed,rejected", &seconds];
    let followed = python(venv.trim(), "http_miner.py", &follow).await;
    let submission = &followed["submission"];
    assert_eq!(submission["status"], "scored", "{followed}");
    assert_eq!(submission["code_hash"], packed.digest.to_string());
    assert!(submission["final_score"].as_f64().unwrap() > 0.1, "{submission}");
    assert!(submission["metrics"]["loss_curve"].as_array().unwrap().len() > 2, "{submission}");
    let seen = followed["seen"].as_array().unwrap();
    assert!(seen.len() >= 2, "it was seen on its way: {seen:?}");
    node.end().await;
}

/// A command of `assay miner` with the wallet of the second miner; what it printed.
async fn miner(lab: &Lab, dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(binary("assay").unwrap());
    command
        .arg("miner")
        .args(arguments)
        .current_dir(dir)
        .env("BT_WALLET_NAME", "miner1")
        .env("BT_WALLET_HOTKEY", "default")
        .env("BT_WALLET_PATH", lab.chain.wallets())
        .env("ASSAY_CHAIN__NETUID", NETUID.to_string())
        .env("ASSAY_CHAIN__ENDPOINTS", lab.chain.url());
    run_checked(command).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_gets_from_init_to_a_score_with_the_tools_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node, url) = laboratory(dir.path()).await;
    miner(&lab, dir.path(), &["init", "mine"]).await;
    let checked = miner(&lab, dir.path(), &["check", "mine"]).await;
    assert!(checked.starts_with("admitted: 4 files"), "{checked}");
    let submitted = miner(&lab, dir.path(), &["submit", "mine", "--upload", &url, "--json"]).await;
    let submitted: Value = serde_json::from_str(&submitted).unwrap();
    let id = submitted["submission"].as_str().unwrap();

    node.wait_for("the submission", SCORED_MAX, |report| {
        report.submissions.iter().any(|row| row.id.to_string() == *id)
    })
    .await
    .unwrap();
    // While it runs, the miner sees how far it is.
    let mut seen_running = false;
    let deadline = tokio::time::Instant::now() + SCORED_MAX;
    let told = loop {
        let told = miner(&lab, dir.path(), &["status", id, "--validator", &url, "--json"]).await;
        let told: Value = serde_json::from_str(&told).unwrap();
        let one = told[0]["submissions"][0].clone();
        let progress = &one["runs"][0]["progress"];
        seen_running |= progress["covered_bytes"].as_u64().is_some_and(|bytes| bytes > 0)
            && progress["bits_per_byte"].as_f64().is_some_and(|bpb| bpb > 0.0)
            && progress["remaining_seconds"].is_u64();
        if one["status"] == "scored" {
            break one;
        }
        assert!(tokio::time::Instant::now() < deadline, "not scored: {one}");
        // Not more often: looking takes time from the run.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    assert!(seen_running, "its progress was never seen");
    assert_eq!(told["tier"], 1, "{told}");
    let text = miner(&lab, dir.path(), &["status", "--validator", &url]).await;
    for line in ["state       scored, tier 1", "curve       ", "parameters  "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    node.end().await;
}
