//! Hashes of weights, what is behind them, and batches.

use crate::beacon::{concealing, custom, BeaconWorld};
use codec::{Compact, Encode};
use localnet::GenesisSpec;
use node_subtensor_runtime::{
    subtensor::{self, *},
    AccountId, Runtime, RuntimeCall, RuntimeOrigin, System,
};
use sp_core::H256;
use sp_runtime::{DispatchError, DispatchResult};

const ALICE: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

fn reveal(values: &[u16]) -> Reveal {
    Reveal {
        uids: (1_u16..).take(values.len()).collect(),
        values: values.to_vec(),
        salt: vec![3, 1, 4],
        version_key: 0,
    }
}

fn hash_of(found: &BeaconWorld, reveal: &Reveal) -> H256 {
    commit_hash(&found.world.validator(0).account(), 1, reveal)
}

fn commit_call(commit_hash: H256) -> RuntimeCall {
    subtensor::Call::commit_weights { netuid: 1, commit_hash }.into()
}

fn reveal_call(reveal: &Reveal) -> RuntimeCall {
    let Reveal { uids, values, salt, version_key } = reveal.clone();
    subtensor::Call::reveal_weights { netuid: 1, uids, values, salt, version_key }.into()
}

/// Commits to each of these in the next block.
fn commit(found: &BeaconWorld, reveals: &[&Reveal]) {
    for reveal in reveals {
        let call = commit_call(hash_of(found, reveal));
        found.world.send(&found.world.validator(0), call).unwrap();
    }
    found.world.seal();
    assert_eq!(found.world.failures(), []);
}

fn fails(error: Error<Runtime>) -> DispatchResult {
    Err(DispatchError::from(error))
}

#[test]
fn hashes_are_those_of_the_real_chain() {
    let alice: [u8; 32] = hex::decode(ALICE).unwrap().try_into().unwrap();
    let alice = AccountId::from(alice);
    let reveal = Reveal {
        uids: vec![0, 1, 2],
        values: vec![65_535, 32_768, 1],
        salt: vec![1, 2, 3, 4, 5, 6, 7, 8],
        version_key: 843_000,
    };
    let hash = |index| hex::encode(commit_hash(&alice, index, &reveal));
    assert_eq!(hash(1), "8d8ebdb8df354a498ef3a222e5e3052cbe2bb9d60a3c9c1e744c60b992358bef");
    assert_eq!(hash(4097), "1b3b94e36939f8375f9f00d30b5de7f13447cb8eacc9ceb3a97339f507741a36");
    let payload = WeightsTlockPayload {
        hotkey: alice.encode(),
        uids: reveal.uids,
        values: reveal.values,
        version_key: reveal.version_key,
    };
    let expected = format!("80{ALICE}0c0000010002000cffff00800100f8dc0c0000000000");
    assert_eq!(hex::encode(payload.encode()), expected);
}

#[test]
fn a_commit_is_stored_with_its_epoch_and_block_and_revealed_one_epoch_later() {
    let found = BeaconWorld::new(concealing());
    let row = reveal(&[65_535, 7]);
    found.world.seal_until(12);
    commit(&found, &[&row]);
    let hash = hash_of(&found, &row);
    let who = found.world.validator(0);
    let announced = Event::WeightsCommitted(who.account(), 1, hash);
    assert_eq!(found.world.subtensor_events(), [announced]);
    let stored = || found.world.read(|| WeightCommits::<Runtime>::get(1, who.account()));
    assert_eq!(stored(), Some(vec![(hash, 1, 13, 0)]));

    found.world.seal_until(20);
    found.world.send(&who, reveal_call(&row)).unwrap();
    found.world.seal();
    let revealed = Event::WeightsRevealed(who.account(), 1, hash);
    assert_eq!(found.world.subtensor_events(), [Event::WeightsSet(1, 0), revealed]);
    assert_eq!(found.world.read(|| Weights::<Runtime>::get(1, 0)), [(1, 65_535), (2, 7)]);
    assert_eq!(stored(), None);
    assert_eq!(found.world.read(|| LastUpdate::<Runtime>::get(1))[0], 13, "the commit counted");
}

#[test]
fn the_pool_takes_a_reveal_in_its_epoch_only_and_only_of_a_commit_that_waits() {
    let found = BeaconWorld::new(concealing());
    let (row, other) = (reveal(&[65_535]), reveal(&[9]));
    commit(&found, &[&row]);
    let who = found.world.validator(0);
    // Another salt each time, since the pool remembers what it refused.
    assert_eq!(found.world.send(&who, reveal_call(&row)), Err(custom(17)), "too early");
    assert_eq!(found.world.send(&who, reveal_call(&other)), Err(custom(16)), "never committed");
    // The next block, 10, begins the reveal epoch.
    found.world.seal_until(200);
    assert_eq!(found.world.send(&who, reveal_call(&row)), Err(custom(17)), "too late");

    let found = BeaconWorld::new(concealing());
    commit(&found, &[&row]);
    found.world.seal_until(9);
    found.world.send(&who, reveal_call(&row)).expect("judged as of block 10");
    found.world.seal();
    assert_eq!(found.world.failures(), []);
    found.world.seal();
    let again = found.world.send(&who, reveal_call(&row));
    assert_eq!(again, Err(custom(16)), "a commit is revealed once");
}

#[test]
fn revealing_a_commit_discards_the_older_ones_and_keeps_the_newer() {
    let found = BeaconWorld::new(concealing());
    let rows = [reveal(&[1]), reveal(&[2]), reveal(&[3])];
    commit(&found, &[&rows[0], &rows[1], &rows[2]]);
    found.world.seal_until(10);
    let who = found.world.validator(0);
    found.world.send(&who, reveal_call(&rows[1])).unwrap();
    found.world.seal();
    let left = found.world.read(|| WeightCommits::<Runtime>::get(1, who.account())).unwrap();
    let hashes: Vec<H256> = left.into_iter().map(|commit| commit.0).collect();
    assert_eq!(hashes, [hash_of(&found, &rows[2])]);
}

#[test]
fn a_block_refuses_what_the_pool_would_have_refused_and_says_why() {
    let found = BeaconWorld::new(concealing());
    let who = found.world.validator(0).account();
    let (row, other) = (reveal(&[65_535]), reveal(&[9]));
    found.world.read(|| {
        System::set_block_number(3);
        let origin = || RuntimeOrigin::signed(who.clone());
        let show = |reveal: &Reveal| {
            let Reveal { uids, values, salt, version_key } = reveal.clone();
            Pallet::<Runtime>::reveal_weights(origin(), 1, uids, values, salt, version_key)
        };
        let commit = |reveal: &Reveal| {
            Pallet::<Runtime>::commit_weights(origin(), 1, hash_of(&found, reveal))
        };
        assert_eq!(show(&row), fails(Error::NoWeightsCommitFound));
        commit(&row).unwrap();
        assert_eq!(show(&row), fails(Error::RevealTooEarly));
        assert_eq!(show(&other), fails(Error::InvalidRevealCommitHashNotMatch));
        SubnetEpochIndex::<Runtime>::insert(1, 2);
        assert_eq!(show(&row), fails(Error::ExpiredWeightCommit));
        assert_eq!(show(&other), fails(Error::NoWeightsCommitFound));
        CommitRevealWeightsEnabled::<Runtime>::insert(1, false);
        assert_eq!(show(&row), fails(Error::CommitRevealDisabled));
        assert_eq!(commit(&row), fails(Error::CommitRevealDisabled));
        CommitRevealWeightsEnabled::<Runtime>::insert(1, true);
        // The expired one makes room; ten living ones do not.
        for _ in 0..10 {
            commit(&row).unwrap();
        }
        assert_eq!(commit(&row), fails(Error::TooManyUnrevealedCommits));
    });
}

#[test]
fn a_batch_of_reveals_sets_all_rows_or_none() {
    let found = BeaconWorld::new(concealing());
    let rows = [reveal(&[65_535, 1]), reveal(&[65_535, 2])];
    commit(&found, &[&rows[0], &rows[1]]);
    found.world.seal_until(9);
    let who = found.world.validator(0);
    let batch = |rows: &[Reveal], keys: usize| -> RuntimeCall {
        subtensor::Call::batch_reveal_weights {
            netuid: 1,
            uids_list: rows.iter().map(|row| row.uids.clone()).collect(),
            values_list: rows.iter().map(|row| row.values.clone()).collect(),
            salts_list: rows.iter().map(|row| row.salt.clone()).collect(),
            version_keys: vec![0; keys],
        }
        .into()
    };
    let unequal = found.world.send(&who, batch(&rows, 1));
    assert_eq!(unequal, Err(custom(18)));
    let with_a_stranger = [rows[0].clone(), reveal(&[8])];
    assert_eq!(found.world.send(&who, batch(&with_a_stranger, 2)), Err(custom(16)));
    found.world.send(&who, batch(&rows, 2)).unwrap();
    found.world.seal();
    let hashes = rows.iter().map(|row| hash_of(&found, row)).collect();
    let last = found.world.subtensor_events().pop();
    assert_eq!(last, Some(Event::WeightsBatchRevealed(who.account(), 1, hashes)));
    assert_eq!(found.world.read(|| Weights::<Runtime>::get(1, 0)), [(1, 65_535), (2, 2)]);
    assert_eq!(found.world.read(|| WeightCommits::<Runtime>::get(1, who.account())), None);
}

#[test]
fn a_batch_of_commits_goes_on_after_a_failure_and_says_which() {
    let found = BeaconWorld::new(concealing());
    let who = found.world.validator(0);
    let batch = |netuids: &[u16], hashes: usize| -> RuntimeCall {
        subtensor::Call::batch_commit_weights {
            netuids: netuids.iter().copied().map(Compact).collect(),
            commit_hashes: vec![H256([1; 32]); hashes],
        }
        .into()
    };
    assert_eq!(found.world.send(&who, batch(&[1], 2)), Err(custom(18)));
    found.world.send(&who, batch(&[7, 1], 2)).unwrap();
    found.world.seal();
    assert_eq!(found.world.failures(), []);
    let absent = DispatchError::from(Error::<Runtime>::MechanismDoesNotExist);
    let expected = [
        Event::WeightsCommitted(who.account(), 1, H256([1; 32])),
        Event::BatchCompletedWithErrors(),
        Event::BatchWeightItemFailed(7, absent),
        Event::BatchWeightsCompleted(vec![Compact(7), Compact(1)], who.account()),
    ];
    assert_eq!(found.world.subtensor_events(), expected);
}

#[test]
fn a_batch_of_weights_goes_on_after_a_failure_and_says_which() {
    let spec = GenesisSpec { netuids: vec![1, 2], ..GenesisSpec::default() };
    let found = BeaconWorld::new(spec);
    found.alter(|| CommitRevealWeightsEnabled::<Runtime>::insert(2, true));
    let who = found.world.validator(0);
    let call = subtensor::Call::batch_set_weights {
        netuids: vec![Compact(2), Compact(1)],
        weights: vec![vec![(Compact(1), Compact(5))]; 2],
        version_keys: vec![Compact(0); 2],
    };
    found.world.send(&who, call.into()).unwrap();
    found.world.seal();
    let refused = DispatchError::from(Error::<Runtime>::CommitRevealEnabled);
    let expected = [
        Event::WeightsSet(1, 0),
        Event::BatchCompletedWithErrors(),
        Event::BatchWeightItemFailed(2, refused),
        Event::BatchWeightsCompleted(vec![Compact(2), Compact(1)], who.account()),
    ];
    assert_eq!(found.world.subtensor_events(), expected);
    assert_eq!(found.world.read(|| Weights::<Runtime>::get(1, 0)), [(1, 65_535)]);
}
