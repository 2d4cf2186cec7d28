//! `assay doctor` on machines where something is missing.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use fake_driver::{FakeDriver, Script};
use serde_json::{json, Value};
use support::{Operator, Said};

const SEED: &str = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

/// A whole configuration whose chain and engine do not answer.
fn operator() -> Operator {
    let key = format!("{{\"secretSeed\": \"{SEED}\", \"ss58Address\": \"{ALICE}\"}}");
    Operator::new().with_file(".bittensor/wallets/w/hotkeys/h", &key).with_file(
        "assay.toml",
        "data_dir = \"data\"\n\
             [chain]\nnetuid = 3\nendpoints = [\"ws://127.0.0.1:1/secret-key\"]\n\
             [wallet]\nname = \"w\"\nhotkey = \"h\"\n\
             [engine]\nhost = \"tcp://127.0.0.1:1\"\n\
             [challenge.nas]\ndataset = \"no-data\"\n",
    )
}

fn checks(said: &Said) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    answer["checks"].as_array().unwrap().clone()
}

fn level_of(said: &Said, id: &str) -> Vec<String> {
    let checks = checks(said);
    let meant = checks.iter().filter(|check| check["id"] == id);
    meant.map(|check| check["level"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_broken_configuration_is_the_only_finding_and_fails() {
    let said = Operator::new().run(&["doctor", "--json"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    let found = checks(&said);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["id"], "config");
    assert!(found[0]["text"].as_str().unwrap().contains("chain.netuid"), "{found:?}");
}

#[test]
fn what_is_missing_fails_with_its_next_step_and_what_is_there_is_ok() {
    let said = operator().run(&["doctor", "--json"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert_eq!(level_of(&said, "config"), ["ok"]);
    assert_eq!(level_of(&said, "journal"), ["ok"]);
    assert_eq!(level_of(&said, "timelock"), ["ok"]);
    assert_eq!(level_of(&said, "node"), ["ok"]);
    assert_eq!(level_of(&said, "gates"), ["ok"]);
    // The key is right, and others can read it.
    assert_eq!(level_of(&said, "key"), ["ok", "warn"]);
    assert_eq!(level_of(&said, "endpoint"), ["fail", "warn"]);
    assert_eq!(level_of(&said, "dataset"), ["fail"]);
    assert_eq!(level_of(&said, "engine"), ["fail"]);
    assert_eq!(level_of(&said, "devices"), ["ok"]);
    for check in checks(&said) {
        let has_next = check.get("next").is_some_and(|next| next.is_string());
        assert!(check["level"] != "fail" || has_next, "{check}");
    }
    assert!(!said.stdout.contains(SEED.trim_start_matches("0x")), "{}", said.stdout);
    assert!(!said.stdout.contains("secret-key"), "{}", said.stdout);
}

fn texts_of(said: &Said, id: &str) -> Vec<String> {
    let checks = checks(said);
    let meant = checks.iter().filter(|check| check["id"] == id);
    meant.map(|check| check["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_gpu_is_tried_without_an_engine_and_a_slot_says_why_it_is_not() {
    let mut script = Script::with_gpus(2);
    script.devices[1].wrong_kernels = vec!["probe_known".to_owned()];
    let driver = FakeDriver::install(&script).unwrap();
    let libraries = driver.folder().display().to_string();
    let said = operator().with_variable("LD_LIBRARY_PATH", &libraries).run(&["doctor", "--json"]);
    assert_eq!(level_of(&said, "probe"), ["warn", "ok", "fail"], "{}", said.stdout);
    let told = texts_of(&said, "probe");
    assert!(told[0].starts_with("cpu-0: not tried: there is no engine"), "{told:?}");
    let [good, bad] = [0, 1].map(|at: usize| script.devices[at].uuid.clone());
    assert!(told[1].starts_with(&format!("{good}: right in ")), "{told:?}");
    assert!(told[2].starts_with(&format!("{bad}: wrong in step `kernel`: ")), "{told:?}");

    let without = operator().with_variable("LD_LIBRARY_PATH", &libraries);
    let said = without.run(&["doctor", "--json", "--no-probe"]);
    assert_eq!(texts_of(&said, "probe"), ["no device was tried (`--no-probe`)"]);
    assert_eq!(level_of(&said, "gpu"), ["ok", "ok"], "they are listed all the same");
    let off = operator().with_variable("LD_LIBRARY_PATH", &libraries);
    let said = off.run(&["doctor", "--json", "--set", "devices.gpus=off"]);
    assert_eq!(level_of(&said, "probe"), ["warn"], "a GPU that is not to be used is not touched");
}

#[test]
fn nothing_is_made_or_changed() {
    let operator = operator();
    operator.run(&["doctor"]);
    assert!(!operator.path("data").exists());
}

#[test]
fn the_text_ends_with_how_many_there_are_of_each_level() {
    let said = operator().run(&["doctor"]);
    let last = said.stdout.lines().last().unwrap();
    assert!(last.ends_with("3 failed"), "{}", said.stdout);
    assert!(said.stdout.contains("next: "), "{}", said.stdout);
}

#[test]
fn a_hash_commit_that_waits_to_be_revealed_is_told_of_a_node_that_is_stopped() {
    let report = json!({
        "schema": 1, "as_of": 1_700_000_000_000_u64,
        "node": {
            "hotkey": ALICE, "netuid": 3, "uid": 4, "version": "0.1.0",
            "started_at": 1_700_000_000_000_u64, "is_stopping": false
        },
        "ready": { "ready": true, "reasons": [] },
        "chain": null,
        "weights": {
            "mode": "submit", "epoch": 12, "next_epoch_block": 300, "blocks_left": 40,
            "last_landed": null, "latest": null, "not_safe": null, "safe_to_restart": false,
            "reveal_due": {
                "epoch": 11, "opens_in": 12, "is_now": true, "from": 200, "until": 300
            }
        },
        "devices": [], "runs": [],
        "leases": { "open": 0, "granted": 0, "complete": 0, "exhausted": 0 },
        "submission_counts": {
            "committed": 0, "fetched": 0, "admitted": 0, "rejected": 0, "scored": 0, "failed": 0
        },
        "submissions": [], "peers": [], "receipts": [], "counters": {}
    });
    let said = operator().with_file("data/status.json", &report.to_string()).run(&["doctor"]);
    let told = "it says that the commit of epoch 11 is revealed in epoch 12, before block 300";
    assert!(said.stdout.contains(told), "{}", said.stdout);
    assert!(said.stdout.contains("next: start it before that"), "{}", said.stdout);
}
