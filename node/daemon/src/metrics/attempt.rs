//! How far the run on each device is, as gauges with the device's id as a label.
//!
//! Set from the latest status report, like all gauges. A run on several devices shows under the
//! first of them.

use std::collections::BTreeSet;

use super::{declared, Declared};
use crate::status::{AttemptStatus, StatusReport};

/// How a gauge is read from a run; `None` while it is not known.
type Read = fn(&AttemptStatus) -> Option<f64>;

pub(super) const GAUGES: &[(Declared, Read)] = &[
    (
        declared("assay_run_covered", "bytes", "Training text that the run has measured"),
        |attempt| Some(attempt.covered_bytes as f64),
    ),
    (
        declared("assay_run_budget", "bytes", "Training text that the run measures in all"),
        |attempt| Some(attempt.total_bytes as f64),
    ),
    (
        declared(
            "assay_run_bits_per_byte",
            "",
            "Bits per byte of the run so far; missing before its first batch",
        ),
        |attempt| attempt.microbpb.map(|micro| micro as f64 / 1e6),
    ),
    (
        declared(
            "assay_run_rate_bytes_per_second",
            "",
            "Training text per second of the run so far; missing before its first batch",
        ),
        |attempt| attempt.bytes_per_second.map(|rate| rate as f64),
    ),
    (
        declared("assay_run_remaining", "seconds", "Until the run's text is used up at this rate"),
        |attempt| attempt.remaining_s.map(|seconds| seconds as f64),
    ),
];

/// The runs that measure, each with the id of its first device.
pub(super) fn by_device(report: &StatusReport) -> Vec<(String, AttemptStatus)> {
    let mut shown = BTreeSet::new();
    let first = |device: &crate::status::DeviceStatus| {
        let run = device.run.filter(|run| shown.insert(*run))?;
        let run = report.runs.iter().find(|known| known.run == run)?;
        Some((device.id.to_string(), run.progress?))
    };
    report.devices.iter().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;
    use crate::status::sample;

    #[test]
    fn a_run_shows_its_progress_once_and_nothing_when_it_is_gone() {
        let metrics = Metrics::new();
        let mut report = sample::healthy();
        let mut second = report.devices[0].clone();
        second.id = node_core::inventory::DeviceId("cpu-9".to_owned());
        report.devices.push(second);
        let text = metrics.encode(&report, report.as_of).unwrap();
        for line in [
            "assay_run_covered_bytes{device=\"cpu-0\"} 50000.0\n",
            "assay_run_budget_bytes{device=\"cpu-0\"} 200000.0\n",
            "assay_run_bits_per_byte{device=\"cpu-0\"} 2.345678\n",
            "assay_run_rate_bytes_per_second{device=\"cpu-0\"} 12500.0\n",
            "assay_run_remaining_seconds{device=\"cpu-0\"} 12.0\n",
        ] {
            assert!(text.contains(line), "{line} not in:\n{text}");
        }
        assert!(!text.contains("assay_run_covered_bytes{device=\"cpu-9\"}"), "{text}");
        report.runs.clear();
        let text = metrics.encode(&report, report.as_of).unwrap();
        assert!(!text.contains("assay_run_covered_bytes{"), "{text}");
    }
}
