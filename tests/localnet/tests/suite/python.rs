//! A Python client as miners use it, against the binary. Needs `python3` and PyPI (once).

use crate::process::Process;
use serde_json::{json, Value};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_python_miner_commits_and_reads_its_commitment() {
    let python = succeed(&mut Command::new(repository().join("scripts/python-venv")));
    let process = Process::start(&["--block-time", "200ms"]);
    let client = repository().join("tests/python/substrate_client.py");
    let output = succeed(Command::new(python.trim()).arg(client).args([
        &process.url,
        "1",
        "//miner//1//hotkey",
        "hello from python",
    ]));
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["success"], true, "{report}");
    assert_eq!((&report["tempo"], &report["uid"]), (&json!(20), &json!(2)));
    assert_eq!(report["specVersion"], 425);
    assert_eq!(report["slotDurationMs"], 200);
    assert_eq!(report["fee"], 0);
    assert_eq!(report["weights"], json!({}));
    let field = &report["commitment"]["info"]["fields"][0];
    assert_eq!(field["Raw17"], format!("0x{}", hex::encode("hello from python")));
    let events = report["events"].as_array().unwrap();
    assert!(events.contains(&json!("Commitments.Commitment")), "{report}");
}
