//! One finalized block's facts, read at its hash and nowhere else.
//!
//! Four rounds of calls, each round as many calls as its keys need: the subnet's settings and
//! clock; what is keyed by uid; what is keyed by the hotkeys found; and the hashes that seed
//! commitments, which are kept once known. A subnet of 256 neurons takes about a dozen calls.
//!
//! Stake is `TotalHotkeyAlpha` on the subnet plus the same on root times `TaoWeight`, in rao: both
//! exist on every runtime and carry units, which `StakeWeight` (a share of the sum) does not.
//! Not in it: what a hotkey inherits through parent and child keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chain_metadata::{api, storage as items};
use futures_util::{StreamExt as _, TryStreamExt as _};
use node_core::id::{BlockHash, Hotkey, Netuid, Uid};
use node_core::limits::UIDS_MAX;
use node_core::unit::{BlockCount, BlockNumber};
use node_core::view::{ChainView, CommitmentRecord, Neuron};
use subxt::config::substrate::H256;
use subxt::ext::codec::{Decode as _, Encode as _};
use subxt_rpcs::methods::legacy::NumberOrHex;

use crate::decode::{Committed, DecodeError};
use crate::encode::EncodeError;
use crate::link::{CallError, Links};
use crate::runtime::{call_api, Runtime, RuntimeError, Runtimes};
use crate::storage::{Batch, Slot, CALLS_IN_FLIGHT_MAX};
use crate::subnet::{HotkeySlots, Seat, Subnet, SubnetSlots};

/// Seed hashes kept. Lower: a view asks for the same hashes again. Higher: forty bytes each.
const SEED_HASHES_MAX: usize = 2 * UIDS_MAX;

/// The chain's stride between mechanisms in a storage index, and its ceiling of subnets.
const SUBNETS_MAX: u16 = 4096;

/// Why a view could not be read. The caller keeps the last one and tries the next block.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The chain could not be asked.
    #[error("cannot read {what} at block {block}")]
    Call {
        /// What was read.
        what: &'static str,
        /// The block.
        block: BlockHash,
        /// Why.
        #[source]
        source: Box<CallError>,
    },
    /// The endpoint does not know the block.
    #[error("the endpoint does not know block {block}")]
    NoSuchBlock {
        /// The block.
        block: BlockHash,
    },
    /// The endpoint could not be asked for the block of a height.
    #[error("cannot read the hash of block {number}")]
    Height {
        /// The height.
        number: BlockNumber,
        /// Why.
        #[source]
        source: Box<CallError>,
    },
    /// The endpoint has no block of this height.
    #[error("the endpoint has no block {number}")]
    NoSuchHeight {
        /// The height.
        number: BlockNumber,
    },
    /// The block's runtime cannot be used.
    #[error("cannot use the runtime of block {block}")]
    Runtime {
        /// The block.
        block: BlockHash,
        /// Why.
        #[source]
        source: Box<RuntimeError>,
    },
    /// The runtime lacks an item that the node needs, or has it in another shape.
    #[error("cannot address the state of block {block}")]
    Encode {
        /// The block.
        block: BlockHash,
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// A value is not what its address promises.
    #[error("cannot decode the state of block {block}")]
    Decode {
        /// The block.
        block: BlockHash,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The subnet does not exist in this block.
    #[error("subnet {netuid} does not exist at block {block}")]
    NoSuchSubnet {
        /// The subnet.
        netuid: Netuid,
        /// The block.
        block: BlockHash,
    },
    /// More neurons than any subnet can have.
    #[error("subnet {netuid} has {count} neurons at block {block}, more than {UIDS_MAX}")]
    TooManyNeurons {
        /// The subnet.
        netuid: Netuid,
        /// The block.
        block: BlockHash,
        /// How many.
        count: usize,
    },
}

/// Which subnet's facts, and whose nonce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) netuid: Netuid,
    pub(crate) mechanism: u8,
    pub(crate) own_hotkey: Option<Hotkey>,
}

impl Subject {
    /// The key of what is kept per mechanism.
    pub(crate) fn index(self) -> u16 {
        u16::from(self.mechanism).saturating_mul(SUBNETS_MAX).saturating_add(self.netuid.0)
    }
}

/// Hashes of blocks that follow a commitment. Only finalized blocks enter, so none ever changes.
#[derive(Debug, Default)]
pub(crate) struct SeedHashes(Mutex<BTreeMap<BlockNumber, BlockHash>>);

/// Reads at one block.
pub(crate) struct Reader<'a> {
    pub(crate) links: &'a Links,
    pub(crate) runtimes: &'a Runtimes,
    pub(crate) seeds: &'a SeedHashes,
    pub(crate) subject: Subject,
    pub(crate) block: BlockHash,
}

impl Reader<'_> {
    /// Reads everything. The block must be finalized.
    pub(crate) async fn view(&self) -> Result<ChainView, ReadError> {
        let (number, runtime) = tokio::try_join!(self.number(), self.runtime())?;
        let (mut subnet, next_epoch) =
            tokio::try_join!(self.subnet(&runtime, number), self.next_epoch(&runtime))?;
        if let Some(next) = next_epoch {
            subnet.clock.next_epoch_block = next;
        }
        let seats = self.seats(&runtime, subnet.count).await?;
        let (neurons, found) = self.neurons(&runtime, &subnet, &seats).await?;
        let commitments = self.seeded(number, found).await?;
        let weights = seats.into_iter().filter(|seat| !seat.row.is_empty());
        Ok(ChainView {
            genesis: self.links.genesis(),
            netuid: self.subject.netuid,
            number,
            hash: self.block,
            timestamp: subnet.timestamp,
            spec_version: runtime.spec_version,
            neurons,
            params: subnet.params,
            epoch: subnet.clock,
            commitments,
            weights: weights.map(|seat| (seat.uid, seat.row)).collect(),
            own_nonce: subnet.own_nonce,
            ..ChainView::default()
        })
    }

    /// Reads whether the subnet exists, and nothing else.
    pub(crate) async fn subnet_exists(&self) -> Result<bool, ReadError> {
        let runtime = self.runtime().await?;
        let mut batch = Batch::new(&runtime);
        let netuid = self.subject.netuid.0;
        let slot = batch.add(&items::NETWORKS_ADDED, (netuid,)).map_err(self.encode())?;
        let answers = batch.fetch(self.links, self.block).await.map_err(self.call("the subnet"))?;
        answers.required(&items::NETWORKS_ADDED, slot).map_err(self.decode())
    }

    async fn number(&self) -> Result<BlockNumber, ReadError> {
        let block = H256(self.block.0);
        let header = self
            .links
            .call("chain_getHeader", |methods| async move {
                methods.chain_get_header(Some(block)).await
            })
            .await
            .map_err(self.call("the header"))?;
        let header = header.ok_or(ReadError::NoSuchBlock { block: self.block })?;
        Ok(BlockNumber(header.number))
    }

    async fn runtime(&self) -> Result<std::sync::Arc<Runtime>, ReadError> {
        let block = self.block;
        self.runtimes
            .at(self.links, block)
            .await
            .map_err(|source| ReadError::Runtime { block, source: Box::new(source) })
    }

    async fn subnet(&self, runtime: &Runtime, now: BlockNumber) -> Result<Subnet, ReadError> {
        let mut batch = Batch::new(runtime);
        let slots = SubnetSlots::add(&mut batch, self.subject).map_err(self.encode())?;
        let answers = batch.fetch(self.links, self.block).await.map_err(self.call("the subnet"))?;
        let subnet = slots.decode(&answers, self.subject.netuid, now).map_err(self.decode())?;
        let Subject { netuid, .. } = self.subject;
        match subnet {
            None => Err(ReadError::NoSuchSubnet { netuid, block: self.block }),
            Some(Subnet { count, .. }) if count > UIDS_MAX => {
                Err(ReadError::TooManyNeurons { netuid, block: self.block, count })
            }
            Some(subnet) => Ok(subnet),
        }
    }

    /// The runtime's own prediction; `None` where it has no such call.
    async fn next_epoch(
        &self,
        runtime: &Runtime,
    ) -> Result<Option<Option<BlockNumber>>, ReadError> {
        let api::RuntimeApi { api, method, .. } = api::NEXT_EPOCH_START_BLOCK;
        let known = runtime
            .metadata()
            .runtime_api_trait_by_name(api)
            .is_some_and(|api| api.method_by_name(method).is_some());
        if !known {
            return Ok(None);
        }
        let name = format!("{api}_{method}");
        let input = self.subject.netuid.0.encode();
        let bytes = call_api(self.links, &name, &input, self.block)
            .await
            .map_err(self.call("the next epoch"))?;
        let next = Option::<u64>::decode(&mut bytes.as_slice())
            .map_err(|error| self.decode()(DecodeError::new(name, error)))?;
        Ok(Some(next.map(BlockNumber)))
    }

    async fn seats(&self, runtime: &Runtime, count: usize) -> Result<Vec<Seat>, ReadError> {
        let netuid = self.subject.netuid.0;
        let mut batch = Batch::new(runtime);
        let mut slots = Vec::with_capacity(count);
        for uid in (0..=u16::MAX).take(count) {
            let mut add = |item, first| batch.add(item, (first, uid)).map_err(self.encode());
            slots.push((
                Uid(uid),
                add(&items::KEYS, netuid)?,
                add(&items::BLOCK_AT_REGISTRATION, netuid)?,
                add(&items::WEIGHTS, self.subject.index())?,
            ));
        }
        let answers = batch.fetch(self.links, self.block).await.map_err(self.call("the uids"))?;
        let seat = |(uid, key, registered, row): (Uid, Slot, Slot, Slot)| {
            let row: Vec<(u16, u16)> = answers.required(&items::WEIGHTS, row)?;
            Ok(Seat {
                uid,
                hotkey: Hotkey(answers.required(&items::KEYS, key)?),
                registered_at: BlockNumber(
                    answers.required(&items::BLOCK_AT_REGISTRATION, registered)?,
                ),
                row: row.into_iter().map(|(uid, weight)| (Uid(uid), weight)).collect(),
            })
        };
        slots.into_iter().map(seat).collect::<Result<_, DecodeError>>().map_err(self.decode())
    }

    /// The neurons, and what they committed, in order of hotkey. A uid without a hotkey (the zero
    /// account) is left out: the chain leaves such gaps between its own steps only.
    async fn neurons(
        &self,
        runtime: &Runtime,
        subnet: &Subnet,
        seats: &[Seat],
    ) -> Result<(Vec<Neuron>, BTreeMap<Hotkey, Committed>), ReadError> {
        let mut batch = Batch::new(runtime);
        let mut slots = Vec::with_capacity(seats.len());
        for seat in seats.iter().filter(|seat| seat.hotkey != Hotkey::default()) {
            let added = HotkeySlots::add(&mut batch, self.subject.netuid, &seat.hotkey);
            slots.push((seat, added.map_err(self.encode())?));
        }
        let answers =
            batch.fetch(self.links, self.block).await.map_err(self.call("the hotkeys"))?;
        let mut neurons = Vec::with_capacity(slots.len());
        let mut commitments = BTreeMap::new();
        for (seat, slots) in slots {
            neurons.push(slots.neuron(&answers, seat, subnet).map_err(self.decode())?);
            if let Some(found) = slots.committed(&answers).map_err(self.decode())? {
                commitments.insert(seat.hotkey, found);
            }
        }
        Ok((neurons, commitments))
    }

    /// Adds the seeds: the hash of the block after each commitment, where it is final already.
    async fn seeded(
        &self,
        now: BlockNumber,
        found: BTreeMap<Hotkey, Committed>,
    ) -> Result<Vec<CommitmentRecord>, ReadError> {
        let next = |committed: &Committed| committed.block.plus(BlockCount(1));
        let wanted: BTreeSet<BlockNumber> =
            found.values().map(next).filter(|block| *block <= now).collect();
        let hashes = self.hashes(wanted).await?;
        let record = |(hotkey, committed): (Hotkey, Committed)| CommitmentRecord {
            hotkey,
            block: committed.block,
            seed_block_hash: hashes.get(&next(&committed)).copied(),
            bytes: committed.bytes,
        };
        Ok(found.into_iter().map(record).collect())
    }

    /// Hashes of finalized blocks. An endpoint that lacks one of them lags behind the block at
    /// hand, and the view fails: a seed must never look as if it were not known yet.
    async fn hashes(
        &self,
        wanted: BTreeSet<BlockNumber>,
    ) -> Result<BTreeMap<BlockNumber, BlockHash>, ReadError> {
        let mut known = self.seeds.of(&wanted);
        let missing: Vec<_> =
            wanted.into_iter().filter(|number| !known.contains_key(number)).collect();
        let fetched: Vec<(BlockNumber, Option<BlockHash>)> = futures_util::stream::iter(missing)
            .map(|number| async move { Ok((number, block_hash(self.links, number).await?)) })
            .buffer_unordered(CALLS_IN_FLIGHT_MAX)
            .try_collect()
            .await
            .map_err(self.call("block hashes"))?;
        for (number, hash) in fetched {
            known.insert(number, hash.ok_or(ReadError::NoSuchHeight { number })?);
        }
        self.seeds.keep(&known);
        Ok(known)
    }

    fn call(&self, what: &'static str) -> impl Fn(CallError) -> ReadError {
        let block = self.block;
        move |source| ReadError::Call { what, block, source: Box::new(source) }
    }

    fn encode(&self) -> impl Fn(EncodeError) -> ReadError {
        let block = self.block;
        move |source| ReadError::Encode { block, source }
    }

    fn decode(&self) -> impl Fn(DecodeError) -> ReadError {
        let block = self.block;
        move |source| ReadError::Decode { block, source }
    }
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

impl SeedHashes {
    fn of(&self, numbers: &BTreeSet<BlockNumber>) -> BTreeMap<BlockNumber, BlockHash> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().filter_map(|number| Some((*number, *kept.get(number)?))).collect()
    }

    fn keep(&self, hashes: &BTreeMap<BlockNumber, BlockHash>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(hashes);
        while kept.len() > SEED_HASHES_MAX {
            kept.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mechanism_has_its_own_storage_index() {
        let subject = Subject { netuid: Netuid(1), mechanism: 0, own_hotkey: None };
        assert_eq!(subject.index(), 1);
        assert_eq!(Subject { mechanism: 1, ..subject }.index(), 4097);
    }

    #[test]
    fn seed_hashes_are_bounded_and_the_oldest_go_first() {
        let seeds = SeedHashes::default();
        let all: BTreeMap<_, _> = (0..=SEED_HASHES_MAX as u64)
            .map(|number| (BlockNumber(number), BlockHash([1; 32])))
            .collect();
        seeds.keep(&all);
        let asked = BTreeSet::from([BlockNumber(0), BlockNumber(1)]);
        assert_eq!(seeds.of(&asked).into_keys().collect::<Vec<_>>(), [BlockNumber(1)]);
    }
}
