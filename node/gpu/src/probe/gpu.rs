//! One GPU at work, through CUDA's driver library: memory, kernels, time.
//!
//! Everything happens on one thread and in one process that ends soon after, so most
//! of what is taken is not given back. Work runs in the order in which it is asked for.

#![allow(unsafe_code, reason = "cudarc marks the calls that the driver cannot check as unsafe")]

use std::ffi::{c_void, CString};
use std::mem::size_of_val;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdeviceptr, CUevent, CUevent_flags, CUfunction, CUmodule};

/// The kernels' text, with the final zero that the driver looks for.
const KERNELS: &str = concat!(include_str!("kernels.ptx"), "\0");

/// Threads of a block, and blocks of the memory kernels: more than any GPU has places for.
const THREADS: u32 = 256;
const BLOCKS: u32 = 4096;
/// Entries of C that a block of the matrix kernel makes, in one direction.
pub(crate) const TILE: u32 = 64;
/// Threads of such a block, in one direction.
const TILE_THREADS: u32 = 16;

/// What failed, and what the driver answered.
pub(crate) type Failure = (&'static str, DriverError);

/// Memory on the GPU.
#[derive(Debug)]
pub(crate) struct Buffer {
    address: CUdeviceptr,
    pub(crate) bytes: usize,
}

/// Which pattern memory is filled with: a seed, and the bits that are turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) seed: u32,
    pub(crate) flip: u32,
}

/// The place of the first wrong word, if none was found: after all others.
pub(crate) const NO_WORD: u64 = u64::MAX;

/// A context on one GPU.
#[derive(Debug)]
pub(crate) struct Gpu;

impl Gpu {
    /// Makes a context on the device at `ordinal`, for this thread.
    pub(crate) fn open(ordinal: i32) -> Result<Self, Failure> {
        let device = result::device::get(ordinal).map_err(|error| ("cuDeviceGet", error))?;
        // SAFETY: the device is from `result::device::get`.
        let context = unsafe { result::primary_ctx::retain(device) }
            .map_err(|error| ("cuDevicePrimaryCtxRetain", error))?;
        // SAFETY: the context was made above and is never given back.
        unsafe { result::ctx::set_current(context) }.map_err(|error| ("cuCtxSetCurrent", error))?;
        Ok(Self)
    }

    /// Lets the driver assemble the kernels.
    pub(crate) fn load(&self) -> Result<Kernels, Failure> {
        // SAFETY: a text with a final zero.
        let module = unsafe { result::module::load_data(KERNELS.as_ptr().cast()) }
            .map_err(|error| ("cuModuleLoadData", error))?;
        Ok(Kernels {
            known: function(module, "probe_known")?,
            fill: function(module, "probe_fill")?,
            check: function(module, "probe_check")?,
            matmul: function(module, "probe_matmul")?,
        })
    }

    /// Bytes that nobody holds.
    pub(crate) fn free_bytes(&self) -> Result<usize, Failure> {
        Ok(result::mem_get_info().map_err(|error| ("cuMemGetInfo", error))?.0)
    }

    /// Takes memory; what is in it is whatever was there.
    pub(crate) fn take(&self, bytes: usize) -> Result<Buffer, Failure> {
        // SAFETY: nothing is read from it before it is written, and never as anything but numbers.
        let address = unsafe { result::malloc_sync(bytes) };
        Ok(Buffer { address: address.map_err(|error| ("cuMemAlloc", error))?, bytes })
    }

    /// Gives memory back, after all work so far.
    pub(crate) fn give_back(&self, buffer: Buffer) -> Result<(), Failure> {
        self.finish()?;
        // SAFETY: the buffer is alive, nothing works on it any more, and it ends here.
        unsafe { result::free_sync(buffer.address) }.map_err(|error| ("cuMemFree", error))
    }

    /// Takes memory and puts `values` there.
    pub(crate) fn put<T: Copy>(&self, values: &[T]) -> Result<Buffer, Failure> {
        let buffer = self.take(size_of_val(values))?;
        // SAFETY: the buffer is as long as the values.
        unsafe { result::memcpy_htod_sync(buffer.address, values) }
            .map_err(|error| ("cuMemcpyHtoD", error))?;
        Ok(buffer)
    }

    /// Reads values back, after all work so far.
    pub(crate) fn get<T: Copy + Default>(
        &self,
        buffer: &Buffer,
        count: usize,
    ) -> Result<Vec<T>, Failure> {
        let mut values = vec![T::default(); count];
        debug_assert!(size_of_val(values.as_slice()) <= buffer.bytes);
        self.finish()?;
        // SAFETY: the buffer is at least as long as the values, which are plain numbers.
        unsafe { result::memcpy_dtoh_sync(&mut values, buffer.address) }
            .map_err(|error| ("cuMemcpyDtoH", error))?;
        Ok(values)
    }

    /// Copies all of `from` to `to`, which is not shorter.
    pub(crate) fn copy(&self, from: &Buffer, to: &Buffer) -> Result<(), Failure> {
        debug_assert!(from.bytes <= to.bytes);
        let stream = result::stream::null();
        // SAFETY: both buffers are alive, `to` is not shorter, and they do not overlap.
        unsafe { result::memcpy_dtod_async(to.address, from.address, from.bytes, stream) }
            .map_err(|error| ("cuMemcpyDtoDAsync", error))
    }

    /// Waits for all work so far.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        result::ctx::synchronize().map_err(|error| ("cuCtxSynchronize", error))
    }

    /// How long `work` takes on the GPU, milliseconds.
    pub(crate) fn time(&self, work: impl FnOnce() -> Result<(), Failure>) -> Result<f32, Failure> {
        let (start, end) = (event()?, event()?);
        record(start)?;
        work()?;
        record(end)?;
        // SAFETY: both events were created above, recorded on the same stream, and are alive.
        unsafe {
            result::event::synchronize(end).map_err(|error| ("cuEventSynchronize", error))?;
            result::event::elapsed(start, end).map_err(|error| ("cuEventElapsedTime", error))
        }
    }
}

fn event() -> Result<CUevent, Failure> {
    result::event::create(CUevent_flags::CU_EVENT_DEFAULT).map_err(|error| ("cuEventCreate", error))
}

fn record(event: CUevent) -> Result<(), Failure> {
    // SAFETY: the only callers have the event from `event`.
    unsafe { result::event::record(event, result::stream::null()) }
        .map_err(|error| ("cuEventRecord", error))
}

fn function(module: CUmodule, name: &str) -> Result<CUfunction, Failure> {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: the module was loaded by the only caller and is never unloaded.
    unsafe { result::module::get_function(module, name) }
        .map_err(|error| ("cuModuleGetFunction", error))
}

/// The kernels, ready to run.
#[derive(Debug)]
pub(crate) struct Kernels {
    known: CUfunction,
    fill: CUfunction,
    check: CUfunction,
    matmul: CUfunction,
}

impl Kernels {
    /// Writes `count` words whose values are known.
    pub(crate) fn known(&self, out: &Buffer, count: u32, seed: u32) -> Result<(), Failure> {
        debug_assert!(count as usize * 4 <= out.bytes);
        let (mut out, mut count, mut seed) = (out.address, count, seed);
        let blocks = count.div_ceil(THREADS);
        let arguments = &mut [pointer(&mut out), pointer(&mut count), pointer(&mut seed)];
        // SAFETY: the kernel's arguments in their order; it writes `count` words, which `out` has.
        unsafe { launch(self.known, (blocks, 1, 1), (THREADS, 1, 1), arguments) }
    }

    /// Fills all of `to` with a pattern.
    pub(crate) fn fill(&self, to: &Buffer, pattern: Pattern) -> Result<(), Failure> {
        let (mut address, mut words) = (to.address, (to.bytes / 4) as u64);
        let Pattern { mut seed, mut flip } = pattern;
        let arguments = &mut [
            pointer(&mut address),
            pointer(&mut words),
            pointer(&mut seed),
            pointer(&mut flip),
        ];
        // SAFETY: the kernel's arguments in their order; it writes `words` words, which `to` has.
        unsafe { launch(self.fill, (BLOCKS, 1, 1), (THREADS, 1, 1), arguments) }
    }

    /// Compares all of `from` with a pattern. `bad` has two numbers: how many words are wrong is
    /// added to the first, and the second becomes the lowest place of one.
    pub(crate) fn check(
        &self,
        from: &Buffer,
        pattern: Pattern,
        bad: &Buffer,
    ) -> Result<(), Failure> {
        debug_assert!(bad.bytes >= 16);
        let (mut address, mut words) = (from.address, (from.bytes / 4) as u64);
        let Pattern { mut seed, mut flip } = pattern;
        let mut bad = bad.address;
        let arguments = &mut [
            pointer(&mut address),
            pointer(&mut words),
            pointer(&mut seed),
            pointer(&mut flip),
            pointer(&mut bad),
        ];
        // SAFETY: the kernel's arguments in their order; it reads `words` words, which `from` has,
        // and writes the two numbers of `bad`.
        unsafe { launch(self.check, (BLOCKS, 1, 1), (THREADS, 1, 1), arguments) }
    }

    /// C = A × B. `side` is a multiple of [`TILE`]; each matrix has `side * side` floats.
    pub(crate) fn multiply(&self, matrices: [&Buffer; 3], side: u32) -> Result<(), Failure> {
        debug_assert!(side.is_multiple_of(TILE));
        debug_assert!(matrices.iter().all(|m| m.bytes >= (side * side) as usize * 4));
        let mut addresses = matrices.map(|matrix| matrix.address);
        let [a, b, c] = &mut addresses;
        let mut side = side;
        let tiles = side / TILE;
        let arguments = &mut [pointer(a), pointer(b), pointer(c), pointer(&mut side)];
        let threads = (TILE_THREADS, TILE_THREADS, 1);
        // SAFETY: the kernel's arguments in their order; a block for each tile of C, so that it
        // reads and writes within the `side * side` floats that each matrix has.
        unsafe { launch(self.matmul, (tiles, tiles, 1), threads, arguments) }
    }
}

fn pointer<T>(argument: &mut T) -> *mut c_void {
    std::ptr::from_mut(argument).cast()
}

/// Begins a kernel.
///
/// # Safety
///
/// The arguments point to what the kernel's text says, in its order, and the memory that it
/// touches is there.
unsafe fn launch(
    kernel: sys::CUfunction,
    blocks: (u32, u32, u32),
    threads: (u32, u32, u32),
    arguments: &mut [*mut c_void],
) -> Result<(), Failure> {
    // SAFETY: as the caller has it; the driver copies the arguments before it returns.
    unsafe { result::launch_kernel(kernel, blocks, threads, 0, result::stream::null(), arguments) }
        .map_err(|error| ("cuLaunchKernel", error))
}
