//! Whether a device can be trusted with a run.
//!
//! ```text
//!            fault seen             nothing runs on it        rested
//! healthy ------------> suspect ---------------------> cordoned -----> probing
//!    ^                                                    ^               |
//!    |                  right and as fast as it was       | wrong         |
//!    +----------------------------------------------------)---------------+
//!                                 the third failure in a day: failed, until a person says so
//! ```
//!
//! Only a healthy device is given a run, and after each run only when its memory is free again. An
//! operator's order stands beside that: it keeps a healthy device from runs, and it outlives
//! restarts.
//!
//! One [`DeviceHealth`] knows one device. Not here: how anything is read (`node/gpu`), and which
//! run gets which device (`placement`).

mod cause;
mod finding;
mod memory;
pub mod observation;
mod row;
#[cfg(test)]
pub(crate) mod tests;
pub mod xid;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use cause::Cause;
pub use finding::{judge, Action, Check, Finding, Level, HEAT_MARGIN_C};
pub use row::{Blamed, DeviceRow, Failure, Order, Seen};

use crate::health::memory::Memory;
use crate::health::observation::{Observation, ProbeFigures, ProbeResult, ProbeStep, Sample};
use crate::id::{RunId, SubmissionId};
use crate::inventory::{Device, DeviceKind};
use crate::limits::{
    COOL_DOWN_MS, FAILURES_IN_A_DAY_MAX, PROBES_NOT_STARTED_MAX, PROBE_AGAIN_MS, PROBE_EVERY_MS,
    READ_AGAIN_MS, SAMPLE_LATE_MS, SLOWER_PERCENT, THROTTLED_SAMPLES_MAX, XID_BLAMED_MAX,
};
use crate::unit::{MonoMs, Now, UnixMs};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Longest time between two ticks of a node that does not hang.
const TICK_MS_MAX: u64 = 2_000;
const _: () = assert!(TICK_MS_MAX * 4 < SAMPLE_LATE_MS);

/// How a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may be given runs.
    Healthy,
    /// Something was seen; what runs on it may end, nothing else begins.
    Suspect,
    /// It rests.
    Cordoned,
    /// It is being probed.
    Probing,
    /// Only a person gives it back.
    Failed,
}

impl Standing {
    /// Every one, in their order.
    pub const ALL: [Self; 5] =
        [Self::Healthy, Self::Suspect, Self::Cordoned, Self::Probing, Self::Failed];

    /// Its public name, the same as when it is serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Cordoned => "cordoned",
            Self::Probing => "probing",
            Self::Failed => "failed",
        }
    }
}

/// Why a device is not given a run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// An operator said so.
    Ordered {
        /// Why.
        reason: String,
    },
    /// It does not stand well.
    Standing {
        /// How it stands.
        standing: Standing,
        /// Why.
        cause: Option<Cause>,
    },
    /// After a run it is not known yet whether its memory is free.
    MemoryUnread,
}

/// Something that runs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The execution.
    pub run: RunId,
    /// Whose.
    pub submission: SubmissionId,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ordered { reason } => write!(f, "cordoned by the operator: {reason}"),
            Self::Standing { standing, cause: Some(cause) } => {
                write!(f, "{}: {cause}", standing.name())
            }
            Self::Standing { standing, cause: None } => f.write_str(standing.name()),
            Self::MemoryUnread => f.write_str("its memory is being looked at after a run"),
        }
    }
}

/// What has to be done, or said, because of something seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// What runs on the device failed through its own doing: the error, by its number.
    BlameSubmission {
        /// The number.
        code: u32,
    },
    /// What runs on the device has to end, through no doing of its own.
    EndRun {
        /// Why.
        cause: Cause,
    },
    /// Read its sensors now, for the run that ended on it last.
    Read {
        /// Which run that was.
        run: RunId,
    },
    /// Probe it, in a process of its own.
    Probe,
    /// It stands otherwise than before.
    Changed,
}

/// One device's health.
#[derive(Clone, Debug)]
pub struct DeviceHealth {
    kind: DeviceKind,
    row: DeviceRow,
    /// The newest sample.
    sample: Option<Sample>,
    /// How long no sample came, milliseconds. A node that hangs hears none either, so each tick
    /// adds no more than a tick can take.
    unread_ms: u64,
    ticked_at: MonoMs,
    rested_at: MonoMs,
    /// When the probe was asked for that has not ended, if one was.
    probe_asked_at: Option<MonoMs>,
    probed_at: Option<MonoMs>,
    /// What the newest probe found.
    probe: Option<ProbeResult>,
    probes_ended: u64,
    /// Probes in a row that could not be started.
    not_started: u32,
    memory: Memory,
    throttled_samples: u32,
    /// Samples in a row that showed memory in use while nothing ran.
    held_samples: u32,
}

impl DeviceHealth {
    /// A device as this life of the node finds it. A GPU has to be probed before its first run; a
    /// CPU slot has nothing that could be probed.
    ///
    /// - `known`: what an earlier life kept of it.
    #[must_use]
    pub fn new(now: Now, device: &Device, known: Option<DeviceRow>) -> Self {
        let (kind, seen) = (device.kind, Some(Seen::from(device)));
        let standing =
            if kind == DeviceKind::CpuSlot { Standing::Healthy } else { Standing::Cordoned };
        let fresh = DeviceRow {
            device: device.id.clone(),
            standing,
            cause: (standing != Standing::Healthy).then_some(Cause::Unproven),
            since: now.unix,
            order: None,
            failures: Vec::new(),
            blamed: Vec::new(),
            baseline: None,
            idle_memory_mib: None,
            seen: seen.clone(),
            gone_since: None,
        };
        let row = match known {
            None => fresh,
            Some(row) if row.standing == Standing::Failed => {
                DeviceRow { seen, gone_since: None, ..row }
            }
            // However it stood: what happened since is not known.
            Some(row) => {
                let cause = row.cause.or(fresh.cause);
                DeviceRow { standing, cause, seen, gone_since: None, ..row }
            }
        };
        Self {
            kind,
            row,
            sample: None,
            unread_ms: 0,
            ticked_at: now.mono,
            rested_at: now.mono,
            probe_asked_at: None,
            probed_at: None,
            probe: None,
            probes_ended: 0,
            not_started: 0,
            memory: Memory::Free,
            throttled_samples: 0,
            held_samples: 0,
        }
    }

    /// What is to be stored.
    #[must_use]
    pub fn row(&self) -> &DeviceRow {
        &self.row
    }

    /// The newest readings.
    #[must_use]
    pub fn sample(&self) -> Option<&Sample> {
        self.sample.as_ref()
    }

    /// What the newest probe of this life found.
    #[must_use]
    pub fn probe(&self) -> Option<&ProbeResult> {
        self.probe.as_ref()
    }

    /// Whether there is anything that a probe could look at.
    #[must_use]
    pub fn can_be_probed(&self) -> bool {
        self.kind != DeviceKind::CpuSlot
    }

    /// How many probes ended in this life of the node.
    #[must_use]
    pub fn probes_ended(&self) -> u64 {
        self.probes_ended
    }

    /// Whether it may be given a run.
    ///
    /// # Errors
    ///
    /// [`Unusable`] says why not.
    pub fn check_usable(&self) -> Result<(), Unusable> {
        if let Some(order) = &self.row.order {
            return Err(Unusable::Ordered { reason: order.reason.clone() });
        }
        if self.row.standing != Standing::Healthy {
            let (standing, cause) = (self.row.standing, self.row.cause.clone());
            return Err(Unusable::Standing { standing, cause });
        }
        match self.memory {
            Memory::Free => Ok(()),
            Memory::Unread { .. } => Err(Unusable::MemoryUnread),
        }
    }

    /// Everything that is known against or for it, the most serious first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.sample().map(judge).unwrap_or_default();
        findings.extend(self.row.cause.as_ref().map(Cause::finding));
        if self.row.standing == Standing::Failed {
            let count = self.row.failures.len();
            let detail = format!("{count} failures in a day; `assay device uncordon` tries again");
            findings.push(Finding::new(Check::Probe, Level::Critical, detail, Action::Replace));
        }
        if self.not_started >= PROBES_NOT_STARTED_MAX {
            let detail = format!(
                "{} probes in a row could not be started: the host, not the device",
                self.not_started
            );
            findings.push(Finding::new(Check::Probe, Level::Critical, detail, Action::CheckDriver));
        }
        if self.kind != DeviceKind::CpuSlot && self.sample.is_none() {
            let detail = "its sensors were not read yet";
            findings.push(Finding::new(Check::Answer, Level::Unknown, detail, Action::Wait));
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        findings
    }

    /// The most serious of [`Self::findings`]; PASS where there are none.
    #[must_use]
    pub fn level(&self) -> Level {
        self.findings().first().map_or(Level::Pass, |finding| finding.level)
    }

    /// Takes in something seen.
    ///
    /// - `running`: what is on the device.
    pub fn observe(
        &mut self,
        now: Now,
        observation: Observation,
        running: Option<Running>,
    ) -> Vec<Consequence> {
        match observation {
            Observation::Xid { code } => self.on_xid(now, code, running),
            Observation::EccUncorrected => self.on_fault(now, Cause::EccUncorrected, running),
            Observation::Lost { detail } => self.on_fault(now, Cause::Lost { detail }, running),
            Observation::Silent { waited_ms } => {
                self.on_fault(now, Cause::Silent { waited_ms }, running)
            }
            Observation::Sampled(sample) => self.on_sample(now, sample, running),
            Observation::Probed(result) => self.on_probed(now, result, running.is_some()),
        }
    }

    /// A run could not use the device, or saw another one. A CPU slot has nothing to look at.
    pub fn on_run_failed(&mut self, now: Now, detail: String) -> Vec<Consequence> {
        if self.kind == DeviceKind::CpuSlot {
            return Vec::new();
        }
        self.on_fault(now, Cause::RunFailed { detail }, None)
    }

    /// Lets time pass.
    pub fn on_tick(&mut self, now: Now, running: Option<Running>) -> Vec<Consequence> {
        let mut found = Vec::new();
        let is_busy = running.is_some();
        if let Memory::Unread { run, ended_at, asked_at } = self.memory {
            if now.mono.since_ms(asked_at) >= READ_AGAIN_MS {
                self.memory = Memory::Unread { run, ended_at, asked_at: now.mono };
                found.push(Consequence::Read { run });
            }
        }
        if self.kind == DeviceKind::CpuSlot {
            return found;
        }
        let tick_ms = now.mono.since_ms(self.ticked_at).min(TICK_MS_MAX);
        self.ticked_at = now.mono;
        self.unread_ms = self.unread_ms.saturating_add(tick_ms);
        if self.unread_ms >= SAMPLE_LATE_MS {
            let waited_ms = std::mem::take(&mut self.unread_ms);
            found.extend(self.on_fault(now, Cause::Silent { waited_ms }, running));
        }
        // The operator may be at work on it.
        if self.row.order.is_some() {
            return found;
        }
        match self.row.standing {
            Standing::Healthy if !is_busy && self.is_probe_due(now) => {
                self.begin_probe(now, Cause::ProbeDue, &mut found);
            }
            Standing::Suspect if !is_busy => self.rest(now, &mut found),
            Standing::Cordoned if !is_busy && now.mono >= self.rested_at => {
                if self.is_still_bad() {
                    self.rested_at = now.mono.plus_ms(COOL_DOWN_MS);
                } else if self.sample.is_some() {
                    let cause = self.row.cause.clone().unwrap_or(Cause::Unproven);
                    self.begin_probe(now, cause, &mut found);
                }
            }
            Standing::Probing if !is_busy => self.ask_for_probe(now, &mut found),
            Standing::Healthy
            | Standing::Suspect
            | Standing::Cordoned
            | Standing::Probing
            | Standing::Failed => {}
        }
        found
    }

    /// Keeps runs away until [`Self::uncordon`].
    pub fn cordon(&mut self, order: Order) {
        self.row.order = Some(order);
    }

    /// Takes the operator's order back and forgets the failures. Whatever was done to the device
    /// meanwhile, it is probed before its next run.
    pub fn uncordon(&mut self, now: Now, is_busy: bool) -> Vec<Consequence> {
        let had_order = self.row.order.take().is_some();
        self.row.failures.clear();
        let is_well = self.row.standing == Standing::Healthy;
        if self.kind == DeviceKind::CpuSlot || is_busy || (is_well && !had_order) {
            return Vec::new();
        }
        self.probe_now(now)
    }

    /// Begins a probe that an operator wants, whatever is known. Nothing may run on the device.
    pub fn probe_now(&mut self, now: Now) -> Vec<Consequence> {
        let mut found = Vec::new();
        let cause = self.row.cause.clone().unwrap_or(Cause::ProbeDue);
        self.begin_probe(now, cause, &mut found);
        found
    }

    fn on_xid(&mut self, now: Now, code: u32, running: Option<Running>) -> Vec<Consequence> {
        match (xid::blame(code), running.map(|running| running.submission)) {
            (xid::Blame::Nobody, _) => Vec::new(),
            (xid::Blame::SubmissionFirst, Some(submission)) => {
                let is_again = self.recent_blamed(now).any(|b| b.submission != submission);
                self.remember_blamed(now, Blamed { code, submission, at: now.unix });
                if is_again {
                    return self.on_fault(now, Cause::XidAgain { code }, running);
                }
                vec![Consequence::BlameSubmission { code }]
            }
            // The tail of a run that has just ended; nobody else can have caused it.
            (xid::Blame::SubmissionFirst, None) if matches!(self.memory, Memory::Unread { .. }) => {
                Vec::new()
            }
            (xid::Blame::SubmissionFirst | xid::Blame::Device, _) => {
                self.on_fault(now, Cause::Xid { code }, running)
            }
        }
    }

    fn recent_blamed(&self, now: Now) -> impl Iterator<Item = &Blamed> {
        self.row.blamed.iter().filter(move |blamed| is_recent(now, blamed.at))
    }

    fn remember_blamed(&mut self, now: Now, blamed: Blamed) {
        self.row.blamed.retain(|known| is_recent(now, known.at));
        let is_known = |known: &Blamed| known.submission == blamed.submission;
        if !self.row.blamed.iter().any(is_known) && self.row.blamed.len() < XID_BLAMED_MAX {
            self.row.blamed.push(blamed);
        }
    }

    fn on_sample(
        &mut self,
        now: Now,
        sample: Sample,
        running: Option<Running>,
    ) -> Vec<Consequence> {
        let errors = |sample: &Sample| sample.ecc_uncorrected.value().copied();
        let had = self.sample.as_ref().and_then(errors);
        let has_new_errors = matches!((had, errors(&sample)), (Some(had), Some(has)) if has > had);
        let findings = judge(&sample);
        let throttled = findings
            .iter()
            .find(|finding| finding.check == Check::Throttle && finding.level >= Level::Warning);
        self.throttled_samples = throttled.map_or(0, |_| self.throttled_samples.saturating_add(1));
        let throttled = throttled
            .filter(|_| self.throttled_samples >= THROTTLED_SAMPLES_MAX)
            .map(|finding| Cause::Throttled { detail: finding.detail.clone() });
        let critical = findings.iter().find(|finding| finding.level == Level::Critical);
        let critical = critical
            .map(|finding| Cause::Sensor { check: finding.check, detail: finding.detail.clone() });
        let foreign = self.foreign_memory(&sample, running.is_none());
        self.sample = Some(sample);
        self.unread_ms = 0;
        let ecc = has_new_errors.then_some(Cause::EccUncorrected);
        match ecc.or(critical).or(foreign).or(throttled) {
            Some(cause) => self.on_fault(now, cause, running),
            None => Vec::new(),
        }
    }

    /// Something that takes trust away. A burst of them is one failure.
    fn on_fault(&mut self, now: Now, cause: Cause, running: Option<Running>) -> Vec<Consequence> {
        let mut found = Vec::new();
        if running.is_some() && cause.spoils_runs() {
            found.push(Consequence::EndRun { cause: cause.clone() });
        }
        let is_new = !self.row.cause.as_ref().is_some_and(Cause::is_failure);
        match self.row.standing {
            Standing::Healthy | Standing::Probing => {
                self.fail(now, cause, running.is_some(), &mut found);
            }
            Standing::Cordoned if is_new => {
                self.fail(now, cause, running.is_some(), &mut found);
            }
            // It does not rest while errors go on.
            Standing::Cordoned => self.rested_at = now.mono.plus_ms(COOL_DOWN_MS),
            Standing::Suspect | Standing::Failed => {}
        }
        found
    }

    fn fail(&mut self, now: Now, cause: Cause, is_busy: bool, found: &mut Vec<Consequence>) {
        self.probe_asked_at = None;
        if cause.is_failure() {
            self.row.failures.retain(|failure| is_recent(now, failure.at));
            self.row.failures.push(Failure { at: now.unix, cause: cause.clone() });
        }
        let is_failed = self.row.failures.len() >= FAILURES_IN_A_DAY_MAX;
        self.row.cause = Some(cause);
        if is_failed {
            self.stand(now, Standing::Failed, found);
        } else if is_busy {
            self.stand(now, Standing::Suspect, found);
        } else {
            self.rest(now, found);
        }
    }

    fn rest(&mut self, now: Now, found: &mut Vec<Consequence>) {
        // Twice as long after the second failure of a day.
        let failures = u64::try_from(self.row.failures.len()).unwrap_or(u64::MAX).max(1);
        self.rested_at = now.mono.plus_ms(COOL_DOWN_MS.saturating_mul(failures));
        self.stand(now, Standing::Cordoned, found);
    }

    fn stand(&mut self, now: Now, standing: Standing, found: &mut Vec<Consequence>) {
        self.row.standing = standing;
        self.row.since = now.unix;
        found.push(Consequence::Changed);
    }

    /// Whether the newest readings alone forbid a run.
    fn is_still_bad(&self) -> bool {
        let Some(sample) = &self.sample else { return false };
        let is_critical = judge(sample).iter().any(|finding| finding.level == Level::Critical);
        is_critical || self.held_mib(sample).is_some_and(|held| held > 0)
    }

    fn is_probe_due(&self, now: Now) -> bool {
        self.probed_at.is_none_or(|at| now.mono.since_ms(at) >= PROBE_EVERY_MS)
    }

    fn begin_probe(&mut self, now: Now, cause: Cause, found: &mut Vec<Consequence>) {
        self.row.cause = Some(cause);
        self.stand(now, Standing::Probing, found);
        self.probe_asked_at = None;
        self.ask_for_probe(now, found);
    }

    fn ask_for_probe(&mut self, now: Now, found: &mut Vec<Consequence>) {
        let is_asked = self.probe_asked_at.is_some_and(|at| now.mono.since_ms(at) < PROBE_AGAIN_MS);
        if !is_asked && self.memory == Memory::Free {
            self.probe_asked_at = Some(now.mono);
            found.push(Consequence::Probe);
        }
    }

    fn on_probed(&mut self, now: Now, result: ProbeResult, is_busy: bool) -> Vec<Consequence> {
        let mut found = Vec::new();
        let was_asked = self.probe_asked_at.take().is_some();
        self.probe = Some(result.clone());
        self.probes_ended = self.probes_ended.saturating_add(1);
        if self.row.standing != Standing::Probing || !was_asked {
            return found;
        }
        let is_not_started = matches!(result, ProbeResult::NotStarted { .. });
        self.not_started = if is_not_started { self.not_started.saturating_add(1) } else { 0 };
        let cause = match &result {
            ProbeResult::Right(figures) => self.slower_than_before(figures),
            ProbeResult::Wrong { .. }
            | ProbeResult::TimedOut { .. }
            | ProbeResult::Died { .. }
            | ProbeResult::NotStarted { .. } => Cause::of_probe(&result),
        };
        if let Some(cause) = cause {
            self.fail(now, cause, is_busy, &mut found);
            return found;
        }
        self.probed_at = Some(now.mono);
        self.row.cause = None;
        self.stand(now, Standing::Healthy, &mut found);
        found
    }

    /// Holds figures against the best of this device, which they may raise.
    fn slower_than_before(&mut self, figures: &ProbeFigures) -> Option<Cause> {
        let best = *self.row.baseline.get_or_insert(*figures);
        let parts = [
            (ProbeStep::Bandwidth, figures.bandwidth_mb_s, best.bandwidth_mb_s),
            (ProbeStep::Matrix, figures.matrix_gflop_s, best.matrix_gflop_s),
        ];
        for (step, now, best) in parts {
            let percent = now.saturating_mul(100).checked_div(best).unwrap_or(100);
            if percent < SLOWER_PERCENT {
                return Some(Cause::Slower { step, percent });
            }
        }
        self.row.baseline = Some(ProbeFigures {
            bandwidth_mb_s: best.bandwidth_mb_s.max(figures.bandwidth_mb_s),
            matrix_gflop_s: best.matrix_gflop_s.max(figures.matrix_gflop_s),
            ..*figures
        });
        None
    }
}

/// Whether it was in the last day. What seems to come from the future was before the clock was
/// set back, and counts.
fn is_recent(now: Now, at: UnixMs) -> bool {
    now.unix.0.saturating_sub(at.0) < DAY_MS
}
