//! Seals: results are fixed before they are shown.

use std::collections::BTreeSet;

use node_core::evidence::Evidence;
use node_core::id::Hotkey;
use node_core::lease::{LeaseState, PeerRequest};
use node_core::limits::SEAL_WAIT_MS;
use node_core::rows::{Row, RunState, Write};

use super::{ensure, Breach, Scene, Sight};

/// See the list.
pub(super) fn seals_are_of_their_holders(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Committed { node, writes, cause } = sight else { return Ok(()) };
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Lease(row)) = write else { return Ok(()) };
        let LeaseState::Sealed { seal } = &row.state else { return Ok(()) };
        let held = scene.ledger.held.get(&(*node, row.assignment.id));
        let is_held = held.is_some_and(|held| held.lease == seal.held.lease && !held.is_over);
        let is_asked = cause.is_some_and(|asked| {
            let PeerRequest::Seal(sent) = &asked.request else { return false };
            *sent.as_ref() == *seal && held.is_some_and(|held| held.holder == asked.from)
        });
        ensure(is_held && is_asked, &[*node], || {
            format!("a seal for {} is stored that its holder did not send", seal.held.lease)
        })
    })
}

/// See the list. It is decided when the run's row says so, before anything is sent. A worker counts
/// the seals that it knows; this counts every seal that was sent, and every receipt that the worker
/// has. What is public already needs no seal.
pub(super) fn results_are_shown_after_enough_seals(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Run(row)) = write else { return Ok(()) };
        let RunState::Completing { receipt } = &row.state else { return Ok(()) };
        shown_after_enough_seals(scene, *node, &receipt.evidence)
    })
}

fn shown_after_enough_seals(
    scene: &Scene<'_>,
    node: usize,
    evidence: &Evidence,
) -> Result<(), Breach> {
    let Some(machine) = &scene.hosts[node].machine else { return Ok(()) };
    let signed_at_ms = scene.ledger.signed_at_ms.get(&evidence.run).copied();
    let waited_ms = signed_at_ms.map_or(0, |signed_at_ms| scene.now_ms - signed_at_ms);
    let has_waited = waited_ms >= scene.hosts[node].in_world_ms(SEAL_WAIT_MS);
    let known = machine.receipts().map(|row| &row.receipt.evidence);
    let claimants: BTreeSet<Hotkey> = known
        .filter(|known| known.submission == evidence.submission)
        .map(|known| known.worker)
        .collect();
    let is_public = claimants.contains(&evidence.worker);
    let sealed = scene.ledger.sealed.get(&evidence.submission).into_iter().flatten();
    let mut fixed = claimants;
    fixed.extend(sealed.map(|node| scene.hosts[*node].config.hotkey));
    let has_fixed = evidence.coordinator_sealed.is_none() || fixed.contains(&evidence.coordinator);
    ensure(has_fixed, &[node], || {
        format!("{} says that its coordinator had fixed what it had not", evidence.run)
    })?;
    if is_public || scene.ledger.revealed.contains(&evidence.run) || has_waited {
        return Ok(());
    }
    // Who had not, and was shown it, says nothing about it any more.
    fixed.insert(evidence.coordinator);
    fixed.remove(&evidence.worker);
    let required = machine.explain(&evidence.submission).required;
    let is_enough = fixed.len() + 1 >= usize::try_from(required).unwrap_or(usize::MAX);
    ensure(is_enough, &[node], || {
        format!("{} is shown, {} others are fixed of {required}", evidence.run, fixed.len())
    })
}
