//! How long devices stand idle between two runs.
//!
//! The gap runs from the removal of a run's container to the first instruction of the next run's.
//! Only gaps between runs that waited for each other count: a device without work is not slow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use node_core::inventory::DeviceId;

/// A run that comes later than this after the end of the last one did not wait for the device.
/// Lower: slow hand-overs are left out. Higher: times without work count as slow.
const WAITED_MAX: Duration = Duration::from_secs(5);

/// Gaps kept per device. Lower: the percentiles jump. Higher: they tell of last week.
const GAPS_KEPT: usize = 100;

/// The latest gaps of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleGap {
    /// The latest.
    pub last: Duration,
    /// Half of those kept were no longer.
    pub p50: Duration,
    /// Nineteen of twenty were no longer.
    pub p95: Duration,
    /// How many are kept, at most 100.
    pub count: usize,
}

#[derive(Debug, Default)]
struct Track {
    /// When the last run's container was gone.
    ended: Option<Instant>,
    gaps: VecDeque<Duration>,
}

/// The gaps of all devices.
#[derive(Debug, Default)]
pub struct IdleGaps {
    // Held for an operation on the map, never across an await.
    devices: Mutex<BTreeMap<DeviceId, Track>>,
}

impl IdleGaps {
    fn devices(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Track>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One gap of a quarter of a second, for tests.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let (gaps, device, now) = (Self::default(), DeviceId("cpu-0".to_owned()), Instant::now());
        gaps.ended(&device, now);
        gaps.begun(&device, now + Duration::from_millis(250));
        gaps
    }

    /// A run's container is gone.
    pub(super) fn ended(&self, device: &DeviceId, now: Instant) {
        self.devices().entry(device.clone()).or_default().ended = Some(now);
    }

    /// A run was given to the device; if it did not wait for it there is no gap.
    pub(super) fn granted(&self, device: &DeviceId, now: Instant) {
        let mut devices = self.devices();
        let track = devices.entry(device.clone()).or_default();
        track.ended = track.ended.filter(|ended| now.duration_since(*ended) <= WAITED_MAX);
    }

    /// The first instruction of a run was executed.
    pub(super) fn begun(&self, device: &DeviceId, now: Instant) {
        let mut devices = self.devices();
        let track = devices.entry(device.clone()).or_default();
        let Some(ended) = track.ended.take() else { return };
        track.gaps.truncate(GAPS_KEPT - 1);
        track.gaps.push_front(now.duration_since(ended));
    }

    /// The gaps of every device that has had one.
    #[must_use]
    pub fn figures(&self) -> BTreeMap<DeviceId, IdleGap> {
        let devices = self.devices();
        let of = |track: &Track| {
            let last = *track.gaps.front()?;
            let mut sorted: Vec<Duration> = track.gaps.iter().copied().collect();
            sorted.sort_unstable();
            let count = sorted.len();
            // The smallest one that so many of a hundred do not exceed.
            let at = |percent: usize| {
                let rank = (count * percent).div_ceil(100).saturating_sub(1);
                sorted.get(rank).copied().unwrap_or(last)
            };
            Some(IdleGap { last, p50: at(50), p95: at(95), count })
        };
        devices.iter().filter_map(|(id, track)| Some((id.clone(), of(track)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        DeviceId("cpu-0".to_owned())
    }

    fn cycle(gaps: &IdleGaps, start: Instant, granted_ms: u64, begun_ms: u64) {
        let at = |ms| start + Duration::from_millis(ms);
        gaps.ended(&device(), start);
        gaps.granted(&device(), at(granted_ms));
        gaps.begun(&device(), at(begun_ms));
    }

    #[test]
    fn the_gap_runs_from_the_end_of_a_run_to_the_first_instruction_of_the_next() {
        let gaps = IdleGaps::default();
        for ms in 1..=20 {
            cycle(&gaps, Instant::now(), 0, ms);
        }
        let ms = Duration::from_millis;
        let expected = IdleGap { last: ms(20), p50: ms(10), p95: ms(19), count: 20 };
        assert_eq!(gaps.figures(), BTreeMap::from([(device(), expected)]));
    }

    #[test]
    fn a_device_without_work_is_not_slow() {
        let gaps = IdleGaps::default();
        gaps.granted(&device(), Instant::now());
        gaps.begun(&device(), Instant::now());
        assert_eq!(gaps.figures(), BTreeMap::new(), "the first run follows nothing");
        cycle(&gaps, Instant::now(), 6_000, 6_100);
        assert_eq!(gaps.figures(), BTreeMap::new(), "it did not wait");
        cycle(&gaps, Instant::now(), 4_000, 4_100);
        assert_eq!(gaps.figures()[&device()].last, Duration::from_millis(4_100));
    }

    #[test]
    fn only_the_latest_gaps_are_kept() {
        let gaps = IdleGaps::default();
        for ms in 1..=300 {
            cycle(&gaps, Instant::now(), 0, ms);
        }
        let figures = gaps.figures()[&device()];
        assert_eq!((figures.count, figures.p50), (GAPS_KEPT, Duration::from_millis(250)));
    }
}
