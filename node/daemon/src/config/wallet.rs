//! Whose key the node signs with: a hotkey file in Bittensor's layout.
//!
//! Not here: reading the file (`node/chain`), and its password (`hotkey`, `password`).

use std::path::{Path, PathBuf};

use figment::value::Value;
use node_chain::password_variable;

use super::key::{Default, Key, Kind};
use super::passwords::{PasswordVariables, PASSWORD_FILE_VARIABLE};
use super::reader::{integer, path, text, Complaint, Reader};
use super::Section;

/// The variable in which systemd names the folder of a service's credentials.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

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

const PATH: Key = Key::new("wallet.path", Kind::Path, Default::Value("~/.bittensor/wallets"))
    .about("The folder of all wallets.")
    .example("\"/etc/assay/wallets\"")
    .flag("--wallet.path")
    .bittensor("BT_WALLET_PATH");

const PASSWORD_FILE: Key = Key::new("wallet.password_file", Kind::Path, Default::Unset)
    .about(
        "A file whose first line is the hotkey's password, if the hotkey is encrypted. Only its \
         owner may read it (mode 600); a credential that systemd hands over (mode 440 of root, in \
         `$CREDENTIALS_DIRECTORY`) is taken too. Without it the password is taken from \
         `wallet.password_fd`, from Bittensor's variables `BT_PW_<PATH>`, `BT_WALLET_PASSWORD` \
         and `BT_WALLET_PASSWORD_FILE` in this order, and at last from the terminal.",
    )
    .example("\"/run/credentials/assay.service/hotkey-password\"");

const PASSWORD_FD: Key = Key::new("wallet.password_fd", Kind::Integer, Default::Unset)
    .about(
        "An open file descriptor from which the first line is read as the hotkey's password: a \
         pipe that whoever starts the node writes to. 0 is stdin.",
    )
    .example("3");

pub(super) const SECTION: Section = Section {
    name: "wallet",
    about: "Whose key the node signs with, in Bittensor's layout: \
            `<path>/<name>/hotkeys/<hotkey>`.",
    keys: &[NAME, HOTKEY, PATH, PASSWORD_FILE, PASSWORD_FD],
};

/// Where the hotkey's file is, and its password.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// The wallet's name.
    pub name: String,
    /// The hotkey's name.
    pub hotkey: String,
    /// The folder of all wallets, absolute.
    pub path: PathBuf,
    /// Where a password may come from.
    pub password: PasswordSources,
}

/// Where the password of an encrypted hotkey may come from; the first that is set is taken.
#[derive(Clone, Debug, std::default::Default)]
pub struct PasswordSources {
    /// `wallet.password_file`.
    pub file: Option<PathBuf>,
    /// `wallet.password_fd`.
    pub descriptor: Option<u32>,
    /// Names of the variables in which Bittensor's wallets keep the password of this very file.
    pub own_variables: Vec<String>,
    /// Values of variables that carry passwords.
    pub variables: PasswordVariables,
    /// The file that Bittensor's variable names.
    pub bittensor_file: Option<PathBuf>,
    /// Where systemd put the service's credentials.
    pub credentials: Option<PathBuf>,
}

impl Wallet {
    /// Reads this section alone; for [`super::Settings::section`].
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.take(&NAME, file_name);
        let hotkey = reader.take(&HOTKEY, file_name);
        let path = reader.take_path(&PATH);
        let given = reader.take(&PATH, text);
        let password_file = take_path_if_set(reader);
        let descriptor = reader.take_optional(&PASSWORD_FD, descriptor);
        let (name, hotkey, path) = (name?, hotkey?, path?);
        // By the absolute path, and by the path as it was given: wallets do not make theirs
        // absolute.
        let roots = [path.clone(), PathBuf::from(given?)];
        let own_variables =
            roots.map(|root| password_variable(&hotkey_file(&root, &name, &hotkey)));
        let surroundings = reader.surroundings();
        let bittensor_file = surroundings.variable(PASSWORD_FILE_VARIABLE);
        let password = PasswordSources {
            file: password_file?,
            descriptor: descriptor?,
            own_variables: own_variables.to_vec(),
            variables: surroundings.passwords.clone(),
            bittensor_file: bittensor_file.map(|path| surroundings.absolute(path)),
            credentials: surroundings.variable(CREDENTIALS_VARIABLE).map(PathBuf::from),
        };
        Some(Self { name, hotkey, path, password })
    }

    /// The hotkey's file.
    #[must_use]
    pub fn hotkey_file(&self) -> PathBuf {
        hotkey_file(&self.path, &self.name, &self.hotkey)
    }
}

fn hotkey_file(root: &Path, name: &str, hotkey: &str) -> PathBuf {
    root.join(name).join("hotkeys").join(hotkey)
}

fn take_path_if_set(reader: &mut Reader<'_>) -> Option<Option<PathBuf>> {
    let surroundings = reader.surroundings().clone();
    reader.take_optional(&PASSWORD_FILE, |value| path(value, &surroundings))
}

/// A descriptor that can be read.
fn descriptor(value: &Value) -> Result<u32, Complaint> {
    let number = integer(0, 65_535)(value)?;
    match u32::try_from(number) {
        Ok(number) if number != 1 && number != 2 => Ok(number),
        _ => Err(Complaint::new("stdout or stderr", "use 0, or a number from 3 on")),
    }
}

fn file_name(value: &Value) -> Result<String, Complaint> {
    let name = text(value)?;
    if name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(Complaint::new(
            "a path, not a name",
            "write the name alone: the file is `<path>/<name>/hotkeys/<hotkey>`",
        ));
    }
    if name.contains(char::is_control) {
        let hint = "write the name alone, as `btcli wallet list` shows it";
        return Err(Complaint::new("it holds a control character", hint));
    }
    Ok(name)
}
