//! Who is next: order, shares, reservations, back-fill.

use super::build::{gpu_hosts, gpus, host_id, unusable, Bench, HOUR_MS};
use crate::limits::{PRIORITY_MAX, PRIORITY_STEP_MS, RUN_LIMIT_MS_MAX};
use crate::placement::{Condition, Request, ShareId, Ticket, Verdict, WaitsFor};
use crate::unit::MonoMs;

#[test]
fn a_priority_is_a_head_start_and_not_a_right_to_be_always_first() {
    let mut bench = Bench::new(gpu_hosts(1, 1));
    let running = bench.submit(gpus(1, HOUR_MS));
    assert_eq!(bench.started(), [running]);
    let low = bench.submit(Request { priority: 0, ..gpus(1, HOUR_MS) });
    let head_start_ms = u64::from(PRIORITY_MAX) * PRIORITY_STEP_MS;
    bench.now = MonoMs(head_start_ms - 1);
    let high = bench.submit_now(Request { priority: PRIORITY_MAX, ..gpus(1, HOUR_MS) });
    bench.now = MonoMs(head_start_ms + 1);
    let late = bench.submit_now(Request { priority: PRIORITY_MAX, ..gpus(1, HOUR_MS) });
    let mut order = vec![running];
    for _ in 0..3 {
        bench.finish(*order.last().unwrap());
        order.extend(bench.started());
    }
    assert_eq!(order, [running, high, low, late]);
}

#[test]
fn devices_are_shared_by_weight_and_what_one_does_not_use_others_do() {
    let mut bench = Bench::new(gpu_hosts(2, 4));
    bench.planner.set_share(ShareId(1), 3_000).unwrap();
    bench.planner.set_share(ShareId(2), 1_000).unwrap();
    let of = |share| Request { share: ShareId(share), ..gpus(1, HOUR_MS) };
    let mut running: Vec<Ticket> = (0..200).map(|_| bench.submit(of(2))).collect();
    running = bench.started().into_iter().filter(|ticket| running.contains(ticket)).collect();
    assert_eq!(running.len(), 8, "nobody else wants them");
    let first: Vec<Ticket> = (0..200).map(|_| bench.submit(of(1))).collect();
    let mut of_first = 0;
    for round in 1..=40 {
        bench.now = MonoMs(round * HOUR_MS);
        for ticket in std::mem::take(&mut running) {
            bench.finish(ticket);
        }
        running = bench.started();
        of_first += running.iter().filter(|ticket| first.contains(ticket)).count();
        assert_eq!(running.len(), 8);
        if round == 25 {
            assert_eq!(of_first, 150, "three of four, of 25 rounds with 8 runs");
        }
    }
}

#[test]
fn a_share_that_was_idle_has_no_claim_on_the_time_that_others_used() {
    let mut bench = Bench::new(gpu_hosts(1, 4));
    let of = |share| Request { share: ShareId(share), ..gpus(1, HOUR_MS) };
    let old: Vec<Ticket> = (0..200).map(|_| bench.submit(of(1))).collect();
    let mut running = bench.started();
    let mut of_old = 0;
    for hour in 1..=30 {
        bench.now = MonoMs(hour * HOUR_MS);
        running.into_iter().for_each(|ticket| bench.finish(ticket));
        if hour == 20 {
            for _ in 0..200 {
                bench.submit(of(2));
            }
        }
        running = bench.started();
        if hour >= 20 {
            of_old += running.iter().filter(|ticket| old.contains(ticket)).count();
        }
    }
    assert_eq!(of_old, 22, "half of eleven hours with four runs");
}

#[test]
fn backfill_takes_what_ends_in_time_and_leaves_what_would_delay_the_reserved() {
    let mut bench = Bench::new(gpu_hosts(1, 4));
    let (long, short) = (bench.submit(gpus(1, 2 * HOUR_MS)), bench.submit(gpus(1, HOUR_MS)));
    assert_eq!(bench.started(), [long, short]);
    let gang = bench.submit(gpus(4, HOUR_MS));
    let too_long = bench.submit(gpus(1, 2 * HOUR_MS + 1));
    let in_time = bench.submit(gpus(1, 2 * HOUR_MS));
    assert_eq!(bench.started(), [in_time]);
    let explanation = bench.planner.explain(bench.now, gang).unwrap();
    let WaitsFor::Reserved(kept) = explanation.waits_for else { panic!("{explanation:?}") };
    assert_eq!((kept.host, kept.start_by), (host_id("h0"), MonoMs(2 * HOUR_MS)));
    let explanation = bench.planner.explain(bench.now, too_long).unwrap();
    let kept_for = Verdict::KeptFor { ticket: gang, start_by: MonoMs(2 * HOUR_MS) };
    assert_eq!(explanation.hosts[0].devices[3].verdict, kept_for);
    // Runs that end before their limits bring the reserved start nearer.
    bench.now = MonoMs(1);
    bench.finish(long);
    bench.finish(in_time);
    assert_eq!(bench.started(), []);
    assert_eq!(bench.planner.reservations()[0].start_by, MonoMs(HOUR_MS));
    bench.finish(short);
    assert_eq!(bench.started(), [gang]);
    bench.finish(gang);
    assert_eq!(bench.started(), [too_long]);
}

#[test]
fn devices_that_the_reserved_does_not_need_are_free_for_any_run() {
    let mut bench = Bench::new(gpu_hosts(1, 4));
    let running = bench.submit(gpus(3, HOUR_MS));
    assert_eq!(bench.started(), [running]);
    let gang = bench.submit(gpus(3, HOUR_MS));
    let long = bench.submit(gpus(1, 4 * HOUR_MS));
    let other = bench.submit(gpus(1, 4 * HOUR_MS));
    assert_eq!(bench.started(), [long], "three of four devices are enough for the gang");
    bench.now = MonoMs(HOUR_MS);
    bench.finish(running);
    assert_eq!(bench.started(), [gang]);
    assert!(bench.planner.is_waiting(other));
}

#[test]
fn a_reservation_moves_to_another_host_when_a_device_fails() {
    let mut bench = Bench::new(gpu_hosts(2, 2));
    let runs: Vec<_> = [1, 1, 2, 2].map(|hours| bench.submit(gpus(1, hours * HOUR_MS))).into();
    assert_eq!(bench.started(), runs);
    let gang = bench.submit(gpus(2, HOUR_MS));
    assert_eq!(bench.started(), []);
    let kept = |bench: &Bench| {
        let kept = bench.planner.reservations().remove(0);
        (kept.host.0, kept.start_by.0 / HOUR_MS)
    };
    assert_eq!(kept(&bench), ("h0".to_owned(), 1));
    bench.set_condition("h0", "h0-1", &unusable("failed"));
    assert_eq!(kept(&bench), ("h1".to_owned(), 2));
    bench.set_condition("h1", "h1-1", &unusable("failed"));
    assert_eq!(bench.planner.reservations(), []);
    assert_eq!(bench.started(), []);
    let explanation = bench.planner.explain(bench.now, gang).unwrap();
    assert_eq!(explanation.waits_for, WaitsFor::Host);
    bench.set_condition("h0", "h0-1", &Condition::Usable);
    assert_eq!(bench.started(), []);
    assert_eq!(kept(&bench), ("h0".to_owned(), 1));
}

#[test]
fn a_repeated_run_keeps_its_ticket_and_its_place() {
    let mut bench = Bench::new(gpu_hosts(1, 1));
    let tickets: Vec<_> = (0..3).map(|_| bench.submit(gpus(1, HOUR_MS))).collect();
    assert_eq!(bench.started(), tickets[..1]);
    assert!(bench.planner.requeue(bench.now, tickets[0]));
    assert_eq!(bench.started(), tickets[..1]);
    assert!(!bench.planner.requeue(bench.now, tickets[1]), "it does not run");
    assert!(bench.planner.cancel(tickets[1]) && !bench.planner.cancel(tickets[0]));
    bench.finish(tickets[0]);
    assert_eq!(bench.started(), tickets[2..]);
}

#[test]
fn runs_that_are_there_already_are_taken_over_once() {
    let mut bench = Bench::new(gpu_hosts(1, 2));
    let ticket = bench.submit(gpus(2, HOUR_MS));
    let (_, seat) = bench.decide().remove(0);
    let mut after = Bench::new(gpu_hosts(1, 2));
    let adopted = after.planner.adopt(gpus(2, HOUR_MS), &seat, MonoMs(0)).unwrap();
    assert_eq!((adopted, after.planner.plan().runs), (ticket, bench.planner.plan().runs));
    let twice = after.planner.adopt(gpus(2, HOUR_MS), &seat, MonoMs(0)).unwrap_err();
    assert_eq!(twice.to_string(), "the run is not on free devices of host h0 that suffice for it");
    assert_eq!(after.planner.waiting_len(), 0);
}

/// The bound: a gang that is the first of its share, and has a host kept for it, starts within the
/// longest time limit of what runs then, whatever comes later and however much of it.
#[test]
fn case_31_a_gang_of_eight_starts_within_the_longest_limit_while_single_runs_keep_coming() {
    let mut bench = Bench::new(gpu_hosts(4, 8));
    let mut ends: Vec<(MonoMs, Ticket)> = Vec::new();
    let mut gang = None;
    let mut draws = 1u64;
    for minute in 0..24 * 60 {
        bench.now = MonoMs(minute * 60_000);
        let (ended, running) = ends.into_iter().partition(|(end, _)| *end <= bench.now);
        ends = running;
        for (_, ticket) in ended {
            bench.finish(ticket);
        }
        if minute == 600 {
            let first = bench.planner.waiting_len();
            gang = Some(bench.submit_now(gpus(8, HOUR_MS)));
            assert!(first < 3, "{first} wait: the gang is the first within minutes");
        }
        // More than there is room for from the tenth hour on; each may take as long as any run.
        for _ in 0..if minute < 600 { 1 } else { 3 } {
            draws = draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bench.submit_now(gpus(1, RUN_LIMIT_MS_MAX - (draws >> 40) % HOUR_MS));
        }
        let lasts_ms = 20 * 60_000 + (draws >> 33) % (20 * 60_000);
        let started = bench.started();
        if gang.is_some_and(|gang| started.contains(&gang)) {
            let waited_ms = bench.now.0 - 600 * 60_000;
            assert!(waited_ms <= RUN_LIMIT_MS_MAX, "{waited_ms}");
            assert!(bench.planner.waiting_len() > 20, "single ones wait beside it");
            return;
        }
        ends.extend(started.into_iter().map(|ticket| (bench.now.plus_ms(lasts_ms), ticket)));
    }
    panic!("the gang never started");
}
