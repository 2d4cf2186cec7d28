//! What NVML reports by itself: errors by their number (Xid), and memory errors.
//!
//! Each GPU has an event set and a thread of its own: registering a GPU, or waiting for one, may
//! hang with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use node_core::inventory::DeviceId;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::error::{nvml_sym, nvml_try, NvmlError};
use nvml_wrapper::{EventSet, Nvml};

use crate::deadline;
use crate::nvml::{self, is_unsupported, said};

/// How long one wait takes at most, milliseconds. Lower: threads wake for nothing. Higher: they
/// end that much later than their watcher.
const WAIT_MS: u32 = 500;

/// After a failure the set is made again. Lower: a dead GPU keeps a thread busy. Higher: events of
/// a GPU that came back are missed for longer.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// What NVML reported of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    /// An error by its number, at one GPU instance if the driver can say.
    Xid { code: u32, gpu_instance: Option<u32> },
    /// A memory error that could not be corrected.
    DoubleBit,
    /// A memory error that was corrected.
    SingleBit,
    /// The driver says that the GPU is gone.
    Lost { detail: String },
    /// Events are waited for, or why they are not: nothing is heard of the GPU then.
    Listening(Result<(), String>),
}

/// Waits for events of the GPU `board` and hands each to `report`, until `is_over`.
pub(crate) fn listen(board: &DeviceId, is_over: &AtomicBool, report: &dyn Fn(Reported)) {
    while !is_over.load(Ordering::Relaxed) {
        match deadline::quietly(|| listen_once(board, is_over, report)) {
            Ok(Ok(())) => return,
            Ok(Err(NvmlError::NotSupported)) => {
                let reason = "this GPU, or this system, reports no events".to_owned();
                report(Reported::Listening(Err(reason)));
                return;
            }
            Ok(Err(error @ NvmlError::GpuLost)) => {
                report(Reported::Lost { detail: said("nvmlEventSetWait", &error) });
            }
            Ok(Err(error)) => {
                report(Reported::Listening(Err(said("events cannot be waited for", &error))));
            }
            Err(words) => {
                report(Reported::Listening(Err(format!("the library panicked: {words}"))))
            }
        }
        pause(is_over);
    }
}

fn pause(is_over: &AtomicBool) {
    let step = Duration::from_millis(u64::from(WAIT_MS));
    let mut waited = Duration::ZERO;
    while waited < RETRY_EVERY && !is_over.load(Ordering::Relaxed) {
        thread::sleep(step);
        waited += step;
    }
}

fn listen_once(
    board: &DeviceId,
    is_over: &AtomicBool,
    report: &dyn Fn(Reported),
) -> Result<(), NvmlError> {
    let nvml: Arc<Nvml> = nvml::open()?;
    let device = nvml.device_by_uuid(board.0.as_str())?;
    let wanted = EventTypes::CRITICAL_XID_ERROR
        | EventTypes::SINGLE_BIT_ECC_ERROR
        | EventTypes::DOUBLE_BIT_ECC_ERROR;
    let kinds = match device.supported_event_types() {
        Ok(supported) => supported & wanted,
        Err(error) if is_unsupported(&error) => EventTypes::empty(),
        Err(error) => return Err(error),
    };
    if kinds.is_empty() {
        return Err(NvmlError::NotSupported);
    }
    let set = nvml.create_event_set()?;
    let set = device.register_events(kinds, set).map_err(|error| error.error)?;
    report(Reported::Listening(Ok(())));
    while !is_over.load(Ordering::Relaxed) {
        match next(&nvml, &set) {
            Ok(Some(reported)) => report(reported),
            Ok(None) | Err(NvmlError::Timeout) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The next event; `None` if it is of no kind that was asked for. nvml-wrapper's own function
/// drops at which GPU instance it happened.
#[allow(unsafe_code, reason = "a call of which nvml-wrapper drops half of the answer")]
fn next(nvml: &Nvml, set: &EventSet<'_>) -> Result<Option<Reported>, NvmlError> {
    let question = nvml_sym(nvml.lib().nvmlEventSetWait_v2.as_ref())?;
    // SAFETY: the function as NVML declares it, the set that is alive here and used by this thread
    // only, and a variable of ours, for which all zeros are a value.
    let event = unsafe {
        let mut event = std::mem::zeroed();
        nvml_try(question(set.handle(), &mut event, WAIT_MS))?;
        event
    };
    let kind = EventTypes::from_bits_truncate(event.eventType);
    Ok(if kind.contains(EventTypes::CRITICAL_XID_ERROR) {
        let code = u32::try_from(event.eventData).unwrap_or(u32::MAX);
        let gpu_instance = Some(event.gpuInstanceId).filter(|id| *id != u32::MAX);
        Some(Reported::Xid { code, gpu_instance })
    } else if kind.contains(EventTypes::DOUBLE_BIT_ECC_ERROR) {
        Some(Reported::DoubleBit)
    } else if kind.contains(EventTypes::SINGLE_BIT_ECC_ERROR) {
        Some(Reported::SingleBit)
    } else {
        None
    })
}
