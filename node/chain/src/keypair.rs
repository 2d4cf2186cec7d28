//! An sr25519 key on its way to signatures, and the check of others' signatures.
//!
//! Signatures are schnorrkel's with the context `substrate`, over the message as it is. The secret
//! is wiped from memory when the last clone is dropped, and no trait of [`Keypair`] shows it.

use std::fmt;

use node_core::id::{Hotkey, HotkeySigner, Signature, SignatureVerifier};
use sp_core::{sr25519, Pair as _};

/// Bytes of a mini secret (`secretSeed`).
pub(crate) const SEED_BYTES: usize = 32;
/// Bytes of an expanded secret, key then nonce (`privateKey`).
pub(crate) const EXPANDED_SECRET_BYTES: usize = 64;

/// A text or bytes that no key can be made of. Says nothing about their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an sr25519 secret")]
pub struct NotASecret;

/// A secret key with its public half. Prints as its address only.
#[derive(Clone)]
pub struct Keypair(sr25519::Pair);

impl Keypair {
    /// The key of a BIP-39 phrase in English, without password and derivation.
    ///
    /// # Errors
    ///
    /// [`NotASecret`] if a word or the checksum is wrong.
    pub fn from_phrase(phrase: &str) -> Result<Self, NotASecret> {
        sr25519::Pair::from_phrase(phrase, None).map(|(pair, _)| Self(pair)).map_err(|_| NotASecret)
    }

    /// The key of a seed of 32 bytes, or of an expanded secret of 64 (key, then nonce).
    ///
    /// # Errors
    ///
    /// [`NotASecret`] for any other length, or if the bytes are no scalar of the curve.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, NotASecret> {
        sr25519::Pair::from_seed_slice(bytes).map(Self).map_err(|_| NotASecret)
    }

    /// The key of a secret URI, for example the development key `//Alice`, which everyone knows.
    ///
    /// # Errors
    ///
    /// [`NotASecret`] if the text is not a secret URI.
    pub fn from_uri(uri: &str) -> Result<Self, NotASecret> {
        sr25519::Pair::from_string(uri, None).map(Self).map_err(|_| NotASecret)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> Hotkey {
        Hotkey(self.0.public().0)
    }

    /// Signs a message as it is, in 64 bytes.
    #[must_use]
    pub fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).0
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.public())
    }
}

impl HotkeySigner for Keypair {
    fn hotkey(&self) -> Hotkey {
        self.public()
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.sign_raw(message))
    }
}

/// Checks sr25519 signatures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sr25519Verifier;

impl SignatureVerifier for Sr25519Verifier {
    fn is_valid(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        sr25519::Pair::verify(
            &sr25519::Signature::from_raw(signature.0),
            message,
            &sr25519::Public::from_raw(hotkey.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_its_key_only() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let bob = Keypair::from_uri("//Bob").unwrap();
        let signature = HotkeySigner::sign(&alice, b"lease");
        let check = Sr25519Verifier;
        assert!(check.is_valid(&alice.hotkey(), b"lease", &signature));
        assert!(!check.is_valid(&alice.hotkey(), b"leash", &signature));
        assert!(!check.is_valid(&bob.hotkey(), b"lease", &signature));
        assert!(!check.is_valid(&Hotkey([0xff; 32]), b"lease", &signature));
    }

    #[test]
    fn a_keypair_prints_its_address_and_nothing_else() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        assert_eq!(
            format!("{alice:?}"),
            "Keypair(5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY)"
        );
    }

    #[test]
    fn bytes_of_the_wrong_length_are_no_secret() {
        for len in [0, 31, 33, 63, 65] {
            assert_eq!(Keypair::from_secret_bytes(&vec![7; len]).unwrap_err(), NotASecret);
        }
    }
}
