//! Receipts and scores.

use std::collections::{BTreeMap, BTreeSet};

use node_core::evidence::Evidence;
use node_core::id::{Digest, Hotkey};
use node_core::lease::{PeerAnswer, PeerRequest};
use node_core::points::points;
use node_core::rows::{ReceiptRow, ReceiptStanding, Row, Table, Write};
use node_core::submission::{Submission, SubmissionState};
use node_core::trial::Trial;

use super::{ensure, Breach, Scene, Sight};
use crate::host::Host;
use crate::ledger::{is_acknowledgement, is_settled};
use crate::plan::Character;
use crate::truth::{Fate, Work};

fn has(host: &Host, digest: &Digest) -> bool {
    host.disk.row(Table::Receipts, &digest.0).is_some()
}

/// Receipts that count which a node is about to store and has not stored yet, and whether it
/// accepted them itself, as their coordinator.
fn new_receipts<'a>(
    scene: &'a Scene<'_>,
    sight: &'a Sight<'_>,
) -> impl Iterator<Item = (usize, &'a ReceiptRow, bool)> {
    let (node, writes) = match sight {
        Sight::Committed { node, writes, .. } => (*node, *writes),
        _ => (0, [].as_slice()),
    };
    writes.iter().filter_map(move |write| {
        let Write::Put(Row::Receipt(row)) = write else { return None };
        let evidence = &row.receipt.evidence;
        let host = &scene.hosts[node];
        let is_new = row.standing == ReceiptStanding::Counts && !has(host, &evidence.digest());
        let is_own = host.config.hotkey == evidence.coordinator;
        // After its rows were lost others tell a coordinator what it had accepted.
        let is_told = scene.ledger.forgotten.contains(&evidence.lease);
        is_new.then_some((node, &**row, is_own && !is_told))
    })
}

/// See the list.
pub(super) fn acknowledged_receipts_are_kept(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let disk_has = |node: usize, digest: &Digest| {
        ensure(has(&scene.hosts[node], digest), &[node], || {
            format!("the receipt {digest} was acknowledged and is gone")
        })
    };
    match sight {
        Sight::Delivered { asked, answer: PeerAnswer::Completed(answer) } => {
            let PeerRequest::Complete(receipt) = &asked.request else { return Ok(()) };
            let is_forgotten = scene.ledger.forgotten.contains(&receipt.evidence.lease);
            if !is_acknowledgement(answer) || is_forgotten {
                return Ok(());
            }
            disk_has(asked.to, &receipt.evidence.digest())
        }
        Sight::Started { node } => {
            let all = scene.ledger.acknowledged.range((*node, Digest([0; 32]))..);
            all.take_while(|(at, _)| at == node).try_for_each(|(_, digest)| disk_has(*node, digest))
        }
        Sight::Committed { node, writes, .. } => writes.iter().try_for_each(|write| {
            let Write::Delete(Table::Receipts, key) = write else { return Ok(()) };
            let Ok(key) = key.as_slice().try_into() else { return Ok(()) };
            let promised = (*node, Digest(key));
            let is_promised = scene.ledger.acknowledged.contains(&promised);
            ensure(!is_promised, &[*node], || format!("{promised:?} was acknowledged, is deleted"))
        }),
        _ => Ok(()),
    }
}

/// See the list.
pub(super) fn results_are_of_live_attempts(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    for (node, row, is_accepted) in new_receipts(scene, sight) {
        let evidence = &row.receipt.evidence;
        let digest = evidence.digest();
        let granted = scene.ledger.grants.get(&evidence.lease);
        let is_granted = granted.is_some_and(|granted| {
            granted.assignment == evidence.assignment
                && granted.attempt == evidence.attempt.0
                && scene.hosts[granted.coordinator].config.hotkey == evidence.coordinator
                && scene.hosts[granted.holder].config.hotkey == evidence.worker
        });
        ensure(is_granted, &[node], || format!("{digest} is for a grant that never was"))?;
        let ran = scene.ledger.runs.get(&evidence.run);
        let is_its_run = ran.is_some_and(|(_, lease)| *lease == evidence.lease);
        let (ran_on, under) = ran.map_or((node, None), |(at, lease)| (*at, Some(lease)));
        ensure(is_its_run, &[node, ran_on], || {
            format!(
                "a result under {} (attempt {}) is of {}, which was started under {under:?}",
                evidence.lease, evidence.attempt, evidence.run
            )
        })?;
        if is_accepted {
            let held = scene.ledger.held.get(&(node, evidence.assignment));
            let is_live = held.is_some_and(|held| held.lease == evidence.lease && !held.is_over);
            ensure(is_live, &[node, ran_on], || {
                format!("{digest} is accepted for {}, which is over: {held:?}", evidence.lease)
            })?;
        }
    }
    Ok(())
}

/// See the list.
pub(super) fn a_replica_counts_once(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    for (node, row, _) in new_receipts(scene, sight).filter(|(_, _, is_accepted)| *is_accepted) {
        let evidence = &row.receipt.evidence;
        let before = scene.ledger.accepted.get(&(node, evidence.assignment));
        ensure(before.is_none(), &[node], || {
            format!("{} is accepted after {before:?}", evidence.digest())
        })?;
    }
    Ok(())
}

/// See the list. Where somebody lies, a verdict that was reached alone may be replaced by one that
/// others agree on.
pub(super) fn submissions_are_scored_once(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Submission(row)) = write else { return Ok(()) };
        let Some(before) = scene.ledger.settled.get(&(*node, row.id)) else { return Ok(()) };
        let may_change = !scene.plan.is_honest() && is_settled(&row.state);
        ensure(*before == row.state || may_change, &[*node], || {
            format!("{} was {before:?} and becomes {:?}", row.id, row.state)
        })
    })
}

/// Whether a state is what an honest evaluation of the submission says.
pub(super) fn is_true(work: &Work, state: &SubmissionState) -> bool {
    match (state, &work.fate) {
        (SubmissionState::Scored { points: scored }, Fate::Scores { .. }) => {
            work.honest(0).1.map(|metrics| points(&metrics)) == Some(Ok(*scored))
        }
        (SubmissionState::Failed { ending }, Fate::Ends(real)) => ending == real,
        _ => false,
    }
}

/// See the list. A coordinator can have results shown to it before its own is fixed; its own is
/// then no confirmation. It is asked last, as is everybody of whom some worker says the same.
pub(super) fn copies_confirm_nothing(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    let host = &scene.hosts[*node];
    let Some(machine) = host.machine.as_ref().filter(|_| host.character == Character::Honest)
    else {
        return Ok(());
    };
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Submission(row)) = write else { return Ok(()) };
        let copied = (row.id, Hotkey([0; 32]))..=(row.id, Hotkey([255; 32]));
        let copied = scene.ledger.copied.range(copied);
        let copied: BTreeMap<Hotkey, Hotkey> =
            copied.map(|((_, worker), of)| (*worker, *of)).collect();
        let copiers: BTreeSet<Hotkey> = copied.keys().copied().collect();
        if copiers.is_empty() || !is_new_claim(scene, *node, row) {
            return Ok(());
        }
        let known = machine.receipts().filter(|own| own.standing == ReceiptStanding::Counts);
        let known = known.map(|own| &own.receipt.evidence).filter(|own| own.submission == row.id);
        let (mut confirm, mut informed) = (BTreeSet::new(), BTreeSet::new());
        let mut left = machine.eligible(&Trial::first(row.id));
        for evidence in known {
            left.remove(&evidence.worker);
            if says(evidence, &row.state) {
                confirm.insert(evidence.worker);
            }
            let shown = evidence.shown_to().filter(|(_, sealed)| sealed.is_none());
            informed.extend(shown.map(|(coordinator, _)| coordinator));
        }
        // A copy of what nobody else hands in here stands for it.
        let counted = confirm.difference(&informed);
        let measured: BTreeSet<Hotkey> =
            counted.map(|worker| *copied.get(worker).unwrap_or(worker)).collect();
        let (independent, last) = (measured.len(), &informed | &copiers);
        let is_anybody_left = left.difference(&last).next().is_some();
        let required = machine.explain(&row.id).required;
        let is_enough = independent >= usize::try_from(required).unwrap_or(usize::MAX);
        ensure(is_enough || !is_anybody_left, &[*node], || {
            let left: Vec<&Hotkey> = left.difference(&last).collect();
            format!("{} rests on {independent} of {required}; {left:?} were not asked", row.id)
        })
    })
}

/// Whether evidence alone would lead to this state.
fn says(evidence: &Evidence, state: &SubmissionState) -> bool {
    let own = evidence.metrics.as_ref().map(points);
    match state {
        SubmissionState::Scored { points } => own == Some(Ok(*points)),
        SubmissionState::Failed { .. } => own.is_none(),
        _ => false,
    }
}

/// Whether a row says what a submission is worth, and did not say so before. That nobody is
/// believed is no claim; a row is also written when something else of it becomes known.
fn is_new_claim(scene: &Scene<'_>, node: usize, row: &Submission) -> bool {
    let is_claim = is_settled(&row.state) && row.state != SubmissionState::Disputed;
    is_claim && scene.ledger.settled.get(&(node, row.id)) != Some(&row.state)
}

/// See the list. Who cannot evaluate, having no device or no permit, has to believe others, also
/// where there is only one. With one replica nobody can tell a lie.
pub(super) fn lies_are_not_scored(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    let host = &scene.hosts[*node];
    let can_lies_be_told = scene.plan.replicas > 1;
    if host.character != Character::Honest || !(can_lies_be_told || scene.plan.is_honest()) {
        return Ok(());
    }
    let view = host.machine.as_ref().and_then(|machine| machine.view());
    let can_evaluate =
        host.devices > 0 && view.is_some_and(|view| view.is_validator(&host.config.hotkey));
    if !can_evaluate && !scene.plan.is_honest() {
        return Ok(());
    }
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Submission(row)) = write else { return Ok(()) };
        let Some(index) = scene.submissions.get(&row.id) else { return Ok(()) };
        let work = &scene.works[*index];
        let is_claim = is_new_claim(scene, *node, row);
        ensure(!is_claim || is_true(work, &row.state), &[*node], || {
            format!("{} is {:?}, and {:?}", row.id, row.state, work.fate)
        })
    })
}
