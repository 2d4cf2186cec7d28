//! Devices, as data.
//!
//! Part of the schema in `report`: fields are added, never renamed.

use std::time::Duration;

use node_core::health::observation::{ProbeFigures, ProbeResult, Sample};
use node_core::health::{Cause, DeviceHealth, DeviceRow, Failure, Finding, Level, Order, Standing};
use node_core::id::RunId;
use node_core::inventory::{Device, DeviceId, Place, SliceFacts};
use node_core::machine::Machine;
use node_core::placement::Obstacle;
use node_core::unit::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::age::date_time;
use super::schema::{
    CauseSchema, FailureSchema, FindingSchema, HexText, LevelSchema, OrderSchema, PlaceSchema,
    ProbeFiguresSchema, ProbeResultSchema, SampleSchema, SliceFactsSchema, StandingSchema, TimeMs,
};
use crate::run::IdleGap;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceStatus {
    /// Its name.
    #[schemars(with = "String")]
    pub id: DeviceId,
    /// What a person calls it.
    pub label: String,
    /// Its kind: `cpu_slot`, `gpu` or `mig_slice`; empty for one that is gone and of which nobody
    /// kept what it was.
    pub kind: String,
    /// Since when this host does not have it any more; `null` while it has. The other fields then
    /// are what was known last.
    #[serde(default)]
    #[schemars(with = "Option<TimeMs>")]
    pub gone_since: Option<UnixMs>,
    /// Memory a run may use on it, MiB.
    pub memory_mib: u64,
    /// The run on it.
    #[schemars(with = "Option<HexText>")]
    pub run: Option<RunId>,
    /// What its driver says of it; `null` for CPU slots.
    #[serde(default)]
    pub gpu: Option<GpuStatus>,
    /// How it stands, and why.
    #[serde(default)]
    pub health: Option<HealthStatus>,
    /// What keeps the next run from it; `null` if one could start now.
    #[serde(default)]
    pub obstacle: Option<String>,
    /// How long it stood idle between runs that waited for it; `null` before the second one.
    #[serde(default)]
    pub idle_gap: Option<IdleGapStatus>,
}

/// The latest times from the end of a run to the first instruction of the next, at most 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdleGapStatus {
    /// The latest, in milliseconds.
    pub last_ms: u64,
    /// Half were no longer, in milliseconds.
    pub p50_ms: u64,
    /// Nineteen of twenty were no longer, in milliseconds.
    pub p95_ms: u64,
    /// How many there are.
    pub count: usize,
}

impl From<IdleGap> for IdleGapStatus {
    fn from(gap: IdleGap) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let IdleGap { last, p50, p95, count } = gap;
        Self { last_ms: ms(last), p50_ms: ms(p50), p95_ms: ms(p95), count }
    }
}

/// What a driver says of a GPU or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuStatus {
    /// Where it sits, and how near others are.
    #[schemars(with = "PlaceSchema")]
    pub place: Place,
    /// For example `9.0`.
    pub compute_capability: String,
    /// The driver's version.
    pub driver_version: Option<String>,
    /// Which part of which GPU it is.
    #[schemars(with = "Option<SliceFactsSchema>")]
    pub slice: Option<SliceFacts>,
}

/// How a device stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthStatus {
    /// How it stands.
    #[schemars(with = "StandingSchema")]
    pub standing: Standing,
    /// Since when.
    #[schemars(with = "TimeMs")]
    pub since: UnixMs,
    /// Why it stands so; `null` if it is healthy.
    #[serde(default)]
    #[schemars(with = "Option<CauseSchema>")]
    pub cause: Option<Cause>,
    /// Why it is given no run now; `null` if it may be.
    pub unusable: Option<String>,
    /// What an operator ordered.
    #[schemars(with = "Option<OrderSchema>")]
    pub order: Option<Order>,
    /// The most serious of the findings.
    #[schemars(with = "LevelSchema")]
    pub level: Level,
    /// What is known against and for it, the most serious first.
    #[schemars(with = "Vec<FindingSchema>")]
    pub findings: Vec<Finding>,
    /// The newest readings.
    #[schemars(with = "Option<SampleSchema>")]
    pub sample: Option<Sample>,
    /// The failures of the last day; three leave it to a person.
    #[schemars(with = "Vec<FailureSchema>")]
    pub failures: Vec<Failure>,
    /// What the newest probe found.
    #[schemars(with = "Option<ProbeResultSchema>")]
    pub probe: Option<ProbeResult>,
    /// Probes that ended since the start.
    pub probes: u64,
    /// The best that probes reached.
    #[schemars(with = "Option<ProbeFiguresSchema>")]
    pub baseline: Option<ProbeFigures>,
}

impl From<&DeviceHealth> for HealthStatus {
    fn from(health: &DeviceHealth) -> Self {
        let row = health.row();
        Self {
            standing: row.standing,
            since: row.since,
            cause: row.cause.clone(),
            unusable: health.check_usable().err().map(|reason| reason.to_string()),
            order: row.order.clone(),
            level: health.level(),
            findings: health.findings(),
            sample: health.sample().cloned(),
            failures: row.failures.clone(),
            probe: health.probe().cloned(),
            probes: health.probes_ended(),
            baseline: row.baseline,
        }
    }
}

/// What was known last of a device that is gone.
impl From<&DeviceRow> for HealthStatus {
    fn from(row: &DeviceRow) -> Self {
        let last = match &row.cause {
            Some(cause) => format!("{}: {cause}", row.standing.name()),
            None => row.standing.name().to_owned(),
        };
        let since = row.gone_since.unwrap_or(row.since);
        let gone = Finding::gone();
        Self {
            standing: row.standing,
            since: row.since,
            cause: row.cause.clone(),
            unusable: Some(format!("gone since {}; it was {last}", date_time(since))),
            order: row.order.clone(),
            level: gone.level,
            findings: vec![gone],
            sample: None,
            failures: row.failures.clone(),
            probe: None,
            probes: 0,
            baseline: row.baseline,
        }
    }
}

/// Every device of the host, in the inventory's order, then those that are gone.
pub(super) fn devices(machine: &Machine) -> Vec<DeviceStatus> {
    let limits = &machine.config().policy.run;
    let (obstacles, never) = match machine.placement().obstacles(limits) {
        Ok(obstacles) => (obstacles, None),
        Err(refusal) => (Vec::new(), Some(refusal.to_string())),
    };
    let of_device = |device: &Device| {
        let obstacle = obstacles.iter().find(|obstacle| obstacle.device == device.id);
        never.clone().or_else(|| obstacle.map(|obstacle| obstacle_text(machine, obstacle)))
    };
    let there = machine.devices().iter();
    let there = there.map(|device| describe(machine, device, of_device(device)));
    there.chain(machine.gone_devices().map(describe_gone)).collect()
}

fn describe_gone(row: &DeviceRow) -> DeviceStatus {
    let seen = row.seen.as_ref();
    DeviceStatus {
        id: row.device.clone(),
        label: seen.map_or_else(String::new, |seen| seen.label.clone()),
        kind: seen.map_or_else(String::new, |seen| seen.kind.to_string()),
        gone_since: row.gone_since,
        memory_mib: seen.map_or(0, |seen| seen.memory_mib),
        run: None,
        obstacle: None,
        gpu: None,
        health: Some(row.into()),
        idle_gap: None,
    }
}

fn obstacle_text(machine: &Machine, obstacle: &Obstacle) -> String {
    let run = obstacle.run.and_then(|id| machine.runs().find(|run| run.row.run == id));
    match run {
        Some(run) => format!("it runs {}", run.row.grant.assignment.submission.short()),
        None => obstacle.verdict.to_string(),
    }
}

fn describe(machine: &Machine, device: &Device, obstacle: Option<String>) -> DeviceStatus {
    let mut holders = machine.runs().filter(|run| run.holds_device());
    let run = holders.find(|run| run.row.devices.contains(&device.id)).map(|run| run.row.run);
    let health = machine.health().find(|(id, _)| **id == device.id);
    let gpu = device.gpu.as_ref().map(|gpu| GpuStatus {
        place: device.place.clone(),
        compute_capability: format!("{}.{}", gpu.compute_capability.0, gpu.compute_capability.1),
        driver_version: gpu.driver_version.clone(),
        slice: gpu.slice.clone(),
    });
    DeviceStatus {
        id: device.id.clone(),
        label: device.label.clone(),
        kind: device.kind.to_string(),
        gone_since: None,
        memory_mib: device.memory_mib,
        run,
        obstacle,
        gpu,
        health: health.map(|(_, health)| health.into()),
        // The machine does not know.
        idle_gap: None,
    }
}
