//! An archive over a path that breaks: what came is kept, and no peer holds the caller for ever.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use common::{Archives, DevKey, Node, CONTENT_BYTES_MAX};
use node_core::id::{ContentDigest, HotkeySigner};
use node_peer::limits::CONTENT_TRIES_MAX;
use node_peer::{AskError, FetchError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONTENT: ContentDigest = ContentDigest([0xc0; 32]);
const ARCHIVE_BYTES: usize = 4 << 20;
const _: () = assert!(ARCHIVE_BYTES as u64 <= CONTENT_BYTES_MAX);

/// A path to `to` that breaks each of its first `breaks` connections after `after` bytes towards
/// the caller. Counts the connections, and those bytes.
struct Path {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl Path {
    async fn breaking(to: SocketAddr, breaks: usize, after: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let path = Self { address, connections: Arc::default(), bytes: Arc::default() };
        let (connections, bytes) = (Arc::clone(&path.connections), Arc::clone(&path.bytes));
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let limit = if number < breaks { after } else { usize::MAX };
                let called = TcpStream::connect(to).await.unwrap();
                tokio::spawn(carry(caller, called, limit, Arc::clone(&bytes)));
            }
        });
        path
    }
}

/// Carries bytes both ways until one end is done, or `limit` went to the caller.
async fn carry(caller: TcpStream, called: TcpStream, limit: usize, bytes: Arc<AtomicUsize>) {
    let (mut from_caller, mut to_caller) = caller.into_split();
    let (mut from_called, mut to_called) = called.into_split();
    let there = tokio::io::copy(&mut from_caller, &mut to_called);
    tokio::pin!(there);
    let back = async {
        let mut carried = 0;
        let mut buffer = vec![0; 16 << 10];
        while carried < limit {
            let Ok(read @ 1..) = from_called.read(&mut buffer).await else { return };
            if to_caller.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            carried += read;
            bytes.fetch_add(read, Ordering::SeqCst);
        }
    };
    tokio::select! {
        _ = &mut there => return,
        () = back => {}
    }
    // What was carried shall arrive: dropping unread bytes of the caller would take it back.
    drop(to_caller.shutdown().await);
    drop(there.await);
}

fn archive() -> Vec<u8> {
    (0..ARCHIVE_BYTES).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

async fn node_with(data: &[u8], bob: &Arc<DevKey>) -> Node {
    let archives = Archives(BTreeMap::from([(CONTENT, data.to_vec())]));
    Node::start_with("Alice", &[bob], 1, archives).await
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_stopped() {
    let (bob, data) = (DevKey::named("Bob"), archive());
    let node = node_with(&data, &bob).await;
    let breaks = CONTENT_TRIES_MAX as usize - 1;
    let path = Path::breaking(node.address(), breaks, ARCHIVE_BYTES / 4).await;
    let client = node.client_of(&bob);
    let peer = node.key.hotkey();
    let fetched = client.fetch_content(peer, path.address, CONTENT, CONTENT_BYTES_MAX).await;
    assert!(fetched.unwrap() == data, "the bytes are others");
    assert_eq!(path.connections.load(Ordering::SeqCst), breaks + 1);
    // Anew each time, it would have been 1.75 times as much.
    let carried = path.bytes.load(Ordering::SeqCst);
    assert!(carried < ARCHIVE_BYTES * 5 / 4, "{carried} bytes for {ARCHIVE_BYTES}");
}

#[tokio::test]
async fn a_peer_that_breaks_off_again_and_again_is_given_up() {
    let (bob, data) = (DevKey::named("Bob"), archive());
    let node = node_with(&data, &bob).await;
    let path = Path::breaking(node.address(), usize::MAX, 100_000).await;
    let client = node.client_of(&bob);
    let peer = node.key.hotkey();
    let fetched = client.fetch_content(peer, path.address, CONTENT, CONTENT_BYTES_MAX).await;
    let Err(FetchError::Ask { source, .. }) = fetched else { panic!("it came through") };
    assert!(matches!(source, AskError::Unreachable { .. } | AskError::Failed { .. }), "{source:?}");
    assert_eq!(path.connections.load(Ordering::SeqCst), CONTENT_TRIES_MAX as usize);
}
