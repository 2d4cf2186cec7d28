use std::time::Duration;

use node_chain::{CallError, ChainClient, ChainConfig, ConnectError, EndpointError};
use tokio::net::TcpListener;

use crate::proxy::Proxy;
use crate::support::{neurons, soon, Chain};

/// A port that nobody listens on.
async fn dead_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("ws://{}", listener.local_addr().unwrap())
}

async fn failures(config: ChainConfig) -> Vec<EndpointError> {
    match ChainClient::connect(config).await.unwrap_err() {
        ConnectError::AllFailed(failures) => {
            failures.into_iter().map(|failure| failure.error).collect()
        }
        ConnectError::NoneConfigured => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_is_refused() {
    let ours = Chain::start(neurons(&[10], 1)).await;
    let other = Chain::start(neurons(&[11], 1)).await;
    assert_ne!(ours.genesis(), other.genesis());
    let config = ChainConfig { expected_genesis: Some(ours.genesis()), ..other.config() };
    let found = failures(config.clone()).await;
    let [EndpointError::WrongGenesis { expected, got }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((*expected, *got), (ours.genesis(), other.genesis()));

    // With the right one behind it, that one is used.
    let endpoints = vec![other.localnet.url(), ours.localnet.url()];
    let client = ChainClient::connect(ChainConfig { endpoints, ..config }).await.unwrap();
    assert_eq!(client.genesis(), ours.genesis());
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_tried_in_order_and_each_failure_is_named() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let dead = dead_endpoint().await;
    let endpoints = vec![dead.clone(), chain.localnet.url()];
    ChainClient::connect(ChainConfig { endpoints, ..chain.config() }).await.unwrap();

    let endpoints = vec![dead.clone(), "ws://192.0.2.1:9".to_owned(), "nonsense".to_owned()];
    let error = ChainClient::connect(ChainConfig { endpoints, ..chain.config() }).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains(&dead), "{error}");
    let ConnectError::AllFailed(failures) = error else { panic!("{error}") };
    let errors: Vec<_> = failures.into_iter().map(|failure| failure.error).collect();
    assert!(
        matches!(
            errors.as_slice(),
            [EndpointError::Unreachable(_), EndpointError::Insecure, EndpointError::NotAUrl(_)]
        ),
        "{errors:?}"
    );
    let none = ChainClient::connect(ChainConfig { endpoints: vec![], ..chain.config() }).await;
    assert!(matches!(none, Err(ConnectError::NoneConfigured)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_costs_its_deadline_and_no_more() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let config = ChainConfig {
        endpoints: vec![format!("ws://{address}"), format!("wss://{address}")],
        call_timeout: Duration::from_millis(200),
        ..chain.config()
    };
    let found = soon("the deadline", failures(config)).await;
    assert_eq!(found.len(), 2);
    for error in found {
        assert!(matches!(error, EndpointError::Deadline { after_ms: 200 }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn following_starts_with_the_newest_head_and_misses_no_newer_one() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let client = chain.client().await;
    chain.seal(3).await;
    let mut heads = client.follow();
    assert_eq!(soon("the first head", heads.next_finalized()).await, Some(chain.head()));
    for _ in 0..5 {
        let sealed = chain.seal(1).await;
        assert_eq!(soon("the next head", heads.next_finalized()).await, Some(sealed));
    }
    // Many at once: the newest comes, whatever was skipped.
    let last = chain.seal(20).await;
    loop {
        if soon("the newest head", heads.next_finalized()).await == Some(last) {
            break;
        }
    }
    assert_eq!(heads.state().disconnects, 0);
    assert_eq!(client.finalized_head().await.unwrap(), Some(last));
}

#[tokio::test(flavor = "multi_thread")]
async fn following_goes_on_after_the_node_was_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::start_at("127.0.0.1:0".parse().unwrap(), dir.path().to_owned()).await;
    let listen = chain.localnet.address();
    let client = chain.client().await;
    let mut heads = client.follow();
    let before = chain.seal(4).await;
    while soon("the head before", heads.next_finalized()).await != Some(before) {}
    chain.localnet.stop().await;

    let chain = Chain::start_at(listen, dir.path().to_owned()).await;
    let after = chain.seal(1).await;
    assert_eq!(after.number.0, before.number.0 + 1, "the chain went on");
    assert_eq!(soon("the head after", heads.next_finalized()).await, Some(after));
    assert!(heads.state().disconnects >= 1);
    let view = client.view_at(after.hash).await.unwrap();
    assert_eq!(view.number, after.number);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_subscription_is_given_up_and_started_again() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let config = ChainConfig { silence_max: Duration::from_millis(50), ..chain.config() };
    let client = ChainClient::connect(config).await.unwrap();
    let mut heads = client.follow();
    let first = chain.seal(1).await;
    while soon("the first head", heads.next_finalized()).await != Some(first) {}
    soon("the silence", async {
        while heads.state().disconnects == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = chain.seal(1).await;
    assert_eq!(soon("the second head", heads.next_finalized()).await, Some(second));
    let reason = heads.state().last_error.unwrap();
    assert!(reason.contains("sent no newer head"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_stops_answering_is_left_for_the_next_one() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let proxy = Proxy::to(chain.localnet.address()).await;
    let config = ChainConfig {
        endpoints: vec![proxy.url(), chain.localnet.url()],
        call_timeout: Duration::from_secs(2),
        ..chain.config()
    };
    let client = ChainClient::connect(config).await.unwrap();
    let head = chain.seal(1).await;
    client.view_at(head.hash).await.unwrap();
    assert!(proxy.answers() > 0, "the first endpoint was in use");
    proxy.freeze();
    let error = soon("the deadline", client.finalized_head()).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
    // The frozen endpoint still accepts connections, and is not asked first.
    let found = soon("the other endpoint", client.finalized_head()).await.unwrap();
    assert_eq!(found, Some(head));
    assert_eq!(proxy.connections(), 1);
}

/// Two nodes of one chain, of which the preferred one has stopped making blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_endpoint_is_left_for_one_that_goes_on() {
    let stalled = Chain::start(neurons(&[10], 1)).await;
    let going = Chain::start_sealing(neurons(&[10], 1)).await;
    let config = ChainConfig {
        endpoints: vec![stalled.localnet.url(), going.localnet.url()],
        silence_max: Duration::from_secs(2),
        ..stalled.config()
    };
    let client = ChainClient::connect(config).await.unwrap();
    let mut heads = client.follow();
    let first = soon("the stalled node's head", heads.next_finalized()).await.unwrap();
    assert_eq!(first, stalled.head());
    let next = soon("the other node's head", heads.next_finalized()).await.unwrap();
    assert_eq!(client.view_at(next.hash).await.unwrap().number, next.number);
    assert_eq!(heads.state().endpoint, Some(going.localnet.url()));
    assert_eq!(heads.state().endpoint_index, Some(1));
}
