//! One finalized block's facts about one subnet, immutable.
//!
//! Everything in a [`ChainView`] was read at one block hash, so its parts agree with each other.
//! Not here: how it is read (`node/chain`), and what follows from it (`assignment`, `submit_guard`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::epoch::BeaconSchedule;
pub use crate::epoch::EpochClock;
use crate::id::{BlockHash, Digest, Hotkey, Netuid, Uid};
use crate::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};

/// A subnet as it stood in one block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Milliseconds between two blocks, as the chain plans them.
    pub block_ms: u64,
    /// The chain's randomness beacon; `None` if the runtime has none.
    pub beacon: Option<Beacon>,
    /// What the runtime's calls still let us do.
    pub abilities: Abilities,
    /// The last block of the chain's safe mode, in which it refuses ordinary calls.
    pub safe_mode_until: Option<BlockNumber>,
    /// What our hotkey has committed about its weights and the chain still keeps, oldest first.
    pub own_commits: Vec<OwnCommit>,
    /// All commitments of hotkeys registered in this block, in order of hotkey.
    pub commitments: Vec<CommitmentRecord>,
    /// Hashes of the first blocks of the present window of submissions and of the one before, by
    /// number: what draws a window's audits, also where everybody of it committed anew since.
    #[serde(default)]
    pub window_hashes: BTreeMap<BlockNumber, BlockHash>,
    /// Stored weights by uid; `(uid, weight)` in the chain's order. Ours are always there; those of
    /// others as of the last full read.
    pub weights: Vec<(Uid, Vec<(Uid, u16)>)>,
    /// Nonce of our own hotkey in this block.
    pub own_nonce: u32,
}

/// A registered hotkey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neuron {
    /// Its place.
    pub uid: Uid,
    /// Who holds it.
    pub hotkey: Hotkey,
    /// Stake weight in rao, with what it inherits from parents and root.
    pub stake_rao: u64,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// Where it serves, if it published an address.
    pub axon: Option<SocketAddr>,
    /// When the present holder took the uid.
    pub registered_at: BlockNumber,
    /// When it last set or committed weights (registration counts).
    pub last_update: BlockNumber,
    /// Whether its weights still count for consensus.
    pub is_active: bool,
    /// What the last epoch gave it, in rao: by this the chain prunes.
    pub emission_rao: u64,
    /// Share of its weights that consensus agreed with, of 65535.
    pub validator_trust: u16,
    /// Its share of the validators' dividends, of 65535.
    pub dividends: u16,
}

/// The settings of a subnet that the node obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The commit format that the chain demands; `None` if the runtime knows hash commits only.
    pub commit_reveal_version: Option<u16>,
    /// Epochs for which a commit stays closed.
    pub reveal_period: u64,
    /// Mechanisms of the subnet; they are `0..count`.
    pub mechanism_count: u8,
    /// How the epoch uses weights.
    pub consensus: ConsensusMode,
    /// Least stake to set weights, in rao.
    pub stake_threshold_rao: u64,
    /// Blocks after which weights no longer count.
    pub activity_cutoff: BlockCount,
    /// Blocks in which a new neuron cannot be pruned.
    pub immunity_period: BlockCount,
    /// Most uids.
    pub max_uids: u16,
    /// Blocks between two publications of an address.
    pub serving_rate_limit: BlockCount,
    /// When the subnet was registered: netuids are used again after a subnet was dissolved.
    pub registered_at: BlockNumber,
    /// The owner's hotkey: permits and stake are waived for it, and it is never pruned.
    pub owner_hotkey: Option<Hotkey>,
}

/// How an epoch turns weights into emission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsensusMode {
    /// Yuma consensus: the one that this build understands.
    #[default]
    Yuma,
    /// Another one, by its name.
    Other(String),
}

/// The randomness beacon that opens timelocked commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// When its rounds are published.
    pub schedule: BeaconSchedule,
    /// Its public key, compressed.
    #[serde(with = "hex::serde")]
    pub public_key: Vec<u8>,
    /// The newest round that the chain has.
    pub last_stored_round: u64,
}

/// Which of the runtime's calls have a shape that we can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Plain weights.
    pub plain: bool,
    /// Timelocked commits.
    pub timelocked: bool,
    /// Hash commits and their reveals.
    pub hashed: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { plain: true, timelocked: true, hashed: true }
    }
}

/// A commit of our own weights that the chain keeps until it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCommit {
    /// Blake2-256 of the committed bytes, or the committed hash itself.
    pub hash: Digest,
    /// In which block it was included.
    pub block: BlockNumber,
    /// The epoch that it belongs to.
    pub epoch: EpochIndex,
    /// The round that opens it; `None` for a hash commit.
    pub reveal_round: Option<u64>,
}

/// Bytes that a hotkey committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitmentRecord {
    /// Who committed.
    pub hotkey: Hotkey,
    /// In which block.
    pub block: BlockNumber,
    /// What: the raw fields joined, at most 512 bytes; of a timelocked commitment, what it opened
    /// to. One that is still closed is no record.
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// Hash of the block after the commitment, once finalized: the source of its seeds, unknown
    /// to whoever made the commitment.
    pub seed_block_hash: Option<BlockHash>,
    /// Hash of the first block after the window in which it competes, once finalized: draws the
    /// audits of that window, unknown to whoever commits within it.
    pub window_block_hash: Option<BlockHash>,
}

impl ChainView {
    /// The neuron that `hotkey` holds.
    #[must_use]
    pub fn neuron(&self, hotkey: &Hotkey) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// When the subnet was registered; `None` if the chain does not say.
    #[must_use]
    pub fn registration(&self) -> Option<BlockNumber> {
        Some(self.params.registered_at).filter(|block| block.0 > 0)
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
