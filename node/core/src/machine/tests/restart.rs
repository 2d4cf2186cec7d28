//! Claims about crashes: at any point, in any node, nothing is lost and nothing happens twice.

use std::collections::BTreeMap;

use super::host::{CrashPoint, Host};
use super::world::{miner, Fate, PlannedCrash, World};
use crate::id::{Digest, Salt};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::Event;
use crate::rows::{Row, RunState, Write};
use crate::submission::SubmissionState;
use crate::unit::BlockNumber;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

/// One submission from its commitment to everybody's vector; `crash` kills a node on the way.
fn history(crash: Option<PlannedCrash>) -> World {
    let mut world = World::new(1, 2, 1);
    world.run_ms = 4_000;
    world.tick_ms = 2_000;
    world.planned_crash = crash;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(300_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_until(300_000, "two vectors each", |world| {
        world.landed(0) >= 2 && world.landed(1) >= 2
    });
    assert!(matches!(world.state(0, id), Some(SubmissionState::Scored { .. })));
    assert_eq!(world.state(0, id), world.state(1, id));
    world.check_scores();
    world
}

#[test]
fn case_07_a_crash_at_any_point_loses_nothing_and_repeats_nothing() {
    let places = history(None).crash_places.clone();
    for (node, places) in places.into_iter().enumerate() {
        for countdown in 0..places {
            for point in CrashPoint::ALL {
                let crash = PlannedCrash { node, point, countdown, when: |_| true };
                let result = std::panic::catch_unwind(|| history(Some(crash)));
                assert!(result.is_ok(), "node {node} crashed {point:?} of outcome {countdown}");
            }
        }
    }
}

#[test]
fn leftover_containers_are_removed_and_their_leases_given_back() {
    let mut world = World::new(2, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it runs", |world| !world.hosts[1].containers.is_empty());
    world.kill(1);
    assert_eq!(world.hosts[1].containers.len(), 1, "containers outlive the process");
    world.start(1);
    assert_eq!(world.hosts[1].containers.len(), 0);
    assert_eq!(world.notes(1, |note| matches!(note, Note::LeftoverFound { .. })), 1);
    world.run_until(10_000, "given back, long before its time", |world| {
        world.notes(0, |note| matches!(note, Note::LeaseReleased { .. })) == 1
    });
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(id));
    world.check_scores();
}

#[test]
fn case_02_a_node_that_lost_its_rows_grants_and_signs_nothing_until_it_caught_up() {
    let mut world = World::new(3, 2, 1);
    let id = world.submit_to(1, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_until(300_000, "a vector each", |world| world.landed(0) >= 1 && world.landed(1) >= 1);
    let score = world.state(0, id);
    let landed = world.landed(0);
    world.lose_rows(0);
    world.hosts[1].is_cut_off = true;
    world.start(0);
    world.run_for(30_000);
    assert!(world.hosts[0].machine().is_catching_up(), "its peer was not heard yet");
    assert_eq!(world.landed(0), landed);
    world.kill(0);
    world.start(0);
    world.run_for(5_000);
    assert!(world.hosts[0].machine().is_catching_up(), "a restart does not end it");
    world.hosts[1].is_cut_off = false;
    world.run_until(120_000, "caught up", |world| !world.hosts[0].machine().is_catching_up());
    world.run_until(120_000, "it knows the score again", |world| world.is_settled(0, id));
    assert_eq!(world.state(0, id), score, "from the receipt of its peer, not by another run");
    world.run_until(300_000, "it signs again", |world| world.landed(0) > landed);
    world.kill(0);
    world.start(0);
    world.run_for(1_000);
    assert!(!world.hosts[0].machine().is_catching_up(), "it has, and wrote that down");
}

#[test]
fn a_peer_that_is_gone_does_not_keep_a_node_from_its_duties_for_ever() {
    let mut world = World::new(4, 2, 1);
    world.run_for(5_000);
    world.lose_rows(0);
    world.kill(1);
    world.start(0);
    world.run_for(30_000);
    assert!(world.hosts[0].machine().is_catching_up());
    world.run_until(600_000, "two epochs of patience", |world| {
        !world.hosts[0].machine().is_catching_up()
    });
}

fn signs_a_receipt(outcome: &Outcome) -> bool {
    outcome.writes.iter().any(|write| {
        let Write::Put(Row::Run(row)) = write else { return false };
        matches!(row.state, RunState::Completing { .. })
    })
}

#[test]
fn a_result_signed_before_the_crash_is_handed_in_and_not_run_again() {
    let mut world = World::new(3, 2, 1);
    world.crash_at(1, CrashPoint::AfterWrites, signs_a_receipt);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(id));
    assert!(world.planned_crash.is_none(), "the crash happened");
    assert_eq!(world.notes(1, |note| matches!(note, Note::RunStarted { .. })), 1);
    assert_eq!(world.notes(0, |note| matches!(note, Note::RunStarted { .. })), 0);
}

#[test]
fn a_granted_lease_keeps_its_holder_over_the_coordinators_restart() {
    let mut world = World::new(4, 2, 1);
    world.run_ms = 90_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it runs", |world| !world.hosts[1].containers.is_empty());
    world.kill(0);
    world.run_for(30_000);
    world.start(0);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.notes(1, |note| matches!(note, Note::RunStarted { .. })), 1);
    assert_eq!(world.notes(0, |note| matches!(note, Note::RunStarted { .. })), 0);
}

#[test]
fn what_a_lagging_endpoint_did_not_show_is_planned_once_it_does() {
    let mut world = World::new(9, 2, 1);
    world.crash_at(0, CrashPoint::BeforeWrites, |outcome| {
        outcome.notes.iter().any(|note| matches!(note, Note::SubmissionAdmitted { .. }))
    });
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it dies before it admits", |world| !world.hosts[0].is_up());
    world.hosts[0].is_blind = true;
    world.start(0);
    let (life, hotkey) = (world.hosts[0].life, world.hosts[0].hotkey());
    let older = world.chain.view(BlockNumber(0), &hotkey);
    world.deliver(0, life, Event::BlockFinalized(Box::new(older)));
    world.run_until(60_000, "admitted", |world| world.is_admitted_at(0, id));
    world.hosts[0].is_blind = false;
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
}

#[test]
fn a_second_restart_after_a_half_done_first_one_finds_the_same() {
    let mut world = World::new(5, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "it runs", |world| !world.hosts[1].containers.is_empty());
    world.kill(1);
    world.crash_at(1, CrashPoint::AfterWrites, |outcome| {
        outcome.effects.iter().any(|effect| matches!(effect, Effect::RemoveLeftover { .. }))
    });
    world.start(1);
    assert!(!world.hosts[1].is_up(), "it died again, before it removed anything");
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(id));
    world.check_scores();
}

/// One evaluation by two, from the commitment to both results; `crash` kills a node on the way.
fn history_of_two(crash: Option<PlannedCrash>) -> World {
    let mut world = World::with_replicas(6, 2, 1, 2);
    world.run_ms = 4_000;
    world.tick_ms = 2_000;
    world.planned_crash = crash;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(300_000, "settled", |world| {
        world.is_settled_everywhere(id) && (0..2).all(|node| world.claimants_at(node, id) == [0, 1])
    });
    let is_waiting = |note: &Note| matches!(note, Note::Strike { .. });
    assert_eq!(world.notes(0, is_waiting) + world.notes(1, is_waiting), 0);
    assert_eq!(world.state(0, id), world.state(1, id));
    world.check_scores();
    world
}

#[test]
fn case_16_a_crash_at_any_point_of_an_evaluation_by_two_loses_nothing() {
    let places = history_of_two(None).crash_places.clone();
    for (node, places) in places.into_iter().enumerate() {
        for countdown in 0..places {
            for point in CrashPoint::ALL {
                let crash = PlannedCrash { node, point, countdown, when: |_| true };
                let result = std::panic::catch_unwind(|| history_of_two(Some(crash)));
                assert!(result.is_ok(), "node {node} crashed {point:?} of outcome {countdown}");
            }
        }
    }
}

#[test]
fn open_leases_of_other_rules_are_not_given_out() {
    let mut world = World::new(7, 2, 1);
    for node in 0..2 {
        world.hosts[node].devices = 0;
        world.kill(node);
        world.start(node);
    }
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(30_000, "open", |world| world.attempts_at(0, id) == [0]);
    for node in 0..2 {
        world.kill(node);
        world.hosts[node].config.policy.run.wall_ms += 1;
        world.hosts[node].devices = 1;
        world.start(node);
        // What counted by the old rules is judged by the new ones.
    }
    world.run_until(120_000, "settled by the new rules", |world| world.is_settled_everywhere(id));
    assert_eq!(world.runs_started(), 1);
    world.check_scores();
}

#[test]
fn the_same_result_by_other_rules_has_a_salt_of_its_own() {
    let mut world = World::new(7, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    let salts = |world: &World| -> BTreeMap<Digest, Salt> {
        let machines = world.hosts.iter().map(Host::machine);
        let receipts = machines.flat_map(|machine| machine.receipts());
        let evidence = receipts.map(|row| &row.receipt.evidence);
        evidence.map(|evidence| (evidence.policy, evidence.salt)).collect()
    };
    let before = salts(&world);
    for node in 0..2 {
        world.kill(node);
        world.hosts[node].config.policy.run.wall_ms += 1;
        world.start(node);
    }
    world.run_until(240_000, "measured by the new rules", |world| salts(world).len() == 2);
    let (after, old) = (salts(&world), before.into_iter().next().unwrap());
    // The old one is public: a promise with it hides nothing from who guesses that little changed.
    assert!(after.into_iter().all(|(policy, salt)| (policy == old.0) == (salt == old.1)));
}
