//! From the configured wallet to the hotkey: read the file, find its password, open it; each
//! failure with its next step.

use std::path::Path;

use node_chain::{
    password_variable, Encryption, HotkeyFile, KeyFile, KeyFileError, Password, WalletPath,
};

use crate::config::Wallet;
use crate::failure::Failure;
use crate::password::{self, Source};

/// How often a password is asked for on the terminal.
const ASKED_MAX: usize = 3;

/// Tells that decrypting begins, and what it takes. The file, then its format.
pub type Announce<'a> = &'a dyn Fn(&Path, Encryption);

/// Reads the wallet's hotkey file without opening it.
///
/// # Errors
///
/// A [`Failure`] with the next step for each reason.
pub fn read(wallet: &Wallet) -> Result<KeyFile, Failure> {
    let path = WalletPath {
        root: wallet.path.clone(),
        name: wallet.name.clone(),
        hotkey: wallet.hotkey.clone(),
    };
    KeyFile::read(&path).map_err(failure)
}

/// Opens the wallet's hotkey, with a password where it needs one. Blocks for as long as
/// [`Encryption::cost`] says, and for as long as somebody types.
///
/// # Errors
///
/// A [`Failure`] with the next step for each reason.
pub fn open(wallet: &Wallet, announce: Announce<'_>) -> Result<HotkeyFile, Failure> {
    open_file(&read(wallet)?, wallet, announce)
}

/// Like [`open`], for a file that was read.
///
/// # Errors
///
/// As [`open`].
pub fn open_file(
    file: &KeyFile,
    wallet: &Wallet,
    announce: Announce<'_>,
) -> Result<HotkeyFile, Failure> {
    let Some(format) = file.facts().encryption else { return file.open(None).map_err(failure) };
    let path = &file.facts().path;
    let decrypt = |password: &Password| {
        announce(path, format);
        file.open(Some(password))
    };
    let found = password::find(&wallet.password).map_err(password_failure)?;
    if let Some((password, source)) = found {
        return decrypt(&password).map_err(|error| not_opened_with(error, &source));
    }
    if !password::can_ask() {
        let needed = KeyFileError::Encrypted { path: path.clone(), format };
        return Err(failure(needed).hint(ways(path)));
    }
    let mut asked = 1;
    loop {
        let password = password::ask(path).map_err(password_failure)?;
        match decrypt(&password) {
            Err(KeyFileError::WrongPassword { .. }) if asked < ASKED_MAX => asked += 1,
            opened => return opened.map_err(failure),
        }
    }
}

fn password_failure(error: password::PasswordError) -> Failure {
    let hint = error.hint();
    Failure::unavailable(error).hint(hint)
}

fn not_opened_with(error: KeyFileError, source: &Source) -> Failure {
    let is_wrong = matches!(error, KeyFileError::WrongPassword { .. });
    let failure = failure(error);
    if is_wrong {
        failure.hint(format!("it came from {source}; or the file was changed"))
    } else {
        failure
    }
}

/// All ways to give a password.
fn ways(path: &Path) -> String {
    format!(
        "set `wallet.password_file` (mode 600) or `wallet.password_fd`, or one of the variables \
         `{}`, `BT_WALLET_PASSWORD`, `BT_WALLET_PASSWORD_FILE`; or run it at a terminal",
        password_variable(path)
    )
}

fn failure(error: KeyFileError) -> Failure {
    let hint = hint(&error);
    Failure::unavailable(error).hint(hint)
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
        KeyFileError::Encrypted { .. } => "see `wallet.password_file` in docs/configuration.md",
        KeyFileError::WrongPassword { .. } => "give the right one; or the file was changed",
        KeyFileError::OtherVault { .. } => {
            "encrypt it anew with `btcli wallet regen-hotkey --use-password`"
        }
        KeyFileError::MemoryShort { .. } => {
            "free memory or raise the service's limit; or store the hotkey without a password"
        }
        KeyFileError::Exported { .. } => "import it with `btcli wallet regen-hotkey --json-path`",
        KeyFileError::OtherScheme { .. } => "create an sr25519 hotkey",
        KeyFileError::OtherKey { .. } => {
            "the file is damaged, or its key is ed25519 without saying so; restore it from its \
             mnemonic"
        }
        KeyFileError::BadField { .. } | KeyFileError::Damaged { .. } => {
            "the file is damaged; restore it from its mnemonic"
        }
        KeyFileError::NoSecret { .. } => {
            "copy the hotkey's own file, not the one ending in `pub.txt`"
        }
    }
}
