//! The door to the chain: follow blocks, read views, sign and submit extrinsics, read key files.
//!
//! Everything that is subxt's stays inside; what comes out are the values of `node-core`. All
//! access is dynamic, by name (`chain-metadata`), against the metadata of the block at hand.
//!
//! Not here: what a view means, when to sign, and anything about peers.

#![deny(missing_docs)]

mod blob;
mod bounded;
mod bulk;
mod call_error;
mod calls;
mod certificate;
mod client;
pub mod codec;
pub mod commit;
mod commitments;
mod decode;
mod encode;
mod endpoint;
mod entries;
mod era;
mod facts;
mod fields;
mod follow;
mod health;
mod keypair;
mod keys;
mod link;
mod memo;
mod memory;
mod metagraph;
mod methods;
mod nonce;
mod own_commits;
mod probe;
mod question;
mod read;
mod reader;
mod refusal;
mod runtime;
mod seats;
mod seeds;
mod send;
mod shape;
mod sign;
mod socket;
mod storage;
mod submit;
mod subnet;
pub mod timelock;
mod trace;
mod wallet;

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod credentials_tests;
#[cfg(test)]
mod golden_tests;

pub use calls::{
    CommitmentField, SubmittedForm, WeightsCall, WeightsSubmission, CERTIFICATE_BYTES_MAX,
    COMMITMENT_FIELDS_MAX, COMMITMENT_RAW_BYTES_MAX, COMMITMENT_TIMELOCKED_BYTES_MAX,
};
pub use certificate::{Due, Publication, PublishError, Published, Serving};
pub use client::{ChainClient, ChainConfig};
pub use decode::{DecodeError, DispatchOutcome, COMMITTED_BYTES_MAX};
pub use encode::EncodeError;
pub use follow::{BlockRef, FollowState, Head, Heads};
pub use health::{Demotion, EndpointRole, EndpointState, GenesisCheck};
pub use keypair::{Keypair, NotASecret, Sr25519Verifier};
pub use link::{BoxedError, CallError, ConnectError, EndpointError, EndpointFailure, RpcRefusal};
pub use memory::ReadCounts;
pub use nonce::NonceGuard;
pub use read::ReadError;
pub use refusal::{SendAccepted, SendRefused};
pub use runtime::RuntimeError;
pub use shape::{
    shapes_in_file, Capability, ItemKind, MetadataError, ShapeReport, ShapeRow, Verdict,
    METADATA_BYTES_MAX,
};
pub use sign::SignError;
pub use submit::SubmitError;
pub use trace::{TraceError, BLOCKS_SEARCHED_MAX};
pub use wallet::{
    password_variable, Encryption, HotkeyFacts, HotkeyFile, KeyFile, KeyFileError, KeyFileFacts,
    KeyFileWarning, NotAPassword, Password, WalletPath, KEY_FILE_BYTES_MAX, PASSWORD_BYTES_MAX,
    PASSWORD_VARIABLE_PREFIX,
};
