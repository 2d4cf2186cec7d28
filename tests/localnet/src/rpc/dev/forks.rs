//! `dev_*`: reorganisations, finality, and what the pool throws out.

use super::super::{
    error::{code, error, invalid_params},
    params, Answer, Module,
};
use crate::chain::{Fate, ReorgError, TxStatus};
use jsonrpsee::{core::RegisterMethodError, types::ErrorObjectOwned};
use serde_json::json;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("dev_reorg", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let depth: u32 = params.next()?;
        let fate: Fate = params.optional_next()?.unwrap_or_default();
        let reorg = endpoint.chain().reorg(depth, fate).map_err(|error| of_reorg(&error))?;
        let hashes = |blocks: &[std::sync::Arc<crate::chain::SealedBlock>]| {
            blocks.iter().map(|block| block.hash).collect::<Vec<_>>()
        };
        Ok(json!({
            "fork": { "number": reorg.fork.number(), "hash": reorg.fork.hash },
            "givenUp": hashes(&reorg.given_up),
            "line": hashes(&reorg.line),
        }))
    })?;
    module.register_blocking_method("dev_setFinalityLag", |params, endpoint, _| -> Answer {
        endpoint.chain().set_finality_lag(params.one()?);
        Ok(json!(endpoint.chain().finalized().number()))
    })?;
    module.register_blocking_method("dev_stallFinality", |params, endpoint, _| -> Answer {
        endpoint.chain().stall_finality(params.one()?);
        Ok(json!(endpoint.chain().finalized().number()))
    })?;
    module.register_blocking_method("dev_evict", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let status: String = params.next()?;
        let hash = params::block_hash(&mut params)?;
        let status = match status.as_str() {
            "dropped" => TxStatus::Dropped,
            "invalid" => TxStatus::Invalid,
            // Nobody looks at the other transaction, which is not there.
            "usurped" => TxStatus::Usurped(Default::default()),
            other => {
                let known = "write dropped, invalid or usurped";
                return Err(invalid_params(format!("`{other}` is no last word: {known}")));
            }
        };
        Ok(json!(endpoint.chain().evict(hash, &status)))
    })?;
    Ok(())
}

fn of_reorg(failure: &ReorgError) -> ErrorObjectOwned {
    match failure {
        ReorgError::Depth { .. } => invalid_params(failure.to_string()),
        ReorgError::Seal { source } => error(code::SEAL, format!("{failure}: {source}"), None),
    }
}
