//! Many storage values of one block in few calls.
//!
//! A subnet of 256 neurons needs about two thousand values. Their keys are known in advance (uids
//! are `0..n`, and the rest is keyed by hotkey), so they are asked for in pages of
//! [`KEYS_PER_CALL_MAX`] with `state_queryStorageAt`, a few pages at a time.

use std::collections::HashMap;

use chain_metadata::storage::StorageItem;
use futures_util::{StreamExt as _, TryStreamExt as _};
use node_core::id::BlockHash;
use subxt::config::substrate::H256;
use subxt::ext::frame_decode::storage::IntoEncodableValues;
use subxt::ext::scale_decode::DecodeAsType;

use crate::decode::{stored, DecodeError};
use crate::encode::{storage_key, EncodeError};
use crate::link::{CallError, Links};
use crate::runtime::Runtime;

/// Keys asked for in one call. Lower: more round trips. Higher: the rows of a subnet with
/// thousands of uids pass the 10 MiB that a node's answer may have.
const KEYS_PER_CALL_MAX: usize = 256;

/// Pages asked for at once. Lower: a view takes longer. Higher: public nodes refuse bursts.
pub(crate) const CALLS_IN_FLIGHT_MAX: usize = 4;

/// Which value of a batch; nothing where the runtime lacks the item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(Option<usize>);

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

    pub(crate) fn add<K: IntoEncodableValues>(
        &mut self,
        item: &StorageItem,
        keys: K,
    ) -> Result<Slot, EncodeError> {
        let Some(key) = storage_key(self.runtime.metadata(), item, keys)? else {
            return Ok(Slot(None));
        };
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

    /// Asks for all of them at one block.
    pub(crate) async fn fetch(
        self,
        links: &Links,
        block: BlockHash,
    ) -> Result<Answers<'a>, CallError> {
        let pages: Vec<Vec<Vec<u8>>> =
            self.keys.chunks(KEYS_PER_CALL_MAX).map(<[Vec<u8>]>::to_vec).collect();
        let mut found: HashMap<Vec<u8>, Vec<u8>> = HashMap::with_capacity(self.keys.len());
        let mut answers = futures_util::stream::iter(pages)
            .map(|page| fetch_page(links, page, block))
            .buffer_unordered(CALLS_IN_FLIGHT_MAX);
        while let Some(page) = answers.try_next().await? {
            found.extend(page);
        }
        let values = self.keys.iter().map(|key| found.remove(key)).collect();
        Ok(Answers { runtime: self.runtime, values })
    }
}

async fn fetch_page(
    links: &Links,
    keys: Vec<Vec<u8>>,
    block: BlockHash,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, CallError> {
    let sets = links
        .call("state_queryStorageAt", |methods| async move {
            let keys = keys.iter().map(Vec::as_slice);
            methods.state_query_storage_at(keys, Some(H256(block.0))).await
        })
        .await?;
    let changes = sets.into_iter().flat_map(|set| set.changes);
    Ok(changes.filter_map(|(key, value)| Some((key.0, value?.0))).collect())
}

impl Answers<'_> {
    /// The value, or the item's default; `None` if it has none or the runtime lacks the item.
    pub(crate) fn optional<T: DecodeAsType>(
        &self,
        item: &StorageItem,
        slot: Slot,
    ) -> Result<Option<T>, DecodeError> {
        let Slot(Some(at)) = slot else { return Ok(None) };
        let bytes = self.values.get(at).and_then(Option::as_deref);
        stored(self.runtime, item, bytes)
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
