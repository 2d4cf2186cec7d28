//! From our values to the chain's bytes: storage keys, calls, signed extrinsics.
//!
//! Everything is encoded by the names and types in a runtime's metadata, so that renumbered
//! pallets and values wrapped in new types change nothing here.

use chain_metadata::call::Call;
use chain_metadata::storage::StorageItem;
use chain_metadata::Absent;
use node_core::id::Digest;
use node_core::rows::{Carries, SignedExtrinsic};
use node_core::submit_guard::Binding;
use subxt::config::substrate::{
    AccountId32, MultiSignature, SubstrateExtrinsicParamsBuilder, H256,
};
use subxt::config::ParamsFor;
use subxt::ext::frame_decode::storage::{encode_storage_key, IntoEncodableValues};
use subxt::{Metadata, SubstrateConfig};

use crate::calls::CallValue;
use crate::era::Era;
use crate::keypair::Keypair;
use crate::runtime::Runtime;

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
    /// The chain would refuse an argument, or take it and lose it.
    #[error("`{pallet}.{name}` would be refused: {detail}")]
    Argument {
        /// The pallet.
        pallet: &'static str,
        /// The call.
        name: &'static str,
        /// Which limit, and what was given.
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

/// The call alone, without signature, as it stands inside an extrinsic.
pub(crate) fn call_bytes(runtime: &Runtime, call: &CallValue) -> Result<Vec<u8>, EncodeError> {
    check_has(runtime, call)?;
    let client = runtime.client().ok_or_else(|| shape(call, "no client"))?;
    client.transactions().call_data(&call.payload()).map_err(|error| shape(call, error))
}

/// Signs a call for the blocks of `binding`'s era.
///
/// Deterministic but for the signature itself, which is randomised: signing twice gives two
/// extrinsics with the same nonce, of which the chain takes at most one.
///
/// - `carries`: what the caller put into the call; noted in the result, not checked.
pub(crate) fn sign_bound(
    runtime: &Runtime,
    call: &CallValue,
    signer: &Keypair,
    binding: &Binding,
    carries: Carries,
) -> Result<SignedExtrinsic, EncodeError> {
    check_has(runtime, call)?;
    let client = runtime.client().ok_or_else(|| shape(call, "no client"))?;
    let signed = client
        .transactions()
        .create_signable_offline(&call.payload(), params(binding))
        .and_then(|mut signable| signable.sign(&Adapter(signer)))
        .map_err(|error| shape(call, error))?;
    let bytes = signed.encoded().to_vec();
    Ok(SignedExtrinsic {
        hash: Digest(sp_crypto_hashing::blake2_256(&bytes)),
        bytes,
        nonce: binding.nonce,
        anchor: binding.anchor,
        era_end: Era::mortal(binding.era_blocks, binding.anchor).death(binding.anchor),
        spec_version: runtime.spec_version,
        carries,
        vector: Vec::new(),
    })
}

/// What [`sign_bound`] signs: call, extensions and what they imply, hashed if longer than 256
/// bytes.
pub(crate) fn signing_payload(
    runtime: &Runtime,
    call: &CallValue,
    binding: &Binding,
) -> Result<Vec<u8>, EncodeError> {
    check_has(runtime, call)?;
    let client = runtime.client().ok_or_else(|| shape(call, "no client"))?;
    client
        .transactions()
        .create_signable_offline(&call.payload(), params(binding))
        .and_then(|signable| signable.signer_payload())
        .map_err(|error| shape(call, error))
}

fn params(binding: &Binding) -> ParamsFor<SubstrateConfig> {
    let Binding { nonce, anchor, anchor_hash, era_blocks, .. } = *binding;
    SubstrateExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(u64::from(nonce))
        .mortal_from_unchecked(era_blocks, anchor.0, H256(anchor_hash.0))
        .build()
}

fn check_has(runtime: &Runtime, call: &CallValue) -> Result<(), EncodeError> {
    runtime.shapes().check_call(call.call)
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
