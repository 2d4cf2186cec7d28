//! The door to CUDA's driver library, through cudarc.
//!
//! cudarc panics where the library, or a function in it, is missing. So the library is looked for
//! first, and everything here runs where a panic is caught (`deadline`).

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUresult};
use node_core::inventory::{Device, DeviceId, DeviceKind, GpuAbsence};
use node_core::limits::clip_detail;

use crate::GpuFault;

/// GPUs in one machine. Lower: some are not used. Higher: a driver that lists nonsense keeps us
/// busy.
const GPUS_MAX: i32 = 64;

/// Every GPU that the driver lists: the usable ones and the others.
pub(crate) fn list() -> Result<(Vec<Device>, Vec<GpuFault>), GpuAbsence> {
    if !is_driver_present() {
        let detail = "the loader finds neither libcuda.so nor libcuda.so.1".to_owned();
        return Err(GpuAbsence::NoDriver { detail });
    }
    result::init().map_err(|error| absence("cuInit", error))?;
    let count = result::device::get_count().map_err(|error| absence("cuDeviceGetCount", error))?;
    let mut devices = Vec::new();
    let mut faults = Vec::new();
    for ordinal in 0..count.min(GPUS_MAX) {
        match describe(ordinal) {
            Ok(device) => devices.push(device),
            Err(fault) => faults.push(fault),
        }
    }
    match (devices.is_empty(), faults.first()) {
        (true, None) => Err(GpuAbsence::NoDevice),
        (true, Some(fault)) => {
            let detail = format!("GPU {}: {}", fault.ordinal, fault.detail);
            Err(GpuAbsence::DriverFailed { detail })
        }
        (false, _) => Ok((devices, faults)),
    }
}

#[allow(unsafe_code, reason = "loading a library is unsafe, and cudarc offers no other way")]
fn is_driver_present() -> bool {
    // SAFETY: loading runs the library's initialisers. The names are those of the GPU driver,
    // looked up where the system's loader looks; every later call loads the same library.
    unsafe { sys::is_culib_present() }
}

#[allow(unsafe_code, reason = "cudarc marks this call unsafe")]
fn total_bytes(device: sys::CUdevice) -> Result<usize, DriverError> {
    // SAFETY: the only caller has the device from `result::device::get`, as demanded.
    unsafe { result::device::total_mem(device) }
}

fn describe(ordinal: i32) -> Result<Device, GpuFault> {
    let fault = |question: &str, error: DriverError| GpuFault {
        ordinal,
        detail: clip_detail(&said(question, error)),
    };
    let device = result::device::get(ordinal).map_err(|error| fault("cuDeviceGet", error))?;
    let uuid = result::device::get_uuid(device).map_err(|error| fault("cuDeviceGetUuid", error))?;
    let name = result::device::get_name(device).map_err(|error| fault("cuDeviceGetName", error))?;
    let bytes = total_bytes(device).map_err(|error| fault("cuDeviceTotalMem", error))?;
    let id = DeviceId(uuid_text(uuid.bytes.map(|byte| byte.to_ne_bytes()[0])));
    Ok(Device::new(id, DeviceKind::Gpu, clip_detail(&name), (bytes as u64) >> 20))
}

/// A UUID as `nvidia-smi -L` prints it and container engines take it.
fn uuid_text(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or(""));
    format!("GPU-{}", parts.join("-"))
}

fn absence(question: &str, error: DriverError) -> GpuAbsence {
    if error.0 == CUresult::CUDA_ERROR_NO_DEVICE {
        return GpuAbsence::NoDevice;
    }
    GpuAbsence::DriverFailed { detail: said(question, error) }
}

/// Names the error without asking the driver for its words: it may be past answering.
fn said(question: &str, error: DriverError) -> String {
    format!("{question} answered {:?}", error.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_reads_as_the_driver_tools_print_it() {
        let bytes = std::array::from_fn(|n| u8::try_from(n * 17).unwrap());
        assert_eq!(uuid_text(bytes), "GPU-00112233-4455-6677-8899-aabbccddeeff");
    }
}
