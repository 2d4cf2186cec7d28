//! What an operator is told when something needed is missing: what, why, and the next step.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::time::Duration;

use assay_tests::binaries::{binary, dataset};
use assay_tests::process::Process;
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
    let said = |process: &Process| process.log().contains("no endpoint answers yet");
    for _ in 0..300 {
        if said(&process) {
            break;
        }
        process.check_alive().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(said(&process), "{}", process.log());
    assert!(process.log().contains("ws://127.0.0.1:9"), "{}", process.log());
    process.signal("TERM").await.unwrap();
    let ended = process.wait(Duration::from_secs(20)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "{}", process.log());
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
