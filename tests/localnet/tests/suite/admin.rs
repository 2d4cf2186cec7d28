//! Changing the chain by the sudo key: what owners, root and chance do to a validator.

use crate::world::{set_weights, World};
use codec::Encode;
use localnet::{admin::change_storage, chain::StorageChange, GenesisSpec};
use node_subtensor_runtime::{
    pallet_sudo, subtensor::*, Runtime, RuntimeCall, RuntimeEvent, RuntimeOrigin,
};
use sp_runtime::DispatchError;

/// Changes storage and seals the block that does it.
fn change(world: &World, changes: Vec<StorageChange>) {
    let alice = world.keys.derive(&["Alice"]);
    change_storage(&world.chain, &alice, changes).unwrap();
    let block = world.seal();
    let done = RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result: Ok(()) });
    assert!(world.events().contains(&done));
    world.chain.verify(block.hash).unwrap();
}

fn weights_fail_with(world: &World, error: Error<Runtime>) {
    world.send(&world.validator(0), set_weights(&[1], &[1])).unwrap();
    world.seal();
    assert_eq!(world.failures(), [DispatchError::from(error)]);
}

#[test]
fn the_owner_demands_newer_validators() {
    let world = World::new(GenesisSpec::default());
    let key = world.read(|| WeightsVersionKey::<Runtime>::hashed_key_for(1));
    change(&world, vec![(key, Some(9_u64.encode()))]);
    weights_fail_with(&world, Error::IncorrectWeightVersionKey);
}

#[test]
fn a_validator_loses_its_permit() {
    let world = World::new(GenesisSpec::default());
    let key = world.read(|| ValidatorPermit::<Runtime>::hashed_key_for(1));
    change(&world, vec![(key, Some(vec![false; 5].encode()))]);
    weights_fail_with(&world, Error::NeuronNoValidatorPermit);
}

#[test]
fn removed_values_read_as_defaults() {
    let world = World::new(GenesisSpec::default());
    let key = world.read(|| CommitRevealWeightsEnabled::<Runtime>::hashed_key_for(1));
    change(&world, vec![(key, None)]);
    // On the real chain new subnets have commit-reveal on.
    weights_fail_with(&world, Error::CommitRevealEnabled);
}

#[test]
fn nobody_but_alice_holds_the_sudo_key() {
    let world = World::new(GenesisSpec::default());
    let remark = node_subtensor_runtime::frame_system::Call::remark { remark: vec![] };
    let refused = world.read(|| {
        let call: Box<RuntimeCall> = Box::new(remark.into());
        let origin = RuntimeOrigin::signed(world.validator(0).account());
        pallet_sudo::Pallet::<Runtime>::sudo(origin, call).map(|_| ()).map_err(|e| e.error)
    });
    assert_eq!(refused, Err(pallet_sudo::Error::<Runtime>::RequireSudo.into()));
}
