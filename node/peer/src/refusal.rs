//! Why a call is not carried out. Every refusal has a public id, which travels beside the gRPC
//! status in the header [`REFUSAL_HEADER`], so that a caller need not parse texts.
//!
//! Not here: refusals of a lease (`node_core::lease::LeaseRefusal`); those are answers.

use std::fmt;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The response header with the refusal's id.
pub(crate) const REFUSAL_HEADER: &str = "assay-refusal";

macro_rules! call_refusals {
    (
        $(#[$enum_doc:meta])* $enum:ident
        $($(#[$doc:meta])* $name:ident = $id:literal, $code:ident: $text:literal,)*
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $enum {
            $($(#[$doc])* $name,)*
        }
        impl $enum {
            /// Every refusal.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// The public id, as in the protocol and in metrics.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }
            /// The refusal with this public id.
            #[must_use]
            pub fn from_id(id: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|refusal| refusal.id() == id)
            }
            pub(crate) fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }
            /// The refusal as it travels.
            pub(crate) fn status(self) -> Status {
                self.status_with(self.to_string())
            }
            fn status_with(self, message: String) -> Status {
                let mut status = Status::new(self.code(), message);
                status.metadata_mut().insert(REFUSAL_HEADER, MetadataValue::from_static(self.id()));
                status
            }
        }
        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

call_refusals! {
    /// Why a caller is not believed. Each has a gRPC status code of its own.
    AuthRefusal
    /// A header is missing, doubled or unreadable.
    Malformed = "malformed", InvalidArgument: "a header of the call is missing or unreadable",
    /// The caller speaks rules that this node does not know.
    UnsupportedVersion = "unsupported_version", Unimplemented:
        "the call is signed by rules of another version",
    /// The call is meant for another validator.
    WrongReceiver = "wrong_receiver", NotFound: "the call is meant for another validator",
    /// The call is meant for another chain or subnet.
    WrongChain = "wrong_chain", FailedPrecondition: "the call is meant for another chain or subnet",
    /// The signed time is too far from the receiver's clock, or before it started.
    StaleTime = "stale_time", DeadlineExceeded: "the call's time is outside the window",
    /// The call is signed by another hotkey than the one whose connection it came on.
    WrongSender = "wrong_sender", Unknown: "the call is not signed by the connection's hotkey",
    /// The caller may not take part: no permit, too little stake, not registered.
    NotAValidator = "not_a_validator", PermissionDenied:
        "the caller is not a validator of this subnet",
    /// The message is larger than a message may be.
    TooLarge = "too_large", OutOfRange: "the message is too large",
    /// The message is not the one that was signed.
    BodyMismatch = "body_mismatch", DataLoss: "the message is not the one that was signed",
    /// The signature is not the caller's over this call.
    BadSignature = "bad_signature", Unauthenticated: "the signature does not hold",
    /// A much later call of the same caller came first.
    Reordered = "reordered", Aborted: "the call was overtaken by a much later one",
    /// The call was seen before.
    Replayed = "replayed", AlreadyExists: "the call was seen before",
    /// The caller makes more calls than its share.
    TooManyCalls = "too_many_calls", ResourceExhausted: "the caller makes too many calls",
}

call_refusals! {
    /// Why a call of a believed caller is not carried out.
    ServeRefusal
    /// More work is waiting than the node takes.
    Busy = "busy", ResourceExhausted: "the node has too much to do",
    /// The node did not answer in time; the call may have had its effect.
    NoAnswer = "no_answer", DeadlineExceeded: "the node did not answer in time",
    /// The node is stopping.
    Stopping = "stopping", Unavailable: "the node is stopping",
    /// The content is not here.
    ContentUnknown = "content_unknown", NotFound: "the content is not here",
    /// The message breaks a limit or carries an unknown value.
    BadMessage = "bad_message", InvalidArgument: "the message is malformed",
    /// A fault of this node.
    Internal = "internal", Internal: "the node has a fault",
}

impl ServeRefusal {
    /// Whether the same call may be carried out a little later.
    pub(crate) fn is_temporary(self) -> bool {
        matches!(self, Self::Busy | Self::NoAnswer | Self::Stopping)
    }

    /// [`ServeRefusal::BadMessage`] with what is wrong.
    pub(crate) fn bad_message(reason: &dyn std::error::Error) -> Status {
        Self::BadMessage.status_with(reason.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_auth_refusal_has_an_id_and_a_status_of_its_own() {
        let ids: BTreeSet<_> = AuthRefusal::ALL.iter().map(|refusal| refusal.id()).collect();
        let codes: BTreeSet<_> =
            AuthRefusal::ALL.iter().map(|refusal| refusal.code() as i32).collect();
        assert_eq!(ids.len(), AuthRefusal::ALL.len());
        assert_eq!(codes.len(), AuthRefusal::ALL.len());
    }

    #[test]
    fn no_id_belongs_to_both_kinds() {
        for refusal in AuthRefusal::ALL {
            assert_eq!(AuthRefusal::from_id(refusal.id()), Some(*refusal));
            assert_eq!(ServeRefusal::from_id(refusal.id()), None);
        }
    }
}
