//! The planner: what waits, what runs where, and what starts next.
//!
//! ```text
//!            submit            decide              finish
//!   request --------> waiting --------> running ----------> gone
//!                        ^                 |
//!                        +---- requeue ----+     cancel: from waiting
//! ```
//!
//! It knows the fleet only from what it is told, reads no clock and draws no lots: the same calls
//! give the same decisions. What it decides it has done: its present and its plan are one, and
//! [`Planner::plan`] is the value that is checked, compared with what really runs, and carried out.
//!
//! Not here: why something waits (`explain`).

use std::collections::BTreeMap;

use crate::id::Digest;
use crate::inventory::{DeviceId, DeviceKind};
use crate::limits::{REQUESTS_WAITING_MAX, SHAPES_MAX};
use crate::unit::MonoMs;

use super::fleet::{Fleet, FleetError, Host, HostId, Spot};
use super::lane::Lane;
use super::plan::{Plan, Seat};
use super::pool::Condition;
use super::request::{Needs, Request, RequestRefused, ShareId, Ticket};

/// What was asked for, by ticket.
pub(super) type Requests = BTreeMap<Ticket, Entry>;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) request: Request,
    shape: usize,
    pub(super) run: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) spot: Spot,
    started_at: MonoMs,
}

/// A run that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The request.
    pub ticket: Ticket,
    /// Where.
    pub seat: Seat,
}

/// Devices of a host that are kept for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The request.
    pub ticket: Ticket,
    /// The host.
    pub host: HostId,
    /// When it starts at the latest, if every run ends by its limit and no device fails.
    pub start_by: MonoMs,
}

/// Why a run that is there cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptRefused {
    /// It makes no sense as a request.
    #[error("the run cannot be taken over")]
    Request(#[source] RequestRefused),
    /// It is not on devices that it could have been placed on, all free and of one size.
    #[error("the run is not on free devices of host {host} that suffice for it")]
    Seat {
        /// The host.
        host: HostId,
    },
}

/// Decides which run gets which devices.
#[derive(Clone, Debug)]
pub struct Planner {
    pub(super) fleet: Fleet,
    pub(super) lanes: BTreeMap<DeviceKind, Lane>,
    pub(super) requests: Requests,
    waiting: usize,
    next_ticket: u64,
    generation: u64,
}

impl Planner {
    /// A planner for these hosts: nothing runs, all devices are usable, no image is anywhere.
    ///
    /// # Errors
    ///
    /// [`FleetError`] if the hosts contradict themselves or are too many.
    pub fn new(hosts: &[Host]) -> Result<Self, FleetError> {
        let kinds = [DeviceKind::CpuSlot, DeviceKind::Gpu, DeviceKind::MigSlice];
        Ok(Self {
            fleet: Fleet::new(hosts)?,
            lanes: kinds.map(|kind| (kind, Lane::default())).into(),
            requests: BTreeMap::new(),
            waiting: 0,
            next_ticket: 1,
            generation: 0,
        })
    }

    /// Sets what a challenge counts against others from now on, for example its emission. Without
    /// it, and with 0, it counts as 1.
    ///
    /// # Errors
    ///
    /// [`RequestRefused::TooManyShares`].
    pub fn set_share(&mut self, share: ShareId, weight: u32) -> Result<(), RequestRefused> {
        for lane in self.lanes.values_mut() {
            if !lane.shares.ensure(share) {
                return Err(RequestRefused::TooManyShares { shares: lane.shares.len() });
            }
            lane.shares.set_weight(share, weight);
        }
        Ok(())
    }

    /// Says whether a device may be given runs; for a board that is cut into slices, all of them.
    /// What runs on it goes on. Returns whether there is such a device.
    pub fn set_condition(
        &mut self,
        now: MonoMs,
        host: &HostId,
        device: &DeviceId,
        condition: &Condition,
    ) -> bool {
        let changed = self.fleet.set_condition(host, device, condition);
        self.look_again(now);
        !changed.is_empty()
    }

    /// Says that a host has an image, or has it no more. Returns whether the host is known.
    pub fn set_image(&mut self, now: MonoMs, host: &HostId, image: Digest, is_there: bool) -> bool {
        let is_known = self.fleet.set_image(host, image, is_there);
        self.look_again(now);
        is_known
    }

    /// Says that a host has content, or has it no more. Returns whether the host is known.
    pub fn set_content(&mut self, host: &HostId, content: Digest, is_there: bool) -> bool {
        self.fleet.set_content(host, content, is_there)
    }

    fn look_again(&mut self, now: MonoMs) {
        for lane in self.lanes.values_mut() {
            lane.changed(now, &mut self.fleet);
        }
    }

    /// Puts a request into the queue. It starts with one of the next calls of [`Self::decide`].
    ///
    /// # Errors
    ///
    /// [`RequestRefused`]; then nothing has changed.
    pub fn submit(&mut self, request: Request) -> Result<Ticket, RequestRefused> {
        request.check()?;
        self.fleet.check(&request.needs)?;
        if self.waiting >= REQUESTS_WAITING_MAX {
            return Err(RequestRefused::QueueFull { waiting: self.waiting });
        }
        let ticket = Ticket(self.next_ticket);
        self.enqueue(request, ticket, SHAPES_MAX)?;
        self.next_ticket = self.next_ticket.saturating_add(1);
        Ok(ticket)
    }

    fn enqueue(
        &mut self,
        request: Request,
        ticket: Ticket,
        shapes_max: usize,
    ) -> Result<(), RequestRefused> {
        let lane = self.lanes.entry(request.needs.kind).or_default();
        let shape = lane.insert(&request, ticket, shapes_max)?;
        self.requests.insert(ticket, Entry { request, shape, run: None });
        self.waiting = self.waiting.saturating_add(1);
        Ok(())
    }

    /// Takes over a run that is there already, after a restart for example.
    ///
    /// # Errors
    ///
    /// [`AdoptRefused`]; then nothing has changed.
    pub fn adopt(
        &mut self,
        request: Request,
        seat: &Seat,
        started_at: MonoMs,
    ) -> Result<Ticket, AdoptRefused> {
        request.check().map_err(AdoptRefused::Request)?;
        let refused = || AdoptRefused::Seat { host: seat.host.clone() };
        let spot = self.fleet.spot_of(seat, &request.needs).ok_or_else(refused)?;
        // It is in the queue for a moment, so that its share is charged as for any other.
        let ticket = Ticket(self.next_ticket);
        self.enqueue(request, ticket, usize::MAX).map_err(AdoptRefused::Request)?;
        self.next_ticket = self.next_ticket.saturating_add(1);
        self.start(ticket, spot, started_at);
        Ok(ticket)
    }

    /// The next run that starts now. Call it until it returns `None`, after every change.
    pub fn decide(&mut self, now: MonoMs) -> Option<Start> {
        let Self { lanes, fleet, requests, .. } = self;
        let (ticket, spot) = lanes.values_mut().find_map(|lane| lane.next(now, fleet, requests))?;
        let seat = self.start(ticket, spot, now)?;
        Some(Start { ticket, seat })
    }

    fn start(&mut self, ticket: Ticket, spot: Spot, now: MonoMs) -> Option<Seat> {
        let entry = self.requests.get_mut(&ticket)?;
        let lane = self.lanes.get_mut(&entry.request.needs.kind)?;
        lane.shares.start(&entry.request);
        lane.remove(&entry.request, ticket, entry.shape, &mut self.fleet);
        let end_by = entry.request.end_by(now);
        self.fleet.with_pool(spot.pool, |pool| pool.take(spot.devices, ticket, end_by));
        lane.taken(spot.pool, &self.fleet);
        entry.run = Some(Running { spot, started_at: now });
        self.waiting = self.waiting.saturating_sub(1);
        self.generation = self.generation.saturating_add(1);
        self.seat(spot)
    }

    /// Ends a run: its devices are free. Returns its request; `None` if it does not run.
    pub fn finish(&mut self, now: MonoMs, ticket: Ticket) -> Option<Request> {
        let entry = self.requests.get(&ticket)?;
        let (request, run) = (entry.request, entry.run?);
        self.requests.remove(&ticket);
        self.fleet.with_pool(run.spot.pool, |pool| pool.give_back(run.spot.devices));
        if let Some(lane) = self.lanes.get_mut(&request.needs.kind) {
            lane.shares.end(&request, now.since_ms(run.started_at));
            lane.given_back(run.spot.pool, now, &mut self.fleet);
        }
        self.generation = self.generation.saturating_add(1);
        Some(request)
    }

    /// Ends a run that has to be repeated: it waits again, under the same ticket and at the place
    /// in the queue that it had, also beyond what may wait. Returns whether it ran.
    pub fn requeue(&mut self, now: MonoMs, ticket: Ticket) -> bool {
        let request = self.finish(now, ticket);
        request.is_some_and(|request| self.enqueue(request, ticket, usize::MAX).is_ok())
    }

    /// Takes a request that waits out of the queue. Returns whether it waited.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let Some(entry) = self.requests.get(&ticket).filter(|entry| entry.run.is_none()) else {
            return false;
        };
        if let Some(lane) = self.lanes.get_mut(&entry.request.needs.kind) {
            lane.remove(&entry.request, ticket, entry.shape, &mut self.fleet);
        }
        self.requests.remove(&ticket);
        self.waiting = self.waiting.saturating_sub(1);
        true
    }

    /// What runs where, as a value.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let seat =
            |(ticket, entry): (&Ticket, &Entry)| Some((*ticket, self.seat(entry.run?.spot)?));
        Plan { generation: self.generation, runs: self.requests.iter().filter_map(seat).collect() }
    }

    /// What was asked for and has not ended.
    #[must_use]
    pub fn request(&self, ticket: Ticket) -> Option<&Request> {
        self.requests.get(&ticket).map(|entry| &entry.request)
    }

    /// Whether a request waits.
    #[must_use]
    pub fn is_waiting(&self, ticket: Ticket) -> bool {
        self.requests.get(&ticket).is_some_and(|entry| entry.run.is_none())
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.waiting
    }

    /// Everything that waits, in the order of submission; see [`Self::explain`] for each.
    pub fn tickets_waiting(&self) -> impl Iterator<Item = Ticket> + '_ {
        let waiting = self.requests.iter().filter(|(_, entry)| entry.run.is_none());
        waiting.map(|(ticket, _)| *ticket)
    }

    /// The needs of everything that waits, and how many requests have them.
    pub fn waiting(&self) -> impl Iterator<Item = (&Needs, usize)> {
        self.lanes.values().flat_map(Lane::waiting)
    }

    /// What is kept for whom.
    #[must_use]
    pub fn reservations(&self) -> Vec<Reservation> {
        let kept = self.lanes.values().flat_map(Lane::kept);
        let reservation = kept.filter_map(|kept| {
            let host = self.fleet.host_of(kept.pool)?.clone();
            Some(Reservation { ticket: kept.ticket, host, start_by: kept.start_by })
        });
        reservation.collect()
    }

    fn seat(&self, spot: Spot) -> Option<Seat> {
        let host = self.fleet.host_of(spot.pool)?.clone();
        Some(Seat { host, devices: self.fleet.names(spot) })
    }
}
