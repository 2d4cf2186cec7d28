//! `assay replay`: what the simulator recorded can be read with the node's own binary.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use serde_json::{json, Value};
use support::{Operator, Said};

const FILE: &str = "seed-88.jsonl";

fn began() -> Value {
    let plan = json!({
        "seed": 88, "nodes": 3, "submissions": 5, "replicas": 2, "devices": [1, 1, 1],
        "faults": {"crash": 21, "lost": 50}, "storm_ms": 60_000
    });
    json!({"began": {"commit": "abc", "plan": plan}})
}

fn happened(step: u64, node: Option<usize>, about: &[usize]) -> Value {
    let name = format!("s{}", about.first().copied().unwrap_or_default());
    json!({"happened": {
        "step": step, "at_ms": step * 1_500, "node": node, "is_event": node.is_some(),
        "event": format!("event {step}"), "writes": ["Put(Lease(..))"],
        "changed": {name: format!("value {step}")}, "about": about
    }})
}

fn failed() -> Value {
    json!({"failed": {
        "invariant": "everything_settles", "detail": "node 1 still has s2 as Admitted",
        "nodes": [1], "step": 6, "at_ms": 9_000
    }})
}

/// Six steps of two nodes and the world, and an invariant that was broken.
fn history() -> String {
    let lines = [
        began(),
        happened(1, Some(0), &[1]),
        happened(2, Some(1), &[2]),
        happened(2, None, &[]),
        happened(3, Some(1), &[1, 2]),
        happened(4, Some(0), &[2]),
        happened(6, Some(1), &[2]),
        failed(),
    ];
    lines.map(|line| format!("{line}\n")).concat()
}

fn replay(flags: &[&str]) -> Said {
    let arguments: Vec<&str> = ["replay", FILE].iter().chain(flags).copied().collect();
    Operator::new().with_file(FILE, &history()).run(&arguments)
}

/// The steps that are shown, in order.
fn steps(said: &Said) -> Vec<String> {
    assert_eq!(said.code, 0, "{}", said.stderr);
    let heads = said.stdout.lines().filter_map(|line| line.strip_prefix('#'));
    heads.map(|head| head.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_history_is_shown_from_its_plan_to_what_was_broken() {
    let said = replay(&[]);
    assert_eq!(steps(&said), ["1", "2", "2", "3", "4", "6"]);
    let first = "commit abc, seed 88, 3 nodes, 5 submissions, faults crash=21 lost=50\n\
                 #1 1.500s v0: event 1\n    writes Put(Lease(..))\n    s1: value 1\n";
    assert!(said.stdout.starts_with(first), "{}", said.stdout);
    let last = "BROKEN everything_settles at step 6, 9000 ms: node 1 still has s2 as Admitted\n";
    assert!(said.stdout.ends_with(last), "{}", said.stdout);
}

#[test]
fn steps_are_chosen_by_number_node_and_submission() {
    assert_eq!(steps(&replay(&["--node", "1"])), ["2", "2", "3", "6"], "and the world");
    assert_eq!(steps(&replay(&["--submission", "1"])), ["1", "3"]);
    assert_eq!(steps(&replay(&["--node", "0", "--submission", "2"])), ["4"]);
    let some = replay(&["--from", "2", "--count", "3"]);
    assert_eq!(steps(&some), ["2", "2", "3"]);
    assert!(some.stdout.ends_with("Admitted\nmore: --from 4\n"), "{}", some.stdout);
}

#[test]
fn one_step_comes_with_all_that_its_node_knew() {
    let said = replay(&["--step", "3"]);
    assert_eq!(steps(&said), ["3"]);
    let state = "        s1: value 3\n        s2: value 2\n";
    assert!(said.stdout.contains(state), "{}", said.stdout);
    let json = replay(&["--step", "3", "--json"]);
    let line: Value = serde_json::from_str(json.stdout.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["happened"]["state"], json!({"s1": "value 3", "s2": "value 2"}));
    assert_eq!(line["happened"]["event"], "event 3");
}

#[test]
fn as_json_every_line_is_one_and_nothing_else_is_printed() {
    let said = replay(&["--json", "--count", "2"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let lines: Vec<Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&String> = lines.iter().flat_map(|l| l.as_object().unwrap().keys()).collect();
    assert_eq!(kinds, ["began", "happened", "happened", "failed"]);
    assert_eq!(lines[3], failed());
}

#[test]
fn what_is_no_history_is_refused_with_its_line_and_a_next_step() {
    for (text, reason) in [
        ("", "does not begin with the plan"),
        ("PK\u{3}\u{4}", "line 1 is not of a history"),
        ("{\"happened\":{\"step\":1,\"at_ms\":1,\"node\":null,\"event\":\"\"}}\n", "the plan"),
        (&format!("{}\n{{}}\n", began()), "line 2 is not of a history"),
    ] {
        let said = Operator::new().with_file(FILE, text).run(&["replay", FILE]);
        assert_eq!(said.code, 64, "{text:?}: {}", said.stderr);
        assert!(said.stderr.contains(reason), "{text:?}: {}", said.stderr);
        assert!(said.stderr.contains("hint: "), "{}", said.stderr);
    }
    let said = Operator::new().run(&["replay", "nowhere.jsonl"]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("cannot open `nowhere.jsonl`"), "{}", said.stderr);
}

#[test]
fn where_nothing_fits_it_says_so() {
    let said = replay(&["--step", "5"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("nothing in `seed-88.jsonl` fits"), "{}", said.stderr);
    assert_eq!(replay(&["--step", "5", "--from", "2"]).code, 64, "one or the other");
}
