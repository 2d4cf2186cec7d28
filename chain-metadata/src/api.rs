//! Runtime calls the node makes.

use crate::Absent;
use crate::Shape::{self, Optional, Unsigned};

/// A method of a runtime API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeApi {
    /// The API's name.
    pub api: &'static str,
    /// The method's name.
    pub method: &'static str,
    /// Its arguments.
    pub inputs: &'static [Shape],
    /// Its answer.
    pub output: Shape,
    /// What it means if the runtime does not have it.
    pub absent: Absent,
}

/// When the next epoch starts; none if the tempo is 0. Since spec 425.
pub const NEXT_EPOCH_START_BLOCK: RuntimeApi = RuntimeApi {
    api: "SubnetInfoRuntimeApi",
    method: "get_next_epoch_start_block",
    inputs: &[Unsigned(16)],
    output: Optional(&Unsigned(64)),
    absent: Absent::Fallback("computed from the epoch clock's storage items"),
};

/// Every method above.
pub const ALL: &[&RuntimeApi] = &[&NEXT_EPOCH_START_BLOCK];
