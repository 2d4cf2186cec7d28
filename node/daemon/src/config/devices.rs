//! What this host may be used for.

use super::key::{Default, Key, Kind};
use super::reader::{choice, integer, Reader};
use super::Section;

/// CPU slots of one host. Lower: a large host idles. Higher: runs share cores and hit the wall
/// clock of their policy.
const CPU_SLOTS_MAX: u64 = 256;

const CPU_SLOTS: Key = Key::new("devices.cpu_slots", Kind::Integer, Default::Value("1"))
    .about("Evaluations that run on CPUs at the same time; 0 runs none.")
    .example("2");

const CPU_MEMORY_MIB: Key =
    Key::new("devices.cpu_memory_mib", Kind::Integer, Default::Value("4096"))
        .about("Memory of each CPU slot, MiB. A policy that asks for more is not served here.")
        .example("8192");

const GPUS: Key = Key::new("devices.gpus", Kind::Text, Default::Value("auto"))
    .about("`auto` uses every GPU that passes its probe, `off` none.")
    .example("\"off\"");

pub(super) const SECTION: Section = Section {
    name: "devices",
    about: "What this host may be used for.",
    keys: &[CPU_SLOTS, CPU_MEMORY_MIB, GPUS],
};

/// What this host may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// Evaluations on CPUs at the same time.
    pub cpu_slots: u32,
    /// Memory of each, MiB.
    pub cpu_memory_mib: u64,
    /// Which GPUs.
    pub gpus: GpuUse,
}

/// Which GPUs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuUse {
    /// Every one that passes its probe.
    Auto,
    /// None; the driver is not even loaded.
    Off,
}

impl Devices {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let cpu_slots = reader.take(&CPU_SLOTS, integer(0, CPU_SLOTS_MAX));
        let cpu_memory_mib = reader.take(&CPU_MEMORY_MIB, integer(64, 16 << 20));
        let words = [("auto", GpuUse::Auto), ("off", GpuUse::Off)];
        let gpus = reader.take(&GPUS, |value| choice(&words, value));
        Some(Self {
            cpu_slots: u32::try_from(cpu_slots?).ok()?,
            cpu_memory_mib: cpu_memory_mib?,
            gpus: gpus?,
        })
    }
}
