//! `dev_drand`: what goes wrong with the beacon's pulses.

use super::super::{error::invalid_params, Answer, Module};
use crate::chain::PulseFaults;
use jsonrpsee::core::RegisterMethodError;
use serde_json::{json, Value};

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_method("dev_drand", |params, endpoint, _| -> Answer {
        let change: Option<serde_json::Map<String, Value>> = params.sequence().optional_next()?;
        let before = endpoint.chain().pulse_faults();
        let mut all = json!(before);
        if let Some(all) = all.as_object_mut() {
            all.extend(change.unwrap_or_default());
        }
        let faults: PulseFaults =
            serde_json::from_value(all).map_err(|error| invalid_params(error.to_string()))?;
        endpoint.chain().set_pulse_faults(faults.clone());
        Ok(json!(faults))
    })?;
    Ok(())
}
