//! What an epoch makes of the weights: shares, permits, bonds and alpha. The numbers of consensus
//! itself are asserted beside it; here it is that they are read, stored and paid.

use crate::world::{register, set_weights, World};
use codec::{Decode, Encode};
use localnet::{keys::Role, GenesisSpec};
use node_subtensor_runtime::{
    metagraph::{Metagraph, NeuronInfoLite},
    subtensor::*,
    AccountId, Runtime, RuntimeCall, TAO,
};

/// Alpha of an epoch of ten blocks.
const EPOCH: u64 = 10 * TAO;
/// 18 %, in 65535ths.
const OWNER_CUT: u64 = EPOCH * 11_796 / 65_535;

/// Uids: two validators with 60 and 40 alpha, two miners.
fn spec() -> GenesisSpec {
    GenesisSpec {
        validator_stakes: vec![60 * TAO, 40 * TAO],
        miners: 2,
        tempo: 10,
        weights_set_rate_limit: 0,
        ..GenesisSpec::default()
    }
}

fn alpha(world: &World, hotkey: &AccountId) -> u64 {
    world.read(|| TotalHotkeyAlpha::<Runtime>::get(hotkey, 1))
}

#[track_caller]
fn assert_about(value: u64, expected: u64) {
    assert!(value.abs_diff(expected) <= 100, "{value} rao is not about {expected}");
}

#[test]
fn an_epoch_stores_what_the_majority_made_of_the_weights() {
    let world = World::new(spec());
    world.send(&world.validator(0), set_weights(&[2, 3], &[8, 2])).unwrap();
    world.send(&world.validator(1), set_weights(&[3], &[1])).unwrap();
    world.seal_until(10);
    // Incentives 48/68 and 20/68, dividends 60/68 and 8/68, all of 65535 and rounded down, but for
    // what is lost in storing weights as 65535ths of the highest.
    let near = |column: Vec<u16>, expected: [u16; 4]| {
        assert_eq!(column.len(), 4);
        for (value, expected) in column.iter().zip(expected) {
            assert!(value.abs_diff(expected) <= 1, "{column:?} is not about {expected:?}");
        }
    };
    world.read(|| {
        near(Incentive::<Runtime>::get(1), [0, 0, 46_260, 19_275]);
        near(Dividends::<Runtime>::get(1), [57_825, 7_710, 0, 0]);
        near(Consensus::<Runtime>::get(1), [0, 0, 52_428, 13_107]);
        near(ValidatorTrust::<Runtime>::get(1), [65_535, 13_107, 0, 0]);
        assert_eq!(StakeWeight::<Runtime>::get(1), [39_321, 26_214, 0, 0]);
        let bonds: Vec<u16> = Bonds::<Runtime>::get(1, 0).into_iter().map(|bond| bond.0).collect();
        assert_eq!(bonds, [2, 3]);
    });
    let lite = world.chain.call("NeuronInfoRuntimeApi_get_neurons_lite", &1_u16.encode(), None);
    let lite = Vec::<NeuronInfoLite>::decode(&mut &lite.unwrap()[..]).unwrap();
    near(lite.iter().map(|neuron| neuron.validator_trust.0).collect(), [65_535, 13_107, 0, 0]);
    near(lite.iter().map(|neuron| neuron.incentive.0).collect(), [0, 0, 46_260, 19_275]);
}

#[test]
fn the_owner_takes_its_cut_and_miners_and_validators_halve_the_rest() {
    let world = World::new(spec());
    let owner = world.keys.hotkey(Role::Owner, 0).account();
    world.send(&world.validator(0), set_weights(&[2, 3], &[3, 1])).unwrap();
    world.send(&world.validator(1), set_weights(&[2, 3], &[3, 1])).unwrap();
    world.seal_until(10);
    let half = (EPOCH - OWNER_CUT) / 2;
    assert_about(alpha(&world, &owner), OWNER_CUT);
    assert_about(alpha(&world, &world.miner(0).account()), half * 3 / 4);
    assert_about(alpha(&world, &world.miner(1).account()), half / 4);
    assert_about(alpha(&world, &world.validator(0).account()), 60 * TAO + half * 6 / 10);
    assert_about(alpha(&world, &world.validator(1).account()), 40 * TAO + half * 4 / 10);
    let emission = world.read(|| Emission::<Runtime>::get(1));
    assert_about(emission[2], half * 3 / 4);
    assert_about(emission.iter().sum(), EPOCH - OWNER_CUT);
    let first = world.validator(0).account();
    let paid = || world.read(|| AlphaDividendsPerSubnet::<Runtime>::get(1, &first));
    assert_about(paid(), half * 6 / 10);
    world.seal_until(20);
    // Both earn by their stake, so their shares stay, but for bonds being kept in 65535ths.
    assert!(paid().abs_diff(half * 6 / 10) < half / 65_535, "{}", paid());
    assert_about(alpha(&world, &owner), 2 * OWNER_CUT);
}

#[test]
fn without_weights_the_active_validators_are_paid_by_stake() {
    let world = World::new(spec());
    world.seal_until(9);
    let pending = |world: &World| {
        let answer = world.chain.call("SubnetInfoRuntimeApi_get_metagraph", &1_u16.encode(), None);
        let graph = Option::<Metagraph>::decode(&mut &answer.unwrap()[..]).unwrap().unwrap();
        (graph.pending_alpha_emission.0, graph.alpha_out_emission.0)
    };
    assert_eq!(pending(&world), (9 * TAO, TAO));
    world.seal();
    assert_eq!(pending(&world), (0, TAO));
    world.read(|| {
        assert_eq!(Incentive::<Runtime>::get(1), [0; 4]);
        assert_eq!(Dividends::<Runtime>::get(1), [0; 4]);
    });
    let all = EPOCH - OWNER_CUT;
    assert_about(alpha(&world, &world.validator(0).account()), 60 * TAO + all * 6 / 10);
    assert_about(alpha(&world, &world.validator(1).account()), 40 * TAO + all * 4 / 10);
    assert_eq!(alpha(&world, &world.miner(0).account()), 0);
}

#[test]
fn a_chain_without_emission_pays_nobody_and_still_agrees() {
    let world = World::new(GenesisSpec { emission_per_block: 0, ..spec() });
    world.send(&world.validator(0), set_weights(&[2], &[1])).unwrap();
    world.seal_until(20);
    assert_eq!(alpha(&world, &world.validator(0).account()), 60 * TAO);
    assert_eq!(world.read(|| Incentive::<Runtime>::get(1)), [0, 0, 65_535, 0]);
}

#[test]
fn what_the_owners_neuron_earns_as_a_miner_is_burned() {
    let world = World::new(GenesisSpec { owner_neuron: true, ..spec() });
    let owner = world.keys.hotkey(Role::Owner, 0).account();
    world.send(&world.validator(0), set_weights(&[2, 4], &[1, 1])).unwrap();
    world.seal_until(10);
    let half = (EPOCH - OWNER_CUT) / 2;
    assert_about(world.read(|| Emission::<Runtime>::get(1))[4], half / 2);
    assert_about(alpha(&world, &owner), OWNER_CUT);
    assert_about(alpha(&world, &world.miner(0).account()), half / 2);
}

#[test]
fn mechanisms_are_summed_by_their_split() {
    let world = World::new(GenesisSpec { mechanisms: 2, ..spec() });
    let split = vec![16_384_u16, 49_151];
    let key = MechanismEmissionSplit::<Runtime>::hashed_key_for(1);
    localnet_set(&world, vec![(key, split.encode())]);
    let on = |mecid, dests: Vec<u16>| {
        RuntimeCall::SubtensorModule(Call::set_mechanism_weights {
            netuid: 1,
            mecid,
            weights: vec![1; dests.len()],
            dests,
            version_key: 0,
        })
    };
    world.send(&world.validator(0), on(0, vec![2])).unwrap();
    world.send(&world.validator(0), on(1, vec![3])).unwrap();
    world.seal_until(10);
    world.read(|| {
        assert_eq!(Incentive::<Runtime>::get(1), [0, 0, 65_535, 0]);
        assert_eq!(Incentive::<Runtime>::get(4097), [0, 0, 0, 65_535]);
        assert_eq!(Bonds::<Runtime>::get(4097, 0), [(3, 65_535)]);
        // The parts of the split, rounded down.
        assert_eq!(Consensus::<Runtime>::get(1), [0, 0, 16_383, 49_150]);
    });
    let miners = (EPOCH - OWNER_CUT) / 2;
    assert_about(alpha(&world, &world.miner(0).account()), miners * 16_384 / 65_535);
    assert_about(alpha(&world, &world.miner(1).account()), miners * 49_151 / 65_535);
}

#[test]
fn bonds_go_with_the_permit() {
    let world = World::new(GenesisSpec { max_allowed_validators: 1, ..spec() });
    world.send(&world.validator(0), set_weights(&[2], &[1])).unwrap();
    world.send(&world.validator(1), set_weights(&[2], &[1])).unwrap();
    world.seal_until(10);
    world.read(|| {
        assert_eq!(ValidatorPermit::<Runtime>::get(1), [true, false, false, false]);
        // It took part with the permit it had, and holds nothing from now on.
        assert!(Dividends::<Runtime>::get(1)[1] > 0);
        assert_eq!(Bonds::<Runtime>::get(1, 1), []);
        assert_eq!(Bonds::<Runtime>::get(1, 0), [(2, 65_535)]);
    });
    world.seal_until(20);
    let dividends = world.read(|| Dividends::<Runtime>::get(1));
    assert_eq!(dividends, [65_535, 0, 0, 0]);
}

#[test]
fn a_newcomer_in_a_miners_seat_gets_neither_its_weights_nor_its_bonds() {
    let spec = GenesisSpec { max_allowed_uids: 4, immunity_period: 0, ..spec() };
    let world = World::new(spec);
    world.send(&world.validator(0), set_weights(&[2, 3], &[1, 2])).unwrap();
    world.send(&world.validator(1), set_weights(&[2, 3], &[1, 2])).unwrap();
    world.seal_until(12);
    let newcomer = world.miner(7).account();
    world.send(&world.keys.derive(&["Alice"]), register(newcomer.clone())).unwrap();
    world.seal();
    // Uid 2 earned least.
    assert_eq!(world.read(|| Uids::<Runtime>::get(1, &newcomer)), Some(2));
    world.seal_until(20);
    world.read(|| {
        assert_eq!(Incentive::<Runtime>::get(1), [0, 0, 0, 65_535]);
        let bonds: Vec<u16> = Bonds::<Runtime>::get(1, 0).into_iter().map(|bond| bond.0).collect();
        assert_eq!(bonds, [3], "no bond on the newcomer");
    });
    assert_eq!(alpha(&world, &newcomer), 0);
}

/// Changes storage with the next block.
fn localnet_set(world: &World, items: Vec<(Vec<u8>, Vec<u8>)>) {
    let set = node_subtensor_runtime::frame_system::Call::set_storage { items };
    let sudo = node_subtensor_runtime::pallet_sudo::Call::sudo { call: Box::new(set.into()) };
    world.send(&world.keys.derive(&["Alice"]), sudo.into()).unwrap();
    world.seal();
}
