//! What `assay status --json` prints: a report, where it comes from, and what to make of it.

use node_core::unit::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;

use super::find::{Found, FoundStatus};
use super::health::NodeHealth;
use super::report::StatusReport;

/// What `assay status --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "assay status --json")]
pub struct StatusAnswer {
    /// How the node stands, in one word; the exit code says the same.
    pub health: NodeHealth,
    /// What does not get better before a person does something, a sentence each.
    pub needs_person: Vec<String>,
    /// Where the report comes from.
    pub source: ReportSource,
    /// What the node says about itself; `GET /status` answers with this alone.
    pub report: StatusReport,
}

/// Where a report comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportSource {
    /// The running node.
    Running,
    /// The last snapshot: no node runs with this data directory.
    NotRunning,
    /// The last snapshot: a node seems to run, and does not answer.
    NotAnswering,
}

impl StatusAnswer {
    /// The answer about a report that was found, as of `now`.
    #[must_use]
    pub fn of(found: FoundStatus, now: UnixMs) -> Self {
        let health = found.health(now);
        let source = match found.found {
            Found::Running => ReportSource::Running,
            Found::NotRunning => ReportSource::NotRunning,
            Found::NotAnswering { .. } => ReportSource::NotAnswering,
        };
        let report = found.report;
        Self { health, needs_person: report.needs_person(), source, report }
    }
}
