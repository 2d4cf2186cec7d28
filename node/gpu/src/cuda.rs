//! The door to CUDA's driver library, through cudarc.
//!
//! cudarc panics where the library, or a function in it, is missing. So the library is looked for
//! first, and everything here runs where a panic is caught (`deadline`).
//!
//! Not here: what runs on a GPU (`kernels`).

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use node_core::inventory::{DeviceId, GpuAbsence};
use node_core::limits::clip_detail;

use crate::inventory::GpuFault;

/// GPUs in one machine. Lower: some are not used. Higher: a driver that lists nonsense keeps us
/// busy.
pub(crate) const GPUS_MAX: u32 = 64;

/// A GPU as CUDA lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: DeviceId,
    pub(crate) name: String,
    pub(crate) memory_mib: u64,
    pub(crate) compute_capability: (u32, u32),
}

/// Every GPU that CUDA lists: the usable ones and the others.
pub(crate) fn list() -> Result<(Vec<Listed>, Vec<GpuFault>), GpuAbsence> {
    if !is_driver_present() {
        let detail = "the loader finds neither libcuda.so nor libcuda.so.1".to_owned();
        return Err(GpuAbsence::NoDriver { detail });
    }
    result::init().map_err(|error| absence("cuInit", error))?;
    let count = result::device::get_count().map_err(|error| absence("cuDeviceGetCount", error))?;
    let mut listed = Vec::new();
    let mut faults = Vec::new();
    for ordinal in 0..u32::try_from(count).unwrap_or_default().min(GPUS_MAX) {
        match describe(ordinal) {
            Ok(gpu) => listed.push(gpu),
            Err(detail) => faults.push(GpuFault::at(ordinal, &detail)),
        }
    }
    if listed.is_empty() && faults.is_empty() {
        return Err(GpuAbsence::NoDevice);
    }
    Ok((listed, faults))
}

#[allow(unsafe_code, reason = "loading a library is unsafe, and cudarc offers no other way")]
pub(crate) fn is_driver_present() -> bool {
    // SAFETY: loading runs the library's initialisers. The names are those of the GPU driver,
    // looked up where the system's loader looks; every later call loads the same library.
    unsafe { sys::is_culib_present() }
}

#[allow(unsafe_code, reason = "cudarc marks this call unsafe")]
fn total_bytes(device: sys::CUdevice) -> Result<usize, DriverError> {
    // SAFETY: the only caller has the device from `result::device::get`, as demanded.
    unsafe { result::device::total_mem(device) }
}

#[allow(unsafe_code, reason = "cudarc marks this call unsafe")]
fn attribute(device: sys::CUdevice, which: CUdevice_attribute) -> Result<u32, DriverError> {
    // SAFETY: the only caller has the device from `result::device::get`, as demanded.
    let value = unsafe { result::device::get_attribute(device, which) }?;
    Ok(u32::try_from(value).unwrap_or_default())
}

fn describe(ordinal: u32) -> Result<Listed, String> {
    use CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
    let device = result::device::get(ordinal).map_err(|error| said("cuDeviceGet", error))?;
    let uuid = result::device::get_uuid(device).map_err(|error| said("cuDeviceGetUuid", error))?;
    let name = result::device::get_name(device).map_err(|error| said("cuDeviceGetName", error))?;
    let bytes = total_bytes(device).map_err(|error| said("cuDeviceTotalMem", error))?;
    let question = |error| said("cuDeviceGetAttribute", error);
    let capability =
        (attribute(device, MAJOR).map_err(question)?, attribute(device, MINOR).map_err(question)?);
    Ok(Listed {
        id: DeviceId(uuid_text("GPU", uuid.bytes.map(|byte| byte.to_ne_bytes()[0]))),
        name: clip_detail(&name),
        memory_mib: (bytes as u64) >> 20,
        compute_capability: capability,
    })
}

/// A UUID as `nvidia-smi -L` prints it and container engines take it. `kind`: `GPU` or `MIG`.
pub(crate) fn uuid_text(kind: &str, bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or(""));
    format!("{kind}-{}", parts.join("-"))
}

fn absence(question: &str, error: DriverError) -> GpuAbsence {
    if error.0 == CUresult::CUDA_ERROR_NO_DEVICE {
        return GpuAbsence::NoDevice;
    }
    GpuAbsence::DriverFailed { detail: said(question, error) }
}

/// Names the error without asking the driver for its words: it may be past answering.
pub(crate) fn said(question: &str, error: DriverError) -> String {
    format!("{question} answered {:?}", error.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_reads_as_the_driver_tools_print_it() {
        let bytes = std::array::from_fn(|n| u8::try_from(n * 17).unwrap());
        assert_eq!(uuid_text("GPU", bytes), "GPU-00112233-4455-6677-8899-aabbccddeeff");
    }
}
