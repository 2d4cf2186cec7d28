//! Calls the node signs.

use crate::Shape::{self, Fields, Sequence, Share, Unsigned};
use crate::{storage, Absent, Capability, BYTES, HASH};

/// A call. Arguments are given by name; their order is the metadata's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The pallet's name.
    pub pallet: &'static str,
    /// The call's name.
    pub name: &'static str,
    /// Its arguments, all of them.
    pub args: &'static [(&'static str, Shape)],
    /// What it means if the runtime does not have it.
    pub absent: Absent,
    /// What cannot be done while it has another shape.
    pub needed_for: &'static [Capability],
    /// A call of the same pallet that does the same. Only without both is anything lost.
    pub alternative: Option<&'static str>,
}

const SUBTENSOR: &str = "SubtensorModule";

type Arg = (&'static str, Shape);
const NETUID: Arg = ("netuid", Unsigned(16));
const MECHANISM: Arg = ("mecid", Unsigned(8));
const VERSION_KEY: Arg = ("version_key", Unsigned(64));
const COMMIT_HASH: Arg = ("commit_hash", HASH);
const UIDS: Shape = Sequence(&Unsigned(16));
const WEIGHTS: Shape = Sequence(&Share(16));
const SALT: Arg = ("salt", Sequence(&Unsigned(16)));

const FIRST_MECHANISM_ONLY: Absent =
    Absent::Fallback("the call without `mecid`, for mechanism 0 only");
const MECHANISM_ZERO: Absent = Absent::Fallback("the call with `mecid` 0");

/// Of two calls, the one that names a mechanism; the node prefers it.
const fn mechanism_call(
    name: &'static str,
    args: &'static [Arg],
    needed_for: &'static [Capability],
    alternative: &'static str,
) -> Call {
    let alternative = Some(alternative);
    Call { pallet: SUBTENSOR, name, args, absent: FIRST_MECHANISM_ONLY, needed_for, alternative }
}

/// Of two calls, the one for mechanism 0.
const fn first_mechanism_call(
    name: &'static str,
    args: &'static [Arg],
    needed_for: &'static [Capability],
    alternative: &'static str,
) -> Call {
    let alternative = Some(alternative);
    Call { pallet: SUBTENSOR, name, args, absent: MECHANISM_ZERO, needed_for, alternative }
}

/// Sets the signer's weights for mechanism 0.
pub const SET_WEIGHTS: Call = first_mechanism_call(
    "set_weights",
    &[NETUID, ("dests", UIDS), ("weights", WEIGHTS), VERSION_KEY],
    &[Capability::PlainWeights],
    "set_mechanism_weights",
);

/// Sets the signer's weights for any mechanism.
pub const SET_MECHANISM_WEIGHTS: Call = mechanism_call(
    "set_mechanism_weights",
    &[NETUID, MECHANISM, ("dests", UIDS), ("weights", WEIGHTS), VERSION_KEY],
    &[Capability::PlainWeights],
    "set_weights",
);

const COMMIT: Arg = ("commit", BYTES);
const REVEAL_ROUND: Arg = ("reveal_round", Unsigned(64));
const COMMIT_REVEAL_VERSION: Arg = ("commit_reveal_version", Unsigned(16));

/// Commits weights encrypted to a beacon round, for mechanism 0.
pub const COMMIT_TIMELOCKED_WEIGHTS: Call = first_mechanism_call(
    "commit_timelocked_weights",
    &[NETUID, COMMIT, REVEAL_ROUND, COMMIT_REVEAL_VERSION],
    &[Capability::TimelockedWeights],
    "commit_timelocked_mechanism_weights",
);

/// Commits weights encrypted to a beacon round, for any mechanism.
pub const COMMIT_TIMELOCKED_MECHANISM_WEIGHTS: Call = mechanism_call(
    "commit_timelocked_mechanism_weights",
    &[NETUID, MECHANISM, COMMIT, REVEAL_ROUND, COMMIT_REVEAL_VERSION],
    &[Capability::TimelockedWeights],
    "commit_timelocked_weights",
);

/// Commits the hash of weights, for mechanism 0.
pub const COMMIT_WEIGHTS: Call = first_mechanism_call(
    "commit_weights",
    &[NETUID, COMMIT_HASH],
    &[Capability::HashCommits],
    "commit_mechanism_weights",
);

/// Commits the hash of weights, for any mechanism.
pub const COMMIT_MECHANISM_WEIGHTS: Call = mechanism_call(
    "commit_mechanism_weights",
    &[NETUID, MECHANISM, COMMIT_HASH],
    &[Capability::HashCommits],
    "commit_weights",
);

/// Reveals what was committed with [`COMMIT_WEIGHTS`].
pub const REVEAL_WEIGHTS: Call = first_mechanism_call(
    "reveal_weights",
    &[NETUID, ("uids", UIDS), ("values", WEIGHTS), SALT, VERSION_KEY],
    &[Capability::HashCommits],
    "reveal_mechanism_weights",
);

/// Reveals what was committed with [`COMMIT_MECHANISM_WEIGHTS`].
pub const REVEAL_MECHANISM_WEIGHTS: Call = mechanism_call(
    "reveal_mechanism_weights",
    &[NETUID, MECHANISM, ("uids", UIDS), ("values", WEIGHTS), SALT, VERSION_KEY],
    &[Capability::HashCommits],
    "reveal_weights",
);

const VERSION: Arg = ("version", Unsigned(32));
const IP: Arg = ("ip", Unsigned(128));
const PORT: Arg = ("port", Unsigned(16));
const IP_TYPE: Arg = ("ip_type", Unsigned(8));
const PROTOCOL: Arg = ("protocol", Unsigned(8));
const PLACEHOLDER1: Arg = ("placeholder1", Unsigned(8));
const PLACEHOLDER2: Arg = ("placeholder2", Unsigned(8));

/// Publishes where the signer serves.
pub const SERVE_AXON: Call = Call {
    pallet: SUBTENSOR,
    name: "serve_axon",
    args: &[NETUID, VERSION, IP, PORT, IP_TYPE, PROTOCOL, PLACEHOLDER1, PLACEHOLDER2],
    absent: Absent::Fatal,
    needed_for: &[Capability::Serving],
    alternative: None,
};

/// Publishes where the signer serves, with a certificate.
pub const SERVE_AXON_TLS: Call = Call {
    pallet: SUBTENSOR,
    name: "serve_axon_tls",
    args: &[
        NETUID,
        VERSION,
        IP,
        PORT,
        IP_TYPE,
        PROTOCOL,
        PLACEHOLDER1,
        PLACEHOLDER2,
        ("certificate", BYTES),
    ],
    absent: Absent::Fallback("`serve_axon`, without the certificate"),
    needed_for: &[],
    alternative: None,
};

/// Replaces the signer's commitment.
pub const SET_COMMITMENT: Call = Call {
    pallet: "Commitments",
    name: "set_commitment",
    args: &[NETUID, ("info", Fields(&[("fields", Sequence(&storage::DATA))]))],
    absent: Absent::Fatal,
    needed_for: &[Capability::Serving],
    alternative: None,
};

/// Every call above.
pub const ALL: &[&Call] = &[
    &SET_MECHANISM_WEIGHTS,
    &SET_WEIGHTS,
    &COMMIT_TIMELOCKED_MECHANISM_WEIGHTS,
    &COMMIT_TIMELOCKED_WEIGHTS,
    &COMMIT_MECHANISM_WEIGHTS,
    &COMMIT_WEIGHTS,
    &REVEAL_MECHANISM_WEIGHTS,
    &REVEAL_WEIGHTS,
    &SERVE_AXON,
    &SERVE_AXON_TLS,
    &SET_COMMITMENT,
];
