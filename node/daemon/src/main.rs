//! `assay`: a validator node for Bittensor-style chains with an embedded GPU scheduler.

use std::process::ExitCode;

use node_daemon::cli::{self, Command};
use node_daemon::memory;
use node_daemon::output;

/// Leases are many small pieces of memory that one thread takes and another gives back; with the
/// system's allocator that is a sixth of their CPU time. It asks for no huge pages: clearing them
/// took another sixth, and a third more memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit.into(),
    };
    let result = match command {
        Command::Init(init) => init.execute(),
        Command::Run(run) => {
            memory::give_back_what_is_free();
            run.execute()
        }
        Command::Status(status) => status.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Leases(leases) => leases.execute(),
        Command::Submissions(submissions) => submissions.execute(),
        Command::Peers(peers) => peers.execute(),
        Command::Devices(devices) => devices.execute(),
        Command::Device(device) => device.execute(),
        Command::Config(config) => config.execute(),
        Command::Policy(policy) => policy.execute(),
        Command::Chain(chain) => chain.execute(),
        Command::Doctor(doctor) => doctor.execute(),
        Command::Weights(weights) => weights.execute(),
        Command::Backup(backup) => backup.execute(),
        Command::Verify(verify) => verify.execute(),
        Command::Restore(restore) => restore.execute(),
        Command::Keys(keys) => keys.execute(),
        Command::Miner(miner) => miner.execute(),
        Command::Dataset(dataset) => dataset.execute(),
        Command::Scaling(scaling) => scaling.execute(),
        Command::Report(report) => report.execute(),
        Command::Replay(replay) => replay.execute(),
        Command::Completions(completions) => completions.execute(),
        Command::Man(man) => man.execute(),
        Command::Version(version) => version.execute(),
        Command::DeviceProbe(probe) => probe.execute(),
        Command::Reference(reference) => reference.execute(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::print_error(&failure.to_string());
            failure.exit().into()
        }
    }
}
