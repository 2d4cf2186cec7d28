//! Names of things: hotkeys, digests and the identities derived from them.
//!
//! Every identity that two validators must agree on is a SHA-256 over a domain-separated,
//! length-prefixed encoding, built by [`DigestBuilder`]. Text forms: hotkeys are SS58 with the
//! chain's prefix 42, everything else is lower-case hex. Encodings that nobody reads hold the bytes
//! themselves.

use std::fmt;
use std::str::FromStr;

use blake2::digest::Digest as _;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// SS58 address prefix of subtensor chains.
pub const SS58_PREFIX: u8 = 42;

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not lower-case hex of the right length.
    #[error("`{text}` is not {len_bytes} bytes of hex")]
    NotHex {
        /// What was given.
        text: String,
        /// Bytes expected.
        len_bytes: usize,
    },
    /// The text is not base58.
    #[error("`{text}` is not an SS58 address: it is not base58 of 35 bytes")]
    NotSs58 {
        /// What was given.
        text: String,
    },
    /// The address belongs to another network.
    #[error("`{text}` is an address of network {got}, not of network 42")]
    WrongPrefix {
        /// What was given.
        text: String,
        /// The prefix found.
        got: u8,
    },
    /// The checksum does not fit: a typing error.
    #[error("`{text}` is not an SS58 address: its checksum does not fit")]
    WrongChecksum {
        /// What was given.
        text: String,
    },
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let plain = text.strip_prefix("0x").unwrap_or(text);
    let mut out = [0u8; N];
    hex::decode_to_slice(plain, &mut out)
        .map_err(|_| IdError::NotHex { text: text.to_owned(), len_bytes: N })?;
    Ok(out)
}

/// Text where people may read it, else the bytes.
fn write_id<S: Serializer>(
    serializer: S,
    text: &impl fmt::Display,
    bytes: &[u8],
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(text)
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// Either form, wherever it stands: inside of a tagged enum, serde forgets which one was written.
fn read_id<'de, D, T, const N: usize>(
    deserializer: D,
    of_text: fn(&str) -> Result<T, IdError>,
    of_bytes: fn([u8; N]) -> T,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let visitor = IdVisitor { of_text, of_bytes };
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(visitor)
    } else {
        deserializer.deserialize_bytes(visitor)
    }
}

struct IdVisitor<T, const N: usize> {
    of_text: fn(&str) -> Result<T, IdError>,
    of_bytes: fn([u8; N]) -> T,
}

impl<T, const N: usize> Visitor<'_> for IdVisitor<T, N> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.of_text)(text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        let wrong_length = |_| E::invalid_length(bytes.len(), &format!("{N} bytes").as_str());
        bytes.try_into().map(self.of_bytes).map_err(wrong_length)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The first eight hex digits, for tables read by people.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string().chars().take(8).collect()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Rows have dozens of them: no string is made on the way.
                let mut digits = [0; 2 * $len];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(self.0))
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex::<$len>(text).map(Self)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                write_id(s, self, &self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                read_id(d, Self::from_str, Self)
            }
        }
    };
}

hex_id!(
    /// A block's hash (blake2-256 of its header).
    BlockHash,
    32
);
hex_id!(
    /// A SHA-256 digest of bytes: an archive, a data set, an image, a policy.
    Digest,
    32
);
hex_id!(
    /// SHA-256 over a submission's sorted paths and file bytes: what was submitted, however zipped.
    ContentDigest,
    32
);
hex_id!(
    /// A submission: (hotkey, commit block, content digest), hashed.
    SubmissionId,
    32
);
hex_id!(
    /// One evaluation of one submission in one tier with one seed by one replica, hashed.
    AssignmentId,
    32
);
hex_id!(
    /// One grant of one assignment by one coordinator.
    LeaseId,
    32
);
hex_id!(
    /// One container execution under a lease.
    RunId,
    32
);
hex_id!(
    /// Random bytes that hide a result in its seal until it is shown.
    Salt,
    32
);
hex_id!(
    /// The durable record that a vector is about to be signed.
    IntentId,
    32
);
/// All zero: no block has this hash.
impl Default for BlockHash {
    fn default() -> Self {
        Self([0; 32])
    }
}

hex_id!(
    /// An sr25519 signature.
    Signature,
    64
);

/// A validator's or miner's hotkey: an sr25519 public key. Text form: SS58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hotkey(pub [u8; 32]);

impl Hotkey {
    /// The first eight characters of the address, for tables read by people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

fn ss58_checksum(body: &[u8]) -> [u8; 2] {
    let hash = blake2::Blake2b512::new().chain_update(b"SS58PRE").chain_update(body).finalize();
    let mut bytes = hash.iter().copied();
    [bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default()]
}

impl fmt::Display for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = vec![SS58_PREFIX];
        body.extend_from_slice(&self.0);
        let checksum = ss58_checksum(&body);
        body.extend_from_slice(&checksum);
        f.write_str(&bs58::encode(body).into_string())
    }
}

impl fmt::Debug for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hotkey({self})")
    }
}

impl FromStr for Hotkey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let not_ss58 = || IdError::NotSs58 { text: text.to_owned() };
        // 35 bytes never take more than 49 base58 digits; refuse before decoding anything longer.
        if text.len() > 49 {
            return Err(not_ss58());
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| not_ss58())?;
        let bytes: [u8; 35] = bytes.try_into().map_err(|_| not_ss58())?;
        let [prefix, key @ .., check0, check1] = bytes;
        if prefix != SS58_PREFIX {
            return Err(IdError::WrongPrefix { text: text.to_owned(), got: prefix });
        }
        let mut body = vec![prefix];
        body.extend_from_slice(&key);
        if ss58_checksum(&body) != [check0, check1] {
            return Err(IdError::WrongChecksum { text: text.to_owned() });
        }
        Ok(Self(key))
    }
}

impl Serialize for Hotkey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        write_id(s, self, &self.0)
    }
}

impl<'de> Deserialize<'de> for Hotkey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        read_id(d, Self::from_str, Self)
    }
}

/// A subnet's number.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Netuid(pub u16);

/// A neuron's place in a subnet; reused by the chain, so never a key of our state.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Uid(pub u16);

/// A lease's fencing token: grows by one per grant of its assignment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The token of the next grant.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

macro_rules! display_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    )*};
}
display_number!(Netuid, Uid, Attempt);

/// Hashes fields with their lengths, so that no two field lists share an encoding.
///
/// The domain separates uses: the same fields under another domain give another digest.
#[derive(Debug, Clone)]
pub struct DigestBuilder(sha2::Sha256);

impl DigestBuilder {
    /// Starts a digest for one use, for example `assay/lease/v1`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self(sha2::Sha256::new()).bytes(domain.as_bytes())
    }

    /// Appends a byte string.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Appends a number.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Appends numbers, each as [`DigestBuilder::number`] does; for many of them, faster.
    #[must_use]
    pub fn numbers(mut self, numbers: impl IntoIterator<Item = u64>) -> Self {
        let length = 8_u64.to_le_bytes();
        let mut bytes = Vec::new();
        for number in numbers {
            bytes.extend_from_slice(&length);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.0.update(bytes);
        self
    }

    /// The 32 bytes.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of plain bytes, as `sha256sum` prints it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

/// Makes signatures with the node's hotkey. The key itself stays with the implementation.
pub trait HotkeySigner: Send + Sync + fmt::Debug {
    /// Whose signatures these are.
    fn hotkey(&self) -> Hotkey;
    /// Signs a message; the caller put a domain in front of it.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// Checks signatures made by [`HotkeySigner`]s.
pub trait SignatureVerifier: Send + Sync + fmt::Debug {
    /// Whether `signature` is one of `hotkey` over `message`.
    fn is_valid(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const ALICE_HEX: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

    #[test]
    fn ss58_of_alice_is_the_well_known_address() {
        let key = Hotkey(parse_hex(ALICE_HEX).unwrap());
        assert_eq!(key.to_string(), ALICE);
        assert_eq!(ALICE.parse::<Hotkey>().unwrap(), key);
    }

    #[test]
    fn one_wrong_letter_in_an_address_is_noticed() {
        let wrong = ALICE.replace("utQY", "utQZ");
        assert!(matches!(wrong.parse::<Hotkey>(), Err(IdError::WrongChecksum { .. })));
        assert!(matches!("0OIl".parse::<Hotkey>(), Err(IdError::NotSs58 { .. })));
    }

    #[test]
    fn an_address_of_another_network_is_named_as_such() {
        let polkadot = "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5";
        assert!(matches!(polkadot.parse::<Hotkey>(), Err(IdError::WrongPrefix { got: 0, .. })));
    }

    #[test]
    fn many_numbers_are_hashed_as_one_after_the_other() {
        let numbers = [0, 1, u64::MAX, 1 << 40];
        let start = || DigestBuilder::new("test").bytes(b"before");
        let one_by_one = numbers.iter().fold(start(), |digest, number| digest.number(*number));
        let end = |digest: DigestBuilder| digest.bytes(b"after").finish();
        assert_eq!(end(start().numbers(numbers)), end(one_by_one));
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_digest() {
        let one = DigestBuilder::new("t").bytes(b"ab").bytes(b"c").finish();
        let two = DigestBuilder::new("t").bytes(b"a").bytes(b"bc").finish();
        assert_ne!(one, two);
    }

    #[test]
    fn ids_survive_json_as_text() {
        let id = RunId([7; 32]);
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text.len(), 66);
        assert_eq!(serde_json::from_str::<RunId>(&text).unwrap(), id);
    }
}
