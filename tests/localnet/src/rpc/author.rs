//! `author_*`: sending transactions.

use super::{
    error::{code, error, of_submit},
    params::{from_hex, to_hex},
    subscriptions::follow_transaction,
    Answer, Endpoint, Module,
};
use crate::chain::Watcher;
use jsonrpsee::{
    core::RegisterMethodError,
    types::{ErrorObjectOwned, Params},
};
use serde_json::{json, Value};
use std::sync::Arc;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("author_submitExtrinsic", |params, chain, _| -> Answer {
        let bytes = from_hex(&params.one::<String>()?)?;
        Ok(json!(chain.submit(bytes).map_err(of_submit)?))
    })?;
    module.register_blocking_method("author_pendingExtrinsics", |_, chain, _| -> Value {
        chain.pending().iter().map(|bytes| to_hex(bytes)).collect()
    })?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, chain, _| async move {
            match submit_and_watch(params, chain).await {
                Ok(watcher) => follow_transaction(pending, watcher).await,
                Err(error) => {
                    pending.reject(error).await;
                    Ok(())
                }
            }
        },
    )?;
    Ok(())
}

async fn submit_and_watch(
    params: Params<'static>,
    chain: Arc<Endpoint>,
) -> Result<Option<Watcher>, ErrorObjectOwned> {
    let bytes = from_hex(&params.one::<String>()?)?;
    let submitted =
        tokio::task::spawn_blocking(move || chain.submit_and_watch(bytes).map_err(of_submit));
    submitted.await.map_err(|_| error(code::VERIFICATION, "Verification Error: stopping", None))?
}
