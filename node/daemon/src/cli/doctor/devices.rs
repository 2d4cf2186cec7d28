//! What the node would run on.

use std::num::NonZeroUsize;
use std::time::Duration;

use node_core::inventory::{Device, DeviceId, GpuAbsence};
use node_core::placement::HostPlacement;
use node_core::policy::Policy;
use node_gpu::GpuInventory;

use super::Finding;
use crate::config::{Config, GpuUse};

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
    let mut found = vec![Finding::ok("devices", slots_text(config))];
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
    if let Err(refusal) = HostPlacement::new(&devices).check(limits) {
        let text = format!("{refusal}: this node would evaluate nothing");
        let next = "see `devices.cpu_slots`, `devices.cpu_memory_mib` and `devices.gpus`";
        found.push(Finding::warn("devices", text).next(next));
    }
    (found, usable)
}

fn slots_text(config: &Config) -> String {
    let memory = config.devices.cpu_memory_mib;
    match config.devices.cpu_slots {
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
    Some(Finding::warn("devices", text).next(next))
}

fn gpus(inventory: &GpuInventory) -> Vec<Finding> {
    let driver = inventory.driver_version.as_deref().unwrap_or("of an unknown version");
    let text = |device: &Device| {
        format!("{}, {} MiB, {}; driver {driver}", device.label, device.memory_mib, device.id)
    };
    let devices = inventory.devices.iter().map(|device| Finding::ok("gpu", text(device)));
    let cut = inventory.cut.iter().map(|device| {
        let text = format!("{} is cut into slices, which are used in its place", device.id);
        Finding::ok("gpu", text)
    });
    let faults = inventory.faults.iter().map(|fault| {
        Finding::warn("gpu", format!("not used: {fault}"))
            .next("look at `nvidia-smi` and the kernel's log")
    });
    devices.chain(cut).chain(faults).collect()
}

fn no_gpus(absence: &GpuAbsence) -> Finding {
    match absence {
        GpuAbsence::NoDriver { .. } => Finding::ok("gpu", absence.to_string()),
        GpuAbsence::NoDevice => Finding::warn("gpu", absence.to_string())
            .next("look at `nvidia-smi`; `devices.gpus = \"off\"` if there is to be none"),
        GpuAbsence::DriverFailed { .. } => Finding::warn("gpu", absence.to_string())
            .next("look at `nvidia-smi` and the kernel's log; the node runs without GPUs"),
    }
}

#[cfg(test)]
mod tests {
    use node_core::inventory::DeviceKind;
    use node_gpu::GpuFault;

    use super::super::told;
    use super::*;

    #[test]
    fn what_the_driver_says_of_each_gpu_is_told() {
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
        let found = gpus(&inventory).into_iter().chain(absences.iter().map(no_gpus));
        insta::assert_snapshot!(told(&found.collect::<Vec<_>>()), @r#"
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
        assert!(finding.text.contains("3 CPU slots on 2 cores"), "{finding:?}");
        assert!(finding.next.unwrap().contains("to 2 at most"));
    }
}
