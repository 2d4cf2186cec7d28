//! Whether a plan may be carried out. Nothing of the planner is used here: it looks at the
//! inventory, at what is asked for and at the plan, so that a fault of the planner is found and not
//! repeated.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Digest;
use crate::inventory::{Device, DeviceId, DeviceKind};

use super::fleet::{Host, HostId};
use super::plan::{is_same_seat, Plan, Seat};
use super::request::{Request, Ticket};

/// What a plan is compared with.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// All hosts and devices.
    pub hosts: &'a [Host],
    /// Devices that must not be given a run, and why.
    pub unusable: &'a BTreeMap<(HostId, DeviceId), String>,
    /// Images of each host.
    pub images: &'a BTreeMap<HostId, BTreeSet<Digest>>,
    /// What was asked for.
    pub requests: &'a BTreeMap<Ticket, Request>,
    /// What runs already. It may stay where it is, though a device became unusable.
    pub present: &'a Plan,
}

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    /// It is older than what runs.
    #[error("the plan has generation {got}, what runs has {present}; plan again")]
    Stale {
        /// That of the plan.
        got: u64,
        /// That of what runs.
        present: u64,
    },
    /// Nobody asked for the run.
    #[error("nobody asked for run {run}")]
    UnknownRun {
        /// Which.
        run: Ticket,
    },
    /// There is no such host.
    #[error("run {run} is on host {host}, which nobody knows")]
    UnknownHost {
        /// The run.
        run: Ticket,
        /// The host.
        host: HostId,
    },
    /// The host has no such device.
    #[error("run {run} is on device {device}, which host {host} does not have")]
    UnknownDevice {
        /// The run.
        run: Ticket,
        /// The host.
        host: HostId,
        /// The device.
        device: DeviceId,
    },
    /// The device must not be given a run.
    #[error("run {run} is on device {device} of host {host}, which is not usable: {why}")]
    Unusable {
        /// The run.
        run: Ticket,
        /// The host.
        host: HostId,
        /// The device.
        device: DeviceId,
        /// Why not.
        why: String,
    },
    /// The GPU is cut into slices, which are what runs are placed on.
    #[error("run {run} is on GPU {device} of host {host}, which is cut into slices")]
    CutIntoSlices {
        /// The run.
        run: Ticket,
        /// The host.
        host: HostId,
        /// The GPU.
        device: DeviceId,
    },
    /// Two runs, or one run twice, on one device.
    #[error("runs {first} and {second} are both on device {device} of host {host}")]
    TwoRunsOnOneDevice {
        /// The host.
        host: HostId,
        /// The device.
        device: DeviceId,
        /// One.
        first: Ticket,
        /// The other.
        second: Ticket,
    },
    /// A run has not as many devices as it must have.
    #[error("run {run} has {got} devices and must have {wanted}, all or none")]
    PartOfAGang {
        /// The run.
        run: Ticket,
        /// Devices it must have.
        wanted: u8,
        /// Devices it has.
        got: usize,
    },
    /// A gang's devices are not of one size.
    #[error("run {run} has devices of {one_mib} and of {other_mib} MiB, which must be equal")]
    UnequalDevices {
        /// The run.
        run: Ticket,
        /// Memory of one, MiB.
        one_mib: u64,
        /// Memory of another, MiB.
        other_mib: u64,
    },
    /// The device is of another kind.
    #[error("run {run} needs a {wanted} and device {device} is a {got}")]
    WrongKind {
        /// The run.
        run: Ticket,
        /// The device.
        device: DeviceId,
        /// The kind it needs.
        wanted: DeviceKind,
        /// The device's kind.
        got: DeviceKind,
    },
    /// The device has too little memory.
    #[error("run {run} needs {wanted_mib} MiB and device {device} has {has_mib} MiB")]
    TooLittleMemory {
        /// The run.
        run: Ticket,
        /// The device.
        device: DeviceId,
        /// Memory it needs, MiB.
        wanted_mib: u64,
        /// Memory of the device, MiB.
        has_mib: u64,
    },
    /// Runs on CPU slots need more memory together than their host has.
    #[error("runs on host {host} need {wanted_mib} MiB together and it has {has_mib} MiB")]
    HostMemory {
        /// The host.
        host: HostId,
        /// Memory they need, MiB.
        wanted_mib: u64,
        /// Memory it has, MiB.
        has_mib: u64,
    },
    /// The host has not the run's image.
    #[error("run {run} needs image {image}, which host {host} does not have")]
    ImageMissing {
        /// The run.
        run: Ticket,
        /// The host.
        host: HostId,
        /// The image.
        image: Digest,
    },
}

/// Whether a plan may be carried out.
///
/// # Errors
///
/// [`PlanRefused`] with the first rule that the plan breaks, by the order of its runs. Nothing of
/// the plan may be carried out then.
pub fn check(plan: &Plan, facts: &Facts<'_>) -> Result<(), PlanRefused> {
    if plan.generation < facts.present.generation {
        let (got, present) = (plan.generation, facts.present.generation);
        return Err(PlanRefused::Stale { got, present });
    }
    let mut taken = BTreeMap::new();
    let mut memory: BTreeMap<&HostId, u64> = BTreeMap::new();
    let hosts: BTreeMap<&HostId, &Host> = facts.hosts.iter().map(|host| (&host.id, host)).collect();
    for (run, seat) in &plan.runs {
        let request = facts.requests.get(run).ok_or(PlanRefused::UnknownRun { run: *run })?;
        let unknown = || PlanRefused::UnknownHost { run: *run, host: seat.host.clone() };
        let host = hosts.get(&seat.host).ok_or_else(unknown)?;
        OneRun { run: *run, request, seat, host, facts }.check()?;
        for device in &seat.devices {
            if let Some(first) = taken.insert((&seat.host, device), *run) {
                return Err(PlanRefused::TwoRunsOnOneDevice {
                    host: seat.host.clone(),
                    device: device.clone(),
                    first,
                    second: *run,
                });
            }
        }
        if request.needs.kind == DeviceKind::CpuSlot {
            let wanted = request.needs.memory_mib.saturating_mul(request.needs.count.into());
            let sum = memory.entry(&seat.host).or_default();
            *sum = sum.saturating_add(wanted);
        }
    }
    let over = memory.into_iter().find_map(|(id, wanted_mib)| {
        let has_mib = hosts.get(id)?.memory_mib;
        let host = id.clone();
        (wanted_mib > has_mib).then_some(PlanRefused::HostMemory { host, wanted_mib, has_mib })
    });
    over.map_or(Ok(()), Err)
}

/// One run of a plan.
struct OneRun<'a> {
    run: Ticket,
    request: &'a Request,
    seat: &'a Seat,
    host: &'a Host,
    facts: &'a Facts<'a>,
}

impl OneRun<'_> {
    fn check(&self) -> Result<(), PlanRefused> {
        let (run, needs) = (self.run, &self.request.needs);
        if self.seat.devices.len() != usize::from(needs.count) {
            let got = self.seat.devices.len();
            return Err(PlanRefused::PartOfAGang { run, wanted: needs.count, got });
        }
        self.check_image()?;
        let mut one_mib = None;
        for id in &self.seat.devices {
            let device = self.host.devices.iter().find(|device| device.id == *id);
            let device = device.ok_or_else(|| PlanRefused::UnknownDevice {
                run,
                host: self.host.id.clone(),
                device: id.clone(),
            })?;
            self.check_device(device)?;
            let other_mib = device.memory_mib;
            let one_mib = *one_mib.get_or_insert(other_mib);
            if one_mib != other_mib {
                return Err(PlanRefused::UnequalDevices { run, one_mib, other_mib });
            }
        }
        Ok(())
    }

    fn check_image(&self) -> Result<(), PlanRefused> {
        let Some(image) = self.request.needs.image else { return Ok(()) };
        let has_it = self.facts.images.get(&self.host.id).is_some_and(|all| all.contains(&image));
        if has_it || self.runs_there() {
            return Ok(());
        }
        Err(PlanRefused::ImageMissing { run: self.run, host: self.host.id.clone(), image })
    }

    fn check_device(&self, device: &Device) -> Result<(), PlanRefused> {
        let (run, needs, id) = (self.run, &self.request.needs, &device.id);
        if device.kind != needs.kind {
            let (wanted, got) = (needs.kind, device.kind);
            return Err(PlanRefused::WrongKind { run, device: id.clone(), wanted, got });
        }
        if device.memory_mib < needs.memory_mib {
            let (wanted_mib, has_mib) = (needs.memory_mib, device.memory_mib);
            let device = id.clone();
            return Err(PlanRefused::TooLittleMemory { run, device, wanted_mib, has_mib });
        }
        let (host, device) = (self.host.id.clone(), id.clone());
        if self.host.devices.iter().any(|other| other.id != *id && other.board() == id) {
            return Err(PlanRefused::CutIntoSlices { run, host, device });
        }
        match self.facts.unusable.get(&(host.clone(), device.clone())) {
            Some(why) if !self.runs_there() => {
                Err(PlanRefused::Unusable { run, host, device, why: why.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether it runs where the plan wants it.
    fn runs_there(&self) -> bool {
        let present = self.facts.present.runs.get(&self.run);
        present.is_some_and(|present| is_same_seat(present, self.seat))
    }
}
