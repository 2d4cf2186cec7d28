//! `$ANSIBLE_VAULT`: a first line with version and cipher, then hexadecimal digits in lines of 80.
//!
//! The digits spell three lines, each of hexadecimal digits again: salt, HMAC, encrypted bytes.
//! Version 1.2 differs by a label in the first line.

use std::num::NonZeroU32;

use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use ring::hmac;
use zeroize::Zeroizing;

use super::super::password::Password;
use super::{rounds, stretch, NotOpened, Plain};

pub(super) const PREFIX: &[u8] = b"$ANSIBLE_VAULT";

const ROUNDS: NonZeroU32 = rounds(10_000);

/// Bytes of the key for AES-256, and of the one for the HMAC.
const KEY_BYTES: usize = 32;
/// Bytes of AES's block, and of the counter's first value.
const BLOCK_BYTES: usize = 16;

/// Longest first line that is repeated in a message.
const HEADER_CHARS_MAX: usize = 40;

const NOT_HEX: NotOpened = NotOpened::Damaged("its lines are not hexadecimal digits");
const NOT_THREE: NotOpened = NotOpened::Damaged("it has not salt, HMAC and content");

/// Keys of one file, wiped when they go.
pub(super) type Keys = Zeroizing<[u8; KEY_BYTES + KEY_BYTES + BLOCK_BYTES]>;

/// Decrypts `sealed`.
pub(super) fn open(sealed: &[u8], password: &Password) -> Result<Plain, NotOpened> {
    let parts = split(sealed)?;
    let keys = derive(&parts, password);
    unseal(parts, &keys)
}

/// What a vault consists of.
#[derive(Debug)]
pub(super) struct Parts {
    salt: Vec<u8>,
    tag: Vec<u8>,
    encrypted: Plain,
}

pub(super) fn split(sealed: &[u8]) -> Result<Parts, NotOpened> {
    let text = std::str::from_utf8(sealed).map_err(|_| NotOpened::Damaged("it is not text"))?;
    let (header, body) = text.split_once('\n').unwrap_or((text, ""));
    check_header(header)?;
    let digits: String = body.split_ascii_whitespace().collect();
    let inner = hex::decode(digits).map_err(|_| NOT_HEX)?;
    let mut lines = inner.split(|byte| *byte == b'\n');
    let mut next = || hex::decode(lines.next().ok_or(NOT_THREE)?).map_err(|_| NOT_HEX);
    let parts = Parts { salt: next()?, tag: next()?, encrypted: Zeroizing::new(next()?) };
    // An empty last line is one line break at the end.
    match lines.next() {
        None | Some([]) => Ok(parts),
        Some(_) => Err(NOT_THREE),
    }
}

fn check_header(header: &str) -> Result<(), NotOpened> {
    let mut fields = header.trim_end().split(';').skip(1);
    match (fields.next(), fields.next()) {
        (Some("1.1" | "1.2"), Some("AES256")) => Ok(()),
        _ => {
            let rest = header.trim_start_matches("$ANSIBLE_VAULT").trim_matches(';').trim();
            Err(NotOpened::OtherVault(rest.chars().take(HEADER_CHARS_MAX).collect()))
        }
    }
}

pub(super) fn derive(parts: &Parts, password: &Password) -> Keys {
    let mut keys = Zeroizing::new([0; KEY_BYTES + KEY_BYTES + BLOCK_BYTES]);
    stretch(password, &parts.salt, ROUNDS, keys.as_mut_slice());
    keys
}

pub(super) fn unseal(parts: Parts, keys: &Keys) -> Result<Plain, NotOpened> {
    let (for_aes, rest) = keys.split_at(KEY_BYTES);
    let (for_tag, counter) = rest.split_at(KEY_BYTES);
    let tag_key = hmac::Key::new(hmac::HMAC_SHA256, for_tag);
    hmac::verify(&tag_key, &parts.encrypted, &parts.tag).map_err(|_| NotOpened::WrongPassword)?;
    let mut plain = parts.encrypted;
    ctr::Ctr128BE::<aes::Aes256>::new(for_aes.into(), counter.into()).apply_keystream(&mut plain);
    let padding = plain.last().copied().map_or(0, usize::from);
    let length = plain.len().checked_sub(padding);
    match length {
        Some(length) if (1..=BLOCK_BYTES).contains(&padding) => {
            plain.truncate(length);
            Ok(plain)
        }
        _ => Err(NotOpened::Damaged("its content is not padded")),
    }
}
