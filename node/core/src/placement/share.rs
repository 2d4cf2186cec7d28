//! What each challenge was served, by its weight.
//!
//! Fair queueing by start times: a share is charged for its devices' time divided by its weight,
//! and the one that was charged least is asked first. A share that had nothing waiting is lifted to
//! those that had, so it keeps its part from now on and collects no claim on the past; meanwhile
//! the others use all of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::SHARES_MAX;

use super::line::Line;
use super::request::{Rank, Request, ShareId, Ticket};

/// Parts of a millisecond that a charge is counted in, so that large weights do not round to zero.
const SCALE: u128 = 1 << 32;

#[derive(Clone, Debug)]
pub(super) struct Share {
    weight: u32,
    charged: u128,
    waiting: usize,
    /// What waits, by shape.
    lines: BTreeMap<usize, Line>,
}

/// Shares, and those of them where something waits, the least served first.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    shares: BTreeMap<ShareId, Share>,
    order: BTreeSet<Turn>,
    /// What the least served share was charged when a run last started.
    level: u128,
}

/// A share's place in the order.
pub(super) type Turn = (u128, ShareId);

impl Share {
    /// The charge for so much time of devices.
    fn charge(&self, device_ms: u64) -> u128 {
        let weight = u128::from(self.weight.max(1));
        u128::from(device_ms).saturating_mul(SCALE).checked_div(weight).unwrap_or(0)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().map(|(shape, line)| (*shape, line))
    }

    /// The first of all that waits, and its shape.
    pub(super) fn first(&self) -> Option<(Rank, usize)> {
        self.lines().filter_map(|(shape, line)| Some((line.first()?, shape))).min()
    }

    /// Requests before this one.
    pub(super) fn before(&self, rank: Rank) -> usize {
        self.lines.values().map(|line| line.before(rank)).sum()
    }
}

impl Shares {
    /// Makes sure that there is such a share. False if there are too many.
    pub(super) fn ensure(&mut self, id: ShareId) -> bool {
        let has_room = self.shares.len() < SHARES_MAX || self.shares.contains_key(&id);
        if has_room {
            let new = || Share { weight: 1, charged: 0, waiting: 0, lines: BTreeMap::new() };
            self.shares.entry(id).or_insert_with(new);
        }
        has_room
    }

    pub(super) fn len(&self) -> usize {
        self.shares.len()
    }

    /// What a share counts against others from now on; 0 counts as 1.
    pub(super) fn set_weight(&mut self, id: ShareId, weight: u32) {
        if let Some(share) = self.shares.get_mut(&id) {
            share.weight = weight;
        }
    }

    pub(super) fn get(&self, id: ShareId) -> Option<&Share> {
        self.shares.get(&id)
    }

    /// The next share after this one in the order in which they are asked.
    pub(super) fn after(&self, turn: Option<Turn>) -> Option<Turn> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = turn.map_or(Unbounded, Excluded);
        self.order.range((from, Unbounded)).next().copied()
    }

    pub(super) fn insert(&mut self, request: &Request, ticket: Ticket, shape: usize) {
        let least = self.order.first().map_or(self.level, |(charged, _)| *charged);
        let Some(share) = self.shares.get_mut(&request.share) else { return };
        if share.waiting == 0 {
            share.charged = share.charged.max(least);
            self.order.insert((share.charged, request.share));
        }
        share.waiting = share.waiting.saturating_add(1);
        let line = share.lines.entry(shape).or_insert_with(Line::new);
        line.insert(request.rank(ticket), request.limit_ms);
    }

    pub(super) fn remove(&mut self, request: &Request, ticket: Ticket, shape: usize) {
        let Some(share) = self.shares.get_mut(&request.share) else { return };
        if let Some(line) = share.lines.get_mut(&shape) {
            line.remove(request.rank(ticket), request.limit_ms);
            if line.is_empty() {
                share.lines.remove(&shape);
            }
        }
        share.waiting = share.waiting.saturating_sub(1);
        if share.waiting == 0 {
            self.order.remove(&(share.charged, request.share));
        }
    }

    /// Charges a share for a run that starts, as if it took its whole limit.
    pub(super) fn start(&mut self, request: &Request) {
        self.level = self.order.first().map_or(self.level, |(least, _)| self.level.max(*least));
        let device_ms = request.limit_ms.saturating_mul(request.needs.count.into());
        self.recharge(request.share, |share| share.charged.saturating_add(share.charge(device_ms)));
    }

    /// Gives back what a run that ends did not take of its limit, or charges what it took more.
    pub(super) fn end(&mut self, request: &Request, ran_ms: u64) {
        let count = u64::from(request.needs.count);
        let limit_ms = request.limit_ms.saturating_mul(count);
        let ran_ms = ran_ms.saturating_mul(count);
        self.recharge(request.share, |share| {
            let without = share.charged.saturating_sub(share.charge(limit_ms));
            without.saturating_add(share.charge(ran_ms))
        });
    }

    fn recharge(&mut self, id: ShareId, charged: impl FnOnce(&Share) -> u128) {
        let Some(share) = self.shares.get_mut(&id) else { return };
        let was = share.charged;
        share.charged = charged(share);
        if self.order.remove(&(was, id)) {
            self.order.insert((share.charged, id));
        }
    }
}
