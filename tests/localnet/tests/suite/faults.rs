//! What goes wrong between the listeners and their clients.

use crate::world::{commit, raw};
use jsonrpsee::{
    core::client::{ClientT, Error, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use localnet::{
    keys::{Keyring, Role},
    sign::{sign, Terms},
    Config, Localnet,
};
use serde_json::{json, Value};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for an answer that is coming, short enough to wait for one that is not.
const A_MOMENT: Duration = Duration::from_millis(300);
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A chain with two endpoints and a way in that has no faults.
async fn start() -> (Localnet, [WsClient; 2], WsClient) {
    let config = Config { also_listen: vec![FREE], control: Some(FREE), ..Config::default() };
    let localnet = Localnet::start(config).await.unwrap();
    let urls = localnet.urls();
    let clients = [client(&urls[0]).await, client(&urls[1]).await];
    let control = client(&localnet.control_url().unwrap()).await;
    (localnet, clients, control)
}

async fn client(url: &str) -> WsClient {
    WsClientBuilder::default().request_timeout(PATIENCE).build(url).await.unwrap()
}

async fn ask(client: &WsClient, method: &str) -> Result<Value, Error> {
    client.request(method, rpc_params![]).await
}

async fn fault(control: &WsClient, change: Value) {
    control.request::<Value, _>("dev_fault", rpc_params![change]).await.unwrap();
}

async fn seal(control: &WsClient, blocks: u32) {
    control.request::<Value, _>("dev_seal", rpc_params![blocks]).await.unwrap();
}

async fn best(client: &WsClient) -> u64 {
    let header = ask(client, "chain_getHeader").await.unwrap();
    let number = header["number"].as_str().unwrap().strip_prefix("0x").unwrap().to_owned();
    u64::from_str_radix(&number, 16).unwrap()
}

async fn next(heads: &mut Subscription<Value>) -> Value {
    timeout(PATIENCE, heads.next()).await.unwrap().unwrap().unwrap()["number"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_is_one_per_round_trip_and_requests_do_not_wait_for_each_other() {
    let (localnet, [first, second], control) = start().await;
    let delay = Duration::from_millis(200);
    fault(&control, json!({ "listener": 0, "delay_ms": 200 })).await;
    let started = Instant::now();
    ask(&first, "system_health").await.unwrap();
    let one = started.elapsed();
    assert!(one >= delay, "{one:?}");

    let started = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    let first = std::sync::Arc::new(first);
    for _ in 0..100 {
        let first = first.clone();
        asked.spawn(async move { ask(&first, "state_getRuntimeVersion").await.unwrap() });
    }
    asked.join_all().await;
    let hundred = started.elapsed();
    // One after the other they would take twenty seconds.
    assert!(hundred >= delay && hundred < 20 * delay, "{hundred:?}");

    // Large answers are many pieces and still one delay.
    let started = Instant::now();
    ask(&first, "state_getMetadata").await.unwrap();
    let large = started.elapsed();
    assert!(large >= delay && large < 20 * delay, "{large:?}");

    let started = Instant::now();
    ask(&second, "system_health").await.unwrap();
    let other = started.elapsed();
    fault(&control, json!({ "clear": true })).await;
    assert!(other < one, "the other endpoint has no delay: {other:?}");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_endpoint_acts_and_a_deaf_one_does_not_until_it_is_over() {
    let (localnet, [first, _], control) = start().await;
    for (kind, acts) in [("silent", 1), ("deaf", 0)] {
        let before = best(&control).await;
        fault(&control, json!({ "listener": 0, kind: true })).await;
        let request = ask(&first, "dev_seal");
        tokio::pin!(request);
        assert!(timeout(A_MOMENT, &mut request).await.is_err(), "{kind} answers");
        if acts == 1 {
            localnet.reached(1).await;
        }
        assert_eq!(best(&control).await, before + acts, "{kind}");
        fault(&control, json!({ "listener": 0, kind: false })).await;
        timeout(PATIENCE, request).await.unwrap().unwrap();
        assert_eq!(best(&control).await, before + 1, "{kind}, afterwards");
    }
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_for_a_time_ends_by_itself() {
    let (localnet, [first, _], control) = start().await;
    fault(&control, json!({ "listener": 0, "silent": true, "for_ms": 200 })).await;
    ask(&first, "system_health").await.unwrap();
    let faults = ask(&control, "dev_faults").await.unwrap();
    assert_eq!(faults[0]["silent"], false);
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn some_requests_are_never_answered() {
    let (localnet, [first, _], control) = start().await;
    fault(&control, json!({ "listener": 0, "silence_share": 0.5 })).await;
    let mut answered = 0;
    for _ in 0..20 {
        let answer = timeout(A_MOMENT, ask(&first, "system_health")).await;
        answered += u32::from(answer.is_ok());
    }
    assert!((1..20).contains(&answered), "{answered} of 20");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_closed_in_mid_subscription_and_taken_again() {
    let (localnet, [first, second], control) = start().await;
    let subscribe = async |client: &WsClient| -> Subscription<Value> {
        client
            .subscribe("chain_subscribeNewHeads", rpc_params![], "chain_unsubscribeNewHeads")
            .await
            .unwrap()
    };
    let (mut broken, mut whole) = (subscribe(&first).await, subscribe(&second).await);
    assert_eq!((next(&mut broken).await, next(&mut whole).await), (json!("0x0"), json!("0x0")));
    fault(&control, json!({ "listener": 0, "close": true })).await;
    assert!(timeout(PATIENCE, broken.next()).await.unwrap().is_none(), "the end");
    seal(&control, 1).await;
    assert_eq!(next(&mut whole).await, "0x1");
    let url = &localnet.urls()[0];
    assert_eq!(best(&client(url).await).await, 1);

    fault(&control, json!({ "listener": 0, "down": true })).await;
    assert!(WsClientBuilder::default().build(url).await.is_err());
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_and_single_methods_are_refused_with_numbers() {
    let (localnet, [first, second], control) = start().await;
    let change = json!({
        "listener": 0, "handshake_status": 429, "refuse": { "state_call": -32005 },
    });
    fault(&control, change).await;
    let refused = WsClientBuilder::default().build(&localnet.urls()[0]).await.err().unwrap();
    assert!(format!("{refused:?}").contains("429"), "{refused:?}");
    let call = rpc_params!["Core_version", "0x"];
    let Err(Error::Call(error)) = first.request::<Value, _>("state_call", call.clone()).await
    else {
        panic!("not refused")
    };
    assert_eq!(error.code(), -32005);
    ask(&first, "state_getRuntimeVersion").await.unwrap();
    second.request::<Value, _>("state_call", call).await.unwrap();
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_method_holds_up_no_other() {
    let (localnet, [first, _], control) = start().await;
    fault(&control, json!({ "slow_ms": { "state_getMetadata": 3_600_000 } })).await;
    assert!(timeout(A_MOMENT, ask(&first, "state_getMetadata")).await.is_err());
    timeout(PATIENCE, ask(&first, "system_health")).await.unwrap().unwrap();
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_endpoint_is_consistent_with_where_the_chain_was() {
    let (localnet, [first, second], control) = start().await;
    seal(&control, 2).await;
    fault(&control, json!({ "listener": 0, "lag_blocks": 3 })).await;
    assert_eq!(best(&first).await, 0);
    seal(&control, 6).await;
    assert_eq!((best(&first).await, best(&second).await), (5, 8));
    // System.Number of the state without a block given.
    let number = "0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac";
    let storage = async |at: Value| {
        first.request::<Value, _>("state_getStorage", rpc_params![number, at]).await
    };
    assert_eq!(storage(Value::Null).await.unwrap(), "0x05000000");
    let hash = async |client: &WsClient, number: u32| {
        client.request::<Value, _>("chain_getBlockHash", rpc_params![number]).await.unwrap()
    };
    assert_eq!(hash(&first, 6).await, Value::Null);
    let sixth = hash(&second, 6).await;
    let error = storage(sixth).await.unwrap_err().to_string();
    assert!(error.contains("UnknownBlock"), "{error}");
    assert_eq!(hash(&first, 5).await, hash(&second, 5).await);
    let finalized = ask(&first, "chain_getFinalizedHead").await.unwrap();
    assert_eq!(finalized, hash(&second, 5).await);
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_endpoint_answers_and_sees_no_new_block() {
    let (localnet, [first, second], control) = start().await;
    let mut heads: Subscription<Value> = first
        .subscribe("chain_subscribeNewHeads", rpc_params![], "chain_unsubscribeNewHeads")
        .await
        .unwrap();
    assert_eq!(next(&mut heads).await, "0x0");
    fault(&control, json!({ "listener": 0, "frozen": true })).await;
    seal(&control, 3).await;
    assert_eq!((best(&first).await, best(&second).await), (0, 3));
    assert!(timeout(A_MOMENT, heads.next()).await.is_err());
    fault(&control, json!({ "listener": 0, "frozen": false })).await;
    for number in ["0x1", "0x2", "0x3"] {
        assert_eq!(next(&mut heads).await, number);
    }
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_loses_transactions_says_it_took_them() {
    let (localnet, [first, second], control) = start().await;
    fault(&control, json!({ "listener": 0, "lose_transactions": true })).await;
    let miner = Keyring::new().hotkey(Role::Miner, 0);
    let genesis = localnet.chain().genesis_hash();
    let bytes = sign(commit(vec![raw(b"x")]), &miner.pair, genesis, Terms::immortal(0));
    let hex = format!("0x{}", hex::encode(&bytes));
    let submit = async |client: &WsClient, hex: &str| {
        client.request::<Value, _>("author_submitExtrinsic", rpc_params![hex]).await
    };
    let taken = submit(&first, &hex).await.unwrap();
    assert_eq!(ask(&control, "author_pendingExtrinsics").await.unwrap(), json!([]));
    assert_eq!(submit(&second, &hex).await.unwrap(), taken);
    // It still tells right from wrong.
    let mut forged = bytes;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let forged = format!("0x{}", hex::encode(forged));
    assert!(submit(&first, &forged).await.is_err());
    localnet.stop().await;
}
