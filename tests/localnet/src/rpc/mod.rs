//! The JSON-RPC methods: the legacy set that subxt, the SDKs and the Python clients use.
//!
//! `rpc_methods` lists neither `chainHead_v1_*` nor `archive_v1_*`, so that clients choose the
//! legacy way. Everything that touches the chain runs on blocking threads. One file per namespace.

mod author;
mod blocks;
mod dev;
mod error;
mod params;
mod state;
mod subscriptions;
mod system;

use crate::chain::Chain;
use jsonrpsee::{core::RegisterMethodError, types::ErrorObjectOwned, RpcModule};
use serde_json::{json, Value};
use std::sync::Arc;

pub use error::code;

type Module = RpcModule<Chain>;
type Answer = Result<Value, ErrorObjectOwned>;

/// All methods for a chain.
///
/// # Errors
///
/// If two methods have the same name.
pub fn module(chain: Arc<Chain>) -> Result<Module, RegisterMethodError> {
    let mut module = RpcModule::from_arc(chain);
    system::register(&mut module)?;
    blocks::register(&mut module)?;
    state::register(&mut module)?;
    author::register(&mut module)?;
    dev::register(&mut module)?;
    let mut names: Vec<&str> = module.method_names().collect();
    names.push("rpc_methods");
    names.sort_unstable();
    let names = json!({ "methods": names });
    module.register_method("rpc_methods", move |_, _, _| names.clone())?;
    Ok(module)
}
