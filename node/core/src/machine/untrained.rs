//! The gate of the untrained model: in which runs it asks, and what it does with what it finds.
//!
//! A gate that the references fail is wrong, not they: from then on it only flags. That follows
//! from what is stored and from nothing else, so a restart changes nothing about it.

use crate::evidence::{Evidence, Flag};
use crate::funnel::ProjectKind;
use crate::id::SubmissionId;
use crate::machine::effect::{Note, Outcome};
use crate::machine::Machine;
use crate::policy::GateMode;
use crate::round::Verdict;
use crate::rows::OutcomeRow;
use crate::trial::Trial;

/// A reference that the gate of the untrained model found something in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntrainedFault {
    /// The reference's name.
    pub reference: String,
    /// What was found first, in the order of [`Flag::ALL`].
    pub flag: Flag,
}

/// What the gate found in a run, in either of its modes.
fn found_in(evidence: &Evidence) -> Option<Flag> {
    let flags = evidence.metrics.as_ref().map(|metrics| &metrics.conduct.flags);
    Flag::of_ending(&evidence.ending).or_else(|| flags?.first().copied())
}

/// With which finding the gate ended the run that decided.
fn ended(row: &OutcomeRow) -> Option<Flag> {
    match &row.verdict {
        Verdict::Failed { ending } => Flag::of_ending(ending),
        Verdict::Scored { .. } | Verdict::Disputed => None,
    }
}

impl Machine {
    /// A reference in which the gate found something under this policy: in this node's own run of
    /// it, or in the one that decided. `None` also where the gate rejects nobody by the policy.
    #[must_use]
    pub fn untrained_fault(&self) -> Option<UntrainedFault> {
        match self.config.policy.admission.untrained.mode {
            GateMode::Reject => {}
            GateMode::Flag | GateMode::Off => return None,
        }
        let fault = |(id, name): &(SubmissionId, String)| {
            let flag = self.found_in_runs_of(*id)?;
            Some(UntrainedFault { reference: name.clone(), flag })
        };
        self.references.iter().find_map(fault)
    }

    fn found_in_runs_of(&self, id: SubmissionId) -> Option<Flag> {
        let own = self.measurements.range(Trial::all_of(id)).map(|(_, row)| &row.evidence);
        let decided = self.outcomes.range(Trial::all_of(id));
        let decided = decided.flat_map(|(trial, row)| {
            let theirs = self.receipts.counting(trial).map(|receipt| &receipt.evidence);
            theirs.filter(|evidence| Some(evidence.worker) == row.worker)
        });
        let runs = own.chain(decided).filter(|run| run.policy == self.policy_digest);
        runs.filter_map(found_in).min()
    }

    /// What the gate does in a run; [`GateMode::Off`] where it does not ask.
    pub(super) fn untrained_gate(&self, trial: Trial) -> GateMode {
        if self.asks_in(trial.submission) != Some(trial) {
            return GateMode::Off;
        }
        match self.config.policy.admission.untrained.mode {
            GateMode::Off => GateMode::Off,
            GateMode::Flag => GateMode::Flag,
            // Others are measured by it, so it has to be measured whatever is found.
            GateMode::Reject if self.is_reference(&trial.submission) => GateMode::Flag,
            GateMode::Reject if self.untrained_fault().is_some() => GateMode::Flag,
            GateMode::Reject => GateMode::Reject,
        }
    }

    /// The trial in which a submission's untrained model is asked: the first that it passes.
    fn asks_in(&self, submission: SubmissionId) -> Option<Trial> {
        if !self.is_reference(&submission) {
            return Some(Trial::first(submission));
        }
        let (tier, rules) = self.paying_tier()?;
        let unit = rules.units(ProjectKind::ArchitectureOnly).first()?.unit;
        Some(Trial { submission, tier, unit })
    }

    /// Says it, once in a life of the node, when a run shows that a reference fails the gate.
    pub(super) fn tell_failing_reference(&mut self, submission: SubmissionId, out: &mut Outcome) {
        if !self.is_reference(&submission) || self.found_in_runs_of(submission).is_none() {
            return;
        }
        let fault = self.untrained_fault();
        if fault == self.untrained_told {
            return;
        }
        self.untrained_told.clone_from(&fault);
        let Some(UntrainedFault { reference, flag }) = fault else { return };
        let (cause, found) = ("untrained".to_owned(), flag.name());
        let reason = format!("`{found}` in the reference `{reference}`: the gate only flags");
        out.note(Note::GateFailsReference { cause, reason });
    }

    /// Whether the gate turned away a submission: then the references have to show that it is
    /// right, also where nobody gets far enough to need them.
    pub(super) fn has_gate_refused(&self) -> bool {
        let mut refused = self.outcomes.values().filter(|row| ended(row).is_some());
        refused.any(|row| !self.is_reference(&row.trial.submission))
    }
}
