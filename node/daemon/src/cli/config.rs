//! `assay config show`.

use clap::{Args, Subcommand};

use super::flags::ConfigFlags;
use crate::config::Shown;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay config show                       the settings as a file that can be used again
  assay config show --origin              where each one comes from
  assay config show --json | jq .
  ASSAY_STOP__GRACE=10m assay config show --origin | grep grace";

/// Show the configuration.
#[derive(Debug, Args)]
pub struct ConfigCommand {
    #[command(subcommand)]
    command: ConfigSubcommand,
}

#[derive(Debug, Subcommand)]
enum ConfigSubcommand {
    Show(ShowCommand),
}

/// Print every setting that holds.
///
/// Credentials in URLs are hidden. With errors in the configuration the exit code is 64; the
/// settings are printed all the same, the errors behind them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct ShowCommand {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,

    /// Print JSON: a list of objects with key, value and origin
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl ConfigCommand {
    /// Prints the configuration.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it is wrong, after it was printed.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let ConfigSubcommand::Show(show) = self.command;
        let settings = show.flags.settings();
        let shown = settings.shown();
        let text = if show.json {
            serde_json::to_string_pretty(&shown).map_err(Failure::unexpected)?
        } else {
            as_file(&shown, show.origin)
        };
        output::print(&text)?;
        settings.config().map(|_| ExitReason::Done).map_err(Failure::bad_configuration)
    }
}

/// One line per key; what is not set is a comment, so that the whole is a valid file.
fn as_file(shown: &[Shown], with_origin: bool) -> String {
    let lines: Vec<String> = shown
        .iter()
        .map(|shown| match &shown.value {
            Some(value) => format!("{} = {value}", shown.key),
            None => format!("# {} is not set", shown.key),
        })
        .collect();
    if !with_origin {
        return lines.join("\n");
    }
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let with_origin = lines.iter().zip(shown).map(|(line, shown)| match shown.value {
        Some(_) => format!("{line:width$}  # {}", shown.origin),
        None => line.clone(),
    });
    with_origin.collect::<Vec<_>>().join("\n")
}
