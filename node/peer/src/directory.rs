//! Who takes part: this node, and the validators of the latest view.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::unit::BlockNumber;
use node_core::view::ChainView;

/// Who this node is, as it tells its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its hotkey.
    pub hotkey: Hotkey,
    /// The chain, by the hash of its block 0.
    pub genesis: BlockHash,
    /// The subnet.
    pub netuid: Netuid,
    /// Software and version, for people; at most [`crate::limits::SOFTWARE_CHARS_MAX`] characters.
    pub software_version: String,
}

/// What a node says about itself. Claims, not proof: the answer is not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Version of the protocol's rules.
    pub protocol_version: u32,
    /// Who it says it is.
    pub identity: NodeIdentity,
}

/// The validators of one finalized block, and where they serve.
///
/// The default is empty: before the first block nobody is a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerDirectory {
    as_of: BlockNumber,
    validators: BTreeMap<Hotkey, Option<SocketAddr>>,
}

impl PeerDirectory {
    /// The validators of `view`: a permit, and stake at the threshold or above.
    #[must_use]
    pub fn from_view(view: &ChainView) -> Self {
        let validators = view.validators().map(|neuron| (neuron.hotkey, neuron.axon)).collect();
        Self { as_of: view.number, validators }
    }

    /// A directory of these validators as of block `as_of`.
    #[must_use]
    pub fn of(
        as_of: BlockNumber,
        validators: impl IntoIterator<Item = (Hotkey, Option<SocketAddr>)>,
    ) -> Self {
        Self { as_of, validators: validators.into_iter().collect() }
    }

    /// The block it was read at.
    #[must_use]
    pub fn as_of(&self) -> BlockNumber {
        self.as_of
    }

    /// Whether `hotkey` is a validator.
    #[must_use]
    pub fn contains(&self, hotkey: &Hotkey) -> bool {
        self.validators.contains_key(hotkey)
    }

    /// Where `hotkey` serves, if it is a validator and published an address.
    #[must_use]
    pub fn endpoint(&self, hotkey: &Hotkey) -> Option<SocketAddr> {
        self.validators.get(hotkey).copied().flatten()
    }

    /// Validators with a published address, in order of hotkey; this node may be among them.
    pub fn reachable(&self) -> impl Iterator<Item = (Hotkey, SocketAddr)> + '_ {
        self.validators.iter().filter_map(|(hotkey, axon)| axon.map(|axon| (*hotkey, axon)))
    }
}
