//! Many storage values of one block in few calls.
//!
//! Keys are known in advance (uids are `0..n`, and the rest is keyed by hotkey), so they are asked
//! for together with `state_queryStorageAt`: one call for a subnet of 256 neurons, pages of
//! [`KEYS_PER_CALL_MAX`] keys for larger ones. A page whose answer is too large for the node is
//! asked for again in halves.

use chain_metadata::storage::StorageItem;
use chain_metadata::Capability;
use futures_util::{StreamExt as _, TryStreamExt as _};
use node_core::id::BlockHash;
use subxt::ext::frame_decode::storage::IntoEncodableValues;
use subxt::ext::scale_decode::DecodeAsType;

use crate::decode::{stored, DecodeError};
use crate::encode::{storage_key, EncodeError};
use crate::link::{CallError, Links};
use crate::runtime::Runtime;

/// Keys asked for in one call. Lower: more calls. Higher: the rows of a subnet with thousands of
/// uids pass the 10 MiB that a node's answer may have, and are asked for twice.
const KEYS_PER_CALL_MAX: usize = 1024;

/// The JSON-RPC error of a node whose answer would be too large.
const ANSWER_TOO_LARGE: i32 = -32008;

/// Pages asked for at once. Lower: a view takes longer. Higher: public nodes refuse bursts.
pub(crate) const CALLS_IN_FLIGHT_MAX: usize = 4;

/// Which value of a batch; nothing where the runtime lacks the item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(Option<usize>);

impl Slot {
    /// Whether the runtime has the item.
    pub(crate) fn is_known(self) -> bool {
        self.0.is_some()
    }
}

/// Storage keys to be asked for together.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    runtime: &'a Runtime,
    keys: Vec<Vec<u8>>,
}

/// The values of a batch, in the order of its keys.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    runtime: &'a Runtime,
    values: Vec<Option<Vec<u8>>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(runtime: &'a Runtime) -> Self {
        Self { runtime, keys: Vec::new() }
    }

    /// The runtime by which keys are made.
    pub(crate) fn runtime(&self) -> &'a Runtime {
        self.runtime
    }

    /// An item that views do not depend on and that cannot be addressed counts as absent: the shape
    /// check has said so already, and taken away what needs it.
    pub(crate) fn add<K: IntoEncodableValues>(
        &mut self,
        item: &StorageItem,
        keys: K,
    ) -> Result<Slot, EncodeError> {
        let key = match storage_key(self.runtime.metadata(), item, keys) {
            Err(_) if !is_needed_for_reading(item) => None,
            key => key?,
        };
        let Some(key) = key else { return Ok(Slot(None)) };
        self.keys.push(key);
        Ok(Slot(Some(self.keys.len() - 1)))
    }

    #[cfg(test)]
    pub(crate) fn key(&self, slot: Slot) -> Option<&[u8]> {
        self.keys.get(slot.0?).map(Vec::as_slice)
    }

    /// What a chain with these values only would answer.
    #[cfg(test)]
    pub(crate) fn answered(self, stored: &[(Slot, Vec<u8>)]) -> Answers<'a> {
        let mut values = vec![None; self.keys.len()];
        for (slot, bytes) in stored {
            if let Some(place) = slot.0.and_then(|at| values.get_mut(at)) {
                *place = Some(bytes.clone());
            }
        }
        Answers { runtime: self.runtime, values }
    }

    /// The keys alone, as they are asked for, again and again.
    pub(crate) fn into_keys(self) -> Vec<String> {
        self.keys.iter().map(const_hex::encode_prefixed).collect()
    }

    /// Asks for all of them at one block.
    pub(crate) async fn fetch(
        self,
        links: &Links,
        block: BlockHash,
    ) -> Result<Answers<'a>, CallError> {
        let runtime = self.runtime;
        fetch(links, runtime, &self.into_keys(), block).await
    }
}

/// Asks for the values of a batch's keys at one block.
pub(crate) async fn fetch<'a>(
    links: &Links,
    runtime: &'a Runtime,
    keys: &[String],
    block: BlockHash,
) -> Result<Answers<'a>, CallError> {
    if (1..=KEYS_PER_CALL_MAX).contains(&keys.len()) {
        return Ok(Answers { runtime, values: fetch_page(links, keys, block).await? });
    }
    // Made before they are streamed: a closure over borrowed pages is not `Send` for callers.
    let pages = keys.chunks(KEYS_PER_CALL_MAX);
    let pages: Vec<_> = pages.map(|page| fetch_page(links, page, block)).collect();
    let mut answers = futures_util::stream::iter(pages).buffered(CALLS_IN_FLIGHT_MAX);
    let mut values = Vec::with_capacity(keys.len());
    while let Some(page) = answers.try_next().await? {
        values.extend(page);
    }
    Ok(Answers { runtime, values })
}

async fn fetch_page(
    links: &Links,
    page: &[String],
    block: BlockHash,
) -> Result<Vec<Option<Vec<u8>>>, CallError> {
    let mut found = Vec::new();
    let mut parts = vec![page];
    while let Some(part) = parts.pop() {
        match query(links, part, block).await {
            Err(CallError::Refused { source, .. })
                if source.code == ANSWER_TOO_LARGE && part.len() > 1 =>
            {
                let (left, right) = part.split_at(part.len() / 2);
                // The left one is asked for first, so that values stay in order.
                parts.extend([right, left]);
            }
            answer => found.extend(answer?),
        }
    }
    Ok(found)
}

async fn query(
    links: &Links,
    keys: &[String],
    block: BlockHash,
) -> Result<Vec<Option<Vec<u8>>>, CallError> {
    links
        .call(
            "state_queryStorageAt",
            |methods| async move { methods.query_storage(keys, block).await },
        )
        .await
}

fn is_needed_for_reading(item: &StorageItem) -> bool {
    item.needed_for.contains(&Capability::Reading)
}

impl<'a> Answers<'a> {
    /// The runtime by which the values are read.
    pub(crate) fn runtime(&self) -> &'a Runtime {
        self.runtime
    }

    /// The value, or the item's default; `None` if it has none or the runtime lacks the item. An
    /// item that views do not depend on counts as absent if it cannot be read.
    pub(crate) fn optional<T: DecodeAsType>(
        &self,
        item: &StorageItem,
        slot: Slot,
    ) -> Result<Option<T>, DecodeError> {
        let Slot(Some(at)) = slot else { return Ok(None) };
        let bytes = self.values.get(at).and_then(Option::as_deref);
        match stored(self.runtime, item, bytes) {
            Err(error) if !is_needed_for_reading(item) => {
                tracing::debug!(%error, "an item counts as absent");
                Ok(None)
            }
            value => value,
        }
    }

    /// The value or the item's default.
    pub(crate) fn required<T: DecodeAsType>(
        &self,
        item: &StorageItem,
        slot: Slot,
    ) -> Result<T, DecodeError> {
        self.optional(item, slot)?.ok_or_else(|| {
            DecodeError::new(format!("{}.{}", item.pallet, item.name), "no value and no default")
        })
    }

    /// The stored bytes, without a default.
    pub(crate) fn raw(&self, slot: Slot) -> Option<&[u8]> {
        self.values.get(slot.0?).and_then(Option::as_deref)
    }
}
