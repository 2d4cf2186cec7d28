//! May a vector be signed now, and in which form? The last gate before the key.
//!
//! Fails closed: anything ambiguous is [`NotSafe`] with its reason. The check and the record of
//! the intent are committed together, so two answers "safe" for one epoch cannot exist.
//!
//! Two blocks are looked at. Timing, form, nonce and uids come from the *best* block: it is what
//! the signature will be included after. Whether an older signature is dead is read from the
//! *finalized* one, which no reorganisation takes back. Two exceptions rest on the nonce: the chain
//! takes one once, whatever fork wins, so of two signatures with the same nonce at most one lands.
//! A signature whose era is over after the best block may be replaced by one with its nonce, and
//! so may a stuck one of an earlier epoch by that of the present epoch.

use crate::id::{BlockHash, DigestBuilder, Hotkey, IntentId, Netuid};
use crate::limits::{
    ERA_BLOCKS_MAX, ERA_BLOCKS_MIN, ERA_LIFE_BLOCKS, REORGANISED_BLOCKS_MAX, SETTLING_BLOCKS,
};
use crate::rows::{IntentRow, IntentState, SignedExtrinsic};
use crate::unit::{BlockCount, BlockNumber, EpochIndex};
use crate::view::{ChainView, ConsensusMode};

/// Fewest blocks before the epoch's end at which a signature is still worth making: one to be
/// included in, one to spare.
const BLOCKS_LEFT_MIN: u64 = 2;

/// Fewest blocks after the best one for which a commit is worth signing; what we see as the best
/// one may be some blocks old.
const COMMIT_LIFE_BLOCKS_MIN: u64 = 8;

/// The commit format that this build writes.
pub(crate) const COMMIT_VERSION: u16 = 4;

/// What is known of the chain at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The best block, or the finalized one if it is the newest.
    pub head: &'a ChainView,
    /// The finalized block.
    pub finalized: &'a ChainView,
}

/// Who asks, and how weights are to be set.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Our hotkey.
    pub hotkey: Hotkey,
    /// The mechanism.
    pub mechanism: u8,
    /// Blocks before the epoch's end from which on a vector may be signed.
    pub lead: BlockCount,
    /// How weights are concealed where the subnet conceals them.
    pub commit: CommitForm,
}

/// How weights are concealed where the subnet conceals them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitForm {
    /// Encrypted to the beacon; the chain opens them. Hashes where a runtime knows only these.
    #[default]
    Timelocked,
    /// Hashed; we reveal them.
    Hashed,
}

/// A vector for this epoch may be signed, with these terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safe {
    /// The epoch it is for.
    pub epoch: EpochIndex,
    /// The version key to sign with.
    pub version_key: u64,
    /// In which form.
    pub form: WeightsForm,
    /// How the extrinsic is bound to the chain.
    pub binding: Binding,
}

/// In which form a vector is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightsForm {
    /// Open, for at once.
    Plain,
    /// Encrypted to the beacon.
    Timelocked {
        /// The format that the chain demands.
        commit_version: u16,
        /// The beacon's compressed public key.
        beacon_key: Vec<u8>,
        /// The round that opens it.
        reveal_round: u64,
        /// The epoch in which the chain opens it.
        reveal_epoch: EpochIndex,
    },
    /// Hashed with a salt that the signer draws and returns.
    Hashed,
    /// The reveal of such a hash.
    Reveal {
        /// The salt drawn for it.
        salt: Vec<u16>,
    },
}

/// How an extrinsic is bound to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The nonce in the best block.
    pub nonce: u32,
    /// The best block.
    pub head: BlockHash,
    /// Height of the finalized block in which the era begins.
    pub anchor: BlockNumber,
    /// Its hash.
    pub anchor_hash: BlockHash,
    /// Blocks of the era, a power of two.
    pub era_blocks: u64,
}

/// Why nothing is signed now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSafe {
    /// Something else signs with our hotkey.
    #[error("something else updated this hotkey's weights in block {block}; stop it first")]
    OtherSigner {
        /// When.
        block: BlockNumber,
    },
    /// Something else may have signed with our hotkey; whether it did is known when it is final.
    #[error(
        "nothing that this node signed explains an update of the hotkey in block {block}; waiting \
         until it is final"
    )]
    UnexplainedUpdate {
        /// When.
        block: BlockNumber,
    },
    /// Our hotkey has no uid.
    #[error("hotkey {hotkey} is not registered on this subnet")]
    NotRegistered {
        /// Ours.
        hotkey: Hotkey,
    },
    /// Our hotkey may not set weights.
    #[error("the hotkey has no validator permit; it comes with stake, at the next epoch")]
    NoPermit,
    /// Our stake is below the threshold.
    #[error("stake {stake_rao} rao is below the threshold of {threshold_rao} rao")]
    StakeTooLow {
        /// Ours.
        stake_rao: u64,
        /// The chain's.
        threshold_rao: u64,
    },
    /// The subnet's epochs do not run Yuma consensus.
    #[error("the subnet's consensus mode `{mode}` is not supported")]
    UnknownConsensus {
        /// Its name.
        mode: String,
    },
    /// The mechanism does not exist.
    #[error("the subnet has {count} mechanisms, there is no mechanism {mechanism}")]
    NoSuchMechanism {
        /// Ours.
        mechanism: u8,
        /// The subnet's.
        count: u8,
    },
    /// The chain refuses ordinary calls.
    #[error("the chain is in safe mode until block {until}")]
    SafeMode {
        /// Until when.
        until: BlockNumber,
    },
    /// The chain demands a commit format that this build does not know.
    #[error("the chain demands commit format {version}, this build writes {COMMIT_VERSION}")]
    UnknownCommitVersion {
        /// The chain's.
        version: u16,
    },
    /// The runtime's call has a shape that this build does not know.
    #[error("the runtime's call for {form} has an unknown shape; see `assay chain check`")]
    UnknownCall {
        /// For what.
        form: &'static str,
    },
    /// The runtime has no beacon, or its schedule gives no round.
    #[error("the subnet conceals weights, but the chain has no usable randomness beacon")]
    NoBeacon,
    /// The round that a commit needs is published already: what we see of the chain is old.
    #[error("round {round} of the beacon is published already; the chain's head looks stale")]
    RoundPassed {
        /// Which.
        round: u64,
    },
    /// The node has forgotten what it knew, and was not told again yet.
    #[error("the store lost rows; waiting for peers' receipts")]
    CatchingUp,
    /// The journal came from a copy, and what was signed after it is not known.
    #[error(
        "this node was restored from a copy, and what it signed after that is not known; nothing \
         is signed before the epoch that begins {}",
        until.map_or("next".to_owned(), |block| format!("in block {block}"))
    )]
    Restored {
        /// The first block of the first epoch for which nothing can have been signed, as the chain
        /// plans it; `None` if it plans none.
        until: Option<BlockNumber>,
    },
    /// The hotkey has a history, and this node does not know it.
    #[error(
        "this hotkey was used elsewhere before; waiting {blocks} blocks for its signatures to die"
    )]
    Settling {
        /// How many.
        blocks: BlockCount,
    },
    /// Finality is so far behind that no era reaches from there to now.
    #[error("finality is {blocks} blocks behind, too far for an extrinsic's era")]
    FinalityTooFar {
        /// How far.
        blocks: BlockCount,
    },
    /// The subnet runs no epochs.
    #[error("the subnet runs no epochs (tempo 0)")]
    NoEpochs,
    /// Another subnet has the number.
    #[error("the subnet was registered anew in block {block}; waiting until that is final")]
    RegisteredAnew {
        /// Since when.
        block: BlockNumber,
    },
    /// The epoch's vector is done, or on its way.
    #[error("epoch {epoch} already has a vector")]
    AlreadyIntended {
        /// Which.
        epoch: EpochIndex,
    },
    /// An earlier signature could still land.
    #[error("a signature for epoch {epoch} is still valid")]
    OlderSignatureLive {
        /// Which.
        epoch: EpochIndex,
    },
    /// The chain would refuse: too soon after the last update.
    #[error("the chain's rate limit leaves {blocks} blocks to wait")]
    RateLimited {
        /// How many.
        blocks: BlockCount,
    },
    /// It is early: newer receipts may still come.
    #[error("the next vector is due in {blocks} blocks")]
    Early {
        /// How many.
        blocks: BlockCount,
    },
    /// The epoch ends too soon for a signature to land.
    #[error("the epoch ends in {blocks} blocks, too soon to land")]
    Late {
        /// How many.
        blocks: BlockCount,
    },
}

/// The identity of the vector for one epoch.
///
/// - `registered_at`: [`ChainView::registration`]; a netuid is used again, and its epochs are
///   counted anew then.
#[must_use]
pub fn intent_id(
    hotkey: &Hotkey,
    netuid: Netuid,
    mechanism: u8,
    registered_at: Option<BlockNumber>,
    epoch: EpochIndex,
) -> IntentId {
    let domain = match registered_at {
        None => "assay/intent/v1",
        Some(_) => "assay/intent/v2",
    };
    let digest = DigestBuilder::new(domain)
        .bytes(&hotkey.0)
        .number(u64::from(netuid.0))
        .number(u64::from(mechanism));
    let digest = match registered_at {
        None => digest,
        Some(block) => digest.number(block.0),
    };
    IntentId(digest.number(epoch.0).finish())
}

/// Whether a new vector may be signed.
///
/// `intents`: every intent of this hotkey and mechanism that is known.
///
/// # Errors
///
/// [`NotSafe`], permanent reasons first.
pub fn may_sign<'a>(
    sight: Sight<'_>,
    terms: &Terms,
    intents: impl Iterator<Item = &'a IntentRow>,
) -> Result<Safe, NotSafe> {
    check_standing(sight.head, &terms.hotkey)?;
    check_registration(sight)?;
    let form = form(sight.head, terms)?;
    let epoch = sight.head.epoch.index;
    for intent in intents {
        // A later one means that this head is older than what was signed for already.
        if intent.epoch >= epoch && !is_of_another_clock(intent, sight.finalized) {
            return Err(NotSafe::AlreadyIntended { epoch: intent.epoch });
        }
        check_older(sight, intent)?;
    }
    check_window(sight, terms)?;
    let version_key = sight.head.params.weights_version_key;
    let binding = binding(sight, &form)?;
    Ok(Safe { epoch, version_key, form, binding })
}

/// Whether the same intent may be signed again: no earlier signature can land beside the new one,
/// and the epoch still has room.
///
/// `others`: every other intent.
///
/// # Errors
///
/// [`NotSafe`], as [`may_sign`].
pub fn may_sign_again<'a>(
    sight: Sight<'_>,
    terms: &Terms,
    intent: &IntentRow,
    others: impl Iterator<Item = &'a IntentRow>,
) -> Result<Safe, NotSafe> {
    check_standing(sight.head, &terms.hotkey)?;
    check_same_subnet(sight, intent)?;
    let form = form(sight.head, terms)?;
    let can_land = |signed: &SignedExtrinsic| can_land_beside(signed, sight);
    if intent.signings.iter().any(can_land) {
        return Err(NotSafe::OlderSignatureLive { epoch: intent.epoch });
    }
    for other in others {
        check_older(sight, other)?;
    }
    if intent.epoch != sight.head.epoch.index {
        return Err(NotSafe::Late { blocks: BlockCount(0) });
    }
    check_window(sight, &Terms { lead: BlockCount(u64::MAX), ..*terms })?;
    let version_key = sight.head.params.weights_version_key;
    let binding = binding(sight, &form)?;
    Ok(Safe { epoch: intent.epoch, version_key, form, binding })
}

/// Whether the reveal of a hash commit may be signed now.
///
/// # Errors
///
/// [`NotSafe`]: no standing, a signature of ours that can still land, or not the epoch for it.
pub fn may_reveal<'a>(
    sight: Sight<'_>,
    terms: &Terms,
    intent: &IntentRow,
    intents: impl Iterator<Item = &'a IntentRow>,
) -> Result<Binding, NotSafe> {
    check_standing(sight.head, &terms.hotkey)?;
    check_same_subnet(sight, intent)?;
    if !sight.head.abilities.hashed {
        return Err(NotSafe::UnknownCall { form: "reveals" });
    }
    check_begun(sight)?;
    if intent.reveals.iter().any(|signed| can_land_beside(signed, sight)) {
        return Err(NotSafe::OlderSignatureLive { epoch: intent.epoch });
    }
    for other in intents.filter(|other| other.id != intent.id) {
        check_beside_reveal(sight, other)?;
    }
    binding(sight, &WeightsForm::Plain)
}

/// Whether `signed` may still be included on some continuation of the finalized chain.
#[must_use]
pub fn can_land(signed: &SignedExtrinsic, sight: Sight<'_>) -> bool {
    sight.finalized.number < signed.era_end
        && sight.finalized.own_nonce <= signed.nonce
        && sight.finalized.spec_version <= signed.spec_version
}

/// Whether `signed` may still be included besides an extrinsic that is made for the best block.
///
/// With that block's nonce they exclude each other on every fork. Then it is enough that the older
/// one is dead after the best block: its era is over, or its runtime was replaced.
fn can_land_beside(signed: &SignedExtrinsic, sight: Sight<'_>) -> bool {
    let head = sight.head;
    let is_dead_here = head.number.plus(BlockCount(1)) >= signed.era_end
        || head.spec_version != signed.spec_version;
    let is_excluded = signed.nonce == head.own_nonce && is_dead_here;
    can_land(signed, sight) && !is_excluded
}

/// Whether the chain has begun to count its epochs anew since the intent was made: a later block is
/// final, and of an earlier epoch. So it is after a runtime with another clock, another tempo of
/// the old clock, or when the netuid went to a new subnet.
#[must_use]
pub(crate) fn is_of_another_clock(intent: &IntentRow, finalized: &ChainView) -> bool {
    if is_of_an_earlier_subnet(intent, finalized) {
        return true;
    }
    // Well later: a reorganisation may have put the epoch off by some blocks, and then the intent
    // is of the epoch that comes.
    finalized.number > intent.computed_at.plus(BlockCount(SETTLING_BLOCKS))
        && finalized.epoch.index < intent.epoch
}

/// Whether the intent was for a subnet that had the number before the one of `view`.
///
/// Where the chain does not say when a subnet was registered, it is taken for the same one.
#[must_use]
pub fn is_of_an_earlier_subnet(intent: &IntentRow, view: &ChainView) -> bool {
    // A row of a build that did not ask knows at least when it was computed.
    intent.registered_at.unwrap_or(intent.computed_at) < view.params.registered_at
}

/// Until a new registration is final, a reorganisation may take it back or move it.
fn check_registration(sight: Sight<'_>) -> Result<(), NotSafe> {
    let block = sight.head.params.registered_at;
    if sight.finalized.params.registered_at == block {
        Ok(())
    } else {
        Err(NotSafe::RegisteredAnew { block })
    }
}

fn check_same_subnet(sight: Sight<'_>, intent: &IntentRow) -> Result<(), NotSafe> {
    check_registration(sight)?;
    if is_of_an_earlier_subnet(intent, sight.head) {
        return Err(NotSafe::RegisteredAnew { block: sight.head.params.registered_at });
    }
    Ok(())
}

/// Whether what the block after `head` includes counts for `epoch`.
#[must_use]
pub(crate) fn includes_for(head: &ChainView, epoch: EpochIndex) -> bool {
    let included = head.number.plus(BlockCount(1));
    head.epoch.index == epoch && head.epoch.next_epoch_block.is_none_or(|next| included < next)
}

/// Whether the best block, or one before it, used the nonce of `signed`.
#[must_use]
pub fn is_included(signed: &SignedExtrinsic, head: &ChainView) -> bool {
    head.own_nonce > signed.nonce
}

/// Signatures of another intent must be dead, or included already (then the new one follows them),
/// or have the nonce of the new one (then one of the two lands). A reveal that is on its way is
/// waited for: it is wanted beside the new one, not in its place.
fn check_older(sight: Sight<'_>, other: &IntentRow) -> Result<(), NotSafe> {
    let may_follow =
        |signed: &SignedExtrinsic| can_land(signed, sight) && signed.nonce > sight.head.own_nonce;
    if other.state.is_on_its_way() && other.signings.iter().any(may_follow) {
        return Err(NotSafe::OlderSignatureLive { epoch: other.epoch });
    }
    check_reveals(sight, other)
}

/// Unlike a vector of the present epoch, a reveal must not take the place of another signature:
/// both are wanted. The present epoch's vector may wait for a nonce beyond the best block's, when a
/// reorganisation took back what was included before it. The reveal uses that nonce: if it waited,
/// too, both would die.
fn check_beside_reveal(sight: Sight<'_>, other: &IntentRow) -> Result<(), NotSafe> {
    let head = sight.head;
    let waits_for_it =
        |signed: &SignedExtrinsic| other.epoch == head.epoch.index && signed.nonce > head.own_nonce;
    let stands_against = |signed: &SignedExtrinsic| {
        can_land(signed, sight) && !is_included(signed, head) && !waits_for_it(signed)
    };
    if other.state.is_on_its_way() && other.signings.iter().any(stands_against) {
        return Err(NotSafe::OlderSignatureLive { epoch: other.epoch });
    }
    check_reveals(sight, other)
}

/// The reveals of another intent are waited for, not replaced, while the chain takes them. Later
/// one does nothing, and may lose its nonce to a signature that does.
fn check_reveals(sight: Sight<'_>, other: &IntentRow) -> Result<(), NotSafe> {
    let IntentState::Committed { epoch, .. } = other.state else { return Ok(()) };
    let is_over = sight.head.epoch.index > reveal_epoch(sight.head, epoch);
    if !is_over && other.reveals.iter().any(|signed| is_pending(signed, sight)) {
        return Err(NotSafe::OlderSignatureLive { epoch: other.epoch });
    }
    Ok(())
}

/// The epoch in which the chain opens a commit of `commit_epoch`, or takes its reveal.
pub(crate) fn reveal_epoch(view: &ChainView, commit_epoch: EpochIndex) -> EpochIndex {
    EpochIndex(commit_epoch.0.saturating_add(view.params.reveal_period.max(1)))
}

/// Whether `signed` is not included yet and still can be, after the best block too.
fn is_pending(signed: &SignedExtrinsic, sight: Sight<'_>) -> bool {
    can_land_beside(signed, sight) && !is_included(signed, sight.head)
}

/// Anchored in the finalized block, so that no reorganisation makes the signature bad, and long
/// enough to live for some blocks after the best one.
fn binding(sight: Sight<'_>, form: &WeightsForm) -> Result<Binding, NotSafe> {
    let (head, anchor) = (sight.head, sight.finalized);
    let lag = head.number.since(anchor.number);
    let mut era_blocks = lag
        .0
        .saturating_add(ERA_LIFE_BLOCKS)
        .checked_next_power_of_two()
        .map(|blocks| blocks.max(ERA_BLOCKS_MIN))
        .filter(|blocks| *blocks <= ERA_BLOCKS_MAX)
        .ok_or(NotSafe::FinalityTooFar { blocks: lag })?;
    // A commit that slips into the next epoch opens an epoch later than its round: better dead.
    let slips = |era_blocks| {
        let end = anchor.number.plus(BlockCount(era_blocks));
        head.epoch.next_epoch_block.is_some_and(|next| end > next)
    };
    let is_commit = !matches!(form, WeightsForm::Plain | WeightsForm::Reveal { .. });
    let least = lag.0.saturating_add(COMMIT_LIFE_BLOCKS_MIN);
    while is_commit && slips(era_blocks) && era_blocks.saturating_div(2) >= least {
        era_blocks = era_blocks.saturating_div(2);
    }
    Ok(Binding {
        nonce: head.own_nonce,
        head: head.hash,
        anchor: anchor.number,
        anchor_hash: anchor.hash,
        era_blocks,
    })
}

/// In which form the subnet takes weights after `head`.
pub(crate) fn form(head: &ChainView, terms: &Terms) -> Result<WeightsForm, NotSafe> {
    let params = &head.params;
    if let ConsensusMode::Other(mode) = &params.consensus {
        return Err(NotSafe::UnknownConsensus { mode: mode.clone() });
    }
    let count = params.mechanism_count.max(1);
    if terms.mechanism >= count {
        return Err(NotSafe::NoSuchMechanism { mechanism: terms.mechanism, count });
    }
    if let Some(until) = head.safe_mode_until.filter(|until| *until > head.number) {
        return Err(NotSafe::SafeMode { until });
    }
    if !params.commit_reveal_enabled {
        let plain = head.abilities.plain.then_some(WeightsForm::Plain);
        return plain.ok_or(NotSafe::UnknownCall { form: "plain weights" });
    }
    match (params.commit_reveal_version, terms.commit) {
        (None, _) | (_, CommitForm::Hashed) => {
            let hashed = head.abilities.hashed.then_some(WeightsForm::Hashed);
            hashed.ok_or(NotSafe::UnknownCall { form: "hash commits" })
        }
        (Some(COMMIT_VERSION), CommitForm::Timelocked) => timelocked(head),
        (Some(version), CommitForm::Timelocked) => Err(NotSafe::UnknownCommitVersion { version }),
    }
}

/// The round for a commit that the next block includes.
fn timelocked(head: &ChainView) -> Result<WeightsForm, NotSafe> {
    if !head.abilities.timelocked {
        return Err(NotSafe::UnknownCall { form: "timelocked commits" });
    }
    let beacon = head.beacon.as_ref().ok_or(NotSafe::NoBeacon)?;
    let period = head.params.reveal_period.max(1);
    let included = head.number.plus(BlockCount(1));
    let reveal = head
        .epoch
        .reveal(head.number, head.params.tempo, included, period)
        .ok_or(NotSafe::NoEpochs)?;
    let target = reveal.block.plus(BlockCount(crate::epoch::REVEAL_SLACK_BLOCKS));
    let round = beacon
        .schedule
        .round_for(head.number, head.timestamp, head.block_ms, target)
        .ok_or(NotSafe::NoBeacon)?;
    if round <= beacon.last_stored_round {
        return Err(NotSafe::RoundPassed { round });
    }
    Ok(WeightsForm::Timelocked {
        commit_version: COMMIT_VERSION,
        beacon_key: beacon.public_key.clone(),
        reveal_round: round,
        reveal_epoch: reveal.epoch,
    })
}

fn check_standing(view: &ChainView, hotkey: &Hotkey) -> Result<(), NotSafe> {
    let own = view.neuron(hotkey).ok_or(NotSafe::NotRegistered { hotkey: *hotkey })?;
    // The chain asks neither of the subnet's owner.
    if view.params.owner_hotkey == Some(*hotkey) {
        return Ok(());
    }
    if own.stake_rao < view.params.stake_threshold_rao {
        return Err(NotSafe::StakeTooLow {
            stake_rao: own.stake_rao,
            threshold_rao: view.params.stake_threshold_rao,
        });
    }
    if own.validator_permit {
        Ok(())
    } else {
        Err(NotSafe::NoPermit)
    }
}

fn check_window(sight: Sight<'_>, terms: &Terms) -> Result<(), NotSafe> {
    let view = sight.head;
    let next_epoch = view.epoch.next_epoch_block.ok_or(NotSafe::NoEpochs)?;
    let left = next_epoch.since(view.number);
    if left.0 < BLOCKS_LEFT_MIN {
        return Err(NotSafe::Late { blocks: left });
    }
    if left > terms.lead {
        return Err(NotSafe::Early { blocks: BlockCount(left.0.saturating_sub(terms.lead.0)) });
    }
    check_begun(sight)?;
    let last_update = view.neuron(&terms.hotkey).map_or(view.number, |own| own.last_update);
    let since = view.number.plus(BlockCount(1)).since(last_update);
    let limit = view.params.weights_rate_limit;
    if last_update.0 > 0 && since < limit {
        return Err(NotSafe::RateLimited { blocks: BlockCount(limit.0.saturating_sub(since.0)) });
    }
    Ok(())
}

/// A reorganisation over the epoch's beginning would let an extrinsic land in the one before it.
fn check_begun(sight: Sight<'_>) -> Result<(), NotSafe> {
    let began = sight.head.epoch.last_epoch_block;
    let settled = began.plus(BlockCount(REORGANISED_BLOCKS_MAX));
    if sight.finalized.number < began && sight.head.number < settled {
        return Err(NotSafe::Early { blocks: settled.since(sight.head.number) });
    }
    Ok(())
}

const _: () = assert!(ERA_LIFE_BLOCKS > BLOCKS_LEFT_MIN);

#[cfg(test)]
mod tests;
