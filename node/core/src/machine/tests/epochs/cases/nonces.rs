//! A vector and a reveal of one epoch, one nonce after the other, and what takes either back.

use super::*;

#[test]
fn an_upgrade_that_is_taken_back_with_a_reveal_costs_the_vector_behind_it_no_epoch() {
    let mut life = settled_with(35, Some(CommitForm::Hashed));
    life.lag = 5;
    // An era of 32 blocks ends just in time for the commit, and too late for another one.
    life.chain.change(|state| state.set_tempo(33));
    let epoch = index(&life) + 2;
    run_until(&mut life, 120, |life| index(life) == epoch);
    for _ in 0..4 {
        life.step();
    }
    let signed = signatures(&life);
    // The reveal and the vector behind it are signed for a runtime that is taken back.
    life.chain.upgrades_next = true;
    let upgraded_at = life.chain.best() + 1;
    run_until(&mut life, 5, |life| signatures(life) == signed + 2);
    life.step();
    life.chain.reorganise(life.chain.best() + 1 - upgraded_at);
    assert_eq!(life.chain.block(life.chain.best()).state.spec_version, 1);
    run_until(&mut life, 60, |life| life.epochs > epoch);
    assert!(life.updated.contains(&epoch));
}

#[test]
fn a_reveal_that_was_lost_with_its_epoch_costs_the_next_epoch_nothing() {
    let mut life = settled_with(36, Some(CommitForm::Hashed));
    // An era of 64 blocks outlives the epoch of the reveal and the next one.
    life.lag = 22;
    life.chain.change(|state| state.set_tempo(30));
    let from = index(&life) + 2;
    run_until(&mut life, 120, |life| index(life) == from);
    let reveals = |life: &Life| life.noted(|note| matches!(note, Note::RevealSigned { .. }));
    let before = reveals(&life);
    life.faults.lost_extrinsics = 1_000;
    life.is_barred = true;
    run_until(&mut life, 30, |life| reveals(life) > before);
    let reveal = life.signed.values().max_by_key(|call| call.nonce).unwrap();
    assert_eq!(reveal.carries, Carries::Reveal);
    let era_end = reveal.era_end.0;
    run_until(&mut life, 40, |life| index(life) > from);
    life.faults.lost_extrinsics = 0;
    let signed = signatures(&life);
    run_until(&mut life, 30, |life| signatures(life) > signed);
    assert!(life.chain.best() < era_end, "it waited until {era_end}");
    run_until(&mut life, 60, |life| life.epochs > from + 1);
    assert!(life.updated.contains(&(from + 1)));
    // Its nonce was used by a signature of ours.
    assert_eq!(life.noted(|note| matches!(note, Note::NonceUsedElsewhere { .. })), 0);
}
