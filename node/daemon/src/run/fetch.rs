//! Gets a submission's bytes: from our store, from the operator's directories, from where the
//! miner says they are, or from a peer by digest.
//!
//! The digest decides which bytes are the right ones; only those are stored. An archive that cannot
//! be read has no digest: in the operator's directory it rejects the submission it was put there
//! for, and no other. From a peer it says nothing, or a peer could have somebody else's submission
//! rejected; nor from the web, where a miner could show each validator something else, and where a
//! server's page of errors is no archive either. The next try asks again.

use std::sync::Arc;
use std::time::Duration;

use node_core::admission::Rejection;
use node_core::commitment::Location;
use node_core::id::{ContentDigest, Hotkey};
use node_core::machine::effect::{ContentSource, PeerAddress};
use node_core::policy::ArchiveLimits;
use node_evaluator::archive::{content_digest, read_archive};
use node_peer::PeerClient;
use reqwest::Url;
use tokio::sync::Semaphore;

use super::contents::Contents;
use super::perform::describe;
use super::web::{parsed_url, DownloadError, HuggingFace, Web};

/// How long one source may take. Longer: a slow web server keeps a submission from peers' copies.
pub(super) const SOURCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches that run at the same time.
pub(crate) const FETCHES_MAX: usize = 8;

/// Peers asked for one submission in one try.
const PEERS_ASKED_MAX: usize = 8;

/// Fetches archives.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    pub(crate) contents: Contents,
    pub(crate) peers: Arc<PeerClient>,
    pub(crate) limits: ArchiveLimits,
    pub(crate) own: Hotkey,
    pub(crate) web: Web,
    pub(crate) hugging_face: HuggingFace,
    /// Bounds the fetches that run at the same time.
    pub(crate) at_once: Arc<Semaphore>,
}

/// What became of a fetch.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The bytes are in the store.
    Stored,
    /// The operator's directory has only bytes that break a rule of archives and so have no digest,
    /// and nobody else has better ones.
    Unreadable(Rejection),
}

/// Why no source had the bytes; one line per source.
#[derive(Debug, thiserror::Error)]
#[error("no source has this content: {}", .0.join("; "))]
pub(crate) struct FetchFailed(Vec<String>);

/// Why one source had nothing.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("its bytes are other content ({got})")]
    OtherContent { got: ContentDigest },
    #[error("its bytes are no readable archive: {0}")]
    Unreadable(Rejection),
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error("it took longer than {} s", SOURCE_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the peer did not send it: {0}")]
    Peer(String),
}

impl Fetcher {
    /// Makes the bytes of `content` available in the store.
    ///
    /// # Errors
    ///
    /// [`FetchFailed`] with what each source said; trying again later can help.
    pub(crate) async fn fetch(
        &self,
        content: &ContentDigest,
        location: &Location,
        peers: &[PeerAddress],
    ) -> Result<Fetched, FetchFailed> {
        if self.contents.read(content).await.is_some() {
            return Ok(Fetched::Stored);
        }
        // Each may hold an archive in memory, and a busy subnet commits in bursts.
        let _permit = self.at_once.acquire().await;
        let mut tried = Tried::default();
        let Some(bytes) = self.from_anywhere(content, location, peers, &mut tried).await else {
            return tried.unreadable.map(Fetched::Unreadable).ok_or(FetchFailed(tried.failures));
        };
        self.contents
            .store(content, bytes)
            .await
            .map(|()| Fetched::Stored)
            .map_err(|error| FetchFailed(vec![format!("the store cannot be written: {error}")]))
    }

    /// The bytes of a content, which are fetched if they are not in the store.
    pub(crate) async fn get(&self, source: &ContentSource) -> Option<Vec<u8>> {
        let ContentSource { content, location, peers } = source;
        match self.fetch(content, location, peers).await {
            Ok(Fetched::Stored) => self.contents.read(content).await,
            Ok(Fetched::Unreadable(rejection)) => {
                tracing::warn!(%content, %rejection, "a content that a run needs is unreadable");
                None
            }
            Err(error) => {
                tracing::warn!(%content, %error, "a content that a run needs is not to be had");
                None
            }
        }
    }

    #[allow(clippy::wrong_self_convention, reason = "it is where the bytes come from")]
    async fn from_anywhere(
        &self,
        content: &ContentDigest,
        location: &Location,
        peers: &[PeerAddress],
        tried: &mut Tried,
    ) -> Option<Vec<u8>> {
        if let Some(bytes) = self.contents.read_provided(content).await {
            let checked = self.checked(content, bytes).await;
            if let Some(bytes) = tried.note("the local directory", checked, Source::Operator) {
                return Some(bytes);
            }
        }
        if let Some(url) = self.url_of(location) {
            let answer = timed(self.download(content, url)).await;
            if let Some(bytes) = tried.note(&location.to_string(), answer, Source::Other) {
                return Some(bytes);
            }
        }
        let others = peers.iter().filter(|peer| peer.hotkey != self.own);
        for peer in others.take(PEERS_ASKED_MAX) {
            let answer = timed(self.ask_peer(content, peer)).await;
            if let Some(bytes) = tried.note(&peer.hotkey.short(), answer, Source::Other) {
                return Some(bytes);
            }
        }
        if tried.failures.is_empty() {
            tried.failures.push("no local directory has it and no peer is known".to_owned());
        }
        None
    }

    /// Where an archive lies on the web; `None` if its location is the peers.
    fn url_of(&self, location: &Location) -> Option<Result<Url, DownloadError>> {
        match location {
            Location::Https(url) => Some(parsed_url(url)),
            Location::HuggingFace(repository) => Some(Ok(self.hugging_face.archive(repository))),
            Location::Peers => None,
        }
    }

    async fn download(
        &self,
        content: &ContentDigest,
        url: Result<Url, DownloadError>,
    ) -> Result<Vec<u8>, SourceError> {
        let bytes = self.web.download(url?, self.limits.packed_bytes_max).await?;
        self.checked(content, bytes).await
    }

    async fn ask_peer(
        &self,
        content: &ContentDigest,
        peer: &PeerAddress,
    ) -> Result<Vec<u8>, SourceError> {
        let bytes_max = self.limits.packed_bytes_max;
        let bytes = self
            .peers
            .fetch_content(peer.hotkey, peer.endpoint, *content, bytes_max)
            .await
            .map_err(|error| SourceError::Peer(error.to_string()))?;
        self.checked(content, bytes).await
    }

    /// Whether these are the bytes that were committed.
    async fn checked(
        &self,
        content: &ContentDigest,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, SourceError> {
        let limits = self.limits.clone();
        let read = tokio::task::spawn_blocking(move || {
            let digest =
                read_archive(&bytes, &limits).map(|archive| content_digest(&archive.files));
            (bytes, digest)
        });
        let (bytes, digest) = read.await.map_err(|error| SourceError::Peer(error.to_string()))?;
        match digest {
            Ok(got) if got == *content => Ok(bytes),
            Ok(got) => Err(SourceError::OtherContent { got }),
            Err(rejection) => Err(SourceError::Unreadable(rejection)),
        }
    }
}

/// What sources answered that did not have the bytes.
#[derive(Debug, Default)]
struct Tried {
    failures: Vec<String>,
    unreadable: Option<Rejection>,
}

impl Tried {
    fn note(
        &mut self,
        source: &str,
        answer: Result<Vec<u8>, SourceError>,
        whose: Source,
    ) -> Option<Vec<u8>> {
        let error = match answer {
            Ok(bytes) => return Some(bytes),
            Err(error) => error,
        };
        self.failures.push(format!("{source}: {}", describe(&error)));
        if let (SourceError::Unreadable(rejection), Source::Operator) = (error, whose) {
            self.unreadable = Some(rejection);
        }
        None
    }
}

/// Who gave bytes: about those that break a rule, and have no digest, the operator's word counts.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The operator's directory.
    Operator,
    /// The miner's location, or another validator.
    Other,
}

async fn timed<T>(
    work: impl std::future::Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(SOURCE_TIMEOUT, work).await.unwrap_or(Err(SourceError::TimedOut))
}
