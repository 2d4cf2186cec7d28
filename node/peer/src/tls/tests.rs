//! A certificate and what belongs to it, for the tests of this crate.

use std::sync::Arc;

use node_core::id::{BlockHash, Hotkey, HotkeySigner, Netuid, Signature};
use node_core::unit::UnixMs;
use sp_core::{sr25519, Pair};
use tokio::sync::watch;

use super::{CurrentCertificate, NodeCertificate, TlsParts};
use crate::clock::WallClock;
use crate::directory::{NodeIdentity, PeerDirectory};

pub(crate) const NOW: UnixMs = UnixMs(1_700_000_000_000);

/// A development key.
pub(crate) struct DevKey(pub(crate) sr25519::Pair);

impl DevKey {
    pub(crate) fn named(name: &str) -> Self {
        Self(sr25519::Pair::from_string(&format!("//{name}"), None).unwrap())
    }
}

impl std::fmt::Debug for DevKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevKey")
    }
}

impl HotkeySigner for DevKey {
    fn hotkey(&self) -> Hotkey {
        Hotkey(self.0.public().0)
    }
    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).0)
    }
}

/// A clock at which it is always [`NOW`].
#[derive(Debug)]
pub(crate) struct Standing;

impl WallClock for Standing {
    fn unix(&self) -> UnixMs {
        NOW
    }
}

pub(crate) fn identity() -> NodeIdentity {
    NodeIdentity {
        hotkey: DevKey::named("Alice").hotkey(),
        genesis: BlockHash([3; 32]),
        netuid: Netuid(7),
        software_version: String::new(),
    }
}

pub(crate) fn certificate() -> NodeCertificate {
    NodeCertificate::generate(&identity(), &DevKey::named("Alice"), NOW).unwrap()
}

pub(crate) fn parts(
    certificate: CurrentCertificate,
    directory: watch::Receiver<PeerDirectory>,
) -> TlsParts {
    let identity = Arc::new(identity());
    TlsParts { identity, directory, clock: Arc::new(Standing), certificate }
}
