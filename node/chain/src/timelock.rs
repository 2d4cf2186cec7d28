//! Timelock encryption to a drand round, in the bytes that subtensor's runtime decodes.
//!
//! What is encrypted to a round of a beacon can be opened by everybody who has the beacon's
//! signature of that round, and by nobody before. The cryptography (Boneh-Franklin identities on
//! BLS12-381, AES-256-GCM) is the crate `timelock`'s. Its newer release frames two fields
//! otherwise than the one in the runtime does, so this door adds and removes their lengths:
//!
//! ```text
//! crate    U 96 |      V 32 |      W 32 | len body          | len suite
//! chain    U 96 | 32 | V 32 | 32 | W 32 | len body          | len suite
//!                                             len text 12 nonce
//! ```
//!
//! Lengths are 64 bits, little-endian. The decoder believes them and *aborts the process* when it
//! cannot allocate what one of them asks for. So every length is checked here first, and nothing
//! is decoded that does not add up to exactly the bytes given.
//!
//! A commit with a wrong ciphertext is accepted by the chain and then never revealed, without an
//! event. [`self_test`] therefore runs before anything is signed.
//!
//! Not here: which round a commit is for (`node_core::epoch`), and where signatures of rounds come
//! from.

use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use node_core::epoch::BeaconSchedule;
use node_core::id::sha256;
use node_core::unit::UnixMs;
use rand::rngs::{OsRng, StdRng};
use rand::{RngCore as _, SeedableRng as _};
use timelock::block_ciphers::AESGCMBlockCipherProvider;
use timelock::engines::drand::TinyBLS381;
use timelock::engines::EngineBLS;
use timelock::ibe::fullident::Identity;
use timelock::tlock::{tld, tle, Error as TlockError, TLECiphertext};
use zeroize::Zeroizing;

/// Bytes that a ciphertext is longer than what it hides.
pub const OVERHEAD_BYTES: usize = 244;

/// The longest ciphertext that is made or opened. Lower: the chain takes longer commits. Higher:
/// nothing, since subnets refuse commits above it; 256 uids need 1313 bytes.
pub const CIPHERTEXT_BYTES_MAX: usize = 5000;

/// A first point, the lengths of the two fields after it, and the three lengths of the body.
const POINT_BYTES: usize = 96;
const FIELD_BYTES: usize = 32;
const LEN_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// The only cipher the chain knows. Not authenticated by the ciphertext.
const SUITE: &[u8; 8] = b"AES_GCM_";

const BEACON_KEY: &str = "beacon key";

type PublicKey = <TinyBLS381 as EngineBLS>::PublicKeyGroup;
type RoundSignature = <TinyBLS381 as EngineBLS>::SignatureGroup;

/// Why something was not encrypted, or not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimelockError {
    /// More than the chain takes.
    #[error("{len} bytes of ciphertext are more than the {CIPHERTEXT_BYTES_MAX} the chain takes")]
    TooLong {
        /// Bytes, of the ciphertext.
        len: usize,
    },
    /// The bytes are not framed as a ciphertext.
    #[error("not a timelock ciphertext: its {field} at byte {at} does not fit its {len} bytes")]
    Framing {
        /// Which length or mark.
        field: &'static str,
        /// Where it stands.
        at: usize,
        /// Bytes of the whole.
        len: usize,
    },
    /// The bytes are not a point of the curve's right subgroup, or the point at infinity.
    #[error("the {what} is not a usable point of the curve")]
    Point {
        /// The beacon key, the round's signature or the ciphertext's first field.
        what: &'static str,
    },
    /// The signature is another round's or another beacon's, or the ciphertext was altered.
    #[error("the signature does not open the ciphertext: another round's, or altered bytes")]
    NotOpened,
    /// The key was found, but the text under it was altered.
    #[error("the ciphertext was altered: its text does not authenticate")]
    Altered,
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness: {detail}")]
    Randomness {
        /// Its message.
        detail: String,
    },
    /// The cipher refused; with a payload below the limit this does not happen.
    #[error("the payload cannot be encrypted: {detail}")]
    Cipher {
        /// Which step.
        detail: String,
    },
    /// This build would lose every commit. It must not sign timelocked ones.
    #[error("timelock self-test: {finding}; this build must not send timelocked weights")]
    SelfTest {
        /// What went otherwise than the chain does it.
        finding: &'static str,
    },
}

/// A beacon's public key: a compressed point of G2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeaconKey(pub [u8; POINT_BYTES]);

impl TryFrom<&[u8]> for BeaconKey {
    type Error = TimelockError;

    /// Of 96 bytes; whether they are a point is seen when something is encrypted.
    fn try_from(bytes: &[u8]) -> Result<Self, TimelockError> {
        bytes.try_into().map(Self).map_err(|_| TimelockError::Point { what: BEACON_KEY })
    }
}

/// drand's quicknet, which subtensor's chains use unless their beacon configuration says otherwise:
/// when its rounds are published.
pub const QUICKNET_SCHEDULE: BeaconSchedule =
    BeaconSchedule { genesis: UnixMs(1_692_803_367_000), period_ms: 3_000 };

/// Quicknet's public key: that of the drand chain `52db9ba7...e971`, whose scheme is
/// `bls-unchained-g1-rfc9380`.
#[rustfmt::skip]
pub const QUICKNET_KEY: BeaconKey = BeaconKey([
    0x83, 0xcf, 0x0f, 0x28, 0x96, 0xad, 0xee, 0x7e, 0xb8, 0xb5, 0xf0, 0x1f, 0xca, 0xd3, 0x91, 0x22,
    0x12, 0xc4, 0x37, 0xe0, 0x07, 0x3e, 0x91, 0x1f, 0xb9, 0x00, 0x22, 0xd3, 0xe7, 0x60, 0x18, 0x3c,
    0x8c, 0x4b, 0x45, 0x0b, 0x6a, 0x0a, 0x6c, 0x3a, 0xc6, 0xa5, 0x77, 0x6a, 0x2d, 0x10, 0x64, 0x51,
    0x0d, 0x1f, 0xec, 0x75, 0x8c, 0x92, 0x1c, 0xc2, 0x2b, 0x0e, 0x17, 0xe6, 0x3a, 0xaf, 0x4b, 0xcb,
    0x5e, 0xd6, 0x63, 0x04, 0xde, 0x9c, 0xf8, 0x09, 0xbd, 0x27, 0x4c, 0xa7, 0x3b, 0xab, 0x4a, 0xf5,
    0xa6, 0xe9, 0xc7, 0x6a, 0x4b, 0xc0, 0x9e, 0x76, 0xea, 0xe8, 0x99, 0x1e, 0xf5, 0xec, 0xe4, 0x5a,
]);

/// Encrypts to a round.
///
/// - `beacon`: whose signature of `round` will open it.
/// - `payload`: any bytes, at most [`CIPHERTEXT_BYTES_MAX`] less [`OVERHEAD_BYTES`].
/// - Result: `payload.len() + OVERHEAD_BYTES` bytes as a `commit` argument carries them.
///
/// Twice the same gives different bytes: the key is the operating system's randomness.
///
/// # Errors
///
/// [`TimelockError::TooLong`], [`TimelockError::Point`] for a bad beacon key,
/// [`TimelockError::Randomness`].
///
/// Source: `reveal_commits` in subtensor, `pallets/subtensor/src/coinbase/reveal_commits.rs`.
pub fn encrypt(beacon: &BeaconKey, round: u64, payload: &[u8]) -> Result<Vec<u8>, TimelockError> {
    let len = payload.len().saturating_add(OVERHEAD_BYTES);
    if len > CIPHERTEXT_BYTES_MAX {
        return Err(TimelockError::TooLong { len });
    }
    let key: PublicKey = point(BEACON_KEY, &beacon.0)?;
    let mut seed = Zeroizing::new([0u8; 32]);
    let mut text_key = Zeroizing::new([0u8; 32]);
    fill_random(&mut *seed)?;
    fill_random(&mut *text_key)?;
    // Seeded rather than the system's own: that one can only panic when it has nothing to give.
    let rng = StdRng::from_seed(*seed);
    let ciphertext: TLECiphertext<TinyBLS381> =
        tle::<_, AESGCMBlockCipherProvider, _>(key, *text_key, payload, identity(round), rng)
            .map_err(|error| TimelockError::Cipher { detail: format!("{error:?}") })?;
    let mut framed = Vec::with_capacity(len);
    ciphertext
        .serialize_compressed(&mut framed)
        .map_err(|error| TimelockError::Cipher { detail: error.to_string() })?;
    to_wire(&framed)
}

/// Opens what was encrypted to a round.
///
/// - `ciphertext`: any bytes, hostile ones too; see the module's text.
/// - `signature`: the beacon's signature of the round, a compressed point of G1.
///
/// # Errors
///
/// [`TimelockError::TooLong`], [`TimelockError::Framing`] and [`TimelockError::Point`] if the
/// bytes are none; [`TimelockError::NotOpened`] and [`TimelockError::Altered`] if they do not open.
pub fn decrypt(ciphertext: &[u8], signature: &[u8; 48]) -> Result<Vec<u8>, TimelockError> {
    let framed = from_wire(ciphertext)?;
    let signature: RoundSignature = point("round's signature", signature)?;
    let ciphertext = TLECiphertext::<TinyBLS381>::deserialize_compressed(framed.as_slice())
        .map_err(|_| TimelockError::Point { what: "ciphertext's first field" })?;
    tld::<_, AESGCMBlockCipherProvider>(ciphertext, signature).map_err(|error| match error {
        TlockError::InvalidSignature => TimelockError::NotOpened,
        _ => TimelockError::Altered,
    })
}

/// Shows that this build makes and opens what the chain does, in some ten milliseconds.
///
/// A ciphertext of the official client opens with quicknet's signature of round 1000, to the bytes
/// that [`crate::commit`] makes of the same weights; and a new ciphertext has the right length and
/// opens as well.
///
/// # Errors
///
/// [`TimelockError::SelfTest`] with what went wrong; timelocked weights must then not be sent.
pub fn self_test() -> Result<(), TimelockError> {
    let failed = |finding| TimelockError::SelfTest { finding };
    let payload = hex::decode(vectors::PAYLOAD).map_err(|_| failed("a vector is not hex"))?;
    let theirs = hex::decode(vectors::CIPHERTEXT).map_err(|_| failed("a vector is not hex"))?;
    let opened = decrypt(&theirs, &vectors::SIGNATURE)
        .map_err(|_| failed("a ciphertext of the official client does not open"))?;
    if opened != payload {
        return Err(failed("a ciphertext of the official client opens to other bytes"));
    }
    let ours = encrypt(&QUICKNET_KEY, vectors::ROUND, &payload)?;
    if ours.len() != payload.len() + OVERHEAD_BYTES {
        return Err(failed("a new ciphertext has another length than the chain expects"));
    }
    if decrypt(&ours, &vectors::SIGNATURE).as_ref() != Ok(&payload) {
        return Err(failed("a new ciphertext does not open"));
    }
    Ok(())
}

/// What is hashed to the curve for a round: no cipher-suite prefix, as drand signs it.
fn identity(round: u64) -> Identity {
    Identity::new(b"", &sha256(&round.to_be_bytes()).0)
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), TimelockError> {
    OsRng
        .try_fill_bytes(bytes)
        .map_err(|error| TimelockError::Randomness { detail: error.to_string() })
}

/// A point from its compressed form, checked to be of the prime-order subgroup. The point at
/// infinity is one too, but as a key everybody could open what is encrypted to it.
fn point<P>(what: &'static str, bytes: &[u8]) -> Result<P, TimelockError>
where
    P: CanonicalDeserialize + Default + PartialEq,
{
    match P::deserialize_compressed(bytes) {
        Ok(point) if point != P::default() => Ok(point),
        Ok(_) | Err(_) => Err(TimelockError::Point { what }),
    }
}

/// From the crate's framing to the chain's.
fn to_wire(framed: &[u8]) -> Result<Vec<u8>, TimelockError> {
    let mut rest = Cursor { bytes: framed, at: 0 };
    let point = rest.take("first point", POINT_BYTES)?;
    let v = rest.take("second field", FIELD_BYTES)?;
    let w = rest.take("third field", FIELD_BYTES)?;
    let tail = rest.take("body", framed.len() - rest.at)?;
    let len = (FIELD_BYTES as u64).to_le_bytes();
    Ok([point, &len, v, &len, w, tail].concat())
}

/// From the chain's framing to the crate's, with every length checked.
fn from_wire(wire: &[u8]) -> Result<Vec<u8>, TimelockError> {
    if wire.len() > CIPHERTEXT_BYTES_MAX {
        return Err(TimelockError::TooLong { len: wire.len() });
    }
    // What is neither text nor tag is of known length, so the text's length follows from the whole.
    let body_len = (wire.len() + TAG_BYTES)
        .checked_sub(OVERHEAD_BYTES)
        .map(|text_len| text_len + LEN_BYTES + LEN_BYTES + NONCE_BYTES)
        .ok_or(TimelockError::Framing { field: "length", at: 0, len: wire.len() })?;
    let text_len = body_len - LEN_BYTES - LEN_BYTES - NONCE_BYTES;
    let mut rest = Cursor { bytes: wire, at: 0 };
    let point = rest.take("first point", POINT_BYTES)?;
    rest.expect_len("second field's length", FIELD_BYTES)?;
    let v = rest.take("second field", FIELD_BYTES)?;
    rest.expect_len("third field's length", FIELD_BYTES)?;
    let w = rest.take("third field", FIELD_BYTES)?;
    let tail = rest.clone();
    rest.expect_len("body's length", body_len)?;
    rest.expect_len("text's length", text_len)?;
    rest.take("text", text_len)?;
    rest.expect_len("nonce's length", NONCE_BYTES)?;
    rest.take("nonce", NONCE_BYTES)?;
    rest.expect_len("suite's length", SUITE.len())?;
    let at = rest.at;
    if rest.take("suite", SUITE.len())? != SUITE || rest.at != wire.len() {
        return Err(TimelockError::Framing { field: "suite", at, len: wire.len() });
    }
    Ok([point, v, w, tail.remaining()].concat())
}

/// Reads bytes from the front, and knows where it is.
#[derive(Clone)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn remaining(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], TimelockError> {
        let framing = TimelockError::Framing { field, at: self.at, len: self.bytes.len() };
        let taken = self.remaining().get(..len).ok_or(framing)?;
        self.at += len;
        Ok(taken)
    }

    fn expect_len(&mut self, field: &'static str, len: usize) -> Result<(), TimelockError> {
        let at = self.at;
        if self.take(field, LEN_BYTES)? == (len as u64).to_le_bytes() {
            return Ok(());
        }
        Err(TimelockError::Framing { field, at, len: self.bytes.len() })
    }
}

/// One commit as the official client (`bittensor-core` 0.1.5) makes it.
pub(crate) mod vectors {
    /// The round it is encrypted to.
    pub(crate) const ROUND: u64 = 1000;

    /// Quicknet's signature of that round.
    pub(crate) const SIGNATURE: [u8; 48] = [
        0xb4, 0x46, 0x79, 0xb9, 0xa5, 0x9a, 0xf2, 0xec, 0x87, 0x6b, 0x1a, 0x6b, 0x1a, 0xd5, 0x2e,
        0xa9, 0xb1, 0x61, 0x5f, 0xc3, 0x98, 0x2b, 0x19, 0x57, 0x63, 0x50, 0xf9, 0x34, 0x47, 0xcb,
        0x11, 0x25, 0xe3, 0x42, 0xb7, 0x3a, 0x8d, 0xd2, 0xba, 0xcb, 0xe4, 0x7e, 0x4b, 0x6b, 0x63,
        0xed, 0x5e, 0x39,
    ];

    /// Weights 65535, 32768 and 1 of uids 0 to 2, by the development account Alice, under version
    /// key 843000.
    pub(crate) const PAYLOAD: &str = "\
        80d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d\
        0c0000010002000cffff00800100f8dc0c0000000000";

    /// The payload, encrypted.
    pub(crate) const CIPHERTEXT: &str = "\
        ad538777db9ec643df9184b9293c74ef4899783c5898f961a7655f6b526e4ea43bf0e7c1b63f74d1\
        bafc2dd6bed1dd220fd52a1bf50a7a361029b27505d71b2cfa224aa937a935d620110066c0284666\
        6aa3437aa5d4d8f662f02dae9a9d9d942000000000000000c96b5ed6562ec4e068106255bb67edb4\
        a70a882792d7adba36512b030f531c632000000000000000f874709153db388251a48abdcec843b2\
        aa635566465bdd57a8ea6d9c005feb1b63000000000000004700000000000000b345da1a76d908cf\
        2463b349d2cd8b7bd3da7364a1d73e160a53a499dc1d00aeb9092db08458080a1d53f84fc73425fb\
        615e21d3227f6f0d46cc269c05d70c5dae4053789285090c00000000000000930e681f8983d9d433\
        5c9ab308000000000000004145535f47434d5f";
}

#[cfg(test)]
#[path = "timelock_tests.rs"]
mod tests;
