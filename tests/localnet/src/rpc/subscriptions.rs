//! Following the chain: heads, storage, the fate of a transaction.
//!
//! Followers wait on the heights and read the blocks between the last they sent and the newest,
//! so a slow one misses none and nothing is queued for it.

use super::{
    params::{from_hex, to_hex},
    state::changes_json,
};
use crate::chain::{Chain, SealedBlock, Watcher};
use jsonrpsee::{
    core::SubscriptionError, PendingSubscriptionSink, SubscriptionMessage, SubscriptionSink,
};
use node_subtensor_runtime::{BlockNumber, VERSION};
use serde::Serialize;
use std::{collections::HashSet, sync::Arc};

/// Which head is followed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    Best,
    Finalized,
}

impl Head {
    fn number(self, chain: &Chain) -> BlockNumber {
        match self {
            Self::Best => chain.best().number(),
            Self::Finalized => chain.finalized().number(),
        }
    }
}

/// The subscriber is gone.
struct Gone;

async fn send(sink: &SubscriptionSink, value: &impl Serialize) -> Result<(), Gone> {
    let json = serde_json::value::to_raw_value(value).map_err(|_| Gone)?;
    sink.send(SubscriptionMessage::from(json)).await.map_err(|_| Gone)
}

pub(super) async fn follow_heads(
    pending: PendingSubscriptionSink,
    chain: Arc<Chain>,
    head: Head,
) -> Result<(), SubscriptionError> {
    let sink = pending.accept().await?;
    // The present head comes first.
    let from = head.number(&chain).saturating_sub(1);
    let first = head.number(&chain) == 0;
    if first {
        if let Some(genesis) = chain.block_at(0) {
            if send(&sink, &genesis.header).await.is_err() {
                return Ok(());
            }
        }
    }
    let _gone =
        follow(
            &sink,
            &chain,
            head,
            from,
            |sink, block| async move { send(&sink, &block.header).await },
        )
        .await;
    Ok(())
}

/// Calls `each` for every block after `last`, as it becomes the head, until the subscriber leaves.
async fn follow<F, Fut>(
    sink: &SubscriptionSink,
    chain: &Arc<Chain>,
    head: Head,
    mut last: BlockNumber,
    each: F,
) -> Result<(), Gone>
where
    F: Fn(SubscriptionSink, Arc<SealedBlock>) -> Fut,
    Fut: std::future::Future<Output = Result<(), Gone>>,
{
    let mut heads = chain.watch_heads();
    loop {
        heads.borrow_and_update();
        let newest = head.number(chain);
        while last < newest {
            last += 1;
            // A block so old that its body is gone is skipped.
            if let Some(block) = chain.block_at(last) {
                each(sink.clone(), block).await?;
            }
        }
        tokio::select! {
            () = sink.closed() => return Err(Gone),
            changed = heads.changed() => changed.map_err(|_| Gone)?,
        }
    }
}

pub(super) async fn follow_storage(
    keys: Vec<String>,
    pending: PendingSubscriptionSink,
    chain: Arc<Chain>,
) -> Result<(), SubscriptionError> {
    let keys = match keys.iter().map(|key| from_hex(key)).collect::<Result<Vec<_>, _>>() {
        Ok(keys) => keys,
        Err(error) => {
            pending.reject(error).await;
            return Ok(());
        }
    };
    let sink = pending.accept().await?;
    let best = chain.best();
    let values: Vec<_> = keys
        .iter()
        .map(|key| (key.clone(), chain.storage(key, Some(best.hash)).ok().flatten()))
        .collect();
    let keys: Arc<HashSet<Vec<u8>>> = Arc::new(keys.into_iter().collect());
    if send(&sink, &changes_json(best.hash, &values)).await.is_err() {
        return Ok(());
    }
    let _gone = follow(&sink, &chain, Head::Best, best.number(), |sink, block| {
        let keys = keys.clone();
        async move {
            let changed: Vec<_> =
                block.changes.iter().filter(|(key, _)| keys.contains(key)).cloned().collect();
            if changed.is_empty() {
                return Ok(());
            }
            send(&sink, &changes_json(block.hash, &changed)).await
        }
    })
    .await;
    Ok(())
}

pub(super) async fn follow_version(
    pending: PendingSubscriptionSink,
) -> Result<(), SubscriptionError> {
    let sink = pending.accept().await?;
    // The runtime never changes here; the present version is all there is to say.
    if send(&sink, &VERSION).await.is_ok() {
        sink.closed().await;
    }
    Ok(())
}

pub(super) async fn follow_transaction(
    pending: PendingSubscriptionSink,
    mut watcher: Watcher,
) -> Result<(), SubscriptionError> {
    let sink = pending.accept().await?;
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
