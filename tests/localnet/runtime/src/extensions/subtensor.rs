//! `SubtensorTransactionExtension`: what the pool refuses before a block ever sees it.
//!
//! The rules of spec 425: stake and rate limit of weight calls, and all of `serve_axon`. A refusal
//! is a number that clients see as "Custom error: n".

use crate::{
    subtensor::{AxonInfo, Call, CommitRevealWeightsEnabled, Error, MechId, NetUid, Pallet, Uids},
    AccountId, Runtime, RuntimeCall, RuntimeOrigin,
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::dispatch::DispatchInfo;
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
    /// Weights faster than the rate limit.
    RateLimitExceeded = 6,
    /// Serving from an unregistered hotkey.
    HotKeyNotRegisteredInNetwork = 10,
    /// An address nobody could reach.
    InvalidIpAddress = 11,
    /// Serving faster than the limit.
    ServingRateLimitExceeded = 12,
    /// Port 0.
    InvalidPort = 13,
    /// The hotkey has no uid in the subnet.
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
            Error::SettingWeightsTooFast => Self::RateLimitExceeded,
            Error::HotKeyNotRegisteredInNetwork => Self::HotKeyNotRegisteredInNetwork,
            Error::InvalidIpAddress => Self::InvalidIpAddress,
            Error::ServingRateLimitExceeded => Self::ServingRateLimitExceeded,
            Error::InvalidPort => Self::InvalidPort,
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

impl SubtensorTransactionExtension {
    fn check(who: &AccountId, call: &RuntimeCall) -> Result<(), Error<Runtime>> {
        match call {
            RuntimeCall::SubtensorModule(Call::set_weights { netuid, .. }) => {
                check_weights(who, *netuid, 0)
            }
            RuntimeCall::SubtensorModule(Call::set_mechanism_weights { netuid, mecid, .. }) => {
                check_weights(who, *netuid, *mecid)
            }
            RuntimeCall::SubtensorModule(Call::serve_axon {
                netuid, ip, port, ip_type, ..
            }) => {
                let axon = AxonInfo {
                    block: Pallet::<Runtime>::current_block(),
                    ip: *ip,
                    port: *port,
                    ip_type: *ip_type,
                    ..AxonInfo::default()
                };
                Pallet::<Runtime>::check_serve_axon(who, *netuid, &axon)
            }
            _ => Ok(()),
        }
    }
}

/// Where commit-reveal is on the call fails at dispatch anyway, so its rate is not looked at; and
/// an unregistered hotkey is left to dispatch too.
fn check_weights(who: &AccountId, netuid: NetUid, mecid: MechId) -> Result<(), Error<Runtime>> {
    if !Pallet::<Runtime>::has_stake_for_weights(netuid, who) {
        return Err(Error::NotEnoughStakeToSetWeights);
    }
    if CommitRevealWeightsEnabled::<Runtime>::get(netuid) {
        return Ok(());
    }
    let index = Pallet::<Runtime>::storage_index(netuid, mecid);
    let block = Pallet::<Runtime>::current_block();
    match Uids::<Runtime>::get(netuid, who) {
        Some(uid) if !Pallet::<Runtime>::rate_limit_passed(netuid, index, uid, block) => {
            Err(Error::SettingWeightsTooFast)
        }
        _ => Ok(()),
    }
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
        if let Some(who) = origin.as_system_origin_signer() {
            Self::check(who, call)
                .map_err(|error| InvalidTransaction::from(CustomTransactionError::from(error)))?;
        }
        Ok((ValidTransaction::default(), (), origin))
    }
}
