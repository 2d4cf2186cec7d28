//! A laboratory of real parts: the local chain, nodes as processes, real containers.
//!
//! The end-to-end tests and `scripts/quickstart` are made of the same pieces: what a newcomer
//! sees is what the tests assert.
//!
//! - [`binaries`]: where the programs under test are.
//! - [`process`]: a child process that never outlives its owner.
//! - [`chain`]: the local chain as a process, and what it stores, read over JSON-RPC.
//! - [`node`]: a node as a process: its configuration, its status, ways to end it.
//! - [`gpu_engine`]: a container engine that gives the GPUs of a fake driver to containers.
//! - [`network`]: namespaces with links between nodes that can be cut.
//! - [`collector`]: a collector of traces as a process, which writes down what it gets.
//! - [`prometheus`]: Debian's Prometheus as a process, which scrapes a node.
//! - [`endings`]: the table of the fixtures, and how each of them ends.
//! - [`terminal`]: a pseudo-terminal with a program in it, and what stands on its screen.
//! - [`lab`]: a chain, its wallets, nodes and submissions together.

pub mod binaries;
pub mod chain;
pub mod collector;
pub mod endings;
pub mod gpu_engine;
pub mod lab;
pub mod network;
pub mod node;
pub mod process;
pub mod prometheus;
pub mod submissions;
pub mod terminal;
