//! A network between client and chain that can be watched and cut off.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What every JSON-RPC message contains once.
const MARK: &[u8] = b"\"jsonrpc\"";

pub(crate) struct Proxy {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
    answers: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (frozen, is_frozen) = watch::channel(false);
        let answers = Arc::new(AtomicUsize::new(0));
        let counter = answers.clone();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(target).await.unwrap();
                let (client_reads, client_writes) = client.into_split();
                let (server_reads, server_writes) = server.into_split();
                let up = Arc::new(AtomicUsize::new(0));
                tokio::spawn(pump(client_reads, server_writes, is_frozen.clone(), up));
                let down = counter.clone();
                tokio::spawn(pump(server_reads, client_writes, is_frozen.clone(), down));
            }
        });
        Self { address, frozen, answers, connections, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// From now on nothing passes; the connections stay open.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Connections made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Messages that the chain sent so far.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<bool>,
    marks: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0u8; 1 << 16];
    // The end of what came before, where a mark may have begun.
    let mut seam: Vec<u8> = Vec::new();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if *frozen.borrow() && frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        let text = [&seam, &buffer[..count]].concat();
        let found = text.windows(MARK.len()).filter(|window| *window == MARK).count();
        marks.fetch_add(found, Ordering::SeqCst);
        seam = text[text.len().saturating_sub(MARK.len() - 1)..].to_vec();
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
