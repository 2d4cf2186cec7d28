//! Claims about stopping: nothing new starts, what runs may finish, what cannot is given back.

use super::world::{metrics, miner, salt, validator, Fate, World};
use crate::lease::{LeaseAnswer, LeaseRefusal, LeaseState, PeerAnswer};
use crate::machine::effect::Note;
use crate::machine::event::{Event, Question};
use crate::outcome::Ending;
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

fn stop(world: &mut World, node: usize, event: Event) {
    let life = world.hosts[node].life;
    world.deliver(node, life, event);
}

#[test]
fn a_stopping_node_asks_for_no_work_and_grants_none() {
    let mut world = World::new(1, 2, 2);
    stop(&mut world, 1, Event::StopRequested);
    let ids = [world.submit_to(0, miner(0), GOOD), world.submit_to(1, miner(1), GOOD)];
    world.run_for(120_000);
    assert_eq!(world.notes(1, |note| matches!(note, Note::RunStarted { .. })), 0);
    assert!(world.is_settled(0, ids[0]), "the other node goes on");
    assert_eq!(world.state(0, ids[1]), Some(SubmissionState::Admitted));
    let refused = |(_, answer): &(_, PeerAnswer)| {
        *answer == PeerAnswer::Acquired(Err(LeaseRefusal::NotReady))
    };
    assert!(world.answers.iter().any(refused), "the worker is told why");
}

#[test]
fn a_grant_that_arrives_after_the_stop_is_given_back() {
    let mut world = World::new(2, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "granted, not yet heard", |world| {
        world.answers.iter().any(|(asked, answer)| {
            asked.question == Some(Question::Acquire)
                && matches!(answer, PeerAnswer::Acquired(Ok(grants)) if !grants.is_empty())
        })
    });
    stop(&mut world, 1, Event::StopRequested);
    world.run_for(5_000);
    assert_eq!(world.notes(1, |note| matches!(note, Note::RunStarted { .. })), 0);
    let released = PeerAnswer::Released(LeaseAnswer::Accepted);
    assert!(world.answers.iter().any(|(_, answer)| *answer == released));
    assert!(world.hosts[1].machine().is_safe_to_restart());
    world.run_until(60_000, "scored by node 0", |world| world.is_settled(0, id));
}

#[test]
fn a_run_in_progress_finishes_after_the_first_signal_and_counts() {
    let mut world = World::new(3, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it runs", |world| !world.hosts[1].containers.is_empty());
    stop(&mut world, 1, Event::StopRequested);
    world.run_until(30_000, "scored", |world| world.is_settled_everywhere(id));
    let row = world.hosts[0].machine().receipts().next().unwrap();
    assert_eq!(row.receipt.evidence.worker, validator(1));
}

#[test]
fn case_30_a_run_of_twenty_minutes_is_kept_and_the_weights_due_in_five_land_before_a_node_leaves() {
    let mut world = World::new(9, 2, 2);
    let first = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "scored", |world| world.is_settled_everywhere(first));
    world.run_ms = 20 * 60_000;
    let second = world.submit_to(0, miner(1), GOOD);
    world.run_until(60_000, "it runs", |world| world.is_running(0) || world.is_running(1));
    let node = usize::from(world.is_running(1));
    stop(&mut world, node, Event::StopRequested);
    let landed = world.landed(node);
    world.run_until(600_000, "a vector", |world| world.landed(node) > landed);
    assert!(world.is_running(node) && !world.hosts[node].machine().is_safe_to_restart());
    world.run_until(1_500_000, "it may leave", |world| {
        world.hosts[node].machine().is_safe_to_restart()
    });
    assert!(world.is_settled(node, second), "{}", world.picture());
    let runs = world.started.iter().filter(|(_, spec)| spec.assignment.submission == second);
    assert_eq!(runs.count(), 1, "its lease was never given to somebody else");
}

#[test]
fn the_second_signal_stops_the_run_and_gives_its_lease_back() {
    let mut world = World::new(4, 2, 1);
    world.run_ms = 100_000;
    world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it runs", |world| !world.hosts[1].containers.is_empty());
    stop(&mut world, 1, Event::StopForced);
    world.run_until(2_000, "all is handed back", |world| {
        world.hosts[1].machine().is_safe_to_restart()
    });
    let lease = world.hosts[0].machine().leases().next().unwrap().row().state.clone();
    assert!(!matches!(lease, LeaseState::Granted { holder, .. } if holder == validator(1)));
}

#[test]
fn a_result_that_only_waits_to_be_shown_does_not_hold_up_a_stop() {
    let mut world = World::with_replicas(7, 2, 1, 2);
    world.run_ms = 200_000;
    world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "both run it", |world| world.is_running(0) && world.is_running(1));
    let (run, _) = world.hosts[1].containers.pop_first().unwrap();
    let (life, ended_at) = (world.hosts[1].life, world.hosts[1].now(world.now_ms).unix);
    let (ending, metrics) = (Ending::Completed, Some(metrics(400_000_000_000_000)));
    world.deliver(1, life, Event::RunEnded { run, ending, metrics, ended_at, salt: salt(&run) });
    assert!(!world.hosts[1].machine().is_safe_to_restart(), "it is signed and sealed first");
    stop(&mut world, 1, Event::StopRequested);
    world.run_for(3_000);
    assert!(world.hosts[1].machine().is_safe_to_restart());
    assert!(!world.hosts[0].machine().is_safe_to_restart(), "node 0 still runs it");
}

#[test]
fn what_a_coordinator_that_is_gone_should_hear_does_not_hold_up_a_stop() {
    let mut world = World::new(8, 3, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it runs", |world| world.is_running(1) || world.is_running(2));
    world.kill(0);
    world.run_until(200_000, "settled without it", |world| {
        world.is_settled(1, id) && world.is_settled(2, id)
    });
    let waiting = |world: &World| (1..3).any(|n| world.hosts[n].machine().runs().count() > 0);
    assert!(waiting(&world), "the result is kept for it");
    for node in 1..3 {
        let is_idle = |world: &World| !world.is_running(node);
        world.run_until(60_000, "idle", is_idle);
        world.run_until(200_000, "safe", |world| world.hosts[node].machine().is_safe_to_restart());
    }
    assert!(waiting(&world), "{}", world.picture());
}
