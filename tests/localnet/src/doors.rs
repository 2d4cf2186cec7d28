//! The listeners: connections come in here, and what goes wrong with bytes goes wrong here.
//!
//! client <--socket--> pump (delay, silence, deafness, closing) <--pipe--> JSON-RPC server
//!
//! The pipe is there so that the server behind knows nothing of the faults. What is on its way to
//! the client waits in a queue with the time at which it is due; so a delay takes nothing from the
//! throughput, and requests do not wait for each other.

use crate::{
    faults::{FaultSwitch, Present},
    rpc::Faulty,
};
use jsonrpsee::{
    core::middleware::RpcServiceBuilder,
    server::{serve_with_graceful_shutdown, Methods, ServerBuilder, ServerConfig, StopHandle},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::Instant,
};

/// Bytes of one piece on its way.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces on their way to a client. Lower: a long delay throttles large answers. Higher: memory.
const PIECES_MAX: usize = 4096;
/// Bytes read of a request that is to be refused.
const REFUSED_BYTES_MAX: usize = 8 << 10;
/// How long a refused client may take to say what it wants.
const REFUSED_WAIT: Duration = Duration::from_secs(5);

/// One listener and what stands behind it.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) methods: Methods,
    pub(crate) switch: Arc<FaultSwitch>,
    pub(crate) config: ServerConfig,
}

/// Takes connections until told to stop.
pub(crate) async fn keep(door: Door, stop: StopHandle) {
    let switch = door.switch.clone();
    let layer =
        RpcServiceBuilder::new().layer_fn(move |inner| Faulty { inner, switch: switch.clone() });
    let services = ServerBuilder::default()
        .set_config(door.config)
        .set_rpc_middleware(layer)
        .to_service_builder();
    loop {
        let socket = tokio::select! {
            () = stop.clone().shutdown() => return,
            accepted = door.listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "no connection taken");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let faults = door.switch.watch();
        if faults.borrow().faults.down {
            // Before anything is read, or a handshake could be answered first.
            continue;
        }
        if let Some(status) = faults.borrow().faults.handshake_status {
            tokio::spawn(refuse(socket, status));
            continue;
        }
        let (near, far) = tokio::io::duplex(PIECE_BYTES);
        let service = services.clone().build(door.methods.clone(), stop.clone());
        tokio::spawn(serve_with_graceful_shutdown(near, service, stop.clone().shutdown()));
        tokio::spawn(connection(socket, far, faults, stop.clone()));
    }
}

/// Answers whatever is asked with an HTTP status.
async fn refuse(mut socket: TcpStream, status: u16) {
    let mut head = Vec::new();
    let read = async {
        let mut piece = [0; 1024];
        while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < REFUSED_BYTES_MAX {
            match socket.read(&mut piece).await {
                Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
    };
    // Who says nothing gets the answer too.
    let _late = tokio::time::timeout(REFUSED_WAIT, read).await;
    let reason = if status == 429 { "Too Many Requests" } else { "Refused" };
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\nretry-after: 1\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    // A client that is gone needs no answer.
    let _gone = socket.write_all(answer.as_bytes()).await;
}

/// Carries bytes until one side ends, or the connection is to be closed.
async fn connection(
    socket: TcpStream,
    server: tokio::io::DuplexStream,
    faults: watch::Receiver<Present>,
    stop: StopHandle,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "answers may be held back by the system");
    }
    let (from_client, to_client) = socket.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    let carried = async {
        tokio::select! {
            result = carry_requests(from_client, to_server, faults.clone()) => result,
            result = carry_answers(from_server, to_client, faults.clone()) => result,
        }
    };
    tokio::select! {
        result = carried => if let Err(error) = result {
            tracing::debug!(%error, "connection ended");
        },
        () = closed(faults.clone()) => tracing::debug!("connection closed on purpose"),
        () = stop.shutdown() => {}
    }
}

/// Ends when the connections of the listener are to be closed.
async fn closed(mut faults: watch::Receiver<Present>) {
    let before = faults.borrow().closings;
    // The switch lives as long as its listener.
    let _ended = faults.wait_for(|now| now.faults.down || now.closings != before).await.map(|_| ());
}

async fn carry_requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut faults: watch::Receiver<Present>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        wait_until(&mut faults, |now| !now.faults.deaf).await;
        let count = from.read(&mut piece).await?;
        wait_until(&mut faults, |now| !now.faults.deaf).await;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else {
            return Ok(());
        };
        to.write_all(read).await?;
    }
}

async fn carry_answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut faults: watch::Receiver<Present>,
) -> io::Result<()> {
    let (sender, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let delays = faults.clone();
    let read = async move {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = from.read(&mut piece).await?;
            let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else {
                return Ok(());
            };
            let delay = Duration::from_millis(delays.borrow().faults.delay_ms);
            if sender.send((Instant::now() + delay, read.to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = due.recv().await {
            if at > Instant::now() {
                tokio::time::sleep_until(at).await;
            }
            wait_until(&mut faults, |now| !now.faults.silent).await;
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    // The writer ends after the reader, with the last piece written.
    let (read, written): (io::Result<()>, io::Result<()>) = tokio::join!(read, write);
    read.and(written)
}

async fn wait_until(faults: &mut watch::Receiver<Present>, ready: impl Fn(&Present) -> bool) {
    // The switch lives as long as its listener.
    let _ended = faults.wait_for(|now| ready(now)).await.map(|_| ());
}
