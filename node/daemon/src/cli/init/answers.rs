//! What `assay init` has to know, and the flags that say it beforehand.

use std::time::Duration;

use clap::Args;
use node_core::inventory::Device;

use crate::cli::flags::key_and_value;
use crate::config::{self, FlagValue};

/// How long each step of asking the driver may take. Higher: whoever sits at the question waits.
const DRIVER_STEP_MAX: Duration = Duration::from_secs(5);

/// A question: the key that its answer sets, and the flag that answers it beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) key: &'static str,
    pub(super) flag: &'static str,
}

const fn question(key: &'static str, flag: &'static str) -> Question {
    Question { key, flag }
}

/// In the order in which they are asked: a default may follow from an earlier answer.
pub(super) const QUESTIONS: &[Question] = &[
    question("chain.network", "--subtensor.network"),
    question("chain.endpoints", "--subtensor.chain_endpoint"),
    question("chain.netuid", "--netuid"),
    question("wallet.path", "--wallet.path"),
    question("wallet.name", "--wallet.name"),
    question("wallet.hotkey", "--wallet.hotkey"),
    question("data_dir", "--data-dir"),
    question("challenge.nas.policy", "--policy"),
    question("challenge.nas.dataset", "--dataset"),
    question("devices.gpus", "--gpus"),
    question("devices.cpu_slots", "--cpu-slots"),
];

impl Question {
    /// What its key does, as the reference has it.
    pub(super) fn about(&self) -> &'static str {
        config::keys().find(|key| key.path == self.key).map_or("", |key| key.about)
    }

    /// What this host has of what is asked for; nothing for most questions.
    pub(super) fn here(&self) -> Option<String> {
        match self.key {
            "devices.gpus" => Some(gpus()),
            "devices.cpu_slots" => {
                let cores = std::thread::available_parallelism().ok()?;
                Some(format!("this host has {cores} cores"))
            }
            _ => None,
        }
    }

    /// The value that an answer gives its key.
    pub(super) fn answered(&self, text: &str) -> FlagValue {
        let (flag, key) = (self.flag.to_owned(), self.key.to_owned());
        FlagValue { flag, key, text: text.to_owned() }
    }
}

/// Which GPUs there are. Takes seconds where a driver has to wake up.
fn gpus() -> String {
    let told = |device: &Device| format!("{}, {} MiB", device.label, device.memory_mib);
    match node_gpu::inventory_within(DRIVER_STEP_MAX) {
        Ok(inventory) => {
            let devices: Vec<String> = inventory.devices.iter().map(told).collect();
            format!("this host has {}", devices.join("; "))
        }
        Err(absence) => absence.to_string(),
    }
}

/// Flags that answer questions.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Answers")]
pub(super) struct Answers {
    /// Chain: finney, test, archive, local, or the URL of an endpoint
    #[arg(long = "subtensor.network", value_name = "NAME")]
    network: Option<String>,

    /// URL of the chain's endpoint; several separated by commas, your own node first
    #[arg(long = "subtensor.chain_endpoint", value_name = "URL")]
    chain_endpoint: Option<String>,

    /// Subnet
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    netuid: Option<String>,

    /// Folder of all wallets
    #[arg(long = "wallet.path", value_name = "DIR")]
    wallet_path: Option<String>,

    /// Wallet
    #[arg(long = "wallet.name", value_name = "NAME")]
    wallet_name: Option<String>,

    /// Hotkey of the wallet
    #[arg(long = "wallet.hotkey", value_name = "NAME")]
    wallet_hotkey: Option<String>,

    /// Where the node keeps its state
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Rules of the challenge, by name; `assay policy show` prints them
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// The folder that `assay dataset prepare` wrote
    #[arg(long, value_name = "DIR")]
    dataset: Option<String>,

    /// GPUs: auto for every one that passes its probe, off for none
    #[arg(long, value_name = "USE")]
    gpus: Option<String>,

    /// Evaluations on CPUs at the same time
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    cpu_slots: Option<String>,

    /// Set any configuration key, also one that no question is about; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

impl Answers {
    /// The values given, `--set` first, so that a flag of its own wins.
    pub(super) fn values(&self) -> Vec<FlagValue> {
        let set = self.set.iter().map(|(key, text)| FlagValue {
            flag: format!("--set {key}"),
            key: key.clone(),
            text: text.clone(),
        });
        let own = [
            &self.network,
            &self.chain_endpoint,
            &self.netuid,
            &self.wallet_path,
            &self.wallet_name,
            &self.wallet_hotkey,
            &self.data_dir,
            &self.policy,
            &self.dataset,
            &self.gpus,
            &self.cpu_slots,
        ];
        let own = QUESTIONS
            .iter()
            .zip(own)
            .filter_map(|(question, text)| Some(question.answered(text.as_deref()?)));
        set.chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse_for_test;

    #[test]
    fn every_question_is_about_a_key_and_has_a_flag_that_sets_it() {
        for question in QUESTIONS {
            assert!(!question.about().is_empty(), "{} is no key", question.key);
            let answers: Answers = parse_for_test(&[question.flag, "x"]);
            let values = answers.values();
            assert_eq!(values.len(), 1, "{}", question.flag);
            assert_eq!(values[0].flag, question.flag);
            assert_eq!(values[0].key, question.key);
        }
    }

    #[test]
    fn a_key_with_a_flag_of_its_own_elsewhere_has_the_same_one_here() {
        for question in QUESTIONS {
            let key = config::keys().find(|key| key.path == question.key).unwrap();
            assert!(key.flag.is_none_or(|flag| flag == question.flag), "{}", question.key);
        }
    }
}
