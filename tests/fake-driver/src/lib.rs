//! A GPU driver for tests: a shared object with the functions of NVML and CUDA that `node/gpu`
//! calls, and a script that says which devices there are and what befalls them.
//!
//! The program under test is the real one. It finds this library where it would find the driver's,
//! as `libcuda.so.1` and `libnvidia-ml.so.1` in a folder of `LD_LIBRARY_PATH`
//! ([`FakeDriver::install`]). The script is the file `script.json` in that folder; the library
//! reads it again whenever it changed, so a test can make a GPU fall off the bus while the program
//! runs ([`FakeDriver::change`]).
//!
//! - [`script`]: devices, their sensors, and what each call answers: an error, never, or the end
//!   of the process.
//! - [`install`]: the folder, and the environment of a child process.
//!
//! It has no memory beyond the process: contexts, allocations and results of kernels are a
//! process's own, and what one process holds is not seen by another (`Gpu::held_mib` says what is
//! held). Kernels run on the host, by their names, for the result; the time that they take is
//! computed from the rates in the script.

mod cuda;
pub mod install;
mod kernels;
mod nvml;
pub mod script;
mod world;

pub use install::FakeDriver;
pub use script::{Answer, Event, EventKind, Gpu, Link, Script, Slice};
