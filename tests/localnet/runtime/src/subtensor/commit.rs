//! Hashes of weights, and showing what is behind them.
//!
//! A commit belongs to the epoch of its block and can be revealed in exactly one later epoch,
//! `RevealPeriodEpochs` after it. Revealing one discards the hotkey's older ones.

use super::{
    CommitRevealWeightsEnabled, Config, Error, Event, MechId, NetUid, NetUidStorageIndex,
    NetworksAdded, Pallet, RevealPeriodEpochs, Uid, Uids, WeightCommits,
};
use codec::{Compact, Encode};
use frame_support::ensure;
use sp_core::H256;
use sp_runtime::{
    traits::{BlakeTwo256, Hash},
    DispatchError, DispatchResult,
};

/// Commits of one hotkey that may wait: hashes in all, sealed weights per epoch.
pub(super) const COMMITS_WAITING_MAX: usize = 10;

/// A hash with the epoch and block of its commit, and an unused zero, as they are stored.
type HashCommit = (H256, u64, u64, u64);

/// Weights as they are shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reveal {
    /// Whom the weights are for.
    pub uids: Vec<Uid>,
    /// One per uid.
    pub values: Vec<u16>,
    /// What kept the hash from being guessed.
    pub salt: Vec<u16>,
    /// As in plain weights.
    pub version_key: u64,
}

impl Reveal {
    /// The rows of a batch; `None` if the lists differ in length.
    pub fn zip(
        uids: Vec<Vec<u16>>,
        values: Vec<Vec<u16>>,
        salts: Vec<Vec<u16>>,
        version_keys: Vec<u64>,
    ) -> Option<Vec<Self>> {
        let count = uids.len();
        let equal = [values.len(), salts.len(), version_keys.len()].iter().all(|n| *n == count);
        let rows = uids.into_iter().zip(values).zip(salts).zip(version_keys);
        let row = |(((uids, values), salt), version_key)| Self { uids, values, salt, version_key };
        equal.then(|| rows.map(row).collect())
    }
}

/// What a hotkey commits to.
///
/// Source: `get_commit_hash` in subtensor, `pallets/subtensor/src/subnets/weights.rs`.
pub fn commit_hash(hotkey: &impl Encode, index: NetUidStorageIndex, reveal: &Reveal) -> H256 {
    let Reveal { uids, values, salt, version_key } = reveal;
    BlakeTwo256::hash_of(&(hotkey, index, uids, values, salt, version_key))
}

impl<T: Config> Pallet<T> {
    /// The checks every commit begins with; the uid and the storage index.
    ///
    /// - `format_is_known`: false if the caller names another format than the present one.
    pub(super) fn check_commit(
        hotkey: &T::AccountId,
        (netuid, mecid): (NetUid, MechId),
        format_is_known: bool,
    ) -> Result<(Uid, NetUidStorageIndex), DispatchError> {
        Self::check_mechanism(netuid, mecid)?;
        let index = Self::storage_index(netuid, mecid);
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        ensure!(format_is_known, Error::<T>::IncorrectCommitRevealVersion);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        ensure!(
            Self::rate_limit_passed(netuid, index, uid, Self::current_block()),
            Error::<T>::CommittingWeightsTooFast
        );
        Ok((uid, index))
    }

    pub(super) fn do_commit_hash(
        hotkey: &T::AccountId,
        (netuid, mecid): (NetUid, MechId),
        hash: H256,
    ) -> DispatchResult {
        let (uid, index) = Self::check_commit(hotkey, (netuid, mecid), true)?;
        let mut commits = WeightCommits::<T>::get(index, hotkey).unwrap_or_default();
        Self::take_expired(netuid, &mut commits);
        ensure!(commits.len() < COMMITS_WAITING_MAX, Error::<T>::TooManyUnrevealedCommits);
        commits.push((hash, Self::lookahead_epoch(netuid), Self::current_block(), 0));
        WeightCommits::<T>::insert(index, hotkey, commits);
        Self::deposit_event(Event::WeightsCommitted(hotkey.clone(), index, hash));
        Self::note_update(netuid, index, uid);
        Ok(())
    }

    pub(super) fn do_batch_commit_hashes(
        hotkey: T::AccountId,
        netuids: Vec<Compact<NetUid>>,
        hashes: &[H256],
    ) -> DispatchResult {
        ensure!(netuids.len() == hashes.len(), Error::<T>::InputLengthsUnequal);
        let commit = |(netuid, hash): (&Compact<NetUid>, &H256)| {
            (netuid.0, Self::do_commit_hash(&hotkey, (netuid.0, 0), *hash))
        };
        let results = netuids.iter().zip(hashes).map(commit).collect();
        Self::announce_batch(hotkey, netuids, results);
        Ok(())
    }

    pub(super) fn do_reveal(
        hotkey: &T::AccountId,
        (netuid, mecid): (NetUid, MechId),
        reveal: Reveal,
    ) -> DispatchResult {
        let index = Self::storage_index(netuid, mecid);
        let (mut commits, expired) = Self::living_commits(hotkey, netuid, index)?;
        let hash = commit_hash(hotkey, index, &reveal);
        let absent = if expired.contains(&hash) {
            Error::<T>::ExpiredWeightCommit
        } else if commits.is_empty() {
            Error::<T>::NoWeightsCommitFound
        } else {
            Error::<T>::InvalidRevealCommitHashNotMatch
        };
        let at = commits.iter().position(|commit| commit.0 == hash).ok_or(absent)?;
        ensure!(Self::in_reveal_epoch(netuid, &commits[at]), Error::<T>::RevealTooEarly);
        commits.drain(..=at);
        Self::keep_commits(hotkey, index, commits);
        let Reveal { uids, values, version_key, .. } = reveal;
        Self::store_weights(hotkey, (netuid, mecid), uids, values, version_key)?;
        Self::deposit_event(Event::WeightsRevealed(hotkey.clone(), index, hash));
        Ok(())
    }

    pub(super) fn do_batch_reveal(
        hotkey: &T::AccountId,
        netuid: NetUid,
        reveals: Vec<Reveal>,
    ) -> DispatchResult {
        let index = Self::storage_index(netuid, 0);
        let (mut commits, expired) = Self::living_commits(hotkey, netuid, index)?;
        let mut hashes = Vec::with_capacity(reveals.len());
        for reveal in &reveals {
            let hash = commit_hash(hotkey, index, reveal);
            let absent = if expired.contains(&hash) {
                Error::<T>::ExpiredWeightCommit
            } else {
                Error::<T>::InvalidRevealCommitHashNotMatch
            };
            let commit = commits.iter().find(|commit| commit.0 == hash).ok_or(absent)?;
            ensure!(Self::in_reveal_epoch(netuid, commit), Error::<T>::RevealTooEarly);
            hashes.push(hash);
        }
        for (reveal, hash) in reveals.into_iter().zip(&hashes) {
            let at = commits
                .iter()
                .position(|commit| commit.0 == *hash)
                .ok_or(Error::<T>::InvalidRevealCommitHashNotMatch)?;
            commits.remove(at);
            let Reveal { uids, values, version_key, .. } = reveal;
            Self::store_weights(hotkey, (netuid, 0), uids, values, version_key)?;
        }
        Self::keep_commits(hotkey, index, commits);
        Self::deposit_event(Event::WeightsBatchRevealed(hotkey.clone(), netuid, hashes));
        Ok(())
    }

    /// The hotkey's commits that are still alive, and the hashes of those that are not.
    fn living_commits(
        hotkey: &T::AccountId,
        netuid: NetUid,
        index: NetUidStorageIndex,
    ) -> Result<(Vec<HashCommit>, Vec<H256>), DispatchError> {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let mut commits =
            WeightCommits::<T>::get(index, hotkey).ok_or(Error::<T>::NoWeightsCommitFound)?;
        let expired = Self::take_expired(netuid, &mut commits);
        Ok((commits, expired))
    }

    /// Takes the expired commits off the front, and returns their hashes.
    pub(super) fn take_expired(netuid: NetUid, commits: &mut Vec<HashCommit>) -> Vec<H256> {
        let period = RevealPeriodEpochs::<T>::get(netuid);
        let epoch = Self::lookahead_epoch(netuid);
        let is_alive = |commit: &HashCommit| epoch <= commit.1.saturating_add(period);
        let count = commits.iter().position(is_alive).unwrap_or(commits.len());
        commits.drain(..count).map(|commit| commit.0).collect()
    }

    fn in_reveal_epoch(netuid: NetUid, commit: &HashCommit) -> bool {
        let period = RevealPeriodEpochs::<T>::get(netuid);
        Self::lookahead_epoch(netuid) == commit.1.saturating_add(period)
    }

    fn keep_commits(hotkey: &T::AccountId, index: NetUidStorageIndex, commits: Vec<HashCommit>) {
        if commits.is_empty() {
            WeightCommits::<T>::remove(index, hotkey);
        } else {
            WeightCommits::<T>::insert(index, hotkey, commits);
        }
    }

    /// What the pool asks of a reveal before a block sees it: a commit with this hash, and its
    /// epoch.
    ///
    /// # Errors
    ///
    /// `NoWeightsCommitFound`; `RevealTooEarly`, also when it is too late.
    pub fn check_reveal_in_pool(
        hotkey: &T::AccountId,
        (netuid, mecid): (NetUid, MechId),
        reveal: &Reveal,
    ) -> Result<(), Error<T>> {
        let index = Self::storage_index(netuid, mecid);
        let hash = commit_hash(hotkey, index, reveal);
        let commits = WeightCommits::<T>::get(index, hotkey).unwrap_or_default();
        let commit = commits.iter().find(|commit| commit.0 == hash);
        let commit = commit.ok_or(Error::<T>::NoWeightsCommitFound)?;
        ensure!(Self::in_reveal_epoch(netuid, commit), Error::<T>::RevealTooEarly);
        Ok(())
    }
}
