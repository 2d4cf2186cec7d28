//! What a weights commit hides, and the hashes by which it is known.
//!
//! A timelocked commit carries the *payload*, encrypted to a round; the chain opens it itself. A
//! hash commit carries the hash of a *preimage* that the signer reveals later. Both hold the same
//! weights in slightly different order and framing, so both stand here.
//!
//! Not here: the encryption (`timelock`), the calls (`calls`), and when to commit.

use node_core::id::{Digest, Hotkey, Uid};
use subxt::ext::codec::{Decode, DecodeAll as _, Encode};

use crate::timelock::{fill_random, TimelockError};

/// Bytes of a public key.
const ACCOUNT_BYTES: usize = 32;

/// The weights that a timelocked commit hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedWeights {
    /// The signer. The chain drops a commit whose extrinsic somebody else signed.
    pub hotkey: Hotkey,
    /// Uid and weight, in the order in which the chain will store them.
    pub vector: Vec<(Uid, u16)>,
    /// The version key, checked against the subnet's when the chain opens the commit.
    pub version_key: u64,
}

/// Why bytes are not a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Other fields, or bytes left over.
    #[error("not the payload of a weights commit: {detail}")]
    Malformed {
        /// The decoder's message.
        detail: String,
    },
    /// The hotkey is not one.
    #[error("the payload's hotkey has {len} bytes instead of 32")]
    Hotkey {
        /// Its bytes.
        len: usize,
    },
    /// Uids and values do not pair.
    #[error("the payload has {uids} uids and {values} values")]
    Unpaired {
        /// Number of uids.
        uids: usize,
        /// Number of values.
        values: usize,
    },
}

/// The payload's fields in their order on the wire.
#[derive(Encode, Decode)]
#[codec(crate = subxt::ext::codec)]
struct Wire {
    hotkey: Vec<u8>,
    uids: Vec<u16>,
    values: Vec<u16>,
    version_key: u64,
}

impl CommittedWeights {
    /// The bytes that are encrypted: `4 * n + 43` of them for up to 63 uids.
    ///
    /// Source: `WeightsTlockPayload` in `pallets/subtensor/src/coinbase/reveal_commits.rs` of
    /// subtensor.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (uids, values) = columns(&self.vector);
        let hotkey = self.hotkey.0.to_vec();
        Wire { hotkey, uids, values, version_key: self.version_key }.encode()
    }

    /// Reads what [`CommittedWeights::encode`] wrote, or another client.
    ///
    /// # Errors
    ///
    /// [`PayloadError`], one variant per thing that can be wrong. Lengths are bounded by `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        let wire = Wire::decode_all(&mut &*bytes)
            .map_err(|error| PayloadError::Malformed { detail: error.to_string() })?;
        let hotkey = <[u8; ACCOUNT_BYTES]>::try_from(wire.hotkey.as_slice())
            .map_err(|_| PayloadError::Hotkey { len: wire.hotkey.len() })?;
        if wire.uids.len() != wire.values.len() {
            let (uids, values) = (wire.uids.len(), wire.values.len());
            return Err(PayloadError::Unpaired { uids, values });
        }
        let vector = wire.uids.into_iter().map(Uid).zip(wire.values).collect();
        Ok(Self { hotkey: Hotkey(hotkey), vector, version_key: wire.version_key })
    }
}

/// What a hash commit is the hash of.
#[derive(Clone, Copy, Debug)]
pub struct HashPreimage<'a> {
    /// The signer.
    pub hotkey: Hotkey,
    /// The storage index of subnet and mechanism: `mechanism * 4096 + netuid`.
    pub index: u16,
    /// Uid and weight, exactly as they will be revealed.
    pub vector: &'a [(Uid, u16)],
    /// Random numbers that keep the weights from being guessed; revealed with them.
    pub salt: &'a [u16],
    /// The version key, exactly as it will be revealed.
    pub version_key: u64,
}

impl HashPreimage<'_> {
    /// The bytes that are hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (uids, values) = columns(self.vector);
        (self.hotkey.0, self.index, uids, values, self.salt, self.version_key).encode()
    }

    /// The `commit_hash` of the call.
    ///
    /// Source: `get_commit_hash` in subtensor, `pallets/subtensor/src/subnets/weights.rs`.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest(sp_crypto_hashing::blake2_256(&self.encode()))
    }
}

/// Numbers in a salt. Lower: few weights could be guessed from their hash. Higher: longer reveals.
pub const SALT_LEN: usize = 8;

/// A new salt from the operating system's randomness. Keep it: without it nothing can be revealed.
///
/// # Errors
///
/// [`TimelockError::Randomness`].
pub fn draw_salt() -> Result<Vec<u16>, TimelockError> {
    let mut bytes = [0; 2 * SALT_LEN];
    fill_random(&mut bytes)?;
    Ok(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// The hash under which events name a timelocked commit.
#[must_use]
pub fn timelocked_commit_hash(commit: &[u8]) -> Digest {
    Digest(sp_crypto_hashing::blake2_256(commit))
}

pub(crate) fn columns(vector: &[(Uid, u16)]) -> (Vec<u16>, Vec<u16>) {
    vector.iter().map(|(uid, weight)| (uid.0, *weight)).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timelock::vectors;

    const ALICE: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
    const VECTOR: [(Uid, u16); 3] = [(Uid(0), 65535), (Uid(1), 32768), (Uid(2), 1)];
    const SALT: [u16; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    fn alice() -> Hotkey {
        Hotkey(hex::decode(ALICE).unwrap().try_into().unwrap())
    }

    fn weights() -> CommittedWeights {
        CommittedWeights { hotkey: alice(), vector: VECTOR.to_vec(), version_key: 843_000 }
    }

    fn preimage(index: u16) -> HashPreimage<'static> {
        HashPreimage { hotkey: alice(), index, vector: &VECTOR, salt: &SALT, version_key: 843_000 }
    }

    #[test]
    fn the_payload_is_the_official_clients() {
        let bytes = weights().encode();
        assert_eq!(hex::encode(&bytes), vectors::PAYLOAD);
        assert_eq!(bytes.len(), 55);
        assert_eq!(CommittedWeights::decode(&bytes), Ok(weights()));
    }

    #[test]
    fn a_hash_commit_is_the_real_chains_for_each_mechanism() {
        assert_eq!(
            hex::encode(preimage(1).encode()),
            format!(
                "{ALICE}01000c0000010002000cffff00800100\
                 2001000200030004000500060007000800f8dc0c0000000000"
            )
        );
        let hash = |index| preimage(index).hash().to_string();
        assert_eq!(hash(1), "8d8ebdb8df354a498ef3a222e5e3052cbe2bb9d60a3c9c1e744c60b992358bef");
        assert_eq!(hash(4097), "1b3b94e36939f8375f9f00d30b5de7f13447cb8eacc9ceb3a97339f507741a36");
    }

    #[test]
    fn no_two_salts_are_alike() {
        let salt = draw_salt().unwrap();
        assert_eq!(salt.len(), SALT_LEN);
        assert_ne!(salt, draw_salt().unwrap());
    }

    #[test]
    fn a_timelocked_commit_is_named_by_blake2_of_its_bytes() {
        assert_eq!(
            timelocked_commit_hash(b"abc").to_string(),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
        );
    }

    #[test]
    fn what_is_no_payload_is_refused_with_what_is_wrong() {
        let wire = |hotkey: usize, uids: usize, values: usize| {
            let wire = Wire {
                hotkey: vec![1; hotkey],
                uids: vec![0; uids],
                values: vec![1; values],
                version_key: 0,
            };
            CommittedWeights::decode(&wire.encode())
        };
        assert_eq!(wire(31, 1, 1), Err(PayloadError::Hotkey { len: 31 }));
        assert_eq!(wire(32, 2, 1), Err(PayloadError::Unpaired { uids: 2, values: 1 }));
        let mut long = weights().encode();
        long.push(0);
        assert!(matches!(CommittedWeights::decode(&long), Err(PayloadError::Malformed { .. })));
        // A compact length of a gigabyte, and nothing behind it.
        let hostile = [0x02, 0, 0, 0x01];
        assert!(matches!(CommittedWeights::decode(&hostile), Err(PayloadError::Malformed { .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_payload_that_encodes_back_or_refused(bytes: Vec<u8>) {
            if let Ok(weights) = CommittedWeights::decode(&bytes) {
                proptest::prop_assert_eq!(weights.encode(), bytes);
            }
        }
    }
}
