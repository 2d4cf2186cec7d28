//! How well placement uses devices: a drawn trace of runs, lived through by the planner of
//! `node_core::placement` and by two simple rivals, on simulated devices and simulated time.
//!
//! A seed decides a trace, and a trace and a scheduler decide everything that follows. What the
//! numbers mean, and what they were, is in `docs/placement.md`.
//!
//! Not here: whether the planner keeps its promises (tests in core), and how fast it decides (the
//! benchmark beside it).

#![allow(clippy::unwrap_used, reason = "a simulation that contradicts itself should stop at once")]

pub mod chart;
pub mod draw;
pub mod replay;
pub mod report;
pub mod rivals;
pub mod scheduler;
pub mod trace;
