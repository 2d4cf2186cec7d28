//! Which request runs on which devices, as a value; and what to do to get there.
//!
//! A plan says for each run its one host and its devices: that a run is spread over hosts cannot be
//! said. Whoever carries a plan out takes [`Diff::stops`] and then [`Diff::starts`] as they are and
//! chooses nothing.
//!
//! Not here: how a plan is made (`planner`), and whether it may be carried out (`check`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inventory::DeviceId;

use super::fleet::HostId;
use super::request::Ticket;

/// Where one run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The host.
    pub host: HostId,
    /// Its devices there; their order means nothing.
    pub devices: Vec<DeviceId>,
}

/// Every run and where it is, or shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Grows with every change, so that an older plan is not carried out after a newer one.
    pub generation: u64,
    /// The runs.
    pub runs: BTreeMap<Ticket, Seat>,
}

/// What leads from one plan to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Runs that end first, and where they are.
    pub stops: Vec<(Ticket, Seat)>,
    /// Runs that start then, and where.
    pub starts: Vec<(Ticket, Seat)>,
}

/// What to stop and what to start so that `present` becomes `plan`. A run whose seat is another
/// one is stopped and started again.
#[must_use]
pub fn diff(present: &Plan, plan: &Plan) -> Diff {
    let missing = |from: &Plan, other: &Plan| {
        let changed = from.runs.iter().filter(|(ticket, seat)| {
            !other.runs.get(ticket).is_some_and(|there| is_same_seat(seat, there))
        });
        changed.map(|(ticket, seat)| (*ticket, seat.clone())).collect()
    };
    Diff { stops: missing(present, plan), starts: missing(plan, present) }
}

/// Whether two seats are the same devices of one host.
pub(super) fn is_same_seat(one: &Seat, other: &Seat) -> bool {
    let sorted = |seat: &Seat| {
        let mut devices = seat.devices.clone();
        devices.sort();
        devices
    };
    one.host == other.host && sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(host: &str, devices: &[&str]) -> Seat {
        let devices = devices.iter().map(|name| DeviceId((*name).to_owned())).collect();
        Seat { host: HostId(host.to_owned()), devices }
    }

    fn plan(runs: &[(u64, Seat)]) -> Plan {
        let runs = runs.iter().map(|(ticket, seat)| (Ticket(*ticket), seat.clone())).collect();
        Plan { generation: 0, runs }
    }

    #[test]
    fn what_stays_is_not_touched_and_what_moves_is_stopped_and_started() {
        let (a, b, c) = (seat("h", &["0", "1"]), seat("h", &["2"]), seat("i", &["2"]));
        let present = plan(&[(1, a), (2, b.clone()), (3, seat("h", &["3"]))]);
        let wanted = plan(&[(1, seat("h", &["1", "0"])), (2, c.clone()), (4, seat("h", &["3"]))]);
        let Diff { stops, starts } = diff(&present, &wanted);
        assert_eq!(stops, [(Ticket(2), b), (Ticket(3), seat("h", &["3"]))]);
        assert_eq!(starts, [(Ticket(2), c), (Ticket(4), seat("h", &["3"]))]);
        assert_eq!(diff(&wanted, &wanted), Diff::default());
    }
}
