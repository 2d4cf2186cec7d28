//! `Commitments` (pallet 18): what miners publish about their submissions.
//!
//! A commitment replaces the one before it. Each write charges at least 100 bytes against a quota
//! that starts anew with each epoch of the subnet. Entries outlive the hotkey's registration, as
//! on the real chain. A sealed field opens in the initialisation of the first block that finds its
//! pulse: it leaves the commitment, and what was inside stands among the ten newest of
//! `RevealedCommitments`. A field that does not open leaves without a word.

mod data;

pub use data::{
    CommitmentInfo, Data, Registration, UsageTracker, BIG_RAW_BYTES_MAX, FIELDS_MAX, RAW_BYTES_MAX,
    TIMELOCK_BYTES_MAX,
};
pub use pallet::*;

/// Least bytes charged for a write, so that many tiny ones hit the quota too.
pub const CHARGED_BYTES_MIN: u64 = 100;

/// Revealed fields kept per hotkey and subnet.
pub const REVEALS_KEPT: usize = 10;

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
        REVEALS_KEPT,
    };
    use crate::drand::{beacon, PulseSource};
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
        /// The pulses that open sealed fields.
        type Beacon: PulseSource;
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
        /// A timelocked field was opened.
        CommitmentRevealed { netuid: u16, who: T::AccountId },
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

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_block: BlockNumberFor<T>) -> Weight {
            for (netuid, who) in TimelockedIndex::<T>::get() {
                Self::open_fields(netuid, who);
            }
            T::DbWeight::get().reads_writes(2, 2)
        }
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

        /// Opens the fields of a commitment whose pulses are stored.
        fn open_fields(netuid: u16, who: T::AccountId) {
            let Some(mut registration) = CommitmentOf::<T>::get(netuid, &who) else {
                TimelockedIndex::<T>::mutate(|index| index.remove(&(netuid, who)));
                return;
            };
            let (mut left, mut opened) = (Vec::new(), Vec::new());
            let before = registration.info.fields.len();
            for field in registration.info.fields {
                let signature = match &field {
                    Data::TimelockEncrypted { reveal_round, .. } => {
                        T::Beacon::signature(*reveal_round)
                    }
                    _ => None,
                };
                match (field, signature) {
                    (Data::TimelockEncrypted { encrypted, .. }, Some(signature)) => {
                        opened.extend(beacon::open(&encrypted, &signature));
                    }
                    (field, _) => left.push(field),
                }
            }
            if left.len() == before {
                return;
            }
            Self::note_revealed(netuid, &who, opened);
            if !left.iter().any(|field| matches!(field, Data::TimelockEncrypted { .. })) {
                TimelockedIndex::<T>::mutate(|index| index.remove(&(netuid, who.clone())));
            }
            if left.is_empty() {
                CommitmentOf::<T>::remove(netuid, &who);
            } else {
                registration.info.fields = BoundedVec::truncate_from(left);
                CommitmentOf::<T>::insert(netuid, &who, registration);
            }
        }

        /// Keeps the newest of what was opened. Nothing inside counts as not opened.
        fn note_revealed(netuid: u16, who: &T::AccountId, opened: Vec<Vec<u8>>) {
            let block: u64 = frame_system::Pallet::<T>::block_number().saturated_into();
            let mut revealed = RevealedCommitments::<T>::get(netuid, who).unwrap_or_default();
            let before = revealed.len();
            for bytes in opened.into_iter().filter(|bytes| !bytes.is_empty()) {
                revealed.push((bytes, block));
                let who = who.clone();
                Self::deposit_event(Event::CommitmentRevealed { netuid, who });
            }
            if revealed.len() > before {
                let surplus = revealed.len().saturating_sub(REVEALS_KEPT);
                revealed.drain(..surplus);
                RevealedCommitments::<T>::insert(netuid, who, revealed);
            }
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
