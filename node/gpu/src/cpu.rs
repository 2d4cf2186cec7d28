//! CPU slots: devices that every machine has.

use node_core::inventory::{Device, DeviceId, DeviceKind};

/// `count` slots named `cpu-0`, `cpu-1`, and so on, each with `memory_mib_each` MiB. Nothing is
/// measured: the caller knows what the machine can spare.
#[must_use]
pub fn cpu_slots(count: usize, memory_mib_each: u64) -> Vec<Device> {
    (0..count)
        .map(|slot| {
            let id = DeviceId(format!("cpu-{slot}"));
            Device::new(id, DeviceKind::CpuSlot, format!("CPU slot {slot}"), memory_mib_each)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbered_from_zero_and_equal_otherwise() {
        let slots = cpu_slots(3, 4096);
        let ids: Vec<_> = slots.iter().map(|slot| slot.id.0.as_str()).collect();
        assert_eq!(ids, ["cpu-0", "cpu-1", "cpu-2"]);
        assert!(slots.iter().all(|slot| slot.kind == DeviceKind::CpuSlot));
        assert!(slots.iter().all(|slot| slot.memory_mib == 4096));
        assert!(cpu_slots(0, 4096).is_empty());
    }
}
