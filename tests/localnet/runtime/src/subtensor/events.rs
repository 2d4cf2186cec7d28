//! What the pallet announces and why it refuses, under the real chain's numbers.
//!
//! Imported into the pallet module of `mod.rs`, which has the names that are used here.

#[frame_support::pallet_macros::pallet_section]
mod events {
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A uid's weights were stored: storage index, uid.
        #[codec(index = 5)]
        WeightsSet(NetUidStorageIndex, Uid),
        /// A hotkey took a uid: subnet, uid, hotkey.
        #[codec(index = 6)]
        NeuronRegistered(NetUid, Uid, T::AccountId),
        /// A hotkey published its endpoint: subnet, hotkey.
        #[codec(index = 28)]
        AxonServed(NetUid, T::AccountId),
        /// A subnet's tempo changed: subnet, blocks.
        #[codec(index = 52)]
        TempoSet(NetUid, u16),
        /// A hash of weights was stored: hotkey, storage index, hash.
        #[codec(index = 85)]
        WeightsCommitted(T::AccountId, NetUidStorageIndex, H256),
        /// Weights were shown that match a hash: hotkey, storage index, hash.
        #[codec(index = 86)]
        WeightsRevealed(T::AccountId, NetUidStorageIndex, H256),
        /// Several at once: hotkey, subnet, hashes.
        #[codec(index = 87)]
        WeightsBatchRevealed(T::AccountId, NetUid, Vec<H256>),
        /// A batch is through, failed items included: subnets, hotkey.
        #[codec(index = 88)]
        BatchWeightsCompleted(Vec<Compact<NetUid>>, T::AccountId),
        /// Items of the batch failed; they follow.
        #[codec(index = 89)]
        BatchCompletedWithErrors(),
        /// An item of a batch failed: subnet, why.
        #[codec(index = 90)]
        BatchWeightItemFailed(NetUid, DispatchError),
        /// Sealed weights were stored: hotkey, storage index, hash of the bytes, round.
        #[codec(index = 107)]
        TimelockedWeightsCommitted(T::AccountId, NetUidStorageIndex, H256, u64),
        /// Sealed weights were opened and stored: storage index, hotkey.
        #[codec(index = 108)]
        TimelockedWeightsRevealed(NetUidStorageIndex, T::AccountId),
        /// A subnet's activity cut-off changed.
        #[codec(index = 130)]
        ActivityCutoffFactorMilliSet { netuid: NetUid, factor_milli: u32 },
        /// The owner asked for an epoch ahead of time.
        #[codec(index = 131)]
        EpochTriggered { netuid: NetUid, by: T::AccountId, fires_at: u64 },
        /// Too many epochs were due in one block; this one waits.
        #[codec(index = 132)]
        EpochDeferred { netuid: NetUid, from_block: u64, to_block: u64 },
        /// The subnet's records contradict each other; its epoch wrote nothing.
        #[codec(index = 133)]
        EpochSkipped { netuid: NetUid, block: u64 },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The address type is neither 4 nor 6.
        #[codec(index = 1)]
        InvalidIpType,
        /// The address is not one that others can reach.
        #[codec(index = 2)]
        InvalidIpAddress,
        /// The port is 0.
        #[codec(index = 3)]
        InvalidPort,
        /// The hotkey has no uid in this subnet.
        #[codec(index = 4)]
        HotKeyNotRegisteredInSubNet,
        /// The hotkey has no uid in this subnet (serving).
        #[codec(index = 6)]
        HotKeyNotRegisteredInNetwork,
        /// The hotkey belongs to another coldkey.
        #[codec(index = 7)]
        NonAssociatedColdKey,
        /// The hotkey's stake is below the threshold.
        #[codec(index = 10)]
        NotEnoughStakeToSetWeights,
        /// The coldkey cannot pay the price of a registration.
        #[codec(index = 12)]
        NotEnoughBalanceToStake,
        /// The uid holds no validator permit.
        #[codec(index = 15)]
        NeuronNoValidatorPermit,
        /// The lists of uids and weights differ in length.
        #[codec(index = 16)]
        WeightVecNotEqualSize,
        /// A uid appears twice.
        #[codec(index = 17)]
        DuplicateUids,
        /// A uid is not in the subnet.
        #[codec(index = 18)]
        UidVecContainInvalidOne,
        /// Fewer weights than the subnet demands.
        #[codec(index = 19)]
        WeightVecLengthIsLow,
        /// The hotkey already has a uid in this subnet.
        #[codec(index = 21)]
        HotKeyAlreadyRegisteredInSubNet,
        /// A weight is above the subnet's maximum. Unreachable: the maximum is not enforced.
        #[codec(index = 27)]
        MaxWeightExceeded,
        /// The rate limit has not passed since the last update.
        #[codec(index = 29)]
        SettingWeightsTooFast,
        /// The version key is older than the subnet demands.
        #[codec(index = 30)]
        IncorrectWeightVersionKey,
        /// The serving limit has not passed since the last call.
        #[codec(index = 31)]
        ServingRateLimitExceeded,
        /// More weights than the subnet has uids.
        #[codec(index = 32)]
        UidsLengthExceedUidsInSubNet,
        /// Only the subnet's owner may do this.
        #[codec(index = 41)]
        NotSubnetOwner,
        /// The root subnet has its own registration.
        #[codec(index = 42)]
        RegistrationNotPermittedOnRootSubnet,
        /// The root subnet takes no weights through this call.
        #[codec(index = 47)]
        CanNotSetRootNetworkWeights,
        /// The hotkey has no commit that is still alive.
        #[codec(index = 51)]
        NoWeightsCommitFound,
        /// No commit of the hotkey has this hash.
        #[codec(index = 52)]
        InvalidRevealCommitHashNotMatch,
        /// Plain weights are refused while commit-reveal is on.
        #[codec(index = 53)]
        CommitRevealEnabled,
        /// Commits are refused while commit-reveal is off.
        #[codec(index = 54)]
        CommitRevealDisabled,
        /// The mechanism does not exist in this subnet.
        #[codec(index = 74)]
        MechanismDoesNotExist,
        /// The subnet does not exist.
        #[codec(index = 76)]
        SubnetNotExists,
        /// Ten commits wait already.
        #[codec(index = 77)]
        TooManyUnrevealedCommits,
        /// The commit's epoch to be revealed in is over.
        #[codec(index = 78)]
        ExpiredWeightCommit,
        /// The commit's epoch to be revealed in has not begun.
        #[codec(index = 79)]
        RevealTooEarly,
        /// The lists of a batch differ in length.
        #[codec(index = 80)]
        InputLengthsUnequal,
        /// The rate limit has not passed since the last update.
        #[codec(index = 81)]
        CommittingWeightsTooFast,
        /// The epoch is too near for the owner to change this.
        #[codec(index = 107)]
        AdminActionProhibitedDuringWeightsWindow,
        /// The commit has another format than the chain opens.
        #[codec(index = 110)]
        IncorrectCommitRevealVersion,
        /// The beacon has already published the round.
        #[codec(index = 111)]
        InvalidRevealRound,
        /// The tempo is outside its bounds.
        #[codec(index = 141)]
        TempoOutOfBounds,
        /// The factor is outside its bounds.
        #[codec(index = 142)]
        ActivityCutoffFactorMilliOutOfBounds,
        /// An epoch was already asked for.
        #[codec(index = 143)]
        EpochTriggerAlreadyPending,
        /// The automatic epoch comes before a triggered one would.
        #[codec(index = 144)]
        AutoEpochAlreadyImminent,
        /// Epochs cannot be triggered while commit-reveal is on.
        #[codec(index = 145)]
        DynamicTempoBlockedByCommitReveal,
    }
}
