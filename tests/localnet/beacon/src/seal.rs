//! Sealing for a round, and opening with its signature.
//!
//! On the wire, as the real chain reads it: U (96 bytes), then four fields, each with its length as
//! 64 bits, small end first: V (32), W (32), body, cipher suite. The body is again two such fields:
//! the AES-GCM ciphertext with its tag, and the nonce (12). The library's own frame has V and W
//! without lengths. Its decoder trusts every length and aborts the process over a hostile one, so
//! all of them are checked here before it sees a byte.

use crate::message;
use ark_bls12_381::{G1Projective, G2Projective};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_std::rand::{rngs::StdRng, Rng, SeedableRng};
use thiserror::Error;
use timelock::{
    block_ciphers::AESGCMBlockCipherProvider,
    engines::drand::TinyBLS381,
    ibe::fullident::Identity,
    tlock::{tld, tle, Error as TimelockError, TLECiphertext},
};

const POINT_BYTES: usize = 96;
const HASH_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const LENGTH_BYTES: usize = 8;
/// What sealing adds to a message.
#[cfg(test)]
pub(crate) const OVERHEAD_BYTES: usize = 244;

/// Why something does not open.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OpenError {
    /// A length is wrong, or bytes are missing.
    #[error("the ciphertext is not framed as the chain expects")]
    Frame,
    /// U is not a point of G2.
    #[error("the ciphertext's point is not one of G2")]
    Point,
    /// Not a point of G1.
    #[error("the signature is not a point of G1")]
    Signature,
    /// Sealed for another round, or damaged.
    #[error("the signature does not fit: another round, another beacon or a damaged ciphertext")]
    WrongRound,
    /// The body fails its authentication.
    #[error("the message inside is damaged")]
    Body,
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SealError {
    /// Not a point of G2.
    #[error("the beacon's public key is not a point of G2")]
    PublicKey,
    /// The message is too long for its cipher.
    #[error("the message cannot be sealed")]
    Message,
}

/// Takes so many bytes from the front.
fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (front, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(front)
}

/// Takes a field that begins with its length.
fn take_field<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take(bytes, LENGTH_BYTES)?.try_into().ok().map(u64::from_le_bytes)?;
    take(bytes, usize::try_from(length).ok()?)
}

/// From the chain's frame to the library's; `None` if a length is wrong. What follows the last
/// field is ignored, as on the real chain.
fn library_frame(wire: &[u8]) -> Option<Vec<u8>> {
    let rest = &mut &wire[..];
    let point = take(rest, POINT_BYTES)?;
    let v = take_field(rest).filter(|field| field.len() == HASH_BYTES)?;
    let w = take_field(rest).filter(|field| field.len() == HASH_BYTES)?;
    let body = take_field(rest)?;
    let suite = take_field(rest)?;

    let inside = &mut &body[..];
    take_field(inside)?;
    take_field(inside).filter(|nonce| nonce.len() == NONCE_BYTES)?;

    let length = |field: &[u8]| u64::try_from(field.len()).ok().map(u64::to_le_bytes);
    let (body_length, suite_length) = (length(body)?, length(suite)?);
    Some([point, v, w, &body_length, body, &suite_length, suite].concat())
}

/// From the library's frame to the chain's.
fn chain_frame(library: &[u8]) -> Option<Vec<u8>> {
    let rest = &mut &library[..];
    let point = take(rest, POINT_BYTES)?;
    let v = take(rest, HASH_BYTES)?;
    let w = take(rest, HASH_BYTES)?;
    let length = u64::try_from(HASH_BYTES).ok()?.to_le_bytes();
    Some([point, &length, v, &length, w, *rest].concat())
}

/// Opens what was sealed for a round.
///
/// - `ciphertext`: any bytes at all; hostile ones are refused.
/// - `signature`: the round's, 48 bytes.
///
/// # Errors
///
/// [`OpenError`], one per step.
pub fn open(ciphertext: &[u8], signature: &[u8]) -> Result<Vec<u8>, OpenError> {
    let framed = library_frame(ciphertext).ok_or(OpenError::Frame)?;
    let sealed = TLECiphertext::<TinyBLS381>::deserialize_compressed(&framed[..])
        .map_err(|_| OpenError::Point)?;
    let signature =
        G1Projective::deserialize_compressed(signature).map_err(|_| OpenError::Signature)?;
    tld::<TinyBLS381, AESGCMBlockCipherProvider>(sealed, signature).map_err(|error| match error {
        TimelockError::InvalidSignature => OpenError::WrongRound,
        _ => OpenError::Body,
    })
}

/// Seals a message for a round of the beacon with this public key, in the chain's frame.
///
/// - `seed`: what the randomness is derived from. The same seed gives the same bytes, and whoever
///   knows it can open them: for tests.
///
/// # Errors
///
/// [`SealError`].
pub fn seal(
    public_key: &[u8],
    round: u64,
    message_bytes: &[u8],
    seed: [u8; 32],
) -> Result<Vec<u8>, SealError> {
    let key = G2Projective::deserialize_compressed(public_key).map_err(|_| SealError::PublicKey)?;
    let mut random = StdRng::from_seed(seed);
    let body_key: [u8; 32] = random.gen();
    let identity = Identity::new(b"", &message(round));
    let sealed = tle::<TinyBLS381, AESGCMBlockCipherProvider, _>(
        key,
        body_key,
        message_bytes,
        identity,
        random,
    )
    .map_err(|_| SealError::Message)?;
    let mut library = Vec::new();
    sealed.serialize_compressed(&mut library).map_err(|_| SealError::Message)?;
    chain_frame(&library).ok_or(SealError::Message)
}
