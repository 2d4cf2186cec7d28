//! How a node stands, for whoever is called at three in the morning: one word, why, and what does
//! not get better before a person does something.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use node_core::health::Standing;
use node_core::preflight::{CheckId, Level};
use node_core::unit::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;

use super::device::HealthStatus;
use super::find::{Found, FoundStatus};
use super::report::StatusReport;
use super::watch::CheckStatus;

/// How a node stands, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeHealth {
    /// It does its work.
    Healthy,
    /// Something keeps it from part of its work, or soon will.
    Degraded,
    /// Its key or its record of what it signed is not safe.
    Unsafe,
    /// Nobody can say: it does not run, or does not answer.
    Unreachable,
}

impl NodeHealth {
    /// The name in JSON; in the text in capital letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unsafe => "unsafe",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Checks whose alarm means that the key or the record of what was signed is not safe: signing on
/// could cost the validator its trust.
fn is_of_safety(check: &CheckStatus) -> bool {
    [CheckId::Signer.name(), CheckId::Subnet.name(), super::journal::CHECK].contains(&&*check.id)
}

impl FoundStatus {
    /// How the node stands at `now`, as far as is known.
    #[must_use]
    pub fn health(&self, now: UnixMs) -> NodeHealth {
        match self.found {
            Found::Running => self.report.health_at(now),
            Found::NotRunning | Found::NotAnswering { .. } => NodeHealth::Unreachable,
        }
    }
}

impl StatusReport {
    /// How the node of this report stands at `now`, if it is running.
    #[must_use]
    pub fn health_at(&self, now: UnixMs) -> NodeHealth {
        let mut alarms = self.checks.iter().filter(|check| check.is(Level::Alarm)).peekable();
        let has_alarm = alarms.peek().is_some();
        if alarms.any(is_of_safety) {
            NodeHealth::Unsafe
        } else if has_alarm || !self.readiness_at(now).ready {
            NodeHealth::Degraded
        } else {
            NodeHealth::Healthy
        }
    }

    /// What is wrong at `now`, the most important first: why it is not ready, then other alarms.
    #[must_use]
    pub fn wrong_at(&self, now: UnixMs) -> Vec<String> {
        let reasons = self.readiness_at(now).reasons;
        let is_said = |check: &&CheckStatus| !reasons.contains(&check.text);
        let alarms = self.checks.iter().filter(|check| check.is(Level::Alarm));
        let others: Vec<String> = alarms.filter(is_said).map(CheckStatus::said).collect();
        reasons.into_iter().chain(others).collect()
    }

    /// The checks that found something which may go wrong soon.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &CheckStatus> {
        self.checks.iter().filter(|check| check.is(Level::Warn))
    }

    /// The checks of what must never go wrong, whatever they found.
    pub(crate) fn safety_checks(&self) -> impl Iterator<Item = &CheckStatus> {
        self.checks.iter().filter(|check| is_of_safety(check))
    }

    /// What does not get better before a person does something, a sentence each.
    #[must_use]
    pub fn needs_person(&self) -> Vec<String> {
        let alarms = self.checks.iter().filter(|check| check.is(Level::Alarm));
        let mut needs: Vec<String> = alarms.map(CheckStatus::said).collect();
        let held = self.submission_counts.held;
        if held > 0 {
            needs.push(format!(
                "{} held: `assay submissions list` shows them, `assay submissions resolve` decides",
                submissions(held, "is", "are")
            ));
        }
        if self.leases.exhausted > 0 {
            let leases = if self.leases.exhausted == 1 { "lease has" } else { "leases have" };
            needs.push(format!(
                "{} {leases} no attempt left: `assay leases` says why, `assay leases reopen` gives \
                 new ones",
                self.leases.exhausted
            ));
        }
        for device in &self.devices {
            let is_left = |health: &&HealthStatus| {
                health.standing == Standing::Failed || device.gone_since.is_some()
            };
            let health = device.health.as_ref().filter(is_left);
            if let Some(why) = health.and_then(|health| health.unusable.as_ref()) {
                needs.push(format!("device {}: {why}", device.id));
            }
        }
        needs
    }

    /// How many submissions wait for what, most of them first.
    pub(crate) fn waiting(&self) -> Vec<(&'static str, u64)> {
        let mut waiting: BTreeMap<&'static str, u64> = BTreeMap::new();
        for reason in self.submissions.iter().filter_map(|row| row.waits_for.as_ref()) {
            *waiting.entry(reason.of_several()).or_default() += 1;
        }
        let mut waiting: Vec<(&str, u64)> = waiting.into_iter().collect();
        waiting.sort_by_key(|(_, count)| Reverse(*count));
        waiting
    }
}

fn submissions(count: u64, one: &str, several: &str) -> String {
    match count {
        1 => format!("1 submission {one}"),
        _ => format!("{count} submissions {several}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn health(report: StatusReport) -> NodeHealth {
        let now = report.as_of;
        FoundStatus { report, found: Found::Running }.health(now)
    }

    fn alarmed(id: &str, level: Level) -> StatusReport {
        let mut report = sample::healthy();
        let (id, level) = (id.to_owned(), level.name().to_owned());
        report.checks.push(CheckStatus { id, level, text: "it is wrong".to_owned() });
        report
    }

    #[test]
    fn a_node_is_as_bad_as_the_worst_that_is_known_of_it() {
        let table = [
            (sample::healthy(), NodeHealth::Healthy),
            (alarmed("permit", Level::Warn), NodeHealth::Healthy),
            (alarmed("permit", Level::Alarm), NodeHealth::Degraded),
            (alarmed("signer", Level::Warn), NodeHealth::Healthy),
            (alarmed("signer", Level::Alarm), NodeHealth::Unsafe),
            (alarmed("journal", Level::Alarm), NodeHealth::Unsafe),
            (alarmed("subnet", Level::Alarm), NodeHealth::Unsafe),
            (sample::starting(), NodeHealth::Degraded),
        ];
        for (report, expected) in table {
            assert_eq!(health(report.clone()), expected, "{:?}", report.checks);
        }
        let report = sample::healthy();
        let now = report.as_of;
        let gone = FoundStatus { report, found: Found::NotRunning };
        assert_eq!(gone.health(now), NodeHealth::Unreachable);
        let hangs = UnixMs(now.0 + 120_000);
        assert_eq!(sample::healthy().health_at(hangs), NodeHealth::Degraded);
    }

    #[test]
    fn what_needs_a_person_is_said_with_the_command_for_it() {
        assert_eq!(sample::healthy().needs_person(), Vec::<String>::new());
        let mut report = alarmed("permit", Level::Alarm);
        report.submission_counts.held = 1;
        report.leases.exhausted = 2;
        report.devices.extend([sample::gpu_with_held_memory(), sample::gone_gpu()]);
        insta::assert_snapshot!(report.needs_person().join("\n"));
    }
}
