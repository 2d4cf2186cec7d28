//! Claims about a host that lacks what every run needs.

use super::world::{miner, Fate, World};
use crate::limits::LACK_RETRY_MS;
use crate::machine::effect::Note;
use crate::machine::event::Event;
use crate::outcome::Ending;
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

fn runs(world: &World) -> usize {
    world.notes(0, |note| matches!(note, Note::RunStarted { .. }))
}

fn told(world: &World) -> usize {
    world.notes(0, |note| matches!(note, Note::HostLacks { .. }))
}

#[test]
fn a_host_without_its_data_set_tries_now_and_then_and_works_once_that_is_back() {
    let mut world = World::new(41, 1, 2);
    world.hosts[0].run_fault = Some(Ending::DatasetMissing);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "one run ended", |world| told(world) == 1);
    let lack = world.hosts[0].machine().host_lack().cloned();
    assert_eq!(lack.as_ref().map(|lack| &lack.ending), Some(&Ending::DatasetMissing));
    world.run_for(LACK_RETRY_MS - 60_000);
    assert_eq!((runs(&world), told(&world)), (1, 1), "nothing is asked for meanwhile");
    world.run_until(180_000, "another try", |world| runs(world) == 2);
    world.run_for(60_000);
    let now = world.hosts[0].machine().host_lack().cloned();
    assert_eq!((told(&world), now.map(|lack| lack.since)), (1, lack.map(|lack| lack.since)));
    world.hosts[0].run_fault = None;
    world.run_until(LACK_RETRY_MS + 60_000, "scored", |world| world.is_settled(0, id));
    assert!(matches!(world.state(0, id), Some(SubmissionState::Scored { .. })));
    assert_eq!(world.hosts[0].machine().host_lack(), None);
    // Nothing is left of it: the next is run at once.
    let next = world.submit_to(0, miner(1), GOOD);
    world.run_until(60_000, "scored", |world| world.is_settled(0, next));
    assert_eq!(runs(&world), 4);
}

#[test]
fn other_failures_of_the_machine_and_of_submissions_keep_nobody_from_asking() {
    let mut world = World::new(42, 1, 1);
    let detail = "gone".to_owned();
    world.hosts[0].run_fault = Some(Ending::EngineFailed { detail });
    world.submit_to(0, miner(0), GOOD);
    world.run_until(LACK_RETRY_MS, "tried again", |world| runs(world) > 1);
    assert_eq!((told(&world), world.hosts[0].machine().host_lack()), (0, None));
}

#[test]
fn what_began_before_tells_nothing_and_one_run_is_tried_where_there_is_room_for_two() {
    let mut world = World::new(43, 1, 3);
    world.kill(0);
    world.hosts[0].devices = 2;
    world.start(0);
    world.run_ms = 60_000;
    world.hosts[0].run_fault = Some(Ending::DatasetMissing);
    let first = world.submit_to(0, miner(0), GOOD);
    let second = world.submit_to(0, miner(1), GOOD);
    world.run_until(60_000, "both run", |world| runs(world) == 2);
    world.run_until(90_000, "one found nothing", |world| told(world) == 1);
    world.hosts[0].run_fault = None;
    let is_over = |world: &World| [first, second].iter().any(|id| world.is_settled(0, *id));
    world.run_until(90_000, "the other one scored", is_over);
    assert!(world.hosts[0].machine().host_lack().is_some(), "it began before");
    let third = world.submit_to(0, miner(2), GOOD);
    world.run_until(LACK_RETRY_MS + 60_000, "a try", |world| runs(world) == 3);
    let ended = |world: &World| world.notes(0, |note| matches!(note, Note::RunEnded { .. }));
    world.run_until(90_000, "its end", |world| ended(world) == 3);
    assert_eq!(runs(&world), 3, "the other one waits for what it tells");
    world.run_until(180_000, "all", |world| {
        [first, second, third].iter().all(|id| world.is_settled(0, *id))
    });
    assert_eq!((runs(&world), world.hosts[0].machine().host_lack()), (4, None));
}

fn asks_engine(world: &mut World, fault: Option<&str>) {
    let life = world.hosts[0].life;
    world.deliver(0, life, Event::EngineAsked { fault: fault.map(str::to_owned) });
}

#[test]
fn while_the_engine_does_not_answer_nothing_is_tried_and_its_answer_ends_that() {
    let mut world = World::new(44, 1, 1);
    asks_engine(&mut world, Some("connection refused"));
    let id = world.submit_to(0, miner(0), GOOD);
    let since = world.hosts[0].machine().host_lack().map(|lack| lack.since);
    assert!(since.is_some());
    for _ in 0..4 {
        world.run_for(LACK_RETRY_MS / 2);
        asks_engine(&mut world, Some("connection refused"));
    }
    assert_eq!((runs(&world), told(&world)), (0, 1), "each would be lost");
    assert_eq!(world.hosts[0].machine().host_lack().map(|lack| lack.since), since);
    asks_engine(&mut world, None);
    assert_eq!(world.hosts[0].machine().host_lack(), None);
    world.run_until(60_000, "scored", |world| world.is_settled(0, id));
    assert_eq!((runs(&world), told(&world)), (1, 1));
}

#[test]
fn an_engine_that_answers_mends_nothing_else() {
    let mut world = World::new(45, 1, 1);
    world.hosts[0].run_fault = Some(Ending::ImageMissing);
    world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "one run ended", |world| told(world) == 1);
    asks_engine(&mut world, None);
    let lack = world.hosts[0].machine().host_lack().map(|lack| lack.ending.clone());
    assert_eq!(lack, Some(Ending::ImageMissing));
}
