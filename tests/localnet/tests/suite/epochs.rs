//! The epoch clock and what an epoch writes.

use crate::world::World;
use codec::{Decode, Encode};
use localnet::{keys::Role, GenesisSpec};
use node_subtensor_runtime::{
    subtensor::{self, *},
    Runtime, RuntimeCall, RuntimeOrigin, System, TAO,
};
use sp_runtime::DispatchError;

fn next_epoch(world: &World, netuid: u16) -> Option<u64> {
    let method = "SubnetInfoRuntimeApi_get_next_epoch_start_block";
    let answer = world.chain.call(method, &netuid.encode(), None).unwrap();
    Decode::decode(&mut &answer[..]).unwrap()
}

/// Seals until `until` and returns the blocks in which the subnet's counter went up.
fn epochs_until(world: &World, netuid: u16, until: u32) -> Vec<u32> {
    let index = || world.read(|| SubnetEpochIndex::<Runtime>::get(netuid));
    let mut fired = Vec::new();
    while world.chain.best().number() < until {
        let before = index();
        let block = world.seal().number();
        if index() > before {
            fired.push(block);
        }
    }
    fired
}

#[test]
fn an_epoch_comes_every_tempo_blocks_and_was_announced() {
    let world = World::new(GenesisSpec { tempo: 10, ..GenesisSpec::default() });
    assert_eq!(next_epoch(&world, 1), Some(10));
    assert_eq!(epochs_until(&world, 1, 35), [10, 20, 30]);
    assert_eq!(next_epoch(&world, 1), Some(40));
    world.read(|| {
        assert_eq!(LastEpochBlock::<Runtime>::get(1), 30);
        assert_eq!(LastMechansimStepBlock::<Runtime>::get(1), 30);
        assert_eq!(BlocksSinceLastStep::<Runtime>::get(1), 5);
        assert_eq!(PendingEpochAt::<Runtime>::get(1), 0);
    });
}

#[test]
fn the_announced_block_is_right_in_every_block() {
    let world = World::new(GenesisSpec { tempo: 7, ..GenesisSpec::default() });
    let mut announced = next_epoch(&world, 1).unwrap();
    for _ in 0..40 {
        let block = u64::from(world.seal().number());
        let fired = world.read(|| LastEpochBlock::<Runtime>::get(1)) == block;
        assert_eq!(fired, block == announced, "block {block}");
        announced = next_epoch(&world, 1).unwrap();
        assert!(announced > block);
    }
}

#[test]
fn no_tempo_means_no_epochs() {
    let world = World::new(GenesisSpec { tempo: 0, ..GenesisSpec::default() });
    assert_eq!(next_epoch(&world, 1), None);
    assert_eq!(epochs_until(&world, 1, 30), [] as [u32; 0]);
    assert_eq!(next_epoch(&world, 9), None, "no such subnet");
}

#[test]
fn epochs_over_the_cap_wait_one_block_and_say_so() {
    let netuids = vec![1, 2, 300, 4];
    let world = World::new(GenesisSpec { tempo: 5, netuids, ..GenesisSpec::default() });
    world.seal_until(5);
    let deferred = |netuid| Event::EpochDeferred { netuid, from_block: 5, to_block: 6 };
    assert_eq!(world.subtensor_events(), [deferred(4), deferred(300)]);
    let fired_at = || world.read(|| [1, 2, 4, 300].map(LastEpochBlock::<Runtime>::get));
    assert_eq!(fired_at(), [5, 5, 0, 0]);
    assert_eq!(world.read(|| PendingEpochAt::<Runtime>::get(4)), 6);
    assert_eq!(next_epoch(&world, 4), Some(6));
    world.seal();
    assert_eq!(fired_at(), [5, 5, 6, 6]);
    assert_eq!(world.read(|| PendingEpochAt::<Runtime>::get(4)), 0);
    assert_eq!(world.subtensor_events(), []);
    // From now on they are out of step and nobody waits.
    world.seal_until(11);
    assert_eq!(fired_at(), [10, 10, 11, 11]);
    assert_eq!(world.subtensor_events(), []);
}

#[test]
fn one_slot_per_block_lets_all_fire_one_after_the_other() {
    let netuids = vec![1, 2, 3];
    let spec = GenesisSpec { tempo: 5, netuids, max_epochs_per_block: 1, ..GenesisSpec::default() };
    let world = World::new(spec);
    world.seal_until(7);
    let fired = world.read(|| [1, 2, 3].map(LastEpochBlock::<Runtime>::get));
    assert_eq!(fired, [5, 6, 7]);
}

#[test]
fn the_owner_triggers_an_epoch_ahead_of_time() {
    let world = World::new(GenesisSpec { tempo: 100, ..GenesisSpec::default() });
    let owner = world.keys.coldkey(Role::Owner, 0);
    world.seal();
    let trigger = || RuntimeCall::SubtensorModule(subtensor::Call::trigger_epoch { netuid: 1 });
    world.send(&owner, trigger()).unwrap();
    world.seal();
    let event = Event::EpochTriggered { netuid: 1, by: owner.account(), fires_at: 12 };
    assert_eq!(world.subtensor_events(), [event]);
    assert_eq!(next_epoch(&world, 1), Some(12));
    world.send(&owner, trigger()).unwrap();
    world.seal();
    let expected: DispatchError = Error::<Runtime>::EpochTriggerAlreadyPending.into();
    assert_eq!(world.failures(), [expected]);
    assert_eq!(epochs_until(&world, 1, 120), [12, 112]);
}

#[test]
fn a_new_tempo_restarts_the_cycle() {
    let world = World::new(GenesisSpec { tempo: 100, ..GenesisSpec::default() });
    let owner = world.keys.coldkey(Role::Owner, 0);
    let set = |tempo| RuntimeCall::SubtensorModule(subtensor::Call::set_tempo { netuid: 1, tempo });
    world.seal_until(4);
    world.send(&owner, set(10)).unwrap();
    world.seal();
    assert_eq!(world.subtensor_events(), [Event::TempoSet(1, 10)]);
    assert_eq!(next_epoch(&world, 1), Some(15));
    assert_eq!(epochs_until(&world, 1, 30), [15, 25]);

    let alice = world.keys.derive(&["Alice"]);
    world.send(&alice, set(20)).unwrap();
    world.send(&owner, set(1)).unwrap();
    world.seal();
    let expected: [DispatchError; 2] =
        [Error::<Runtime>::NotSubnetOwner.into(), Error::<Runtime>::TempoOutOfBounds.into()];
    assert_eq!(world.failures(), expected);
}

#[test]
fn contradicting_records_skip_the_epoch_but_not_the_clock() {
    let world = World::new(GenesisSpec { tempo: 10, ..GenesisSpec::default() });
    world.read(|| {
        use frame_support::traits::Hooks;
        let stranger = world.miner(9).account();
        Keys::<Runtime>::insert(1, 1, stranger);
        System::set_block_number(10);
        Pallet::<Runtime>::on_initialize(10);
        assert_eq!(LastEpochBlock::<Runtime>::get(1), 10);
        let events: Vec<_> = System::events().into_iter().map(|record| record.event).collect();
        assert_eq!(events, [Event::EpochSkipped { netuid: 1, block: 10 }.into()]);
        assert_eq!(StakeWeight::<Runtime>::get(1), vec![0; 5], "nothing was written");
    });
}

#[test]
fn permits_go_to_the_highest_stakes_at_each_epoch() {
    let spec = GenesisSpec {
        validator_stakes: vec![10 * TAO, 30 * TAO, 20 * TAO, 5 * TAO],
        max_allowed_validators: 2,
        stake_threshold: 10 * TAO,
        tempo: 5,
        ..GenesisSpec::default()
    };
    let world = World::new(spec);
    let permits = || world.read(|| ValidatorPermit::<Runtime>::get(1));
    let configured = [true, true, true, true, false, false, false, false];
    assert_eq!(permits(), configured, "as configured until the first epoch");
    world.seal_until(5);
    assert_eq!(permits(), [false, true, true, false, false, false, false, false]);
    // 5 TAO are below the threshold and count for nothing: 10, 30, 20 of 60.
    let share = |tao: u32| u16::try_from(65_535 * tao / 60).unwrap();
    let weights = world.read(|| StakeWeight::<Runtime>::get(1));
    assert_eq!(weights[..4], [share(10), share(30), share(20), 0]);
}

#[test]
fn the_owner_has_a_permit_without_stake_and_sets_weights() {
    let spec = GenesisSpec {
        owner_neuron: true,
        miners: 1,
        max_allowed_validators: 1,
        stake_threshold: TAO,
        tempo: 5,
        ..GenesisSpec::default()
    };
    let world = World::new(spec);
    world.seal_until(5);
    assert_eq!(world.read(|| ValidatorPermit::<Runtime>::get(1)), [true, false, true]);
    let owner = world.keys.hotkey(Role::Owner, 0);
    world.send(&owner, crate::world::set_weights(&[1], &[1])).unwrap();
    world.seal();
    assert_eq!(world.failures(), []);
}

#[test]
fn who_has_not_set_weights_for_long_is_inactive() {
    let world = World::new(GenesisSpec { tempo: 10, ..GenesisSpec::default() });
    world.seal_until(130);
    assert!(world.read(|| Active::<Runtime>::get(1)[0]), "13.889 tempos are 138 blocks");
    world.seal_until(140);
    assert!(!world.read(|| Active::<Runtime>::get(1)[0]));
    world.send(&world.validator(0), crate::world::set_weights(&[1], &[1])).unwrap();
    world.seal_until(150);
    let active = world.read(|| Active::<Runtime>::get(1));
    assert_eq!(active[..2], [true, false]);
}

#[test]
fn root_stake_counts_by_the_tao_weight() {
    let world = World::new(GenesisSpec::default());
    let validator = world.validator(0).account();
    world.read(|| {
        TotalHotkeyAlpha::<Runtime>::insert(&validator, 0, 1_000_000);
        // 0.0527 of a root stake of a million, rounded down.
        let weight = Pallet::<Runtime>::stake_weight(1, &validator);
        assert_eq!(weight, 1_000 * TAO + 52_676);
        // Unsigned origins set nothing.
        let refused = Pallet::<Runtime>::set_weights(RuntimeOrigin::none(), 1, vec![], vec![], 0);
        assert_eq!(refused, Err(DispatchError::BadOrigin));
    });
}
