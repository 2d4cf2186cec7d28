//! Grants, attempts and runs.

use std::collections::BTreeSet;

use node_core::id::AssignmentId;
use node_core::inventory::DeviceId;
use node_core::lease::{Grant, LeaseState, PeerAnswer, PeerRequest};
use node_core::limits::{FAULTS_MAX, NOT_STARTED_MAX, WORKERS_LOST_MAX};
use node_core::machine::effect::Effect;
use node_core::rows::{Row, Table, Write};

use super::{ensure, Breach, Scene, Sight};
use crate::happening::Asked;

/// Rounding between the clocks of the world and of a node.
const SLACK_MS: u64 = 5;

/// How long a process needs, after it was stopped and goes on, to notice that its leases are over
/// and to stop its runs.
const AWAKENING_MS: u64 = 5_000;

/// The coordinator of an answer with grants, the question, and the grants.
fn grants<'a>(sight: &'a Sight<'_>) -> Option<(usize, &'a Asked, &'a [Grant])> {
    match sight {
        Sight::Answering { node, asked, answer: PeerAnswer::Acquired(Ok(grants)) } => {
            Some((*node, asked, grants))
        }
        _ => None,
    }
}

/// See the list.
pub(super) fn acknowledged_leases_are_kept(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let disk_has = |node: usize, assignment: &AssignmentId, attempt: u32| {
        let stored = scene.hosts[node].disk.attempt(assignment);
        ensure(stored >= attempt, &[node], || {
            format!("attempt {attempt} of {assignment} was granted, {stored} is stored")
        })
    };
    match sight {
        Sight::Delivered { asked, answer: PeerAnswer::Acquired(Ok(grants)) } => grants
            .iter()
            .filter(|grant| !scene.ledger.forgotten.contains(&grant.lease))
            .try_for_each(|grant| disk_has(asked.to, &grant.assignment.id, grant.attempt.0)),
        Sight::Started { node } => {
            let first = (*node, AssignmentId([0; 32]));
            let all = scene.ledger.delivered.range(first..);
            all.take_while(|((at, _), _)| at == node)
                .try_for_each(|((_, assignment), attempt)| disk_has(*node, assignment, *attempt))
        }
        Sight::Committed { node, writes, .. } => writes.iter().try_for_each(|write| {
            let (assignment, stored) = match write {
                Write::Put(Row::Lease(row)) => (row.assignment.id, row.attempt.0),
                Write::Delete(Table::Leases, key) => match key.as_slice().try_into() {
                    Ok(key) => (AssignmentId(key), 0),
                    Err(_) => return Ok(()),
                },
                _ => return Ok(()),
            };
            let attempt = scene.ledger.delivered.get(&(*node, assignment)).copied().unwrap_or(0);
            ensure(stored >= attempt, &[*node], || {
                format!("attempt {attempt} of {assignment} was granted, now {stored} is stored")
            })
        }),
        _ => Ok(()),
    }
}

/// See the list.
pub(super) fn attempts_only_grow(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Some((coordinator, asked, grants)) = grants(sight) else { return Ok(()) };
    grants.iter().try_for_each(|grant| {
        let assignment = grant.assignment.id;
        let held = scene.ledger.held.get(&(coordinator, assignment));
        let before = held.map_or(0, |held| held.attempt);
        ensure(grant.attempt.0 > before, &[coordinator, asked.from], || {
            format!("attempt {} of {assignment} is granted after {before}", grant.attempt)
        })
    })
}

/// See the list. What ends a promise early is the holder's own release, or its result: also one
/// that it had not sealed.
pub(super) fn one_live_attempt_per_replica(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    if let Some((coordinator, asked, grants)) = grants(sight) {
        return grants.iter().try_for_each(|grant| {
            let Some(held) = scene.ledger.held.get(&(coordinator, grant.assignment.id)) else {
                return Ok(());
            };
            ensure(held.is_over, &[coordinator, held.holder, asked.from], || {
                format!("{} is granted anew while {} is granted", grant.lease, held.lease)
            })
        });
    }
    let Sight::Committed { node, writes, cause } = sight else { return Ok(()) };
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Lease(row)) = write else { return Ok(()) };
        let Some(held) = scene.ledger.held.get(&(*node, row.assignment.id)) else { return Ok(()) };
        let is_taken_away = matches!(row.state, LeaseState::Open | LeaseState::Exhausted { .. });
        if !is_taken_away || held.is_over || row.attempt.0 != held.attempt {
            return Ok(());
        }
        let is_given_back = cause.is_some_and(|asked| {
            let lease = match &asked.request {
                PeerRequest::Release { item, .. } => Some(item.lease),
                PeerRequest::Complete(receipt) => Some(receipt.evidence.lease),
                _ => None,
            };
            lease == Some(held.lease) && asked.from == held.holder
        });
        let early_ms = held.due_at_ms().saturating_sub(scene.now_ms + SLACK_MS);
        ensure(is_given_back || early_ms == 0, &[*node, held.holder], || {
            format!("{} is taken away {early_ms} ms early", held.lease)
        })
    })
}

/// See the list. A process that is stopped cannot know; it notices when it goes on.
pub(super) fn holders_stop_before_others_start(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Some((coordinator, asked, grants)) = grants(sight) else { return Ok(()) };
    let awake = scene.hosts.iter().enumerate().filter(|(_, host)| {
        let is_settled_in = scene.now_ms.saturating_sub(host.awake_since_ms) >= AWAKENING_MS;
        host.is_up() && !host.is_stalled && is_settled_in
    });
    for (node, host) in awake {
        let minded = host.containers.values().filter(|own| own.life == host.life);
        for container in minded.filter(|own| !own.has_ended) {
            let granted_by = scene.ledger.grants.get(&container.spec.lease);
            let is_known = !scene.ledger.forgotten.contains(&container.spec.lease);
            let is_from_here =
                is_known && granted_by.is_some_and(|by| by.coordinator == coordinator);
            let again = grants.iter().find(|grant| {
                grant.assignment.id == container.spec.assignment.id
                    && grant.lease != container.spec.lease
            });
            if let Some(grant) = again.filter(|_| is_from_here) {
                return ensure(false, &[coordinator, node, asked.from], || {
                    format!(
                        "node {node} still runs {} while {} is granted",
                        container.spec.lease, grant.lease
                    )
                });
            }
        }
    }
    Ok(())
}

/// See the list.
pub(super) fn one_run_per_device(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Performing { node, effect: Effect::StartRun(spec), .. } = sight else {
        return Ok(());
    };
    let host = &scene.hosts[*node];
    let wanted = usize::from(host.config.policy.run.device_count);
    let ids: BTreeSet<&DeviceId> = spec.devices.iter().map(|device| &device.id).collect();
    ensure(ids.len() == wanted, &[*node], || {
        format!("{} starts on {} devices of {wanted}", spec.run, ids.len())
    })?;
    let mut others = host.containers.values().filter(|other| other.spec.run != spec.run);
    let on_it = others.find(|other| other.spec.devices.iter().any(|d| ids.contains(&d.id)));
    ensure(on_it.is_none(), &[*node], || {
        let other = on_it.map(|other| other.spec.run);
        format!("{} starts on {ids:?}, where {other:?} runs", spec.run)
    })
}

/// See the list.
pub(super) fn every_run_is_minded(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Handled { node } = sight else { return Ok(()) };
    let host = &scene.hosts[*node];
    let Some(machine) = &host.machine else { return Ok(()) };
    host.containers.iter().try_for_each(|(id, _)| {
        let is_minded = machine.runs().any(|run| run.row.run == *id && run.holds_device());
        ensure(is_minded, &[*node], || format!("nobody minds {id}"))
    })
}

/// See the list. Who leaves a grant to expire uses up an attempt for nothing.
pub(super) fn grants_are_run_or_given_back(
    scene: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Handled { node } = sight else { return Ok(()) };
    let Some(machine) = &scene.hosts[*node].machine else { return Ok(()) };
    let delivered = scene.ledger.just_delivered.iter().filter(|(to, _)| to == node);
    delivered.map(|(_, lease)| lease).try_for_each(|lease| {
        let is_taken = machine.runs().any(|run| run.row.grant.lease == *lease);
        ensure(is_taken, &[*node], || format!("{lease} reached its worker and is passed over"))
    })
}

/// See the list.
pub(super) fn one_replica_per_worker(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Some((coordinator, asked, grants)) = grants(sight) else { return Ok(()) };
    let first = (coordinator, AssignmentId([0; 32]));
    let last = (coordinator, AssignmentId([255; 32]));
    grants.iter().try_for_each(|grant| {
        let assignment = &grant.assignment;
        let is_other = |id: &AssignmentId| *id != assignment.id;
        let in_the_same_answer = grants.iter().any(|other| {
            other.assignment.trial() == assignment.trial() && is_other(&other.assignment.id)
        });
        let running = scene.ledger.held.range(first..=last).find(|((_, id), held)| {
            held.trial == assignment.trial()
                && is_other(id)
                && held.holder == asked.from
                && (!held.is_over || held.is_complete)
        });
        ensure(running.is_none() && !in_the_same_answer, &[coordinator, asked.from], || {
            format!("{} is granted to who has another replica of it", grant.lease)
        })
    })
}

/// See the list.
pub(super) fn leases_are_exhausted_by_losses_only(
    _: &Scene<'_>,
    sight: &Sight<'_>,
) -> Result<(), Breach> {
    let Sight::Committed { node, writes, .. } = sight else { return Ok(()) };
    writes.iter().try_for_each(|write| {
        let Write::Put(Row::Lease(row)) = write else { return Ok(()) };
        let spent = &row.spent;
        let is_used_up = spent.workers_lost >= WORKERS_LOST_MAX
            || spent.faults >= FAULTS_MAX
            || spent.not_started >= NOT_STARTED_MAX;
        let lost = spent.workers_lost + spent.faults + spent.not_started;
        let is_exhausted = matches!(row.state, LeaseState::Exhausted { .. });
        let is_right = is_exhausted == is_used_up && lost <= row.attempt.0;
        ensure(is_right, &[*node], || format!("{} is {row:?}", row.assignment.id))
    })
}
