//! `assay chain check` as an operator runs it: against a chain, and against files of all kinds.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::{Path, PathBuf};

use assay_tests::binaries::binary;
use assay_tests::chain::{Chain, ChainOptions};
use serde_json::Value;
use tokio::process::Command;

/// What a check printed, and its exit code.
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn check(dir: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(binary("assay").unwrap());
    command.args(["chain", "check"]).args(arguments).current_dir(dir).kill_on_drop(true);
    command.env_clear().env("HOME", dir);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), command.output());
    let output = ended.await.expect("it does not end").unwrap();
    Said {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn check_file(dir: &Path, name: &str, content: &[u8]) -> Said {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    check(dir, &["--metadata", path.to_str().unwrap()]).await
}

/// The local chain's metadata of a version, as nodes serve it.
async fn local_metadata(dir: &Path, version: u32) -> PathBuf {
    let path = dir.join(format!("v{version}.scale"));
    let mut command = Command::new(binary("localnet").unwrap());
    command.args(["metadata", "--version", &version.to_string()]).arg(&path);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

#[tokio::test]
async fn a_running_chain_passes_and_every_item_is_in_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::start(dir.path(), &ChainOptions::default()).await.unwrap();
    let said = check(dir.path(), &["--endpoint", chain.url()]).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let items = chain_metadata::storage::ALL.iter().map(|item| (item.pallet, item.name));
    let calls = chain_metadata::call::ALL.iter().map(|call| (call.pallet, call.name));
    let apis = chain_metadata::api::ALL.iter().map(|api| (api.api, api.method));
    let events = chain_metadata::event::ALL.iter().map(|event| (event.pallet, event.name));
    let errors = chain_metadata::error::ALL.iter().map(|error| (error.pallet, error.name));
    for (place, name) in items.chain(calls).chain(apis).chain(events).chain(errors) {
        let name = format!("{place}.{name}");
        let mut words = said.stdout.split_whitespace();
        assert!(words.any(|word| word == name), "{name} is not in\n{}", said.stdout);
    }
    for capability in ["reading", "plain weights", "timelocked weights", "hash commits"] {
        let line = said.stdout.lines().find(|line| line.starts_with(capability)).unwrap();
        assert!(line.ends_with("yes"), "{line}");
    }
}

#[tokio::test]
async fn metadata_of_every_version_and_form_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for version in [14, 15, 16] {
        let path = local_metadata(dir.path(), version).await;
        let said = check(dir.path(), &["--metadata", path.to_str().unwrap()]).await;
        assert_eq!(said.code, 0, "V{version}: {}{}", said.stdout, said.stderr);
        let bytes = std::fs::read(path).unwrap();
        let hex = format!("0x{}", hex::encode(&bytes));
        let json = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "result": hex }).to_string();
        for (name, content) in [("a.hex", hex), ("a.json", json)] {
            let same = check_file(dir.path(), name, content.as_bytes()).await;
            assert_eq!((same.code, same.stderr.as_str()), (0, ""), "V{version} {name}");
        }
    }
}

#[tokio::test]
async fn a_runtime_without_an_item_exits_69_and_says_what_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = local_metadata(dir.path(), 16).await;
    let bytes = std::fs::read(&path).unwrap();
    // The names of an item and of two calls, each with its length before it.
    let broken = renamed(&bytes, b"\x14Tempo", b"\x14Tempi");
    let broken = renamed(&broken, b"set_mechanism_weights", b"set_mechanism_weighty");
    let broken = renamed(&broken, b"\x2cset_weights", b"\x2cset_weighty");
    std::fs::write(&path, broken).unwrap();
    let file = path.to_str().unwrap();
    let said = check(dir.path(), &["--metadata", file, "--problems"]).await;
    assert_eq!(said.code, 69, "{}{}", said.stdout, said.stderr);
    let line = |start: &str| {
        let mut lines = said.stdout.lines();
        lines.find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{}", said.stdout))
    };
    assert!(line("reading").contains("NO   because of `SubtensorModule.Tempo`"));
    assert!(line("plain weights").contains("NO   because of"));
    assert!(line("timelocked weights").ends_with("yes"));
    assert!(!said.stdout.contains("\nok "), "{}", said.stdout);

    let said = check(dir.path(), &["--metadata", file, "--json"]).await;
    assert_eq!(said.code, 69);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answer["worst"], "fatal");
    assert_eq!(answer["items"][0]["verdict"], "fatal");
    assert_eq!(answer["can"][0]["possible"], false);
    assert_eq!(answer["can"][2]["possible"], true);
}

fn renamed(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut renamed = bytes.to_vec();
    let found = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
    let mut any = false;
    for (at, _) in found {
        renamed[at..at + to.len()].copy_from_slice(to);
        any = true;
    }
    assert!(any, "no {:?} in the metadata", String::from_utf8_lossy(from));
    renamed
}

#[tokio::test]
async fn what_cannot_be_checked_exits_64_or_69_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let said = check_file(dir.path(), "text", b"nonsense").await;
    assert_eq!(said.code, 64, "{}", said.stderr);
    assert!(said.stderr.contains("neither metadata, nor hexadecimal"), "{}", said.stderr);
    let said = check(dir.path(), &["--metadata", "no-such-file"]).await;
    assert_eq!(said.code, 64, "{}", said.stderr);
    let both = check(dir.path(), &["--metadata", "x", "--endpoint", "ws://127.0.0.1:9"]).await;
    assert_eq!(both.code, 64, "{}", both.stderr);
    let said = check(dir.path(), &["--endpoint", "http://127.0.0.1:9"]).await;
    assert_eq!(said.code, 64, "{}", said.stderr);
    let said = check(dir.path(), &["--endpoint", "ws://127.0.0.1:9"]).await;
    assert_eq!(said.code, 69, "{}", said.stderr);
    assert!(said.stderr.contains("hint: name an endpoint that answers"), "{}", said.stderr);
}
