//! Seals: results are fixed before they are shown.

use std::collections::BTreeSet;

use node_core::evidence::Evidence;
use node_core::id::Hotkey;
use node_core::lease::{LeaseState, PeerRequest};
use node_core::limits::REVEAL_WAIT_MS;
use node_core::machine::Machine;
use node_core::rows::{MeasurementRow, Row, RunState, Write};

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

/// See the list. It is decided when the measurement's row says to whom it is shown, before anything
/// is signed or sent. A worker counts the seals that it knows; this counts every seal that was
/// sent, and every receipt that the worker has. What is public already needs no seal.
pub(super) fn results_are_shown_after_enough_seals(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    let Some(machine) = &scene.hosts[*node].machine else { return Ok(()) };
    writes.iter().try_for_each(|write| match write {
        Write::Put(Row::Measurement(row)) if !row.shown_to.is_empty() => {
            shown_after_enough_seals(scene, *node, machine, row)
        }
        Write::Put(Row::Run(row)) => match &row.state {
            RunState::Completing { receipt } => {
                names_what_was_fixed(scene, *node, machine, &receipt.evidence)
            }
            RunState::Started | RunState::Sealing { .. } | RunState::Releasing { .. } => Ok(()),
        },
        Write::Put(_)
        | Write::Delete(..)
        | Write::Journal(_)
        | Write::Freeze(_)
        | Write::CaughtUp => Ok(()),
    })
}

/// Who has a receipt here, or has sent a seal to anybody.
fn fixed(scene: &Scene<'_>, machine: &Machine, evidence: &Evidence) -> BTreeSet<Hotkey> {
    let known = machine.receipts().map(|row| &row.receipt.evidence);
    let claimants = known.filter(|known| known.trial() == evidence.trial());
    let sealed = scene.ledger.sealed.get(&evidence.trial()).into_iter().flatten();
    let sealed = sealed.map(|node| scene.hosts[*node].config.hotkey);
    claimants.map(|known| known.worker).chain(sealed).collect()
}

fn names_what_was_fixed(
    scene: &Scene<'_>,
    node: usize,
    machine: &Machine,
    evidence: &Evidence,
) -> Result<(), Breach> {
    let has_fixed = evidence.coordinator_sealed.is_none()
        || fixed(scene, machine, evidence).contains(&evidence.coordinator);
    ensure(has_fixed, &[node], || {
        format!("{} says that its coordinator had fixed what it had not", evidence.run)
    })
}

fn shown_after_enough_seals(
    scene: &Scene<'_>,
    node: usize,
    machine: &Machine,
    row: &MeasurementRow,
) -> Result<(), Breach> {
    let evidence = &row.evidence;
    let signed_at_ms = scene.ledger.signed_at_ms.get(&evidence.run).copied();
    let waited_ms = signed_at_ms.map_or(0, |signed_at_ms| scene.now_ms - signed_at_ms);
    let has_waited = waited_ms >= scene.hosts[node].in_world_ms(REVEAL_WAIT_MS);
    let known = machine.receipts().map(|row| &row.receipt.evidence);
    let is_public = known
        .filter(|known| known.trial() == evidence.trial())
        .any(|known| known.worker == evidence.worker);
    if is_public || scene.ledger.revealed.contains(&evidence.run) || has_waited {
        return Ok(());
    }
    // Who had not, and was shown it, says nothing about it any more.
    let mut fixed = fixed(scene, machine, evidence);
    fixed.extend(row.shown_to.keys());
    fixed.remove(&evidence.worker);
    let required = machine.required(&evidence.trial());
    let is_enough = fixed.len() + 1 >= required;
    ensure(is_enough, &[node], || {
        format!("{} is shown, {} others are fixed of {required}", evidence.run, fixed.len())
    })
}
