//! A product that is broken on purpose: coordinators that cannot tell an old attempt from the one
//! that is held now.
//!
//! The rule itself stays as it is, in one build with everything else. What is changed is what it
//! gets to see: a request of an old attempt is made to look like one of the holder of today. So
//! nothing in the product exists only to be switched off, and every check behind the comparison of
//! attempts still runs.

use node_core::evidence::{Evidence, Receipt};
use node_core::id::{Hotkey, LeaseId};
use node_core::lease::{HeldLease, LeaseRow, LeaseState, PeerRequest, Seal};
use node_core::machine::Machine;
use node_core::rows::RunState;

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
            let Some(receipt) = worker.and_then(|worker| sealed_receipt(worker, seal)) else {
                return;
            };
            seal.result = disguised(receipt, &now).sealed();
            (seal.held, seal.worker, *peer) = (now.held, now.holder, now.holder);
        }
        PeerRequest::Complete(receipt) => {
            let Evidence { assignment, lease, attempt, .. } = receipt.evidence;
            let held = HeldLease { assignment, lease, attempt };
            let Some(now) = held_instead(machine, &held) else { return };
            **receipt = disguised(receipt, &now);
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

/// The receipt behind a seal, as its worker keeps it.
fn sealed_receipt<'a>(worker: &'a Machine, wanted: &Seal) -> Option<&'a Receipt> {
    worker.runs().find_map(|run| match &run.row.state {
        RunState::Sealing { receipt, seal } if seal == wanted => Some(&**receipt),
        _ => None,
    })
}

fn disguised(receipt: &Receipt, now: &Current) -> Receipt {
    let mut disguised = receipt.clone();
    let evidence = &mut disguised.evidence;
    (evidence.lease, evidence.attempt) = (now.held.lease, now.held.attempt);
    evidence.worker = now.holder;
    disguised
}
