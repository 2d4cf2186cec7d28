//! Bittensor wallets: `<root>/<name>/hotkeys/<hotkey>`, a small JSON file.
//!
//! Every field of the file is a string or null, and any of them may be missing. The secret is
//! taken from `secretPhrase`, else `secretSeed`, else `privateKey`, and must lead to the public
//! key that the file names. What was read is wiped from memory.
//!
//! The coldkey is never read: a node needs none, and finding one is worth a warning.
//!
//! Not here: decryption. Encrypted files are recognised by their first bytes and refused by name.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use node_core::id::Hotkey;
use serde::Deserialize;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::keypair::{Keypair, NotASecret, EXPANDED_SECRET_BYTES, SEED_BYTES};

/// Longest key file read. Lower: a long phrase with whitespace does not fit. Higher: a wrong path
/// (a log, a device) is read into memory.
pub const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Room for the longest file, and for the read that finds its end.
const READ_BUFFER_BYTES: usize = 17 * 1024;
const _: () = assert!(READ_BUFFER_BYTES as u64 > KEY_FILE_BYTES_MAX + 1);

/// Permission bits of a key file that only its owner can read.
const MODE_OWNER_ONLY: u32 = 0o600;
const MODE_OF_OTHERS: u32 = 0o077;
const MODE_BITS: u32 = 0o7777;

/// Where a wallet's hotkey lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletPath {
    /// The directory of all wallets.
    pub root: PathBuf,
    /// The wallet's name.
    pub name: String,
    /// The hotkey's name.
    pub hotkey: String,
}

/// How a key file is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `$NACL`: secretbox with a key from Argon2i.
    Nacl,
    /// `$ANSIBLE_VAULT`.
    AnsibleVault,
    /// `gAAAAA`: Fernet.
    Fernet,
}

impl std::fmt::Display for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nacl => "NaCl",
            Self::AnsibleVault => "Ansible Vault",
            Self::Fernet => "Fernet",
        })
    }
}

const ENCRYPTION_PREFIXES: &[(&[u8], Encryption)] = &[
    (b"$NACL", Encryption::Nacl),
    (b"$ANSIBLE_VAULT", Encryption::AnsibleVault),
    (b"gAAAAA", Encryption::Fernet),
];

/// Why a key file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A name leads out of the wallet's directory.
    #[error("`{name}` is not a wallet or hotkey name: it is empty or a path")]
    BadName {
        /// The name given.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the key file `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is too long to be a key file.
    #[error("`{path}` is longer than a key file, {KEY_FILE_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is encrypted.
    #[error("`{path}` is encrypted ({format}); only plain hotkey files can be read")]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// How.
        format: Encryption,
    },
    /// The file is not a JSON object of strings.
    #[error("`{path}` is not a key file: line {line}, column {column}")]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where the error was noticed.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// The file names another signature scheme.
    #[error("`{path}` holds a key of scheme `{scheme}`; only sr25519 is supported")]
    OtherScheme {
        /// The file.
        path: PathBuf,
        /// The scheme it names.
        scheme: String,
    },
    /// A field has no key in it.
    #[error("`{field}` in `{path}` is malformed")]
    BadField {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// The file has no secret.
    #[error("`{path}` has no secret, only a public key")]
    NoSecret {
        /// The file.
        path: PathBuf,
    },
    /// The secret belongs to another key than the file names.
    #[error("the secret in `{path}` belongs to {derived}, but `{field}` names {named}")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The field that disagrees.
        field: &'static str,
        /// The key it names.
        named: Hotkey,
        /// The key of the secret.
        derived: Hotkey,
    },
}

/// Something about a key file that its operator should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileWarning {
    /// Others can read the file.
    #[error("`{path}` has mode {mode:o}; expected {MODE_OWNER_ONLY:o}")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The wallet's coldkey lies on this machine.
    #[error("the coldkey `{path}` lies on this machine; a node does not need it")]
    ColdkeyPresent {
        /// The coldkey's file.
        path: PathBuf,
    },
}

/// A hotkey read from its file.
#[derive(Clone, Debug)]
pub struct HotkeyFile {
    keypair: Keypair,
    facts: HotkeyFacts,
}

/// What may be shown about a hotkey's file; nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotkeyFacts {
    /// The key; its text is the SS58 address.
    pub hotkey: Hotkey,
    /// The signature scheme, always `sr25519`.
    pub scheme: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What its operator should know.
    pub warnings: Vec<KeyFileWarning>,
}

impl WalletPath {
    /// The hotkey's file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::BadName`] if one of the names is not a plain file name.
    pub fn file(&self) -> Result<PathBuf, KeyFileError> {
        Ok(self.wallet()?.join("hotkeys").join(plain_name(&self.hotkey)?))
    }

    fn wallet(&self) -> Result<PathBuf, KeyFileError> {
        Ok(self.root.join(plain_name(&self.name)?))
    }
}

fn plain_name(name: &str) -> Result<&str, KeyFileError> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(KeyFileError::BadName { name: name.to_owned() }),
    }
}

impl HotkeyFile {
    /// Reads a hotkey. Reads one file and looks whether another exists; writes nothing.
    ///
    /// # Errors
    ///
    /// One variant of [`KeyFileError`] per step, in their order.
    pub fn read(wallet: &WalletPath) -> Result<Self, KeyFileError> {
        let path = wallet.file()?;
        let (bytes, mode) = read_bounded(&path)?;
        let keypair = parse(&path, &bytes)?;
        let mut warnings = Vec::new();
        if mode & MODE_OF_OTHERS != 0 {
            warnings.push(KeyFileWarning::Mode { path: path.clone(), mode });
        }
        let coldkey = wallet.wallet()?.join("coldkey");
        if coldkey.exists() {
            warnings.push(KeyFileWarning::ColdkeyPresent { path: coldkey });
        }
        let hotkey = keypair.public();
        let facts = HotkeyFacts { hotkey, scheme: "sr25519", path, mode, warnings };
        Ok(Self { keypair, facts })
    }

    /// The key.
    #[must_use]
    pub fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    /// What may be shown.
    #[must_use]
    pub fn facts(&self) -> &HotkeyFacts {
        &self.facts
    }
}

fn read_bounded(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & MODE_BITS;
    // Allocated once: a vector that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ_BUFFER_BYTES));
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(KeyFileError::TooLong { path: path.to_owned() });
    }
    Ok((bytes, mode))
}

/// The file's fields. `accountId` repeats `publicKey` and is not looked at.
#[derive(Deserialize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase")]
struct Fields {
    public_key: Option<String>,
    private_key: Option<String>,
    secret_phrase: Option<String>,
    secret_seed: Option<String>,
    ss58_address: Option<String>,
    /// Newer wallets mark the scheme: by name, or by number (1 is sr25519).
    #[serde(alias = "crypto_type", alias = "keyType", alias = "scheme")]
    #[zeroize(skip)]
    crypto_type: Option<serde_json::Value>,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Keypair, KeyFileError> {
    let format = ENCRYPTION_PREFIXES.iter().find(|(prefix, _)| bytes.starts_with(prefix));
    if let Some((_, format)) = format {
        return Err(KeyFileError::Encrypted { path: path.to_owned(), format: *format });
    }
    // The parser's own message may quote the file, so only the place is kept.
    let fields: Fields = serde_json::from_slice(bytes).map_err(|error| KeyFileError::NotJson {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })?;
    check_scheme(path, &fields)?;
    let keypair = secret_of(path, &fields)?;
    check_public(path, &fields, keypair.public())?;
    Ok(keypair)
}

fn check_scheme(path: &Path, fields: &Fields) -> Result<(), KeyFileError> {
    let is_sr25519 = match &fields.crypto_type {
        None | Some(serde_json::Value::Null) => true,
        Some(serde_json::Value::String(name)) => name.eq_ignore_ascii_case("sr25519"),
        Some(other) => other.as_u64() == Some(1),
    };
    if is_sr25519 {
        return Ok(());
    }
    let scheme = fields.crypto_type.as_ref().map(ToString::to_string).unwrap_or_default();
    Err(KeyFileError::OtherScheme { path: path.to_owned(), scheme })
}

fn secret_of(path: &Path, fields: &Fields) -> Result<Keypair, KeyFileError> {
    let bad = |field| move |NotASecret| KeyFileError::BadField { path: path.to_owned(), field };
    if let Some(phrase) = non_empty(&fields.secret_phrase) {
        return Keypair::from_phrase(phrase).map_err(bad("secretPhrase"));
    }
    if let Some(seed) = non_empty(&fields.secret_seed) {
        return secret_from_hex::<SEED_BYTES>(seed).map_err(bad("secretSeed"));
    }
    if let Some(key) = non_empty(&fields.private_key) {
        return secret_from_hex::<EXPANDED_SECRET_BYTES>(key).map_err(bad("privateKey"));
    }
    Err(KeyFileError::NoSecret { path: path.to_owned() })
}

fn secret_from_hex<const N: usize>(text: &str) -> Result<Keypair, NotASecret> {
    let mut bytes = Zeroizing::new([0u8; N]);
    let plain = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(plain, bytes.as_mut_slice()).map_err(|_| NotASecret)?;
    Keypair::from_secret_bytes(bytes.as_slice())
}

fn check_public(path: &Path, fields: &Fields, derived: Hotkey) -> Result<(), KeyFileError> {
    let bad = |field| KeyFileError::BadField { path: path.to_owned(), field };
    let mut named: Vec<(&'static str, Hotkey)> = Vec::new();
    if let Some(text) = non_empty(&fields.public_key) {
        let mut key = [0u8; 32];
        let plain = text.strip_prefix("0x").unwrap_or(text);
        hex::decode_to_slice(plain, &mut key).map_err(|_| bad("publicKey"))?;
        named.push(("publicKey", Hotkey(key)));
    }
    if let Some(text) = non_empty(&fields.ss58_address) {
        named.push(("ss58Address", text.parse().map_err(|_| bad("ss58Address"))?));
    }
    match named.into_iter().find(|(_, key)| *key != derived) {
        None => Ok(()),
        Some((field, named)) => {
            Err(KeyFileError::OtherKey { path: path.to_owned(), field, named, derived })
        }
    }
}

fn non_empty(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "wallet_tests.rs"]
mod tests;
