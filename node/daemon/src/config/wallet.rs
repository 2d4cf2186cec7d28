//! Whose key the node signs with: a hotkey file in Bittensor's layout.
//!
//! Not here: reading the file (`node/chain`).

use std::path::PathBuf;

use figment::value::Value;

use super::key::{Default, Key, Kind};
use super::reader::{text, Complaint, Reader};
use super::Section;

const NAME: Key = Key::new("wallet.name", Kind::Text, Default::Value("default"))
    .about("The wallet's folder under `wallet.path`.")
    .example("\"validator\"")
    .flag("--wallet.name")
    .bittensor("BT_WALLET_NAME");

const HOTKEY: Key = Key::new("wallet.hotkey", Kind::Text, Default::Value("default"))
    .about(
        "The hotkey's file in the wallet's folder `hotkeys`. It is the only key the node reads; \
         the coldkey belongs on another machine.",
    )
    .example("\"default\"")
    .flag("--wallet.hotkey")
    .bittensor("BT_WALLET_HOTKEY");

const PATH: Key = Key::new("wallet.path", Kind::Text, Default::Value("~/.bittensor/wallets"))
    .about("The folder of all wallets.")
    .example("\"/etc/assay/wallets\"")
    .flag("--wallet.path")
    .bittensor("BT_WALLET_PATH");

pub(super) const SECTION: Section = Section {
    name: "wallet",
    about: "Whose key the node signs with, in Bittensor's layout: \
            `<path>/<name>/hotkeys/<hotkey>`.",
    keys: &[NAME, HOTKEY, PATH],
};

/// Where the hotkey's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// The wallet's name.
    pub name: String,
    /// The hotkey's name.
    pub hotkey: String,
    /// The folder of all wallets, absolute.
    pub path: PathBuf,
}

impl Wallet {
    /// Reads this section alone; for [`super::Settings::section`].
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.take(&NAME, file_name);
        let hotkey = reader.take(&HOTKEY, file_name);
        let path = reader.take_path(&PATH);
        Some(Self { name: name?, hotkey: hotkey?, path: path? })
    }

    /// The hotkey's file.
    #[must_use]
    pub fn hotkey_file(&self) -> PathBuf {
        self.path.join(&self.name).join("hotkeys").join(&self.hotkey)
    }
}

fn file_name(value: &Value) -> Result<String, Complaint> {
    let name = text(value)?;
    if name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(Complaint::new("a path, not a name", "set `wallet.path` to another folder"));
    }
    Ok(name)
}
