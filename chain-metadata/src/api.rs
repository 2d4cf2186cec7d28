//! Runtime calls the node makes.

use crate::storage::AXON_INFO;
use crate::Shape::{self, Bool, Fields, Optional, Sequence, Share, Text, Tuple, Unsigned};
use crate::{Absent, Capability, ACCOUNT, BYTES};

/// A method of a runtime API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeApi {
    /// The API's name.
    pub api: &'static str,
    /// The method's name.
    pub method: &'static str,
    /// Its arguments, by position; written without looking at the metadata, so exactly these.
    pub inputs: &'static [Shape],
    /// Its answer.
    pub output: Shape,
    /// What it means if the runtime does not have it.
    pub absent: Absent,
    /// What cannot be done while it has another shape.
    pub needed_for: &'static [Capability],
}

/// A column of the selective metagraph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetagraphColumn {
    /// How it is asked for: the position of the field.
    pub index: u16,
    /// The field of the answer, an option that is filled if it was asked for.
    pub field: &'static str,
}

const fn column(index: u16, field: &'static str) -> MetagraphColumn {
    MetagraphColumn { index, field }
}

/// What the node asks of [`SELECTIVE_METAGRAPH`], in order.
pub const METAGRAPH_COLUMNS: &[MetagraphColumn] = &[
    column(7, "block"),
    column(8, "tempo"),
    column(9, "last_step"),
    column(10, "blocks_since_last_step"),
    column(24, "min_allowed_weights"),
    column(26, "weights_version"),
    column(27, "weights_rate_limit"),
    column(28, "activity_cutoff"),
    column(30, "num_uids"),
    column(36, "immunity_period"),
    column(46, "commit_reveal_weights_enabled"),
    column(47, "commit_reveal_period"),
    column(52, "hotkeys"),
    column(53, "coldkeys"),
    column(55, "axons"),
    column(56, "active"),
    column(57, "validator_permit"),
    column(59, "last_update"),
    column(60, "emission"),
    column(61, "dividends"),
    column(62, "incentives"),
    column(63, "consensus"),
    column(66, "block_at_registration"),
    column(69, "total_stake"),
    column(73, "commitments"),
];

const FLAGS: Shape = Optional(&Sequence(&Bool));
const SHARES: Shape = Optional(&Sequence(&Share(16)));
const NUMBERS: Shape = Optional(&Sequence(&Unsigned(64)));
const ACCOUNTS: Shape = Optional(&Sequence(&ACCOUNT));
const NUMBER_16: Shape = Optional(&Unsigned(16));
const NUMBER_64: Shape = Optional(&Unsigned(64));

/// The columns of a subnet's state that were asked for, all of one block; none without the subnet.
/// Vectors are by uid and may be empty: never pair two of them without comparing lengths. For a
/// mechanism other than 0 see [`SELECTIVE_MECHAGRAPH`].
pub const SELECTIVE_METAGRAPH: RuntimeApi = RuntimeApi {
    api: "SubnetInfoRuntimeApi",
    method: "get_selective_metagraph",
    inputs: &[Unsigned(16), Sequence(&Unsigned(16))],
    output: METAGRAPH,
    absent: Absent::Fallback("the same facts, item by item from storage"),
    needed_for: &[],
};

/// The same per mechanism: netuid, mechanism, columns. The answer's `netuid` is the storage index.
pub const SELECTIVE_MECHAGRAPH: RuntimeApi = RuntimeApi {
    api: "SubnetInfoRuntimeApi",
    method: "get_selective_mechagraph",
    inputs: &[Unsigned(16), Unsigned(8), Sequence(&Unsigned(16))],
    output: METAGRAPH,
    absent: Absent::Fallback("the same facts, item by item from storage"),
    needed_for: &[],
};

const METAGRAPH: Shape = Optional(&Fields(&[
    ("netuid", Unsigned(16)),
    ("block", NUMBER_64),
    ("tempo", NUMBER_16),
    ("last_step", NUMBER_64),
    ("blocks_since_last_step", NUMBER_64),
    ("min_allowed_weights", NUMBER_16),
    ("weights_version", NUMBER_64),
    ("weights_rate_limit", NUMBER_64),
    ("activity_cutoff", NUMBER_64),
    ("num_uids", NUMBER_16),
    ("immunity_period", NUMBER_16),
    ("commit_reveal_weights_enabled", Optional(&Bool)),
    ("commit_reveal_period", NUMBER_64),
    ("hotkeys", ACCOUNTS),
    ("coldkeys", ACCOUNTS),
    ("axons", Optional(&Sequence(&AXON_INFO))),
    ("active", FLAGS),
    ("validator_permit", FLAGS),
    ("last_update", NUMBERS),
    ("emission", NUMBERS),
    ("dividends", SHARES),
    ("incentives", SHARES),
    ("consensus", SHARES),
    ("block_at_registration", NUMBERS),
    ("total_stake", NUMBERS),
    ("commitments", Optional(&Sequence(&Tuple(&[ACCOUNT, BYTES])))),
]));

/// When the next epoch starts; none if the tempo is 0. Since spec 425.
pub const NEXT_EPOCH_START_BLOCK: RuntimeApi = RuntimeApi {
    api: "SubnetInfoRuntimeApi",
    method: "get_next_epoch_start_block",
    inputs: &[Unsigned(16)],
    output: NUMBER_64,
    absent: Absent::Fallback("computed from the epoch clock's storage items"),
    needed_for: &[],
};

/// Every neuron in brief, validator trust included.
pub const NEURONS_LITE: RuntimeApi = RuntimeApi {
    api: "NeuronInfoRuntimeApi",
    method: "get_neurons_lite",
    inputs: &[Unsigned(16)],
    output: Sequence(&Fields(&[
        ("hotkey", ACCOUNT),
        ("uid", Unsigned(16)),
        ("validator_trust", Share(16)),
    ])),
    absent: Absent::Fallback("validator trust from `ValidatorTrust`"),
    needed_for: &[],
};

/// An account's nonce as of a block, blind to the pool.
pub const ACCOUNT_NONCE: RuntimeApi = RuntimeApi {
    api: "AccountNonceApi",
    method: "account_nonce",
    inputs: &[ACCOUNT],
    output: Unsigned(32),
    absent: Absent::Fallback("the nonce in `System.Account`"),
    needed_for: &[],
};

const ASKED_ALL_THE_SAME: Absent =
    Absent::Fallback("called all the same: every runtime answers it");

/// The runtime's name and versions.
pub const CORE_VERSION: RuntimeApi = RuntimeApi {
    api: "Core",
    method: "version",
    inputs: &[],
    output: Fields(&[
        ("spec_name", Text),
        ("spec_version", Unsigned(32)),
        ("transaction_version", Unsigned(32)),
    ]),
    absent: ASKED_ALL_THE_SAME,
    needed_for: &[Capability::Reading],
};

/// Which versions of metadata there are.
pub const METADATA_VERSIONS: RuntimeApi = RuntimeApi {
    api: "Metadata",
    method: "metadata_versions",
    inputs: &[],
    output: Sequence(&Unsigned(32)),
    absent: ASKED_ALL_THE_SAME,
    needed_for: &[Capability::Reading],
};

/// Metadata of a version.
pub const METADATA_AT_VERSION: RuntimeApi = RuntimeApi {
    api: "Metadata",
    method: "metadata_at_version",
    inputs: &[Unsigned(32)],
    output: Optional(&BYTES),
    absent: ASKED_ALL_THE_SAME,
    needed_for: &[Capability::Reading],
};

/// Every method above.
pub const ALL: &[&RuntimeApi] = &[
    &SELECTIVE_METAGRAPH,
    &SELECTIVE_MECHAGRAPH,
    &NEXT_EPOCH_START_BLOCK,
    &NEURONS_LITE,
    &ACCOUNT_NONCE,
    &CORE_VERSION,
    &METADATA_VERSIONS,
    &METADATA_AT_VERSION,
];
