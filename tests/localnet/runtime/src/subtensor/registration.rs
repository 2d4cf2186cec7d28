//! `burned_register`: taking a uid, and who loses theirs when the subnet is full.

use super::{
    Active, Axons, BlockAtRegistration, Bonds, Burn, Config, Consensus, Dividends, Emission, Error,
    Event, ImmunityPeriod, Incentive, IsNetworkMember, Keys, LastUpdate, MaxAllowedUids,
    MechanismCountCurrent, NetUid, NetUidStorageIndex, NetworksAdded, NeuronCertificates, Owner,
    Pallet, StakeWeight, SubnetworkN, Uid, Uids, ValidatorPermit, ValidatorTrust, Weights,
    ROOT_NETUID,
};
use crate::zero_account;
use frame_support::{
    ensure,
    traits::{
        fungible::{Inspect, Mutate},
        tokens::{Fortitude, Precision, Preservation},
    },
};
use sp_runtime::DispatchResult;

impl<T: Config> Pallet<T> {
    pub(super) fn do_burned_register(
        coldkey: T::AccountId,
        netuid: NetUid,
        hotkey: T::AccountId,
    ) -> DispatchResult {
        ensure!(netuid != ROOT_NETUID, Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(
            !Uids::<T>::contains_key(netuid, &hotkey),
            Error::<T>::HotKeyAlreadyRegisteredInSubNet
        );
        let owner = Owner::<T>::get(&hotkey);
        ensure!(owner == zero_account() || owner == coldkey, Error::<T>::NonAssociatedColdKey);
        Self::burn_price(&coldkey, Burn::<T>::get(netuid))?;

        Owner::<T>::insert(&hotkey, &coldkey);
        let block = Self::current_block();
        let uid = if SubnetworkN::<T>::get(netuid) < MaxAllowedUids::<T>::get(netuid) {
            Self::append_neuron(netuid, &hotkey, block)
        } else {
            let uid = Self::prune_candidate(netuid, block);
            Self::replace_neuron(netuid, uid, &hotkey, block);
            uid
        };
        Self::deposit_event(Event::NeuronRegistered(netuid, uid, hotkey));
        Ok(())
    }

    fn burn_price(coldkey: &T::AccountId, price: u64) -> DispatchResult {
        let spendable =
            T::Currency::reducible_balance(coldkey, Preservation::Preserve, Fortitude::Polite);
        ensure!(spendable >= price, Error::<T>::NotEnoughBalanceToStake);
        T::Currency::burn_from(
            coldkey,
            price,
            Preservation::Preserve,
            Precision::Exact,
            Fortitude::Polite,
        )?;
        Ok(())
    }

    /// The storage indices of a subnet's mechanisms.
    pub(super) fn indices(netuid: NetUid) -> Vec<NetUidStorageIndex> {
        (0..MechanismCountCurrent::<T>::get(netuid))
            .map(|mecid| Self::storage_index(netuid, mecid))
            .collect()
    }

    /// Gives the next free uid to a hotkey and lengthens every list by uid.
    pub(super) fn append_neuron(netuid: NetUid, hotkey: &T::AccountId, block: u64) -> Uid {
        let uid = SubnetworkN::<T>::get(netuid);
        SubnetworkN::<T>::insert(netuid, uid + 1);
        Active::<T>::append(netuid, true);
        ValidatorPermit::<T>::append(netuid, false);
        ValidatorTrust::<T>::append(netuid, 0_u16);
        Consensus::<T>::append(netuid, 0_u16);
        Dividends::<T>::append(netuid, 0_u16);
        StakeWeight::<T>::append(netuid, 0_u16);
        Emission::<T>::append(netuid, 0_u64);
        for index in Self::indices(netuid) {
            Incentive::<T>::append(index, 0_u16);
            LastUpdate::<T>::append(index, block);
        }
        Self::seat(netuid, uid, hotkey, block);
        uid
    }

    fn seat(netuid: NetUid, uid: Uid, hotkey: &T::AccountId, block: u64) {
        Keys::<T>::insert(netuid, uid, hotkey);
        Uids::<T>::insert(netuid, hotkey, uid);
        IsNetworkMember::<T>::insert(hotkey, netuid, true);
        BlockAtRegistration::<T>::insert(netuid, uid, block);
    }

    /// Who goes: the non-immune first, then the lowest emission, then the oldest registration,
    /// then the lowest uid. The owner's hotkey stays.
    fn prune_candidate(netuid: NetUid, block: u64) -> Uid {
        let immunity = u64::from(ImmunityPeriod::<T>::get(netuid));
        let emissions = Emission::<T>::get(netuid);
        let rank = |uid: &Uid| {
            let registered = BlockAtRegistration::<T>::get(netuid, uid);
            let immune = block.saturating_sub(registered) < immunity;
            let emission = emissions.get(usize::from(*uid)).copied().unwrap_or(0);
            (immune, emission, registered, *uid)
        };
        Self::uids(netuid)
            .filter(|uid| !Self::is_owner_hotkey(netuid, &Keys::<T>::get(netuid, uid)))
            .min_by_key(rank)
            .unwrap_or(0)
    }

    /// Hands a uid to another hotkey and forgets what its last owner had.
    fn replace_neuron(netuid: NetUid, uid: Uid, hotkey: &T::AccountId, block: u64) {
        let leaving = Keys::<T>::get(netuid, uid);
        Uids::<T>::remove(netuid, &leaving);
        IsNetworkMember::<T>::remove(&leaving, netuid);
        Axons::<T>::remove(netuid, &leaving);
        NeuronCertificates::<T>::remove(netuid, &leaving);
        let at = usize::from(uid);
        Active::<T>::mutate(netuid, |list| set(list, at, true));
        ValidatorPermit::<T>::mutate(netuid, |list| set(list, at, false));
        ValidatorTrust::<T>::mutate(netuid, |list| set(list, at, 0));
        Consensus::<T>::mutate(netuid, |list| set(list, at, 0));
        Dividends::<T>::mutate(netuid, |list| set(list, at, 0));
        StakeWeight::<T>::mutate(netuid, |list| set(list, at, 0));
        Emission::<T>::mutate(netuid, |list| set(list, at, 0));
        for index in Self::indices(netuid) {
            Incentive::<T>::mutate(index, |list| set(list, at, 0));
            LastUpdate::<T>::mutate(index, |list| set(list, at, block));
            Weights::<T>::remove(index, uid);
            Bonds::<T>::remove(index, uid);
            Self::zero_weights_on(netuid, index, uid);
        }
        Self::seat(netuid, uid, hotkey, block);
    }

    fn zero_weights_on(netuid: NetUid, index: NetUidStorageIndex, target: Uid) {
        for uid in Self::uids(netuid) {
            let mut row = Weights::<T>::get(index, uid);
            let mut changed = false;
            for (dest, value) in &mut row {
                if *dest == target && *value != 0 {
                    *value = 0;
                    changed = true;
                }
            }
            if changed {
                Weights::<T>::insert(index, uid, row);
            }
        }
    }
}

fn set<V>(list: &mut [V], at: usize, value: V) {
    if let Some(slot) = list.get_mut(at) {
        *slot = value;
    }
}
