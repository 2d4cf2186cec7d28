//! `$NACL`: 24 bytes of nonce, then a secretbox.
//!
//! The key is libsodium's `crypto_pwhash` with Argon2i 1.3 at its limits "sensitive".

use dryoc::classic::crypto_pwhash::{crypto_pwhash, PasswordHashAlgorithm};
use dryoc::classic::crypto_secretbox::crypto_secretbox_open_easy;
use zeroize::Zeroizing;

use super::super::password::Password;
use super::{memory, NotOpened, Plain};

pub(super) const PREFIX: &[u8] = b"$NACL";

/// Memory of the key derivation, `MEMLIMIT_SENSITIVE` of libsodium.
pub(in crate::wallet) const MEMORY_MIB: u64 = 512;
const MEMORY_BYTES: usize = 512 << 20;
const _: () = assert!(MEMORY_BYTES as u64 == MEMORY_MIB << 20);

/// Memory that has to be left beside it. Lower: a machine at its limit kills the node in the midst
/// of it, without a word. Higher: a small machine is refused that could do it.
const MEMORY_SPARE_MIB: u64 = 32;

/// `OPSLIMIT_SENSITIVE` of libsodium's Argon2i: passes over the memory.
const PASSES: u64 = 8;

/// Bittensor's salt, the same for every file.
const SALT: [u8; 16] = [
    0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1,
];

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// A key, wiped when it goes.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Decrypts `sealed`. The file is looked at before the seconds are spent.
pub(super) fn open(sealed: &[u8], password: &Password) -> Result<Plain, NotOpened> {
    let parts = split(sealed)?;
    let free_mib = memory::free_mib();
    if free_mib.is_some_and(|free| free < MEMORY_MIB + MEMORY_SPARE_MIB) {
        return Err(NotOpened::MemoryShort { free_mib });
    }
    let key = derive(password).ok_or(NotOpened::MemoryShort { free_mib: None })?;
    unseal(&parts, &key)
}

/// Nonce and secretbox of a file.
pub(super) struct Parts<'a> {
    nonce: &'a [u8; NONCE_BYTES],
    secretbox: &'a [u8],
}

pub(super) fn split(sealed: &[u8]) -> Result<Parts<'_>, NotOpened> {
    let body = sealed.strip_prefix(PREFIX);
    let parts = body.and_then(|body| body.split_first_chunk::<NONCE_BYTES>());
    match parts {
        Some((nonce, secretbox)) if secretbox.len() >= TAG_BYTES => Ok(Parts { nonce, secretbox }),
        _ => Err(NotOpened::Damaged("it is too short")),
    }
}

/// The key of a password; `None` if the memory for it cannot be had, the only way to fail with
/// limits and lengths that are fixed.
pub(super) fn derive(password: &Password) -> Option<Key> {
    let mut key = Key::default();
    let algorithm = PasswordHashAlgorithm::Argon2i13;
    let bytes = password.bytes();
    crypto_pwhash(key.as_mut_slice(), bytes, &SALT, PASSES, MEMORY_BYTES, algorithm).ok()?;
    Some(key)
}

pub(super) fn unseal(parts: &Parts<'_>, key: &Key) -> Result<Plain, NotOpened> {
    let length = parts.secretbox.len().saturating_sub(TAG_BYTES);
    let mut plain = Zeroizing::new(vec![0; length]);
    crypto_secretbox_open_easy(&mut plain, parts.secretbox, parts.nonce, key)
        .map_err(|_| NotOpened::WrongPassword)?;
    Ok(plain)
}
