//! Keeps the leases that this node holds, on a thread that does nothing else.
//!
//! ```text
//! the loop -- leases held --> table (node-core's Keeper) <-- every moment -- the thread
//!          <----- news -----        behind a lock          first what lapsed: kill its container
//!                                                          then what is due: renew it
//! ```
//!
//! The thread has a runtime of its own, and connections of its own to peers and to the engine: it
//! waits for nobody, whatever the loop and the other threads wait for. The loop looks at the
//! switch too, before each of its decisions, so either of them is enough.
//!
//! Not here: when a lease is renewed and when it has lapsed (`node_core::keeper`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use node_core::evidence::Metrics as Measured;
use node_core::id::{Hotkey, RunId};
use node_core::keeper::{Ask, Keeper};
use node_core::lease::{HoldAnswer, PeerAnswer, PeerRequest};
use node_core::limits::{LEASE_STOP_AFTER_MS, LEASE_TTL_MS};
use node_core::machine::event::Event;
use node_core::machine::Machine;
use node_core::outcome::Ending;
use node_core::unit::MonoMs;
use node_peer::PeerClient;
use node_runner::Engine;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::clock::Stopwatch;
use super::perform::{describe, LOST};
use crate::metrics::Metrics;

/// How often the thread looks at the table. Lower: wakeups for nothing. Higher: the switch is late
/// by that much.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long the engine may take to kill a container. Lower: a busy engine is asked again and
/// again. Higher: one that hangs is asked again too late.
const KILL_MAX: Duration = Duration::from_secs(5);

/// Pause before the container of a lapsed run is killed again: it may have been started since.
const KILL_AGAIN: Duration = Duration::from_secs(1);

// A container is dead before its lease is given away, at the second try if need be.
const _: () = assert!(
    LEASE_STOP_AFTER_MS as u128
        + LOOK_EVERY.as_millis()
        + 2 * KILL_MAX.as_millis()
        + KILL_AGAIN.as_millis()
        < LEASE_TTL_MS as u128
);

/// What the thread does to the world.
pub(crate) trait Doors: Send + Sync + 'static {
    /// Sends renewals; one answer each, in order, or why there is none.
    fn renew(&self, ask: Ask) -> BoxFuture<'static, Result<Vec<HoldAnswer>, String>>;

    /// Kills the container of a run, if there is one.
    fn kill(&self, run: RunId) -> BoxFuture<'static, Result<(), String>>;
}

/// Peers and the engine.
#[derive(Debug)]
pub(crate) struct RealDoors {
    /// Nobody else's: its connections live on the runtime on which they are opened.
    pub(crate) peers: Arc<PeerClient>,
    /// Each of its calls has a connection of its own.
    pub(crate) engine: Engine,
}

fn renewed(
    peers: Arc<PeerClient>,
    ask: Ask,
) -> BoxFuture<'static, Result<Vec<HoldAnswer>, String>> {
    Box::pin(async move {
        let request = PeerRequest::Renew(ask.renewals);
        match peers.ask(ask.peer.hotkey, ask.peer.endpoint, request).await {
            Ok(PeerAnswer::Renewed(answers)) => Ok(answers),
            Ok(_) => Err("it answered something else than what was asked".to_owned()),
            Err(error) => Err(describe(&error)),
        }
    })
}

impl Doors for RealDoors {
    fn renew(&self, ask: Ask) -> BoxFuture<'static, Result<Vec<HoldAnswer>, String>> {
        renewed(Arc::clone(&self.peers), ask)
    }

    fn kill(&self, run: RunId) -> BoxFuture<'static, Result<(), String>> {
        let engine = self.engine.clone();
        Box::pin(
            async move { engine.kill(&run).await.map(|_| ()).map_err(|fault| describe(&fault)) },
        )
    }
}

/// The table of leases held, shared by the loop and the thread.
#[derive(Debug)]
pub(crate) struct Leases {
    // Held for an operation on the table, never across an await.
    table: Mutex<Keeper>,
    clock: Arc<dyn Stopwatch>,
    metrics: Arc<Metrics>,
    has_news: Notify,
}

/// What has to be done now.
struct Duties {
    to_kill: Vec<RunId>,
    asks: Vec<Ask>,
}

impl Leases {
    pub(crate) fn new(clock: Arc<dyn Stopwatch>, metrics: Arc<Metrics>) -> Self {
        Self { table: Mutex::default(), clock, metrics, has_news: Notify::new() }
    }

    /// Looks at the switch, does something to the table, and tells what changed.
    fn with<T>(&self, work: impl FnOnce(&mut Keeper, MonoMs) -> T) -> T {
        let mut keeper = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.mono();
        keeper.trip(now);
        let result = work(&mut keeper, now);
        self.metrics.leases_kept(keeper.figures(), keeper.oldest_confirmed_ms(now));
        if keeper.has_news() {
            self.has_news.notify_one();
        }
        result
    }

    /// Takes over what the machine holds now. Before its decisions are durable: a commit that
    /// hangs must not cost the leases that it is about.
    pub(crate) fn hold(&self, machine: &Machine) {
        self.with(|keeper, now| {
            keeper.hold(now, machine.leases_held());
            keeper.trip(now);
        });
    }

    /// What the machine has to be told before anything else.
    pub(crate) fn news(&self) -> Vec<Event> {
        self.with(|keeper, _| keeper.take_news())
    }

    /// Waits until there is something to tell.
    pub(crate) async fn heard(&self) {
        self.has_news.notified().await;
    }

    /// Whether nothing may start for this run any more.
    pub(crate) fn is_over(&self, run: RunId) -> bool {
        self.with(|keeper, _| keeper.is_over(run))
    }

    /// How a run really ended: where its lease is over, because of that, whatever the end of a
    /// killed container looks like. What was measured to the end stands.
    pub(crate) fn judge(
        &self,
        run: RunId,
        ended: (Ending, Option<Measured>),
    ) -> (Ending, Option<Measured>) {
        if ended.0 != Ending::Completed && self.is_over(run) {
            (Ending::LeaseLost, None)
        } else {
            ended
        }
    }

    fn look(&self) -> Duties {
        self.with(|keeper, now| Duties {
            to_kill: keeper.to_stop().collect(),
            asks: keeper.due(now),
        })
    }

    fn answered(&self, peer: Hotkey, result: Result<Vec<HoldAnswer>, String>) {
        self.with(|keeper, now| keeper.answered(now, peer, result));
    }
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct KeeperThread {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

impl Drop for KeeperThread {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl KeeperThread {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If the system has no thread left, or nothing to wait for events with.
    pub(crate) fn start(leases: Arc<Leases>, doors: Arc<dyn Doors>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || runtime.block_on(keep(&leases, &doors, &stopped)))?;
        Ok(Self { stop, thread })
    }

    /// Whether it still minds the leases.
    pub(crate) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

type Asked = JoinSet<(Hotkey, Result<Vec<HoldAnswer>, String>)>;

async fn keep(leases: &Leases, doors: &Arc<dyn Doors>, stop: &CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = Asked::new();
    let mut kills = Kills::default();
    loop {
        let Duties { to_kill, asks } = leases.look();
        for run in to_kill {
            kills.begin(run, doors);
        }
        for ask in asks {
            let (peer, answer) = (ask.peer.hotkey, doors.renew(ask));
            asked.spawn(async move {
                // A question that never ended would keep the coordinator from being asked again.
                let result = tokio::spawn(answer).await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a task of the node died; this is a bug");
                    Err(LOST.to_owned())
                });
                (peer, result)
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(Ok((peer, result))) = asked.join_next() => leases.answered(peer, result),
            () = kills.next() => {}
            _ = looks.tick() => {}
        }
    }
}

/// Containers that are being killed, each by one task at a time.
#[derive(Default)]
struct Kills {
    runs: BTreeSet<RunId>,
    tasks: JoinSet<RunId>,
}

impl Kills {
    fn begin(&mut self, run: RunId, doors: &Arc<dyn Doors>) {
        if !self.runs.insert(run) {
            return;
        }
        let killed = doors.kill(run);
        self.tasks.spawn(async move {
            match tokio::time::timeout(KILL_MAX, killed).await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => tracing::error!(%run, reason, "a lapsed run was not stopped"),
                Err(_) => tracing::error!(%run, "the engine does not stop a lapsed run"),
            }
            tokio::time::sleep(KILL_AGAIN).await;
            run
        });
    }

    /// Waits for the next task to end; for ever if there is none.
    async fn next(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(run)) => {
                self.runs.remove(&run);
            }
            // One of them died, nobody knows for which run: all may be tried again.
            Some(Err(_)) => self.runs.clear(),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
