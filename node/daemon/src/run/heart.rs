//! The one loop: an event in, the machine decides, its writes are committed, then its effects are
//! performed. The machine with its store (`durable`) lives here and nowhere else.

use std::sync::Arc;

use node_core::lease::PeerAnswer;
use node_core::machine::effect::{Effect, Halt, Outcome};
use node_core::machine::event::Event;
use node_core::view::ChainView;
use node_peer::{PeerCall, PeerDirectory};
use tokio::sync::{mpsc, watch};

use super::durable::{DurableMachine, NotDurable, TICK};
use super::failpoint::failpoint;
use super::keep::{KeeperThread, Leases};
use super::perform::Performer;
use super::published::Certificates;
use super::report::Reporter;
use super::stop::{StopStep, Stopping};
use crate::admin::OperatorCall;
use crate::api;
use crate::exit::ExitReason;
use crate::metrics::Metrics;
use crate::traces::Traces;

/// Why the loop ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeartError {
    /// A decision could not be made durable.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// The thread that keeps the leases died, and nobody would stop runs that lose theirs.
    #[error("the thread that keeps the leases died; this is a bug")]
    KeeperThread,
}

/// The loop's owner of everything.
#[derive(Debug)]
pub(crate) struct Heart {
    pub(crate) durable: DurableMachine,
    pub(crate) performer: Performer,
    pub(crate) leases: Arc<Leases>,
    pub(crate) keeper: KeeperThread,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Traces,
    pub(crate) reporter: Reporter,
    /// What it tells anybody who asks.
    pub(crate) desk: api::Desk,
    pub(crate) directory: watch::Sender<PeerDirectory>,
    /// What validators published; it goes into the directory with the next finalized block.
    pub(crate) certificates: watch::Receiver<Certificates>,
    /// Set once the machine says that the process must not go on.
    pub(crate) halted: Option<ExitReason>,
}

/// Where events come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) peers: mpsc::Receiver<PeerCall>,
    pub(crate) operator: mpsc::Receiver<OperatorCall>,
    pub(crate) readers: mpsc::Receiver<api::Call>,
    pub(crate) stop: mpsc::Receiver<StopStep>,
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
        self.traces.finish().await;
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
                Some(call) = sources.peers.recv() => Some(self.durable.asked(call)),
                Some(call) = sources.operator.recv() => self.durable.asked_by_operator(call),
                Some(call) = sources.readers.recv() => {
                    let progress = self.performer.progress();
                    self.desk.answer(self.durable.machine(), &progress, call);
                    None
                }
            };
            if !self.keeper.is_alive() {
                return Err(HeartError::KeeperThread);
            }
            let is_tick = event == Some(Event::Ticked);
            let mut batch: Vec<Event> = event.into_iter().collect();
            self.durable.take_what_waits(&mut sources.events, &mut sources.peers, &mut batch);
            self.handle_all(batch).await?;
            if let Some(exit) = self.halted {
                self.reporter.publish(self.durable.machine(), &self.performer);
                return Ok(exit);
            }
            if is_tick {
                self.desk.update(super::clock::unix_now(), self.durable.machine());
                self.reporter.publish_if_due(self.durable.machine(), &self.performer);
                if let Some(event) = stopping.on_tick() {
                    self.handle(event).await?;
                }
            }
            if let Some(exit) = stopping.exit(self.durable.machine().is_safe_to_restart()) {
                self.reporter.publish(self.durable.machine(), &self.performer);
                return Ok(exit);
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), HeartError> {
        self.handle_all(vec![event]).await
    }

    /// Decides each event in turn, makes all decisions durable at once, then acts on them.
    async fn handle_all(&mut self, events: Vec<Event>) -> Result<(), HeartError> {
        // First what lapsed: after a standstill nothing is decided for a run that should be dead.
        let events: Vec<Event> = self.leases.news().into_iter().chain(events).collect();
        for event in &events {
            if let Event::BlockFinalized(view) = event {
                self.directory.send_replace(self.directory_of(view));
            }
            self.traces.saw(event);
        }
        // Nothing else comes of it, and peers go by whether this node is ready.
        let is_asked_to_stop = events.contains(&Event::StopRequested);
        let Outcome { writes, effects, notes } = self.durable.decide(events);
        let comes_nothing = writes.is_empty() && effects.is_empty() && notes.is_empty();
        self.reporter.has_news |= is_asked_to_stop || !comes_nothing;
        for note in &notes {
            crate::notes::log(note);
            self.metrics.count(note);
            self.traces.heard(note);
            self.reporter.heard(note);
        }
        self.leases.hold(self.durable.machine());
        self.durable.commit(writes).await?;
        for effect in effects {
            self.traces.performs(&effect);
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

    fn perform(&mut self, effect: Effect) {
        match &effect {
            Effect::Answer { answer: PeerAnswer::Completed(_), .. } => {
                failpoint("completion-committed-before-answer");
            }
            Effect::SendWeights { .. } => failpoint("weights-signed-before-send"),
            Effect::StartRun(_) => failpoint("run-committed-before-start"),
            Effect::FetchContent { .. } => failpoint("fetch-asked"),
            Effect::Admit { .. } => failpoint("admission-asked"),
            Effect::SignWeights(_) => failpoint("weights-intended-before-signing"),
            Effect::TraceWeights { .. } => failpoint("weights-sent-before-found"),
            _ => {}
        }
        match effect {
            Effect::Answer { call, answer } => self.durable.answer(call, answer),
            Effect::AnswerOperator { call, answer } => {
                self.durable.answer_operator(call, answer);
            }
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
