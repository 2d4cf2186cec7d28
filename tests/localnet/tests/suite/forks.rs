//! Reorganisations and finality.

use crate::world::{commit, raw, World};
use jsonrpsee::{
    core::client::{ClientT, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use localnet::{
    chain::{Fate, ReorgError, TxStatus, FINALITY_BLOCKS_MAX},
    journal::Journal,
    keys::Keyring,
    Chain, ChainOptions, Config, GenesisSpec, Localnet,
};
use node_subtensor_runtime::{commitments::LastCommitment, Runtime};
use serde_json::{json, Value};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn lagging(finality_lag: u32) -> ChainOptions {
    ChainOptions { finality_lag, ..ChainOptions::default() }
}

fn world(finality_lag: u32) -> World {
    World::with_options(GenesisSpec::default(), lagging(finality_lag))
}

#[test]
fn a_transaction_comes_back_and_lands_on_the_new_line() {
    let world = world(10);
    world.seal_until(3);
    let miner = world.miner(0);
    let mut watcher = world.watch(&miner, commit(vec![raw(b"a")]));
    let first = world.seal();
    world.seal();
    let reorg = world.chain.reorg(2, Fate::Return).unwrap();
    assert_eq!((reorg.fork.number(), reorg.line.len()), (3, 3));
    let best = world.chain.best();
    assert_eq!((best.number(), best.hash), (6, reorg.line[2].hash));
    let second = &reorg.line[0];
    assert_ne!(second.hash, first.hash);
    let said: Vec<TxStatus> = std::iter::from_fn(|| watcher.try_recv().ok()).collect();
    let expected = [
        TxStatus::Ready,
        TxStatus::InBlock(first.hash),
        TxStatus::Retracted(first.hash),
        TxStatus::Ready,
        TxStatus::InBlock(second.hash),
    ];
    assert_eq!(said, expected);
    let landed = world.read(|| LastCommitment::<Runtime>::get(1, miner.account()));
    assert_eq!(landed, Some(4));
    for block in &reorg.line {
        world.chain.verify(block.hash).unwrap();
    }
    world.seal_until(14);
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Finalized(second.hash));
}

#[test]
fn the_fate_of_transactions_can_be_chosen() {
    for (fate, pending) in [(Fate::Later, 1), (Fate::Lost, 0)] {
        let world = world(10);
        let miner = world.miner(0);
        let mut watcher = world.watch(&miner, commit(vec![raw(b"a")]));
        let first = world.seal();
        let reorg = world.chain.reorg(1, fate).unwrap();
        assert!(reorg.line.iter().all(|block| block.body.len() == 1), "the line is empty");
        assert_eq!(world.chain.pending().len(), pending, "{fate:?}");
        let said: Vec<TxStatus> = std::iter::from_fn(|| watcher.try_recv().ok()).skip(2).collect();
        let last = if pending == 1 { TxStatus::Ready } else { TxStatus::Dropped };
        assert_eq!(said, [TxStatus::Retracted(first.hash), last]);
        // Whatever happened to it, the same bytes are taken again.
        if fate == Fate::Lost {
            world.chain.submit(first.body[1].to_vec()).unwrap();
        }
        assert_eq!(world.seal().body.len(), 2);
    }
}

#[test]
fn final_blocks_are_never_given_up() {
    let world = world(2);
    world.seal_until(9);
    assert_eq!(world.chain.finalized().number(), 7);
    let final_hash = world.chain.finalized().hash;
    for depth in [0, 3, 99] {
        let error = world.chain.reorg(depth, Fate::Return).unwrap_err();
        assert!(matches!(error, ReorgError::Depth { unfinalized: 2, .. }), "{error}");
    }
    world.chain.reorg(2, Fate::Return).unwrap();
    assert_eq!(world.chain.block_hash(7), Some(final_hash));
}

#[test]
fn the_state_of_a_given_up_block_is_readable_until_its_height_is_final() {
    let world = world(6);
    world.seal_until(4);
    world.send(&world.miner(0), commit(vec![raw(b"a")])).unwrap();
    let given_up = world.seal();
    world.chain.reorg(1, Fate::Lost).unwrap();
    let key = LastCommitment::<Runtime>::hashed_key_for(1, world.miner(0).account());
    let at = |hash| world.chain.storage(&key, Some(hash));
    assert!(at(given_up.hash).unwrap().is_some());
    assert_eq!(at(world.chain.best().hash).unwrap(), None);
    world.seal_until(11);
    assert!(at(given_up.hash).is_err());
}

#[test]
fn states_stay_whole_through_many_reorganisations() {
    let options = ChainOptions {
        finality_lag: 4,
        state_window: 6,
        reorg_every: 5,
        reorg_depth: 3,
        ..lagging(4)
    };
    let world = World::with_options(GenesisSpec::default(), options);
    let miner = world.miner(0);
    let mut nodes = Vec::new();
    for round in 0..80_u32 {
        let text = [u8::try_from(round % 3).unwrap(); 60];
        // Of two with one nonce, one is in the pool again after a reorganisation.
        let _taken = world.send(&miner, commit(vec![raw(&text)]));
        let best = world.seal();
        for back in 0..=6.min(best.number()) {
            let hash = world.chain.block_hash(best.number() - back).unwrap();
            let keys = world.chain.keys_paged(&[], usize::MAX, None, Some(hash)).unwrap();
            for key in &keys {
                assert!(world.chain.storage(key, Some(hash)).unwrap().is_some());
            }
        }
        nodes.push(world.chain.trie_nodes());
    }
    let grown = nodes[79] - nodes[20];
    assert!(grown < 80 * 4, "{grown} nodes more");
    // One block more per reorganisation: at 5 first, and then after every fourth seal.
    assert_eq!(world.chain.best().number(), 99);
}

#[test]
fn finality_stalls_and_catches_up_and_its_lag_changes() {
    let world = world(1);
    world.seal_until(3);
    world.chain.stall_finality(true);
    let mut watcher = world.watch(&world.miner(0), commit(vec![raw(b"a")]));
    let block = world.seal();
    world.seal_until(23);
    assert_eq!(world.chain.finalized().number(), 2);
    world.chain.stall_finality(false);
    assert_eq!(world.chain.finalized().number(), 22);
    let said: Vec<TxStatus> = std::iter::from_fn(|| watcher.try_recv().ok()).skip(2).collect();
    assert_eq!(said, [TxStatus::Finalized(block.hash)]);
    world.chain.set_finality_lag(10);
    world.seal();
    assert_eq!(world.chain.finalized().number(), 22, "it does not go back");
    world.chain.set_finality_lag(0);
    assert_eq!(world.chain.finalized().number(), 24);
}

#[test]
fn a_watcher_does_not_wait_for_finality_for_ever() {
    let world = world(0);
    world.chain.stall_finality(true);
    let mut watcher = world.watch(&world.miner(0), commit(vec![raw(b"a")]));
    let block = world.seal();
    world.seal_until(FINALITY_BLOCKS_MAX + 1);
    let last = std::iter::from_fn(|| watcher.try_recv().ok()).last();
    assert_eq!(last, Some(TxStatus::FinalityTimeout(block.hash)));
}

#[test]
fn the_new_line_and_finality_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let journal = Journal::open(dir.path(), &GenesisSpec::default()).unwrap();
        let chain = Chain::from_journal(journal, lagging(3)).unwrap();
        World { chain: Arc::new(chain), keys: Keyring::new() }
    };
    let world = open();
    world.seal_until(5);
    world.chain.reorg(2, Fate::Return).unwrap();
    world.chain.reorg(1, Fate::Return).unwrap();
    let before = (world.chain.best().hash, world.chain.finalized().hash);
    drop(world);
    let world = open();
    assert_eq!((world.chain.best().hash, world.chain.finalized().hash), before);
    assert_eq!((world.chain.best().number(), world.chain.finalized().number()), (7, 4));
    assert_eq!(world.seal().number(), 8);
}

async fn subscribe(client: &WsClient, kind: &str) -> Subscription<Value> {
    let names = [format!("chain_subscribe{kind}"), format!("chain_unsubscribe{kind}")];
    client.subscribe(&names[0], rpc_params![], &names[1]).await.unwrap()
}

async fn next(heads: &mut Subscription<Value>) -> (String, String) {
    let head = timeout(PATIENCE, heads.next()).await.unwrap().unwrap().unwrap();
    let text = |name: &str| head[name].as_str().unwrap().to_owned();
    (text("number"), text("parentHash"))
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_see_a_reorganisation_as_on_the_real_chain() {
    let options = lagging(3);
    let localnet = Localnet::start(Config { options, ..Config::default() }).await.unwrap();
    let client = WsClientBuilder::default().build(localnet.url()).await.unwrap();
    let mut best = subscribe(&client, "NewHeads").await;
    let mut all = subscribe(&client, "AllHeads").await;
    let mut finalized = subscribe(&client, "FinalizedHeads").await;
    let dev = async |method: &str, params: Value| -> Value {
        let mut array = jsonrpsee::core::params::ArrayParams::new();
        for param in params.as_array().unwrap() {
            array.insert(param).unwrap();
        }
        client.request(method, array).await.unwrap()
    };
    dev("dev_seal", json!([4])).await;
    let reorg = dev("dev_reorg", json!([2])).await;
    dev("dev_seal", json!([])).await;
    assert_eq!(reorg["fork"]["number"], 2);

    let number = |n: u32| format!("0x{n:x}");
    for expected in [0, 1, 2, 3, 4] {
        assert_eq!(next(&mut best).await.0, number(expected));
        assert_eq!(next(&mut all).await.0, number(expected));
    }
    // The best head jumps to the new line; who follows all heads sees how it came to be.
    let line: Vec<&str> =
        reorg["line"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap()).collect();
    assert_eq!(next(&mut best).await, (number(5), line[1].to_owned()));
    assert_eq!(next(&mut best).await, (number(6), line[2].to_owned()));
    let fork = reorg["fork"]["hash"].as_str().unwrap();
    assert_eq!(next(&mut all).await, (number(3), fork.to_owned()));
    assert_eq!(next(&mut all).await, (number(4), line[0].to_owned()));
    assert_eq!(next(&mut all).await, (number(5), line[1].to_owned()));
    let mut last = String::new();
    for expected in [0, 1, 2, 3] {
        let (n, parent) = next(&mut finalized).await;
        assert_eq!(n, number(expected));
        last = parent;
    }
    assert_eq!(last, fork);

    let stalled = dev("dev_stallFinality", json!([true])).await;
    dev("dev_seal", json!([20])).await;
    assert_eq!(dev("dev_status", json!([])).await["finalized"], stalled);
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_directory_is_free_when_stop_returns() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = Some(dir.path().to_path_buf());
    for _ in 0..10 {
        let block_time = localnet::BlockTime::Every(Duration::from_millis(5));
        let config = Config { state_dir: state_dir.clone(), block_time, ..Config::default() };
        let localnet = Localnet::start(config).await.unwrap();
        let client = WsClientBuilder::default().build(localnet.url()).await.unwrap();
        let _heads = subscribe(&client, "NewHeads").await;
        let chain = localnet.chain().clone();
        localnet.stop().await;
        assert!(chain.seal(0).is_err(), "nothing is sealed after the stop");
    }
}
