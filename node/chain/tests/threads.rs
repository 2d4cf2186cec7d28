//! Which threads reading the chain wakes. Alone in its program: other tests start threads as well.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::time::Duration;

use localnet::{BlockTime, Config, Localnet};
use node_chain::{ChainClient, ChainConfig};
use node_core::id::Netuid;

/// The thread on which the RPC library keeps a timer for each request.
const TIMER: &str = "futures-timer";

fn has_timer() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    assert!(names.len() > 1, "{names:?}");
    names.iter().any(|name| name == TIMER)
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_views_wakes_no_timer_of_the_rpc_library() {
    let block_time = BlockTime::Every(Duration::from_millis(100));
    let localnet = Localnet::start(Config { block_time, ..Config::default() }).await.unwrap();
    let config = ChainConfig::new(vec![localnet.url()], Netuid(1));
    let client = ChainClient::connect(config).await.unwrap();
    for _ in 0..2 {
        let head = client.finalized_head().await.unwrap().unwrap();
        client.view_at(head.hash).await.unwrap();
    }
    assert!(!has_timer(), "a view was read");
    // Where it would be seen: subscriptions go the library's way.
    let mut heads = client.follow();
    tokio::time::timeout(Duration::from_secs(60), heads.next()).await.unwrap().unwrap();
    // A thread has its parent's name until it runs for the first time.
    let named = async {
        while !has_timer() {
            tokio::task::yield_now().await;
        }
    };
    let is_seen = tokio::time::timeout(Duration::from_secs(60), named).await.is_ok();
    assert!(is_seen, "the thread has another name, or is none of the library's any more");
}
