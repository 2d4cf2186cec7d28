//! A Python client as miners use it, against the binary. Needs `python3` and PyPI (once).

use crate::process::Process;
use serde_json::{json, Value};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../python")
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A virtual environment with the pinned requirements, kept between runs and made anew when they
/// change.
fn python() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-client");
    let requirements = scripts().join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let done = dir.join("installed.txt");
    let python = dir.join("bin/python");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir));
    succeed(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements),
    );
    fs::write(done, wanted).unwrap();
    python
}

#[test]
fn a_python_miner_commits_and_reads_its_commitment() {
    let python = python();
    let process = Process::start(&["--block-time", "200ms"]);
    let output = succeed(Command::new(python).arg(scripts().join("substrate_client.py")).args([
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
