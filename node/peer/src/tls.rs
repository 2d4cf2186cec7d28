//! Who is at the other end of a connection, before one byte of HTTP is read.
//!
//! Every connection is TLS 1.3 with a certificate at both ends. A certificate is self-signed; what
//! makes it somebody's is an endorsement inside of it: the hotkey's signature over (the SHA-256 of
//! the certificate's key, chain, subnet, expiry). The checks run inside of the handshake, cheapest
//! first:
//!
//! ```text
//! size -> shape -> chain -> subnet -> expiry -> whom we want, or a validator of the latest view
//!   -> the key that the chain says, if it says one, or a new one -> the hotkey's signature
//!   -> the key's (TLS)
//! ```
//!
//! A refusal travels as a TLS alert of its own, so the other end learns which it was. Sessions are
//! never resumed: that would skip all of it. The bytes are given in `docs/protocol.md`, and why
//! they are so in `docs/decisions/0011-tls-between-validators.md`.
//!
//! Not here: who makes a call on the connection (`auth`), and how long a connection may stay
//! (`server::connection`).

mod certificate;
mod config;
mod endorsement;
mod refusal;
mod verify;

pub use certificate::{CertificateError, NodeCertificate};
pub use endorsement::EndorsedKey;
pub use refusal::CertificateRefusal;

pub(crate) use certificate::CurrentCertificate;
pub(crate) use config::{client_config, server_config, speaks_h2, TlsParts};
pub(crate) use endorsement::{published_form, CertificateKey};
pub(crate) use refusal::RefusedBy;
pub(crate) use verify::{peer_of, VerifiedPeer};

#[cfg(test)]
pub(crate) mod tests;
