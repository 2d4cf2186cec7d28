//! When all is over: everything has a result, and everybody the same.

use std::collections::BTreeMap;

use node_core::assignment::coordinators;
use node_core::evidence::Metrics;
use node_core::id::{AssignmentId, Hotkey, SubmissionId, Uid};
use node_core::machine::Machine;
use node_core::outcome::Ending;
use node_core::submission::{Submission, SubmissionState};

use super::{ensure, Breach, Scene, Sight};
use crate::ledger::is_settled;
use crate::rules::RULES;

/// Whether all nodes have to agree: with one replica, two coordinators may have a liar and an
/// honest worker measure the same, and each node believes whom it hears first.
fn must_agree(scene: &Scene<'_>) -> bool {
    RULES.has_replicas || scene.plan.is_honest()
}

/// Nodes that live, with their machines.
fn living<'a>(scene: &Scene<'a>) -> impl Iterator<Item = (usize, &'a Machine)> {
    let hosts = scene.hosts.iter().enumerate();
    hosts.filter_map(|(node, host)| Some((node, host.machine.as_ref()?)))
}

fn is_gone(scene: &Scene<'_>, hotkey: &Hotkey) -> bool {
    scene.hosts.iter().any(|host| host.is_gone && host.config.hotkey == *hotkey)
}

/// Whether nobody can be asked to settle it: its attempts are used up, or, as long as there is no
/// takeover, its coordinator is dead.
fn is_excused(scene: &Scene<'_>, machine: &Machine, submission: &Submission) -> bool {
    if scene.ledger.exhausted.contains(&submission.id) {
        return true;
    }
    let Some(view) = machine.view().filter(|_| !RULES.has_takeover) else { return false };
    let ranked = coordinators(view, &submission.hotkey, &submission.content);
    ranked.first().is_some_and(|first| is_gone(scene, first))
}

/// What is still to be done, in a sentence; `None` once everything is done.
pub(crate) fn unfinished(scene: &Scene<'_>) -> Option<Breach> {
    living(scene).find_map(|(node, machine)| {
        let known = machine.submissions().count();
        if known < scene.plan.submissions {
            let detail = format!("node {node} knows {known} of {}", scene.plan.submissions);
            return Some(Breach { detail, nodes: vec![node] });
        }
        let is_open = |submission: &&Submission| {
            let is_done = is_settled(&submission.state)
                || matches!(submission.state, SubmissionState::Rejected { .. });
            !is_done && !is_excused(scene, machine, submission)
        };
        if let Some(open) = machine.submissions().find(is_open) {
            let detail = format!("node {node} still has {} as {:?}", open.id, open.state);
            return Some(Breach { detail, nodes: vec![node] });
        }
        receipts_agree(scene, &Sight::Ended).err()
    })
}

type Receipts<'a> = BTreeMap<(AssignmentId, Hotkey), (&'a Ending, Option<&'a Metrics>)>;

/// What each worker measured, by assignment, as far as everybody can have it. One that measured
/// under two coordinators has two receipts that say the same: which one a node keeps is open.
fn receipts<'a>(scene: &Scene<'_>, machine: &'a Machine) -> Receipts<'a> {
    let excused = |id: &SubmissionId| {
        let submission = machine.submissions().find(|submission| submission.id == *id);
        submission.is_none_or(|submission| is_excused(scene, machine, submission))
    };
    let can_be_had = |coordinator: &Hotkey| RULES.has_takeover || !is_gone(scene, coordinator);
    machine
        .receipts()
        .map(|row| &row.receipt.evidence)
        .filter(|evidence| can_be_had(&evidence.coordinator))
        .filter(|evidence| RULES.has_takeover || !excused(&evidence.submission))
        .map(|evidence| {
            let key = (evidence.assignment, evidence.worker);
            (key, (&evidence.ending, evidence.metrics.as_ref()))
        })
        .collect()
}

/// The first two nodes that differ in something.
fn differ<'a, T: PartialEq>(
    scene: &Scene<'a>,
    of: impl Fn(&'a Machine) -> T,
) -> Option<(usize, usize, T, T)> {
    let mut nodes = living(scene);
    let (first, machine) = nodes.next()?;
    let mut expected = Some(of(machine));
    nodes.find_map(|(node, machine)| {
        let got = of(machine);
        if expected.as_ref() == Some(&got) {
            return None;
        }
        Some((first, node, expected.take()?, got))
    })
}

/// See the list.
pub(super) fn receipts_agree(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Ended = sight else { return Ok(()) };
    let Some((one, other, has, got)) = differ(scene, |machine| receipts(scene, machine)) else {
        return Ok(());
    };
    let only_here = has.iter().find(|(key, receipt)| got.get(key) != Some(receipt));
    let only_there = got.iter().find(|(key, receipt)| has.get(key) != Some(receipt));
    ensure(false, &[one, other], || {
        format!("node {one} has {only_here:?} where node {other} has {only_there:?}")
    })
}

/// See the list.
pub(super) fn scores_agree(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Ended = sight else { return Ok(()) };
    let scores = |machine: &Machine| -> BTreeMap<SubmissionId, SubmissionState> {
        machine
            .submissions()
            .filter(|submission| !is_excused(scene, machine, submission))
            .map(|submission| (submission.id, submission.state.clone()))
            .collect()
    };
    let different = differ(scene, scores).filter(|_| must_agree(scene));
    let Some((one, other, has, got)) = different else { return Ok(()) };
    let wrong = has.iter().find(|(id, state)| got.get(id) != Some(state));
    ensure(false, &[one, other], || {
        let there = wrong.and_then(|(id, _)| got.get(id));
        format!("node {one} has {wrong:?} where node {other} has {there:?}")
    })
}

/// See the list. Where something is excused, nodes may know more or less of it.
pub(super) fn vectors_agree(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Ended = sight else { return Ok(()) };
    let excused = living(scene).any(|(_, machine)| {
        machine.submissions().any(|submission| is_excused(scene, machine, submission))
    });
    let Some(view) = living(scene).find_map(|(_, machine)| machine.view()) else { return Ok(()) };
    let vector = |machine: &Machine| -> Option<Vec<(Uid, u16)>> { machine.vector(view).ok() };
    match differ(scene, vector).filter(|_| !excused && must_agree(scene)) {
        Some((one, other, has, got)) => ensure(false, &[one, other], || {
            format!("node {one} would sign {has:?}, node {other} {got:?}")
        }),
        None => Ok(()),
    }
}
