//! What the beacon pallet stores and takes, in the real chain's bytes and type description.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{traits::ConstU32, BoundedVec};
use scale_info::TypeInfo;
use sp_core::{ecdsa, ed25519, sr25519};
use sp_runtime::{
    traits::{IdentifyAccount, Verify},
    MultiSignature, MultiSigner,
};

/// A round of the beacon, from 1.
pub type RoundNumber = u64;

/// A hash, or a name as short as one.
pub type BoundedHash = BoundedVec<u8, ConstU32<32>>;

/// The beacon whose pulses count.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct BeaconConfiguration {
    /// A compressed point of G2.
    pub public_key: BoundedVec<u8, ConstU32<96>>,
    /// Seconds between rounds.
    pub period: u32,
    /// Publication of round 1, Unix time in seconds.
    pub genesis_time: u32,
    /// drand's name of the beacon.
    pub hash: BoundedHash,
    /// drand's name of those who run it.
    pub group_hash: BoundedHash,
    /// How it signs.
    pub scheme_id: BoundedHash,
    /// More names.
    pub metadata: Metadata,
}

/// More names of a beacon.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct Metadata {
    /// What people call it.
    pub beacon_id: BoundedVec<u8, ConstU32<9>>,
}

/// What a beacon publishes for a round.
#[derive(
    Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, MaxEncodedLen, PartialEq, TypeInfo,
)]
pub struct Pulse {
    /// The round.
    pub round: RoundNumber,
    /// SHA-256 of the signature.
    pub randomness: BoundedVec<u8, ConstU32<32>>,
    /// A compressed point of G1, 48 bytes.
    pub signature: BoundedVec<u8, ConstU32<144>>,
}

/// Who brings a pulse: a key of a scheme that the framework of spec 425 knew. Today's has one more.
#[allow(clippy::cast_possible_truncation, reason = "the codec's derive casts the indices")]
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub enum Bringer {
    /// A public key.
    Ed25519([u8; 32]),
    /// A public key.
    Sr25519([u8; 32]),
    /// A compressed public key.
    Ecdsa([u8; 33]),
}

/// A signature of a [`Bringer`].
#[allow(clippy::cast_possible_truncation, reason = "the codec's derive casts the indices")]
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub enum BringerSignature {
    /// Of 64 bytes.
    Ed25519([u8; 64]),
    /// Of 64 bytes.
    Sr25519([u8; 64]),
    /// With the recovery byte.
    Ecdsa([u8; 65]),
}

impl BringerSignature {
    /// Whether it is the bringer's, over these bytes.
    pub fn is_of(&self, bringer: &Bringer, bytes: &[u8]) -> bool {
        let signature: MultiSignature = match *self {
            Self::Ed25519(raw) => ed25519::Signature::from_raw(raw).into(),
            Self::Sr25519(raw) => sr25519::Signature::from_raw(raw).into(),
            Self::Ecdsa(raw) => ecdsa::Signature::from_raw(raw).into(),
        };
        let signer: MultiSigner = match *bringer {
            Bringer::Ed25519(raw) => ed25519::Public::from_raw(raw).into(),
            Bringer::Sr25519(raw) => sr25519::Public::from_raw(raw).into(),
            Bringer::Ecdsa(raw) => ecdsa::Public::from_raw(raw).into(),
        };
        signature.verify(bytes, &signer.into_account())
    }
}

/// Pulses as somebody brings them.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct PulsesPayload {
    /// The block the bringer saw.
    pub block_number: u32,
    /// The pool takes exactly one.
    pub pulses: Vec<Pulse>,
    /// Who brings them; anybody may.
    pub public: Bringer,
}

/// A change of beacon.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct BeaconConfigurationPayload {
    /// The block the sender saw.
    pub block_number: u32,
    /// The new beacon.
    pub config: BeaconConfiguration,
    /// Who sends it.
    pub public: Bringer,
}
