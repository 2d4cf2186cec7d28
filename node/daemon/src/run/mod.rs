//! The node: what it needs at start, the loop, and the way out.
//!
//! ```text
//! key -> lock and open the store -> admin listener -> policy, data set -> engine, image, leftovers
//!   -> devices -> chain -> peers' listener -> the loop: event, decide, commit, act
//! ```
//!
//! Not here: what is decided (`node-core`), and how a setting got its value (`config`).

mod axon;
pub(crate) mod certificate;
mod chain_task;
mod clock;
pub(crate) mod contents;
mod durable;
mod engine_watch;
mod evaluate;
mod failpoint;
mod fetch;
pub(crate) mod gpus;
mod heart;
mod host;
pub(crate) mod identity;
mod idle;
mod keep;
mod perform;
mod published;
pub(crate) mod refused;
mod report;
mod service;
mod start;
mod stop;
mod web;

use crate::config::Config;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::password;

pub(crate) use clock::unix_now;
pub use durable::{DurableMachine, NotDurable, PEER_CALLS_QUEUED_MAX, TICK};
pub use evaluate::{Archives, Evaluator, EvaluatorParts, IdleGap, IdleGaps, Progress};
pub(crate) use host::gpus_without_use;
pub(crate) use perform::describe;
pub(crate) use report::{attempt_status, mode_name};

/// Runs the node until it is told to stop.
///
/// # Errors
///
/// A [`Failure`] if it cannot start, or if a decision cannot be made durable.
pub fn run(config: Config) -> Result<ExitReason, Failure> {
    start::check(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::unexpected)?;
    let context = runtime.enter();
    // Who may be asked for a password leaves with Ctrl-C, as from any prompt. Where nobody is,
    // signals are the node's from the beginning: to decipher the key takes seconds.
    let signals = (!password::can_ask()).then(stop::listen);
    let keypair = start::open_key(&config)?;
    let signals = signals.unwrap_or_else(stop::listen).map_err(Failure::unexpected)?;
    drop(context);
    let result = runtime.block_on(start::live(config, keypair, signals));
    // A task that hangs must not keep the process from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}
