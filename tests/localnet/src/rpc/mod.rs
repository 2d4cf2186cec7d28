//! The JSON-RPC methods: the legacy set that subxt, the SDKs and the Python clients use.
//!
//! `rpc_methods` lists neither `chainHead_v1_*` nor `archive_v1_*`, so that clients choose the
//! legacy way. Everything that touches the chain runs on blocking threads. One file per namespace.

mod author;
mod blocks;
mod dev;
mod endpoint;
mod error;
mod middleware;
mod params;
mod state;
mod subscriptions;
mod system;

use crate::chain::Chain;
use jsonrpsee::{core::RegisterMethodError, types::ErrorObjectOwned, RpcModule};
use serde_json::{json, Value};
use std::sync::Arc;

pub use endpoint::Endpoint;
pub use error::code;
pub(crate) use middleware::Faulty;

type Module = RpcModule<Endpoint>;
type Answer = Result<Value, ErrorObjectOwned>;

/// All methods for a chain, without faults.
///
/// # Errors
///
/// If two methods have the same name.
pub fn module(chain: Arc<Chain>) -> Result<RpcModule<Endpoint>, RegisterMethodError> {
    methods(Endpoint::plain(chain))
}

/// All methods of an endpoint.
///
/// # Errors
///
/// If two methods have the same name.
pub fn methods(endpoint: Endpoint) -> Result<RpcModule<Endpoint>, RegisterMethodError> {
    let mut module = RpcModule::new(endpoint);
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
