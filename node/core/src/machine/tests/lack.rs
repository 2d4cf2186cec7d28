//! Claims about a host that lacks what every run needs.

use super::world::{miner, Fate, World};
use crate::limits::LACK_RETRY_MS;
use crate::machine::effect::Note;
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
