//! Something else with our hotkey, between our own updates.

use super::*;

fn update_by_a_rival(life: &mut Life) -> BlockNumber {
    life.has_rival = true;
    let block = BlockNumber(life.chain.best());
    life.chain.change(|state| {
        state.nonce += 1;
        state.neurons[0].last_update = block;
    });
    block
}

#[test]
fn case_06_a_rival_before_our_vector_is_noticed_though_both_would_become_final_at_once() {
    for commit in [None, Some(CommitForm::Timelocked)] {
        let mut life = settled_with(80, commit);
        let landed = life.landed();
        run_until(&mut life, 60, |life| life.landed() > landed);
        // Finality stalls; ours would land behind the rival's and be the last update.
        life.lag = 40;
        let epoch = index(&life);
        run_until(&mut life, 60, |life| index(life) > epoch);
        let block = update_by_a_rival(&mut life);
        for _ in 0..18 {
            life.step();
        }
        life.lag = 1;
        life.step();
        run_until(&mut life, 3, |life| life.halted.is_some());
        assert_eq!(life.halted, Some(Halt::OtherSigner { block }));
    }
}

#[test]
fn an_update_of_a_rival_that_a_reorganisation_took_back_ends_nothing() {
    let mut life = settled(81);
    let landed = life.landed();
    run_until(&mut life, 60, |life| life.landed() > landed);
    life.lag = 12;
    let epoch = index(&life);
    run_until(&mut life, 60, |life| index(life) > epoch);
    life.step();
    life.step();
    update_by_a_rival(&mut life);
    life.step();
    life.chain.reorganise(3);
    // The rival gave up, and what it did is on no chain.
    life.has_rival = false;
    run_until(&mut life, 120, |life| life.epochs > epoch + 1);
    assert!(life.updated.contains(&(epoch + 1)));
    assert!(life.halted.is_none());
}
