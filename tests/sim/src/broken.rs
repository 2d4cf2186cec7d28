//! A product that is broken on purpose: coordinators that cannot tell an old attempt from the one
//! that is held now.
//!
//! The rule itself stays as it is, in one build with everything else. What is changed is what it
//! gets to see: a request of an old attempt is made to look like one of the holder of today. So
//! nothing in the product exists only to be switched off, and every check behind the comparison of
//! attempts still runs.

use node_core::evidence::Evidence;
use node_core::id::{Hotkey, LeaseId};
use node_core::lease::{HeldLease, LeaseRow, LeaseState, PeerRequest, Seal};
use node_core::machine::Machine;
use node_core::rows::RunState;

use crate::perform::SALT_OF_COPIERS;

/// Makes a request of an old attempt look like one of the attempt that is held now.
///
/// - `machine`: the coordinator's.
/// - `worker`: the machine that asks, if its process still lives: a seal hides what is sealed, and
///   has to fit the receipt that will be shown.
pub(crate) fn unfence(
    machine: &Machine,
    worker: Option<&Machine>,
    peer: &mut Hotkey,
    request: &mut PeerRequest,
) {
    match request {
        PeerRequest::Renew(items) => {
            for item in items {
                let Some(now) = held_instead(machine, &item.held) else { continue };
                item.held = now.held;
                *peer = now.holder;
            }
        }
        PeerRequest::Seal(seal) => {
            let Some(now) = held_instead(machine, &seal.held) else { return };
            let Some(evidence) = worker.and_then(|worker| sealed_result(worker, seal)) else {
                return;
            };
            seal.result = disguised(evidence, &now).sealed();
            (seal.held, seal.worker, *peer) = (now.held, now.holder, now.holder);
        }
        PeerRequest::Complete(receipt) => {
            let held = HeldLease::of(&receipt.evidence);
            let Some(now) = held_instead(machine, &held) else { return };
            receipt.evidence = disguised(&receipt.evidence, &now);
            *peer = now.holder;
        }
        PeerRequest::Acquire(_)
        | PeerRequest::Release { .. }
        | PeerRequest::Receipts { .. }
        | PeerRequest::Explain { .. } => {}
    }
}

struct Current {
    held: HeldLease,
    holder: Hotkey,
}

/// What is held now in place of an older attempt.
fn held_instead(machine: &Machine, held: &HeldLease) -> Option<Current> {
    let mut rows = machine.leases().map(|record| record.row());
    let row: &LeaseRow = rows.find(|row| row.assignment.id == held.assignment)?;
    let (lease, holder): (LeaseId, Hotkey) = match &row.state {
        LeaseState::Granted { lease, holder } => (*lease, *holder),
        LeaseState::Sealed { seal } => (seal.held.lease, seal.worker),
        LeaseState::Open | LeaseState::Complete { .. } | LeaseState::Exhausted { .. } => {
            return None
        }
    };
    let is_old = held.attempt < row.attempt;
    let held = HeldLease { lease, attempt: row.attempt, ..*held };
    is_old.then_some(Current { held, holder })
}

/// The result behind a seal, as its worker keeps it.
fn sealed_result<'a>(worker: &'a Machine, wanted: &Seal) -> Option<&'a Evidence> {
    worker.runs().find_map(|run| match &run.row.state {
        RunState::Sealing { evidence, seal } if seal == wanted => Some(&**evidence),
        _ => None,
    })
}

/// Lets a worker sign that its coordinator had fixed what it is going to copy.
pub(crate) fn unmark(evidence: &mut Evidence) {
    if evidence.coordinator_sealed.is_none() && evidence.coordinator != evidence.worker {
        let (worker, salt) = (evidence.coordinator, SALT_OF_COPIERS);
        let copy = Evidence { worker, salt, ..evidence.clone() };
        evidence.coordinator_sealed = Some(copy.sealed());
    }
}

fn disguised(evidence: &Evidence, now: &Current) -> Evidence {
    let (lease, attempt, worker) = (now.held.lease, now.held.attempt, now.holder);
    Evidence { lease, attempt, worker, ..evidence.clone() }
}
