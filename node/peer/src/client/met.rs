//! Which key each peer showed the last time it was called.
//!
//! Only whom this node called at its own endpoint counts: anybody may show a stranger's certificate
//! to a server, without its key, and must not make that stranger look wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use node_core::id::Hotkey;
use node_core::publish::KeyStanding;
use node_core::unit::UnixMs;
use tokio::sync::watch;

use crate::directory::PeerDirectory;
use crate::tls::{CertificateRefusal, RefusedBy, VerifiedPeer};

/// What a peer showed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    /// A certificate that was taken.
    Taken(VerifiedPeer),
    /// One with another key than this, which the chain said.
    Other { published: Option<Vec<u8>> },
}

/// What peers showed, of validators of the latest view.
#[derive(Debug)]
pub(super) struct Met {
    directory: watch::Receiver<PeerDirectory>,
    // Held for a map operation, never across an await.
    shown: Mutex<BTreeMap<Hotkey, Shown>>,
}

impl Met {
    pub(super) fn new(directory: watch::Receiver<PeerDirectory>) -> Self {
        Self { directory, shown: Mutex::default() }
    }

    /// Notes whom a connection is with.
    pub(super) fn connected(&self, peer: VerifiedPeer) {
        self.note(peer.hotkey, Shown::Taken(peer));
    }

    /// Notes why there is no connection with `peer`, if its key was the reason.
    pub(super) fn refused(&self, peer: Hotkey, refused: Option<RefusedBy>) {
        if refused == Some(RefusedBy::Us(CertificateRefusal::KeyNotPublished)) {
            let published = self.directory.borrow().published(&peer).map(<[u8]>::to_vec);
            self.note(peer, Shown::Other { published });
        }
    }

    /// How the key that `peer` showed last stands to the latest view; `None` if it was not called,
    /// the chain says another key since, or it is not known what the chain says.
    pub(super) fn standing(&self, peer: &Hotkey, now: UnixMs) -> Option<KeyStanding> {
        let directory = self.directory.borrow();
        if !directory.knows_certificates() {
            return None;
        }
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match shown.get(peer)? {
            Shown::Taken(shown) => Some(directory.standing(shown, now)),
            Shown::Other { published } if published.as_deref() == directory.published(peer) => {
                Some(KeyStanding::Contradicts)
            }
            Shown::Other { .. } => None,
        }
    }

    fn note(&self, peer: Hotkey, what: Shown) {
        let directory = self.directory.borrow();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // Who is no validator any more is forgotten, so there are never more than validators.
        shown.retain(|hotkey, _| directory.contains(hotkey));
        if directory.contains(&peer) {
            shown.insert(peer, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use node_core::publish::NEW_KEY_MS_MAX;
    use node_core::unit::BlockNumber;

    use super::*;
    use crate::tls::tests::NOW;
    use crate::tls::{published_form, CertificateKey};

    const PEER: VerifiedPeer =
        VerifiedPeer { hotkey: Hotkey([1; 32]), key: CertificateKey([2; 32]), endorsed_at: NOW };

    fn says(published: Option<Vec<u8>>) -> PeerDirectory {
        PeerDirectory::of(BlockNumber(1), [(PEER.hotkey, None)])
            .with_certificates(published.map(|key| (PEER.hotkey, key)))
    }

    fn met(directory: PeerDirectory) -> (watch::Sender<PeerDirectory>, Met) {
        let (view, watched) = watch::channel(directory);
        (view, Met::new(watched))
    }

    #[test]
    fn a_key_stands_to_what_the_chain_says_now_and_not_when_it_was_shown() {
        let (view, met) = met(says(None));
        let standing = || met.standing(&PEER.hotkey, NOW);
        assert_eq!(standing(), None, "it was not called");
        met.connected(PEER);
        assert_eq!(standing(), Some(KeyStanding::Endorsed));
        view.send_replace(says(Some(published_form(PEER.key))));
        assert_eq!(standing(), Some(KeyStanding::Published));
        view.send_replace(says(Some(vec![1; 33])));
        assert_eq!(standing(), Some(KeyStanding::New));
        let late = UnixMs(NOW.0 + NEW_KEY_MS_MAX);
        assert_eq!(met.standing(&PEER.hotkey, late), Some(KeyStanding::Contradicts));
        view.send_replace(PeerDirectory::of(BlockNumber(2), [(PEER.hotkey, None)]));
        assert_eq!(standing(), None, "what is published was not read");
    }

    #[test]
    fn a_refused_key_contradicts_until_the_chain_says_another_one() {
        let (view, met) = met(says(Some(vec![1; 33])));
        let (us, peer) = (RefusedBy::Us, RefusedBy::Peer);
        for other in [
            None,
            Some(us(CertificateRefusal::Expired)),
            Some(peer(CertificateRefusal::KeyNotPublished)),
        ] {
            met.refused(PEER.hotkey, other);
            assert_eq!(met.standing(&PEER.hotkey, NOW), None, "{other:?}");
        }
        met.refused(PEER.hotkey, Some(us(CertificateRefusal::KeyNotPublished)));
        assert_eq!(met.standing(&PEER.hotkey, NOW), Some(KeyStanding::Contradicts));
        view.send_replace(says(Some(vec![2; 33])));
        assert_eq!(met.standing(&PEER.hotkey, NOW), None, "it has not shown anything since");
        met.connected(PEER);
        assert_eq!(met.standing(&PEER.hotkey, NOW), Some(KeyStanding::New));
    }

    #[test]
    fn only_validators_are_remembered() {
        let (view, met) = met(says(None));
        met.connected(PEER);
        met.connected(VerifiedPeer { hotkey: Hotkey([9; 32]), ..PEER });
        assert_eq!(met.shown.lock().unwrap().len(), 1);
        view.send_replace(PeerDirectory::of(BlockNumber(2), [(Hotkey([9; 32]), None)]));
        met.connected(VerifiedPeer { hotkey: Hotkey([9; 32]), ..PEER });
        let known: Vec<Hotkey> = met.shown.lock().unwrap().keys().copied().collect();
        assert_eq!(known, [Hotkey([9; 32])]);
    }
}
