//! Taking a uid, and losing one.

use crate::world::{register, set_weights, World};
use localnet::GenesisSpec;
use node_subtensor_runtime::{
    subtensor::{self, *},
    Runtime, RuntimeCall, System, TAO,
};
use sp_runtime::DispatchError;

#[test]
fn a_registration_takes_the_next_uid_and_burns_the_price() {
    let world = World::new(GenesisSpec::default());
    let alice = world.keys.derive(&["Alice"]);
    let newcomer = world.miner(50).account();
    let balance = || world.read(|| System::account(alice.account()).data.free);
    let before = balance();
    world.send(&alice, register(newcomer.clone())).unwrap();
    let block = u64::from(world.seal().number());

    assert_eq!(world.subtensor_events(), [Event::NeuronRegistered(1, 5, newcomer.clone())]);
    assert!(before - balance() >= TAO / 10, "the price is 0.1 TAO");
    world.read(|| {
        assert_eq!(SubnetworkN::<Runtime>::get(1), 6);
        assert_eq!(Keys::<Runtime>::get(1, 5), newcomer);
        assert_eq!(Uids::<Runtime>::get(1, &newcomer), Some(5));
        assert!(IsNetworkMember::<Runtime>::get(&newcomer, 1));
        assert_eq!(Owner::<Runtime>::get(&newcomer), alice.account());
        assert_eq!(BlockAtRegistration::<Runtime>::get(1, 5), block);
        assert_eq!(LastUpdate::<Runtime>::get(1)[5], block, "it waits one rate limit");
        assert_eq!(ValidatorPermit::<Runtime>::get(1).len(), 6);
        assert_eq!(Emission::<Runtime>::get(1).len(), 6);
    });
}

#[test]
fn registrations_fail_with_the_real_chains_errors() {
    let world = World::new(GenesisSpec::default());
    let alice = world.keys.derive(&["Alice"]);
    let newcomer = world.miner(50).account();
    let on = |netuid, hotkey| {
        RuntimeCall::SubtensorModule(subtensor::Call::burned_register { netuid, hotkey })
    };
    let table: [(RuntimeCall, Error<Runtime>); 4] = [
        (on(0, newcomer.clone()), Error::RegistrationNotPermittedOnRootSubnet),
        (on(9, newcomer.clone()), Error::SubnetNotExists),
        (on(1, world.miner(0).account()), Error::HotKeyAlreadyRegisteredInSubNet),
        (
            on(1, world.keys.hotkey(localnet::keys::Role::Owner, 0).account()),
            Error::NonAssociatedColdKey,
        ),
    ];
    for (call, error) in table {
        let expected = DispatchError::from(error);
        world.send(&alice, call).unwrap();
        world.seal();
        assert_eq!(world.failures(), [expected]);
    }

    let poor = world.keys.coldkey(localnet::keys::Role::Miner, 0);
    let refused = world.read(|| {
        Burn::<Runtime>::insert(1, 10_000 * TAO);
        let origin = node_subtensor_runtime::RuntimeOrigin::signed(poor.account());
        Pallet::<Runtime>::burned_register(origin, 1, newcomer)
    });
    assert_eq!(refused, Err(Error::<Runtime>::NotEnoughBalanceToStake.into()));
}

#[test]
fn on_a_full_subnet_the_uid_changes_hands_and_nothing_is_inherited() {
    let spec = GenesisSpec { miners: 2, max_allowed_uids: 3, ..GenesisSpec::default() };
    let world = World::new(GenesisSpec { immunity_period: 3, ..spec });
    let validator = world.validator(0);
    world.send(&validator, set_weights(&[1, 2], &[1, 2])).unwrap();
    world.seal_until(5);
    let alice = world.keys.derive(&["Alice"]);
    let newcomer = world.miner(50).account();
    let leaving = world.validator(0).account();
    world.send(&alice, register(newcomer.clone())).unwrap();
    world.seal();

    // All have the same emission and age: the lowest uid goes.
    assert_eq!(world.subtensor_events(), [Event::NeuronRegistered(1, 0, newcomer.clone())]);
    world.read(|| {
        assert_eq!(Uids::<Runtime>::get(1, &leaving), None);
        assert_eq!(Uids::<Runtime>::get(1, &newcomer), Some(0));
        assert_eq!(Weights::<Runtime>::get(1, 0), []);
        assert!(!ValidatorPermit::<Runtime>::get(1)[0]);
        assert_eq!(BlockAtRegistration::<Runtime>::get(1, 0), 6);
    });

    // The newcomer is immune now; the next to go is uid 1.
    let second = world.miner(51).account();
    world.send(&alice, register(second.clone())).unwrap();
    world.seal();
    assert_eq!(world.subtensor_events(), [Event::NeuronRegistered(1, 1, second)]);
}

#[test]
fn weights_on_a_uid_that_changes_hands_become_zero() {
    let spec = GenesisSpec { miners: 2, max_allowed_uids: 3, ..GenesisSpec::default() };
    let world = World::new(GenesisSpec { immunity_period: 0, ..spec });
    world.send(&world.validator(0), set_weights(&[1, 2], &[2, 1])).unwrap();
    world.seal();
    world.read(|| {
        use frame_support::traits::Hooks;
        Emission::<Runtime>::insert(1, vec![9, 1, 5]);
        Pallet::<Runtime>::on_initialize(2);
        let alice = world.keys.derive(&["Alice"]).account();
        let origin = node_subtensor_runtime::RuntimeOrigin::signed(alice);
        Pallet::<Runtime>::burned_register(origin, 1, world.miner(60).account()).unwrap();
        assert_eq!(Weights::<Runtime>::get(1, 0), [(1, 0), (2, 32_768)]);
    });
}
