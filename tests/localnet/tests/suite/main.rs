//! The local chain, as its users meet it. One test binary, because linking FRAME is what takes
//! the time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod admin;
mod api_shapes;
mod beacon;
mod checks;
mod client;
mod commit_reveal;
mod consensus;
mod drand;
mod epochs;
mod faults;
mod flavours;
mod forks;
mod hash_commits;
mod kept_metadata;
mod listeners;
mod mechanisms;
mod metagraph;
mod owner;
mod pool;
mod process;
mod pulses;
mod python;
mod registration;
mod restart;
mod rpc;
mod shapes;
mod upgrade;
mod wire;
mod world;
