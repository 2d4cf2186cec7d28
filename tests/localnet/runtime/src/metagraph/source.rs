//! One subnet mechanism's storage, as the columns want it.

use super::wire::{compact, text, SubnetIdentityV3, Text};
use crate::{
    commitments::CommitmentOf,
    subtensor::{
        self, AxonInfo, Axons, BlockAtRegistration, Keys, LastUpdate, MechId,
        MechanismCountCurrent, NetUid, NetUidStorageIndex, NetworksAdded, Owner,
        SubnetIdentitiesV3, SubnetworkN, TokenSymbol, TotalHotkeyAlpha, Uid, ValidatorPermit,
        GLOBAL_MAX_SUBNETS, ROOT_NETUID,
    },
    AccountId, Runtime,
};
use codec::{Compact, Encode};

type Subtensor = subtensor::Pallet<Runtime>;

/// Every subnet, in order.
pub(crate) fn netuids() -> Vec<NetUid> {
    let mut netuids: Vec<NetUid> = NetworksAdded::<Runtime>::iter()
        .filter_map(|(netuid, added)| added.then_some(netuid))
        .collect();
    // The map's own order is that of the little-endian key bytes.
    netuids.sort_unstable();
    netuids
}

/// Reads the columns of one mechanism of one subnet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// The subnet.
    pub(crate) netuid: NetUid,
    /// The key of what is kept per mechanism.
    pub(crate) index: NetUidStorageIndex,
    n: u16,
}

impl Source {
    /// `None` where there is no such subnet or mechanism.
    pub(crate) fn open(netuid: NetUid, mecid: MechId) -> Option<Self> {
        let exists = NetworksAdded::<Runtime>::get(netuid)
            && mecid < MechanismCountCurrent::<Runtime>::get(netuid);
        let index = u16::from(mecid).checked_mul(GLOBAL_MAX_SUBNETS)?.checked_add(netuid)?;
        exists.then(|| Self { netuid, index, n: SubnetworkN::<Runtime>::get(netuid) })
    }

    /// Neurons.
    pub(crate) fn n(&self) -> u16 {
        self.n
    }

    /// One entry per uid.
    pub(crate) fn each<T>(&self, entry: impl FnMut(Uid) -> T) -> Vec<T> {
        (0..self.n).map(entry).collect()
    }

    /// The hotkey at a uid.
    pub(crate) fn hotkey(&self, uid: Uid) -> AccountId {
        Keys::<Runtime>::get(self.netuid, uid)
    }

    /// The coldkey of the hotkey at a uid.
    pub(crate) fn coldkey(&self, uid: Uid) -> AccountId {
        Owner::<Runtime>::get(self.hotkey(uid))
    }

    /// What the neuron serves; all zeros where it serves nothing.
    pub(crate) fn axon(&self, uid: Uid) -> AxonInfo {
        Axons::<Runtime>::get(self.netuid, self.hotkey(uid)).unwrap_or_default()
    }

    /// The block in which each neuron registered.
    pub(crate) fn registered_at(&self) -> Vec<Compact<u64>> {
        self.each(|uid| Compact(BlockAtRegistration::<Runtime>::get(self.netuid, uid)))
    }

    /// The block of each neuron's last weights in this mechanism.
    pub(crate) fn last_updates(&self) -> Vec<Compact<u64>> {
        compact(LastUpdate::<Runtime>::get(self.index))
    }

    /// Each hotkey's alpha on this subnet, in rao.
    pub(crate) fn alpha_stakes(&self) -> Vec<Compact<u64>> {
        let alpha = |uid| TotalHotkeyAlpha::<Runtime>::get(self.hotkey(uid), self.netuid);
        self.each(|uid| Compact(alpha(uid)))
    }

    /// Each hotkey's stake on root, in rao and unweighted.
    pub(crate) fn root_stakes(&self) -> Vec<Compact<u64>> {
        let root = |uid| TotalHotkeyAlpha::<Runtime>::get(self.hotkey(uid), ROOT_NETUID);
        self.each(|uid| Compact(root(uid)))
    }

    /// What each hotkey counts for, in rao.
    pub(crate) fn stake_weights(&self) -> Vec<Compact<u64>> {
        self.each(|uid| Compact(Subtensor::stake_weight(self.netuid, &self.hotkey(uid))))
    }

    /// An amount per hotkey, in the order of the uids.
    pub(crate) fn per_hotkey(
        &self,
        amount: impl Fn(&AccountId) -> u64,
    ) -> Vec<(AccountId, Compact<u64>)> {
        self.each(|uid| {
            let hotkey = self.hotkey(uid);
            let amount = Compact(amount(&hotkey));
            (hotkey, amount)
        })
    }

    /// The uids that hold a permit and have the stake to use it.
    pub(crate) fn validators(&self) -> Vec<Compact<u16>> {
        let permits = ValidatorPermit::<Runtime>::get(self.netuid);
        let validates = |uid: &Uid| {
            permits.get(usize::from(*uid)).copied().unwrap_or(false)
                && Subtensor::has_stake_for_weights(self.netuid, &self.hotkey(*uid))
        };
        (0..self.n).filter(validates).map(Compact).collect()
    }

    /// Every commitment of the subnet as the SCALE bytes of its `Registration`, also of hotkeys
    /// that are no longer registered.
    pub(crate) fn commitments(&self) -> Vec<(AccountId, Text)> {
        let entries = CommitmentOf::<Runtime>::iter_prefix(self.netuid);
        entries.map(|(hotkey, registration)| (hotkey, text(&registration.encode()))).collect()
    }

    /// What the owner says about the subnet.
    pub(crate) fn identity(&self) -> Option<SubnetIdentityV3> {
        SubnetIdentitiesV3::<Runtime>::get(self.netuid)
    }

    /// The name its owner gave it.
    pub(crate) fn name(&self) -> Text {
        self.identity().map_or_else(|| text(b"localnet"), |identity| text(&identity.subnet_name))
    }

    /// The symbol of the subnet's alpha.
    pub(crate) fn symbol(&self) -> Text {
        text(&TokenSymbol::<Runtime>::get(self.netuid))
    }

    /// Alpha that the next epoch will hand out as of now, in rao.
    pub(crate) fn pending_emission(&self) -> u64 {
        Subtensor::pending_emission(self.netuid)
    }

    /// Alpha that hotkeys hold on this subnet, in rao.
    pub(crate) fn alpha_out(&self) -> u64 {
        self.alpha_stakes().into_iter().fold(0, |sum, alpha| sum.saturating_add(alpha.0))
    }
}
