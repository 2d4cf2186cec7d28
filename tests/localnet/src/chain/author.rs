//! Building blocks: from the pool, and again from a body that was built before.
//!
//! Both go through [`BlockBuilder`], so a block from the journal takes the same way as a new one.

use super::{
    blocks::{Bytes, SealedBlock},
    pool::Candidate,
    state::{run, Overlay, Panicked, State},
};
use codec::{Decode, Encode};
use node_subtensor_runtime::{
    pallet_timestamp, Executive, Hash, Header, RuntimeCall, UncheckedExtrinsic,
};
use sp_core::storage::StateVersion;
use sp_runtime::{
    traits::{BlakeTwo256, Header as _},
    transaction_validity::{InvalidTransaction, TransactionValidityError},
    ApplyExtrinsicResult, Digest,
};
use std::collections::HashSet;
use thiserror::Error;

/// How an extrinsic is applied. Tests put something in its place that panics.
pub type ApplyExtrinsic = fn(UncheckedExtrinsic) -> ApplyExtrinsicResult;

/// Why no block came about.
#[derive(Debug, Error)]
pub enum SealError {
    /// The runtime panicked outside of any transaction.
    #[error("cannot seal block {number}")]
    Panicked {
        /// The block.
        number: u32,
        /// What it said.
        #[source]
        source: Panicked,
    },
    /// The time was refused.
    #[error("block {number} does not take the time: {reason}")]
    Timestamp {
        /// The block.
        number: u32,
        /// The runtime's word for it.
        reason: String,
    },
    /// A pulse could not be signed.
    #[error("block {number} cannot have its pulses: {reason}")]
    Pulse {
        /// The block.
        number: u32,
        /// The beacon's word for it.
        reason: String,
    },
    /// An extrinsic of a known block was refused.
    #[error("block {number} refuses its extrinsic {index}: {reason}")]
    Refused {
        /// The block.
        number: u32,
        /// Position in the body.
        index: usize,
        /// The runtime's word for it.
        reason: String,
    },
    /// The trie could not be computed.
    #[error("cannot compute the state of block {number}: {reason}")]
    State {
        /// The block.
        number: u32,
        /// The trie's word for it.
        reason: String,
    },
    /// The block could not be written down.
    #[error("cannot write block {number} to the journal")]
    Journal {
        /// The block.
        number: u32,
        /// What the journal said.
        #[source]
        source: crate::journal::JournalError,
    },
    /// The chain was stopped.
    #[error("the chain was stopped")]
    Stopped,
}

/// A block with the trie nodes it needs.
pub(super) struct Built {
    pub(super) block: SealedBlock,
    pub(super) nodes: sp_trie::PrefixedMemoryDB<BlakeTwo256>,
}

/// A block built from the pool, and what became of the candidates. Those in neither list wait.
pub(super) struct Authored {
    pub(super) built: Built,
    pub(super) included: Vec<Hash>,
    pub(super) refused: Vec<Hash>,
}

enum Applied {
    Included,
    Full,
    Refused(TransactionValidityError),
}

/// One block in the making.
struct BlockBuilder<'s> {
    state: &'s State,
    overlay: Overlay,
    body: Vec<Bytes>,
    number: u32,
    apply: ApplyExtrinsic,
}

impl<'s> BlockBuilder<'s> {
    fn start(parent: &Header, state: &'s State, apply: ApplyExtrinsic) -> Result<Self, SealError> {
        let number = parent.number + 1;
        let header =
            Header::new(number, Hash::default(), Hash::default(), parent.hash(), Digest::default());
        let mut overlay = Overlay::default();
        run(state, &mut overlay, || Executive::initialize_block(&header))
            .map_err(|source| SealError::Panicked { number, source })?;
        Ok(Self { state, overlay, body: Vec::new(), number, apply })
    }

    fn apply(&mut self, bytes: &Bytes) -> Result<Applied, Panicked> {
        let Ok(extrinsic) = UncheckedExtrinsic::decode(&mut &bytes[..]) else {
            return Ok(Applied::Refused(InvalidTransaction::Call.into()));
        };
        let apply = self.apply;
        self.overlay.start_transaction();
        let result = run(self.state, &mut self.overlay, || apply(extrinsic))?;
        // A failed dispatch is in the block too; a refusal must leave no trace in it.
        let settled = match result {
            Ok(_) => self.overlay.commit_transaction(),
            Err(_) => self.overlay.rollback_transaction(),
        };
        settled.map_err(|_| Panicked("it left a storage transaction open".to_owned()))?;
        match result {
            Ok(_dispatched) => {
                self.body.push(bytes.clone());
                Ok(Applied::Included)
            }
            Err(TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources)) => {
                Ok(Applied::Full)
            }
            Err(error) => Ok(Applied::Refused(error)),
        }
    }

    fn set_time(&mut self, now_ms: u64) -> Result<(), SealError> {
        let number = self.number;
        let call = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: now_ms });
        let bytes: Bytes = UncheckedExtrinsic::new_bare(call).encode().into();
        match self.apply(&bytes) {
            Ok(Applied::Included) => Ok(()),
            Ok(Applied::Full) => {
                Err(SealError::Timestamp { number, reason: "the block is full".to_owned() })
            }
            Ok(Applied::Refused(error)) => {
                Err(SealError::Timestamp { number, reason: format!("{error:?}") })
            }
            Err(source) => Err(SealError::Panicked { number, source }),
        }
    }

    fn bring(&mut self, pulses: &[Bytes]) -> Result<(), SealError> {
        let number = self.number;
        for pulse in pulses {
            match self.apply(pulse) {
                Ok(Applied::Included) => {}
                Ok(Applied::Full) => tracing::warn!(number, "no room for a pulse"),
                Ok(Applied::Refused(error)) => tracing::warn!(number, ?error, "pulse refused"),
                Err(source) => return Err(SealError::Panicked { number, source }),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Built, SealError> {
        let number = self.number;
        let header = run(self.state, &mut self.overlay, Executive::finalize_block)
            .map_err(|source| SealError::Panicked { number, source })?;
        let changes = self
            .overlay
            .drain_storage_changes(self.state, StateVersion::V1)
            .map_err(|reason| SealError::State { number, reason })?;
        if changes.transaction_storage_root != header.state_root {
            let reason = "the header names another root".to_owned();
            return Err(SealError::State { number, reason });
        }
        let block = SealedBlock {
            hash: header.hash(),
            header,
            body: self.body,
            changes: changes.main_storage_changes,
        };
        Ok(Built { block, nodes: changes.transaction })
    }
}

/// What a block brings that nobody signed.
pub(super) struct Inherents {
    /// Its time.
    pub(super) now_ms: u64,
    /// Extrinsics with pulses, in the order of rounds. One that is refused is left out.
    pub(super) pulses: Vec<Bytes>,
}

/// Builds a block from the pool's candidates, in their order.
///
/// A candidate that makes the runtime panic may have left the block half changed: the block is
/// thrown away and built again without it.
pub(super) fn author(
    parent: &Header,
    state: &State,
    inherents: &Inherents,
    candidates: &[Candidate],
    apply: ApplyExtrinsic,
) -> Result<Authored, SealError> {
    let mut panicking = HashSet::new();
    loop {
        let rest: Vec<&Candidate> =
            candidates.iter().filter(|candidate| !panicking.contains(&candidate.hash)).collect();
        let mut block = BlockBuilder::start(parent, state, apply)?;
        block.set_time(inherents.now_ms)?;
        block.bring(&inherents.pulses)?;
        match fill(&mut block, rest) {
            Ok((included, mut refused)) => {
                refused.extend(panicking);
                return Ok(Authored { built: block.finish()?, included, refused });
            }
            Err((hash, panicked)) => {
                tracing::error!(tx = ?hash, panic = %panicked.0, "transaction dropped: it panics");
                panicking.insert(hash);
            }
        }
    }
}

type Filled = (Vec<Hash>, Vec<Hash>);

/// Applies what is ready, again and again until nothing more becomes ready: a transaction waits
/// for those that provide what it requires.
fn fill(
    block: &mut BlockBuilder<'_>,
    mut waiting: Vec<&Candidate>,
) -> Result<Filled, (Hash, Panicked)> {
    let (mut included, mut refused) = (Vec::new(), Vec::new());
    let mut provided: HashSet<&[u8]> = HashSet::new();
    loop {
        let before = included.len();
        let mut blocked = Vec::new();
        for candidate in waiting {
            if !candidate.requires.iter().all(|tag| provided.contains(&tag[..])) {
                blocked.push(candidate);
                continue;
            }
            match block.apply(&candidate.bytes).map_err(|panicked| (candidate.hash, panicked))? {
                Applied::Included => {
                    provided.extend(candidate.provides.iter().map(|tag| &tag[..]));
                    included.push(candidate.hash);
                }
                Applied::Full => {}
                Applied::Refused(error) => {
                    tracing::debug!(tx = ?candidate.hash, ?error, "transaction refused");
                    refused.push(candidate.hash);
                }
            }
        }
        if included.len() == before || blocked.is_empty() {
            return Ok((included, refused));
        }
        waiting = blocked;
    }
}

/// Builds a block again from its body.
pub(super) fn rebuild(parent: &Header, state: &State, body: &[Bytes]) -> Result<Built, SealError> {
    let mut block = BlockBuilder::start(parent, state, Executive::apply_extrinsic)?;
    let number = block.number;
    for (index, bytes) in body.iter().enumerate() {
        let refused = |reason| SealError::Refused { number, index, reason };
        match block.apply(bytes) {
            Ok(Applied::Included) => {}
            Ok(Applied::Full) => return Err(refused("the block is full".to_owned())),
            Ok(Applied::Refused(error)) => return Err(refused(format!("{error:?}"))),
            Err(source) => return Err(SealError::Panicked { number, source }),
        }
    }
    block.finish()
}
