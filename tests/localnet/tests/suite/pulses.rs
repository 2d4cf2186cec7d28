//! The local beacon's pulses in the blocks, and neurons that change, over JSON-RPC and by helpers.

use crate::world::{set_weights, World};
use localnet::{
    admin::{alter, neurons, register},
    chain::{Fate, PulseFaults},
    journal::Journal,
    keys::Keyring,
    rpc, Chain, ChainOptions, GenesisSpec,
};
use node_subtensor_runtime::{
    drand::{beacon, BeaconConfig, LastStoredRound, Pulses},
    subtensor::{
        Axons, BlockAtRegistration, Keys, SealedWeights, SubnetworkN, Uids, ValidatorPermit,
        Weights, WeightsTlockPayload,
    },
    Runtime, RuntimeCall,
};
use serde_json::{json, Value};
use std::{collections::BTreeSet, sync::Arc};

fn spec() -> GenesisSpec {
    GenesisSpec { drand_period_s: 3, weights_set_rate_limit: 0, ..GenesisSpec::default() }
}

fn last_round(world: &World) -> u64 {
    world.read(LastStoredRound::<Runtime>::get)
}

fn stored(world: &World, round: u64) -> bool {
    world.read(|| Pulses::<Runtime>::contains_key(round))
}

#[test]
fn every_block_brings_the_rounds_published_by_its_time() {
    let world = World::new(spec());
    // Blocks come each second, rounds every third; round 1 is published at 0 s.
    for second in 1..=12 {
        let block = world.seal();
        assert_eq!(last_round(&world), 1 + second / 3, "at {second} s");
        assert_eq!(block.signed(), 0);
        world.chain.verify(block.hash).unwrap();
    }
    world.chain.seal(40_000).unwrap();
    assert_eq!(last_round(&world), 14);
    for round in 1..=14 {
        assert!(stored(&world, round), "{round}");
    }
    let config = world.read(BeaconConfig::<Runtime>::get);
    assert_eq!((config.period, config.genesis_time), (3, 0));
    assert_eq!(&config.public_key[..], &spec().beacon().unwrap().public_key()[..]);
}

#[test]
fn pulses_come_late_or_not_at_all_when_told_so() {
    let options = ChainOptions { pulse_lag: 2, ..ChainOptions::default() };
    let world = World::with_options(spec(), options);
    world.seal_until(12);
    assert_eq!(last_round(&world), 3, "two rounds late");
    let skip = BTreeSet::from([6]);
    world.chain.set_pulse_faults(PulseFaults { skip, ..PulseFaults::default() });
    world.seal_until(21);
    assert!(stored(&world, 5) && !stored(&world, 6) && stored(&world, 7));
    world.chain.set_pulse_faults(PulseFaults { stalled: true, ..PulseFaults::default() });
    let before = last_round(&world);
    world.seal_until(30);
    assert_eq!(last_round(&world), before);
    world.chain.set_pulse_faults(PulseFaults::default());
    world.seal();
    assert_eq!(last_round(&world), 11);
    assert!(stored(&world, before + 1), "what was missed comes at once");
}

#[test]
fn pulses_survive_reorganisation_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let journal = Journal::open(dir.path(), &spec()).unwrap();
        let options = ChainOptions { finality_lag: 6, ..ChainOptions::default() };
        let chain = Chain::from_journal(journal, options).unwrap();
        World { chain: Arc::new(chain), keys: Keyring::new() }
    };
    let world = open();
    world.seal_until(10);
    world.chain.reorg(5, Fate::Return).unwrap();
    let before = (world.chain.best().hash, last_round(&world));
    assert_eq!(before.1, 4);
    drop(world);
    let world = open();
    assert_eq!((world.chain.best().hash, last_round(&world)), before);
    world.seal_until(14);
    assert_eq!(last_round(&world), 5);
}

#[test]
fn sealed_weights_are_revealed_by_the_chains_own_pulses() {
    let world = World::new(GenesisSpec { commit_reveal: true, tempo: 10, ..spec() });
    world.seal();
    let validator = world.validator(0);
    let payload = WeightsTlockPayload {
        hotkey: codec::Encode::encode(&validator.account()),
        uids: vec![1, 2],
        values: vec![1, 3],
        version_key: 0,
    };
    let key = spec().beacon().unwrap().public_key();
    // Committed in the epoch that ends with block 10; revealed from the next on, at 11 s at the
    // earliest, when round 4 is there.
    let sealed = beacon::seal(&key, 4, &codec::Encode::encode(&payload), [5; 32]).unwrap();
    let commit: SealedWeights = sealed.try_into().unwrap();
    let call = node_subtensor_runtime::subtensor::Call::commit_timelocked_weights {
        netuid: 1,
        commit,
        reveal_round: 4,
        commit_reveal_version: 4,
    };
    world.send(&validator, RuntimeCall::SubtensorModule(call)).unwrap();
    world.seal();
    assert_eq!(world.failures(), []);
    world.seal_until(12);
    assert_eq!(world.read(|| Weights::<Runtime>::get(1, 0)), [(1, 21_845), (2, 65_535)]);
}

fn alter_and_seal(world: &World, code: impl FnOnce()) {
    alter(&world.chain, &world.keys.derive(&["Alice"]), code).unwrap();
    let block = world.seal();
    world.chain.verify(block.hash).unwrap();
}

#[test]
fn a_uid_changes_hands_and_the_last_owner_is_out() {
    let world = World::new(GenesisSpec::default());
    world.seal_until(3);
    let (old, new) = (world.miner(1).account(), world.miner(77).account());
    alter_and_seal(&world, || neurons::replace(1, 2, &new, &old));
    world.read(|| {
        assert_eq!(Keys::<Runtime>::get(1, 2), new);
        assert_eq!(Uids::<Runtime>::get(1, &new), Some(2));
        assert_eq!(Uids::<Runtime>::get(1, &old), None);
        assert_eq!(Axons::<Runtime>::get(1, &old), None);
        assert_eq!(BlockAtRegistration::<Runtime>::get(1, 2), 4);
    });
}

#[test]
fn a_trimmed_subnet_is_renumbered_rows_included() {
    let world = World::new(spec());
    world.send(&world.validator(0), set_weights(&[1, 2, 4], &[1, 2, 4])).unwrap();
    world.seal();
    let before = world.read(|| Weights::<Runtime>::get(1, 0));
    alter_and_seal(&world, || neurons::trim(1, &[2, 3]));
    world.read(|| {
        assert_eq!(SubnetworkN::<Runtime>::get(1), 3);
        assert_eq!(Uids::<Runtime>::get(1, world.miner(3).account()), Some(2));
        assert_eq!(Uids::<Runtime>::get(1, world.miner(1).account()), None);
        assert_eq!(Weights::<Runtime>::get(1, 0), [(1, before[0].1), (2, before[2].1)]);
    });
    world.seal_until(25);
    assert_eq!(world.read(|| SubnetworkN::<Runtime>::get(1)), 3, "epochs go on");
}

#[test]
fn a_hotkey_is_registered_at_alices_expense() {
    let world = World::new(GenesisSpec::default());
    let hotkey = world.miner(50).account();
    register(&world.chain, &world.keys.derive(&["Alice"]), 1, hotkey.clone()).unwrap();
    world.seal();
    assert_eq!(world.read(|| Uids::<Runtime>::get(1, hotkey)), Some(5));
}

async fn dev(world: &World, method: &str, params: Value) -> Value {
    let module = rpc::module(world.chain.clone()).unwrap();
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let (answer, _) = module.raw_json_request(&request.to_string(), 1).await.unwrap();
    serde_json::from_str(answer.get()).unwrap()
}

#[tokio::test]
async fn the_same_is_done_over_json_rpc() {
    use sp_core::crypto::Ss58Codec;
    let world = World::new(spec());
    let faults = dev(&world, "dev_drand", json!([{ "skip": [2], "stalled": true }])).await;
    assert_eq!(faults["result"], json!({ "lag": 0, "skip": [2], "stalled": true }));
    let faults = dev(&world, "dev_drand", json!([{ "stalled": false }])).await;
    assert_eq!(faults["result"]["skip"], json!([2]));
    let wrong = dev(&world, "dev_drand", json!([{ "stale": false }])).await;
    assert_eq!(wrong["error"]["code"], -32602);

    let hotkey = world.miner(9).account();
    let address = hotkey.to_ss58check();
    dev(&world, "dev_replace", json!([1, 2, address])).await;
    dev(&world, "dev_setPermit", json!([1, 0, false])).await;
    dev(&world, "dev_setStake", json!([1, address, 5])).await;
    dev(&world, "dev_setCommitReveal", json!([1, true])).await;
    let sealed = dev(&world, "dev_seal", json!([])).await;
    // Handing the uid over sets some keys and removes others: two transactions.
    assert_eq!(sealed["result"]["included"], 5);
    assert_eq!(world.read(|| Uids::<Runtime>::get(1, &hotkey)), Some(2));
    assert!(!world.read(|| ValidatorPermit::<Runtime>::get(1)[0]));
}
