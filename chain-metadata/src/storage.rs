//! Storage items the node reads.

use crate::Shape::{
    self, Any, Bool, Bytes, Fields, Sequence, Share, Text, Tuple, Unit, Unsigned, Variants,
};
use crate::{Absent, Capability, ACCOUNT, BYTES, HASH};

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

/// What is read where nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// The item's default.
    Default,
    /// Nothing.
    Nothing,
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
    /// What an unwritten key reads as.
    pub unset: Unset,
    /// What it means if the runtime does not have it.
    pub absent: Absent,
    /// What cannot be done while it has another shape.
    pub needed_for: &'static [Capability],
}

const SUBTENSOR: &str = "SubtensorModule";

const READING: &[Capability] = &[Capability::Reading];
const TIMELOCKED: &[Capability] = &[Capability::TimelockedWeights];
const HASHES: &[Capability] = &[Capability::HashCommits];
const COMMITS: &[Capability] = &[Capability::TimelockedWeights, Capability::HashCommits];

/// Subnet number. Items per mechanism are keyed by the *storage index* instead
/// (`mechanism * 4096 + netuid`), which looks the same in metadata.
const NETUID: KeyPart = KeyPart { hasher: Hasher::Identity, shape: Unsigned(16) };
const INDEX: KeyPart = NETUID;
const UID: KeyPart = NETUID;
const NETUID_TWOX: KeyPart = KeyPart { hasher: Hasher::TwoxConcat, shape: Unsigned(16) };
const INDEX_TWOX: KeyPart = NETUID_TWOX;
const EPOCH_TWOX: KeyPart = KeyPart { hasher: Hasher::TwoxConcat, shape: Unsigned(64) };
const ROUND_BLAKE2: KeyPart = KeyPart { hasher: Hasher::Blake2Concat, shape: Unsigned(64) };
const HOTKEY_BLAKE2: KeyPart = KeyPart { hasher: Hasher::Blake2Concat, shape: ACCOUNT };
const HOTKEY_TWOX: KeyPart = KeyPart { hasher: Hasher::TwoxConcat, shape: ACCOUNT };

/// An item that views are made of; with a default.
const fn item(pallet: &'static str, name: &'static str, value: Shape) -> StorageItem {
    StorageItem {
        pallet,
        name,
        keys: &[],
        value,
        unset: Unset::Default,
        absent: Absent::Fatal,
        needed_for: READING,
    }
}

const fn global(name: &'static str, value: Shape) -> StorageItem {
    item(SUBTENSOR, name, value)
}

const fn per_subnet(name: &'static str, value: Shape) -> StorageItem {
    global(name, value).keyed(&[NETUID])
}

impl StorageItem {
    const fn keyed(self, keys: &'static [KeyPart]) -> Self {
        Self { keys, ..self }
    }

    /// An unwritten key reads as nothing.
    const fn or_nothing(self) -> Self {
        Self { unset: Unset::Nothing, ..self }
    }

    const fn needed_for(self, needed_for: &'static [Capability]) -> Self {
        Self { needed_for, ..self }
    }

    const fn absent(self, how: &'static str) -> Self {
        Self { absent: Absent::Fallback(how), ..self }
    }

    /// Shown or watched only: nothing depends on it.
    const fn dispensable(self, how: &'static str) -> Self {
        self.absent(how).needed_for(&[])
    }
}

/// Whether the subnet exists.
pub const NETWORKS_ADDED: StorageItem = per_subnet("NetworksAdded", Bool);
/// Number of uids; they are `0..n`.
pub const SUBNETWORK_N: StorageItem = per_subnet("SubnetworkN", Unsigned(16));
/// Hotkey of a uid; a missing key decodes to the zero account.
pub const KEYS: StorageItem = global("Keys", ACCOUNT).keyed(&[NETUID, UID]);
/// Uid of a hotkey.
pub const UIDS: StorageItem =
    global("Uids", Unsigned(16)).keyed(&[NETUID, HOTKEY_BLAKE2]).or_nothing();
/// When the present holder of a uid registered.
pub const BLOCK_AT_REGISTRATION: StorageItem =
    global("BlockAtRegistration", Unsigned(64)).keyed(&[NETUID, UID]);
/// Where a hotkey serves.
pub const AXONS: StorageItem =
    global("Axons", AXON_INFO).keyed(&[NETUID, HOTKEY_BLAKE2]).or_nothing();
/// The key of its connections, published with it.
pub const NEURON_CERTIFICATES: StorageItem =
    global("NeuronCertificates", Fields(&[("public_key", BYTES), ("algorithm", Unsigned(8))]))
        .keyed(&[NETUID, HOTKEY_BLAKE2])
        .or_nothing()
        .dispensable("peers' keys count by their endorsement alone; ours is sent at each start");
/// Blocks between two publications of where a hotkey serves.
pub const SERVING_RATE_LIMIT: StorageItem =
    per_subnet("ServingRateLimit", Unsigned(64)).dispensable("the chain's default of 50 blocks");
/// Hotkey of the subnet's owner, exempt from permit and stake.
pub const SUBNET_OWNER_HOTKEY: StorageItem = per_subnet("SubnetOwnerHotkey", ACCOUNT)
    .dispensable("the owner is treated as any other validator");
/// Since when the netuid means this subnet; netuids are reused.
pub const NETWORK_REGISTERED_AT: StorageItem = per_subnet("NetworkRegisteredAt", Unsigned(64))
    .dispensable("another subnet under the same number is not noticed");
/// Blocks in which a new uid is not pruned.
pub const IMMUNITY_PERIOD: StorageItem =
    per_subnet("ImmunityPeriod", Unsigned(16)).dispensable("the own prune rank is not shown");
/// Uids the subnet has room for.
pub const MAX_ALLOWED_UIDS: StorageItem =
    per_subnet("MaxAllowedUids", Unsigned(16)).dispensable("the own prune rank is not shown");
/// Validators that can have a permit.
pub const MAX_ALLOWED_VALIDATORS: StorageItem = per_subnet("MaxAllowedValidators", Unsigned(16))
    .dispensable("the distance to a permit is not shown");
/// Price of a registration, in rao.
pub const BURN: StorageItem =
    per_subnet("Burn", Unsigned(64)).dispensable("the price of registering is not shown");
/// Alpha staked to a hotkey on a subnet.
pub const TOTAL_HOTKEY_ALPHA: StorageItem =
    global("TotalHotkeyAlpha", Unsigned(64)).keyed(&[HOTKEY_BLAKE2, NETUID]);
/// Weight of root stake beside alpha, as a fraction of `u64::MAX`.
pub const TAO_WEIGHT: StorageItem =
    global("TaoWeight", Share(64)).absent("root stake counts nothing");
/// Permits by uid.
pub const VALIDATOR_PERMIT: StorageItem = per_subnet("ValidatorPermit", Sequence(&Bool));
/// By uid, whether the uid counted in the last epoch.
pub const ACTIVE: StorageItem =
    per_subnet("Active", Sequence(&Bool)).dispensable("activity follows from `LastUpdate`");
/// Validator trust by uid.
pub const VALIDATOR_TRUST: StorageItem =
    per_subnet("ValidatorTrust", Sequence(&Share(16))).dispensable("validator trust is not shown");
/// Dividends by uid.
pub const DIVIDENDS: StorageItem =
    per_subnet("Dividends", Sequence(&Share(16))).dispensable("dividends are not shown");
/// Emission of the last epoch by uid, in rao; the prune score.
pub const EMISSION: StorageItem =
    per_subnet("Emission", Sequence(&Unsigned(64))).dispensable("the own prune rank is not shown");

/// Blocks per epoch; 0 for no epochs.
pub const TEMPO: StorageItem = per_subnet("Tempo", Unsigned(16));
/// Input of the epoch clock's safety valve.
pub const BLOCKS_SINCE_LAST_STEP: StorageItem = per_subnet("BlocksSinceLastStep", Unsigned(64));
/// Block of the last epoch. The chain's spelling.
pub const LAST_MECHANISM_STEP_BLOCK: StorageItem =
    per_subnet("LastMechansimStepBlock", Unsigned(64))
        .dispensable("the last epoch follows from the epoch clock");

const LEGACY_CLOCK: &str = "epochs follow from block number and netuid";

/// Epochs run so far. Since spec 425.
pub const SUBNET_EPOCH_INDEX: StorageItem =
    per_subnet("SubnetEpochIndex", Unsigned(64)).absent(LEGACY_CLOCK);
/// First block of the present epoch. Since spec 425.
pub const LAST_EPOCH_BLOCK: StorageItem =
    per_subnet("LastEpochBlock", Unsigned(64)).absent(LEGACY_CLOCK);
/// Block of a triggered or deferred epoch, 0 for none. Since spec 425.
pub const PENDING_EPOCH_AT: StorageItem =
    per_subnet("PendingEpochAt", Unsigned(64)).absent(LEGACY_CLOCK);
/// Epochs that one block runs at most; others are put off. Since spec 425.
pub const MAX_EPOCHS_PER_BLOCK: StorageItem =
    global("MaxEpochsPerBlock", Unsigned(8)).dispensable("an epoch may slip by a few blocks");
/// Blocks before an epoch in which the owner changes nothing.
pub const ADMIN_FREEZE_WINDOW: StorageItem =
    global("AdminFreezeWindow", Unsigned(16)).dispensable("the chain's default of 10 blocks");
/// How the epoch uses weights. Since spec 475.
pub const SUBNET_EPOCH_CONSENSUS: StorageItem =
    per_subnet("SubnetEpochConsensus", Variants(&[("Yuma", Unit), ("Null", Unit)]))
        .absent("always Yuma")
        .needed_for(Capability::WEIGHTS);
/// Blocks without weights until a validator no longer counts; before spec 425.
pub const ACTIVITY_CUTOFF: StorageItem =
    per_subnet("ActivityCutoff", Unsigned(16)).dispensable("the chain's default of 5000 blocks");
/// The same in thousandths of the tempo. Since spec 425.
pub const ACTIVITY_CUTOFF_FACTOR_MILLI: StorageItem =
    per_subnet("ActivityCutoffFactorMilli", Unsigned(32))
        .dispensable("`ActivityCutoff`, in blocks");

/// Stored row of a uid, the largest weight 65535.
pub const WEIGHTS: StorageItem =
    global("Weights", Sequence(&Tuple(&[Unsigned(16), Share(16)]))).keyed(&[INDEX, UID]);
/// Block of the last accepted weights or commit, by uid.
pub const LAST_UPDATE: StorageItem = global("LastUpdate", Sequence(&Unsigned(64))).keyed(&[INDEX]);
/// Blocks between two submissions of one uid.
pub const WEIGHTS_SET_RATE_LIMIT: StorageItem = per_subnet("WeightsSetRateLimit", Unsigned(64));
/// Least version key; 0 accepts any.
pub const WEIGHTS_VERSION_KEY: StorageItem = per_subnet("WeightsVersionKey", Unsigned(64));
/// Fewest entries of a row.
pub const MIN_ALLOWED_WEIGHTS: StorageItem = per_subnet("MinAllowedWeights", Unsigned(16));
/// Whether plain weights are refused; true by default.
pub const COMMIT_REVEAL_WEIGHTS_ENABLED: StorageItem =
    per_subnet("CommitRevealWeightsEnabled", Bool);
/// Which commit-reveal the chain speaks; a timelocked commit must say the same.
pub const COMMIT_REVEAL_WEIGHTS_VERSION: StorageItem =
    global("CommitRevealWeightsVersion", Unsigned(16)).needed_for(TIMELOCKED);
/// Epochs between a commit and its reveal.
pub const REVEAL_PERIOD_EPOCHS: StorageItem =
    global("RevealPeriodEpochs", Unsigned(64)).keyed(&[NETUID_TWOX]).needed_for(COMMITS);
/// Timelocked commits of an epoch: hotkey, block, commit, reveal round. Taken when revealed.
pub const TIMELOCKED_WEIGHT_COMMITS: StorageItem = global(
    "TimelockedWeightCommits",
    Sequence(&Tuple(&[ACCOUNT, Unsigned(64), BYTES, Unsigned(64)])),
)
.keyed(&[INDEX_TWOX, EPOCH_TWOX])
.needed_for(TIMELOCKED);
/// Hash commits of a hotkey. Since spec 425: hash, epoch, block, 0. Before: hash, block, first and
/// last block of the reveal, which looks the same in metadata.
pub const WEIGHT_COMMITS: StorageItem =
    global("WeightCommits", Sequence(&Tuple(&[HASH, Unsigned(64), Unsigned(64), Unsigned(64)])))
        .keyed(&[INDEX_TWOX, HOTKEY_TWOX])
        .or_nothing()
        .needed_for(HASHES);
/// Mechanisms of a subnet.
pub const MECHANISM_COUNT_CURRENT: StorageItem = global("MechanismCountCurrent", Unsigned(8))
    .keyed(&[NETUID_TWOX])
    .absent("one mechanism")
    .needed_for(Capability::WEIGHTS);
/// Least stake weight that may set weights.
pub const STAKE_THRESHOLD: StorageItem = global("StakeThreshold", Unsigned(64));

/// What a hotkey committed last.
pub const COMMITMENT_OF: StorageItem =
    item("Commitments", "CommitmentOf", REGISTRATION).keyed(&[NETUID, HOTKEY_TWOX]).or_nothing();
/// What a hotkey's timelocked commitments said, newest last, with the blocks of their reveals.
pub const REVEALED_COMMITMENTS: StorageItem =
    item("Commitments", "RevealedCommitments", Sequence(&Tuple(&[BYTES, Unsigned(64)])))
        .keyed(&[NETUID, HOTKEY_TWOX])
        .or_nothing()
        .dispensable("timelocked commitments are never seen revealed");

/// The newest beacon round that the chain knows; a commit's round must be later.
pub const LAST_STORED_ROUND: StorageItem =
    item("Drand", "LastStoredRound", Unsigned(64)).needed_for(TIMELOCKED);
/// A beacon round's pulse.
pub const PULSES: StorageItem = item(
    "Drand",
    "Pulses",
    Fields(&[("round", Unsigned(64)), ("randomness", BYTES), ("signature", BYTES)]),
)
.keyed(&[ROUND_BLAKE2])
.or_nothing()
.dispensable("whether the chain has a commit's round is not watched");
/// The beacon that the chain follows.
pub const BEACON_CONFIG: StorageItem = item(
    "Drand",
    "BeaconConfig",
    Fields(&[
        ("public_key", BYTES),
        ("period", Unsigned(32)),
        ("genesis_time", Unsigned(32)),
        ("scheme_id", BYTES),
    ]),
)
.absent("drand quicknet")
.needed_for(TIMELOCKED);

/// Until when the chain takes no ordinary calls.
pub const SAFE_MODE_ENTERED_UNTIL: StorageItem = item("SafeMode", "EnteredUntil", Unsigned(32))
    .or_nothing()
    .dispensable("safe mode is noticed by `CallFiltered`");

/// Nonce and balance of an account.
pub const ACCOUNT_INFO: StorageItem =
    item("System", "Account", Fields(&[("nonce", Unsigned(32))])).keyed(&[HOTKEY_BLAKE2]);
/// What happened in a block.
pub const EVENTS: StorageItem = item(
    "System",
    "Events",
    Sequence(&Fields(&[
        (
            "phase",
            Variants(&[
                ("ApplyExtrinsic", Unsigned(32)),
                ("Finalization", Unit),
                ("Initialization", Unit),
            ]),
        ),
        ("event", Any),
    ])),
);
/// The runtime that the block before ran.
pub const LAST_RUNTIME_UPGRADE: StorageItem = item(
    "System",
    "LastRuntimeUpgrade",
    Fields(&[("spec_version", Unsigned(32)), ("spec_name", Text)]),
)
.or_nothing()
.dispensable("the node asks `Core_version`");
/// The block's time in milliseconds.
pub const TIMESTAMP_NOW: StorageItem = item("Timestamp", "Now", Unsigned(64));

/// An axon as stored, and as the metagraph has it.
pub(crate) const AXON_INFO: Shape = Fields(&[
    ("block", Unsigned(64)),
    ("version", Unsigned(32)),
    ("ip", Unsigned(128)),
    ("port", Unsigned(16)),
    ("ip_type", Unsigned(8)),
    ("protocol", Unsigned(8)),
    ("placeholder1", Unsigned(8)),
    ("placeholder2", Unsigned(8)),
]);

const REGISTRATION: Shape =
    Fields(&[("block", Unsigned(32)), ("info", Fields(&[("fields", Sequence(&DATA))]))]);

/// One variant for each length of raw bytes, with the others behind them.
macro_rules! data_variants {
    ($($length:literal)*) => {
        Variants(&[
            $((concat!("Raw", $length), Bytes($length)),)*
            ("None", Unit),
            ("BlakeTwo256", HASH),
            ("Sha256", HASH),
            ("Keccak256", HASH),
            ("ShaThree256", HASH),
            (
                "TimelockEncrypted",
                Fields(&[("encrypted", BYTES), ("reveal_round", Unsigned(64))]),
            ),
            ("ResetBondsFlag", Unit),
            ("BigRaw", BYTES),
        ])
    };
}

/// A field of a commitment. Only `Raw0` to `Raw128` and `BigRaw` carry plain bytes.
pub(crate) const DATA: Shape = data_variants!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
        16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
        48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
        64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79
        80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95
        96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111
        112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127
        128
);

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
    &NEURON_CERTIFICATES,
    &SERVING_RATE_LIMIT,
    &SUBNET_OWNER_HOTKEY,
    &NETWORK_REGISTERED_AT,
    &IMMUNITY_PERIOD,
    &MAX_ALLOWED_UIDS,
    &MAX_ALLOWED_VALIDATORS,
    &BURN,
    &TOTAL_HOTKEY_ALPHA,
    &TAO_WEIGHT,
    &VALIDATOR_PERMIT,
    &ACTIVE,
    &VALIDATOR_TRUST,
    &DIVIDENDS,
    &EMISSION,
    &TEMPO,
    &BLOCKS_SINCE_LAST_STEP,
    &LAST_MECHANISM_STEP_BLOCK,
    &SUBNET_EPOCH_INDEX,
    &LAST_EPOCH_BLOCK,
    &PENDING_EPOCH_AT,
    &MAX_EPOCHS_PER_BLOCK,
    &ADMIN_FREEZE_WINDOW,
    &SUBNET_EPOCH_CONSENSUS,
    &ACTIVITY_CUTOFF,
    &ACTIVITY_CUTOFF_FACTOR_MILLI,
    &WEIGHTS,
    &LAST_UPDATE,
    &WEIGHTS_SET_RATE_LIMIT,
    &WEIGHTS_VERSION_KEY,
    &MIN_ALLOWED_WEIGHTS,
    &COMMIT_REVEAL_WEIGHTS_ENABLED,
    &COMMIT_REVEAL_WEIGHTS_VERSION,
    &REVEAL_PERIOD_EPOCHS,
    &TIMELOCKED_WEIGHT_COMMITS,
    &WEIGHT_COMMITS,
    &MECHANISM_COUNT_CURRENT,
    &STAKE_THRESHOLD,
    &COMMITMENT_OF,
    &REVEALED_COMMITMENTS,
    &LAST_STORED_ROUND,
    &PULSES,
    &BEACON_CONFIG,
    &SAFE_MODE_ENTERED_UNTIL,
    &ACCOUNT_INFO,
    &EVENTS,
    &LAST_RUNTIME_UPGRADE,
    &TIMESTAMP_NOW,
];
