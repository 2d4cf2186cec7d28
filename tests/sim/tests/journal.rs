//! Journals: the same plan gives the same one, and it can be stepped through.

#![allow(clippy::unwrap_used, reason = "what breaks here should stop at once")]

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use sim::fault::Fault;
use sim::history::{Entry, Filter, Replay, ReplayError, Step};
use sim::plan::{Broken, Plan};

/// A journal in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn journal(plan: &Plan) -> Vec<u8> {
    let memory = Memory::default();
    drop(sim::record(plan, "abc", Some(Box::new(memory.clone()))));
    memory.0.take()
}

fn wild(seed: u64) -> Plan {
    Fault::ALL
        .iter()
        .fold(Plan::of_size(seed, 4, 6), |plan, fault| plan.with(*fault, fault.rate_max() / 4))
}

fn entries(journal: &[u8], filter: &Filter) -> Vec<Entry> {
    let mut entries = Vec::new();
    let replay = Replay::open(journal).unwrap();
    replay
        .step_through(filter, |step| {
            if let Step::Happened(entry, _) = step {
                entries.push(entry.clone());
            }
            true
        })
        .unwrap();
    entries
}

#[test]
fn the_same_plan_gives_the_same_history_to_the_letter() {
    for seed in 0..3 {
        assert_eq!(journal(&wild(seed)), journal(&wild(seed)), "seed {seed}");
    }
    assert_ne!(journal(&wild(0)), journal(&wild(1)));
}

#[test]
fn recording_a_history_does_not_change_it() {
    let lived = sim::run(&wild(5));
    let recorded = sim::record(&wild(5), "abc", None).map_err(|failure| failure.violation);
    assert_eq!(lived.ok(), recorded.ok());
}

#[test]
fn a_journal_is_read_by_node_submission_and_step() {
    let journal = journal(&wild(2));
    let all = entries(&journal, &Filter::default());
    let of_node = entries(&journal, &Filter { node: Some(1), ..Filter::default() });
    assert!(of_node.iter().all(|entry| entry.node.is_none_or(|node| node == 1)));
    let about = entries(&journal, &Filter { submission: Some(3), ..Filter::default() });
    assert!(about.iter().all(|entry| entry.about.contains(&3)));
    let filter = Filter { from: Some(100), until: Some(120), ..Filter::default() };
    let some = entries(&journal, &filter);
    assert!(some.iter().all(|entry| (100..=120).contains(&entry.step)));
    for part in [&of_node, &about, &some] {
        assert!(!part.is_empty() && part.len() < all.len(), "{} of {}", part.len(), all.len());
    }
}

#[test]
fn replaying_gives_the_state_of_a_node_after_each_event() {
    let plan = Plan::of_size(6, 3, 2).calm();
    let mut last = String::new();
    let journal = journal(&plan);
    Replay::open(journal.as_slice())
        .unwrap()
        .step_through(&Filter { node: Some(0), ..Filter::default() }, |step| {
            if let Step::Happened(entry, state) = step {
                // In the end it is forgotten.
                if let Some(state) = state.get("s0").filter(|_| entry.is_event) {
                    last.clone_from(state);
                }
            }
            true
        })
        .unwrap();
    assert!(last.contains("Scored") || last.contains("Failed") || last.contains("Rejected"));
}

#[test]
fn a_failure_names_commit_seed_step_and_invariant_and_what_happened_last() {
    let plan = Plan::of_size(3, 3, 5).breaking(Broken::EffectsBeforeCommit);
    let failure = sim::record(&plan, "abc", None).unwrap_err();
    let told = failure.to_string();
    let step = format!("step {}", failure.violation.step);
    for part in ["BROKEN effects_follow_their_commit", "commit abc", "seed 3", step.as_str()] {
        assert!(told.contains(part), "{part} is not told: {told}");
    }
    assert!(!failure.last.is_empty() && failure.last.len() <= 40);
    let journal = journal(&plan);
    let mut ends_broken = false;
    let read = Replay::open(journal.as_slice()).unwrap();
    let read = read.step_through(&Filter::default(), |step| {
        ends_broken = matches!(step, Step::Failed(violation) if *violation == failure.violation);
        true
    });
    assert!(read.is_ok() && ends_broken);
}

#[test]
fn what_is_no_journal_is_refused_with_its_line() {
    assert!(matches!(Replay::open(b"".as_slice()), Err(ReplayError::NoHeader)));
    let refused = Replay::open(b"{}\n".as_slice()).unwrap_err();
    assert!(matches!(refused, ReplayError::Parse { line: 1, .. }), "{refused}");
    let mut journal = journal(&Plan::of_size(7, 1, 1).calm());
    journal.extend_from_slice(b"nonsense\n");
    let lines = journal.iter().filter(|byte| **byte == b'\n').count();
    let read = Replay::open(journal.as_slice()).unwrap();
    let refused = read.step_through(&Filter::default(), |_| true).unwrap_err();
    assert!(matches!(refused, ReplayError::Parse { line, .. } if line == lines), "{refused}");
}
