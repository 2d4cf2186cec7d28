//! The management library's functions, as the program under test calls them.
//!
//! Layouts and numbers are those of NVIDIA's public header `nvml.h`.

#![allow(
    unsafe_code,
    reason = "functions of a C library: they write through the caller's pointers"
)]
#![allow(clippy::cast_possible_truncation, reason = "indices of a handful of scripted devices")]
#![allow(clippy::cast_possible_wrap, reason = "bytes of texts as C has them, and small versions")]

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_uint, c_ulong, c_ulonglong, CStr};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::script::{EventKind, Gpu, Link, Script, Slice};
use crate::world::{lock, obey, script, LOOK_EVERY};

type Return = c_uint;
/// A device as an opaque pointer: the GPU's index plus one, and above 16 bits the slice's.
type Handle = usize;

const SUCCESS: Return = 0;
const INVALID_ARGUMENT: Return = 2;
const NOT_SUPPORTED: Return = 3;
const NOT_FOUND: Return = 6;
const INSUFFICIENT_SIZE: Return = 7;
const TIMEOUT: Return = 10;
const GPU_IS_LOST: Return = 15;

/// What events a set listens to, by GPU.
type Registered = BTreeMap<usize, u64>;
static SETS: Mutex<BTreeMap<usize, Registered>> = Mutex::new(BTreeMap::new());
/// How many of the script's events this process was told of, by GPU.
static TOLD: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

const SINGLE_BIT: u64 = 1;
const DOUBLE_BIT: u64 = 2;
const XID: u64 = 8;

#[repr(C)]
struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_subsystem_id: c_uint,
    bus_id: [c_char; 32],
}

#[repr(C)]
struct MemoryV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[repr(C)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

#[repr(C)]
struct FieldValue {
    field: c_uint,
    scope: c_uint,
    timestamp: i64,
    latency_us: i64,
    value_type: c_uint,
    returned: Return,
    value: u64,
}

#[repr(C)]
struct EventData {
    device: Handle,
    kind: c_ulonglong,
    data: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// Writes the answer. A null pointer is the caller's mistake and said so.
unsafe fn put<T>(to: *mut T, value: T) -> Return {
    if to.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: not null, and by the function's contract the caller's own variable of this type.
    unsafe { to.write(value) };
    SUCCESS
}

/// Writes a text with its final zero.
pub(crate) unsafe fn put_text(to: *mut c_char, room: usize, text: &str) -> Return {
    if to.is_null() {
        return INVALID_ARGUMENT;
    }
    if text.len() >= room {
        return INSUFFICIENT_SIZE;
    }
    for (at, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: within the `room` bytes that the caller says it has.
        unsafe { to.add(at).write(byte as c_char) };
    }
    SUCCESS
}

fn text_field<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    for (to, byte) in field.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = byte as c_char;
    }
    field
}

fn handle(gpu: usize, slice: Option<usize>) -> Handle {
    (gpu + 1) | slice.map_or(0, |slice| (slice + 1) << 16)
}

fn indices(handle: Handle) -> (usize, Option<usize>) {
    ((handle & 0xffff).wrapping_sub(1), (handle >> 16).checked_sub(1))
}

/// What `call` answers about a device: the script's word, else what `then` finds.
fn ask(call: &str, device: Handle, then: impl FnOnce(&Gpu, Option<&Slice>) -> Return) -> Return {
    let (index, slice) = indices(device);
    if let Err(number) = obey(call, Some(index)) {
        return number;
    }
    let script = script();
    let Some(gpu) = script.devices.get(index) else { return INVALID_ARGUMENT };
    if gpu.is_lost {
        return GPU_IS_LOST;
    }
    let Some(slice) = slice else { return then(gpu, None) };
    let Some(slice) = gpu.slices.iter().flatten().nth(slice) else { return NOT_FOUND };
    match obey(&format!("{call} {}", slice.uuid), Some(index)) {
        Err(number) => number,
        Ok(()) => then(gpu, Some(slice)),
    }
}

/// The indices of what NVML lists.
fn listed(script: &Script) -> Vec<usize> {
    let numbered = script.devices.iter().enumerate();
    numbered.filter(|(_, gpu)| gpu.is_in_nvml).map(|(index, _)| index).collect()
}

/// A function that writes one value about a whole GPU, and that slices do not have.
macro_rules! sensor {
    ($name:ident, $type:ty, $value:expr) => {
        #[no_mangle]
        unsafe extern "C" fn $name(device: Handle, out: *mut $type) -> Return {
            let value: fn(&Gpu) -> $type = $value;
            ask(stringify!($name), device, |gpu, slice| match slice {
                // SAFETY: the caller's own variable, by the function's contract.
                None => unsafe { put(out, value(gpu)) },
                Some(_) => NOT_SUPPORTED,
            })
        }
    };
}

sensor!(nvmlDeviceGetPowerUsage, c_uint, |gpu| gpu.power_mw);
sensor!(nvmlDeviceGetCurrentClocksThrottleReasons, c_ulonglong, |gpu| gpu.throttle_bits);
sensor!(nvmlDeviceGetUtilizationRates, Utilization, |gpu| Utilization {
    gpu: gpu.utilisation,
    memory: 0
});
sensor!(nvmlDeviceGetRetiredPagesPendingStatus, c_uint, |gpu| u32::from(gpu.is_remap_pending));
sensor!(nvmlDeviceGetMaxMigDeviceCount, c_uint, |_| 7);
sensor!(nvmlDeviceGetSupportedEventTypes, c_ulonglong, |_| 0x1f);

#[no_mangle]
extern "C" fn nvmlInit_v2() -> Return {
    obey("nvmlInit_v2", None).err().unwrap_or(SUCCESS)
}

#[no_mangle]
extern "C" fn nvmlShutdown() -> Return {
    SUCCESS
}

#[no_mangle]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, room: c_uint) -> Return {
    match obey("nvmlSystemGetDriverVersion", None) {
        Err(number) => number,
        // SAFETY: `room` bytes of the caller's.
        Ok(()) => unsafe { put_text(version, room as usize, &script().driver_version) },
    }
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Return {
    match obey("nvmlDeviceGetCount_v2", None) {
        Err(number) => number,
        // SAFETY: the caller's own variable.
        Ok(()) => unsafe { put(count, listed(&script()).len() as c_uint) },
    }
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, out: *mut Handle) -> Return {
    let Some(gpu) = listed(&script()).get(index as usize).copied() else {
        return INVALID_ARGUMENT;
    };
    let device = handle(gpu, None);
    // SAFETY: the caller's own variable.
    ask("nvmlDeviceGetHandleByIndex_v2", device, |_, _| unsafe { put(out, device) })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, out: *mut Handle) -> Return {
    if uuid.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: not null, and a text with a final zero by the function's contract.
    let uuid = unsafe { CStr::from_ptr(uuid) }.to_string_lossy();
    let script = script();
    for index in listed(&script) {
        let Some(gpu) = script.devices.get(index) else { continue };
        let mut slices = gpu.slices.iter().flatten();
        let slice = slices.position(|slice| slice.uuid == uuid);
        if gpu.uuid == uuid || slice.is_some() {
            let device = handle(index, slice);
            // SAFETY: the caller's own variable.
            return ask("nvmlDeviceGetHandleByUUID", device, |_, _| unsafe { put(out, device) });
        }
    }
    NOT_FOUND
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetUUID(device: Handle, to: *mut c_char, room: c_uint) -> Return {
    ask("nvmlDeviceGetUUID", device, |gpu, slice| {
        let uuid = slice.map_or(&gpu.uuid, |slice| &slice.uuid);
        // SAFETY: `room` bytes of the caller's.
        unsafe { put_text(to, room as usize, uuid) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetName(device: Handle, to: *mut c_char, room: c_uint) -> Return {
    ask("nvmlDeviceGetName", device, |gpu, slice| {
        let name = slice.map_or(&gpu.name, |slice| &slice.name);
        // SAFETY: `room` bytes of the caller's.
        unsafe { put_text(to, room as usize, name) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, out: *mut MemoryV2) -> Return {
    ask("nvmlDeviceGetMemoryInfo_v2", device, |gpu, slice| {
        let (total, held) = slice
            .map_or((gpu.memory_mib, gpu.held_mib), |slice| (slice.memory_mib, slice.held_mib));
        let (total, used) = (total << 20, held << 20);
        let free = total.saturating_sub(used);
        // SAFETY: the caller's own variable.
        unsafe { put(out, MemoryV2 { version: 0x0200_0028, total, reserved: 0, free, used }) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(
    device: Handle,
    major: *mut c_int,
    minor: *mut c_int,
) -> Return {
    ask("nvmlDeviceGetCudaComputeCapability", device, |gpu, _| {
        let (first, second) = gpu.compute_capability;
        // SAFETY: the caller's own variables.
        unsafe { put(major, first as c_int).max(put(minor, second as c_int)) }
    })
}

fn pci_info(address: &str) -> PciInfo {
    let part = |range: std::ops::Range<usize>| {
        address.get(range).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default()
    };
    PciInfo {
        bus_id_legacy: text_field(address.get(4..).unwrap_or_default()),
        domain: part(0..8),
        bus: part(9..11),
        device: part(12..14),
        pci_device_id: 0x2330_10de,
        pci_subsystem_id: 0,
        bus_id: text_field(address),
    }
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: Handle, out: *mut PciInfo) -> Return {
    ask("nvmlDeviceGetPciInfo_v3", device, |gpu, _| {
        // SAFETY: the caller's own variable.
        unsafe { put(out, pci_info(&gpu.pci_address)) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetMemoryAffinity(
    device: Handle,
    words: c_uint,
    nodes: *mut c_ulong,
    _scope: c_uint,
) -> Return {
    ask("nvmlDeviceGetMemoryAffinity", device, |gpu, _| {
        let Some(node) = gpu.numa_node else { return NOT_SUPPORTED };
        let (word, bit) = (node / c_ulong::BITS, node % c_ulong::BITS);
        if nodes.is_null() || word >= words {
            return INSUFFICIENT_SIZE;
        }
        // SAFETY: one of the `words` words of the caller's.
        unsafe { nodes.add(word as usize).write(1 << bit) };
        SUCCESS
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetTopologyCommonAncestor(
    device: Handle,
    other: Handle,
    level: *mut c_uint,
) -> Return {
    let Some(other) = script().devices.get(indices(other).0).map(|gpu| gpu.uuid.clone()) else {
        return INVALID_ARGUMENT;
    };
    ask("nvmlDeviceGetTopologyCommonAncestor", device, |gpu, _| {
        // SAFETY: the caller's own variable.
        unsafe { put(level, gpu.ancestors.get(&other).copied().unwrap_or(50)) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetNvLinkState(
    device: Handle,
    link: c_uint,
    is_active: *mut c_uint,
) -> Return {
    ask("nvmlDeviceGetNvLinkState", device, |gpu, _| match gpu.links.is_empty() {
        true => NOT_SUPPORTED,
        // SAFETY: the caller's own variable.
        false => unsafe { put(is_active, u32::from((link as usize) < gpu.links.len())) },
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetNvLinkRemoteDeviceType(
    device: Handle,
    link: c_uint,
    kind: *mut c_uint,
) -> Return {
    ask("nvmlDeviceGetNvLinkRemoteDeviceType", device, |gpu, _| {
        match gpu.links.get(link as usize) {
            // SAFETY: the caller's own variable.
            Some(Link::Gpu(_)) => unsafe { put(kind, 0) },
            // SAFETY: the caller's own variable.
            Some(Link::Switch) => unsafe { put(kind, 2) },
            None => NOT_SUPPORTED,
        }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetNvLinkRemotePciInfo_v2(
    device: Handle,
    link: c_uint,
    pci: *mut PciInfo,
) -> Return {
    ask("nvmlDeviceGetNvLinkRemotePciInfo_v2", device, |gpu, _| {
        let address = match gpu.links.get(link as usize) {
            Some(Link::Gpu(address)) => address,
            Some(Link::Switch) => "00000000:C1:00.0",
            None => return NOT_SUPPORTED,
        };
        // SAFETY: the caller's own variable.
        unsafe { put(pci, pci_info(address)) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: Handle,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> Return {
    ask("nvmlDeviceGetMigMode", device, |gpu, _| {
        let mode = u32::from(gpu.slices.is_some());
        // SAFETY: the caller's own variables.
        unsafe { put(current, mode).max(put(pending, mode)) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: Handle,
    index: c_uint,
    out: *mut Handle,
) -> Return {
    ask("nvmlDeviceGetMigDeviceHandleByIndex", device, |gpu, _| {
        match gpu.slices.iter().flatten().nth(index as usize) {
            // SAFETY: the caller's own variable.
            Some(_) => unsafe { put(out, handle(indices(device).0, Some(index as usize))) },
            None => NOT_FOUND,
        }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetGpuInstanceId(device: Handle, id: *mut c_uint) -> Return {
    ask("nvmlDeviceGetGpuInstanceId", device, |_, slice| match slice {
        // SAFETY: the caller's own variable.
        Some(slice) => unsafe { put(id, slice.gpu_instance) },
        None => NOT_SUPPORTED,
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetComputeInstanceId(device: Handle, id: *mut c_uint) -> Return {
    ask("nvmlDeviceGetComputeInstanceId", device, |_, slice| match slice {
        // SAFETY: the caller's own variable.
        Some(slice) => unsafe { put(id, slice.compute_instance) },
        None => NOT_SUPPORTED,
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetTemperature(
    device: Handle,
    _sensor: c_uint,
    out: *mut c_uint,
) -> Return {
    // SAFETY: the caller's own variable.
    ask("nvmlDeviceGetTemperature", device, |gpu, _| unsafe { put(out, gpu.temperature_c) })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetTemperatureThreshold(
    device: Handle,
    which: c_uint,
    out: *mut c_uint,
) -> Return {
    ask("nvmlDeviceGetTemperatureThreshold", device, |gpu, _| match which {
        // SAFETY: the caller's own variable.
        1 => unsafe { put(out, gpu.slowdown_c) },
        _ => NOT_SUPPORTED,
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: Handle,
    kind: c_uint,
    _since: c_uint,
    out: *mut c_ulonglong,
) -> Return {
    ask("nvmlDeviceGetTotalEccErrors", device, |gpu, _| {
        let count = if kind == 0 { gpu.ecc_corrected } else { gpu.ecc_uncorrected };
        // SAFETY: the caller's own variable.
        unsafe { put(out, count) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetRemappedRows(
    device: Handle,
    corrected: *mut c_uint,
    uncorrected: *mut c_uint,
    is_pending: *mut c_uint,
    has_failed: *mut c_uint,
) -> Return {
    ask("nvmlDeviceGetRemappedRows", device, |gpu, _| {
        for zero in [corrected, uncorrected, has_failed] {
            // SAFETY: the caller's own variables.
            unsafe { put(zero, 0) };
        }
        // SAFETY: the caller's own variable.
        unsafe { put(is_pending, u32::from(gpu.is_remap_pending)) }
    })
}

#[no_mangle]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: Handle,
    count: c_int,
    values: *mut FieldValue,
) -> Return {
    if values.is_null() {
        return INVALID_ARGUMENT;
    }
    for at in 0..usize::try_from(count).unwrap_or_default() {
        // SAFETY: one of the `count` values of the caller's.
        let value = unsafe { &mut *values.add(at) };
        let field = value.field;
        let mut shown = 0;
        value.returned = ask(&format!("field {field}"), device, |gpu, _| match field {
            230 => {
                shown = u64::from(gpu.recovery_action);
                SUCCESS
            }
            _ => INVALID_ARGUMENT,
        });
        // An unsigned integer.
        value.value_type = 1;
        value.value = shown;
    }
    ask("nvmlDeviceGetFieldValues", device, |_, _| SUCCESS)
}

#[no_mangle]
unsafe extern "C" fn nvmlEventSetCreate(set: *mut usize) -> Return {
    if let Err(number) = obey("nvmlEventSetCreate", None) {
        return number;
    }
    let mut sets = lock(&SETS);
    let id = sets.keys().next_back().copied().unwrap_or_default() + 1;
    sets.insert(id, Registered::new());
    // SAFETY: the caller's own variable.
    unsafe { put(set, id) }
}

#[no_mangle]
extern "C" fn nvmlEventSetFree(set: usize) -> Return {
    lock(&SETS).remove(&set).map_or(INVALID_ARGUMENT, |_| SUCCESS)
}

#[no_mangle]
extern "C" fn nvmlDeviceRegisterEvents(device: Handle, kinds: c_ulonglong, set: usize) -> Return {
    ask("nvmlDeviceRegisterEvents", device, |_, _| match lock(&SETS).get_mut(&set) {
        Some(registered) => {
            registered.insert(indices(device).0, kinds);
            SUCCESS
        }
        None => INVALID_ARGUMENT,
    })
}

/// The next event that the process was not told of, at a GPU that the set listens to.
fn next_event(registered: &Registered) -> Option<EventData> {
    let script = script();
    let mut told = lock(&TOLD);
    for (index, kinds) in registered {
        let Some(gpu) = script.devices.get(*index) else { continue };
        let told = told.entry(*index).or_default();
        for event in script.events.iter().filter(|event| event.device == gpu.uuid).skip(*told) {
            *told += 1;
            let (kind, data) = match event.kind {
                EventKind::Xid(code) => (XID, code),
                EventKind::SingleBit => (SINGLE_BIT, 0),
                EventKind::DoubleBit => (DOUBLE_BIT, 0),
            };
            if kinds & kind != 0 {
                let gpu_instance = event.gpu_instance.unwrap_or(u32::MAX);
                let device = handle(*index, None);
                let compute_instance = u32::MAX;
                return Some(EventData { device, kind, data, gpu_instance, compute_instance });
            }
        }
    }
    None
}

#[no_mangle]
unsafe extern "C" fn nvmlEventSetWait_v2(
    set: usize,
    out: *mut EventData,
    timeout_ms: c_uint,
) -> Return {
    let end = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
    let Some(registered) = lock(&SETS).get(&set).cloned() else { return INVALID_ARGUMENT };
    loop {
        if let Some(event) = next_event(&registered) {
            // SAFETY: the caller's own variable.
            return unsafe { put(out, event) };
        }
        for index in registered.keys() {
            let answer = ask("nvmlEventSetWait_v2", handle(*index, None), |_, _| SUCCESS);
            if answer != SUCCESS {
                return answer;
            }
        }
        if Instant::now() >= end {
            return TIMEOUT;
        }
        thread::sleep(LOOK_EVERY);
    }
}
