//! A subnet's parameters: as two fixed structs, and as a list of names and values that can grow.

use super::{
    source::Source,
    wire::{FixedI64, FixedU128},
};
use crate::{
    subtensor::{self, *},
    Runtime,
};
use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

type Subtensor = subtensor::Pallet<Runtime>;

/// Limits of registration. Its price does not move here and there is no registration by work;
/// these are the values of a new subnet on the real chain, so that clients can show them.
pub(crate) mod registration {
    /// Difficulty of registration by work, at its lowest.
    pub(crate) const DIFFICULTY: u64 = 10_000_000;
    /// Highest difficulty.
    pub(crate) const DIFFICULTY_MAX: u64 = u64::MAX / 4;
    /// Nobody registers by work here.
    pub(crate) const POW_ALLOWED: bool = false;
    /// Least price of a registration, in rao.
    pub(crate) const BURN_MIN: u64 = 500_000;
    /// Highest price of a registration, in rao.
    pub(crate) const BURN_MAX: u64 = 100_000_000_000;
    /// Smoothing of the price.
    pub(crate) const ADJUSTMENT_ALPHA: u64 = 0;
    /// Blocks between changes of the price.
    pub(crate) const ADJUSTMENT_INTERVAL: u16 = 100;
    /// Registrations wanted in that time.
    pub(crate) const TARGET_PER_INTERVAL: u16 = 2;
    /// Registrations per block.
    pub(crate) const MAX_PER_BLOCK: u16 = 1;
    /// Blocks in which the price of a registration halves.
    pub(crate) const BURN_HALF_LIFE: u16 = 360;
    /// Factor by which a registration raises the price: 1.26 with 64 fractional bits.
    pub(crate) const BURN_INCREASE_BITS: u128 = 0x1_428f_5c28_f5c2_9000;
}

macro_rules! parameters {
    ($source:ident; $(#[$doc:meta])* $first:ident, $(#[$more_doc:meta])* $second:ident;
        $($name:ident: $type:ty = $read:expr;)* + $($more:ident: $more_type:ty = $more_read:expr;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
        #[allow(missing_docs, reason = "the metagraph's columns of the same names have the docs")]
        pub struct $first {
            $(pub $name: $type,)*
        }

        $(#[$more_doc])*
        #[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
        #[allow(missing_docs, reason = "the metagraph's columns of the same names have the docs")]
        pub struct $second {
            $(pub $name: $type,)*
            $(pub $more: $more_type,)*
        }

        impl $first {
            /// Reads the parameters.
            pub(crate) fn read($source: &Source) -> Self {
                Self { $($name: $read,)* }
            }
        }

        impl $second {
            /// Reads the parameters.
            pub(crate) fn read($source: &Source) -> Self {
                Self { $($name: $read,)* $($more: $more_read,)* }
            }
        }
    };
}

parameters! { s;
    /// The parameters as they were before bonds had options.
    SubnetHyperparams,
    /// The parameters with the options of bonds and of the subnet's market.
    SubnetHyperparamsV2;
    rho: Compact<u16> = Compact(Rho::<Runtime>::get(s.netuid));
    kappa: Compact<u16> = Compact(Kappa::<Runtime>::get(s.netuid));
    immunity_period: Compact<u16> = Compact(ImmunityPeriod::<Runtime>::get(s.netuid));
    min_allowed_weights: Compact<u16> = Compact(MinAllowedWeights::<Runtime>::get(s.netuid));
    max_weights_limit: Compact<u16> = Compact(MaxWeightsLimit::<Runtime>::get(s.netuid));
    tempo: Compact<u16> = Compact(Tempo::<Runtime>::get(s.netuid));
    min_difficulty: Compact<u64> = Compact(registration::DIFFICULTY);
    max_difficulty: Compact<u64> = Compact(registration::DIFFICULTY_MAX);
    weights_version: Compact<u64> = Compact(WeightsVersionKey::<Runtime>::get(s.netuid));
    weights_rate_limit: Compact<u64> = Compact(WeightsSetRateLimit::<Runtime>::get(s.netuid));
    adjustment_interval: Compact<u16> = Compact(registration::ADJUSTMENT_INTERVAL);
    activity_cutoff: Compact<u64> = Compact(Subtensor::activity_cutoff(s.netuid));
    registration_allowed: bool = true;
    target_regs_per_interval: Compact<u16> = Compact(registration::TARGET_PER_INTERVAL);
    min_burn: Compact<u64> = Compact(registration::BURN_MIN);
    max_burn: Compact<u64> = Compact(registration::BURN_MAX);
    bonds_moving_avg: Compact<u64> = Compact(BondsMovingAverage::<Runtime>::get(s.netuid));
    max_regs_per_block: Compact<u16> = Compact(registration::MAX_PER_BLOCK);
    serving_rate_limit: Compact<u64> = Compact(ServingRateLimit::<Runtime>::get(s.netuid));
    max_validators: Compact<u16> = Compact(MaxAllowedValidators::<Runtime>::get(s.netuid));
    adjustment_alpha: Compact<u64> = Compact(registration::ADJUSTMENT_ALPHA);
    difficulty: Compact<u64> = Compact(registration::DIFFICULTY);
    commit_reveal_period: Compact<u64> = Compact(RevealPeriodEpochs::<Runtime>::get(s.netuid));
    commit_reveal_weights_enabled: bool = CommitRevealWeightsEnabled::<Runtime>::get(s.netuid);
    alpha_high: Compact<u16> = Compact(AlphaValues::<Runtime>::get(s.netuid).1);
    alpha_low: Compact<u16> = Compact(AlphaValues::<Runtime>::get(s.netuid).0);
    liquid_alpha_enabled: bool = LiquidAlphaOn::<Runtime>::get(s.netuid);
    +
    alpha_sigmoid_steepness: FixedI64 = steepness(s.netuid);
    yuma_version: Compact<u16> = Compact(if Yuma3On::<Runtime>::get(s.netuid) { 3 } else { 2 });
    subnet_is_active: bool = SubtokenEnabled::<Runtime>::get(s.netuid);
    transfers_enabled: bool = false;
    bonds_reset_enabled: bool = false;
    user_liquidity_enabled: bool = false;
}

/// With 32 fractional bits, although the parameter is a whole number.
fn steepness(netuid: NetUid) -> FixedI64 {
    FixedI64 { bits: i64::from(AlphaSigmoidSteepness::<Runtime>::get(netuid)) << 32 }
}

/// A parameter's value with its type.
#[allow(clippy::cast_possible_truncation, reason = "the codec's derive casts the indices")]
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
pub enum HyperparamValue {
    /// A switch.
    #[codec(index = 0)]
    Bool(bool),
    /// A number.
    #[codec(index = 1)]
    U16(Compact<u16>),
    /// A number.
    #[codec(index = 2)]
    U32(Compact<u32>),
    /// A number.
    #[codec(index = 3)]
    U64(Compact<u64>),
    /// A number.
    #[codec(index = 4)]
    U128(Compact<u128>),
    /// An amount in rao.
    #[codec(index = 5)]
    TaoBalance(Compact<u64>),
    /// A number with 32 fractional bits.
    #[codec(index = 6)]
    I32F32(FixedI64),
    /// A number with 64 fractional bits.
    #[codec(index = 7)]
    U64F64(FixedU128),
}

/// One parameter.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
pub struct HyperparamEntry {
    /// Its name, UTF-8.
    pub name: Vec<u8>,
    /// Its value.
    pub value: HyperparamValue,
}

impl HyperparamEntry {
    /// Every parameter by name. Newer chains add names: clients look up what they know.
    pub(crate) fn read_all(s: &Source) -> Vec<Self> {
        let fixed = SubnetHyperparamsV2::read(s);
        let entries = consensus_entries(&fixed).into_iter().chain(registration_entries(&fixed));
        entries
            .map(|(name, value)| Self { name: name.as_bytes().to_vec(), value })
            .chain(added(s))
            .collect()
    }
}

fn consensus_entries(v: &SubnetHyperparamsV2) -> Vec<(&'static str, HyperparamValue)> {
    use HyperparamValue::{Bool, I32F32, U16, U64};
    vec![
        ("rho", U16(v.rho)),
        ("kappa", U16(v.kappa)),
        ("immunity_period", U16(v.immunity_period)),
        ("min_allowed_weights", U16(v.min_allowed_weights)),
        ("max_weights_limit", U16(v.max_weights_limit)),
        ("tempo", U16(v.tempo)),
        ("weights_version", U64(v.weights_version)),
        ("weights_rate_limit", U64(v.weights_rate_limit)),
        ("activity_cutoff", U64(v.activity_cutoff)),
        ("bonds_moving_avg", U64(v.bonds_moving_avg)),
        ("serving_rate_limit", U64(v.serving_rate_limit)),
        ("max_validators", U16(v.max_validators)),
        ("commit_reveal_period", U64(v.commit_reveal_period)),
        ("commit_reveal_weights_enabled", Bool(v.commit_reveal_weights_enabled)),
        ("alpha_high", U16(v.alpha_high)),
        ("alpha_low", U16(v.alpha_low)),
        ("liquid_alpha_enabled", Bool(v.liquid_alpha_enabled)),
        ("alpha_sigmoid_steepness", I32F32(v.alpha_sigmoid_steepness)),
        ("yuma_version", U16(v.yuma_version)),
        ("subnet_is_active", Bool(v.subnet_is_active)),
        ("transfers_enabled", Bool(v.transfers_enabled)),
        ("bonds_reset_enabled", Bool(v.bonds_reset_enabled)),
        ("user_liquidity_enabled", Bool(v.user_liquidity_enabled)),
    ]
}

fn registration_entries(v: &SubnetHyperparamsV2) -> Vec<(&'static str, HyperparamValue)> {
    use HyperparamValue::{Bool, TaoBalance, U16, U64, U64F64};
    vec![
        ("registration_allowed", Bool(v.registration_allowed)),
        ("min_burn", TaoBalance(v.min_burn)),
        ("max_burn", TaoBalance(v.max_burn)),
        ("burn_half_life", U16(Compact(registration::BURN_HALF_LIFE))),
        ("burn_increase_mult", U64F64(FixedU128 { bits: registration::BURN_INCREASE_BITS })),
        ("max_regs_per_block", U16(v.max_regs_per_block)),
        ("target_regs_per_interval", U16(v.target_regs_per_interval)),
        ("adjustment_interval", U16(v.adjustment_interval)),
        ("adjustment_alpha", U64(v.adjustment_alpha)),
        ("difficulty", U64(v.difficulty)),
        ("min_difficulty", U64(v.min_difficulty)),
        ("max_difficulty", U64(v.max_difficulty)),
    ]
}

/// What the fixed structs have no field for.
fn added(s: &Source) -> Vec<HyperparamEntry> {
    use HyperparamValue::{U16, U32};
    let entry = |name: &str, value| HyperparamEntry { name: name.as_bytes().to_vec(), value };
    vec![
        entry("bonds_penalty", U16(Compact(BondsPenalty::<Runtime>::get(s.netuid)))),
        entry("max_allowed_uids", U16(Compact(MaxAllowedUids::<Runtime>::get(s.netuid)))),
        entry(
            "activity_cutoff_factor",
            U32(Compact(ActivityCutoffFactorMilli::<Runtime>::get(s.netuid))),
        ),
    ]
}
