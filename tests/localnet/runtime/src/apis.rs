//! The runtime APIs a client calls through `state_call`.

use crate::{
    metagraph::{
        self, DelegateInfo, DynamicInfo, HyperparamEntry, Metagraph, NeuronInfo, NeuronInfoLite,
        SelectiveMetagraph, Source, StakeInfo, StakeOn, SubnetHyperparams, SubnetHyperparamsV2,
        SubnetInfo, SubnetInfov2, SubnetPrice, SubnetState,
    },
    subtensor::{self, MechanismCountCurrent},
    AccountId, Balance, Block, Executive, InherentDataExt, Nonce, Runtime, System,
    TransactionPayment,
};
use frame_support::weights::Weight;
use pallet_transaction_payment_rpc_runtime_api::{FeeDetails, RuntimeDispatchInfo};
use sp_api::impl_runtime_apis;
use sp_core::OpaqueMetadata;
use sp_runtime::{
    traits::Block as BlockT,
    transaction_validity::{TransactionSource, TransactionValidity},
    ApplyExtrinsicResult, ExtrinsicInclusionMode,
};
use sp_version::RuntimeVersion;

impl_runtime_apis! {
    impl sp_api::Core<Block> for Runtime {
        fn version() -> RuntimeVersion {
            System::runtime_version()
        }

        fn execute_block(block: <Block as BlockT>::LazyBlock) {
            Executive::execute_block(block)
        }

        fn initialize_block(header: &<Block as BlockT>::Header) -> ExtrinsicInclusionMode {
            Executive::initialize_block(header)
        }
    }

    impl sp_api::Metadata<Block> for Runtime {
        fn metadata() -> OpaqueMetadata {
            OpaqueMetadata::new(Runtime::metadata().into())
        }

        fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
            Runtime::metadata_at_version(version)
        }

        fn metadata_versions() -> Vec<u32> {
            Runtime::metadata_versions()
        }
    }

    impl sp_block_builder::BlockBuilder<Block> for Runtime {
        fn apply_extrinsic(extrinsic: <Block as BlockT>::Extrinsic) -> ApplyExtrinsicResult {
            Executive::apply_extrinsic(extrinsic)
        }

        fn finalize_block() -> <Block as BlockT>::Header {
            Executive::finalize_block()
        }

        fn inherent_extrinsics(
            data: sp_inherents::InherentData,
        ) -> Vec<<Block as BlockT>::Extrinsic> {
            data.create_extrinsics()
        }

        fn check_inherents(
            block: <Block as BlockT>::LazyBlock,
            data: sp_inherents::InherentData,
        ) -> sp_inherents::CheckInherentsResult {
            data.check_extrinsics(&block)
        }
    }

    impl sp_transaction_pool::runtime_api::TaggedTransactionQueue<Block> for Runtime {
        fn validate_transaction(
            source: TransactionSource,
            tx: <Block as BlockT>::Extrinsic,
            block_hash: <Block as BlockT>::Hash,
        ) -> TransactionValidity {
            Executive::validate_transaction(source, tx, block_hash)
        }
    }

    impl frame_system_rpc_runtime_api::AccountNonceApi<Block, AccountId, Nonce> for Runtime {
        fn account_nonce(account: AccountId) -> Nonce {
            System::account_nonce(account)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, Balance>
        for Runtime
    {
        fn query_info(
            uxt: <Block as BlockT>::Extrinsic,
            len: u32,
        ) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_info(uxt, len)
        }

        fn query_fee_details(uxt: <Block as BlockT>::Extrinsic, len: u32) -> FeeDetails<Balance> {
            TransactionPayment::query_fee_details(uxt, len)
        }

        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }

        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl metagraph::SubnetInfoRuntimeApi<Block> for Runtime {
        fn get_subnet_info(netuid: u16) -> Option<SubnetInfo> {
            Source::open(netuid, 0).as_ref().map(SubnetInfo::read)
        }

        fn get_subnets_info() -> Vec<Option<SubnetInfo>> {
            each_subnet(SubnetInfo::read)
        }

        fn get_subnet_info_v2(netuid: u16) -> Option<SubnetInfov2> {
            Source::open(netuid, 0).as_ref().map(SubnetInfov2::read)
        }

        fn get_subnets_info_v2() -> Vec<Option<SubnetInfov2>> {
            each_subnet(SubnetInfov2::read)
        }

        fn get_subnet_hyperparams(netuid: u16) -> Option<SubnetHyperparams> {
            Source::open(netuid, 0).as_ref().map(SubnetHyperparams::read)
        }

        fn get_subnet_hyperparams_v2(netuid: u16) -> Option<SubnetHyperparamsV2> {
            Source::open(netuid, 0).as_ref().map(SubnetHyperparamsV2::read)
        }

        fn get_all_dynamic_info() -> Vec<Option<DynamicInfo>> {
            each_subnet(DynamicInfo::read)
        }

        fn get_all_metagraphs() -> Vec<Option<Metagraph>> {
            each_subnet(Metagraph::read)
        }

        fn get_metagraph(netuid: u16) -> Option<Metagraph> {
            Source::open(netuid, 0).as_ref().map(Metagraph::read)
        }

        fn get_all_mechagraphs() -> Vec<Option<Metagraph>> {
            let mechanisms = |netuid| {
                let count = MechanismCountCurrent::<Runtime>::get(netuid);
                (0..count).map(move |mecid| Source::open(netuid, mecid))
            };
            let sources = metagraph::netuids().into_iter().flat_map(mechanisms);
            sources.map(|source| source.as_ref().map(Metagraph::read)).collect()
        }

        fn get_mechagraph(netuid: u16, mecid: u8) -> Option<Metagraph> {
            Source::open(netuid, mecid).as_ref().map(Metagraph::read)
        }

        fn get_dynamic_info(netuid: u16) -> Option<DynamicInfo> {
            Source::open(netuid, 0).as_ref().map(DynamicInfo::read)
        }

        fn get_subnet_state(netuid: u16) -> Option<SubnetState> {
            Source::open(netuid, 0).as_ref().map(SubnetState::read)
        }

        fn get_selective_metagraph(
            netuid: u16,
            metagraph_indexes: Vec<u16>,
        ) -> Option<SelectiveMetagraph> {
            let wanted = metagraph_indexes.into_iter().collect();
            Source::open(netuid, 0).map(|source| SelectiveMetagraph::read(&source, &wanted))
        }

        fn get_coldkey_auto_stake_hotkey(_coldkey: AccountId, _netuid: u16) -> Option<AccountId> {
            None
        }

        fn get_selective_mechagraph(
            netuid: u16,
            subid: u8,
            metagraph_indexes: Vec<u16>,
        ) -> Option<SelectiveMetagraph> {
            let wanted = metagraph_indexes.into_iter().collect();
            Source::open(netuid, subid).map(|source| SelectiveMetagraph::read(&source, &wanted))
        }

        fn get_subnet_to_prune() -> Option<u16> {
            None
        }

        fn get_next_epoch_start_block(netuid: u16) -> Option<u64> {
            subtensor::Pallet::<Runtime>::next_epoch_start_block(netuid)
        }

        fn get_subnet_hyperparams_v3(netuid: u16) -> Option<Vec<HyperparamEntry>> {
            Source::open(netuid, 0).as_ref().map(HyperparamEntry::read_all)
        }
    }

    impl metagraph::NeuronInfoRuntimeApi<Block> for Runtime {
        fn get_neurons(netuid: u16) -> Vec<NeuronInfo> {
            Source::open(netuid, 0).as_ref().map(NeuronInfo::read_all).unwrap_or_default()
        }

        fn get_neuron(netuid: u16, uid: u16) -> Option<NeuronInfo> {
            Source::open(netuid, 0).and_then(|source| NeuronInfo::read(&source, uid))
        }

        fn get_neurons_lite(netuid: u16) -> Vec<NeuronInfoLite> {
            Source::open(netuid, 0).as_ref().map(NeuronInfoLite::read_all).unwrap_or_default()
        }

        fn get_neuron_lite(netuid: u16, uid: u16) -> Option<NeuronInfoLite> {
            Source::open(netuid, 0).and_then(|source| NeuronInfoLite::read(&source, uid))
        }
    }

    impl metagraph::SwapRuntimeApi<Block> for Runtime {
        fn current_alpha_price(netuid: u16) -> u64 {
            metagraph::current_alpha_price(netuid)
        }

        fn current_alpha_price_all() -> Vec<SubnetPrice> {
            let price = |netuid| SubnetPrice {
                netuid,
                price: metagraph::current_alpha_price(netuid),
            };
            metagraph::netuids().into_iter().map(price).collect()
        }
    }

    impl metagraph::DelegateInfoRuntimeApi<Block> for Runtime {
        fn get_delegates() -> Vec<DelegateInfo> {
            DelegateInfo::read_all()
        }

        fn get_delegate(delegate_account: AccountId) -> Option<DelegateInfo> {
            DelegateInfo::read(&delegate_account)
        }

        fn get_delegated(
            delegatee_account: AccountId,
        ) -> Vec<(DelegateInfo, StakeOn)> {
            DelegateInfo::read_of(&delegatee_account)
        }
    }

    impl metagraph::StakeInfoRuntimeApi<Block> for Runtime {
        fn get_stake_info_for_coldkey(coldkey_account: AccountId) -> Vec<StakeInfo> {
            StakeInfo::read_all(&coldkey_account)
        }

        fn get_stake_info_for_coldkeys(
            coldkey_accounts: Vec<AccountId>,
        ) -> Vec<(AccountId, Vec<StakeInfo>)> {
            let of = |coldkey: AccountId| {
                let stakes = StakeInfo::read_all(&coldkey);
                (coldkey, stakes)
            };
            coldkey_accounts.into_iter().map(of).collect()
        }

        fn get_stake_info_for_hotkey_coldkey_netuid(
            hotkey_account: AccountId,
            coldkey_account: AccountId,
            netuid: u16,
        ) -> Option<StakeInfo> {
            Some(StakeInfo::read(&hotkey_account, &coldkey_account, netuid))
        }
    }
}

/// One answer per subnet, in the order of their numbers.
fn each_subnet<T>(read: impl Fn(&Source) -> T) -> Vec<Option<T>> {
    let sources = metagraph::netuids().into_iter().map(|netuid| Source::open(netuid, 0));
    sources.map(|source| source.as_ref().map(&read)).collect()
}
