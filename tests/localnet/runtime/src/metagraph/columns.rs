//! The metagraph, whole or by column.
//!
//! One table gives both: the whole metagraph reads every column, the selective one reads those
//! asked for. A column's number is what clients ask for it by.

use super::{
    hyperparams::registration,
    pool::POOL_RESERVE,
    source::Source,
    wire::{compact, ChainIdentityV2, FixedI128, SubnetIdentityV3, Text},
};
use crate::{
    subtensor::{self, *},
    AccountId, Runtime,
};
use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;
use std::collections::BTreeSet;

type Subtensor = subtensor::Pallet<Runtime>;

/// Binary digits of the fraction in `moving_price`.
const PRICE_FRACTION_BITS: u32 = 32;

macro_rules! columns {
    ($source:ident; $($(#[$doc:meta])* $index:literal $name:ident: $type:ty = $read:expr;)*) => {
        /// Everything about a subnet in one answer. In the answer of a mechanism `netuid` is the
        /// storage index, and `last_update` and `incentives` are the mechanism's own.
        #[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
        pub struct Metagraph {
            /// The subnet, or the storage index of its mechanism.
            pub netuid: Compact<u16>,
            $($(#[$doc])* pub $name: $type,)*
        }

        /// The columns asked for; `None` where a column was not.
        #[derive(Clone, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
        pub struct SelectiveMetagraph {
            /// The subnet, or the storage index of its mechanism. Always there.
            pub netuid: Compact<u16>,
            $($(#[$doc])* pub $name: Option<$type>,)*
            /// The uids that hold a permit and have the stake to use it (72).
            pub validators: Option<Vec<Compact<u16>>>,
            /// Every commitment as the SCALE bytes of its `Registration` (73).
            pub commitments: Option<Vec<(AccountId, Text)>>,
        }

        impl Metagraph {
            /// Reads every column.
            pub(crate) fn read($source: &Source) -> Self {
                Self { netuid: Compact($source.index), $($name: $read,)* }
            }
        }

        impl SelectiveMetagraph {
            /// Reads the columns with the numbers in `wanted`. Others are not touched; numbers
            /// that name no column are passed over.
            pub(crate) fn read($source: &Source, wanted: &BTreeSet<u16>) -> Self {
                Self {
                    netuid: Compact($source.index),
                    $($name: wanted.contains(&$index).then(|| $read),)*
                    validators: wanted.contains(&72).then(|| $source.validators()),
                    commitments: wanted.contains(&73).then(|| $source.commitments()),
                }
            }
        }
    };
}

columns! { s;
    /// Name.
    1 name: Text = s.name();
    /// Symbol of its alpha.
    2 symbol: Text = s.symbol();
    /// What its owner says about it.
    3 identity: Option<SubnetIdentityV3> = s.identity();
    /// Block in which the subnet was created.
    4 network_registered_at: Compact<u64> =
        Compact(NetworkRegisteredAt::<Runtime>::get(s.netuid));
    /// The owner's hotkey.
    5 owner_hotkey: AccountId = SubnetOwnerHotkey::<Runtime>::get(s.netuid);
    /// The owner.
    6 owner_coldkey: AccountId = SubnetOwner::<Runtime>::get(s.netuid);
    /// The block this answer was computed at.
    7 block: Compact<u64> = Compact(Subtensor::current_block());
    /// Blocks per epoch.
    8 tempo: Compact<u16> = Compact(Tempo::<Runtime>::get(s.netuid));
    /// Block of the last epoch.
    9 last_step: Compact<u64> = Compact(LastMechansimStepBlock::<Runtime>::get(s.netuid));
    /// Blocks since then.
    10 blocks_since_last_step: Compact<u64> =
        Compact(BlocksSinceLastStep::<Runtime>::get(s.netuid));
    /// Always 0, as on the real chain.
    11 subnet_emission: Compact<u64> = Compact(0);
    /// Alpha in the pool.
    12 alpha_in: Compact<u64> = Compact(POOL_RESERVE);
    /// Alpha that hotkeys hold.
    13 alpha_out: Compact<u64> = Compact(s.alpha_out());
    /// TAO in the pool.
    14 tao_in: Compact<u64> = Compact(POOL_RESERVE);
    /// Alpha per block for the subnet's neurons and its owner.
    15 alpha_out_emission: Compact<u64> =
        Compact(SubnetAlphaOutEmission::<Runtime>::get(s.netuid));
    /// Alpha per block into the pool.
    16 alpha_in_emission: Compact<u64> = Compact(0);
    /// TAO per block into the pool.
    17 tao_in_emission: Compact<u64> = Compact(0);
    /// Alpha that waits for the next epoch.
    18 pending_alpha_emission: Compact<u64> = Compact(s.pending_emission());
    /// What root stakers wait for.
    19 pending_root_emission: Compact<u64> = Compact(0);
    /// Traded so far.
    20 subnet_volume: Compact<u128> = Compact(0);
    /// Price, smoothed; 32 fractional bits.
    21 moving_price: FixedI128 = FixedI128 { bits: 1 << PRICE_FRACTION_BITS };
    /// Temperature of a curve that consensus no longer has.
    22 rho: Compact<u16> = Compact(Rho::<Runtime>::get(s.netuid));
    /// Share of stake that makes a majority, of 65535.
    23 kappa: Compact<u16> = Compact(Kappa::<Runtime>::get(s.netuid));
    /// Least number of entries in a row of weights.
    24 min_allowed_weights: Compact<u16> = Compact(MinAllowedWeights::<Runtime>::get(s.netuid));
    /// Highest share of one weight; not enforced.
    25 max_weights_limit: Compact<u16> = Compact(MaxWeightsLimit::<Runtime>::get(s.netuid));
    /// Least version key.
    26 weights_version: Compact<u64> = Compact(WeightsVersionKey::<Runtime>::get(s.netuid));
    /// Blocks between submissions.
    27 weights_rate_limit: Compact<u64> = Compact(WeightsSetRateLimit::<Runtime>::get(s.netuid));
    /// Blocks without weights after which a validator is inactive.
    28 activity_cutoff: Compact<u64> = Compact(Subtensor::activity_cutoff(s.netuid));
    /// Permits.
    29 max_validators: Compact<u16> = Compact(MaxAllowedValidators::<Runtime>::get(s.netuid));
    /// Neurons.
    30 num_uids: Compact<u16> = Compact(s.n());
    /// Seats.
    31 max_uids: Compact<u16> = Compact(MaxAllowedUids::<Runtime>::get(s.netuid));
    /// Price of a registration, in rao.
    32 burn: Compact<u64> = Compact(Burn::<Runtime>::get(s.netuid));
    /// Of registration by work.
    33 difficulty: Compact<u64> = Compact(registration::DIFFICULTY);
    /// Whether registration is open.
    34 registration_allowed: bool = true;
    /// Whether registration by work is open.
    35 pow_registration_allowed: bool = registration::POW_ALLOWED;
    /// Blocks in which a new neuron is not pruned.
    36 immunity_period: Compact<u16> = Compact(ImmunityPeriod::<Runtime>::get(s.netuid));
    /// Least difficulty.
    37 min_difficulty: Compact<u64> = Compact(registration::DIFFICULTY);
    /// Highest difficulty.
    38 max_difficulty: Compact<u64> = Compact(registration::DIFFICULTY_MAX);
    /// Least price of a registration.
    39 min_burn: Compact<u64> = Compact(registration::BURN_MIN);
    /// Highest price of a registration.
    40 max_burn: Compact<u64> = Compact(registration::BURN_MAX);
    /// Smoothing of the price of a registration.
    41 adjustment_alpha: Compact<u64> = Compact(registration::ADJUSTMENT_ALPHA);
    /// Blocks between its changes.
    42 adjustment_interval: Compact<u16> = Compact(registration::ADJUSTMENT_INTERVAL);
    /// Registrations wanted in that time.
    43 target_regs_per_interval: Compact<u16> = Compact(registration::TARGET_PER_INTERVAL);
    /// Registrations per block.
    44 max_regs_per_block: Compact<u16> = Compact(registration::MAX_PER_BLOCK);
    /// Blocks between `serve_axon` calls.
    45 serving_rate_limit: Compact<u64> = Compact(ServingRateLimit::<Runtime>::get(s.netuid));
    /// Whether weights are committed and revealed.
    46 commit_reveal_weights_enabled: bool =
        CommitRevealWeightsEnabled::<Runtime>::get(s.netuid);
    /// Epochs of concealment.
    47 commit_reveal_period: Compact<u64> = Compact(RevealPeriodEpochs::<Runtime>::get(s.netuid));
    /// Whether bonds follow at different speeds.
    48 liquid_alpha_enabled: bool = LiquidAlphaOn::<Runtime>::get(s.netuid);
    /// Highest speed of bonds, of 65535.
    49 alpha_high: Compact<u16> = Compact(AlphaValues::<Runtime>::get(s.netuid).1);
    /// Lowest speed of bonds, of 65535.
    50 alpha_low: Compact<u16> = Compact(AlphaValues::<Runtime>::get(s.netuid).0);
    /// Share of the bonds that stays, in millionths.
    51 bonds_moving_avg: Compact<u64> = Compact(BondsMovingAverage::<Runtime>::get(s.netuid));
    /// By uid.
    52 hotkeys: Vec<AccountId> = s.each(|uid| s.hotkey(uid));
    /// By uid.
    53 coldkeys: Vec<AccountId> = s.each(|uid| s.coldkey(uid));
    /// What each coldkey says about itself.
    54 identities: Vec<Option<ChainIdentityV2>> = s.each(|_| None);
    /// What each neuron serves; zeros where it serves nothing.
    55 axons: Vec<AxonInfo> = s.each(|uid| s.axon(uid));
    /// Whether each has set weights of late.
    56 active: Vec<bool> = Active::<Runtime>::get(s.netuid);
    /// Whether each may set weights.
    57 validator_permit: Vec<bool> = ValidatorPermit::<Runtime>::get(s.netuid);
    /// Empty.
    58 pruning_score: Vec<Compact<u16>> = Vec::new();
    /// Block of each neuron's last weights.
    59 last_update: Vec<Compact<u64>> = s.last_updates();
    /// What each earned in the last epoch, in rao.
    60 emission: Vec<Compact<u64>> = compact(Emission::<Runtime>::get(s.netuid));
    /// Share of what validators earned.
    61 dividends: Vec<Compact<u16>> = compact(Dividends::<Runtime>::get(s.netuid));
    /// Share of what miners earned.
    62 incentives: Vec<Compact<u16>> = compact(Incentive::<Runtime>::get(s.index));
    /// What validators agree on.
    63 consensus: Vec<Compact<u16>> = compact(Consensus::<Runtime>::get(s.netuid));
    /// Empty.
    64 trust: Vec<Compact<u16>> = Vec::new();
    /// Empty.
    65 rank: Vec<Compact<u16>> = Vec::new();
    /// Block in which each registered.
    66 block_at_registration: Vec<Compact<u64>> = s.registered_at();
    /// Alpha of each hotkey.
    67 alpha_stake: Vec<Compact<u64>> = s.alpha_stakes();
    /// Root stake of each hotkey, unweighted.
    68 tao_stake: Vec<Compact<u64>> = s.root_stakes();
    /// What each hotkey counts for.
    69 total_stake: Vec<Compact<u64>> = s.stake_weights();
    /// What root stakers earned.
    70 tao_dividends_per_hotkey: Vec<(AccountId, Compact<u64>)> = s.per_hotkey(|_| 0);
    /// What each hotkey earned as a validator in the last epoch.
    71 alpha_dividends_per_hotkey: Vec<(AccountId, Compact<u64>)> =
        s.per_hotkey(|hotkey| AlphaDividendsPerSubnet::<Runtime>::get(s.netuid, hotkey));
}
