//! `assay run`.

use clap::Args;

use super::flags::ConfigFlags;
use crate::config::FlagValue;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::{log, run};

const EXAMPLES: &str = "\
Examples:
  assay run --netuid 3 --subtensor.network finney --wallet.name validator --wallet.hotkey default
  BT_NETUID=3 BT_WALLET_NAME=validator assay run
  assay run --config /etc/assay/assay.toml --dry-run

Stopping: the first SIGINT or SIGTERM lets runs finish within `stop.grace`, the second stops them
now, the third leaves at once.";

/// Run the node until it is told to stop.
///
/// Needs a chain endpoint, the wallet's hotkey, a Docker-compatible engine with the evaluator
/// image, and a prepared data set. Logs go to stderr.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunCommand {
    /// Compute and show each epoch's weights, and sign none; as `--set weights.mode=dry_run`
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl RunCommand {
    /// Runs the node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the configuration is wrong or the node cannot start.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let dry_run = self.dry_run.then(|| FlagValue {
            flag: "--dry-run".to_owned(),
            key: "weights.mode".to_owned(),
            text: "dry_run".to_owned(),
        });
        let settings = self.flags.settings_with(dry_run.as_slice());
        let config = settings.config().map_err(Failure::bad_configuration)?;
        log::init(&config.log).map_err(Failure::unexpected)?;
        run::run(config)
    }
}
