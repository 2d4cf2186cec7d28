//! The official SDK, unmodified, reads the local chain as it reads the real one.
//!
//! What it does is `tests/python/sdk_metagraph.py`. What it says is compared with what the chain
//! was started with, with the wallets' files and with what another client committed.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use assay_tests::binaries::repository;
use assay_tests::chain::{Chain, ChainOptions};
use assay_tests::lab::run_checked;
use serde_json::{json, Value};
use tokio::process::Command;

async fn python(requirements: &[&str]) -> String {
    let mut venv = Command::new(repository().join("scripts/python-venv"));
    venv.args(requirements);
    run_checked(venv).await.unwrap().trim().to_owned()
}

async fn report(python: &str, script: &str, args: &[&str]) -> Value {
    let mut command = Command::new(python);
    command.arg(repository().join("tests/python").join(script)).args(args);
    serde_json::from_str(&run_checked(command).await.unwrap()).unwrap()
}

/// The address in a wallet's public file.
fn hotkey(chain: &Chain, wallet: &str) -> Value {
    let file = chain.wallets().join(wallet).join("hotkeys/defaultpub.txt");
    let content: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    content["ss58Address"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_reads_the_local_metagraph() {
    let (sdk, miner) = (python(&["sdk"]).await, python(&[]).await);
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions {
        validators: 2,
        miners: 2,
        tempo: 30,
        block_ms: 500,
        extra: ["--validator-stake", "700,300"].map(str::to_owned).to_vec(),
        ..ChainOptions::default()
    };
    let chain = Chain::start(dir.path(), &options).await.unwrap();
    let args = [chain.url(), "1", "//miner//1//hotkey", "a model of mine"];
    let committed = report(&miner, "substrate_client.py", &args).await;
    assert_eq!(committed["success"], true, "{committed}");

    let read = report(&sdk, "sdk_metagraph.py", &[chain.url(), "1"]).await;
    assert_eq!((&read["n"], &read["tempo"]), (&json!(4), &json!(30)), "{read}");
    let wallets = ["validator0", "validator1", "miner0", "miner1"];
    let hotkeys: Vec<Value> = wallets.iter().map(|wallet| hotkey(&chain, wallet)).collect();
    assert_eq!(read["hotkeys"], Value::from(hotkeys));
    assert_eq!(read["permits"], json!([true, true, false, false]));
    let stakes: Vec<u64> = serde_json::from_value(read["stakes"].clone()).unwrap();
    // Epochs may have paid since.
    assert!(stakes[0] >= 700_000_000_000 && stakes[1] >= 300_000_000_000, "{read}");
    assert!(stakes[0] > stakes[1], "{read}");
    assert_eq!(read["commitments"], json!({ "3": "a model of mine" }));
    assert_eq!(read["last_update"], json!([0, 0, 0, 0]));
    assert_eq!(read["hyperparameters"]["tempo"], 30);
    assert_eq!(read["slot_seconds"], 0.5);
    let (block, next) = (read["block"].as_u64().unwrap(), read["next_epoch"].as_u64().unwrap());
    assert!(block < next && next <= block + 30, "{read}");
    let missing = Command::new(&sdk)
        .arg(repository().join("tests/python/sdk_metagraph.py"))
        .args([chain.url(), "9"])
        .output()
        .await
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no subnet 9"));
}
