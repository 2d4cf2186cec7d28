//! `assay keys show`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use node_chain::{Encryption, HotkeyFacts, HotkeyFile, KeyFileFacts, KeyFileWarning};
use node_core::id::Hotkey;
use serde::Serialize;

use super::flags::ConfigFlags;
use crate::config::Wallet;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::{hotkey, output};

const EXAMPLES: &str = "\
Examples:
  assay keys show
  assay keys show --wallet.name validator --wallet.hotkey default
  assay keys show --check --set wallet.password_file=/etc/assay/hotkey-password
  assay keys show --json | jq -r .hotkey";

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
    /// Decrypt the file, if it is encrypted, and say whether its secret belongs to the hotkey
    #[arg(long)]
    check: bool,

    /// Print JSON: `hotkey` and `public`, missing where no file tells them; `scheme` of an opened
    /// key; `encryption`, missing where there is none; `file`, `mode`, `checked` if the secret was
    /// opened and belongs to the hotkey, and `warnings`. Never the secret
    #[arg(long)]
    json: bool,

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
        let file = hotkey::read(&wallet)?;
        let text = if show.check || file.facts().encryption.is_none() {
            let opened = hotkey::open_file(&file, &wallet, &announce)?;
            let facts = opened.facts();
            if show.json {
                json(&KeyAnswer::of_opened(facts))?
            } else {
                opened_text(facts, show.check)
            }
        } else if show.json {
            json(&KeyAnswer::of_sealed(file.facts()))?
        } else {
            sealed_text(file.facts())
        };
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct KeyAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    hotkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    file: PathBuf,
    mode: String,
    checked: bool,
    warnings: Vec<String>,
}

impl KeyAnswer {
    fn of_opened(facts: &HotkeyFacts) -> Self {
        Self {
            hotkey: Some(facts.hotkey.to_string()),
            public: Some(public(&facts.hotkey)),
            scheme: Some(facts.scheme),
            encryption: facts.encryption.map(|format| format.to_string()),
            file: facts.path.clone(),
            mode: format!("{:o}", facts.mode),
            checked: true,
            warnings: facts.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    /// The hotkey is what the public file beside it says; nothing proves it.
    fn of_sealed(facts: &KeyFileFacts) -> Self {
        Self {
            hotkey: facts.named.map(|named| named.to_string()),
            public: facts.named.as_ref().map(public),
            scheme: None,
            encryption: facts.encryption.map(|format| format.to_string()),
            file: facts.path.clone(),
            mode: format!("{:o}", facts.mode),
            checked: false,
            warnings: facts.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

fn public(hotkey: &Hotkey) -> String {
    format!("0x{}", hex::encode(hotkey.0))
}

fn json(answer: &KeyAnswer) -> Result<String, Failure> {
    serde_json::to_string_pretty(answer).map_err(Failure::unexpected)
}

/// Opens the wallet's hotkey for a command; says on stderr when that takes a while.
///
/// # Errors
///
/// A [`Failure`] with the next step for each reason.
pub fn read_hotkey(wallet: &Wallet) -> Result<HotkeyFile, Failure> {
    hotkey::open(wallet, &announce)
}

fn announce(path: &Path, format: Encryption) {
    output::print_error(&format!(
        "decrypting `{}` ({format}), which takes {}",
        path.display(),
        format.cost()
    ));
}

/// What an opened file tells.
fn opened_text(facts: &HotkeyFacts, is_checked: bool) -> String {
    let mut text = format!(
        "hotkey    {}\npublic    {}\nscheme    {}\n",
        facts.hotkey,
        public(&facts.hotkey),
        facts.scheme,
    );
    text.push_str(&file_text(facts.encryption, &facts.path, facts.mode));
    if is_checked {
        text.push_str("check     OK: the secret opens and belongs to the hotkey\n");
    }
    text + &warnings_text(&facts.warnings)
}

/// What an encrypted file tells without its password.
fn sealed_text(facts: &KeyFileFacts) -> String {
    let hotkey = match facts.named {
        Some(named) => format!("{named}, as the public file beside it says"),
        None => "not known: there is no public file beside it".to_owned(),
    };
    let mut text = format!("hotkey    {hotkey}\n");
    text.push_str(&file_text(facts.encryption, &facts.path, facts.mode));
    text.push_str("check     not done: `--check` decrypts the file\n");
    text + &warnings_text(&facts.warnings)
}

fn file_text(encryption: Option<Encryption>, path: &Path, mode: u32) -> String {
    let format = match encryption {
        Some(format) => format!("encrypted, {format}"),
        None => "not encrypted".to_owned(),
    };
    format!("format    {format}\nfile      {}\nmode      {mode:o}\n", path.display())
}

fn warnings_text(warnings: &[KeyFileWarning]) -> String {
    warnings.iter().map(|warning| format!("warning   {warning}\n")).collect()
}
