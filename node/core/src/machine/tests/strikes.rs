//! Claims about validators that lie: marked with evidence, and granted nothing after a few times.

use super::world::{miner, validator, Fate, World};
use crate::id::{Digest, Salt, SubmissionId};
use crate::lease::LeaseRefusal;
use crate::limits::{STRIKES_KEPT_BLOCKS, STRIKES_MAX};
use crate::machine::event::Event;
use crate::rows::{StrikeCause, Table};
use crate::submission::SubmissionState;
use crate::unit::BlockCount;

const NLL: u64 = 400_000_000_000_000;
const GOOD: Fate = Fate::Scores { nll_nanonats: NLL };

fn strikes_at(world: &World, node: usize) -> Vec<(usize, SubmissionId, StrikeCause)> {
    let index = |key| (0..world.hosts.len()).find(|index| validator(*index) == key).unwrap();
    let strikes = world.hosts[node].machine().strikes();
    strikes.map(|row| (index(row.validator), row.submission, row.cause)).collect()
}

#[test]
fn case_35_a_liar_stands_alone_is_marked_and_changes_nothing() {
    let mut honest = World::with_replicas(1, 3, 1, 2);
    let id = honest.submit_to(0, miner(0), GOOD);
    honest.run_until(180_000, "settled", |world| world.is_settled_everywhere(id));
    let mut world = World::with_replicas(1, 3, 1, 2);
    world.hosts[1].lie_nanonats = Some(NLL / 2);
    let same = world.submit_to(0, miner(0), GOOD);
    assert_eq!(same, id);
    world.run_until(240_000, "settled", |world| {
        world.is_settled_everywhere(id) && world.claimants_at(2, id).len() == 3
    });
    for node in 0..3 {
        assert_eq!(world.state(node, id), honest.state(0, id));
        assert_eq!(strikes_at(&world, node), [(1, id, StrikeCause::StoodAlone)]);
        let strike = world.hosts[node].machine().strikes().next().unwrap().clone();
        assert_eq!(strike.evidence.len(), 3, "what everybody measured");
    }
    world.check_scores();
}

#[test]
fn case_35_a_validator_with_too_many_strikes_is_granted_nothing_and_nothing_waits_for_it() {
    let mut world = World::with_replicas(2, 3, STRIKES_MAX + 1, 2);
    world.run_ms = 3_000;
    world.hosts[2].lie_nanonats = Some(NLL / 2);
    for index in 0..STRIKES_MAX {
        // Node 0 waits for the other two, who disagree; then it is asked itself.
        let id = world.submit_to(0, miner(index), GOOD);
        world.run_until(200_000, "settled", |world| world.is_settled_everywhere(id));
    }
    assert_eq!(strikes_at(&world, 0).len(), STRIKES_MAX);
    assert_eq!(world.try_acquire(2, 0), Err(LeaseRefusal::TooManyStrikes));
    let before = world.runs_started_at(2);
    let id = world.submit_to(0, miner(STRIKES_MAX), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.runs_started_at(2), before);
    assert_eq!(world.claimants_at(0, id), [0, 1]);
}

/// Gives node 0 as many strikes against node 1 as make it grant it nothing.
fn strike_out(world: &mut World, ids: &[SubmissionId]) {
    for (number, id) in (1..).zip(ids) {
        let mut receipts = Vec::new();
        for (offset, nll) in [(0, NLL), (1, NLL / 2)] {
            let mut grant = world.granted_before(*id, 1);
            grant.attempt.0 += offset;
            receipts.push(world.receipt_saying(1, &grant, nll));
        }
        let page = (number * 10..).zip(receipts).collect();
        world.give_receipts(0, 1, 1, page);
    }
}

#[test]
fn what_two_validators_share_does_not_wait_for_one_that_is_granted_nothing() {
    let mut world = World::with_replicas(3, 2, STRIKES_MAX + 1, 2);
    world.hosts[1].is_cut_off = true;
    let ids: Vec<_> = (0..STRIKES_MAX).map(|n| world.submit_to(1, miner(n), GOOD)).collect();
    world.run_until(30_000, "admitted", |world| ids.iter().all(|id| world.is_admitted_at(0, *id)));
    strike_out(&mut world, &ids);
    assert_eq!(strikes_at(&world, 0).len(), STRIKES_MAX);
    world.hosts[1].is_cut_off = false;
    world.run_for(5_000);
    assert_eq!(world.try_acquire(1, 0), Err(LeaseRefusal::TooManyStrikes));
    let id = world.submit_to(0, miner(STRIKES_MAX), GOOD);
    world.run_until(120_000, "node 0 believes itself", |world| world.is_settled(0, id));
    assert_eq!(world.claimants_at(0, id), [0]);
}

#[test]
fn who_is_granted_nothing_evaluates_for_itself() {
    let mut world = World::with_replicas(9, 2, STRIKES_MAX + 1, 2);
    world.hosts[1].is_cut_off = true;
    let ids: Vec<_> = (0..STRIKES_MAX).map(|n| world.submit_to(1, miner(n), GOOD)).collect();
    world.run_until(30_000, "admitted", |world| ids.iter().all(|id| world.is_admitted_at(0, *id)));
    strike_out(&mut world, &ids);
    world.hosts[1].is_cut_off = false;
    let id = world.submit_to(0, miner(STRIKES_MAX), GOOD);
    world.run_until(120_000, "node 0 believes itself", |world| world.is_settled(0, id));
    world.run_until(120_000, "and node 1 has its own result", |world| world.is_settled(1, id));
    assert_eq!(world.claimants_at(1, id), [0, 1]);
    assert_eq!(world.state(0, id), world.state(1, id));
}

#[test]
fn who_signs_two_results_of_one_evaluation_is_marked_and_neither_counts() {
    let mut world = World::with_replicas(4, 3, 1, 2);
    world.run_ms = 60_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(30_000, "admitted", |world| world.is_admitted_at(0, id));
    let grant = world.granted_before(id, 1);
    let one = world.receipt_saying(1, &grant, NLL);
    let mut other = world.receipt_saying(1, &grant, NLL / 2);
    other.evidence.attempt.0 += 1;
    let mut third = world.receipt_saying(1, &grant, NLL / 4);
    third.evidence.attempt.0 += 2;
    world.give_receipts(0, 1, 1, vec![(1, one)]);
    assert_eq!(strikes_at(&world, 0), []);
    world.give_receipts(0, 1, 1, vec![(2, other), (3, third)]);
    assert_eq!(strikes_at(&world, 0), [(1, id, StrikeCause::Equivocated)]);
    assert_eq!(world.hosts[0].machine().receipts().count(), 2, "a third proves nothing more");
    world.run_until(300_000, "settled by the others", |world| world.is_settled(0, id));
    assert!(matches!(world.state(0, id), Some(SubmissionState::Scored { .. })));
}

#[test]
fn which_promise_a_result_keeps_is_news_in_whatever_order_it_is_heard() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::with_replicas(7, 3, 1, 2);
        world.run_ms = 60_000;
        let id = world.submit_to(0, miner(0), GOOD);
        world.run_until(30_000, "admitted", |world| world.is_admitted_at(0, id));
        let receipts = [0_u8, 1].map(|salt| {
            let mut receipt = world.receipt_saying(1, &world.granted_before(id, 1), NLL);
            receipt.evidence.salt = Salt([salt; 32]);
            receipt
        });
        let page = (1..).zip(order.map(|index| receipts[index].clone())).collect();
        world.give_receipts(0, 1, 1, page);
        assert_eq!(world.hosts[0].machine().receipts().count(), 2);
        assert_eq!(strikes_at(&world, 0), [], "it says the same");
    }
}

#[test]
fn strikes_outlive_a_restart_and_each_is_written_once() {
    let mut world = World::with_replicas(5, 3, 1, 2);
    world.hosts[1].lie_nanonats = Some(NLL / 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(240_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(30_000);
    assert_eq!(world.hosts[0].disk.count(Table::Strikes), 1);
    let before = strikes_at(&world, 0);
    world.kill(0);
    world.start(0);
    assert_eq!(strikes_at(&world, 0), before);
    world.run_for(30_000);
    assert_eq!(strikes_at(&world, 0), before);
}

#[test]
fn strikes_are_forgotten_after_their_time_and_not_before() {
    let mut world = World::with_replicas(8, 2, STRIKES_MAX, 2);
    world.hosts[1].is_cut_off = true;
    let ids: Vec<_> = (0..STRIKES_MAX).map(|n| world.submit_to(1, miner(n), GOOD)).collect();
    world.run_until(30_000, "admitted", |world| ids.iter().all(|id| world.is_admitted_at(0, *id)));
    strike_out(&mut world, &ids);
    let struck_at = world.hosts[0].machine().strikes().next().unwrap().block;
    let (life, hotkey) = (world.hosts[0].life, world.hosts[0].hotkey());
    let age = |world: &mut World, blocks: u64| {
        let mut view = world.chain.view(world.chain.finalized(), &hotkey);
        view.number = struck_at.plus(BlockCount(blocks));
        world.deliver(0, life, Event::BlockFinalized(Box::new(view)));
    };
    age(&mut world, STRIKES_KEPT_BLOCKS - 1);
    assert_eq!(world.hosts[0].disk.count(Table::Strikes), STRIKES_MAX);
    assert_eq!(world.try_acquire(1, 0), Err(LeaseRefusal::TooManyStrikes));
    age(&mut world, STRIKES_KEPT_BLOCKS);
    assert_eq!(strikes_at(&world, 0), []);
    assert!(world.try_acquire(1, 0).is_ok());
    // What it did is still to be seen, and is not held against it anew.
    age(&mut world, STRIKES_KEPT_BLOCKS + 1);
    assert_eq!(strikes_at(&world, 0), []);
}

#[test]
fn a_receipt_by_other_rules_marks_nobody() {
    let mut world = World::with_replicas(6, 3, 1, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(30_000, "admitted", |world| world.is_admitted_at(0, id));
    let grant = world.granted_before(id, 1);
    let mut foreign = world.receipt_saying(1, &grant, NLL / 2);
    foreign.evidence.policy = Digest([1; 32]);
    let good = world.receipt_saying(1, &grant, NLL);
    world.give_receipts(0, 1, 1, vec![(1, good), (2, foreign)]);
    assert_eq!(strikes_at(&world, 0), []);
}
