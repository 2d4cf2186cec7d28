//! Which device a lease runs on. First form: a whole free device of the wanted kind, in the
//! inventory's order; never two runs on one device.
//!
//! Not here: gangs, ranking, back-fill and health.

use std::collections::BTreeSet;
use std::fmt;

use crate::inventory::{Device, DeviceId, DeviceKind};

/// Why no device was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementRefusal {
    /// The host has no device of that kind.
    NoneOfKind(DeviceKind),
    /// All of them are busy.
    AllBusy(DeviceKind),
}

impl fmt::Display for PlacementRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneOfKind(kind) => write!(f, "this host has no device of kind {kind}"),
            Self::AllBusy(kind) => write!(f, "every device of kind {kind} is busy"),
        }
    }
}

/// Chooses a device of `kind` that is not `busy`.
///
/// # Errors
///
/// [`PlacementRefusal`] tells whether waiting can help.
pub fn choose<'a>(
    devices: &'a [Device],
    busy: &BTreeSet<DeviceId>,
    kind: DeviceKind,
) -> Result<&'a Device, PlacementRefusal> {
    let mut of_kind = devices.iter().filter(|device| device.kind == kind).peekable();
    if of_kind.peek().is_none() {
        return Err(PlacementRefusal::NoneOfKind(kind));
    }
    of_kind.find(|device| !busy.contains(&device.id)).ok_or(PlacementRefusal::AllBusy(kind))
}

/// How many devices of `kind` are free.
#[must_use]
pub fn free_count(devices: &[Device], busy: &BTreeSet<DeviceId>, kind: DeviceKind) -> usize {
    devices.iter().filter(|device| device.kind == kind && !busy.contains(&device.id)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str) -> Device {
        Device {
            id: DeviceId(name.to_owned()),
            kind: DeviceKind::CpuSlot,
            label: "one CPU".to_owned(),
            memory_mib: 1024,
        }
    }

    #[test]
    fn two_runs_never_share_a_device() {
        let devices = [slot("cpu-0"), slot("cpu-1")];
        let mut busy = BTreeSet::new();
        for _ in 0..2 {
            let device = choose(&devices, &busy, DeviceKind::CpuSlot).unwrap();
            assert!(busy.insert(device.id.clone()), "chosen twice");
        }
        let refusal = choose(&devices, &busy, DeviceKind::CpuSlot).unwrap_err();
        assert_eq!(refusal, PlacementRefusal::AllBusy(DeviceKind::CpuSlot));
        let refusal = choose(&devices, &busy, DeviceKind::Gpu).unwrap_err();
        assert_eq!(refusal, PlacementRefusal::NoneOfKind(DeviceKind::Gpu));
    }
}
