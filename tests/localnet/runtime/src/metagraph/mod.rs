//! What clients learn about subnets, neurons and stakes in one runtime call.
//!
//! The answers have the real chain's names, types and order of fields at spec version 425, so that
//! a client's fingerprint of each method is the same here. They are read from storage when asked;
//! nothing is kept for them.
//!
//! Columns without a source here say what a new subnet on the real chain says: no identities, no
//! collateral, the default limits of registration. There is no market either: [`pool`] states at
//! which price everything is valued. `rank`, `trust` and `pruning_score` are empty vectors, as
//! they have been on the real chain since their storage went away.
//!
//! Not here: the calls' declarations and which method reads what (`apis`).

mod api;
mod columns;
mod hyperparams;
mod neurons;
mod pool;
mod source;
mod stakes;
mod subnets;
mod wire;

pub use api::*;
pub use columns::{Metagraph, SelectiveMetagraph};
pub use hyperparams::{HyperparamEntry, HyperparamValue, SubnetHyperparams, SubnetHyperparamsV2};
pub use neurons::{NeuronInfo, NeuronInfoLite};
pub use pool::{current_alpha_price, SubnetPrice, ALPHA_PRICE, POOL_RESERVE};
pub(crate) use source::{netuids, Source};
pub use stakes::{DelegateInfo, StakeInfo, StakeOn};
pub use subnets::{DynamicInfo, SubnetInfo, SubnetInfov2, SubnetState};
pub use wire::{ChainIdentityV2, FixedI128, FixedI64, FixedU128, PrometheusInfo, SubnetIdentityV3};
