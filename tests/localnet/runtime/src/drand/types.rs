//! What the beacon pallet stores and takes, in the real chain's bytes and type description.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{traits::ConstU32, BoundedVec};
use scale_info::TypeInfo;
use sp_runtime::MultiSigner;

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

/// Pulses as somebody brings them.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct PulsesPayload {
    /// The block the bringer saw.
    pub block_number: u32,
    /// The pool takes exactly one.
    pub pulses: Vec<Pulse>,
    /// Who brings them; anybody may.
    pub public: MultiSigner,
}

/// A change of beacon.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct BeaconConfigurationPayload {
    /// The block the sender saw.
    pub block_number: u32,
    /// The new beacon.
    pub config: BeaconConfiguration,
    /// Who sends it.
    pub public: MultiSigner,
}
