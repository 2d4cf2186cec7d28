//! Neurons one by one: the only answer that carries the validators' trust.

use super::{source::Source, wire::PrometheusInfo};
use crate::{
    subtensor::{
        Active, AxonInfo, Bonds, Consensus, Dividends, Emission, Incentive, LastUpdate,
        TotalHotkeyAlpha, Uid, ValidatorPermit, ValidatorTrust, Weights,
    },
    AccountId, Runtime,
};
use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A neuron with its row of weights and of bonds.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
#[allow(missing_docs, reason = "the fields are those of `NeuronInfoLite`")]
pub struct NeuronInfo {
    pub hotkey: AccountId,
    pub coldkey: AccountId,
    pub uid: Compact<u16>,
    pub netuid: Compact<u16>,
    pub active: bool,
    pub axon_info: AxonInfo,
    pub prometheus_info: PrometheusInfo,
    pub stake: Vec<(AccountId, Compact<u64>)>,
    pub rank: Compact<u16>,
    pub emission: Compact<u64>,
    pub incentive: Compact<u16>,
    pub consensus: Compact<u16>,
    pub trust: Compact<u16>,
    pub validator_trust: Compact<u16>,
    pub dividends: Compact<u16>,
    pub last_update: Compact<u64>,
    pub validator_permit: bool,
    /// The row of weights, without zeros.
    pub weights: Vec<(Compact<u16>, Compact<u16>)>,
    /// The row of bonds, without zeros.
    pub bonds: Vec<(Compact<u16>, Compact<u16>)>,
    pub pruning_score: Compact<u16>,
}

/// A neuron.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
pub struct NeuronInfoLite {
    /// The key that signs.
    pub hotkey: AccountId,
    /// The key that owns it.
    pub coldkey: AccountId,
    /// Its slot.
    pub uid: Compact<u16>,
    /// Its subnet.
    pub netuid: Compact<u16>,
    /// Whether it has set weights of late.
    pub active: bool,
    /// What it serves; zeros where nothing.
    pub axon_info: AxonInfo,
    /// Zeros.
    pub prometheus_info: PrometheusInfo,
    /// Alpha behind the hotkey, under its coldkey.
    pub stake: Vec<(AccountId, Compact<u64>)>,
    /// 0: the real chain keeps none.
    pub rank: Compact<u16>,
    /// What it earned in the last epoch, in rao.
    pub emission: Compact<u64>,
    /// Share of what miners earned, of 65535.
    pub incentive: Compact<u16>,
    /// What validators agree on, of 65535.
    pub consensus: Compact<u16>,
    /// 0: the real chain keeps none.
    pub trust: Compact<u16>,
    /// How much of its weights the others share, of 65535.
    pub validator_trust: Compact<u16>,
    /// Share of what validators earned, of 65535.
    pub dividends: Compact<u16>,
    /// Block of its last weights.
    pub last_update: Compact<u64>,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// 65535: the real chain keeps none.
    pub pruning_score: Compact<u16>,
}

/// What an epoch wrote, read once for all neurons.
struct Results {
    active: Vec<bool>,
    emission: Vec<u64>,
    incentive: Vec<u16>,
    consensus: Vec<u16>,
    validator_trust: Vec<u16>,
    dividends: Vec<u16>,
    last_update: Vec<u64>,
    permit: Vec<bool>,
}

impl Results {
    fn read(s: &Source) -> Self {
        Self {
            active: Active::<Runtime>::get(s.netuid),
            emission: Emission::<Runtime>::get(s.netuid),
            incentive: Incentive::<Runtime>::get(s.index),
            consensus: Consensus::<Runtime>::get(s.netuid),
            validator_trust: ValidatorTrust::<Runtime>::get(s.netuid),
            dividends: Dividends::<Runtime>::get(s.netuid),
            last_update: LastUpdate::<Runtime>::get(s.index),
            permit: ValidatorPermit::<Runtime>::get(s.netuid),
        }
    }
}

/// A column may be shorter than the subnet before its first epoch.
fn entry<T: Copy + Default>(column: &[T], uid: Uid) -> T {
    column.get(usize::from(uid)).copied().unwrap_or_default()
}

impl NeuronInfoLite {
    /// Every neuron, by uid.
    pub(crate) fn read_all(s: &Source) -> Vec<Self> {
        let results = Results::read(s);
        s.each(|uid| Self::of(s, &results, uid))
    }

    /// One neuron; `None` where the uid is not taken.
    pub(crate) fn read(s: &Source, uid: Uid) -> Option<Self> {
        (uid < s.n()).then(|| Self::of(s, &Results::read(s), uid))
    }

    fn of(s: &Source, results: &Results, uid: Uid) -> Self {
        let (hotkey, coldkey) = (s.hotkey(uid), s.coldkey(uid));
        let alpha = TotalHotkeyAlpha::<Runtime>::get(&hotkey, s.netuid);
        Self {
            stake: vec![(coldkey.clone(), Compact(alpha))],
            hotkey,
            coldkey,
            uid: Compact(uid),
            netuid: Compact(s.netuid),
            active: entry(&results.active, uid),
            axon_info: s.axon(uid),
            prometheus_info: PrometheusInfo::default(),
            rank: Compact(0),
            emission: Compact(entry(&results.emission, uid)),
            incentive: Compact(entry(&results.incentive, uid)),
            consensus: Compact(entry(&results.consensus, uid)),
            trust: Compact(0),
            validator_trust: Compact(entry(&results.validator_trust, uid)),
            dividends: Compact(entry(&results.dividends, uid)),
            last_update: Compact(entry(&results.last_update, uid)),
            validator_permit: entry(&results.permit, uid),
            pruning_score: Compact(u16::MAX),
        }
    }
}

impl NeuronInfo {
    /// Every neuron, by uid.
    pub(crate) fn read_all(s: &Source) -> Vec<Self> {
        NeuronInfoLite::read_all(s).into_iter().map(|lite| Self::with_rows(s, lite)).collect()
    }

    /// One neuron; `None` where the uid is not taken.
    pub(crate) fn read(s: &Source, uid: Uid) -> Option<Self> {
        NeuronInfoLite::read(s, uid).map(|lite| Self::with_rows(s, lite))
    }

    fn with_rows(s: &Source, lite: NeuronInfoLite) -> Self {
        let uid = lite.uid.0;
        Self {
            hotkey: lite.hotkey,
            coldkey: lite.coldkey,
            uid: lite.uid,
            netuid: lite.netuid,
            active: lite.active,
            axon_info: lite.axon_info,
            prometheus_info: lite.prometheus_info,
            stake: lite.stake,
            rank: lite.rank,
            emission: lite.emission,
            incentive: lite.incentive,
            consensus: lite.consensus,
            trust: lite.trust,
            validator_trust: lite.validator_trust,
            dividends: lite.dividends,
            last_update: lite.last_update,
            validator_permit: lite.validator_permit,
            weights: above_zero(Weights::<Runtime>::get(s.index, uid)),
            bonds: above_zero(Bonds::<Runtime>::get(s.index, uid)),
            pruning_score: lite.pruning_score,
        }
    }
}

fn above_zero(row: Vec<(u16, u16)>) -> Vec<(Compact<u16>, Compact<u16>)> {
    let entries = row.into_iter().filter(|(_, value)| *value > 0);
    entries.map(|(uid, value)| (Compact(uid), Compact(value))).collect()
}
