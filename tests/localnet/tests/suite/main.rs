//! The local chain, as its users meet it. One test binary, because linking FRAME is what takes
//! the time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod admin;
mod api_shapes;
mod checks;
mod client;
mod consensus;
mod epochs;
mod faults;
mod flavours;
mod forks;
mod metagraph;
mod pool;
mod process;
mod python;
mod registration;
mod restart;
mod rpc;
mod shapes;
mod wire;
mod world;
