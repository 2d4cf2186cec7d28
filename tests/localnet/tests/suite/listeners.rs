//! Several endpoints of one process, and what the pool and the lists of the JSON-RPC add to that.

use crate::process::Process;
use crate::world::{commit, raw, World};
use jsonrpsee::{
    core::{client::ClientT, params::BatchRequestBuilder},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use localnet::{
    chain::{SubmitError, TxStatus, TRANSACTIONS_MAX},
    sign::{sign, Terms},
    Config, GenesisSpec, Localnet,
};
use node_subtensor_runtime::{frame_system, RuntimeCall};
use serde_json::{json, Value};
use std::{
    fs,
    time::{Duration, Instant},
};

async fn client(url: &str) -> WsClient {
    WsClientBuilder::default().build(url).await.unwrap()
}

async fn best(client: &WsClient) -> Value {
    client.request::<Value, _>("chain_getHeader", rpc_params![]).await.unwrap()["number"].clone()
}

#[tokio::test]
async fn one_process_listens_on_several_ports_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready").to_str().unwrap().to_owned();
    let process = Process::start(&[
        "--listen",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
        "--fault",
        r#"{"listener":1,"lag_blocks":2}"#,
        "--block-time",
        "manual",
        "--ready-file",
        &ready,
    ]);
    let lines = fs::read_to_string(&ready).unwrap();
    let [first, second, control] = lines.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(first, process.url);
    let control = client(control.strip_prefix("control ").unwrap()).await;
    control.request::<Value, _>("dev_seal", rpc_params![5]).await.unwrap();
    assert_eq!(best(&client(first).await).await, "0x5");
    assert_eq!(best(&client(second).await).await, "0x3");
    let down = rpc_params![json!({ "down": true })];
    control.request::<Value, _>("dev_fault", down).await.unwrap();
    assert!(WsClientBuilder::default().build(first).await.is_err());
    assert_eq!(best(&control).await, "0x5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_delay_and_its_refused_requests_are_refused_alone() {
    let localnet = Localnet::start(Config::default()).await.unwrap();
    localnet.fault(json!({ "delay_ms": 100, "refuse": { "system_name": -32005 } })).unwrap();
    let client = client(&localnet.url()).await;
    let mut batch = BatchRequestBuilder::new();
    for method in ["system_chain", "system_name", "system_version"] {
        batch.insert(method, rpc_params![]).unwrap();
    }
    let started = Instant::now();
    let answers = client.batch_request::<Value>(batch).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    let codes: Vec<i32> =
        answers.into_iter().map(|answer| answer.map_or_else(|e| e.code(), |_| 0)).collect();
    assert_eq!(codes, [0, -32005, 0]);
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_are_given_for_a_list_of_heights() {
    let localnet = Localnet::start(Config::default()).await.unwrap();
    let client = client(&localnet.url()).await;
    client.request::<Value, _>("dev_seal", rpc_params![2]).await.unwrap();
    let list = rpc_params![json!([2, "0x1", 9])];
    let hashes: Value = client.request("chain_getBlockHash", list).await.unwrap();
    let hash = |number| json!(localnet.chain().block_hash(number));
    assert_eq!(hashes, json!([hash(2), hash(1), null]));
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_answered_does_not_hold_up_the_stop() {
    let localnet = Localnet::start(Config::default()).await.unwrap();
    localnet.fault(json!({ "silence_share": 1.0 })).unwrap();
    let client = client(&localnet.url()).await;
    let request = client.request::<Value, _>("system_health", rpc_params![]);
    let started = Instant::now();
    let (answer, ()) = tokio::join!(request, localnet.stop());
    assert!(answer.is_err());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_full_pool_drops_what_comes_and_takes_it_after_there_is_room() {
    let world = World::new(GenesisSpec::default());
    let alice = world.keys.derive(&["Alice"]);
    let remark = |nonce| {
        let call: RuntimeCall = frame_system::Call::remark { remark: vec![] }.into();
        sign(call, &alice.pair, world.chain.genesis_hash(), Terms::immortal(nonce))
    };
    // Nonce 0 is missing, so that no block takes them.
    for nonce in 1..=u32::try_from(TRANSACTIONS_MAX).unwrap() {
        world.chain.submit(remark(nonce)).unwrap();
    }
    let miner = world.miner(0);
    let bytes = world.signed(&miner, commit(vec![raw(b"x")]));
    assert_eq!(world.chain.submit(bytes.clone()), Err(SubmitError::ImmediatelyDropped));
    assert_eq!(world.chain.evict(None, &TxStatus::Dropped), TRANSACTIONS_MAX);
    world.chain.submit(bytes).unwrap();
}
