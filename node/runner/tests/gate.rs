//! A gate in front of a program, in real containers.

mod support;

use std::path::Path;
use std::time::Duration;

use node_core::outcome::Ending;
use node_runner::{Gate, SandboxSpec, Waiting};
use support::{bind, run_of, shared_directory, Sandbox};

/// A container's spec with a gate in front of its program.
fn gated(spec: SandboxSpec, gate: &Gate) -> SandboxSpec {
    let SandboxSpec { mut binds, command, .. } = spec;
    binds.push(gate.bind());
    SandboxSpec { binds, command: Gate::before(command), ..spec }
}

fn gate_in(dir: &Path) -> Gate {
    Gate::make(dir.join("gate")).expect("nothing is there yet")
}

async fn at_gate(sandbox: &Sandbox, spec: SandboxSpec, gate: &Gate) -> Waiting {
    let container = sandbox.engine.create(gated(spec, gate)).await.expect("the image is here");
    container.start_waiting().await.expect("it starts")
}

#[tokio::test]
async fn a_program_starts_when_its_gate_is_opened_and_not_before() {
    let sandbox = Sandbox::new("gate").await;
    let (dir, data) = (shared_directory(), shared_directory());
    let gate = gate_in(dir.path());
    let say = |word: &str| std::fs::write(data.path().join("word"), word).unwrap();
    say("early");
    let spec = sandbox.ahead("cat /assay/data/word");
    let run = run_of(&sandbox.spec("true"));
    let waiting = at_gate(&sandbox, SandboxSpec { binds: vec![bind(&data)], ..spec }, &gate).await;
    // What is asserted is that nothing happens meanwhile.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.has_ended());
    say("late");
    let mut handle = waiting.assign(&run).await.unwrap();
    gate.open().unwrap();
    let report = handle.finished().await;
    assert_eq!((report.ending.as_ref(), report.output_tail.as_str()), (None, "late"), "{report:?}");
    assert!(report.ran_ms < 500, "the wall clock runs from its run on: {report:?}");
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn a_program_behind_a_gate_is_what_it_would_be_without_one() {
    let sandbox = Sandbox::new("gate-same").await;
    let facts = "for file in cmdline environ; do tr '\\0' '\\n' </proc/1/$file | sort; done; \
                 ls /proc/1/fd; grep -v 'ctxt\\|^State\\|^Vm\\|^Rss' /proc/1/status; \
                 cat /proc/1/limits /proc/1/oom_score_adj; readlink /proc/1/cwd; readlink /proc/1/exe";
    let plain = sandbox.transcript(facts).await;
    assert!(plain.contains("NoNewPrivs:\t1") && plain.contains("HOME=/tmp"), "{plain}");
    let dir = shared_directory();
    let gate = gate_in(dir.path());
    // As for a run that has no container made ahead.
    gate.open().unwrap();
    let behind = sandbox.transcript_with(facts, |spec| *spec = gated(spec.clone(), &gate)).await;
    assert_eq!(behind, plain);
}

#[tokio::test]
async fn who_waits_at_a_gate_ends_when_nobody_is_left_to_open_it() {
    let sandbox = Sandbox::new("gate-closed").await;
    let dir = shared_directory();
    let gate = gate_in(dir.path());
    let mut waiting = at_gate(&sandbox, sandbox.ahead("echo never"), &gate).await;
    drop(gate);
    let report = waiting.finished().await;
    assert_eq!(report.ending, Some(Ending::Killed { exit_code: 1 }), "{report:?}");
    assert_eq!(report.output_bytes, 0, "{report:?}");
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn whoever_removes_a_container_at_its_gate_is_noticed() {
    let sandbox = Sandbox::new("gate-gone").await;
    let dir = shared_directory();
    let gate = gate_in(dir.path());
    let mut waiting = at_gate(&sandbox, sandbox.ahead("echo never"), &gate).await;
    let left = sandbox.engine.leftovers().await.unwrap();
    sandbox.engine.remove_leftover(&left[0]).await.unwrap();
    waiting.finished().await;
    assert!(waiting.has_ended());
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn the_gate_is_of_no_use_to_the_program_behind_it() {
    let sandbox = Sandbox::new("gate-abuse").await;
    let dir = shared_directory();
    let gate = gate_in(dir.path());
    gate.open().unwrap();
    // Its line was read: a second reader finds nothing, and nobody else reads what it writes.
    let script = "echo x >/assay/gate; rm /assay/gate; chmod 666 /assay/gate; \
                  timeout 1 cat /assay/gate; echo went on";
    let said = sandbox.transcript_with(script, |spec| *spec = gated(spec.clone(), &gate)).await;
    assert!(said.contains("can't create /assay/gate: Permission denied"), "{said}");
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
    assert!(said.ends_with("Terminated\nwent on\n"), "{said}");
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image_ends_behind_its_gate_with_the_shells_code() {
    let sandbox = Sandbox::new("gate-no-program").await;
    let dir = shared_directory();
    let gate = gate_in(dir.path());
    gate.open().unwrap();
    let run = sandbox.start_with("true", |spec| {
        spec.command = vec!["/no/such/program".to_owned()];
        *spec = gated(spec.clone(), &gate);
    });
    let report = run.await.finished().await;
    assert_eq!(report.ending, Some(Ending::Killed { exit_code: 127 }), "{report:?}");
    assert!(report.output_tail.contains("/no/such/program: not found"), "{report:?}");
}
