//! One finalized block's facts about one subnet, immutable.
//!
//! Everything in a [`ChainView`] was read at one block hash, so its parts agree with each other.
//! Not here: how it is read (`node/chain`), and what follows from it (`assignment`, `submit_guard`).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{BlockHash, Hotkey, Netuid, Uid};
use crate::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};

/// A subnet as it stood in one finalized block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainView {
    /// The chain, by the hash of its block 0.
    pub genesis: BlockHash,
    /// The subnet.
    pub netuid: Netuid,
    /// Height of the block.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Its timestamp.
    pub timestamp: UnixMs,
    /// The runtime that produced it.
    pub spec_version: u32,
    /// All neurons, in order of uid, without gaps.
    pub neurons: Vec<Neuron>,
    /// The subnet's settings that the node obeys.
    pub params: SubnetParams,
    /// The subnet's epoch clock.
    pub epoch: EpochClock,
    /// All commitments of hotkeys registered in this block, in order of hotkey.
    pub commitments: Vec<CommitmentRecord>,
    /// Every validator's stored weights, by uid; `(uid, weight)` in the chain's order.
    pub weights: Vec<(Uid, Vec<(Uid, u16)>)>,
    /// Nonce of our own hotkey in this block.
    pub own_nonce: u32,
}

/// A registered hotkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neuron {
    /// Its place.
    pub uid: Uid,
    /// Who holds it.
    pub hotkey: Hotkey,
    /// Stake in rao.
    pub stake_rao: u64,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// Where it serves, if it published an address.
    pub axon: Option<SocketAddr>,
    /// When the present holder took the uid.
    pub registered_at: BlockNumber,
    /// When it last set or committed weights (registration counts).
    pub last_update: BlockNumber,
}

/// The settings of a subnet that the node obeys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetParams {
    /// Blocks per epoch; zero means that no epochs run.
    pub tempo: BlockCount,
    /// Fewest entries in a vector (the chain takes the lesser of this and the number of uids).
    pub min_allowed_weights: u16,
    /// Blocks between two submissions.
    pub weights_rate_limit: BlockCount,
    /// Least accepted version key; zero accepts any.
    pub weights_version_key: u64,
    /// Whether plain weights are refused.
    pub commit_reveal_enabled: bool,
    /// Least stake to set weights, in rao.
    pub stake_threshold_rao: u64,
}

/// The stateful epoch clock of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochClock {
    /// How many epochs have run.
    pub index: EpochIndex,
    /// When the present one began.
    pub last_epoch_block: BlockNumber,
    /// When the next one will run, by the runtime's own answer; `None` if it never will.
    pub next_epoch_block: Option<BlockNumber>,
}

/// Bytes that a hotkey committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitmentRecord {
    /// Who committed.
    pub hotkey: Hotkey,
    /// In which block.
    pub block: BlockNumber,
    /// What: the raw fields joined, at most 512 bytes.
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// Hash of the block after the commitment, once finalized: the source of its seeds, unknown
    /// to whoever made the commitment.
    pub seed_block_hash: Option<BlockHash>,
}

impl ChainView {
    /// The neuron that `hotkey` holds.
    #[must_use]
    pub fn neuron(&self, hotkey: &Hotkey) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// The weights stored for `uid`, empty if it never set any.
    #[must_use]
    pub fn weights_of(&self, uid: Uid) -> &[(Uid, u16)] {
        self.weights.iter().find(|(owner, _)| *owner == uid).map_or(&[], |(_, row)| row)
    }

    /// Hotkeys that may set weights: a permit, and stake at the threshold or above.
    pub fn validators(&self) -> impl Iterator<Item = &Neuron> {
        self.neurons.iter().filter(|neuron| {
            neuron.validator_permit && neuron.stake_rao >= self.params.stake_threshold_rao
        })
    }

    /// Whether `hotkey` may set weights and take part as a peer.
    #[must_use]
    pub fn is_validator(&self, hotkey: &Hotkey) -> bool {
        self.validators().any(|neuron| neuron.hotkey == *hotkey)
    }
}
