//! Archives from web servers that miners name.
//!
//! Whoever commits chooses which address is asked, so only addresses of the public internet are,
//! also where a server sends us on.

use std::net::{IpAddr, SocketAddr};

use futures_util::StreamExt as _;
use reqwest::header::LOCATION;
use reqwest::{Response, Url};

use super::fetch::SOURCE_TIMEOUT;

/// How often a download may be sent on. Hugging Face sends to where its large files are, and from a
/// repository's old name to its new one.
const REDIRECTS_MAX: usize = 5;

/// An archive in the repository of a location `hf:org/repo@rev`.
const HUGGING_FACE_FILE: &str = "submission.zip";

/// Why a web server gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
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
    #[error("it sends on more than {REDIRECTS_MAX} times")]
    Redirects,
}

/// Downloads what others name.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    /// Whether addresses outside of the public internet are asked.
    pub(crate) private_locations: bool,
}

impl Web {
    /// Downloads over HTTPS from public addresses.
    ///
    /// - `bytes_max`: largest body that is taken.
    pub(crate) async fn download(
        &self,
        mut url: Url,
        bytes_max: u64,
    ) -> Result<Vec<u8>, DownloadError> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&url).await?;
            match sent_on(&url, &response)? {
                Some(next) => url = next,
                None => return body(response, bytes_max).await,
            }
        }
        Err(DownloadError::Redirects)
    }

    async fn ask(&self, url: &Url) -> Result<Response, DownloadError> {
        let (host, address) = self.resolve(url).await?;
        // The name is resolved once and pinned, so that it cannot turn into a private address.
        let client = reqwest::Client::builder()
            .https_only(true)
            // A proxy would resolve the name again, past the check.
            .no_proxy()
            // It would be followed past the check.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SOURCE_TIMEOUT)
            .resolve(&host, address)
            .build()
            .map_err(DownloadError::Request)?;
        client.get(url.clone()).send().await.map_err(DownloadError::Request)
    }

    /// Resolves a URL's host; a miner must not make the node ask its own network.
    async fn resolve(&self, url: &Url) -> Result<(String, SocketAddr), DownloadError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        let not_public = || DownloadError::NotPublic { host: host.clone() };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut addresses = tokio::net::lookup_host((bare.as_str(), port))
            .await
            .map_err(|source| DownloadError::Resolve { host: host.clone(), source })?;
        let address = addresses
            .find(|address| self.private_locations || is_public(address.ip()))
            .ok_or_else(not_public)?;
        Ok((host, address))
    }
}

/// Where archives of `hf:` locations are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HuggingFace {
    base: Url,
}

impl HuggingFace {
    /// At Hugging Face's own address, or at that of a mirror.
    pub(crate) fn at(base: &str) -> Result<Self, DownloadError> {
        let base = parsed_url(base)?;
        if base.cannot_be_a_base() {
            return Err(DownloadError::BadUrl { url: base.into() });
        }
        Ok(Self { base })
    }

    /// The archive of a repository, `org/repo@rev`.
    pub(crate) fn archive(&self, repository: &str) -> Url {
        let (name, revision) = repository.split_once('@').unwrap_or((repository, "main"));
        let mut url = self.base.clone();
        // One that cannot be a base was refused. Each segment is encoded, slashes too.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(name.split('/'));
            path.extend(["resolve", revision, HUGGING_FACE_FILE]);
        }
        url
    }
}

/// Reads a URL.
pub(crate) fn parsed_url(text: &str) -> Result<Url, DownloadError> {
    Url::parse(text).map_err(|_| DownloadError::BadUrl { url: text.to_owned() })
}

/// Where the server sends on to, if it does.
fn sent_on(from: &Url, response: &Response) -> Result<Option<Url>, DownloadError> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let status = response.status().as_u16();
    let Some(named) = response.headers().get(LOCATION) else {
        return Err(DownloadError::Status { status });
    };
    let bad = || DownloadError::BadUrl { url: String::from_utf8_lossy(named.as_bytes()).into() };
    let next = named.to_str().ok().and_then(|named| from.join(named).ok());
    next.map(Some).ok_or_else(bad)
}

async fn body(response: Response, bytes_max: u64) -> Result<Vec<u8>, DownloadError> {
    if !response.status().is_success() {
        return Err(DownloadError::Status { status: response.status().as_u16() });
    }
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.map_err(DownloadError::Request)?);
        if bytes.len() as u64 > bytes_max {
            return Err(DownloadError::TooLarge { max: bytes_max });
        }
    }
    Ok(bytes)
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

    #[test]
    fn a_repository_has_its_archive_at_its_revision_whatever_the_names() {
        let archive =
            |base: &str, repository| HuggingFace::at(base).unwrap().archive(repository).to_string();
        assert_eq!(
            archive("https://huggingface.co", "org/repo@0123abc"),
            "https://huggingface.co/org/repo/resolve/0123abc/submission.zip"
        );
        assert_eq!(
            archive("https://mirror.example/hub/", "org/re?po@refs/pr/1"),
            "https://mirror.example/hub/org/re%3Fpo/resolve/refs%2Fpr%2F1/submission.zip"
        );
        assert_eq!(
            archive("https://huggingface.co", "../repo@.."),
            "https://huggingface.co/repo/resolve/submission.zip",
            "it leads to nothing, and not out of there"
        );
    }
}
