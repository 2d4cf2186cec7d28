//! Subnets in the older, shorter answers.

use super::{
    hyperparams::registration,
    pool::POOL_RESERVE,
    source::Source,
    wire::{compact, FixedI128, SubnetIdentityV3, Text},
    Metagraph,
};
use crate::{
    subtensor::{
        BlocksSinceLastStep, Burn, ImmunityPeriod, Kappa, MaxAllowedUids, MaxAllowedValidators,
        MaxWeightsLimit, MinAllowedWeights, Rho, SubnetOwner, Tempo,
    },
    AccountId, Runtime,
};
use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// Exponent of a law that consensus no longer has; the real chain's default.
const SCALING_LAW_POWER: u16 = 50;

/// A subnet's parameters and size.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
#[allow(missing_docs, reason = "the metagraph's columns of the same names have the docs")]
pub struct SubnetInfo {
    pub netuid: Compact<u16>,
    pub rho: Compact<u16>,
    pub kappa: Compact<u16>,
    pub difficulty: Compact<u64>,
    pub immunity_period: Compact<u16>,
    pub max_allowed_validators: Compact<u16>,
    pub min_allowed_weights: Compact<u16>,
    pub max_weights_limit: Compact<u16>,
    pub scaling_law_power: Compact<u16>,
    pub subnetwork_n: Compact<u16>,
    pub max_allowed_uids: Compact<u16>,
    pub blocks_since_last_step: Compact<u64>,
    pub tempo: Compact<u16>,
    pub network_modality: Compact<u16>,
    pub network_connect: Vec<[u16; 2]>,
    pub emission_values: Compact<u64>,
    pub burn: Compact<u64>,
    pub owner: AccountId,
}

/// As [`SubnetInfo`], with what the owner says about the subnet.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
#[allow(missing_docs, reason = "the metagraph's columns of the same names have the docs")]
pub struct SubnetInfov2 {
    pub netuid: Compact<u16>,
    pub rho: Compact<u16>,
    pub kappa: Compact<u16>,
    pub difficulty: Compact<u64>,
    pub immunity_period: Compact<u16>,
    pub max_allowed_validators: Compact<u16>,
    pub min_allowed_weights: Compact<u16>,
    pub max_weights_limit: Compact<u16>,
    pub scaling_law_power: Compact<u16>,
    pub subnetwork_n: Compact<u16>,
    pub max_allowed_uids: Compact<u16>,
    pub blocks_since_last_step: Compact<u64>,
    pub tempo: Compact<u16>,
    pub network_modality: Compact<u16>,
    pub network_connect: Vec<[u16; 2]>,
    pub emission_value: Compact<u64>,
    pub burn: Compact<u64>,
    pub owner: AccountId,
    pub identity: Option<SubnetIdentityV3>,
}

impl SubnetInfo {
    /// Reads the subnet.
    pub(crate) fn read(s: &Source) -> Self {
        Self {
            netuid: Compact(s.netuid),
            rho: Compact(Rho::<Runtime>::get(s.netuid)),
            kappa: Compact(Kappa::<Runtime>::get(s.netuid)),
            difficulty: Compact(registration::DIFFICULTY),
            immunity_period: Compact(ImmunityPeriod::<Runtime>::get(s.netuid)),
            max_allowed_validators: Compact(MaxAllowedValidators::<Runtime>::get(s.netuid)),
            min_allowed_weights: Compact(MinAllowedWeights::<Runtime>::get(s.netuid)),
            max_weights_limit: Compact(MaxWeightsLimit::<Runtime>::get(s.netuid)),
            scaling_law_power: Compact(SCALING_LAW_POWER),
            subnetwork_n: Compact(s.n()),
            max_allowed_uids: Compact(MaxAllowedUids::<Runtime>::get(s.netuid)),
            blocks_since_last_step: Compact(BlocksSinceLastStep::<Runtime>::get(s.netuid)),
            tempo: Compact(Tempo::<Runtime>::get(s.netuid)),
            network_modality: Compact(0),
            network_connect: Vec::new(),
            emission_values: Compact(0),
            burn: Compact(Burn::<Runtime>::get(s.netuid)),
            owner: SubnetOwner::<Runtime>::get(s.netuid),
        }
    }
}

impl SubnetInfov2 {
    /// Reads the subnet.
    pub(crate) fn read(s: &Source) -> Self {
        let first = SubnetInfo::read(s);
        Self {
            netuid: first.netuid,
            rho: first.rho,
            kappa: first.kappa,
            difficulty: first.difficulty,
            immunity_period: first.immunity_period,
            max_allowed_validators: first.max_allowed_validators,
            min_allowed_weights: first.min_allowed_weights,
            max_weights_limit: first.max_weights_limit,
            scaling_law_power: first.scaling_law_power,
            subnetwork_n: first.subnetwork_n,
            max_allowed_uids: first.max_allowed_uids,
            blocks_since_last_step: first.blocks_since_last_step,
            tempo: first.tempo,
            network_modality: first.network_modality,
            network_connect: first.network_connect,
            emission_value: first.emission_values,
            burn: first.burn,
            owner: first.owner,
            identity: s.identity(),
        }
    }
}

/// A subnet's market and clock.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
#[allow(missing_docs, reason = "the metagraph's columns of the same names have the docs")]
pub struct DynamicInfo {
    pub netuid: Compact<u16>,
    pub owner_hotkey: AccountId,
    pub owner_coldkey: AccountId,
    pub subnet_name: Text,
    pub token_symbol: Text,
    pub tempo: Compact<u16>,
    pub last_step: Compact<u64>,
    pub blocks_since_last_step: Compact<u64>,
    pub emission: Compact<u64>,
    pub alpha_in: Compact<u64>,
    pub alpha_out: Compact<u64>,
    pub tao_in: Compact<u64>,
    pub alpha_out_emission: Compact<u64>,
    pub alpha_in_emission: Compact<u64>,
    pub tao_in_emission: Compact<u64>,
    pub pending_alpha_emission: Compact<u64>,
    pub pending_root_emission: Compact<u64>,
    pub subnet_volume: Compact<u128>,
    pub network_registered_at: Compact<u64>,
    pub subnet_identity: Option<SubnetIdentityV3>,
    pub moving_price: FixedI128,
}

impl DynamicInfo {
    /// Reads the subnet.
    pub(crate) fn read(s: &Source) -> Self {
        let m = Metagraph::read(s);
        Self {
            netuid: Compact(s.netuid),
            owner_hotkey: m.owner_hotkey,
            owner_coldkey: m.owner_coldkey,
            subnet_name: m.name,
            token_symbol: m.symbol,
            tempo: m.tempo,
            last_step: m.last_step,
            blocks_since_last_step: m.blocks_since_last_step,
            emission: m.subnet_emission,
            alpha_in: Compact(POOL_RESERVE),
            alpha_out: m.alpha_out,
            tao_in: Compact(POOL_RESERVE),
            alpha_out_emission: m.alpha_out_emission,
            alpha_in_emission: m.alpha_in_emission,
            tao_in_emission: m.tao_in_emission,
            pending_alpha_emission: m.pending_alpha_emission,
            pending_root_emission: m.pending_root_emission,
            subnet_volume: m.subnet_volume,
            network_registered_at: m.network_registered_at,
            subnet_identity: m.identity,
            moving_price: m.moving_price,
        }
    }
}

/// The neurons' columns without the subnet's parameters.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
#[allow(missing_docs, reason = "the metagraph's columns of the same names have the docs")]
pub struct SubnetState {
    pub netuid: Compact<u16>,
    pub hotkeys: Vec<AccountId>,
    pub coldkeys: Vec<AccountId>,
    pub active: Vec<bool>,
    pub validator_permit: Vec<bool>,
    pub pruning_score: Vec<Compact<u16>>,
    pub last_update: Vec<Compact<u64>>,
    pub emission: Vec<Compact<u64>>,
    pub dividends: Vec<Compact<u16>>,
    pub incentives: Vec<Compact<u16>>,
    pub consensus: Vec<Compact<u16>>,
    pub trust: Vec<Compact<u16>>,
    pub rank: Vec<Compact<u16>>,
    pub block_at_registration: Vec<Compact<u64>>,
    pub alpha_stake: Vec<Compact<u64>>,
    pub tao_stake: Vec<Compact<u64>>,
    pub total_stake: Vec<Compact<u64>>,
    /// By subnet and uid, what each hotkey of this subnet earned there in the last epoch.
    pub emission_history: Vec<Vec<Compact<u64>>>,
}

impl SubnetState {
    /// Reads the subnet.
    pub(crate) fn read(s: &Source) -> Self {
        let m = Metagraph::read(s);
        Self {
            netuid: Compact(s.netuid),
            emission_history: super::netuids()
                .into_iter()
                .map(|on| history(&m.hotkeys, on))
                .collect(),
            hotkeys: m.hotkeys,
            coldkeys: m.coldkeys,
            active: m.active,
            validator_permit: m.validator_permit,
            pruning_score: m.pruning_score,
            last_update: m.last_update,
            emission: m.emission,
            dividends: m.dividends,
            incentives: m.incentives,
            consensus: m.consensus,
            trust: m.trust,
            rank: m.rank,
            block_at_registration: m.block_at_registration,
            alpha_stake: m.alpha_stake,
            tao_stake: m.tao_stake,
            total_stake: m.total_stake,
        }
    }
}

fn history(hotkeys: &[AccountId], on: u16) -> Vec<Compact<u64>> {
    use crate::subtensor::{Emission, Uids};
    let emission = Emission::<Runtime>::get(on);
    let earned = |hotkey: &AccountId| {
        let uid = Uids::<Runtime>::get(on, hotkey)?;
        emission.get(usize::from(uid)).copied()
    };
    compact(hotkeys.iter().map(|hotkey| earned(hotkey).unwrap_or(0)).collect())
}
