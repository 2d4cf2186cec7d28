//! Which run gets which devices.
//!
//! ```text
//!  requests ──> queue: shares, priorities, ageing (`lane`, `share`, `line`)
//!                 │ who is next
//!                 v
//!  devices ──> filter: kind, memory, count, usable, image, free (`fleet`)
//!              rank: smallest that suffices, fullest host, nearest devices, content (`fleet`,
//!                 │                                                        `topology`)
//!                 v
//!              choose: all devices of a run at once, on one host, or none
//!                 │
//!                 v
//!              plan (a value) ──> check ──> diff against what runs ──> carried out as it is
//! ```
//!
//! A [`Planner`] holds all of it and decides one start at a time; [`Planner::explain`] says for
//! each device why a request is not on it. [`HostPlacement`] is the planner of a node, which has
//! one host and takes a lease only for what can start at once.
//!
//! Not here: which device is healthy (`health`); what a run does there (`outcome`).

mod bits;
mod check;
mod explain;
mod fleet;
mod host;
mod lane;
mod line;
mod plan;
mod planner;
mod pool;
mod request;
mod shape;
mod share;
mod topology;

pub use check::{check, Facts, PlanRefused};
pub use explain::{DeviceVerdict, Explanation, HostVerdict, Verdict, WaitsFor};
pub use fleet::{FleetError, Host, HostId};
pub use host::{HostPlacement, NotPlaced, Obstacle};
pub use plan::{diff, Diff, Plan, Seat};
pub use planner::{AdoptRefused, Planner, Reservation, Start};
pub use pool::Condition;
pub use request::{Needs, Request, RequestRefused, ShareId, Ticket};

#[cfg(test)]
mod tests;
