//! Claims about vectors: one per epoch lands, never two that could, and none that is wrong.
//!
//! After every step the world checks that at most one signature of each hotkey could still land,
//! and after every block that no intent landed twice.

use std::collections::BTreeMap;

use super::chain::TEMPO;
use super::host::CrashPoint;
use super::world::{miner, validator, Fate, World, BLOCK_MS};
use crate::id::{Hotkey, Uid};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::Event;
use crate::machine::WeightsMode;
use crate::rows::{IntentRow, IntentState, JournalStep, Write};
use crate::submit_guard::NotSafe;
use crate::unit::{BlockCount, BlockNumber};

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };
const EPOCH_MS: u64 = TEMPO * BLOCK_MS;

/// A node alone with one scored submission, a block after an epoch began.
fn scored(seed: u64) -> World {
    let mut world = World::new(seed, 1, 2);
    let id = world.submit(miner(0), GOOD);
    world.run_until(60_000, "scored", |world| world.is_settled(0, id));
    world.run_until(2 * EPOCH_MS, "a new epoch", |world| {
        world.chain.finalized().0 % TEMPO == 0 && world.chain.finalized().0 > 0
    });
    world.run_for(1_000);
    world
}

/// Vectors landed per epoch of their intents.
fn landed_by_epoch(world: &World) -> BTreeMap<u64, usize> {
    let mut by_epoch = BTreeMap::new();
    for intent in world.hosts[0].machine().intents() {
        let landed = world.chain.landed.iter().filter(|landed| landed.call.intent == intent.id);
        by_epoch.insert(intent.epoch.0, landed.count());
    }
    by_epoch
}

fn journals(outcome: &Outcome, is_meant: fn(&JournalStep) -> bool) -> bool {
    outcome.writes.iter().any(|write| matches!(write, Write::Journal(e) if is_meant(&e.step)))
}

fn intends(outcome: &Outcome) -> bool {
    journals(outcome, |step| matches!(step, JournalStep::Intended { .. }))
}

fn signs(outcome: &Outcome) -> bool {
    journals(outcome, |step| matches!(step, JournalStep::Signed { .. }))
}

fn lands(outcome: &Outcome) -> bool {
    journals(outcome, |step| matches!(step, JournalStep::Landed { .. }))
}

fn sends(outcome: &Outcome) -> bool {
    outcome.effects.iter().any(|effect| matches!(effect, Effect::SendWeights { .. }))
}

fn signings(world: &World) -> usize {
    world.notes(0, |note| matches!(note, Note::WeightsSigned { .. }))
}

#[test]
fn one_vector_lands_in_each_epoch() {
    let mut world = scored(1);
    let before = world.landed(0);
    world.run_for(10 * EPOCH_MS);
    assert_eq!(world.landed(0) - before, 10);
    assert!(landed_by_epoch(&world).values().filter(|landed| **landed != 1).count() <= 1);
    assert_eq!(world.chain.weights_of(&validator(0)), vec![(Uid(1), u16::MAX)]);
}

#[test]
fn case_07_a_crash_around_signing_and_sending_leaves_exactly_one_vector() {
    let moments: [fn(&Outcome) -> bool; 4] = [intends, signs, sends, lands];
    for (index, moment) in moments.into_iter().enumerate() {
        for point in CrashPoint::ALL {
            for include_after in [1, 3] {
                let mut world = scored(2);
                world.chain.include_after = include_after;
                let (epoch, before) =
                    (world.hosts[0].machine().view().unwrap().epoch.index, world.landed(0));
                world.crash_at(0, point, moment);
                world.run_for(2 * EPOCH_MS);
                let crash = format!("crash {point:?} at moment {index}");
                assert!(world.planned_crash.is_none(), "{crash}: it did not happen");
                assert_eq!(world.landed(0) - before, 2, "{crash}");
                assert_eq!(landed_by_epoch(&world)[&epoch.0], 1, "{crash}");
            }
        }
    }
}

#[test]
fn case_08_an_endpoint_that_forgets_is_given_the_same_bytes_again() {
    let mut world = scored(3);
    let (before, signed) = (world.landed(0), signings(&world));
    world.chain.is_forgetful = true;
    world.run_until(EPOCH_MS, "signed", |world| signings(world) > signed);
    world.run_for(2 * BLOCK_MS);
    world.chain.is_forgetful = false;
    world.run_until(5 * BLOCK_MS, "landed", |world| world.landed(0) > before);
    assert_eq!(signings(&world), signed + 1);
}

#[test]
fn a_vector_is_signed_anew_only_when_the_era_of_the_old_one_is_over() {
    let mut world = scored(4);
    world.chain.params.tempo = BlockCount(100);
    world.hosts[0].config.weights_lead = BlockCount(40);
    world.kill(0);
    world.start(0);
    world.run_until(2 * EPOCH_MS, "the longer epoch", |world| {
        world.hosts[0].machine().view().is_some_and(|view| {
            view.epoch.next_epoch_block == Some(view.epoch.last_epoch_block.plus(BlockCount(100)))
        })
    });
    let (before, signed) = (world.landed(0), signings(&world));
    world.chain.is_forgetful = true;
    world.run_until(100 * BLOCK_MS, "signed twice", |world| signings(world) == signed + 2);
    let intents: Vec<_> = world.hosts[0].machine().intents().cloned().collect();
    let intent = intents.iter().max_by_key(|intent| intent.epoch).unwrap();
    let [first, second] = intent.signings.as_slice() else { panic!("{intent:?}") };
    // The next block is the first that could not hold the old one.
    let next = world.hosts[0].machine().view().unwrap().number.plus(BlockCount(1));
    assert!(next >= first.era_end);
    assert_eq!(first.nonce, second.nonce, "the first one was never used");
    world.chain.is_forgetful = false;
    world.run_until(8 * BLOCK_MS, "landed", |world| world.landed(0) == before + 1);
    world.run_for(3 * BLOCK_MS);
    assert_eq!(signings(&world), signed + 2);
}

#[test]
fn a_vector_that_did_not_land_in_its_epoch_is_given_up_and_the_next_epoch_has_its_own() {
    let mut world = scored(5);
    let before = world.landed(0);
    world.chain.is_forgetful = true;
    world.run_for(2 * EPOCH_MS);
    assert_eq!(world.landed(0), before);
    world.chain.is_forgetful = false;
    world.run_for(2 * EPOCH_MS);
    assert!(world.landed(0) > before);
    let mut intents = world.hosts[0].machine().intents();
    assert!(intents.any(|intent| matches!(intent.state, IntentState::Abandoned { .. })));
}

#[test]
fn case_10_a_vector_lands_though_finality_stalls_for_20_blocks() {
    let mut world = scored(6);
    world.chain.params.tempo = BlockCount(100);
    world.run_until(2 * EPOCH_MS, "the longer epoch", |world| {
        let view = world.hosts[0].machine().view().unwrap();
        view.epoch.next_epoch_block == Some(view.epoch.last_epoch_block.plus(BlockCount(100)))
    });
    let (before, signed) = (world.landed(0), signings(&world));
    world.run_until(100 * BLOCK_MS, "signed", |world| signings(world) > signed);
    world.chain.finality_lag += 20;
    world.run_for(20 * BLOCK_MS);
    world.chain.finality_lag -= 20;
    world.run_for(10 * BLOCK_MS);
    assert_eq!(world.landed(0), before + 1);
    assert_eq!(signings(&world), signed + 1);
}

#[test]
fn without_points_nothing_is_signed_and_it_is_said_once_per_epoch() {
    let mut world = World::new(7, 1, 1);
    world.run_for(3 * EPOCH_MS);
    assert_eq!(signings(&world), 0);
    assert_eq!(world.hosts[0].machine().intents().count(), 0);
    let said = world.notes(0, |note| matches!(note, Note::WeightsNotSafe { .. }));
    assert!((2..=3).contains(&said), "said {said} times");
}

#[test]
fn nothing_is_signed_without_a_permit_with_an_unknown_commit_format_or_within_the_rate_limit() {
    type Case = (fn(&mut World), fn(&NotSafe) -> bool);
    let forbid: [Case; 5] = [
        (
            |world| world.chain.neuron_mut(&validator(0)).validator_permit = false,
            |reason| matches!(reason, NotSafe::NoPermit),
        ),
        (
            |world| world.chain.neuron_mut(&validator(0)).stake_rao -= 1,
            |reason| matches!(reason, NotSafe::StakeTooLow { .. }),
        ),
        (
            |world| {
                world.chain.params.commit_reveal_enabled = true;
                world.chain.params.commit_reveal_version = Some(5);
            },
            |reason| matches!(reason, NotSafe::UnknownCommitVersion { .. }),
        ),
        (
            |world| world.chain.params.weights_rate_limit = BlockCount(1_000),
            |reason| matches!(reason, NotSafe::RateLimited { .. }),
        ),
        (
            |world| world.chain.replace(&validator(0), miner(9)),
            |reason| matches!(reason, NotSafe::NotRegistered { .. }),
        ),
    ];
    for (index, (forbid, is_reason)) in forbid.into_iter().enumerate() {
        let mut world = scored(8);
        world.run_until(2 * EPOCH_MS, "landed once", |world| world.landed(0) > 0);
        world.run_for(15 * BLOCK_MS);
        forbid(&mut world);
        world.run_for(3 * BLOCK_MS);
        let (landed, signed) = (world.landed(0), signings(&world));
        let mut reasons = Vec::new();
        for _ in 0..40 {
            world.run_for(BLOCK_MS);
            reasons.extend(world.hosts[0].machine().not_safe().cloned());
        }
        assert_eq!((world.landed(0), signings(&world)), (landed, signed), "case {index}");
        assert!(reasons.iter().any(is_reason), "case {index}: {reasons:?}");
    }
}

#[test]
fn a_switched_off_node_signs_nothing_not_even_what_it_intended_before() {
    let mut world = scored(9);
    let signed = signings(&world);
    world.crash_at(0, CrashPoint::AfterWrites, intends);
    world.run_until(EPOCH_MS, "died with an open intent", |world| !world.hosts[0].is_up());
    world.hosts[0].config.weights = WeightsMode::Off;
    world.run_for(2 * EPOCH_MS);
    assert!(world.hosts[0].is_up());
    assert_eq!(signings(&world), signed);
}

#[test]
fn a_dry_run_computes_each_epochs_vector_and_signs_none() {
    let mut world = scored(12);
    let signed = signings(&world);
    world.kill(0);
    world.hosts[0].config.weights = WeightsMode::DryRun;
    world.start(0);
    world.run_for(3 * EPOCH_MS);
    assert_eq!(signings(&world), signed);
    let is_dry = |intent: &&IntentRow| {
        let IntentState::Abandoned { reason } = &intent.state else { return false };
        reason.contains("dry run")
    };
    let dry: Vec<_> = world.hosts[0].machine().intents().filter(is_dry).collect();
    assert!(dry.len() >= 2, "{dry:?}");
    assert!(dry.iter().all(|intent| intent.vector == vec![(Uid(1), u16::MAX)]), "{dry:?}");
}

#[test]
fn case_12_a_uid_that_changed_hands_after_scoring_gets_no_weight() {
    let mut world = World::new(10, 1, 2);
    let ids = [0, 1].map(|index| world.submit(miner(index), GOOD));
    world.run_until(60_000, "scored", |world| ids.iter().all(|id| world.is_settled(0, *id)));
    world.chain.replace(&miner(0), miner(5));
    let before = world.landed(0);
    world.run_for(2 * EPOCH_MS);
    assert!(world.landed(0) > before);
    assert_eq!(world.chain.weights_of(&validator(0)), vec![(Uid(2), u16::MAX)]);
}

#[test]
fn case_12_a_uid_that_changed_hands_between_intent_and_signature_gets_no_weight() {
    let mut world = World::new(11, 1, 2);
    let ids = [0, 1].map(|index| world.submit(miner(index), GOOD));
    world.run_until(60_000, "scored", |world| ids.iter().all(|id| world.is_settled(0, *id)));
    world.run_for(EPOCH_MS);
    let before = world.landed(0);
    world.crash_at(0, CrashPoint::AfterWrites, intends);
    world.run_until(2 * EPOCH_MS, "died with an open intent", |world| !world.hosts[0].is_up());
    world.hosts[0].is_blind = true;
    world.chain.replace(&miner(0), miner(5));
    world.run_for((world.chain.finality_lag + 1) * BLOCK_MS);
    world.hosts[0].is_blind = false;
    world.run_until(EPOCH_MS, "landed", |world| world.landed(0) > before);
    assert_eq!(world.chain.weights_of(&validator(0)), vec![(Uid(2), u16::MAX)]);
    // A crash right after must not bring the old vector back.
    world.kill(0);
    world.start(0);
    world.run_for(4 * BLOCK_MS);
    assert_eq!(world.landed(0), before + 1);
}

#[test]
fn a_hotkey_that_came_back_under_another_registration_starts_from_nothing() {
    let mut world = World::new(12, 1, 2);
    let ids = [0, 1].map(|index| world.submit(miner(index), GOOD));
    world.run_until(60_000, "scored", |world| ids.iter().all(|id| world.is_settled(0, *id)));
    world.chain.neuron_mut(&miner(0)).registered_at = BlockNumber(world.chain.best().0);
    world.run_for(2 * EPOCH_MS);
    assert_eq!(world.chain.weights_of(&validator(0)), vec![(Uid(2), u16::MAX)]);
}

#[test]
fn a_view_older_than_what_was_signed_for_leads_to_no_signature() {
    let mut world = scored(13);
    world.kill(0);
    let missed = world.chain.finalized().0;
    world.run_for(EPOCH_MS);
    world.start(0);
    world.run_until(2 * EPOCH_MS, "landed in the next epoch", |world| {
        world.chain.landed.last().is_some_and(|landed| landed.block.0 > missed + TEMPO)
    });
    world.run_for(4 * BLOCK_MS);
    let signed = signings(&world);
    world.hosts[0].is_blind = true;
    world.kill(0);
    world.start(0);
    let life = world.hosts[0].life;
    // A lagging endpoint answers first: it is in the epoch that the node missed.
    for height in missed + 11..missed + 17 {
        let view = world.chain.view(BlockNumber(height), &validator(0));
        world.deliver(0, life, Event::BlockFinalized(Box::new(view)));
    }
    world.run_for(BLOCK_MS);
    assert_eq!(signings(&world), signed);
}

#[test]
fn a_journal_line_of_another_hotkey_binds_nothing_here() {
    let mut world = scored(14);
    world.crash_at(0, CrashPoint::AfterWrites, intends);
    world.run_until(2 * EPOCH_MS, "died with an open intent", |world| !world.hosts[0].is_up());
    let mut entry = world.hosts[0].disk.journal().last().unwrap().clone();
    entry.hotkey = Hotkey([9; 32]);
    entry.intent.0[0] ^= 1;
    world.hosts[0].disk.commit_journal(&[Write::Journal(entry.clone())]);
    world.run_for(EPOCH_MS);
    assert!(world.hosts[0].machine().intents().all(|intent| intent.id != entry.intent));
}

#[test]
fn rows_that_lag_behind_the_journal_are_brought_up_to_it() {
    let mut world = scored(15);
    let (before, signed) = (world.landed(0), signings(&world));
    world.chain.include_after = 3;
    world.crash_at(0, CrashPoint::AfterJournal, signs);
    world.run_until(2 * EPOCH_MS, "died", |world| !world.hosts[0].is_up());
    world.run_until(EPOCH_MS, "landed", |world| world.landed(0) > before);
    let intents = world.hosts[0].machine().intents();
    let newest = intents.max_by_key(|intent| intent.epoch).unwrap();
    assert_eq!(newest.signings.len(), 1, "the journalled bytes were sent, not new ones");
    assert_eq!(signings(&world), signed, "the note died with the process");
}
