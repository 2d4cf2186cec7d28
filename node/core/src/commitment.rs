//! What a miner writes on chain: `nas:1:<content digest>:<location>`.
//!
//! The digest is the identity; the location is only a hint where to fetch the bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ContentDigest;
use crate::limits::{COMMITMENT_BYTES_MAX, CONTENT_DIGEST_BASE64_LEN};

/// A commitment that points to a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Digest of the content.
    pub content: ContentDigest,
    /// Where the content can be fetched.
    pub location: Location,
}

/// Where a submission's bytes can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// From a web server.
    Https(String),
    /// `org/repo@rev` on a model hub.
    HuggingFace(String),
    /// From a validator that already has it: a local directory or a peer, by digest.
    Peers,
}

/// Why committed bytes are not a submission's commitment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitmentError {
    /// Longer than a commitment may be.
    #[error("the commitment has {got} bytes, more than {COMMITMENT_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        got: usize,
    },
    /// Not text.
    #[error("the commitment is not printable ASCII")]
    NotText,
    /// Meant for something else: another challenge or another tool.
    #[error("the commitment does not start with `nas:1:`")]
    OtherKind,
    /// The digest's text is malformed.
    #[error("`{text}` is not a content digest: 43 characters of base64url without padding")]
    BadDigest {
        /// What stood in its place.
        text: String,
    },
    /// The location is of no known kind.
    #[error("`{text}` is not a location: `https://...`, `hf:org/repo@rev` or nothing")]
    BadLocation {
        /// What stood in its place.
        text: String,
    },
}

const PREFIX: &str = "nas:1:";

impl Commitment {
    /// Reads the bytes found on chain.
    ///
    /// # Errors
    ///
    /// One variant per rule of the format, checked in the order of [`CommitmentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CommitmentError> {
        if bytes.len() > COMMITMENT_BYTES_MAX {
            return Err(CommitmentError::TooLong { got: bytes.len() });
        }
        if !bytes.iter().all(|byte| byte.is_ascii_graphic()) {
            return Err(CommitmentError::NotText);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| CommitmentError::NotText)?;
        let rest = text.strip_prefix(PREFIX).ok_or(CommitmentError::OtherKind)?;
        let (digest, location) = rest
            .split_once(':')
            .ok_or_else(|| CommitmentError::BadDigest { text: rest.to_owned() })?;
        Ok(Self { content: digest_from_base64(digest)?, location: Location::parse(location)? })
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", digest_to_base64(&self.content), self.location)
    }
}

impl Location {
    /// Reads the part behind the digest.
    ///
    /// # Errors
    ///
    /// [`CommitmentError::BadLocation`] for anything but the three kinds.
    pub fn parse(text: &str) -> Result<Self, CommitmentError> {
        let bad = || CommitmentError::BadLocation { text: text.to_owned() };
        if text.is_empty() {
            return Ok(Self::Peers);
        }
        if let Some(host) = text.strip_prefix("https://") {
            return if host.is_empty() { Err(bad()) } else { Ok(Self::Https(text.to_owned())) };
        }
        let repository = text.strip_prefix("hf:").ok_or_else(bad)?;
        let (name, revision) = repository.split_once('@').ok_or_else(bad)?;
        let is_name = name.split('/').filter(|part| !part.is_empty()).count() == 2;
        if is_name && name.matches('/').count() == 1 && !revision.is_empty() {
            Ok(Self::HuggingFace(repository.to_owned()))
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https(url) => f.write_str(url),
            Self::HuggingFace(repository) => write!(f, "hf:{repository}"),
            Self::Peers => Ok(()),
        }
    }
}

const URL_SAFE: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn digest_to_base64(digest: &ContentDigest) -> String {
    base64::Engine::encode(&URL_SAFE, digest.0)
}

fn digest_from_base64(text: &str) -> Result<ContentDigest, CommitmentError> {
    let bad = || CommitmentError::BadDigest { text: text.to_owned() };
    if text.len() != CONTENT_DIGEST_BASE64_LEN {
        return Err(bad());
    }
    let bytes = base64::Engine::decode(&URL_SAFE, text).map_err(|_| bad())?;
    bytes.try_into().map(ContentDigest).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> ContentDigest {
        ContentDigest([0xa5; 32])
    }

    #[test]
    fn every_location_survives_the_round_trip() {
        for location in [
            Location::Peers,
            Location::Https("https://example.org/a:b.zip".to_owned()),
            Location::HuggingFace("org/repo@0123abc".to_owned()),
        ] {
            let commitment = Commitment { content: digest(), location };
            assert_eq!(Commitment::parse(commitment.to_string().as_bytes()), Ok(commitment));
        }
    }

    #[test]
    fn each_malformed_commitment_is_refused_with_its_reason() {
        let good = Commitment { content: digest(), location: Location::Peers }.to_string();
        let parse = |text: &str| Commitment::parse(text.as_bytes()).unwrap_err();
        assert_eq!(parse(&"x".repeat(200)), CommitmentError::TooLong { got: 200 });
        assert_eq!(parse("nas:1:\n"), CommitmentError::NotText);
        assert_eq!(parse("distill:1:x:"), CommitmentError::OtherKind);
        assert!(matches!(parse("nas:1:short:"), CommitmentError::BadDigest { .. }));
        assert!(matches!(parse(good.trim_end_matches(':')), CommitmentError::BadDigest { .. }));
        for location in ["http://example.org", "https://", "hf:org", "hf:a/b", "hf:/b@c", "ftp:x"] {
            let error = parse(&format!("{good}{location}"));
            assert!(matches!(error, CommitmentError::BadLocation { .. }), "{location}");
        }
    }

    #[test]
    fn a_commitment_without_location_leaves_room_for_a_url_in_128_bytes() {
        let bare = Commitment { content: digest(), location: Location::Peers }.to_string();
        assert_eq!(bare.len(), 50);
    }
}
