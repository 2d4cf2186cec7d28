//! Who stands behind whom. Here every hotkey's alpha belongs to its own coldkey: there are no
//! calls to stake with, so nobody nominates anybody.

use super::source::netuids;
use crate::{
    subtensor::{Delegates, Emission, NetUid, Owner, TotalHotkeyAlpha, Uids, ValidatorPermit},
    AccountId, Runtime,
};
use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A subnet, and alpha on it in rao.
pub type StakeOn = (Compact<u16>, Compact<u64>);

/// A coldkey's stake behind a hotkey on a subnet.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
pub struct StakeInfo {
    /// Whom it stands behind.
    pub hotkey: AccountId,
    /// Whose it is.
    pub coldkey: AccountId,
    /// Where.
    pub netuid: Compact<u16>,
    /// Alpha, in rao.
    pub stake: Compact<u64>,
    /// Alpha that cannot be moved; 0.
    pub locked: Compact<u64>,
    /// What the hotkey earned there in the last epoch, in rao.
    pub emission: Compact<u64>,
    /// Always 0, as on the real chain.
    pub tao_emission: Compact<u64>,
    /// Always 0, as on the real chain.
    pub drain: Compact<u64>,
    /// Whether the hotkey has a uid there.
    pub is_registered: bool,
}

/// A hotkey that others may stand behind.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
pub struct DelegateInfo {
    /// The hotkey.
    pub delegate_ss58: AccountId,
    /// Its share of what its nominators earn, of 65535.
    pub take: Compact<u16>,
    /// Who stands behind it, and with how much on which subnet.
    pub nominators: Vec<(AccountId, Vec<StakeOn>)>,
    /// Its coldkey.
    pub owner_ss58: AccountId,
    /// Where it has a uid.
    pub registrations: Vec<Compact<u16>>,
    /// Where it holds a permit.
    pub validator_permits: Vec<Compact<u16>>,
    /// What 1000 TAO behind it earn in a day; 0, there is no market to tell from.
    pub return_per_1000: Compact<u64>,
    /// What all behind it earn in a day; 0.
    pub total_daily_return: Compact<u64>,
}

/// A hotkey's place on a subnet.
fn on(netuid: NetUid, hotkey: &AccountId) -> Option<usize> {
    Uids::<Runtime>::get(netuid, hotkey).map(usize::from)
}

/// Where stake can be: root, and every subnet.
fn places() -> Vec<NetUid> {
    let mut places = netuids();
    if places.first() != Some(&crate::subtensor::ROOT_NETUID) {
        places.insert(0, crate::subtensor::ROOT_NETUID);
    }
    places
}

impl StakeInfo {
    /// The stake of `coldkey` behind `hotkey` on `netuid`.
    pub(crate) fn read(hotkey: &AccountId, coldkey: &AccountId, netuid: NetUid) -> Self {
        let owned = Owner::<Runtime>::get(hotkey) == *coldkey;
        let stake = if owned { TotalHotkeyAlpha::<Runtime>::get(hotkey, netuid) } else { 0 };
        let uid = on(netuid, hotkey);
        let earned = uid.and_then(|uid| Emission::<Runtime>::get(netuid).get(uid).copied());
        Self {
            hotkey: hotkey.clone(),
            coldkey: coldkey.clone(),
            netuid: Compact(netuid),
            stake: Compact(stake),
            locked: Compact(0),
            emission: Compact(earned.unwrap_or(0)),
            tao_emission: Compact(0),
            drain: Compact(0),
            is_registered: uid.is_some(),
        }
    }

    /// Everything a coldkey has at stake, by hotkey and subnet.
    pub(crate) fn read_all(coldkey: &AccountId) -> Vec<Self> {
        let places = places();
        let mut hotkeys: Vec<AccountId> = Owner::<Runtime>::iter()
            .filter_map(|(hotkey, owner)| (owner == *coldkey).then_some(hotkey))
            .collect();
        hotkeys.sort_unstable();
        let of = |hotkey: &AccountId| {
            let read = |netuid: &NetUid| Self::read(hotkey, coldkey, *netuid);
            places.iter().map(read).filter(|info| info.stake.0 > 0).collect::<Vec<_>>()
        };
        hotkeys.iter().flat_map(of).collect()
    }
}

impl DelegateInfo {
    /// One hotkey; `None` where nobody owns it.
    pub(crate) fn read(hotkey: &AccountId) -> Option<Self> {
        let owner = Owner::<Runtime>::try_get(hotkey).ok()?;
        let registrations: Vec<NetUid> =
            netuids().into_iter().filter(|netuid| on(*netuid, hotkey).is_some()).collect();
        let permitted = |netuid: &NetUid| {
            let permits = ValidatorPermit::<Runtime>::get(*netuid);
            on(*netuid, hotkey).and_then(|uid| permits.get(uid).copied()).unwrap_or(false)
        };
        let permits = registrations.iter().copied().filter(permitted).map(Compact).collect();
        Some(Self {
            delegate_ss58: hotkey.clone(),
            take: Compact(Delegates::<Runtime>::get(hotkey)),
            nominators: vec![(owner.clone(), Self::stakes(hotkey))],
            owner_ss58: owner,
            registrations: registrations.into_iter().map(Compact).collect(),
            validator_permits: permits,
            return_per_1000: Compact(0),
            total_daily_return: Compact(0),
        })
    }

    /// Every hotkey that has stake.
    pub(crate) fn read_all() -> Vec<Self> {
        let mut hotkeys: Vec<AccountId> = Owner::<Runtime>::iter_keys().collect();
        hotkeys.sort_unstable();
        let staked = |hotkey: &AccountId| !Self::stakes(hotkey).is_empty();
        hotkeys.iter().filter(|hotkey| staked(hotkey)).filter_map(Self::read).collect()
    }

    /// The hotkeys a coldkey stands behind, each with where and with how much.
    pub(crate) fn read_of(coldkey: &AccountId) -> Vec<(Self, StakeOn)> {
        let with =
            |stake: StakeInfo| Some((Self::read(&stake.hotkey)?, (stake.netuid, stake.stake)));
        StakeInfo::read_all(coldkey).into_iter().filter_map(with).collect()
    }

    fn stakes(hotkey: &AccountId) -> Vec<StakeOn> {
        let alpha = |netuid: NetUid| (netuid, TotalHotkeyAlpha::<Runtime>::get(hotkey, netuid));
        let above_zero = places().into_iter().map(alpha).filter(|(_, alpha)| *alpha > 0);
        above_zero.map(|(netuid, alpha)| (Compact(netuid), Compact(alpha))).collect()
    }
}
