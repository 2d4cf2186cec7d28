//! Which GPUs and slices this machine has, and how near they are to each other.
//!
//! NVML says more and asks each GPU by itself; CUDA says what a run can use. Both list by UUID,
//! and what only one of them lists is a fault. Where NVML is missing CUDA is believed alone, and
//! where CUDA as a whole does not answer NVML is: one dead GPU can keep CUDA from starting on the
//! host, and not in a container that sees another GPU only.
//!
//! A GPU that is cut into MIG slices cannot be used whole. Its slices are devices; the GPU itself
//! is named beside them. CUDA shows a process one slice at most, so on a machine with slices its
//! list is compared in one direction only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use node_core::inventory::{
    Device, DeviceId, DeviceKind, GpuAbsence, GpuFacts, Nearness, SliceFacts,
};
use node_core::limits::clip_detail;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::Nvml;

use crate::cuda::{self, Listed};
use crate::deadline::{self, Missed};
use crate::nvml::{self, Found};

/// What the driver told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInventory {
    /// GPUs and slices that can be used, in the driver's order; at least one.
    pub devices: Vec<Device>,
    /// GPUs that are cut into slices: not to be used themselves.
    pub cut: Vec<Device>,
    /// What is listed and cannot be used, and what could not be asked.
    pub faults: Vec<GpuFault>,
    /// The driver's version, where its management library says.
    pub driver_version: Option<String>,
}

/// Something that is wrong with one GPU, or with one of the driver's libraries. It never hides
/// the other GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuFault {
    /// The GPU, if it said who it is.
    pub id: Option<DeviceId>,
    /// Its place in the list of the library that was asked.
    pub ordinal: Option<u32>,
    /// What was asked and what the driver said.
    pub detail: String,
}

impl GpuFault {
    pub(crate) fn at(ordinal: u32, detail: &str) -> Self {
        Self { id: None, ordinal: Some(ordinal), detail: clip_detail(detail) }
    }

    fn of(id: &DeviceId, detail: &str) -> Self {
        Self { id: Some(id.clone()), ordinal: None, detail: clip_detail(detail) }
    }

    fn of_library(detail: &str) -> Self {
        Self { id: None, ordinal: None, detail: clip_detail(detail) }
    }
}

impl std::fmt::Display for GpuFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.id, self.ordinal) {
            (Some(id), _) => write!(f, "{id}: {}", self.detail),
            (None, Some(ordinal)) => write!(f, "GPU {ordinal}: {}", self.detail),
            (None, None) => f.write_str(&self.detail),
        }
    }
}

/// Asks the driver for everything it knows, on threads of their own: one for CUDA, one for NVML,
/// then one per GPU.
///
/// Each of three steps (starting the libraries, describing the GPUs, how near they are to each
/// other) takes `limit` at most. A repeat asks again, except what an earlier thread still waits
/// for: that is a fault until it ends.
///
/// # Errors
///
/// - [`GpuAbsence::NoDriver`] if no driver library can be loaded.
/// - [`GpuAbsence::DriverFailed`] if it does not start, does not answer within `limit`, panics, or
///   if every GPU it lists is faulty.
/// - [`GpuAbsence::NoDevice`] if it lists none.
pub fn inventory_within(limit: Duration) -> Result<GpuInventory, GpuAbsence> {
    let by_cuda = deadline::begin("gpu: CUDA", limit, cuda::list);
    let by_nvml = deadline::begin("gpu: NVML", limit, start_nvml);
    let by_nvml = by_nvml.and_then(deadline::Begun::wait);
    let by_cuda = by_cuda.and_then(deadline::Begun::wait).unwrap_or_else(|missed| {
        Err(GpuAbsence::DriverFailed { detail: format!("CUDA: {missed}") })
    });
    match by_nvml {
        Ok(Ok(started)) => {
            let (seen, faults) = started.describe(limit);
            let told = Told { seen, faults, version: started.version };
            told.merge(by_cuda)
        }
        // Without the library there is no fault: machines without GPUs have none either.
        Ok(Err(NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound)) => {
            cuda_alone(by_cuda, Vec::new())
        }
        Ok(Err(error)) => unwatched(by_cuda, &nvml::said("nvmlInit", &error)),
        Err(missed) => unwatched(by_cuda, &missed.to_string()),
    }
}

struct Started {
    nvml: Arc<Nvml>,
    count: u32,
    version: Option<String>,
}

fn start_nvml() -> Result<Started, NvmlError> {
    let nvml = nvml::open()?;
    let count = nvml.device_count()?.min(cuda::GPUS_MAX);
    let version = nvml::driver_version(&nvml);
    Ok(Started { nvml, count, version })
}

impl Started {
    /// Every GPU by itself, so that one that hangs costs the others nothing.
    fn describe(&self, limit: Duration) -> (Vec<Seen>, Vec<GpuFault>) {
        let answers = self.each(0..self.count, limit, "describe", nvml::describe);
        let mut found = BTreeMap::new();
        let mut faults = Vec::new();
        for (index, answer) in answers {
            match answer {
                Ok(Ok(gpu)) => {
                    found.insert(index, gpu);
                }
                Ok(Err(detail)) => faults.push(GpuFault::at(index, &detail)),
                Err(missed) => faults.push(GpuFault::at(index, &format!("NVML: {missed}"))),
            }
        }
        let indices: Vec<u32> = found.keys().copied().collect();
        let near = self.each(found.keys().copied(), limit, "topology", move |nvml, index| {
            let later: Vec<u32> = indices.iter().copied().filter(|other| *other > index).collect();
            nvml::nearness(nvml, index, &later)
        });
        let mut paths = BTreeMap::new();
        for (index, near) in near {
            let near = near.unwrap_or_default().into_iter();
            paths.extend(near.map(|(other, nearness)| ((index, other), nearness)));
        }
        (joined(found, &paths), faults)
    }

    /// Asks about several GPUs at the same time. Each answer comes with the GPU's index.
    fn each<T: Send + 'static>(
        &self,
        indices: impl IntoIterator<Item = u32>,
        limit: Duration,
        question: &str,
        ask: impl Fn(&Nvml, u32) -> T + Clone + Send + 'static,
    ) -> Vec<(u32, Result<T, Missed>)> {
        let begin = |index: u32| {
            let (nvml, ask) = (Arc::clone(&self.nvml), ask.clone());
            let name = format!("gpu {index}: {question}");
            (index, deadline::begin(&name, limit, move || ask(&nvml, index)))
        };
        let begun: Vec<_> = indices.into_iter().map(begin).collect();
        let wait = |(index, begun): (u32, Result<deadline::Begun<T>, Missed>)| {
            (index, begun.and_then(deadline::Begun::wait))
        };
        begun.into_iter().map(wait).collect()
    }
}

/// A GPU with its neighbours.
struct Seen {
    gpu: Found,
    near: BTreeMap<DeviceId, Nearness>,
}

/// Joins GPUs by what is nearest: NVLinks, else the paths over PCIe (the lower index first).
fn joined(found: BTreeMap<u32, Found>, paths: &BTreeMap<(u32, u32), Nearness>) -> Vec<Seen> {
    let near_to = |index: u32, gpu: &Found| {
        let others = found.iter().filter(|(other, _)| **other != index);
        let near = others.filter_map(|(other, neighbour)| {
            let path = paths.get(&(index.min(*other), index.max(*other))).copied();
            let nearest = linked(gpu, neighbour).or(path)?;
            Some((neighbour.id.clone(), nearest))
        });
        near.collect()
    };
    let seen = |(index, gpu): (&u32, &Found)| Seen { near: near_to(*index, gpu), gpu: gpu.clone() };
    found.iter().map(seen).collect()
}

fn linked(one: &Found, other: &Found) -> Option<Nearness> {
    let direct = other.pci_address.as_ref().and_then(|pci| one.links.direct.get(pci)).copied();
    let links = direct.unwrap_or(0).max(one.links.switched.min(other.links.switched));
    (links > 0).then_some(Nearness::NvLink { links })
}

/// What NVML told.
struct Told {
    seen: Vec<Seen>,
    faults: Vec<GpuFault>,
    version: Option<String>,
}

type ByCuda = Result<(Vec<Listed>, Vec<GpuFault>), GpuAbsence>;

impl Told {
    /// Holds NVML's list against CUDA's.
    fn merge(mut self, by_cuda: ByCuda) -> Result<GpuInventory, GpuAbsence> {
        let listed = match by_cuda {
            Ok((listed, faults)) => {
                self.faults.extend(faults);
                Some(listed)
            }
            Err(GpuAbsence::NoDevice) => Some(Vec::new()),
            Err(absent @ GpuAbsence::NoDriver { .. }) if self.is_empty() => return Err(absent),
            Err(GpuAbsence::NoDriver { detail }) => {
                let detail = format!("NVML lists GPUs, but for CUDA {detail}");
                return Err(GpuAbsence::DriverFailed { detail });
            }
            Err(GpuAbsence::DriverFailed { detail }) => {
                let detail = format!("{detail}; GPUs are listed on the word of NVML alone");
                self.faults.push(GpuFault::of_library(&detail));
                None
            }
        };
        if let Some(listed) = listed {
            self.compare(&listed);
        }
        self.inventory()
    }

    fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.faults.is_empty()
    }

    /// What only one of the two lists is a fault, and NVML's own is not used.
    fn compare(&mut self, listed: &[Listed]) {
        for gpu in listed {
            if !self.seen.iter().any(|seen| seen.gpu.id == gpu.id) {
                self.faults.push(GpuFault::of(&gpu.id, "CUDA lists it and NVML does not"));
            }
        }
        if self.seen.iter().any(|seen| seen.gpu.slices.is_some()) {
            return;
        }
        let in_cuda = |seen: &Seen| listed.iter().any(|gpu| gpu.id == seen.gpu.id);
        let (both, alone) = std::mem::take(&mut self.seen).into_iter().partition(in_cuda);
        self.seen = both;
        let alone: Vec<Seen> = alone;
        let hint = match std::env::var("CUDA_VISIBLE_DEVICES") {
            Ok(shown) => format!(" (CUDA_VISIBLE_DEVICES is `{shown}`)"),
            Err(_) => String::new(),
        };
        let detail = format!("NVML lists it and CUDA does not{hint}");
        self.faults.extend(alone.iter().map(|seen| GpuFault::of(&seen.gpu.id, &detail)));
    }

    fn inventory(self) -> Result<GpuInventory, GpuAbsence> {
        let mut inventory = GpuInventory {
            devices: Vec::new(),
            cut: Vec::new(),
            faults: self.faults,
            driver_version: self.version,
        };
        for seen in self.seen {
            let board = whole(&seen, inventory.driver_version.as_ref());
            match &seen.gpu.slices {
                None => inventory.devices.push(board),
                Some(slices) => {
                    let faults = seen.gpu.slice_faults.iter();
                    inventory.faults.extend(faults.map(|detail| GpuFault::of(&board.id, detail)));
                    if slices.is_empty() && seen.gpu.slice_faults.is_empty() {
                        let detail = "MIG is on and there is no slice: make some, or switch it off";
                        inventory.faults.push(GpuFault::of(&board.id, detail));
                    }
                    inventory.devices.extend(parts(&seen.gpu, &board));
                    inventory.cut.push(board);
                }
            }
        }
        usable(inventory)
    }
}

/// The GPU as a device.
fn whole(seen: &Seen, version: Option<&String>) -> Device {
    let gpu = &seen.gpu;
    let mut device = Device::new(gpu.id.clone(), DeviceKind::Gpu, gpu.name.clone(), gpu.memory_mib);
    device.place.pci_address.clone_from(&gpu.pci_address);
    device.place.numa_node = gpu.numa_node;
    device.place.near.clone_from(&seen.near);
    device.gpu = Some(GpuFacts {
        compute_capability: gpu.compute_capability,
        driver_version: version.cloned(),
        slice: None,
    });
    device
}

/// The GPU's slices as devices: where the GPU sits, and on one board with each other.
fn parts(gpu: &Found, board: &Device) -> Vec<Device> {
    let slices: &[nvml::FoundSlice] = gpu.slices.as_deref().unwrap_or_default();
    let part = |slice: &nvml::FoundSlice| {
        let (id, kind) = (slice.id.clone(), DeviceKind::MigSlice);
        let mut device = Device::new(id, kind, slice.name.clone(), slice.memory_mib);
        device.place = board.place.clone();
        let others = slices.iter().filter(|other| other.id != slice.id);
        device.place.near = others.map(|other| (other.id.clone(), Nearness::Board)).collect();
        device.gpu.clone_from(&board.gpu);
        if let Some(facts) = &mut device.gpu {
            facts.slice = Some(SliceFacts {
                parent: board.id.clone(),
                gpu_instance: slice.gpu_instance,
                compute_instance: slice.compute_instance,
            });
        }
        device
    };
    slices.iter().map(part).collect()
}

/// A list without a single usable device is none.
fn usable(inventory: GpuInventory) -> Result<GpuInventory, GpuAbsence> {
    match (inventory.devices.is_empty(), inventory.faults.first()) {
        (false, _) => Ok(inventory),
        (true, None) => Err(GpuAbsence::NoDevice),
        (true, Some(fault)) => Err(GpuAbsence::DriverFailed { detail: fault.to_string() }),
    }
}

/// CUDA's word, where NVML is there and does not answer.
fn unwatched(by_cuda: ByCuda, detail: &str) -> Result<GpuInventory, GpuAbsence> {
    let detail = format!("NVML: {detail}; GPUs are listed on the word of CUDA alone");
    cuda_alone(by_cuda, vec![GpuFault::of_library(&detail)])
}

fn cuda_alone(by_cuda: ByCuda, mut faults: Vec<GpuFault>) -> Result<GpuInventory, GpuAbsence> {
    let (listed, more) = by_cuda?;
    // Those of single GPUs first: they say why there is none.
    faults.splice(0..0, more);
    let device = |gpu: Listed| {
        let mut device = Device::new(gpu.id, DeviceKind::Gpu, gpu.name, gpu.memory_mib);
        device.gpu = Some(GpuFacts {
            compute_capability: gpu.compute_capability,
            driver_version: None,
            slice: None,
        });
        device
    };
    let devices = listed.into_iter().map(device).collect();
    usable(GpuInventory { devices, cut: Vec::new(), faults, driver_version: None })
}
