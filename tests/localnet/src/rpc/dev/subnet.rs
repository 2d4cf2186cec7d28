//! `dev_*`: what owners, root and chance do to the neurons of a subnet.
//!
//! Each is a transaction of the sudo key and takes effect with the next block.

use super::super::{
    error::{invalid_params, of_change},
    Answer, Endpoint, Module,
};
use crate::{
    admin::{alter, neurons, register as register_neuron, ChangeError},
    keys::Keyring,
};
use jsonrpsee::{
    core::RegisterMethodError,
    types::{ErrorObjectOwned, ParamsSequence},
};
use node_subtensor_runtime::{AccountId, Hash};
use serde_json::json;
use sp_core::crypto::Ss58Codec;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("dev_register", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let netuid: u16 = params.next()?;
        let hotkey = account(&mut params)?;
        let alice = Keyring::new().derive(&["Alice"]);
        let sent = register_neuron(endpoint.chain(), &alice, netuid, hotkey);
        Ok(json!(sent.map_err(of_change)?))
    })?;
    module.register_blocking_method("dev_replace", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let (netuid, uid): (u16, u16) = (params.next()?, params.next()?);
        let hotkey = account(&mut params)?;
        let coldkey: Option<String> = params.optional_next()?;
        let coldkey = coldkey.map_or(Ok(hotkey.clone()), |text| of_ss58(&text))?;
        answer(&endpoint, || neurons::replace(netuid, uid, &hotkey, &coldkey))
    })?;
    module.register_blocking_method("dev_trim", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let netuid: u16 = params.next()?;
        let gone: Vec<u16> = params.next()?;
        answer(&endpoint, || neurons::trim(netuid, &gone))
    })?;
    module.register_blocking_method("dev_setStake", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let netuid: u16 = params.next()?;
        let hotkey = account(&mut params)?;
        let rao: u64 = params.next()?;
        answer(&endpoint, || neurons::set_stake(netuid, &hotkey, rao))
    })?;
    module.register_blocking_method("dev_setPermit", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let (netuid, uid): (u16, u16) = (params.next()?, params.next()?);
        let permit: bool = params.next()?;
        answer(&endpoint, || neurons::set_permit(netuid, uid, permit))
    })?;
    module.register_blocking_method("dev_setCommitReveal", |params, endpoint, _| -> Answer {
        let mut params = params.sequence();
        let netuid: u16 = params.next()?;
        let on: bool = params.next()?;
        answer(&endpoint, || neurons::set_commit_reveal(netuid, on))
    })?;
    Ok(())
}

fn answer(endpoint: &Endpoint, code: impl FnOnce()) -> Answer {
    let alice = Keyring::new().derive(&["Alice"]);
    let sent: Result<Vec<Hash>, ChangeError> = alter(endpoint.chain(), &alice, code);
    Ok(json!(sent.map_err(of_change)?))
}

fn account(params: &mut ParamsSequence<'_>) -> Result<AccountId, ErrorObjectOwned> {
    of_ss58(&params.next::<String>()?)
}

fn of_ss58(text: &str) -> Result<AccountId, ErrorObjectOwned> {
    AccountId::from_ss58check(text)
        .map_err(|error| invalid_params(format!("not an SS58 address: {error}")))
}
