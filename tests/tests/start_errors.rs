//! What an operator is told when something needed is missing: what, why, and the next step.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

#[path = "../../node/daemon/tests/support/mistake.rs"]
mod mistake;

use std::path::Path;
use std::time::Duration;

use assay_tests::binaries::{binary, dataset, repository};
use assay_tests::chain::{Chain, ChainOptions};
use assay_tests::process::Process;
use mistake::{Ground, Needs};
use tokio::process::Command;

/// A configuration in which everything is right but what a test changes.
fn config(dir: &Path) -> String {
    format!(
        "data_dir = {:?}\n[chain]\nnetwork = \"local\"\nnetuid = 1\n\
         endpoints = [\"ws://127.0.0.1:9\"]\n\
         [wallet]\nname = \"nobody\"\nhotkey = \"default\"\npath = {:?}\n\
         [peer]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [challenge.nas]\ndataset = {:?}\n",
        dir.join("data"),
        dir.join("wallets"),
        dataset().unwrap(),
    )
}

/// A key that everybody knows.
fn write_key(dir: &Path) {
    let hotkeys = dir.join("wallets/nobody/hotkeys");
    std::fs::create_dir_all(&hotkeys).unwrap();
    let key =
        "{\"secretSeed\": \"0x0101010101010101010101010101010101010101010101010101010101010101\"}";
    std::fs::write(hotkeys.join("default"), key).unwrap();
}

/// Runs a node that cannot start; gives its exit code and what it said.
async fn run(dir: &Path, config: &str, docker_host: Option<&str>) -> (i32, String) {
    let file = dir.join("assay.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(binary("assay").unwrap());
    command.args(["run", "--config"]).arg(file).kill_on_drop(true);
    if let Some(host) = docker_host {
        command.env("DOCKER_HOST", host);
    }
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), command.output());
    let output = ended.await.expect("it does not end").unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_missing_key_exits_69_and_names_the_file_and_the_flags() {
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = run(dir.path(), &config(dir.path()), None).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("wallets/nobody/hotkeys/default"), "{said}");
    assert!(said.contains("hint: set `--wallet.name`"), "{said}");
}

#[tokio::test]
async fn a_missing_engine_exits_69_and_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    write_key(dir.path());
    let nowhere = format!("unix://{}", dir.path().join("no.sock").display());
    let (code, said) = run(dir.path(), &config(dir.path()), Some(&nowhere)).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("scripts/engine ensure"), "{said}");
}

#[tokio::test]
async fn a_missing_chain_is_waited_for_and_each_endpoint_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write_key(dir.path());
    std::fs::write(dir.path().join("assay.toml"), config(dir.path())).unwrap();
    let mut command = Command::new(binary("assay").unwrap());
    command.args(["run", "--config"]).arg(dir.path().join("assay.toml"));
    let log = dir.path().join("log");
    let mut process = Process::start("assay", command, &log).unwrap();
    says(&mut process, "no endpoint answers yet").await;
    assert!(process.log().contains("ws://127.0.0.1:9"), "{}", process.log());
    process.signal("TERM").await.unwrap();
    let ended = process.wait(Duration::from_secs(20)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "{}", process.log());
}

/// To decipher a key of the present wallets takes seconds and half a gibibyte.
#[tokio::test]
async fn a_node_that_is_told_to_end_while_it_deciphers_its_key_ends_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    write_key(dir.path());
    let encrypted = repository().join("node/chain/src/wallet/fixtures/nacl");
    std::fs::copy(encrypted, dir.path().join("wallets/nobody/hotkeys/default")).unwrap();
    std::fs::write(dir.path().join("assay.toml"), config(dir.path())).unwrap();
    let mut command = Command::new(binary("assay").unwrap());
    command.args(["run", "--config"]).arg(dir.path().join("assay.toml"));
    command.env("BT_WALLET_PASSWORD", "für 7 Schlüssel");
    let mut process = Process::start("assay", command, &dir.path().join("log")).unwrap();
    says(&mut process, "decrypting the hotkey").await;
    process.signal("TERM").await.unwrap();
    let ended = process.wait(Duration::from_secs(60)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("no endpoint answers yet"), "{}", process.log());
}

/// Waits until a node has said something.
async fn says(process: &mut Process, said: &str) {
    for _ in 0..300 {
        if process.log().contains(said) {
            return;
        }
        process.check_alive().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("`{said}` is not said: {}", process.log());
}

#[tokio::test]
async fn a_missing_image_exits_69_and_says_how_to_build_it() {
    let dir = tempfile::tempdir().unwrap();
    write_key(dir.path());
    let config = format!("{}[images]\nevaluator = \"assay-no-such:image\"\n", config(dir.path()));
    let (code, said) = run(dir.path(), &config, None).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("scripts/images evaluator"), "{said}");
}

#[tokio::test]
async fn a_missing_data_set_exits_69_and_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    write_key(dir.path());
    let set = format!("dataset = {:?}", dataset().unwrap());
    let config = config(dir.path()).replace(&set, "dataset = \"/nonexistent/dataset\"");
    let (code, said) = run(dir.path(), &config, None).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("assay dataset prepare"), "{said}");
}

/// Cases that need a chain, at least: a table that is not read tells nothing.
const CHAIN_CASES_MIN: usize = 10;

/// A configuration in which everything is right, for a chain and an engine that run.
fn beside(chain: &Chain) -> Ground {
    let config = format!(
        "data_dir = \"data\"\n\
         [chain]\nnetwork = \"local\"\nnetuid = 1\nendpoints = [{:?}]\n\
         [wallet]\nname = \"validator0\"\nhotkey = \"default\"\npath = {:?}\n\
         [peer]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [devices]\ngpus = \"off\"\n\
         [challenge.nas]\npolicy = \"quick\"\ndataset = {:?}\n",
        chain.url(),
        chain.wallets(),
        dataset().unwrap(),
    );
    // Where an engine of this user listens.
    let engine = ["DOCKER_HOST", "XDG_RUNTIME_DIR"];
    let variables =
        engine.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    Ground { assay: binary("assay").unwrap(), config, key: None, variables: variables.collect() }
}

/// One chain for all of them. No epoch ends meanwhile: at its end permits are given anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_wrong_beside_a_chain_is_told_with_its_reason_and_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions { miners: 1, tempo: 3600, ..ChainOptions::default() };
    let chain = Chain::start(dir.path(), &options).await.unwrap();
    let ground = beside(&chain);
    let judged = tokio::task::spawn_blocking(move || {
        let cases = mistake::all();
        let here: Vec<_> = cases.iter().filter(|case| case.needs == Needs::Chain).collect();
        assert!(here.len() >= CHAIN_CASES_MIN, "only {} cases", here.len());
        here.into_iter().filter_map(|case| ground.judge(case)).collect::<Vec<String>>()
    });
    let wrong = judged.await.unwrap();
    assert!(wrong.is_empty(), "{} of them:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
