//! Reads the clocks; the machine never does.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use node_core::unit::{MonoMs, Now, UnixMs};
use rustix::time::{clock_gettime, ClockId};

/// A clock that never jumps and never stands still.
pub(crate) trait Stopwatch: Send + Sync + fmt::Debug {
    /// Milliseconds since an arbitrary start.
    fn mono(&self) -> MonoMs;
}

/// The operating system's clocks.
///
/// The monotonic one is `CLOCK_BOOTTIME`: what `Instant` reads stands still while the machine
/// sleeps, and the coordinators of our leases do not sleep with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: since_boot() }
    }

    pub(crate) fn now(self) -> Now {
        Now { mono: self.mono(), unix: unix_now() }
    }
}

impl Stopwatch for Clock {
    fn mono(&self) -> MonoMs {
        let lived = since_boot().saturating_sub(self.started);
        MonoMs(u64::try_from(lived.as_millis()).unwrap_or(u64::MAX))
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The wall clock.
pub(crate) fn unix_now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stopwatch_starts_at_zero_and_only_goes_on() {
        let clock = Clock::start();
        let first = clock.mono();
        assert!(first.0 < 60_000, "{first}");
        assert!(clock.now().mono >= first);
        // Of the host, not of the process.
        assert!(clock.started > Duration::ZERO);
    }
}
