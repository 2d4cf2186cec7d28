//! Hosts, requests and a planner for the tests, in few words.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Digest;
use crate::inventory::{Device, DeviceId, DeviceKind, GpuFacts, SliceFacts};
use crate::placement::{
    check, Condition, Facts, Host, HostId, Needs, Plan, Planner, Request, Seat, ShareId, Start,
    Ticket,
};
use crate::unit::MonoMs;

pub(super) const HOUR_MS: u64 = 3_600_000;

pub(super) fn id(name: &str) -> DeviceId {
    DeviceId(name.to_owned())
}

pub(super) fn host_id(name: &str) -> HostId {
    HostId(name.to_owned())
}

pub(super) fn gpu(name: &str, memory_mib: u64) -> Device {
    Device::new(id(name), DeviceKind::Gpu, "a GPU", memory_mib)
}

pub(super) fn slice(parent: &str, name: &str, memory_mib: u64) -> Device {
    let slice = SliceFacts { parent: id(parent), gpu_instance: 1, compute_instance: 0 };
    let mut device = Device::new(id(name), DeviceKind::MigSlice, "a slice", memory_mib);
    device.gpu =
        Some(GpuFacts { compute_capability: (9, 0), driver_version: None, slice: Some(slice) });
    device
}

pub(super) fn host(name: &str, devices: Vec<Device>) -> Host {
    Host { id: host_id(name), memory_mib: 1 << 20, devices }
}

/// Hosts `h0`, `h1`, ... with so many GPUs each, named `h0-0`, `h0-1`, ...
pub(super) fn gpu_hosts(hosts: usize, gpus: usize) -> Vec<Host> {
    let devices = |h| (0..gpus).map(|d| gpu(&format!("h{h}-{d}"), 80_000)).collect();
    (0..hosts).map(|h| host(&format!("h{h}"), devices(h))).collect()
}

pub(super) fn gpus(count: u8, limit_ms: u64) -> Request {
    Request {
        share: ShareId(0),
        priority: 5,
        submitted_at: MonoMs(0),
        needs: Needs { kind: DeviceKind::Gpu, memory_mib: 40_000, count, image: None },
        limit_ms,
        content: None,
    }
}

/// A planner, and all that is needed to check its plans without it.
pub(super) struct Bench {
    pub(super) planner: Planner,
    pub(super) hosts: Vec<Host>,
    pub(super) now: MonoMs,
    pub(super) unusable: BTreeMap<(HostId, DeviceId), String>,
    pub(super) images: BTreeMap<HostId, BTreeSet<Digest>>,
    pub(super) requests: BTreeMap<Ticket, Request>,
    pub(super) present: Plan,
}

impl Bench {
    pub(super) fn new(hosts: Vec<Host>) -> Self {
        Self {
            planner: Planner::new(&hosts).unwrap(),
            hosts,
            now: MonoMs(0),
            unusable: BTreeMap::new(),
            images: BTreeMap::new(),
            requests: BTreeMap::new(),
            present: Plan::default(),
        }
    }

    pub(super) fn submit(&mut self, request: Request) -> Ticket {
        let ticket = self.planner.submit(request).unwrap();
        self.requests.insert(ticket, request);
        ticket
    }

    pub(super) fn submit_now(&mut self, request: Request) -> Ticket {
        self.submit(Request { submitted_at: self.now, ..request })
    }

    /// Everything that starts now, with its seat. Each plan on the way passes the check.
    pub(super) fn decide(&mut self) -> Vec<(Ticket, Seat)> {
        let mut starts = Vec::new();
        while let Some(Start { ticket, seat }) = self.planner.decide(self.now) {
            starts.push((ticket, seat));
        }
        let plan = self.planner.plan();
        check(&plan, &self.facts()).unwrap();
        self.present = plan;
        starts
    }

    pub(super) fn started(&mut self) -> Vec<Ticket> {
        self.decide().into_iter().map(|(ticket, _)| ticket).collect()
    }

    pub(super) fn finish(&mut self, ticket: Ticket) {
        assert!(self.planner.finish(self.now, ticket).is_some(), "{ticket} does not run");
        self.present = self.planner.plan();
    }

    pub(super) fn set_condition(&mut self, host: &str, device: &str, condition: &Condition) {
        let (host, device) = (host_id(host), id(device));
        assert!(self.planner.set_condition(self.now, &host, &device, condition));
        match condition {
            Condition::Usable => self.unusable.remove(&(host, device)),
            Condition::Unusable(why) => self.unusable.insert((host, device), why.clone()),
        };
    }

    pub(super) fn set_image(&mut self, host: &str, image: Digest, is_there: bool) {
        let host = host_id(host);
        assert!(self.planner.set_image(self.now, &host, image, is_there));
        let images = self.images.entry(host).or_default();
        if is_there {
            images.insert(image);
        } else {
            images.remove(&image);
        }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        let Self { hosts, unusable, images, requests, present, .. } = self;
        Facts { hosts, unusable, images, requests, present }
    }
}

pub(super) fn unusable(why: &str) -> Condition {
    Condition::Unusable(why.to_owned())
}
