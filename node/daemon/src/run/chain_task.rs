//! The chain as the loop sees it: finalized views in, signing and sending out.

use std::sync::Arc;
use std::time::Duration;

use node_chain::{ChainClient, FinalizedHead, Heads, Keypair, NonceGuard, WeightsCall};
use node_core::id::IntentId;
use node_core::machine::effect::WeightsToSign;
use node_core::machine::event::Event;
use node_core::rows::SignedExtrinsic;
use node_core::unit::{BlockNumber, UnixMs};
use tokio::sync::{mpsc, watch, Mutex};

use super::heart::unix_now;
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
}

/// Reads every finalized head that arrives, until nobody listens.
pub(crate) async fn follow(
    client: ChainClient,
    events: mpsc::Sender<Event>,
    facts: watch::Sender<ChainFacts>,
) {
    let mut heads = client.follow();
    let mut states = tokio::time::interval(STATE_EVERY);
    loop {
        let head = tokio::select! {
            head = heads.next() => head,
            _ = states.tick() => {
                note_connection(&heads, &facts);
                continue;
            }
        };
        note_connection(&heads, &facts);
        let Some(head) = head else {
            tracing::error!("the task that follows the chain died; this is a bug");
            states.tick().await;
            heads = client.follow();
            continue;
        };
        match read(&client, head).await {
            Ok(event) => {
                facts.send_modify(|facts| facts.view_seen_at = Some(unix_now()));
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Err(reason) => {
                tracing::warn!(block = head.number.0, reason, "cannot read the chain's state");
                facts.send_modify(|facts| facts.last_error = Some(reason));
            }
        }
    }
}

fn note_connection(heads: &Heads, facts: &watch::Sender<ChainFacts>) {
    let state = heads.state();
    facts.send_if_modified(|facts| {
        let is_new = facts.endpoint_index != state.endpoint_index;
        facts.endpoint = state.endpoint;
        facts.endpoint_index = state.endpoint_index;
        if state.last_error.is_some() {
            facts.last_error = state.last_error;
        }
        is_new
    });
}

async fn read(client: &ChainClient, head: FinalizedHead) -> Result<Event, String> {
    let mut reason = String::new();
    for _ in 0..READ_TRIES {
        match client.view_at(head.hash).await {
            Ok(view) => return Ok(Event::BlockFinalized(Box::new(view))),
            Err(error) => reason = describe(&error),
        }
    }
    Err(reason)
}

/// Something for the chain to do.
#[derive(Debug)]
pub(crate) enum ChainCommand {
    /// Sign a vector; nothing is sent.
    Sign(WeightsToSign),
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
    pub(crate) nonce: Arc<Mutex<Option<NonceGuard>>>,
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
            ChainCommand::Send { intent, bytes, era_end } => {
                let lost = Event::WeightsSent { intent, result: Err(LOST.to_owned()) };
                answer(&self.events, lost, async move {
                    let sent = this.client.send_signed(&bytes, Some(era_end)).await;
                    this.nonce.lock().await.take();
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
        let guard = self.client.reserve_nonce().await;
        let nonce = self
            .client
            .next_nonce(&self.keypair.public())
            .await
            .map_err(|error| describe(&error))?;
        let call = WeightsCall {
            netuid: to_sign.netuid,
            mechanism: to_sign.mechanism,
            vector: &to_sign.vector,
            version_key: to_sign.version_key,
        };
        let signed = self
            .client
            .prepare_weights(&call, &self.keypair, to_sign.anchor, nonce)
            .await
            .map_err(|error| describe(&error))?;
        *held = Some(guard);
        Ok(signed)
    }
}
