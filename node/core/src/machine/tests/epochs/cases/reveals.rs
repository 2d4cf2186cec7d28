//! What becomes of commits: opened, refused, or never seen.

use super::*;

fn revealed(life: &Life) -> usize {
    life.noted(|note| matches!(note, Note::WeightsRevealed { .. }))
}

fn reveals_signed(life: &Life) -> usize {
    life.noted(|note| matches!(note, Note::RevealSigned { .. }))
}

/// Why commits were lost, the latest last.
fn lost(life: &Life) -> Vec<String> {
    let reason = |note: &Note| {
        let Note::WeightsLost { reason, .. } = note else { return None };
        Some(reason.clone())
    };
    life.host.notes.iter().filter_map(reason).collect()
}

/// The process is down until a final block comes after `epoch`; no epoch is owed then.
fn be_away_until_after(life: &mut Life, epoch: u64) {
    life.host.kill();
    life.is_barred = true;
    life.down_until = u64::MAX;
    run_until(life, 120, |life| life.epochs > epoch);
    life.down_until = 0;
}

#[test]
fn a_reveal_that_the_chain_refuses_for_good_is_signed_once() {
    let mut life = settled_with(60, Some(CommitForm::Hashed));
    run_until_committed(&mut life);
    let (signed, epoch) = (reveals_signed(&life), life.epochs);
    life.chain.change(|state| state.refuses_reveals = Some("InvalidRevealCommitHashNotMatch"));
    run_until(&mut life, 60, |life| lost(life).len() == 1);
    assert_eq!(reveals_signed(&life), signed + 1);
    assert!(lost(&life)[0].contains("SubtensorModule::InvalidRevealCommitHashNotMatch"));
    // Long before the epoch is over, and its own vector lands beside it.
    assert_eq!(index(&life), epoch + 1);
    run_until(&mut life, 60, |life| life.epochs > epoch + 1);
    assert!(life.updated.contains(&(epoch + 1)));
}

#[test]
fn a_reveal_that_fails_for_a_moment_is_signed_again() {
    let mut life = settled_with(61, Some(CommitForm::Hashed));
    run_until_committed(&mut life);
    let (signed, opened) = (reveals_signed(&life), revealed(&life));
    life.chain.change(|state| state.refuses_reveals = Some("RevealTooEarly"));
    run_until(&mut life, 60, |life| life.noted(is_failed) == 1);
    life.chain.change(|state| state.refuses_reveals = None);
    run_until(&mut life, 20, |life| revealed(life) > opened);
    assert_eq!(reveals_signed(&life), signed + 2);
    assert!(lost(&life).is_empty());
}

#[test]
fn a_reveal_that_goes_on_failing_is_given_up_with_the_chains_error() {
    let mut life = settled_with(62, Some(CommitForm::Hashed));
    life.chain.change(|state| state.set_tempo(100));
    run_until_committed(&mut life);
    let signed = reveals_signed(&life);
    life.chain.change(|state| state.refuses_reveals = Some("RevealTooEarly"));
    run_until(&mut life, 180, |life| lost(life).len() == 1);
    assert!(lost(&life)[0].contains("SubtensorModule::RevealTooEarly"), "{:?}", lost(&life));
    let attempts = reveals_signed(&life) - signed;
    assert!((2..=4).contains(&attempts), "{attempts} attempts");
    // A restart that had forgotten them would begin again.
    life.host.kill();
    life.step();
    for _ in 0..20 {
        life.step();
    }
    assert_eq!(reveals_signed(&life) - signed, attempts);
}

#[test]
fn attempts_at_a_reveal_are_counted_over_restarts() {
    let mut life = settled_with(63, Some(CommitForm::Hashed));
    life.chain.change(|state| state.set_tempo(100));
    run_until_committed(&mut life);
    let signed = reveals_signed(&life);
    life.chain.change(|state| state.refuses_reveals = Some("RevealTooEarly"));
    let (mut known, mut dies_at) = (signed, 0);
    for _ in 0..180 {
        life.step();
        if reveals_signed(&life) > known {
            (known, dies_at) = (reveals_signed(&life), life.chain.best() + 7);
        }
        if life.chain.best() == dies_at {
            life.host.kill();
        }
    }
    assert_eq!(lost(&life).len(), 1);
    assert!(reveals_signed(&life) - signed <= 4, "{}", reveals_signed(&life) - signed);
}

fn is_failed(note: &Note) -> bool {
    matches!(note, Note::WeightsFailed { .. })
}

#[test]
fn a_commit_that_ended_unopened_is_lost_though_the_row_was_the_same_before() {
    let mut life = settled_with(64, Some(CommitForm::Timelocked));
    run_until(&mut life, 60, |life| revealed(life) > 0);
    run_until_committed(&mut life);
    let opened = revealed(&life);
    let rows = |life: &Life| life.chain.block(life.chain.finalized()).state.row();
    let row = rows(&life);
    let block = life.chain.best();
    life.chain.change(|state| state.rounds_end_at = Some(block));
    run_until(&mut life, 100, |life| !lost(life).is_empty());
    assert_eq!(revealed(&life), opened);
    assert!(lost(&life)[0].contains("the same before"), "{:?}", lost(&life));
    // The vector of every epoch is the same one.
    assert_eq!(rows(&life), row);
    assert!(life.host.machine().intents().all(|intent| intent.vector == row));
}

#[test]
fn a_hash_commit_that_went_unrevealed_is_lost_though_the_row_was_the_same_before() {
    let mut life = settled_with(65, Some(CommitForm::Hashed));
    run_until(&mut life, 60, |life| revealed(life) > 0);
    run_until_committed(&mut life);
    let (opened, epoch) = (revealed(&life), index(&life));
    // A later commit of anybody drops it from the queue.
    be_away_until_after(&mut life, epoch + 1);
    life.chain.change(State::drop_commits);
    run_until(&mut life, 20, |life| !lost(life).is_empty());
    assert_eq!(revealed(&life), opened);
}

#[test]
fn a_commit_that_opened_while_nobody_looked_is_revealed_if_it_changed_the_row() {
    for changes in [true, false] {
        let mut life = settled_with(66, Some(CommitForm::Timelocked));
        run_until_committed(&mut life);
        if changes {
            life.replace_miner();
            life.host.kill();
        }
        run_until_committed(&mut life);
        let (opened, epoch) = (revealed(&life), index(&life));
        be_away_until_after(&mut life, epoch + 1);
        run_until(&mut life, 20, |life| revealed(life) > opened || !lost(life).is_empty());
        assert_eq!(revealed(&life) > opened, changes);
    }
}

#[test]
fn a_commit_that_is_gone_in_its_epoch_was_opened_though_the_row_was_the_same_before() {
    let mut life = settled_with(67, Some(CommitForm::Timelocked));
    run_until(&mut life, 60, |life| revealed(life) > 0);
    let (opened, epoch) = (revealed(&life), life.epochs);
    run_until(&mut life, 200, |life| life.epochs == epoch + 4);
    assert!(revealed(&life) >= opened + 3);
    assert!(lost(&life).is_empty());
}
