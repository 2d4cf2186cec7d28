//! Storage items the node reads.

use crate::Shape::{Bool, Bytes, Fields, Sequence, Tuple, Unsigned, Variants};
use crate::{Absent, Shape, ACCOUNT};

/// How a part of a storage key is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hasher {
    /// The encoded key itself.
    Identity,
    /// Blake2-128 of the encoded key, then the key.
    Blake2Concat,
    /// Twox-64 of the encoded key, then the key.
    TwoxConcat,
}

/// One part of a storage key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// How it is hashed.
    pub hasher: Hasher,
    /// What it is.
    pub shape: Shape,
}

/// A storage item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageItem {
    /// The pallet's name.
    pub pallet: &'static str,
    /// The item's name.
    pub name: &'static str,
    /// The parts of its key, empty for a single value.
    pub keys: &'static [KeyPart],
    /// What it holds.
    pub value: Shape,
    /// What it means if the runtime does not have it.
    pub absent: Absent,
}

const SUBTENSOR: &str = "SubtensorModule";

/// Subnet number. Items per mechanism are keyed by the *storage index* instead
/// (`mechanism * 4096 + netuid`), which looks the same in metadata.
const NETUID: KeyPart = KeyPart { hasher: Hasher::Identity, shape: Unsigned(16) };
const INDEX: KeyPart = NETUID;
const UID: KeyPart = NETUID;
const HOTKEY_BLAKE2: KeyPart = KeyPart { hasher: Hasher::Blake2Concat, shape: ACCOUNT };
const HOTKEY_TWOX: KeyPart = KeyPart { hasher: Hasher::TwoxConcat, shape: ACCOUNT };

const fn subtensor(
    name: &'static str,
    keys: &'static [KeyPart],
    value: Shape,
    absent: Absent,
) -> StorageItem {
    StorageItem { pallet: SUBTENSOR, name, keys, value, absent }
}

const fn per_subnet(name: &'static str, value: Shape) -> StorageItem {
    subtensor(name, &[NETUID], value, Absent::Fatal)
}

/// Whether the subnet exists.
pub const NETWORKS_ADDED: StorageItem = per_subnet("NetworksAdded", Bool);
/// Number of uids; they are `0..n`.
pub const SUBNETWORK_N: StorageItem = per_subnet("SubnetworkN", Unsigned(16));
/// Hotkey of a uid; a missing key decodes to the zero account.
pub const KEYS: StorageItem = subtensor("Keys", &[NETUID, UID], ACCOUNT, Absent::Fatal);
/// Uid of a hotkey.
pub const UIDS: StorageItem =
    subtensor("Uids", &[NETUID, HOTKEY_BLAKE2], Unsigned(16), Absent::Fatal);
/// When the present holder of a uid registered.
pub const BLOCK_AT_REGISTRATION: StorageItem =
    subtensor("BlockAtRegistration", &[NETUID, UID], Unsigned(64), Absent::Fatal);
/// Where a hotkey serves.
pub const AXONS: StorageItem =
    subtensor("Axons", &[NETUID, HOTKEY_BLAKE2], AXON_INFO, Absent::Fatal);
/// Alpha staked to a hotkey on a subnet.
pub const TOTAL_HOTKEY_ALPHA: StorageItem =
    subtensor("TotalHotkeyAlpha", &[HOTKEY_BLAKE2, NETUID], Unsigned(64), Absent::Fatal);
/// Weight of root stake beside alpha, as a fraction of `u64::MAX`.
pub const TAO_WEIGHT: StorageItem =
    subtensor("TaoWeight", &[], Unsigned(64), Absent::Fallback("root stake counts nothing"));
/// Permits by uid.
pub const VALIDATOR_PERMIT: StorageItem = per_subnet("ValidatorPermit", Sequence(&Bool));
/// Blocks per epoch; 0 for no epochs.
pub const TEMPO: StorageItem = per_subnet("Tempo", Unsigned(16));
/// Input of the epoch clock's safety valve.
pub const BLOCKS_SINCE_LAST_STEP: StorageItem = per_subnet("BlocksSinceLastStep", Unsigned(64));

const LEGACY_CLOCK: Absent = Absent::Fallback("epochs follow from block number and netuid");

/// Epochs run so far. Since spec 425.
pub const SUBNET_EPOCH_INDEX: StorageItem =
    subtensor("SubnetEpochIndex", &[NETUID], Unsigned(64), LEGACY_CLOCK);
/// First block of the present epoch. Since spec 425.
pub const LAST_EPOCH_BLOCK: StorageItem =
    subtensor("LastEpochBlock", &[NETUID], Unsigned(64), LEGACY_CLOCK);
/// Block of a triggered or deferred epoch, 0 for none. Since spec 425.
pub const PENDING_EPOCH_AT: StorageItem =
    subtensor("PendingEpochAt", &[NETUID], Unsigned(64), LEGACY_CLOCK);
/// How the epoch uses weights. Since spec 475.
pub const SUBNET_EPOCH_CONSENSUS: StorageItem = subtensor(
    "SubnetEpochConsensus",
    &[NETUID],
    Variants(&["Yuma", "Null"]),
    Absent::Fallback("always Yuma"),
);
/// Stored row of a uid, the largest weight 65535.
pub const WEIGHTS: StorageItem = subtensor(
    "Weights",
    &[INDEX, UID],
    Sequence(&Tuple(&[Unsigned(16), Unsigned(16)])),
    Absent::Fatal,
);
/// Block of the last accepted weights or commit, by uid.
pub const LAST_UPDATE: StorageItem =
    subtensor("LastUpdate", &[INDEX], Sequence(&Unsigned(64)), Absent::Fatal);
/// Blocks between two submissions of one uid.
pub const WEIGHTS_SET_RATE_LIMIT: StorageItem = per_subnet("WeightsSetRateLimit", Unsigned(64));
/// Least version key; 0 accepts any.
pub const WEIGHTS_VERSION_KEY: StorageItem = per_subnet("WeightsVersionKey", Unsigned(64));
/// Fewest entries of a row.
pub const MIN_ALLOWED_WEIGHTS: StorageItem = per_subnet("MinAllowedWeights", Unsigned(16));
/// Whether plain weights are refused; true by default.
pub const COMMIT_REVEAL_WEIGHTS_ENABLED: StorageItem =
    per_subnet("CommitRevealWeightsEnabled", Bool);
/// Least stake weight that may set weights.
pub const STAKE_THRESHOLD: StorageItem =
    subtensor("StakeThreshold", &[], Unsigned(64), Absent::Fatal);

/// What a hotkey committed last.
pub const COMMITMENT_OF: StorageItem = StorageItem {
    pallet: "Commitments",
    name: "CommitmentOf",
    keys: &[NETUID, HOTKEY_TWOX],
    value: REGISTRATION,
    absent: Absent::Fatal,
};

/// Nonce and balance of an account.
pub const ACCOUNT_INFO: StorageItem = StorageItem {
    pallet: "System",
    name: "Account",
    keys: &[HOTKEY_BLAKE2],
    value: Fields(&[("nonce", Unsigned(32))]),
    absent: Absent::Fatal,
};
/// What happened in a block.
pub const EVENTS: StorageItem = StorageItem {
    pallet: "System",
    name: "Events",
    keys: &[],
    value: Sequence(&Fields(&[
        ("phase", Variants(&["ApplyExtrinsic", "Finalization", "Initialization"])),
        ("event", Variants(&[])),
    ])),
    absent: Absent::Fatal,
};
/// The block's time in milliseconds.
pub const TIMESTAMP_NOW: StorageItem = StorageItem {
    pallet: "Timestamp",
    name: "Now",
    keys: &[],
    value: Unsigned(64),
    absent: Absent::Fatal,
};

const AXON_INFO: Shape = Fields(&[
    ("block", Unsigned(64)),
    ("version", Unsigned(32)),
    ("ip", Unsigned(128)),
    ("port", Unsigned(16)),
    ("ip_type", Unsigned(8)),
    ("protocol", Unsigned(8)),
    ("placeholder1", Unsigned(8)),
    ("placeholder2", Unsigned(8)),
]);

/// Of a commitment's fields only `Raw0` to `Raw128` and `BigRaw` carry plain bytes.
const REGISTRATION: Shape = Fields(&[
    ("block", Unsigned(32)),
    ("info", Fields(&[("fields", Sequence(&Variants(&["Raw0", "Raw128", "BigRaw"])))])),
]);

/// Longest `RawN` field of a commitment.
pub const RAW_BYTES_MAX: usize = 128;

/// Every item above.
pub const ALL: &[&StorageItem] = &[
    &NETWORKS_ADDED,
    &SUBNETWORK_N,
    &KEYS,
    &UIDS,
    &BLOCK_AT_REGISTRATION,
    &AXONS,
    &TOTAL_HOTKEY_ALPHA,
    &TAO_WEIGHT,
    &VALIDATOR_PERMIT,
    &TEMPO,
    &BLOCKS_SINCE_LAST_STEP,
    &SUBNET_EPOCH_INDEX,
    &LAST_EPOCH_BLOCK,
    &PENDING_EPOCH_AT,
    &SUBNET_EPOCH_CONSENSUS,
    &WEIGHTS,
    &LAST_UPDATE,
    &WEIGHTS_SET_RATE_LIMIT,
    &WEIGHTS_VERSION_KEY,
    &MIN_ALLOWED_WEIGHTS,
    &COMMIT_REVEAL_WEIGHTS_ENABLED,
    &STAKE_THRESHOLD,
    &COMMITMENT_OF,
    &ACCOUNT_INFO,
    &EVENTS,
    &TIMESTAMP_NOW,
];

const _: () = assert!(matches!(ACCOUNT, Bytes(32)));
