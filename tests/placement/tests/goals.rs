//! What the planner has to reach on drawn traces, and what its rivals show: a seed that fails is
//! printed, and `placement-trace --seed` shows it.

use placement_trace::replay::replay;
use placement_trace::report::{Order, Summary};
use placement_trace::rivals::{Rival, Rule};
use placement_trace::scheduler::Ours;
use placement_trace::trace::{Shape, Trace, LIMIT_MS_MAX};

fn shape(seed: u64, load_percent: u32) -> Shape {
    Shape { seed, jobs: 10_000, hosts: 8, devices_per_host: 8, load_percent }
}

fn ours(shape: Shape) -> Summary {
    let trace = Trace::draw(shape);
    let history = replay(&trace, &mut Ours::new(&shape));
    assert!(history.fates.iter().all(|fate| fate.done_ms > 0), "not all are done");
    Summary::of(&trace, &history, Order::ShareAndPriority)
}

fn rival(rule: Rule, shape: Shape) -> Summary {
    let trace = Trace::draw(shape);
    let history = replay(&trace, &mut Rival::new(rule, &shape));
    Summary::of(&trace, &history, Order::Arrival)
}

#[test]
fn with_more_work_than_devices_these_are_used_and_nothing_starves() {
    for seed in 1..=5 {
        let summary = ours(shape(seed, 125));
        let over = summary.over_work_bound();
        println!("seed {seed}: makespan {over:.3} of the bound, used {:.3}", summary.utilisation);
        assert!(over <= 1.1, "seed {seed}: makespan is {over:.3} of the bound");
        assert!(summary.makespan_ms >= summary.work_bound_ms, "seed {seed}: the bound is none");
        assert!(summary.utilisation >= 0.95, "seed {seed}: {:.3} used", summary.utilisation);
        assert_eq!(summary.starved, 0, "seed {seed}");
        // Weights are 50, 30 and 20, and so much is asked for: nobody's share is another's.
        for (part, weight) in summary.shares.iter().zip([0.5, 0.3, 0.2]) {
            assert!((part - weight).abs() < 0.04, "seed {seed}: {part:.3} instead of {weight}");
        }
    }
}

#[test]
fn whoever_is_the_first_of_its_share_starts_within_the_longest_limit_at_any_load() {
    for load_percent in [70, 85, 100, 160, 1_000] {
        let summary = ours(shape(7, load_percent));
        println!("load {load_percent}: first waited {} ms at most", summary.first_max_ms);
        assert!(summary.first_max_ms <= LIMIT_MS_MAX, "load {load_percent}, seed 7");
    }
}

#[test]
fn the_same_seed_is_the_same_history_and_another_is_another() {
    let history = |seed| {
        let shape = Shape { jobs: 500, ..shape(seed, 125) };
        replay(&Trace::draw(shape), &mut Ours::new(&shape)).fates
    };
    assert_eq!(history(3), history(3));
    assert_ne!(history(3), history(4));
}

/// The measures can fail: the rivals fail them.
#[test]
fn fifo_leaves_devices_idle_and_plain_backfill_starves_gangs() {
    let fifo = rival(Rule::Fifo, shape(1, 125));
    assert!(fifo.over_work_bound() > 1.2 && fifo.utilisation < 0.9, "{fifo:?}");
    let backfill = rival(Rule::Backfill, shape(1, 125));
    assert!(backfill.starved > 0, "{backfill:?}");
}
