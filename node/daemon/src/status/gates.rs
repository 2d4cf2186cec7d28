//! Gates that refuse what others are measured by, as a check: they only flag, and somebody has to
//! mend them.

use node_core::machine::UntrainedFault;
use node_core::preflight::Level;

use super::watch::CheckStatus;

/// What to do about a gate that refuses a reference.
pub(crate) const GATE_NEXT_STEP: &str =
    "docs/admission.md, under \"A gate that refuses a reference\", says what to do";

/// How the gates stand.
///
/// - `faults`: what the gates before the container found in what ships with the node.
/// - `untrained`: what the gate in the container found in a reference's run.
pub(super) fn gates_check(faults: &[String], untrained: Option<UntrainedFault>) -> CheckStatus {
    let untrained = untrained.map(|fault| {
        let UntrainedFault { reference, flag } = fault;
        let found = flag.name();
        format!(
            "the gate `untrained` finds `{found}` in the reference `{reference}`; it only flags"
        )
    });
    let all: Vec<String> = faults.iter().cloned().chain(untrained).collect();
    let (level, text) = if all.is_empty() {
        (Level::Ok, "no gate refuses a reference, as far as they were tried".to_owned())
    } else {
        (Level::Alarm, format!("{}; {GATE_NEXT_STEP}", all.join("; ")))
    };
    CheckStatus { id: "gates".to_owned(), level: level.name().to_owned(), text }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use node_core::evidence::{Evidence, Flag};
    use node_core::id::{
        AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId,
        Salt, Signature,
    };
    use node_core::lease::Seal;
    use node_core::machine::event::{Event, Restarted};
    use node_core::machine::{Machine, ReferenceWork};
    use node_core::outcome::Ending;
    use node_core::policy::Policy;
    use node_core::rows::{MeasurementRow, Row};
    use node_core::submission::Submission;
    use node_core::unit::{BlockNumber, Now, UnixMs};

    use super::super::sample;
    use super::*;

    const CONTENT: ContentDigest = ContentDigest([6; 32]);

    fn machine() -> Machine {
        let reference = ReferenceWork { name: "ssm".to_owned(), content: CONTENT };
        sample::machine(vec![reference])
    }

    /// This node's own run of the reference, as it is stored.
    fn stored(policy: Digest) -> MeasurementRow {
        let submission = Submission::identity(&Hotkey([0; 32]), BlockNumber(0), &CONTENT);
        assert!(machine().is_reference(&submission));
        let evidence = Evidence {
            genesis: BlockHash([0; 32]),
            netuid: Netuid(3),
            assignment: AssignmentId([4; 32]),
            submission,
            tier: 2,
            unit: 2,
            content: CONTENT,
            lease: LeaseId([5; 32]),
            attempt: Attempt(1),
            run: RunId([7; 32]),
            coordinator: Hotkey([1; 32]),
            worker: Hotkey([1; 32]),
            policy,
            dataset: Digest([3; 32]),
            image: Digest([2; 32]),
            device: "one CPU".to_owned(),
            ending: Ending::UntrainedNotFinite { tokens: 130 },
            metrics: None,
            started_at: UnixMs(1),
            ended_at: UnixMs(2),
            salt: Salt([8; 32]),
            coordinator_sealed: None,
            shown_before: BTreeMap::new(),
        };
        let seal = Seal::of(&evidence, Signature([9; 64]));
        let (shown_to, fixed_before) = (BTreeMap::new(), BTreeMap::new());
        MeasurementRow { submission, tier: 2, unit: 2, evidence, seal, shown_to, fixed_before }
    }

    #[test]
    fn what_is_stored_of_a_references_run_is_an_alarm_after_a_restart_under_the_same_policy() {
        for (policy, level) in
            [(Policy::dev().digest(), Level::Alarm), (Policy::standard().digest(), Level::Ok)]
        {
            let mut machine = machine();
            assert!(gates_check(&[], machine.untrained_fault()).is(Level::Ok));
            let rows = vec![Row::Measurement(Box::new(stored(policy)))];
            let found = Restarted { rows, ..Restarted::default() };
            machine.apply(Now::default(), Event::Restarted(Box::new(found)));
            let check = gates_check(&[], machine.untrained_fault());
            assert!(check.is(level), "{check:?}");
        }
    }

    #[test]
    fn a_gate_that_refuses_a_reference_is_an_alarm_that_names_both() {
        assert!(gates_check(&[], None).is(Level::Ok));
        let said = gates_check(&["the gate `source` refuses the reference `ssm`".to_owned()], None);
        assert!(said.is(Level::Alarm) && said.text.contains("`ssm`; docs/"), "{said:?}");
        let fault = UntrainedFault { reference: "ssm".to_owned(), flag: Flag::NotFinite };
        let said = gates_check(&[], Some(fault));
        assert!(said.is(Level::Alarm), "{said:?}");
        for part in ["`untrained`", "`not_finite`", "`ssm`", "it only flags"] {
            assert!(said.text.contains(part), "{said:?}");
        }
    }
}
