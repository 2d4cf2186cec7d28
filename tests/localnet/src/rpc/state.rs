//! `state_*`: storage, keys, runtime calls, metadata.

use super::{
    error::{code, error, invalid_params, of_query},
    params::{self, to_hex},
    subscriptions::{follow_storage, follow_version, hex_pair},
    Answer, Module,
};
use crate::chain::StorageChange;
use codec::Decode;
use jsonrpsee::core::RegisterMethodError;
use node_subtensor_runtime::Hash;
use serde_json::{json, Value};

/// Keys of one page, as on a real node.
const KEYS_MAX: usize = 1000;
/// Keys of `state_getKeys`, which has no pages. More than any map here has.
const KEYS_UNPAGED_MAX: usize = 100_000;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    register_runtime(module)?;
    register_storage(module)?;
    register_keys(module)?;
    for (alias, name) in [
        ("chain_getRuntimeVersion", "state_getRuntimeVersion"),
        ("chain_subscribeRuntimeVersion", "state_subscribeRuntimeVersion"),
        ("chain_unsubscribeRuntimeVersion", "state_unsubscribeRuntimeVersion"),
        ("state_callAt", "state_call"),
        ("state_getStorageAt", "state_getStorage"),
        ("state_getKeysPagedAt", "state_getKeysPaged"),
    ] {
        module.register_alias(alias, name)?;
    }
    Ok(())
}

fn register_runtime(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("state_getRuntimeVersion", |params, chain, _| -> Answer {
        let at = params::block_hash(&mut params.sequence())?;
        Ok(json!(chain.version(at).map_err(of_query)?))
    })?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, pending, chain, _| follow_version(pending, chain),
    )?;
    module.register_blocking_method("state_getMetadata", |params, chain, _| -> Answer {
        let at = params::block_hash(&mut params.sequence())?;
        let answer = chain.call("Metadata_metadata", &[], at).map_err(of_query)?;
        let metadata = <Vec<u8>>::decode(&mut &answer[..])
            .map_err(|e| error(code::CLIENT, format!("Client error: {e}"), None))?;
        Ok(json!(to_hex(&metadata)))
    })?;
    module.register_blocking_method("state_call", |params, chain, _| -> Answer {
        let mut params = params.sequence();
        let method: String = params.next()?;
        let arguments = params::bytes(&mut params)?;
        let at = params::block_hash(&mut params)?;
        Ok(json!(to_hex(&chain.call(&method, &arguments, at).map_err(of_query)?)))
    })?;
    Ok(())
}

fn register_storage(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("state_getStorage", |params, chain, _| -> Answer {
        let mut params = params.sequence();
        let key = params::bytes(&mut params)?;
        let at = params::block_hash(&mut params)?;
        let value = chain.storage(&key, at).map_err(of_query)?;
        Ok(value.map_or(Value::Null, |value| json!(to_hex(&value))))
    })?;
    module.register_blocking_method("state_getStorageSize", |params, chain, _| -> Answer {
        let mut params = params.sequence();
        let key = params::bytes(&mut params)?;
        let at = params::block_hash(&mut params)?;
        Ok(json!(chain.storage(&key, at).map_err(of_query)?.map(|value| value.len())))
    })?;
    module.register_blocking_method("state_queryStorageAt", |params, chain, _| -> Answer {
        let mut params = params.sequence();
        let keys: Vec<String> = params.next()?;
        let at = params::block_hash(&mut params)?;
        let hash = chain.block(at).map_err(of_query)?.hash;
        let keys: Vec<Vec<u8>> =
            keys.iter().map(|key| params::from_hex(key)).collect::<Result<_, _>>()?;
        let values = chain.values(&keys, hash).map_err(of_query)?;
        Ok(json!([changes_json(hash, &values)]))
    })?;
    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        |params, pending, chain, _| async move {
            match params.one::<Vec<String>>() {
                Ok(keys) => follow_storage(keys, pending, chain).await,
                Err(_) => {
                    pending.reject(invalid_params("the keys to follow are missing")).await;
                    Ok(())
                }
            }
        },
    )?;
    Ok(())
}

fn register_keys(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("state_getKeys", |params, chain, _| -> Answer {
        let mut params = params.sequence();
        let prefix = params::bytes(&mut params)?;
        let at = params::block_hash(&mut params)?;
        let keys = chain.keys_paged(&prefix, KEYS_UNPAGED_MAX, None, at).map_err(of_query)?;
        Ok(hex_list(&keys))
    })?;
    module.register_blocking_method("state_getKeysPaged", |params, chain, _| -> Answer {
        let mut params = params.sequence();
        let prefix = params::optional_bytes(&mut params)?.unwrap_or_default();
        let count: usize = params.next()?;
        if count > KEYS_MAX {
            let message = format!("count exceeds maximum value. value: {count}, max: {KEYS_MAX}");
            return Err(error(code::INVALID_COUNT, message, None));
        }
        let start = params::optional_bytes(&mut params)?;
        let at = params::block_hash(&mut params)?;
        let keys = chain.keys_paged(&prefix, count, start.as_deref(), at).map_err(of_query)?;
        Ok(hex_list(&keys))
    })?;
    Ok(())
}

fn hex_list(keys: &[Vec<u8>]) -> Value {
    keys.iter().map(|key| to_hex(key)).collect()
}

/// A storage change set as clients know it.
pub(super) fn changes_json(block: Hash, changes: &[StorageChange]) -> Value {
    let changes: Vec<_> =
        changes.iter().map(|(key, value)| hex_pair(key, value.as_deref())).collect();
    json!({ "block": block, "changes": changes })
}
