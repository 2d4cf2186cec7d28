//! `assay keys show`.

use clap::{Args, Subcommand};
use node_chain::{HotkeyFacts, HotkeyFile, KeyFileError, WalletPath};

use super::flags::ConfigFlags;
use crate::config::Wallet;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay keys show
  assay keys show --wallet.name validator --wallet.hotkey default";

/// Show facts about the node's key.
#[derive(Debug, Args)]
pub struct KeysCommand {
    #[command(subcommand)]
    command: KeysSubcommand,
}

#[derive(Debug, Subcommand)]
enum KeysSubcommand {
    Show(ShowCommand),
}

/// Read the hotkey's file as the node would, and print what may be known.
///
/// The secret is never printed. The coldkey is not needed and should not be on this machine.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct ShowCommand {
    #[command(flatten)]
    flags: ConfigFlags,
}

impl KeysCommand {
    /// Prints the facts.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the file gives no key.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let KeysSubcommand::Show(show) = self.command;
        let settings = show.flags.settings();
        let wallet = settings.section(Wallet::read).map_err(Failure::bad_configuration)?;
        let file = read_hotkey(&wallet)?;
        output::print(&facts_text(file.facts()))?;
        Ok(ExitReason::Done)
    }
}

/// Reads the wallet's hotkey.
///
/// # Errors
///
/// A [`Failure`] with the next step for each reason.
pub fn read_hotkey(wallet: &Wallet) -> Result<HotkeyFile, Failure> {
    let path = WalletPath {
        root: wallet.path.clone(),
        name: wallet.name.clone(),
        hotkey: wallet.hotkey.clone(),
    };
    HotkeyFile::read(&path).map_err(|error| {
        let hint = hint(&error);
        Failure::unavailable(error).hint(hint)
    })
}

fn hint(error: &KeyFileError) -> &'static str {
    match error {
        KeyFileError::BadName { .. } => "set `wallet.name` and `wallet.hotkey` to plain names",
        KeyFileError::Unreadable { .. } => {
            "set `--wallet.name`, `--wallet.hotkey` and `--wallet.path`, or create the hotkey with \
             `btcli wallet new-hotkey`"
        }
        KeyFileError::TooLong { .. } | KeyFileError::NotJson { .. } => {
            "`--wallet.path` may lead to something else than a Bittensor wallet"
        }
        KeyFileError::Encrypted { .. } => {
            "store the hotkey without a password, with mode 600; keep the coldkey elsewhere"
        }
        KeyFileError::OtherScheme { .. } => "create an sr25519 hotkey",
        KeyFileError::BadField { .. } | KeyFileError::OtherKey { .. } => {
            "the file is damaged; restore it from its mnemonic"
        }
        KeyFileError::NoSecret { .. } => {
            "copy the hotkey's own file, not the one ending in `pub.txt`"
        }
    }
}

fn facts_text(facts: &HotkeyFacts) -> String {
    let mut text = format!(
        "hotkey    {}\npublic    0x{}\nscheme    {}\nfile      {}\nmode      {:o}\n",
        facts.hotkey,
        hex::encode(facts.hotkey.0),
        facts.scheme,
        facts.path.display(),
        facts.mode,
    );
    for warning in &facts.warnings {
        text.push_str(&format!("warning   {warning}\n"));
    }
    text
}
