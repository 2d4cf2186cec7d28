//! Receipts and scores.

use node_core::evidence::Evidence;
use node_core::id::Digest;
use node_core::lease::{PeerAnswer, PeerRequest};
use node_core::points::points;
use node_core::rows::{ReceiptRow, Row, Table, Write};
use node_core::submission::SubmissionState;

use super::{ensure, Breach, Scene, Sight};
use crate::host::Host;
use crate::ledger::{is_acknowledgement, is_settled};
use crate::plan::Character;
use crate::rules::RULES;
use crate::truth::Fate;

fn stored(host: &Host, key: &[u8]) -> Option<Digest> {
    match host.disk.row(Table::Receipts, key) {
        Some(Row::Receipt(row)) => Some(row.receipt.evidence.digest()),
        _ => None,
    }
}

/// Receipts that a node is about to store and has not stored yet.
fn new_receipts<'a>(
    scene: &'a Scene<'_>,
    sight: &'a Sight<'_>,
) -> impl Iterator<Item = (usize, &'a ReceiptRow)> {
    let (node, writes) = match sight {
        Sight::Committed { node, writes, .. } => (*node, *writes),
        _ => (0, [].as_slice()),
    };
    writes.iter().filter_map(move |write| {
        let Write::Put(Row::Receipt(row)) = write else { return None };
        let evidence = &row.receipt.evidence;
        let key = [evidence.assignment.0, evidence.worker.0].concat();
        let is_new = stored(&scene.hosts[node], &key) != Some(evidence.digest());
        is_new.then_some((node, &**row))
    })
}

/// See the list.
pub(super) fn acknowledged_receipts_are_kept(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let disk_has = |node: usize, key: &[u8], digest: &Digest| {
        let is_kept = stored(&scene.hosts[node], key) == Some(*digest);
        ensure(is_kept, &[node], || format!("the receipt {digest} was acknowledged and is gone"))
    };
    match sight {
        Sight::Delivered { asked, answer: PeerAnswer::Completed(answer) } => {
            let PeerRequest::Complete(receipt) = &asked.request else { return Ok(()) };
            if !is_acknowledgement(answer) {
                return Ok(());
            }
            let Evidence { assignment, worker, .. } = &receipt.evidence;
            let key = [assignment.0, worker.0].concat();
            disk_has(asked.to, &key, &receipt.evidence.digest())
        }
        Sight::Started { node } => {
            let all = scene.ledger.acknowledged.range((*node, Vec::new())..);
            all.take_while(|((at, _), _)| at == node)
                .try_for_each(|((_, key), digest)| disk_has(*node, key, digest))
        }
        Sight::Committed { node, writes, .. } => writes.iter().try_for_each(|write| {
            let (key, digest) = match write {
                Write::Put(row @ Row::Receipt(receipt)) => {
                    (row.key(), Some(receipt.receipt.evidence.digest()))
                }
                Write::Delete(Table::Receipts, key) => (key.clone(), None),
                _ => return Ok(()),
            };
            let promised = scene.ledger.acknowledged.get(&(*node, key));
            let is_kept = promised.is_none_or(|promised| digest == Some(*promised));
            ensure(is_kept, &[*node], || format!("{promised:?} was acknowledged, is replaced"))
        }),
        _ => Ok(()),
    }
}

/// See the list.
pub(super) fn results_are_of_live_attempts(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    for (node, row) in new_receipts(scene, sight) {
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
        if row.sequence.is_some() {
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
    for (node, row) in new_receipts(scene, sight).filter(|(_, row)| row.sequence.is_some()) {
        let evidence = &row.receipt.evidence;
        let before = scene.ledger.accepted.get(&(node, evidence.assignment));
        ensure(before.is_none(), &[node], || {
            format!("{} is accepted after {before:?}", evidence.digest())
        })?;
    }
    Ok(())
}

/// See the list.
pub(super) fn submissions_are_scored_once(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Submission(row)) = write else { return Ok(()) };
        let Some(before) = scene.ledger.settled.get(&(*node, row.id)) else { return Ok(()) };
        ensure(*before == row.state, &[*node], || {
            format!("{} was {before:?} and becomes {:?}", row.id, row.state)
        })
    })
}

/// See the list. With one replica nobody can tell a lie, so then it holds where nobody lies.
pub(super) fn lies_are_not_scored(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    if scene.hosts[*node].character != Character::Honest {
        return Ok(());
    }
    if !RULES.has_replicas && !scene.plan.is_honest() {
        return Ok(());
    }
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Submission(row)) = write else { return Ok(()) };
        if !is_settled(&row.state) {
            return Ok(());
        }
        let Some(index) = scene.submissions.get(&row.id) else { return Ok(()) };
        let work = &scene.works[*index];
        let is_true = match (&row.state, &work.fate) {
            (SubmissionState::Scored { points: scored }, Fate::Scores { .. }) => {
                let measured = work.honest(0).1.map(|metrics| points(&metrics));
                measured == Some(Ok(*scored))
            }
            (SubmissionState::Failed { ending }, Fate::Ends(real)) => ending == real,
            _ => false,
        };
        ensure(is_true, &[*node], || format!("{} is {:?}, and {:?}", row.id, row.state, work.fate))
    })
}
