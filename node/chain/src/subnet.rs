//! Which values make up a subnet and a neuron, and how they become ours.
//!
//! Each kind of slots lists the storage items of one round of reading, and decodes what came back.
//!
//! Not here: fetching (`read`, `storage`).

use chain_metadata::storage as items;
use node_core::id::{Hotkey, Netuid, Uid};
use node_core::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};
use node_core::view::{EpochClock, Neuron, SubnetParams};
use subxt::ext::scale_value::Value;

use crate::decode::{committed, AccountInfo, AxonInfo, Committed, DecodeError};
use crate::encode::EncodeError;
use crate::read::Subject;
use crate::storage::{Answers, Batch, Slot};

/// Where root stake lies.
const ROOT_NETUID: u16 = 0;

/// What the first round gives.
pub(crate) struct Subnet {
    pub(crate) timestamp: UnixMs,
    pub(crate) count: usize,
    pub(crate) params: SubnetParams,
    pub(crate) clock: EpochClock,
    pub(crate) permits: Vec<bool>,
    pub(crate) updates: Vec<u64>,
    pub(crate) tao_weight: u64,
    pub(crate) own_nonce: u32,
}

/// A uid before its hotkey's records are known.
pub(crate) struct Seat {
    pub(crate) uid: Uid,
    pub(crate) hotkey: Hotkey,
    pub(crate) registered_at: BlockNumber,
    pub(crate) row: Vec<(Uid, u16)>,
}

/// Places of the first round's values.
pub(crate) struct SubnetSlots {
    pub(crate) exists: Slot,
    count: Slot,
    now: Slot,
    tempo: Slot,
    min_weights: Slot,
    rate_limit: Slot,
    version_key: Slot,
    commit_reveal: Slot,
    threshold: Slot,
    tao_weight: Slot,
    permits: Slot,
    updates: Slot,
    epoch_index: Slot,
    last_epoch: Slot,
    pending_epoch: Slot,
    since_step: Slot,
    account: Option<Slot>,
}

impl SubnetSlots {
    pub(crate) fn add(batch: &mut Batch<'_>, subject: Subject) -> Result<Self, EncodeError> {
        let netuid = (subject.netuid.0,);
        let account = subject
            .own_hotkey
            .map(|hotkey| batch.add(&items::ACCOUNT_INFO, (hotkey.0,)))
            .transpose()?;
        Ok(Self {
            exists: batch.add(&items::NETWORKS_ADDED, netuid)?,
            count: batch.add(&items::SUBNETWORK_N, netuid)?,
            now: batch.add(&items::TIMESTAMP_NOW, ())?,
            tempo: batch.add(&items::TEMPO, netuid)?,
            min_weights: batch.add(&items::MIN_ALLOWED_WEIGHTS, netuid)?,
            rate_limit: batch.add(&items::WEIGHTS_SET_RATE_LIMIT, netuid)?,
            version_key: batch.add(&items::WEIGHTS_VERSION_KEY, netuid)?,
            commit_reveal: batch.add(&items::COMMIT_REVEAL_WEIGHTS_ENABLED, netuid)?,
            threshold: batch.add(&items::STAKE_THRESHOLD, ())?,
            tao_weight: batch.add(&items::TAO_WEIGHT, ())?,
            permits: batch.add(&items::VALIDATOR_PERMIT, netuid)?,
            updates: batch.add(&items::LAST_UPDATE, (subject.index(),))?,
            epoch_index: batch.add(&items::SUBNET_EPOCH_INDEX, netuid)?,
            last_epoch: batch.add(&items::LAST_EPOCH_BLOCK, netuid)?,
            pending_epoch: batch.add(&items::PENDING_EPOCH_AT, netuid)?,
            since_step: batch.add(&items::BLOCKS_SINCE_LAST_STEP, netuid)?,
            account,
        })
    }

    /// `None` if the subnet does not exist.
    pub(crate) fn decode(
        &self,
        answers: &Answers<'_>,
        netuid: Netuid,
        now: BlockNumber,
    ) -> Result<Option<Subnet>, DecodeError> {
        if !answers.required::<bool>(&items::NETWORKS_ADDED, self.exists)? {
            return Ok(None);
        }
        let params = self.params(answers)?;
        let own_nonce = match self.account {
            None => 0,
            Some(slot) => answers.required::<AccountInfo>(&items::ACCOUNT_INFO, slot)?.nonce,
        };
        Ok(Some(Subnet {
            timestamp: UnixMs(answers.required(&items::TIMESTAMP_NOW, self.now)?),
            count: usize::from(answers.required::<u16>(&items::SUBNETWORK_N, self.count)?),
            clock: self.clock(answers, netuid, now, params.tempo.0)?,
            permits: answers.required(&items::VALIDATOR_PERMIT, self.permits)?,
            updates: answers.required(&items::LAST_UPDATE, self.updates)?,
            tao_weight: answers.optional(&items::TAO_WEIGHT, self.tao_weight)?.unwrap_or_default(),
            params,
            own_nonce,
        }))
    }

    fn params(&self, answers: &Answers<'_>) -> Result<SubnetParams, DecodeError> {
        let rate_limit = answers.required(&items::WEIGHTS_SET_RATE_LIMIT, self.rate_limit)?;
        Ok(SubnetParams {
            tempo: BlockCount(answers.required(&items::TEMPO, self.tempo)?),
            min_allowed_weights: answers.required(&items::MIN_ALLOWED_WEIGHTS, self.min_weights)?,
            weights_rate_limit: BlockCount(rate_limit),
            weights_version_key: answers.required(&items::WEIGHTS_VERSION_KEY, self.version_key)?,
            commit_reveal_enabled: answers
                .required(&items::COMMIT_REVEAL_WEIGHTS_ENABLED, self.commit_reveal)?,
            stake_threshold_rao: answers.required(&items::STAKE_THRESHOLD, self.threshold)?,
            ..SubnetParams::default()
        })
    }

    fn clock(
        &self,
        answers: &Answers<'_>,
        netuid: Netuid,
        now: BlockNumber,
        tempo: u64,
    ) -> Result<EpochClock, DecodeError> {
        let index = answers.optional(&items::SUBNET_EPOCH_INDEX, self.epoch_index)?;
        let last = answers.optional(&items::LAST_EPOCH_BLOCK, self.last_epoch)?;
        let (Some(index), Some(last_epoch_block)) = (index, last) else {
            return Ok(EpochClock::legacy(now, BlockCount(tempo), netuid));
        };
        let pending_at =
            answers.optional(&items::PENDING_EPOCH_AT, self.pending_epoch)?.unwrap_or_default();
        Ok(EpochClock::stateful(
            now,
            BlockCount(tempo),
            EpochIndex(index),
            BlockNumber(last_epoch_block),
            BlockNumber(pending_at),
            answers.required(&items::BLOCKS_SINCE_LAST_STEP, self.since_step)?,
        ))
    }
}

/// Places of a hotkey's values.
pub(crate) struct HotkeySlots {
    pub(crate) axon: Slot,
    pub(crate) alpha: Slot,
    pub(crate) root: Slot,
    pub(crate) commitment: Slot,
}

impl HotkeySlots {
    pub(crate) fn add(
        batch: &mut Batch<'_>,
        netuid: Netuid,
        hotkey: &Hotkey,
    ) -> Result<Self, EncodeError> {
        let (netuid, key) = (netuid.0, hotkey.0);
        Ok(Self {
            axon: batch.add(&items::AXONS, (netuid, key))?,
            alpha: batch.add(&items::TOTAL_HOTKEY_ALPHA, (key, netuid))?,
            root: batch.add(&items::TOTAL_HOTKEY_ALPHA, (key, ROOT_NETUID))?,
            commitment: batch.add(&items::COMMITMENT_OF, (netuid, key))?,
        })
    }

    pub(crate) fn neuron(
        &self,
        answers: &Answers<'_>,
        seat: &Seat,
        subnet: &Subnet,
    ) -> Result<Neuron, DecodeError> {
        let at = usize::from(seat.uid.0);
        let axon: Option<AxonInfo> = answers.optional(&items::AXONS, self.axon)?;
        let alpha: u64 = answers.required(&items::TOTAL_HOTKEY_ALPHA, self.alpha)?;
        let root: u64 = answers.required(&items::TOTAL_HOTKEY_ALPHA, self.root)?;
        Ok(Neuron {
            uid: seat.uid,
            hotkey: seat.hotkey,
            stake_rao: stake_weight(alpha, root, subnet.tao_weight),
            validator_permit: subnet.permits.get(at).copied().unwrap_or_default(),
            axon: axon.and_then(|axon| axon.address()),
            registered_at: seat.registered_at,
            last_update: BlockNumber(subnet.updates.get(at).copied().unwrap_or_default()),
            ..Neuron::default()
        })
    }

    pub(crate) fn committed(
        &self,
        answers: &Answers<'_>,
    ) -> Result<Option<Committed>, DecodeError> {
        if answers.raw(self.commitment).is_none() {
            return Ok(None);
        }
        let value: Value = answers.required(&items::COMMITMENT_OF, self.commitment)?;
        committed(&items::COMMITMENT_OF, &value)
    }
}

/// Alpha plus root stake at `tao_weight / 2^64`.
fn stake_weight(alpha: u64, root: u64, tao_weight: u64) -> u64 {
    let share = (u128::from(root) * u128::from(tao_weight)) >> 64;
    alpha.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_stake_counts_by_its_weight() {
        assert_eq!(stake_weight(10, 0, u64::MAX), 10);
        assert_eq!(stake_weight(10, 100, 1 << 63), 60);
        assert_eq!(stake_weight(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }
}
