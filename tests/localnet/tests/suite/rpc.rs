//! The JSON-RPC surface over a real socket: one port, WebSocket and HTTP.

use crate::world::{commit, raw};
use jsonrpsee::{
    core::client::{ClientT, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use localnet::{
    keys::{Keyring, Role},
    sign::{sign, Terms},
    ChainOptions, Config, GenesisSpec, Localnet,
};
use serde_json::{json, Value};
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(options: ChainOptions) -> (Localnet, WsClient) {
    let localnet = Localnet::start(Config { options, ..Config::default() }).await.unwrap();
    let client = WsClientBuilder::default().build(localnet.url()).await.unwrap();
    (localnet, client)
}

async fn call(client: &WsClient, method: &str, params: Value) -> Value {
    let Value::Array(params) = params else { panic!("parameters are a list") };
    let mut builder = jsonrpsee::core::params::ArrayParams::new();
    for param in params {
        builder.insert(param).unwrap();
    }
    client.request(method, builder).await.unwrap()
}

async fn next(subscription: &mut Subscription<Value>) -> Value {
    timeout(PATIENCE, subscription.next()).await.unwrap().unwrap().unwrap()
}

async fn heads(client: &WsClient, kind: &str) -> Subscription<Value> {
    let (subscribe, unsubscribe) =
        (format!("chain_subscribe{kind}"), format!("chain_unsubscribe{kind}"));
    client.subscribe(&subscribe, rpc_params![], &unsubscribe).await.unwrap()
}

/// The set that clients need; `rpc_methods` steers which way subxt goes.
const METHODS: &[&str] = &[
    "account_nextIndex",
    "author_pendingExtrinsics",
    "author_submitAndWatchExtrinsic",
    "author_submitExtrinsic",
    "author_unwatchExtrinsic",
    "chain_getBlock",
    "chain_getBlockHash",
    "chain_getFinalizedHead",
    "chain_getHead",
    "chain_getHeader",
    "chain_subscribeAllHeads",
    "chain_subscribeFinalizedHeads",
    "chain_subscribeNewHeads",
    "rpc_methods",
    "state_call",
    "state_getKeys",
    "state_getKeysPaged",
    "state_getMetadata",
    "state_getRuntimeVersion",
    "state_getStorage",
    "state_getStorageAt",
    "state_queryStorageAt",
    "state_subscribeRuntimeVersion",
    "state_subscribeStorage",
    "system_accountNextIndex",
    "system_chain",
    "system_chainType",
    "system_health",
    "system_name",
    "system_properties",
    "system_syncState",
    "system_version",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_methods_are_listed_and_no_newer_ones() {
    let (localnet, client) = start(ChainOptions::default()).await;
    let listed = call(&client, "rpc_methods", json!([])).await;
    let listed: Vec<&str> =
        listed["methods"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for method in METHODS {
        assert!(listed.contains(method), "{method}");
    }
    assert!(!listed.iter().any(|name| name.contains("_v1_")), "{listed:?}");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_and_storage_are_read_at_any_block_of_the_window() {
    let options = ChainOptions { state_window: 5, ..ChainOptions::default() };
    let (localnet, client) = start(options).await;
    let sealed = call(&client, "dev_seal", json!([8])).await;
    assert_eq!(sealed["number"], 8);

    let hash = |height: Value| call(&client, "chain_getBlockHash", json!([height]));
    let third = hash(json!(3)).await;
    assert_eq!(hash(json!("0x3")).await, third);
    assert_eq!(call(&client, "chain_getBlockHash", json!([])).await, sealed["hash"]);
    assert_eq!(call(&client, "chain_getHead", json!([])).await, sealed["hash"]);
    assert_eq!(hash(json!(99)).await, Value::Null);
    let header = call(&client, "chain_getHeader", json!([third])).await;
    assert_eq!(header["number"], "0x3");
    let block = call(&client, "chain_getBlock", json!([third])).await;
    assert_eq!(block["block"]["header"], header);
    assert_eq!(block["block"]["extrinsics"].as_array().unwrap().len(), 1);

    // System.Number tells which state is read.
    let number_key = "0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac";
    let number_at = |at: Value| call(&client, "state_getStorage", json!([number_key, at]));
    assert_eq!(number_at(third.clone()).await, "0x03000000");
    assert_eq!(number_at(Value::Null).await, "0x08000000");
    let second = hash(json!(2)).await;
    let gone = client
        .request::<Value, _>("state_getStorage", rpc_params![number_key, second])
        .await
        .unwrap_err()
        .to_string();
    assert!(gone.contains("State already discarded"), "{gone}");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_in_pages_and_values_in_sets() {
    let (localnet, client) = start(ChainOptions::default()).await;
    // SubtensorModule.Keys of subnet 1: five neurons.
    let prefix = "0x658faa385070e074c85bf6b568cf05559f99a2ce711f3a31b2fc05604c93f1790100";
    let first = call(&client, "state_getKeysPaged", json!([prefix, 3])).await;
    let last = &first.as_array().unwrap()[2];
    let rest = call(&client, "state_getKeysPaged", json!([prefix, 3, last])).await;
    let all = call(&client, "state_getKeys", json!([prefix])).await;
    let joined: Vec<Value> =
        [first.as_array().unwrap().clone(), rest.as_array().unwrap().clone()].concat();
    assert_eq!((joined.len(), json!(joined)), (5, all.clone()));

    let set = call(&client, "state_queryStorageAt", json!([all])).await;
    let changes = set[0]["changes"].as_array().unwrap();
    let validator = Keyring::new().hotkey(Role::Validator, 0);
    assert_eq!(changes[0][1], format!("0x{}", hex::encode(validator.account())));

    let too_many = client
        .request::<Value, _>("state_getKeysPaged", rpc_params![prefix, 1001])
        .await
        .unwrap_err();
    assert!(too_many.to_string().contains("max: 1000"), "{too_many}");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_see_every_head_and_finality_behind_it() {
    let options = ChainOptions { finality_lag: 2, ..ChainOptions::default() };
    let (localnet, client) = start(options).await;
    let mut best = heads(&client, "NewHeads").await;
    let mut finalized = heads(&client, "FinalizedHeads").await;
    assert_eq!(next(&mut best).await["number"], "0x0");
    assert_eq!(next(&mut finalized).await["number"], "0x0");
    call(&client, "dev_seal", json!([4])).await;
    for number in 1..=4 {
        assert_eq!(next(&mut best).await["number"], format!("0x{number:x}"));
    }
    for number in 1..=2 {
        assert_eq!(next(&mut finalized).await["number"], format!("0x{number:x}"));
    }
    let head = call(&client, "chain_getFinalizedHead", json!([])).await;
    assert_eq!(call(&client, "chain_getHeader", json!([head])).await["number"], "0x2");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_transaction_and_a_watched_key_tell_their_story() {
    let (localnet, client) = start(ChainOptions::default()).await;
    let miner = Keyring::new().hotkey(Role::Miner, 0);
    let genesis = localnet.chain().genesis_hash();
    let bytes = sign(commit(vec![raw(b"x")]), &miner.pair, genesis, Terms::immortal(0));
    let hex = format!("0x{}", hex::encode(bytes));
    let key = {
        use node_subtensor_runtime::{commitments::LastCommitment, Runtime};
        let key = LastCommitment::<Runtime>::hashed_key_for(1, miner.account());
        format!("0x{}", hex::encode(key))
    };
    let mut value: Subscription<Value> = client
        .subscribe("state_subscribeStorage", rpc_params![[&key]], "state_unsubscribeStorage")
        .await
        .unwrap();
    assert_eq!(next(&mut value).await["changes"], json!([[key, null]]));
    let mut status: Subscription<Value> = client
        .subscribe("author_submitAndWatchExtrinsic", rpc_params![&hex], "author_unwatchExtrinsic")
        .await
        .unwrap();
    assert_eq!(next(&mut status).await, "ready");
    let pending = call(&client, "author_pendingExtrinsics", json!([])).await;
    assert_eq!(pending, json!([hex]));
    let address = sp_core::crypto::Ss58Codec::to_ss58check(&miner.account());
    for method in ["system_accountNextIndex", "account_nextIndex"] {
        assert_eq!(call(&client, method, json!([address])).await, 1);
    }
    let sealed = call(&client, "dev_seal", json!([])).await;
    assert_eq!(sealed["included"], 1);
    assert_eq!(next(&mut status).await, json!({ "inBlock": sealed["hash"] }));
    assert_eq!(next(&mut status).await, json!({ "finalized": sealed["hash"] }));
    let change = next(&mut value).await;
    assert_eq!(change["changes"], json!([[key, "0x01000000"]]));
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_runtime_call_is_an_error_and_the_chain_goes_on() {
    let (localnet, client) = start(ChainOptions::default()).await;
    let wrong = [
        ("NoSuchApi_at_all", "0x", "is not found"),
        ("AccountNonceApi_account_nonce", "0x01", "Execution failed"),
        ("Core_version", "0xzz", "not hex"),
    ];
    for (method, arguments, expected) in wrong {
        let error = client
            .request::<Value, _>("state_call", rpc_params![method, arguments])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{method}: {error}");
    }
    call(&client, "dev_seal", json!([])).await;
    assert_eq!(call(&client, "dev_verifyBlock", json!([])).await["number"], 1);
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_port_answers_http() {
    let (localnet, _client) = start(ChainOptions::default()).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"system_health","params":[]}"#;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(localnet.address()).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"isSyncing\":false"), "{answer}");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_block_time_is_what_clients_read_as_the_slot() {
    let genesis = GenesisSpec { slot_ms: 250, ..GenesisSpec::default() };
    let localnet = Localnet::start(Config { genesis, ..Config::default() }).await.unwrap();
    let bytes = localnet::chain::metadata(localnet.chain(), 16).unwrap();
    let metadata = subxt::metadata::Metadata::decode_from(&bytes).unwrap();
    let constant = metadata.pallet_by_name("Aura").unwrap();
    let constant = constant.constant_by_name("SlotDuration").unwrap();
    assert_eq!(constant.value(), 250_u64.to_le_bytes());
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_changed_over_json_rpc() {
    let (localnet, client) = start(ChainOptions::default()).await;
    // SubtensorModule.Tempo of subnet 1.
    let tempo = "0x658faa385070e074c85bf6b568cf05557641384bb339f3758acddfd7053d33170100";
    for (value, read) in [(json!("0x0700"), json!("0x0700")), (Value::Null, Value::Null)] {
        call(&client, "dev_setStorage", json!([[[tempo, value]]])).await;
        assert_eq!(call(&client, "dev_seal", json!([])).await["included"], 1);
        assert_eq!(call(&client, "state_getStorage", json!([tempo])).await, read);
    }
    localnet.stop().await;
}
