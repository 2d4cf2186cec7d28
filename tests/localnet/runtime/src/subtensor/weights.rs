//! `set_weights`: the checks in the real chain's order, and what is stored.
//!
//! Reveals end here too. Then commit-reveal is on, and neither is the rate limit looked at nor the
//! last update written: the commit did both. A reveal that comes after commit-reveal was switched
//! off is treated like plain weights, as on the real chain.

use super::{
    CommitRevealWeightsEnabled, Config, Error, Event, LastUpdate, MechId, MechanismCountCurrent,
    MinAllowedWeights, NetUid, NetUidStorageIndex, NetworksAdded, Pallet, SubnetworkN, Uid, Uids,
    ValidatorPermit, Weights, WeightsSetRateLimit, WeightsVersionKey, GLOBAL_MAX_SUBNETS,
    ROOT_NETUID,
};
use codec::Compact;
use frame_support::ensure;
use sp_runtime::{DispatchError, DispatchResult};
use std::collections::BTreeSet;

/// Above this maximum the real chain divides before it multiplies, because its 32-bit integer
/// part would overflow otherwise. The two orders differ in the last bit.
const UPSCALE_EXACT_MAX: u64 = 32_768;
const HALF: u64 = 1 << 31;

/// Scales a row so that its maximum becomes `u16::MAX`; an all-zero row stays as it is.
///
/// Same 32.32 fixed-point steps as the real chain, so that stored rows agree bit for bit.
/// Rounds half up.
pub fn max_upscale(values: &[u16]) -> Vec<u16> {
    let max = u64::from(values.iter().copied().max().unwrap_or(0));
    if max == 0 {
        return values.to_vec();
    }
    let full = u64::from(u16::MAX);
    let scale = |value: u16| {
        let value = u64::from(value);
        let fixed = if max > UPSCALE_EXACT_MAX {
            value * ((full << 32) / max)
        } else {
            ((value * full) << 32) / max
        };
        u16::try_from((fixed + HALF) >> 32).unwrap_or(u16::MAX)
    };
    values.iter().copied().map(scale).collect()
}

impl<T: Config> Pallet<T> {
    /// The key under which a mechanism's rows are stored.
    pub fn storage_index(netuid: NetUid, mecid: MechId) -> NetUidStorageIndex {
        u16::from(mecid).saturating_mul(GLOBAL_MAX_SUBNETS).saturating_add(netuid)
    }

    /// Whether `block` is late enough for another submission of this uid.
    pub fn rate_limit_passed(
        netuid: NetUid,
        index: NetUidStorageIndex,
        uid: Uid,
        block: u64,
    ) -> bool {
        let updates = LastUpdate::<T>::get(index);
        let last = updates.get(usize::from(uid)).copied().unwrap_or(0);
        last == 0 || block.saturating_sub(last) >= WeightsSetRateLimit::<T>::get(netuid)
    }

    pub(super) fn do_set_weights(
        hotkey: &T::AccountId,
        (netuid, mecid): (NetUid, MechId),
        uids: Vec<Uid>,
        values: Vec<u16>,
        version_key: u64,
    ) -> DispatchResult {
        ensure!(!CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealEnabled);
        Self::store_weights(hotkey, (netuid, mecid), uids, values, version_key)
    }

    /// Sets weights on several subnets. Announces what failed; fails itself only over lengths.
    pub(super) fn do_batch_set_weights(
        hotkey: T::AccountId,
        netuids: Vec<Compact<NetUid>>,
        rows: Vec<Vec<(Compact<u16>, Compact<u16>)>>,
        version_keys: &[Compact<u64>],
    ) -> DispatchResult {
        ensure!(
            netuids.len() == rows.len() && netuids.len() == version_keys.len(),
            Error::<T>::InputLengthsUnequal
        );
        let items = netuids.iter().zip(rows).zip(version_keys);
        let results: Vec<(NetUid, DispatchResult)> = items
            .map(|((netuid, row), version_key)| {
                let (uids, values) = row.into_iter().map(|(uid, value)| (uid.0, value.0)).unzip();
                let mechanism = (netuid.0, 0);
                (netuid.0, Self::do_set_weights(&hotkey, mechanism, uids, values, version_key.0))
            })
            .collect();
        Self::announce_batch(hotkey, netuids, results);
        Ok(())
    }

    pub(super) fn announce_batch(
        hotkey: T::AccountId,
        netuids: Vec<Compact<NetUid>>,
        results: Vec<(NetUid, DispatchResult)>,
    ) {
        let failed =
            results.into_iter().filter_map(|(netuid, result)| Some((netuid, result.err()?)));
        for (at, (netuid, error)) in failed.enumerate() {
            if at == 0 {
                Self::deposit_event(Event::BatchCompletedWithErrors());
            }
            Self::deposit_event(Event::BatchWeightItemFailed(netuid, error));
        }
        Self::deposit_event(Event::BatchWeightsCompleted(netuids, hotkey));
    }

    /// Checks a row and stores it. On an error nothing was written.
    pub(super) fn store_weights(
        hotkey: &T::AccountId,
        (netuid, mecid): (NetUid, MechId),
        uids: Vec<Uid>,
        values: Vec<u16>,
        version_key: u64,
    ) -> DispatchResult {
        Self::check_subnet_takes_row(netuid, mecid, &uids, &values)?;
        let index = Self::storage_index(netuid, mecid);
        let uid = Self::check_caller(hotkey, netuid, index, version_key)?;
        Self::check_permit(netuid, uid, hotkey, &uids)?;
        Self::check_row(netuid, uid, &uids)?;

        let row: Vec<(u16, u16)> = uids.into_iter().zip(max_upscale(&values)).collect();
        Weights::<T>::insert(index, uid, row);
        if !CommitRevealWeightsEnabled::<T>::get(netuid) {
            Self::note_update(netuid, index, uid);
        }
        Self::deposit_event(Event::WeightsSet(index, uid));
        Ok(())
    }

    /// Writes that the uid was heard of in this block. A mechanism that was added later may have
    /// no list yet.
    pub(super) fn note_update(netuid: NetUid, index: NetUidStorageIndex, uid: Uid) {
        let block = Self::current_block();
        let neurons = usize::from(SubnetworkN::<T>::get(netuid));
        LastUpdate::<T>::mutate(index, |updates| {
            if updates.len() < neurons {
                updates.resize(neurons, 0);
            }
            if let Some(last) = updates.get_mut(usize::from(uid)) {
                *last = block;
            }
        });
    }

    /// Whether subnet and mechanism exist.
    pub(super) fn check_mechanism(netuid: NetUid, mecid: MechId) -> DispatchResult {
        ensure!(
            NetworksAdded::<T>::get(netuid) && mecid < MechanismCountCurrent::<T>::get(netuid),
            Error::<T>::MechanismDoesNotExist
        );
        Ok(())
    }

    fn check_subnet_takes_row(
        netuid: NetUid,
        mecid: MechId,
        uids: &[Uid],
        values: &[u16],
    ) -> DispatchResult {
        ensure!(netuid != ROOT_NETUID, Error::<T>::CanNotSetRootNetworkWeights);
        ensure!(uids.len() == values.len(), Error::<T>::WeightVecNotEqualSize);
        Self::check_mechanism(netuid, mecid)?;
        ensure!(
            uids.len() <= usize::from(SubnetworkN::<T>::get(netuid)),
            Error::<T>::UidsLengthExceedUidsInSubNet
        );
        Ok(())
    }

    fn check_caller(
        hotkey: &T::AccountId,
        netuid: NetUid,
        index: NetUidStorageIndex,
        version_key: u64,
    ) -> Result<Uid, DispatchError> {
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        ensure!(
            Self::has_stake_for_weights(netuid, hotkey),
            Error::<T>::NotEnoughStakeToSetWeights
        );
        ensure!(
            version_key >= WeightsVersionKey::<T>::get(netuid),
            Error::<T>::IncorrectWeightVersionKey
        );
        ensure!(
            CommitRevealWeightsEnabled::<T>::get(netuid)
                || Self::rate_limit_passed(netuid, index, uid, Self::current_block()),
            Error::<T>::SettingWeightsTooFast
        );
        Ok(uid)
    }

    /// A single weight on oneself needs no permit, and neither does the subnet's owner.
    fn check_permit(
        netuid: NetUid,
        uid: Uid,
        hotkey: &T::AccountId,
        uids: &[Uid],
    ) -> DispatchResult {
        let permits = ValidatorPermit::<T>::get(netuid);
        ensure!(
            is_self_weight(uid, uids)
                || Self::is_owner_hotkey(netuid, hotkey)
                || permits.get(usize::from(uid)).copied().unwrap_or(false),
            Error::<T>::NeuronNoValidatorPermit
        );
        Ok(())
    }

    fn check_row(netuid: NetUid, uid: Uid, uids: &[Uid]) -> DispatchResult {
        let distinct: BTreeSet<Uid> = uids.iter().copied().collect();
        ensure!(distinct.len() == uids.len(), Error::<T>::DuplicateUids);
        let neurons = SubnetworkN::<T>::get(netuid);
        ensure!(uids.iter().all(|uid| *uid < neurons), Error::<T>::UidVecContainInvalidOne);
        let length_min = neurons.min(MinAllowedWeights::<T>::get(netuid));
        ensure!(
            is_self_weight(uid, uids) || uids.len() >= usize::from(length_min),
            Error::<T>::WeightVecLengthIsLow
        );
        Ok(())
    }
}

fn is_self_weight(uid: Uid, uids: &[Uid]) -> bool {
    uids == [uid]
}
