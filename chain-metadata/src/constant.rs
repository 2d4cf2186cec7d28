//! Constants of the runtime that the node reads.

use crate::Shape::{self, Fields, Text, Unsigned};
use crate::{Absent, Capability};

/// A constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    /// The pallet's name.
    pub pallet: &'static str,
    /// The constant's name.
    pub name: &'static str,
    /// What it holds.
    pub value: Shape,
    /// What it means if the runtime does not have it.
    pub absent: Absent,
    /// What cannot be done while it has another shape.
    pub needed_for: &'static [Capability],
}

/// Milliseconds per block.
pub const SLOT_DURATION: Constant = Constant {
    pallet: "Aura",
    name: "SlotDuration",
    value: Unsigned(64),
    absent: Absent::Fallback("the time between blocks seen, else 12 s"),
    needed_for: &[],
};

/// Blocks whose hashes the runtime remembers; no era may be longer.
pub const BLOCK_HASH_COUNT: Constant = Constant {
    pallet: "System",
    name: "BlockHashCount",
    value: Unsigned(32),
    absent: Absent::Fallback("our eras are far shorter than any chain's bound"),
    needed_for: &[],
};

/// The runtime's name and versions.
pub const VERSION: Constant = Constant {
    pallet: "System",
    name: "Version",
    value: Fields(&[
        ("spec_name", Text),
        ("spec_version", Unsigned(32)),
        ("transaction_version", Unsigned(32)),
    ]),
    absent: Absent::Fallback("the node asks `Core_version`; a file then has no version"),
    needed_for: &[],
};

/// Every constant above.
pub const ALL: &[&Constant] = &[&SLOT_DURATION, &BLOCK_HASH_COUNT, &VERSION];
