//! Consensus with numbers that fit on a sheet of paper.

use super::{run, Inputs, Outcome, Pay, Pot, Share};

/// A row that gives each neuron this much.
fn row(values: &[u16]) -> Vec<(u16, u16)> {
    (0..).zip(values.iter().copied()).collect()
}

/// A subnet in which the neurons with stake are validators who set their weights in block 10, and
/// everybody registered in block 0. `weights` are the validators' rows, by uid.
fn subnet(stakes: &[u64], weights: &[&[u16]]) -> Inputs {
    let n = stakes.len();
    let mut rows: Vec<Vec<(u16, u16)>> = weights.iter().map(|values| row(values)).collect();
    rows.resize(n, Vec::new());
    Inputs {
        stakes: stakes.to_vec(),
        permits: stakes.iter().map(|stake| *stake > 0).collect(),
        active: vec![true; n],
        last_update: vec![10; n],
        registered_at: vec![0; n],
        first_commits: vec![None; n],
        weights: rows,
        bonds: vec![Vec::new(); n],
        owner_uid: None,
        kappa: 32_767,
        bonds_penalty: u16::MAX,
        bonds_moving_average: 900_000,
        bonds_cutoff: 1,
    }
}

/// Whether each share is the fraction, but for the rounding of a few operations.
#[track_caller]
fn assert_shares(shares: &[Share], fractions: &[(u64, u64)]) {
    assert_eq!(shares.len(), fractions.len(), "{shares:?}");
    for (at, (share, (part, whole))) in shares.iter().zip(fractions).enumerate() {
        let exact = Share::ratio((*part).into(), (*whole).into());
        let off = exact.minus(*share).plus(share.minus(exact));
        assert!(
            off < Share::ratio(1, 1 << 26),
            "{at}: {share:?} is not {part}/{whole} ({exact:?})"
        );
    }
}

const NONE: (u64, u64) = (0, 1);
const ALL: (u64, u64) = (1, 1);

#[test]
fn a_majority_clips_what_it_does_not_share() {
    // Stakes 0.6 and 0.4 on two miners: 0.8/0.2 against 0/1.
    let outcome = run(&subnet(&[6, 4, 0, 0], &[&[0, 0, 8, 2], &[0, 0, 0, 10]]));
    assert_shares(&outcome.consensus, &[NONE, NONE, (4, 5), (1, 5)]);
    assert_shares(&outcome.validator_trust, &[ALL, (1, 5), NONE, NONE]);
    // Ranks 0.6 * 0.8 = 0.48 and (0.6 + 0.4) * 0.2 = 0.2.
    assert_shares(&outcome.incentive, &[NONE, NONE, (48, 68), (20, 68)]);
    // Bonds: all of the first miner, and 0.12 of 0.2 against 0.08 of 0.2 of the second.
    assert_shares(&outcome.dividends, &[(48 + 12, 68), (8, 68), NONE, NONE]);
    assert_eq!(outcome.bonds[0], [(2, 65_535), (3, 65_535)]);
    // 0.08 is two thirds of 0.12, rounded down.
    assert_eq!(outcome.bonds[1], [(3, 43_689)]);
    // Paid by dividends, not by stake.
    let pay = Pot { miners: 0, validators: 69 }.divide(&outcome);
    assert_eq!(pay.dividends, [60, 8, 0, 0]);
}

#[test]
fn without_a_majority_nothing_is_agreed_on() {
    let outcome = run(&subnet(
        &[3, 3, 4, 0, 0, 0],
        &[&[0, 0, 0, 1, 0, 0], &[0, 0, 0, 0, 1, 0], &[0, 0, 0, 0, 0, 1]],
    ));
    assert_shares(&outcome.consensus, &[NONE; 6]);
    assert_shares(&outcome.incentive, &[NONE; 6]);
    assert_shares(&outcome.dividends, &[NONE; 6]);
    // Validators are paid all of it, by stake.
    let pay = Pot::halved(1_001).divide(&outcome);
    assert_eq!(pay.incentive, [0; 6]);
    assert_eq!(pay.dividends, [300, 300, 400, 0, 0, 0]);
}

#[test]
fn kappa_moves_the_majority() {
    let mut inputs = subnet(&[6, 4, 0, 0], &[&[0, 0, 1, 0], &[0, 0, 0, 1]]);
    let consensus = |inputs: &Inputs| run(inputs).consensus;
    assert_shares(&consensus(&inputs), &[NONE, NONE, ALL, NONE]);
    inputs.kappa = 26_000; // 0.397, which 0.4 reaches
    assert_shares(&consensus(&inputs), &[NONE, NONE, ALL, ALL]);
    inputs.kappa = 26_214; // 0.4 to the bit
    assert_shares(&consensus(&inputs), &[NONE, NONE, ALL, ALL]);
    inputs.kappa = 39_500; // 0.603, which 0.6 does not reach
    assert_shares(&consensus(&inputs), &[NONE, NONE, NONE, NONE]);
}

#[test]
fn the_consensus_is_the_highest_weight_with_a_majority_behind_it() {
    let rows: [&[u16]; 3] = [&[0, 0, 0, 8, 2], &[0, 0, 0, 5, 5], &[0, 0, 0, 2, 8]];
    let mut inputs = subnet(&[45, 30, 25, 0, 0], &rows);
    inputs.kappa = 45_875;
    // A majority is 0.7. Behind 0.8 are 45, behind 0.5 or more 75; of the
    // other, 25, 55 and only with 0.2 all.
    assert_shares(&run(&inputs).consensus, &[NONE, NONE, NONE, (1, 2), (1, 5)]);
}

#[test]
fn exactly_half_of_the_stake_is_a_majority_at_the_default() {
    // 32767 of 65535 is a little less than half.
    let outcome = run(&subnet(&[5, 5, 0, 0], &[&[0, 0, 1, 0], &[0, 0, 0, 1]]));
    assert_shares(&outcome.incentive, &[NONE, NONE, (1, 2), (1, 2)]);
    assert_shares(&outcome.dividends, &[(1, 2), (1, 2), NONE, NONE]);
}

/// A cabal with less than half of the stake gets nothing for its miner, however much it has.
#[test]
fn an_honest_majority_keeps_its_reward() {
    for honest in 51..100 {
        let inputs = subnet(&[honest, 100 - honest, 0, 0], &[&[0, 0, 1, 0], &[0, 0, 0, 1]]);
        let outcome = run(&inputs);
        assert_shares(&outcome.incentive, &[NONE, NONE, ALL, NONE]);
        assert_shares(&outcome.dividends, &[ALL, NONE, NONE, NONE]);
        assert_shares(&outcome.validator_trust, &[ALL, NONE, NONE, NONE]);
    }
}

#[test]
fn zero_weights_count_as_no_weights() {
    let mut inputs = subnet(&[6, 4, 0], &[&[0, 0, 0], &[]]);
    let outcome = run(&inputs);
    assert_shares(&outcome.consensus, &[NONE; 3]);
    assert_shares(&outcome.incentive, &[NONE; 3]);
    assert_eq!(outcome.bonds, vec![Vec::new(); 3]);
    // Then the stake is paid that took part, and all of it only where none did.
    inputs.active[0] = false;
    assert_eq!(Pot::halved(100).divide(&run(&inputs)).dividends, [0, 100, 0]);
    inputs.active[1] = false;
    let dividends = Pot::halved(100).divide(&run(&inputs)).dividends;
    assert!(dividends[0] >= 59 && dividends[1] >= 39 && dividends[2] == 0, "{dividends:?}");
}

#[test]
fn a_weight_on_oneself_is_masked_unless_it_is_the_owners() {
    let mut inputs = subnet(&[6, 4, 0], &[&[10, 0, 10], &[10, 0, 10]]);
    // 1 gives half to 0, but 0's own half is dropped and the rest of its row is all.
    assert_shares(&run(&inputs).consensus, &[NONE, NONE, ALL]);
    inputs.owner_uid = Some(0);
    let outcome = run(&inputs);
    assert_shares(&outcome.consensus, &[(1, 2), NONE, (1, 2)]);
    assert_shares(&outcome.incentive, &[(1, 2), NONE, (1, 2)]);
}

#[test]
fn rows_without_a_permit_and_inactive_stake_do_not_count() {
    let mut inputs = subnet(&[6, 4, 0, 0], &[&[0, 0, 1, 0], &[0, 0, 0, 1]]);
    inputs.active[0] = false;
    let outcome = run(&inputs);
    assert_shares(&outcome.active_stake, &[NONE, ALL, NONE, NONE]);
    assert_shares(&outcome.stake, &[(6, 10), (4, 10), NONE, NONE]);
    assert_shares(&outcome.incentive, &[NONE, NONE, NONE, ALL]);
    assert_shares(&outcome.dividends, &[NONE, ALL, NONE, NONE]);
    inputs.active[0] = true;
    inputs.permits[0] = false;
    inputs.weights[0] = row(&[0, 0, 1, 1]);
    let outcome = run(&inputs);
    assert_shares(&outcome.incentive, &[NONE, NONE, NONE, ALL]);
    assert_shares(&outcome.validator_trust, &[NONE, ALL, NONE, NONE]);
}

#[test]
fn weights_older_than_their_target_are_outdated() {
    let mut inputs = subnet(&[1, 0, 0], &[&[0, 1, 1]]);
    inputs.registered_at[2] = 10;
    // Set in the block in which 2 registered: perhaps before it did.
    assert_shares(&run(&inputs).incentive, &[NONE, ALL, NONE]);
    inputs.registered_at[2] = 9;
    assert_shares(&run(&inputs).incentive, &[NONE, (1, 2), (1, 2)]);
}

#[test]
fn committed_weights_do_not_reach_who_registered_after_the_commit() {
    let mut inputs = subnet(&[1, 0, 0], &[&[0, 1, 1]]);
    inputs.registered_at[2] = 8;
    inputs.first_commits[0] = Some(7);
    assert_shares(&run(&inputs).incentive, &[NONE, ALL, NONE]);
    inputs.first_commits[0] = Some(8);
    assert_shares(&run(&inputs).incentive, &[NONE, (1, 2), (1, 2)]);
}

#[test]
fn bonds_follow_the_weights_by_a_tenth() {
    let mut inputs = subnet(&[5, 5, 0], &[&[0, 0, 1], &[0, 0, 1]]);
    inputs.bonds[0] = vec![(2, 65_535)];
    let outcome = run(&inputs);
    // 0.9 of all and 0.1 of half, against 0.1 of half.
    assert_shares(&outcome.dividends, &[(95, 100), (5, 100), NONE]);
    assert_eq!(outcome.bonds[0], [(2, 65_535)]);
    assert_eq!(outcome.bonds[1], [(2, 3_449)], "0.05 of 0.95, rounded down");
}

#[test]
fn stored_bonds_are_shares_of_their_column() {
    let mut inputs = subnet(&[6, 4, 0], &[&[0, 0, 1], &[0, 0, 1]]);
    inputs.bonds[0] = vec![(2, 65_535)];
    inputs.bonds[1] = vec![(2, 65_535)];
    // 0.9 of half and 0.1 of 0.6.
    assert_shares(&run(&inputs).dividends, &[(51, 100), (49, 100), NONE]);
}

#[test]
fn a_new_miners_bonds_weigh_as_much_as_an_old_ones() {
    let mut inputs = subnet(&[5, 5, 0, 0], &[&[0, 0, 1, 1], &[0, 0, 1, 1]]);
    inputs.bonds[0] = vec![(2, 65_535)];
    // Half of 0.95 and half of 0.5.
    assert_shares(&run(&inputs).dividends, &[(725, 1000), (275, 1000), NONE, NONE]);
}

#[test]
fn a_new_miner_inherits_no_bonds() {
    let mut inputs = subnet(&[5, 5, 0], &[&[0, 0, 1], &[0, 0, 1]]);
    inputs.bonds[0] = vec![(2, 65_535)];
    inputs.bonds_cutoff = 6;
    inputs.registered_at[2] = 6;
    assert_shares(&run(&inputs).dividends, &[(1, 2), (1, 2), NONE]);
    inputs.registered_at[2] = 5;
    assert_shares(&run(&inputs).dividends, &[(95, 100), (5, 100), NONE]);
}

#[test]
fn without_a_penalty_clipped_weights_still_become_bonds() {
    let mut inputs = subnet(&[6, 4, 0, 0], &[&[0, 0, 8, 2], &[0, 0, 0, 10]]);
    inputs.bonds_penalty = 0;
    // The second miner's bonds: 0.6 * 0.2 against 0.4 * 1.
    let outcome = run(&inputs);
    assert_shares(
        &outcome.dividends,
        &[(48 * 52 + 20 * 12, 68 * 52), (20 * 40, 68 * 52), NONE, NONE],
    );
}

#[test]
fn a_full_subnet_gives_the_same_bits_again_and_shares_that_sum_to_one() {
    // 64 validators with stakes 1..=64 and 192 miners, weights by a simple rule.
    let stakes: Vec<u64> = (0..256).map(|uid| if uid < 64 { uid + 1 } else { 0 }).collect();
    let weight =
        |validator: u16, miner: u16| (validator * 7 + miner * 13) % 97 * u16::from(miner > 63);
    let rows: Vec<Vec<u16>> =
        (0..64).map(|validator| (0..256).map(|miner| weight(validator, miner)).collect()).collect();
    let rows: Vec<&[u16]> = rows.iter().map(Vec::as_slice).collect();
    let inputs = subnet(&stakes, &rows);
    let outcome = run(&inputs);
    assert_eq!(outcome, run(&inputs));
    for shares in [&outcome.incentive, &outcome.dividends, &outcome.active_stake] {
        let sum: Share = shares.iter().copied().sum();
        assert!(sum <= Share::ONE);
        assert!(Share::ONE.minus(sum) < Share::ratio(1, 1 << 20), "{sum:?}");
    }
    assert!(outcome.validator_trust.iter().all(|trust| *trust <= Share::ONE));
    let clipped = outcome.validator_trust.iter().take(64).filter(|trust| **trust < Share::ONE);
    assert!(clipped.count() > 32, "such weights cannot all agree");
}

#[test]
fn the_pot_is_halved_and_shares_are_rounded_down() {
    let outcome = run(&subnet(&[2, 1, 0, 0], &[&[0, 0, 1, 1], &[0, 0, 1, 1]]));
    assert_eq!(Pot::halved(101), Pot { miners: 50, validators: 51 });
    let Pay { incentive, dividends } = Pot::halved(101).divide(&outcome);
    assert_eq!(incentive, [0, 0, 25, 25]);
    assert!(dividends[0] >= 33 && dividends[1] >= 16 && dividends.iter().sum::<u64>() <= 51);
}

#[test]
fn nobody_is_paid_where_nobody_has_stake() {
    let outcome: Outcome = run(&subnet(&[0, 0], &[]));
    assert_eq!(
        Pot::halved(100).divide(&outcome),
        Pay { incentive: vec![0; 2], dividends: vec![0; 2] }
    );
}

#[test]
fn shares_are_exact_at_their_ends() {
    assert_eq!(Share::ratio(1, 0), Share::ZERO);
    assert_eq!(Share::of_u16(u16::MAX), Share::ONE);
    assert_eq!((Share::ONE.to_u16(), Share::ZERO.to_u16()), (u16::MAX, 0));
    assert_eq!(Share::ratio(3, 1).to_u16(), u16::MAX, "above 1 counts as 1");
    assert_eq!(Share::ONE.of(u64::MAX), u64::MAX);
    assert_eq!(Share::ratio(1, 3).of(100), 33);
    assert_eq!(Share::ratio(u128::MAX, 1).plus(Share::ONE), Share::ratio(u128::MAX, 1));
    assert_eq!(Share::ZERO.minus(Share::ONE), Share::ZERO);
}
