//! A product that is broken on purpose is found out, and by the invariant that is about it.

#![allow(clippy::unwrap_used, reason = "what breaks here should stop at once")]

use std::time::Duration;

use sim::fault::Fault;
use sim::plan::{Broken, Plan};
use sim::shrink::Effort;

const ORDER: &str = "effects_follow_their_commit";
const SEALS: &str = "seals_are_of_their_holders";
const SHOWN: &str = "results_are_shown_after_enough_seals";

/// The names of the invariants that these plans break, without repeats.
fn broken_by(plans: impl Iterator<Item = Plan>) -> Vec<String> {
    let mut names: Vec<String> =
        plans.filter_map(|plan| sim::run(&plan).err()).map(|broken| broken.invariant).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Workers are stopped for longer than their leases last, and then hand their results in.
fn stalled(seed: u64) -> Plan {
    Plan::of_size(seed, 5, 20).calm().with(Fault::Stall, 1_000)
}

/// A coordinator copies.
fn copying(seed: u64) -> Plan {
    Plan::of_size(seed, 5, 20).calm().with_copier(4).with_replicas(2)
}

/// Loops hang for longer than their leases last.
fn hanging(seed: u64) -> Plan {
    Plan::of_size(seed, 5, 20).calm().with(Fault::LoopHangs, 1_000)
}

/// Processes die a lot.
fn crashing(seed: u64) -> Plan {
    Plan::of_size(seed, 4, 30).calm().with(Fault::Crash, 300)
}

#[test]
fn a_coordinator_that_cannot_tell_old_attempts_is_found_out_at_the_seal() {
    let plans = (0..10).map(|seed| stalled(seed).breaking(Broken::FencingOff));
    assert_eq!(broken_by(plans), [SEALS]);
}

#[test]
fn a_coordinator_that_cannot_tell_old_attempts_is_found_out_by_the_result_that_it_counts() {
    let plans = (0..10).map(|seed| stalled(seed).breaking(Broken::FencingOff).ignoring(SEALS));
    let broken = broken_by(plans);
    assert!(broken.iter().any(|name| name == "results_are_of_live_attempts"), "{broken:?}");
}

#[test]
fn workers_that_hide_what_a_coordinator_saw_are_found_out_by_what_they_sign() {
    let plans = (0..5).map(|seed| copying(seed).breaking(Broken::CopiesUnmarked));
    assert_eq!(broken_by(plans), [SHOWN]);
}

#[test]
fn workers_that_hide_what_a_coordinator_saw_are_found_out_by_the_copy_that_confirms() {
    let plans = (0..5).map(|seed| copying(seed).breaking(Broken::CopiesUnmarked).ignoring(SHOWN));
    assert_eq!(broken_by(plans), ["copies_confirm_nothing"]);
}

#[test]
fn a_keeper_that_stops_nothing_is_found_out_when_its_lease_is_given_away() {
    let plans = (0..10).map(|seed| hanging(seed).breaking(Broken::SwitchOff));
    assert_eq!(broken_by(plans), ["holders_stop_before_others_start"]);
}

/// GPUs fail, and memory stays held after runs.
fn on_bad_gpus(seed: u64) -> Plan {
    let calm = Plan::of_size(seed, 3, 20).calm();
    calm.with(Fault::DeviceFails, 300).with(Fault::MemoryHeld, 500)
}

#[test]
fn a_node_that_takes_memory_for_free_is_found_out_by_the_next_run() {
    let plans = (0..5).map(|seed| on_bad_gpus(seed).breaking(Broken::MemoryTrusted));
    assert_eq!(broken_by(plans), ["devices_are_sound"]);
    assert_eq!(broken_by((0..5).map(on_bad_gpus)), [""; 0]);
}

#[test]
fn the_same_histories_with_fencing_break_nothing() {
    assert_eq!(broken_by((0..10).map(stalled)), [""; 0]);
}

#[test]
fn sending_before_storing_is_found_out_at_once() {
    let plans = (0..3).map(|seed| crashing(seed).breaking(Broken::EffectsBeforeCommit));
    assert_eq!(broken_by(plans), [ORDER]);
}

#[test]
fn sending_before_storing_is_found_out_by_what_is_lost() {
    let plans =
        (0..20).map(|seed| crashing(seed).breaking(Broken::EffectsBeforeCommit).ignoring(ORDER));
    let broken = broken_by(plans);
    let lost = ["acknowledged_leases_are_kept", "attempts_only_grow"];
    assert!(lost.iter().any(|name| broken.iter().any(|broken| broken == name)), "{broken:?}");
}

#[test]
fn the_same_histories_with_storing_first_break_nothing() {
    assert_eq!(broken_by((0..20).map(crashing)), [""; 0]);
}

#[test]
fn a_broken_history_shrinks_to_a_smaller_one_that_breaks_the_same() {
    let plan = Plan::of_size(3, 6, 40).breaking(Broken::EffectsBeforeCommit);
    let violation = sim::run(&plan).unwrap_err();
    let effort = Effort { tries_max: 40, time_max: Duration::from_secs(60) };
    let shrunk = sim::shrink::shrink(&plan, &violation, effort);
    assert_eq!(shrunk.violation.invariant, violation.invariant);
    assert!(shrunk.plan.nodes < 6 && shrunk.plan.submissions < 40, "{:?}", shrunk.plan);
    assert_eq!(sim::run(&shrunk.plan).unwrap_err().invariant, violation.invariant);
}

#[test]
fn shrinking_ends_when_its_time_is_over_with_what_it_has() {
    let plan = Plan::of_size(3, 6, 40).breaking(Broken::EffectsBeforeCommit);
    let violation = sim::run(&plan).unwrap_err();
    let effort = Effort { tries_max: 40, time_max: Duration::ZERO };
    let shrunk = sim::shrink::shrink(&plan, &violation, effort);
    assert_eq!((shrunk.tries, shrunk.plan, shrunk.violation), (0, plan, *violation));
}
