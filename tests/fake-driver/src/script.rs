//! What a fake driver shows: the file `script.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// As `nvidia-smi` prints it.
    pub driver_version: String,
    /// In the driver's order.
    pub devices: Vec<Gpu>,
    /// What calls answer that are about no device, by the function's name, for example `cuInit`.
    pub calls: BTreeMap<String, Answer>,
    /// What has happened so far. Each process is told each of them once, also of those that
    /// happened before it started to wait.
    pub events: Vec<Event>,
    /// Whether every call is written to `calls.log` beside the script.
    pub is_logged: bool,
}

impl Script {
    /// A machine with these GPUs and nothing wrong.
    #[must_use]
    pub fn of(devices: Vec<Gpu>) -> Self {
        Self {
            driver_version: "570.86.15".to_owned(),
            devices,
            calls: BTreeMap::new(),
            events: Vec::new(),
            is_logged: false,
        }
    }

    /// A machine with `count` equal GPUs, see [`Gpu::new`].
    #[must_use]
    pub fn with_gpus(count: u32) -> Self {
        Self::of((0..count).map(Gpu::new).collect())
    }

    /// Lets `kind` befall the GPU at `index`, once.
    pub fn happen(&mut self, index: usize, kind: EventKind) {
        let Some(gpu) = self.devices.get(index) else { return };
        self.events.push(Event { device: gpu.uuid.clone(), kind, gpu_instance: None });
    }
}

/// What a call answers instead of doing its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// This error number of NVML or CUDA.
    Error(u32),
    /// Nothing, for as long as the script says so.
    Hang,
    /// The process ends as if the library had crashed.
    Crash,
}

/// Something that happens to a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The GPU's UUID.
    pub device: String,
    /// What.
    pub kind: EventKind,
    /// The GPU instance, where the driver can say.
    pub gpu_instance: Option<u32>,
}

/// What can happen to a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EventKind {
    /// An error with this number.
    Xid(u64),
    /// A memory error that was corrected.
    SingleBit,
    /// A memory error that was not.
    DoubleBit,
}

/// Where an NVLink ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Link {
    /// At another GPU, by its PCI address.
    Gpu(String),
    /// At a switch.
    Switch,
}

/// A MIG slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// `MIG-…`.
    pub uuid: String,
    /// For example `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
    pub name: String,
    /// Its own memory.
    pub memory_mib: u64,
    /// What is held of it.
    pub held_mib: u64,
    /// Its GPU instance.
    pub gpu_instance: u32,
    /// Its compute instance in it.
    pub compute_instance: u32,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// `GPU-…`.
    pub uuid: String,
    /// For example `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// All of its memory.
    pub memory_mib: u64,
    /// What is held of it.
    pub held_mib: u64,
    /// Major and minor.
    pub compute_capability: (u32, u32),
    /// For example `00000000:3B:00.0`.
    pub pci_address: String,
    /// The NUMA node whose memory is nearest; without one NVML says that it does not know.
    pub numa_node: Option<u32>,
    /// NVLinks that are up.
    pub links: Vec<Link>,
    /// The common ancestor with other GPUs by their UUID, as NVML numbers it (0, 10, … 50). Those
    /// that are not named are at 50: another NUMA node.
    pub ancestors: BTreeMap<String, u32>,
    /// Its slices; `None` without MIG.
    pub slices: Option<Vec<Slice>>,
    /// Whether CUDA lists it.
    pub is_in_cuda: bool,
    /// Whether NVML lists it.
    pub is_in_nvml: bool,
    /// Whether it is off the bus: every call about it fails, with the number for that.
    pub is_lost: bool,
    /// What calls about it answer, by the function's name, for example
    /// `nvmlDeviceGetTemperature`, by `field 230` for that field, or by a kernel's name. Behind
    /// the function's name the UUID of a slice: what it answers about that slice alone.
    pub calls: BTreeMap<String, Answer>,

    /// Degrees Celsius.
    pub temperature_c: u32,
    /// Degrees Celsius.
    pub slowdown_c: u32,
    /// Bits as NVML has them.
    pub throttle_bits: u64,
    /// NVML's field 230.
    pub recovery_action: u32,
    /// Uncorrectable memory errors since the driver was loaded.
    pub ecc_uncorrected: u64,
    /// Corrected ones.
    pub ecc_corrected: u64,
    /// Whether rows wait to be remapped.
    pub is_remap_pending: bool,
    /// Percent.
    pub utilisation: u32,
    /// Milliwatts.
    pub power_mw: u32,

    /// Bytes read and written in a copy on the device, 1e6 bytes per second.
    pub bandwidth_mb_s: u64,
    /// 1e9 operations on 32-bit floats per second.
    pub matrix_gflop_s: u64,
    /// Kernels, by name, that leave one wrong value behind.
    pub wrong_kernels: Vec<String>,
}

impl Gpu {
    /// The GPU at `index`: an H100 in good order, alone on its PCI bus, on NUMA node 0.
    #[must_use]
    pub fn new(index: u32) -> Self {
        Self {
            uuid: format!("GPU-{index:08x}-0000-4000-8000-00000000000{:x}", index % 16),
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            memory_mib: 81_559,
            held_mib: 0,
            compute_capability: (9, 0),
            pci_address: format!("00000000:{:02X}:00.0", 0x10 + index),
            numa_node: Some(0),
            links: Vec::new(),
            ancestors: BTreeMap::new(),
            slices: None,
            is_in_cuda: true,
            is_in_nvml: true,
            is_lost: false,
            calls: BTreeMap::new(),
            temperature_c: 34,
            slowdown_c: 92,
            throttle_bits: 1,
            recovery_action: 0,
            ecc_uncorrected: 0,
            ecc_corrected: 0,
            is_remap_pending: false,
            utilisation: 0,
            power_mw: 71_250,
            bandwidth_mb_s: 2_600_000,
            matrix_gflop_s: 21_000,
            wrong_kernels: Vec::new(),
        }
    }

    /// Lets `call` answer so from now on.
    pub fn answer(&mut self, call: &str, answer: Answer) {
        self.calls.insert(call.to_owned(), answer);
    }

    /// Cuts it into `count` slices of `memory_mib` each.
    pub fn cut(&mut self, count: u32, memory_mib: u64) {
        let uuid =
            |n: u32| format!("MIG-{}", self.uuid.replacen("GPU-0000", &format!("{n:04x}"), 1));
        let slice = |n: u32| Slice {
            uuid: uuid(n + 1),
            name: format!("{} MIG 1g.10gb", self.name),
            memory_mib,
            held_mib: 0,
            gpu_instance: 7 + n,
            compute_instance: 0,
        };
        self.slices = Some((0..count).map(slice).collect());
    }
}
