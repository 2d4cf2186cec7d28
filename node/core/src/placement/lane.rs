//! What waits for one kind of device, and who is next.
//!
//! Shares are asked in turn, the least served first; within a share the first in the queue that
//! fits. What stands first in its share, is a gang and does not fit gets a *reservation*: the pool
//! where so many devices are free the earliest by the limits of what runs there. That pool is kept:
//! others may start on it only what has ended by then, or on devices that the gang does not need.
//! So the time of a reservation comes nearer or stays, and never goes away for a run that came
//! later; only a device that fails can put it off.
//!
//! A run on one device needs no reservation: whatever device becomes free, it is asked first.
//!
//! Not here: where devices are (`fleet`), and what a share is charged (`share`).

use crate::limits::RESERVATIONS_MAX;
use crate::unit::MonoMs;

use super::fleet::{Fleet, Spot};
use super::planner::Requests;
use super::request::{Needs, Rank, Request, RequestRefused, ShareId, Ticket};
use super::shape::{Room, Shapes};
use super::share::{Share, Shares, Turn};

/// A pool that is kept for the first gang of a share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) ticket: Ticket,
    share: ShareId,
    shape: usize,
    needs: Needs,
    pub(super) pool: usize,
    pub(super) start_by: MonoMs,
}

/// What waits for one kind of device.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) shares: Shares,
    shapes: Shapes,
    kept: Vec<Kept>,
}

impl Kept {
    /// Which runs may start on the pool before the one it is kept for.
    fn room(&self, needs: &Needs, fleet: &Fleet) -> Room {
        let Some(pool) = fleet.pools.get(self.pool) else { return Room::None };
        let count = usize::from(needs.count);
        if pool.free().len() < count || !fleet.is_fit(self.pool, needs) {
            return Room::None;
        }
        let needed = count.saturating_add(self.needs.count.into());
        if pool.free_by(self.start_by) >= needed {
            Room::Any
        } else {
            Room::Until(self.start_by)
        }
    }

    /// Whether a run that has ended by `end_by` may start on the pool before it.
    pub(super) fn admits(&self, needs: &Needs, end_by: MonoMs, fleet: &Fleet) -> bool {
        match self.room(needs, fleet) {
            Room::None => false,
            Room::Until(start_by) => end_by <= start_by,
            Room::Any => true,
        }
    }
}

impl Lane {
    /// Puts a request into the queue, which may have so many shapes. Returns the number of its own.
    pub(super) fn insert(
        &mut self,
        request: &Request,
        ticket: Ticket,
        shapes_max: usize,
    ) -> Result<usize, RequestRefused> {
        if !self.shares.ensure(request.share) {
            return Err(RequestRefused::TooManyShares { shares: self.shares.len() });
        }
        let too_many = RequestRefused::TooManyShapes { shapes: shapes_max };
        let shape = self.shapes.enter(request.needs, shapes_max).ok_or(too_many)?;
        self.shares.insert(request, ticket, shape);
        Ok(shape)
    }

    /// Takes a request out of the queue, and its reservation away.
    pub(super) fn remove(
        &mut self,
        request: &Request,
        ticket: Ticket,
        shape: usize,
        fleet: &mut Fleet,
    ) {
        self.shares.remove(request, ticket, shape);
        self.shapes.leave(shape);
        if let Some(at) = self.kept.iter().position(|kept| kept.ticket == ticket) {
            fleet.open(self.kept.remove(at).pool);
            self.shapes.mark(|_| true);
        }
    }

    /// The next run that starts, and where. It is not started yet.
    pub(super) fn next(
        &mut self,
        now: MonoMs,
        fleet: &mut Fleet,
        requests: &Requests,
    ) -> Option<(Ticket, Spot)> {
        self.look_for_room(fleet);
        if let Some(found) = self.place_kept(fleet, requests) {
            return Some(found);
        }
        let mut turn: Option<Turn> = None;
        loop {
            turn = self.shares.after(turn);
            let (_, share) = turn?;
            self.reserve(share, now, fleet, requests);
            if let Some(found) = self.place_first(share, now, fleet, requests) {
                return Some(found);
            }
        }
    }

    /// A place for what others are kept waiting for: its own, or any that is open.
    fn place_kept(&self, fleet: &Fleet, requests: &Requests) -> Option<(Ticket, Spot)> {
        self.kept.iter().find_map(|kept| {
            let own = fleet.pools.get(kept.pool).filter(|_| fleet.is_fit(kept.pool, &kept.needs));
            let devices = own.and_then(|pool| pool.choose(kept.needs.count.into()));
            if let Some((devices, _)) = devices {
                return Some((kept.ticket, Spot { pool: kept.pool, devices }));
            }
            let request = &requests.get(&kept.ticket)?.request;
            let is_open = self.shapes.room(kept.shape) == Room::Any;
            let open = is_open.then(|| fleet.find_open(&kept.needs, request.content.as_ref()));
            open.flatten().map(|spot| (kept.ticket, spot))
        })
    }

    /// The first of a share that fits, and where.
    fn place_first(
        &self,
        share: ShareId,
        now: MonoMs,
        fleet: &Fleet,
        requests: &Requests,
    ) -> Option<(Ticket, Spot)> {
        let first = self.first_that_fits(self.shares.get(share)?, now)?;
        let request = &requests.get(&first.ticket)?.request;
        Some((first.ticket, self.spot_for(request, now, fleet)?))
    }

    fn first_that_fits(&self, share: &Share, now: MonoMs) -> Option<Rank> {
        let first = |(shape, line): (usize, &super::line::Line)| match self.shapes.room(shape) {
            Room::None => None,
            Room::Until(end_by) => line.first_within(end_by.since_ms(now)),
            Room::Any => line.first(),
        };
        share.lines().filter_map(first).min()
    }

    /// A place for a request: on what is kept for another if that does not mind, else on an open
    /// pool.
    fn spot_for(&self, request: &Request, now: MonoMs, fleet: &Fleet) -> Option<Spot> {
        let (needs, end_by) = (&request.needs, request.end_by(now));
        let admits = |kept: &&Kept| kept.admits(needs, end_by, fleet);
        let kept = self.kept.iter().find(admits).and_then(|kept| {
            let (devices, _) = fleet.pools.get(kept.pool)?.choose(needs.count.into())?;
            Some(Spot { pool: kept.pool, devices })
        });
        kept.or_else(|| fleet.find_open(needs, request.content.as_ref()))
    }

    /// Keeps a pool for the first of a share if it is a gang that does not fit.
    fn reserve(&mut self, share: ShareId, now: MonoMs, fleet: &mut Fleet, requests: &Requests) {
        let has_one = self.kept.iter().any(|kept| kept.share == share);
        if has_one || self.kept.len() >= RESERVATIONS_MAX {
            return;
        }
        let Some((rank, shape)) = self.shares.get(share).and_then(Share::first) else { return };
        let Some(entry) = requests.get(&rank.ticket) else { return };
        let needs = entry.request.needs;
        let fits = match self.shapes.room(shape) {
            Room::None => false,
            Room::Until(end_by) => entry.request.end_by(now) <= end_by,
            Room::Any => true,
        };
        if fits || needs.count < 2 {
            return;
        }
        let Some((start_by, pool)) = fleet.earliest(&needs, now) else { return };
        fleet.keep(pool);
        self.kept.push(Kept { ticket: rank.ticket, share, shape, needs, pool, start_by });
        self.shapes.mark(|_| true);
        self.look_for_room(fleet);
    }

    /// Finds out what could start now, for shapes that may have more or less room than before.
    fn look_for_room(&mut self, fleet: &Fleet) {
        for shape in self.shapes.waiting_mut().filter(|shape| shape.is_stale) {
            let kept = self.kept.iter().map(|kept| kept.room(&shape.needs, fleet)).max();
            shape.room =
                if fleet.has_open(&shape.needs) { Room::Any } else { kept.unwrap_or(Room::None) };
            shape.is_stale = false;
        }
    }

    /// Devices of a pool were given to a run.
    pub(super) fn taken(&mut self, pool: usize, fleet: &Fleet) {
        let Some(class) = fleet.class_of(pool) else { return };
        self.shapes.mark(|shape| shape.room != Room::None && class.suffices(&shape.needs));
    }

    /// Devices of a pool are free again: a gang that waits may be able to start there earlier.
    pub(super) fn given_back(&mut self, pool: usize, now: MonoMs, fleet: &mut Fleet) {
        let Some(class) = fleet.class_of(pool) else { return };
        self.shapes.mark(|shape| shape.room != Room::Any && class.suffices(&shape.needs));
        for at in 0..self.kept.len() {
            let Some(kept) = self.kept.get_mut(at) else { return };
            if kept.pool != pool && fleet.is_kept(pool) || !fleet.is_fit(pool, &kept.needs) {
                continue;
            }
            let count = usize::from(kept.needs.count);
            let earliest = fleet.pools.get(pool).and_then(|pool| pool.earliest(count, now));
            let Some(start_by) = earliest.filter(|start_by| *start_by < kept.start_by) else {
                continue;
            };
            fleet.open(kept.pool);
            fleet.keep(pool);
            (kept.pool, kept.start_by) = (pool, start_by);
            self.shapes.mark(|_| true);
        }
    }

    /// Devices became usable or unusable, or images came or went: everything is looked at again.
    /// Only here can a reservation move to a later time, or be lost.
    pub(super) fn changed(&mut self, now: MonoMs, fleet: &mut Fleet) {
        for mut kept in std::mem::take(&mut self.kept) {
            fleet.open(kept.pool);
            if let Some((start_by, pool)) = fleet.earliest(&kept.needs, now) {
                fleet.keep(pool);
                (kept.pool, kept.start_by) = (pool, start_by);
                self.kept.push(kept);
            }
        }
        self.shapes.mark(|_| true);
    }

    /// What is kept for whom.
    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Requests of its share that come before this one.
    pub(super) fn before(&self, request: &Request, ticket: Ticket) -> usize {
        let share = self.shares.get(request.share);
        share.map_or(0, |share| share.before(request.rank(ticket)))
    }

    /// The needs of everything that waits, and how many requests have them.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Needs, usize)> {
        self.shapes.waiting().map(|shape| (&shape.needs, shape.waiting))
    }
}
