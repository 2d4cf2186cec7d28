//! What a report does not say, since it is of one moment: devices over the last hour.
//!
//! In memory only, and bounded: it is for looking at. What has to last is in the store, and what
//! somebody wants to keep is read from `/metrics`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use node_core::inventory::DeviceId;
use node_core::unit::UnixMs;
use tokio::sync::watch;

use crate::status::{DeviceState, DeviceStatus, PublishedReport, StatusReport};

/// Time between two moments that are kept of a device. Lower: an hour is more than can be drawn.
/// Higher: short runs fall between two of them.
pub(super) const SAMPLE_EVERY_MS: u64 = 15_000;

/// Moments kept of each device.
const MOMENTS_MAX: usize = 240;

/// How far back they reach: an hour.
pub(super) const KEPT_MS: u64 = 3_600_000;
const _: () = assert!(SAMPLE_EVERY_MS * MOMENTS_MAX as u64 == KEPT_MS);

/// A device at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeviceMoment {
    /// When, by the report.
    pub(super) at: UnixMs,
    /// What it did.
    pub(super) state: DeviceState,
    /// How busy its processors were.
    pub(super) utilisation_percent: Option<u32>,
    /// How warm it was.
    pub(super) temperature_c: Option<u32>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct History {
    sampled_at: Option<UnixMs>,
    devices: BTreeMap<DeviceId, VecDeque<DeviceMoment>>,
}

impl History {
    /// Takes note of a report.
    pub(super) fn note(&mut self, report: &StatusReport) {
        let is_due = |last: UnixMs| {
            // A clock that was set back must not stop it for as long.
            report.as_of < last || report.as_of.0.saturating_sub(last.0) >= SAMPLE_EVERY_MS
        };
        if self.sampled_at.is_none_or(is_due) {
            self.sampled_at = Some(report.as_of);
            self.note_devices(report);
        }
    }

    fn note_devices(&mut self, report: &StatusReport) {
        self.devices.retain(|id, _| report.devices.iter().any(|device| device.id == *id));
        for device in &report.devices {
            let moments = self.devices.entry(device.id.clone()).or_default();
            if moments.len() >= MOMENTS_MAX {
                moments.pop_front();
            }
            moments.push_back(moment(device, report.as_of));
        }
    }

    /// The moments of a device, the oldest first.
    pub(super) fn of_device(&self, id: &DeviceId) -> Vec<DeviceMoment> {
        self.devices.get(id).into_iter().flatten().copied().collect()
    }
}

fn moment(device: &DeviceStatus, at: UnixMs) -> DeviceMoment {
    let sample = device.health.as_ref().and_then(|health| health.sample.as_ref());
    DeviceMoment {
        at,
        state: device.state(),
        utilisation_percent: sample.and_then(|sample| sample.utilisation.value().copied()),
        temperature_c: sample.and_then(|sample| sample.temperature_c.value().copied()),
    }
}

/// Takes note of every report, until nobody writes any more.
pub(super) async fn follow(
    mut reports: watch::Receiver<Arc<PublishedReport>>,
    history: watch::Sender<History>,
) {
    reports.mark_changed();
    while reports.changed().await.is_ok() {
        let report = reports.borrow_and_update();
        history.send_modify(|history| history.note(&report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    fn later(by_ms: u64) -> StatusReport {
        let mut report = sample::healthy();
        report.as_of.0 += by_ms;
        report
    }

    #[test]
    fn a_device_is_sampled_every_so_often_and_forgotten_after_an_hour() {
        let mut history = History::default();
        let cpu = sample::healthy().devices[0].id.clone();
        for step in 0..2_000 {
            history.note(&later(step * SAMPLE_EVERY_MS / 3));
        }
        let moments = history.of_device(&cpu);
        assert_eq!(moments.len(), MOMENTS_MAX);
        let span_ms = moments[MOMENTS_MAX - 1].at.0 - moments[0].at.0;
        assert_eq!(span_ms, KEPT_MS - SAMPLE_EVERY_MS);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let mut history = History::default();
        let cpu = sample::healthy().devices[0].id.clone();
        for by_ms in [KEPT_MS, 0, SAMPLE_EVERY_MS] {
            history.note(&later(by_ms));
        }
        assert_eq!(history.of_device(&cpu).len(), 3);
    }

    #[test]
    fn a_device_that_no_report_names_is_forgotten() {
        let mut history = History::default();
        history.note(&later(0));
        let mut without = later(SAMPLE_EVERY_MS);
        let gone = without.devices.remove(0).id;
        history.note(&without);
        assert!(history.of_device(&gone).is_empty());
        assert_eq!(history.of_device(&without.devices[0].id).len(), 2);
    }
}
