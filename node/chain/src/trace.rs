//! What became of signed extrinsics: found by their bytes' hash in finalized blocks, and their
//! outcome by name in those blocks' events.
//!
//! Bodies are compared, not decoded, so a block of any runtime can be searched. Events are decoded
//! by the runtime that wrote them, which is the one in the state of the block's *parent*: the first
//! block of a new runtime already carries the new code, and was still executed by the old one.
//!
//! One search asks one endpoint only, because two endpoints may disagree about a height that only
//! one of them has finalized.

use std::sync::Arc;

use chain_metadata::storage as items;
use futures_util::{StreamExt as _, TryStreamExt as _};
use node_core::id::{BlockHash, Digest};
use node_core::limits::ERA_BLOCKS_MAX;
use node_core::machine::event::Traced;
use node_core::unit::BlockNumber;
use subxt_rpcs::methods::legacy::NumberOrHex;

use crate::client::ChainClient;
use crate::decode::{outcome, DecodeError, DispatchOutcome};
use crate::encode::EncodeError;
use crate::follow::BlockRef;
use crate::link::{CallError, Link};
use crate::runtime::RuntimeError;
use crate::storage::{Batch, CALLS_IN_FLIGHT_MAX};

/// Blocks that one search looks through at most. Lower: an extrinsic with the longest era could
/// lie outside. Higher: one question costs twice that many calls.
pub const BLOCKS_SEARCHED_MAX: u64 = 2 * ERA_BLOCKS_MAX;

/// Blocks that are searched before older ones are begun. Lower: less goes on at once. Higher: more
/// is asked for in vain once it is found.
const SPAN_BLOCKS: u64 = 32;

/// Why it is not known what became of an extrinsic.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The chain could not be asked.
    #[error("cannot search the chain")]
    Call(#[source] CallError),
    /// The endpoint has not finalized the blocks to be searched.
    #[error("the endpoint is final up to block {finalized} only, not {until}")]
    EndpointBehind {
        /// Its newest final block.
        finalized: BlockNumber,
        /// The last block to search.
        until: BlockNumber,
    },
    /// The endpoint lacks a block of a height that it has finalized.
    #[error("the endpoint has no block {number}; an older one needs an endpoint that keeps all")]
    NoSuchBlock {
        /// The height.
        number: BlockNumber,
    },
    /// Not in the blocks that were searched; there are more.
    #[error("not found between blocks {after} and {searched}; the search ends at {BLOCKS_SEARCHED_MAX} blocks")]
    TooFar {
        /// The last block that could not hold it.
        after: BlockNumber,
        /// The last block that was searched.
        searched: BlockNumber,
    },
    /// It is in this block, but the block's runtime cannot be had.
    #[error("it is in block {number}, whose runtime cannot be used")]
    Runtime {
        /// The block.
        number: BlockNumber,
        /// Why.
        #[source]
        source: RuntimeError,
    },
    /// It is in this block, whose events cannot be asked for.
    #[error("it is in block {number}, whose runtime has no events")]
    Encode {
        /// The block.
        number: BlockNumber,
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// It is in this block, but the events do not say how it went.
    #[error("it is in block {number}, whose events do not say how it went")]
    Events {
        /// The block.
        number: BlockNumber,
        /// Why.
        #[source]
        source: DecodeError,
    },
}

/// Where an extrinsic was included, and how its call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Included {
    pub(crate) hash: Digest,
    pub(crate) block: BlockRef,
    pub(crate) outcome: DispatchOutcome,
}

/// An extrinsic's place.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: Digest,
    index: u32,
    block: BlockRef,
    parent: BlockHash,
}

impl ChainClient {
    /// Looks for extrinsics in finalized blocks, newest first, and says how the first one found
    /// went.
    ///
    /// - `hashes`: Blake2-256 of the bytes of each; at most one of them can be on the chain.
    /// - `after`, `until`: the blocks `after + 1` to `until`; `until` must be final. Of more than
    ///   [`BLOCKS_SEARCHED_MAX`] blocks the oldest are searched: there its era lay.
    ///
    /// # Errors
    ///
    /// [`TraceError`]: it is not known, and asking again may help. Never a [`Traced::NotFound`]
    /// for blocks that were not searched.
    pub async fn trace(
        &self,
        hashes: &[Digest],
        after: BlockNumber,
        until: BlockNumber,
    ) -> Result<Traced, TraceError> {
        Ok(match self.search(hashes, after, until).await? {
            None => Traced::NotFound,
            Some(Included { hash, block, outcome }) => match outcome {
                DispatchOutcome::Succeeded => Traced::Succeeded { hash, block: block.number },
                DispatchOutcome::Failed { error } => {
                    Traced::Failed { hash, block: block.number, error }
                }
            },
        })
    }

    pub(crate) async fn search(
        &self,
        hashes: &[Digest],
        after: BlockNumber,
        until: BlockNumber,
    ) -> Result<Option<Included>, TraceError> {
        if hashes.is_empty() || after >= until {
            return Ok(None);
        }
        let link = self.links().get().await.map_err(TraceError::Call)?;
        let search = Search { client: self, link, hashes };
        search.check_final(until).await?;
        let last = until.0.min(after.0.saturating_add(BLOCKS_SEARCHED_MAX));
        let mut end = last;
        while end > after.0 {
            let start = end.saturating_sub(SPAN_BLOCKS).max(after.0);
            let span = ((start + 1)..=end).rev().map(BlockNumber);
            if let Some(place) = search.find(span).await? {
                return search.outcome(place).await.map(Some);
            }
            end = start;
        }
        if last < until.0 {
            return Err(TraceError::TooFar { after, searched: BlockNumber(last) });
        }
        Ok(None)
    }
}

/// A search at one endpoint.
struct Search<'a> {
    client: &'a ChainClient,
    link: Arc<Link>,
    hashes: &'a [Digest],
}

impl Search<'_> {
    async fn check_final(&self, until: BlockNumber) -> Result<(), TraceError> {
        let links = self.client.links();
        let head = links
            .call_on(&self.link, "chain_getFinalizedHead", |methods| async move {
                methods.chain_get_finalized_head().await
            })
            .await
            .map_err(TraceError::Call)?;
        let header = links
            .call_on(&self.link, "chain_getHeader", |methods| async move {
                methods.chain_get_header(Some(head)).await
            })
            .await
            .map_err(TraceError::Call)?;
        let finalized = BlockNumber(header.map_or(0, |header| header.number));
        if finalized < until {
            return Err(TraceError::EndpointBehind { finalized, until });
        }
        Ok(())
    }

    /// The first of these blocks in which one of the extrinsics is.
    async fn find(
        &self,
        blocks: impl Iterator<Item = BlockNumber>,
    ) -> Result<Option<Place>, TraceError> {
        let searches: Vec<_> = blocks.map(|number| self.look_into(number)).collect();
        let mut found = futures_util::stream::iter(searches).buffered(CALLS_IN_FLIGHT_MAX);
        while let Some(place) = found.try_next().await? {
            if place.is_some() {
                return Ok(place);
            }
        }
        Ok(None)
    }

    async fn look_into(&self, number: BlockNumber) -> Result<Option<Place>, TraceError> {
        let links = self.client.links();
        let block_hash = links
            .call_on(&self.link, "chain_getBlockHash", |methods| async move {
                methods.chain_get_block_hash(Some(NumberOrHex::Number(number.0))).await
            })
            .await
            .map_err(TraceError::Call)?
            .ok_or(TraceError::NoSuchBlock { number })?;
        let details = links
            .call_on(&self.link, "chain_getBlock", |methods| async move {
                methods.chain_get_block(Some(block_hash)).await
            })
            .await
            .map_err(TraceError::Call)?
            .ok_or(TraceError::NoSuchBlock { number })?;
        let bodies = details.block.extrinsics.iter().enumerate();
        let found = bodies
            .map(|(index, body)| (index, Digest(sp_crypto_hashing::blake2_256(&body.0))))
            .find(|(_, hash)| self.hashes.contains(hash));
        Ok(found.map(|(index, hash)| Place {
            hash,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            block: BlockRef { number, hash: BlockHash(block_hash.0) },
            parent: BlockHash(details.block.header.parent_hash.0),
        }))
    }

    async fn outcome(&self, place: Place) -> Result<Included, TraceError> {
        let Place { hash, block, .. } = place;
        let by_parent = self.outcome_by(place, place.parent).await;
        // The parent's state may be gone where the block's own is the last one kept.
        let outcome = match by_parent {
            Ok(outcome) => outcome,
            Err(error) => self.outcome_by(place, block.hash).await.map_err(|_| error)?,
        };
        Ok(Included { hash, block, outcome })
    }

    /// How the call went, by the runtime in the state of `of`.
    async fn outcome_by(&self, place: Place, of: BlockHash) -> Result<DispatchOutcome, TraceError> {
        let BlockRef { number, hash } = place.block;
        let links = self.client.links();
        let runtime = self
            .client
            .runtimes()
            .at(links, of)
            .await
            .map_err(|source| TraceError::Runtime { number, source })?;
        let mut batch = Batch::new(&runtime);
        let slot = batch
            .add(&items::EVENTS, ())
            .map_err(|source| TraceError::Encode { number, source })?;
        let answers = batch.fetch(links, hash).await.map_err(TraceError::Call)?;
        let events = answers.raw(slot).unwrap_or_default().to_vec();
        let unreadable = |source| TraceError::Events { number, source };
        let found = outcome(&runtime, events, place.index).map_err(unreadable)?;
        found.ok_or_else(|| unreadable(DecodeError::new("System.Events", "no outcome in them")))
    }
}
