//! What the node would run on.

use std::num::NonZeroUsize;
use std::time::Duration;

use node_core::inventory::{Device, DeviceId, GpuAbsence};
use node_core::placement::HostPlacement;
use node_core::policy::Policy;
use node_gpu::GpuInventory;

use super::{Finding, Topic};
use crate::config::{Config, Devices, GpuUse};

/// How long each step of asking the driver may take. Three of them fit the time of a check.
const DRIVER_STEP_MAX: Duration = Duration::from_secs(5);

/// The devices, what is wrong with some of them, and whether the policy runs on any; then the GPUs
/// and slices that a node would use.
pub(super) async fn devices(
    config: &Config,
    policy: Option<&Policy>,
) -> (Vec<Finding>, Vec<DeviceId>) {
    let slots = usize::try_from(config.devices.cpu_slots).unwrap_or(usize::MAX);
    let mut devices = node_gpu::cpu_slots(slots, config.devices.cpu_memory_mib);
    let mut found = vec![Finding::ok(Topic::Devices, slots_text(&config.devices))];
    let mut usable = Vec::new();
    found.extend(crowded(slots, std::thread::available_parallelism().ok()));
    if config.devices.gpus == GpuUse::Auto {
        let asked =
            tokio::task::spawn_blocking(|| node_gpu::inventory_within(DRIVER_STEP_MAX)).await;
        let absent = |error: tokio::task::JoinError| {
            Err(GpuAbsence::DriverFailed { detail: error.to_string() })
        };
        match asked.unwrap_or_else(absent) {
            Ok(inventory) => {
                found.extend(gpus(&inventory));
                usable.extend(inventory.devices.iter().map(|device| device.id.clone()));
                devices.extend(inventory.devices);
            }
            Err(absence) => found.push(no_gpus(&absence)),
        }
    }
    let Some(limits) = policy.map(|policy| &policy.run) else { return (found, usable) };
    found.extend(HostPlacement::new(&devices).check(limits).err().map(|refusal| idle(&refusal)));
    (found, usable)
}

fn idle(refusal: &dyn std::fmt::Display) -> Finding {
    let text = format!("{refusal}: this node would evaluate nothing");
    let next = "set more in `devices.cpu_slots`, `devices.cpu_memory_mib` or `devices.gpus`, as \
                far as this host has it; `assay policy show` shows what a run needs";
    Finding::warn(Topic::Devices, text, next)
}

fn slots_text(config: &Devices) -> String {
    let memory = config.cpu_memory_mib;
    match config.cpu_slots {
        0 => "no CPU slot (`devices.cpu_slots`)".to_owned(),
        1 => format!("one CPU slot with {memory} MiB"),
        count => format!("{count} CPU slots with {memory} MiB each"),
    }
}

/// Each slot gives its run one core.
fn crowded(slots: usize, cores: Option<NonZeroUsize>) -> Option<Finding> {
    let cores = cores.filter(|cores| cores.get() < slots)?;
    let text = format!(
        "{slots} CPU slots on {cores} cores: runs share them, and one that meets the wall clock of \
         its policy is not scored"
    );
    let next = format!("set `devices.cpu_slots` to {cores} at most");
    Some(Finding::warn(Topic::Devices, text, next))
}

fn gpus(inventory: &GpuInventory) -> Vec<Finding> {
    let driver = inventory.driver_version.as_deref().unwrap_or("of an unknown version");
    let text = |device: &Device| {
        format!("{}, {} MiB, {}; driver {driver}", device.label, device.memory_mib, device.id)
    };
    let devices = inventory.devices.iter().map(|device| Finding::ok(Topic::Gpu, text(device)));
    let cut = inventory.cut.iter().map(|device| {
        let text = format!("{} is cut into slices, which are used in its place", device.id);
        Finding::ok(Topic::Gpu, text)
    });
    let faults = inventory.faults.iter().map(|fault| {
        let next = "look at `nvidia-smi` and the kernel's log";
        Finding::warn(Topic::Gpu, format!("not used: {fault}"), next)
    });
    devices.chain(cut).chain(faults).collect()
}

fn no_gpus(absence: &GpuAbsence) -> Finding {
    let text = absence.to_string();
    match absence {
        GpuAbsence::NoDriver { .. } => Finding::ok(Topic::Gpu, text),
        GpuAbsence::NoDevice => {
            let next = "look at `nvidia-smi`; `devices.gpus = \"off\"` if there is to be none";
            Finding::warn(Topic::Gpu, text, next)
        }
        GpuAbsence::DriverFailed { .. } => {
            let next = "look at `nvidia-smi` and the kernel's log; the node runs without GPUs";
            Finding::warn(Topic::Gpu, text, next)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use node_core::inventory::DeviceKind;
    use node_gpu::GpuFault;

    use super::super::told;
    use super::*;

    /// Everything that these checks can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        let slots = |cpu_slots| {
            let config = Devices { cpu_slots, cpu_memory_mib: 4096, gpus: GpuUse::Off };
            Finding::ok(Topic::Devices, slots_text(&config))
        };
        let mut found: Vec<Finding> = [0, 1, 2].map(slots).to_vec();
        found.extend(crowded(3, NonZeroUsize::new(2)));
        let refused = HostPlacement::new(&[]).check(&Policy::dev().run).unwrap_err();
        found.push(idle(&refused));
        found.extend(of_driver());
        found
    }

    fn of_driver() -> Vec<Finding> {
        let gpu = |name: &str| {
            let id = DeviceId(format!("GPU-{name}"));
            Device::new(id, DeviceKind::Gpu, "NVIDIA H100", 81_559)
        };
        let lost = GpuFault {
            id: Some(DeviceId("GPU-c".to_owned())),
            ordinal: Some(2),
            detail: "nvmlDeviceGetMemoryInfo: GPU is lost".to_owned(),
        };
        let inventory = GpuInventory {
            devices: vec![gpu("a")],
            cut: vec![gpu("b")],
            faults: vec![lost],
            driver_version: Some("570.124.06".to_owned()),
        };
        let absences = [
            GpuAbsence::NoDriver { detail: "libcuda.so.1: not found".to_owned() },
            GpuAbsence::DriverFailed { detail: "driver/library version mismatch".to_owned() },
            GpuAbsence::NoDevice,
        ];
        gpus(&inventory).into_iter().chain(absences.iter().map(no_gpus)).collect()
    }

    #[test]
    fn what_the_driver_says_of_each_gpu_is_told() {
        insta::assert_snapshot!(told(&of_driver()), @r#"
        Ok: NVIDIA H100, 81559 MiB, GPU-a; driver 570.124.06
        Ok: GPU-b is cut into slices, which are used in its place
        Warn: not used: GPU-c: nvmlDeviceGetMemoryInfo: GPU is lost
          next: look at `nvidia-smi` and the kernel's log
        Ok: no GPU driver on this host
        Warn: the GPU driver did not start: driver/library version mismatch
          next: look at `nvidia-smi` and the kernel's log; the node runs without GPUs
        Warn: the GPU driver lists no device
          next: look at `nvidia-smi`; `devices.gpus = "off"` if there is to be none
        "#);
    }

    #[test]
    fn more_slots_than_cores_are_worth_a_warning() {
        let two = NonZeroUsize::new(2);
        assert!(crowded(2, two).is_none() && crowded(0, two).is_none());
        assert!(crowded(100, None).is_none(), "nobody says how many there are");
        let finding = crowded(3, two).unwrap();
        assert!(finding.text().contains("3 CPU slots on 2 cores"), "{finding:?}");
        assert!(finding.next_step().unwrap().contains("to 2 at most"));
    }
}
