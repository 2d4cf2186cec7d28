//! Following the chain: heads, storage, the runtime's version, the fate of a transaction.
//!
//! Followers walk the chain's timeline up to the moment at which their endpoint stands, so a slow
//! one misses nothing, nothing is queued for it, and a reorganisation looks as it did when it
//! happened.

use super::{
    params::{from_hex, to_hex},
    state::changes_json,
    Endpoint,
};
use crate::chain::{Moment, SealedBlock, StorageChange, Watcher};
use jsonrpsee::{
    core::SubscriptionError, PendingSubscriptionSink, SubscriptionMessage, SubscriptionSink,
};
use node_subtensor_runtime::Hash;
use serde::Serialize;
use std::{collections::HashMap, sync::Arc};

/// Which heads are followed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    /// Each block that becomes the best one.
    Best,
    /// Each block that becomes known.
    Any,
    /// Each block that becomes final.
    Finalized,
}

/// The subscriber is gone.
struct Gone;

async fn send(sink: &SubscriptionSink, value: &impl Serialize) -> Result<(), Gone> {
    let json = serde_json::value::to_raw_value(value).map_err(|_| Gone)?;
    sink.send(SubscriptionMessage::from(json)).await.map_err(|_| Gone)
}

/// Walks the timeline from where the endpoint stands.
struct Walk {
    endpoint: Arc<Endpoint>,
    at: u64,
    /// The moment before the next.
    last: Moment,
}

impl Walk {
    fn start(endpoint: Arc<Endpoint>) -> Self {
        let at = endpoint.moment_number();
        let last = endpoint.moment_at(at);
        Self { endpoint, at, last }
    }

    /// The next moment, with the one before it; ends when the subscriber leaves.
    async fn next(&mut self, sink: &SubscriptionSink) -> Result<(Moment, Moment), Gone> {
        let mut heads = self.endpoint.chain().watch_heads();
        let mut faults = self.endpoint.watch_faults();
        loop {
            heads.borrow_and_update();
            faults.borrow_and_update();
            let newest = self.endpoint.moment_number();
            while self.at < newest {
                self.at += 1;
                // One so old that it is forgotten is skipped.
                if let Some(moment) = self.endpoint.chain().moment(self.at) {
                    let before = std::mem::replace(&mut self.last, moment.clone());
                    return Ok((before, moment));
                }
            }
            tokio::select! {
                () = sink.closed() => return Err(Gone),
                changed = heads.changed() => changed.map_err(|_| Gone)?,
                changed = faults.changed() => changed.map_err(|_| Gone)?,
            }
        }
    }
}

pub(super) async fn follow_heads(
    pending: PendingSubscriptionSink,
    endpoint: Arc<Endpoint>,
    head: Head,
) -> Result<(), SubscriptionError> {
    let sink = pending.accept().await?;
    let _gone = send_heads(&sink, endpoint, head).await;
    Ok(())
}

async fn send_heads(
    sink: &SubscriptionSink,
    endpoint: Arc<Endpoint>,
    head: Head,
) -> Result<(), Gone> {
    let mut walk = Walk::start(endpoint.clone());
    // The present head comes first.
    let present = match head {
        Head::Best | Head::Any => &walk.last.best,
        Head::Finalized => &walk.last.finalized,
    };
    send(sink, &present.header).await?;
    loop {
        let (before, moment) = walk.next(sink).await?;
        for block in new_heads(&endpoint, head, &before, &moment) {
            send(sink, &block.header).await?;
        }
    }
}

fn new_heads(
    endpoint: &Endpoint,
    head: Head,
    before: &Moment,
    moment: &Moment,
) -> Vec<Arc<SealedBlock>> {
    match head {
        Head::Best if moment.best.hash == before.best.hash => Vec::new(),
        Head::Best => vec![moment.best.clone()],
        Head::Any => moment.imported.clone(),
        Head::Finalized => {
            let chain = endpoint.chain();
            let numbers = before.finalized.number() + 1..=moment.finalized.number();
            let hash = |number| chain.block_hash_below(&moment.finalized, number);
            numbers.filter_map(hash).filter_map(|hash| chain.block(Some(hash)).ok()).collect()
        }
    }
}

pub(super) async fn follow_storage(
    keys: Vec<String>,
    pending: PendingSubscriptionSink,
    endpoint: Arc<Endpoint>,
) -> Result<(), SubscriptionError> {
    let keys = match keys.iter().map(|key| from_hex(key)).collect::<Result<Vec<_>, _>>() {
        Ok(keys) => keys,
        Err(error) => {
            pending.reject(error).await;
            return Ok(());
        }
    };
    let sink = pending.accept().await?;
    let _gone = send_storage(&sink, endpoint, &keys).await;
    Ok(())
}

async fn send_storage(
    sink: &SubscriptionSink,
    endpoint: Arc<Endpoint>,
    keys: &[Vec<u8>],
) -> Result<(), Gone> {
    let mut walk = Walk::start(endpoint.clone());
    let at = walk.last.best.hash;
    let values = endpoint.values(keys, at).unwrap_or_default();
    send(sink, &changes_json(at, &values)).await?;
    let mut known: HashMap<Vec<u8>, Option<Vec<u8>>> = values.into_iter().collect();
    loop {
        let (before, moment) = walk.next(sink).await?;
        let changed = changed_values(&endpoint, &known, before.best.hash, &moment);
        if changed.is_empty() {
            continue;
        }
        known.extend(changed.iter().cloned());
        send(sink, &changes_json(moment.best.hash, &changed)).await?;
    }
}

/// What was written since: by the block on top of the last, or whatever differs after a
/// reorganisation.
fn changed_values(
    endpoint: &Endpoint,
    known: &HashMap<Vec<u8>, Option<Vec<u8>>>,
    last: Hash,
    moment: &Moment,
) -> Vec<StorageChange> {
    if moment.best.hash == last {
        return Vec::new();
    }
    if moment.best.header.parent_hash == last {
        let written = moment.best.changes.iter();
        return written.filter(|(key, _)| known.contains_key(key)).cloned().collect();
    }
    let keys: Vec<Vec<u8>> = known.keys().cloned().collect();
    let values = endpoint.values(&keys, moment.best.hash).unwrap_or_default();
    values.into_iter().filter(|(key, value)| known.get(key) != Some(value)).collect()
}

pub(super) async fn follow_version(
    pending: PendingSubscriptionSink,
    endpoint: Arc<Endpoint>,
) -> Result<(), SubscriptionError> {
    let sink = pending.accept().await?;
    let _gone = send_versions(&sink, endpoint).await;
    Ok(())
}

async fn send_versions(sink: &SubscriptionSink, endpoint: Arc<Endpoint>) -> Result<(), Gone> {
    let mut walk = Walk::start(endpoint.clone());
    let mut at = walk.last.best.hash;
    let mut said = None;
    loop {
        if let Ok(version) = endpoint.version(Some(at)) {
            if said.as_ref() != Some(&version) {
                send(sink, &version).await?;
                said = Some(version);
            }
        }
        at = walk.next(sink).await?.1.best.hash;
    }
}

/// Without a watcher the transaction was lost, and the subscriber hears nothing after `ready`.
pub(super) async fn follow_transaction(
    pending: PendingSubscriptionSink,
    watcher: Option<Watcher>,
) -> Result<(), SubscriptionError> {
    let sink = pending.accept().await?;
    let Some(mut watcher) = watcher else {
        if send(&sink, &"ready").await.is_ok() {
            sink.closed().await;
        }
        return Ok(());
    };
    loop {
        tokio::select! {
            () = sink.closed() => return Ok(()),
            status = watcher.recv() => match status {
                Some(status) => if send(&sink, &status).await.is_err() { return Ok(()) },
                None => return Ok(()),
            },
        }
    }
}

/// Serialised here because a hex key is what clients ask with.
pub(super) fn hex_pair(key: &[u8], value: Option<&[u8]>) -> (String, Option<String>) {
    (to_hex(key), value.map(to_hex))
}
