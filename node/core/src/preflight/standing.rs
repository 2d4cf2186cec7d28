//! May our hotkey set weights, does nobody else use it, and will it keep its uid?

use super::{Check, CheckId, Level, Subject};
use crate::submit_guard::{is_of_an_earlier_subnet, NotSafe};
use crate::unit::{BlockCount, BlockNumber};
use crate::view::{ChainView, Neuron};

/// Neurons before us in the order of pruning below which the operator is warned. Lower: one block
/// of registrations may take the uid without a warning. Higher: every small miner is warned.
const PRUNE_RANK_WARN: u64 = 5;

pub(super) fn signer(subject: &Subject<'_>) -> Check {
    match subject.not_safe {
        Some(NotSafe::OtherSigner { block }) => Check::new(
            CheckId::Signer,
            Level::Alarm,
            format!(
                "something else updated this hotkey's weights in block {block}; stop it, wait 64 \
                 blocks, then vouch for it with `assay weights adopt`"
            ),
        ),
        Some(NotSafe::UnexplainedUpdate { block }) => Check::new(
            CheckId::Signer,
            Level::Warn,
            format!(
                "nothing that this node signed explains an update of the hotkey in block {block}; \
                 when it is final, the node will know and may stop"
            ),
        ),
        Some(NotSafe::Settling { blocks }) => Check::new(
            CheckId::Signer,
            Level::Warn,
            format!(
                "this hotkey was used elsewhere before; nothing is signed for {blocks} more \
                 blocks; make sure that the other node is stopped"
            ),
        ),
        Some(restored @ NotSafe::Restored { .. }) => Check::new(
            CheckId::Signer,
            Level::Warn,
            format!(
                "{restored}; what it was copied from must be stopped for good: an update that \
                 cannot be from before ends all signing"
            ),
        ),
        Some(_) | None => Check::ok(CheckId::Signer, "no other signer of this hotkey was seen"),
    }
}

/// Netuids are used again. What was signed for an earlier subnet says nothing about this one.
pub(super) fn subnet(subject: &Subject<'_>) -> Check {
    let head = subject.head();
    let since = head.params.registered_at;
    let netuid = head.netuid;
    let signed = || subject.intents.iter().filter(|intent| !intent.signings.is_empty());
    let is_older = signed().any(|intent| is_of_an_earlier_subnet(intent, head));
    let is_sudden = subject.sight.finalized.params.registered_at != since;
    if !is_older && !is_sudden {
        return Check::ok(CheckId::Subnet, format!("subnet {netuid}, registered in block {since}"));
    }
    let landed_anew =
        signed().any(|intent| intent.updated_at.is_some_and(|updated_at| updated_at >= since));
    let level = if landed_anew && !is_sudden { Level::Warn } else { Level::Alarm };
    let text = format!(
        "subnet {netuid} was registered anew in block {since}: another subnet has the number for \
         which this node signed before; what was signed for that one is over, and the new one has \
         a history of its own; stop the node unless it is meant to validate it"
    );
    Check::new(CheckId::Subnet, level, text)
}

/// Registration, permit, stake.
pub(super) fn own(subject: &Subject<'_>) -> Vec<Check> {
    let head = subject.head();
    let Some(own) = subject.own() else {
        let text = format!(
            "hotkey {} is not registered on subnet {}: register it, for example with `btcli subnet \
             register --netuid {}`",
            subject.terms.hotkey, head.netuid, head.netuid
        );
        return vec![Check::new(CheckId::Registered, subject.blocking(), text)];
    };
    let text = format!("uid {} since block {}", own.uid, own.registered_at);
    vec![Check::ok(CheckId::Registered, text), permit(subject, own), stake(subject, own)]
}

fn permit(subject: &Subject<'_>, own: &Neuron) -> Check {
    if own.validator_permit {
        return Check::ok(CheckId::Permit, "the hotkey has a validator permit");
    }
    if subject.is_owner() {
        return Check::ok(CheckId::Permit, "no validator permit; the subnet's owner needs none");
    }
    let head = subject.head();
    let next = head.epoch.next_epoch_block.map_or_else(
        || "no epoch is due".to_owned(),
        |next| format!("the next is in {} blocks", next.since(head.number)),
    );
    let text = format!(
        "no validator permit: each epoch gives them to the highest stakes ({next}); ours is {} \
         rao, so add stake and wait for an epoch",
        own.stake_rao
    );
    Check::new(CheckId::Permit, subject.blocking(), text)
}

fn stake(subject: &Subject<'_>, own: &Neuron) -> Check {
    let threshold = subject.head().params.stake_threshold_rao;
    let numbers = format!("stake {} rao, threshold {threshold} rao", own.stake_rao);
    if own.stake_rao >= threshold {
        return Check::ok(CheckId::Stake, numbers);
    }
    if subject.is_owner() {
        return Check::ok(CheckId::Stake, format!("{numbers}; the subnet's owner needs none"));
    }
    let missing = threshold.saturating_sub(own.stake_rao);
    let text = format!("{numbers}: {missing} rao are missing; add stake to this hotkey");
    Check::new(CheckId::Stake, subject.blocking(), text)
}

/// Where a neuron stands in the order of pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many go before it; `None` if it never goes.
    pub(super) rank: Option<u64>,
    pub(super) immunity_left: BlockCount,
}

pub(super) fn place(subject: &Subject<'_>) -> Option<Place> {
    let head = subject.head();
    let own = subject.own()?;
    let immunity_left = immunity_left(head, own);
    if subject.is_owner() {
        return Some(Place { rank: None, immunity_left });
    }
    let key = prune_key(head, own);
    let owner = head.params.owner_hotkey;
    let before = head
        .neurons
        .iter()
        .filter(|neuron| Some(neuron.hotkey) != owner && prune_key(head, neuron) < key);
    Some(Place { rank: Some(u64::try_from(before.count()).unwrap_or(u64::MAX)), immunity_left })
}

/// The order of pruning, who goes first being the least.
///
/// Source: `get_neuron_to_prune` in subtensor, `pallets/subtensor/src/subnets/registration.rs`.
fn prune_key(view: &ChainView, neuron: &Neuron) -> (bool, u64, BlockNumber, u16) {
    let is_immune = immunity_left(view, neuron).0 > 0;
    (is_immune, neuron.emission_rao, neuron.registered_at, neuron.uid.0)
}

fn immunity_left(view: &ChainView, neuron: &Neuron) -> BlockCount {
    neuron.registered_at.plus(view.params.immunity_period).since(view.number)
}

pub(super) fn prune(subject: &Subject<'_>) -> Option<Check> {
    let place = place(subject)?;
    let head = subject.head();
    let (taken, uids) = (head.neurons.len(), head.params.max_uids);
    let Some(rank) = place.rank else {
        return Some(Check::ok(CheckId::Prune, "the subnet's owner is never pruned"));
    };
    let emission = subject.own().map_or(0, |own| own.emission_rao);
    let immunity = match place.immunity_left.0 {
        0 => "not immune".to_owned(),
        left => format!("immune for {left} blocks"),
    };
    let numbers = format!(
        "{rank} of {taken} neurons go before us, {immunity}, emission {emission} rao, {taken} of \
         {uids} uids taken"
    );
    let is_full = taken >= usize::from(uids);
    let level = match rank {
        _ if !is_full || place.immunity_left.0 > 0 => Level::Ok,
        0 => Level::Alarm,
        rank if rank < PRUNE_RANK_WARN => Level::Warn,
        _ => Level::Ok,
    };
    let text = match level {
        Level::Ok => numbers,
        Level::Warn | Level::Alarm => format!(
            "{numbers}: the next registrations take this uid; it is kept by emission, so see that \
             vectors land and that consensus agrees with them"
        ),
    };
    Some(Check::new(CheckId::Prune, level, text))
}
