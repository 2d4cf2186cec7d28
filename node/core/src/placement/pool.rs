//! The devices of one kind and size in one host: who has them, until when, and which are free.

use crate::inventory::DeviceId;
use crate::unit::MonoMs;

use super::bits::Mask;
use super::request::Ticket;
use super::topology::Topology;

/// Whether a device may be given a run. Who watches its health says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It may.
    Usable,
    /// It may not, and why: cordoned, suspect, being probed. What runs on it goes on.
    Unusable(String),
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: DeviceId,
    /// Why nothing is placed on it; `None` if something may be.
    pub(super) unusable: Option<String>,
    /// Who has it, and by when that one has ended.
    pub(super) taken: Option<(Ticket, MonoMs)>,
}

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) host: usize,
    pub(super) class: usize,
    pub(super) places: Vec<Place>,
    topology: Topology,
    usable: Mask,
    taken: Mask,
    /// By when each taken and usable device is free again, earliest first.
    ends: Vec<MonoMs>,
}

impl Pool {
    pub(super) fn new(host: usize, class: usize, ids: Vec<DeviceId>, topology: Topology) -> Self {
        let usable = Mask::first(ids.len());
        let place = |id| Place { id, unusable: None, taken: None };
        let places: Vec<Place> = ids.into_iter().map(place).collect();
        let ends = Vec::with_capacity(places.len());
        Self { host, class, places, topology, usable, taken: Mask::default(), ends }
    }

    pub(super) fn free(&self) -> Mask {
        self.usable.without(self.taken)
    }

    pub(super) fn taken(&self) -> Mask {
        self.taken
    }

    pub(super) fn usable(&self) -> Mask {
        self.usable
    }

    /// Chooses free devices; see [`Topology::choose`]. The number is how far apart they are.
    pub(super) fn choose(&self, count: usize) -> Option<(Mask, usize)> {
        self.topology.choose(self.free(), count)
    }

    /// Gives devices to a run that has ended by `end_by`.
    pub(super) fn take(&mut self, devices: Mask, ticket: Ticket, end_by: MonoMs) {
        self.taken = self.taken.or(devices);
        for bit in devices.bits() {
            if let Some(place) = self.places.get_mut(bit) {
                place.taken = Some((ticket, end_by));
            }
        }
        let usable = devices.and(self.usable).len();
        let at = self.ends.partition_point(|end| *end <= end_by);
        self.ends.splice(at..at, std::iter::repeat_n(end_by, usable));
    }

    /// Takes devices back.
    pub(super) fn give_back(&mut self, devices: Mask) {
        self.taken = self.taken.without(devices);
        for bit in devices.bits() {
            let end = self.places.get_mut(bit).and_then(|place| place.taken.take());
            let at = end.and_then(|(_, end)| self.ends.binary_search(&end).ok());
            if let Some(at) = at.filter(|_| self.usable.has(bit)) {
                self.ends.remove(at);
            }
        }
    }

    /// Says whether a device may be used.
    pub(super) fn set_condition(&mut self, bit: usize, condition: &Condition) {
        let device = Mask::one(bit);
        let Some(place) = self.places.get_mut(bit) else { return };
        place.unusable = match condition {
            Condition::Usable => None,
            Condition::Unusable(why) => Some(why.clone()),
        };
        self.usable = match condition {
            Condition::Usable => self.usable.or(device),
            Condition::Unusable(_) => self.usable.without(device),
        };
        let taken = self.usable.and(self.taken).bits();
        self.ends = taken.filter_map(|bit| Some(self.places.get(bit)?.taken?.1)).collect();
        self.ends.sort_unstable();
    }

    /// Devices that are free at `then` if every run ends by its limit and none starts.
    pub(super) fn free_by(&self, then: MonoMs) -> usize {
        self.free().len().saturating_add(self.ends.partition_point(|end| *end <= then))
    }

    /// When `count` devices are free at the latest, if none starts. `None`: not so many are usable.
    pub(super) fn earliest(&self, count: usize, now: MonoMs) -> Option<MonoMs> {
        match count.checked_sub(self.free().len()).and_then(|missing| missing.checked_sub(1)) {
            None => Some(now),
            Some(at) => self.ends.get(at).map(|end| (*end).max(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(devices: usize) -> Pool {
        let ids = (0..devices).map(|at| DeviceId(format!("GPU-{at}"))).collect();
        Pool::new(0, 0, ids, Topology::of(&[]))
    }

    #[test]
    fn the_earliest_time_for_a_gang_is_when_enough_runs_have_ended_by_their_limits() {
        let mut pool = pool(4);
        pool.take(Mask::one(0), Ticket(1), MonoMs(50));
        pool.take(Mask::one(1), Ticket(2), MonoMs(30));
        pool.take(Mask::one(2), Ticket(3), MonoMs(90));
        assert_eq!(pool.earliest(1, MonoMs(10)), Some(MonoMs(10)));
        assert_eq!(pool.earliest(3, MonoMs(10)), Some(MonoMs(50)));
        assert_eq!(pool.earliest(3, MonoMs(70)), Some(MonoMs(70)), "one is over its limit");
        assert_eq!(pool.earliest(5, MonoMs(10)), None);
        assert_eq!((pool.free_by(MonoMs(29)), pool.free_by(MonoMs(50))), (1, 3));
    }

    #[test]
    fn an_unusable_device_is_neither_free_nor_free_again_though_its_run_goes_on() {
        let mut pool = pool(3);
        pool.take(Mask::first(2), Ticket(1), MonoMs(50));
        pool.set_condition(0, &Condition::Unusable("cordoned".into()));
        pool.set_condition(2, &Condition::Unusable("suspect".into()));
        assert_eq!((pool.free().len(), pool.free_by(MonoMs(50))), (0, 1));
        pool.give_back(Mask::first(2));
        assert_eq!((pool.free(), pool.earliest(2, MonoMs(60))), (Mask::one(1), None));
        pool.set_condition(0, &Condition::Usable);
        assert_eq!(pool.earliest(2, MonoMs(60)), Some(MonoMs(60)));
        assert!(pool.ends.is_empty());
    }
}
