//! From the configured wallet to the hotkey: read the file, find its password, open it; each
//! failure with its next step.

use std::io;
use std::path::Path;

use node_chain::{
    password_variable, Encryption, HotkeyFile, KeyFile, KeyFileError, KeyFileWarning, Password,
    WalletPath,
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
    KeyFile::read(&place(wallet)).map_err(failure)
}

/// Where the configured wallet lies.
pub(crate) fn place(wallet: &Wallet) -> WalletPath {
    WalletPath {
        root: wallet.path.clone(),
        name: wallet.name.clone(),
        hotkey: wallet.hotkey.clone(),
    }
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

/// A key file that gives no key, with the next step.
pub(crate) fn failure(error: KeyFileError) -> Failure {
    let hint = hint(&error);
    Failure::unavailable(error).hint(hint)
}

fn hint(error: &KeyFileError) -> &'static str {
    match error {
        KeyFileError::BadName { .. } => "set `wallet.name` and `wallet.hotkey` to plain names",
        KeyFileError::Unreadable { source, .. } => unreadable_hint(source.kind()),
        KeyFileError::TooLong { .. } | KeyFileError::NotJson { .. } => {
            "`--wallet.path` may lead to something else than a Bittensor wallet"
        }
        KeyFileError::Encrypted { .. } => "see `wallet.password_file` in docs/configuration.md",
        KeyFileError::WrongPassword { .. } => {
            "set `wallet.password_file` to the right one; or the file was changed"
        }
        KeyFileError::OtherVault { .. } => {
            "encrypt it anew with `btcli wallet regen-hotkey --use-password`"
        }
        KeyFileError::MemoryShort { .. } => {
            "free memory or raise the service's limit; or store the hotkey without a password"
        }
        KeyFileError::Exported { .. } => "import it with `btcli wallet regen-hotkey --json-path`",
        KeyFileError::OtherScheme { .. } => {
            "create an sr25519 hotkey with `btcli wallet new-hotkey`"
        }
        KeyFileError::Coldkey { .. } => {
            "create a hotkey with `btcli wallet new-hotkey`, register it, and take the coldkey off \
             this machine"
        }
        KeyFileError::OtherKey { .. } => {
            "the file is damaged, or its key is ed25519 without saying so; restore it from its \
             mnemonic with `btcli wallet regen-hotkey`"
        }
        KeyFileError::BadField { .. } | KeyFileError::Damaged { .. } => {
            "the file is damaged; restore it from its mnemonic with `btcli wallet regen-hotkey`"
        }
        KeyFileError::NoSecret { .. } => {
            "copy the hotkey's own file, not the one ending in `pub.txt`"
        }
    }
}

/// What to do about something that does not keep the key from its use.
pub(crate) fn warning_hint(warning: &KeyFileWarning) -> &'static str {
    match warning {
        KeyFileWarning::Mode { .. } => "`chmod 600` it",
        KeyFileWarning::ColdkeyPresent { .. } => {
            "move it to another machine: whoever takes over this one takes the stake with it"
        }
        KeyFileWarning::OtherPublicFile { .. } => {
            "see which of the two is meant; the public file is of an older key, or a copy"
        }
    }
}

/// What to do about a file that does not open, by what the system says.
fn unreadable_hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "the node's user has to own the file: `chown` it, and `chmod 600` it"
        }
        io::ErrorKind::IsADirectory => {
            "the hotkey is a file: `<wallet.path>/<wallet.name>/hotkeys/<wallet.hotkey>`"
        }
        io::ErrorKind::NotADirectory => {
            "`--wallet.path` is the folder of all wallets, and no file in it"
        }
        _ => {
            "set `--wallet.name`, `--wallet.hotkey` and `--wallet.path`, or create the hotkey with \
             `btcli wallet new-hotkey`"
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use node_core::id::Hotkey;

    use super::*;
    use crate::failure::assert_helpful;

    /// Every way to get no key. A new one does not compile until it stands here.
    pub(crate) fn all() -> Vec<KeyFileError> {
        let path = || PathBuf::from("/w/hotkeys/default");
        let format = Encryption::Nacl;
        let unreadable =
            |kind: io::ErrorKind| KeyFileError::Unreadable { path: path(), source: kind.into() };
        let (named, derived) = (Hotkey([1; 32]), Hotkey([2; 32]));
        let all = vec![
            KeyFileError::BadName { name: "..".to_owned() },
            unreadable(io::ErrorKind::NotFound),
            unreadable(io::ErrorKind::PermissionDenied),
            unreadable(io::ErrorKind::IsADirectory),
            unreadable(io::ErrorKind::NotADirectory),
            KeyFileError::TooLong { path: path() },
            KeyFileError::Encrypted { path: path(), format },
            KeyFileError::WrongPassword { path: path(), format },
            KeyFileError::Damaged { path: path(), format, what: "it is too short" },
            KeyFileError::OtherVault { path: path(), header: "1.3".to_owned() },
            KeyFileError::MemoryShort { path: path(), free_mib: None },
            KeyFileError::NotJson { path: path(), line: 1, column: 2 },
            KeyFileError::Exported { path: path() },
            KeyFileError::OtherScheme { path: path(), scheme: "ed25519".to_owned() },
            KeyFileError::BadField { path: path(), field: "secretSeed" },
            KeyFileError::NoSecret { path: path() },
            KeyFileError::Coldkey { path: path() },
            KeyFileError::OtherKey { path: path(), field: "ss58Address", named, derived },
        ];
        for error in &all {
            match error {
                KeyFileError::BadName { .. }
                | KeyFileError::Unreadable { .. }
                | KeyFileError::TooLong { .. }
                | KeyFileError::Encrypted { .. }
                | KeyFileError::WrongPassword { .. }
                | KeyFileError::Damaged { .. }
                | KeyFileError::OtherVault { .. }
                | KeyFileError::MemoryShort { .. }
                | KeyFileError::NotJson { .. }
                | KeyFileError::Exported { .. }
                | KeyFileError::OtherScheme { .. }
                | KeyFileError::BadField { .. }
                | KeyFileError::NoSecret { .. }
                | KeyFileError::Coldkey { .. }
                | KeyFileError::OtherKey { .. } => {}
            }
        }
        all
    }

    #[test]
    fn each_way_to_get_no_key_says_what_next() {
        for error in all() {
            assert_helpful(&failure(error));
        }
    }
}
