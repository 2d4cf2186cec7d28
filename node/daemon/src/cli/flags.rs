//! Flags that set configuration keys; shared by every command that reads the configuration.

use std::path::PathBuf;

use clap::Args;

use crate::config::{FlagValue, Settings, Surroundings};

/// Flags that set configuration keys.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigFlags {
    /// Configuration file [default: ./assay.toml, else ~/.config/assay/assay.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Subnet
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    netuid: Option<String>,

    /// Chain: finney, test, archive, local, or the URL of an endpoint
    #[arg(long = "subtensor.network", value_name = "NAME")]
    network: Option<String>,

    /// URL of the chain's endpoint; several separated by commas
    #[arg(long = "subtensor.chain_endpoint", value_name = "URL")]
    chain_endpoint: Option<String>,

    /// Wallet
    #[arg(long = "wallet.name", value_name = "NAME")]
    wallet_name: Option<String>,

    /// Hotkey of the wallet
    #[arg(long = "wallet.hotkey", value_name = "NAME")]
    wallet_hotkey: Option<String>,

    /// Folder of all wallets
    #[arg(long = "wallet.path", value_name = "DIR")]
    wallet_path: Option<String>,

    /// Where the node keeps its state
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// What is logged: error, warn, info, debug, trace, or a filter
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// How a log line looks: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Set any configuration key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// Why a `--set` sets nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotASetting {
    #[error("there is no `=` between key and value")]
    NoValue,
    #[error("there is no key before the `=`; `assay config show` lists every key")]
    NoKey,
}

/// Reads the text behind a `--set`.
///
/// # Errors
///
/// [`NotASetting`].
pub(super) fn key_and_value(text: &str) -> Result<(String, String), NotASetting> {
    let (key, value) = text.split_once('=').ok_or(NotASetting::NoValue)?;
    match key.trim() {
        "" => Err(NotASetting::NoKey),
        key => Ok((key.to_owned(), value.to_owned())),
    }
}

impl ConfigFlags {
    /// All settings, with these flags above every other source.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::load(self.config.as_deref(), &self.values(), Surroundings::of_process())
    }

    /// All settings, with what a flag of the command's own says above every other source.
    #[must_use]
    pub fn settings_with(&self, own: &[FlagValue]) -> Settings {
        let values: Vec<FlagValue> = self.values().into_iter().chain(own.iter().cloned()).collect();
        Settings::load(self.config.as_deref(), &values, Surroundings::of_process())
    }

    /// The settings of a command that concerns a whole chain: no subnet has to be given.
    ///
    /// - `endpoint`: the command's own `--endpoint`, above every other.
    #[must_use]
    pub fn settings_without_subnet(&self, endpoint: Option<&str>) -> Settings {
        let own = |flag: &str, key: &str, text: &str| FlagValue {
            flag: flag.to_owned(),
            key: key.to_owned(),
            text: text.to_owned(),
        };
        // Any subnet will do: none is looked at.
        let mut values = vec![own("--netuid", "chain.netuid", "0")];
        values.extend(self.values());
        values.extend(endpoint.map(|url| own("--endpoint", "chain.endpoints", url)));
        Settings::load(self.config.as_deref(), &values, Surroundings::of_process())
    }

    /// The values given, `--set` first, so that a flag of its own wins.
    fn values(&self) -> Vec<FlagValue> {
        let set = self.set.iter().map(|(key, text)| FlagValue {
            flag: format!("--set {key}"),
            key: key.clone(),
            text: text.clone(),
        });
        let own = [
            ("--netuid", "chain.netuid", &self.netuid),
            ("--subtensor.network", "chain.network", &self.network),
            ("--subtensor.chain_endpoint", "chain.endpoints", &self.chain_endpoint),
            ("--wallet.name", "wallet.name", &self.wallet_name),
            ("--wallet.hotkey", "wallet.hotkey", &self.wallet_hotkey),
            ("--wallet.path", "wallet.path", &self.wallet_path),
            ("--data-dir", "data_dir", &self.data_dir),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        let own = own.into_iter().filter_map(|(flag, key, text)| {
            let text = text.clone()?;
            Some(FlagValue { flag: flag.to_owned(), key: key.to_owned(), text })
        });
        set.chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse_for_test;

    #[test]
    fn every_flag_of_the_key_table_exists_and_sets_its_key() {
        for key in crate::config::keys() {
            let Some(flag) = key.flag else { continue };
            let flags: ConfigFlags = parse_for_test(&[flag, "x"]);
            let values = flags.values();
            assert_eq!(values.len(), 1, "{flag}");
            assert_eq!((values[0].flag.as_str(), values[0].key.as_str()), (flag, key.path));
        }
    }
}
