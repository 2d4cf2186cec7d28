//! A fixed set of histories: whatever goes wrong, every invariant holds after every event, and
//! after healing everything is settled and all agree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what breaks here should stop at once")]

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use sim::fault::Fault;
use sim::plan::Plan;
use sim::Report;

/// Lives these histories; a broken one is told in full and leaves its journal.
fn live(plans: impl Iterator<Item = Plan>) -> Report {
    let mut sum = Report::default();
    for plan in plans {
        match sim::run(&plan) {
            Ok(report) => sum.add(&report),
            Err(_) => tell(&plan),
        }
    }
    sum
}

fn tell(plan: &Plan) -> ! {
    let journal = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.jsonl", plan.seed));
    let sink = BufWriter::new(File::create(&journal).unwrap());
    let failure = sim::record(plan, "of the test", Some(Box::new(sink))).unwrap_err();
    panic!("{failure}\njournal {}", journal.display());
}

fn seeds(from: u64, count: u64) -> Report {
    live((from..from + count).map(Plan::draw))
}

/// Plans of one size, with nothing that goes wrong but this.
fn only(seeds: u64, size: (usize, usize), faults: &[(Fault, u32)]) -> impl Iterator<Item = Plan> {
    let faults = faults.to_vec();
    (0..seeds).map(move |seed| {
        let calm = Plan::of_size(seed, size.0, size.1).calm();
        faults.iter().fold(calm, |plan, (fault, rate)| plan.with(*fault, *rate))
    })
}

/// A set that meets less than this is too tame to prove anything.
fn is_wild(sum: &Report) {
    let counts = &sum.counts;
    assert!(counts.crashes > 50, "{counts:?}");
    assert!(counts.takeovers > 50, "{counts:?}");
    assert!(counts.stale > 0, "{counts:?}");
    assert!(counts.seals > 1_000, "{counts:?}");
    assert!(counts.strikes > 0, "{counts:?}");
    // An attempt may be lost, and then another one; all of them seldom are.
    assert!(sum.exhausted * 50 < sum.settled, "{} of {} exhausted", sum.exhausted, sum.settled);
}

#[test]
fn case_16_every_invariant_holds_in_fixed_histories_first_part() {
    is_wild(&seeds(0, 50));
}

#[test]
fn case_16_every_invariant_holds_in_fixed_histories_second_part() {
    is_wild(&seeds(50, 50));
}

#[test]
fn case_16_every_invariant_holds_in_fixed_histories_third_part() {
    is_wild(&seeds(100, 50));
}

#[test]
fn case_16_every_invariant_holds_in_fixed_histories_fourth_part() {
    is_wild(&seeds(150, 50));
}

#[test]
fn case_16_sixteen_nodes_settle_two_hundred_submissions_in_a_storm() {
    let plan = [(Fault::Lost, 50), (Fault::Duplicated, 50), (Fault::Late, 20), (Fault::Crash, 100)]
        .iter()
        .fold(Plan::of_size(1, 16, 200).calm(), |plan, (fault, rate)| plan.with(*fault, *rate));
    let sum = live(std::iter::once(plan));
    assert!(sum.settled > 150, "{sum:?}");
}

/// The best of each window go on to further tiers, of which every node has to plan the same.
#[test]
fn case_16_who_goes_how_far_is_the_same_for_all_whatever_goes_wrong() {
    let sum = live((300..340).map(|seed| Plan::draw(seed).with_tiers()));
    assert!(sum.counts.crashes > 20 && sum.counts.takeovers > 5, "{sum:?}");
    assert!(sum.counts.further > 100, "hardly anybody went on: {sum:?}");
}

#[test]
fn case_14_a_worker_that_was_stopped_past_its_ttl_and_posts_is_refused() {
    let sum = live(only(10, (4, 20), &[(Fault::Stall, 600)]));
    assert!(sum.counts.stale > 0, "nobody came too late: {sum:?}");
}

#[test]
fn case_17_clocks_that_jump_and_drift_change_no_lease() {
    let sum = live(only(5, (4, 12), &[(Fault::WallJump, 500), (Fault::Drift, 100)]));
    assert_eq!((sum.counts.stale, sum.counts.late), (0, 0), "{sum:?}");
}

#[test]
fn case_34_others_take_over_from_coordinators_that_die_for_good() {
    let sum = live(only(10, (5, 20), &[(Fault::Death, 200)]));
    assert!(sum.counts.takeovers > 0, "{sum:?}");
    assert_eq!(sum.exhausted, 0, "{sum:?}");
}

#[test]
fn case_35_liars_stand_alone_and_are_marked() {
    let sum = live(only(10, (5, 20), &[]).map(|plan| plan.with_liar(4).with_replicas(2)));
    assert!(sum.counts.strikes > 0, "{sum:?}");
}

/// A node stood in for others, went off duty, and made public what it had accepted before anybody
/// had decided: who was asked next copied it.
#[test]
fn case_35_what_was_accepted_by_who_is_off_duty_confirms_nothing_by_being_copied() {
    let sum = live(std::iter::once(Plan::draw(6387)));
    assert!(sum.counts.copies > 0 && sum.counts.takeovers > 0, "{sum:?}");
}

#[test]
fn case_35_who_coordinates_sees_results_early_and_confirms_nothing_with_a_copy() {
    let sum = live(only(10, (5, 20), &[]).map(|plan| plan.with_copier(4).with_replicas(2)));
    assert!(sum.counts.strikes > 0, "{sum:?}");
    assert!(sum.counts.peeks > 0 && sum.counts.copies > 0, "nothing was copied: {sum:?}");
    // Under somebody else's lease it has to fix its result before it sees another one.
    assert_eq!(sum.counts.copies_for_others, 0, "{sum:?}");
}

#[test]
fn case_35_copies_confirm_nothing_where_there_is_nobody_else_to_ask() {
    let sum = live(only(10, (3, 20), &[]).map(|plan| plan.with_copier(2).with_replicas(3)));
    assert!(sum.counts.peeks > 0 && sum.counts.copies > 0, "nothing was copied: {sum:?}");
}

#[test]
fn a_loop_that_hangs_past_its_ttl_runs_nothing_beside_others_and_scores_nothing_twice() {
    let sum = live(only(20, (4, 40), &[(Fault::LoopHangs, 3_000)]));
    assert!(sum.counts.killed > 5, "hardly anything was killed: {sum:?}");
    assert!(sum.counts.stale > 0, "nobody came too late: {sum:?}");
}

#[test]
fn a_history_without_faults_loses_nothing() {
    let sum = live(only(5, (4, 20), &[]));
    assert_eq!((sum.counts.crashes, sum.counts.stale, sum.counts.strikes), (0, 0, 0));
    assert_eq!((sum.exhausted, sum.counts.late, sum.counts.disputes), (0, 0, 0));
}
