//! Every rule and state transition of Assay, and nothing else.
//!
//! The crate is sans-IO: it owns no clock, no socket, no file, no task and no logger. The daemon
//! turns the world into [`machine::Event`]s, calls [`machine::Machine::apply`], commits the
//! returned writes and only then performs the returned effects. A crash between the two repeats an
//! effect and never forgets one, so every effect is harmless twice.
//!
//! A module may know only modules above it in this list.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    missing_docs
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test states facts; a broken one should stop at once"
    )
)]

pub mod hold;
pub mod id;
pub mod trial;
pub mod unit;

pub mod limits;

pub mod epoch;

pub mod health;
pub mod inventory;
pub mod view;

pub mod commitment;

pub mod policy;

pub mod submission;

pub mod admission;

pub mod duplicates;
pub mod priority;
mod similarity;

pub mod assignment;

pub mod outcome;

pub mod reward;

pub mod evidence;

pub mod lease;

pub mod lease_record;

pub mod evaluation;

pub mod placement;

pub mod rows;

pub mod restoration;

pub mod points;

pub mod funnel;

pub mod scaling;

pub mod queue_place;
pub mod review;
pub mod round;

pub mod vector;

pub mod submit_guard;

pub mod preflight;

pub mod publish;

pub mod machine;

pub mod keeper;
