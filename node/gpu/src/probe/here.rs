//! The probe itself: what a GPU computes, remembers and moves, checked and measured.
//!
//! For a process of its own: an error on the GPU ends what the process has there, and a call that
//! hangs ends with it.

use std::time::{Duration, Instant};

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult};
use node_core::health::observation::{ProbeFigures, ProbeResult, ProbeStep};
use node_core::inventory::DeviceId;
use node_core::limits::clip_detail;

use super::gpu::{Buffer, Failure, Gpu, Kernels, Pattern, NO_WORD};
use super::millis;
use crate::cuda;
use crate::deadline::{self, Missed};

/// Words of the kernel with a known result: enough for every processor of the GPU.
const KNOWN_WORDS: u32 = 1 << 20;
const KNOWN_SEED: u32 = 0x9e37_79b9;

/// Memory is taken in pieces of this size, bytes. Two have to be had.
const PIECE_BYTES_MAX: usize = 1 << 30;
/// Of what is free: this much is written and read back. Lower: less is tested. Higher: what the
/// driver takes for itself meanwhile does not fit.
const TESTED_NUMERATOR: usize = 3;
const TESTED_DENOMINATOR: usize = 4;
/// With less than this free, bytes, there is nothing to test: something holds the memory.
const FREE_BYTES_MIN: usize = 64 << 20;

/// Both patterns together make each bit a one and a zero.
const PATTERNS: [Pattern; 2] =
    [Pattern { seed: 0x5eed_0001, flip: 0 }, Pattern { seed: 0x5eed_0001, flip: u32::MAX }];

/// Of several measurements the best counts: the others were disturbed.
const MEASUREMENTS: u32 = 5;
const COPIES: u32 = 8;
/// The side of the matrices. Sums of its products of numbers below eight are exact in 32 bits.
const SIDE: u32 = 1024;
const PRODUCTS: u32 = 100;
/// Entries of the matrices are below this, and repeat with it.
const PERIOD: u32 = 8;

/// Why there are no figures.
enum Halt {
    Wrong(ProbeStep, String),
    /// It is the host that cannot, whatever the GPU.
    NotStarted(String),
}

/// Probes `device` in this process, which should end afterwards.
///
/// The caller sees to it that CUDA lists no other device (`CUDA_VISIBLE_DEVICES`), because a MIG
/// slice is not listed otherwise and another GPU could hang.
#[must_use]
pub fn probe_here(device: &DeviceId, limit: Duration) -> ProbeResult {
    let (started, id) = (Instant::now(), device.clone());
    let begun = deadline::begin("gpu probe", limit, move || examine(&id));
    match begun.and_then(deadline::Begun::wait) {
        Ok(Ok(figures)) => {
            ProbeResult::Right(ProbeFigures { took_ms: millis(started.elapsed()), ..figures })
        }
        Ok(Err(Halt::Wrong(step, detail))) => {
            ProbeResult::Wrong { step, detail: clip_detail(&detail) }
        }
        Ok(Err(Halt::NotStarted(detail))) => {
            ProbeResult::NotStarted { detail: clip_detail(&detail) }
        }
        Err(Missed::Deadline { .. } | Missed::StillWaiting) => {
            ProbeResult::TimedOut { limit_ms: millis(limit) }
        }
        Err(missed @ (Missed::Panicked { .. } | Missed::NoThread { .. })) => {
            ProbeResult::NotStarted { detail: missed.to_string() }
        }
    }
}

fn examine(device: &DeviceId) -> Result<ProbeFigures, Halt> {
    let gpu = open(device)?;
    let kernels = gpu.load().map_err(|failure| halt(ProbeStep::Kernel, failure))?;
    let run = Run { gpu, kernels };
    run.known().map_err(|found| found.at(ProbeStep::Kernel))?;
    let pieces = run.memory().map_err(|found| found.at(ProbeStep::Memory))?;
    let bandwidth_mb_s = run.bandwidth(&pieces).map_err(|found| found.at(ProbeStep::Bandwidth))?;
    let matrix_gflop_s = run.matrix().map_err(|found| found.at(ProbeStep::Matrix))?;
    let bytes: usize = pieces.iter().map(|piece| piece.bytes).sum();
    Ok(ProbeFigures {
        took_ms: 0,
        memory_mib: (bytes >> 20) as u64,
        bandwidth_mb_s,
        matrix_gflop_s,
    })
}

/// A context on the device with this name.
fn open(device: &DeviceId) -> Result<Gpu, Halt> {
    if !cuda::is_driver_present() {
        return Err(Halt::NotStarted("there is no GPU driver on this host".to_owned()));
    }
    let failed = |question| move |error| halt(ProbeStep::Context, (question, error));
    match result::init() {
        // None of those that may be seen.
        Err(error) if error.0 == CUresult::CUDA_ERROR_NO_DEVICE => return Err(unlisted(device)),
        answer => answer.map_err(failed("cuInit"))?,
    }
    let count = result::device::get_count().map_err(failed("cuDeviceGetCount"))?;
    for ordinal in 0..count {
        if uuid(ordinal, device).map_err(failed("cuDeviceGetUuid"))? == device.0 {
            return Gpu::open(ordinal).map_err(|failure| halt(ProbeStep::Context, failure));
        }
    }
    Err(unlisted(device))
}

fn unlisted(device: &DeviceId) -> Halt {
    Halt::Wrong(ProbeStep::Context, format!("CUDA does not list {device}"))
}

/// The name of the device at `ordinal`, as a slice if `wanted` is one.
#[allow(unsafe_code, reason = "cudarc has no other function for the names of slices")]
fn uuid(ordinal: i32, wanted: &DeviceId) -> Result<String, result::DriverError> {
    let device = result::device::get(ordinal)?;
    let (kind, uuid) = if wanted.0.starts_with("MIG-") {
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: the device is from `result::device::get`, and the variable is ours.
        unsafe { sys::cuDeviceGetUuid_v2(&mut uuid, device) }.result()?;
        ("MIG", uuid)
    } else {
        ("GPU", result::device::get_uuid(device)?)
    };
    Ok(cuda::uuid_text(kind, uuid.bytes.map(|byte| byte.to_ne_bytes()[0])))
}

/// A failed call, told from a host whose driver is not in order.
fn halt(step: ProbeStep, (question, error): Failure) -> Halt {
    use CUresult::{
        CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE as COMPAT,
        CUDA_ERROR_JIT_COMPILATION_DISABLED as NO_JIT,
        CUDA_ERROR_JIT_COMPILER_NOT_FOUND as NO_COMPILER,
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH as MISMATCH,
        CUDA_ERROR_UNSUPPORTED_PTX_VERSION as OLD_COMPILER,
    };
    let detail = cuda::said(question, error);
    match error.0 {
        COMPAT | NO_JIT | NO_COMPILER | MISMATCH | OLD_COMPILER => Halt::NotStarted(detail),
        _ => Halt::Wrong(step, detail),
    }
}

/// What a step found.
enum Found {
    Failed(Failure),
    Wrong(String),
}

impl Found {
    fn at(self, step: ProbeStep) -> Halt {
        match self {
            Self::Failed(failure) => halt(step, failure),
            Self::Wrong(detail) => Halt::Wrong(step, detail),
        }
    }
}

impl From<Failure> for Found {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Run {
    gpu: Gpu,
    kernels: Kernels,
}

impl Run {
    fn known(&self) -> Result<(), Found> {
        let out = self.gpu.take(KNOWN_WORDS as usize * 4)?;
        self.kernels.known(&out, KNOWN_WORDS, KNOWN_SEED)?;
        let words: Vec<u32> = self.gpu.get(&out, KNOWN_WORDS as usize)?;
        self.gpu.give_back(out)?;
        let is_wrong = |(at, word): &(u32, &u32)| known(*at, KNOWN_SEED) != **word;
        let wrong: Vec<_> = (0..).zip(&words).filter(is_wrong).collect();
        match wrong.first() {
            None => Ok(()),
            Some((at, word)) => {
                let (count, right) = (wrong.len(), known(*at, KNOWN_SEED));
                Err(Found::Wrong(format!(
                    "{count} of {KNOWN_WORDS} results are wrong: number {at} is {word:#010x} and \
                     should be {right:#010x}"
                )))
            }
        }
    }

    /// Tests memory, and returns it, filled with the second pattern.
    fn memory(&self) -> Result<Vec<Buffer>, Found> {
        let free = self.gpu.free_bytes()?;
        if free < FREE_BYTES_MIN {
            return Err(Found::Wrong(format!("only {} MiB are free", free >> 20)));
        }
        let bad = self.gpu.put(&[0, NO_WORD])?;
        let wanted = free / TESTED_DENOMINATOR * TESTED_NUMERATOR;
        let pieces = self.take_pieces(wanted)?;
        for pattern in PATTERNS {
            for piece in &pieces {
                self.kernels.fill(piece, pattern)?;
            }
            for (number, piece) in pieces.iter().enumerate() {
                self.kernels.check(piece, pattern, &bad)?;
                self.no_bad_word(&bad, number)?;
            }
        }
        Ok(pieces)
    }

    /// Takes `wanted` bytes, or as many as there are, in equal pieces: two at least.
    fn take_pieces(&self, wanted: usize) -> Result<Vec<Buffer>, Found> {
        // Whole words for whole lines of memory.
        let bytes = (wanted / 2).min(PIECE_BYTES_MAX) >> 12 << 12;
        let mut pieces = vec![self.gpu.take(bytes)?, self.gpu.take(bytes)?];
        while (pieces.len() + 1) * bytes <= wanted {
            match self.gpu.take(bytes) {
                Ok(piece) => pieces.push(piece),
                Err((_, error)) if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY => break,
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(pieces)
    }

    fn no_bad_word(&self, bad: &Buffer, piece: usize) -> Result<(), Found> {
        let numbers: Vec<u64> = self.gpu.get(bad, 2)?;
        match numbers[..] {
            [0, NO_WORD] => Ok(()),
            [count, first] => Err(Found::Wrong(format!(
                "{count} words of memory are wrong; the first is number {first} of piece {piece}"
            ))),
            _ => Err(Found::Wrong("the count of wrong words cannot be read".to_owned())),
        }
    }

    /// Bytes read and written per second in copies on the device, 1e6.
    fn bandwidth(&self, pieces: &[Buffer]) -> Result<u64, Found> {
        let [from, to, ..] = pieces else {
            return Err(Found::Wrong("there is no memory to copy".to_owned()));
        };
        let [first, second] = PATTERNS;
        // What is copied differs from what was there.
        self.kernels.fill(from, first)?;
        self.kernels.fill(to, second)?;
        let mut best = 0;
        for _ in 0..MEASUREMENTS {
            let ms = self.gpu.time(|| (0..COPIES).try_for_each(|_| self.gpu.copy(from, to)))?;
            best = best.max(rate(2.0 * from.bytes as f64 * f64::from(COPIES), ms, 1e6));
        }
        let bad = self.gpu.put(&[0, NO_WORD])?;
        self.kernels.check(to, first, &bad)?;
        self.no_bad_word(&bad, 1)?;
        Ok(best)
    }

    /// Operations on 32-bit floats per second in a matrix product, 1e9.
    fn matrix(&self) -> Result<u64, Found> {
        let a = self.gpu.put(&matrix(|row, column| (row_class(row) + column) % PERIOD))?;
        let b = self.gpu.put(&matrix(|row, column| (3 * row + row_class(column)) % PERIOD))?;
        let c = self.gpu.put(&matrix(|_, _| 0))?;
        let product = || self.kernels.multiply([&a, &b, &c], SIDE);
        // The first call makes the GPU ready.
        product()?;
        let mut best = 0;
        for _ in 0..MEASUREMENTS {
            let ms = self.gpu.time(|| (0..PRODUCTS).try_for_each(|_| product()))?;
            let operations = 2.0 * f64::from(SIDE).powi(3) * f64::from(PRODUCTS);
            best = best.max(rate(operations, ms, 1e9));
        }
        let entries: Vec<f32> = self.gpu.get(&c, (SIDE * SIDE) as usize)?;
        check_product(&entries)?;
        Ok(best)
    }
}

/// `amount` in `ms` as so many times `unit` per second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn rate(amount: f64, ms: f32, unit: f64) -> u64 {
    if ms > 0.0 {
        (amount / (f64::from(ms) / 1e3) / unit).round() as u64
    } else {
        0
    }
}

/// Entry `index` of the kernel with a known result.
fn known(index: u32, seed: u32) -> u32 {
    let mut x = index ^ seed;
    for _ in 0..64 {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x ^= x >> 13;
    }
    x
}

/// Neighbouring lines differ, and lines of neighbouring tiles do too.
fn row_class(line: u32) -> u32 {
    (line + line / super::gpu::TILE) % PERIOD
}

/// A matrix, row by row. Entries are below [`PERIOD`].
fn matrix(entry: impl Fn(u32, u32) -> u32) -> Vec<f32> {
    let small = |number: u32| f32::from(u8::try_from(number).unwrap_or_default());
    (0..SIDE)
        .flat_map(|row| (0..SIDE).map(move |column| (row, column)))
        .map(|(row, column)| small(entry(row, column)))
        .collect()
}

/// Each entry of the product depends on the classes of its row and its column alone.
fn check_product(entries: &[f32]) -> Result<(), Found> {
    let sum = |row: u32, column: u32| -> u32 {
        (0..SIDE).map(|k| ((row + k) % PERIOD) * ((3 * k + column) % PERIOD)).sum()
    };
    let classes: Vec<Vec<f64>> = (0..PERIOD)
        .map(|row| (0..PERIOD).map(|column| f64::from(sum(row, column))).collect())
        .collect();
    let right = |row: u32, column: u32| {
        let row = classes.get(row_class(row) as usize);
        row.and_then(|row| row.get(row_class(column) as usize)).copied().unwrap_or(f64::NAN)
    };
    let places = (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column)));
    let mut wrong = places
        .zip(entries)
        .map(|((row, column), entry)| (row, column, f64::from(*entry), right(row, column)))
        .filter(|(_, _, entry, right)| entry.to_bits() != right.to_bits());
    match wrong.next() {
        None => Ok(()),
        Some((row, column, entry, right)) => {
            let count = 1 + wrong.count();
            Err(Found::Wrong(format!(
                "{count} entries of a product are wrong: that in row {row}, column {column} is \
                 {entry} and should be {right}"
            )))
        }
    }
}
