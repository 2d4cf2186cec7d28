//! The door to the GPU driver: which devices this machine has, how they fare, and whether they
//! compute rightly.
//!
//! - [`inventory_within`]: GPUs and MIG slices as NVML and CUDA list them; [`cpu_slots`].
//! - [`Watcher`]: sensors and events of each, as they come.
//! - [`Prober`], [`probe_here`]: whether a device computes rightly, and how fast.
//!
//! The driver's libraries are looked for at run time, so one binary serves machines with and
//! without GPUs. Absence is a value, not an error. A driver that hangs is given up after a
//! deadline, per GPU where it can be asked by itself, because the node has to go on without it.
//!
//! Nothing here judges: what an observation means for a device, and which run gets it, are rules
//! of `node-core`.

mod cpu;
mod cuda;
mod deadline;
mod events;
mod inventory;
mod nvml;
mod probe;
mod sensors;
mod watch;

use std::time::Duration;

pub use cpu::cpu_slots;
pub use inventory::{inventory_within, GpuFault, GpuInventory};
pub use probe::{probe_here, Prober};
pub use watch::{Pace, WatchError, Watcher};

/// A driver that answers at all does so in a few seconds, the first time after boot included.
/// Lower: a cold driver counts as a broken one. Higher: the node starts that much later beside a
/// driver that hangs.
pub const ANSWER_MAX: Duration = Duration::from_secs(20);
