//! `system_*`: who the node is, its health, the next nonce.

use super::{
    error::{invalid_params, of_query},
    Answer, Module,
};
use jsonrpsee::core::RegisterMethodError;
use node_subtensor_runtime::AccountId;
use serde_json::json;
use sp_core::crypto::Ss58Codec;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_method("system_chain", |_, _, _| "Assay local chain")?;
    module.register_method("system_name", |_, _, _| "localnet")?;
    module.register_method("system_version", |_, _, _| env!("CARGO_PKG_VERSION"))?;
    module.register_method("system_chainType", |_, _, _| "Development")?;
    module.register_method("system_nodeRoles", |_, _, _| json!(["Authority"]))?;
    module.register_method("system_peers", |_, _, _| json!([]))?;
    module.register_method(
        "system_health",
        |_, _, _| json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }),
    )?;
    module.register_method(
        "system_properties",
        |_, _, _| json!({ "ss58Format": 42, "tokenDecimals": 9, "tokenSymbol": "TAO" }),
    )?;
    module.register_method("system_syncState", |_, chain, _| {
        let best = chain.best().number();
        json!({ "startingBlock": 0, "currentBlock": best, "highestBlock": best })
    })?;
    module.register_blocking_method("system_accountNextIndex", |params, chain, _| -> Answer {
        let account: String = params.one()?;
        let account = AccountId::from_ss58check(&account)
            .map_err(|error| invalid_params(format!("not an SS58 address: {error}")))?;
        Ok(json!(chain.next_index(&account).map_err(of_query)?))
    })?;
    module.register_alias("account_nextIndex", "system_accountNextIndex")
}
