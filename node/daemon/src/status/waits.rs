//! Why a submission is not further, as a name for programs and a sentence for people.

use std::fmt;

use node_core::funnel::Passage;
use node_core::id::{AssignmentId, Hotkey};
use node_core::inventory::DeviceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{EvaluationStatus, StatusReport, SubmissionStage, SubmissionStatus};
use super::schema::{AddressText, HexText};

/// What a submission waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum WaitsFor {
    /// Its bytes: nobody asked so far has them.
    Content {
        /// What the sources said the last time, if they were asked.
        failure: Option<String>,
    },
    /// Its admission, which runs here.
    Admission,
    /// A decision of a person: it is held.
    Decision,
    /// Somebody who mends what failed: every attempt of one of its replicas was lost.
    Mending {
        /// The replica's assignment.
        #[schemars(with = "HexText")]
        assignment: AssignmentId,
    },
    /// A device of this node: none can be given it now.
    Device {
        /// The first one.
        #[schemars(with = "String")]
        device: DeviceId,
        /// What keeps it from that one.
        obstacle: String,
        /// How many others there are.
        others: u64,
    },
    /// A run of this node.
    Run {
        /// Results that have to agree.
        required: u32,
        /// Results that are here.
        have: u64,
        /// `running`, `completing` or `releasing`.
        state: String,
        /// Who granted its lease.
        #[schemars(with = "AddressText")]
        coordinator: Hotkey,
    },
    /// Replicas whose leases this node coordinates.
    Replicas {
        /// Results that have to agree.
        required: u32,
        /// Results that are here.
        have: u64,
        /// The replicas, each with where it stands.
        replicas: Vec<(u8, String)>,
    },
    /// Replicas whose leases another node coordinates.
    Coordinator {
        /// Results that have to agree.
        required: u32,
        /// Results that are here.
        have: u64,
        /// Which node; `null` if none is known.
        #[schemars(with = "Option<AddressText>")]
        coordinator: Option<Hotkey>,
    },
    /// The others of its window: who passes a tier is decided among them.
    Window {
        /// The tier.
        tier: u8,
    },
}

impl WaitsFor {
    /// The name of the reason, the same as in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Content { .. } => "content",
            Self::Admission => "admission",
            Self::Decision => "decision",
            Self::Mending { .. } => "mending",
            Self::Device { .. } => "device",
            Self::Run { .. } => "run",
            Self::Replicas { .. } => "replicas",
            Self::Coordinator { .. } => "coordinator",
            Self::Window { .. } => "window",
        }
    }

    /// What several submissions with this reason wait for, without its figures.
    pub(super) fn of_several(&self) -> &'static str {
        match self {
            Self::Content { .. } => "their content",
            Self::Admission => "their admission",
            Self::Decision => "your decision",
            Self::Mending { .. } => "you to mend what failed",
            Self::Device { .. } => "a device here",
            Self::Run { .. } => "a run here",
            Self::Replicas { .. } => "runs elsewhere",
            Self::Coordinator { .. } => "what another node coordinates",
            Self::Window { .. } => "the others of their window",
        }
    }

    /// Whether nothing happens before a person does something.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        matches!(self, Self::Decision | Self::Mending { .. })
    }

    /// What a submission waits for; `null` if for nothing: all of it is decided.
    pub(super) fn of(report: &StatusReport, row: &SubmissionStatus) -> Option<Self> {
        match row.stage {
            SubmissionStage::Committed => Some(Self::Content { failure: row.detail.clone() }),
            SubmissionStage::Fetched => Some(Self::Admission),
            SubmissionStage::Held => Some(Self::Decision),
            SubmissionStage::Admitted => Some(Self::of_evaluation(report, row)),
            SubmissionStage::Rejected | SubmissionStage::Failed | SubmissionStage::Disputed => None,
            SubmissionStage::Scored => {
                let place = row.place.filter(|place| place.passage == Passage::Open)?;
                // What it got before is not what it has to get now.
                Some(match place.points {
                    Some(_) => Self::Window { tier: place.tier },
                    None => Self::of_evaluation(report, row),
                })
            }
        }
    }

    fn of_evaluation(report: &StatusReport, row: &SubmissionStatus) -> Self {
        let evaluation = report.evaluations.iter().find(|one| one.submission == row.id);
        let explanation = evaluation.map(|evaluation| &evaluation.explanation);
        let required = explanation.map_or(1, |explanation| explanation.required);
        let have = explanation.map_or(0, |explanation| explanation.claims.len() as u64);
        if let Some(run) = report.runs.iter().find(|run| run.submission == row.id) {
            let (state, coordinator) = (run.state.clone(), run.coordinator);
            return Self::Run { required, have, state, coordinator };
        }
        if let Some(assignment) = evaluation.and_then(|one| one.exhausted.first()) {
            return Self::Mending { assignment: *assignment };
        }
        let replicas = evaluation.map(replicas).unwrap_or_default();
        if replicas.is_empty() {
            return Self::Coordinator { required, have, coordinator: row.coordinator };
        }
        // Nobody has taken it, and this node would.
        let is_open = replicas.iter().all(|(_, state)| state == "open");
        let device = Self::device(report).filter(|_| is_open);
        device.unwrap_or(Self::Replicas { required, have, replicas })
    }

    /// That no device of this node can be given it, if none can.
    fn device(report: &StatusReport) -> Option<Self> {
        let obstacles: Option<Vec<(&DeviceId, &String)>> = report
            .devices
            .iter()
            .map(|device| Some((&device.id, device.obstacle.as_ref()?)))
            .collect();
        let obstacles = obstacles?;
        let (device, obstacle) = *obstacles.first()?;
        let others = obstacles.len().saturating_sub(1) as u64;
        Some(Self::Device { device: device.clone(), obstacle: obstacle.clone(), others })
    }
}

fn replicas(evaluation: &EvaluationStatus) -> Vec<(u8, String)> {
    let replicas = evaluation.explanation.replicas.iter();
    replicas.map(|replica| (replica.replica, replica.state.clone())).collect()
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content { failure: None } => f.write_str("its content: nobody has served it yet"),
            Self::Content { failure: Some(failure) } => write!(f, "its content: {failure}"),
            Self::Admission => f.write_str("its admission, which runs here"),
            Self::Decision => f.write_str(
                "a person: `assay submissions show` says why, `assay submissions resolve` decides",
            ),
            Self::Mending { assignment } => {
                let id = assignment.short();
                write!(
                    f,
                    "a person: every attempt of {id} was lost; mend what failed, then `assay \
                     leases reopen {id}`"
                )
            }
            Self::Device { device, obstacle, others: 0 } => {
                write!(f, "a device here; {device}: {obstacle}")
            }
            Self::Device { device, obstacle, others } => {
                write!(f, "a device here; {device}: {obstacle}; {others} more cannot either")
            }
            Self::Run { required, have, state, coordinator } => {
                let by = coordinator.short();
                write!(f, "{}: one is {state} here, for {by}", Wanted(*required, *have))
            }
            Self::Replicas { required, have, replicas } => {
                let states: Vec<String> = replicas
                    .iter()
                    .map(|(replica, state)| format!("replica {replica} {state}"))
                    .collect();
                write!(f, "{}: {}", Wanted(*required, *have), states.join(", "))
            }
            Self::Coordinator { required, have, coordinator } => {
                write!(f, "{}", Wanted(*required, *have))?;
                match coordinator.as_ref().map(Hotkey::short) {
                    Some(by) => write!(f, ": {by} coordinates it; ask `assay explain` there"),
                    None => f.write_str(": nobody is known who coordinates it"),
                }
            }
            Self::Window { tier } => {
                write!(f, "the others of its window: who passes tier {tier} is decided among them")
            }
        }
    }
}

/// How many results are needed and how many are here.
struct Wanted(u32, u64);

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(required, have) = self;
        match required {
            1 => write!(f, "one result"),
            _ => write!(f, "{required} results that agree ({have} here)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use node_core::funnel::Passage;
    use node_core::id::{Attempt, RunId};
    use node_core::lease::{Explanation, ReplicaStanding};

    use super::super::funnel::PlaceStatus;
    use super::super::sample;
    use super::*;

    /// A report with one submission in this stage and nothing else of it.
    fn bare(stage: SubmissionStage) -> StatusReport {
        let mut report = sample::healthy();
        report.submissions.truncate(1);
        let row = &mut report.submissions[0];
        (row.stage, row.detail, row.place) = (stage, None, None);
        row.coordinator = Some(Hotkey([2; 32]));
        (report.runs, report.evaluations) = (Vec::new(), Vec::new());
        report.devices.iter_mut().for_each(|device| device.obstacle = None);
        report
    }

    fn evaluated(states: &[&str]) -> StatusReport {
        let mut report = bare(SubmissionStage::Admitted);
        let standing = |(replica, state): (u8, &&str)| ReplicaStanding {
            assignment: AssignmentId([replica; 32]),
            replica,
            attempt: Attempt(1),
            holder: None,
            state: (*state).to_owned(),
        };
        let explanation = Explanation {
            summary: String::new(),
            replicas: (0..).zip(states).map(standing).collect(),
            claims: vec![Hotkey([9; 32])],
            required: 2,
        };
        let submission = report.submissions[0].id;
        let (exhausted, reopened) = (Vec::new(), Vec::new());
        report.evaluations =
            vec![EvaluationStatus { submission, explanation, exhausted, reopened }];
        report
    }

    /// A report for each reason, with what is said.
    fn reasons() -> Vec<StatusReport> {
        let mut unserved = bare(SubmissionStage::Committed);
        unserved.submissions[0].detail = Some("https://a.example: 404".to_owned());
        let mut lost = evaluated(&["exhausted"]);
        lost.evaluations[0].exhausted = vec![AssignmentId([7; 32])];
        let mut busy = evaluated(&["open", "open"]);
        for device in &mut busy.devices {
            device.obstacle = Some("busy".to_owned());
        }
        let mut running = evaluated(&[]);
        running.runs = sample::healthy().runs;
        (running.runs[0].submission, running.runs[0].run) =
            (running.submissions[0].id, RunId([3; 32]));
        let mut passing = bare(SubmissionStage::Scored);
        let (points, passage) = (Some(7), Passage::Open);
        passing.submissions[0].place = Some(PlaceStatus { tier: 2, points, passage });
        let mut passed = evaluated(&["granted"]);
        let row = &mut passed.submissions[0];
        row.stage = SubmissionStage::Scored;
        row.place = Some(PlaceStatus { tier: 2, points: None, passage });
        let mut passed_and_lost = passed.clone();
        passed_and_lost.evaluations[0].exhausted = vec![AssignmentId([8; 32])];
        let mut alone = bare(SubmissionStage::Admitted);
        alone.submissions[0].coordinator = None;
        vec![
            bare(SubmissionStage::Committed),
            unserved,
            bare(SubmissionStage::Fetched),
            bare(SubmissionStage::Held),
            lost,
            busy,
            running,
            evaluated(&["granted", "open"]),
            evaluated(&[]),
            alone,
            passing,
            passed,
            passed_and_lost,
        ]
    }

    #[test]
    fn every_reason_to_wait_has_its_name_and_its_sentence() {
        let said = reasons().iter().fold(String::new(), |said, report| {
            let reason = WaitsFor::of(report, &report.submissions[0]).unwrap();
            let json = serde_json::to_value(&reason).unwrap();
            assert_eq!(json["reason"], reason.name());
            assert_eq!(serde_json::from_value::<WaitsFor>(json).unwrap(), reason);
            let person = if reason.needs_person() { " (a person)" } else { "" };
            said + &format!("{}{person}: {reason}\n", reason.name())
        });
        insta::assert_snapshot!(said);
        let of = |one: &StatusReport| number(&WaitsFor::of(one, &one.submissions[0]).unwrap());
        assert_eq!(reasons().iter().map(of).collect::<BTreeSet<_>>(), (0..9).collect());
    }

    /// Its number among all reasons. A new one does not compile until it stands here, and is not
    /// told until it has a report above.
    fn number(reason: &WaitsFor) -> usize {
        match reason {
            WaitsFor::Content { .. } => 0,
            WaitsFor::Admission => 1,
            WaitsFor::Decision => 2,
            WaitsFor::Mending { .. } => 3,
            WaitsFor::Device { .. } => 4,
            WaitsFor::Run { .. } => 5,
            WaitsFor::Replicas { .. } => 6,
            WaitsFor::Coordinator { .. } => 7,
            WaitsFor::Window { .. } => 8,
        }
    }

    #[test]
    fn a_device_that_is_gone_is_no_free_one() {
        let mut report = evaluated(&["open", "open"]);
        report.devices = vec![sample::unused_gpu(), sample::gone_gpu()];
        let said = format!(
            "a device here; {}: is a gpu, a cpu_slot is needed; 1 more cannot",
            report.devices[0].id
        );
        let reason = WaitsFor::of(&report, &report.submissions[0]).unwrap();
        assert!(reason.to_string().starts_with(&said), "{reason}");
        report.devices.push(sample::healthy().devices.remove(1));
        let reason = WaitsFor::of(&report, &report.submissions[0]).unwrap();
        assert_eq!(reason.name(), "replicas");
    }

    #[test]
    fn what_is_decided_waits_for_nothing() {
        for stage in [
            SubmissionStage::Rejected,
            SubmissionStage::Scored,
            SubmissionStage::Failed,
            SubmissionStage::Disputed,
        ] {
            let report = bare(stage);
            assert_eq!(WaitsFor::of(&report, &report.submissions[0]), None, "{stage:?}");
        }
    }
}
