//! Changes of a subnet's neurons, as code that runs on the chain's state: see [`super::alter`].

use node_subtensor_runtime::{
    subtensor::{
        Active, Axons, BlockAtRegistration, Bonds, CommitRevealWeightsEnabled, Consensus,
        Dividends, Emission, Incentive, IsNetworkMember, Keys, LastUpdate, MechanismCountCurrent,
        NetUid, NetUidStorageIndex, NeuronCertificates, Owner, StakeWeight, SubnetworkN,
        TotalHotkeyAlpha, Uid, Uids, ValidatorPermit, ValidatorTrust, Weights, GLOBAL_MAX_SUBNETS,
    },
    AccountId, Runtime, System,
};

/// Hands a uid to another hotkey, as a registration into a full subnet does: the last owner is
/// out, and what it had under this uid is forgotten.
///
/// A uid or subnet that does not exist stays away.
pub fn replace(netuid: NetUid, uid: Uid, hotkey: &AccountId, coldkey: &AccountId) {
    if uid >= SubnetworkN::<Runtime>::get(netuid) {
        return;
    }
    let block = next_block();
    forget_member(netuid, &Keys::<Runtime>::get(netuid, uid));
    let at = usize::from(uid);
    Active::<Runtime>::mutate(netuid, |list| set(list, at, true));
    ValidatorPermit::<Runtime>::mutate(netuid, |list| set(list, at, false));
    ValidatorTrust::<Runtime>::mutate(netuid, |list| set(list, at, 0));
    Consensus::<Runtime>::mutate(netuid, |list| set(list, at, 0));
    Dividends::<Runtime>::mutate(netuid, |list| set(list, at, 0));
    StakeWeight::<Runtime>::mutate(netuid, |list| set(list, at, 0));
    Emission::<Runtime>::mutate(netuid, |list| set(list, at, 0));
    for index in indices(netuid) {
        Incentive::<Runtime>::mutate(index, |list| set(list, at, 0));
        LastUpdate::<Runtime>::mutate(index, |list| set(list, at, block));
        Weights::<Runtime>::remove(index, uid);
        Bonds::<Runtime>::remove(index, uid);
    }
    Owner::<Runtime>::insert(hotkey, coldkey);
    seat(netuid, uid, hotkey);
    BlockAtRegistration::<Runtime>::insert(netuid, uid, block);
}

/// Takes neurons out of a subnet and gives the others new uids without gaps, in their order.
pub fn trim(netuid: NetUid, gone: &[Uid]) {
    let before = SubnetworkN::<Runtime>::get(netuid);
    let kept: Vec<Uid> = (0..before).filter(|uid| !gone.contains(uid)).collect();
    let neurons: Vec<(AccountId, u64)> = kept
        .iter()
        .map(|uid| {
            let registered = BlockAtRegistration::<Runtime>::get(netuid, uid);
            (Keys::<Runtime>::get(netuid, uid), registered)
        })
        .collect();
    for uid in 0..before {
        let hotkey = Keys::<Runtime>::take(netuid, uid);
        BlockAtRegistration::<Runtime>::remove(netuid, uid);
        if gone.contains(&uid) {
            forget_member(netuid, &hotkey);
        }
    }
    for (uid, (hotkey, registered)) in (0..).zip(&neurons) {
        seat(netuid, uid, hotkey);
        BlockAtRegistration::<Runtime>::insert(netuid, uid, registered);
    }
    SubnetworkN::<Runtime>::insert(netuid, Uid::try_from(kept.len()).unwrap_or(before));
    trim_lists(netuid, &kept);
    for index in indices(netuid) {
        trim_rows(index, before, &kept);
    }
}

fn trim_lists(netuid: NetUid, kept: &[Uid]) {
    Active::<Runtime>::mutate(netuid, |list| keep(list, kept));
    ValidatorPermit::<Runtime>::mutate(netuid, |list| keep(list, kept));
    ValidatorTrust::<Runtime>::mutate(netuid, |list| keep(list, kept));
    Consensus::<Runtime>::mutate(netuid, |list| keep(list, kept));
    Dividends::<Runtime>::mutate(netuid, |list| keep(list, kept));
    StakeWeight::<Runtime>::mutate(netuid, |list| keep(list, kept));
    Emission::<Runtime>::mutate(netuid, |list| keep(list, kept));
    for index in indices(netuid) {
        Incentive::<Runtime>::mutate(index, |list| keep(list, kept));
        LastUpdate::<Runtime>::mutate(index, |list| keep(list, kept));
    }
}

fn trim_rows(index: NetUidStorageIndex, before: Uid, kept: &[Uid]) {
    type Row = Vec<(Uid, u16)>;
    let renumbered = |row: Row| -> Row {
        let new_uid = |uid: Uid| (0..).zip(kept).find(|(_, old)| **old == uid).map(|(new, _)| new);
        row.into_iter().filter_map(|(uid, value)| Some((new_uid(uid)?, value))).collect()
    };
    let take = |uid: Uid| -> (Row, Row) {
        (Weights::<Runtime>::take(index, uid), Bonds::<Runtime>::take(index, uid))
    };
    let rows: Vec<(Row, Row)> = (0..before).map(take).collect();
    for (new, old) in (0..).zip(kept) {
        let Some((weights, bonds)) = rows.get(usize::from(*old)) else { continue };
        let rows = (renumbered(weights.clone()), renumbered(bonds.clone()));
        if !rows.0.is_empty() {
            Weights::<Runtime>::insert(index, new, rows.0);
        }
        if !rows.1.is_empty() {
            Bonds::<Runtime>::insert(index, new, rows.1);
        }
    }
}

/// Sets the stake of a hotkey in a subnet, in rao. An epoch makes stake weight and permit of it.
pub fn set_stake(netuid: NetUid, hotkey: &AccountId, rao: u64) {
    TotalHotkeyAlpha::<Runtime>::insert(hotkey, netuid, rao);
}

/// Gives or takes a validator permit. The next epoch decides anew.
pub fn set_permit(netuid: NetUid, uid: Uid, permit: bool) {
    ValidatorPermit::<Runtime>::mutate(netuid, |list| set(list, usize::from(uid), permit));
}

/// Whether weights are concealed.
pub fn set_commit_reveal(netuid: NetUid, on: bool) {
    CommitRevealWeightsEnabled::<Runtime>::insert(netuid, on);
}

fn forget_member(netuid: NetUid, hotkey: &AccountId) {
    Uids::<Runtime>::remove(netuid, hotkey);
    IsNetworkMember::<Runtime>::remove(hotkey, netuid);
    Axons::<Runtime>::remove(netuid, hotkey);
    NeuronCertificates::<Runtime>::remove(netuid, hotkey);
}

fn seat(netuid: NetUid, uid: Uid, hotkey: &AccountId) {
    Keys::<Runtime>::insert(netuid, uid, hotkey);
    Uids::<Runtime>::insert(netuid, hotkey, uid);
    IsNetworkMember::<Runtime>::insert(hotkey, netuid, true);
}

fn indices(netuid: NetUid) -> Vec<NetUidStorageIndex> {
    let mechanisms = 0..MechanismCountCurrent::<Runtime>::get(netuid);
    mechanisms.map(|mecid| u16::from(mecid) * GLOBAL_MAX_SUBNETS + netuid).collect()
}

/// The block in which the change will be made.
fn next_block() -> u64 {
    u64::from(System::block_number()) + 1
}

fn set<V>(list: &mut [V], at: usize, value: V) {
    if let Some(slot) = list.get_mut(at) {
        *slot = value;
    }
}

fn keep<V: Clone>(list: &mut Vec<V>, kept: &[Uid]) {
    *list = kept.iter().filter_map(|uid| list.get(usize::from(*uid)).cloned()).collect();
}
