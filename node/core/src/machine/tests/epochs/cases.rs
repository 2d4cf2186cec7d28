//! One fault at a time, each with its number in the catalogue of faults.

mod nonces;
mod restored;
mod reveals;
mod rivals;
mod sending;
mod several;

use super::fork::{Call, State};
use super::life::{Faults, Life, LEAD};
use crate::id::Digest;
use crate::machine::effect::{Halt, Note};
use crate::machine::event::{Event, Restarted};
use crate::machine::{Machine, WeightsMode};
use crate::rows::{Carries, IntentRow, IntentState, JournalEntry, JournalStep};
use crate::submit_guard::CommitForm;
use crate::unit::BlockNumber;

pub(super) const NONE: Faults = Faults {
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
    slow_answers: 0,
};

/// A validator that has set weights for two epochs of forty blocks.
pub(super) fn settled(seed: u64) -> Life {
    settled_with(seed, None)
}

pub(super) fn settled_with(seed: u64, commit: Option<CommitForm>) -> Life {
    let mut life = Life::new(seed, NONE, commit);
    life.chain.change(|state| state.set_tempo(40));
    run_until(&mut life, 200, |life| life.epochs >= 2);
    assert!(life.updated.contains(&1));
    life
}

pub(super) fn run_until(life: &mut Life, blocks: u64, is_done: impl Fn(&Life) -> bool) {
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

/// The epoch of the best block.
fn index(life: &Life) -> u64 {
    life.chain.block(life.chain.best()).state.index
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
        // Every block is in the window, so that nothing but the wait keeps it from signing.
        state.set_tempo(LEAD);
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
    let plain_failed = |note: &Note| {
        let Note::WeightsFailed { error, .. } = note else { return false };
        error == "CommitRevealEnabled"
    };
    assert_eq!(life.noted(plain_failed), 1);
    let newest = life.signed.values().max_by_key(|call| call.nonce).unwrap();
    assert!(matches!(newest.carries, Carries::Timelocked { .. }), "{newest:?}");
    assert!(life.updated.contains(&epoch));
}

fn committed(life: &Life) -> usize {
    life.noted(|note| matches!(note, Note::WeightsCommitted { .. }))
}

/// Runs until one more commit of ours is final, and still closed.
pub(super) fn run_until_committed(life: &mut Life) {
    let before = committed(life);
    run_until(life, 60, |life| committed(life) > before);
}

/// What a process with nothing but this journal knows of its intents.
fn replayed(life: &Life, journal: Vec<JournalEntry>) -> Vec<IntentRow> {
    let mut machine = Machine::new(life.host.config.clone());
    let found = Restarted { journal, ..Restarted::default() };
    machine.apply(life.host.now(1_000_000), Event::Restarted(Box::new(found)));
    machine.intents().cloned().collect()
}

#[test]
fn case_06_a_rival_is_noticed_while_a_commit_of_ours_is_closed() {
    let mut life = settled_with(20, Some(CommitForm::Timelocked));
    run_until_committed(&mut life);
    life.has_rival = true;
    let block = BlockNumber(life.chain.best());
    life.chain.change(|state| {
        state.nonce += 1;
        state.neurons[0].last_update = block;
    });
    run_until(&mut life, 8, |life| life.halted.is_some());
    assert_eq!(life.halted, Some(Halt::OtherSigner { block }));
}

/// A signature dies while nobody is there, another call of ours takes its nonce, and the vector
/// that is signed anew lands before the search for the first one has ended. Whether it is signed
/// anew before that search begins is chance.
fn lands_during_a_search(seed: u64) -> bool {
    let mut life = settled(seed);
    run_until(&mut life, 60, |life| life.landed() > 2);
    let signed = signatures(&life);
    life.faults.lost_extrinsics = 1_000;
    run_until(&mut life, 60, |life| signatures(life) > signed);
    let first = life.signed.values().max_by_key(|call| call.nonce).unwrap();
    let (era_end, nonce) = (first.era_end.0, first.nonce);
    life.host.kill();
    life.down_until = era_end + 4;
    run_until(&mut life, 60, |life| life.chain.best() == era_end + 2);
    life.chain.change(|state| state.nonce += 1);
    life.faults.lost_extrinsics = 0;
    life.holds_searches = true;
    for _ in 0..12 {
        life.step();
    }
    let landed = life.landed();
    let has_followed = life.signed.values().any(|call| call.nonce == nonce + 1);
    life.release_answers();
    for _ in 0..8 {
        life.step();
    }
    let used = |of| move |note: &Note| *note == Note::NonceUsedElsewhere { nonce: of };
    assert!(life.noted(used(nonce)) > 0);
    assert_eq!(life.noted(used(nonce + 1)), 0);
    assert!(life.halted.is_none());
    has_followed && landed > 3
}

#[test]
fn a_search_that_takes_long_says_nothing_of_a_signature_made_since() {
    let covered = (40..50).filter(|seed| lands_during_a_search(*seed)).count();
    assert!(covered > 1, "{covered} of ten");
}

#[test]
fn an_adopted_history_stays_adopted_over_a_restart_before_the_first_landing() {
    let mut life = Life::new(22, NONE, None);
    life.host.kill();
    life.chain.change(|state| {
        state.set_tempo(200);
        state.nonce = 9;
        state.neurons[0].last_update = BlockNumber(1);
    });
    life.faults.lost_extrinsics = 1_000;
    run_until(&mut life, 160, |life| signatures(life) > 0);
    life.host.kill();
    for _ in 0..8 {
        life.step();
    }
    life.faults.lost_extrinsics = 0;
    run_until(&mut life, 20, |life| life.landed() == 1);
    assert!(life.halted.is_none());
}

#[test]
fn case_02_lost_rows_do_not_lead_to_a_second_vector_of_an_epoch() {
    let mut life = settled(23);
    let (landed, epochs) = (life.landed(), life.epochs);
    run_until(&mut life, 60, |life| life.landed() > landed);
    let signed = signatures(&life);
    life.lose_rows();
    run_until(&mut life, 60, |life| life.epochs > epochs + 1 || signatures(life) > signed);
    assert!(life.epochs > epochs, "signed again in epoch {}", life.epochs);
}

#[test]
fn a_commit_that_opens_after_concealment_was_switched_off_is_no_rivals_update() {
    let mut life = settled_with(24, Some(CommitForm::Timelocked));
    run_until_committed(&mut life);
    let landed = life.landed();
    life.chain.change(|state| state.commit_reveal = false);
    run_until(&mut life, 120, |life| life.landed() > landed + 1);
    assert!(life.halted.is_none());
}

#[test]
fn a_hash_commit_is_not_revealed_in_vain_where_nothing_is_concealed() {
    let mut life = settled_with(25, Some(CommitForm::Hashed));
    run_until_committed(&mut life);
    let reveals = |life: &Life| life.noted(|note| matches!(note, Note::RevealSigned { .. }));
    let before = reveals(&life);
    life.chain.change(|state| state.commit_reveal = false);
    for _ in 0..100 {
        life.step();
    }
    assert_eq!(reveals(&life), before);
    let is_open = |intent: &&IntentRow| !intent.state.is_finished();
    assert_eq!(life.host.machine().intents().filter(is_open).count(), 0);
}

#[test]
fn an_update_of_ours_that_cannot_be_searched_for_any_more_is_no_rivals() {
    let mut life = settled_with(26, Some(CommitForm::Timelocked));
    life.lag = 10;
    let nonce = life.chain.block(life.chain.best()).state.nonce;
    run_until(&mut life, 60, |life| life.chain.block(life.chain.best()).state.nonce > nonce);
    // Down for longer than endpoints keep the state of blocks.
    life.host.kill();
    life.down_until = life.chain.best() + 350;
    life.faults.failed_searches = 1_000;
    let signed = signatures(&life);
    run_until(&mut life, 420, |life| signatures(life) > signed);
    assert!(life.halted.is_none());
}

#[test]
fn a_dry_run_beside_the_validator_that_signs_goes_on() {
    let mut life = Life::new(27, NONE, None);
    life.host.kill();
    life.host.config.weights = WeightsMode::DryRun;
    life.has_rival = true;
    for _ in 0..5 {
        let block = BlockNumber(life.chain.best());
        life.chain.change(|state| {
            state.nonce += 1;
            state.neurons[0].last_update = block;
        });
        for _ in 0..20 {
            life.step();
        }
    }
    assert!(life.halted.is_none());
}

#[test]
fn a_chain_that_counts_its_epochs_anew_gets_a_vector_in_each() {
    for commit in [None, Some(CommitForm::Timelocked), Some(CommitForm::Hashed)] {
        let mut life = Life::new(28, NONE, commit);
        life.chain.change(|state| (state.index, state.tempo) = (500, 40));
        run_until(&mut life, 100, |life| life.landed() == 2);
        life.chain.change(|state| state.index = 10);
        run_until(&mut life, 400, |life| life.landed() >= 10);
        let is_stuck = |intent: &&IntentRow| intent.epoch.0 >= 500 && !intent.state.is_finished();
        assert_eq!(life.host.machine().intents().find(is_stuck), None);
    }
}

#[test]
fn a_hash_commit_signed_anew_with_another_version_key_can_be_revealed() {
    let mut life = settled_with(29, Some(CommitForm::Hashed));
    life.chain.change(|state| state.set_tempo(90));
    let revealed = |life: &Life| life.noted(|note| matches!(note, Note::WeightsRevealed { .. }));
    run_until(&mut life, 60, |life| revealed(life) > 0);
    life.faults.lost_extrinsics = 1_000;
    let signed = signatures(&life);
    run_until(&mut life, 120, |life| signatures(life) > signed);
    life.chain.change(|state| state.version_key += 1);
    run_until(&mut life, 40, |life| signatures(life) > signed + 1);
    life.faults.lost_extrinsics = 0;
    let before = revealed(&life);
    run_until(&mut life, 200, |life| revealed(life) > before);
    assert_eq!(life.noted(|note| matches!(note, Note::WeightsFailed { .. })), 0);
}

#[test]
fn a_permit_lost_while_a_vector_is_on_its_way_is_said_once() {
    let mut life = settled(30);
    let signed = signatures(&life);
    life.faults.lost_extrinsics = 1_000;
    run_until(&mut life, 60, |life| signatures(life) > signed);
    life.chain.change(|state| state.neurons[0].validator_permit = false);
    life.is_barred = true;
    for _ in 0..100 {
        life.step();
    }
    let said = |note: &Note| {
        let Note::WeightsNotSafe { reason, .. } = note else { return false };
        reason.contains("permit")
    };
    assert_eq!(life.noted(said), 1);
}

#[test]
fn a_journal_that_knows_a_commit_of_several_signatures_leads_to_a_search() {
    let mut life = settled_with(31, Some(CommitForm::Hashed));
    run_until_committed(&mut life);
    let mut journal = life.host.disk.journal().to_vec();
    let is_signed = |entry: &JournalEntry| matches!(entry.step, JournalStep::Signed { .. });
    let at = journal.iter().rposition(is_signed).unwrap();
    let mut other = journal[at].clone();
    if let JournalStep::Signed { signed } = &mut other.step {
        signed.hash = Digest([7; 32]);
    }
    let id = other.intent;
    journal.insert(at + 1, other);
    // As builds wrote it that did not say which one it was.
    for entry in &mut journal {
        if let JournalStep::Committed { hash, .. } = &mut entry.step {
            *hash = None;
        }
    }
    let intent = replayed(&life, journal).into_iter().find(|intent| intent.id == id).unwrap();
    assert_eq!((intent.state, intent.signings.len()), (IntentState::Signed, 2));
}

#[test]
fn lines_that_come_twice_and_late_do_not_reopen_what_landed() {
    let life = settled(32);
    let mut journal = life.host.disk.journal().to_vec();
    let once = replayed(&life, journal.clone());
    let is_signed = |entry: &&JournalEntry| matches!(entry.step, JournalStep::Signed { .. });
    let again: Vec<_> = journal.iter().filter(is_signed).cloned().collect();
    journal.extend(again);
    assert!(once.iter().any(|intent| matches!(intent.state, IntentState::Landed { .. })));
    assert_eq!(replayed(&life, journal), once);
}

#[test]
fn rows_of_another_mechanism_bind_nothing() {
    let life = settled(33);
    let mut config = life.host.config.clone();
    config.mechanism = 1;
    let mut machine = Machine::new(config);
    let found = Restarted { rows: life.host.disk.rows(), ..Restarted::default() };
    machine.apply(life.host.now(1_000_000), Event::Restarted(Box::new(found)));
    assert_eq!(machine.intents().count(), 0);
}

#[test]
fn a_node_that_ends_its_dry_run_serves_the_epoch_it_is_in() {
    let mut life = Life::new(34, NONE, None);
    life.host.kill();
    life.host.config.weights = WeightsMode::DryRun;
    life.chain.change(|state| state.set_tempo(90));
    for _ in 0..10 {
        life.step();
    }
    let intended = |life: &Life| life.noted(|note| matches!(note, Note::WeightsIntended { .. }));
    assert_eq!((intended(&life), signatures(&life)), (1, 0));
    life.host.kill();
    life.host.config.weights = WeightsMode::Submit;
    run_until(&mut life, 10, |life| life.landed() == 1);
    assert_eq!(life.epochs, 0);
}
