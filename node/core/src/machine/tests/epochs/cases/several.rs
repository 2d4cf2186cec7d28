//! Several signatures of one vector, of which one landed.

use super::*;
use crate::id::{Digest, Uid};
use crate::machine::event::Traced;
use crate::rows::{SignedExtrinsic, Write};
use crate::view::OwnCommit;

const OLDER: Digest = Digest([71; 32]);
const NEWER: Digest = Digest([72; 32]);

fn other_commit(carries: &Carries, commit: Digest, word: u16) -> Carries {
    if let Carries::Timelocked { reveal_round, reveal_epoch, .. } = *carries {
        return Carries::Timelocked { commit, reveal_round, reveal_epoch };
    }
    assert!(matches!(carries, Carries::Hashed { .. }));
    Carries::Hashed { commit, salt: vec![word; 4] }
}

/// A commit of which two signatures exist, with another vector and salt each; the chain's nonce is
/// used, and neither was found yet.
fn signed_twice(form: CommitForm) -> (Life, IntentRow) {
    let mut life = settled_with(90, Some(form));
    let signed = signatures(&life);
    life.faults.lost_extrinsics = 1_000;
    run_until(&mut life, 60, |life| {
        signatures(life) > signed
            && life.host.machine().intents().any(|intent| intent.state == IntentState::Signed)
    });
    let rows = life.host.machine().intents();
    let mut intent = rows.max_by_key(|intent| intent.epoch).unwrap().clone();
    let first = intent.signings.last().unwrap().clone();
    let signing = |hash: Digest, uid| SignedExtrinsic {
        hash,
        carries: other_commit(&first.carries, hash, uid),
        vector: vec![(Uid(uid), u16::MAX)],
        ..first.clone()
    };
    intent.signings = vec![signing(OLDER, 1), signing(NEWER, 2)];
    intent.vector = intent.signings[1].vector.clone();
    life.is_barred = true;
    (life, intent)
}

/// A process that knows `intent` alone, told that `hash` was found in the block after the one that
/// is final, while the chain keeps `kept`.
fn told(
    life: &Life,
    intent: &IntentRow,
    found: Traced,
    kept: &[OwnCommit],
) -> (Machine, Vec<Write>) {
    let mut machine = Machine::new(life.host.config.clone());
    let now = life.host.now(1_000_000);
    let rows = vec![crate::rows::Row::Intent(intent.clone())];
    machine.apply(now, Event::Restarted(Box::new(Restarted { rows, ..Restarted::default() })));
    let mut view = life.chain.view(life.chain.finalized());
    view.own_nonce = intent.signings[0].nonce + 1;
    view.own_commits = kept.to_vec();
    machine.apply(now, Event::BlockFinalized(Box::new(view)));
    let event = Event::WeightsTraced { intent: intent.id, result: Ok(found) };
    let outcome = machine.apply(now, event);
    (machine, outcome.writes)
}

fn found(life: &Life, hash: Digest) -> Traced {
    Traced::Succeeded { hash, block: BlockNumber(life.chain.finalized()) }
}

fn the_intent(machine: &Machine, intent: &IntentRow) -> IntentRow {
    machine.intents().find(|row| row.id == intent.id).unwrap().clone()
}

#[test]
fn the_signature_that_landed_decides_vector_and_salt_and_the_journal_names_it() {
    for form in [CommitForm::Hashed, CommitForm::Timelocked] {
        let (life, intent) = signed_twice(form);
        for (hash, uid) in [(OLDER, 1), (NEWER, 2)] {
            let (machine, writes) = told(&life, &intent, found(&life, hash), &[]);
            let row = the_intent(&machine, &intent);
            assert!(matches!(row.state, IntentState::Committed { .. }), "{row:?}");
            assert_eq!(row.vector, vec![(Uid(uid), u16::MAX)]);
            assert_eq!(row.signings.last().unwrap().hash, hash);
            let named = writes.iter().find_map(|write| {
                let Write::Journal(entry) = write else { return None };
                let JournalStep::Committed { hash, .. } = entry.step else { return None };
                Some(hash)
            });
            assert_eq!(named, Some(Some(hash)));
        }
    }
}

#[test]
fn the_salt_of_the_commit_that_landed_is_the_one_that_is_revealed() {
    use crate::machine::effect::Effect;
    use crate::submit_guard::WeightsForm;
    let (life, intent) = signed_twice(CommitForm::Hashed);
    for (hash, salt) in [(OLDER, vec![1; 4]), (NEWER, vec![2; 4])] {
        let (mut machine, _) = told(&life, &intent, found(&life, hash), &[]);
        let mut view = life.chain.view(life.chain.finalized());
        view.own_nonce = intent.signings[0].nonce + 1;
        (view.number.0, view.epoch.index.0) = (view.number.0 + 50, intent.epoch.0 + 1);
        view.epoch.last_epoch_block = view.number;
        view.epoch.next_epoch_block = Some(BlockNumber(view.number.0 + 40));
        view.neurons[0].last_update = BlockNumber(life.chain.finalized());
        let now = life.host.now(1_000_000);
        let outcome = machine.apply(now, Event::BlockFinalized(Box::new(view)));
        let asked = outcome.effects.iter().find_map(|effect| {
            let Effect::SignWeights(to_sign) = effect else { return None };
            let WeightsForm::Reveal { salt } = &to_sign.form else { return None };
            Some((salt.clone(), to_sign.vector.clone()))
        });
        let vector = vec![(Uid(salt[0]), u16::MAX)];
        assert_eq!(asked, Some((salt, vector)), "{:?}", outcome.notes);
    }
}

#[test]
fn a_commit_counts_for_the_epoch_that_the_chain_keeps_it_under() {
    for form in [CommitForm::Hashed, CommitForm::Timelocked] {
        let (life, intent) = signed_twice(form);
        let block = BlockNumber(life.chain.finalized());
        let kept = |hash, epoch| OwnCommit {
            hash,
            block,
            epoch: crate::unit::EpochIndex(epoch),
            reveal_round: None,
        };
        // The other one is kept under another epoch: by something else, and not what was found.
        let both = [kept(NEWER, 77), kept(OLDER, intent.epoch.0 + 1)];
        let (machine, _) = told(&life, &intent, found(&life, OLDER), &both);
        let epoch = crate::unit::EpochIndex(intent.epoch.0 + 1);
        assert_eq!(the_intent(&machine, &intent).state, IntentState::Committed { block, epoch });
        // Where the chain does not keep it any more, it is the one that it was signed for.
        let (machine, _) = told(&life, &intent, found(&life, OLDER), &[]);
        let epoch = intent.epoch;
        assert_eq!(the_intent(&machine, &intent).state, IntentState::Committed { block, epoch });
    }
}

#[test]
fn a_journal_that_names_the_signature_leads_to_no_search() {
    let mut life = settled_with(91, Some(CommitForm::Hashed));
    run_until_committed(&mut life);
    let mut journal = life.host.disk.journal().to_vec();
    let is_signed = |entry: &JournalEntry| matches!(entry.step, JournalStep::Signed { .. });
    let at = journal.iter().rposition(is_signed).unwrap();
    let mut other = journal[at].clone();
    let id = other.intent;
    let JournalStep::Signed { signed } = &mut other.step else { unreachable!() };
    let landed = signed.clone();
    (signed.hash, signed.vector) = (OLDER, vec![(Uid(5), u16::MAX)]);
    // It comes last, and the line of another machine behind the landing.
    journal.push(other);
    let row = replayed(&life, journal).into_iter().find(|row| row.id == id).unwrap();
    assert!(matches!(row.state, IntentState::Committed { .. }), "{row:?}");
    assert_eq!((row.signings.len(), row.signings.last()), (2, Some(&landed)));
    assert_eq!(row.vector, landed.vector);
}

#[test]
fn a_commit_that_cannot_be_searched_for_is_the_one_that_the_chain_keeps() {
    let (life, intent) = signed_twice(CommitForm::Hashed);
    let block = BlockNumber(life.chain.finalized());
    let kept = OwnCommit { hash: OLDER, block, epoch: intent.epoch, reveal_round: None };
    let mut machine = Machine::new(life.host.config.clone());
    let now = life.host.now(1_000_000);
    let rows = vec![crate::rows::Row::Intent(intent.clone())];
    machine.apply(now, Event::Restarted(Box::new(Restarted { rows, ..Restarted::default() })));
    let mut view = life.chain.view(life.chain.finalized());
    view.own_nonce = intent.signings[0].nonce + 1;
    view.own_commits = vec![kept];
    machine.apply(now, Event::BlockFinalized(Box::new(view)));
    let result = Err("the endpoint lacks the block's body".to_owned());
    machine.apply(now, Event::WeightsTraced { intent: intent.id, result });
    let row = the_intent(&machine, &intent);
    assert_eq!(row.state, IntentState::Committed { block, epoch: intent.epoch });
    assert_eq!(row.vector, vec![(Uid(1), u16::MAX)]);
}

#[test]
fn an_older_finalized_view_changes_nothing() {
    let mut life = settled(92);
    let landed = life.landed();
    run_until(&mut life, 60, |life| life.landed() > landed);
    for _ in 0..6 {
        life.step();
    }
    let mut machine = Machine::new(life.host.config.clone());
    let now = life.host.now(1_000_000);
    let found = Restarted {
        rows: life.host.disk.rows(),
        journal: life.host.disk.journal().to_vec(),
        ..Restarted::default()
    };
    machine.apply(now, Event::Restarted(Box::new(found)));
    let newest = life.chain.view(life.chain.finalized());
    machine.apply(now, Event::BlockFinalized(Box::new(newest.clone())));
    // In the older view somebody else had updated the hotkey, and no nonce was used.
    let mut older = life.chain.view(life.chain.finalized() - 1);
    (older.own_nonce, older.neurons[0].last_update) = (0, BlockNumber(life.chain.best() + 9));
    let outcome = machine.apply(now, Event::BlockFinalized(Box::new(older)));
    assert_eq!(outcome, crate::machine::effect::Outcome::default());
    assert_eq!(machine.view().map(|view| view.number), Some(newest.number));
}

#[test]
fn of_many_finished_intents_the_oldest_are_dropped() {
    let mut life = settled(93);
    life.chain.change(|state| state.set_tempo(14));
    let (from, count) = (life.epochs, 64 + 8);
    run_until(&mut life, 1_500, |life| life.epochs >= from + count);
    let finished = life.host.machine().intents().filter(|intent| intent.state.is_finished());
    let mut epochs: Vec<u64> = finished.map(|intent| intent.epoch.0).collect();
    epochs.sort_unstable();
    assert_eq!(epochs.len(), 64);
    let newest = *epochs.last().unwrap();
    assert_eq!(epochs[0], newest - 63, "the newest ones are kept, without a gap");
    let rows = life.host.disk.rows();
    let is_intent = |row: &&crate::rows::Row| matches!(row, crate::rows::Row::Intent(_));
    assert_eq!(rows.iter().filter(is_intent).count(), life.host.machine().intents().count());
}

#[test]
fn a_commit_whose_reveal_may_still_land_is_not_lost_yet() {
    let mut life = settled_with(94, Some(CommitForm::Hashed));
    run_until_committed(&mut life);
    let reveals = |life: &Life| life.noted(|note| matches!(note, Note::RevealSigned { .. }));
    let lost = |life: &Life| life.noted(|note| matches!(note, Note::WeightsLost { .. }));
    // The process comes back near the end of the reveal's epoch, and its reveal goes astray.
    let epoch = index(&life);
    life.is_barred = true;
    life.host.kill();
    life.down_until = u64::MAX;
    run_until(&mut life, 60, |life| index(life) > epoch);
    life.down_until = life.chain.best() + 33;
    life.faults.lost_extrinsics = 1_000;
    let before = reveals(&life);
    run_until(&mut life, 40, |life| reveals(life) > before);
    let reveal = life.signed.values().max_by_key(|call| call.nonce).unwrap();
    let era_end = reveal.era_end.0;
    run_until(&mut life, 40, |life| life.epochs > epoch + 1);
    assert!(life.chain.finalized() + 1 < era_end, "the era is over already");
    while life.chain.finalized() + 1 < era_end {
        assert_eq!(lost(&life), 0, "lost before block {era_end} was final");
        life.step();
    }
    run_until(&mut life, 4, |life| lost(life) == 1);
}
