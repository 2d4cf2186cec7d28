//! The coordinator: core's machine, the store, and the peers' server, wired as in the daemon. What
//! is left out are the engine, the chain and the reports for `status`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node_core::id::ContentDigest;
use node_core::lease::{PeerAnswer, PeerRequest};
use node_core::machine::effect::Effect;
use node_core::machine::event::Event;
use node_core::rows::{Row, Write};
use node_core::unit::UnixMs;
use node_daemon::run::{DurableMachine, PEER_CALLS_QUEUED_MAX, TICK};
use node_peer::{
    ContentFuture, ContentSource, NodeCertificate, PeerCall, PeerDirectory, PeerServer,
    ServerParts, SystemClock, WallClock as _,
};
use node_store::Store;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{mpsc, watch};

use crate::world::{coordinator, identity, policy, World};
use crate::{Failed, Options};

/// Rows that one commit takes at the start.
const ROWS_PER_COMMIT: usize = 2_000;

struct NoContents;

impl ContentSource for NoContents {
    fn read(&self, _: ContentDigest) -> ContentFuture<'_> {
        Box::pin(async { None })
    }
}

/// What the loop did.
#[derive(Default)]
struct Tally {
    commits: u64,
    events: u64,
    writes: u64,
    deciding: Duration,
    committing: Duration,
}

pub(crate) async fn serve(options: &Options) -> Result<(), Failed> {
    let evaluations = options.get("--evaluations", 20_000)?;
    let world = World::new(evaluations, options.get("--workers", 64)?)?;
    let (store, _) = Store::open(&options.path("--dir")?)?;
    let rows = world.rows();
    fill(&store, &rows)?;
    let mut durable = DurableMachine::new(world.machine()?, Arc::new(store));
    let first = vec![World::restarted(rows), Event::BlockFinalized(Box::new(world.view()))];
    let outcome = durable.decide(first);
    durable.commit(outcome.writes).await?;

    let (handler, mut calls) = mpsc::channel(PEER_CALLS_QUEUED_MAX);
    let (_directory, view) = watch::channel(PeerDirectory::from_view(&world.view()));
    let server = bind(handler, view).await?;
    let ready = format!("{} {}\n", server.local_addr().port(), std::process::id());
    std::fs::write(options.path("--ready")?, ready)?;

    let tally = live(&mut durable, &mut calls).await?;
    server.shutdown().await;
    print(&tally);
    Ok(())
}

fn fill(store: &Store, rows: &[Row]) -> Result<(), Failed> {
    for rows in rows.chunks(ROWS_PER_COMMIT) {
        let writes: Vec<Write> = rows.iter().cloned().map(Write::Put).collect();
        store.commit(&writes)?;
    }
    Ok(())
}

async fn bind(
    handler: mpsc::Sender<PeerCall>,
    directory: watch::Receiver<PeerDirectory>,
) -> Result<PeerServer, Failed> {
    let key = coordinator()?;
    let now: UnixMs = SystemClock.unix();
    let certificate = NodeCertificate::generate(&identity(key.public()), &key, now)?;
    let parts = ServerParts {
        handler,
        contents: Arc::new(NoContents),
        content_bytes_max: policy().archive.packed_bytes_max,
        directory,
        certificate: watch::channel(certificate).1,
        ready: watch::channel(true).1,
        identity: identity(key.public()),
        clock: Arc::new(SystemClock),
    };
    // Both families: one address may have half of the connections that 64 workers need.
    let any = SocketAddr::from(([0_u16; 8], 0));
    Ok(PeerServer::bind(any, parts).await?)
}

/// The daemon's loop, without what belongs to its surroundings.
async fn live(
    durable: &mut DurableMachine,
    calls: &mut mpsc::Receiver<PeerCall>,
) -> Result<Tally, Failed> {
    let (answered, mut events) = mpsc::channel(1024);
    let mut stop = signal(SignalKind::terminate())?;
    let mut ticks = tokio::time::interval(TICK);
    let mut tally = Tally::default();
    loop {
        let event = tokio::select! {
            biased;
            _ = stop.recv() => return Ok(tally),
            _ = ticks.tick() => Event::Ticked,
            Some(event) = events.recv() => event,
            Some(call) = calls.recv() => durable.asked(call),
        };
        let mut batch = vec![event];
        durable.take_what_waits(&mut events, calls, &mut batch);
        tally.events += batch.len() as u64;
        let started = Instant::now();
        let outcome = durable.decide(batch);
        tally.deciding += started.elapsed();
        if !outcome.writes.is_empty() {
            tally.commits += 1;
            tally.writes += outcome.writes.len() as u64;
        }
        let started = Instant::now();
        durable.commit(outcome.writes).await?;
        tally.committing += started.elapsed();
        for effect in outcome.effects {
            match effect {
                Effect::Answer { call, answer } => durable.answer(call, answer),
                Effect::AskPeer { peer, question, request } => {
                    // The others have nothing to tell.
                    let result = match request {
                        PeerRequest::Receipts { .. } => Ok(PeerAnswer::Receipts(Vec::new())),
                        _ => Err("not in this benchmark".to_owned()),
                    };
                    let peer = peer.hotkey;
                    let event = Event::PeerAnswered { peer, question, result };
                    drop(answered.try_send(event));
                }
                _ => {}
            }
        }
    }
}

fn print(tally: &Tally) {
    let Tally { commits, events, writes, deciding, committing } = tally;
    let each = |time: &Duration| time.as_secs_f64() * 1e6 / (*events).max(1) as f64;
    println!(
        "coordinator: {events} events in {commits} commits of {:.1} writes; per event {:.1} us \
         deciding, {:.1} us committing; {:.0} us per commit",
        *writes as f64 / (*commits).max(1) as f64,
        each(deciding),
        each(committing),
        committing.as_secs_f64() * 1e6 / (*commits).max(1) as f64,
    );
}
