//! What of a device's health outlives the process.

use serde::{Deserialize, Serialize};

use crate::health::observation::ProbeFigures;
use crate::health::{Cause, Standing};
use crate::id::SubmissionId;
use crate::inventory::{Device, DeviceId, DeviceKind};
use crate::unit::UnixMs;

/// What an operator ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whether runs that are on it are given back at once.
    pub is_drain: bool,
    /// Why, in the operator's words.
    pub reason: String,
    /// When.
    pub at: UnixMs,
}

/// One failure, kept for a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: UnixMs,
    /// What.
    pub cause: Cause,
}

/// An error that counted against a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blamed {
    /// Its number.
    pub code: u32,
    /// Which submission ran.
    pub submission: SubmissionId,
    /// When.
    pub at: UnixMs,
}

/// What of a device's health outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Which device.
    pub device: DeviceId,
    /// How it stands.
    pub standing: Standing,
    /// Why, unless it is healthy.
    pub cause: Option<Cause>,
    /// Since when.
    pub since: UnixMs,
    /// What an operator ordered.
    pub order: Option<Order>,
    /// The failures of the last day.
    pub failures: Vec<Failure>,
    /// Errors that counted against submissions, of the last day.
    pub blamed: Vec<Blamed>,
    /// The best that probes of it reached.
    pub baseline: Option<ProbeFigures>,
    /// Least memory that was ever in use while nothing ran on it, MiB.
    pub idle_memory_mib: Option<u64>,
    /// What it was when it was there last; `None` in rows of versions that did not keep it.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// Since when the host does not have it; `None` while it has.
    #[serde(default)]
    pub gone_since: Option<UnixMs>,
}

/// What a device is, as far as somebody wants to know who cannot look any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its kind.
    pub kind: DeviceKind,
    /// What a person calls it.
    pub label: String,
    /// Memory a run could use on it, MiB.
    pub memory_mib: u64,
}

impl From<&Device> for Seen {
    fn from(device: &Device) -> Self {
        let Device { kind, label, memory_mib, .. } = device;
        Self { kind: *kind, label: label.clone(), memory_mib: *memory_mib }
    }
}
