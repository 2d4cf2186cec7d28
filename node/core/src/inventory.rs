//! What this machine can run on: CPU slots, GPUs, MIG slices.
//!
//! Not here: how a device is found (`node/gpu`) and which run gets it (`placement`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A device's name, stable across restarts: `cpu-0`, or a GPU's or MIG slice's UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(pub String);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of device it is; assignments ask for one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// One CPU with its share of memory.
    CpuSlot,
    /// A whole GPU.
    Gpu,
    /// A part of a GPU with memory and processors of its own (MIG).
    MigSlice,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CpuSlot => "cpu_slot",
            Self::Gpu => "gpu",
            Self::MigSlice => "mig_slice",
        })
    }
}

/// One schedulable unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub id: DeviceId,
    /// Its kind.
    pub kind: DeviceKind,
    /// What a person calls it, for example `NVIDIA H100 80GB HBM3`.
    pub label: String,
    /// Memory a run may use on it, MiB.
    pub memory_mib: u64,
    /// Where it sits, so that devices that work together are chosen near each other.
    #[serde(default)]
    pub place: Place,
    /// What only GPUs and their slices have.
    #[serde(default)]
    pub gpu: Option<GpuFacts>,
}

impl Device {
    /// A device of which nothing more is known.
    #[must_use]
    pub fn new(id: DeviceId, kind: DeviceKind, label: impl Into<String>, memory_mib: u64) -> Self {
        let label = label.into();
        Self { id, kind, label, memory_mib, place: Place::default(), gpu: None }
    }

    /// The physical device: a slice's GPU, else the device itself. What befalls it befalls all its
    /// slices.
    #[must_use]
    pub fn board(&self) -> &DeviceId {
        let slice = self.gpu.as_ref().and_then(|gpu| gpu.slice.as_ref());
        slice.map_or(&self.id, |slice| &slice.parent)
    }
}

/// Where a device sits in its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its PCI address as `nvidia-smi` prints it, for example `00000000:3B:00.0`.
    pub pci_address: Option<String>,
    /// The NUMA node whose memory is nearest.
    pub numa_node: Option<u32>,
    /// How near the host's other devices are. One that is not named is as far as can be.
    pub near: BTreeMap<DeviceId, Nearness>,
}

/// How near two devices are, from far to near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// Only the link between NUMA nodes joins them.
    System,
    /// The same NUMA node.
    Numa,
    /// The same PCIe host bridge.
    HostBridge,
    /// The same PCIe switch, one or several.
    Switch,
    /// The same board.
    Board,
    /// So many direct links.
    NvLink {
        /// How many, 1 to 18.
        links: u8,
    },
}

/// What only GPUs and their slices have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Major and minor, for example 9 and 0.
    pub compute_capability: (u32, u32),
    /// The driver's version, where its management library says.
    pub driver_version: Option<String>,
    /// The slice of a GPU that this is; `None` for a whole one.
    pub slice: Option<SliceFacts>,
}

/// Which part of which GPU a slice is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceFacts {
    /// The GPU.
    pub parent: DeviceId,
    /// The GPU instance.
    pub gpu_instance: u32,
    /// The compute instance in it.
    pub compute_instance: u32,
}

/// Why a host has no usable GPUs. Absence is a value, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum GpuAbsence {
    /// No driver library on this host.
    NoDriver {
        /// What was looked for and what the loader said.
        detail: String,
    },
    /// The driver is there and did not start.
    DriverFailed {
        /// What the driver said.
        detail: String,
    },
    /// The driver is there and lists no device.
    NoDevice,
}

impl fmt::Display for GpuAbsence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver { .. } => f.write_str("no GPU driver on this host"),
            Self::DriverFailed { detail } => write!(f, "the GPU driver did not start: {detail}"),
            Self::NoDevice => f.write_str("the GPU driver lists no device"),
        }
    }
}
