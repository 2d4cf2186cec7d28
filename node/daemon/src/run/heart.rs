//! The one loop: an event in, the machine decides, its writes are committed, then its effects are
//! performed. The machine lives here and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use node_core::lease::{NotReopened, PeerAnswer, Reopening};
use node_core::machine::effect::{Effect, Halt, Outcome};
use node_core::machine::event::{CallId, Event};
use node_core::machine::Machine;
use node_core::rows::Write;
use node_core::view::ChainView;
use node_peer::{PeerCall, PeerDirectory};
use node_store::{CommitError, Store};
use tokio::sync::{mpsc, oneshot, watch};

use super::clock::Clock;
use super::failpoint::failpoint;
use super::keep::{KeeperThread, Leases};
use super::perform::Performer;
use super::published::Certificates;
use super::report::Reporter;
use super::stop::{StopStep, Stopping};
use crate::admin::OperatorCall;
use crate::exit::ExitReason;
use crate::metrics::Metrics;

/// How often the machine sees time pass. Lower: an idle node works for nothing. Higher: leases
/// and retries are late by that much, which must stay small beside their limits.
const TICK: Duration = Duration::from_millis(250);

/// Calls of peers that wait for an answer. The server bounds its own concurrency below this.
const CALLS_WAITING_MAX: usize = 1024;

/// Events that share one commit. Lower: each waits for a sync of its own under load. Higher: the
/// first of them waits for the last one.
const BATCH_MAX: usize = 256;

/// Why the loop ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeartError {
    /// A decision could not be made durable, so nothing of it may be done.
    #[error("the store did not take a decision; nothing more is decided until it does")]
    Commit(#[source] CommitError),
    /// The thread that commits died.
    #[error("the thread that writes the store died")]
    CommitThread(#[source] tokio::task::JoinError),
    /// The thread that keeps the leases died, and nobody would stop runs that lose theirs.
    #[error("the thread that keeps the leases died; this is a bug")]
    KeeperThread,
}

/// The loop's owner of everything.
#[derive(Debug)]
pub(crate) struct Heart {
    pub(crate) machine: Machine,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<Store>,
    pub(crate) performer: Performer,
    pub(crate) leases: Arc<Leases>,
    pub(crate) keeper: KeeperThread,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reporter: Reporter,
    pub(crate) directory: watch::Sender<PeerDirectory>,
    /// What validators published; it goes into the directory with the next finalized block.
    pub(crate) certificates: watch::Receiver<Certificates>,
    pub(crate) calls: Calls,
    /// Set once the machine says that the process must not go on.
    pub(crate) halted: Option<ExitReason>,
}

/// Where events come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) peers: mpsc::Receiver<PeerCall>,
    pub(crate) operator: mpsc::Receiver<OperatorCall>,
    pub(crate) stop: mpsc::Receiver<StopStep>,
}

/// Peers that wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    next: u64,
    waiting: BTreeMap<CallId, oneshot::Sender<PeerAnswer>>,
    operators: BTreeMap<CallId, oneshot::Sender<Result<Reopening, NotReopened>>>,
}

impl Calls {
    fn open(&mut self, answer: oneshot::Sender<PeerAnswer>) -> CallId {
        // Whoever gave up waiting needs no answer any more.
        self.waiting.retain(|_, answer| !answer.is_closed());
        let id = CallId(self.next);
        self.next = self.next.wrapping_add(1);
        if self.waiting.len() < CALLS_WAITING_MAX {
            self.waiting.insert(id, answer);
        }
        id
    }

    /// One at a time is in the loop, and each is answered there.
    fn open_operator(&mut self, answer: oneshot::Sender<Result<Reopening, NotReopened>>) -> CallId {
        let id = CallId(self.next);
        self.next = self.next.wrapping_add(1);
        self.operators.insert(id, answer);
        id
    }

    fn answer_operator(&mut self, id: CallId, answer: Result<Reopening, NotReopened>) {
        if let Some(waiting) = self.operators.remove(&id) {
            // Who hung up finds it in the status.
            drop(waiting.send(answer));
        }
    }

    fn answer(&mut self, id: CallId, answer: PeerAnswer) {
        if let Some(waiting) = self.waiting.remove(&id) {
            // The peer may have hung up; it will ask again.
            drop(waiting.send(answer));
        }
    }
}

impl Heart {
    /// Lives until it is stopped.
    ///
    /// # Errors
    ///
    /// [`HeartError`]: a decision could not be made durable, or everything else is gone.
    pub(crate) async fn beat(
        mut self,
        first: Event,
        sources: Sources,
        stopping: Stopping,
    ) -> Result<ExitReason, HeartError> {
        let lived = self.beat_until_stopped(first, sources, stopping).await;
        // Nobody would hold the limits of a run any more.
        self.performer.stop_all().await;
        lived
    }

    async fn beat_until_stopped(
        &mut self,
        first: Event,
        mut sources: Sources,
        mut stopping: Stopping,
    ) -> Result<ExitReason, HeartError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.handle(first).await?;
        loop {
            let event = tokio::select! {
                biased;
                Some(step) = sources.stop.recv() => match stopping.on_signal(step) {
                    Some(event) => Some(event),
                    None => return Ok(ExitReason::LeftAtOnce),
                },
                _ = ticks.tick() => Some(Event::Ticked),
                // The news come first in every batch, so also in one that has nothing else.
                () = self.leases.heard() => None,
                Some(event) = sources.events.recv() => Some(event),
                Some(call) = sources.peers.recv() => Some(self.asked(call)),
                Some(call) = sources.operator.recv() => self.asked_by_operator(call),
            };
            if !self.keeper.is_alive() {
                return Err(HeartError::KeeperThread);
            }
            let is_tick = event == Some(Event::Ticked);
            let mut batch: Vec<Event> = event.into_iter().collect();
            self.take_what_waits(&mut sources, &mut batch);
            self.handle_all(batch).await?;
            if let Some(exit) = self.halted {
                self.reporter.publish(&self.machine, &self.performer);
                return Ok(exit);
            }
            if is_tick {
                self.reporter.publish(&self.machine, &self.performer);
                if let Some(event) = stopping.on_tick() {
                    self.handle(event).await?;
                }
            }
            if let Some(exit) = stopping.exit(self.machine.is_safe_to_restart()) {
                self.reporter.publish(&self.machine, &self.performer);
                return Ok(exit);
            }
        }
    }

    fn asked(&mut self, call: PeerCall) -> Event {
        let PeerCall { peer, request, answer } = call;
        Event::PeerAsked { call: self.calls.open(answer), peer, request }
    }

    /// Nothing for who hung up: it was told that nothing was done.
    fn asked_by_operator(&mut self, call: OperatorCall) -> Option<Event> {
        let OperatorCall { assignment, answer } = call;
        let is_waiting = !answer.is_closed();
        is_waiting
            .then(|| Event::ReopenAsked { call: self.calls.open_operator(answer), assignment })
    }

    /// Adds what came in meanwhile: everything that is decided together shares one commit.
    fn take_what_waits(&mut self, sources: &mut Sources, batch: &mut Vec<Event>) {
        while batch.len() < BATCH_MAX {
            if let Ok(event) = sources.events.try_recv() {
                batch.push(event);
            } else if let Ok(call) = sources.peers.try_recv() {
                let event = self.asked(call);
                batch.push(event);
            } else {
                return;
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), HeartError> {
        self.handle_all(vec![event]).await
    }

    /// Decides each event in turn, makes all decisions durable at once, then acts on them.
    async fn handle_all(&mut self, events: Vec<Event>) -> Result<(), HeartError> {
        let mut decided = Outcome::default();
        // First what lapsed: after a standstill nothing is decided for a run that should be dead.
        for event in self.leases.news().into_iter().chain(events) {
            if let Event::BlockFinalized(view) = &event {
                self.directory.send_replace(self.directory_of(view));
            }
            let Outcome { writes, effects, notes } = self.machine.apply(self.clock.now(), event);
            for note in &notes {
                crate::notes::log(note);
                self.metrics.count(note);
                self.reporter.heard(note);
            }
            decided.writes.extend(writes);
            decided.effects.extend(effects);
        }
        self.leases.hold(&self.machine);
        self.commit(decided.writes).await?;
        for effect in decided.effects {
            self.perform(effect);
        }
        Ok(())
    }

    fn directory_of(&self, view: &ChainView) -> PeerDirectory {
        let directory = PeerDirectory::from_view(view);
        match self.certificates.borrow().clone() {
            Some(certificates) => directory.with_certificates(certificates),
            None => directory,
        }
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), HeartError> {
        if writes.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.commit(&writes))
            .await
            .map_err(HeartError::CommitThread)?
            .map_err(HeartError::Commit)
    }

    fn perform(&mut self, effect: Effect) {
        match &effect {
            Effect::Answer { answer: PeerAnswer::Completed(_), .. } => {
                failpoint("completion-committed-before-answer");
            }
            Effect::SendWeights { .. } => failpoint("weights-signed-before-send"),
            Effect::StartRun(_) => failpoint("run-committed-before-start"),
            _ => {}
        }
        match effect {
            Effect::Answer { call, answer } => self.calls.answer(call, answer),
            Effect::AnswerOperator { call, answer } => self.calls.answer_operator(call, answer),
            Effect::Halt(Halt::OtherSigner { block }) => {
                tracing::error!(
                    block = block.0,
                    "something else updated weights with this hotkey; stop it, wait 64 blocks, \
                     then vouch for it with `assay weights adopt`"
                );
                self.halted = Some(ExitReason::AnotherSigner);
            }
            other => self.performer.perform(other),
        }
    }
}
