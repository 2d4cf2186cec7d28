//! What the chain keeps once per subnet, and how it becomes ours.
//!
//! [`SubnetSlots`] lists the storage items and decodes what came back. Most exist on every
//! runtime; what stands in for the others is said where they are decoded.
//!
//! Not here: fetching (`reader`, `storage`), and what is kept per uid or hotkey (`metagraph`,
//! `seats`).

use chain_metadata::storage as items;
use node_core::epoch::{BeaconSchedule, EpochClock};
use node_core::id::{Hotkey, Netuid};
use node_core::limits::UIDS_MAX;
use node_core::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};
use node_core::view::{Beacon, ConsensusMode, OwnCommit, SubnetParams};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_value::{Value, ValueDef};

use crate::blob::Blob;
use crate::bulk::Column;
use crate::decode::{AccountInfo, DecodeError};
use crate::encode::EncodeError;
use crate::memo::Memo;
use crate::own_commits;
use crate::read::Subject;
use crate::storage::{Answers, Batch, Slot};
use crate::timelock::{QUICKNET_KEY, QUICKNET_SCHEDULE};

/// A value per uid.
type ByUid<T> = Column<T, UIDS_MAX>;

/// Of a runtime whose settings are not kept where we look: the chain's own defaults.
const ACTIVITY_CUTOFF_DEFAULT: u64 = 5000;
const IMMUNITY_PERIOD_DEFAULT: u64 = 4096;
const MAX_UIDS_DEFAULT: u16 = 256;
pub(crate) const SERVING_RATE_LIMIT_DEFAULT: u64 = 50;
const REVEAL_PERIOD_DEFAULT: u64 = 1;

/// Stands for a commit format that cannot be read: one that nobody knows, so that nothing is
/// committed.
const UNREADABLE_VERSION: u16 = u16::MAX;

/// Longest beacon key taken: a compressed point of the larger group.
const BEACON_KEY_BYTES_MAX: usize = 96;

/// A subnet, without its neurons.
#[derive(Debug)]
pub(crate) struct Subnet {
    pub(crate) timestamp: UnixMs,
    pub(crate) count: usize,
    pub(crate) params: SubnetParams,
    pub(crate) clock: EpochClock,
    /// Last update by uid; may be shorter than `count`.
    pub(crate) updates: Vec<u64>,
    /// `None` if it was not asked for.
    pub(crate) results: Option<Results>,
    pub(crate) beacon: Option<Beacon>,
    pub(crate) safe_mode_until: Option<BlockNumber>,
    pub(crate) own_nonce: u32,
    pub(crate) own_hashed: Vec<OwnCommit>,
}

/// What the last epoch made of each uid. A vector may be shorter than there are uids.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) permits: Vec<bool>,
    /// `None` where the runtime does not keep it.
    pub(crate) active: Option<Vec<bool>>,
    pub(crate) trust: Vec<u16>,
    pub(crate) dividends: Vec<u16>,
    pub(crate) emission: Vec<u64>,
}

/// Places of a subnet's values.
#[derive(Debug)]
pub(crate) struct SubnetSlots {
    subject: Subject,
    pub(crate) exists: Slot,
    count: Slot,
    now: Slot,
    updates: Slot,
    safe_mode: Slot,
    last_round: Slot,
    beacon: Slot,
    beacon_found: Memo<Option<BeaconConfig>>,
    params: ParamSlots,
    clock: ClockSlots,
    results: Option<ResultSlots>,
    /// Account and hash commits of our hotkey.
    own: Option<(Slot, Slot)>,
}

impl SubnetSlots {
    /// - `results`: whether what epochs change is asked for.
    pub(crate) fn add(
        batch: &mut Batch<'_>,
        subject: Subject,
        results: bool,
    ) -> Result<Self, EncodeError> {
        let netuid = subject.netuid.0;
        let results = results.then(|| ResultSlots::add(batch, netuid)).transpose()?;
        let own = subject.own_hotkey.map(|hotkey| own_slots(batch, subject, &hotkey));
        Ok(Self {
            subject,
            exists: batch.add(&items::NETWORKS_ADDED, (netuid,))?,
            count: batch.add(&items::SUBNETWORK_N, (netuid,))?,
            now: batch.add(&items::TIMESTAMP_NOW, ())?,
            updates: batch.add(&items::LAST_UPDATE, (subject.index(),))?,
            safe_mode: batch.add(&items::SAFE_MODE_ENTERED_UNTIL, ())?,
            last_round: batch.add(&items::LAST_STORED_ROUND, ())?,
            beacon: batch.add(&items::BEACON_CONFIG, ())?,
            beacon_found: Memo::default(),
            params: ParamSlots::add(batch, netuid)?,
            clock: ClockSlots::add(batch, netuid)?,
            results,
            own: own.transpose()?,
        })
    }

    /// `None` if the subnet does not exist.
    pub(crate) fn decode(
        &self,
        answers: &Answers<'_>,
        now: BlockNumber,
    ) -> Result<Option<Subnet>, DecodeError> {
        if !answers.required::<bool>(&items::NETWORKS_ADDED, self.exists)? {
            return Ok(None);
        }
        let params = self.params.decode(answers)?;
        let clock = self.clock.decode(answers, self.subject.netuid, now, params.tempo)?;
        let (own_nonce, own_hashed) = self.own(answers, &clock, params.tempo)?;
        let until: Option<u64> =
            answers.optional(&items::SAFE_MODE_ENTERED_UNTIL, self.safe_mode)?;
        Ok(Some(Subnet {
            timestamp: UnixMs(answers.required(&items::TIMESTAMP_NOW, self.now)?),
            count: usize::from(answers.required::<u16>(&items::SUBNETWORK_N, self.count)?),
            updates: answers.required::<ByUid<u64>>(&items::LAST_UPDATE, self.updates)?.0,
            results: self.results.as_ref().map(|slots| slots.decode(answers)).transpose()?,
            beacon: self.beacon(answers)?,
            safe_mode_until: until.map(BlockNumber),
            own_nonce,
            own_hashed,
            params,
            clock,
        }))
    }

    fn own(
        &self,
        answers: &Answers<'_>,
        clock: &EpochClock,
        tempo: BlockCount,
    ) -> Result<(u32, Vec<OwnCommit>), DecodeError> {
        let Some((account, hashed)) = self.own else { return Ok((0, Vec::new())) };
        let nonce = answers.required::<AccountInfo>(&items::ACCOUNT_INFO, account)?.nonce;
        let stored = answers.raw(hashed);
        let commits = own_commits::hashed(answers.runtime(), stored, clock, tempo);
        // Whoever needs them cannot commit so either: the shape check takes that ability away.
        let commits = commits.unwrap_or_else(|error| {
            tracing::warn!(%error, "our hash commits cannot be read");
            Vec::new()
        });
        Ok((nonce, commits))
    }

    /// The beacon: none where the runtime takes no rounds or says something unusable about them,
    /// and drand's quicknet where it says nothing.
    fn beacon(&self, answers: &Answers<'_>) -> Result<Option<Beacon>, DecodeError> {
        let last: Option<u64> = answers.optional(&items::LAST_STORED_ROUND, self.last_round)?;
        let Some(last_stored_round) = last else { return Ok(None) };
        if !self.beacon.is_known() {
            return Ok(Some(quicknet(last_stored_round)));
        }
        let stored = self.beacon_found.of(&[answers.raw(self.beacon)], || {
            answers.optional(&items::BEACON_CONFIG, self.beacon)
        })?;
        Ok(stored.and_then(|config| config.beacon(last_stored_round)))
    }
}

fn own_slots(
    batch: &mut Batch<'_>,
    subject: Subject,
    hotkey: &Hotkey,
) -> Result<(Slot, Slot), EncodeError> {
    let account = batch.add(&items::ACCOUNT_INFO, (hotkey.0,))?;
    Ok((account, batch.add(&items::WEIGHT_COMMITS, (subject.index(), hotkey.0))?))
}

#[derive(Clone, Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct BeaconConfig {
    public_key: Blob<BEACON_KEY_BYTES_MAX>,
    /// Seconds.
    period: u64,
    /// Seconds since 1970.
    genesis_time: u64,
}

impl BeaconConfig {
    fn beacon(self, last_stored_round: u64) -> Option<Beacon> {
        let period_ms = self.period.checked_mul(1_000).filter(|period| *period > 0)?;
        let genesis = UnixMs(self.genesis_time.checked_mul(1_000)?);
        let schedule = BeaconSchedule { genesis, period_ms };
        Some(Beacon { schedule, public_key: self.public_key.0, last_stored_round })
    }
}

fn quicknet(last_stored_round: u64) -> Beacon {
    let (schedule, public_key) = (QUICKNET_SCHEDULE, QUICKNET_KEY.0.to_vec());
    Beacon { schedule, public_key, last_stored_round }
}

/// Places of what epochs change.
#[derive(Debug)]
struct ResultSlots {
    permits: Slot,
    active: Slot,
    trust: Slot,
    dividends: Slot,
    emission: Slot,
}

impl ResultSlots {
    fn add(batch: &mut Batch<'_>, netuid: u16) -> Result<Self, EncodeError> {
        Ok(Self {
            permits: batch.add(&items::VALIDATOR_PERMIT, (netuid,))?,
            active: batch.add(&items::ACTIVE, (netuid,))?,
            trust: batch.add(&items::VALIDATOR_TRUST, (netuid,))?,
            dividends: batch.add(&items::DIVIDENDS, (netuid,))?,
            emission: batch.add(&items::EMISSION, (netuid,))?,
        })
    }

    fn decode(&self, answers: &Answers<'_>) -> Result<Results, DecodeError> {
        let trust: Option<ByUid<u16>> = answers.optional(&items::VALIDATOR_TRUST, self.trust)?;
        let dividends: Option<ByUid<u16>> = answers.optional(&items::DIVIDENDS, self.dividends)?;
        let emission: Option<ByUid<u64>> = answers.optional(&items::EMISSION, self.emission)?;
        let active: Option<ByUid<bool>> = answers.optional(&items::ACTIVE, self.active)?;
        let permits: ByUid<bool> = answers.required(&items::VALIDATOR_PERMIT, self.permits)?;
        Ok(Results {
            permits: permits.0,
            active: active.map(|active| active.0),
            trust: trust.map(|trust| trust.0).unwrap_or_default(),
            dividends: dividends.map(|dividends| dividends.0).unwrap_or_default(),
            emission: emission.map(|emission| emission.0).unwrap_or_default(),
        })
    }
}

/// Places of what an owner sets.
#[derive(Debug)]
struct ParamSlots {
    tempo: Slot,
    min_weights: Slot,
    rate_limit: Slot,
    version_key: Slot,
    commit_reveal: Slot,
    commit_version: Slot,
    reveal_period: Slot,
    mechanisms: Slot,
    consensus: Slot,
    threshold: Slot,
    cutoff_factor: Slot,
    cutoff: Slot,
    immunity: Slot,
    max_uids: Slot,
    serving_limit: Slot,
    registered_at: Slot,
    owner: Slot,
    found: Memo<SubnetParams>,
}

impl ParamSlots {
    fn add(batch: &mut Batch<'_>, netuid: u16) -> Result<Self, EncodeError> {
        let netuid = (netuid,);
        Ok(Self {
            tempo: batch.add(&items::TEMPO, netuid)?,
            min_weights: batch.add(&items::MIN_ALLOWED_WEIGHTS, netuid)?,
            rate_limit: batch.add(&items::WEIGHTS_SET_RATE_LIMIT, netuid)?,
            version_key: batch.add(&items::WEIGHTS_VERSION_KEY, netuid)?,
            commit_reveal: batch.add(&items::COMMIT_REVEAL_WEIGHTS_ENABLED, netuid)?,
            commit_version: batch.add(&items::COMMIT_REVEAL_WEIGHTS_VERSION, ())?,
            reveal_period: batch.add(&items::REVEAL_PERIOD_EPOCHS, netuid)?,
            mechanisms: batch.add(&items::MECHANISM_COUNT_CURRENT, netuid)?,
            consensus: batch.add(&items::SUBNET_EPOCH_CONSENSUS, netuid)?,
            threshold: batch.add(&items::STAKE_THRESHOLD, ())?,
            cutoff_factor: batch.add(&items::ACTIVITY_CUTOFF_FACTOR_MILLI, netuid)?,
            cutoff: batch.add(&items::ACTIVITY_CUTOFF, netuid)?,
            immunity: batch.add(&items::IMMUNITY_PERIOD, netuid)?,
            max_uids: batch.add(&items::MAX_ALLOWED_UIDS, netuid)?,
            serving_limit: batch.add(&items::SERVING_RATE_LIMIT, netuid)?,
            registered_at: batch.add(&items::NETWORK_REGISTERED_AT, netuid)?,
            owner: batch.add(&items::SUBNET_OWNER_HOTKEY, netuid)?,
            found: Memo::default(),
        })
    }

    fn decode(&self, answers: &Answers<'_>) -> Result<SubnetParams, DecodeError> {
        let stored = self.all().map(|slot| answers.raw(slot));
        self.found.of(&stored, || self.decode_anew(answers))
    }

    /// Every place that [`Self::decode_anew`] reads.
    fn all(&self) -> [Slot; 17] {
        [
            self.tempo,
            self.min_weights,
            self.rate_limit,
            self.version_key,
            self.commit_reveal,
            self.commit_version,
            self.reveal_period,
            self.mechanisms,
            self.consensus,
            self.threshold,
            self.cutoff_factor,
            self.cutoff,
            self.immunity,
            self.max_uids,
            self.serving_limit,
            self.registered_at,
            self.owner,
        ]
    }

    fn decode_anew(&self, answers: &Answers<'_>) -> Result<SubnetParams, DecodeError> {
        let tempo = BlockCount(answers.required(&items::TEMPO, self.tempo)?);
        let rate_limit = answers.required(&items::WEIGHTS_SET_RATE_LIMIT, self.rate_limit)?;
        let reveal_period = answers.optional(&items::REVEAL_PERIOD_EPOCHS, self.reveal_period)?;
        let mechanisms = answers.optional(&items::MECHANISM_COUNT_CURRENT, self.mechanisms)?;
        let immunity = answers.optional(&items::IMMUNITY_PERIOD, self.immunity)?;
        let max_uids = answers.optional(&items::MAX_ALLOWED_UIDS, self.max_uids)?;
        let serving_limit = answers.optional(&items::SERVING_RATE_LIMIT, self.serving_limit)?;
        let registered_at = answers.optional(&items::NETWORK_REGISTERED_AT, self.registered_at)?;
        let owner = answers.optional(&items::SUBNET_OWNER_HOTKEY, self.owner)?.map(Hotkey);
        Ok(SubnetParams {
            tempo,
            min_allowed_weights: answers.required(&items::MIN_ALLOWED_WEIGHTS, self.min_weights)?,
            weights_rate_limit: BlockCount(rate_limit),
            weights_version_key: answers.required(&items::WEIGHTS_VERSION_KEY, self.version_key)?,
            commit_reveal_enabled: answers
                .required(&items::COMMIT_REVEAL_WEIGHTS_ENABLED, self.commit_reveal)?,
            commit_reveal_version: self.commit_version(answers),
            reveal_period: reveal_period.unwrap_or(REVEAL_PERIOD_DEFAULT),
            mechanism_count: mechanisms.unwrap_or(1),
            consensus: self.consensus(answers),
            stake_threshold_rao: answers.required(&items::STAKE_THRESHOLD, self.threshold)?,
            activity_cutoff: self.activity_cutoff(answers, tempo)?,
            immunity_period: BlockCount(immunity.unwrap_or(IMMUNITY_PERIOD_DEFAULT)),
            max_uids: max_uids.unwrap_or(MAX_UIDS_DEFAULT),
            serving_rate_limit: BlockCount(serving_limit.unwrap_or(SERVING_RATE_LIMIT_DEFAULT)),
            registered_at: BlockNumber(registered_at.unwrap_or_default()),
            owner_hotkey: owner.filter(|owner| *owner != Hotkey::default()),
        })
    }

    /// A runtime without the item knows hash commits only. One that has it in a shape that we
    /// cannot read is another matter.
    fn commit_version(&self, answers: &Answers<'_>) -> Option<u16> {
        if !self.commit_version.is_known() {
            return None;
        }
        let version = answers.optional(&items::COMMIT_REVEAL_WEIGHTS_VERSION, self.commit_version);
        Some(version.ok().flatten().unwrap_or(UNREADABLE_VERSION))
    }

    /// Before spec 475 there was Yuma only. What cannot be read is not Yuma.
    fn consensus(&self, answers: &Answers<'_>) -> ConsensusMode {
        if !self.consensus.is_known() {
            return ConsensusMode::Yuma;
        }
        let mode = answers.optional::<Value>(&items::SUBNET_EPOCH_CONSENSUS, self.consensus);
        match mode.ok().flatten().map(|mode| mode.value) {
            Some(ValueDef::Variant(mode)) if mode.name == "Yuma" => ConsensusMode::Yuma,
            Some(ValueDef::Variant(mode)) => ConsensusMode::Other(mode.name),
            _ => ConsensusMode::Other("unreadable".to_owned()),
        }
    }

    /// A factor of the tempo since spec 425, blocks before.
    fn activity_cutoff(
        &self,
        answers: &Answers<'_>,
        tempo: BlockCount,
    ) -> Result<BlockCount, DecodeError> {
        let factor: Option<u32> =
            answers.optional(&items::ACTIVITY_CUTOFF_FACTOR_MILLI, self.cutoff_factor)?;
        if let Some(factor) = factor {
            return Ok(BlockCount((u64::from(factor).saturating_mul(tempo.0) / 1_000).max(1)));
        }
        let blocks = answers.optional(&items::ACTIVITY_CUTOFF, self.cutoff)?;
        Ok(BlockCount(blocks.unwrap_or(ACTIVITY_CUTOFF_DEFAULT)))
    }
}

/// Places of the epoch clock's values.
#[derive(Debug)]
struct ClockSlots {
    index: Slot,
    last_epoch: Slot,
    pending: Slot,
    since_step: Slot,
}

impl ClockSlots {
    fn add(batch: &mut Batch<'_>, netuid: u16) -> Result<Self, EncodeError> {
        let netuid = (netuid,);
        Ok(Self {
            index: batch.add(&items::SUBNET_EPOCH_INDEX, netuid)?,
            last_epoch: batch.add(&items::LAST_EPOCH_BLOCK, netuid)?,
            pending: batch.add(&items::PENDING_EPOCH_AT, netuid)?,
            since_step: batch.add(&items::BLOCKS_SINCE_LAST_STEP, netuid)?,
        })
    }

    /// Before spec 425 there is no counter, and epochs follow from the block's number.
    fn decode(
        &self,
        answers: &Answers<'_>,
        netuid: Netuid,
        now: BlockNumber,
        tempo: BlockCount,
    ) -> Result<EpochClock, DecodeError> {
        let index = answers.optional(&items::SUBNET_EPOCH_INDEX, self.index)?;
        let last = answers.optional(&items::LAST_EPOCH_BLOCK, self.last_epoch)?;
        let (Some(index), Some(last)) = (index, last) else {
            return Ok(EpochClock::legacy(now, tempo, netuid));
        };
        let pending = answers.optional(&items::PENDING_EPOCH_AT, self.pending)?;
        Ok(EpochClock::stateful(
            now,
            tempo,
            EpochIndex(index),
            BlockNumber(last),
            BlockNumber(pending.unwrap_or_default()),
            answers.required(&items::BLOCKS_SINCE_LAST_STEP, self.since_step)?,
        ))
    }
}

#[cfg(test)]
#[path = "subnet_tests.rs"]
mod tests;
