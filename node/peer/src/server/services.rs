//! The services: from a verified message to the daemon's loop and back. Those of leases are in
//! `leases`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use node_core::id::{sha256, Hotkey};
use node_core::lease::{PeerAnswer, PeerRequest};
use proto::v1;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Permit, PermitIterator};
use tokio::sync::{mpsc, oneshot};
use tonic::{async_trait, Request, Response, Status};

use super::streams::{send_all, Messages};
use super::{ContentSource, PeerCall};
use crate::auth::VerifiedCaller;
use crate::budget::Budget;
use crate::convert;
use crate::directory::NodeIdentity;
use crate::limits::{
    ANSWER_MS_MAX, BATCHES_PER_PEER_MAX, CALLS_MAX, CONTENT_CHUNK_BYTES, CONTENT_STREAMS_MAX,
    CONTENT_STREAMS_PER_PEER_MAX, RECEIPT_STREAMS_MAX, RECEIPT_STREAMS_PER_PEER_MAX,
};
use crate::refusal::ServeRefusal;

/// All four services; clones share everything.
#[derive(Clone)]
pub(super) struct Services {
    handler: mpsc::Sender<PeerCall>,
    contents: Arc<dyn ContentSource>,
    content_bytes_max: u64,
    identity: Arc<NodeIdentity>,
    content_streams: Budget<Hotkey>,
    receipt_streams: Budget<Hotkey>,
    pub(super) batches: Budget<Hotkey>,
}

impl Services {
    pub(super) fn new(
        handler: mpsc::Sender<PeerCall>,
        contents: Arc<dyn ContentSource>,
        content_bytes_max: u64,
        identity: Arc<NodeIdentity>,
    ) -> Self {
        Self {
            handler,
            contents,
            content_bytes_max,
            identity,
            content_streams: Budget::new(CONTENT_STREAMS_MAX, CONTENT_STREAMS_PER_PEER_MAX),
            receipt_streams: Budget::new(RECEIPT_STREAMS_MAX, RECEIPT_STREAMS_PER_PEER_MAX),
            batches: Budget::new(CALLS_MAX, BATCHES_PER_PEER_MAX),
        }
    }

    /// Puts the request before the daemon's loop and waits for its answer, both bounded.
    pub(super) async fn ask_node(
        &self,
        peer: Hotkey,
        request: PeerRequest,
    ) -> Result<PeerAnswer, Status> {
        let answers = put_and_wait(peer, self.places(1)?, [request]).await?;
        answers.into_iter().next().ok_or_else(|| ServeRefusal::Internal.status())
    }

    /// Places before the daemon's loop: all of them or none.
    pub(super) fn places(&self, count: usize) -> Result<PermitIterator<'_, PeerCall>, Status> {
        self.handler.try_reserve_many(count).map_err(|error| match error {
            TrySendError::Full(()) => ServeRefusal::Busy.status(),
            TrySendError::Closed(()) => ServeRefusal::Stopping.status(),
        })
    }

    pub(super) fn identity(&self) -> &NodeIdentity {
        &self.identity
    }
}

/// Puts each request into its place before the daemon's loop, and waits for all answers, in order.
/// Without one of them none is given: every request may be repeated.
pub(super) async fn put_and_wait(
    peer: Hotkey,
    places: PermitIterator<'_, PeerCall>,
    requests: impl IntoIterator<Item = PeerRequest>,
) -> Result<Vec<PeerAnswer>, Status> {
    let put = |(place, request): (Permit<'_, PeerCall>, PeerRequest)| {
        let (answer, answered) = oneshot::channel();
        place.send(PeerCall { peer, request, answer });
        answered
    };
    // Collected, so that places without a request are free again before the waiting begins.
    let put: Vec<oneshot::Receiver<PeerAnswer>> = places.zip(requests).map(put).collect();
    match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), try_join_all(put)).await {
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(_)) => Err(ServeRefusal::Stopping.status()),
        Err(_) => Err(ServeRefusal::NoAnswer.status()),
    }
}

/// Who the layer in front found the caller to be.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Hotkey, Status> {
    let caller = request.extensions().get::<VerifiedCaller>();
    caller.map(|VerifiedCaller(hotkey)| *hotkey).ok_or_else(|| ServeRefusal::Internal.status())
}

pub(super) fn bad(error: convert::ConvertError) -> Status {
    ServeRefusal::bad_message(&error)
}

/// The loop answered with another variant than the request's: a fault of ours, told as such.
pub(super) fn wrong_variant() -> Status {
    tracing::error!("the node answered a peer's request with an answer to another one");
    ServeRefusal::Internal.status()
}

#[async_trait]
impl v1::receipts_server::Receipts for Services {
    type SinceStream = Messages<v1::ReceiptEntry>;

    async fn since(
        &self,
        request: Request<v1::SinceRequest>,
    ) -> Result<Response<Self::SinceStream>, Status> {
        let peer = caller(&request)?;
        let place = self.receipt_streams.take(peer).ok_or_else(|| ServeRefusal::Busy.status())?;
        let (of, after) = convert::since_request_from_wire(request.get_ref(), self.identity.hotkey)
            .map_err(bad)?;
        match self.ask_node(peer, PeerRequest::Receipts { of, after }).await? {
            PeerAnswer::Receipts(page) => {
                let entries = page.into_iter().map(|(sequence, receipt)| v1::ReceiptEntry {
                    sequence,
                    receipt: Some(convert::receipt_to_wire(&receipt)),
                });
                Ok(Response::new(send_all(entries, place)))
            }
            _ => Err(wrong_variant()),
        }
    }
}

#[async_trait]
impl v1::contents_server::Contents for Services {
    type GetStream = Messages<v1::Chunk>;

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let peer = caller(&request)?;
        let v1::GetRequest { content, offset } = request.get_ref();
        let content = convert::content_from_wire(content).map_err(bad)?;
        let place = self.content_streams.take(peer).ok_or_else(|| ServeRefusal::Busy.status())?;
        let read = self.contents.read(content);
        let bytes = tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), read)
            .await
            .map_err(|_| ServeRefusal::NoAnswer.status())?
            .filter(|bytes| bytes.len() as u64 <= self.content_bytes_max)
            .ok_or_else(|| ServeRefusal::ContentUnknown.status())?;
        let offset = convert::offset_from_wire(*offset, bytes.len()).map_err(bad)?;
        Ok(Response::new(send_all(chunks(bytes, offset), place)))
    }
}

/// What comes from `offset` on, in chunks; the first, which may be empty, says what the whole is.
fn chunks(bytes: Vec<u8>, offset: usize) -> impl Iterator<Item = v1::Chunk> + Send + 'static {
    let archive =
        v1::Archive { total_bytes: bytes.len() as u64, sha256: sha256(&bytes).0.to_vec() };
    let mut archive = Some(archive);
    let mut sent = offset;
    std::iter::from_fn(move || {
        let rest = bytes.get(sent..).unwrap_or_default();
        let data = rest.get(..CONTENT_CHUNK_BYTES).unwrap_or(rest).to_vec();
        sent += data.len();
        let archive = archive.take();
        (archive.is_some() || !data.is_empty()).then_some(v1::Chunk { data, archive })
    })
}

#[async_trait]
impl v1::node_server::Node for Services {
    async fn info(
        &self,
        _request: Request<v1::InfoRequest>,
    ) -> Result<Response<v1::InfoResponse>, Status> {
        Ok(Response::new(convert::info_to_wire(&self.identity)))
    }
}
