//! Sealed weights: what is stored, when the chain opens it, and what is lost in silence.

use crate::{
    beacon::{commit_sealed, concealing, custom, BeaconWorld},
    world::set_weights,
};
use codec::Encode;
use localnet::{chain::SubmitError, GenesisSpec};
use node_subtensor_runtime::{
    subtensor::{self, *},
    Runtime, RuntimeCall, RuntimeOrigin, StrictCommitPool, System, TAO,
};
use sp_core::H256;
use sp_runtime::{
    traits::{BlakeTwo256, Hash},
    DispatchError, DispatchResult,
};

const ROUND: u64 = 4;

fn queue(found: &BeaconWorld, epoch: u64) -> usize {
    found.world.read(|| TimelockedWeightCommits::<Runtime>::get(1, epoch)).len()
}

fn stored(found: &BeaconWorld) -> Vec<(u16, u16)> {
    found.world.read(|| Weights::<Runtime>::get(1, 0))
}

/// The first validator commits a row for [`ROUND`] in the next block; the row as it will be stored.
fn commit_row(found: &BeaconWorld) -> Vec<(u16, u16)> {
    let validator = found.world.validator(0);
    let row = [(1, 65_535), (2, 300)];
    let sealed = found.seal_weights(ROUND, &validator, &row);
    found.world.send(&validator, commit_sealed(0, sealed, ROUND)).unwrap();
    found.world.seal();
    assert_eq!(found.world.failures(), []);
    row.to_vec()
}

#[test]
fn a_commit_is_stored_under_its_epoch_announced_and_counts_as_an_update() {
    let found = BeaconWorld::new(concealing());
    let validator = found.world.validator(0);
    let sealed = found.seal_weights(ROUND, &validator, &[(1, 65_535)]);
    found.world.send(&validator, commit_sealed(0, sealed.clone(), ROUND)).unwrap();
    let block = u64::from(found.world.seal().number());

    let hash: H256 = BlakeTwo256::hash(&sealed);
    let event = Event::TimelockedWeightsCommitted(validator.account(), 1, hash, ROUND);
    assert_eq!(found.world.subtensor_events(), [event]);
    let waiting = found.world.read(|| TimelockedWeightCommits::<Runtime>::get(1, 0));
    assert_eq!(waiting, [(validator.account(), block, sealed, ROUND)]);
    assert_eq!(found.world.read(|| LastUpdate::<Runtime>::get(1))[0], block);
    assert!(stored(&found).is_empty(), "nothing is open yet");
}

#[test]
fn a_commit_opens_in_the_first_block_of_its_reveal_epoch_before_that_blocks_epoch() {
    // Two subnets and one epoch per block, so that the clock says something in block 10.
    let spec = GenesisSpec { netuids: vec![1, 2], max_epochs_per_block: 1, ..concealing() };
    let found = BeaconWorld::new(spec);
    let row = commit_row(&found);
    let committed = u64::from(found.world.chain.best().number());
    found.bring_pulse(ROUND).unwrap();
    found.world.seal_until(9);
    assert!(stored(&found).is_empty(), "the pulse is there, the epoch is not");

    let block = found.world.seal();
    let revealed = Event::TimelockedWeightsRevealed(1, found.world.validator(0).account());
    let deferred = Event::EpochDeferred { netuid: 2, from_block: 10, to_block: 11 };
    let expected = [(Event::WeightsSet(1, 0), true), (revealed, true), (deferred, true)];
    assert_eq!(found.phased_events(), expected);
    assert_eq!(stored(&found), row);
    assert_eq!(queue(&found, 0), 0);
    assert_eq!(found.world.read(|| LastUpdate::<Runtime>::get(1))[0], committed, "not again");
    let incentive = found.world.read(|| Incentive::<Runtime>::get(1))[1];
    assert!(incentive > 0, "the epoch of block 10 counted what was opened in block 10");
    found.world.chain.verify(block.hash).unwrap();
}

#[test]
fn the_period_is_that_of_the_subnet() {
    let found = BeaconWorld::new(concealing());
    found.alter(|| RevealPeriodEpochs::<Runtime>::insert(1, 2));
    let row = commit_row(&found);
    found.bring_pulse(ROUND).unwrap();
    found.world.seal_until(19);
    assert!(stored(&found).is_empty());
    found.world.seal();
    assert_eq!(stored(&found), row);
}

#[test]
fn a_pulse_that_comes_late_in_the_reveal_epoch_still_opens_the_commit() {
    let found = BeaconWorld::new(concealing());
    let row = commit_row(&found);
    found.world.seal_until(17);
    assert_eq!(queue(&found, 0), 1, "tried in vain in blocks 10 to 17 and put back");
    found.bring_pulse(ROUND).unwrap();
    found.world.seal();
    assert!(stored(&found).is_empty(), "block 18 stored the pulse after it had tried");
    found.world.seal();
    assert_eq!(stored(&found), row);
}

#[test]
fn a_commit_whose_reveal_epoch_passes_without_the_pulse_is_lost() {
    let found = BeaconWorld::new(concealing());
    commit_row(&found);
    found.world.seal_until(19);
    found.bring_pulse(ROUND).unwrap();
    assert_eq!(queue(&found, 0), 1);
    found.world.seal();
    assert_eq!(queue(&found, 0), 0, "block 20 belongs to the epoch after");
    found.world.seal_until(32);
    assert!(stored(&found).is_empty());
}

/// Commits these bytes by the validator or the miner and runs past the reveal epoch.
fn outcome(found: &BeaconWorld, by_miner: bool, sealed: Vec<u8>) -> Vec<Event<Runtime>> {
    let who = if by_miner { found.world.miner(0) } else { found.world.validator(0) };
    found.world.send(&who, commit_sealed(0, sealed.try_into().unwrap(), ROUND)).unwrap();
    found.world.seal();
    assert_eq!(found.world.failures(), [], "the commit itself is taken");
    found.bring_pulse(ROUND).unwrap();
    let mut events = Vec::new();
    while found.world.chain.best().number() < 21 {
        found.world.seal();
        events.extend(found.world.subtensor_events());
    }
    events
}

#[test]
fn whatever_is_wrong_inside_loses_the_commit_without_a_word() {
    let payload = |found: &BeaconWorld, uids: &[u16], version_key| {
        WeightsTlockPayload {
            hotkey: found.world.validator(0).account().encode(),
            uids: uids.to_vec(),
            values: vec![1; uids.len()],
            version_key,
        }
        .encode()
    };
    type Make = Box<dyn Fn(&BeaconWorld) -> Vec<u8>>;
    let cases: Vec<(&str, bool, Make)> = vec![
        ("no ciphertext", false, Box::new(|_| vec![7; 300])),
        ("nothing", false, Box::new(|_| Vec::new())),
        ("another round", false, Box::new(move |f| f.seal_bytes(9, &payload(f, &[1], 5)))),
        ("no weights inside", false, Box::new(|f| f.seal_bytes(ROUND, b"x"))),
        ("a hotkey's own key is another", true, {
            Box::new(move |f| f.seal_bytes(ROUND, &payload(f, &[1], 5)))
        }),
        ("old version key", false, {
            Box::new(move |f| f.seal_bytes(ROUND, &payload(f, &[1], 4)))
        }),
        ("unknown uid", false, Box::new(move |f| f.seal_bytes(ROUND, &payload(f, &[99], 5)))),
        ("a uid twice", false, Box::new(move |f| f.seal_bytes(ROUND, &payload(f, &[1, 1], 5)))),
        ("no permit", true, {
            Box::new(|f| f.seal_weights(ROUND, &f.world.miner(0), &[(2, 1)]).into_inner())
        }),
    ];
    for (name, by_miner, make) in cases {
        let found = BeaconWorld::new(GenesisSpec { weights_version_key: 5, ..concealing() });
        let sealed = make(&found);
        assert_eq!(outcome(&found, by_miner, sealed), [], "{name}");
        assert!(stored(&found).is_empty(), "{name}");
        assert_eq!(queue(&found, 0), 0, "{name}");
    }
    // The same way with nothing wrong, so that the above says something.
    let found = BeaconWorld::new(GenesisSpec { weights_version_key: 5, ..concealing() });
    let sealed = found.seal_bytes(ROUND, &payload(&found, &[1], 5));
    let revealed = Event::TimelockedWeightsRevealed(1, found.world.validator(0).account());
    assert_eq!(outcome(&found, false, sealed), [Event::WeightsSet(1, 0), revealed]);
}

#[test]
fn a_payload_without_a_hotkey_is_opened_too() {
    let found = BeaconWorld::new(concealing());
    let legacy = (vec![1_u16, 2], vec![65_535_u16, 9], 0_u64).encode();
    let sealed = found.seal_bytes(ROUND, &legacy);
    assert_eq!(outcome(&found, false, sealed).len(), 2);
    assert_eq!(stored(&found), [(1, 65_535), (2, 9)]);
}

#[test]
fn a_commit_in_a_block_that_defers_the_epoch_belongs_to_the_next() {
    let spec = GenesisSpec { netuids: vec![2, 1, 3], max_epochs_per_block: 2, ..concealing() };
    let found = BeaconWorld::new(spec);
    found.world.seal_until(9);
    let validator = found.world.validator(0);
    for netuid in [1, 3] {
        let sealed = found.seal_weights(ROUND, &validator, &[(1, 65_535)]);
        let call = RuntimeCall::SubtensorModule(subtensor::Call::commit_timelocked_weights {
            netuid,
            commit: sealed,
            reveal_round: ROUND,
            commit_reveal_version: 4,
        });
        found.world.send(&validator, call).unwrap();
    }
    found.world.seal();
    let deferred = Event::EpochDeferred { netuid: 3, from_block: 10, to_block: 11 };
    assert!(found.world.subtensor_events().contains(&deferred));
    let index = |netuid| found.world.read(|| SubnetEpochIndex::<Runtime>::get(netuid));
    assert_eq!((index(1), index(3)), (1, 0), "subnet 1 is in its new epoch, subnet 3 is not");
    let waiting =
        |netuid| found.world.read(|| TimelockedWeightCommits::<Runtime>::get(netuid, 1)).len();
    assert_eq!((waiting(1), waiting(3)), (1, 1), "both commits are");

    found.bring_pulse(ROUND).unwrap();
    found.world.seal_until(21);
    let row = |netuid| found.world.read(|| Weights::<Runtime>::get(netuid, 0));
    assert_eq!((row(1), row(3)), (vec![(1, 65_535)], vec![(1, 65_535)]));
}

#[test]
fn commits_are_checked_in_the_real_chains_order() {
    let found = BeaconWorld::new(concealing());
    let validator = found.world.validator(0).account();
    let stranger = found.world.miner(9).account();
    found.world.read(|| {
        System::set_block_number(50);
        CommitRevealWeightsEnabled::<Runtime>::insert(1, false);
        WeightsSetRateLimit::<Runtime>::insert(1, 10);
        LastUpdate::<Runtime>::insert(1, vec![45, 0, 0, 0, 0]);
        let commit = |who: &_, mecid, version| -> DispatchResult {
            Pallet::<Runtime>::commit_timelocked_mechanism_weights(
                RuntimeOrigin::signed(Clone::clone(who)),
                1,
                mecid,
                SealedWeights::default(),
                ROUND,
                version,
            )
        };
        let fails = |error: Error<Runtime>| Err(DispatchError::from(error));
        assert_eq!(commit(&stranger, 1, 3), fails(Error::MechanismDoesNotExist));
        assert_eq!(commit(&stranger, 0, 3), fails(Error::CommitRevealDisabled));
        CommitRevealWeightsEnabled::<Runtime>::insert(1, true);
        assert_eq!(commit(&stranger, 0, 3), fails(Error::IncorrectCommitRevealVersion));
        assert_eq!(commit(&stranger, 0, 4), fails(Error::HotKeyNotRegisteredInSubNet));
        assert_eq!(commit(&validator, 0, 4), fails(Error::CommittingWeightsTooFast));
        WeightsSetRateLimit::<Runtime>::insert(1, 0);
        for _ in 0..10 {
            assert_eq!(commit(&validator, 0, 4), Ok(()));
        }
        assert_eq!(commit(&validator, 0, 4), fails(Error::TooManyUnrevealedCommits));
    });
}

#[test]
fn plain_weights_and_commits_exclude_each_other() {
    let found = BeaconWorld::new(concealing());
    let validator = found.world.validator(0);
    found.world.send(&validator, set_weights(&[1], &[1])).unwrap();
    found.world.seal();
    let refused: DispatchError = Error::<Runtime>::CommitRevealEnabled.into();
    assert_eq!(found.world.failures(), [refused]);
    found.alter(|| CommitRevealWeightsEnabled::<Runtime>::insert(1, false));
    let sealed = found.seal_weights(ROUND, &validator, &[(1, 1)]);
    found.world.send(&validator, commit_sealed(0, sealed, ROUND)).unwrap();
    found.world.seal();
    let refused: DispatchError = Error::<Runtime>::CommitRevealDisabled.into();
    assert_eq!(found.world.failures(), [refused]);
}

#[test]
fn a_commit_that_opens_after_the_switch_back_meets_the_rate_limit_and_may_die_of_it() {
    let found = BeaconWorld::new(concealing());
    commit_row(&found);
    found.bring_pulse(ROUND).unwrap();
    found.alter(|| {
        CommitRevealWeightsEnabled::<Runtime>::insert(1, false);
        WeightsSetRateLimit::<Runtime>::insert(1, 100);
    });
    found.world.seal_until(12);
    assert!(stored(&found).is_empty(), "the commit itself was the last update");

    let found = BeaconWorld::new(concealing());
    let row = commit_row(&found);
    found.bring_pulse(ROUND).unwrap();
    found.alter(|| CommitRevealWeightsEnabled::<Runtime>::insert(1, false));
    found.world.send(&found.world.validator(0), set_weights(&[3], &[1])).unwrap();
    found.world.seal_until(10);
    assert_eq!(stored(&found), row, "it overwrites the newer plain row");
    assert_eq!(found.world.read(|| LastUpdate::<Runtime>::get(1))[0], 10);
}

#[test]
fn the_pool_refuses_poor_late_fast_and_second_commits_with_the_real_chains_numbers() {
    let spec = GenesisSpec {
        validator_stakes: vec![100 * TAO, 10 * TAO],
        stake_threshold: 50 * TAO,
        weights_set_rate_limit: 5,
        ..concealing()
    };
    let found = BeaconWorld::new(spec);
    let world = &found.world;
    let (rich, poor) = (world.validator(0), world.validator(1));
    let commit = |who, round| commit_sealed(0, found.seal_weights(round, who, &[(2, 1)]), round);
    found.bring_pulse(ROUND).unwrap();
    world.seal();
    assert_eq!(world.send(&poor, commit(&poor, 9)), Err(custom(1)));
    assert_eq!(world.send(&rich, commit(&rich, ROUND - 1)), Err(custom(15)));
    world.send(&rich, commit(&rich, ROUND)).expect("the last stored round itself is taken");
    let second = world.send(&rich, commit(&rich, 9));
    assert_eq!(second, Err(SubmitError::TooLowPriority { old: 1, new: 1 }), "one may wait");
    let committed = world.seal().number();
    assert_eq!(world.failures(), []);
    assert_eq!(world.send(&rich, commit(&rich, 10)), Err(custom(6)));
    world.seal_until(committed + 4);
    world.send(&rich, commit(&rich, 11)).expect("judged as of the next block");
}

#[test]
fn as_of_spec_425_the_pool_takes_sealed_commits_at_any_rate_and_the_block_refuses() {
    let found = BeaconWorld::new(GenesisSpec { weights_set_rate_limit: 5, ..concealing() });
    found.alter(|| StrictCommitPool::set(&false));
    let validator = found.world.validator(0);
    for round in [8, 9] {
        let sealed = found.seal_weights(round, &validator, &[(1, 1)]);
        found.world.send(&validator, commit_sealed(0, sealed, round)).unwrap();
    }
    found.world.seal();
    let refused: DispatchError = Error::<Runtime>::CommittingWeightsTooFast.into();
    assert_eq!(found.world.failures(), [refused]);
}

#[test]
fn without_a_rate_limit_several_commits_may_wait_and_the_last_one_wins() {
    let found = BeaconWorld::new(concealing());
    let validator = found.world.validator(0);
    for value in [1, 2] {
        let sealed = found.seal_weights(ROUND, &validator, &[(1, 65_535), (2, value)]);
        found.world.send(&validator, commit_sealed(0, sealed, ROUND)).unwrap();
    }
    found.world.seal();
    assert_eq!(found.world.failures(), []);
    found.bring_pulse(ROUND).unwrap();
    found.world.seal_until(10);
    assert_eq!(stored(&found), [(1, 65_535), (2, 2)]);
}
