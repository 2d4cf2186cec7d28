//! Which devices of a pool work together: the nearest ones, and no island is broken without need.
//!
//! ```text
//! all        0 1 2 3 4 5 6 7
//! NUMA       0 1 2 3|4 5 6 7
//! NVLink     0 1|2 3|4 5|6 7
//! device     0|1|2|3|4|5|6|7
//! ```
//!
//! A gang gets the lowest row that has an island with enough free devices. Of such islands it gets
//! the one with the fewest free devices, then the one whose surroundings have the fewest: so runs
//! fill what is begun, and what is whole stays whole for larger ones.

use std::collections::BTreeSet;

use crate::inventory::{Device, Nearness};

use super::bits::Mask;

/// The islands of one pool, from single devices to the whole pool.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    rows: Vec<Vec<Mask>>,
}

/// How far apart chosen devices are: the row of the islands that holds them; 0 is one device.
pub(super) type Row = usize;

impl Topology {
    /// From how near the devices say each other to be; the nearer of two opinions counts.
    pub(super) fn of(devices: &[&Device]) -> Self {
        let named = devices.iter().flat_map(|device| device.place.near.values().copied());
        let mut rows: Vec<Vec<Mask>> = vec![(0..devices.len()).map(Mask::one).collect()];
        for nearness in named.collect::<BTreeSet<Nearness>>().into_iter().rev() {
            push_changed(&mut rows, islands(devices, nearness));
        }
        push_changed(&mut rows, vec![Mask::first(devices.len())]);
        Self { rows }
    }

    /// Chooses `count` of the `free` devices. `None` if there are not so many.
    pub(super) fn choose(&self, free: Mask, count: usize) -> Option<(Mask, Row)> {
        if free.len() < count {
            return None;
        }
        let flat = self.rows.len() <= 2;
        if flat || free.len() == count {
            let row = if count == 1 { 0 } else { self.row_of(free.take(count)) };
            return Some((free.take(count), row));
        }
        let enough = |island: &&Mask| island.and(free).len() >= count;
        self.rows.iter().enumerate().find_map(|(row, islands)| {
            let of_row = islands.iter().filter(enough);
            let island = of_row.min_by_key(|island| self.surroundings(row, **island, free))?;
            Some((self.gather(row, island.and(free), count), row))
        })
    }

    /// Free devices around an island, row by row from itself outwards, as one number to compare.
    fn surroundings(&self, row: Row, island: Mask, free: Mask) -> u128 {
        let outwards = self.rows.iter().skip(row);
        let around = outwards.map(|islands| {
            islands.iter().find(|around| !around.and(island).is_empty()).copied().unwrap_or(island)
        });
        let push = |key: u128, around: Mask| {
            let free = u128::try_from(around.and(free).len()).unwrap_or(u128::MAX);
            key.saturating_mul(1 << 8).saturating_add(free)
        };
        around.take(12).fold(0, push)
    }

    /// `count` devices out of one island's free ones, whole inner islands first.
    fn gather(&self, row: Row, free: Mask, count: usize) -> Mask {
        let Some(inner) = row.checked_sub(1).and_then(|inner| self.rows.get(inner)) else {
            return free.take(count);
        };
        let mut left = free;
        let mut chosen = Mask::default();
        while chosen.len() < count {
            let missing = count.saturating_sub(chosen.len());
            let parts = || inner.iter().map(|island| island.and(left)).filter(|m| !m.is_empty());
            let enough = parts().filter(|part| part.len() >= missing).min_by_key(|p| p.len());
            let Some(part) = enough.or_else(|| parts().max_by_key(|part| part.len())) else {
                return chosen;
            };
            let taken = self.gather(row.saturating_sub(1), part, missing.min(part.len()));
            chosen = chosen.or(taken);
            left = left.without(part);
        }
        chosen
    }

    /// The lowest row with an island that holds all of them.
    fn row_of(&self, chosen: Mask) -> Row {
        let holds = |islands: &Vec<Mask>| islands.iter().any(|i| chosen.without(*i).is_empty());
        self.rows.iter().position(holds).unwrap_or(self.rows.len())
    }
}

fn push_changed(rows: &mut Vec<Vec<Mask>>, next: Vec<Mask>) {
    if rows.last() != Some(&next) {
        rows.push(next);
    }
}

/// Devices that are joined by links of at least this nearness, directly or over others.
fn islands(devices: &[&Device], nearness: Nearness) -> Vec<Mask> {
    let mut islands: Vec<Mask> = Vec::new();
    for (bit, device) in devices.iter().enumerate() {
        let joins = |other: &Device| {
            let seen = device.place.near.get(&other.id).max(other.place.near.get(&device.id));
            seen.is_some_and(|seen| *seen >= nearness)
        };
        let is_joined =
            |island: &Mask| island.bits().any(|at| devices.get(at).is_some_and(|d| joins(d)));
        let (joined, apart): (Vec<Mask>, Vec<Mask>) = islands.into_iter().partition(is_joined);
        let island = joined.into_iter().fold(Mask::one(bit), Mask::or);
        islands = apart;
        islands.push(island);
    }
    islands.sort_by_key(|island| island.bits().next());
    islands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{DeviceId, DeviceKind};

    /// Eight GPUs: pairs on a bridge, four to a NUMA node.
    fn pairs_in_two_nodes() -> Topology {
        let id = |at: usize| DeviceId(format!("GPU-{at}"));
        let near = |a: usize, b: usize| match (a / 2 == b / 2, a / 4 == b / 4) {
            (true, _) => Nearness::NvLink { links: 4 },
            (false, true) => Nearness::Numa,
            (false, false) => Nearness::System,
        };
        let device = |a: usize| {
            let mut device = Device::new(id(a), DeviceKind::Gpu, "a GPU", 80_000);
            let others = (0..8).filter(|b| *b != a);
            device.place.near = others.map(|b| (id(b), near(a, b))).collect();
            device
        };
        let devices: Vec<Device> = (0..8).map(device).collect();
        Topology::of(&devices.iter().collect::<Vec<_>>())
    }

    fn mask(bits: &[usize]) -> Mask {
        bits.iter().fold(Mask::default(), |mask, bit| mask.or(Mask::one(*bit)))
    }

    #[test]
    fn a_pair_gets_one_bridge_even_where_a_fuller_node_has_room_across() {
        let topology = pairs_in_two_nodes();
        // Node 0 has 1 and 2 free, of two pairs; node 1 has three, with the pair 6 and 7.
        let chosen = topology.choose(mask(&[1, 2, 4, 6, 7]), 2);
        assert_eq!(chosen, Some((mask(&[6, 7]), 1)));
    }

    #[test]
    fn one_device_is_taken_from_what_is_already_broken() {
        let topology = pairs_in_two_nodes();
        let chosen = topology.choose(mask(&[0, 1, 2, 4, 5, 6, 7]), 1);
        assert_eq!(chosen, Some((mask(&[2]), 0)), "3 is taken, so the pair is broken already");
    }

    #[test]
    fn four_get_a_node_of_their_own_and_six_break_one_pair_at_most() {
        let topology = pairs_in_two_nodes();
        assert_eq!(topology.choose(Mask::first(8), 4), Some((mask(&[0, 1, 2, 3]), 2)));
        let (six, row) = topology.choose(Mask::first(8), 6).unwrap();
        assert_eq!((six.len(), row), (6, 3));
        let left = Mask::first(8).without(six);
        assert!([mask(&[0, 1]), mask(&[2, 3]), mask(&[4, 5]), mask(&[6, 7])].contains(&left));
        assert_eq!(topology.choose(mask(&[0, 1]), 3), None);
    }

    #[test]
    fn without_known_neighbours_the_first_free_ones_are_chosen() {
        let slot = |at| Device::new(DeviceId(format!("cpu-{at}")), DeviceKind::CpuSlot, "", 1);
        let devices: Vec<Device> = (0..4).map(slot).collect();
        let topology = Topology::of(&devices.iter().collect::<Vec<_>>());
        assert_eq!(topology.choose(mask(&[1, 2, 3]), 1), Some((mask(&[1]), 0)));
        assert_eq!(topology.choose(mask(&[1, 2, 3]), 2), Some((mask(&[1, 2]), 1)));
    }
}
