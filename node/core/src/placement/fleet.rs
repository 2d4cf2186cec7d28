//! The devices of all hosts, indexed so that a place is found without looking at each of them.
//!
//! A host's devices of one kind and memory are a *pool*; a run has devices of one pool. For each
//! *class* of pools (kind and memory) and each number of free devices there is the set of hosts
//! whose pool has just so many. A place for a run is the first host in the intersection of such a
//! set with the hosts that have its image: some words of bits, whatever the size of the fleet.
//!
//! Not here: who may use a place (`lane`), and why one cannot be used (`explain`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Digest;
use crate::inventory::{Device, DeviceId, DeviceKind};
use crate::limits::{
    CACHED_ITEMS_MAX, DEVICE_CLASSES_MAX, HOSTS_MAX, HOSTS_RANKED_MAX, POOL_DEVICES_MAX,
};
use crate::unit::MonoMs;

use super::bits::{HostSet, Mask};
use super::plan::Seat;
use super::pool::{Condition, Pool};
use super::request::{Needs, RequestRefused};
use super::topology::Topology;

/// A host's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub String);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub id: HostId,
    /// Memory that its CPU slots share, MiB.
    pub memory_mib: u64,
    /// Its devices, in the order in which equal ones are used.
    pub devices: Vec<Device>,
}

/// Why hosts are not taken for what they say they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// Too many hosts.
    #[error("{hosts} hosts are more than {HOSTS_MAX}")]
    TooManyHosts {
        /// How many.
        hosts: usize,
    },
    /// Two hosts with one name.
    #[error("host {host} is listed twice")]
    HostTwice {
        /// Which.
        host: HostId,
    },
    /// Two devices of a host with one name.
    #[error("host {host} lists device {device} twice")]
    DeviceTwice {
        /// The host.
        host: HostId,
        /// The device.
        device: DeviceId,
    },
    /// Too many devices of one kind and size.
    #[error("host {host} has {devices} equal devices, more than {POOL_DEVICES_MAX}")]
    PoolTooLarge {
        /// The host.
        host: HostId,
        /// How many.
        devices: usize,
    },
    /// Too many sizes of devices.
    #[error("there are more than {DEVICE_CLASSES_MAX} kinds and sizes of devices")]
    TooManyClasses,
    /// Its CPU slots promise more memory than it has.
    #[error("host {host} has {has_mib} MiB and its CPU slots promise {promised_mib} MiB")]
    SlotsExceedHost {
        /// The host.
        host: HostId,
        /// Memory of its slots together, MiB.
        promised_mib: u64,
        /// Memory of the host, MiB.
        has_mib: u64,
    },
}

/// Devices of one kind and memory.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) kind: DeviceKind,
    pub(super) memory_mib: u64,
    /// Hosts by how many devices of their pool are free. A pool that is kept for somebody is in
    /// none of them.
    by_free: Vec<HostSet>,
    /// Each host's pool, if it has one.
    pool_of: Vec<Option<usize>>,
}

#[derive(Clone, Debug)]
struct HostEntry {
    host: Host,
    pools: Vec<usize>,
    cut: BTreeSet<DeviceId>,
}

/// Which devices of which pool a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) pool: usize,
    pub(super) devices: Mask,
}

/// All hosts, what they have, and which devices are free.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    hosts: Vec<HostEntry>,
    by_id: BTreeMap<HostId, usize>,
    pub(super) pools: Vec<Pool>,
    pub(super) classes: Vec<Class>,
    kept: BTreeSet<usize>,
    images: BTreeMap<Digest, HostSet>,
    contents: BTreeMap<Digest, HostSet>,
}

impl Fleet {
    pub(super) fn new(hosts: &[Host]) -> Result<Self, FleetError> {
        if hosts.len() > HOSTS_MAX {
            return Err(FleetError::TooManyHosts { hosts: hosts.len() });
        }
        let mut fleet = Self {
            hosts: Vec::with_capacity(hosts.len()),
            by_id: BTreeMap::new(),
            pools: Vec::new(),
            classes: classes_of(hosts)?,
            kept: BTreeSet::new(),
            images: BTreeMap::new(),
            contents: BTreeMap::new(),
        };
        for host in hosts {
            fleet.add(host)?;
        }
        for class in &mut fleet.classes {
            let pools = class.pool_of.iter().flatten().filter_map(|pool| fleet.pools.get(*pool));
            let most = pools.map(|pool| pool.places.len()).max().unwrap_or(0);
            class.by_free = vec![HostSet::none(hosts.len()); most.saturating_add(1)];
        }
        (0..fleet.pools.len()).for_each(|pool| fleet.list(pool));
        Ok(fleet)
    }

    fn add(&mut self, host: &Host) -> Result<(), FleetError> {
        let index = self.hosts.len();
        if self.by_id.insert(host.id.clone(), index).is_some() {
            return Err(FleetError::HostTwice { host: host.id.clone() });
        }
        check_host(host)?;
        let cut = cut_boards(&host.devices);
        let mut pools = Vec::new();
        for (at, class) in self.classes.iter_mut().enumerate() {
            let is_of_class = |device: &&Device| {
                (device.kind, device.memory_mib) == (class.kind, class.memory_mib)
                    && !cut.contains(&device.id)
            };
            let devices: Vec<&Device> = host.devices.iter().filter(is_of_class).collect();
            if devices.len() > POOL_DEVICES_MAX {
                let devices = devices.len();
                return Err(FleetError::PoolTooLarge { host: host.id.clone(), devices });
            }
            let pool = (!devices.is_empty()).then_some(self.pools.len());
            class.pool_of.push(pool);
            if let Some(pool) = pool {
                let ids = devices.iter().map(|device| device.id.clone()).collect();
                self.pools.push(Pool::new(index, at, ids, Topology::of(&devices)));
                pools.push(pool);
            }
        }
        self.hosts.push(HostEntry { host: host.clone(), pools, cut });
        Ok(())
    }

    /// Puts a pool where runs are looked for a place.
    fn list(&mut self, pool: usize) {
        if let Some((host, set)) = self.listing(pool) {
            set.insert(host);
        }
    }

    /// Takes a pool from there, before its number of free devices changes.
    fn unlist(&mut self, pool: usize) {
        if let Some((host, set)) = self.listing(pool) {
            set.remove(host);
        }
    }

    fn listing(&mut self, pool: usize) -> Option<(usize, &mut HostSet)> {
        if self.kept.contains(&pool) {
            return None;
        }
        let found = self.pools.get(pool)?;
        let class = self.classes.get_mut(found.class)?;
        Some((found.host, class.by_free.get_mut(found.free().len())?))
    }

    fn change<T>(&mut self, pool: usize, change: impl FnOnce(&mut Pool) -> T) -> Option<T> {
        self.unlist(pool);
        let result = self.pools.get_mut(pool).map(change);
        self.list(pool);
        result
    }

    /// Changes a pool's runs; it is found under its new number of free devices.
    pub(super) fn with_pool(&mut self, pool: usize, change: impl FnOnce(&mut Pool)) {
        self.change(pool, change);
    }

    /// Keeps a pool for one run: [`Self::find_open`] does not find it any more.
    pub(super) fn keep(&mut self, pool: usize) {
        self.unlist(pool);
        self.kept.insert(pool);
    }

    /// Opens a pool again that was kept.
    pub(super) fn open(&mut self, pool: usize) {
        self.kept.remove(&pool);
        self.list(pool);
    }

    pub(super) fn is_kept(&self, pool: usize) -> bool {
        self.kept.contains(&pool)
    }

    /// Whether a pool's devices are of the kind and size that `needs` asks for, busy or not.
    pub(super) fn is_fit(&self, pool: usize, needs: &Needs) -> bool {
        self.class_of(pool).is_some_and(|class| class.suffices(needs))
            && self.has_image(pool, needs)
    }

    fn has_image(&self, pool: usize, needs: &Needs) -> bool {
        let Some(image) = &needs.image else { return true };
        let host = self.pools.get(pool).map(|pool| pool.host);
        self.images.get(image).zip(host).is_some_and(|(hosts, host)| hosts.has(host))
    }

    pub(super) fn class_of(&self, pool: usize) -> Option<&Class> {
        self.pools.get(pool).and_then(|pool| self.classes.get(pool.class))
    }

    /// The best open pool that has a place now: the smallest memory that suffices, then the fewest
    /// free devices, then the nearest ones, then one whose host has the content.
    pub(super) fn find_open(&self, needs: &Needs, content: Option<&Digest>) -> Option<Spot> {
        let images = self.hosts_with_image(needs)?;
        let count = usize::from(needs.count);
        let classes = self.classes.iter().filter(|class| class.suffices(needs));
        for class in classes {
            for hosts in class.by_free.iter().skip(count).filter(|hosts| !hosts.is_empty()) {
                let pools = || hosts.both(images).filter_map(|host| class.pool(host));
                if let Some(spot) = self.nearest(pools, count, content) {
                    return Some(spot);
                }
            }
        }
        None
    }

    /// Whether [`Self::find_open`] would find a place.
    pub(super) fn has_open(&self, needs: &Needs) -> bool {
        let Some(images) = self.hosts_with_image(needs) else { return false };
        let classes = self.classes.iter().filter(|class| class.suffices(needs));
        let mut sets = classes.flat_map(|class| class.by_free.iter().skip(needs.count.into()));
        sets.any(|hosts| !hosts.is_empty() && hosts.both(images).next().is_some())
    }

    /// How many runs with these needs could start now, if nothing else does.
    pub(super) fn room(&self, needs: &Needs) -> usize {
        let open = (0..self.pools.len()).filter(|at| !self.is_kept(*at) && self.is_fit(*at, needs));
        let free = open.filter_map(|at| self.pools.get(at)).map(|pool| pool.free().len());
        free.filter_map(|free| free.checked_div(needs.count.into())).sum()
    }

    /// Hosts with the image; inside, `None` where every host will do, outside where none has it.
    fn hosts_with_image(&self, needs: &Needs) -> Option<Option<&HostSet>> {
        match &needs.image {
            None => Some(None),
            Some(image) => self.images.get(image).filter(|set| !set.is_empty()).map(Some),
        }
    }

    /// Of pools that fit equally well: those with the content first, then by how near the devices.
    fn nearest<I: Iterator<Item = usize>>(
        &self,
        pools: impl Fn() -> I,
        count: usize,
        content: Option<&Digest>,
    ) -> Option<Spot> {
        let with_content = content.and_then(|content| self.contents.get(content));
        let has_content = |pool: &usize| {
            let host = self.pools.get(*pool).map(|pool| pool.host);
            with_content.zip(host).is_some_and(|(hosts, host)| hosts.has(host))
        };
        let looked_at = if count == 1 { 1 } else { HOSTS_RANKED_MAX };
        let first = with_content.map(|_| pools().filter(has_content).take(looked_at));
        let candidates = first.into_iter().flatten().chain(pools().take(looked_at));
        let spots = candidates.filter_map(|at| {
            let (devices, row) = self.pools.get(at)?.choose(count)?;
            Some((row, Spot { pool: at, devices }))
        });
        // Of equal ones the first, and so one with the content.
        spots.min_by_key(|(row, _)| *row).map(|(_, spot)| spot)
    }

    /// The open pool where so many devices are free the earliest, by the limits of what runs.
    pub(super) fn earliest(&self, needs: &Needs, now: MonoMs) -> Option<(MonoMs, usize)> {
        let images = self.hosts_with_image(needs)?;
        let suffices = self.classes.iter().filter(|class| class.suffices(needs));
        let pools = suffices.flat_map(|class| class.pool_of.iter().flatten());
        let open = pools.filter(|pool| !self.kept.contains(pool)).filter_map(|at| {
            let pool = self.pools.get(*at)?;
            let has_image = images.is_none_or(|hosts| hosts.has(pool.host));
            let start_by = pool.earliest(needs.count.into(), now).filter(|_| has_image)?;
            Some((start_by, *at))
        });
        open.min()
    }

    /// Whether any host could ever run this, if nothing else ran and all devices were usable.
    pub(super) fn check(&self, needs: &Needs) -> Result<(), RequestRefused> {
        let kind = needs.kind;
        let of_kind = self.classes.iter().filter(|class| class.kind == kind);
        let of_kind = of_kind.map(|class| (class.memory_mib, class.most())).filter(|(_, n)| *n > 0);
        let Some(largest_mib) = of_kind.clone().map(|(memory_mib, _)| memory_mib).max() else {
            return Err(RequestRefused::NoneOfKind { kind });
        };
        let suffices = of_kind.filter(|(memory_mib, _)| *memory_mib >= needs.memory_mib);
        match suffices.map(|(_, devices)| devices).max() {
            None => {
                let wanted_mib = needs.memory_mib;
                Err(RequestRefused::TooSmall { kind, wanted_mib, largest_mib })
            }
            Some(most) if most < usize::from(needs.count) => {
                Err(RequestRefused::TooFew { wanted: needs.count, most })
            }
            Some(_) => Ok(()),
        }
    }

    /// Says whether a device may be used; of a board that is cut into slices, whether all of them.
    /// Returns the pools that have changed; none if there is no such device.
    pub(super) fn set_condition(
        &mut self,
        host: &HostId,
        device: &DeviceId,
        condition: &Condition,
    ) -> Vec<usize> {
        let Some(entry) = self.entry(host) else { return Vec::new() };
        let named = entry.host.devices.iter().filter(|d| d.id == *device || d.board() == device);
        let named: Vec<DeviceId> = named.map(|device| device.id.clone()).collect();
        let found: Vec<_> = named.iter().filter_map(|id| self.locate(host, id)).collect();
        for (pool, bit) in &found {
            self.change(*pool, |pool| pool.set_condition(*bit, condition));
        }
        found.into_iter().map(|(pool, _)| pool).collect()
    }

    /// A device's pool, and which of its devices it is.
    pub(super) fn locate(&self, host: &HostId, device: &DeviceId) -> Option<(usize, usize)> {
        self.entry(host)?.pools.iter().find_map(|at| {
            let places = &self.pools.get(*at)?.places;
            Some((*at, places.iter().position(|place| place.id == *device)?))
        })
    }

    /// Says that a host has an image, or has it no more. Returns whether the host is known.
    pub(super) fn set_image(&mut self, host: &HostId, image: Digest, is_there: bool) -> bool {
        let Some(index) = self.by_id.get(host).copied() else { return false };
        set_cached(&mut self.images, image, index, is_there, self.hosts.len());
        true
    }

    /// Says that a host has content, or has it no more. Returns whether the host is known.
    pub(super) fn set_content(&mut self, host: &HostId, content: Digest, is_there: bool) -> bool {
        let Some(index) = self.by_id.get(host).copied() else { return false };
        set_cached(&mut self.contents, content, index, is_there, self.hosts.len());
        true
    }

    /// Whether a host has an image.
    pub(super) fn host_has(&self, host: &HostId, image: &Digest) -> bool {
        let set = self.images.get(image).zip(self.by_id.get(host));
        set.is_some_and(|(hosts, host)| hosts.has(*host))
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = (&Host, &[usize], &BTreeSet<DeviceId>)> {
        self.hosts.iter().map(|entry| (&entry.host, entry.pools.as_slice(), &entry.cut))
    }

    pub(super) fn host_of(&self, pool: usize) -> Option<&HostId> {
        let host = self.pools.get(pool)?.host;
        self.hosts.get(host).map(|entry| &entry.host.id)
    }

    /// The names of a spot's devices.
    pub(super) fn names(&self, spot: Spot) -> Vec<DeviceId> {
        let places = self.pools.get(spot.pool).map_or(&[][..], |pool| &pool.places);
        spot.devices.bits().filter_map(|bit| places.get(bit)).map(|p| p.id.clone()).collect()
    }

    /// The devices of a seat, if they are free, of one pool, and suffice. Whether they are usable
    /// does not matter to what runs there already.
    pub(super) fn spot_of(&self, seat: &Seat, needs: &Needs) -> Option<Spot> {
        let found: Option<Vec<_>> =
            seat.devices.iter().map(|device| self.locate(&seat.host, device)).collect();
        let found = found?;
        let (pool, _) = *found.first()?;
        let devices = found.iter().filter(|(at, _)| *at == pool);
        let devices = devices.fold(Mask::default(), |all, (_, bit)| all.or(Mask::one(*bit)));
        let is_whole = [seat.devices.len(), devices.len()] == [usize::from(needs.count); 2];
        let is_free = self.pools.get(pool)?.taken().and(devices).is_empty();
        let suffices = self.class_of(pool)?.suffices(needs);
        (is_whole && is_free && suffices).then_some(Spot { pool, devices })
    }

    fn entry(&self, host: &HostId) -> Option<&HostEntry> {
        self.hosts.get(*self.by_id.get(host)?)
    }
}

impl Class {
    pub(super) fn suffices(&self, needs: &Needs) -> bool {
        self.kind == needs.kind && self.memory_mib >= needs.memory_mib
    }

    /// Devices of the largest pool.
    fn most(&self) -> usize {
        self.by_free.len().saturating_sub(1)
    }

    fn pool(&self, host: usize) -> Option<usize> {
        self.pool_of.get(host).copied().flatten()
    }
}

/// All kinds and sizes, the smallest first.
fn classes_of(hosts: &[Host]) -> Result<Vec<Class>, FleetError> {
    let devices = hosts.iter().flat_map(|host| &host.devices);
    let sizes: BTreeSet<_> = devices.map(|device| (device.kind, device.memory_mib)).collect();
    if sizes.len() > DEVICE_CLASSES_MAX {
        return Err(FleetError::TooManyClasses);
    }
    let class = |(kind, memory_mib)| Class {
        kind,
        memory_mib,
        by_free: Vec::new(),
        pool_of: Vec::with_capacity(hosts.len()),
    };
    Ok(sizes.into_iter().map(class).collect())
}

fn check_host(host: &Host) -> Result<(), FleetError> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = host.devices.iter().find(|device| !seen.insert(&device.id)) {
        let (host, device) = (host.id.clone(), twice.id.clone());
        return Err(FleetError::DeviceTwice { host, device });
    }
    let slots = host.devices.iter().filter(|device| device.kind == DeviceKind::CpuSlot);
    let promised_mib = slots.fold(0u64, |sum, slot| sum.saturating_add(slot.memory_mib));
    if promised_mib > host.memory_mib {
        let (host, has_mib) = (host.id.clone(), host.memory_mib);
        return Err(FleetError::SlotsExceedHost { host, promised_mib, has_mib });
    }
    Ok(())
}

/// The boards that are cut into slices: only their slices run anything.
pub(super) fn cut_boards(devices: &[Device]) -> BTreeSet<DeviceId> {
    let slices = devices.iter().filter(|device| *device.board() != device.id);
    slices.map(|slice| slice.board().clone()).collect()
}

/// Remembers who has something. Beyond the limit nothing new is remembered: then it is fetched
/// again, or its runs wait.
fn set_cached(
    cached: &mut BTreeMap<Digest, HostSet>,
    item: Digest,
    host: usize,
    is_there: bool,
    hosts: usize,
) {
    if !is_there {
        if let Some(set) = cached.get_mut(&item) {
            set.remove(host);
            if set.is_empty() {
                cached.remove(&item);
            }
        }
    } else if cached.contains_key(&item) || cached.len() < CACHED_ITEMS_MAX {
        cached.entry(item).or_insert_with(|| HostSet::none(hosts)).insert(host);
    }
}
