//! One run on one device of one host: a whole free device of the wanted kind that suffices, the
//! smallest first and else in the inventory's order; never two runs on one device.
//!
//! Not here: gangs, waiting, shares and health (`planner`).

use std::collections::BTreeSet;
use std::fmt;

use crate::inventory::{Device, DeviceId, DeviceKind};
use crate::policy::RunLimits;

use super::fleet::cut_boards;

/// Why no device was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementRefusal {
    /// The host has no device of that kind.
    NoneOfKind(DeviceKind),
    /// It has some, each with less memory than a run may use.
    TooSmall {
        /// Memory of a run, MiB.
        wanted_mib: u64,
    },
    /// All of them are busy.
    AllBusy(DeviceKind),
}

impl fmt::Display for PlacementRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneOfKind(kind) => write!(f, "this host has no device of kind {kind}"),
            Self::TooSmall { wanted_mib } => {
                write!(f, "every device has less than the {wanted_mib} MiB that a run may use")
            }
            Self::AllBusy(kind) => write!(f, "every device of kind {kind} is busy"),
        }
    }
}

/// Whether a run with these limits fits on a device, busy or not.
///
/// A CPU slot has to have the memory that the policy allows: with less, an honest submission would
/// run out of it, and that would count against the submission. A GPU's memory is its own; what the
/// container may use is the host's.
fn fits(device: &Device, limits: &RunLimits) -> bool {
    let has_memory = match device.kind {
        DeviceKind::CpuSlot => device.memory_mib >= limits.memory_mib,
        DeviceKind::Gpu | DeviceKind::MigSlice => true,
    };
    device.kind == limits.device && has_memory
}

/// The devices that runs with these limits fit on, busy or not. A GPU that is cut into slices runs
/// nothing itself.
fn fitting<'a>(
    devices: &'a [Device],
    limits: &RunLimits,
) -> impl Iterator<Item = &'a Device> + use<'a> {
    let (limits, cut) = (limits.clone(), cut_boards(devices));
    devices.iter().filter(move |device| fits(device, &limits) && !cut.contains(&device.id))
}

/// Chooses a device that is not `busy` for a run with these limits.
///
/// # Errors
///
/// [`PlacementRefusal`] tells whether waiting can help.
pub fn choose<'a>(
    devices: &'a [Device],
    busy: &BTreeSet<DeviceId>,
    limits: &RunLimits,
) -> Result<&'a Device, PlacementRefusal> {
    check_host(devices, limits)?;
    fitting(devices, limits)
        .filter(|device| !busy.contains(&device.id))
        .min_by_key(|device| device.memory_mib)
        .ok_or(PlacementRefusal::AllBusy(limits.device))
}

/// Whether any device of the host could ever run something with these limits.
///
/// # Errors
///
/// [`PlacementRefusal`], never [`PlacementRefusal::AllBusy`].
pub fn check_host(devices: &[Device], limits: &RunLimits) -> Result<(), PlacementRefusal> {
    if !devices.iter().any(|device| device.kind == limits.device) {
        return Err(PlacementRefusal::NoneOfKind(limits.device));
    }
    if fitting(devices, limits).next().is_none() {
        return Err(PlacementRefusal::TooSmall { wanted_mib: limits.memory_mib });
    }
    Ok(())
}

/// How many devices are free for runs with these limits.
#[must_use]
pub fn free_count(devices: &[Device], busy: &BTreeSet<DeviceId>, limits: &RunLimits) -> usize {
    fitting(devices, limits).filter(|device| !busy.contains(&device.id)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn slot(name: &str, memory_mib: u64) -> Device {
        Device::new(DeviceId(name.to_owned()), DeviceKind::CpuSlot, "one CPU", memory_mib)
    }

    #[test]
    fn two_runs_never_share_a_device() {
        let limits = Policy::dev().run;
        let devices = [slot("cpu-0", limits.memory_mib), slot("cpu-1", limits.memory_mib)];
        let mut busy = BTreeSet::new();
        for _ in 0..2 {
            let device = choose(&devices, &busy, &limits).unwrap();
            assert!(busy.insert(device.id.clone()), "chosen twice");
        }
        let refusal = choose(&devices, &busy, &limits).unwrap_err();
        assert_eq!(refusal, PlacementRefusal::AllBusy(DeviceKind::CpuSlot));
        let on_gpus = RunLimits { device: DeviceKind::Gpu, ..limits };
        let refusal = choose(&devices, &busy, &on_gpus).unwrap_err();
        assert_eq!(refusal, PlacementRefusal::NoneOfKind(DeviceKind::Gpu));
    }

    #[test]
    fn the_smallest_device_that_suffices_is_chosen() {
        let limits = Policy::dev().run;
        let wanted = limits.memory_mib;
        let devices = [slot("cpu-0", 4 * wanted), slot("cpu-1", wanted), slot("cpu-2", wanted)];
        let chosen = choose(&devices, &BTreeSet::new(), &limits).unwrap();
        assert_eq!(chosen.id.0, "cpu-1");
    }

    #[test]
    fn a_slot_with_less_memory_than_the_policy_allows_runs_nothing() {
        let limits = Policy::dev().run;
        let devices = [slot("cpu-0", limits.memory_mib - 1)];
        let refusal = choose(&devices, &BTreeSet::new(), &limits).unwrap_err();
        assert_eq!(refusal, PlacementRefusal::TooSmall { wanted_mib: limits.memory_mib });
        assert_eq!(free_count(&devices, &BTreeSet::new(), &limits), 0);
    }
}
