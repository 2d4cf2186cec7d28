//! Gets a submission's bytes: from our store, from the operator's directories, from where the
//! miner says they are, or from a peer by digest.
//!
//! The digest decides which bytes are the right ones. An archive that cannot be read has no
//! digest: from the miner's own location or the operator's directory it is taken, so that
//! admission can name the broken rule; from a peer it is not, or a peer could have somebody
//! else's submission rejected.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use node_core::commitment::Location;
use node_core::id::{ContentDigest, Hotkey};
use node_core::machine::effect::PeerAddress;
use node_core::policy::ArchiveLimits;
use node_evaluator::archive::{content_digest, read_archive};
use node_peer::PeerClient;

use super::contents::Contents;

/// How long one source may take. Longer: a slow web server keeps a submission from peers' copies.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(30);

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
    #[error("its bytes are no readable archive")]
    Unreadable,
    #[error("`{host}` is not a public address")]
    NotPublic { host: String },
    #[error("the address is malformed")]
    BadUrl(#[source] reqwest::Error),
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
    ) -> Result<(), FetchFailed> {
        if self.contents.read(content).await.is_some() {
            return Ok(());
        }
        let mut failures = Vec::new();
        let bytes = match self.contents.read_provided(content).await {
            Some(bytes) => self.checked(content, bytes, Source::Trusted),
            None => Err(SourceError::Peer("no local directory has it".to_owned())),
        };
        let bytes = match bytes {
            Ok(bytes) => Some(bytes),
            Err(_) => self.ask_others(content, location, peers, &mut failures).await,
        };
        let Some(bytes) = bytes else { return Err(FetchFailed(failures)) };
        self.contents
            .store(content, bytes)
            .await
            .map_err(|error| FetchFailed(vec![format!("the store cannot be written: {error}")]))
    }

    async fn ask_others(
        &self,
        content: &ContentDigest,
        location: &Location,
        peers: &[PeerAddress],
        failures: &mut Vec<String>,
    ) -> Option<Vec<u8>> {
        if *location != Location::Peers {
            match timed(self.ask_location(content, location)).await {
                Ok(bytes) => return Some(bytes),
                Err(error) => failures.push(format!("{location}: {error}")),
            }
        }
        let others = peers.iter().filter(|peer| peer.hotkey != self.own);
        for peer in others.take(PEERS_ASKED_MAX) {
            match timed(self.ask_peer(content, peer)).await {
                Ok(bytes) => return Some(bytes),
                Err(error) => failures.push(format!("{}: {error}", peer.hotkey.short())),
            }
        }
        if failures.is_empty() {
            failures.push("no local directory has it and no peer is known".to_owned());
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
                self.checked(content, bytes, Source::Trusted)
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
        self.checked(content, bytes, Source::Peer)
    }

    /// Downloads over HTTPS from a public address, without following redirects.
    async fn download(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        let (host, address) = self.resolve(url).await?;
        // The name is resolved once and pinned, so that it cannot turn into a private address.
        let client = reqwest::Client::builder()
            .https_only(true)
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
        let request = reqwest::Client::new().get(url).build().map_err(SourceError::BadUrl)?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let port = request.url().port_or_known_default().unwrap_or(443);
        let not_public = || SourceError::NotPublic { host: host.clone() };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut addresses =
            tokio::net::lookup_host((bare.as_str(), port)).await.map_err(|_| not_public())?;
        let address = addresses
            .find(|address| self.private_locations || is_public(address.ip()))
            .ok_or_else(not_public)?;
        Ok((host, address))
    }

    fn checked(
        &self,
        content: &ContentDigest,
        bytes: Vec<u8>,
        source: Source,
    ) -> Result<Vec<u8>, SourceError> {
        match (read_archive(&bytes, &self.limits), source) {
            (Ok(archive), _) => {
                let got = content_digest(&archive.files);
                if got == *content {
                    Ok(bytes)
                } else {
                    Err(SourceError::OtherContent { got })
                }
            }
            (Err(_), Source::Trusted) => Ok(bytes),
            (Err(_), Source::Peer) => Err(SourceError::Unreadable),
        }
    }
}

/// Whether bytes without a digest are taken from it.
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
