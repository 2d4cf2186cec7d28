//! Quantities with their units. A height is not a distance, and a wall clock is not a stopwatch.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $repr);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity!(
    /// A block's height.
    BlockNumber(u64)
);
quantity!(
    /// A distance between two blocks.
    BlockCount(u64)
);
quantity!(
    /// A subnet's epoch counter (`SubnetEpochIndex`).
    EpochIndex(u64)
);
quantity!(
    /// Milliseconds since the Unix epoch, by the wall clock. Only for people and signatures.
    UnixMs(u64)
);
quantity!(
    /// Milliseconds on a clock that never jumps, since an arbitrary start. For leases and limits.
    MonoMs(u64)
);

impl BlockNumber {
    /// The height `distance` blocks later.
    #[must_use]
    pub fn plus(self, distance: BlockCount) -> Self {
        Self(self.0.saturating_add(distance.0))
    }

    /// The height `distance` blocks earlier, at least zero.
    #[must_use]
    pub fn minus(self, distance: BlockCount) -> Self {
        Self(self.0.saturating_sub(distance.0))
    }

    /// Blocks from `earlier` to here; zero if `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> BlockCount {
        BlockCount(self.0.saturating_sub(earlier.0))
    }
}

impl MonoMs {
    /// The moment `ms` later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; zero if `earlier` is not earlier.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The present, on both clocks. Core reads no clock: the caller passes this in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// For leases, deadlines and waiting.
    pub mono: MonoMs,
    /// For signatures and for people.
    pub unix: UnixMs,
}

/// The first blocks of the window of a block and of the one before it, where a window ends there.
///
/// - `window`: blocks of a window.
pub fn window_starts(window: BlockCount, block: BlockNumber) -> impl Iterator<Item = BlockNumber> {
    let window = BlockCount(window.0.max(1));
    let start = window_end(window, block).minus(window);
    [start.minus(window), start].into_iter().filter(|start| start.0 > 0)
}

/// The first block after the window in which a submission competes.
///
/// - `window`: blocks of a window.
#[must_use]
pub fn window_end(window: BlockCount, committed_at: BlockNumber) -> BlockNumber {
    let window = window.0.max(1);
    let number = committed_at.0.checked_div(window).unwrap_or(0);
    BlockNumber(number.saturating_add(1).saturating_mul(window))
}
