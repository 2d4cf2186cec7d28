//! Why a request waits: for every device, and for the request as a whole.

use std::fmt;

use crate::id::Digest;
use crate::inventory::{Device, DeviceId, DeviceKind};
use crate::unit::MonoMs;

use super::fleet::HostId;
use super::planner::{Planner, Reservation};
use super::pool::{Place, Pool};
use super::request::{Needs, Request, Ticket};

/// Everything that is known about why a request waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The request.
    pub ticket: Ticket,
    /// Requests of its own share that come before it.
    pub ahead: usize,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// Every host and device, in the order of the inventory.
    pub hosts: Vec<HostVerdict>,
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The next decision: there is a place, unless one that comes before it takes it.
    NextDecision,
    /// A host is kept for it.
    Reserved(Reservation),
    /// Others, which are before it.
    Turn {
        /// Where and when enough devices are free, if nobody were before it.
        earliest: Option<(HostId, MonoMs)>,
    },
    /// A host that has its image and enough usable devices.
    Host,
}

/// Why a request is not on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVerdict {
    /// The host.
    pub host: HostId,
    /// Its image that is missing there.
    pub image_missing: Option<Digest>,
    /// The most devices of one size there that suffice and are free.
    pub free: usize,
    /// Each device.
    pub devices: Vec<DeviceVerdict>,
}

/// Why a request is not on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceVerdict {
    /// The device.
    pub device: DeviceId,
    /// Why not.
    pub verdict: Verdict,
}

/// What keeps a request from a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing does: enough such devices are free.
    Free,
    /// It is of another kind.
    WrongKind {
        /// The kind that is needed.
        wanted: DeviceKind,
        /// Its kind.
        has: DeviceKind,
    },
    /// It has too little memory.
    TooSmall {
        /// Memory that is needed, MiB.
        wanted_mib: u64,
        /// Memory it has, MiB.
        has_mib: u64,
    },
    /// It is cut into slices, which are what runs are placed on.
    CutIntoSlices,
    /// It must not be used now.
    Unusable {
        /// Why not.
        why: String,
    },
    /// Another has it.
    Busy {
        /// Who.
        by: Ticket,
        /// By when that one has ended.
        end_by: MonoMs,
    },
    /// Its host has not the image.
    ImageMissing,
    /// It is free, and too few others with it.
    TooFewFree {
        /// Devices that are needed.
        wanted: u8,
        /// Devices that are free.
        free: usize,
    },
    /// It is free and kept for another, which starts before this one would end.
    KeptFor {
        /// For whom.
        ticket: Ticket,
        /// When that one starts at the latest.
        start_by: MonoMs,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::WrongKind { wanted, has } => write!(f, "is a {has}, a {wanted} is needed"),
            Self::TooSmall { wanted_mib, has_mib } => {
                write!(f, "has {has_mib} MiB, {wanted_mib} MiB are needed")
            }
            Self::CutIntoSlices => f.write_str("is cut into slices"),
            Self::Unusable { why } => write!(f, "not usable: {why}"),
            Self::Busy { by, end_by } => write!(f, "busy with {by}, until {end_by} ms"),
            Self::ImageMissing => f.write_str("its host has not the image"),
            Self::TooFewFree { wanted, free } => {
                write!(f, "free, with {free} of {wanted} devices that are needed")
            }
            Self::KeptFor { ticket, start_by } => {
                write!(f, "kept for {ticket}, which starts by {start_by} ms")
            }
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextDecision => f.write_str("the next decision"),
            Self::Reserved(Reservation { host, start_by, .. }) => {
                write!(f, "devices of host {host}, kept for it; starts by {start_by} ms")
            }
            Self::Turn { earliest: Some((host, at)) } => {
                write!(f, "its turn; host {host} has enough devices by {at} ms")
            }
            Self::Turn { earliest: None } => f.write_str("its turn, and a host that is kept"),
            Self::Host => f.write_str("a host with its image and enough usable devices"),
        }
    }
}

impl Planner {
    /// Why a request waits. `None` if it does not wait.
    #[must_use]
    pub fn explain(&self, now: MonoMs, ticket: Ticket) -> Option<Explanation> {
        let entry = self.requests.get(&ticket).filter(|entry| entry.run.is_none())?;
        let request = &entry.request;
        let lane = self.lanes.get(&request.needs.kind)?;
        let hosts: Vec<HostVerdict> = self.host_verdicts(now, request, ticket);
        let waits_for = self.waits_for(now, request, ticket, &hosts);
        Some(Explanation { ticket, ahead: lane.before(request, ticket), waits_for, hosts })
    }

    fn waits_for(
        &self,
        now: MonoMs,
        request: &Request,
        ticket: Ticket,
        hosts: &[HostVerdict],
    ) -> WaitsFor {
        let reserved = self.reservations().into_iter().find(|kept| kept.ticket == ticket);
        let is_free = |device: &DeviceVerdict| device.verdict == Verdict::Free;
        if let Some(reservation) = reserved {
            return WaitsFor::Reserved(reservation);
        }
        if hosts.iter().flat_map(|host| &host.devices).any(is_free) {
            return WaitsFor::NextDecision;
        }
        let count = usize::from(request.needs.count);
        let fit = self.fleet.pools.iter().enumerate().filter(|(at, pool)| {
            self.fleet.is_fit(*at, &request.needs) && pool.usable().len() >= count
        });
        if fit.count() == 0 {
            return WaitsFor::Host;
        }
        let earliest = self.fleet.earliest(&request.needs, now);
        let earliest =
            earliest.and_then(|(at, pool)| self.fleet.host_of(pool).map(|host| (host.clone(), at)));
        WaitsFor::Turn { earliest }
    }

    fn host_verdicts(&self, now: MonoMs, request: &Request, ticket: Ticket) -> Vec<HostVerdict> {
        let verdict = |(host, pools, cut): (&super::fleet::Host, &[usize], &_)| {
            let suffices = pools.iter().filter(|pool| {
                self.fleet.class_of(**pool).is_some_and(|class| class.suffices(&request.needs))
            });
            let image_missing =
                request.needs.image.filter(|image| !self.fleet.host_has(&host.id, image));
            let free = suffices.filter_map(|pool| self.fleet.pools.get(*pool));
            let free = free.map(|pool| pool.free().len()).max().unwrap_or(0);
            let context = Context { planner: self, now, request, ticket, image_missing };
            let device = |device: &Device| DeviceVerdict {
                device: device.id.clone(),
                verdict: context.verdict(&host.id, device, cut),
            };
            let devices = host.devices.iter().map(device).collect();
            HostVerdict { host: host.id.clone(), image_missing, free, devices }
        };
        self.fleet.hosts().map(verdict).collect()
    }
}

/// What a device is judged by.
struct Context<'a> {
    planner: &'a Planner,
    now: MonoMs,
    request: &'a Request,
    ticket: Ticket,
    image_missing: Option<Digest>,
}

impl Context<'_> {
    fn verdict(
        &self,
        host: &HostId,
        device: &Device,
        cut: &std::collections::BTreeSet<DeviceId>,
    ) -> Verdict {
        let needs = &self.request.needs;
        if cut.contains(&device.id) {
            return Verdict::CutIntoSlices;
        }
        if device.kind != needs.kind {
            return Verdict::WrongKind { wanted: needs.kind, has: device.kind };
        }
        if device.memory_mib < needs.memory_mib {
            let (wanted_mib, has_mib) = (needs.memory_mib, device.memory_mib);
            return Verdict::TooSmall { wanted_mib, has_mib };
        }
        let fleet = &self.planner.fleet;
        let found = fleet.locate(host, &device.id);
        let found = found.and_then(|(at, bit)| Some((at, bit, fleet.pools.get(at)?)));
        let Some((at, bit, pool)) = found else { return Verdict::CutIntoSlices };
        match pool.places.get(bit) {
            Some(Place { unusable: Some(why), .. }) => Verdict::Unusable { why: why.clone() },
            Some(Place { taken: Some((by, end_by)), .. }) => {
                Verdict::Busy { by: *by, end_by: *end_by }
            }
            _ if self.image_missing.is_some() => Verdict::ImageMissing,
            _ => self.verdict_if_free(at, pool, needs),
        }
    }

    fn verdict_if_free(&self, at: usize, pool: &Pool, needs: &Needs) -> Verdict {
        let free = pool.free().len();
        if free < usize::from(needs.count) {
            return Verdict::TooFewFree { wanted: needs.count, free };
        }
        let lane = self.planner.lanes.get(&needs.kind);
        let kept = lane.and_then(|lane| lane.kept().iter().find(|kept| kept.pool == at));
        let end_by = self.request.end_by(self.now);
        match kept {
            Some(kept)
                if kept.ticket != self.ticket
                    && !kept.admits(needs, end_by, &self.planner.fleet) =>
            {
                Verdict::KeptFor { ticket: kept.ticket, start_by: kept.start_by }
            }
            _ => Verdict::Free,
        }
    }
}
