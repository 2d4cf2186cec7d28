//! The chain's language without a chain: keys, calls and signing payloads from a metadata file.
//!
//! A door of plain functions for tools and tests that hold our bytes against another client's.
//! Everything goes through the functions that the node itself signs with.

use std::net::SocketAddr;

use chain_metadata::storage::StorageItem;
use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::submit_guard::Binding;
use subxt::ext::scale_value::Value;

use crate::calls::{
    commitment_call, serve_axon_call, serve_axon_tls_call, weights_call, CallValue,
    CommitmentField, WeightsSubmission,
};
use crate::encode::{call_bytes, signing_payload, storage_key, EncodeError};
use crate::runtime::Runtime;
use crate::shape::metadata_in_file;

/// Why a file is not a runtime's metadata.
#[derive(Debug, thiserror::Error)]
#[error("these bytes are not the metadata of a runtime: {detail}")]
pub struct NotMetadata {
    /// The decoder's message.
    pub detail: String,
}

/// Writes what one runtime reads.
#[derive(Clone, Debug)]
pub struct Codec(Runtime);

/// A part of a storage key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPartValue {
    /// A subnet, a uid, a storage index, an epoch, a round.
    Number(u64),
    /// An account.
    Account(Hotkey),
}

/// A call that the node can sign.
#[derive(Clone, Debug)]
pub enum NodeCall<'a> {
    /// Weights in any form.
    Weights(WeightsSubmission<'a>),
    /// Where the signer serves.
    ServeAxon {
        /// The subnet.
        netuid: Netuid,
        /// The address.
        address: SocketAddr,
    },
    /// The same, with a certificate.
    ServeAxonTls {
        /// The subnet.
        netuid: Netuid,
        /// The address.
        address: SocketAddr,
        /// Algorithm and public key.
        certificate: &'a [u8],
    },
    /// The signer's commitment.
    SetCommitment {
        /// The subnet.
        netuid: Netuid,
        /// Its fields.
        fields: &'a [CommitmentField],
    },
}

impl Codec {
    /// A codec for the runtime that the metadata describes.
    ///
    /// - `genesis`, `versions`: of spec and transactions; signing payloads hold them.
    /// - `metadata`: a file as `assay chain check --metadata` takes it, version 14 to 16.
    ///
    /// # Errors
    ///
    /// [`NotMetadata`] with the decoder's message.
    pub fn new(
        genesis: BlockHash,
        versions: (u32, u32),
        metadata: &[u8],
    ) -> Result<Self, NotMetadata> {
        let metadata = metadata_in_file(metadata)
            .map_err(|error| NotMetadata { detail: error.to_string() })?;
        Ok(Self(Runtime::new(genesis, versions, metadata)))
    }

    /// The storage key of an item, `None` where the runtime lacks an item that has a fallback.
    ///
    /// - `keys`: one value per part of the key; fewer give the prefix of what lies below.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Missing`] and [`EncodeError::Shape`].
    pub fn storage_key(
        &self,
        item: &StorageItem,
        keys: &[KeyPartValue],
    ) -> Result<Option<Vec<u8>>, EncodeError> {
        let value = |key: &KeyPartValue| match key {
            KeyPartValue::Number(number) => Value::u128(u128::from(*number)),
            KeyPartValue::Account(account) => Value::from_bytes(account.0),
        };
        let keys: Vec<Value> = keys.iter().map(value).collect();
        storage_key(self.0.metadata(), item, keys)
    }

    /// The call alone, as it stands inside an extrinsic.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as the node itself gets it before it signs.
    pub fn call_bytes(&self, call: &NodeCall<'_>) -> Result<Vec<u8>, EncodeError> {
        call_bytes(&self.0, &self.value(call)?)
    }

    /// What is signed for a call, hashed if it is longer than 256 bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], as [`Codec::call_bytes`].
    pub fn signing_payload(
        &self,
        call: &NodeCall<'_>,
        binding: &Binding,
    ) -> Result<Vec<u8>, EncodeError> {
        signing_payload(&self.0, &self.value(call)?, binding)
    }

    fn value(&self, call: &NodeCall<'_>) -> Result<CallValue, EncodeError> {
        match *call {
            NodeCall::Weights(weights) => weights_call(&self.0, weights),
            NodeCall::ServeAxon { netuid, address } => Ok(serve_axon_call(netuid, address)),
            NodeCall::ServeAxonTls { netuid, address, certificate } => {
                serve_axon_tls_call(netuid, address, certificate)
            }
            NodeCall::SetCommitment { netuid, fields } => commitment_call(netuid, fields),
        }
    }
}
