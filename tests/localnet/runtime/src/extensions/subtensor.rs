//! `SubtensorTransactionExtension`: what the pool refuses before a block ever sees it.
//!
//! Equal lengths of batches, stake of every weight call, commit and epoch of a reveal, round of a
//! sealed commit, rate limits, and all of `serve_axon`, in this order. A refusal is a number that
//! clients see as "Custom error: n". The rules are those of spec 425; with
//! [`StrictCommitPool`](crate::StrictCommitPool) the rate limit holds for sealed commits too and
//! one commit per hotkey and mechanism may wait in the pool, as since spec 459.

use crate::{
    subtensor::{
        AxonInfo, Call, CommitRevealWeightsEnabled, Error, MechId, NetUid, Pallet, Reveal, Uids,
        WeightsSetRateLimit,
    },
    AccountId, Runtime, RuntimeCall, RuntimeOrigin, StrictCommitPool,
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::{dispatch::DispatchInfo, ensure};
use scale_info::TypeInfo;
use sp_runtime::{
    impl_tx_ext_default,
    traits::{AsSystemOriginSigner, Implication, TransactionExtension, ValidateResult},
    transaction_validity::{InvalidTransaction, TransactionSource, ValidTransaction},
};

/// Why the pool refused, with the real chain's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum CustomTransactionError {
    /// Not enough stake to set weights.
    StakeAmountTooLow = 1,
    /// The coldkey cannot pay.
    BalanceTooLow = 2,
    /// No such subnet.
    SubnetNotExists = 3,
    /// Weights or commits faster than the rate limit.
    RateLimitExceeded = 6,
    /// Serving from an unregistered hotkey.
    HotKeyNotRegisteredInNetwork = 10,
    /// An address nobody could reach.
    InvalidIpAddress = 11,
    /// Serving faster than the limit.
    ServingRateLimitExceeded = 12,
    /// Port 0.
    InvalidPort = 13,
    /// Sealed for a round that the beacon has gone past.
    InvalidRevealRound = 15,
    /// A reveal without its commit.
    CommitNotFound = 16,
    /// A reveal outside its epoch.
    CommitBlockNotInRevealRange = 17,
    /// Lists of a batch that differ in length.
    InputLengthsUnequal = 18,
    /// The hotkey has no uid in the subnet. At spec 425 nothing that exists here says so.
    UidNotFound = 19,
    /// The hotkey belongs to another coldkey.
    NonAssociatedColdKey = 25,
    /// Everything else, for example an unknown address type.
    BadRequest = 255,
}

impl From<Error<Runtime>> for CustomTransactionError {
    fn from(error: Error<Runtime>) -> Self {
        match error {
            Error::NotEnoughStakeToSetWeights => Self::StakeAmountTooLow,
            Error::NotEnoughBalanceToStake => Self::BalanceTooLow,
            Error::SubnetNotExists => Self::SubnetNotExists,
            Error::SettingWeightsTooFast | Error::CommittingWeightsTooFast => {
                Self::RateLimitExceeded
            }
            Error::HotKeyNotRegisteredInNetwork => Self::HotKeyNotRegisteredInNetwork,
            Error::InvalidIpAddress => Self::InvalidIpAddress,
            Error::ServingRateLimitExceeded => Self::ServingRateLimitExceeded,
            Error::InvalidPort => Self::InvalidPort,
            Error::InvalidRevealRound => Self::InvalidRevealRound,
            Error::NoWeightsCommitFound => Self::CommitNotFound,
            Error::RevealTooEarly => Self::CommitBlockNotInRevealRange,
            Error::InputLengthsUnequal => Self::InputLengthsUnequal,
            Error::HotKeyNotRegisteredInSubNet => Self::UidNotFound,
            Error::NonAssociatedColdKey => Self::NonAssociatedColdKey,
            _ => Self::BadRequest,
        }
    }
}

impl From<CustomTransactionError> for InvalidTransaction {
    fn from(error: CustomTransactionError) -> Self {
        Self::Custom(error as u8)
    }
}

/// Zero-sized: it adds nothing to what is signed.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Default, Encode, Eq, PartialEq, TypeInfo)]
pub struct SubtensorTransactionExtension;

type Check = Result<(), Error<Runtime>>;
type Mechanism = (NetUid, MechId);

/// A subnet and a mechanism with what the call does there.
enum WeightCall {
    Set(Mechanism),
    Commit(Mechanism),
    CommitSealed(Mechanism, u64),
    Reveal(Mechanism, Vec<Reveal>),
    /// A batch over several subnets, of which only the stake is looked at.
    Batch(Vec<NetUid>),
}

impl WeightCall {
    /// `None` for other calls.
    fn of(call: &Call<Runtime>) -> Option<Result<Self, Error<Runtime>>> {
        let call = match call {
            Call::set_weights { netuid, .. } => Self::Set((*netuid, 0)),
            Call::set_mechanism_weights { netuid, mecid, .. } => Self::Set((*netuid, *mecid)),
            Call::commit_weights { netuid, .. } => Self::Commit((*netuid, 0)),
            Call::commit_mechanism_weights { netuid, mecid, .. } => Self::Commit((*netuid, *mecid)),
            Call::commit_timelocked_weights { netuid, reveal_round, .. } => {
                Self::CommitSealed((*netuid, 0), *reveal_round)
            }
            Call::commit_timelocked_mechanism_weights { netuid, mecid, reveal_round, .. }
            | Call::commit_crv3_mechanism_weights { netuid, mecid, reveal_round, .. } => {
                Self::CommitSealed((*netuid, *mecid), *reveal_round)
            }
            _ => return Self::of_reveal(call).or_else(|| Self::of_batch(call)),
        };
        Some(Ok(call))
    }

    fn of_reveal(call: &Call<Runtime>) -> Option<Result<Self, Error<Runtime>>> {
        let (mechanism, reveals) = match call.clone() {
            Call::reveal_weights { netuid, uids, values, salt, version_key } => {
                ((netuid, 0), Some(vec![Reveal { uids, values, salt, version_key }]))
            }
            Call::reveal_mechanism_weights { netuid, mecid, uids, values, salt, version_key } => {
                ((netuid, mecid), Some(vec![Reveal { uids, values, salt, version_key }]))
            }
            Call::batch_reveal_weights {
                netuid,
                uids_list,
                values_list,
                salts_list,
                version_keys,
            } => ((netuid, 0), Reveal::zip(uids_list, values_list, salts_list, version_keys)),
            _ => return None,
        };
        let reveals = reveals.ok_or(Error::InputLengthsUnequal);
        Some(reveals.map(|reveals| Self::Reveal(mechanism, reveals)))
    }

    fn of_batch(call: &Call<Runtime>) -> Option<Result<Self, Error<Runtime>>> {
        let (netuids, others) = match call {
            Call::batch_set_weights { netuids, weights, version_keys } => {
                (netuids, [weights.len(), version_keys.len()])
            }
            Call::batch_commit_weights { netuids, commit_hashes } => {
                (netuids, [commit_hashes.len(); 2])
            }
            _ => return None,
        };
        let equal = others.iter().all(|length| *length == netuids.len());
        let batch = Self::Batch(netuids.iter().map(|netuid| netuid.0).collect());
        Some(equal.then_some(batch).ok_or(Error::InputLengthsUnequal))
    }

    fn netuids(&self) -> Vec<NetUid> {
        match self {
            Self::Set((netuid, _))
            | Self::Commit((netuid, _))
            | Self::CommitSealed((netuid, _), _)
            | Self::Reveal((netuid, _), _) => vec![*netuid],
            Self::Batch(netuids) => netuids.clone(),
        }
    }

    fn check(&self, who: &AccountId) -> Check {
        for netuid in self.netuids() {
            let has_stake = Pallet::<Runtime>::has_stake_for_weights(netuid, who);
            ensure!(has_stake, Error::NotEnoughStakeToSetWeights);
        }
        match self {
            // Where commit-reveal is on the call fails at dispatch anyway.
            Self::Set((netuid, _)) if CommitRevealWeightsEnabled::<Runtime>::get(netuid) => Ok(()),
            Self::Set(mechanism) => check_rate(who, *mechanism, Error::SettingWeightsTooFast),
            Self::Commit(mechanism) => check_rate(who, *mechanism, Error::CommittingWeightsTooFast),
            Self::CommitSealed(mechanism, round) => {
                Pallet::<Runtime>::check_reveal_round(*round)?;
                if StrictCommitPool::get() {
                    check_rate(who, *mechanism, Error::CommittingWeightsTooFast)?;
                }
                Ok(())
            }
            Self::Reveal(mechanism, reveals) => reveals.iter().try_for_each(|reveal| {
                Pallet::<Runtime>::check_reveal_in_pool(who, *mechanism, reveal)
            }),
            Self::Batch(_) => Ok(()),
        }
    }

    /// What no other transaction in the pool may provide.
    fn tag(&self, who: &AccountId) -> Option<Vec<u8>> {
        let (Self::Commit((netuid, mecid)) | Self::CommitSealed((netuid, mecid), _)) = self else {
            return None;
        };
        let is_limited = WeightsSetRateLimit::<Runtime>::get(netuid) > 0;
        let index = Pallet::<Runtime>::storage_index(*netuid, *mecid);
        (is_limited && StrictCommitPool::get()).then(|| (b"weight-commit", who, index).encode())
    }
}

/// An unregistered hotkey is left to dispatch.
fn check_rate(who: &AccountId, (netuid, mecid): Mechanism, too_fast: Error<Runtime>) -> Check {
    let index = Pallet::<Runtime>::storage_index(netuid, mecid);
    let block = Pallet::<Runtime>::current_block();
    match Uids::<Runtime>::get(netuid, who) {
        Some(uid) if !Pallet::<Runtime>::rate_limit_passed(netuid, index, uid, block) => {
            Err(too_fast)
        }
        _ => Ok(()),
    }
}

fn check_serving(who: &AccountId, call: &Call<Runtime>) -> Check {
    let (Call::serve_axon { netuid, ip, port, ip_type, .. }
    | Call::serve_axon_tls { netuid, ip, port, ip_type, .. }) = call
    else {
        return Ok(());
    };
    let axon = AxonInfo {
        block: Pallet::<Runtime>::current_block(),
        ip: *ip,
        port: *port,
        ip_type: *ip_type,
        ..AxonInfo::default()
    };
    Pallet::<Runtime>::check_serve_axon(who, *netuid, &axon)
}

/// The tags the transaction provides beside its nonce.
fn check(who: &AccountId, call: &RuntimeCall) -> Result<Option<Vec<u8>>, Error<Runtime>> {
    let RuntimeCall::SubtensorModule(call) = call else { return Ok(None) };
    let Some(weights) = WeightCall::of(call).transpose()? else {
        check_serving(who, call)?;
        return Ok(None);
    };
    weights.check(who)?;
    Ok(weights.tag(who))
}

impl TransactionExtension<RuntimeCall> for SubtensorTransactionExtension {
    const IDENTIFIER: &'static str = "SubtensorTransactionExtension";
    type Implicit = ();
    type Val = ();
    type Pre = ();

    impl_tx_ext_default!(RuntimeCall; weight prepare);

    fn validate(
        &self,
        origin: RuntimeOrigin,
        call: &RuntimeCall,
        _info: &DispatchInfo,
        _len: usize,
        _implicit: (),
        _implication: &impl Implication,
        _source: TransactionSource,
    ) -> ValidateResult<Self::Val, RuntimeCall> {
        let Some(who) = origin.as_system_origin_signer() else {
            return Ok((ValidTransaction::default(), (), origin));
        };
        let tag = check(who, call)
            .map_err(|error| InvalidTransaction::from(CustomTransactionError::from(error)))?;
        let provides = tag.into_iter().collect();
        Ok((ValidTransaction { provides, ..ValidTransaction::default() }, (), origin))
    }
}
