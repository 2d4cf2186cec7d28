//! What a node knows, in parts that can be compared before they are put into words: words for
//! everything after every event would cost more than the history.

use std::fmt;

use node_core::id::{AssignmentId, Attempt, Hotkey, RunId, SubmissionId};
use node_core::lease::LeaseState;
use node_core::machine::Machine;
use node_core::rows::{RunRow, RunState};
use node_core::submission::SubmissionState;

/// A part of a node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Height,
    Receipts,
    Gone,
    Strikes,
    Submission(SubmissionId),
    Lease(AssignmentId),
    Run(RunId),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Height => f.write_str("height"),
            Self::Receipts => f.write_str("receipts"),
            Self::Gone => f.write_str("gone"),
            Self::Strikes => f.write_str("strikes"),
            Self::Submission(id) => write!(f, "{id}"),
            Self::Lease(id) => write!(f, "of {id}"),
            Self::Run(id) => write!(f, "{id}"),
        }
    }
}

/// What a part of the state is now.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Number(u64),
    Hotkeys(Vec<Hotkey>),
    Submission(&'a SubmissionState),
    Lease(Attempt, &'a LeaseState),
    Run(&'a RunRow),
}

/// What a part of the state was.
#[derive(Debug)]
pub(crate) enum Kept {
    Number(u64),
    Hotkeys(Vec<Hotkey>),
    Submission(SubmissionState),
    Lease(Attempt, Box<LeaseState>),
    Run(Box<RunRow>),
}

impl Value<'_> {
    /// Whether nothing changed.
    pub(crate) fn is(&self, kept: &Kept) -> bool {
        match (self, kept) {
            (Self::Number(now), Kept::Number(before)) => now == before,
            (Self::Hotkeys(now), Kept::Hotkeys(before)) => now == before,
            (Self::Submission(now), Kept::Submission(before)) => *now == before,
            (Self::Lease(attempt, now), Kept::Lease(last, before)) => {
                attempt == last && **now == **before
            }
            (Self::Run(now), Kept::Run(before)) => **now == **before,
            _ => false,
        }
    }

    /// The same, to compare the next one with.
    pub(crate) fn keep(self) -> Kept {
        match self {
            Self::Number(number) => Kept::Number(number),
            Self::Hotkeys(hotkeys) => Kept::Hotkeys(hotkeys),
            Self::Submission(state) => Kept::Submission(state.clone()),
            Self::Lease(attempt, state) => Kept::Lease(attempt, Box::new((*state).clone())),
            Self::Run(row) => Kept::Run(Box::new(row.clone())),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Hotkeys(hotkeys) => {
                let all: Vec<String> = hotkeys.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(" "))
            }
            Self::Submission(state) => write!(f, "{state:?}"),
            Self::Lease(attempt, state) => {
                write!(f, "#{attempt} ")?;
                match state {
                    LeaseState::Granted { holder, .. } => write!(f, "granted to {holder}"),
                    LeaseState::Sealed { seal } => write!(f, "sealed by {}", seal.worker),
                    LeaseState::Complete { evidence, .. } => write!(f, "complete: {evidence}"),
                    other => write!(f, "{other:?}"),
                }
            }
            Self::Run(row) => {
                match &row.state {
                    RunState::Sealing { .. } => f.write_str("sealed")?,
                    RunState::Completing { .. } => f.write_str("shown")?,
                    other => write!(f, "{other:?}")?,
                }
                row.devices.iter().try_for_each(|device| write!(f, " {device}"))
            }
        }
    }
}

/// What a node knows.
pub(crate) fn state(machine: &Machine) -> impl Iterator<Item = (Thing, Value<'_>)> {
    let height = machine.view().map_or(0, |view| view.number.0);
    let count = |count: usize| Value::Number(count as u64);
    let submissions = machine.submissions();
    let leases = machine.leases().map(|record| {
        let row = record.row();
        (Thing::Lease(row.assignment.id), Value::Lease(row.attempt, &row.state))
    });
    [
        (Thing::Height, Value::Number(height)),
        (Thing::Receipts, count(machine.receipts().count())),
        (Thing::Gone, Value::Hotkeys(machine.gone().copied().collect())),
        (Thing::Strikes, count(machine.strikes().count())),
    ]
    .into_iter()
    .chain(submissions.map(|own| (Thing::Submission(own.id), Value::Submission(&own.state))))
    .chain(leases)
    .chain(machine.runs().map(|run| (Thing::Run(run.row.run), Value::Run(&run.row))))
}
