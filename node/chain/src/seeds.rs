//! Block hashes that seed commitments: of the block after each, and of the first one after the
//! window in which each competes.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use node_core::id::{BlockHash, Hotkey};
use node_core::unit::{window_end, window_starts};
use node_core::unit::{BlockCount, BlockNumber};
use node_core::view::CommitmentRecord;
use subxt_rpcs::methods::legacy::NumberOrHex;

use crate::commitments::Committed;
use crate::link::{CallError, Links};
use crate::read::ReadError;
use crate::reader::Reader;
use crate::storage::CALLS_IN_FLIGHT_MAX;

/// Heights in one call. Lower: more calls. Higher: longer answers; seventy bytes each.
const HEIGHTS_PER_CALL_MAX: usize = 1024;

/// What the hashes of blocks are needed for.
pub(crate) struct Seeded {
    pub(crate) commitments: Vec<CommitmentRecord>,
    /// By the number of the first block of a window.
    pub(crate) windows: BTreeMap<BlockNumber, BlockHash>,
    /// Whether no hash had to be asked for.
    pub(crate) are_known: bool,
}

impl Reader<'_> {
    /// Adds the seeds: the hash of the block after each commitment, and of the first one after its
    /// window, where they are final already. The block at hand must be.
    pub(crate) async fn seeded(
        &self,
        found: Vec<(Hotkey, Committed)>,
        now: BlockNumber,
    ) -> Result<Seeded, ReadError> {
        let next = |committed: &Committed| committed.block.plus(BlockCount(1));
        let closing = |committed: &Committed| Some(window_end(self.window?, committed.block));
        let starts: BTreeSet<BlockNumber> =
            self.window.iter().flat_map(|window| window_starts(*window, now)).collect();
        let wanted: BTreeSet<BlockNumber> = found
            .iter()
            .flat_map(|(_, one)| [Some(next(one)), closing(one)])
            .flatten()
            .chain(starts.iter().copied())
            .filter(|block| *block <= now)
            .collect();
        let mut hashes = self.memory.seeds.of(&wanted);
        let missing: Vec<BlockNumber> =
            wanted.into_iter().filter(|number| !hashes.contains_key(number)).collect();
        let are_known = missing.is_empty();
        if !are_known {
            self.memory.counts.seeds_fetched.add(1);
            hashes.extend(self.hashes(missing).await?);
            self.memory.seeds.keep(&hashes);
        }
        let record = |(hotkey, committed): (Hotkey, Committed)| CommitmentRecord {
            hotkey,
            block: committed.block,
            seed_block_hash: hashes.get(&next(&committed)).copied(),
            window_block_hash: closing(&committed).and_then(|block| hashes.get(&block)).copied(),
            bytes: committed.bytes,
        };
        let commitments = found.into_iter().map(record).collect();
        let of_starts = hashes.iter().filter(|(block, _)| starts.contains(block));
        let windows = of_starts.map(|(block, hash)| (*block, *hash)).collect();
        Ok(Seeded { commitments, windows, are_known })
    }

    /// Hashes of finalized blocks. An endpoint that lacks one of them lags behind the block at
    /// hand, and the view fails: a seed must never look as if it were not known yet.
    async fn hashes(
        &self,
        numbers: Vec<BlockNumber>,
    ) -> Result<BTreeMap<BlockNumber, BlockHash>, ReadError> {
        let mut found = BTreeMap::new();
        for part in numbers.chunks(HEIGHTS_PER_CALL_MAX) {
            let hashes = block_hashes(self.links, part).await.map_err(self.call("block hashes"))?;
            for (number, hash) in part.iter().zip(hashes) {
                found.insert(*number, hash.ok_or(ReadError::NoSuchHeight { number: *number })?);
            }
        }
        Ok(found)
    }
}

/// Hashes of the canonical blocks of these heights, in their order: in one call, or one by one at
/// a node that takes no lists.
async fn block_hashes(
    links: &Links,
    numbers: &[BlockNumber],
) -> Result<Vec<Option<BlockHash>>, CallError> {
    let together = links
        .call("chain_getBlockHash", |methods| async move { methods.block_hashes(numbers).await })
        .await;
    match together {
        Ok(hashes) if hashes.len() == numbers.len() => return Ok(hashes),
        Err(error) if error.is_on_the_way() => return Err(error),
        // Refused, or not as many as were asked for.
        Ok(_) | Err(_) => {}
    }
    // Made before they are streamed: a closure over borrowed numbers is not `Send` for callers.
    let calls: Vec<_> = numbers.iter().map(|number| block_hash(links, *number)).collect();
    futures_util::stream::iter(calls).buffered(CALLS_IN_FLIGHT_MAX).try_collect().await
}

/// Hash of the canonical block of this height, if the endpoint has it.
pub(crate) async fn block_hash(
    links: &Links,
    number: BlockNumber,
) -> Result<Option<BlockHash>, CallError> {
    let hash = links
        .call("chain_getBlockHash", |methods| async move {
            methods.chain_get_block_hash(Some(NumberOrHex::Number(number.0))).await
        })
        .await?;
    Ok(hash.map(|hash| BlockHash(hash.0)))
}
