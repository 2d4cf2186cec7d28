//! Gates that refuse what ships with the node, and what becomes of them.

use node_core::admission::{Rule, Verdict};

use super::*;
use crate::admit::admit;
use crate::archive::content_digest;

const ARCHITECTURE: &str = "import torch\n\n\ndef build_model(ctx):\n    return None\n";

fn project(training: &str) -> Files {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    [file("architecture.py", ARCHITECTURE), file("training.py", training)].into()
}

fn judged(files: &Files, gates: &Gates) -> Verdict {
    let packed = pack_files(files, &gates.policy().archive).unwrap();
    admit(&packed.bytes, &content_digest(files), gates).0
}

fn flags_of(verdict: &Verdict) -> Vec<Rule> {
    match verdict {
        Verdict::Admitted { flags, .. } => flags.iter().map(|flag| flag.rule).collect(),
        Verdict::Rejected { rejection } => panic!("{rejection}"),
    }
}

/// Rules that no reference can keep: they all import torch.
fn without_torch() -> Policy {
    let mut policy = Policy::standard();
    policy.admission.import_roots.retain(|root| root != "torch");
    policy
}

#[test]
fn no_gate_of_any_policy_refuses_what_ships_with_the_node() {
    let policies =
        [Policy::dev(), Policy::standard(), Policy::quick(), Policy::dev_gpu(), Policy::dev_open()];
    for policy in policies {
        let gates = Gates::check(&policy);
        assert_eq!(gates.faults(), []);
        assert_eq!(*gates.applied(), policy.admission);
    }
}

#[test]
fn rules_that_refuse_a_reference_flag_instead_and_the_fault_names_gate_rule_file_and_line() {
    let policy = without_torch();
    let gates = Gates::check(&policy);
    let fault = &gates.faults()[0];
    assert_eq!((fault.gate, fault.reference), (Gate::Source, "transformer-rope"));
    assert_eq!(fault.found.rule, Rule::SourceImport);
    let text = fault.to_string();
    let line = fault.found.line.unwrap();
    for part in ["`source`", "`transformer-rope`", "source-import", "it only flags"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains(&format!("architecture.py:{line}")), "{text}");
    let named: Vec<_> = gates.faults().iter().map(|fault| fault.reference).collect();
    assert_eq!(named, ["transformer-rope", "ssm", "trainer"]);

    // What it would have refused is admitted with what was found, as often as it is asked.
    let smuggled = project("import os\n\n\ndef train(ctx):\n    os.getcwd()\n");
    let verdict = judged(&smuggled, &gates);
    let flags = flags_of(&verdict);
    let found = [Rule::SourceImport, Rule::SourceProcess];
    assert!(found.iter().all(|rule| flags.contains(rule)), "{flags:?}");
    assert_eq!(judged(&smuggled, &Gates::check(&policy)), verdict);
    // The others go on, and the policy stays the one that was agreed on.
    assert_eq!(gates.applied().distributed, GateMode::Reject);
    assert_eq!(gates.policy().digest(), policy.digest());
    assert_eq!(gates.policy().admission.source, GateMode::Reject);
}

#[test]
fn under_sound_rules_the_same_submission_is_refused() {
    let smuggled = project("import os\n\n\ndef train(ctx):\n    os.getcwd()\n");
    let verdict = judged(&smuggled, &Gates::check(&Policy::standard()));
    let Verdict::Rejected { rejection } = verdict else { panic!("{verdict:?}") };
    assert_eq!((rejection.rule, rejection.line), (Rule::SourceProcess, Some(1)));
}

/// Uses several devices and never makes a group.
const NO_GROUP: &str = "import torch\n\n\ndef train(ctx):\n    torch.distributed.barrier()\n";

#[test]
fn the_contract_of_several_devices_is_put_in_shadow_by_itself() {
    let mut ours = shipped();
    ours.push(("broken", project(NO_GROUP)));
    let gates = Gates::check_on(&Policy::standard(), &ours);
    let found: Vec<_> = gates.faults().iter().map(|one| (one.gate, one.reference)).collect();
    assert_eq!(found, [(Gate::Distributed, "broken")]);
    assert!(flags_of(&judged(&project(NO_GROUP), &gates)).contains(&Rule::DistributedGroup));
    assert_eq!(gates.applied().source, GateMode::Reject);
}

#[test]
fn a_gate_in_shadow_or_off_has_nothing_to_switch() {
    for mode in [GateMode::Flag, GateMode::Off] {
        let mut policy = without_torch();
        policy.admission.source = mode;
        let gates = Gates::check(&policy);
        assert_eq!(gates.faults(), []);
        assert_eq!(gates.applied().source, mode);
    }
}

#[test]
fn what_bounds_the_reading_is_told_and_goes_on() {
    let mut policy = Policy::standard();
    policy.admission.python_bytes_max = 10;
    let gates = Gates::check(&policy);
    let fault = &gates.faults()[0];
    assert_eq!((fault.gate, fault.found.rule), (Gate::Contract, Rule::SourceSize));
    assert!(fault.to_string().ends_with("it has no other mode and goes on"), "{fault}");
    assert_eq!(*gates.applied(), policy.admission);
    let verdict = judged(&project("def train(ctx):\n    pass\n"), &gates);
    assert!(matches!(verdict, Verdict::Rejected { .. }), "{verdict:?}");
}
