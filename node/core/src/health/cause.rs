//! Why a device is not trusted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::health::finding::{Action, Check, Finding, Level};
use crate::health::observation::{ProbeResult, ProbeStep};
use crate::health::xid;

/// Why a device is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum Cause {
    /// It was not probed in this life of the node.
    Unproven,
    /// An operator asked for a probe, or it was time for one.
    ProbeDue,
    /// An error of the device.
    Xid {
        /// Its number.
        code: u32,
    },
    /// An error that code can cause, with a second submission.
    XidAgain {
        /// Its number.
        code: u32,
    },
    /// A memory error that could not be corrected.
    EccUncorrected,
    /// The driver does not find it any more.
    Lost {
        /// The driver's words.
        detail: String,
    },
    /// It does not answer.
    Silent {
        /// How long it was waited for, milliseconds.
        waited_ms: u64,
    },
    /// A sensor says something critical, or cannot be read.
    Sensor {
        /// Which.
        check: Check,
        /// What it says.
        detail: String,
    },
    /// Something held its clocks back for several readings.
    Throttled {
        /// What.
        detail: String,
    },
    /// Memory is in use though nothing runs: still after a run, or by somebody else.
    MemoryHeld {
        /// How much more than before, MiB.
        held_mib: u64,
    },
    /// A probe computed something wrong, hung or died.
    ProbeFailed {
        /// In which part, if it came that far.
        step: Option<ProbeStep>,
        /// What was found.
        detail: String,
    },
    /// A probe was much slower than this device once was.
    Slower {
        /// In which part.
        step: ProbeStep,
        /// Of what it once reached, percent.
        percent: u64,
    },
    /// A run could not use it, or saw another device.
    RunFailed {
        /// What was seen.
        detail: String,
    },
    /// A probe could not be started here: nothing is known.
    NoProbe {
        /// Why.
        detail: String,
    },
}

impl Cause {
    /// What a failed probe says; `None` if it did not fail.
    pub(super) fn of_probe(result: &ProbeResult) -> Option<Self> {
        match result {
            ProbeResult::Right(_) => None,
            ProbeResult::Wrong { step, detail } => {
                Some(Self::ProbeFailed { step: Some(*step), detail: detail.clone() })
            }
            ProbeResult::TimedOut { limit_ms } => {
                let detail = format!("no answer within {limit_ms} ms");
                Some(Self::ProbeFailed { step: None, detail })
            }
            ProbeResult::Died { detail } => {
                Some(Self::ProbeFailed { step: None, detail: detail.clone() })
            }
            ProbeResult::NotStarted { detail } => Some(Self::NoProbe { detail: detail.clone() }),
        }
    }

    /// The names of all causes, for metrics.
    pub const NAMES: [&'static str; 14] = [
        "unproven",
        "probe_due",
        "xid",
        "xid_again",
        "ecc_uncorrected",
        "lost",
        "silent",
        "sensor",
        "throttled",
        "memory_held",
        "probe_failed",
        "slower",
        "run_failed",
        "no_probe",
    ];

    /// Its public name, the same as when it is serialised.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::ProbeDue => "probe_due",
            Self::Xid { .. } => "xid",
            Self::XidAgain { .. } => "xid_again",
            Self::EccUncorrected => "ecc_uncorrected",
            Self::Lost { .. } => "lost",
            Self::Silent { .. } => "silent",
            Self::Sensor { .. } => "sensor",
            Self::Throttled { .. } => "throttled",
            Self::MemoryHeld { .. } => "memory_held",
            Self::ProbeFailed { .. } => "probe_failed",
            Self::Slower { .. } => "slower",
            Self::RunFailed { .. } => "run_failed",
            Self::NoProbe { .. } => "no_probe",
        }
    }

    /// Whether it is one of the failures of which a device may have only so many in a day.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Unproven | Self::ProbeDue | Self::NoProbe { .. })
    }

    /// Whether what a run computes on the device afterwards cannot be trusted, or never comes.
    #[must_use]
    pub fn spoils_runs(&self) -> bool {
        match self {
            Self::Xid { .. }
            | Self::XidAgain { .. }
            | Self::EccUncorrected
            | Self::Lost { .. }
            | Self::Silent { .. } => true,
            Self::Sensor { check, .. } => *check == Check::Recovery,
            Self::Unproven
            | Self::ProbeDue
            | Self::Throttled { .. }
            | Self::MemoryHeld { .. }
            | Self::ProbeFailed { .. }
            | Self::Slower { .. }
            | Self::RunFailed { .. }
            | Self::NoProbe { .. } => false,
        }
    }

    /// As a finding, for people.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let (check, level, action) = match self {
            Self::Unproven | Self::ProbeDue => (Check::Probe, Level::Unknown, Action::Wait),
            Self::NoProbe { .. } => (Check::Probe, Level::Unknown, Action::CheckDriver),
            Self::Xid { code: 79 } | Self::Lost { .. } => {
                (Check::Answer, Level::Critical, Action::RebootHost)
            }
            Self::Xid { .. } | Self::XidAgain { .. } => (Check::Xid, Level::Critical, Action::Wait),
            Self::EccUncorrected => (Check::Ecc, Level::Critical, Action::ResetGpu),
            Self::Silent { .. } | Self::RunFailed { .. } => {
                (Check::Answer, Level::Critical, Action::CheckDriver)
            }
            Self::Sensor { check, .. } => (*check, Level::Critical, Action::CheckDriver),
            Self::Throttled { .. } => (Check::Throttle, Level::Critical, Action::CheckCooling),
            Self::MemoryHeld { .. } => (Check::Memory, Level::Critical, Action::FreeMemory),
            Self::ProbeFailed { .. } => (Check::Probe, Level::Critical, Action::Wait),
            Self::Slower { .. } => (Check::Probe, Level::Critical, Action::CheckCooling),
        };
        Finding::new(check, level, self.to_string(), action)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven => f.write_str("not probed since the node was started"),
            Self::ProbeDue => f.write_str("a probe is due"),
            Self::Xid { code } => write!(f, "Xid {code}, {}", xid::meaning(*code)),
            Self::XidAgain { code } => {
                write!(f, "Xid {code}, {}, with a second submission", xid::meaning(*code))
            }
            Self::EccUncorrected => f.write_str("a memory error that cannot be corrected"),
            Self::Lost { detail } => write!(f, "the driver does not find it: {detail}"),
            Self::Silent { waited_ms } => write!(f, "no answer within {waited_ms} ms"),
            Self::Sensor { check, detail } => write!(f, "{}: {detail}", check.name()),
            Self::Throttled { detail } => write!(f, "several readings in a row: {detail}"),
            Self::MemoryHeld { held_mib } => {
                write!(f, "{held_mib} MiB of its memory are held and no run is on it")
            }
            Self::ProbeFailed { step: Some(step), detail } => {
                write!(f, "the probe failed at its {}: {detail}", step.name())
            }
            Self::ProbeFailed { step: None, detail } => write!(f, "the probe failed: {detail}"),
            Self::Slower { step, percent } => {
                write!(f, "its {} reaches {percent} % of what it once was", step.name())
            }
            Self::RunFailed { detail } => write!(f, "a run could not use it: {detail}"),
            Self::NoProbe { detail } => write!(f, "no probe could be started: {detail}"),
        }
    }
}
