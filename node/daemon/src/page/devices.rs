//! Each device: how it stands, why, what it reads, and what it did in the last hour.

use askama::Template;
use node_core::health::observation::{Reading, Sample};
use node_core::unit::UnixMs;

use super::charts::{state_class, strip, Svg};
use super::frame::Frame;
use super::history::History;
use super::words::{Badge, Fact, Facts, Name};
use crate::status::{
    date_time, grouped, span, DeviceState, DeviceStatus, HealthStatus, StatusReport,
};

/// The page.
#[derive(Debug, Template)]
#[template(path = "devices.html")]
pub(super) struct Devices {
    frame: Frame,
    summary: Vec<Count>,
    devices: Vec<Device>,
}

/// Devices in one state; also a line of the legend.
#[derive(Debug)]
struct Count {
    name: &'static str,
    class: &'static str,
    count: usize,
}

/// A device.
#[derive(Debug)]
struct Device {
    id: String,
    label: String,
    state: Badge,
    run: Option<Name>,
    facts: Facts,
    findings: Vec<Finding>,
    chart: Svg,
}

/// What is known against a device.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    level: &'static str,
    detail: String,
    advice: &'static str,
}

impl Devices {
    /// - `history`: what they did before.
    pub(super) fn of(report: &StatusReport, now: UnixMs, history: &History) -> Self {
        let of = |state| report.devices.iter().filter(|one| one.state() == state).count();
        let count = |state: DeviceState| Count {
            name: state.name(),
            class: state_class(state),
            count: of(state),
        };
        Self {
            frame: Frame::of(report, now, "/devices", "Devices"),
            summary: DeviceState::ALL.map(count).into(),
            devices: report.devices.iter().map(|one| device(one, report, history)).collect(),
        }
    }
}

fn device(device: &DeviceStatus, report: &StatusReport, history: &History) -> Device {
    let state = device.state();
    let class = match state {
        DeviceState::Running => "good",
        DeviceState::Free | DeviceState::NotUsed => "plain",
        DeviceState::Unusable | DeviceState::Gone => "bad",
    };
    let run = report.runs.iter().find(|run| Some(run.run) == device.run);
    let findings = device.health.iter().flat_map(|health| &health.findings);
    let moments = history.of_device(&device.id);
    Device {
        id: device.id.to_string(),
        label: device.label.clone(),
        state: Badge { word: state.name(), class },
        run: run.map(|run| Name::of(&run.submission, run.submission.short())),
        facts: facts(device).into(),
        findings: findings
            .map(|one| Finding {
                check: one.check.name(),
                level: one.level.name(),
                detail: one.detail.clone(),
                advice: one.action.advice(),
            })
            .collect(),
        chart: strip(&device.id.to_string(), &moments, report.as_of),
    }
}

fn facts(device: &DeviceStatus) -> Vec<Fact> {
    let mut facts = vec![Fact::said("Kind", device.kind.replace('_', " "))];
    let memory = format!("{} MiB for a run", grouped(device.memory_mib));
    facts.push(Fact::said("Memory", memory));
    facts.extend(device.gone_since.map(|at| Fact::said("Gone since", date_time(at))));
    // Of one that is gone, that is why.
    let obstacle = device.obstacle.clone().filter(|_| device.gone_since.is_none());
    facts.extend(obstacle.map(|why| Fact::said("Why it takes no run", why)));
    if let Some(gap) = device.idle_gap {
        let said = format!(
            "{} the last time, {} in the median, {} at the 95th percentile of {}",
            span(gap.last_ms),
            span(gap.p50_ms),
            span(gap.p95_ms),
            gap.count
        );
        facts.push(Fact::said("Between runs", said));
    }
    if let Some(gpu) = &device.gpu {
        let driver = gpu.driver_version.as_deref().unwrap_or("unknown");
        let said = format!("compute capability {}, driver {driver}", gpu.compute_capability);
        facts.push(Fact::said("GPU", said));
        facts.extend(gpu.slice.as_ref().map(|slice| Fact::exact("Slice of", &slice.parent)));
    }
    facts.extend(device.health.iter().flat_map(health));
    facts
}

fn health(health: &HealthStatus) -> Vec<Fact> {
    let since = format!("{}, since {}", health.standing.name(), date_time(health.since));
    let mut facts = vec![Fact::said("Standing", since)];
    facts.extend(health.unusable.clone().map(|why| Fact::said("Not usable", why)));
    if let Some(order) = &health.order {
        let word = if order.is_drain { "drained" } else { "cordoned" };
        let said = format!("{word} {}: {}", date_time(order.at), order.reason);
        facts.push(Fact::said("By the operator", said));
    }
    if !health.failures.is_empty() {
        let said: Vec<String> = health
            .failures
            .iter()
            .map(|failure| format!("{}: {}", date_time(failure.at), failure.cause))
            .collect();
        facts.push(Fact::said("Failures of a day", said.join("; ")));
    }
    facts.push(Fact::said("Probes", format!("{} ended", grouped(health.probes))));
    facts.extend(health.sample.iter().flat_map(readings));
    facts
}

fn readings(sample: &Sample) -> Vec<Fact> {
    let milliwatts = |milliwatts: &u32| format!("{} W", milliwatts / 1000);
    [
        ("Busy", said(&sample.utilisation, |percent| format!("{percent} %"))),
        ("Temperature", said(&sample.temperature_c, |degrees| format!("{degrees} °C"))),
        ("Memory in use", said(&sample.memory_used_mib, |mib| format!("{} MiB", grouped(*mib)))),
        ("Power", said(&sample.power_mw, milliwatts)),
        ("Memory errors", said(&sample.ecc_uncorrected, |count| grouped(*count))),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some(Fact::said(name, text?)))
    .collect()
}

/// A reading in words; `None` where there is no such sensor.
fn said<T>(reading: &Reading<T>, words: impl Fn(&T) -> String) -> Option<String> {
    match reading {
        Reading::Value(value) => Some(words(value)),
        Reading::Unsupported => None,
        Reading::Unreadable { detail } => Some(format!("cannot be read: {detail}")),
    }
}
