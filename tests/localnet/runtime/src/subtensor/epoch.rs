//! The stateful epoch clock of spec 425.
//!
//! An epoch is due when `Tempo` blocks have passed since `LastEpochBlock`, when `PendingEpochAt`
//! has come, or when the safety valve opens. At most `MaxEpochsPerBlock` subnets fire in a block,
//! lowest netuid first; the others wait one block and say so with `EpochDeferred`. All of it runs
//! before the block's extrinsics, so an epoch sees the weights of earlier blocks only.
//!
//! Not here: what an epoch computes and pays (`results`).

use super::{
    ActivityCutoffFactorMilli, AdminFreezeWindow, BlocksSinceLastStep, CommitRevealWeightsEnabled,
    Config, Error, Event, Keys, LastEpochBlock, LastMechansimStepBlock, MaxEpochsPerBlock, NetUid,
    NetworksAdded, Pallet, PendingEpochAt, SubnetEpochIndex, SubnetOwner, SubnetworkN, Tempo, Uid,
    Uids, ROOT_NETUID, TEMPO_MAX, TEMPO_MIN,
};
use frame_support::ensure;
use sp_runtime::{DispatchResult, SaturatedConversion};

/// What the owner may set the activity cut-off to, in thousandths of a tempo.
const ACTIVITY_CUTOFF_FACTORS_MILLI: std::ops::RangeInclusive<u32> = 1_000..=50_000;

impl<T: Config> Pallet<T> {
    /// The block being built, or the block whose state is read.
    pub fn current_block() -> u64 {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// The neuron numbers of a subnet.
    pub(super) fn uids(netuid: NetUid) -> std::ops::Range<Uid> {
        0..SubnetworkN::<T>::get(netuid)
    }

    /// Whether a subnet's epoch should run in `block`.
    pub fn epoch_due(netuid: NetUid, block: u64) -> bool {
        let tempo = u64::from(Tempo::<T>::get(netuid));
        let pending = PendingEpochAt::<T>::get(netuid);
        tempo != 0
            && ((pending > 0 && block >= pending)
                || BlocksSinceLastStep::<T>::get(netuid) > u64::from(TEMPO_MAX)
                || block.saturating_sub(LastEpochBlock::<T>::get(netuid)) >= tempo)
    }

    /// The epoch that a commit in this block belongs to: the one under way, or the next where the
    /// subnet's epoch is due and has not run yet. So it is before the clock has run, and all
    /// through a block that defers the epoch.
    pub fn lookahead_epoch(netuid: NetUid) -> u64 {
        let due = Self::epoch_due(netuid, Self::current_block());
        SubnetEpochIndex::<T>::get(netuid).saturating_add(u64::from(due))
    }

    /// The subnets that have epochs, lowest number first.
    pub(super) fn netuids() -> Vec<NetUid> {
        let mut netuids: Vec<NetUid> = NetworksAdded::<T>::iter()
            .filter_map(|(netuid, added)| (added && netuid != ROOT_NETUID).then_some(netuid))
            .collect();
        // The map's own order is that of the little-endian key bytes.
        netuids.sort_unstable();
        netuids
    }

    /// The next block in which the subnet's epoch is due, seen from the state of this block.
    ///
    /// A prediction: the cap per block can defer it, and the owner can move it. `None` where no
    /// such subnet exists or its tempo is 0.
    pub fn next_epoch_start_block(netuid: NetUid) -> Option<u64> {
        let tempo = u64::from(Tempo::<T>::get(netuid));
        if tempo == 0 || !NetworksAdded::<T>::get(netuid) {
            return None;
        }
        let now = Self::current_block();
        let automatic = LastEpochBlock::<T>::get(netuid).saturating_add(tempo);
        let waited = BlocksSinceLastStep::<T>::get(netuid);
        let valve = now.saturating_add((u64::from(TEMPO_MAX) + 2).saturating_sub(waited));
        let scheduled = match PendingEpochAt::<T>::get(netuid) {
            0 => automatic.min(valve),
            pending => automatic.min(valve).min(pending),
        };
        Some(scheduled.max(now + 1))
    }

    /// Runs in the initialisation of every block.
    pub(super) fn run_epoch_clock(block: u64) {
        let mut slots = MaxEpochsPerBlock::<T>::get();
        for netuid in Self::netuids() {
            if !Self::epoch_due(netuid, block) {
                BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks += 1);
            } else if slots == 0 {
                Self::defer_epoch(netuid, block);
            } else {
                slots -= 1;
                Self::fire_epoch(netuid, block);
            }
        }
    }

    /// Alpha that waits for the next epoch, in rao.
    pub(crate) fn pending_emission(netuid: NetUid) -> u64 {
        let last = LastMechansimStepBlock::<T>::get(netuid);
        Self::emission_since(netuid, last, Self::current_block())
    }

    fn defer_epoch(netuid: NetUid, block: u64) {
        let to_block = block + 1;
        PendingEpochAt::<T>::insert(netuid, to_block);
        BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks += 1);
        Self::deposit_event(Event::EpochDeferred { netuid, from_block: block, to_block });
    }

    fn fire_epoch(netuid: NetUid, block: u64) {
        LastEpochBlock::<T>::insert(netuid, block);
        PendingEpochAt::<T>::insert(netuid, 0);
        SubnetEpochIndex::<T>::mutate(netuid, |index| *index += 1);
        BlocksSinceLastStep::<T>::insert(netuid, 0);
        let last = LastMechansimStepBlock::<T>::get(netuid);
        LastMechansimStepBlock::<T>::insert(netuid, block);
        if Self::neurons_consistent(netuid) {
            Self::write_epoch(netuid, block, last);
        } else {
            Self::deposit_event(Event::EpochSkipped { netuid, block });
        }
    }

    /// Whether every uid has a hotkey that maps back to it.
    fn neurons_consistent(netuid: NetUid) -> bool {
        Self::uids(netuid).all(|uid| {
            Keys::<T>::try_get(netuid, uid)
                .is_ok_and(|hotkey| Uids::<T>::get(netuid, hotkey) == Some(uid))
        })
    }

    pub(super) fn do_set_tempo(who: &T::AccountId, netuid: NetUid, tempo: u16) -> DispatchResult {
        Self::check_subnet_owner(who, netuid)?;
        ensure!((TEMPO_MIN..=TEMPO_MAX).contains(&tempo), Error::<T>::TempoOutOfBounds);
        Self::check_admin_window(netuid)?;
        Tempo::<T>::insert(netuid, tempo);
        LastEpochBlock::<T>::insert(netuid, Self::current_block());
        Self::deposit_event(Event::TempoSet(netuid, tempo));
        Ok(())
    }

    pub(super) fn do_set_activity_cutoff_factor(
        who: &T::AccountId,
        netuid: NetUid,
        factor_milli: u32,
    ) -> DispatchResult {
        Self::check_subnet_owner(who, netuid)?;
        ensure!(
            ACTIVITY_CUTOFF_FACTORS_MILLI.contains(&factor_milli),
            Error::<T>::ActivityCutoffFactorMilliOutOfBounds
        );
        Self::check_admin_window(netuid)?;
        ActivityCutoffFactorMilli::<T>::insert(netuid, factor_milli);
        Self::deposit_event(Event::ActivityCutoffFactorMilliSet { netuid, factor_milli });
        Ok(())
    }

    /// Whether the next epoch is far enough for the owner to change what it depends on: neither
    /// asked for nor due within `AdminFreezeWindow` blocks.
    fn check_admin_window(netuid: NetUid) -> DispatchResult {
        let window = u64::from(AdminFreezeWindow::<T>::get());
        let last_frozen = Self::current_block().saturating_add(window);
        let is_near = Self::next_epoch_start_block(netuid).is_some_and(|next| next <= last_frozen);
        ensure!(
            window == 0 || (PendingEpochAt::<T>::get(netuid) == 0 && !is_near),
            Error::<T>::AdminActionProhibitedDuringWeightsWindow
        );
        Ok(())
    }

    pub(super) fn do_trigger_epoch(who: T::AccountId, netuid: NetUid) -> DispatchResult {
        Self::check_subnet_owner(&who, netuid)?;
        ensure!(
            !CommitRevealWeightsEnabled::<T>::get(netuid),
            Error::<T>::DynamicTempoBlockedByCommitReveal
        );
        ensure!(PendingEpochAt::<T>::get(netuid) == 0, Error::<T>::EpochTriggerAlreadyPending);
        let now = Self::current_block();
        let fires_at = now.saturating_add(u64::from(AdminFreezeWindow::<T>::get()));
        let automatic = Self::next_epoch_start_block(netuid).unwrap_or(u64::MAX);
        ensure!(automatic >= fires_at, Error::<T>::AutoEpochAlreadyImminent);
        PendingEpochAt::<T>::insert(netuid, fires_at);
        Self::deposit_event(Event::EpochTriggered { netuid, by: who, fires_at });
        Ok(())
    }

    fn check_subnet_owner(who: &T::AccountId, netuid: NetUid) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubnetOwner::<T>::get(netuid) == *who, Error::<T>::NotSubnetOwner);
        Ok(())
    }
}
