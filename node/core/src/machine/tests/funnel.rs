//! Claims about who goes how far, and who is paid for it.

use std::collections::BTreeSet;

use super::world::{miner, reference, validator, Fate, World, BLOCK_MS};
use crate::funnel::Passage;
use crate::id::{ContentDigest, SubmissionId};
use crate::policy::Policy;
use crate::reward::fingerprint_tests::{fingerprint, ssm, transformer};
use crate::reward::SHARES_TOTAL;
use crate::trial::Trial;
use crate::unit::BlockNumber;

/// Bits per byte fall with it.
const LOSS: u64 = 100_000_000_000_000;

/// The rules of `dev` without audits and with so many replicas.
fn policy(replicas: u8) -> Policy {
    let mut policy = Policy::dev();
    policy.agreement.replicas = replicas;
    for tier in &mut policy.scoring.funnel.tiers {
        tier.audit_ppm = 0;
    }
    policy
}

/// Nodes and so many miners of one window, the first the best.
fn one_window(
    seed: u64,
    nodes: usize,
    miners: usize,
    policy: Policy,
) -> (World, Vec<SubmissionId>) {
    let mut world = World::with_policy(seed, nodes, miners, policy);
    world.architectures.insert(reference().content, fingerprint(&transformer(2)));
    world.chain.params.owner_hotkey = Some(validator(0));
    let ids = (0..miners).map(|number| submit(&mut world, number).0).collect();
    (world, ids)
}

fn submit(world: &mut World, number: usize) -> (SubmissionId, ContentDigest) {
    let content = world.new_content(|_| true);
    world.architectures.insert(content, fingerprint(&ssm(2)));
    let nll_nanonats = LOSS * (4 + u64::try_from(number).unwrap());
    (world.submit_content(miner(number), content, Fate::Scores { nll_nanonats }), content)
}

fn content_of(world: &World, id: SubmissionId) -> ContentDigest {
    let mut known = world.hosts[0].machine().submissions();
    known.find(|known| known.id == id).unwrap().content
}

/// Units of the tier that were decided on a node.
fn decided(world: &World, node: usize, id: SubmissionId, tier: u8) -> Vec<u8> {
    let outcomes = world.hosts[node].machine().outcomes().map(|row| row.trial);
    outcomes.filter(|trial| (trial.submission, trial.tier) == (id, tier)).map(|t| t.unit).collect()
}

fn place(world: &World, node: usize, id: SubmissionId) -> (u8, Passage) {
    let (tier, _, passage) = world.hosts[node].machine().place_in_funnel(&id).unwrap();
    (tier, passage)
}

fn block(world: &World) -> u64 {
    world.hosts[0].machine().view().map_or(0, |view| view.number.0)
}

fn reference_id(world: &World) -> SubmissionId {
    let machine = world.hosts[0].machine();
    let mut trials = machine.outcomes().map(|row| row.trial.submission);
    trials.find(|id| machine.is_reference(id)).expect("a reference ran")
}

#[test]
fn the_best_quarter_of_a_window_goes_on_and_all_nodes_agree_who() {
    let (mut world, ids) = one_window(11, 3, 8, policy(2));
    let best: BTreeSet<SubmissionId> = ids[..2].iter().copied().collect();
    world.run_until(1_500_000, "the second tier is decided", |world| {
        (0..3).all(|node| best.iter().all(|id| decided(world, node, *id, 2) == [0, 1, 2, 3]))
    });
    for node in 0..3 {
        for id in &ids[2..] {
            assert_eq!(place(&world, node, *id), (1, Passage::Out));
            assert_eq!(decided(&world, node, *id, 2), [0; 0]);
        }
        // Who got further stands before who did not.
        let ranking = world.hosts[node].machine().ranking();
        let ranked: Vec<(u8, SubmissionId)> =
            ranking.into_iter().map(|(merit, one)| (merit.tier, one.id)).collect();
        // The first one may be on its way through the last tier.
        assert!(ranked[0].0 >= 2 && ranked[0].1 == ids[0], "{ranked:?}");
        assert_eq!(ranked[1..3], [(2, ids[1]), (1, ids[2])]);
        // One of two passes the second tier, since a tenth of two is none.
        assert_eq!(place(&world, node, ids[1]), (2, Passage::Out));
    }
    world.run_until(3_000_000, "the best one is a finalist", |world| {
        (0..3).all(|node| decided(world, node, ids[0], 3).contains(&0))
    });
    assert_eq!(decided(&world, 0, ids[1], 3), [0; 0]);
    let reports: Vec<_> = (0..3).map(|node| world.hosts[node].machine().funnel_report()).collect();
    assert_eq!((reports[0][0].entered, reports[0][0].passed, reports[0][1].passed), (8, 2, 1));
    assert_eq!(reports[0][0].tau_to_next_ppm, Some(1_000_000));
    assert!(reports.iter().all(|report| report[1].entered == 2));
}

#[test]
fn a_newer_commitment_takes_no_place_from_the_one_that_entered_a_tier() {
    let (mut world, ids) = one_window(31, 2, 2, policy(1));
    world.run_until(900_000, "the best entered the second tier", |world| {
        (0..2).all(|node| !decided(world, node, ids[0], 2).is_empty())
    });
    let (newer, _) = submit(&mut world, 0);
    world.run_until(3_000_000, "both pass all tiers", |world| {
        (0..2).all(|node| [ids[0], newer].iter().all(|id| decided(world, node, *id, 3).len() == 8))
    });
}

#[test]
fn a_commitment_that_is_passed_over_takes_nothing_from_the_first() {
    let mut world = World::with_policy(32, 1, 1, policy(1));
    world.hosts[0].devices = 0;
    world.kill(0);
    world.start(0);
    let (first, _) = submit(&mut world, 0);
    world.run_for(3 * BLOCK_MS);
    let (too_soon, _) = submit(&mut world, 0);
    world.run_for(3 * BLOCK_MS);
    assert_eq!(world.state(0, too_soon), None);
    world.hosts[0].devices = 1;
    world.kill(0);
    world.start(0);
    world.run_until(120_000, "the first is scored", |world| decided(world, 0, first, 1) == [0]);
    // What draws the audits of its window is told by the other one.
    world.run_until(900_000, "and passes", |world| !decided(world, 0, first, 2).is_empty());
}

#[test]
fn a_window_that_closed_while_the_node_was_away_is_told_though_its_miners_committed_anew() {
    let (mut world, ids) = one_window(33, 1, 1, policy(1));
    world.run_until(120_000, "it is scored", |world| decided(world, 0, ids[0], 1) == [0]);
    assert!(block(&world) < 20, "its window is open");
    world.kill(0);
    world.run_for(25 * BLOCK_MS);
    submit(&mut world, 0);
    world.run_for(2 * BLOCK_MS);
    world.start(0);
    world.run_until(900_000, "it passes", |world| !decided(world, 0, ids[0], 2).is_empty());
}

#[test]
fn nobody_passes_before_its_window_closed() {
    let (mut world, ids) = one_window(12, 1, 4, policy(1));
    world.run_until(60_000 * 5, "all have a first result", |world| {
        ids.iter().all(|id| decided(world, 0, *id, 1) == [0])
    });
    while block(&world) < 20 {
        assert!(ids.iter().all(|id| place(&world, 0, *id) == (1, Passage::Open)));
        assert!(ids.iter().all(|id| decided(&world, 0, *id, 2).is_empty()));
        world.run_for(BLOCK_MS);
    }
    world.run_until(600_000, "the best goes on", |world| !decided(world, 0, ids[0], 2).is_empty());
}

#[test]
fn a_content_that_nobody_has_holds_up_its_window_until_it_is_due() {
    let mut world = World::with_policy(13, 1, 5, policy(1));
    let (first, _) = submit(&mut world, 0);
    let (missing, content) = submit(&mut world, 1);
    world.unreachable_contents.insert(content);
    world.run_until(600_000, "the window closed", |world| block(world) > 22);
    // Of two the better one passes, and it may be the one that is missing.
    assert_eq!(place(&world, 0, first), (1, Passage::Open));
    world.run_until(600_000, "the tier is due", |world| place(world, 0, first).0 == 2);
    assert!(block(&world) >= 60, "40 blocks after the window's end");
    assert_eq!(place(&world, 0, missing), (1, Passage::Open));
}

#[test]
fn references_run_what_others_are_compared_with_once_somebody_entered_the_tier() {
    let (mut world, ids) = one_window(14, 2, 1, policy(2));
    world.run_until(600_000, "the second tier begins", |world| {
        !decided(world, 0, ids[0], 2).is_empty()
    });
    world.run_until(1_500_000, "the reference is measured", |world| {
        let outcomes = world.hosts[0].machine().outcomes().map(|row| row.trial);
        let machine = world.hosts[0].machine();
        outcomes.filter(|trial| machine.is_reference(&trial.submission)).count() == 2
    });
    let id = reference_id(&world);
    assert_eq!(decided(&world, 0, id, 1), [0; 0]);
    assert_eq!(decided(&world, 0, id, 2), [2, 3], "under the reference trainer, each seed");
    assert!(world.hosts[0].machine().submissions().all(|known| known.id != id));
    world.run_for(300_000);
    assert_eq!(decided(&world, 0, id, 3), [5, 6, 7], "the probe tasks, each seed");
}

#[test]
fn whoever_founds_a_family_is_paid_for_it_and_the_rest_is_burned() {
    let (mut world, ids) = one_window(15, 2, 1, policy(2));
    world.run_until(60_000, "it is known", |world| world.state(0, ids[0]).is_some());
    // Under the reference trainer it is as good as the reference, and its own is no better.
    let machine = |world: &World, node: usize| world.hosts[node].machine().points_now();
    assert_eq!(machine(&world, 0), [(validator(0), SHARES_TOTAL)].into());
    world.run_until(2_000_000, "both nodes pay", |world| {
        (0..2).all(|node| machine(world, node).contains_key(&miner(0)))
    });
    for node in 0..2 {
        let paid = machine(&world, node);
        assert_eq!(paid[&miner(0)], SHARES_TOTAL / 10 * 6);
        assert_eq!(paid[&validator(0)], SHARES_TOTAL / 10 * 4, "no recipe is better");
        let table = world.hosts[node].machine().table(BlockNumber(block(&world))).unwrap();
        assert_eq!(table.families.len(), 2, "the reference's and its own");
    }
}

#[test]
fn a_better_recipe_is_paid_from_the_pool_of_recipes() {
    let (mut world, ids) = one_window(16, 1, 1, policy(1));
    world.run_until(60_000, "it is known", |world| world.state(0, ids[0]).is_some());
    let content = content_of(&world, ids[0]);
    for unit in [0, 1] {
        world.results.insert((content, 2, unit), LOSS * 2);
    }
    world.run_until(2_000_000, "it is paid", |world| {
        world.hosts[0].machine().points_now().contains_key(&miner(0))
    });
    let paid = world.hosts[0].machine().points_now();
    assert_eq!(paid, [(miner(0), SHARES_TOTAL)].into(), "both pools");
}

#[test]
fn an_architecture_that_was_not_traced_has_no_place() {
    let (mut world, ids) = one_window(17, 1, 1, policy(1));
    world.run_until(60_000, "it is known", |world| world.state(0, ids[0]).is_some());
    world.architectures.remove(&content_of(&world, ids[0]));
    world.run_until(2_000_000, "the second tier is decided", |world| {
        decided(world, 0, ids[0], 2) == [0, 1, 2, 3]
    });
    world.run_for(300_000);
    let paid = world.hosts[0].machine().points_now();
    assert_eq!(paid, [(validator(0), SHARES_TOTAL)].into());
}

#[test]
fn a_restart_changes_nobodys_place() {
    let (mut world, ids) = one_window(18, 2, 4, policy(1));
    world.run_until(1_500_000, "the second tier is decided", |world| {
        (0..2).all(|node| decided(world, node, ids[0], 2) == [0, 1, 2, 3])
    });
    let before: Vec<_> = ids.iter().map(|id| place(&world, 0, *id)).collect();
    world.kill(0);
    world.start(0);
    world.run_until(60_000, "it read a block", |world| world.hosts[0].machine().view().is_some());
    let after: Vec<_> = ids.iter().map(|id| place(&world, 0, *id)).collect();
    assert_eq!(before, after);
    world.run_until(2_000_000, "it goes on", |world| !decided(world, 0, ids[0], 3).is_empty());
}

#[test]
fn a_result_of_a_later_tier_counts_also_where_nobody_knew_yet_that_it_was_entered() {
    let (mut world, ids) = one_window(19, 2, 2, policy(1));
    // The second node misses the first result that promotes, until much later.
    world.run_until(60_000, "they are known", |world| world.state(1, ids[1]).is_some());
    world.run_until(2_000_000, "the second tier is decided by both", |world| {
        (0..2).all(|node| decided(world, node, ids[0], 2) == [0, 1, 2, 3])
    });
    world.lose_rows(1);
    world.start(1);
    world.run_until(4_000_000, "it hears of all tiers again", |world| {
        let is_back = world.hosts[1].machine().view().is_some();
        is_back && decided(world, 1, ids[0], 2) == [0, 1, 2, 3]
    });
    world.run_until(1_000_000, "and of who entered them", |world| {
        place(world, 1, ids[0]) == place(world, 0, ids[0])
    });
}

#[test]
fn a_trial_that_the_policy_does_not_have_is_nobodys() {
    let (mut world, ids) = one_window(20, 1, 1, policy(1));
    world.run_until(60_000, "it is known", |world| world.state(0, ids[0]).is_some());
    let machine = world.hosts[0].machine();
    let known = machine.submissions().next().unwrap();
    let is_possible =
        |tier, unit| machine.is_possible(known, Trial { submission: ids[0], tier, unit });
    assert!(is_possible(1, 0) && is_possible(2, 3) && is_possible(3, 7));
    assert!(!is_possible(0, 0) && !is_possible(1, 1) && !is_possible(2, 4));
    assert!(!is_possible(3, 8) && !is_possible(4, 0));
}
