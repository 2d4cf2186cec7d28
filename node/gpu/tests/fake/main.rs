//! The door to the GPU driver against the fake driver.
//!
//! The system's loader reads `LD_LIBRARY_PATH` when a process starts. So each case runs in a
//! child: this test binary again, with one of the ignored tests, which prints what it was told.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]
#![allow(clippy::print_stdout, reason = "a child speaks to its parent")]

mod inventory;
mod watch;

use std::process::Command;
use std::time::Duration;

use fake_driver::FakeDriver;

/// Far above what a working driver takes, far below what a test may.
const LIMIT: Duration = Duration::from_secs(10);

/// What a child prints that is meant for its parent.
const MARK: &str = "said: ";

/// This test binary with one of the ignored tests, on a machine with this driver.
fn child(test: &str, driver: &FakeDriver) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    command.env_remove("CUDA_VISIBLE_DEVICES");
    driver.equip(&mut command);
    command
}

/// Prints for the parent. The newline before it ends what the test harness began.
fn say(value: &serde_json::Value) {
    println!("\n{MARK}{value}");
}

/// All that a child says until it ends by itself.
fn all_said(command: &mut Command) -> Vec<serde_json::Value> {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(spoken).collect()
}

fn spoken(line: &str) -> Option<serde_json::Value> {
    line.strip_prefix(MARK).map(|json| serde_json::from_str(json).unwrap())
}
