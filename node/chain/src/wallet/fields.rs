//! What stands in a key file: a JSON object, decrypted where it was encrypted.
//!
//! Bittensor's wallets write `accountId`, `publicKey`, `privateKey`, `secretPhrase`, `secretSeed`,
//! `ss58Address` and, since they know two schemes, `cryptoType`: 0 for ed25519, 1 for sr25519, more
//! for accounts behind a hash. A file without it is sr25519.

use std::path::Path;

use node_core::id::Hotkey;
use serde::de::IgnoredAny;
use serde::Deserialize;
use serde_json::Value;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::error::KeyFileError;
use crate::keypair::{Keypair, NotASecret, EXPANDED_SECRET_BYTES, SEED_BYTES};

/// The file's fields. `accountId` repeats `publicKey` and is not looked at.
#[derive(Deserialize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase")]
struct Fields {
    public_key: Option<String>,
    private_key: Option<String>,
    secret_phrase: Option<String>,
    secret_seed: Option<String>,
    /// Some old files have a space before the name.
    #[serde(alias = " ss58Address")]
    ss58_address: Option<String>,
    /// The scheme: a number, in some tools' files a text with the number.
    #[zeroize(skip)]
    crypto_type: Option<Value>,
    /// Development versions of the wallet name the scheme too.
    #[zeroize(skip)]
    signing_scheme: Option<Value>,
    /// What only accounts behind a hash have.
    #[zeroize(skip)]
    hashed_descriptor: Option<IgnoredAny>,
    /// What only exports of polkadot.js have.
    #[zeroize(skip)]
    encoded: Option<IgnoredAny>,
}

/// The key in `content`. `path` is for messages only.
///
/// # Errors
///
/// One variant of [`KeyFileError`] per step, in their order.
pub(super) fn parse(path: &Path, content: &[u8]) -> Result<Keypair, KeyFileError> {
    let fields = fields(path, content)?;
    if fields.encoded.is_some() {
        return Err(KeyFileError::Exported { path: path.to_owned() });
    }
    check_scheme(path, &fields)?;
    let keypair = secret_of(path, &fields)?;
    check_public(path, &fields, keypair.public())?;
    Ok(keypair)
}

/// The key that a file with the public half names. `None` if it names none.
pub(super) fn parse_public(content: &[u8]) -> Option<Hotkey> {
    let fields = fields(Path::new(""), content).ok()?;
    check_scheme(Path::new(""), &fields).ok()?;
    non_empty(&fields.ss58_address)?.parse().ok()
}

fn fields(path: &Path, content: &[u8]) -> Result<Fields, KeyFileError> {
    // The parser's own message may quote the file, so only the place is kept.
    serde_json::from_slice(content).map_err(|error| KeyFileError::NotJson {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

fn check_scheme(path: &Path, fields: &Fields) -> Result<(), KeyFileError> {
    let other = |scheme: String| KeyFileError::OtherScheme { path: path.to_owned(), scheme };
    if fields.hashed_descriptor.is_some() {
        return Err(other("account behind a hash".to_owned()));
    }
    for marked in [&fields.crypto_type, &fields.signing_scheme] {
        match marked.as_ref().map(scheme_name) {
            None => {}
            Some(name) if name == "sr25519" => {}
            Some(name) => return Err(other(name)),
        }
    }
    Ok(())
}

/// The scheme by name where its number is known, else as it stands there.
fn scheme_name(marked: &Value) -> String {
    let text = match marked {
        Value::String(text) => text.trim().to_lowercase(),
        other => other.to_string(),
    };
    match text.as_str() {
        "0" => "ed25519".to_owned(),
        "1" => "sr25519".to_owned(),
        // What stands there could be anything; a name is short.
        other => other.chars().take(32).collect(),
    }
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
