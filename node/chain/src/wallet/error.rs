//! Why a key file gives no key, and what its operator should know about one that does.

use std::io;
use std::path::PathBuf;

use node_core::id::Hotkey;

use super::cipher::{Encryption, NACL_MEMORY_MIB};
use super::{KEY_FILE_BYTES_MAX, MODE_OWNER_ONLY};

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
    /// The file is encrypted, and no password was given.
    #[error("`{path}` is encrypted ({format}) and there is no password for it")]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// How.
        format: Encryption,
    },
    /// The password does not open the file. No format tells a wrong password from a file whose
    /// encrypted bytes were changed.
    #[error("the password does not open `{path}` ({format})")]
    WrongPassword {
        /// The file.
        path: PathBuf,
        /// How it is encrypted.
        format: Encryption,
    },
    /// The file begins like an encrypted one and is none, whatever the password.
    #[error("`{path}` begins like a key file encrypted with {format}, but {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it begins like.
        format: Encryption,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A vault of another version or cipher.
    #[error(
        "`{path}` is an Ansible Vault of version and cipher `{header}`; known are 1.1 and 1.2 \
             with AES256"
    )]
    OtherVault {
        /// The file.
        path: PathBuf,
        /// What its first line says.
        header: String,
    },
    /// Too little memory is left to derive the key.
    #[error("decrypting `{path}` takes {NACL_MEMORY_MIB} MiB of memory, and {} left",
            left(.free_mib))]
    MemoryShort {
        /// The file.
        path: PathBuf,
        /// What is left, where the system says.
        free_mib: Option<u64>,
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
    /// The file is what polkadot.js and mobile wallets export.
    #[error("`{path}` is an export of polkadot.js, which is another format")]
    Exported {
        /// The file.
        path: PathBuf,
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
    /// The file holds the coldkey of its own wallet.
    #[error(
        "`{path}` holds the wallet's coldkey, as `coldkeypub.txt` says; a node signs with a hotkey"
    )]
    Coldkey {
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

fn left(free_mib: &Option<u64>) -> String {
    free_mib.map_or_else(|| "not enough is".to_owned(), |mib| format!("{mib} MiB are"))
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
    /// A coldkey lies on this machine, encrypted or not: it is not looked into.
    #[error("the coldkey `{path}` lies on this machine; a node does not need it")]
    ColdkeyPresent {
        /// The coldkey's file.
        path: PathBuf,
    },
    /// The file beside the hotkey, with its public half, names another key.
    #[error("`{path}` names {named}, but the hotkey is {hotkey}")]
    OtherPublicFile {
        /// The public file.
        path: PathBuf,
        /// The key it names.
        named: Hotkey,
        /// The key of the hotkey's file.
        hotkey: Hotkey,
    },
}
