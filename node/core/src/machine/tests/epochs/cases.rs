//! One fault at a time, each with its number in the catalogue of faults.

use super::fork::Call;
use super::life::{Faults, Life};
use crate::machine::effect::{Halt, Note};
use crate::rows::Carries;
use crate::unit::BlockNumber;

const NONE: Faults = Faults {
    crashes: 0,
    reorganisations: 0,
    outages: 0,
    lost_extrinsics: 0,
    upgrades: 0,
    triggers: 0,
    tempo_changes: 0,
    lag_changes: 0,
    deferrals: 0,
    new_miners: 0,
    failed_searches: 0,
};

/// A validator that has set weights for two epochs of forty blocks.
fn settled(seed: u64) -> Life {
    let mut life = Life::new(seed, NONE, None);
    life.chain.change(|state| state.set_tempo(40));
    run_until(&mut life, 200, |life| life.epochs >= 2);
    assert!(life.updated.contains(&1));
    life
}

fn run_until(life: &mut Life, blocks: u64, is_done: impl Fn(&Life) -> bool) {
    for _ in 0..blocks {
        if is_done(life) {
            return;
        }
        life.step();
    }
    panic!("not within {blocks} blocks");
}

fn signatures(life: &Life) -> usize {
    life.signed.len()
}

/// What another process with the same hotkey would sign.
fn by_a_rival(call: &Call) -> Call {
    Call { version_key: call.version_key + 1, ..call.clone() }
}

#[test]
fn case_06_an_update_that_the_journal_does_not_explain_ends_all_signing() {
    let mut life = settled(1);
    life.has_rival = true;
    let block = BlockNumber(life.chain.best());
    life.chain.change(|state| {
        state.nonce += 1;
        state.neurons[0].last_update = block;
    });
    // Noticed when the block is final, long before the tempo is over.
    run_until(&mut life, 8, |life| life.halted.is_some());
    assert_eq!(life.halted, Some(Halt::OtherSigner { block }));
    let signed = signatures(&life);
    for _ in 0..200 {
        life.step();
    }
    assert_eq!(signatures(&life), signed, "it signed on");
}

#[test]
fn case_06_a_rival_that_lands_the_same_vector_with_the_same_nonce_is_noticed() {
    let mut life = settled(2);
    life.has_rival = true;
    let signed = signatures(&life);
    // Ours never arrives; the rival's does.
    life.faults.lost_extrinsics = 1_000;
    run_until(&mut life, 80, |life| signatures(life) > signed);
    let ours = life.signed.values().max_by_key(|call| call.nonce).unwrap().clone();
    life.chain.send(by_a_rival(&ours)).unwrap();
    run_until(&mut life, 10, |life| life.halted.is_some());
    let used =
        |note: &Note| matches!(note, Note::NonceUsedElsewhere { nonce } if *nonce == ours.nonce);
    assert_eq!(life.noted(used), 1);
}

#[test]
fn case_06_a_restart_does_not_make_a_rival_welcome() {
    let mut life = settled(3);
    life.has_rival = true;
    let block = BlockNumber(life.chain.best());
    life.chain.change(|state| {
        state.nonce += 1;
        state.neurons[0].last_update = block;
    });
    run_until(&mut life, 8, |life| life.halted.is_some());
    let signed = signatures(&life);
    life.halted = None;
    life.host.kill();
    run_until(&mut life, 8, |life| life.halted.is_some());
    assert_eq!(signatures(&life), signed);
}

#[test]
fn a_hotkey_that_was_used_elsewhere_before_waits_until_those_signatures_are_dead() {
    let mut life = Life::new(4, NONE, None);
    life.host.kill();
    let block = BlockNumber(1);
    life.chain.change(|state| {
        state.set_tempo(200);
        state.nonce = 9;
        state.neurons[0].last_update = block;
    });
    run_until(&mut life, 8, |life| {
        life.noted(|note| matches!(note, Note::HotkeyAdopted { .. })) == 1
    });
    let adopted_at = life.chain.best();
    run_until(&mut life, 120, |life| signatures(life) > 0);
    assert!(
        life.chain.best() >= adopted_at + 64,
        "signed after {}",
        life.chain.best() - adopted_at
    );
}

#[test]
fn case_08_an_endpoint_that_says_yes_and_forgets_gets_the_same_bytes_until_they_land() {
    let mut life = settled(5);
    let (signed, landed) = (signatures(&life), life.landed());
    life.faults.lost_extrinsics = 1_000;
    run_until(&mut life, 60, |life| signatures(life) > signed);
    for _ in 0..5 {
        life.step();
    }
    life.faults.lost_extrinsics = 0;
    run_until(&mut life, 10, |life| life.landed() > landed);
    assert_eq!(signatures(&life), signed + 1);
}

#[test]
fn case_08_a_reorganisation_that_takes_the_vector_back_lands_it_once() {
    let mut life = settled(6);
    life.lag = 10;
    let landed = life.landed();
    let nonce = life.chain.block(life.chain.best()).state.nonce;
    run_until(&mut life, 60, |life| life.chain.block(life.chain.best()).state.nonce > nonce);
    for _ in 0..4 {
        life.chain.reorganise(3);
        life.step();
    }
    run_until(&mut life, 40, |life| life.landed() > landed);
    assert_eq!(life.landed(), landed + 1);
}

#[test]
fn case_08_a_nonce_usurped_by_another_call_of_ours_costs_one_new_signature() {
    let mut life = settled(7);
    let (signed, landed) = (signatures(&life), life.landed());
    life.faults.lost_extrinsics = 1_000;
    run_until(&mut life, 60, |life| signatures(life) > signed);
    // The node published its address meanwhile: no update of weights, but the nonce is gone.
    life.chain.change(|state| state.nonce += 1);
    life.faults.lost_extrinsics = 0;
    run_until(&mut life, 20, |life| life.landed() > landed + 1);
    assert_eq!(signatures(&life), signed + 2);
    assert!(life.halted.is_none());
}

#[test]
fn case_10_with_finality_twenty_blocks_behind_every_epoch_gets_its_vector() {
    let mut life = settled(8);
    life.lag = 20;
    let from = life.epochs;
    run_until(&mut life, 600, |life| life.epochs >= from + 10);
    for epoch in from..life.epochs {
        assert!(life.updated.contains(&epoch), "epoch {epoch}");
    }
}

#[test]
fn case_11_a_triggered_epoch_and_a_changed_tempo_miss_none() {
    let mut life = settled(9);
    let from = life.epochs;
    // The owner triggers an epoch ten blocks ahead, in the middle of one.
    for _ in 0..15 {
        life.step();
    }
    let fires_at = life.chain.best() + 10;
    life.chain.change(|state| state.pending_at = fires_at);
    run_until(&mut life, 30, |life| life.epochs > from);
    life.chain.change(|state| state.set_tempo(15));
    run_until(&mut life, 40, |life| life.epochs > from + 1);
    life.chain.change(|state| state.set_tempo(90));
    run_until(&mut life, 400, |life| life.epochs > from + 4);
    for epoch in from..life.epochs {
        assert!(life.updated.contains(&epoch), "epoch {epoch}");
    }
}

#[test]
fn a_mode_switched_in_mid_epoch_takes_the_other_form_in_the_same_epoch() {
    let mut life = settled(10);
    life.faults.lost_extrinsics = 1_000;
    let signed = signatures(&life);
    run_until(&mut life, 60, |life| signatures(life) > signed);
    let epoch = life.chain.block(life.chain.best()).state.index;
    life.chain.change(|state| state.commit_reveal = true);
    life.faults.lost_extrinsics = 0;
    run_until(&mut life, 60, |life| life.epochs > epoch);
    let plain_failed = |note: &Note| matches!(note, Note::WeightsFailed { error, .. } if error == "CommitRevealEnabled");
    assert_eq!(life.noted(plain_failed), 1);
    let newest = life.signed.values().max_by_key(|call| call.nonce).unwrap();
    assert!(matches!(newest.carries, Carries::Timelocked { .. }), "{newest:?}");
    assert!(life.updated.contains(&epoch));
}
