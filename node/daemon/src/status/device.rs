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

/// Characters of a device's name that tell it from others.
const SHORT_CHARS: usize = 12;

/// What a device is to runs at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// A run is on it.
    Running,
    /// A run could begin.
    Free,
    /// Nothing is known against it, and the next run does not fit it: it is of another kind than
    /// the policy's runs need, too small, or alone where they need several.
    NotUsed,
    /// It is not trusted, or an operator keeps it from runs.
    Unusable,
    /// The host does not have it any more.
    Gone,
}

impl DeviceState {
    /// Every one, the busiest first.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Free, Self::NotUsed, Self::Unusable, Self::Gone];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Free => "free",
            Self::NotUsed => "not used",
            Self::Unusable => "not usable",
            Self::Gone => "gone",
        }
    }
}

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

impl DeviceStatus {
    /// What it is to runs: of several things, what keeps it most from the next one.
    #[must_use]
    pub fn state(&self) -> DeviceState {
        if self.gone_since.is_some() {
            DeviceState::Gone
        } else if self.run.is_some() {
            DeviceState::Running
        } else if self.distrust().is_some() {
            DeviceState::Unusable
        } else if self.obstacle.is_some() {
            DeviceState::NotUsed
        } else {
            DeviceState::Free
        }
    }

    /// Whether a run could begin on it now.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.state() == DeviceState::Free
    }

    /// Why no run begins on it, also when the one that is on it is over; `None` if one may.
    #[must_use]
    pub fn why_not(&self) -> Option<String> {
        let state = self.state();
        match state {
            DeviceState::Free => None,
            DeviceState::Running => self.distrust().cloned(),
            DeviceState::NotUsed => {
                self.obstacle.as_ref().map(|obstacle| format!("{}: {obstacle}", state.name()))
            }
            DeviceState::Unusable | DeviceState::Gone => {
                let known = self.distrust().or(self.obstacle.as_ref());
                Some(known.cloned().unwrap_or_else(|| state.name().to_owned()))
            }
        }
    }

    /// Its name, cut to what tells it from others.
    #[must_use]
    pub fn short(&self) -> String {
        self.id.0.chars().take(SHORT_CHARS).collect()
    }

    /// What is known against it, or ordered.
    fn distrust(&self) -> Option<&String> {
        self.health.as_ref()?.unusable.as_ref()
    }
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
        let gone = Finding::gone();
        Self {
            standing: row.standing,
            since: row.since,
            cause: row.cause.clone(),
            unusable: Some(format!("{}; it was {last}", gone_text(row))),
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

/// Since when a device is not there any more.
fn gone_text(row: &DeviceRow) -> String {
    format!("gone since {}", date_time(row.gone_since.unwrap_or(row.since)))
}

pub(super) fn describe_gone(row: &DeviceRow) -> DeviceStatus {
    let seen = row.seen.as_ref();
    DeviceStatus {
        id: row.device.clone(),
        label: seen.map_or_else(String::new, |seen| seen.label.clone()),
        kind: seen.map_or_else(String::new, |seen| seen.kind.to_string()),
        gone_since: row.gone_since,
        memory_mib: seen.map_or(0, |seen| seen.memory_mib),
        run: None,
        obstacle: Some(gone_text(row)),
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

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// Each way in which a device may stand.
    fn table() -> Vec<(DeviceStatus, DeviceState, Option<&'static str>)> {
        let slots = sample::healthy().devices;
        let held = "cordoned: 40000 MiB of its memory are held and no run is on it";
        let gone = "gone since 2026-03-04 10:01:31Z; it was cordoned: Xid 79, the GPU has fallen \
                    off the bus";
        let run = Some(RunId([1; 32]));
        let leaving = DeviceStatus { run, ..sample::gpu_with_held_memory() };
        let distrusted = DeviceStatus { obstacle: None, ..sample::gpu_with_held_memory() };
        let obstacle = Some("free, with 1 of 2 devices that are needed".to_owned());
        let alone = DeviceStatus { obstacle, ..slots[1].clone() };
        let unknown = DeviceStatus { health: None, obstacle: None, ..sample::gone_gpu() };
        let too_few = "not used: free, with 1 of 2 devices that are needed";
        vec![
            (slots[0].clone(), DeviceState::Running, None),
            (slots[1].clone(), DeviceState::Free, None),
            (
                sample::unused_gpu(),
                DeviceState::NotUsed,
                Some("not used: is a gpu, a cpu_slot is needed"),
            ),
            (alone, DeviceState::NotUsed, Some(too_few)),
            (sample::gpu_with_held_memory(), DeviceState::Unusable, Some(held)),
            (distrusted, DeviceState::Unusable, Some(held)),
            (leaving, DeviceState::Running, Some(held)),
            (sample::gone_gpu(), DeviceState::Gone, Some(gone)),
            (unknown, DeviceState::Gone, Some("gone")),
        ]
    }

    #[test]
    fn a_device_is_what_keeps_it_most_from_a_run_and_says_why() {
        for (device, state, why) in table() {
            assert_eq!(device.state(), state, "{device:?}");
            assert_eq!(device.why_not().as_deref(), why, "{device:?}");
            assert_eq!(device.is_free(), state == DeviceState::Free, "{device:?}");
        }
    }

    #[test]
    fn what_keeps_runs_from_a_device_that_is_gone_is_that_it_is_gone() {
        let at = UnixMs(1_772_618_491_000);
        let row = DeviceRow { gone_since: Some(at), ..sample::device_row(Standing::Healthy) };
        let device = describe_gone(&row);
        assert_eq!(device.obstacle.as_deref(), Some("gone since 2026-03-04 10:01:31Z"));
        let why = "gone since 2026-03-04 10:01:31Z; it was healthy";
        assert_eq!(device.why_not().as_deref(), Some(why));
    }
}
