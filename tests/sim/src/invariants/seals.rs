//! Seals: results are fixed before they are shown.

use node_core::lease::{LeaseState, PeerRequest};
use node_core::limits::SEAL_WAIT_MS;
use node_core::machine::effect::Effect;
use node_core::rows::{Row, Write};

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

/// See the list. A worker counts those that it knows; this counts every seal that was sent, and
/// every receipt that the worker has.
pub(super) fn results_are_shown_after_enough_seals(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Performing { node, effect, .. } = sight else { return Ok(()) };
    let Effect::AskPeer { request: PeerRequest::Complete(receipt), .. } = effect else {
        return Ok(());
    };
    let evidence = &receipt.evidence;
    let Some(machine) = &scene.hosts[*node].machine else { return Ok(()) };
    let granted = scene.ledger.grants.get(&evidence.lease);
    let held = granted.and_then(|by| scene.ledger.held.get(&(by.coordinator, by.assignment)));
    let waited_ms = held.map_or(0, |held| scene.now_ms.saturating_sub(held.granted_at_ms));
    if scene.ledger.revealed.contains(&evidence.run) || waited_ms >= SEAL_WAIT_MS {
        return Ok(());
    }
    let nobody = std::collections::BTreeSet::new();
    let sealed = scene.ledger.sealed.get(&evidence.submission).unwrap_or(&nobody);
    let known = machine.receipts().map(|row| &row.receipt.evidence);
    let claimants = known.filter(|known| known.submission == evidence.submission);
    let fixed: std::collections::BTreeSet<_> = sealed
        .iter()
        .map(|node| scene.hosts[*node].config.hotkey)
        .chain(claimants.map(|known| known.worker))
        .filter(|worker| *worker != evidence.worker)
        .collect();
    let required = machine.explain(&evidence.submission).required;
    let is_enough = fixed.len() + 1 >= usize::try_from(required).unwrap_or(usize::MAX);
    ensure(is_enough, &[*node], || {
        format!("{} is shown, {} others are fixed of {required}", evidence.run, fixed.len())
    })
}
