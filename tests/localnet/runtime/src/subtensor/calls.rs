//! The pallet's calls, in the order of the real chain's numbers.
//!
//! Imported into the pallet module of `mod.rs`, which has the names that are used here.

#[frame_support::pallet_macros::pallet_section]
mod calls {
    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Sets the caller's weights for mechanism 0.
        #[pallet::call_index(0)]
        #[pallet::weight((weight_of_row(dests), DispatchClass::Normal, Pays::No))]
        pub fn set_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            dests: Vec<u16>,
            weights: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_set_weights(&hotkey, (netuid, 0), dests, weights, version_key)
        }

        /// Publishes where the caller can be reached.
        #[pallet::call_index(4)]
        #[pallet::weight((Weight::from_parts(34_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn serve_axon(
            origin: OriginFor<T>,
            netuid: NetUid,
            version: u32,
            ip: u128,
            port: u16,
            ip_type: u8,
            protocol: u8,
            placeholder1: u8,
            placeholder2: u8,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let axon = AxonInfo {
                block: Self::current_block(),
                version,
                ip,
                port,
                ip_type,
                protocol,
                placeholder1,
                placeholder2,
            };
            Self::do_serve_axon(hotkey, netuid, axon, None)
        }

        /// Registers a hotkey for the present price; the caller is its coldkey.
        #[pallet::call_index(7)]
        #[pallet::weight(Weight::from_parts(354_000_000, 0))]
        pub fn burned_register(
            origin: OriginFor<T>,
            netuid: NetUid,
            hotkey: T::AccountId,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_burned_register(coldkey, netuid, hotkey)
        }

        /// Publishes where the caller can be reached, and its certificate.
        ///
        /// A certificate that is too long is left out without a word, as on the real chain.
        #[pallet::call_index(40)]
        #[pallet::weight((Weight::from_parts(34_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn serve_axon_tls(
            origin: OriginFor<T>,
            netuid: NetUid,
            version: u32,
            ip: u128,
            port: u16,
            ip_type: u8,
            protocol: u8,
            placeholder1: u8,
            placeholder2: u8,
            certificate: Vec<u8>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let axon = AxonInfo {
                block: Self::current_block(),
                version,
                ip,
                port,
                ip_type,
                protocol,
                placeholder1,
                placeholder2,
            };
            Self::do_serve_axon(hotkey, netuid, axon, Some(&certificate))
        }

        /// Sets weights on several subnets; an item that fails leaves the others alone.
        #[pallet::call_index(80)]
        #[pallet::weight((weight_of_rows(weights), DispatchClass::Normal, Pays::No))]
        pub fn batch_set_weights(
            origin: OriginFor<T>,
            netuids: Vec<Compact<NetUid>>,
            weights: Vec<Vec<(Compact<u16>, Compact<u16>)>>,
            version_keys: Vec<Compact<u64>>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_batch_set_weights(hotkey, netuids, weights, &version_keys)
        }

        /// Stores the hash of weights that are to be revealed later.
        #[pallet::call_index(96)]
        #[pallet::weight((COMMIT_WEIGHT, DispatchClass::Normal, Pays::No))]
        pub fn commit_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            commit_hash: H256,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_hash(&hotkey, (netuid, 0), commit_hash)
        }

        /// Shows the weights behind a hash, and sets them.
        #[pallet::call_index(97)]
        #[pallet::weight((weight_of_row(uids), DispatchClass::Normal, Pays::No))]
        pub fn reveal_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            uids: Vec<u16>,
            values: Vec<u16>,
            salt: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let reveal = Reveal { uids, values, salt, version_key };
            Self::do_reveal(&hotkey, (netuid, 0), reveal)
        }

        /// Shows several rows of one subnet; all or none.
        #[pallet::call_index(98)]
        #[pallet::weight((
            uids_list.iter().fold(Weight::zero(), |sum, uids| sum + weight_of_row(uids)),
            DispatchClass::Normal,
            Pays::No
        ))]
        pub fn batch_reveal_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            uids_list: Vec<Vec<u16>>,
            values_list: Vec<Vec<u16>>,
            salts_list: Vec<Vec<u16>>,
            version_keys: Vec<u64>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let reveals = Reveal::zip(uids_list, values_list, salts_list, version_keys)
                .ok_or(Error::<T>::InputLengthsUnequal)?;
            Self::do_batch_reveal(&hotkey, netuid, reveals)
        }

        /// Stores hashes on several subnets; an item that fails leaves the others alone.
        #[pallet::call_index(100)]
        #[pallet::weight((
            COMMIT_WEIGHT.saturating_mul(netuids.len().saturated_into()),
            DispatchClass::Normal,
            Pays::No
        ))]
        pub fn batch_commit_weights(
            origin: OriginFor<T>,
            netuids: Vec<Compact<NetUid>>,
            commit_hashes: Vec<H256>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_batch_commit_hashes(hotkey, netuids, &commit_hashes)
        }

        /// Stores sealed weights, which the chain opens by itself.
        #[pallet::call_index(113)]
        #[pallet::weight((COMMIT_WEIGHT, DispatchClass::Normal, Pays::No))]
        pub fn commit_timelocked_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            commit: SealedWeights,
            reveal_round: u64,
            commit_reveal_version: u16,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let sealed = (commit, reveal_round);
            Self::do_commit_timelocked(hotkey, (netuid, 0), sealed, commit_reveal_version)
        }

        /// Stores the hash of weights of one mechanism.
        #[pallet::call_index(115)]
        #[pallet::weight((COMMIT_WEIGHT, DispatchClass::Normal, Pays::No))]
        pub fn commit_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            commit_hash: H256,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_hash(&hotkey, (netuid, mecid), commit_hash)
        }

        /// Shows the weights of one mechanism behind a hash, and sets them.
        #[pallet::call_index(116)]
        #[pallet::weight((weight_of_row(uids), DispatchClass::Normal, Pays::No))]
        pub fn reveal_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            uids: Vec<u16>,
            values: Vec<u16>,
            salt: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let reveal = Reveal { uids, values, salt, version_key };
            Self::do_reveal(&hotkey, (netuid, mecid), reveal)
        }

        /// Stores sealed weights of one mechanism, in the present format.
        #[pallet::call_index(117)]
        #[pallet::weight((COMMIT_WEIGHT, DispatchClass::Normal, Pays::No))]
        pub fn commit_crv3_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            commit: SealedWeights,
            reveal_round: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let version = CommitRevealWeightsVersion::<T>::get();
            Self::do_commit_timelocked(hotkey, (netuid, mecid), (commit, reveal_round), version)
        }

        /// Stores sealed weights of one mechanism, which the chain opens by itself.
        #[pallet::call_index(118)]
        #[pallet::weight((COMMIT_WEIGHT, DispatchClass::Normal, Pays::No))]
        pub fn commit_timelocked_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            commit: SealedWeights,
            reveal_round: u64,
            commit_reveal_version: u16,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let sealed = (commit, reveal_round);
            Self::do_commit_timelocked(hotkey, (netuid, mecid), sealed, commit_reveal_version)
        }

        /// Sets the caller's weights for one mechanism.
        #[pallet::call_index(119)]
        #[pallet::weight((weight_of_row(dests), DispatchClass::Normal, Pays::No))]
        pub fn set_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            dests: Vec<u16>,
            weights: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_set_weights(&hotkey, (netuid, mecid), dests, weights, version_key)
        }

        /// Changes the tempo and restarts the cycle at this block. Owner only.
        #[pallet::call_index(139)]
        #[pallet::weight(Weight::from_parts(30_000_000, 0))]
        pub fn set_tempo(origin: OriginFor<T>, netuid: NetUid, tempo: u16) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_tempo(&who, netuid, tempo)
        }

        /// Changes the tempos after which a silent validator is inactive. Owner only.
        #[pallet::call_index(140)]
        #[pallet::weight(Weight::from_parts(30_000_000, 0))]
        pub fn set_activity_cutoff_factor(
            origin: OriginFor<T>,
            netuid: NetUid,
            factor_milli: u32,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_activity_cutoff_factor(&who, netuid, factor_milli)
        }

        /// Asks for an epoch `AdminFreezeWindow` blocks from now. Owner only.
        #[pallet::call_index(141)]
        #[pallet::weight(Weight::from_parts(30_000_000, 0))]
        pub fn trigger_epoch(origin: OriginFor<T>, netuid: NetUid) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_trigger_epoch(who, netuid)
        }
    }
}
