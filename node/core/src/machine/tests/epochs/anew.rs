//! Subnets that end: the number goes to another one, or no epochs run any more. And what is said of
//! a vector that is in trouble.

use std::collections::BTreeSet;

use super::cases::{run_until, run_until_committed, settled, settled_with, NONE};
use super::life::Life;
use crate::id::IntentId;
use crate::machine::effect::Note;
use crate::machine::event::Event;
use crate::rows::{IntentRow, IntentState};
use crate::submit_guard::CommitForm;
use crate::unit::BlockCount;

const FORMS: [Option<CommitForm>; 3] =
    [None, Some(CommitForm::Timelocked), Some(CommitForm::Hashed)];

fn intents(life: &Life) -> BTreeSet<IntentId> {
    life.host.machine().intents().map(|intent| intent.id).collect()
}

fn signed_for(life: &Life, intents: &BTreeSet<IntentId>) -> usize {
    life.signed.values().filter(|call| intents.contains(&call.intent)).count()
}

fn unfinished(life: &Life) -> Vec<IntentRow> {
    let open = life.host.machine().intents().filter(|intent| !intent.state.is_finished());
    open.cloned().collect()
}

#[test]
fn a_subnet_registered_anew_has_its_own_epochs_and_each_gets_a_vector() {
    for (seed, commit) in (40..).zip(FORMS) {
        let mut life = settled_with(seed, commit);
        life.register_anew();
        let landed = life.landed();
        // Epochs of both have the same numbers, and the first ends within forty blocks.
        run_until(&mut life, 36, |life| life.landed() > landed);
        run_until(&mut life, 44, |life| life.landed() > landed + 1);
    }
}

#[test]
fn nothing_of_the_earlier_subnet_is_signed_on_the_new_one() {
    for (seed, commit) in (50..).zip(FORMS) {
        let mut life = settled_with(seed, commit);
        life.faults.lost_extrinsics = 300;
        for _ in 0..70 {
            life.step();
        }
        let old = intents(&life);
        let signed = signed_for(&life, &old);
        life.register_anew();
        for _ in 0..150 {
            life.step();
        }
        assert_eq!(signed_for(&life, &old), signed);
        assert!(life.landed() > 0 && life.halted.is_none());
    }
}

#[test]
fn what_was_on_its_way_on_the_earlier_subnet_ends_with_it() {
    for (seed, commit) in (60..).zip(FORMS) {
        let mut life = settled_with(seed, commit);
        if commit.is_some() {
            run_until_committed(&mut life);
        } else {
            run_until(&mut life, 60, |life| unfinished(life).is_empty());
            life.faults.lost_extrinsics = 1_000;
            run_until(&mut life, 60, |life| !unfinished(life).is_empty());
        }
        let waiting: BTreeSet<_> = unfinished(&life).iter().map(|intent| intent.id).collect();
        assert!(!waiting.is_empty());
        life.register_anew();
        life.faults.lost_extrinsics = 0;
        // The longest era of what was signed, and finality.
        for _ in 0..70 {
            life.step();
        }
        let ended: Vec<_> =
            life.host.machine().intents().filter(|intent| waiting.contains(&intent.id)).collect();
        assert!(!ended.is_empty());
        for intent in ended {
            let (IntentState::Lost { reason } | IntentState::Abandoned { reason }) = &intent.state
            else {
                panic!("{:?}", intent.state)
            };
            assert!(reason.contains("registered anew"), "{reason}");
        }
    }
}

#[test]
fn a_subnet_without_epochs_ends_what_was_on_its_way() {
    let mut life = Life::new(70, NONE, None);
    life.is_barred = true;
    life.faults.lost_extrinsics = 1_000;
    life.chain.change(|state| state.set_tempo(90));
    run_until(&mut life, 60, |life| !unfinished(life).is_empty());
    let view = |life: &Life| {
        let mut view = life.chain.view(life.chain.finalized());
        view.params.tempo = BlockCount(0);
        view.epoch.next_epoch_block = None;
        view
    };
    for _ in 0..100 {
        life.chain.produce(true);
        life.chain.finalize(3);
        let (now, view) = (life.host.now(1_000_000), view(&life));
        let event = Event::BlockFinalized(Box::new(view));
        life.host.machine_mut().apply(now, event);
    }
    assert_eq!(unfinished(&life), []);
}

#[test]
fn a_trouble_is_said_once_for_an_epoch_and_again_when_its_reason_changes() {
    let mut life = settled(71);
    life.faults.lost_extrinsics = 1_000;
    let signed = life.signed.len();
    run_until(&mut life, 60, |life| life.signed.len() > signed);
    let intent = unfinished(&life).first().unwrap().id;
    let mut said = |event: Event| {
        let now = life.host.now(1_000_000);
        let notes = life.host.machine_mut().apply(now, event).notes;
        let is_trouble = |note: &&Note| {
            matches!(note, Note::WeightsRefused { .. } | Note::WeightsNotSigned { .. })
        };
        notes.iter().filter(is_trouble).count()
    };
    let refused = |reason: &str| Event::WeightsSent { intent, result: Err(reason.to_owned()) };
    assert_eq!(said(refused("pool full")), 1);
    assert_eq!(said(refused("pool full")), 0);
    assert_eq!(said(refused("banned")), 1);
    assert_eq!(said(refused("pool full")), 0);
}

#[test]
fn searches_that_fail_every_block_are_said_once() {
    let mut life = settled(72);
    life.faults.failed_searches = 1_000;
    let nonce = life.chain.block(life.chain.best()).state.nonce;
    run_until(&mut life, 60, |life| life.chain.block(life.chain.best()).state.nonce > nonce);
    let from = life.host.notes.len();
    // The row shows that it landed, unless something is written over it.
    life.chain.change(|state| state.neurons[0].last_update = crate::unit::BlockNumber(1));
    for _ in 0..12 {
        life.step();
    }
    let said = life.host.notes[from..]
        .iter()
        .filter(|note| matches!(note, Note::WeightsUntraced { .. }))
        .count();
    assert_eq!(said, 1);
}

#[test]
fn a_restart_is_not_safe_while_a_reveal_is_due() {
    let mut life = settled_with(73, Some(CommitForm::Hashed));
    life.host.kill();
    life.host.config.weights_lead = BlockCount(8);
    run_until_committed(&mut life);
    let machine = |life: &Life| {
        let machine = life.host.machine();
        let is_under_way = |intent: &IntentRow| intent.state.is_on_its_way();
        (machine.intents().any(is_under_way), machine.is_safe_to_restart())
    };
    run_until(&mut life, 60, |life| !machine(life).0);
    assert_eq!(machine(&life), (false, true), "its epoch has not come");
    life.faults.lost_extrinsics = 1_000;
    let epoch = life.epochs;
    run_until(&mut life, 60, |life| life.epochs > epoch);
    life.step();
    assert_eq!(machine(&life), (false, false));
    life.faults.lost_extrinsics = 0;
    let revealed = |note: &Note| matches!(note, Note::WeightsRevealed { .. });
    let before = life.noted(revealed);
    run_until(&mut life, 30, |life| life.noted(revealed) > before);
    run_until(&mut life, 3, |life| !machine(life).0);
    assert_eq!(machine(&life), (false, true));
}
