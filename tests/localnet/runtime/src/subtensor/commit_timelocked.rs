//! Sealed weights: what a commit stores, and how the chain opens it.
//!
//! A commit waits in the queue of its epoch. From the first block of the epoch that is
//! `RevealPeriodEpochs` later, before that block's own epoch runs, each block opens what it can:
//! an entry whose pulse is not stored yet goes back, and what is left when that epoch is over
//! goes away. Whatever else is wrong with an entry, it is dropped without an event.

use super::{
    commit::COMMITS_WAITING_MAX, CommitRevealWeightsVersion, Config, Error, Event, MechId,
    MechanismCountCurrent, NetUid, NetUidStorageIndex, Pallet, RevealPeriodEpochs,
    TimelockedWeightCommits, Uid,
};
use crate::drand::{beacon, PulseSource};
use codec::{Decode, Encode};
use frame_support::{ensure, traits::ConstU32, BoundedVec};
use sp_runtime::{
    traits::{BlakeTwo256, Hash},
    DispatchError, DispatchResult,
};
use thiserror::Error;

/// Bytes of one commit.
pub const SEALED_BYTES_MAX: u32 = 5_000;

/// What a commit stores.
pub type SealedWeights = BoundedVec<u8, ConstU32<SEALED_BYTES_MAX>>;

/// A commit in its queue: hotkey, block, sealed bytes, round.
type Waiting<AccountId> = (AccountId, u64, SealedWeights, u64);

/// What is sealed.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct WeightsTlockPayload {
    /// The account's 32 bytes; it has to be the one that commits.
    pub hotkey: Vec<u8>,
    /// Whom the weights are for.
    pub uids: Vec<Uid>,
    /// One per uid.
    pub values: Vec<u16>,
    /// As in plain weights.
    pub version_key: u64,
}

/// What used to be sealed, without a hotkey. Still opened.
#[derive(Decode)]
struct LegacyPayload {
    uids: Vec<Uid>,
    values: Vec<u16>,
    version_key: u64,
}

/// Why a commit is dropped. Nobody hears of it but the log.
#[derive(Debug, Error)]
enum Dropped {
    #[error("it does not open: {0}")]
    Sealed(beacon::OpenError),
    #[error("what is inside is no weights")]
    Payload,
    #[error("what is inside is another hotkey's")]
    Hotkey,
    #[error("the weights are refused: {0:?}")]
    Weights(DispatchError),
}

/// The row inside an opened commit.
fn row_of<AccountId: Decode + PartialEq>(
    opened: &[u8],
    who: &AccountId,
) -> Result<(Vec<Uid>, Vec<u16>, u64), Dropped> {
    if let Ok(payload) = WeightsTlockPayload::decode(&mut &opened[..]) {
        if let Ok(hotkey) = AccountId::decode(&mut &payload.hotkey[..]) {
            let is_own = hotkey == *who;
            let row = (payload.uids, payload.values, payload.version_key);
            return is_own.then_some(row).ok_or(Dropped::Hotkey);
        }
    }
    LegacyPayload::decode(&mut &opened[..])
        .map(|payload| (payload.uids, payload.values, payload.version_key))
        .map_err(|_| Dropped::Payload)
}

impl<T: Config> Pallet<T> {
    pub(super) fn do_commit_timelocked(
        hotkey: T::AccountId,
        (netuid, mecid): (NetUid, MechId),
        (sealed, reveal_round): (SealedWeights, u64),
        version: u16,
    ) -> DispatchResult {
        let format_is_known = version == CommitRevealWeightsVersion::<T>::get();
        let (uid, index) = Self::check_commit(&hotkey, (netuid, mecid), format_is_known)?;
        let epoch = Self::lookahead_epoch(netuid);
        let mut queue = TimelockedWeightCommits::<T>::get(index, epoch);
        let waiting = queue.iter().filter(|(who, ..)| *who == hotkey).count();
        ensure!(waiting < COMMITS_WAITING_MAX, Error::<T>::TooManyUnrevealedCommits);
        let hash = BlakeTwo256::hash(&sealed);
        queue.push((hotkey.clone(), Self::current_block(), sealed, reveal_round));
        TimelockedWeightCommits::<T>::insert(index, epoch, queue);
        Self::deposit_event(Event::TimelockedWeightsCommitted(hotkey, index, hash, reveal_round));
        Self::note_update(netuid, index, uid);
        Ok(())
    }

    /// Whether the beacon has not gone past the round.
    ///
    /// # Errors
    ///
    /// `InvalidRevealRound`.
    pub fn check_reveal_round(round: u64) -> Result<(), Error<T>> {
        ensure!(round >= T::Beacon::last_round(), Error::<T>::InvalidRevealRound);
        Ok(())
    }

    /// Opens what can be opened, in the initialisation of every block.
    pub(super) fn reveal_matured_commits() {
        for netuid in Self::netuids() {
            let period = RevealPeriodEpochs::<T>::get(netuid);
            // No epoch is as far back as that yet.
            let Some(epoch) = Self::lookahead_epoch(netuid).checked_sub(period) else { continue };
            for mecid in 0..MechanismCountCurrent::<T>::get(netuid) {
                let index = Self::storage_index(netuid, mecid);
                Self::drop_commits_before(index, epoch);
                Self::reveal_queue((netuid, mecid), epoch);
            }
        }
    }

    fn drop_commits_before(index: NetUidStorageIndex, epoch: u64) {
        let expired: Vec<u64> = TimelockedWeightCommits::<T>::iter_key_prefix(index)
            .filter(|committed| *committed < epoch)
            .collect();
        for committed in expired {
            TimelockedWeightCommits::<T>::remove(index, committed);
        }
    }

    fn reveal_queue((netuid, mecid): (NetUid, MechId), epoch: u64) {
        let index = Self::storage_index(netuid, mecid);
        let mut waiting = Vec::new();
        for entry in TimelockedWeightCommits::<T>::take(index, epoch) {
            let Some(signature) = T::Beacon::signature(entry.3) else {
                waiting.push(entry);
                continue;
            };
            match Self::reveal((netuid, mecid), &entry, &signature) {
                Ok(()) => Self::deposit_event(Event::TimelockedWeightsRevealed(index, entry.0)),
                Err(reason) => {
                    tracing::trace!(index, who = ?entry.0, %reason, "commit dropped");
                }
            }
        }
        if !waiting.is_empty() {
            TimelockedWeightCommits::<T>::insert(index, epoch, waiting);
        }
    }

    fn reveal(
        mechanism: (NetUid, MechId),
        (who, _, sealed, _): &Waiting<T::AccountId>,
        signature: &[u8],
    ) -> Result<(), Dropped> {
        let opened = beacon::open(sealed, signature).map_err(Dropped::Sealed)?;
        let (uids, values, version_key) = row_of(&opened, who)?;
        Self::store_weights(who, mechanism, uids, values, version_key).map_err(Dropped::Weights)
    }
}
