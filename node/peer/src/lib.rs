//! The door to other validators: leases, receipts and contents over gRPC, on connections that
//! prove both hotkeys, every call signed by the caller's.
//!
//! [`PeerServer`] checks who calls before it reads what they say, turns the call into a core
//! [`node_core::lease::PeerRequest`] and hands it to the daemon's loop; [`PeerClient`] does the
//! same in the other direction. Everything from outside is parsed against limits and refused with
//! a typed reason; nothing is ever read as a default.
//!
//! The transport is HTTP/2 over TLS 1.3, with a certificate at both ends that its hotkey endorsed
//! ([`NodeCertificate`]). A call's signature says in addition who asks, whom, for what, once, and
//! can be shown to others; receipts and contents carry their own proof (a signature, a digest).
//!
//! Not here: whether a lease is granted or a receipt counts (`node-core`), and which peers exist
//! (`node-chain` reads the view from which [`PeerDirectory`] is made).

pub mod fuzzing;
pub mod limits;

mod auth;
mod budget;
mod client;
mod clock;
mod convert;
mod directory;
mod refusal;
mod server;
mod signature;
mod tls;

pub use client::{AnswerError, AskError, ClientParts, FetchError, PeerClient, Refused};
pub use clock::{SystemClock, WallClock};
pub use convert::ConvertError;
pub use directory::{NodeIdentity, NodeInfo, PeerDirectory};
pub use refusal::{AuthRefusal, ServeRefusal};
pub use server::{BindError, ContentFuture, ContentSource, PeerCall, PeerServer, ServerParts};
pub use signature::Sr25519Verifier;
pub use tls::{CertificateError, CertificateRefusal, EndorsedKey, NodeCertificate};

/// Version of the rules in `docs/protocol.md` that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
