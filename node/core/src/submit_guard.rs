//! May a vector be signed now? The last gate before the key.
//!
//! Fails closed: anything ambiguous is [`NotSafe`] with its reason. The check and the record of
//! the intent are committed together, so two answers "safe" for one epoch cannot exist.

use crate::id::{DigestBuilder, Hotkey, IntentId, Netuid};
use crate::limits::EXTRINSIC_ERA_BLOCKS;
use crate::rows::{IntentRow, IntentState};
use crate::unit::{BlockCount, EpochIndex};
use crate::view::ChainView;

/// Fewest blocks before the epoch's end at which a signature is still worth making: one to be
/// included in, one to spare.
const BLOCKS_LEFT_MIN: u64 = 2;

/// A vector for this epoch may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safe {
    /// The epoch it is for.
    pub epoch: EpochIndex,
    /// The version key to sign with.
    pub version_key: u64,
}

/// Why nothing is signed now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSafe {
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
    /// The subnet conceals weights; this build cannot do that yet.
    #[error("the subnet has commit-reveal on, which this build does not support yet")]
    CommitReveal,
    /// The subnet runs no epochs.
    #[error("the subnet runs no epochs (tempo 0)")]
    NoEpochs,
    /// The epoch's vector is done, or on its way.
    #[error("epoch {epoch} already has a vector")]
    AlreadyIntended {
        /// Which.
        epoch: EpochIndex,
    },
    /// A signature for an earlier epoch could still land.
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
#[must_use]
pub fn intent_id(hotkey: &Hotkey, netuid: Netuid, mechanism: u8, epoch: EpochIndex) -> IntentId {
    let digest = DigestBuilder::new("assay/intent/v1")
        .bytes(&hotkey.0)
        .number(u64::from(netuid.0))
        .number(u64::from(mechanism))
        .number(epoch.0);
    IntentId(digest.finish())
}

/// Whether a new vector may be signed as of `view`.
///
/// - `intents`: every intent of this hotkey and mechanism that is known.
/// - `lead`: blocks before the epoch's end from which on it may be signed.
///
/// # Errors
///
/// [`NotSafe`], permanent reasons first.
pub fn may_sign<'a>(
    view: &ChainView,
    hotkey: &Hotkey,
    intents: impl Iterator<Item = &'a IntentRow>,
    lead: BlockCount,
) -> Result<Safe, NotSafe> {
    check_standing(view, hotkey)?;
    let epoch = view.epoch.index;
    for intent in intents {
        // A later one means that this view is older than what was signed for already.
        if intent.epoch >= epoch {
            return Err(NotSafe::AlreadyIntended { epoch: intent.epoch });
        }
        if is_live(intent, view) {
            return Err(NotSafe::OlderSignatureLive { epoch: intent.epoch });
        }
    }
    check_window(view, hotkey, lead)?;
    Ok(Safe { epoch, version_key: view.params.weights_version_key })
}

/// Whether the same intent may be signed again: every earlier signature is dead and the epoch
/// still has room.
///
/// # Errors
///
/// [`NotSafe`], as [`may_sign`].
pub fn may_sign_again(
    view: &ChainView,
    hotkey: &Hotkey,
    intent: &IntentRow,
) -> Result<Safe, NotSafe> {
    check_standing(view, hotkey)?;
    if is_live(intent, view) {
        return Err(NotSafe::OlderSignatureLive { epoch: intent.epoch });
    }
    if intent.epoch != view.epoch.index {
        return Err(NotSafe::Late { blocks: BlockCount(0) });
    }
    check_window(view, hotkey, BlockCount(u64::MAX))?;
    Ok(Safe { epoch: intent.epoch, version_key: view.params.weights_version_key })
}

/// Whether a signature made for `intent` could still be included after `view`.
#[must_use]
pub fn is_live(intent: &IntentRow, view: &ChainView) -> bool {
    match intent.state {
        IntentState::Landed { .. } | IntentState::Abandoned { .. } => false,
        IntentState::Open | IntentState::Signed => {
            intent.signings.last().is_some_and(|signed| view.number < signed.era_end)
        }
    }
}

fn check_standing(view: &ChainView, hotkey: &Hotkey) -> Result<(), NotSafe> {
    let own = view.neuron(hotkey).ok_or(NotSafe::NotRegistered { hotkey: *hotkey })?;
    if view.params.commit_reveal_enabled {
        return Err(NotSafe::CommitReveal);
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

fn check_window(view: &ChainView, hotkey: &Hotkey, lead: BlockCount) -> Result<(), NotSafe> {
    let next_epoch = view.epoch.next_epoch_block.ok_or(NotSafe::NoEpochs)?;
    let left = next_epoch.since(view.number);
    if left.0 < BLOCKS_LEFT_MIN {
        return Err(NotSafe::Late { blocks: left });
    }
    // Half of the epoch at most, so that a subnet with a short tempo is not always "due".
    let lead = lead.0.min(view.params.tempo.0.div_ceil(2).max(BLOCKS_LEFT_MIN));
    if left.0 > lead {
        return Err(NotSafe::Early { blocks: BlockCount(left.0.saturating_sub(lead)) });
    }
    let last_update = view.neuron(hotkey).map_or(view.number, |own| own.last_update);
    let since = view.number.plus(BlockCount(1)).since(last_update);
    let limit = view.params.weights_rate_limit;
    if last_update.0 > 0 && since < limit {
        return Err(NotSafe::RateLimited { blocks: BlockCount(limit.0.saturating_sub(since.0)) });
    }
    Ok(())
}

const _: () = assert!(EXTRINSIC_ERA_BLOCKS > BLOCKS_LEFT_MIN);
