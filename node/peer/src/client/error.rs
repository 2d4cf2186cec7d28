//! What can go wrong between this node and a peer, and how it is read from a gRPC status.

use node_core::id::ContentDigest;
use node_core::limits::{clip_detail, PEER_MESSAGE_BYTES_MAX};
use tonic::{Code, Status};

use super::AnswerError;
use crate::convert::ConvertError;
use crate::refusal::{AuthRefusal, ServeRefusal, REFUSAL_HEADER};
use crate::tls::{CertificateRefusal, RefusedBy};

/// Why a peer gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection, or it broke before the answer.
    #[error("cannot reach the peer: {detail}")]
    Unreachable {
        /// What the transport said, causes included.
        detail: String,
    },
    /// No answer in time.
    #[error("no answer from the peer after {after_ms} ms")]
    TimedOut {
        /// The limit.
        after_ms: u64,
    },
    /// This node refuses the peer's certificate.
    #[error("the peer's certificate is refused: {0} ({id})", id = .0.id())]
    Certificate(CertificateRefusal),
    /// The peer refuses this node's certificate.
    #[error("the peer refuses this node's certificate: {0} ({id})", id = .0.id())]
    CertificateRefused(CertificateRefusal),
    /// The peer does not believe the call's headers.
    #[error("the peer refuses the call: {0} ({id})", id = .0.id())]
    Auth(AuthRefusal),
    /// The peer believes the call and does not carry it out.
    #[error("the peer does not carry the call out: {0} ({id})", id = .0.id())]
    Refused(ServeRefusal),
    /// The call failed in a way that has no id.
    #[error("the call failed: {code}: {detail}")]
    Failed {
        /// Name of the gRPC status code.
        code: String,
        /// What was said, shortened.
        detail: String,
    },
    /// The answer is not one to the request.
    #[error("the peer's answer is malformed")]
    MalformedAnswer(#[source] AnswerError),
    /// The request is larger than a message may be; nothing was sent.
    #[error("the request has {bytes} bytes, more than {PEER_MESSAGE_BYTES_MAX}")]
    RequestTooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Why a content could not be fetched from a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The peer does not have it.
    #[error("the peer does not have content {content}")]
    Unknown {
        /// Which.
        content: ContentDigest,
    },
    /// The peer sends more than the policy allows.
    #[error("content {content} is larger than {bytes_max} bytes")]
    TooLarge {
        /// Which.
        content: ContentDigest,
        /// The policy's limit.
        bytes_max: u64,
    },
    /// The call failed, at the start or in the middle.
    #[error("cannot fetch content {content} from the peer")]
    Ask {
        /// Which.
        content: ContentDigest,
        /// Why.
        #[source]
        source: AskError,
    },
}

impl FetchError {
    pub(super) fn from_ask(content: ContentDigest, error: AskError) -> Self {
        match error {
            AskError::Refused(ServeRefusal::ContentUnknown) => Self::Unknown { content },
            source => Self::Ask { content, source },
        }
    }
}

impl AskError {
    pub(super) fn malformed(error: ConvertError) -> Self {
        Self::MalformedAnswer(AnswerError::Message(error))
    }

    pub(super) fn unreachable(error: &dyn std::error::Error) -> Self {
        Self::Unreachable { detail: clip_detail(&chain(error)) }
    }

    /// Why the connection was refused, if it was and this is what came of it; `self` otherwise.
    pub(super) fn or_refused(self, refused: Option<RefusedBy>) -> Self {
        let no_answer =
            matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Failed { .. });
        match refused {
            Some(RefusedBy::Us(refusal)) if no_answer => Self::Certificate(refusal),
            Some(RefusedBy::Peer(refusal)) if no_answer => Self::CertificateRefused(refusal),
            _ => self,
        }
    }

    /// Reads a status: first the refusal's id, then the code.
    pub(super) fn from_status(status: &Status) -> Self {
        let id = status.metadata().get(REFUSAL_HEADER).and_then(|id| id.to_str().ok());
        if let Some(refusal) = id.and_then(AuthRefusal::from_id) {
            return Self::Auth(refusal);
        }
        if let Some(refusal) = id.and_then(ServeRefusal::from_id) {
            return Self::Refused(refusal);
        }
        let detail = match std::error::Error::source(status) {
            Some(source) => clip_detail(&format!("{}: {}", status.message(), chain(source))),
            None => clip_detail(status.message()),
        };
        match status.code() {
            Code::Unavailable => Self::Unreachable { detail },
            // The connection's own limit sheds load without an id.
            Code::ResourceExhausted => Self::Refused(ServeRefusal::Busy),
            code => Self::Failed { code: format!("{code:?}"), detail },
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
