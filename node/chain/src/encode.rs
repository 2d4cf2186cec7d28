//! From our values to the chain's bytes: storage keys, calls, signed extrinsics.
//!
//! Everything is encoded by the names and types in a runtime's metadata, so that renumbered
//! pallets and values wrapped in new types change nothing here.

use std::net::{IpAddr, SocketAddr};

use chain_metadata::call::{self, Call};
use chain_metadata::storage::{StorageItem, RAW_BYTES_MAX};
use chain_metadata::Absent;
use node_core::id::{Digest, Netuid, Uid};
use node_core::limits::EXTRINSIC_ERA_BLOCKS;
use node_core::rows::SignedExtrinsic;
use node_core::unit::BlockNumber;
use subxt::config::substrate::{
    AccountId32, MultiSignature, SubstrateExtrinsicParamsBuilder, H256,
};
use subxt::ext::frame_decode::storage::{encode_storage_key, IntoEncodableValues};
use subxt::ext::scale_value::{Composite, Value};
use subxt::{Metadata, SubstrateConfig};

use crate::era::Era;
use crate::follow::FinalizedHead;
use crate::keypair::Keypair;
use crate::runtime::Runtime;

/// Version an axon claims; ours speaks none of the protocols that look at it.
const AXON_VERSION: u32 = 1;
const IP_TYPE_V4: u8 = 4;
const IP_TYPE_V6: u8 = 6;

/// Why something cannot be written in a runtime's language.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The runtime does not have the item or the call.
    #[error("this runtime has no `{pallet}.{name}`")]
    Missing {
        /// The pallet.
        pallet: &'static str,
        /// The item or call.
        name: &'static str,
    },
    /// The runtime's version of it is of another shape.
    #[error("`{pallet}.{name}` has another shape in this runtime: {detail}")]
    Shape {
        /// The pallet.
        pallet: &'static str,
        /// The item or call.
        name: &'static str,
        /// The encoder's message.
        detail: String,
    },
}

/// The storage key of an item, `None` where the runtime lacks an item that has a fallback.
///
/// - `keys`: one value per key part; fewer give the prefix of what lies below.
pub(crate) fn storage_key<K: IntoEncodableValues>(
    metadata: &Metadata,
    item: &StorageItem,
    keys: K,
) -> Result<Option<Vec<u8>>, EncodeError> {
    let StorageItem { pallet, name, absent, .. } = *item;
    if !has_item(metadata, item) {
        return match absent {
            Absent::Fatal => Err(EncodeError::Missing { pallet, name }),
            Absent::Fallback(_) => Ok(None),
        };
    }
    encode_storage_key(pallet, name, keys, metadata, metadata.types())
        .map(Some)
        .map_err(|error| EncodeError::Shape { pallet, name, detail: error.to_string() })
}

pub(crate) fn has_item(metadata: &Metadata, item: &StorageItem) -> bool {
    metadata
        .pallet_by_name(item.pallet)
        .and_then(|pallet| pallet.storage())
        .is_some_and(|storage| storage.entry_by_name(item.name).is_some())
}

pub(crate) fn has_call(metadata: &Metadata, call: &Call) -> bool {
    metadata
        .pallet_by_name(call.pallet)
        .is_some_and(|pallet| pallet.call_variant_by_name(call.name).is_some())
}

/// A call with its arguments, ready to be encoded for any runtime that has it.
#[derive(Clone, Debug)]
pub(crate) struct CallValue {
    call: &'static Call,
    args: Composite<()>,
}

impl CallValue {
    pub(crate) fn name(&self) -> &'static str {
        self.call.name
    }

    fn payload(&self) -> subxt::transactions::DynamicPayload<Composite<()>> {
        subxt::dynamic::tx(self.call.pallet, self.call.name, self.args.clone())
    }
}

/// A vector of weights and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct WeightsCall<'a> {
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism, 0 where the subnet has one only.
    pub mechanism: u8,
    /// Uid and weight, in the order in which the chain will store them.
    pub vector: &'a [(Uid, u16)],
    /// The version key it is signed with.
    pub version_key: u64,
}

/// `set_mechanism_weights`, or `set_weights` where the runtime has only that.
///
/// # Errors
///
/// [`EncodeError::Missing`] if the runtime has neither, or only the latter and `mechanism` is
/// not 0.
pub(crate) fn weights_call(
    metadata: &Metadata,
    weights: &WeightsCall<'_>,
) -> Result<CallValue, EncodeError> {
    let list = |values: Vec<u16>| Value::unnamed_composite(values.into_iter().map(number));
    let mut args = vec![("netuid", number(weights.netuid.0))];
    let call = if has_call(metadata, &call::SET_MECHANISM_WEIGHTS) {
        args.push(("mecid", number(weights.mechanism)));
        &call::SET_MECHANISM_WEIGHTS
    } else if weights.mechanism == 0 {
        &call::SET_WEIGHTS
    } else {
        let Call { pallet, name, .. } = call::SET_MECHANISM_WEIGHTS;
        return Err(EncodeError::Missing { pallet, name });
    };
    args.push(("dests", list(weights.vector.iter().map(|(uid, _)| uid.0).collect())));
    args.push(("weights", list(weights.vector.iter().map(|(_, weight)| *weight).collect())));
    args.push(("version_key", number(weights.version_key)));
    Ok(CallValue { call, args: Composite::named(args) })
}

/// `serve_axon`: an IPv4 address is its 32 bits as a number.
pub(crate) fn serve_axon_call(netuid: Netuid, address: SocketAddr) -> CallValue {
    let (ip, ip_type) = match address.ip() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), IP_TYPE_V4),
        IpAddr::V6(ip) => (u128::from(ip), IP_TYPE_V6),
    };
    let args = [
        ("netuid", number(netuid.0)),
        ("version", number(AXON_VERSION)),
        ("ip", Value::u128(ip)),
        ("port", number(address.port())),
        ("ip_type", number(ip_type)),
        ("protocol", number(0u8)),
        ("placeholder1", number(0u8)),
        ("placeholder2", number(0u8)),
    ];
    CallValue { call: &call::SERVE_AXON, args: Composite::named(args) }
}

/// `set_commitment` with one raw field; `None` for more than [`RAW_BYTES_MAX`] bytes.
pub(crate) fn set_commitment_call(netuid: Netuid, bytes: &[u8]) -> Option<CallValue> {
    if bytes.len() > RAW_BYTES_MAX {
        return None;
    }
    let field = Value::unnamed_variant(format!("Raw{}", bytes.len()), [Value::from_bytes(bytes)]);
    let info = Value::named_composite([("fields", Value::unnamed_composite([field]))]);
    let args = [("netuid", number(netuid.0)), ("info", info)];
    Some(CallValue { call: &call::SET_COMMITMENT, args: Composite::named(args) })
}

fn number(value: impl Into<u128>) -> Value {
    Value::u128(value.into())
}

/// The call alone, without signature, as it stands inside an extrinsic.
#[cfg(test)]
pub(crate) fn call_bytes(runtime: &Runtime, call: &CallValue) -> Result<Vec<u8>, EncodeError> {
    let client = runtime.client().ok_or_else(|| shape(call, "no client"))?;
    client.transactions().call_data(&call.payload()).map_err(|error| shape(call, error))
}

/// Signs a call for the [`EXTRINSIC_ERA_BLOCKS`] blocks from `anchor` on.
///
/// Deterministic but for the signature itself, which is randomised: signing twice gives two
/// extrinsics with the same nonce, of which the chain takes at most one.
pub(crate) fn sign(
    runtime: &Runtime,
    call: &CallValue,
    signer: &Keypair,
    anchor: FinalizedHead,
    nonce: u32,
) -> Result<SignedExtrinsic, EncodeError> {
    let Call { pallet, name, .. } = *call.call;
    if !has_call(runtime.metadata(), call.call) {
        return Err(EncodeError::Missing { pallet, name });
    }
    let params = SubstrateExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(u64::from(nonce))
        .mortal_from_unchecked(EXTRINSIC_ERA_BLOCKS, anchor.number.0, H256(anchor.hash.0))
        .build();
    let client = runtime.client().ok_or_else(|| shape(call, "no client"))?;
    let signed = client
        .transactions()
        .create_signable_offline(&call.payload(), params)
        .and_then(|mut signable| signable.sign(&Adapter(signer)))
        .map_err(|error| shape(call, error))?;
    let bytes = signed.encoded().to_vec();
    let hash = Digest(sp_crypto_hashing::blake2_256(&bytes));
    let era_end = era_end(anchor.number);
    Ok(SignedExtrinsic { bytes, hash, nonce, era_end })
}

/// The first block in which an extrinsic anchored at `anchor` is no longer valid.
pub(crate) fn era_end(anchor: BlockNumber) -> BlockNumber {
    Era::mortal(EXTRINSIC_ERA_BLOCKS, anchor).death(anchor)
}

fn shape(call: &CallValue, detail: impl ToString) -> EncodeError {
    let Call { pallet, name, .. } = *call.call;
    EncodeError::Shape { pallet, name, detail: detail.to_string() }
}

struct Adapter<'a>(&'a Keypair);

impl subxt::transactions::Signer<SubstrateConfig> for Adapter<'_> {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.0.public().0)
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.0.sign_raw(payload))
    }
}
