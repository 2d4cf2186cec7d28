//! What this machine can run on: CPU slots, GPUs, MIG slices.
//!
//! Not here: how a device is found (`node/gpu`) and which run gets it (`placement`).

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
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CpuSlot => "cpu_slot",
            Self::Gpu => "gpu",
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
