//! What the subnet's owner may change, and when.

use crate::world::World;
use localnet::{
    keys::{DevKey, Role},
    GenesisSpec,
};
use node_subtensor_runtime::{
    subtensor::{self, *},
    Runtime, RuntimeCall,
};
use sp_runtime::DispatchError;

fn owner(world: &World) -> DevKey {
    world.keys.coldkey(Role::Owner, 0)
}

fn set_factor(factor_milli: u32) -> RuntimeCall {
    subtensor::Call::set_activity_cutoff_factor { netuid: 1, factor_milli }.into()
}

fn set_tempo(tempo: u16) -> RuntimeCall {
    subtensor::Call::set_tempo { netuid: 1, tempo }.into()
}

fn failures_of(world: &World, key: &DevKey, call: RuntimeCall) -> Vec<DispatchError> {
    world.send(key, call).unwrap();
    world.seal();
    world.failures()
}

#[test]
fn the_owner_changes_the_activity_cutoff_within_its_bounds() {
    let world = World::new(GenesisSpec { tempo: 100, ..GenesisSpec::default() });
    let fails = |error: Error<Runtime>| vec![DispatchError::from(error)];
    let alice = world.keys.derive(&["Alice"]);
    assert_eq!(failures_of(&world, &alice, set_factor(2_000)), fails(Error::NotSubnetOwner));
    for factor in [999, 50_001] {
        let out_of_bounds = fails(Error::ActivityCutoffFactorMilliOutOfBounds);
        assert_eq!(failures_of(&world, &owner(&world), set_factor(factor)), out_of_bounds);
    }
    assert_eq!(failures_of(&world, &owner(&world), set_factor(1_000)), []);
    let event = Event::ActivityCutoffFactorMilliSet { netuid: 1, factor_milli: 1_000 };
    assert_eq!(world.subtensor_events(), [event]);
    assert_eq!(world.read(|| ActivityCutoffFactorMilli::<Runtime>::get(1)), 1_000);
}

#[test]
fn nothing_that_an_epoch_depends_on_changes_within_ten_blocks_before_it() {
    let world = World::new(GenesisSpec { tempo: 20, ..GenesisSpec::default() });
    let frozen = DispatchError::from(Error::<Runtime>::AdminActionProhibitedDuringWeightsWindow);
    world.seal_until(8);
    assert_eq!(failures_of(&world, &owner(&world), set_factor(1_000)), [], "in block 9");
    let in_block_10 = failures_of(&world, &owner(&world), set_tempo(30));
    assert_eq!(in_block_10, [frozen]);
    world.seal_until(20);
    assert_eq!(failures_of(&world, &owner(&world), set_tempo(100)), [], "after the epoch");
    let trigger = subtensor::Call::trigger_epoch { netuid: 1 };
    assert_eq!(failures_of(&world, &owner(&world), trigger.into()), []);
    let while_pending = failures_of(&world, &owner(&world), set_tempo(50));
    assert_eq!(while_pending, [frozen], "an epoch was asked for");
}

#[test]
fn epochs_are_not_triggered_under_commit_reveal_nor_shortly_before_one() {
    let world = World::new(GenesisSpec { tempo: 8, ..GenesisSpec::default() });
    let trigger = || RuntimeCall::from(subtensor::Call::trigger_epoch { netuid: 1 });
    let imminent = DispatchError::from(Error::<Runtime>::AutoEpochAlreadyImminent);
    assert_eq!(failures_of(&world, &owner(&world), trigger()), [imminent]);
    let world = World::new(GenesisSpec { commit_reveal: true, ..GenesisSpec::default() });
    let blocked = DispatchError::from(Error::<Runtime>::DynamicTempoBlockedByCommitReveal);
    assert_eq!(failures_of(&world, &owner(&world), trigger()), [blocked]);
}

#[test]
fn a_certificate_is_stored_with_the_endpoint_and_one_too_long_is_left_out() {
    let world = World::new(GenesisSpec::default());
    let serve = |ip, certificate: &[u8]| {
        RuntimeCall::from(subtensor::Call::serve_axon_tls {
            netuid: 1,
            version: 1,
            ip,
            port: 9000,
            ip_type: 4,
            protocol: 4,
            placeholder1: 0,
            placeholder2: 0,
            certificate: certificate.to_vec(),
        })
    };
    let loopback = world.send(&world.miner(0), serve(0x7f00_0001, &[1]));
    assert_eq!(loopback, Err(crate::beacon::custom(11)), "as `serve_axon` is refused");
    for (miner, certificate) in [vec![7; 65], vec![7; 66], Vec::new()].into_iter().enumerate() {
        let miner = world.miner(miner.try_into().unwrap());
        world.send(&miner, serve(0x0808_0808, &certificate)).unwrap();
    }
    world.seal();
    assert_eq!(world.failures(), []);
    world.read(|| {
        let stored = |i| NeuronCertificates::<Runtime>::get(1, world.miner(i).account());
        let first = stored(0).unwrap();
        assert_eq!((first.algorithm, first.public_key.len()), (7, 64));
        assert_eq!((stored(1), stored(2)), (None, None));
        assert!((0..3).all(|i| Axons::<Runtime>::contains_key(1, world.miner(i).account())));
    });
}
