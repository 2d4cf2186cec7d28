//! `gAAAAA`: a Fernet token, base64 of version, time, initial vector, AES-128-CBC and HMAC.
//!
//! Wallets before 2023 wrote it. The time is when it was written, and does not matter.

use std::num::NonZeroU32;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut as _, KeyIvInit as _};
use base64::Engine as _;
use ring::hmac;
use zeroize::Zeroizing;

use super::super::password::Password;
use super::{rounds, stretch, NotOpened, Plain};

pub(super) const PREFIX: &[u8] = b"gAAAAA";

const ROUNDS: NonZeroU32 = rounds(10_000_000);

/// Bittensor's salt, the same for every file: `keyfile.rs` of btwallet, and the wallets before it.
const SALT: &[u8] = b"Iguesscyborgslikemyselfhaveatendencytobeparanoidaboutourorigins";

const VERSION: u8 = 0x80;
const TIME_BYTES: usize = 8;
const BLOCK_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
/// Bytes of the key for the HMAC, and of the one for AES-128.
const KEY_BYTES: usize = 16;

/// Keys of a password, wiped when they go.
pub(super) type Keys = Zeroizing<[u8; KEY_BYTES + KEY_BYTES]>;

/// Decrypts `sealed`. The file is looked at before the seconds are spent.
pub(super) fn open(sealed: &[u8], password: &Password) -> Result<Plain, NotOpened> {
    let token = Token::decode(sealed)?;
    let keys = derive(password);
    token.unseal(&keys)
}

pub(super) fn derive(password: &Password) -> Keys {
    let mut keys = Zeroizing::new([0; KEY_BYTES + KEY_BYTES]);
    stretch(password, SALT, ROUNDS, keys.as_mut_slice());
    keys
}

/// A token of the right shape.
#[derive(Debug)]
pub(super) struct Token {
    bytes: Vec<u8>,
}

impl Token {
    pub(super) fn decode(sealed: &[u8]) -> Result<Self, NotOpened> {
        let bytes = base64::engine::general_purpose::URL_SAFE
            .decode(sealed.trim_ascii_end())
            .map_err(|_| NotOpened::Damaged("it is not base64"))?;
        let least = 1 + TIME_BYTES + BLOCK_BYTES + BLOCK_BYTES + TAG_BYTES;
        let blocks = bytes.len().checked_sub(least).map(|more| more % BLOCK_BYTES);
        match (bytes.first(), blocks) {
            (Some(&VERSION), Some(0)) => Ok(Self { bytes }),
            (Some(&VERSION), _) => Err(NotOpened::Damaged("it has a wrong length")),
            _ => Err(NotOpened::Damaged("its version is not Fernet's")),
        }
    }

    pub(super) fn unseal(&self, keys: &Keys) -> Result<Plain, NotOpened> {
        let too_short = || NotOpened::Damaged("it has a wrong length");
        let (for_tag, for_aes) = keys.split_at(KEY_BYTES);
        let (signed, tag) = self.bytes.split_last_chunk::<TAG_BYTES>().ok_or_else(too_short)?;
        let tag_key = hmac::Key::new(hmac::HMAC_SHA256, for_tag);
        hmac::verify(&tag_key, signed, tag).map_err(|_| NotOpened::WrongPassword)?;
        let body = signed.get(1 + TIME_BYTES..).ok_or_else(too_short)?;
        let (vector, encrypted) = body.split_first_chunk::<BLOCK_BYTES>().ok_or_else(too_short)?;
        let mut plain = Zeroizing::new(encrypted.to_vec());
        let cipher = cbc::Decryptor::<aes::Aes128>::new(for_aes.into(), vector.into());
        let length = cipher
            .decrypt_padded_mut::<Pkcs7>(&mut plain)
            .map_err(|_| NotOpened::Damaged("its content is not padded"))?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}
