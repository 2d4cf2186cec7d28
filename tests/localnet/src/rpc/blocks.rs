//! `chain_*`: hashes, headers, blocks and heads.

use super::{
    params::{self, to_hex},
    subscriptions::{follow_heads, Head},
    Answer, Endpoint, Module,
};
use crate::chain::SealedBlock;
use jsonrpsee::core::RegisterMethodError;
use serde_json::{json, Value};

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_method("chain_getBlockHash", |params, chain, _| -> Answer {
        match params.sequence().optional_next::<Value>()? {
            None | Some(Value::Null) => Ok(json!(chain.best().hash)),
            Some(Value::Array(heights)) => {
                heights.iter().map(|height| hash_at(chain, height)).collect()
            }
            Some(height) => hash_at(chain, &height),
        }
    })?;
    module.register_alias("chain_getHead", "chain_getBlockHash")?;
    module
        .register_method("chain_getFinalizedHead", |_, chain, _| json!(chain.finalized().hash))?;
    module.register_alias("chain_getFinalisedHead", "chain_getFinalizedHead")?;
    module.register_method("chain_getHeader", |params, chain, _| -> Answer {
        let at = params::block_hash(&mut params.sequence())?;
        // An unknown block is no error here, as on a real node.
        Ok(chain.block(at).map_or(Value::Null, |block| json!(block.header)))
    })?;
    module.register_blocking_method("chain_getBlock", |params, chain, _| -> Answer {
        let at = params::block_hash(&mut params.sequence())?;
        Ok(chain.block(at).map_or(Value::Null, |block| block_json(&block)))
    })?;
    register_heads(module)
}

fn register_heads(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_subscription(
        "chain_subscribeNewHeads",
        "chain_newHead",
        "chain_unsubscribeNewHeads",
        |_, pending, chain, _| follow_heads(pending, chain, Head::Best),
    )?;
    module.register_subscription(
        "chain_subscribeAllHeads",
        "chain_allHead",
        "chain_unsubscribeAllHeads",
        |_, pending, chain, _| follow_heads(pending, chain, Head::Any),
    )?;
    module.register_subscription(
        "chain_subscribeFinalizedHeads",
        "chain_finalizedHead",
        "chain_unsubscribeFinalizedHeads",
        |_, pending, chain, _| follow_heads(pending, chain, Head::Finalized),
    )?;
    for (alias, name) in [
        ("chain_subscribeNewHead", "chain_subscribeNewHeads"),
        ("chain_unsubscribeNewHead", "chain_unsubscribeNewHeads"),
        ("chain_subscribeFinalisedHeads", "chain_subscribeFinalizedHeads"),
        ("chain_unsubscribeFinalisedHeads", "chain_unsubscribeFinalizedHeads"),
    ] {
        module.register_alias(alias, name)?;
    }
    Ok(())
}

fn hash_at(chain: &Endpoint, height: &Value) -> Answer {
    Ok(json!(chain.block_hash(params::height(height)?)))
}

fn block_json(block: &SealedBlock) -> Value {
    let extrinsics: Vec<String> = block.body.iter().map(|bytes| to_hex(bytes)).collect();
    json!({
        "block": { "header": block.header, "extrinsics": extrinsics },
        "justifications": null,
    })
}
