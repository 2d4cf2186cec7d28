//! What a client learns in one runtime call.

use crate::world::{commit, raw, register, serve_axon, set_weights, World};
use codec::{Compact, Decode, DecodeAll, Encode};
use localnet::{keys::Role, GenesisSpec};
use node_subtensor_runtime::{
    commitments::Registration,
    metagraph::{
        DelegateInfo, DynamicInfo, HyperparamEntry, HyperparamValue, Metagraph, NeuronInfo,
        NeuronInfoLite, SelectiveMetagraph, StakeInfo, SubnetHyperparams, SubnetHyperparamsV2,
        SubnetInfov2, SubnetState,
    },
    subtensor::*,
    Runtime, TAO,
};

fn call<T: Decode>(world: &World, api: &str, method: &str, args: &impl Encode) -> T {
    let answer = world.chain.call(&format!("{api}_{method}"), &args.encode(), None).unwrap();
    T::decode_all(&mut &answer[..]).unwrap()
}

fn subnet<T: Decode>(world: &World, method: &str, args: &impl Encode) -> T {
    call(world, "SubnetInfoRuntimeApi", method, args)
}

fn two_validators() -> World {
    World::new(GenesisSpec {
        validator_stakes: vec![1_000 * TAO, 500 * TAO],
        miners: 3,
        tempo: 10,
        ..GenesisSpec::default()
    })
}

fn plain<T: Copy>(column: &[Compact<T>]) -> Vec<T> {
    column.iter().map(|value| value.0).collect()
}

#[test]
fn the_metagraph_has_every_neuron_and_says_which_block_it_is_of() {
    let world = two_validators();
    world.send(&world.miner(1), serve_axon(0x0102_0304, 8091, 4)).unwrap();
    world.send(&world.validator(0), set_weights(&[2, 3], &[1, 1])).unwrap();
    world.seal_until(7);
    let graph = subnet::<Option<Metagraph>>(&world, "get_metagraph", &1_u16).unwrap();
    assert_eq!((graph.netuid.0, graph.block.0, graph.tempo.0), (1, 7, 10));
    assert_eq!((graph.num_uids.0, graph.max_uids.0), (5, 256));
    let hotkeys: Vec<_> = [world.validator(0), world.validator(1)]
        .into_iter()
        .chain((0..3).map(|miner| world.miner(miner)))
        .map(|key| key.account())
        .collect();
    assert_eq!(graph.hotkeys, hotkeys);
    assert_eq!(graph.coldkeys[1], world.keys.coldkey(Role::Validator, 1).account());
    assert_eq!(graph.validator_permit, [true, true, false, false, false]);
    assert_eq!(plain(&graph.total_stake), [1_000 * TAO, 500 * TAO, 0, 0, 0]);
    assert_eq!(plain(&graph.last_update), [1, 0, 0, 0, 0]);
    assert_eq!((graph.axons[3].ip, graph.axons[3].port), (0x0102_0304, 8091));
    assert_eq!(graph.axons[2], AxonInfo::default());
    assert_eq!(graph.identities, vec![None; 5]);
    assert_eq!(graph.activity_cutoff.0, 138);
    let empty = [graph.rank, graph.trust, graph.pruning_score];
    assert_eq!(empty, [vec![], vec![], vec![]], "as on the real chain");
    assert_eq!(subnet::<Option<Metagraph>>(&world, "get_metagraph", &9_u16), None);
}

#[test]
fn a_selective_metagraph_has_the_columns_asked_for_and_no_other() {
    let world = two_validators();
    world.seal();
    let get = |columns: &[u16]| {
        subnet::<Option<SelectiveMetagraph>>(&world, "get_selective_metagraph", &(1_u16, columns))
    };
    let graph = get(&[52, 7, 72, 999]).unwrap();
    assert_eq!(graph.hotkeys.as_ref().map(Vec::len), Some(5));
    assert_eq!(graph.block, Some(Compact(1)));
    assert_eq!(graph.validators, Some(vec![Compact(0), Compact(1)]));
    // What was not asked for is one zero byte each.
    let nothing = get(&[]).unwrap().encode();
    assert_eq!(nothing.len(), 1 + 73);
    let (hotkeys, block, validators) = (1 + 5 * 32, 1, 1 + 2);
    assert_eq!(graph.encode().len(), nothing.len() + hotkeys + block + validators);
    let method = "get_selective_metagraph";
    let absent: Option<SelectiveMetagraph> = subnet(&world, method, &(2_u16, vec![7_u16]));
    assert_eq!(absent, None);
}

#[test]
fn every_column_is_the_same_whole_and_selected() {
    let world = two_validators();
    world.send(&world.validator(0), set_weights(&[2, 3], &[1, 2])).unwrap();
    world.seal_until(11);
    let whole = subnet::<Option<Metagraph>>(&world, "get_metagraph", &1_u16).unwrap().encode();
    let mut joined = Vec::new();
    for column in 0..72_u16 {
        let args = (1_u16, vec![column]);
        let answer: Option<SelectiveMetagraph> = subnet(&world, "get_selective_metagraph", &args);
        let answer = answer.unwrap().encode();
        if column == 0 {
            joined.push(answer[0]);
            continue;
        }
        // Before it and after it every other column is one zero byte.
        let at = usize::from(column);
        let tail = 73 - at;
        assert!(answer[1..at].iter().all(|byte| *byte == 0), "column {column}");
        assert_eq!(answer[at], 1, "column {column}");
        joined.extend_from_slice(&answer[at + 1..answer.len() - tail]);
    }
    assert_eq!(joined, whole);
}

#[test]
fn commitments_come_with_the_metagraph_byte_by_byte() {
    let world = two_validators();
    world.send(&world.miner(0), commit(vec![raw(b"a model")])).unwrap();
    world.seal();
    let args = (1_u16, vec![73_u16]);
    let graph: Option<SelectiveMetagraph> = subnet(&world, "get_selective_metagraph", &args);
    let commitments = graph.unwrap().commitments.unwrap();
    let [(hotkey, blob)] = &commitments[..] else { panic!("{commitments:?}") };
    assert_eq!(*hotkey, world.miner(0).account());
    let registration = Registration::decode_all(&mut &plain(blob)[..]).unwrap();
    assert_eq!((registration.block, registration.deposit), (1, 0));
    assert_eq!(registration.info.fields.to_vec(), [raw(b"a model")]);
}

#[test]
fn a_mechanism_answers_under_its_storage_index() {
    let world = World::new(GenesisSpec { mechanisms: 2, ..GenesisSpec::default() });
    let call = |mecid: u8| {
        subnet::<Option<SelectiveMetagraph>>(
            &world,
            "get_selective_mechagraph",
            &(1_u16, mecid, vec![59_u16]),
        )
    };
    world
        .send(
            &world.validator(0),
            node_subtensor_runtime::RuntimeCall::SubtensorModule(Call::set_mechanism_weights {
                netuid: 1,
                mecid: 1,
                dests: vec![1],
                weights: vec![1],
                version_key: 0,
            }),
        )
        .unwrap();
    world.seal();
    let (first, second) = (call(0).unwrap(), call(1).unwrap());
    assert_eq!((first.netuid.0, second.netuid.0), (1, 4097));
    assert_eq!(plain(&first.last_update.unwrap())[0], 0);
    assert_eq!(plain(&second.last_update.unwrap())[0], 1);
    assert_eq!(call(2), None);
    let all: Vec<Option<Metagraph>> = subnet(&world, "get_all_mechagraphs", &());
    let indices: Vec<u16> = all.into_iter().map(|graph| graph.unwrap().netuid.0).collect();
    assert_eq!(indices, [1, 4097]);
    let whole: Option<Metagraph> = subnet(&world, "get_mechagraph", &(1_u16, 1_u8));
    assert_eq!(whole.unwrap().netuid.0, 4097);
}

#[test]
fn the_three_forms_of_the_parameters_agree() {
    let world = World::new(GenesisSpec { weights_version_key: 7, ..GenesisSpec::default() });
    let first = subnet::<Option<SubnetHyperparams>>(&world, "get_subnet_hyperparams", &1_u16);
    let second = subnet::<Option<SubnetHyperparamsV2>>(&world, "get_subnet_hyperparams_v2", &1_u16);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(second.encode().starts_with(&first.encode()));
    assert_eq!((second.kappa.0, second.weights_version.0, second.yuma_version.0), (32_767, 7, 2));
    let third = subnet::<Option<Vec<HyperparamEntry>>>(&world, "get_subnet_hyperparams_v3", &1_u16);
    let third = third.unwrap();
    let value =
        |name: &str| third.iter().find(|entry| entry.name == name.as_bytes()).unwrap().value;
    assert_eq!(value("kappa"), HyperparamValue::U16(second.kappa));
    assert_eq!(value("weights_version"), HyperparamValue::U64(second.weights_version));
    assert_eq!(value("activity_cutoff"), HyperparamValue::U64(second.activity_cutoff));
    let info = subnet::<Option<SubnetInfov2>>(&world, "get_subnet_info_v2", &1_u16).unwrap();
    assert_eq!((info.tempo, info.subnetwork_n.0), (second.tempo, 5));
}

#[test]
fn neurons_carry_their_rows_and_what_the_metagraph_leaves_out() {
    let world = two_validators();
    world.send(&world.validator(0), set_weights(&[2, 3, 4], &[1, 3, 0])).unwrap();
    world.seal();
    let neurons: Vec<NeuronInfo> = call(&world, "NeuronInfoRuntimeApi", "get_neurons", &1_u16);
    assert_eq!(neurons.len(), 5);
    let row: Vec<(u16, u16)> = neurons[0].weights.iter().map(|(uid, w)| (uid.0, w.0)).collect();
    assert_eq!(row, [(2, 21_845), (3, 65_535)], "zeros are left out");
    assert_eq!(neurons[0].pruning_score.0, u16::MAX);
    let lite: Vec<NeuronInfoLite> =
        call(&world, "NeuronInfoRuntimeApi", "get_neurons_lite", &1_u16);
    let coldkey = world.keys.coldkey(Role::Validator, 0).account();
    assert_eq!(lite[0].stake, [(coldkey, Compact(1_000 * TAO))]);
    let one: Option<NeuronInfoLite> =
        call(&world, "NeuronInfoRuntimeApi", "get_neuron_lite", &(1_u16, 4_u16));
    assert_eq!(one.as_ref(), lite.last());
    let none: Option<NeuronInfo> =
        call(&world, "NeuronInfoRuntimeApi", "get_neuron", &(1_u16, 5_u16));
    assert_eq!(none, None);
    let nobody: Vec<NeuronInfoLite> =
        call(&world, "NeuronInfoRuntimeApi", "get_neurons_lite", &9_u16);
    assert_eq!(nobody, []);
}

#[test]
fn stakes_and_delegates_name_the_coldkeys_hotkeys() {
    let world = two_validators();
    world.seal();
    let coldkey = world.keys.coldkey(Role::Validator, 1).account();
    let hotkey = world.validator(1).account();
    let stakes: Vec<StakeInfo> =
        call(&world, "StakeInfoRuntimeApi", "get_stake_info_for_coldkey", &coldkey);
    let [stake] = &stakes[..] else { panic!("{stakes:?}") };
    assert_eq!((&stake.hotkey, stake.netuid.0), (&hotkey, 1));
    assert_eq!((stake.stake.0, stake.is_registered), (500 * TAO, true));
    let delegates: Vec<DelegateInfo> = call(&world, "DelegateInfoRuntimeApi", "get_delegates", &());
    assert_eq!(delegates.len(), 2);
    let delegate: Option<DelegateInfo> =
        call(&world, "DelegateInfoRuntimeApi", "get_delegate", &hotkey);
    let delegate = delegate.unwrap();
    assert_eq!((delegate.take.0, delegate.owner_ss58), (11_796, coldkey));
    assert_eq!(plain(&delegate.validator_permits), [1]);
}

#[test]
fn a_new_neuron_is_in_the_next_answer() {
    let world = two_validators();
    let newcomer = world.miner(7).account();
    world.send(&world.keys.derive(&["Alice"]), register(newcomer.clone())).unwrap();
    world.seal();
    let state = subnet::<Option<SubnetState>>(&world, "get_subnet_state", &1_u16).unwrap();
    assert_eq!(state.hotkeys.last(), Some(&newcomer));
    assert_eq!(plain(&state.block_at_registration), [0, 0, 0, 0, 0, 1]);
    assert_eq!(state.emission_history.len(), 1);
}

#[test]
fn the_price_called_for_is_that_of_the_pool() {
    let world = World::new(GenesisSpec { netuids: vec![1, 300, 4], ..GenesisSpec::default() });
    let price = |netuid: u16| call::<u64>(&world, "SwapRuntimeApi", "current_alpha_price", &netuid);
    let all: Vec<Option<DynamicInfo>> = subnet(&world, "get_all_dynamic_info", &());
    let all: Vec<DynamicInfo> = all.into_iter().flatten().collect();
    let netuids: Vec<u16> = all.iter().map(|info| info.netuid.0).collect();
    assert_eq!(netuids, [1, 4, 300]);
    for info in all {
        let by_pool = u128::from(info.tao_in.0) * u128::from(TAO) / u128::from(info.alpha_in.0);
        assert_eq!(u128::from(price(info.netuid.0)), by_pool);
    }
    assert_eq!(price(2), 0, "no such subnet");
    let symbol = world.read(|| TokenSymbol::<Runtime>::get(1));
    assert_eq!(String::from_utf8(symbol).unwrap(), "\u{1D70F}");
}
