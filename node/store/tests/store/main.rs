//! The store from outside: what it promises under damage, `kill -9`, a full disk and a power cut.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test states facts; a broken one should stop at once"
)]

mod common;
mod crash;
mod damage;
mod freezer;
mod power_cut;
mod restore;
mod rows;
