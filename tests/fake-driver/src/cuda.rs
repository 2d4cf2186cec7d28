//! CUDA's driver functions, as the program under test calls them.
//!
//! Names, numbers and layouts are those of NVIDIA's public header `cuda.h`.

#![allow(
    unsafe_code,
    reason = "functions of a C library: they write through the caller's pointers"
)]
#![allow(clippy::cast_possible_truncation, reason = "indices of a handful of scripted devices")]
#![allow(clippy::cast_precision_loss, reason = "durations in milliseconds need no more")]
#![allow(clippy::cast_possible_wrap, reason = "indices of a handful of scripted devices")]

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::sync::{Mutex, PoisonError};

use crate::kernels::{self, Contents};
use crate::nvml::put_text;
use crate::script::Gpu;
use crate::world::{lock, obey, script};

type Return = c_uint;

const SUCCESS: Return = 0;
const INVALID_VALUE: Return = 1;
const OUT_OF_MEMORY: Return = 2;
const NO_DEVICE: Return = 100;
const INVALID_DEVICE: Return = 101;
const INVALID_PTX: Return = 218;
const INVALID_CONTEXT: Return = 201;
const NOT_FOUND: Return = 500;
const UNKNOWN: Return = 999;

const CAPABILITY_MAJOR: c_uint = 75;
const CAPABILITY_MINOR: c_uint = 76;

/// A device that this process sees: the GPU's index, and the slice's.
#[derive(Clone, Copy)]
struct Visible {
    gpu: usize,
    slice: Option<usize>,
}

struct Buffer {
    len: usize,
    contents: Contents,
}

/// What this process has on its device. The probe uses one device, and so does this.
struct Process {
    device: Option<Visible>,
    buffers: BTreeMap<u64, Buffer>,
    next_address: u64,
    modules: Vec<String>,
    functions: Vec<String>,
    /// When each event was recorded, by the device's clock, milliseconds.
    events: Vec<f64>,
    clock_ms: f64,
    /// Changes of memory so far.
    writes: u64,
    /// The last product, with the changes before it.
    product: Option<([u64; 3], u64)>,
    /// What every call answers from now on: the context is lost.
    poison: Option<Return>,
}

static PROCESS: Mutex<Process> = Mutex::new(Process {
    device: None,
    buffers: BTreeMap::new(),
    next_address: 0x7000_0000_0000,
    modules: Vec::new(),
    functions: Vec::new(),
    events: Vec::new(),
    clock_ms: 0.0,
    writes: 0,
    product: None,
    poison: None,
});

/// Writes the answer. A null pointer is the caller's mistake and said so.
unsafe fn put<T>(to: *mut T, value: T) -> Return {
    if to.is_null() {
        return INVALID_VALUE;
    }
    // SAFETY: not null, and by the function's contract the caller's own variable of this type.
    unsafe { to.write(value) };
    SUCCESS
}

/// What this process sees, as `CUDA_VISIBLE_DEVICES` says: everything, or those with these UUIDs.
fn visible() -> Vec<Visible> {
    let wanted = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let script = script();
    let mut all = Vec::new();
    for (gpu, facts) in script.devices.iter().enumerate().filter(|(_, gpu)| gpu.is_in_cuda) {
        match &facts.slices {
            None => all.push((Visible { gpu, slice: None }, facts.uuid.clone())),
            Some(slices) => {
                let numbered = slices.iter().enumerate();
                all.extend(numbered.map(|(slice, facts)| {
                    (Visible { gpu, slice: Some(slice) }, facts.uuid.clone())
                }));
            }
        }
    }
    let Some(wanted) = wanted else {
        // Of a GPU that is cut, a process sees the first slice.
        let is_shown = |seen: &Visible| seen.slice.is_none_or(|slice| slice == 0);
        return all.into_iter().map(|(seen, _)| seen).filter(is_shown).collect();
    };
    let by_uuid = |uuid: &str| all.iter().find(|(_, own)| own == uuid).map(|(seen, _)| *seen);
    wanted.split(',').map_while(|uuid| by_uuid(uuid.trim())).collect()
}

/// What `call` answers about a GPU: the script's word, else what `then` finds.
fn ask(call: &str, device: c_int, then: impl FnOnce(&Gpu, Visible) -> Return) -> Return {
    let seen = usize::try_from(device).ok().and_then(|at| visible().get(at).copied());
    let Some(seen) = seen else { return INVALID_DEVICE };
    if let Err(number) = obey(call, Some(seen.gpu)) {
        return number;
    }
    match script().devices.get(seen.gpu) {
        Some(gpu) if gpu.is_lost => UNKNOWN,
        Some(gpu) => then(gpu, seen),
        None => INVALID_DEVICE,
    }
}

/// What `call` answers within the context.
fn work(call: &str, then: impl FnOnce(&Gpu, &mut Process) -> Return) -> Return {
    let Some(seen) = PROCESS.lock().unwrap_or_else(PoisonError::into_inner).device else {
        return INVALID_CONTEXT;
    };
    let obeyed = obey(call, Some(seen.gpu));
    let mut process = lock(&PROCESS);
    if let Some(number) = process.poison {
        return number;
    }
    let script = script();
    let Some(gpu) = script.devices.get(seen.gpu) else { return INVALID_DEVICE };
    let number = match obeyed {
        Err(number) => number,
        Ok(()) if gpu.is_lost => UNKNOWN,
        Ok(()) => return then(gpu, &mut process),
    };
    // A failed launch or a lost device ends the context; a failed allocation does not.
    process.poison = (number >= 200).then_some(number);
    number
}

#[no_mangle]
extern "C" fn cuInit(_flags: c_uint) -> Return {
    match obey("cuInit", None) {
        Err(number) => number,
        Ok(()) if visible().is_empty() => NO_DEVICE,
        Ok(()) => SUCCESS,
    }
}

#[no_mangle]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Return {
    match obey("cuDeviceGetCount", None) {
        Err(number) => number,
        // SAFETY: the caller's own variable.
        Ok(()) => unsafe { put(count, visible().len() as c_int) },
    }
}

#[no_mangle]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Return {
    // SAFETY: the caller's own variable.
    ask("cuDeviceGet", ordinal, |_, _| unsafe { put(device, ordinal) })
}

fn uuid_bytes(uuid: &str) -> [u8; 16] {
    let (_, digits) = uuid.split_once('-').unwrap_or_default();
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    bytes
}

#[no_mangle]
unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Return {
    // SAFETY: the caller's own variable.
    ask("cuDeviceGetUuid", device, |gpu, _| unsafe { put(uuid, uuid_bytes(&gpu.uuid)) })
}

#[no_mangle]
unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) -> Return {
    ask("cuDeviceGetUuid_v2", device, |gpu, seen| {
        let slice = seen.slice.and_then(|slice| gpu.slices.iter().flatten().nth(slice));
        let own = slice.map_or(&gpu.uuid, |slice| &slice.uuid);
        // SAFETY: the caller's own variable.
        unsafe { put(uuid, uuid_bytes(own)) }
    })
}

#[no_mangle]
unsafe extern "C" fn cuDeviceGetName(to: *mut c_char, room: c_int, device: c_int) -> Return {
    ask("cuDeviceGetName", device, |gpu, _| {
        // SAFETY: `room` bytes of the caller's.
        match unsafe { put_text(to, usize::try_from(room).unwrap_or_default(), &gpu.name) } {
            SUCCESS => SUCCESS,
            _ => INVALID_VALUE,
        }
    })
}

fn memory_mib(gpu: &Gpu, seen: Visible) -> (u64, u64) {
    let slice = seen.slice.and_then(|slice| gpu.slices.iter().flatten().nth(slice));
    slice.map_or((gpu.memory_mib, gpu.held_mib), |slice| (slice.memory_mib, slice.held_mib))
}

#[no_mangle]
unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Return {
    ask("cuDeviceTotalMem_v2", device, |gpu, seen| {
        // SAFETY: the caller's own variable.
        unsafe { put(bytes, (memory_mib(gpu, seen).0 << 20) as usize) }
    })
}

#[no_mangle]
unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    which: c_uint,
    device: c_int,
) -> Return {
    ask("cuDeviceGetAttribute", device, |gpu, _| {
        let (major, minor) = gpu.compute_capability;
        let number = match which {
            CAPABILITY_MAJOR => major,
            CAPABILITY_MINOR => minor,
            _ => return INVALID_VALUE,
        };
        // SAFETY: the caller's own variable.
        unsafe { put(value, number as c_int) }
    })
}

#[no_mangle]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) -> Return {
    ask("cuDevicePrimaryCtxRetain", device, |_, seen| {
        lock(&PROCESS).device = Some(seen);
        // SAFETY: the caller's own variable.
        unsafe { put(context, seen.gpu + 1) }
    })
}

#[no_mangle]
extern "C" fn cuCtxSetCurrent(_context: usize) -> Return {
    work("cuCtxSetCurrent", |_, _| SUCCESS)
}

#[no_mangle]
extern "C" fn cuCtxSynchronize() -> Return {
    work("cuCtxSynchronize", |_, _| SUCCESS)
}

fn free_bytes(gpu: &Gpu, process: &Process) -> (u64, u64) {
    let Some(seen) = process.device else { return (0, 0) };
    let (total, held) = memory_mib(gpu, seen);
    let own: u64 = process.buffers.values().map(|buffer| buffer.len as u64).sum();
    ((total << 20).saturating_sub(held << 20).saturating_sub(own), total << 20)
}

#[no_mangle]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Return {
    work("cuMemGetInfo_v2", |gpu, process| {
        let (free_now, all) = free_bytes(gpu, process);
        // SAFETY: the caller's own variables.
        unsafe { put(free, free_now as usize).max(put(total, all as usize)) }
    })
}

#[no_mangle]
unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, len: usize) -> Return {
    work("cuMemAlloc_v2", |gpu, process| {
        if len as u64 > free_bytes(gpu, process).0 {
            return OUT_OF_MEMORY;
        }
        let own = process.next_address;
        process.next_address += (len as u64).next_multiple_of(1 << 21);
        let contents = Contents::Bytes(Vec::new());
        process.buffers.insert(own, Buffer { len, contents });
        // SAFETY: the caller's own variable.
        unsafe { put(address, own) }
    })
}

#[no_mangle]
extern "C" fn cuMemFree_v2(address: u64) -> Return {
    work("cuMemFree_v2", |_, process| match process.buffers.remove(&address) {
        Some(_) => SUCCESS,
        None => INVALID_VALUE,
    })
}

#[no_mangle]
unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const u8, len: usize) -> Return {
    work("cuMemcpyHtoD_v2", |_, process| {
        let Some(buffer) = process.buffers.get_mut(&to).filter(|buffer| len <= buffer.len) else {
            return INVALID_VALUE;
        };
        // SAFETY: `len` bytes of the caller's, by the function's contract.
        let bytes = unsafe { std::slice::from_raw_parts(from, len) }.to_vec();
        buffer.contents = Contents::Bytes(bytes);
        process.writes += 1;
        SUCCESS
    })
}

#[no_mangle]
unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut u8, from: u64, len: usize) -> Return {
    work("cuMemcpyDtoH_v2", |_, process| {
        let Some(buffer) = process.buffers.get(&from).filter(|buffer| len <= buffer.len) else {
            return INVALID_VALUE;
        };
        let bytes = kernels::bytes(&buffer.contents, len);
        // SAFETY: `len` bytes of the caller's, which cannot overlap with ours.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, len) };
        SUCCESS
    })
}

#[no_mangle]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, _stream: usize) -> Return {
    work("cuMemcpyDtoDAsync_v2", |gpu, process| {
        let Some(source) = process.buffers.get(&from).filter(|buffer| len <= buffer.len) else {
            return INVALID_VALUE;
        };
        let mut contents = source.contents.clone();
        let is_wrong = gpu.wrong_kernels.iter().any(|kernel| kernel == "copy");
        if let (true, Contents::Pattern { wrong_at, .. }) = (is_wrong, &mut contents) {
            *wrong_at = Some(len as u64 / 8);
        }
        let Some(target) = process.buffers.get_mut(&to).filter(|buffer| len <= buffer.len) else {
            return INVALID_VALUE;
        };
        target.contents = contents;
        process.writes += 1;
        process.clock_ms += 2.0 * len as f64 / (gpu.bandwidth_mb_s.max(1) as f64 * 1e3);
        SUCCESS
    })
}

#[no_mangle]
unsafe extern "C" fn cuModuleLoadData(module: *mut usize, image: *const c_char) -> Return {
    work("cuModuleLoadData", |_, process| {
        if image.is_null() {
            return INVALID_VALUE;
        }
        // SAFETY: not null, and a text with a final zero by the function's contract.
        let text = unsafe { CStr::from_ptr(image) }.to_string_lossy().into_owned();
        if !text.trim_start().starts_with("//") && !text.contains(".version") {
            return INVALID_PTX;
        }
        process.modules.push(text);
        // SAFETY: the caller's own variable.
        unsafe { put(module, process.modules.len()) }
    })
}

#[no_mangle]
unsafe extern "C" fn cuModuleGetFunction(
    function: *mut usize,
    module: usize,
    name: *const c_char,
) -> Return {
    work("cuModuleGetFunction", |_, process| {
        // SAFETY: a text with a final zero by the function's contract.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        let text = module.checked_sub(1).and_then(|at| process.modules.get(at));
        if !text.is_some_and(|text| text.contains(&format!(".entry {name}("))) {
            return NOT_FOUND;
        }
        process.functions.push(name);
        // SAFETY: the caller's own variable.
        unsafe { put(function, process.functions.len()) }
    })
}

/// A kernel's arguments.
struct Arguments(*mut *mut c_void);

impl Arguments {
    /// The argument at `at`.
    ///
    /// # Safety
    ///
    /// The kernel has such an argument, and it is a `T`.
    unsafe fn get<T: Copy>(&self, at: usize) -> T {
        // SAFETY: by the function's contract an array with a pointer to each argument.
        unsafe { (*self.0.add(at)).cast::<T>().read() }
    }
}

#[no_mangle]
#[allow(clippy::too_many_arguments, reason = "CUDA's")]
unsafe extern "C" fn cuLaunchKernel(
    function: usize,
    _grid_x: c_uint,
    _grid_y: c_uint,
    _grid_z: c_uint,
    _block_x: c_uint,
    _block_y: c_uint,
    _block_z: c_uint,
    _shared: c_uint,
    _stream: usize,
    arguments: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> Return {
    let name = function
        .checked_sub(1)
        .and_then(|at| lock(&PROCESS).functions.get(at).cloned())
        .unwrap_or_default();
    let arguments = Arguments(arguments);
    // By the kernel's name, so that one can fail and the others not.
    work(&name, |gpu, process| {
        let is_wrong = gpu.wrong_kernels.contains(&name);
        // SAFETY: the kernels' own arguments, in the order of their text.
        unsafe {
            match name.as_str() {
                "probe_known" => {
                    let (out, count, seed) = (arguments.get(0), arguments.get(1), arguments.get(2));
                    process.known(out, count, seed, is_wrong)
                }
                "probe_fill" => {
                    let (to, words) = (arguments.get(0), arguments.get(1));
                    process.fill(to, words, (arguments.get(2), arguments.get(3)), is_wrong)
                }
                "probe_check" => {
                    let (from, words, bad) = (arguments.get(0), arguments.get(1), arguments.get(4));
                    process.check(from, words, (arguments.get(2), arguments.get(3)), bad)
                }
                "probe_matmul" => {
                    let places = [arguments.get(0), arguments.get(1), arguments.get(2)];
                    let side: u32 = arguments.get(3);
                    let operations = 2.0 * f64::from(side).powi(3);
                    process.clock_ms += operations / (gpu.matrix_gflop_s.max(1) as f64 * 1e6);
                    process.multiply(places, side as usize, is_wrong)
                }
                _ => NOT_FOUND,
            }
        }
    })
}

impl Process {
    fn known(&mut self, out: u64, count: u32, seed: u32, is_wrong: bool) -> Return {
        let Some(buffer) = self.buffers.get_mut(&out) else { return INVALID_VALUE };
        let value = |at: u32| kernels::known(at, seed) ^ u32::from(is_wrong && at == count / 2);
        let bytes = (0..count).flat_map(|at| value(at).to_le_bytes()).collect();
        buffer.contents = Contents::Bytes(bytes);
        self.writes += 1;
        SUCCESS
    }

    fn fill(&mut self, to: u64, words: u64, kind: (u32, u32), is_wrong: bool) -> Return {
        let Some(buffer) = self.buffers.get_mut(&to) else { return INVALID_VALUE };
        if words * 4 != buffer.len as u64 {
            return INVALID_VALUE;
        }
        let wrong_at = is_wrong.then_some(words / 2);
        buffer.contents = Contents::Pattern { seed: kind.0, flip: kind.1, wrong_at };
        self.writes += 1;
        SUCCESS
    }

    fn check(&mut self, from: u64, words: u64, kind: (u32, u32), bad: u64) -> Return {
        let Some(buffer) = self.buffers.get(&from) else { return INVALID_VALUE };
        let (count, first) = kernels::wrong_words(&buffer.contents, words, kind.0, kind.1);
        let Some(bad) = self.buffers.get_mut(&bad) else { return INVALID_VALUE };
        // It adds to what is there.
        let before = kernels::bytes(&bad.contents, 16);
        let number = |at: usize| {
            let bytes = before.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        let now = [number(0) + count, number(8).min(first)];
        bad.contents = Contents::Bytes(now.iter().flat_map(|n| n.to_le_bytes()).collect());
        SUCCESS
    }

    fn multiply(&mut self, places: [u64; 3], side: usize, is_wrong: bool) -> Return {
        if self.product == Some((places, self.writes)) {
            return SUCCESS;
        }
        let len = side * side * 4;
        let matrix = |at: u64| self.buffers.get(&at).filter(|buffer| buffer.len >= len);
        let (Some(a), Some(b)) = (matrix(places[0]), matrix(places[1])) else {
            return INVALID_VALUE;
        };
        let (a, b) = (kernels::bytes(&a.contents, len), kernels::bytes(&b.contents, len));
        let mut c = kernels::product(&kernels::floats(&a), &kernels::floats(&b), side);
        if let (true, Some(value)) = (is_wrong, c.get_mut(side * side / 2)) {
            *value += 1.0;
        }
        let Some(out) = self.buffers.get_mut(&places[2]) else { return INVALID_VALUE };
        out.contents = Contents::Bytes(c.iter().flat_map(|value| value.to_le_bytes()).collect());
        self.writes += 1;
        self.product = Some((places, self.writes));
        SUCCESS
    }
}

#[no_mangle]
unsafe extern "C" fn cuEventCreate(event: *mut usize, _flags: c_uint) -> Return {
    work("cuEventCreate", |_, process| {
        process.events.push(0.0);
        // SAFETY: the caller's own variable.
        unsafe { put(event, process.events.len()) }
    })
}

#[no_mangle]
extern "C" fn cuEventRecord(event: usize, _stream: usize) -> Return {
    work("cuEventRecord", |_, process| {
        let now = process.clock_ms;
        match event.checked_sub(1).and_then(|at| process.events.get_mut(at)) {
            Some(recorded) => {
                *recorded = now;
                SUCCESS
            }
            None => INVALID_VALUE,
        }
    })
}

#[no_mangle]
extern "C" fn cuEventSynchronize(_event: usize) -> Return {
    work("cuEventSynchronize", |_, _| SUCCESS)
}

#[no_mangle]
unsafe extern "C" fn cuEventElapsedTime(ms: *mut f32, start: usize, end: usize) -> Return {
    work("cuEventElapsedTime", |_, process| {
        let at = |event: usize| event.checked_sub(1).and_then(|at| process.events.get(at));
        match (at(start), at(end)) {
            // SAFETY: the caller's own variable.
            (Some(start), Some(end)) => unsafe { put(ms, (end - start) as f32) },
            _ => INVALID_VALUE,
        }
    })
}
