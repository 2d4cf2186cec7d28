//! Reading the chain: blocks, storage, runtime calls, nonces, and checking a block again.

use super::{
    blocks::{Bytes, SealedBlock, StorageChange},
    state::{run, Overlay, Panicked, State},
    timeline::Moment,
    Chain,
};
use crate::flavour::{self, Dress};
use codec::{Decode, Encode};
use node_subtensor_runtime::{
    self as runtime, upgrade::Upgrade, AccountId, Block, BlockNumber, Executive, Hash, Nonce,
    UncheckedExtrinsic,
};
use sp_core::storage::StateVersion;
use sp_runtime::traits::{BlakeTwo256, Block as BlockT, Hash as _};
use sp_state_machine::{Backend as _, IterArgs};
use sp_version::RuntimeVersion;
use std::sync::{Arc, PoisonError};
use thiserror::Error;

/// Why something could not be read.
#[derive(Clone, Debug, Error)]
pub enum QueryError {
    /// No such block, or it was forgotten.
    #[error("block {0:?} is not known")]
    UnknownBlock(Hash),
    /// The state of that block is gone.
    #[error("the state of block {0:?} was discarded")]
    StateDiscarded(Hash),
    /// The runtime has no such method.
    #[error("the runtime has no method `{0}`")]
    UnknownMethod(String),
    /// The runtime panicked, for example over arguments that do not decode.
    #[error("the runtime call failed")]
    Panicked {
        /// What it said.
        #[source]
        source: Panicked,
    },
    /// The state cannot be read.
    #[error("the state cannot be read: {0}")]
    State(String),
    /// The metadata cannot be rewritten.
    #[error("the metadata cannot be rewritten: {0}")]
    Metadata(String),
    /// The block does not execute to what its header says.
    #[error("extrinsic {0} of the block does not decode")]
    Extrinsic(usize),
}

/// Why there is no metadata.
#[derive(Clone, Debug, Error)]
pub enum MetadataError {
    /// The runtime was not to be asked.
    #[error("the runtime does not answer")]
    Query {
        /// Why not.
        #[source]
        source: QueryError,
    },
    /// The runtime does not speak that version.
    #[error("the runtime has no metadata of version {0}")]
    Version(u32),
}

/// The chain's metadata as bytes, as `Metadata_metadata_at_version` gives it inside its wrapping.
///
/// # Errors
///
/// [`MetadataError`].
pub fn metadata(chain: &Chain, version: u32) -> Result<Vec<u8>, MetadataError> {
    let answer = chain
        .call("Metadata_metadata_at_version", &version.encode(), None)
        .map_err(|source| MetadataError::Query { source })?;
    <Option<Vec<u8>>>::decode(&mut &answer[..])
        .ok()
        .flatten()
        .ok_or(MetadataError::Version(version))
}

impl Chain {
    /// A block by hash; the best one for `None`.
    ///
    /// # Errors
    ///
    /// [`QueryError::UnknownBlock`].
    pub fn block(&self, at: Option<Hash>) -> Result<Arc<SealedBlock>, QueryError> {
        match at {
            None => Ok(self.best()),
            Some(hash) => self.blocks().get(&hash).ok_or(QueryError::UnknownBlock(hash)),
        }
    }

    /// A block by height.
    pub fn block_at(&self, number: BlockNumber) -> Option<Arc<SealedBlock>> {
        self.blocks().at(number)
    }

    /// The hash of the block at a height, also of forgotten ones.
    pub fn block_hash(&self, number: BlockNumber) -> Option<Hash> {
        self.blocks().hash(number)
    }

    /// The hash at a height on the line of blocks that ends in `tip`.
    pub fn block_hash_below(&self, tip: &SealedBlock, number: BlockNumber) -> Option<Hash> {
        self.blocks().hash_below(tip, number)
    }

    /// Number of the last thing that followers were told.
    pub fn newest_moment(&self) -> u64 {
        self.timeline().newest()
    }

    /// What the followers were told as number `number`, if that is remembered.
    pub fn moment(&self, number: u64) -> Option<Moment> {
        self.timeline().at(number)
    }

    /// What the followers were told longest ago, as far as that is remembered.
    pub fn oldest_moment(&self) -> Moment {
        self.timeline().oldest()
    }

    /// Number of the last moment at which the best block was not above a height.
    pub fn moment_when_best_was(&self, height: BlockNumber) -> u64 {
        self.timeline().when_best_was(height)
    }

    fn state(&self, at: Option<Hash>) -> Result<State, QueryError> {
        let block = self.block(at)?;
        let blocks = self.blocks();
        let oldest = blocks.best().number().saturating_sub(self.options.state_window);
        let displaced = block.number() <= blocks.finalized().number() && !blocks.counts(&block);
        if block.number() < oldest || displaced {
            return Err(QueryError::StateDiscarded(block.hash));
        }
        Ok(self.state_of(&block))
    }

    /// A storage value.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if the block or its state is not there.
    pub fn storage(&self, key: &[u8], at: Option<Hash>) -> Result<Option<Vec<u8>>, QueryError> {
        self.state(at)?.storage(key).map_err(QueryError::State)
    }

    /// At most `count` keys with a prefix, in order, after `start`.
    ///
    /// # Errors
    ///
    /// As [`Self::storage`].
    pub fn keys_paged(
        &self,
        prefix: &[u8],
        count: usize,
        start: Option<&[u8]>,
        at: Option<Hash>,
    ) -> Result<Vec<Vec<u8>>, QueryError> {
        let state = self.state(at)?;
        let mut args = IterArgs::default();
        args.prefix = Some(prefix);
        args.start_at = start;
        args.start_at_exclusive = true;
        let keys = state.keys(args).map_err(QueryError::State)?;
        keys.take(count).collect::<Result<_, _>>().map_err(QueryError::State)
    }

    /// A runtime API method, by its full name, with SCALE arguments and a SCALE answer.
    ///
    /// # Errors
    ///
    /// [`QueryError::UnknownMethod`]; [`QueryError::Panicked`] also for arguments that do not
    /// decode; as [`Self::storage`].
    pub fn call(
        &self,
        method: &str,
        arguments: &[u8],
        at: Option<Hash>,
    ) -> Result<Vec<u8>, QueryError> {
        let state = self.state(at)?;
        let unknown = || QueryError::UnknownMethod(method.to_owned());
        let (dress, upgrade, answer) = run(&state, &mut Overlay::default(), || {
            let (dress, upgrade) = (Dress::get(), Upgrade::get());
            (dress, upgrade, runtime::api::dispatch(method, arguments))
        })
        .map_err(|source| QueryError::Panicked { source })?;
        if dress.lacks_call(method) {
            return Err(unknown());
        }
        let answer = answer.ok_or_else(unknown)?;
        if dress == Dress::default() && upgrade.error_shift == 0 {
            return Ok(answer);
        }
        match method {
            "Metadata_metadata" => self.dressed::<Vec<u8>>(answer, &dress, upgrade),
            "Metadata_metadata_at_version" => {
                self.dressed::<Option<Vec<u8>>>(answer, &dress, upgrade)
            }
            _ => Ok(answer),
        }
    }

    /// Rewrites the metadata in an answer. `T` is what it is wrapped in.
    fn dressed<T>(
        &self,
        answer: Vec<u8>,
        dress: &Dress,
        upgrade: Upgrade,
    ) -> Result<Vec<u8>, QueryError>
    where
        T: Decode + Encode + From<Vec<u8>> + Into<Option<Vec<u8>>>,
    {
        let as_is = (BlakeTwo256::hash(&answer), dress.clone(), upgrade.error_shift);
        let mut known = self.dressed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dressed) = known.get(&as_is) {
            return Ok(dressed.clone());
        }
        let failed = |reason: &dyn std::fmt::Display| QueryError::Metadata(reason.to_string());
        let metadata = T::decode(&mut &answer[..]).map_err(|error| failed(&error))?;
        let Some(metadata): Option<Vec<u8>> = metadata.into() else { return Ok(answer) };
        let dressed = flavour::dress(&metadata, dress, upgrade).map_err(|error| failed(&error))?;
        let dressed = T::from(dressed).encode();
        known.insert(as_is, dressed.clone());
        Ok(dressed)
    }

    /// Runs code of the runtime on the best block's state; changes are thrown away.
    ///
    /// # Errors
    ///
    /// [`QueryError::Panicked`].
    pub fn read<R>(&self, code: impl FnOnce() -> R) -> Result<R, QueryError> {
        self.read_at(&self.best(), code)
    }

    /// Runs code of the runtime on a block's state; changes are thrown away.
    ///
    /// # Errors
    ///
    /// [`QueryError::Panicked`], also if the state is not there any more.
    pub fn read_at<R>(
        &self,
        block: &SealedBlock,
        code: impl FnOnce() -> R,
    ) -> Result<R, QueryError> {
        run(&self.state_of(block), &mut Overlay::default(), code)
            .map_err(|source| QueryError::Panicked { source })
    }

    /// What code of the runtime changes in storage when run on the newest state. Nothing is
    /// changed by this; `admin::change_storage` can.
    ///
    /// # Errors
    ///
    /// [`QueryError::Panicked`].
    pub fn changes_of(&self, code: impl FnOnce()) -> Result<Vec<StorageChange>, QueryError> {
        let state = self.state_of(&self.best());
        let mut overlay = Overlay::default();
        run(&state, &mut overlay, code).map_err(|source| QueryError::Panicked { source })?;
        let changes =
            overlay.drain_storage_changes(&state, StateVersion::V1).map_err(QueryError::State)?;
        Ok(changes.main_storage_changes)
    }

    /// The runtime's version at a block.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn version(&self, at: Option<Hash>) -> Result<RuntimeVersion, QueryError> {
        let answer = self.call("Core_version", &[], at)?;
        RuntimeVersion::decode(&mut &answer[..])
            .map_err(|error| QueryError::State(error.to_string()))
    }

    /// The nonce for the next transaction of an account, counting those in the pool.
    ///
    /// # Errors
    ///
    /// [`QueryError::Panicked`].
    pub fn next_index(&self, who: &AccountId) -> Result<Nonce, QueryError> {
        let mut nonce = self.read(|| runtime::System::account_nonce(who))?;
        let pool = self.pool();
        while pool.provides(&(who, nonce).encode()) {
            nonce = nonce.saturating_add(1);
        }
        Ok(nonce)
    }

    /// The transactions in the pool, in the order in which a block would try them.
    pub fn pending(&self) -> Vec<Bytes> {
        self.pool().candidates().into_iter().map(|candidate| candidate.bytes).collect()
    }

    /// Trie nodes held for all readable states.
    pub fn trie_nodes(&self) -> usize {
        self.store.len()
    }

    /// Imports a block as another node would: executes it on its parent's state and compares
    /// every field of the header.
    ///
    /// # Errors
    ///
    /// [`QueryError::Panicked`] if it does not execute to its header.
    pub fn verify(&self, hash: Hash) -> Result<(), QueryError> {
        let sealed = self.block(Some(hash))?;
        let parent = self.state(Some(sealed.header.parent_hash))?;
        let decode = |(index, bytes): (usize, &Bytes)| {
            UncheckedExtrinsic::decode(&mut &bytes[..]).map_err(|_| QueryError::Extrinsic(index))
        };
        let extrinsics =
            sealed.body.iter().enumerate().map(decode).collect::<Result<Vec<_>, _>>()?;
        let block = Block::new(sealed.header.clone(), extrinsics);
        run(&parent, &mut Overlay::default(), || {
            Executive::execute_block(<Block as BlockT>::LazyBlock::from(block));
        })
        .map_err(|source| QueryError::Panicked { source })
    }
}
