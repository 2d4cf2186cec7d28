//! Claims about stopping: nothing new starts, what runs may finish, what cannot is given back.

use super::world::{miner, validator, Fate, World};
use crate::lease::{LeaseAnswer, LeaseRefusal, LeaseState, PeerAnswer};
use crate::machine::effect::Note;
use crate::machine::event::{Event, Question};
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
            asked.question == Question::Acquire
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
