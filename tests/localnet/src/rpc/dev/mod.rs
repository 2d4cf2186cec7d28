//! `dev_*`: what only a development chain offers.

mod drand;
mod faults;
mod forks;
mod subnet;

use super::{
    error::{invalid_params, of_change, of_query, of_seal},
    params, Answer, Module,
};
use crate::{
    admin::{change_storage, upgrade, UpgradeTo},
    keys::Keyring,
    server::now_ms,
};
use jsonrpsee::{core::RegisterMethodError, types::ErrorObjectOwned};
use serde_json::json;

/// Blocks one call may seal. Higher: the call outlives the client's patience.
const SEAL_MAX: u32 = 10_000;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    drand::register(module)?;
    faults::register(module)?;
    forks::register(module)?;
    subnet::register(module)?;
    register_sealing(module)?;
    module.register_blocking_method("dev_setStorage", |params, chain, _| -> Answer {
        let changes: Vec<(String, Option<String>)> = params.one()?;
        let changes = changes
            .into_iter()
            .map(|(key, value)| {
                let value = value.map(|value| params::from_hex(&value)).transpose()?;
                Ok((params::from_hex(&key)?, value))
            })
            .collect::<Result<_, ErrorObjectOwned>>()?;
        let alice = Keyring::new().derive(&["Alice"]);
        Ok(json!(change_storage(chain.chain(), &alice, changes).map_err(of_change)?))
    })?;
    module.register_blocking_method("dev_upgrade", |params, chain, _| -> Answer {
        let to: UpgradeTo = params.one()?;
        let alice = Keyring::new().derive(&["Alice"]);
        Ok(json!(upgrade(chain.chain(), &alice, to).map_err(of_change)?))
    })?;
    Ok(())
}

fn register_sealing(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("dev_seal", |params, chain, _| -> Answer {
        let mut params = params.sequence();
        let count: u32 = params.optional_next()?.unwrap_or(1);
        let at_ms: Option<u64> = params.optional_next()?;
        if !(1..=SEAL_MAX).contains(&count) {
            return Err(invalid_params(format!("between 1 and {SEAL_MAX} blocks can be sealed")));
        }
        let mut included = 0;
        for _ in 0..count {
            let sealed = match at_ms {
                Some(at_ms) => chain.chain().seal(at_ms),
                None => chain.chain().seal_next_slot(now_ms()),
            };
            included += sealed.map_err(|error| of_seal(&error))?.signed();
        }
        let best = chain.chain().best();
        Ok(json!({ "number": best.number(), "hash": best.hash, "included": included }))
    })?;
    module.register_blocking_method("dev_verifyBlock", |params, chain, _| -> Answer {
        let at = params::block_hash(&mut params.sequence())?;
        let block = chain.block(at).map_err(of_query)?;
        chain.chain().verify(block.hash).map_err(of_query)?;
        Ok(json!({ "number": block.number(), "hash": block.hash }))
    })?;
    module.register_blocking_method("dev_status", |_, chain, _| -> Answer {
        Ok(json!({
            "best": chain.chain().best().number(),
            "finalized": chain.chain().finalized().number(),
            "pending": chain.pending().len(),
            "trieNodes": chain.chain().trie_nodes(),
            "specVersion": chain.chain().version(None).map_err(of_query)?.spec_version,
            "timestampMs": chain.chain().last_timestamp(),
        }))
    })?;
    Ok(())
}
