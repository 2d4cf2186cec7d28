//! Gets a submission's bytes: from our store, from the operator's directories, from where the
//! miner says they are, or from a peer by digest.
//!
//! The digest decides which bytes are the right ones; only those are stored. An archive that cannot
//! be read has no digest: from the miner's own location or the operator's directory it rejects the
//! submission that pointed to it, and no other; from a peer it says nothing, or a peer could have
//! somebody else's submission rejected.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use node_core::admission::Rejection;
use node_core::commitment::Location;
use node_core::id::{ContentDigest, Hotkey};
use node_core::machine::effect::{ContentSource, PeerAddress};
use node_core::policy::ArchiveLimits;
use node_evaluator::archive::{content_digest, read_archive};
use node_peer::PeerClient;
use tokio::sync::Semaphore;

use super::contents::Contents;
use super::perform::describe;

/// How long one source may take. Longer: a slow web server keeps a submission from peers' copies.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Whether miners may name addresses outside of the public internet.
    pub(crate) private_locations: bool,
    /// Bounds the fetches that run at the same time.
    pub(crate) at_once: Arc<Semaphore>,
}

/// What became of a fetch.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The bytes are in the store.
    Stored,
    /// The miner's location, or the operator's directory, has only bytes that break a rule of
    /// archives and so have no digest.
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
    #[error("`{host}` is not a public address")]
    NotPublic { host: String },
    #[error("`{host}` cannot be resolved")]
    Resolve {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{url}` is not a URL")]
    BadUrl { url: String },
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    #[error("the server answered {status}")]
    Status { status: u16 },
    #[error("it sends more than {max} bytes")]
    TooLarge { max: u64 },
    #[error("it cannot be reached by this build")]
    Unsupported,
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
            if let Some(bytes) = tried.note("the local directory", checked, Source::Trusted) {
                return Some(bytes);
            }
        }
        if *location != Location::Peers {
            let answer = timed(self.ask_location(content, location)).await;
            if let Some(bytes) = tried.note(&location.to_string(), answer, Source::Trusted) {
                return Some(bytes);
            }
        }
        let others = peers.iter().filter(|peer| peer.hotkey != self.own);
        for peer in others.take(PEERS_ASKED_MAX) {
            let answer = timed(self.ask_peer(content, peer)).await;
            if let Some(bytes) = tried.note(&peer.hotkey.short(), answer, Source::Peer) {
                return Some(bytes);
            }
        }
        if tried.failures.is_empty() {
            tried.failures.push("no local directory has it and no peer is known".to_owned());
        }
        None
    }

    async fn ask_location(
        &self,
        content: &ContentDigest,
        location: &Location,
    ) -> Result<Vec<u8>, SourceError> {
        match location {
            Location::Https(url) => {
                let bytes = self.download(url).await?;
                self.checked(content, bytes).await
            }
            Location::HuggingFace(_) | Location::Peers => Err(SourceError::Unsupported),
        }
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

    /// Downloads over HTTPS from a public address, without following redirects.
    async fn download(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        let (host, address) = self.resolve(url).await?;
        // The name is resolved once and pinned, so that it cannot turn into a private address.
        let client = reqwest::Client::builder()
            .https_only(true)
            // A proxy would resolve the name again, past the check.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SOURCE_TIMEOUT)
            .resolve(&host, address)
            .build()
            .map_err(SourceError::Request)?;
        let response = client.get(url).send().await.map_err(SourceError::Request)?;
        if !response.status().is_success() {
            return Err(SourceError::Status { status: response.status().as_u16() });
        }
        let bytes_max = self.limits.packed_bytes_max;
        let mut bytes = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(SourceError::Request)?);
            if bytes.len() as u64 > bytes_max {
                return Err(SourceError::TooLarge { max: bytes_max });
            }
        }
        Ok(bytes)
    }

    /// Resolves a URL's host; a miner must not make the node ask its own network.
    async fn resolve(&self, url: &str) -> Result<(String, SocketAddr), SourceError> {
        let parsed =
            reqwest::Url::parse(url).map_err(|_| SourceError::BadUrl { url: url.to_owned() })?;
        let host = parsed.host_str().unwrap_or_default().to_owned();
        let port = parsed.port_or_known_default().unwrap_or(443);
        let not_public = || SourceError::NotPublic { host: host.clone() };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut addresses = tokio::net::lookup_host((bare.as_str(), port))
            .await
            .map_err(|source| SourceError::Resolve { host: host.clone(), source })?;
        let address = addresses
            .find(|address| self.private_locations || is_public(address.ip()))
            .ok_or_else(not_public)?;
        Ok((host, address))
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
        trust: Source,
    ) -> Option<Vec<u8>> {
        let error = match answer {
            Ok(bytes) => return Some(bytes),
            Err(error) => error,
        };
        self.failures.push(format!("{source}: {}", describe(&error)));
        if let (SourceError::Unreadable(rejection), Source::Trusted) = (error, trust) {
            self.unreadable = Some(rejection);
        }
        None
    }
}

/// Whose word counts about bytes that break a rule and so have no digest.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The miner's own location, or the operator's directory.
    Trusted,
    /// Another validator.
    Peer,
}

async fn timed<T>(
    work: impl std::future::Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(SOURCE_TIMEOUT, work).await.unwrap_or(Err(SourceError::TimedOut))
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            let is_protocol = first == 192 && second == 0 && v4.octets()[2] == 0;
            let is_benchmark = first == 198 && (18..20).contains(&second);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || first == 0
                || first >= 240
                || is_shared
                || is_protocol
                || is_benchmark)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            // Only global unicast, 2000::/3, without the documentation and tunnelling prefixes.
            let [first, second, ..] = v6.segments();
            let is_documentation = first == 0x2001 && second == 0x0db8;
            let is_tunnel = first == 0x2002 || (first == 0x2001 && second == 0);
            first & 0xe000 == 0x2000 && !is_documentation && !is_tunnel
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_special_addresses_are_not_public() {
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
        ];
        for address in private {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "93.184.216.34", "2606:4700::1111"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
