//! The trusted side of an evaluation: archives and data in, verdicts and metrics out.
//!
//! - [`archive`]: reads a submission's ZIP within limits, packs one, and names it by its content.
//! - [`manifest`], [`project`]: what a project says it is, and what it is to who runs it.
//! - [`admit`]: everything decided before training, as one verdict.
//! - [`dataset`]: text split into locked shards whose digests are checked whenever they are opened.
//! - [`fingerprint`]: what a submission's code looks like without its names, to find copies.
//! - [`fuzzing`]: what a submission sends, as functions of bytes; no node uses it.
//! - [`gates`]: a policy's gates, tried on the references before they judge anybody.
//! - [`meter`]: owns the text, hands out inputs, takes predictions, then reveals targets.
//! - [`probes`]: small tasks with known floors that show what a mechanism can do.
//! - [`reference`]: the submissions and the trainer that ship with the node.
//! - [`tokenizer`]: tokenizers that submissions bring, used by the meter only.
//! - [`SHIM`]: the small Python program that speaks to the meter from inside the container.
//!
//! Submitted code never runs here: it is unpacked into memory, parsed, and sent to a container.
//! Not here: the container's life (`node/runner`), fetching, and what a metric is worth (`core`).

#![deny(missing_docs)]

pub mod admit;
pub mod archive;
mod contract;
pub mod dataset;
mod distributed;
pub mod fingerprint;
pub mod fuzzing;
pub mod gates;
pub mod manifest;
pub mod meter;
pub mod probes;
pub mod project;
pub mod reference;
mod source;
mod static_rules;
pub mod tokenizer;

/// The Python program that runs inside the container and connects to the meter's socket.
///
/// It takes the socket's path as its only argument, or from `ASSAY_METER_SOCKET`, and needs
/// Python with torch, a writable `/tmp`, and nothing else.
pub const SHIM: &str = include_str!("../shim/assay_shim.py");
