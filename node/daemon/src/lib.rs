//! The only binary, `assay`: the runtime, the command line, the admin listener, the one loop.
//!
//! - [`cli`]: commands and what they print.
//! - [`config`]: where settings come from and what they must be.
//! - [`hotkey`]: from the configured wallet to the key.
//! - [`run`]: the node itself.
//! - `review`: the door to language models that review submissions.
//! - [`status`], [`admin`], [`metrics`], [`notes`], [`log`]: what a running node tells.
//! - `traces`: the way of each submission, for an OpenTelemetry collector.
//! - `page`: the same as pages for a browser.
//! - [`memory`]: how memory goes back to the system.
//! - [`failure`], [`exit`], [`output`]: how a command ends.

pub mod admin;
pub mod api;
pub mod cli;
pub mod config;
mod dataset;
pub mod exit;
pub mod failure;
mod freezer;
pub mod hotkey;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod notes;
pub mod output;
mod page;
mod password;
mod review;
pub mod run;
pub mod status;
mod traces;
