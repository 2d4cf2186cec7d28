//! The three ways in which Bittensor's wallets have encrypted key files.
//!
//! | first bytes | key from the password | then |
//! |---|---|---|
//! | `$NACL` | Argon2i, 8 passes over 512 MiB, one fixed salt | XSalsa20-Poly1305 |
//! | `$ANSIBLE_VAULT` | PBKDF2-SHA256, 10,000 rounds, a salt per file | HMAC-SHA256, AES-256-CTR |
//! | `gAAAAA` | PBKDF2-SHA256, 10,000,000 rounds, one fixed salt | Fernet |
//!
//! Each is authenticated, so what opens is what was sealed. The cost of a key is fixed here and
//! never read from the file; nothing is allocated that is longer than the file itself, beside the
//! memory of Argon2.

mod ansible;
mod fernet;
mod memory;
mod nacl;

use std::num::NonZeroU32;

use ring::pbkdf2::{derive, PBKDF2_HMAC_SHA256};
use zeroize::Zeroizing;

use super::password::Password;

pub(super) use nacl::MEMORY_MIB as NACL_MEMORY_MIB;

/// How a key file is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `$NACL`: secretbox with a key from Argon2i. What wallets write today.
    Nacl,
    /// `$ANSIBLE_VAULT`: what wallets wrote before.
    AnsibleVault,
    /// `gAAAAA`: Fernet, what the first wallets wrote.
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

impl Encryption {
    /// The format that a file with these first bytes is in; `None` if it is not encrypted.
    pub(super) fn of(content: &[u8]) -> Option<Self> {
        const PREFIXES: &[(&[u8], Encryption)] = &[
            (nacl::PREFIX, Encryption::Nacl),
            (ansible::PREFIX, Encryption::AnsibleVault),
            (fernet::PREFIX, Encryption::Fernet),
        ];
        let found = PREFIXES.iter().find(|(prefix, _)| content.starts_with(prefix));
        found.map(|(_, format)| *format)
    }

    /// What decrypting takes, for whoever waits for it.
    #[must_use]
    pub fn cost(self) -> &'static str {
        match self {
            Self::Nacl => "a few seconds and 512 MiB of memory",
            Self::AnsibleVault => "less than a second",
            Self::Fernet => "several seconds",
        }
    }

    /// Decrypts `sealed`, which begins as the format does. Takes what [`Self::cost`] says.
    pub(super) fn open(self, sealed: &[u8], password: &Password) -> Result<Plain, NotOpened> {
        match self {
            Self::Nacl => nacl::open(sealed, password),
            Self::AnsibleVault => ansible::open(sealed, password),
            Self::Fernet => fernet::open(sealed, password),
        }
    }
}

/// What was encrypted.
pub(super) type Plain = Zeroizing<Vec<u8>>;

/// Why a file does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// The password is wrong, or the encrypted bytes were changed.
    WrongPassword,
    /// The file is not of its format, whatever the password.
    Damaged(&'static str),
    /// A vault of another version or cipher.
    OtherVault(String),
    /// Too little memory is left.
    MemoryShort {
        /// What is left, where the system says.
        free_mib: Option<u64>,
    },
}

/// A number of rounds, checked when this is compiled, as the library wants it.
const fn rounds(count: u32) -> NonZeroU32 {
    match NonZeroU32::new(count) {
        Some(count) => count,
        None => panic!("no rounds"),
    }
}

/// Fills `keys` from a password, by PBKDF2 with HMAC-SHA256.
fn stretch(password: &Password, salt: &[u8], rounds: NonZeroU32, keys: &mut [u8]) {
    derive(PBKDF2_HMAC_SHA256, rounds, salt, password.bytes(), keys);
}

#[cfg(test)]
#[path = "cipher/tests.rs"]
mod tests;
