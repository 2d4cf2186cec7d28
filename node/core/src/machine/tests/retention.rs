//! Claims about what is kept and for how long, and about what a node that forgot does not repeat.

use std::collections::BTreeSet;

use super::world::{miner, validator, Fate, World, BLOCK_MS};
use crate::id::{Attempt, Digest, Hotkey, SubmissionId};
use crate::lease::{LeaseAnswer, LeaseRefusal};
use crate::limits::{
    ENDPOINT_LAG_BLOCKS_MAX, FROZEN_PER_BLOCK_MAX, FROZEN_ROWS_MAX, GONE_AFTER_MS, RETENTION_BLOCKS,
};
use crate::machine::effect::{Note, Outcome};
use crate::machine::event::Event;
use crate::machine::settle::EVALUATION_PART;
use crate::machine::Machine;
use crate::rows::{ReceiptRow, Row, Table, Write};
use crate::submission::SubmissionState;
use crate::unit::BlockNumber;

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
fn what_is_forgotten_is_in_the_freezer_with_everything_that_explains_it() {
    let mut world = World::new(15, 2, 2);
    let id = forgotten(&mut world);
    for (node, has_lease) in [(0, true), (1, false)] {
        let [frozen] = world.hosts[node].disk.freezer() else { panic!("one record each") };
        assert_eq!((frozen.submission, frozen.part), (id, 0));
        let receipts: Vec<_> = frozen.receipts().collect();
        let [receipt] = receipts.as_slice() else { panic!("one receipt") };
        assert_eq!(receipt.receipt.evidence.submission, id);
        let count = |table| frozen.rows.iter().filter(|row| row.table() == table).count();
        let explaining = [Table::Submissions, Table::Outcomes].map(count);
        assert_eq!(explaining, [1, 1], "node {node}");
        assert_eq!(count(Table::Leases), usize::from(has_lease), "node {node}");
    }
}

#[test]
fn what_is_put_away_comes_in_parts_that_can_be_read() {
    let mut world = World::new(16, 1, 1);
    let id = world.submit(miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    let machine = world.hosts[0].machine();
    let receipt = machine.receipts().next().unwrap().clone();
    let rows = vec![Row::Receipt(Box::new(receipt)); FROZEN_ROWS_MAX];
    let mut out = Outcome::default();
    machine.put_away(id, EVALUATION_PART, rows, &mut out);
    let parts: Vec<_> = out
        .writes
        .iter()
        .filter_map(|write| {
            let Write::Freeze(frozen) = write else { return None };
            Some((frozen.part, frozen.rows.len()))
        })
        .collect();
    // The submission and its outcome come first.
    assert_eq!(parts, [(0, FROZEN_ROWS_MAX), (1, 2)]);
}

#[test]
fn a_subnet_that_changes_as_a_whole_is_put_away_over_several_blocks() {
    let mut world = World::new(17, 1, 3);
    let ids = [0, 1, 2].map(|n| world.submit(miner(n), GOOD));
    world.run_until(240_000, "settled", |world| {
        ids.iter().all(|id| world.is_settled_everywhere(*id))
    });
    world.run_for(10_000);
    world.tick_ms = 30_000;
    for (n, other) in [250, 251, 252].into_iter().enumerate() {
        world.chain.replace(&miner(n), Hotkey([other; 32]));
    }
    world.run_for((RETENTION_BLOCKS - 10) * BLOCK_MS);
    forgive(&mut world);
    for id in &ids {
        fill_with_receipts(world.hosts[0].machine_mut(), id);
    }
    let put_away = |world: &World| {
        let freezer = world.hosts[0].disk.freezer().iter();
        freezer.map(|one| one.submission).collect::<BTreeSet<_>>().len()
    };
    for expected in 1..=ids.len() {
        world.run_until(60 * BLOCK_MS, "one more", |world| put_away(world) >= expected);
        assert_eq!(put_away(&world), expected);
    }
}

/// As many receipts as go to the freezer at one block.
fn fill_with_receipts(machine: &mut Machine, id: &SubmissionId) {
    let receipt = machine.receipts_of(id).next().unwrap().clone();
    for n in 0..u32::try_from(FROZEN_PER_BLOCK_MAX).unwrap() {
        let mut digest = Digest([0; 32]);
        digest.0[..4].copy_from_slice(&n.to_be_bytes());
        machine.receipts.put_as(digest, ReceiptRow { sequence: None, ..receipt.clone() });
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

/// Who had read past them asks for no earlier numbers, and who lost its rows too knows nothing of
/// them: they have to be in the sequence again, also while the question is open again.
#[test]
fn a_node_that_lost_its_rows_publishes_again_what_it_had_published() {
    let mut world = World::with_replicas(5, 3, 1, 3);
    world.kill(2);
    let id = world.submit_to(0, miner(0), GOOD);
    let known = |world: &World| world.is_settled(0, id) && world.is_settled(1, id);
    world.run_until(GONE_AFTER_MS + 300_000, "settled by those who are there", known);
    world.run_for(30_000);
    world.lose_rows(0);
    // Its result is waited for all the time.
    world.run_ms = 900_000;
    world.start(2);
    world.start(0);
    let is_over = |world: &World| !world.hosts[0].machine().is_catching_up();
    world.run_until(600_000, "caught up", is_over);
    let machine = world.hosts[0].machine();
    let own = machine.receipts().filter(|row| row.receipt.evidence.coordinator == validator(0));
    let numbers: Vec<Option<u64>> = own.map(|row| row.sequence).collect();
    assert!(numbers.len() == 2 && numbers.iter().all(Option::is_some), "{numbers:?}");
    assert!(machine.needs_results(&id), "one more is to say so");
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
fn what_a_node_lost_is_told_after_one_more_start_by_a_peer_that_comes_back_late() {
    let mut world = World::with_replicas(13, 2, 1, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    world.lose_rows(0);
    world.hosts[0].devices = 0;
    // Nobody else is a validator for as long as it waits.
    world.chain.neuron_mut(&validator(1)).validator_permit = false;
    world.kill(1);
    world.start(0);
    caught_up(&mut world, 0);
    world.kill(0);
    world.start(0);
    world.run_for(10_000);
    world.chain.neuron_mut(&validator(1)).validator_permit = true;
    world.start(1);
    world.run_until(90_000, "it is told", |world| world.claimants_at(0, id) == [0, 1]);
    assert_eq!(world.state(0, id), world.state(1, id));
}

#[test]
fn what_a_node_lost_and_could_not_judge_when_it_was_told_is_told_again_after_one_more_start() {
    let mut world = World::new(14, 3, 1);
    for node in [0, 2] {
        world.hosts[node].devices = 0;
        world.kill(node);
        world.start(node);
    }
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    world.lose_rows(0);
    // Its worker is no validator when node 2 tells of it.
    world.chain.neuron_mut(&validator(1)).validator_permit = false;
    world.kill(1);
    world.run_for(30_000);
    world.start(0);
    caught_up(&mut world, 0);
    assert_eq!(world.claimants_at(0, id), [0; 0]);
    world.kill(0);
    world.start(0);
    world.chain.neuron_mut(&validator(1)).validator_permit = true;
    world.run_until(90_000, "it is told again", |world| world.claimants_at(0, id) == [1]);
    assert_eq!(world.runs_started(), 1);
}

fn caught_up(world: &mut World, node: usize) {
    world.run_until(200_000, "caught up", |world| !world.hosts[node].machine().is_catching_up());
}

/// Node 1 takes a lease of node 0, which then loses its rows; twice, with these wall clocks.
fn attempts_after_losses(wall_skews_ms: [i64; 2]) -> Vec<Attempt> {
    let mut world = World::new(9, 2, 1);
    for node in 0..2 {
        world.hosts[node].devices = 0;
        world.kill(node);
        world.start(node);
    }
    let id = world.submit_to(0, miner(0), GOOD);
    let mut attempts = Vec::new();
    for skew_ms in wall_skews_ms {
        world.lose_rows(0);
        world.hosts[0].wall_skew_ms = skew_ms;
        world.start(0);
        caught_up(&mut world, 0);
        world.run_until(60_000, "admitted", |world| world.is_admitted_at(0, id));
        attempts.push(world.acquire(1, 0).attempt);
    }
    attempts
}

#[test]
fn case_17_attempts_are_not_given_again_after_lost_rows_whatever_the_wall_clock_says() {
    let hour_ms = 60 * 60 * 1000;
    for skews_ms in [[0, 0], [hour_ms, -hour_ms], [-hour_ms, hour_ms]] {
        let attempts = attempts_after_losses(skews_ms);
        assert!(attempts[0] < attempts[1], "{attempts:?} with {skews_ms:?}");
    }
}

#[test]
fn a_node_that_lost_its_rows_waits_until_the_chain_is_further_than_it_was() {
    let mut world = World::new(10, 2, 1);
    let lag = ENDPOINT_LAG_BLOCKS_MAX;
    world.run_for((lag + 10) * BLOCK_MS);
    let height = world.chain.finalized().0;
    world.lose_rows(0);
    world.hosts[0].is_blind = true;
    world.start(0);
    let (life, hotkey) = (world.hosts[0].life, world.hosts[0].hotkey());
    for height in height - lag..=height {
        let view = world.chain.view(BlockNumber(height), &hotkey);
        world.deliver(0, life, Event::BlockFinalized(Box::new(view)));
        world.run_for(4_000);
    }
    assert!(world.hosts[0].machine().is_catching_up(), "it read all this before");
    world.hosts[0].is_blind = false;
    world.run_until(10_000, "caught up", |world| !world.hosts[0].machine().is_catching_up());
}

#[test]
fn what_came_too_late_for_a_lost_lease_counts_once_others_say_that_it_was_accepted() {
    let mut world = World::new(11, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    let receipt = world.hosts[1].machine().receipts().next().unwrap().receipt.clone();
    world.lose_rows(0);
    world.hosts[1].is_cut_off = true;
    world.start(0);
    world.run_until(60_000, "admitted", |world| world.is_admitted_at(0, id));
    let refused = LeaseAnswer::Refused(LeaseRefusal::NotGranted);
    assert_eq!(world.complete_at(0, &receipt), refused);
    assert_eq!(world.claimants_at(0, id), [0; 0]);
    world.hosts[1].is_cut_off = false;
    world.run_until(60_000, "told", |world| world.claimants_at(0, id) == [1]);
    caught_up(&mut world, 0);
    assert_eq!(world.state(0, id), world.state(1, id));
    assert_eq!(world.runs_started(), 1);
}

#[test]
fn what_waits_for_its_submission_at_a_peer_is_told_to_a_node_that_lost_it() {
    let mut world = World::new(12, 2, 1);
    world.run_for(5_000);
    world.hosts[1].is_blind = true;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled by itself", |world| world.is_settled(0, id));
    world.run_for(10_000);
    assert_eq!(world.hosts[1].machine().receipts().count(), 0, "it knows no such submission");
    world.lose_rows(0);
    world.start(0);
    caught_up(&mut world, 0);
    assert_eq!((world.claimants_at(0, id), world.runs_started()), (vec![0], 1));
}

#[test]
fn numbers_of_lost_receipts_are_not_given_again_after_a_second_start() {
    let mut world = World::new(8, 2, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    world.lose_rows(0);
    world.start(0);
    caught_up(&mut world, 0);
    world.kill(0);
    world.start(0);
    let next = world.submit_to(0, miner(1), GOOD);
    world.run_until(120_000, "its receipt reaches everybody", |world| {
        world.is_settled_everywhere(next)
    });
    assert!(world.attempts_at(0, next)[0] > 1_000_000_000, "attempts go on as well");
}
