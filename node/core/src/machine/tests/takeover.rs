//! Claims about coordinators that are gone, come back, or answer and do nothing.

use super::world::{miner, validator, Fate, World, BLOCK_MS};
use crate::id::SubmissionId;
use crate::lease::LeaseState;
use crate::limits::{GONE_AFTER_MS, LEASE_TTL_MS, STUCK_BLOCKS};
use crate::machine::event::Event;
use crate::submission::SubmissionState;

const NLL: u64 = 400_000_000_000_000;
const GOOD: Fate = Fate::Scores { nll_nanonats: NLL };

/// From a coordinator's last word to the end of what the next one does with a short run.
const TAKEOVER_MS: u64 = GONE_AFTER_MS + 2 * LEASE_TTL_MS;

fn settled_at(world: &World, nodes: &[usize], id: SubmissionId) -> bool {
    nodes.iter().all(|node| world.is_settled(*node, id))
}

#[test]
fn case_34_a_coordinator_dies_while_its_lease_runs_and_the_next_one_takes_over() {
    for run_ms in [10_000, 40_000, 100_000] {
        let mut world = World::new(1, 3, 1);
        world.run_ms = run_ms;
        let id = world.submit_to(0, miner(0), GOOD);
        world.run_until(60_000, "it runs", |world| world.is_running(1) || world.is_running(2));
        world.kill(0);
        let patience = TAKEOVER_MS + run_ms;
        world.run_until(patience, "settled by the others", |world| settled_at(world, &[1, 2], id));
        assert_eq!(world.state(1, id), world.state(2, id));
        let runs = world.runs_started();
        assert!(runs <= 2, "{runs} runs of {run_ms} ms");
        world.start(0);
        world.run_until(60_000, "known to the first one", |world| world.is_settled(0, id));
        world.run_for(120_000);
        assert_eq!(world.runs_started(), runs, "its return starts nothing");
        world.check_scores();
    }
}

#[test]
fn case_34_a_result_sealed_at_a_dead_coordinator_is_handed_in_at_the_next_one() {
    for (validators, replicas) in [(2, 1), (2, 2), (3, 2), (3, 3), (4, 2)] {
        let mut world = World::with_replicas(2, validators, 1, replicas);
        // The first coordinator evaluates nothing, so that all results are the others'.
        world.hosts[0].devices = 0;
        world.kill(0);
        world.start(0);
        let id = world.submit_to(0, miner(0), GOOD);
        world.run_until(60_000, "one runs it", |world| world.runs_started() > 0);
        world.run_for(5_000);
        world.kill(0);
        let others: Vec<usize> = (1..validators).collect();
        world.run_until(TAKEOVER_MS, "settled by the others", |world| {
            settled_at(world, &others, id)
        });
        for node in others {
            let runs = world.runs_started_at(node);
            assert!(runs <= 1, "{runs} runs of node {node} of {validators}");
        }
        world.check_scores();
    }
}

#[test]
fn case_34_a_coordinator_that_returns_takes_its_share_back_and_live_leases_go_on() {
    let mut world = World::new(3, 3, 2);
    world.kill(0);
    world.run_for(GONE_AFTER_MS + 20_000);
    world.run_ms = 60_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it runs under the next one", |world| world.runs_started() == 1);
    world.start(0);
    world.run_until(30_000, "node 0 is seen again", |world| {
        (1..3).all(|node| world.hosts[node].machine().gone().next().is_none())
    });
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    let stand_in = world.hosts[0].machine().receipts().next().unwrap().receipt.clone();
    assert_ne!(stand_in.evidence.coordinator, validator(0));
    world.run_ms = 3_000;
    let next = world.submit_to(0, miner(1), GOOD);
    world.run_until(90_000, "settled", |world| world.is_settled_everywhere(next));
    let rows = world.hosts[1].machine().receipts();
    let of_next: Vec<_> = rows.filter(|row| row.receipt.evidence.submission == next).collect();
    assert!(of_next.iter().all(|row| row.receipt.evidence.coordinator == validator(0)));
    world.check_scores();
}

#[test]
fn case_34_attempts_go_on_where_they_were_when_a_coordinator_returns() {
    let mut world = World::new(4, 2, 1);
    world.run_ms = 600_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "node 1 runs it", |world| world.is_running(1));
    assert_eq!(world.attempts_at(0, id), [1]);
    world.hosts[1].is_cut_off = true;
    world.run_until(200_000, "granted anew", |world| world.attempts_at(0, id) == [2]);
    world.kill(0);
    world.start(0);
    assert_eq!(world.attempts_at(0, id), [2]);
    world.run_until(200_000, "granted once more", |world| world.attempts_at(0, id) == [3]);
}

#[test]
fn a_coordinator_that_answers_and_never_grants_holds_nothing_up_for_ever() {
    let mut world = World::new(5, 3, 1);
    world.tick_ms = 3_000;
    let life = world.hosts[0].life;
    // A node that was asked to stop answers everything and grants nothing.
    world.deliver(0, life, Event::StopRequested);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_for((STUCK_BLOCKS - 10) * BLOCK_MS);
    assert_eq!(world.state(1, id), Some(SubmissionState::Admitted), "it is still its turn");
    let patience = 20 * BLOCK_MS + 120_000;
    world.run_until(patience, "the next one helps", |world| world.is_settled_everywhere(id));
    world.check_scores();
}

#[test]
fn two_coordinators_at_once_cost_work_and_never_a_score() {
    let mut world = World::with_replicas(6, 3, 1, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(30_000, "admitted", |world| world.is_admitted_at(1, id));
    // Nobody reaches node 0, which goes on alone.
    world.hosts[0].is_cut_off = true;
    world.run_until(TAKEOVER_MS, "both sides end", |world| world.is_settled_everywhere(id));
    world.hosts[0].is_cut_off = false;
    world.run_until(60_000, "all know all", |world| {
        let counts = [0, 1, 2].map(|node| world.claimants_at(node, id).len());
        counts == [3, 3, 3]
    });
    let state = world.state(0, id);
    assert!((1..3).all(|node| world.state(node, id) == state));
    assert_eq!(world.runs_started(), 3);
    world.check_scores();
}

#[test]
fn a_lease_held_at_a_second_coordinator_does_not_stand_for_another_workers_result() {
    // Node 1 works under node 0 and, while that is away, under node 2; then node 0 is back and
    // knows node 1's result: what it still needs is somebody else's.
    let mut world = World::with_replicas(7, 3, 1, 2);
    world.hosts[0].devices = 0;
    world.kill(0);
    world.start(0);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(30_000, "open", |world| {
        world.hosts[0].machine().leases().count() == 2 && world.is_admitted_at(1, id)
    });
    for node in 1..3 {
        world.kill(node);
    }
    let grant = world.acquire(1, 0);
    let elsewhere = {
        let mut grant = world.granted_before(id, 2);
        grant.assignment =
            world.hosts[0].machine().leases().next().unwrap().row().assignment.clone();
        world.receipt_saying(1, &grant, NLL)
    };
    world.give_receipts(0, 2, 2, vec![(1, elsewhere)]);
    assert_eq!(world.claimants_at(0, id), [1]);
    let open = |world: &World| {
        let leases = world.hosts[0].machine().leases();
        leases.filter(|lease| lease.row().state == LeaseState::Open).count()
    };
    assert_eq!(open(&world), 1, "{}", world.picture());
    let sealed = world.receipt_saying(1, &grant, NLL);
    world.seal_at(0, &sealed);
    assert_eq!(open(&world), 1, "{}", world.picture());
}
