//! A key file's password, and the variable in which Bittensor's wallets keep one.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use zeroize::Zeroizing;

/// Longest password. Higher: a wrong path (a log, a device) is taken for one.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// What the names of the wallets' own variables begin with.
pub const PASSWORD_VARIABLE_PREFIX: &str = "BT_PW_";

/// Why something is no password. Says nothing about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPassword {
    /// Nothing but whitespace.
    #[error("it is empty")]
    Empty,
    /// More than [`PASSWORD_BYTES_MAX`].
    #[error("it is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Not text.
    #[error("it is not UTF-8")]
    NotText,
    /// Not what a wallet puts into its variable.
    #[error("it is not what Bittensor's wallets write: base64 of the password, disguised")]
    NotDisguised,
}

/// A password; wiped from memory when dropped, and no trait shows it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// A password as it is.
    ///
    /// # Errors
    ///
    /// [`NotAPassword`] if it is empty or too long.
    pub fn new(text: Zeroizing<String>) -> Result<Self, NotAPassword> {
        match text.len() {
            0 => Err(NotAPassword::Empty),
            1..=PASSWORD_BYTES_MAX => Ok(Self(text)),
            _ => Err(NotAPassword::TooLong),
        }
    }

    /// The password on the first line of a file, a pipe or a terminal. Whitespace around it is no
    /// part of it, as in Bittensor's wallets.
    ///
    /// # Errors
    ///
    /// [`NotAPassword`] if the line is empty, too long or no text.
    pub fn from_line(bytes: &[u8]) -> Result<Self, NotAPassword> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = std::str::from_utf8(line).map_err(|_| NotAPassword::NotText)?;
        Self::new(Zeroizing::new(text.trim().to_owned()))
    }

    /// The password in one of the wallets' own variables: base64 of its bytes, each mixed by
    /// exclusive or with the byte of the variable's name at the same place, the name repeated.
    ///
    /// # Errors
    ///
    /// [`NotAPassword`] if it is empty, too long, or nothing that a wallet wrote.
    ///
    /// Source: `save_password_to_env` in btwallet 4.1.1, `src/keyfile.rs`.
    pub fn from_variable(name: &str, value: &str) -> Result<Self, NotAPassword> {
        let value = value.trim();
        if value.len() > PASSWORD_BYTES_MAX * 2 {
            return Err(NotAPassword::TooLong);
        }
        let mut bytes = base64::engine::general_purpose::STANDARD
            .decode(value)
            .map(Zeroizing::new)
            .map_err(|_| NotAPassword::NotDisguised)?;
        for (byte, with) in bytes.iter_mut().zip(name.bytes().cycle()) {
            *byte ^= with;
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| NotAPassword::NotDisguised)?;
        Self::new(Zeroizing::new(text.to_owned()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// The name of the variable in which Bittensor's wallets keep the password of the key at `file`.
///
/// Source: `env_var_name` in btwallet 4.1.1, `src/keyfile.rs`.
#[must_use]
pub fn password_variable(file: &Path) -> String {
    let path = file.to_string_lossy().replace(['/', '.'], "_").to_uppercase();
    format!("{PASSWORD_VARIABLE_PREFIX}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // The values are those that bittensor-wallet 4.1.1 made.
    #[test]
    fn a_wallets_own_variable_is_found_by_the_path_and_read_with_its_name() {
        let name = password_variable(Path::new("/tmp/tmpyWWwdt30/v.x/hotkeys/hot-1"));
        assert_eq!(name, "BT_PW__TMP_TMPYWWWDT30_V_X_HOTKEYS_HOT-1");
        for value in ["MZf2MyU6K3Q9MSwn", " MZf2MyU6K3Q9MSwn\n"] {
            let password = Password::from_variable(&name, value).unwrap();
            assert_eq!(password.bytes(), "sécret pass".as_bytes());
        }
    }

    #[test]
    fn a_variable_that_no_wallet_wrote_is_no_password() {
        let name = "BT_PW_X";
        for (value, why) in [
            ("", NotAPassword::Empty),
            ("secret pass!", NotAPassword::NotDisguised),
            ("////", NotAPassword::NotDisguised),
            (&"A".repeat(4 * PASSWORD_BYTES_MAX), NotAPassword::TooLong),
        ] {
            assert_eq!(Password::from_variable(name, value).unwrap_err(), why, "{value}");
        }
    }

    #[test]
    fn a_line_is_a_password_without_the_whitespace_around_it() {
        let password = Password::from_line(b" two words\t\r\nmore").unwrap();
        assert_eq!(password.bytes(), b"two words");
        for (line, why) in [
            (&b""[..], NotAPassword::Empty),
            (b"\nsecond", NotAPassword::Empty),
            (b" \r\n", NotAPassword::Empty),
            (b"\xff\xfe", NotAPassword::NotText),
            (&[b'a'; PASSWORD_BYTES_MAX + 1], NotAPassword::TooLong),
        ] {
            assert_eq!(Password::from_line(line).unwrap_err(), why);
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let password = Password::from_line(b"visible").unwrap();
        let shown = format!("{password:?} {password:#?}");
        assert!(!shown.contains("visible"), "{shown}");
    }
}
