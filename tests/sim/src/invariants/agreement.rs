//! When all is over: everything has a result, and everybody the same.

use std::collections::{BTreeMap, BTreeSet};

use node_core::evidence::Evidence;
use node_core::funnel::CohortId;
use node_core::id::{Hotkey, SubmissionId, Uid};
use node_core::machine::Machine;
use node_core::rows::ReceiptStanding;
use node_core::submission::{Submission, SubmissionState};
use node_core::trial::Trial;

use super::results::is_true;
use super::{ensure, Breach, Scene, Sight};
use crate::host::Host;
use crate::ledger::is_settled;
use crate::plan::Character;

/// Whether there are enough honest evaluators for everybody to agree: who lies has to be outvoted.
fn can_agree(scene: &Scene<'_>) -> bool {
    let evaluators = |is_meant: &dyn Fn(&Host) -> bool| {
        scene.hosts.iter().filter(|host| host.devices > 0 && is_meant(host)).count()
    };
    let honest = evaluators(&|host| host.character == Character::Honest && !host.is_gone);
    let dishonest = evaluators(&|host| host.character != Character::Honest);
    let wanted = usize::from(scene.plan.replicas);
    let is_jury_full = honest >= wanted || dishonest == 0;
    let are_lies_told = dishonest == 0 || wanted > 1;
    honest > dishonest && dishonest <= 2 && is_jury_full && are_lies_told
}

/// Nodes that live, with their machines.
fn living<'a>(scene: &Scene<'a>) -> impl Iterator<Item = (usize, &'a Machine)> {
    let hosts = scene.hosts.iter().enumerate();
    hosts.filter_map(|(node, host)| Some((node, host.machine.as_ref()?)))
}

/// Whether nobody can be asked to settle it: its attempts are used up somewhere.
fn is_excused(scene: &Scene<'_>, submission: &Submission) -> bool {
    scene.ledger.exhausted.contains(&submission.id)
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
            let is_owed = can_agree(scene) || !submission.state.is_judged();
            !is_done && is_owed && !is_excused(scene, submission)
        };
        if let Some(open) = machine.submissions().find(is_open) {
            let detail = format!("node {node} still has {} as {:?}", open.id, open.state);
            return Some(Breach { detail, nodes: vec![node] });
        }
        // A verdict may stand while those results that came since disagree with it.
        let is_asked_for = |submission: &&Submission| {
            let is_owed = can_agree(scene) && !is_excused(scene, submission);
            is_owed && machine.needs_results(&submission.id)
        };
        if let Some(open) = machine.submissions().find(is_asked_for) {
            let detail = format!("node {node} asks for one more result of {}", open.id);
            return Some(Breach { detail, nodes: vec![node] });
        }
        if let Some(detail) = open_window(scene, machine) {
            return Some(Breach { detail: format!("node {node} {detail}"), nodes: vec![node] });
        }
        receipts_agree(scene, &Sight::Ended).err()
    })
}

/// Until the last tier of the last window is due, somebody may still go on.
fn open_window(scene: &Scene<'_>, machine: &Machine) -> Option<String> {
    let rules = scene.plan.has_tiers.then(crate::world::tiers)?;
    let last = machine.submissions().map(|submission| submission.committed_at).max()?;
    let tiers = u8::try_from(rules.tiers.len()).unwrap_or(u8::MAX);
    let due = CohortId::of(&rules, last).due_at(&rules, tiers);
    let number = machine.view().map(|view| view.number).unwrap_or_default();
    (number < due).then(|| format!("is at block {number}, the last tier is due at {due}"))
}

/// See the list. Where something is excused, nodes may know more or less of it.
pub(super) fn tiers_agree(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Ended = sight else { return Ok(()) };
    let excused = living(scene)
        .any(|(_, machine)| machine.submissions().any(|submission| is_excused(scene, submission)));
    let places = |machine: &Machine| -> Vec<String> {
        let ids = machine.submissions().map(|submission| submission.id);
        ids.map(|id| format!("{id} {:?}", machine.place_in_funnel(&id))).collect()
    };
    let different = differ(scene, places).filter(|_| !excused && can_agree(scene));
    let Some((one, other, has, got)) = different else { return Ok(()) };
    let wrong = has.iter().zip(&got).find(|(has, got)| has != got);
    ensure(false, &[one, other], || format!("nodes {one} and {other} differ: {wrong:?}"))
}

type Claims = BTreeMap<(Trial, Hotkey), BTreeSet<String>>;

/// What each worker measured, as far as it counts and everybody can have it. One that handed the
/// same in under two coordinators has two receipts that say the same: which one a node keeps is
/// open.
fn claims(scene: &Scene<'_>, machine: &Machine) -> Claims {
    let excused: BTreeSet<SubmissionId> = machine
        .submissions()
        .filter(|submission| is_excused(scene, submission))
        .map(|submission| submission.id)
        .collect();
    let can_be_had = |evidence: &Evidence| !excused.contains(&evidence.submission);
    let mut claims = Claims::new();
    let counting = machine.receipts().filter(|row| row.standing == ReceiptStanding::Counts);
    for evidence in counting.map(|row| &row.receipt.evidence).filter(|own| can_be_had(own)) {
        let key = (evidence.trial(), evidence.worker);
        let says = format!("{} {:?}", evidence.ending, evidence.metrics);
        claims.entry(key).or_default().insert(says);
    }
    claims
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
    let different = differ(scene, |machine| claims(scene, machine)).filter(|_| can_agree(scene));
    let Some((one, other, has, got)) = different else { return Ok(()) };
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
            .filter(|submission| !is_excused(scene, submission))
            .map(|submission| (submission.id, submission.state.clone()))
            .collect()
    };
    let different = differ(scene, scores).filter(|_| can_agree(scene));
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
    let excused = living(scene)
        .any(|(_, machine)| machine.submissions().any(|submission| is_excused(scene, submission)));
    let Some(view) = living(scene).find_map(|(_, machine)| machine.view()) else { return Ok(()) };
    let vector = |machine: &Machine| -> Option<Vec<(Uid, u16)>> { machine.vector(view).ok() };
    match differ(scene, vector).filter(|_| !excused && can_agree(scene)) {
        Some((one, other, has, got)) => ensure(false, &[one, other], || {
            format!("node {one} would sign {has:?}, node {other} {got:?}")
        }),
        None => Ok(()),
    }
}

/// See the list.
pub(super) fn scores_are_true(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Ended = sight else { return Ok(()) };
    if !can_agree(scene) {
        return Ok(());
    }
    living(scene).try_for_each(|(node, machine)| {
        machine.submissions().try_for_each(|submission| {
            let Some(index) = scene.submissions.get(&submission.id) else { return Ok(()) };
            let is_over = is_settled(&submission.state) && !is_excused(scene, submission);
            let work = &scene.works[*index];
            ensure(!is_over || is_true(work, &submission.state), &[node], || {
                format!("{} is {:?}, and {:?}", submission.id, submission.state, work.fate)
            })
        })
    })
}
