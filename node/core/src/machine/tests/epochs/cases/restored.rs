//! A journal that was put back from a copy: nothing is signed for an epoch that may have been
//! signed for after it, what lands from that time ends nothing, and who signs on is noticed.

use super::{run_until, settled, signatures, Life};
use crate::machine::effect::Halt;
use crate::machine::tests::host::Disk;
use crate::rows::JournalStep;
use crate::submit_guard::NotSafe;
use crate::unit::BlockNumber;

/// The node dies, and what it has from then on is a copy.
fn restore(life: &mut Life, copy: &Disk) {
    life.host.kill();
    life.host.disk.put_back(copy);
}

/// A validator that signed for an epoch after a copy of it was made, and then, at the end of
/// another epoch, once more; that signature is on its way when the copy is put back.
fn restored(seed: u64) -> Life {
    let mut life = settled(seed);
    // Epochs are missed on purpose.
    life.is_barred = true;
    let copy = life.host.disk.clone();
    let landed = life.landed();
    run_until(&mut life, 120, |life| life.landed() > landed);
    let signed = signatures(&life);
    run_until(&mut life, 120, |life| signatures(life) > signed);
    // No journal explains it any more, neither to the node nor to what checks it here.
    let (last, _) = life.signed.iter().max_by_key(|(_, call)| call.nonce).unwrap();
    let last = *last;
    life.signed.remove(&last);
    restore(&mut life, &copy);
    life
}

fn steps(life: &Life, is_meant: impl Fn(&JournalStep) -> bool) -> usize {
    life.host.disk.journal().iter().filter(|line| is_meant(&line.step)).count()
}

fn settlements(life: &Life) -> usize {
    steps(life, |step| matches!(step, JournalStep::Settled { .. }))
}

#[test]
fn a_restored_node_signs_for_no_epoch_that_may_have_been_signed_for_after_the_copy() {
    let mut life = restored(70);
    let (since, signed) = (life.chain.finalized(), signatures(&life));
    life.step();
    let reason = life.host.machine().not_safe().cloned();
    assert!(matches!(reason, Some(NotSafe::Restored { until: Some(_) })), "{reason:?}");
    run_until(&mut life, 200, |life| signatures(life) > signed);
    assert!(life.halted.is_none(), "what was on its way landed, and is no rival's");
    let head = life.chain.view(life.chain.best());
    let began = head.epoch.last_epoch_block.0;
    assert!(began >= since + 64, "signed in an epoch that began in block {began}");
    assert!(began < since + 64 + 2 * 40, "it waited for longer than it had to");
    assert_eq!(settlements(&life), 1);
    let adopted = steps(&life, |step| matches!(step, JournalStep::Adopted { .. }));
    assert!((1..=2).contains(&adopted), "{adopted} updates are of the lost time");
    // A restart does not begin the wait anew.
    life.host.kill();
    let landed = life.landed();
    run_until(&mut life, 120, |life| life.landed() > landed + 1);
    assert_eq!(settlements(&life), 1);
}

#[test]
fn restarts_do_not_begin_the_wait_of_a_restored_node_anew() {
    let mut life = restored(71);
    let (since, signed) = (life.chain.finalized(), signatures(&life));
    while signatures(&life) == signed {
        life.step();
        life.host.kill();
        life.step();
        assert!(life.chain.best() < since + 64 + 3 * 40, "it waits for ever");
    }
    let is_restored = |step: &JournalStep| matches!(step, JournalStep::Restored { .. });
    assert_eq!(steps(&life, is_restored), 3, "that it was, since when, and what was spent by then");
}

#[test]
fn who_signs_on_where_a_copy_was_put_back_is_noticed_while_it_waits() {
    let mut life = restored(72);
    life.has_rival = true;
    life.chain.change(|state| state.set_tempo(300));
    for _ in 0..72 {
        life.step();
    }
    assert!(life.halted.is_none() && settlements(&life) == 0);
    let block = BlockNumber(life.chain.best());
    life.chain.change(|state| {
        state.nonce += 1;
        state.neurons[0].last_update = block;
    });
    run_until(&mut life, 8, |life| life.halted.is_some());
    assert_eq!(life.halted, Some(Halt::OtherSigner { block }));
}
