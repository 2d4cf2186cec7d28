//! The machine with its store: events are decided together, and nothing of a decision is done
//! before it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use node_core::lease::PeerAnswer;
use node_core::machine::effect::Outcome;
use node_core::machine::event::{CallId, Event};
use node_core::machine::operator::OperatorAnswer;
use node_core::machine::Machine;
use node_core::rows::Write;
use node_peer::PeerCall;
use node_store::{CommitError, Store};
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use crate::admin::OperatorCall;

/// How often the machine sees time pass. Lower: an idle node works for nothing. Higher: leases
/// and retries are late by that much, which must stay small beside their limits.
pub const TICK: Duration = Duration::from_millis(250);

/// Calls of peers that wait for an answer. The server bounds its own concurrency below this.
const CALLS_WAITING_MAX: usize = 1024;

/// Events that share one commit; a page of receipts counts as that many. Lower: each waits for a
/// sync of its own under load. Higher: the first of them waits for the last one.
const BATCH_MAX: usize = 256;

/// Calls of peers that wait for the loop, each item of a batch as one. Lower: a few validators that
/// hand in full batches turn the others away. Higher: the last one waits for more groups, and each
/// may hold a receipt.
pub const PEER_CALLS_QUEUED_MAX: usize = 4 * BATCH_MAX;

/// Why a decision did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum NotDurable {
    /// The store did not take it, so nothing of it may be done.
    #[error("the store did not take a decision; nothing more is decided until it does")]
    Commit(#[source] CommitError),
    /// The thread that commits died.
    #[error("the thread that writes the store died")]
    CommitThread(#[source] tokio::task::JoinError),
}

/// The one owner of the state. Whoever drives it takes what waits, decides, commits, and only then
/// performs the effects and answers.
#[derive(Debug)]
pub struct DurableMachine {
    machine: Machine,
    clock: Clock,
    store: Arc<Store>,
    calls: Calls,
}

/// Peers and operators that wait for an answer.
#[derive(Debug, Default)]
struct Calls {
    next: u64,
    waiting: BTreeMap<CallId, oneshot::Sender<PeerAnswer>>,
    operators: BTreeMap<CallId, oneshot::Sender<OperatorAnswer>>,
}

impl Calls {
    fn open(&mut self, answer: oneshot::Sender<PeerAnswer>) -> CallId {
        if self.waiting.len() >= CALLS_WAITING_MAX {
            // Whoever gave up waiting needs no answer any more.
            self.waiting.retain(|_, answer| !answer.is_closed());
        }
        let id = CallId(self.next);
        self.next = self.next.wrapping_add(1);
        if self.waiting.len() < CALLS_WAITING_MAX {
            self.waiting.insert(id, answer);
        }
        id
    }

    /// One at a time is in the loop, and each is answered there.
    fn open_operator(&mut self, answer: oneshot::Sender<OperatorAnswer>) -> CallId {
        let id = CallId(self.next);
        self.next = self.next.wrapping_add(1);
        self.operators.insert(id, answer);
        id
    }

    fn answer_operator(&mut self, id: CallId, answer: OperatorAnswer) {
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

/// How much of a group an event takes: a page of receipts is stored as that many rows.
fn share(event: &Event) -> usize {
    match event {
        Event::PeerAnswered { result: Ok(PeerAnswer::Receipts(page)), .. } => page.len().max(1),
        _ => 1,
    }
}

impl DurableMachine {
    /// A machine whose clock starts now.
    #[must_use]
    pub fn new(machine: Machine, store: Arc<Store>) -> Self {
        Self::with_clock(machine, Clock::start(), store)
    }

    /// The same with a clock that others read too.
    #[must_use]
    pub(crate) fn with_clock(machine: Machine, clock: Clock, store: Arc<Store>) -> Self {
        Self { machine, clock, store, calls: Calls::default() }
    }

    /// The state.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What a peer asks, as an event; it waits until [`DurableMachine::answer`].
    pub fn asked(&mut self, call: PeerCall) -> Event {
        let PeerCall { peer, request, answer } = call;
        Event::PeerAsked { call: self.calls.open(answer), peer, request }
    }

    /// What the operator asks, as an event. Nothing for who hung up: it was told that nothing was
    /// done.
    pub(crate) fn asked_by_operator(&mut self, call: OperatorCall) -> Option<Event> {
        let OperatorCall { request, answer } = call;
        let is_waiting = !answer.is_closed();
        is_waiting.then(|| Event::OperatorAsked { call: self.calls.open_operator(answer), request })
    }

    /// Adds what came in meanwhile to `batch`, which is bounded: everything that is decided
    /// together shares one commit.
    pub fn take_what_waits(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        peers: &mut mpsc::Receiver<PeerCall>,
        batch: &mut Vec<Event>,
    ) {
        let mut taken: usize = batch.iter().map(share).sum();
        while taken < BATCH_MAX {
            let event = match events.try_recv() {
                Ok(event) => event,
                Err(_) => match peers.try_recv() {
                    Ok(call) => self.asked(call),
                    Err(_) => return,
                },
            };
            taken += share(&event);
            batch.push(event);
        }
    }

    /// Decides each event in turn. The state has changed when this returns: the writes have to be
    /// committed before any effect is performed.
    #[must_use]
    pub fn decide(&mut self, events: Vec<Event>) -> Outcome {
        let mut decided = Outcome::default();
        for event in events {
            let outcome = self.machine.apply(self.clock.now(), event);
            decided.writes.extend(outcome.writes);
            decided.effects.extend(outcome.effects);
            decided.notes.extend(outcome.notes);
        }
        decided
    }

    /// Makes writes durable, on the blocking pool.
    ///
    /// # Errors
    ///
    /// [`NotDurable`]: nothing that was decided may be done, and nothing more decided.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), NotDurable> {
        if writes.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.commit(&writes))
            .await
            .map_err(NotDurable::CommitThread)?
            .map_err(NotDurable::Commit)
    }

    /// Answers a peer that waits; one that hung up will ask again.
    pub fn answer(&mut self, call: CallId, answer: PeerAnswer) {
        self.calls.answer(call, answer);
    }

    /// Answers an operator that waits.
    pub(crate) fn answer_operator(&mut self, call: CallId, answer: OperatorAnswer) {
        self.calls.answer_operator(call, answer);
    }
}
