//! Views of a subnet: what is asked for, and why it may fail.
//!
//! Everything is read at one block's hash. A view takes **one round of calls, all sent at once**:
//! the header, the runtime's version, the selective metagraph, the next epoch, who has revealed
//! commitments, and one batch of storage values. That works because most of what has to be named
//! in advance (whose rows, which epochs' commits) is what the view before found; what that did not
//! cover is asked for in a second round. [`ReadCounts`] tells how often.
//!
//! ```text
//! view_at          everything
//! view_after       what changes from block to block; everything again if the epoch, a neuron or
//!                  the runtime changed
//! best_view_after  the same for a block that is not final: commitments stay as they were
//! ```
//!
//! Not here: how it is read (`reader`), and what a view means.

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::limits::UIDS_MAX;
use node_core::unit::BlockNumber;
use node_core::view::ChainView;

use crate::client::ChainClient;
use crate::decode::DecodeError;
use crate::encode::EncodeError;
use crate::link::CallError;
use crate::memory::ReadCounts;
use crate::reader::Previous;
use crate::runtime::RuntimeError;
pub(crate) use crate::seeds::block_hash;

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
    /// The endpoint answered with the header of another block.
    #[error("the endpoint answered with the header of another block for {block}")]
    OtherHeader {
        /// The block asked for.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl ChainClient {
    /// Reads what changed since `previous` in one finalized block.
    ///
    /// Read anew: neurons and their addresses, parameters, the epoch clock, last updates, the own
    /// row, commits and nonce, and all commitments. Kept from `previous`: stakes, permits, trust,
    /// dividends, emission, and the rows of others; they are read as well if an epoch ran in
    /// between, a uid changed hands, or the runtime was upgraded.
    ///
    /// # Errors
    ///
    /// As [`ChainClient::view_at`].
    pub async fn view_after(
        &self,
        previous: &ChainView,
        block: BlockHash,
    ) -> Result<ChainView, ReadError> {
        self.reader(block).view(Some(Previous { view: previous, keep_commitments: false })).await
    }

    /// The same for a block that need not be final. Commitments stay those of `previous`: their
    /// seeds come from final blocks only.
    ///
    /// # Errors
    ///
    /// As [`ChainClient::view_at`].
    pub async fn best_view_after(
        &self,
        previous: &ChainView,
        block: BlockHash,
    ) -> Result<ChainView, ReadError> {
        self.reader(block).view(Some(Previous { view: previous, keep_commitments: true })).await
    }

    /// How views were read since the client was made.
    #[must_use]
    pub fn read_counts(&self) -> ReadCounts {
        self.memory().counts.now()
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
}
