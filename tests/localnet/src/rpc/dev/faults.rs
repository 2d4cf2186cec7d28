//! `dev_fault`: what goes wrong between the listeners and their clients.

use super::super::{error::invalid_params, Answer, Module};
use crate::faults::{FaultChange, FaultError};
use jsonrpsee::{core::RegisterMethodError, types::ErrorObjectOwned};
use serde_json::{json, Value};

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    // Async, because a fault that ends by itself starts a task.
    module.register_async_method("dev_fault", |params, endpoint, _| async move {
        let change = FaultChange::from_json(params.one::<Value>()?).map_err(of_fault)?;
        let moment = endpoint.chain().newest_moment();
        endpoint.switchboard().change(&change, moment).map_err(of_fault)?;
        Answer::Ok(json!(endpoint.switchboard().faults()))
    })?;
    module.register_method("dev_faults", |_, endpoint, _| -> Value {
        json!(endpoint.switchboard().faults())
    })?;
    Ok(())
}

fn of_fault(failure: FaultError) -> ErrorObjectOwned {
    let reason = std::error::Error::source(&failure).map(|source| format!(": {source}"));
    invalid_params(format!("{failure}{}", reason.unwrap_or_default()))
}
