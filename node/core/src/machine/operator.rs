//! What a person asks of a node that runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::health::DeviceRow;
use crate::hold::{NotResolved, Resolution};
use crate::id::{AssignmentId, SubmissionId};
use crate::inventory::DeviceId;
use crate::lease::{NotReopened, Reopening};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::CallId;
use crate::machine::Machine;
use crate::submission::Submission;
use crate::unit::Now;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRequest {
    /// What used up the attempts of an assignment is mended.
    Reopen {
        /// Which assignment.
        assignment: AssignmentId,
    },
    /// A submission that is held is looked at.
    Resolve {
        /// Which submission.
        submission: SubmissionId,
        /// What is decided.
        resolution: Resolution,
    },
    /// Something about a device.
    Order {
        /// Which.
        device: DeviceId,
        /// What.
        order: DeviceOrder,
    },
}

/// What an operator orders for a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order", deny_unknown_fields)]
pub enum DeviceOrder {
    /// No run begins on it; one that is on it goes on.
    Cordon {
        /// Why.
        reason: String,
    },
    /// No run begins on it; one that is on it is stopped and its lease given back.
    Drain {
        /// Why.
        reason: String,
    },
    /// It may be given runs again, once it passed a probe. One that is gone is forgotten.
    Uncordon,
    /// It is probed now.
    Probe,
}

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderRefused {
    /// The host has no such device.
    Unknown,
    /// The host had it once.
    Gone,
    /// A run is on it.
    Busy,
    /// A CPU slot has nothing that could be probed.
    NothingToProbe,
}

impl OrderRefused {
    /// Its public name, the same as when it is serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Gone => "gone",
            Self::Busy => "busy",
            Self::NothingToProbe => "nothing_to_probe",
        }
    }
}

impl fmt::Display for OrderRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "this host has no such device",
            Self::Gone => "it is not on this host any more",
            Self::Busy => "a run is on it; `assay device drain` gives that back first",
            Self::NothingToProbe => "a CPU slot has nothing that could be probed",
        })
    }
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAnswer {
    /// About [`OperatorRequest::Reopen`].
    Reopened(Result<Reopening, NotReopened>),
    /// About [`OperatorRequest::Resolve`]: the submission as it is now.
    Resolved(Result<Box<Submission>, NotResolved>),
    /// About [`OperatorRequest::Order`]: how the device stands now.
    Ordered(Result<Box<DeviceRow>, OrderRefused>),
}

impl Machine {
    pub(super) fn on_operator_asked(
        &mut self,
        now: Now,
        call: CallId,
        request: OperatorRequest,
        out: &mut Outcome,
    ) {
        let answer = match request {
            OperatorRequest::Reopen { assignment } => {
                OperatorAnswer::Reopened(self.reopen(now, assignment, out))
            }
            OperatorRequest::Resolve { submission, resolution } => {
                let resolved = self.resolve(now, submission, resolution, out);
                OperatorAnswer::Resolved(resolved.map(Box::new))
            }
            OperatorRequest::Order { device, order } => {
                OperatorAnswer::Ordered(self.order(now, &device, order, out))
            }
        };
        out.perform(Effect::AnswerOperator { call, answer });
    }

    /// Gives an assignment whose attempts are used up all of them again. It is stored before
    /// anybody is told or granted anything.
    fn reopen(
        &mut self,
        now: Now,
        assignment: AssignmentId,
        out: &mut Outcome,
    ) -> Result<Reopening, NotReopened> {
        let block = self.view.as_ref().map(|view| view.number).ok_or(NotReopened::NotReady)?;
        if self.is_stopping || self.is_catching_up() {
            return Err(NotReopened::NotReady);
        }
        let key = self.replica_of.get(&assignment).copied().ok_or(NotReopened::Unknown)?;
        let (trial, replica) = key;
        let submission = trial.submission;
        if !self.pending.contains_key(&trial) {
            return Err(NotReopened::Settled);
        }
        let before = self
            .change(key, out, |record| record.reopen_by_hand(block, now.mono))
            .ok_or(NotReopened::Unknown)??;
        out.note(Note::LeaseReopened { submission, attempt: before.attempt.0 });
        let is_on_duty = self.is_on_duty(&trial);
        Ok(Reopening { assignment, submission, replica, is_on_duty, before })
    }
}
