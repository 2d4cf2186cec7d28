//! `SubtensorModule` (pallet 7): the part of it that a validator and a miner touch.
//!
//! Names, hashers, types and defaults are those of the real pallet at spec version 425, so that a
//! client reads and signs here as it does there. One file per concern: `weights` (setting them),
//! `commit` (hashes of them) and `commit_timelocked` (sealed ones), `epoch` (the clock), `results`
//! (what an epoch writes and pays) of `yuma` (consensus), `registration`, `serving`, `stake`,
//! `genesis`; `calls` and `events` are parts of the pallet's declaration.
//!
//! Not here: staking calls, child keys. Their storage is declared only where a client reads a
//! default from it.

mod calls;
mod commit;
mod commit_timelocked;
mod epoch;
mod events;
mod genesis;
mod registration;
mod results;
mod serving;
mod stake;
mod weights;
mod yuma;

pub use commit::{commit_hash, Reveal};
pub use commit_timelocked::{SealedWeights, WeightsTlockPayload, SEALED_BYTES_MAX};
pub use genesis::{NeuronGenesis, SubnetGenesis};
pub use pallet::*;
pub use weights::max_upscale;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{pallet_macros::import_section, traits::ConstU32, BoundedVec};
use scale_info::TypeInfo;

/// A subnet's number. A plain `u16` in the metadata of spec 425.
pub type NetUid = u16;
/// A mechanism's number inside a subnet.
pub type MechId = u8;
/// `mechanism * GLOBAL_MAX_SUBNETS + netuid`: the key of everything kept per mechanism.
pub type NetUidStorageIndex = u16;
/// A neuron's slot inside a subnet.
pub type Uid = u16;

/// The root subnet, which has no weights and no epochs here.
pub const ROOT_NETUID: NetUid = 0;
/// Ceiling of subnet numbers, and therefore the stride of the storage index.
pub const GLOBAL_MAX_SUBNETS: u16 = 4096;
/// Shortest tempo the owner may set. The real chain says 360; a local chain is there to be fast.
pub const TEMPO_MIN: u16 = 2;
/// Longest tempo the owner may set, and the safety valve of the epoch clock.
pub const TEMPO_MAX: u16 = 50_400;

/// Where a neuron can be reached, as published with `serve_axon`.
#[derive(
    Clone,
    Debug,
    Decode,
    DecodeWithMemTracking,
    Default,
    Encode,
    Eq,
    MaxEncodedLen,
    PartialEq,
    TypeInfo,
)]
pub struct AxonInfo {
    /// Block of the last `serve_axon`.
    pub block: u64,
    /// Version the neuron claims.
    pub version: u32,
    /// Address; an IPv4 address is its 32 bits as a number.
    pub ip: u128,
    /// Port, never 0.
    pub port: u16,
    /// 4 or 6.
    pub ip_type: u8,
    /// Free for the subnet's use.
    pub protocol: u8,
    /// Free for the subnet's use.
    pub placeholder1: u8,
    /// Free for the subnet's use.
    pub placeholder2: u8,
}

/// A neuron's certificate, as published with `serve_axon_tls`.
#[derive(
    Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, MaxEncodedLen, PartialEq, TypeInfo,
)]
pub struct NeuronCertificate {
    /// The key, up to 64 bytes.
    pub public_key: BoundedVec<u8, ConstU32<64>>,
    /// Which kind of key.
    pub algorithm: u8,
}

impl NeuronCertificate {
    /// The algorithm is the first byte. `None` for no bytes and for more than 65.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (algorithm, public_key) = bytes.split_first()?;
        let public_key = public_key.to_vec().try_into().ok()?;
        Some(Self { public_key, algorithm: *algorithm })
    }
}

#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::cast_possible_truncation,
    clippy::missing_errors_doc,
    clippy::too_many_arguments,
    reason = "FRAME's macros generate the types, and the calls have the real chain's arguments"
)]
#[import_section(calls::calls)]
#[import_section(events::events)]
#[frame_support::pallet]
pub mod pallet {
    use super::{
        AxonInfo, MechId, NetUid, NetUidStorageIndex, NeuronCertificate, Reveal, SealedWeights,
        SubnetGenesis, Uid,
    };
    use crate::drand::PulseSource;
    use crate::metagraph::SubnetIdentityV3;
    use codec::Compact;
    use frame_support::{
        dispatch::{DispatchClass, Pays},
        pallet_prelude::*,
        traits::{fungible, ConstBool, ConstU16, ConstU64, ConstU8, Get},
    };
    use frame_system::pallet_prelude::*;
    use sp_core::H256;
    use sp_runtime::{DispatchError, SaturatedConversion};
    use std::vec::Vec;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// Burns the price of a registration.
        type Currency: fungible::Mutate<Self::AccountId, Balance = u64>;
        /// Whether `serve_axon` takes loopback addresses, which the real chain refuses.
        type AllowLoopbackAxons: Get<bool>;
        /// The pulses that open sealed weights.
        type Beacon: PulseSource;
    }

    /// Reads of a missing account give 32 zero bytes.
    #[pallet::type_value]
    pub fn DefaultAccount<T: Config>() -> T::AccountId {
        crate::zero_account()
    }

    #[pallet::type_value]
    pub fn DefaultAlphaValues<T: Config>() -> (u16, u16) {
        (45_875, 58_982)
    }

    #[pallet::type_value]
    pub fn DefaultSteepness<T: Config>() -> i16 {
        1000
    }

    /// U+1D70F, a slanted tau.
    #[pallet::type_value]
    pub fn DefaultTokenSymbol<T: Config>() -> Vec<u8> {
        "\u{1D70F}".as_bytes().to_vec()
    }

    // --- identity and membership -------------------------------------------------------------

    #[pallet::storage]
    pub type NetworksAdded<T> = StorageMap<_, Identity, NetUid, bool, ValueQuery>;
    #[pallet::storage]
    pub type SubnetworkN<T> = StorageMap<_, Identity, NetUid, u16, ValueQuery>;
    #[pallet::storage]
    pub type Keys<T: Config> = StorageDoubleMap<
        _,
        Identity,
        NetUid,
        Identity,
        Uid,
        T::AccountId,
        ValueQuery,
        DefaultAccount<T>,
    >;
    #[pallet::storage]
    pub type Uids<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Blake2_128Concat, T::AccountId, Uid, OptionQuery>;
    #[pallet::storage]
    pub type IsNetworkMember<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, NetUid, bool, ValueQuery>;
    #[pallet::storage]
    pub type BlockAtRegistration<T> =
        StorageDoubleMap<_, Identity, NetUid, Identity, Uid, u64, ValueQuery>;
    #[pallet::storage]
    pub type Owner<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, T::AccountId, ValueQuery, DefaultAccount<T>>;
    #[pallet::storage]
    pub type SubnetOwner<T: Config> =
        StorageMap<_, Identity, NetUid, T::AccountId, ValueQuery, DefaultAccount<T>>;
    #[pallet::storage]
    pub type SubnetOwnerHotkey<T: Config> =
        StorageMap<_, Identity, NetUid, T::AccountId, ValueQuery, DefaultAccount<T>>;
    #[pallet::storage]
    pub type NetworkRegisteredAt<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type ImmunityPeriod<T> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<4096>>;
    #[pallet::storage]
    pub type MaxAllowedUids<T> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<256>>;
    #[pallet::storage]
    pub type MinAllowedUids<T> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<64>>;
    #[pallet::storage]
    pub type MaxAllowedValidators<T> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<128>>;
    #[pallet::storage]
    pub type Burn<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery, ConstU64<100_000_000>>;
    #[pallet::storage]
    pub type Axons<T: Config> = StorageDoubleMap<
        _,
        Identity,
        NetUid,
        Blake2_128Concat,
        T::AccountId,
        AxonInfo,
        OptionQuery,
    >;
    #[pallet::storage]
    pub type NeuronCertificates<T: Config> = StorageDoubleMap<
        _,
        Identity,
        NetUid,
        Blake2_128Concat,
        T::AccountId,
        NeuronCertificate,
        OptionQuery,
    >;
    #[pallet::storage]
    pub type ServingRateLimit<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery, ConstU64<50>>;
    #[pallet::storage]
    pub type SubtokenEnabled<T> = StorageMap<_, Identity, NetUid, bool, ValueQuery>;
    #[pallet::storage]
    pub type FirstEmissionBlockNumber<T> = StorageMap<_, Identity, NetUid, u64, OptionQuery>;
    #[pallet::storage]
    pub type SubnetIdentitiesV3<T> =
        StorageMap<_, Blake2_128Concat, NetUid, SubnetIdentityV3, OptionQuery>;
    #[pallet::storage]
    pub type TokenSymbol<T: Config> =
        StorageMap<_, Identity, NetUid, Vec<u8>, ValueQuery, DefaultTokenSymbol<T>>;

    // --- epoch clock -------------------------------------------------------------------------

    #[pallet::storage]
    pub type Tempo<T> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<360>>;
    #[pallet::storage]
    pub type BlocksSinceLastStep<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    /// The real chain's spelling.
    #[pallet::storage]
    pub type LastMechansimStepBlock<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type LastEpochBlock<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type PendingEpochAt<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type SubnetEpochIndex<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type MaxEpochsPerBlock<T> = StorageValue<_, u8, ValueQuery, ConstU8<2>>;
    #[pallet::storage]
    pub type AdminFreezeWindow<T> = StorageValue<_, u16, ValueQuery, ConstU16<10>>;

    // --- weights and limits ------------------------------------------------------------------

    #[pallet::storage]
    pub type Weights<T> = StorageDoubleMap<
        _,
        Identity,
        NetUidStorageIndex,
        Identity,
        Uid,
        Vec<(u16, u16)>,
        ValueQuery,
    >;
    #[pallet::storage]
    pub type Bonds<T> = StorageDoubleMap<
        _,
        Identity,
        NetUidStorageIndex,
        Identity,
        Uid,
        Vec<(u16, u16)>,
        ValueQuery,
    >;
    #[pallet::storage]
    pub type LastUpdate<T> = StorageMap<_, Identity, NetUidStorageIndex, Vec<u64>, ValueQuery>;
    #[pallet::storage]
    pub type WeightsSetRateLimit<T> =
        StorageMap<_, Identity, NetUid, u64, ValueQuery, ConstU64<100>>;
    #[pallet::storage]
    pub type WeightsVersionKey<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type WeightsVersionKeyRateLimit<T> = StorageValue<_, u64, ValueQuery, ConstU64<5>>;
    #[pallet::storage]
    pub type MinAllowedWeights<T> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<1024>>;
    #[pallet::storage]
    pub type MaxWeightsLimit<T> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<{ u16::MAX }>>;
    #[pallet::storage]
    pub type CommitRevealWeightsEnabled<T> =
        StorageMap<_, Identity, NetUid, bool, ValueQuery, ConstBool<true>>;
    #[pallet::storage]
    pub type CommitRevealWeightsVersion<T> = StorageValue<_, u16, ValueQuery, ConstU16<4>>;
    #[pallet::storage]
    pub type RevealPeriodEpochs<T> =
        StorageMap<_, Twox64Concat, NetUid, u64, ValueQuery, ConstU64<1>>;
    /// By hotkey: hash, epoch of the commit, its block, and a zero that once meant something.
    #[pallet::storage]
    pub type WeightCommits<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        NetUidStorageIndex,
        Twox64Concat,
        T::AccountId,
        Vec<(H256, u64, u64, u64)>,
        OptionQuery,
    >;
    /// By epoch of the commit: hotkey, block, sealed bytes, round that opens them.
    #[pallet::storage]
    pub type TimelockedWeightCommits<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        NetUidStorageIndex,
        Twox64Concat,
        u64,
        Vec<(T::AccountId, u64, SealedWeights, u64)>,
        ValueQuery,
    >;
    #[pallet::storage]
    pub type StakeThreshold<T> = StorageValue<_, u64, ValueQuery>;
    #[pallet::storage]
    pub type ActivityCutoffFactorMilli<T> =
        StorageMap<_, Identity, NetUid, u32, ValueQuery, ConstU32<13_889>>;
    #[pallet::storage]
    pub type MechanismCountCurrent<T> =
        StorageMap<_, Twox64Concat, NetUid, MechId, ValueQuery, ConstU8<1>>;
    #[pallet::storage]
    pub type MechanismEmissionSplit<T> = StorageMap<_, Twox64Concat, NetUid, Vec<u16>, OptionQuery>;
    #[pallet::storage]
    pub type MaxMechanismCount<T> = StorageValue<_, MechId, ValueQuery, ConstU8<2>>;

    // --- results and consensus parameters ----------------------------------------------------

    #[pallet::storage]
    pub type ValidatorPermit<T> = StorageMap<_, Identity, NetUid, Vec<bool>, ValueQuery>;
    #[pallet::storage]
    pub type Active<T> = StorageMap<_, Identity, NetUid, Vec<bool>, ValueQuery>;
    #[pallet::storage]
    pub type ValidatorTrust<T> = StorageMap<_, Identity, NetUid, Vec<u16>, ValueQuery>;
    #[pallet::storage]
    pub type Consensus<T> = StorageMap<_, Identity, NetUid, Vec<u16>, ValueQuery>;
    #[pallet::storage]
    pub type Dividends<T> = StorageMap<_, Identity, NetUid, Vec<u16>, ValueQuery>;
    #[pallet::storage]
    pub type StakeWeight<T> = StorageMap<_, Identity, NetUid, Vec<u16>, ValueQuery>;
    #[pallet::storage]
    pub type Incentive<T> = StorageMap<_, Identity, NetUidStorageIndex, Vec<u16>, ValueQuery>;
    #[pallet::storage]
    pub type Emission<T> = StorageMap<_, Identity, NetUid, Vec<u64>, ValueQuery>;
    #[pallet::storage]
    pub type Kappa<T> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<32_767>>;
    #[pallet::storage]
    pub type Rho<T> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<10>>;
    #[pallet::storage]
    pub type BondsPenalty<T> =
        StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<{ u16::MAX }>>;
    #[pallet::storage]
    pub type BondsMovingAverage<T> =
        StorageMap<_, Identity, NetUid, u64, ValueQuery, ConstU64<900_000>>;
    #[pallet::storage]
    pub type LiquidAlphaOn<T> = StorageMap<_, Blake2_128Concat, NetUid, bool, ValueQuery>;
    #[pallet::storage]
    pub type Yuma3On<T> = StorageMap<_, Blake2_128Concat, NetUid, bool, ValueQuery>;
    #[pallet::storage]
    pub type AlphaValues<T: Config> =
        StorageMap<_, Identity, NetUid, (u16, u16), ValueQuery, DefaultAlphaValues<T>>;
    #[pallet::storage]
    pub type TaoWeight<T> = StorageValue<_, u64, ValueQuery, ConstU64<971_718_665_099_567_868>>;
    #[pallet::storage]
    pub type TotalHotkeyAlpha<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, NetUid, u64, ValueQuery>;
    #[pallet::storage]
    pub type AlphaSigmoidSteepness<T: Config> =
        StorageMap<_, Identity, NetUid, i16, ValueQuery, DefaultSteepness<T>>;
    #[pallet::storage]
    pub type Delegates<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, u16, ValueQuery, ConstU16<11_796>>;
    #[pallet::storage]
    pub type AlphaDividendsPerSubnet<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Blake2_128Concat, T::AccountId, u64, ValueQuery>;
    /// Alpha per block for the neurons and the owner.
    #[pallet::storage]
    pub type SubnetAlphaOutEmission<T> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;
    /// The owner's share of it, of 65535.
    #[pallet::storage]
    pub type SubnetOwnerCut<T> = StorageValue<_, u16, ValueQuery, ConstU16<11_796>>;

    /// What the chain starts with.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The subnets and their neurons.
        pub subnets: Vec<SubnetGenesis<T::AccountId>>,
        /// Least stake weight that may set weights.
        pub stake_threshold: u64,
        /// Epochs run per block at most; 0 keeps the default.
        pub max_epochs_per_block: u8,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            StakeThreshold::<T>::put(self.stake_threshold);
            if self.max_epochs_per_block > 0 {
                MaxEpochsPerBlock::<T>::put(self.max_epochs_per_block);
            }
            for subnet in &self.subnets {
                Pallet::<T>::build_subnet(subnet);
            }
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(block: BlockNumberFor<T>) -> Weight {
            // In this order: weights that open now count for an epoch that runs now.
            Pallet::<T>::reveal_matured_commits();
            Pallet::<T>::run_epoch_clock(block.saturated_into());
            T::DbWeight::get().reads_writes(8, 8)
        }
    }

    /// Storing a commit.
    const COMMIT_WEIGHT: Weight = Weight::from_parts(100_000_000, 0);

    fn weight_of_rows(rows: &[Vec<(Compact<u16>, Compact<u16>)>]) -> Weight {
        rows.iter().fold(Weight::zero(), |sum, row| sum + weight_of_entries(row.len()))
    }

    fn weight_of_row(dests: &[u16]) -> Weight {
        weight_of_entries(dests.len())
    }

    /// Storing a row costs with its length, so that a block has a limit on rows.
    fn weight_of_entries(count: usize) -> Weight {
        let entries = u64::try_from(count).unwrap_or(u64::MAX);
        Weight::from_parts(1_000_000_000_u64.saturating_add(entries.saturating_mul(50_000_000)), 0)
    }
}
