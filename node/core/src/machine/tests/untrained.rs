//! Claims about the gate of the untrained model: where it asks, and when it only flags.

use super::world::{miner, reference, Fate, World};
use crate::evidence::Flag;
use crate::id::{ContentDigest, SubmissionId};
use crate::machine::effect::Note;
use crate::machine::UntrainedFault;
use crate::policy::{GateMode, Policy};
use crate::reward::fingerprint_tests::{fingerprint, transformer};
use crate::submission::SubmissionState;

const LOSS: u64 = 400_000_000_000_000;

/// One node and three miners under the rules of `dev`, without audits and replicas.
fn world(seed: u64, mode: GateMode) -> World {
    let mut policy = Policy::dev();
    policy.agreement.replicas = 1;
    policy.admission.untrained.mode = mode;
    for tier in &mut policy.scoring.funnel.tiers {
        tier.audit_ppm = 0;
    }
    let mut world = World::with_policy(seed, 1, 3, policy);
    world.architectures.insert(reference().content, fingerprint(&transformer(2)));
    world
}

/// Submits a project in which the gate finds something, and waits for what becomes of it.
fn judged(world: &mut World, number: usize) -> SubmissionState {
    let content = world.new_content(|_| true);
    world.unsound.insert(content);
    let id = world.submit_content(miner(number), content, Fate::Scores { nll_nanonats: LOSS });
    world.run_until(600_000, "its first trial is decided", |world| is_decided(world, id));
    world.state(0, id).unwrap()
}

fn is_decided(world: &World, id: SubmissionId) -> bool {
    let mut outcomes = world.hosts[0].machine().outcomes();
    outcomes.any(|row| row.trial.submission == id)
}

/// What the gate did in the runs of a content, by tier and unit.
fn gates(world: &World, content: ContentDigest) -> Vec<(u8, u8, GateMode)> {
    let runs = world.started.iter().map(|(_, spec)| spec);
    let runs = runs.filter(|spec| spec.assignment.content == content);
    runs.map(|spec| (spec.assignment.tier, spec.assignment.unit, spec.untrained)).collect()
}

/// Both runs of the reference.
fn run_reference(world: &mut World) {
    let content = reference().content;
    world.run_until(1_500_000, "the reference is measured", |world| {
        let machine = world.hosts[0].machine();
        let outcomes = machine.outcomes().map(|row| row.trial);
        outcomes.filter(|trial| machine.is_reference(&trial.submission)).count() == 2
    });
    let asked = [(2, 2, GateMode::Flag), (2, 3, GateMode::Off)];
    assert_eq!(gates(world, content), asked, "it is asked once, and measured whatever is found");
}

fn fault(world: &World) -> Option<UntrainedFault> {
    world.hosts[0].machine().untrained_fault()
}

fn has_failed(state: &SubmissionState) -> bool {
    matches!(state, SubmissionState::Failed { .. })
}

#[test]
fn a_gate_that_turned_somebody_away_is_tried_on_the_reference_and_stays_if_that_passes() {
    let mut world = world(31, GateMode::Reject);
    assert!(has_failed(&judged(&mut world, 0)));
    // Nobody got to the tier that needs it.
    run_reference(&mut world);
    assert_eq!(fault(&world), None);
    assert!(has_failed(&judged(&mut world, 1)));
    assert_eq!(world.notes(0, |note| matches!(note, Note::GateFailsReference { .. })), 0);
}

#[test]
fn a_gate_that_the_reference_fails_only_flags_from_then_on_also_after_a_restart() {
    let mut world = world(32, GateMode::Reject);
    world.unsound.insert(reference().content);
    assert!(has_failed(&judged(&mut world, 0)), "nobody knows better yet");
    run_reference(&mut world);
    let found = UntrainedFault { reference: reference().name, flag: Flag::NotCausal };
    assert_eq!(fault(&world), Some(found.clone()));
    assert_eq!(world.notes(0, |note| matches!(note, Note::GateFailsReference { .. })), 1);
    let state = judged(&mut world, 1);
    assert!(matches!(state, SubmissionState::Scored { .. }), "{state:?}");

    world.kill(0);
    world.start(0);
    world.run_until(60_000, "it read a block", |world| world.hosts[0].machine().view().is_some());
    assert_eq!(fault(&world), Some(found));
    let state = judged(&mut world, 2);
    assert!(matches!(state, SubmissionState::Scored { .. }), "{state:?}");
}

#[test]
fn a_gate_in_shadow_is_at_nobodys_fault() {
    let mut world = world(33, GateMode::Flag);
    world.unsound.insert(reference().content);
    let state = judged(&mut world, 0);
    assert!(matches!(state, SubmissionState::Scored { .. }), "{state:?}");
    assert_eq!(fault(&world), None);
}
