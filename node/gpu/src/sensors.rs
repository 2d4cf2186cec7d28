//! One reading of a GPU's sensors, and of the memory of its slices.

use node_core::health::observation::{Reading, Recovery, Sample, Throttle};
use node_core::inventory::DeviceId;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{
    EccCounter, MemoryError, TemperatureSensor, TemperatureThreshold,
};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::{nvml_sym, nvml_try, NvmlError};
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};

use crate::nvml::{read, said};

/// `NVML_FI_DEV_GET_GPU_RECOVERY_ACTION` of NVIDIA's header; nvml-wrapper has no name for it.
const RECOVERY_ACTION: FieldId = FieldId(230);

/// What a reading of one GPU ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The GPU's sensors, and what is held of each slice's memory, in the order asked.
    Sampled(Box<Sample>, Vec<Reading<u64>>),
    /// The driver says that it is gone.
    Lost { detail: String },
}

/// Reads all sensors of the GPU `board` and the memory of its `slices`. A sensor that fails costs
/// that sensor only, unless the driver says that the whole GPU is gone.
pub(crate) fn sample(nvml: &Nvml, board: &DeviceId, slices: &[DeviceId]) -> Seen {
    let device = match nvml.device_by_uuid(board.0.as_str()) {
        Ok(device) => device,
        Err(error @ (NvmlError::GpuLost | NvmlError::NotFound)) => {
            return Seen::Lost { detail: said("nvmlDeviceGetHandleByUUID", &error) }
        }
        Err(error) => return unreadable(&said("nvmlDeviceGetHandleByUUID", &error), slices.len()),
    };
    let mut watch = LostWatch::default();
    let sample = sample_board(&device, &mut watch);
    let of_slice = |id: &DeviceId| {
        let held = nvml.device_by_uuid(id.0.as_str()).and_then(|slice| held_mib(&slice));
        read("nvmlDeviceGetMemoryInfo_v2 of a slice", held)
    };
    let held = slices.iter().map(of_slice).collect();
    match watch.lost {
        Some(detail) => Seen::Lost { detail },
        None => Seen::Sampled(Box::new(sample), held),
    }
}

/// A sample in which no sensor could be read, of a GPU with so many slices.
pub(crate) fn unreadable(detail: &str, slices: usize) -> Seen {
    fn failed<T>(detail: &str) -> Reading<T> {
        Reading::Unreadable { detail: detail.to_owned() }
    }
    let sample = Sample {
        temperature_c: failed(detail),
        slowdown_c: failed(detail),
        memory_used_mib: failed(detail),
        throttle: failed(detail),
        recovery: failed(detail),
        ecc_uncorrected: failed(detail),
        ecc_corrected: failed(detail),
        is_remap_pending: failed(detail),
        utilisation: failed(detail),
        power_mw: failed(detail),
    };
    Seen::Sampled(Box::new(sample), (0..slices).map(|_| failed(detail)).collect())
}

/// Notes that one of many answers was that the GPU is gone.
#[derive(Default)]
struct LostWatch {
    lost: Option<String>,
}

impl LostWatch {
    fn read<T>(&mut self, question: &str, answer: Result<T, NvmlError>) -> Reading<T> {
        if let Err(error @ NvmlError::GpuLost) = &answer {
            self.lost.get_or_insert_with(|| said(question, error));
        }
        read(question, answer)
    }
}

fn sample_board(device: &Device<'_>, watch: &mut LostWatch) -> Sample {
    let temperature = device.temperature(TemperatureSensor::Gpu);
    let slowdown = device.temperature_threshold(TemperatureThreshold::Slowdown);
    let throttle = device.current_throttle_reasons().map(throttle);
    let uncorrected = device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile);
    let corrected = device.total_ecc_errors(MemoryError::Corrected, EccCounter::Volatile);
    let utilisation = device.utilization_rates().map(|rates| rates.gpu);
    Sample {
        temperature_c: watch.read("nvmlDeviceGetTemperature", temperature),
        slowdown_c: watch.read("nvmlDeviceGetTemperatureThreshold", slowdown),
        memory_used_mib: watch.read("nvmlDeviceGetMemoryInfo_v2", held_mib(device)),
        throttle: watch.read("nvmlDeviceGetCurrentClocksThrottleReasons", throttle),
        recovery: recovery(device, watch),
        ecc_uncorrected: watch.read("nvmlDeviceGetTotalEccErrors", uncorrected),
        ecc_corrected: watch.read("nvmlDeviceGetTotalEccErrors", corrected),
        is_remap_pending: watch.read("nvmlDeviceGetRemappedRows", is_remap_pending(device)),
        utilisation: watch.read("nvmlDeviceGetUtilizationRates", utilisation),
        power_mw: watch.read("nvmlDeviceGetPowerUsage", device.power_usage()),
    }
}

fn held_mib(device: &Device<'_>) -> Result<u64, NvmlError> {
    device.memory_info().map(|memory| memory.used >> 20)
}

fn throttle(reasons: ThrottleReasons) -> Throttle {
    Throttle {
        hardware: reasons.contains(ThrottleReasons::HW_SLOWDOWN),
        hardware_thermal: reasons.contains(ThrottleReasons::HW_THERMAL_SLOWDOWN),
        power_brake: reasons.contains(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN),
        software_thermal: reasons.contains(ThrottleReasons::SW_THERMAL_SLOWDOWN),
        power_cap: reasons.contains(ThrottleReasons::SW_POWER_CAP),
    }
}

/// What the driver wants done. A driver that is older than the question does not know the field
/// and calls it an invalid argument.
fn recovery(device: &Device<'_>, watch: &mut LostWatch) -> Reading<Recovery> {
    let question = "nvmlDeviceGetFieldValues of the recovery action";
    let values = match device.field_values_for(&[RECOVERY_ACTION]) {
        Ok(values) => values,
        Err(error) => return watch.read(question, Err(error)),
    };
    let value = match values.into_iter().next() {
        Some(Ok(sample)) => sample.value,
        Some(Err(error)) => Err(error),
        None => Err(NvmlError::NoData),
    };
    let number = match value {
        Ok(SampleValue::U32(number)) => u64::from(number),
        Ok(SampleValue::U64(number)) => number,
        Ok(SampleValue::I64(number)) => number.unsigned_abs(),
        Ok(SampleValue::F64(_)) => return unknown_recovery("a fraction"),
        Err(NvmlError::InvalidArg) => return Reading::Unsupported,
        Err(error) => return watch.read(question, Err(error)),
    };
    match number {
        0 => Reading::Value(Recovery::Nothing),
        1 => Reading::Value(Recovery::Reset),
        2 => Reading::Value(Recovery::Reboot),
        3 => Reading::Value(Recovery::DrainPeers),
        4 => Reading::Value(Recovery::DrainAndReset),
        other => unknown_recovery(&other.to_string()),
    }
}

/// Newer drivers have actions that this build cannot name. None of them means that all is well.
fn unknown_recovery(answer: &str) -> Reading<Recovery> {
    Reading::Unreadable { detail: format!("the recovery action {answer} is not known here") }
}

/// Rows that wait to be remapped; on GPUs older than that, pages that wait to be retired.
fn is_remap_pending(device: &Device<'_>) -> Result<bool, NvmlError> {
    match is_row_pending(device) {
        Err(error) if crate::nvml::is_unsupported(&error) => device.are_pages_pending_retired(),
        answer => answer,
    }
}

#[allow(unsafe_code, reason = "a call that nvml-wrapper does not offer")]
fn is_row_pending(device: &Device<'_>) -> Result<bool, NvmlError> {
    let question = nvml_sym(device.nvml().lib().nvmlDeviceGetRemappedRows.as_ref())?;
    let (mut corrected, mut uncorrected, mut is_pending, mut has_failed) = (0, 0, 0, 0);
    // SAFETY: the function as NVML declares it, a handle from the library that is loaded, and
    // variables of ours to write to.
    unsafe {
        nvml_try(question(
            device.handle(),
            &mut corrected,
            &mut uncorrected,
            &mut is_pending,
            &mut has_failed,
        ))?;
    }
    // A row for which there was no replacement must not pass for a good one either.
    Ok(is_pending != 0 || has_failed != 0)
}
