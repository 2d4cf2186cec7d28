//! The command line: one file per command.
//!
//! A command reads its settings, does one thing and prints its answer; what it does lives
//! elsewhere. Not here: what is printed while a node runs (`log`), and how failures look
//! (`failure`).

mod backup;
mod chain;
mod completions;
mod config;
mod dashboard;
mod dataset;
mod device;
mod device_probe;
mod devices;
mod doctor;
mod explain;
mod flags;
mod init;
pub mod keys;
mod leases;
mod man;
mod miner;
mod model_card;
mod operator;
mod peers;
mod policy;
mod process;
mod reference;
mod replay;
mod report;
mod run;
mod runtime;
mod scaling;
mod signals;
mod status;
mod submissions;
mod version;
mod watch;
mod weights;
mod window;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::exit::ExitReason;

pub use flags::ConfigFlags;

/// What `assay --help` ends with.
const EXAMPLES: &str = "\
Examples:
  assay init                                         begin: write a configuration and check it
  assay run --netuid 3 --wallet.name validator       validate subnet 3
  assay status --watch                               follow what the node does
  assay explain 7866e9f2                             where is this submission, and why
  assay devices                                      what runs here, and is it sound?
  assay doctor                                       what is not in order, and what to do
  assay config show --origin                         which settings hold, and why
  assay chain check                                  does this node understand the chain?
  assay weights plan                                 what would be signed now, and why not
  assay backup assay.jsonl                           a copy of everything, also while it runs
  assay miner check my-model/                        would a validator admit this?

Bittensor's flags and BT_* variables work. Every other setting can be given in a file (`--config`),
as a variable (`ASSAY_STOP__GRACE=10m`) or with `--set stop.grace=10m`.";

/// A validator node for Bittensor-style chains with an embedded GPU scheduler.
///
/// It evaluates miners' submissions in containers on this machine, shares that work with other
/// validators by leases, and sets weights from receipts it verified.
#[derive(Debug, Parser)]
#[command(name = "assay", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A command with its arguments. What their documentation says is their help: a comment on a
/// variant would replace it.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(init::InitCommand),
    Run(run::RunCommand),
    Status(status::StatusCommand),
    Explain(explain::ExplainCommand),
    Leases(leases::LeasesCommand),
    Submissions(submissions::SubmissionsCommand),
    Devices(devices::DevicesCommand),
    Device(device::DeviceCommand),
    Peers(peers::PeersCommand),
    Config(config::ConfigCommand),
    Policy(policy::PolicyCommand),
    Chain(chain::ChainCommand),
    Doctor(doctor::DoctorCommand),
    Weights(weights::WeightsCommand),
    Backup(backup::BackupCommand),
    Verify(backup::VerifyCommand),
    Restore(backup::RestoreCommand),
    Keys(keys::KeysCommand),
    Miner(miner::MinerCommand),
    Dataset(dataset::DatasetCommand),
    Scaling(scaling::ScalingCommand),
    Report(model_card::ReportCommand),
    Replay(replay::ReplayCommand),
    Completions(completions::CompletionsCommand),
    Man(man::ManCommand),
    Version(version::VersionCommand),
    #[command(hide = true)]
    DeviceProbe(device_probe::DeviceProbeCommand),
    #[command(hide = true)]
    Reference(reference::ReferenceCommand),
}

/// Reads the command line. Help and version are printed here.
///
/// # Errors
///
/// The exit reason, when everything is said already: [`ExitReason::Done`] after help and version,
/// [`ExitReason::BadConfiguration`] after a usage error.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ExitReason> {
    Cli::try_parse_from(arguments).map(|cli| cli.command).map_err(|error| {
        // Nobody is left to tell if the terminal is gone.
        drop(error.print());
        if error.use_stderr() {
            ExitReason::BadConfiguration
        } else {
            ExitReason::Done
        }
    })
}

/// The whole command line as data, for the reference.
fn command_tree() -> clap::Command {
    Cli::command()
}

/// Reads `arguments` of one command alone, for tests of its flags.
#[cfg(test)]
fn parse_for_test<T: clap::Args>(arguments: &[&str]) -> T {
    let matches = T::augment_args(clap::Command::new("test"))
        .get_matches_from(std::iter::once("test").chain(arguments.iter().copied()));
    T::from_arg_matches(&matches).unwrap()
}
