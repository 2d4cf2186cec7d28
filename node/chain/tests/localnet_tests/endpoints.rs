//! Endpoints that hang, lag, throttle or serve another chain, and the chain followed all the same.

use std::time::Duration;

use localnet::chain::Fate;
use localnet::{ChainOptions, Config};
use node_chain::{
    CallError, ChainClient, ChainConfig, ConnectError, Demotion, EndpointError, EndpointRole,
    EndpointState, GenesisCheck, Head,
};
use node_core::unit::BlockCount;
use node_core::view::ChainView;
use serde_json::json;
use tokio::sync::watch;

use crate::proxy::Proxy;
use crate::support::{neurons, soon, Chain};

/// Longer than any local chain is old: their time is what the tests say.
const NEVER_OLD: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A chain with two listeners.
async fn twice(options: ChainOptions) -> Chain {
    let also_listen = vec!["127.0.0.1:0".parse().unwrap()];
    let genesis = neurons(&[10], 2);
    Chain::start_with(Config { genesis, also_listen, options, ..Config::default() }).await
}

fn config(chain: &Chain) -> ChainConfig {
    ChainConfig {
        endpoints: chain.localnet.urls(),
        call_timeout: Duration::from_millis(500),
        silence_max: Duration::from_secs(2),
        compare_every: Duration::from_millis(100),
        head_age_max: NEVER_OLD,
        ..chain.config()
    }
}

/// For tests in which nothing but the fault may move the client.
fn not_compared(chain: &Chain) -> ChainConfig {
    ChainConfig { compare_every: Duration::from_secs(3600), ..config(chain) }
}

async fn until(client: &ChainClient, what: &str, meant: impl Fn(&[EndpointState]) -> bool) {
    soon(what, async {
        while !meant(&client.endpoints()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn is_active(states: &[EndpointState], at: usize) -> bool {
    states[at].role == EndpointRole::Active
}

/// Blocks go on while the first endpoint has this fault, and are seen through the second one.
async fn goes_on_despite(fault: serde_json::Value) -> Vec<EndpointState> {
    let chain = twice(ChainOptions::default()).await;
    let client = ChainClient::connect(not_compared(&chain)).await.unwrap();
    let mut heads = client.follow();
    let first = chain.seal(1).await;
    while soon("the first block", heads.next_finalized()).await != Some(first) {}
    assert!(is_active(&client.endpoints(), 0));
    chain.localnet.fault(fault).unwrap();
    let second = chain.seal(1).await;
    while soon("the block behind the fault", heads.next_finalized()).await != Some(second) {}
    assert_eq!(heads.state().endpoint_index, Some(1));
    assert!(heads.state().disconnects >= 1);
    client.view_at(second.hash).await.unwrap();
    client.endpoints()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_09_a_hanging_endpoint_costs_a_deadline_and_the_next_one_serves() {
    let states = goes_on_despite(json!({ "listener": 0, "silent": true })).await;
    assert_eq!((states[0].role, states[1].role), (EndpointRole::Standby, EndpointRole::Active));
    assert!(states[0].failures >= 1 && !states[0].is_connected, "{states:?}");
    assert!(states[0].last_error.as_deref().unwrap().contains("within 500 ms"), "{states:?}");
    assert!(states[1].is_connected && states[1].latency.is_some(), "{states:?}");
}

/// Blocks keep coming over the subscription; only what is asked gets no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_takes_requests_and_reads_none_is_torn_down() {
    let chain = twice(ChainOptions::default()).await;
    let client = ChainClient::connect(not_compared(&chain)).await.unwrap();
    let mut heads = client.follow();
    let first = chain.seal(1).await;
    while soon("the first block", heads.next_finalized()).await != Some(first) {}
    chain.localnet.fault(json!({ "listener": 0, "deaf": true })).unwrap();
    let error = soon("the deadline", client.finalized_head()).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
    soon("the other endpoint", client.view_at(first.hash)).await.unwrap();
    let second = chain.seal(1).await;
    while soon("the second block", heads.next_finalized()).await != Some(second) {}
    until(&client, "the tearing down", |states| !states[0].is_connected).await;
    soon("the followers' move", async {
        while heads.state().endpoint_index != Some(1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_and_sees_no_new_block_is_left() {
    let states = goes_on_despite(json!({ "listener": 0, "frozen": true })).await;
    let reason = states[0].last_error.as_deref().unwrap();
    assert!(reason.contains("sent no newer head"), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_goes_down_is_left_at_once() {
    let states = goes_on_despite(json!({ "listener": 0, "down": true })).await;
    assert!(states[0].failures >= 1, "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_is_made_again() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let client = ChainClient::connect(not_compared(&chain)).await.unwrap();
    let mut heads = client.follow();
    let mut last = chain.seal(1).await;
    for _ in 0..3 {
        while soon("a block", heads.next_finalized()).await != Some(last) {}
        chain.localnet.fault(json!({ "close": true })).unwrap();
        last = chain.seal(1).await;
    }
    while soon("the last block", heads.next_finalized()).await != Some(last) {}
    assert!(heads.state().disconnects >= 3, "{:?}", heads.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_09_an_endpoint_of_another_chain_is_refused_for_good() {
    let ours = Chain::start(neurons(&[10], 2)).await;
    let other = Chain::start(neurons(&[11], 2)).await;
    let others = Proxy::to(other.localnet.address()).await;
    let endpoints = vec![ours.localnet.url(), others.url()];
    let client = ChainClient::connect(ChainConfig { endpoints, ..config(&ours) }).await.unwrap();
    let wrong = GenesisCheck::Wrong(other.genesis());
    let mut heads = client.follow();
    until(&client, "the comparison", |states| states[1].genesis == wrong).await;
    assert_eq!(client.endpoints()[0].genesis, GenesisCheck::Right);
    assert_eq!(others.connections(), 1);

    ours.localnet.fault(json!({ "down": true })).unwrap();
    let error = soon("the failure", async {
        loop {
            match client.finalized_head().await {
                Err(CallError::NoEndpoint(error)) => return error,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let ConnectError::AllFailed(failures) = error else { panic!("{error}") };
    let is_wrong = |error: &EndpointError| matches!(error, EndpointError::WrongGenesis { .. });
    assert!(failures.iter().any(|failure| is_wrong(&failure.error)), "{failures:?}");
    ours.localnet.fault(json!({ "down": false })).unwrap();
    let sealed = ours.seal(1).await;
    while soon("our chain again", heads.next_finalized()).await != Some(sealed) {}
    assert_eq!(others.connections(), 1, "it was asked once and never again");
    assert_eq!(client.endpoints()[1].genesis, wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_endpoint_is_left_alone_while_the_next_one_serves() {
    let chain = twice(ChainOptions::default()).await;
    let client = ChainClient::connect(config(&chain)).await.unwrap();
    let head = chain.seal(1).await;
    chain.localnet.fault(json!({ "listener": 0, "refuse": { "state_call": -32_005 } })).unwrap();
    let error = client.view_at(head.hash).await.unwrap_err();
    assert!(format!("{error:?}").contains("Throttled"), "{error:?}");
    client.view_at(head.hash).await.unwrap();
    let states = client.endpoints();
    assert!(is_active(&states, 1) && !states[0].is_connected, "{states:?}");
    assert!(states[0].backed_off_for.unwrap() > Duration::from_secs(1), "{states:?}");
    assert!(states[0].last_error.as_deref().unwrap().contains("-32005"), "{states:?}");
}

/// Public nodes limit calls into the runtime before anything else.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_limits_only_runtime_calls_is_read_by_storage_and_not_left() {
    let chain = twice(ChainOptions::default()).await;
    let client = ChainClient::connect(not_compared(&chain)).await.unwrap();
    let head = chain.seal(1).await;
    let before = client.view_at(head.hash).await.unwrap();
    chain.localnet.fault(json!({ "listener": 0, "refuse": { "state_call": -32_005 } })).unwrap();
    for without_metagraph in 1..=2 {
        let head = chain.seal(1).await;
        let view = client.view_at(head.hash).await.unwrap();
        let uids = |view: &ChainView| -> Vec<_> {
            view.neurons.iter().map(|neuron| (neuron.uid, neuron.hotkey)).collect()
        };
        assert_eq!((view.number, uids(&view)), (head.number, uids(&before)));
        assert_eq!(view.spec_version, before.spec_version);
        assert_eq!(client.read_counts().without_metagraph, without_metagraph);
    }
    let states = client.endpoints();
    assert!(is_active(&states, 0) && states[0].is_connected, "{states:?}");
    assert_eq!(states[0].backed_off_for, None, "{states:?}");
    assert!(states[0].last_error.as_deref().unwrap().contains("-32005"), "{states:?}");

    chain
        .localnet
        .fault(json!({ "listener": 0, "refuse": { "state_queryStorageAt": -32_005 } }))
        .unwrap();
    let head = chain.seal(1).await;
    client.view_at(head.hash).await.unwrap_err();
    client.view_at(head.hash).await.unwrap();
    assert!(is_active(&client.endpoints(), 1), "it limits all else as well");
}

/// A node that starts while its only endpoint turns it away waits, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_429_at_the_start_is_waited_out() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    chain.localnet.fault(json!({ "handshake_status": 429 })).unwrap();
    let error = ChainClient::connect(config(&chain)).await.unwrap_err();
    assert!(!error.is_for_good(), "{error}");
    let ConnectError::AllFailed(failures) = error else { panic!("{error}") };
    assert!(matches!(failures[0].error, EndpointError::Throttled(_)), "{failures:?}");

    let (states, mut seen) = watch::channel(Vec::new());
    let connecting = ChainClient::connect_patiently(config(&chain), &states);
    let clearing = async {
        let throttled = |states: &Vec<EndpointState>| {
            states.first().is_some_and(|state| state.backed_off_for.is_some())
        };
        let first = seen.wait_for(throttled).await.unwrap()[0].clone();
        assert_eq!(first.genesis, GenesisCheck::Unknown);
        assert!(first.last_error.unwrap().contains("429"));
        chain.localnet.fault(json!({ "handshake_status": null })).unwrap();
    };
    let both = async { tokio::join!(connecting, clearing) };
    let (client, ()) = soon("the connection", both).await;
    assert_eq!(client.unwrap().genesis(), chain.genesis());
    assert_eq!(seen.borrow()[0].genesis, GenesisCheck::Right);
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_patiently_ends_where_no_patience_helps() {
    let ours = Chain::start(neurons(&[10], 1)).await;
    let other = Chain::start(neurons(&[11], 1)).await;
    let wrong = ChainConfig { expected_genesis: Some(ours.genesis()), ..config(&other) };
    let insecure = ChainConfig { endpoints: vec!["ws://192.0.2.1:9".to_owned()], ..config(&ours) };
    let states = watch::Sender::new(Vec::new());
    for config in [wrong, insecure] {
        let connecting = ChainClient::connect_patiently(config, &states);
        let error = soon("the refusal", connecting).await.unwrap_err();
        assert!(error.is_for_good(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_endpoint_is_left_and_gone_back_to_when_it_caught_up() {
    let chain = twice(ChainOptions::default()).await;
    chain.seal(20).await;
    let client = ChainClient::connect(config(&chain)).await.unwrap();
    let mut heads = client.follow();
    assert!(is_active(&client.endpoints(), 0));
    chain.localnet.fault(json!({ "listener": 0, "lag_blocks": 5 })).unwrap();
    until(&client, "a lag of five blocks", |states| states[0].lag == Some(BlockCount(5))).await;
    assert!(is_active(&client.endpoints(), 0), "that much is allowed");
    chain.localnet.fault(json!({ "listener": 0, "lag_blocks": 6 })).unwrap();
    until(&client, "the other endpoint", |states| is_active(states, 1)).await;
    let behind = Demotion::Lagging { blocks: BlockCount(6) };
    assert_eq!(client.endpoints()[0].demotion, Some(behind));
    let sealed = chain.seal(1).await;
    while soon("a block through the other one", heads.next_finalized()).await != Some(sealed) {}
    assert_eq!(heads.state().endpoint_index, Some(1));

    chain.localnet.fault(json!({ "listener": 0, "clear": true })).unwrap();
    until(&client, "the preferred endpoint again", |states| is_active(states, 0)).await;
    let sealed = chain.seal(1).await;
    while soon("a block through it", heads.next_finalized()).await != Some(sealed) {}
    assert_eq!(heads.state().endpoint_index, Some(0));
    assert_eq!(heads.state().disconnects, 0, "nothing was lost on the way");
}

/// Two nodes of one chain and of one height, of which the first one's blocks are old.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_newest_block_is_old_is_left() {
    let old = Chain::start(neurons(&[10], 1)).await;
    let fresh = Chain::start(neurons(&[10], 1)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_ms = u64::try_from(now.as_millis()).unwrap();
    old.localnet.chain().seal(now_ms - 600_000).unwrap();
    fresh.localnet.chain().seal(now_ms).unwrap();
    let config = ChainConfig {
        endpoints: vec![old.localnet.url(), fresh.localnet.url()],
        head_age_max: Duration::from_secs(300),
        ..config(&old)
    };
    let client = ChainClient::connect(config).await.unwrap();
    until(&client, "the fresh endpoint", |states| is_active(states, 1)).await;
    let demotion = client.endpoints()[0].demotion;
    assert!(matches!(demotion, Some(Demotion::Stale { .. })), "{demotion:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_is_seen_in_best_blocks_and_never_in_finalized_ones() {
    let options = ChainOptions { finality_lag: 5, ..ChainOptions::default() };
    let chain = twice(options).await;
    let client = ChainClient::connect(not_compared(&chain)).await.unwrap();
    chain.seal(8).await;
    let mut heads = client.follow();
    let before = chain.best();
    let finalized = chain.head();
    assert_eq!(before.number.0, finalized.number.0 + 5);
    soon("the best block", async { while heads.next().await != Some(Head::Best(before)) {} }).await;
    let inner = chain.localnet.chain().clone();
    tokio::task::spawn_blocking(move || inner.reorg(2, Fate::Return).unwrap()).await.unwrap();
    let after = chain.best();
    assert_eq!(after.number.0, before.number.0 + 1);
    let mut highest = finalized.number;
    soon("the new branch", async {
        loop {
            match heads.next().await.unwrap() {
                Head::Best(block) if block == after => return,
                Head::Best(block) => assert!(block.number > highest),
                Head::Finalized(block) => {
                    assert!(block.number >= highest);
                    highest = block.number;
                }
            }
        }
    })
    .await;
    assert_ne!(client.block_hash(before.number).await.unwrap(), Some(before.hash));
    assert_eq!(heads.state().disconnects, 0);
}
