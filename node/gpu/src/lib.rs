//! Which devices this machine has: GPUs as the driver lists them, and CPU slots.
//!
//! The driver library is looked for at run time, so one binary serves machines with and without
//! GPUs. Absence is a value ([`GpuAbsence`]), not an error; a driver that hangs is given up after
//! a deadline, because the node has to go on without it.
//!
//! GPUs are listed whole. A MIG slice has no kind of its own in the inventory yet: on a GPU that
//! is cut into slices the driver lists one of them under the GPU's UUID.
//!
//! Not here: health and probes under load, and which run gets which device (`node-core`).

mod cpu;
mod cuda;
mod deadline;
mod nvml;

use std::time::Duration;

use node_core::inventory::{Device, GpuAbsence};

pub use cpu::cpu_slots;

/// A driver that answers at all does so in a few seconds, the first time after boot included.
/// Lower: a cold driver counts as a broken one. Higher: the node starts that much later beside a
/// driver that hangs.
pub const PROBE_MAX: Duration = Duration::from_secs(20);

/// What the driver told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInventory {
    /// GPUs that can be used, in the driver's order; at least one.
    pub devices: Vec<Device>,
    /// GPUs that are listed and could not be asked.
    pub faults: Vec<GpuFault>,
    /// The driver's version, where its management library can be loaded.
    pub driver_version: Option<String>,
}

/// A GPU that does not answer. It never hides the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuFault {
    /// Its place in the driver's list.
    pub ordinal: i32,
    /// What was asked and what the driver said.
    pub detail: String,
}

/// Asks the driver for everything it knows, on a thread of its own.
///
/// A repeat asks again, except while an earlier thread still waits for a hanging driver.
///
/// # Errors
///
/// - [`GpuAbsence::NoDriver`] if no driver library can be loaded.
/// - [`GpuAbsence::DriverFailed`] if it does not start, does not answer within `limit`, panics, or
///   if every GPU it lists is faulty.
/// - [`GpuAbsence::NoDevice`] if it lists none.
pub fn inventory_within(limit: Duration) -> Result<GpuInventory, GpuAbsence> {
    deadline::run("gpu probe", limit, || {
        let (devices, faults) = cuda::list()?;
        Ok(GpuInventory { devices, faults, driver_version: nvml::driver_version() })
    })
    .unwrap_or_else(|missed| Err(GpuAbsence::DriverFailed { detail: missed.to_string() }))
}

/// The usable GPUs of [`inventory_within`].
///
/// # Errors
///
/// Those of [`inventory_within`].
pub fn probe_gpus_within(limit: Duration) -> Result<Vec<Device>, GpuAbsence> {
    inventory_within(limit).map(|inventory| inventory.devices)
}

/// The usable GPUs of [`inventory_within`], within [`PROBE_MAX`].
///
/// # Errors
///
/// Those of [`inventory_within`].
pub fn probe_gpus() -> Result<Vec<Device>, GpuAbsence> {
    probe_gpus_within(PROBE_MAX)
}
