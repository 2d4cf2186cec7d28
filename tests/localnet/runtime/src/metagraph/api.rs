//! Declarations of the real chain's own runtime APIs.

use super::{
    DelegateInfo, DynamicInfo, HyperparamEntry, Metagraph, NeuronInfo, NeuronInfoLite,
    SelectiveMetagraph, StakeInfo, StakeOn, SubnetHyperparams, SubnetHyperparamsV2, SubnetInfo,
    SubnetInfov2, SubnetPrice, SubnetState,
};
use crate::AccountId;

sp_api::decl_runtime_apis! {
    /// What the chain knows about subnets. `None` where there is no such subnet or mechanism.
    pub trait SubnetInfoRuntimeApi {
        /// A subnet's parameters and size.
        fn get_subnet_info(netuid: u16) -> Option<SubnetInfo>;
        /// Every subnet's, in the order of their numbers.
        fn get_subnets_info() -> Vec<Option<SubnetInfo>>;
        /// A subnet's parameters and size.
        fn get_subnet_info_v2(netuid: u16) -> Option<SubnetInfov2>;
        /// Every subnet's, in the order of their numbers.
        fn get_subnets_info_v2() -> Vec<Option<SubnetInfov2>>;
        /// A subnet's parameters.
        fn get_subnet_hyperparams(netuid: u16) -> Option<SubnetHyperparams>;
        /// A subnet's parameters.
        fn get_subnet_hyperparams_v2(netuid: u16) -> Option<SubnetHyperparamsV2>;
        /// Every subnet's market and clock, in the order of their numbers.
        fn get_all_dynamic_info() -> Vec<Option<DynamicInfo>>;
        /// Every subnet, in the order of their numbers.
        fn get_all_metagraphs() -> Vec<Option<Metagraph>>;
        /// A subnet and its neurons.
        fn get_metagraph(netuid: u16) -> Option<Metagraph>;
        /// Every mechanism of every subnet.
        fn get_all_mechagraphs() -> Vec<Option<Metagraph>>;
        /// A mechanism of a subnet.
        fn get_mechagraph(netuid: u16, mecid: u8) -> Option<Metagraph>;
        /// A subnet's market and clock.
        fn get_dynamic_info(netuid: u16) -> Option<DynamicInfo>;
        /// A subnet's neurons.
        fn get_subnet_state(netuid: u16) -> Option<SubnetState>;
        /// The columns with these numbers.
        fn get_selective_metagraph(
            netuid: u16,
            metagraph_indexes: Vec<u16>,
        ) -> Option<SelectiveMetagraph>;
        /// The hotkey a coldkey's earnings go to; none here.
        fn get_coldkey_auto_stake_hotkey(coldkey: AccountId, netuid: u16) -> Option<AccountId>;
        /// The columns of a mechanism with these numbers.
        fn get_selective_mechagraph(
            netuid: u16,
            subid: u8,
            metagraph_indexes: Vec<u16>,
        ) -> Option<SelectiveMetagraph>;
        /// The subnet that a new one would replace; none here.
        fn get_subnet_to_prune() -> Option<u16>;
        /// The block in which the next epoch is due; `None` also where there are no epochs.
        fn get_next_epoch_start_block(netuid: u16) -> Option<u64>;
        /// A subnet's parameters by name.
        fn get_subnet_hyperparams_v3(netuid: u16) -> Option<Vec<HyperparamEntry>>;
    }

    /// Neurons one by one.
    pub trait NeuronInfoRuntimeApi {
        /// Every neuron with its rows; none where there is no such subnet.
        fn get_neurons(netuid: u16) -> Vec<NeuronInfo>;
        /// One neuron with its rows.
        fn get_neuron(netuid: u16, uid: u16) -> Option<NeuronInfo>;
        /// Every neuron.
        fn get_neurons_lite(netuid: u16) -> Vec<NeuronInfoLite>;
        /// One neuron.
        fn get_neuron_lite(netuid: u16, uid: u16) -> Option<NeuronInfoLite>;
    }

    /// Prices. Swaps cannot be simulated: there is no market.
    pub trait SwapRuntimeApi {
        /// Rao of TAO for one whole alpha.
        fn current_alpha_price(netuid: u16) -> u64;
        /// The same for every subnet.
        fn current_alpha_price_all() -> Vec<SubnetPrice>;
    }

    /// Hotkeys that others may stand behind.
    pub trait DelegateInfoRuntimeApi {
        /// Every hotkey with stake.
        fn get_delegates() -> Vec<DelegateInfo>;
        /// One hotkey.
        fn get_delegate(delegate_account: AccountId) -> Option<DelegateInfo>;
        /// Those a coldkey stands behind.
        fn get_delegated(
            delegatee_account: AccountId,
        ) -> Vec<(DelegateInfo, StakeOn)>;
    }

    /// Stakes.
    pub trait StakeInfoRuntimeApi {
        /// What a coldkey has at stake.
        fn get_stake_info_for_coldkey(coldkey_account: AccountId) -> Vec<StakeInfo>;
        /// What several coldkeys have at stake.
        fn get_stake_info_for_coldkeys(
            coldkey_accounts: Vec<AccountId>,
        ) -> Vec<(AccountId, Vec<StakeInfo>)>;
        /// What a coldkey has behind a hotkey on a subnet.
        fn get_stake_info_for_hotkey_coldkey_netuid(
            hotkey_account: AccountId,
            coldkey_account: AccountId,
            netuid: u16,
        ) -> Option<StakeInfo>;
    }
}
