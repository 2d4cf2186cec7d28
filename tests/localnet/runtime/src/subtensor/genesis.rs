//! The subnets a chain starts with.

use super::{
    Burn, CommitRevealWeightsEnabled, Config, FirstEmissionBlockNumber, ImmunityPeriod,
    MaxAllowedUids, MaxAllowedValidators, MechanismCountCurrent, MinAllowedWeights, NetUid,
    NetworksAdded, Owner, Pallet, RevealPeriodEpochs, ServingRateLimit, SubnetAlphaOutEmission,
    SubnetOwner, SubnetOwnerHotkey, SubtokenEnabled, Tempo, TotalHotkeyAlpha, ValidatorPermit,
    WeightsSetRateLimit, WeightsVersionKey,
};
use serde::{Deserialize, Serialize};

/// A subnet at block 0. Its neurons take the uids from 0 in the order given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SubnetGenesis<AccountId> {
    /// The subnet's number.
    pub netuid: NetUid,
    /// Blocks per epoch; 0 for no epochs.
    pub tempo: u16,
    /// Coldkey that may change the tempo and trigger epochs.
    pub owner: AccountId,
    /// The owner's hotkey; it needs no permit and no stake.
    pub owner_hotkey: AccountId,
    /// Blocks between two submissions of one uid.
    pub weights_set_rate_limit: u64,
    /// Least version key accepted; 0 accepts any.
    pub weights_version_key: u64,
    /// Least number of entries in a row (at most the number of neurons).
    pub min_allowed_weights: u16,
    /// Seats.
    pub max_allowed_uids: u16,
    /// Permits handed out per epoch.
    pub max_allowed_validators: u16,
    /// Blocks in which a new neuron is not pruned.
    pub immunity_period: u16,
    /// Blocks between two `serve_axon` of one hotkey.
    pub serving_rate_limit: u64,
    /// Mechanisms, at least 1.
    pub mechanisms: u8,
    /// Whether plain weights are refused.
    pub commit_reveal: bool,
    /// Epochs for which commits stay concealed, at least 1.
    pub reveal_period_epochs: u64,
    /// Alpha per block for the owner and the neurons, in rao.
    pub emission_per_block: u64,
    /// The neurons.
    pub neurons: Vec<NeuronGenesis<AccountId>>,
}

/// A neuron at block 0.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NeuronGenesis<AccountId> {
    /// The key that signs.
    pub hotkey: AccountId,
    /// The key that owns it.
    pub coldkey: AccountId,
    /// Alpha on this subnet, in rao.
    pub stake: u64,
    /// Whether it holds a permit before the first epoch.
    pub validator_permit: bool,
}

impl<T: Config> Pallet<T> {
    pub(super) fn build_subnet(subnet: &SubnetGenesis<T::AccountId>) {
        let netuid = subnet.netuid;
        NetworksAdded::<T>::insert(netuid, true);
        SubnetOwner::<T>::insert(netuid, &subnet.owner);
        SubnetOwnerHotkey::<T>::insert(netuid, &subnet.owner_hotkey);
        Owner::<T>::insert(&subnet.owner_hotkey, &subnet.owner);
        Tempo::<T>::insert(netuid, subnet.tempo);
        WeightsSetRateLimit::<T>::insert(netuid, subnet.weights_set_rate_limit);
        WeightsVersionKey::<T>::insert(netuid, subnet.weights_version_key);
        MinAllowedWeights::<T>::insert(netuid, subnet.min_allowed_weights);
        MaxAllowedUids::<T>::insert(netuid, subnet.max_allowed_uids);
        MaxAllowedValidators::<T>::insert(netuid, subnet.max_allowed_validators);
        ImmunityPeriod::<T>::insert(netuid, subnet.immunity_period);
        ServingRateLimit::<T>::insert(netuid, subnet.serving_rate_limit);
        MechanismCountCurrent::<T>::insert(netuid, subnet.mechanisms.max(1));
        CommitRevealWeightsEnabled::<T>::insert(netuid, subnet.commit_reveal);
        RevealPeriodEpochs::<T>::insert(netuid, subnet.reveal_period_epochs.max(1));
        SubnetAlphaOutEmission::<T>::insert(netuid, subnet.emission_per_block);
        SubtokenEnabled::<T>::insert(netuid, true);
        FirstEmissionBlockNumber::<T>::insert(netuid, 1);
        // The price as it is by default, but there for clients that list every subnet's.
        Burn::<T>::insert(netuid, Burn::<T>::get(netuid));
        for neuron in &subnet.neurons {
            Owner::<T>::insert(&neuron.hotkey, &neuron.coldkey);
            TotalHotkeyAlpha::<T>::insert(&neuron.hotkey, netuid, neuron.stake);
            Self::append_neuron(netuid, &neuron.hotkey, 0);
        }
        let permits: Vec<bool> =
            subnet.neurons.iter().map(|neuron| neuron.validator_permit).collect();
        ValidatorPermit::<T>::insert(netuid, permits);
    }
}
