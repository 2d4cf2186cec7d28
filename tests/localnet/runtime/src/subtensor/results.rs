//! What an epoch computes from the subnet's records, and what it writes and pays.
//!
//! Consensus itself is `yuma`, a function from values to values; this file reads what it needs and
//! stores what it says. Mechanisms are run one by one. Each has its own weights, bonds, times of
//! update and incentives; the rest is their sum by the shares of `MechanismEmissionSplit`.
//!
//! The epoch's alpha is `SubnetAlphaOutEmission` for every block since the last one. The owner's
//! cut comes off first, miners and validators halve the rest, and everybody's is added to their
//! hotkey's stake. What the owner's own hotkeys earn as miners is burned.

use super::{
    yuma::{self, Inputs, Outcome, Pay, Pot, Share},
    Active, ActivityCutoffFactorMilli, AlphaDividendsPerSubnet, BlockAtRegistration, Bonds,
    BondsMovingAverage, BondsPenalty, CommitRevealWeightsEnabled, Config, Consensus, Dividends,
    Emission, Incentive, Kappa, Keys, LastUpdate, MaxAllowedValidators, MechanismCountCurrent,
    MechanismEmissionSplit, NetUid, NetUidStorageIndex, Owner, Pallet, StakeThreshold, StakeWeight,
    SubnetAlphaOutEmission, SubnetOwner, SubnetOwnerCut, SubnetOwnerHotkey, Tempo,
    TimelockedWeightCommits, TotalHotkeyAlpha, Uid, Uids, ValidatorPermit, ValidatorTrust,
    WeightCommits, Weights,
};
use crate::zero_account;

/// What the mechanisms' epochs come to together, by uid.
#[derive(Default)]
struct Sums {
    active: Vec<bool>,
    consensus: Vec<Share>,
    validator_trust: Vec<Share>,
    dividends: Vec<Share>,
    pay: Pay,
}

impl Sums {
    fn new(n: usize) -> Self {
        Self {
            active: vec![false; n],
            consensus: vec![Share::ZERO; n],
            validator_trust: vec![Share::ZERO; n],
            dividends: vec![Share::ZERO; n],
            pay: Pay { incentive: vec![0; n], dividends: vec![0; n] },
        }
    }

    fn add(&mut self, share: Share, active: &[bool], outcome: &Outcome, pay: &Pay) {
        for (sum, active) in self.active.iter_mut().zip(active) {
            *sum |= active;
        }
        add_share(&mut self.consensus, &outcome.consensus, share);
        add_share(&mut self.validator_trust, &outcome.validator_trust, share);
        add_share(&mut self.dividends, &outcome.dividends, share);
        add_pay(&mut self.pay.incentive, &pay.incentive);
        add_pay(&mut self.pay.dividends, &pay.dividends);
    }
}

fn add_share(sums: &mut [Share], values: &[Share], share: Share) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = sum.plus(value.times(share));
    }
}

fn add_pay(sums: &mut [u64], values: &[u64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = sum.saturating_add(*value);
    }
}

fn in_u16(shares: &[Share]) -> Vec<u16> {
    shares.iter().map(|share| share.to_u16()).collect()
}

impl<T: Config> Pallet<T> {
    /// Alpha that an epoch in `block` hands out, in rao.
    ///
    /// - `last`: the block of the epoch before.
    pub(crate) fn emission_since(netuid: NetUid, last: u64, block: u64) -> u64 {
        SubnetAlphaOutEmission::<T>::get(netuid).saturating_mul(block.saturating_sub(last))
    }

    /// Runs the epoch of `block`, the one before having run in `last`.
    pub(super) fn write_epoch(netuid: NetUid, block: u64, last: u64) {
        let stakes = Self::counted_stakes(netuid);
        let owner_uid = Self::owner_uid(netuid);
        let limit = usize::from(MaxAllowedValidators::<T>::get(netuid));
        let permits = Self::permits_by_stake(&stakes, limit, owner_uid);

        let alpha = Self::emission_since(netuid, last, block);
        let owner_cut = Share::of_u16(SubnetOwnerCut::<T>::get()).of(alpha);
        let mut sums = Sums::new(stakes.len());
        for (mecid, share, amount) in Self::split(netuid, alpha - owner_cut) {
            let index = Self::storage_index(netuid, mecid);
            let inputs = Self::inputs(netuid, index, &stakes, (block, last));
            let outcome = yuma::run(&inputs);
            Incentive::<T>::insert(index, in_u16(&outcome.incentive));
            Self::store_bonds(index, &inputs.permits, &permits, &outcome.bonds);
            let pay = Pot::halved(amount).divide(&outcome);
            sums.add(share, &inputs.active, &outcome, &pay);
        }
        ValidatorPermit::<T>::insert(netuid, permits);
        StakeWeight::<T>::insert(netuid, proportions(&stakes));
        Active::<T>::insert(netuid, sums.active);
        Consensus::<T>::insert(netuid, in_u16(&sums.consensus));
        ValidatorTrust::<T>::insert(netuid, in_u16(&sums.validator_trust));
        Dividends::<T>::insert(netuid, in_u16(&sums.dividends));
        Self::pay(netuid, owner_cut, &sums.pay);
    }

    /// Each mechanism with its share of the emission, and that share of `amount`. What rounding
    /// leaves over goes to the first.
    fn split(netuid: NetUid, amount: u64) -> Vec<(u8, Share, u64)> {
        let count = MechanismCountCurrent::<T>::get(netuid).max(1);
        let parts: Vec<u16> = match MechanismEmissionSplit::<T>::get(netuid) {
            Some(parts) if parts.iter().any(|part| *part > 0) => parts,
            _ => vec![1; usize::from(count)],
        };
        let part = |mecid: u8| u128::from(parts.get(usize::from(mecid)).copied().unwrap_or(0));
        let whole: u128 = (0..count).map(part).sum();
        let mut split: Vec<(u8, Share, u64)> = (0..count)
            .map(|mecid| Share::ratio(part(mecid), whole))
            .zip(0..)
            .map(|(share, mecid)| (mecid, share, share.of(amount)))
            .collect();
        let given: u64 = split.iter().map(|(_, _, amount)| *amount).sum();
        if let Some((_, _, first)) = split.first_mut() {
            *first += amount.saturating_sub(given);
        }
        split
    }

    fn inputs(
        netuid: NetUid,
        index: NetUidStorageIndex,
        stakes: &[u64],
        (block, last): (u64, u64),
    ) -> Inputs {
        let n = stakes.len();
        let cutoff = Self::activity_cutoff(netuid);
        let last_update = resized(LastUpdate::<T>::get(index), n);
        let active = last_update.iter().map(|update| update.saturating_add(cutoff) >= block);
        Inputs {
            stakes: stakes.to_vec(),
            permits: resized(ValidatorPermit::<T>::get(netuid), n),
            active: active.collect(),
            registered_at: Self::uids(netuid)
                .map(|uid| BlockAtRegistration::<T>::get(netuid, uid))
                .collect(),
            first_commits: Self::first_commits(netuid, index, n),
            weights: Self::uids(netuid).map(|uid| Weights::<T>::get(index, uid)).collect(),
            bonds: Self::uids(netuid).map(|uid| Bonds::<T>::get(index, uid)).collect(),
            owner_uid: Self::owner_uid(netuid),
            kappa: Kappa::<T>::get(netuid),
            bonds_penalty: BondsPenalty::<T>::get(netuid),
            bonds_moving_average: BondsMovingAverage::<T>::get(netuid),
            bonds_cutoff: last.saturating_add(1),
            last_update,
        }
    }

    /// By uid, the block of the earliest commit that can still be revealed. None while
    /// commit-reveal is off.
    fn first_commits(netuid: NetUid, index: NetUidStorageIndex, n: usize) -> Vec<Option<u64>> {
        let mut first = vec![None; n];
        if !CommitRevealWeightsEnabled::<T>::get(netuid) {
            return first;
        }
        let mut note = |hotkey: &T::AccountId, block: u64| {
            let uid = Uids::<T>::get(netuid, hotkey).map(usize::from);
            if let Some(earliest) = uid.and_then(|uid| first.get_mut(uid)) {
                *earliest = Some(earliest.map_or(block, |known: u64| known.min(block)));
            }
        };
        for (hotkey, mut commits) in WeightCommits::<T>::iter_prefix(index) {
            Self::take_expired(netuid, &mut commits);
            commits.iter().for_each(|(_, _, block, _)| note(&hotkey, *block));
        }
        // What is past its epoch is gone from these: the reveal in front of the epoch removes it.
        for (_, queue) in TimelockedWeightCommits::<T>::iter_prefix(index) {
            queue.iter().for_each(|(hotkey, block, ..)| note(hotkey, *block));
        }
        first
    }

    /// Stores the rows of those who keep or get a permit; a row goes with its permit.
    fn store_bonds(
        index: NetUidStorageIndex,
        before: &[bool],
        after: &[bool],
        bonds: &[Vec<(u16, u16)>],
    ) {
        for (uid, ((had, has), row)) in (0..).zip(before.iter().zip(after).zip(bonds)) {
            if *has && !row.is_empty() {
                Bonds::<T>::insert(index, uid, row);
            } else if *has || *had {
                Bonds::<T>::remove(index, uid);
            }
        }
    }

    fn pay(netuid: NetUid, owner_cut: u64, pay: &Pay) {
        // A bounded number per subnet: one per hotkey that earned in the epoch before.
        let previous: Vec<T::AccountId> =
            AlphaDividendsPerSubnet::<T>::iter_key_prefix(netuid).collect();
        for hotkey in previous {
            AlphaDividendsPerSubnet::<T>::remove(netuid, hotkey);
        }
        let owner = SubnetOwner::<T>::get(netuid);
        let mut emission = pay.incentive.clone();
        add_pay(&mut emission, &pay.dividends);
        for (uid, (incentive, dividends)) in (0..).zip(pay.incentive.iter().zip(&pay.dividends)) {
            let hotkey = Keys::<T>::get(netuid, uid);
            let burns = owner != zero_account() && Owner::<T>::get(&hotkey) == owner;
            if *dividends > 0 {
                AlphaDividendsPerSubnet::<T>::insert(netuid, &hotkey, dividends);
            }
            let kept = if burns { 0 } else { *incentive };
            Self::credit(netuid, &hotkey, dividends.saturating_add(kept));
        }
        Emission::<T>::insert(netuid, emission);
        let owner_hotkey = SubnetOwnerHotkey::<T>::get(netuid);
        if owner_hotkey != zero_account() {
            Self::credit(netuid, &owner_hotkey, owner_cut);
        }
    }

    fn credit(netuid: NetUid, hotkey: &T::AccountId, alpha: u64) {
        if alpha > 0 {
            TotalHotkeyAlpha::<T>::mutate(hotkey, netuid, |stake| {
                *stake = stake.saturating_add(alpha);
            });
        }
    }

    /// Stake weight by uid, zero where it is below the threshold (the owner's is kept).
    fn counted_stakes(netuid: NetUid) -> Vec<u64> {
        let threshold = StakeThreshold::<T>::get();
        let count = |uid| {
            let hotkey = Keys::<T>::get(netuid, uid);
            let stake = Self::stake_weight(netuid, &hotkey);
            let counts = stake >= threshold || Self::is_owner_hotkey(netuid, &hotkey);
            if counts {
                stake
            } else {
                0
            }
        };
        Self::uids(netuid).map(count).collect()
    }

    fn owner_uid(netuid: NetUid) -> Option<Uid> {
        Self::uids(netuid).find(|uid| Self::is_owner_hotkey(netuid, &Keys::<T>::get(netuid, *uid)))
    }

    /// Blocks without weights after which a validator is inactive.
    pub(crate) fn activity_cutoff(netuid: NetUid) -> u64 {
        let factor = u64::from(ActivityCutoffFactorMilli::<T>::get(netuid));
        (factor * u64::from(Tempo::<T>::get(netuid)) / 1000).max(1)
    }
}

/// A list by uid with an entry for each of `n` neurons.
fn resized<V: Clone + Default>(mut list: Vec<V>, n: usize) -> Vec<V> {
    list.resize(n, V::default());
    list
}

/// Each stake as a share of the sum, in units of 1/65535, rounded down.
fn proportions(stakes: &[u64]) -> Vec<u16> {
    let total: u128 = stakes.iter().map(|stake| u128::from(*stake)).sum();
    let share = |stake: &u64| {
        let scaled = u128::from(*stake) * u128::from(u16::MAX) / total.max(1);
        u16::try_from(scaled).unwrap_or(u16::MAX)
    };
    stakes.iter().map(share).collect()
}
