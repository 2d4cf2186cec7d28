//! Claims about what is kept and for how long, and about what a node that forgot does not repeat.

use super::world::{miner, validator, Fate, World, BLOCK_MS};
use crate::id::{Hotkey, SubmissionId};
use crate::limits::RETENTION_BLOCKS;
use crate::machine::effect::Note;
use crate::rows::Table;
use crate::submission::SubmissionState;

const NLL: u64 = 400_000_000_000_000;
const GOOD: Fate = Fate::Scores { nll_nanonats: NLL };

/// What was promised on rows that are about to be dropped is not held against anybody.
fn forgive(world: &mut World) {
    world.granted.clear();
    world.acknowledged.clear();
}

/// A submission of node 0's coordination that was settled and left the chain so long ago that its
/// receipts are gone.
fn forgotten(world: &mut World) -> SubmissionId {
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    world.tick_ms = 30_000;
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    world.run_for((RETENTION_BLOCKS - 10) * BLOCK_MS);
    assert_eq!(world.hosts[0].disk.count(Table::Receipts), 1, "not yet");
    forgive(world);
    world.run_for(40 * BLOCK_MS);
    world.tick_ms = 1_000;
    id
}

#[test]
fn what_left_the_chain_is_forgotten_after_a_while_and_its_score_is_not() {
    let mut world = World::new(1, 2, 2);
    let id = forgotten(&mut world);
    for node in 0..2 {
        for table in [Table::Receipts, Table::Leases, Table::Measurements] {
            assert_eq!(world.hosts[node].disk.count(table), 0, "{table:?} at node {node}");
        }
        assert!(matches!(world.state(node, id), Some(SubmissionState::Scored { .. })));
        assert_eq!(world.hosts[node].machine().receipts().count(), 0);
    }
}

#[test]
fn numbers_of_forgotten_receipts_are_not_given_again() {
    let mut world = World::new(2, 2, 2);
    forgotten(&mut world);
    assert_eq!(world.hosts[1].disk.cursor(&validator(0)), Some(1));
    world.kill(0);
    world.start(0);
    let next = world.submit_to(0, miner(1), GOOD);
    world.run_until(120_000, "its receipt reaches everybody", |world| {
        world.is_settled_everywhere(next)
    });
    assert_eq!(world.hosts[1].disk.cursor(&validator(0)), Some(2));
}

#[test]
fn a_receipt_of_what_is_forgotten_is_not_taken_again() {
    let mut world = World::new(3, 2, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    let receipt = world.hosts[0].machine().receipts().next().unwrap().receipt.clone();
    world.tick_ms = 30_000;
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    forgive(&mut world);
    world.run_for((RETENTION_BLOCKS + 40) * BLOCK_MS);
    assert_eq!(world.hosts[1].machine().receipts().count(), 0);
    world.give_receipts(1, 0, 0, vec![(7, receipt)]);
    assert_eq!(world.hosts[1].machine().receipts().count(), 0);
}

#[test]
fn a_submission_that_leaves_the_chain_while_it_runs_is_still_settled() {
    let mut world = World::with_replicas(4, 2, 1, 2);
    world.run_ms = 60_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "both run it", |world| world.is_running(0) && world.is_running(1));
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    world.run_until(180_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.runs_started(), 2);
    world.check_scores();
}

#[test]
fn a_node_that_lost_its_rows_knows_its_own_results_from_its_peers_and_runs_nothing_again() {
    let mut world = World::with_replicas(5, 2, 1, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    let (score, runs) = (world.state(0, id), world.runs_started_at(0));
    world.lose_rows(0);
    world.start(0);
    world.run_until(120_000, "settled again", |world| world.is_settled(0, id));
    world.run_for(60_000);
    assert_eq!(world.state(0, id), score);
    assert_eq!(world.runs_started_at(0), runs, "from what its peer knows");
    assert_eq!(world.notes(1, |note| matches!(note, Note::Strike { .. })), 0);
    assert_eq!(world.state(1, id), score);
}

#[test]
fn what_was_never_evaluated_and_left_the_chain_is_not_taken_up_again_by_a_restart() {
    let mut world = World::new(6, 1, 1);
    world.hosts[0].devices = 0;
    world.kill(0);
    world.start(0);
    world.submit(miner(0), GOOD);
    let leases = |world: &World| world.hosts[0].disk.count(Table::Leases);
    world.run_until(30_000, "open", |world| leases(world) == 1);
    world.tick_ms = 30_000;
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    world.run_for((RETENTION_BLOCKS + 40) * BLOCK_MS);
    assert_eq!(leases(&world), 0);
    world.kill(0);
    world.start(0);
    world.run_for(60_000);
    assert_eq!(leases(&world), 0);
}

#[test]
fn what_a_node_lost_is_told_by_a_peer_that_comes_back_late() {
    let mut world = World::with_replicas(7, 2, 1, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    world.lose_rows(0);
    world.hosts[0].devices = 0;
    world.kill(1);
    world.start(0);
    world
        .run_until(600_000, "it waits no more", |world| !world.hosts[0].machine().is_catching_up());
    world.run_for(10_000);
    world.start(1);
    world.run_until(60_000, "it is told", |world| world.claimants_at(0, id) == [0, 1]);
    assert_eq!(world.state(0, id), world.state(1, id));
}

#[test]
fn numbers_of_lost_receipts_are_not_given_again_after_a_second_start() {
    let mut world = World::new(8, 2, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    world.lose_rows(0);
    world.start(0);
    world.run_until(120_000, "caught up", |world| !world.hosts[0].machine().is_catching_up());
    world.kill(0);
    world.start(0);
    let next = world.submit_to(0, miner(1), GOOD);
    world.run_until(120_000, "its receipt reaches everybody", |world| {
        world.is_settled_everywhere(next)
    });
    assert!(world.attempts_at(0, next)[0] > 1_000_000_000, "attempts go on as well");
}
