//! What is seen of a device: events, readings of its sensors, and what a probe found.
//!
//! Nothing here judges. An unreadable sensor is written down as that, and a sensor that the device
//! does not have as something else.

use serde::{Deserialize, Serialize};

/// Something seen at one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "observation")]
pub enum Observation {
    /// The driver reported an error by its number.
    Xid {
        /// NVIDIA's number of it.
        code: u32,
    },
    /// The memory had an error that could not be corrected.
    EccUncorrected,
    /// The driver says that the device is gone.
    Lost {
        /// In which words.
        detail: String,
    },
    /// Its sensors were read.
    Sampled(Sample),
    /// It did not answer in time.
    Silent {
        /// How long it was waited for, milliseconds.
        waited_ms: u64,
    },
    /// A probe ended.
    Probed(ProbeResult),
}

/// One sensor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// What it shows.
    Value(T),
    /// The device has no such sensor.
    Unsupported,
    /// It has one, and it cannot be read: a fault, never a pass.
    Unreadable {
        /// What the driver said.
        detail: String,
    },
}

impl<T> Reading<T> {
    /// What the sensor shows, if it was read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unsupported | Self::Unreadable { .. } => None,
        }
    }
}

/// All sensors of a device at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Of the GPU, degrees Celsius.
    pub temperature_c: Reading<u32>,
    /// At which temperature the device slows itself down, degrees Celsius.
    pub slowdown_c: Reading<u32>,
    /// Memory that something holds, MiB.
    pub memory_used_mib: Reading<u64>,
    /// What holds the clocks back.
    pub throttle: Reading<Throttle>,
    /// What the driver wants done with the device.
    pub recovery: Reading<Recovery>,
    /// Uncorrectable memory errors since the driver was loaded.
    pub ecc_uncorrected: Reading<u64>,
    /// Corrected memory errors since the driver was loaded.
    pub ecc_corrected: Reading<u64>,
    /// Whether memory rows wait for a reset to be replaced.
    pub is_remap_pending: Reading<bool>,
    /// How busy its processors were, percent.
    pub utilisation: Reading<u32>,
    /// What it draws, milliwatts.
    pub power_mw: Reading<u32>,
}

/// What holds a device's clocks back. Idling and a chosen power limit are no faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "one flag for each reason that the driver knows")]
pub struct Throttle {
    /// The board slows the clocks by half or more: heat or power outside of what is allowed.
    pub hardware: bool,
    /// The board does so because of heat.
    pub hardware_thermal: bool,
    /// The board does so because the power supply asks for it.
    pub power_brake: bool,
    /// The driver holds the clocks back because of heat.
    pub software_thermal: bool,
    /// The power limit holds the clocks back.
    pub power_cap: bool,
}

/// What the driver wants done before a device works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Nothing.
    Nothing,
    /// The GPU has to be reset.
    Reset,
    /// The host has to be started again.
    Reboot,
    /// Traffic between GPUs has to end.
    DrainPeers,
    /// Everything on it has to end, then it has to be reset.
    DrainAndReset,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "probe")]
pub enum ProbeResult {
    /// Everything that was computed is right.
    Right(ProbeFigures),
    /// Something is wrong.
    Wrong {
        /// Which part of it.
        step: ProbeStep,
        /// What was found.
        detail: String,
    },
    /// The probe did not end in time and was killed.
    TimedOut {
        /// How long it had, milliseconds.
        limit_ms: u64,
    },
    /// The probe's process ended without an answer.
    Died {
        /// How.
        detail: String,
    },
    /// There was no probe: this host could not start one. It says nothing about the device.
    NotStarted {
        /// Why.
        detail: String,
    },
}

/// The parts of a probe, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeStep {
    /// Getting the device and a context on it.
    Context,
    /// A kernel whose result is known.
    Kernel,
    /// Writing patterns to memory and reading them back.
    Memory,
    /// How fast memory is read and written.
    Bandwidth,
    /// How fast matrices are multiplied.
    Matrix,
}

impl ProbeStep {
    /// Its public name, the same as when it is serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Kernel => "kernel",
            Self::Memory => "memory",
            Self::Bandwidth => "bandwidth",
            Self::Matrix => "matrix",
        }
    }
}

/// What a probe measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFigures {
    /// From the start of its process to its answer, milliseconds.
    pub took_ms: u64,
    /// Memory that was written and read back, MiB.
    pub memory_mib: u64,
    /// Bytes read and written on the device, 1e6 bytes per second.
    pub bandwidth_mb_s: u64,
    /// Multiplications and additions of 32-bit floats in a matrix product, 1e9 per second.
    pub matrix_gflop_s: u64,
}
