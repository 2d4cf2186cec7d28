//! `Commitments` (pallet 18): what miners publish about their submissions.
//!
//! A commitment replaces the one before it. Each write charges at least 100 bytes against a quota
//! that starts anew with each epoch of the subnet. Entries outlive the hotkey's registration, as
//! on the real chain.
//!
//! Not here: opening timelocked fields, which needs the beacon.

mod data;

pub use data::{
    CommitmentInfo, Data, Registration, UsageTracker, BIG_RAW_BYTES_MAX, FIELDS_MAX, RAW_BYTES_MAX,
    TIMELOCK_BYTES_MAX,
};
pub use pallet::*;

/// Least bytes charged for a write, so that many tiny ones hit the quota too.
pub const CHARGED_BYTES_MIN: u64 = 100;

/// What the pallet has to know about subnets.
pub trait Subnets<AccountId> {
    /// Whether the hotkey has a uid in the subnet.
    fn is_registered(netuid: u16, hotkey: &AccountId) -> bool;
    /// The subnet's epoch counter.
    fn epoch(netuid: u16) -> u64;
}

#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::cast_possible_truncation,
    reason = "FRAME's macros generate the types"
)]
#[frame_support::pallet]
pub mod pallet {
    use super::{
        CommitmentInfo, Data, Registration, Subnets, UsageTracker, CHARGED_BYTES_MIN, FIELDS_MAX,
    };
    use frame_support::{
        dispatch::{DispatchClass, Pays},
        pallet_prelude::*,
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::SaturatedConversion;
    use std::{boxed::Box, collections::BTreeSet, vec::Vec};

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// Who may commit, and which epoch it is.
        type Subnets: Subnets<Self::AccountId>;
        /// Fields of one commitment.
        #[pallet::constant]
        type MaxFields: Get<u32>;
    }

    #[pallet::storage]
    pub type CommitmentOf<T: Config> =
        StorageDoubleMap<_, Identity, u16, Twox64Concat, T::AccountId, Registration, OptionQuery>;
    #[pallet::storage]
    pub type LastCommitment<T: Config> =
        StorageDoubleMap<_, Identity, u16, Twox64Concat, T::AccountId, u32, OptionQuery>;
    #[pallet::storage]
    pub type RevealedCommitments<T: Config> = StorageDoubleMap<
        _,
        Identity,
        u16,
        Twox64Concat,
        T::AccountId,
        Vec<(Vec<u8>, u64)>,
        OptionQuery,
    >;
    #[pallet::storage]
    pub type UsedSpaceOf<T: Config> =
        StorageDoubleMap<_, Identity, u16, Twox64Concat, T::AccountId, UsageTracker, OptionQuery>;
    #[pallet::storage]
    pub type MaxSpace<T> = StorageValue<_, u32, ValueQuery, ConstU32<3100>>;
    #[pallet::storage]
    pub type TimelockedIndex<T: Config> =
        StorageValue<_, BTreeSet<(u16, T::AccountId)>, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A commitment was set.
        Commitment { netuid: u16, who: T::AccountId },
        /// A commitment with a timelocked field was set.
        TimelockCommitment { netuid: u16, who: T::AccountId, reveal_round: u64 },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// More than three fields.
        TooManyFieldsInCommitmentInfo,
        /// The hotkey has no uid in the subnet.
        AccountNotAllowedCommit,
        /// The quota of this epoch is used up.
        SpaceLimitExceeded,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Sets the caller's commitment on a subnet.
        #[pallet::call_index(0)]
        #[pallet::weight((Weight::from_parts(38_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn set_commitment(
            origin: OriginFor<T>,
            netuid: u16,
            info: Box<CommitmentInfo>,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(T::Subnets::is_registered(netuid, &who), Error::<T>::AccountNotAllowedCommit);
            ensure!(
                info.fields.len() <= FIELDS_MAX as usize,
                Error::<T>::TooManyFieldsInCommitmentInfo
            );
            Self::charge(netuid, &who, &info)?;
            Self::store(netuid, who, *info);
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        fn charge(netuid: u16, who: &T::AccountId, info: &CommitmentInfo) -> DispatchResult {
            let epoch = T::Subnets::epoch(netuid);
            let mut usage = UsedSpaceOf::<T>::get(netuid, who)
                .filter(|usage| usage.last_epoch == epoch)
                .unwrap_or(UsageTracker { last_epoch: epoch, used_space: 0 });
            let bytes: u64 = info.fields.iter().map(Data::charged_bytes).sum();
            usage.used_space += bytes.max(CHARGED_BYTES_MIN);
            ensure!(
                usage.used_space <= u64::from(MaxSpace::<T>::get()),
                Error::<T>::SpaceLimitExceeded
            );
            UsedSpaceOf::<T>::insert(netuid, who, usage);
            Ok(())
        }

        fn store(netuid: u16, who: T::AccountId, info: CommitmentInfo) {
            let block: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
            let reveal_round = info.fields.iter().find_map(|field| match field {
                Data::TimelockEncrypted { reveal_round, .. } => Some(*reveal_round),
                _ => None,
            });
            CommitmentOf::<T>::insert(netuid, &who, Registration { deposit: 0, block, info });
            LastCommitment::<T>::insert(netuid, &who, block);
            let event = match reveal_round {
                Some(reveal_round) => {
                    TimelockedIndex::<T>::mutate(|index| index.insert((netuid, who.clone())));
                    Event::TimelockCommitment { netuid, who, reveal_round }
                }
                None => {
                    TimelockedIndex::<T>::mutate(|index| index.remove(&(netuid, who.clone())));
                    Event::Commitment { netuid, who }
                }
            };
            Self::deposit_event(event);
        }
    }
}
