#![recursion_limit = "256"]
//! The local chain: blocks, pool, state and JSON-RPC around the native runtime.
//!
//! [`Localnet::start`] runs a chain in this process and tells where it listens; the binary
//! `localnet` is the same behind a command line. What a client may rely on is written in
//! `docs/localnet.md`.
//!
//! - [`chain`]: execution, the pool, sealing, finality. Synchronous, owns no task.
//! - [`journal`]: the blocks on disk; a restart executes them again.
//! - [`rpc`]: the JSON-RPC methods, over HTTP and WebSocket alike.
//! - [`faults`]: what goes wrong between an endpoint and its clients, on purpose.
//! - [`flavour`]: the metadata as other versions of the runtime have it.
//! - [`admin`]: changing the chain's storage by the sudo key.
//! - [`genesis`], [`keys`], [`wallets`]: who is there at block 0 and how to sign as them.

pub mod admin;
pub mod chain;
mod doors;
pub mod faults;
pub mod flavour;
pub mod genesis;
pub mod journal;
pub mod keys;
pub mod rpc;
mod server;
pub mod sign;
pub mod wallets;

pub use chain::{Chain, ChainOptions};
pub use faults::{FaultChange, Faults};
pub use flavour::Flavour;
pub use genesis::GenesisSpec;
pub use server::{BlockTime, BlockTimeInvalid, Config, Localnet, StartError};
