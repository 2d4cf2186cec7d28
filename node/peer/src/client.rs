//! Asks peers: signs, calls, checks the answer's shape, and says precisely what went wrong.
//!
//! Calls are not retried here: the machine decides what to ask again, and each try is signed anew.
//! Only a content whose stream broke is taken up again where it stopped, a few times.

mod answer;
mod channels;
mod connect;
mod error;
mod fetch;
mod leases;
mod met;
mod refused;

pub use answer::AnswerError;
pub use error::{AskError, FetchError};
pub(crate) use fetch::Download;
pub use refused::Refused;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use node_core::evidence::Receipt;
use node_core::id::{ContentDigest, Hotkey, HotkeySigner};
use node_core::lease::{HoldAnswer, LeaseAnswer, PeerAnswer, PeerRequest, Seal};
use node_core::limits::PEER_CALL_MS_MAX;
use node_core::publish::KeyStanding;
use proto::v1;
use proto::v1::contents_client::ContentsClient;
use proto::v1::node_client::NodeClient;
use proto::v1::receipts_client::ReceiptsClient;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::Streaming;
use tower::Layer;

use crate::auth::{CallSigner, SignCalls, SignLayer};
use crate::clock::WallClock;
use crate::convert;
use crate::directory::{NodeIdentity, NodeInfo, PeerDirectory};
use crate::limits::{CONTENT_CHUNK_BYTES, RECEIPT_BYTES_MAX, STREAM_IDLE_MS_MAX, STREAM_MS_MAX};
use crate::tls::{NodeCertificate, TlsParts};
use answer::{Page, Unbelieved};
use channels::{Channels, PeerChannel};
use fetch::{may_go_on, pause_after};
use leases::{single, Leases};
use refused::RefusedCounter;

/// A chunk with its tags and lengths, and what the archive is.
const CHUNK_MESSAGE_BYTES_MAX: usize = CONTENT_CHUNK_BYTES + 80;

/// What a node says about itself fits easily.
const INFO_BYTES_MAX: usize = 4 << 10;

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientParts {
    /// This node; calls are for its chain and subnet.
    pub identity: NodeIdentity,
    /// Signs calls.
    pub signer: Arc<dyn HotkeySigner>,
    /// The wall clock.
    pub clock: Arc<dyn WallClock>,
    /// What this node shows to whom it calls; a renewed one is shown from then on.
    pub certificate: watch::Receiver<NodeCertificate>,
    /// The validators of the latest view, for the keys that they published.
    pub directory: watch::Receiver<PeerDirectory>,
}

/// Calls peers in this node's name. Keeps one connection per peer and endpoint, at most
/// [`crate::limits::CHANNELS_MAX`].
#[derive(Debug)]
pub struct PeerClient {
    signer: CallSigner,
    channels: Channels,
    receipts_refused: RefusedCounter,
    seals_refused: RefusedCounter,
}

type Signed = SignCalls<Channel>;

impl PeerClient {
    /// A client for one node. Opens nothing yet.
    #[must_use]
    pub fn new(parts: ClientParts) -> Self {
        let ClientParts { identity, signer, clock, certificate, directory } = parts;
        let identity = Arc::new(identity);
        let tls = TlsParts {
            identity: Arc::clone(&identity),
            directory,
            clock: Arc::clone(&clock),
            certificate,
        };
        Self {
            signer: CallSigner { identity, signer, clock },
            channels: Channels::new(tls),
            receipts_refused: RefusedCounter::default(),
            seals_refused: RefusedCounter::default(),
        }
    }

    /// How the key that `peer` showed when it was last called stands to what it published on chain;
    /// `None` if that is not known.
    #[must_use]
    pub fn key_standing(&self, peer: &Hotkey) -> Option<KeyStanding> {
        self.channels.key_standing(peer)
    }

    /// Receipts that peers sent and that were skipped, since the start: malformed, or not signed
    /// by their worker. Each is logged with the peer that sent it.
    #[must_use]
    pub fn receipts_refused(&self) -> Refused {
        self.receipts_refused.get()
    }

    /// Seals that peers sent in their answers and that were dropped, since the start, likewise.
    #[must_use]
    pub fn seals_refused(&self) -> Refused {
        self.seals_refused.get()
    }

    /// Asks `peer` at `endpoint`. The answer has the request's variant, one answer per item asked,
    /// grants in the peer's own name, receipts in order, and receipts and seals signed by their
    /// workers.
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
        let PeerChannel { channel, fault } = self.channels.channel(peer, endpoint)?;
        let asked = self.ask_unbounded(self.signed(channel, peer), peer, request);
        bounded(PEER_CALL_MS_MAX, asked).await.map_err(|error| error.or_refused(fault.get()))
    }

    async fn ask_unbounded(
        &self,
        channel: Signed,
        peer: Hotkey,
        request: PeerRequest,
    ) -> Result<PeerAnswer, AskError> {
        let mut leases = Leases::new(channel.clone());
        let identity = &self.signer.identity;
        let dropped = |reason| self.drop_seal(peer, &reason);
        match request {
            PeerRequest::Receipts { of, after } => self.receipts(channel, peer, of, after).await,
            PeerRequest::Acquire(wanted) => {
                leases.acquire(peer, &wanted).await.map(PeerAnswer::Acquired)
            }
            PeerRequest::Renew(renewals) => {
                leases.renew(identity, &renewals, dropped).await.map(PeerAnswer::Renewed)
            }
            PeerRequest::Seal(seal) => {
                let answers = leases.seal(identity, &[*seal], dropped).await?;
                single(answers).map(PeerAnswer::Sealed)
            }
            PeerRequest::Complete(receipt) => {
                let answers = leases.complete(&[*receipt]).await?;
                single(answers).map(PeerAnswer::Completed)
            }
            PeerRequest::Release { item, reason } => {
                leases.release(&item, &reason).await.map(PeerAnswer::Released)
            }
            PeerRequest::Explain { submission } => {
                leases.explain(&submission).await.map(PeerAnswer::Explained)
            }
        }
    }

    /// Seals several results in one call, at most [`crate::limits::BATCH_ITEMS_MAX`]; one answer
    /// each, in order.
    ///
    /// # Errors
    ///
    /// As for [`PeerClient::ask`]; after any of them all or none may have been sealed.
    pub async fn seal_all(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        seals: &[Seal],
    ) -> Result<Vec<HoldAnswer>, AskError> {
        let PeerChannel { channel, fault } = self.channels.channel(peer, endpoint)?;
        let mut leases = Leases::new(self.signed(channel, peer));
        let dropped = |reason| self.drop_seal(peer, &reason);
        let asked = leases.seal(&self.signer.identity, seals, dropped);
        bounded(PEER_CALL_MS_MAX, asked).await.map_err(|error| error.or_refused(fault.get()))
    }

    /// Hands in several receipts in one call, at most [`crate::limits::BATCH_ITEMS_MAX`]; one
    /// answer each, in order.
    ///
    /// # Errors
    ///
    /// As for [`PeerClient::ask`]; after any of them all or none may have been accepted.
    pub async fn complete_all(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        receipts: &[Receipt],
    ) -> Result<Vec<LeaseAnswer>, AskError> {
        let PeerChannel { channel, fault } = self.channels.channel(peer, endpoint)?;
        let mut leases = Leases::new(self.signed(channel, peer));
        let asked = leases.complete(receipts);
        bounded(PEER_CALL_MS_MAX, asked).await.map_err(|error| error.or_refused(fault.get()))
    }

    fn drop_seal(&self, peer: Hotkey, reason: &Unbelieved) {
        self.seals_refused.count(reason);
        tracing::warn!(%peer, %reason, "seal refused");
    }

    /// Fetches a submission's archive. A stream that breaks is taken up again where it stopped, at
    /// most [`crate::limits::CONTENT_TRIES_MAX`] times in all. The bytes are those that the peer
    /// announced, whatever it announced: the caller verifies the content digest.
    ///
    /// # Errors
    ///
    /// [`FetchError::TooLarge`] before one byte above `bytes_max` is held; the others as named,
    /// with the last try's reason.
    pub async fn fetch_content(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        content: ContentDigest,
        bytes_max: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let limit = Duration::from_millis(STREAM_MS_MAX);
        let fetched = self.fetch_with_tries(peer, endpoint, Download::new(content, bytes_max));
        tokio::time::timeout(limit, fetched).await.unwrap_or_else(|_| {
            let source = AskError::TimedOut { after_ms: STREAM_MS_MAX };
            Err(FetchError::Ask { content, source })
        })
    }

    async fn fetch_with_tries(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        mut download: Download,
    ) -> Result<Vec<u8>, FetchError> {
        let mut failed = 0;
        loop {
            let error = match self.fetch_once(peer, endpoint, &mut download).await {
                Ok(()) => return download.finish(),
                Err(error) => error,
            };
            failed += 1;
            match pause_after(failed) {
                Some(pause) if may_go_on(&error) => {
                    let reason = error.to_string();
                    tracing::debug!(%peer, failed, reason, "content broke off, going on");
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// One stream: what is still missing, or as much of it as comes.
    async fn fetch_once(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
        download: &mut Download,
    ) -> Result<(), FetchError> {
        let content = download.content();
        let failed = |source| FetchError::from_ask(content, source);
        let PeerChannel { channel, fault } =
            self.channels.channel(peer, endpoint).map_err(failed)?;
        let mut client = ContentsClient::new(self.signed(channel, peer))
            .max_decoding_message_size(CHUNK_MESSAGE_BYTES_MAX);
        let answered = bounded(PEER_CALL_MS_MAX, async {
            client.get(download.request()).await.map_err(|status| AskError::from_status(&status))
        });
        let answered = answered.await.map_err(|error| failed(error.or_refused(fault.get())))?;
        let mut stream = answered.into_inner();
        let first = next(&mut stream).await.map_err(failed)?;
        let first = first.ok_or_else(|| download.cut_short())?;
        download.begin(first)?;
        while let Some(chunk) = next(&mut stream).await.map_err(failed)? {
            download.next(chunk)?;
        }
        if download.is_whole() {
            Ok(())
        } else {
            Err(download.cut_short())
        }
    }

    /// Asks `peer` at `endpoint` about itself. Not signed, since it changes nothing; the answer is
    /// as good as the certificate of the connection, which is the peer's.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    pub async fn info(&self, peer: Hotkey, endpoint: SocketAddr) -> Result<NodeInfo, AskError> {
        let PeerChannel { channel, fault } = self.channels.channel(peer, endpoint)?;
        let asked = bounded(PEER_CALL_MS_MAX, async {
            let mut client = NodeClient::new(channel).max_decoding_message_size(INFO_BYTES_MAX);
            let answer = client.info(v1::InfoRequest {}).await;
            let answer = answer.map_err(|status| AskError::from_status(&status))?;
            let info = convert::info_from_wire(answer.into_inner()).map_err(AskError::malformed)?;
            let hotkey = info.identity.hotkey;
            if hotkey != peer {
                return Err(AskError::MalformedAnswer(AnswerError::OtherIdentity { hotkey }));
            }
            Ok(info)
        });
        asked.await.map_err(|error| error.or_refused(fault.get()))
    }

    fn signed(&self, channel: Channel, peer: Hotkey) -> Signed {
        SignLayer { signer: self.signer.clone(), receiver: peer }.layer(channel)
    }

    async fn receipts(
        &self,
        channel: Signed,
        peer: Hotkey,
        of: Hotkey,
        after: u64,
    ) -> Result<PeerAnswer, AskError> {
        let mut client = ReceiptsClient::new(channel).max_decoding_message_size(RECEIPT_BYTES_MAX);
        let answered = client.since(convert::since_request_to_wire(of, after, peer)).await;
        let mut stream = answered.map_err(|status| AskError::from_status(&status))?.into_inner();
        let mut page = Page::after(after);
        while let Some(entry) = next(&mut stream).await? {
            if let Err(refused) = page.push(entry).map_err(AskError::MalformedAnswer)? {
                self.receipts_refused.count(&refused.reason);
                tracing::warn!(%peer, sequence = refused.sequence, reason = %refused.reason,
                    "receipt refused");
            }
        }
        Ok(PeerAnswer::Receipts(page.into_receipts()))
    }
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
