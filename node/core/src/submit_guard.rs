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
    /// The node has forgotten what it knew, and was not told again yet.
    #[error("the store lost rows; waiting for peers' receipts")]
    CatchingUp,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlockHash, Digest, Uid};
    use crate::rows::SignedExtrinsic;
    use crate::unit::{BlockNumber, UnixMs};
    use crate::view::{EpochClock, Neuron, SubnetParams};

    const OWN: Hotkey = Hotkey([1; 32]);
    const LEAD: BlockCount = BlockCount(10);

    /// Block 95 of epoch 3, which ends at 100; last updated long ago, everything in order.
    fn view() -> ChainView {
        ChainView {
            genesis: BlockHash([0; 32]),
            netuid: Netuid(1),
            number: BlockNumber(95),
            hash: BlockHash([1; 32]),
            timestamp: UnixMs(0),
            spec_version: 1,
            neurons: vec![Neuron {
                uid: Uid(0),
                hotkey: OWN,
                stake_rao: 10,
                validator_permit: true,
                axon: None,
                registered_at: BlockNumber(1),
                last_update: BlockNumber(1),
            }],
            params: SubnetParams {
                tempo: BlockCount(50),
                min_allowed_weights: 1,
                weights_rate_limit: BlockCount(20),
                weights_version_key: 77,
                commit_reveal_enabled: false,
                stake_threshold_rao: 10,
            },
            epoch: EpochClock {
                index: EpochIndex(3),
                last_epoch_block: BlockNumber(50),
                next_epoch_block: Some(BlockNumber(100)),
            },
            commitments: Vec::new(),
            weights: Vec::new(),
            own_nonce: 0,
        }
    }

    fn intent(epoch: u64, era_end: Option<u64>, state: IntentState) -> IntentRow {
        let signing = |era_end| SignedExtrinsic {
            bytes: vec![1],
            hash: Digest([0; 32]),
            nonce: 0,
            era_end: BlockNumber(era_end),
        };
        IntentRow {
            id: intent_id(&OWN, Netuid(1), 0, EpochIndex(epoch)),
            netuid: Netuid(1),
            mechanism: 0,
            epoch: EpochIndex(epoch),
            vector: vec![(Uid(0), u16::MAX)],
            version_key: 0,
            computed_at: BlockNumber(90),
            signings: era_end.map(signing).into_iter().collect(),
            state,
        }
    }

    fn with(change: impl Fn(&mut ChainView)) -> ChainView {
        let mut view = view();
        change(&mut view);
        view
    }

    fn ask(view: &ChainView, intents: &[IntentRow]) -> Result<Safe, NotSafe> {
        may_sign(view, &OWN, intents.iter(), LEAD)
    }

    #[test]
    fn a_vector_that_is_due_is_safe_with_the_chains_version_key() {
        let safe = Safe { epoch: EpochIndex(3), version_key: 77 };
        assert_eq!(ask(&view(), &[]), Ok(safe));
    }

    #[test]
    fn each_reason_not_to_sign_is_given() {
        let refused = |change: &dyn Fn(&mut ChainView)| ask(&with(change), &[]).unwrap_err();
        assert_eq!(refused(&|v| v.neurons.clear()), NotSafe::NotRegistered { hotkey: OWN });
        assert_eq!(refused(&|v| v.neurons[0].validator_permit = false), NotSafe::NoPermit);
        assert_eq!(refused(&|v| v.params.commit_reveal_enabled = true), NotSafe::CommitReveal);
        let stake = NotSafe::StakeTooLow { stake_rao: 9, threshold_rao: 10 };
        assert_eq!(refused(&|v| v.neurons[0].stake_rao = 9), stake);
        assert_eq!(refused(&|v| v.epoch.next_epoch_block = None), NotSafe::NoEpochs);
        let early = NotSafe::Early { blocks: BlockCount(1) };
        assert_eq!(refused(&|v| v.number = BlockNumber(89)), early);
        let late = |blocks| NotSafe::Late { blocks: BlockCount(blocks) };
        assert_eq!(refused(&|v| v.number = BlockNumber(99)), late(1));
        assert_eq!(refused(&|v| v.number = BlockNumber(104)), late(0));
    }

    #[test]
    fn the_window_opens_and_closes_where_it_says() {
        for (number, is_safe) in [(89, false), (90, true), (98, true), (99, false)] {
            let view = with(|v| v.number = BlockNumber(number));
            assert_eq!(ask(&view, &[]).is_ok(), is_safe, "block {number}");
        }
    }

    #[test]
    fn a_short_tempo_is_not_always_due() {
        let view = with(|v| {
            v.params.tempo = BlockCount(10);
            v.epoch.next_epoch_block = Some(BlockNumber(101));
        });
        assert_eq!(ask(&view, &[]), Err(NotSafe::Early { blocks: BlockCount(1) }));
    }

    #[test]
    fn the_rate_limit_counts_to_the_block_that_would_include_it() {
        let since = |last_update| with(|v| v.neurons[0].last_update = BlockNumber(last_update));
        assert!(ask(&since(76), &[]).is_ok(), "block 96 is 20 after 76");
        let one_more = NotSafe::RateLimited { blocks: BlockCount(1) };
        assert_eq!(ask(&since(77), &[]), Err(one_more));
        assert!(ask(&since(0), &[]).is_ok(), "never updated");
    }

    #[test]
    fn an_epoch_has_one_intent_whatever_became_of_it() {
        let states = [
            IntentState::Open,
            IntentState::Signed,
            IntentState::Landed { block: BlockNumber(92) },
            IntentState::Abandoned { reason: String::new() },
        ];
        for state in states {
            let intents = [intent(3, Some(94), state)];
            let refused = Err(NotSafe::AlreadyIntended { epoch: EpochIndex(3) });
            assert_eq!(ask(&view(), &intents), refused);
        }
    }

    #[test]
    fn a_view_of_an_epoch_before_the_last_intent_is_not_safe() {
        let intents = [intent(4, Some(94), IntentState::Landed { block: BlockNumber(92) })];
        let refused = Err(NotSafe::AlreadyIntended { epoch: EpochIndex(4) });
        assert_eq!(ask(&view(), &intents), refused);
    }

    #[test]
    fn an_older_signature_binds_until_its_era_is_over_or_it_landed() {
        let live = intent(2, Some(96), IntentState::Signed);
        let refused = Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(2) });
        assert_eq!(ask(&view(), &[live]), refused);
        assert!(ask(&view(), &[intent(2, Some(95), IntentState::Signed)]).is_ok());
        let landed = IntentState::Landed { block: BlockNumber(93) };
        assert!(ask(&view(), &[intent(2, Some(96), landed)]).is_ok());
    }

    #[test]
    fn signing_again_needs_the_same_epoch_a_dead_signature_and_good_standing() {
        let again = |view: &ChainView, intent: &IntentRow| may_sign_again(view, &OWN, intent);
        let dead = intent(3, Some(95), IntentState::Signed);
        assert!(again(&view(), &dead).is_ok());
        assert!(again(&view(), &intent(3, None, IntentState::Open)).is_ok());
        let live = intent(3, Some(96), IntentState::Signed);
        let refused = Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(3) });
        assert_eq!(again(&view(), &live), refused);
        let over = intent(2, Some(95), IntentState::Signed);
        assert_eq!(again(&view(), &over), Err(NotSafe::Late { blocks: BlockCount(0) }));
        let no_permit = with(|v| v.neurons[0].validator_permit = false);
        assert_eq!(again(&no_permit, &dead), Err(NotSafe::NoPermit));
        let too_late = with(|v| v.number = BlockNumber(99));
        assert_eq!(again(&too_late, &dead), Err(NotSafe::Late { blocks: BlockCount(1) }));
    }

    #[test]
    fn intents_of_other_epochs_mechanisms_and_hotkeys_have_other_ids() {
        let id = intent_id(&OWN, Netuid(1), 0, EpochIndex(3));
        for other in [
            intent_id(&Hotkey([2; 32]), Netuid(1), 0, EpochIndex(3)),
            intent_id(&OWN, Netuid(2), 0, EpochIndex(3)),
            intent_id(&OWN, Netuid(1), 1, EpochIndex(3)),
            intent_id(&OWN, Netuid(1), 0, EpochIndex(4)),
        ] {
            assert_ne!(id, other);
        }
    }
}
