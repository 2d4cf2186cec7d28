//! A policy's gates, tried on what ships with the node before they judge anybody.
//!
//! A gate that refuses a reference is wrong, not the reference: it only flags from then on, and
//! what it found is told. Pure: every node and every miner with this version find the same under
//! the same policy. The policy itself, and so its digest, stays what it is.

use std::collections::BTreeMap;
use std::fmt;

use node_core::admission::{Rejection, Rule};
use node_core::policy::{AdmissionRules, GateMode, Policy};

use crate::admit::project_and_sources;
use crate::archive::{pack_files, read_archive, rejection, Archive, PackError};
use crate::fingerprint::sketch;
use crate::project::TRAINING_FILE;
use crate::reference::{references, TRAINER};
use crate::source::Source;
use crate::{distributed, static_rules};

/// What the reference trainer is called among the references.
const TRAINER_NAME: &str = "trainer";

/// What admission judges by: a policy, and what its gates may do after they were tried.
///
/// There is no other way to one than [`Gates::check`], so nothing is judged by gates that were not
/// tried.
#[derive(Clone, Debug)]
pub struct Gates {
    policy: Policy,
    applied: AdmissionRules,
    faults: Vec<GateFault>,
}

/// Something that a gate found in what ships with the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateFault {
    /// The gate.
    pub gate: Gate,
    /// The reference submission, or `trainer`.
    pub reference: &'static str,
    /// What was found: rule, file, line and a sentence.
    pub found: Rejection,
}

/// A part of admission that can fail a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// The archive, the contract, and what bounds the cost of reading. It has no mode: what cannot
    /// be read cannot be judged either.
    Contract,
    /// The static rules.
    Source,
    /// The contract of several devices.
    Distributed,
    /// The comparison with others' code, which a reference can fail only by being unreadable. It
    /// has no mode.
    Duplicates,
}

impl Gate {
    /// Its public name: that of its mode in the policy, where it has one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Source => "source",
            Self::Distributed => "distributed",
            Self::Duplicates => "duplicates",
        }
    }

    /// Whether it only flags once it failed a reference.
    #[must_use]
    pub fn can_flag(self) -> bool {
        match self {
            Self::Source | Self::Distributed => true,
            Self::Contract | Self::Duplicates => false,
        }
    }
}

impl fmt::Display for GateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gate, reference, found } = self;
        let now =
            if gate.can_flag() { "it only flags" } else { "it has no other mode and goes on" };
        write!(f, "the gate `{}` refuses the reference `{reference}`: {found}; {now}", gate.name())
    }
}

impl Gates {
    /// Tries the gates of a policy on the reference submissions and the reference trainer.
    #[must_use]
    pub fn check(policy: &Policy) -> Self {
        Self::check_on(policy, &shipped())
    }

    fn check_on(policy: &Policy, shipped: &[(&'static str, Files)]) -> Self {
        let mut faults = Vec::new();
        for (reference, files) in shipped {
            let mut fails = |(gate, found)| faults.push(GateFault { gate, reference, found });
            found_in(files, policy).into_iter().for_each(&mut fails);
        }
        let mut applied = policy.admission.clone();
        for fault in &faults {
            match fault.gate {
                Gate::Source => applied.source = GateMode::Flag,
                Gate::Distributed => applied.distributed = GateMode::Flag,
                Gate::Contract | Gate::Duplicates => {}
            }
        }
        Self { policy: policy.clone(), applied, faults }
    }

    /// The policy, as it was given.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy's rules of admission with the modes that hold.
    pub(crate) fn applied(&self) -> &AdmissionRules {
        &self.applied
    }

    /// What the gates found in what ships with the node; nothing, if all is well.
    #[must_use]
    pub fn faults(&self) -> &[GateFault] {
        &self.faults
    }
}

type Files = BTreeMap<String, Vec<u8>>;

/// The reference submissions, and the first of them with the reference trainer as its training.
fn shipped() -> Vec<(&'static str, Files)> {
    let mut shipped: Vec<_> =
        references().iter().map(|reference| (reference.name(), reference.files())).collect();
    if let Some(first) = references().first() {
        let mut files = first.files();
        files.insert(TRAINING_FILE.to_owned(), TRAINER.as_bytes().to_vec());
        shipped.push((TRAINER_NAME, files));
    }
    shipped
}

/// The first finding of each gate that ends an admission.
fn found_in(files: &Files, policy: &Policy) -> Vec<(Gate, Rejection)> {
    let (archive, sources) = match read(files, policy) {
        Ok(read) => read,
        Err(found) => return vec![(Gate::Contract, found)],
    };
    let rules = &policy.admission;
    let first = |mode: GateMode, check: &dyn Fn() -> Vec<Rejection>| match mode {
        GateMode::Reject => check().into_iter().next(),
        GateMode::Flag | GateMode::Off => None,
    };
    let source = first(rules.source, &|| static_rules::check(&sources, rules, 1));
    let distributed = first(rules.distributed, &|| distributed::check(&sources, 1));
    let unreadable = sketch(&archive).err();
    let found =
        [(Gate::Source, source), (Gate::Distributed, distributed), (Gate::Duplicates, unreadable)];
    found.into_iter().filter_map(|(gate, found)| Some((gate, found?))).collect()
}

fn read(files: &Files, policy: &Policy) -> Result<(Archive, Vec<Source>), Rejection> {
    let packed = pack_files(files, &policy.archive).map_err(refused)?;
    let archive = read_archive(&packed.bytes, &policy.archive)?;
    let (_, sources) = project_and_sources(&archive, policy, &mut |_, _| {})?;
    Ok((archive, sources))
}

fn refused(error: PackError) -> Rejection {
    let said = error.to_string();
    match error {
        PackError::Refused { rejection } => rejection,
        PackError::Read { .. }
        | PackError::NotAFile { .. }
        | PackError::NameNotText { .. }
        | PackError::TooLarge { .. }
        | PackError::Write { .. } => rejection(Rule::ArchiveFormat, None, said),
    }
}

#[cfg(test)]
mod tests;
