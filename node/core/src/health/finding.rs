//! What readings mean: one finding for each sensor, with a level and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::health::observation::{Reading, Recovery, Sample, Throttle};

/// Degrees below the device's own limit at which its heat is worth a look. Lower: the warning
/// comes with the slowdown. Higher: a busy device in a warm room always warns.
pub const HEAT_MARGIN_C: u32 = 5;

/// How serious a finding is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// As it should be.
    Pass,
    /// Worth knowing.
    Info,
    /// Nobody knows: the device has not been looked at.
    Unknown,
    /// Work goes on; somebody should look.
    Warning,
    /// No run may use the device.
    Critical,
}

impl Level {
    /// Every one, from best to worst.
    pub const ALL: [Self; 5] =
        [Self::Pass, Self::Info, Self::Unknown, Self::Warning, Self::Critical];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Info => "INFO",
            Self::Unknown => "UNKNOWN",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        })
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Heat.
    Temperature,
    /// What holds the clocks back.
    Throttle,
    /// Memory in use.
    Memory,
    /// Memory errors.
    Ecc,
    /// Memory rows that wait to be replaced.
    RowRemap,
    /// What the driver wants done.
    Recovery,
    /// Whether it answers.
    Answer,
    /// The driver's errors.
    Xid,
    /// The probe.
    Probe,
}

impl Check {
    /// Its public name, the same as when it is serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Throttle => "throttle",
            Self::Memory => "memory",
            Self::Ecc => "ecc",
            Self::RowRemap => "row_remap",
            Self::Recovery => "recovery",
            Self::Answer => "answer",
            Self::Xid => "xid",
            Self::Probe => "probe",
        }
    }
}

/// What somebody should do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Nothing yet: the node cools the device down and probes it.
    Wait,
    /// Look at fans, filters and the room.
    CheckCooling,
    /// Look at the power supply and its cables.
    CheckPower,
    /// End what holds the device's memory, or reset it.
    FreeMemory,
    /// Reset the GPU while nothing uses it.
    ResetGpu,
    /// Start the host again.
    RebootHost,
    /// Look at driver and device: nothing can be read.
    CheckDriver,
    /// Have the device replaced.
    Replace,
}

impl Action {
    /// What to tell the operator; empty where nothing is to be done.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Wait => "nothing to do yet: the node lets it rest and probes it",
            Self::CheckCooling => "look at its cooling",
            Self::CheckPower => "look at the power supply and its cables",
            Self::FreeMemory => "end the process that holds its memory, or reset the GPU",
            Self::ResetGpu => "reset the GPU (`nvidia-smi --gpu-reset`) while nothing uses it",
            Self::RebootHost => "start the host again",
            Self::CheckDriver => "look at the driver (`nvidia-smi`, kernel log)",
            Self::Replace => "have the device checked or replaced",
        }
    }
}

/// What one sensor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How serious it is.
    pub level: Level,
    /// What was seen.
    pub detail: String,
    /// What to do.
    pub action: Action,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(check: Check, level: Level, detail: impl Into<String>, action: Action) -> Self {
        Self { check, level, detail: detail.into(), action }
    }

    /// What there is to say of a device that the host does not have any more.
    #[must_use]
    pub fn gone() -> Self {
        let detail = "not found when the node was started; if it is to stay away, `assay device \
                      uncordon` forgets it";
        Self::new(Check::Answer, Level::Critical, detail, Action::CheckDriver)
    }

    fn pass(check: Check, detail: impl Into<String>) -> Self {
        Self::new(check, Level::Pass, detail, Action::Nothing)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check.name(), self.detail)
    }
}

/// One finding for each sensor that the device has. Memory is not judged here: how much may be in
/// use depends on whether something runs.
#[must_use]
pub fn judge(sample: &Sample) -> Vec<Finding> {
    let Sample {
        temperature_c,
        slowdown_c,
        memory_used_mib,
        throttle,
        recovery,
        ecc_uncorrected,
        ecc_corrected,
        is_remap_pending,
        // How busy it is and what it draws tell nothing about whether it is sound.
        utilisation: _,
        power_mw: _,
    } = sample;
    let memory = |used: &u64| Finding::pass(Check::Memory, format!("{used} MiB in use"));
    [
        heat(temperature_c, slowdown_c),
        read(Check::Memory, memory_used_mib, memory),
        read(Check::Throttle, throttle, throttled),
        read(Check::Recovery, recovery, |recovery| wanted(*recovery)),
        read(Check::Ecc, ecc_uncorrected, |uncorrected| errors(*uncorrected, ecc_corrected)),
        read(Check::RowRemap, is_remap_pending, |is_pending| remap(*is_pending)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A sensor that cannot be read is a fault; one that is not there is nothing.
fn read<T>(
    check: Check,
    reading: &Reading<T>,
    judge: impl FnOnce(&T) -> Finding,
) -> Option<Finding> {
    match reading {
        Reading::Value(value) => Some(judge(value)),
        Reading::Unsupported => None,
        Reading::Unreadable { detail } => {
            let detail = format!("cannot be read: {detail}");
            Some(Finding::new(check, Level::Critical, detail, Action::CheckDriver))
        }
    }
}

fn heat(temperature: &Reading<u32>, slowdown: &Reading<u32>) -> Option<Finding> {
    let limit = slowdown.value().copied();
    read(Check::Temperature, temperature, |&now| match limit {
        Some(limit) if now >= limit => {
            let detail = format!("{now} °C; it slows down at {limit} °C");
            Finding::new(Check::Temperature, Level::Critical, detail, Action::CheckCooling)
        }
        Some(limit) if now.saturating_add(HEAT_MARGIN_C) >= limit => {
            let detail = format!("{now} °C, close to {limit} °C, where it slows down");
            Finding::new(Check::Temperature, Level::Warning, detail, Action::CheckCooling)
        }
        _ => Finding::pass(Check::Temperature, format!("{now} °C")),
    })
}

fn throttled(throttle: &Throttle) -> Finding {
    let warning =
        |detail: &str, action| Finding::new(Check::Throttle, Level::Warning, detail, action);
    let Throttle { hardware, hardware_thermal, power_brake, software_thermal, power_cap } =
        *throttle;
    if hardware_thermal {
        warning("the board slows it down because of heat", Action::CheckCooling)
    } else if power_brake {
        warning("the power supply slows it down", Action::CheckPower)
    } else if hardware {
        warning("the board slows it down", Action::CheckPower)
    } else if software_thermal {
        warning("the driver slows it down because of heat", Action::CheckCooling)
    } else if power_cap {
        let detail = "its power limit holds the clocks back";
        Finding::new(Check::Throttle, Level::Info, detail, Action::Nothing)
    } else {
        Finding::pass(Check::Throttle, "nothing holds the clocks back")
    }
}

fn wanted(recovery: Recovery) -> Finding {
    let critical =
        |detail: &str, action| Finding::new(Check::Recovery, Level::Critical, detail, action);
    match recovery {
        Recovery::Nothing => Finding::pass(Check::Recovery, "the driver wants nothing done"),
        Recovery::Reset => critical("the driver wants the GPU reset", Action::ResetGpu),
        Recovery::DrainAndReset => {
            critical("the driver wants the GPU emptied and reset", Action::ResetGpu)
        }
        Recovery::DrainPeers => {
            critical("the driver wants traffic between GPUs to end", Action::ResetGpu)
        }
        Recovery::Reboot => critical("the driver wants the host rebooted", Action::RebootHost),
    }
}

fn errors(uncorrected: u64, corrected: &Reading<u64>) -> Finding {
    let corrected = corrected.value().copied().unwrap_or(0);
    let detail = format!("{uncorrected} uncorrectable and {corrected} corrected memory errors");
    match (uncorrected, corrected) {
        (0, 0) => Finding::pass(Check::Ecc, "no memory errors"),
        // Corrected ones are what the correction is for.
        (0, _) => Finding::new(Check::Ecc, Level::Info, detail, Action::Nothing),
        _ => Finding::new(Check::Ecc, Level::Warning, detail, Action::ResetGpu),
    }
}

fn remap(is_pending: bool) -> Finding {
    if is_pending {
        let detail = "memory rows wait for a reset to be replaced";
        return Finding::new(Check::RowRemap, Level::Warning, detail, Action::ResetGpu);
    }
    Finding::pass(Check::RowRemap, "no memory row waits to be replaced")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::sound_sample;

    fn level(sample: &Sample, check: Check) -> Option<Level> {
        judge(sample).into_iter().find(|finding| finding.check == check).map(|f| f.level)
    }

    #[test]
    fn a_sound_device_passes_every_check() {
        let findings = judge(&sound_sample());
        assert_eq!(findings.len(), 6);
        assert!(findings.iter().all(|finding| finding.level == Level::Pass), "{findings:?}");
    }

    #[test]
    fn a_sensor_that_cannot_be_read_is_critical_and_one_that_is_not_there_is_nothing() {
        let unreadable = Reading::Unreadable { detail: "NVML_ERROR_UNKNOWN".to_owned() };
        let sample = Sample { ecc_uncorrected: unreadable, ..sound_sample() };
        assert_eq!(level(&sample, Check::Ecc), Some(Level::Critical));
        let sample = Sample { ecc_uncorrected: Reading::Unsupported, ..sound_sample() };
        assert_eq!(level(&sample, Check::Ecc), None);
    }

    #[test]
    fn heat_warns_before_the_device_slows_itself_down() {
        for (now, wanted) in [(84, Level::Pass), (85, Level::Warning), (90, Level::Critical)] {
            let sample = Sample { temperature_c: Reading::Value(now), ..sound_sample() };
            assert_eq!(level(&sample, Check::Temperature), Some(wanted), "{now} °C of 90");
        }
    }

    #[test]
    fn a_chosen_power_limit_is_no_fault_and_a_power_brake_is() {
        let held = |throttle| Sample { throttle: Reading::Value(throttle), ..sound_sample() };
        let cap = held(Throttle { power_cap: true, ..Throttle::default() });
        assert_eq!(level(&cap, Check::Throttle), Some(Level::Info));
        let brake = held(Throttle { power_brake: true, hardware: true, ..Throttle::default() });
        assert_eq!(level(&brake, Check::Throttle), Some(Level::Warning));
    }

    #[test]
    fn whatever_the_driver_wants_done_keeps_runs_away() {
        for recovery in
            [Recovery::Reset, Recovery::Reboot, Recovery::DrainPeers, Recovery::DrainAndReset]
        {
            let sample = Sample { recovery: Reading::Value(recovery), ..sound_sample() };
            assert_eq!(level(&sample, Check::Recovery), Some(Level::Critical), "{recovery:?}");
        }
    }
}
