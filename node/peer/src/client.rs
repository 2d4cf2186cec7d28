//! Asks peers: signs, calls, checks the answer's shape, and says precisely what went wrong.
//!
//! Nothing is retried here: the machine decides what to ask again, and each try is signed anew.

mod answer;
mod channels;
mod error;

pub use answer::AnswerError;
pub use error::{AskError, FetchError};

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use node_core::evidence::Receipt;
use node_core::id::{ContentDigest, Hotkey, HotkeySigner};
use node_core::lease::{
    AcquireRequest, LeaseAnswer, PeerAnswer, PeerRequest, ReleaseReason, RenewItem,
};
use node_core::limits::{PEER_CALL_MS_MAX, PEER_MESSAGE_BYTES_MAX};
use prost::Message;
use proto::v1;
use proto::v1::contents_client::ContentsClient;
use proto::v1::leases_client::LeasesClient;
use proto::v1::node_client::NodeClient;
use proto::v1::receipts_client::ReceiptsClient;
use tonic::transport::Channel;
use tonic::Streaming;
use tower::Layer;

use crate::auth::{CallSigner, SignCalls, SignLayer};
use crate::clock::WallClock;
use crate::convert;
use crate::directory::{NodeIdentity, NodeInfo};
use crate::limits::{CONTENT_CHUNK_BYTES, RECEIPT_BYTES_MAX, STREAM_IDLE_MS_MAX, STREAM_MS_MAX};
use answer::Page;
use channels::Channels;

/// A chunk with its tag and length.
const CHUNK_MESSAGE_BYTES_MAX: usize = CONTENT_CHUNK_BYTES + 16;

/// What a node says about itself fits easily.
const INFO_BYTES_MAX: usize = 4 << 10;

/// Calls peers in this node's name. Keeps one connection per endpoint, at most
/// [`crate::limits::CHANNELS_MAX`].
#[derive(Debug)]
pub struct PeerClient {
    signer: CallSigner,
    channels: Channels,
    receipts_refused: AtomicU64,
}

type Signed = SignCalls<Channel>;

impl PeerClient {
    /// A client for one node. Opens nothing yet. Calls are sent as `signer`'s hotkey, for
    /// `identity`'s chain and subnet.
    #[must_use]
    pub fn new(
        identity: NodeIdentity,
        signer: Arc<dyn HotkeySigner>,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        Self {
            signer: CallSigner { identity: Arc::new(identity), signer, clock },
            channels: Channels::default(),
            receipts_refused: AtomicU64::new(0),
        }
    }

    /// Receipts that peers sent and that were skipped, since the start: malformed, or not signed
    /// by their worker. Each is logged with the peer that sent it.
    #[must_use]
    pub fn receipts_refused(&self) -> u64 {
        self.receipts_refused.load(Ordering::Relaxed)
    }

    /// Asks `peer` at `endpoint`. The answer has the request's variant, one answer per item asked,
    /// grants in the peer's own name, and receipts in order and signed by their workers.
    ///
    /// # Errors
    ///
    /// See [`AskError`]. After [`AskError::TimedOut`] and [`AskError::Unreachable`] the request
    /// may have had its effect; every request may be repeated.
    pub async fn ask(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        request: PeerRequest,
    ) -> Result<PeerAnswer, AskError> {
        bounded(PEER_CALL_MS_MAX, self.ask_unbounded(peer, endpoint, request)).await
    }

    async fn ask_unbounded(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        request: PeerRequest,
    ) -> Result<PeerAnswer, AskError> {
        let channel = self.signed_channel(peer, endpoint)?;
        match request {
            PeerRequest::Receipts { after } => self.receipts(channel, peer, after).await,
            PeerRequest::Acquire(wanted) => {
                acquire(&mut leases(channel), peer, &wanted).await.map(PeerAnswer::Acquired)
            }
            PeerRequest::Renew(items) => {
                renew(&mut leases(channel), &items).await.map(PeerAnswer::Renewed)
            }
            PeerRequest::Complete(receipt) => {
                complete(&mut leases(channel), &receipt).await.map(PeerAnswer::Completed)
            }
            PeerRequest::Release { item, reason } => {
                release(&mut leases(channel), &item, &reason).await.map(PeerAnswer::Released)
            }
        }
    }

    /// Fetches a submission's archive. The bytes are whatever the peer sent: the caller verifies
    /// the content digest.
    ///
    /// # Errors
    ///
    /// [`FetchError::TooLarge`] as soon as more than `bytes_max` bytes came; the others as named.
    pub async fn fetch_content(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        content: ContentDigest,
        bytes_max: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let failed = |source| FetchError::Ask { content, source };
        let limit = Duration::from_millis(STREAM_MS_MAX);
        let fetched = async {
            let channel = self.signed_channel(peer, endpoint).map_err(failed)?;
            let mut client =
                ContentsClient::new(channel).max_decoding_message_size(CHUNK_MESSAGE_BYTES_MAX);
            let request = v1::GetRequest { content: content.0.to_vec() };
            let answered = bounded(PEER_CALL_MS_MAX, async {
                client.get(request).await.map_err(|status| AskError::from_status(&status))
            });
            let mut stream =
                answered.await.map_err(|error| FetchError::from_ask(content, error))?.into_inner();
            let mut bytes = Vec::new();
            while let Some(chunk) = next(&mut stream).await.map_err(failed)? {
                if (bytes.len() + chunk.data.len()) as u64 > bytes_max {
                    return Err(FetchError::TooLarge { content, bytes_max });
                }
                bytes.extend_from_slice(&chunk.data);
            }
            Ok(bytes)
        };
        tokio::time::timeout(limit, fetched)
            .await
            .unwrap_or_else(|_| Err(failed(AskError::TimedOut { after_ms: STREAM_MS_MAX })))
    }

    /// Asks who is at `endpoint`. Not signed, either way: claims, not proof.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    pub async fn info(&self, endpoint: SocketAddr) -> Result<NodeInfo, AskError> {
        bounded(PEER_CALL_MS_MAX, async {
            let channel = self.channels.channel(endpoint)?;
            let mut client = NodeClient::new(channel).max_decoding_message_size(INFO_BYTES_MAX);
            let answer = client.info(v1::InfoRequest {}).await;
            let answer = answer.map_err(|status| AskError::from_status(&status))?;
            convert::info_from_wire(answer.into_inner()).map_err(AskError::malformed)
        })
        .await
    }

    fn signed_channel(&self, peer: Hotkey, endpoint: SocketAddr) -> Result<Signed, AskError> {
        let channel = self.channels.channel(endpoint)?;
        Ok(SignLayer { signer: self.signer.clone(), receiver: peer }.layer(channel))
    }

    async fn receipts(
        &self,
        channel: Signed,
        peer: Hotkey,
        after: u64,
    ) -> Result<PeerAnswer, AskError> {
        let mut client = ReceiptsClient::new(channel).max_decoding_message_size(RECEIPT_BYTES_MAX);
        let answered = client.since(v1::SinceRequest { after }).await;
        let mut stream = answered.map_err(|status| AskError::from_status(&status))?.into_inner();
        let mut page = Page::after(after);
        while let Some(entry) = next(&mut stream).await? {
            if let Err(refused) = page.push(entry).map_err(AskError::MalformedAnswer)? {
                self.receipts_refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%peer, sequence = refused.sequence, reason = %refused.reason,
                    "receipt refused");
            }
        }
        Ok(PeerAnswer::Receipts(page.into_receipts()))
    }
}

fn leases(channel: Signed) -> LeasesClient<Signed> {
    LeasesClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
}

async fn bounded<T>(
    limit_ms: u64,
    call: impl std::future::Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    tokio::time::timeout(Duration::from_millis(limit_ms), call)
        .await
        .unwrap_or(Err(AskError::TimedOut { after_ms: limit_ms }))
}

/// The stream's next message; a peer that falls silent is given up.
async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, AskError> {
    bounded(STREAM_IDLE_MS_MAX, async {
        stream.message().await.map_err(|status| AskError::from_status(&status))
    })
    .await
}

/// Refuses to send what the peer would refuse to read.
fn sendable<M: Message>(message: M) -> Result<M, AskError> {
    let bytes = message.encoded_len();
    if bytes > PEER_MESSAGE_BYTES_MAX {
        return Err(AskError::RequestTooLarge { bytes });
    }
    Ok(message)
}

async fn acquire(
    client: &mut LeasesClient<Signed>,
    peer: Hotkey,
    wanted: &AcquireRequest,
) -> Result<Result<Vec<node_core::lease::Grant>, node_core::lease::LeaseRefusal>, AskError> {
    let request = sendable(convert::acquire_request_to_wire(wanted))?;
    let answered = client.acquire(request).await;
    let response = answered.map_err(|status| AskError::from_status(&status))?.into_inner();
    let answer = convert::acquire_response_from_wire(response).map_err(AskError::malformed)?;
    if let Ok(grants) = &answer {
        answer::check_grants(grants, peer, wanted).map_err(AskError::MalformedAnswer)?;
    }
    Ok(answer)
}

async fn renew(
    client: &mut LeasesClient<Signed>,
    items: &[RenewItem],
) -> Result<Vec<LeaseAnswer>, AskError> {
    let leases = items.iter().map(convert::held_to_wire).collect();
    let request = sendable(v1::RenewRequest { leases })?;
    let answered = client.renew(request).await;
    let response = answered.map_err(|status| AskError::from_status(&status))?.into_inner();
    let (asked, got) = (items.len(), response.answers.len());
    if asked != got {
        return Err(AskError::MalformedAnswer(AnswerError::Count { asked, got }));
    }
    let answers =
        response.answers.into_iter().map(|answer| convert::answer_from_wire(Some(answer)));
    answers.collect::<Result<_, _>>().map_err(AskError::malformed)
}

async fn complete(
    client: &mut LeasesClient<Signed>,
    receipt: &Receipt,
) -> Result<LeaseAnswer, AskError> {
    let receipt = Some(convert::receipt_to_wire(receipt));
    let request = sendable(v1::CompleteRequest { receipt })?;
    let answered = client.complete(request).await;
    let response = answered.map_err(|status| AskError::from_status(&status))?.into_inner();
    convert::answer_from_wire(response.answer).map_err(AskError::malformed)
}

async fn release(
    client: &mut LeasesClient<Signed>,
    item: &RenewItem,
    reason: &ReleaseReason,
) -> Result<LeaseAnswer, AskError> {
    let lease = Some(convert::held_to_wire(item));
    let reason = Some(convert::reason_to_wire(reason));
    let request = sendable(v1::ReleaseRequest { lease, reason })?;
    let answered = client.release(request).await;
    let response = answered.map_err(|status| AskError::from_status(&status))?.into_inner();
    convert::answer_from_wire(response.answer).map_err(AskError::malformed)
}
