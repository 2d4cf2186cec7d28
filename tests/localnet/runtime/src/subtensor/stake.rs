//! Stake weight: what a hotkey counts for in a subnet.

use super::{
    Config, NetUid, Pallet, StakeThreshold, SubnetOwnerHotkey, TaoWeight, TotalHotkeyAlpha, Uid,
    ROOT_NETUID,
};
use crate::zero_account;

impl<T: Config> Pallet<T> {
    /// Stake weight of a hotkey: its alpha on the subnet and its root stake times `TaoWeight`.
    ///
    /// Child and parent keys do not exist here, so nothing is inherited.
    pub fn stake_weight(netuid: NetUid, hotkey: &T::AccountId) -> u64 {
        let alpha = TotalHotkeyAlpha::<T>::get(hotkey, netuid);
        let root = u128::from(TotalHotkeyAlpha::<T>::get(hotkey, ROOT_NETUID));
        let tao_share = (root * u128::from(TaoWeight::<T>::get())) >> 64;
        alpha.saturating_add(u64::try_from(tao_share).unwrap_or(u64::MAX))
    }

    /// Whether the hotkey's stake allows it to set weights. The subnet's owner is exempt.
    pub fn has_stake_for_weights(netuid: NetUid, hotkey: &T::AccountId) -> bool {
        Self::is_owner_hotkey(netuid, hotkey)
            || Self::stake_weight(netuid, hotkey) >= StakeThreshold::<T>::get()
    }

    /// Whether this is the hotkey of the subnet's owner.
    pub fn is_owner_hotkey(netuid: NetUid, hotkey: &T::AccountId) -> bool {
        let owner = SubnetOwnerHotkey::<T>::get(netuid);
        owner != zero_account() && owner == *hotkey
    }

    /// The uids that get a permit: the `limit` highest non-zero stakes, and the owner's uid.
    ///
    /// - `stakes`: stake weight by uid, already zero where it is below the threshold.
    /// - Result: one flag per uid. Equal stakes: the lower uid comes first.
    pub(super) fn permits_by_stake(
        stakes: &[u64],
        limit: usize,
        owner_uid: Option<Uid>,
    ) -> Vec<bool> {
        let mut order: Vec<usize> = (0..stakes.len()).filter(|uid| stakes[*uid] > 0).collect();
        order.sort_by_key(|uid| (std::cmp::Reverse(stakes[*uid]), *uid));
        let mut permits = vec![false; stakes.len()];
        for uid in order.into_iter().take(limit) {
            permits[uid] = true;
        }
        if let Some(permit) = owner_uid.and_then(|uid| permits.get_mut(usize::from(uid))) {
            *permit = true;
        }
        permits
    }
}
