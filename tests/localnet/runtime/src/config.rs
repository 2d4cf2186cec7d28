//! The pallets' parameters.

use crate::{
    aura, commitments, drand, subtensor, upgrade, AccountId, Balance, Balances, Block, Drand, Hash,
    Nonce, PalletInfo, Runtime, RuntimeCall, RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason,
    RuntimeOrigin, RuntimeTask, System,
};
use frame_support::{
    derive_impl,
    dispatch::DispatchClass,
    parameter_types,
    traits::{ConstU16, ConstU32, ConstU64, ConstU8},
    weights::{constants::WEIGHT_REF_TIME_PER_SECOND, IdentityFee, Weight, WeightToFee},
};
use pallet_transaction_payment::FungibleAdapter;
use sp_runtime::{traits::AccountIdLookup, Perbill};

/// Blocks for which the chain remembers hashes, and so the longest era.
pub const BLOCK_HASH_COUNT: u32 = 2400;
/// Least balance of an account, in rao.
pub const EXISTENTIAL_DEPOSIT: Balance = 500;
/// Bytes of a block.
const BLOCK_BYTES_MAX: u32 = 10 * 1024 * 1024;
/// Share of a block's weight and length that ordinary transactions may fill.
const NORMAL_SHARE: Perbill = Perbill::from_percent(75);

parameter_types! {
    pub BlockWeights: frame_system::limits::BlockWeights =
        frame_system::limits::BlockWeights::with_sensible_defaults(
            Weight::from_parts(4 * WEIGHT_REF_TIME_PER_SECOND, u64::MAX),
            NORMAL_SHARE,
        );
    pub BlockLength: frame_system::limits::BlockLength =
        frame_system::limits::BlockLength::builder()
            .max_length(BLOCK_BYTES_MAX)
            .modify_max_length_for_class(DispatchClass::Normal, |max| *max = NORMAL_SHARE * *max)
            .build();
    /// Milliseconds per block. Kept in storage, outside any pallet, so that a chain can be
    /// started with another block time and the metadata still has nothing the real one lacks.
    pub storage SlotDuration: u64 = 12_000;
    /// Whether `serve_axon` takes loopback addresses; kept like `SlotDuration`.
    pub storage AllowLoopbackAxons: bool = false;
    /// Whether the pool looks at commits as the real chain does since spec 459: the rate limit of
    /// sealed ones too, and one waiting commit per hotkey and mechanism. At spec 425 both came to
    /// light in a block only.
    pub storage StrictCommitPool: bool = true;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type BlockWeights = BlockWeights;
    type BlockLength = BlockLength;
    type AccountId = AccountId;
    type Lookup = AccountIdLookup<AccountId, ()>;
    type Nonce = Nonce;
    type Hash = Hash;
    type BlockHashCount = ConstU32<BLOCK_HASH_COUNT>;
    type Version = upgrade::CurrentVersion;
    type AccountData = pallet_balances::AccountData<Balance>;
    type SS58Prefix = ConstU16<42>;
    type MaxConsumers = ConstU32<16>;
    type PostTransactions = upgrade::MoveErrors;
}

impl pallet_timestamp::Config for Runtime {
    type Moment = u64;
    type OnTimestampSet = ();
    // The real chain says half a slot. Here time may be made to pass as fast as a test wants.
    type MinimumPeriod = ConstU64<1>;
    type WeightInfo = ();
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Runtime {
    type Balance = Balance;
    type ExistentialDeposit = ConstU64<EXISTENTIAL_DEPOSIT>;
    type AccountStore = System;
}

/// 0.00005 rao per unit of weight.
#[derive(Debug)]
pub struct LinearWeightToFee;

impl WeightToFee for LinearWeightToFee {
    type Balance = Balance;

    fn weight_to_fee(weight: &Weight) -> Balance {
        Perbill::from_parts(50_000) * weight.ref_time()
    }
}

impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = FungibleAdapter<Balances, ()>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightToFee = LinearWeightToFee;
    type LengthToFee = IdentityFee<Balance>;
    type FeeMultiplierUpdate = ();
    type WeightInfo = ();
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = ();
}

impl aura::Config for Runtime {
    type SlotDuration = SlotDuration;
}

impl subtensor::Config for Runtime {
    type Currency = Balances;
    type AllowLoopbackAxons = AllowLoopbackAxons;
    type Beacon = Drand;
}

impl drand::Config for Runtime {
    type UnsignedPriority = ConstU64<{ 1 << 20 }>;
    type HttpFetchTimeout = ConstU64<1_000>;
}

impl commitments::Config for Runtime {
    type Subnets = SubtensorSubnets;
    type Beacon = Drand;
    type MaxFields = ConstU32<{ commitments::FIELDS_MAX }>;
}

/// The commitments' view of the subnets.
#[derive(Debug)]
pub struct SubtensorSubnets;

impl commitments::Subnets<AccountId> for SubtensorSubnets {
    fn is_registered(netuid: u16, hotkey: &AccountId) -> bool {
        subtensor::Uids::<Runtime>::contains_key(netuid, hotkey)
    }

    fn epoch(netuid: u16) -> u64 {
        subtensor::SubnetEpochIndex::<Runtime>::get(netuid)
    }
}
