//! What a replay asks of a scheduler, and the planner of core behind it.

use std::collections::BTreeMap;

use node_core::inventory::{Device, DeviceId, DeviceKind, Nearness};
use node_core::placement::{
    Condition, Host, HostId, Needs, Planner, Request, ShareId, Start, Ticket,
};
use node_core::unit::MonoMs;

use crate::trace::{Job, Shape, SHARES};

/// Decides which job gets which devices; jobs and devices are numbers.
pub trait Scheduler {
    /// What reports call it.
    fn name(&self) -> &'static str;
    /// A job arrives.
    fn submit(&mut self, now_ms: u64, job: usize, facts: &Job);
    /// A job has ended.
    fn finish(&mut self, now_ms: u64, job: usize);
    /// An attempt at a job broke; it waits again.
    fn repeat(&mut self, now_ms: u64, job: usize);
    /// A device went or came back. Its run, if any, was repeated before.
    fn set_usable(&mut self, now_ms: u64, device: usize, is_usable: bool);
    /// A job that starts now, and its devices; called until nothing does.
    fn next(&mut self, now_ms: u64) -> Option<(usize, Vec<usize>)>;
}

/// The planner of core.
#[derive(Debug)]
pub struct Ours {
    planner: Planner,
    jobs: BTreeMap<Ticket, usize>,
    tickets: BTreeMap<usize, Ticket>,
    devices: Vec<(HostId, DeviceId)>,
    numbers: BTreeMap<DeviceId, usize>,
}

/// Hosts with GPUs that are all joined to each other, in two NUMA nodes.
#[must_use]
pub fn hosts(hosts: usize, devices_per_host: usize) -> Vec<Host> {
    let id = |host: usize, at: usize| DeviceId(format!("GPU-{host}-{at}"));
    let device = |host: usize, at: usize| {
        let mut device = Device::new(id(host, at), DeviceKind::Gpu, "a GPU", 81_559);
        let others = (0..devices_per_host).filter(|other| *other != at);
        let near = others.map(|other| (id(host, other), Nearness::NvLink { links: 18 }));
        device.place.near = near.collect();
        device.place.numa_node = u32::try_from(at * 2 / devices_per_host).ok();
        device
    };
    let host = |host: usize| Host {
        id: HostId(format!("host-{host}")),
        memory_mib: 1 << 21,
        devices: (0..devices_per_host).map(|at| device(host, at)).collect(),
    };
    (0..hosts).map(host).collect()
}

impl Ours {
    /// A planner for the devices of a trace.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let hosts = hosts(shape.hosts, shape.devices_per_host);
        let mut planner = Planner::new(&hosts).unwrap();
        for (share, weight) in SHARES {
            planner.set_share(ShareId(share), weight).unwrap();
        }
        let names = |host: &Host| {
            let devices = host.devices.iter().map(|device| device.id.clone());
            devices.map(|device| (host.id.clone(), device)).collect::<Vec<_>>()
        };
        let devices: Vec<_> = hosts.iter().flat_map(names).collect();
        let numbers = devices.iter().enumerate().map(|(at, (_, id))| (id.clone(), at)).collect();
        let (jobs, tickets) = (BTreeMap::new(), BTreeMap::new());
        Self { planner, jobs, tickets, devices, numbers }
    }
}

/// What a job asks the planner for.
#[must_use]
pub fn request(job: &Job) -> Request {
    Request {
        share: ShareId(job.share),
        priority: job.priority,
        submitted_at: MonoMs(job.arrives_ms),
        needs: Needs { kind: DeviceKind::Gpu, memory_mib: 40_000, count: job.count, image: None },
        limit_ms: job.limit_ms,
        content: None,
    }
}

impl Scheduler for Ours {
    fn name(&self) -> &'static str {
        "Assay"
    }

    fn submit(&mut self, _now_ms: u64, job: usize, facts: &Job) {
        let ticket = self.planner.submit(request(facts)).unwrap();
        self.jobs.insert(ticket, job);
        self.tickets.insert(job, ticket);
    }

    fn finish(&mut self, now_ms: u64, job: usize) {
        let ticket = self.tickets.remove(&job).unwrap();
        self.jobs.remove(&ticket);
        assert!(self.planner.finish(MonoMs(now_ms), ticket).is_some());
    }

    fn repeat(&mut self, now_ms: u64, job: usize) {
        assert!(self.planner.requeue(MonoMs(now_ms), self.tickets[&job]));
    }

    fn set_usable(&mut self, now_ms: u64, device: usize, is_usable: bool) {
        let (host, device) = &self.devices[device];
        let condition =
            if is_usable { Condition::Usable } else { Condition::Unusable("gone".to_owned()) };
        assert!(self.planner.set_condition(MonoMs(now_ms), host, device, &condition));
    }

    fn next(&mut self, now_ms: u64) -> Option<(usize, Vec<usize>)> {
        let Start { ticket, seat } = self.planner.decide(MonoMs(now_ms))?;
        let devices = seat.devices.iter().map(|device| self.numbers[device]).collect();
        Some((self.jobs[&ticket], devices))
    }
}
