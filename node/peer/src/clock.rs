//! The wall clock as a part, so that tests can set it. Used for signatures only; deadlines run on
//! the runtime's own clock, which never jumps.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use node_core::unit::UnixMs;

/// Tells the wall clock's time.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch.
    fn unix(&self) -> UnixMs;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn unix(&self) -> UnixMs {
        // A clock before 1970 reads as zero; peers then refuse our signatures and say so.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
