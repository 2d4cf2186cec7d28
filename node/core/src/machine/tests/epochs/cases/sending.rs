//! Signatures that take long, and what is never sent then.

use super::*;

const FORMS: [Option<CommitForm>; 3] =
    [None, Some(CommitForm::Timelocked), Some(CommitForm::Hashed)];

/// Blocks that still belong to the epoch of the best one.
fn left(life: &Life) -> u64 {
    let best = life.chain.best();
    life.chain.view(best).epoch.next_epoch_block.unwrap().0 - best - 1
}

fn count(life: &Life, is_reveal: bool) -> usize {
    let is_meant = |call: &&Call| (call.carries == Carries::Reveal) == is_reveal;
    life.signed.values().filter(is_meant).count()
}

/// The process comes back so late that the signature is asked for in the last blocks of an epoch,
/// and it takes until so many are left, or until the next epoch has begun.
fn release_late(life: &mut Life, blocks_left: u64, is_reveal: bool) -> u64 {
    run_until(life, 60, |life| left(life) == 39);
    life.host.kill();
    life.down_until = life.chain.best() + 33;
    let before = count(life, is_reveal);
    (life.holds_reveals, life.holds_vectors) = (is_reveal, !is_reveal);
    run_until(life, 40, |life| count(life, is_reveal) > before);
    assert!((2..8).contains(&left(life)), "asked for with {} blocks left", left(life));
    let epoch = index(life);
    run_until(life, 60, |life| left(life) == blocks_left);
    life.release_answers();
    epoch
}

fn check_nothing_is_sent(life: &mut Life) {
    let nonce = |life: &Life| life.chain.block(life.chain.best()).state.nonce;
    let unused = nonce(life);
    life.step();
    assert_eq!(nonce(life), unused, "it was sent");
}

#[test]
fn a_vector_that_was_signed_too_late_for_its_epoch_is_not_sent() {
    for commit in FORMS {
        for blocks_left in [0, 39] {
            let mut life = settled_with(70, commit);
            life.is_barred = true;
            let epoch = release_late(&mut life, blocks_left, false);
            check_nothing_is_sent(&mut life);
            run_until(&mut life, 120, |life| life.epochs > epoch + 1);
            assert!(!life.updated.contains(&epoch) && life.updated.contains(&(epoch + 1)));
            let astray = |note: &Note| {
                let Note::WeightsCommitted { epoch, commit_epoch, .. } = note else { return false };
                epoch != commit_epoch
            };
            assert_eq!(life.noted(astray), 0);
        }
    }
}

#[test]
fn a_vector_that_took_long_to_sign_and_came_in_time_is_sent() {
    for commit in FORMS {
        let mut life = settled_with(71, commit);
        let epoch = release_late(&mut life, 3, false);
        run_until(&mut life, 60, |life| life.epochs > epoch);
        assert!(life.updated.contains(&epoch), "{commit:?}");
    }
}

#[test]
fn a_reveal_that_was_signed_too_late_for_its_epoch_is_not_sent() {
    for blocks_left in [0, 39] {
        let mut life = settled_with(72, Some(CommitForm::Hashed));
        life.is_barred = true;
        let epoch = release_late(&mut life, blocks_left, true);
        check_nothing_is_sent(&mut life);
        run_until(&mut life, 120, |life| life.epochs > epoch + 1);
        assert_eq!(life.noted(|note| matches!(note, Note::WeightsFailed { .. })), 0);
        assert!(life.updated.contains(&(epoch + 1)));
    }
}
