//! What is known of each device, as gauges with its id as a label.
//!
//! Set from the latest status report, like all gauges. A sensor that a device does not have, or
//! that cannot be read, shows no value: the latter is a cause, and shows as that.

use node_core::health::observation::{Reading, Sample, Throttle};
use node_core::health::Cause;

use super::{declared, labelled, Declared, PLAIN};
use crate::status::{DeviceState, DeviceStatus, HealthStatus};

/// How a gauge is read from a device: values by the second label, if there is one.
type Read = fn(&DeviceStatus) -> Vec<(&'static str, f64)>;

/// How a device may stand, those that are not there any more included.
pub(super) const STANDINGS: &[&str] =
    &["healthy", "suspect", "cordoned", "probing", "failed", GONE];
/// See [`DeviceStatus::gone_since`].
const GONE: &str = "gone";

/// What a device may be to runs.
pub(super) const STATES: &[&str] = &["free", "busy", "not_used", "unusable", GONE];

pub(super) const LEVELS: &[&str] = &["pass", "info", "unknown", "warning", "critical"];

const MIB: f64 = 1_048_576.0;

pub(super) const GAUGES: &[(Declared, Read)] = &[
    (
        labelled(
            "assay_device_standing",
            "standing",
            STANDINGS,
            "1 for how the device stands, 0 for the others; `gone`: it was there in an earlier \
             life of the node",
        ),
        |device| {
            let stands = standing(device);
            STANDINGS.iter().map(|name| (*name, one_if(stands == Some(*name)))).collect()
        },
    ),
    (
        labelled(
            "assay_device_health",
            "level",
            LEVELS,
            "1 for the level of the most serious thing known of the device, 0 for the others",
        ),
        |device| {
            let level = device.health.as_ref().map(|health| health.level.name());
            LEVELS.iter().map(|name| (*name, one_if(level == Some(*name)))).collect()
        },
    ),
    (
        labelled(
            "assay_device_cause",
            "cause",
            &Cause::NAMES,
            "1 for why the device does not stand `healthy`; missing if it does",
        ),
        |device| {
            let cause = device.health.as_ref().and_then(|health| health.cause.as_ref());
            cause.map(|cause| (cause.name(), 1.0)).into_iter().collect()
        },
    ),
    (
        labelled(
            "assay_device_ordered",
            "order",
            &["cordon", "drain"],
            "1 for what an operator ordered for the device, else 0",
        ),
        |device| {
            let order = device.health.as_ref().and_then(|health| health.order.as_ref());
            let is_drain = order.map(|order| order.is_drain);
            vec![
                ("cordon", one_if(is_drain == Some(false))),
                ("drain", one_if(is_drain == Some(true))),
            ]
        },
    ),
    (
        declared(
            "assay_device_failures",
            "",
            "Failures of the device in the last day; the third leaves it to a person",
        ),
        |device| {
            let count = |health: &HealthStatus| u32::try_from(health.failures.len()).ok();
            plain(device.health.as_ref().and_then(count).map(f64::from))
        },
    ),
    (declared("assay_device_temperature", "celsius", "Temperature of the GPU"), |device| {
        plain(sensor(device, |sample| &sample.temperature_c).map(f64::from))
    }),
    (
        declared("assay_device_memory", "bytes", "Memory of the device that a run may use"),
        |device| plain((device.memory_mib > 0).then(|| bytes(device.memory_mib))),
    ),
    (
        declared("assay_device_memory_used", "bytes", "Memory of the device that something holds"),
        |device| plain(sensor(device, |sample| &sample.memory_used_mib).map(bytes)),
    ),
    (
        declared("assay_device_utilisation", "percent", "How busy the GPU's processors were"),
        |device| plain(sensor(device, |sample| &sample.utilisation).map(f64::from)),
    ),
    (declared("assay_device_power", "watts", "What the GPU draws"), |device| {
        plain(sensor(device, |sample| &sample.power_mw).map(|mw| f64::from(mw) / 1e3))
    }),
    (
        labelled(
            "assay_device_throttled",
            "reason",
            &["hardware", "hardware_thermal", "power_brake", "software_thermal", "power_cap"],
            "Whether this holds the GPU's clocks back: 1 or 0; `power_cap` is a chosen limit, \
             the others cost trust",
        ),
        |device| sensor(device, |sample| &sample.throttle).map(throttled).unwrap_or_default(),
    ),
    (
        labelled(
            "assay_device_ecc_errors",
            "kind",
            &["corrected", "uncorrected"],
            "Memory errors of the GPU since its driver was loaded",
        ),
        |device| {
            let corrected = sensor(device, |sample| &sample.ecc_corrected);
            let uncorrected = sensor(device, |sample| &sample.ecc_uncorrected);
            let kinds = [("corrected", corrected), ("uncorrected", uncorrected)];
            kinds.into_iter().filter_map(|(kind, count)| Some((kind, count? as f64))).collect()
        },
    ),
];

/// What a device is to runs: one of [`STATES`].
pub(super) fn state(device: &DeviceStatus) -> &'static str {
    match device.state() {
        DeviceState::Free => "free",
        DeviceState::Running => "busy",
        DeviceState::NotUsed => "not_used",
        DeviceState::Unusable => "unusable",
        DeviceState::Gone => GONE,
    }
}

/// How a device stands; `None` where nobody watches it.
pub(super) fn standing(device: &DeviceStatus) -> Option<&'static str> {
    let health = device.health.as_ref()?;
    Some(if device.gone_since.is_some() { GONE } else { health.standing.name() })
}

fn sensor<T: Copy>(device: &DeviceStatus, read: fn(&Sample) -> &Reading<T>) -> Option<T> {
    read(device.health.as_ref()?.sample.as_ref()?).value().copied()
}

fn throttled(throttle: Throttle) -> Vec<(&'static str, f64)> {
    let Throttle { hardware, hardware_thermal, power_brake, software_thermal, power_cap } =
        throttle;
    let reasons = [
        ("hardware", hardware),
        ("hardware_thermal", hardware_thermal),
        ("power_brake", power_brake),
        ("software_thermal", software_thermal),
        ("power_cap", power_cap),
    ];
    reasons.map(|(reason, holds)| (reason, one_if(holds))).to_vec()
}

fn plain(value: Option<f64>) -> Vec<(&'static str, f64)> {
    value.map(|value| (PLAIN, value)).into_iter().collect()
}

fn bytes(mib: u64) -> f64 {
    mib as f64 * MIB
}

fn one_if(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::status::sample;
    use node_core::health::{Level, Standing};

    fn text_of(devices: Vec<DeviceStatus>) -> String {
        let mut report = sample::healthy();
        report.devices = devices;
        Metrics::new().encode(&report, report.as_of).unwrap()
    }

    #[test]
    fn every_standing_level_and_cause_of_core_has_its_label() {
        let standings = Standing::ALL.map(Standing::name);
        assert_eq!(STANDINGS.split_last(), Some((&GONE, &standings[..])));
        assert_eq!(LEVELS, Level::ALL.map(Level::name));
    }

    #[test]
    fn a_gpu_shows_what_its_sensors_say_and_how_it_stands() {
        let gpu = sample::gpu_with_held_memory();
        let text = text_of(vec![gpu.clone()]);
        let id = &gpu.id;
        for (name, label, value) in [
            ("assay_device_temperature_celsius", "", "41.0"),
            ("assay_device_memory_used_bytes", "", "42467328000.0"),
            ("assay_device_memory_bytes", "", "85520809984.0"),
            ("assay_device_power_watts", "", "70.0"),
            ("assay_device_utilisation_percent", "", "0.0"),
            ("assay_device_throttled", ",reason=\"hardware_thermal\"", "0.0"),
            ("assay_device_ecc_errors", ",kind=\"uncorrected\"", "0.0"),
            ("assay_device_failures", "", "1.0"),
            ("assay_device_standing", ",standing=\"cordoned\"", "1.0"),
            ("assay_device_standing", ",standing=\"healthy\"", "0.0"),
            ("assay_device_health", ",level=\"critical\"", "1.0"),
            ("assay_device_cause", ",cause=\"memory_held\"", "1.0"),
            ("assay_device_ordered", ",order=\"drain\"", "0.0"),
        ] {
            let line = format!("{name}{{device=\"{id}\"{label}}} {value}\n");
            assert!(text.contains(&line), "{line} not in:\n{text}");
        }
    }

    #[test]
    fn a_sensor_that_cannot_be_read_shows_no_value_and_a_slot_has_none() {
        let mut gpu = sample::gpu_with_held_memory();
        let health = gpu.health.as_mut().unwrap();
        let detail = "Unknown Error".to_owned();
        health.sample.as_mut().unwrap().temperature_c = Reading::Unreadable { detail };
        let text = text_of(vec![gpu, sample::healthy().devices.remove(0)]);
        assert!(!text.contains("assay_device_temperature_celsius{"), "{text}");
        assert!(text.contains("assay_device_memory_bytes{device=\"cpu-0\"} "), "{text}");
    }

    #[test]
    fn a_device_is_counted_once_and_as_free_only_if_a_run_could_begin_on_it() {
        let mut devices = sample::healthy().devices;
        devices.extend([sample::unused_gpu(), sample::gpu_with_held_memory(), sample::gone_gpu()]);
        assert_eq!(devices.len(), STATES.len());
        let text = text_of(devices);
        for state in STATES {
            let line = format!("assay_devices{{state=\"{state}\"}} 1\n");
            assert!(text.contains(&line), "{line} not in:\n{text}");
        }
    }

    #[test]
    fn a_gone_gpu_is_counted_as_gone_and_as_nothing_else() {
        let gone = sample::gone_gpu();
        let text = text_of(vec![gone.clone()]);
        for line in [
            format!("assay_device_standing{{device=\"{}\",standing=\"gone\"}} 1.0\n", gone.id),
            format!("assay_device_standing{{device=\"{}\",standing=\"cordoned\"}} 0.0\n", gone.id),
            "assay_devices{state=\"gone\"} 1\n".to_owned(),
            "assay_devices{state=\"free\"} 0\n".to_owned(),
            "assay_devices_standing{standing=\"gone\"} 1\n".to_owned(),
            "assay_devices_standing{standing=\"cordoned\"} 0\n".to_owned(),
            "assay_devices_health{level=\"critical\"} 1\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} not in:\n{text}");
        }
    }
}
