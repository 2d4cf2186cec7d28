//! `Drand` (pallet 26): the pulses of the beacon whose rounds open timelocked commits.
//!
//! Storage, calls and checks are those of the real pallet at spec version 425: anybody may bring a
//! pulse, unsigned by an account that pays; its signature is checked against `BeaconConfig`, and
//! rounds must increase, so that a skipped round never comes. On the real chain offchain workers
//! bring them; here whoever builds blocks does, with [`pulse_extrinsic`].
//!
//! Not here: the beacon's mathematics (crate `local-beacon`), and fetching from drand.

mod local;
mod types;

pub use local::{beacon_configuration, bring, pulse, pulse_extrinsic, rounds_due, BeaconGenesis};
pub use local_beacon::{self as beacon, LocalBeacon};
pub use pallet::*;
pub use types::{
    BeaconConfiguration, BeaconConfigurationPayload, BoundedHash, Bringer, BringerSignature,
    Metadata, Pulse, PulsesPayload, RoundNumber,
};

use frame_support::BoundedVec;

/// The only scheme this chain can check.
const SCHEME: &[u8] = b"bls-unchained-g1-rfc9380";
/// Pulses kept: 7.5 days of quicknet.
pub const PULSES_KEPT: u64 = 216_000;
/// Old pulses removed per call at most.
pub const PULSES_REMOVED_MAX: u64 = 100;
/// Pulses stored per block at most. Higher: a jump in time makes a slow block; lower: commits of
/// rounds within the jump are lost.
pub const PULSES_PER_BLOCK_MAX: u64 = 50;

/// What other pallets ask of the beacon.
pub trait PulseSource {
    /// The signature of a round whose pulse is stored.
    fn signature(round: RoundNumber) -> Option<Vec<u8>>;
    /// The newest round stored, 0 for none.
    fn last_round() -> RoundNumber;
}

impl<T: Config> PulseSource for Pallet<T> {
    fn signature(round: RoundNumber) -> Option<Vec<u8>> {
        Pulses::<T>::get(round).map(|pulse| pulse.signature.into_inner())
    }

    fn last_round() -> RoundNumber {
        LastStoredRound::<T>::get()
    }
}

/// quicknet, which a chain believes that was told of no other beacon.
fn quicknet() -> BeaconConfiguration {
    const PUBLIC_KEY: &[u8; 96] =
        b"\x83\xcf\x0f\x28\x96\xad\xee\x7e\xb8\xb5\xf0\x1f\xca\xd3\x91\x22\x12\xc4\x37\xe0\
        \x07\x3e\x91\x1f\xb9\x00\x22\xd3\xe7\x60\x18\x3c\x8c\x4b\x45\x0b\x6a\x0a\x6c\x3a\
        \xc6\xa5\x77\x6a\x2d\x10\x64\x51\x0d\x1f\xec\x75\x8c\x92\x1c\xc2\x2b\x0e\x17\xe6\
        \x3a\xaf\x4b\xcb\x5e\xd6\x63\x04\xde\x9c\xf8\x09\xbd\x27\x4c\xa7\x3b\xab\x4a\xf5\
        \xa6\xe9\xc7\x6a\x4b\xc0\x9e\x76\xea\xe8\x99\x1e\xf5\xec\xe4\x5a";
    const HASH: &[u8; 32] =
        b"\x52\xdb\x9b\xa7\x0e\x0c\xc0\xf6\xea\xf7\x80\x3d\xd0\x74\x47\xa1\xf5\x47\x77\x35\
        \xfd\x3f\x66\x17\x92\xba\x94\x60\x0c\x84\xe9\x71";
    const GROUP_HASH: &[u8; 32] =
        b"\xf4\x77\xd5\xc8\x9f\x21\xa1\x7c\x86\x3a\x7f\x93\x7c\x6a\x6d\x15\x85\x94\x14\xd2\
        \xbe\x09\xcd\x44\x8d\x42\x79\xaf\x33\x1c\x5d\x3e";
    BeaconConfiguration {
        public_key: BoundedVec::truncate_from(PUBLIC_KEY.to_vec()),
        period: 3,
        genesis_time: 1_692_803_367,
        hash: BoundedHash::truncate_from(HASH.to_vec()),
        group_hash: BoundedHash::truncate_from(GROUP_HASH.to_vec()),
        scheme_id: BoundedHash::truncate_from(SCHEME.to_vec()),
        metadata: Metadata { beacon_id: BoundedVec::truncate_from(b"quicknet".to_vec()) },
    }
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
        beacon, quicknet, BeaconConfiguration, BeaconConfigurationPayload, BeaconGenesis,
        BringerSignature, Pulse, PulsesPayload, RoundNumber, PULSES_KEPT, PULSES_PER_BLOCK_MAX,
        PULSES_REMOVED_MAX,
    };
    use codec::Encode;
    use frame_support::{
        dispatch::{DispatchClass, Pays},
        pallet_prelude::*,
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::SaturatedConversion;
    use std::vec::Vec;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// Priority of a pulse in the pool, above which lower rounds come first.
        #[pallet::constant]
        type UnsignedPriority: Get<TransactionPriority>;
        /// Milliseconds an offchain worker of the real chain waits. Nobody waits here.
        #[pallet::constant]
        type HttpFetchTimeout: Get<u64>;
    }

    #[pallet::type_value]
    pub fn DefaultBeaconConfig<T: Config>() -> BeaconConfiguration {
        quicknet()
    }

    #[pallet::storage]
    pub type BeaconConfig<T: Config> =
        StorageValue<_, BeaconConfiguration, ValueQuery, DefaultBeaconConfig<T>>;
    #[pallet::storage]
    pub type HasMigrationRun<T> =
        StorageMap<_, Identity, BoundedVec<u8, ConstU32<128>>, bool, ValueQuery>;
    #[pallet::storage]
    pub type Pulses<T> = StorageMap<_, Blake2_128Concat, RoundNumber, Pulse, OptionQuery>;
    #[pallet::storage]
    pub type LastStoredRound<T> = StorageValue<_, RoundNumber, ValueQuery>;
    #[pallet::storage]
    pub type OldestStoredRound<T> = StorageValue<_, RoundNumber, ValueQuery>;
    #[pallet::storage]
    pub type NextUnsignedAt<T: Config> = StorageValue<_, BlockNumberFor<T>, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Another beacon counts from now on.
        BeaconConfigChanged,
        /// Pulses were stored.
        NewPulse { rounds: Vec<RoundNumber> },
        /// Root said which round is the oldest.
        SetOldestStoredRound(u64),
    }

    #[pallet::error]
    pub enum Error<T> {
        /// Unused, as on the real chain.
        NoneValue,
        /// Unused, as on the real chain.
        StorageOverflow,
        /// Unused, as on the real chain.
        DrandConnectionFailure,
        /// The signature is not the beacon's for this round.
        UnverifiedPulse,
        /// The round is not after the last.
        InvalidRoundNumber,
        /// Signature or public key are not points of their groups.
        PulseVerificationError,
    }

    /// The beacon a chain starts with.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The beacon; none for quicknet.
        pub beacon: Option<BeaconGenesis>,
        #[serde(skip)]
        pub _config: PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            if let Some(beacon) = &self.beacon {
                BeaconConfig::<T>::put(beacon.configuration());
            }
        }
    }

    // Bare transactions are what the real chain takes at this version.
    #[pallet::validate_unsigned]
    #[allow(deprecated)]
    impl<T: Config> ValidateUnsigned for Pallet<T> {
        type Call = Call<T>;

        fn validate_unsigned(_source: TransactionSource, call: &Call<T>) -> TransactionValidity {
            match call {
                Call::write_pulse { pulses_payload, signature } => {
                    Self::validate_pulse(pulses_payload, signature.as_ref())
                }
                _ => InvalidTransaction::Call.into(),
            }
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Stores pulses of the beacon. Nobody signs for it.
        #[pallet::call_index(0)]
        #[pallet::weight((
            Weight::from_parts(5_000_000_000, 0), DispatchClass::Operational, Pays::No
        ))]
        pub fn write_pulse(
            origin: OriginFor<T>,
            pulses_payload: PulsesPayload,
            _signature: Option<BringerSignature>,
        ) -> DispatchResult {
            ensure_none(origin)?;
            let key = BeaconConfig::<T>::get().public_key;
            let mut rounds = Vec::new();
            for pulse in pulses_payload.pulses {
                Self::store(&key, &pulse)?;
                rounds.push(pulse.round);
            }
            Self::prune();
            NextUnsignedAt::<T>::put(frame_system::Pallet::<T>::block_number());
            Self::deposit_event(Event::NewPulse { rounds });
            Ok(())
        }

        /// Makes another beacon count. Root only.
        #[pallet::call_index(1)]
        #[pallet::weight(Weight::from_parts(10_000_000, 0))]
        pub fn set_beacon_config(
            origin: OriginFor<T>,
            config_payload: BeaconConfigurationPayload,
            _signature: Option<BringerSignature>,
        ) -> DispatchResult {
            ensure_root(origin)?;
            BeaconConfig::<T>::put(config_payload.config);
            Self::deposit_event(Event::BeaconConfigChanged);
            Ok(())
        }

        /// Says which round is the oldest. Root only.
        #[pallet::call_index(2)]
        #[pallet::weight(Weight::from_parts(5_000_000, 0))]
        pub fn set_oldest_stored_round(origin: OriginFor<T>, oldest_round: u64) -> DispatchResult {
            ensure_root(origin)?;
            OldestStoredRound::<T>::put(oldest_round);
            Self::deposit_event(Event::SetOldestStoredRound(oldest_round));
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        fn validate_pulse(
            payload: &PulsesPayload,
            signature: Option<&BringerSignature>,
        ) -> TransactionValidity {
            let signature = signature.ok_or(InvalidTransaction::BadSigner)?;
            if !signature.is_of(&payload.public, &payload.encode()) {
                return InvalidTransaction::BadProof.into();
            }
            let block: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
            if block < payload.block_number {
                return InvalidTransaction::Future.into();
            }
            let [pulse] = &payload.pulses[..] else {
                return InvalidTransaction::Call.into();
            };
            if pulse.round <= LastStoredRound::<T>::get() {
                return InvalidTransaction::Stale.into();
            }
            // The real chain adds `UnsignedPriority` and saturates, which makes the first million
            // rounds of a young beacon equal; the order is the same otherwise.
            let priority = u64::MAX - pulse.round;
            ValidTransaction::with_tag_prefix("DrandOffchainWorker")
                .priority(priority)
                .and_provides((b"drand", pulse.round))
                .longevity(3)
                .propagate(false)
                .build()
        }

        fn store(key: &[u8], pulse: &Pulse) -> DispatchResult {
            let genuine = beacon::verify(key, pulse.round, &pulse.signature)
                .map_err(|_| Error::<T>::PulseVerificationError)?;
            ensure!(genuine, Error::<T>::UnverifiedPulse);
            let last = LastStoredRound::<T>::get();
            ensure!(pulse.round > last, Error::<T>::InvalidRoundNumber);
            if last == 0 && OldestStoredRound::<T>::get() == 0 {
                OldestStoredRound::<T>::put(pulse.round);
            }
            Pulses::<T>::insert(pulse.round, pulse);
            LastStoredRound::<T>::put(pulse.round);
            Ok(())
        }

        fn prune() {
            let last = LastStoredRound::<T>::get();
            let mut oldest = OldestStoredRound::<T>::get();
            let first_kept = (last + 1).saturating_sub(PULSES_KEPT);
            let until = first_kept.min(oldest.saturating_add(PULSES_REMOVED_MAX));
            while oldest < until {
                Pulses::<T>::remove(oldest);
                oldest += 1;
            }
            OldestStoredRound::<T>::put(oldest);
        }
    }

    const _: () = assert!(PULSES_PER_BLOCK_MAX < PULSES_KEPT);
}
