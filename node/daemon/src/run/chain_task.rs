//! The chain as the loop sees it: views in; signing, sending and searching out.

use std::sync::Arc;
use std::time::Duration;

use node_chain::{ChainClient, EndpointState, Head, Heads, Keypair, NonceGuard};
use node_core::id::{Digest, IntentId};
use node_core::machine::effect::WeightsToSign;
use node_core::machine::event::Event;
use node_core::rows::SignedExtrinsic;
use node_core::unit::{BlockNumber, UnixMs};
use node_core::view::ChainView;
use tokio::sync::{mpsc, watch, Mutex};

use super::clock::unix_now;
use super::perform::{answer, describe, LOST};

/// How often the connection's state is looked at when no block comes.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// Tries to read one block. The next block brings everything again, so few are enough.
const READ_TRIES: u32 = 3;

/// What `status` says about the chain beyond the view.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChainFacts {
    /// The endpoint in use; `None` while there is none.
    pub(crate) endpoint: Option<String>,
    /// Its place in the configuration, from zero.
    pub(crate) endpoint_index: Option<usize>,
    /// Why the connection was lost the last time, or a view could not be read.
    pub(crate) last_error: Option<String>,
    /// When the latest view arrived.
    pub(crate) view_seen_at: Option<UnixMs>,
    /// When the latest finalized one did.
    pub(crate) finalized_seen_at: Option<UnixMs>,
    /// How each endpoint stands, in the order of the configuration.
    pub(crate) endpoint_states: Vec<EndpointState>,
}

/// Reads every best and finalized block that arrives, until nobody listens.
pub(crate) async fn follow(
    client: ChainClient,
    events: mpsc::Sender<Event>,
    facts: watch::Sender<ChainFacts>,
) {
    let mut heads = client.follow();
    let mut states = tokio::time::interval(STATE_EVERY);
    let mut seen = Seen::default();
    loop {
        let head = tokio::select! {
            head = heads.next() => head,
            _ = states.tick() => {
                note_connection(&client, &heads, &facts);
                continue;
            }
        };
        note_connection(&client, &heads, &facts);
        let Some(head) = head else {
            tracing::error!("the task that follows the chain died; this is a bug");
            states.tick().await;
            heads = client.follow();
            continue;
        };
        match seen.read(&client, head).await {
            Ok(event) => {
                let now = Some(unix_now());
                facts.send_modify(|facts| {
                    facts.view_seen_at = now;
                    if matches!(head, Head::Finalized(_)) {
                        facts.finalized_seen_at = now;
                    }
                });
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Err(reason) => {
                tracing::warn!(?head, reason, "cannot read the chain's state");
                facts.send_modify(|facts| facts.last_error = Some(reason));
            }
        }
    }
}

/// The last views, from which the next ones are read as what changed.
#[derive(Debug, Default)]
struct Seen {
    finalized: Option<ChainView>,
    best: Option<ChainView>,
}

impl Seen {
    async fn read(&mut self, client: &ChainClient, head: Head) -> Result<Event, String> {
        let mut reason = String::new();
        for _ in 0..READ_TRIES {
            let read = match head {
                Head::Finalized(block) => match &self.finalized {
                    Some(previous) => client.view_after(previous, block.hash).await,
                    None => client.view_at(block.hash).await,
                },
                Head::Best(block) => match self.newest() {
                    Some(previous) => client.best_view_after(previous, block.hash).await,
                    None => client.view_at(block.hash).await,
                },
            };
            match read {
                Ok(view) => return Ok(self.keep(head, view)),
                Err(error) => reason = describe(&error),
            }
        }
        Err(reason)
    }

    /// The newer of both; a best block's commitments are those of the finalized one.
    fn newest(&self) -> Option<&ChainView> {
        let both = [self.finalized.as_ref(), self.best.as_ref()];
        both.into_iter().flatten().max_by_key(|view| view.number)
    }

    fn keep(&mut self, head: Head, view: ChainView) -> Event {
        let boxed = Box::new(view.clone());
        match head {
            Head::Finalized(_) => {
                self.finalized = Some(view);
                Event::BlockFinalized(boxed)
            }
            Head::Best(_) => {
                self.best = Some(view);
                Event::BestBlock(boxed)
            }
        }
    }
}

fn note_connection(client: &ChainClient, heads: &Heads, facts: &watch::Sender<ChainFacts>) {
    let state = heads.state();
    let endpoint_states = client.endpoints();
    facts.send_if_modified(|facts| {
        let is_new = facts.endpoint_index != state.endpoint_index;
        facts.endpoint = state.endpoint;
        facts.endpoint_states = endpoint_states;
        facts.endpoint_index = state.endpoint_index;
        if state.last_error.is_some() {
            facts.last_error = state.last_error;
        }
        is_new
    });
}

/// Something for the chain to do.
#[derive(Debug)]
pub(crate) enum ChainCommand {
    /// Sign a vector; nothing is sent.
    Sign(WeightsToSign),
    /// Find out what became of signed extrinsics.
    Trace {
        /// Of which intent.
        intent: IntentId,
        /// Which.
        hashes: Vec<Digest>,
        /// The last block that cannot hold them.
        after: BlockNumber,
        /// The last block to search.
        until: BlockNumber,
    },
    /// Send signed bytes.
    Send {
        /// For which intent.
        intent: IntentId,
        /// The extrinsic.
        bytes: Vec<u8>,
        /// The first block in which it is no longer valid.
        era_end: BlockNumber,
    },
}

/// Performs commands, each in a task of its own; the answer comes back as an event.
#[derive(Clone, Debug)]
pub(crate) struct ChainCommands {
    pub(crate) client: ChainClient,
    pub(crate) keypair: Arc<Keypair>,
    pub(crate) events: mpsc::Sender<Event>,
    /// Held from a signature until its bytes were sent, so that no other call of the hotkey takes
    /// the same nonce and makes the vector wait for its era to end.
    pub(crate) nonce: Arc<Mutex<Option<(IntentId, NonceGuard)>>>,
}

impl ChainCommands {
    pub(crate) fn send(&self, command: ChainCommand) {
        let this = self.clone();
        match command {
            ChainCommand::Sign(to_sign) => {
                let intent = to_sign.intent;
                let lost = Event::WeightsSigned { intent, result: Err(LOST.to_owned()) };
                answer(&self.events, lost, async move {
                    Event::WeightsSigned { intent, result: this.sign(&to_sign).await }
                });
            }
            ChainCommand::Trace { intent, hashes, after, until } => {
                let lost = Event::WeightsTraced { intent, result: Err(LOST.to_owned()) };
                answer(&self.events, lost, async move {
                    let traced = this.client.trace(&hashes, after, until).await;
                    let result = traced.map_err(|error| describe(&error));
                    Event::WeightsTraced { intent, result }
                });
            }
            ChainCommand::Send { intent, bytes, era_end } => {
                let lost = Event::WeightsSent { intent, result: Err(LOST.to_owned()) };
                answer(&self.events, lost, async move {
                    let sent = this.client.send_signed(&bytes, Some(era_end)).await;
                    this.release_nonce(intent).await;
                    let result = sent.map(|_| ()).map_err(|error| describe(&error));
                    Event::WeightsSent { intent, result }
                });
            }
        }
    }

    async fn sign(&self, to_sign: &WeightsToSign) -> Result<SignedExtrinsic, String> {
        let mut held = self.nonce.lock().await;
        // That of an earlier signature whose bytes were never sent.
        held.take();
        let guard = self.client.reserve_nonce(&self.keypair.public()).await;
        let signed = self
            .client
            .sign_weights(to_sign, &self.keypair)
            .await
            .map_err(|error| describe(&error))?;
        *held = Some((to_sign.intent, guard));
        Ok(signed)
    }

    /// The pool counts the nonce of this intent's bytes now. Another one's may still be unsent.
    async fn release_nonce(&self, intent: IntentId) {
        let mut held = self.nonce.lock().await;
        if held.as_ref().is_some_and(|(of, _)| *of == intent) {
            held.take();
        }
    }
}
