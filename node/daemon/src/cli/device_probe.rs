//! `assay device-probe`: the process that a node starts to probe one GPU.
//!
//! It ends with what it found, so that an error on the GPU, or a call that hangs, ends with it.
//! It can be run by hand: what it prints is measured, not judged.

use std::time::Duration;

use clap::Args;
use node_core::inventory::DeviceId;

use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

/// Probe one GPU or MIG slice, and print what was found as one line of JSON.
#[derive(Debug, Args)]
pub struct DeviceProbeCommand {
    /// UUID of the device, as `nvidia-smi -L` prints it
    #[arg(long, value_name = "UUID")]
    device: String,

    /// Give up after so many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    within_ms: u64,
}

impl DeviceProbeCommand {
    /// Probes and prints. A device that is not in order is an answer too.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if stdout refuses.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        // Before the driver is loaded, and while there is no other thread: CUDA lists this device
        // and no other, and leaves no assembled kernels behind.
        std::env::set_var("CUDA_VISIBLE_DEVICES", &self.device);
        std::env::set_var("CUDA_CACHE_DISABLE", "1");
        let limit = Duration::from_millis(self.within_ms);
        let result = node_gpu::probe_here(&DeviceId(self.device), limit);
        let line = serde_json::to_string(&result).map_err(Failure::unexpected)?;
        output::print(&line)?;
        Ok(ExitReason::Done)
    }
}
