//! Calls the node signs.

use crate::Absent;
use crate::Shape::{self, Fields, Sequence, Unsigned, Variants};

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
}

/// Sets the signer's weights for mechanism 0.
pub const SET_WEIGHTS: Call = Call {
    pallet: "SubtensorModule",
    name: "set_weights",
    args: &[
        ("netuid", Unsigned(16)),
        ("dests", Sequence(&Unsigned(16))),
        ("weights", Sequence(&Unsigned(16))),
        ("version_key", Unsigned(64)),
    ],
    absent: Absent::Fatal,
};

/// Sets the signer's weights for any mechanism.
pub const SET_MECHANISM_WEIGHTS: Call = Call {
    pallet: "SubtensorModule",
    name: "set_mechanism_weights",
    args: &[
        ("netuid", Unsigned(16)),
        ("mecid", Unsigned(8)),
        ("dests", Sequence(&Unsigned(16))),
        ("weights", Sequence(&Unsigned(16))),
        ("version_key", Unsigned(64)),
    ],
    absent: Absent::Fallback("`set_weights` for mechanism 0, no weights for others"),
};

/// Publishes where the signer serves.
pub const SERVE_AXON: Call = Call {
    pallet: "SubtensorModule",
    name: "serve_axon",
    args: &[
        ("netuid", Unsigned(16)),
        ("version", Unsigned(32)),
        ("ip", Unsigned(128)),
        ("port", Unsigned(16)),
        ("ip_type", Unsigned(8)),
        ("protocol", Unsigned(8)),
        ("placeholder1", Unsigned(8)),
        ("placeholder2", Unsigned(8)),
    ],
    absent: Absent::Fatal,
};

/// Replaces the signer's commitment.
pub const SET_COMMITMENT: Call = Call {
    pallet: "Commitments",
    name: "set_commitment",
    args: &[
        ("netuid", Unsigned(16)),
        ("info", Fields(&[("fields", Sequence(&Variants(&["Raw0", "Raw128"])))])),
    ],
    absent: Absent::Fatal,
};

/// Every call above.
pub const ALL: &[&Call] = &[&SET_WEIGHTS, &SET_MECHANISM_WEIGHTS, &SERVE_AXON, &SET_COMMITMENT];
