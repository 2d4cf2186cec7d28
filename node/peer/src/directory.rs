//! Who takes part: this node, and the validators of the latest view.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::publish::KeyStanding;
use node_core::unit::{BlockNumber, UnixMs};
use node_core::view::ChainView;

use crate::tls::{published_form, CertificateRefusal, VerifiedPeer};

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

/// What a node says about itself. The hotkey is that of its certificate; the rest are claims.
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
    validators: BTreeMap<Hotkey, Published>,
    knows_certificates: bool,
}

/// What a validator says of itself on chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Published {
    axon: Option<SocketAddr>,
    certificate: Option<Vec<u8>>,
}

impl PeerDirectory {
    /// The validators of `view`: a permit, and stake at the threshold or above.
    #[must_use]
    pub fn from_view(view: &ChainView) -> Self {
        Self::of(view.number, view.validators().map(|neuron| (neuron.hotkey, neuron.axon)))
    }

    /// A directory of these validators as of block `as_of`.
    #[must_use]
    pub fn of(
        as_of: BlockNumber,
        validators: impl IntoIterator<Item = (Hotkey, Option<SocketAddr>)>,
    ) -> Self {
        let published = |axon| Published { axon, certificate: None };
        let validators =
            validators.into_iter().map(|(hotkey, axon)| (hotkey, published(axon))).collect();
        Self { as_of, validators, knows_certificates: false }
    }

    /// The same, with the certificates that validators published (`serve_axon_tls`): a byte for
    /// the algorithm, then the key, as [`crate::NodeCertificate::published_form`] gives it. Who
    /// has one here is taken with that key, and for a while with a newer one
    /// ([`KeyStanding::New`]); who has none, with any key its hotkey endorses. Hotkeys that are no
    /// validators are left out.
    #[must_use]
    pub fn with_certificates(
        mut self,
        certificates: impl IntoIterator<Item = (Hotkey, Vec<u8>)>,
    ) -> Self {
        self.knows_certificates = true;
        for (hotkey, certificate) in certificates {
            if let Some(published) = self.validators.get_mut(&hotkey) {
                published.certificate = Some(certificate);
            }
        }
        self
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

    /// Every validator, and where it serves if it published an address, in order of hotkey.
    pub fn validators(&self) -> impl Iterator<Item = (Hotkey, Option<SocketAddr>)> + '_ {
        self.validators.iter().map(|(hotkey, published)| (*hotkey, published.axon))
    }

    /// Whether it was told which certificates are published: only then does
    /// [`Self::published`] without an answer mean that there is none.
    #[must_use]
    pub fn knows_certificates(&self) -> bool {
        self.knows_certificates
    }

    /// Where `hotkey` serves, if it is a validator and published an address.
    #[must_use]
    pub fn endpoint(&self, hotkey: &Hotkey) -> Option<SocketAddr> {
        self.validators.get(hotkey).and_then(|published| published.axon)
    }

    /// Validators with a published address, in order of hotkey; this node may be among them.
    pub fn reachable(&self) -> impl Iterator<Item = (Hotkey, SocketAddr)> + '_ {
        self.validators.iter().filter_map(|(hotkey, p)| p.axon.map(|axon| (*hotkey, axon)))
    }

    /// Whether a validator published an address of this host.
    pub(crate) fn serves_from(&self, address: IpAddr) -> bool {
        self.reachable().any(|(_, axon)| axon.ip() == address)
    }

    /// The certificate that `hotkey` published, if it is a validator and published one.
    #[must_use]
    pub fn published(&self, hotkey: &Hotkey) -> Option<&[u8]> {
        self.validators.get(hotkey).and_then(|published| published.certificate.as_deref())
    }

    /// Whether a connection with this peer may be, as far as the chain says.
    pub(crate) fn admit(&self, peer: &VerifiedPeer, now: UnixMs) -> Result<(), CertificateRefusal> {
        if self.contains(&peer.hotkey) {
            self.check_key(peer, now)
        } else {
            Err(CertificateRefusal::NotAValidator)
        }
    }

    /// How the peer's key stands to what its hotkey published.
    pub(crate) fn standing(&self, peer: &VerifiedPeer, now: UnixMs) -> KeyStanding {
        let shown = published_form(peer.key);
        KeyStanding::of(self.published(&peer.hotkey), &shown, peer.endorsed_at, now)
    }

    /// Whether the peer has the key that the chain says, or one that is newer; any key is right if
    /// the chain says none.
    pub(crate) fn check_key(
        &self,
        peer: &VerifiedPeer,
        now: UnixMs,
    ) -> Result<(), CertificateRefusal> {
        if self.standing(peer, now).is_taken() {
            Ok(())
        } else {
            Err(CertificateRefusal::KeyNotPublished)
        }
    }
}
