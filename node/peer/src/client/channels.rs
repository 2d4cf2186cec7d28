//! One connection per peer and endpoint, opened when first used and reopened when broken.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use node_core::id::Hotkey;
use node_core::publish::{KeyStanding, NEW_KEY_MS_MAX};
use node_core::unit::UnixMs;
use tonic::transport::{Channel, Endpoint};

use super::connect::{Connector, Fault};
use super::met::Met;
use super::AskError;
use crate::limits::{
    CHANNELS_MAX, CONNECT_MS_MAX, HEADERS_BYTES_MAX, KEEPALIVE_ANSWER_MS_MAX, KEEPALIVE_MS,
};
use crate::tls::{client_config, TlsParts};

/// Bytes that peers may send before we read them, per stream and per connection: large enough
/// that one content comes at a useful speed over a slow path.
const WINDOW_BYTES: u32 = 1 << 20;

/// Whom a connection is with, where, and with which key according to the chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct To {
    peer: Hotkey,
    endpoint: SocketAddr,
    published: Option<Vec<u8>>,
}

/// A channel, and why its connection was refused if it was.
#[derive(Clone, Debug)]
pub(super) struct PeerChannel {
    pub(super) channel: Channel,
    pub(super) fault: Fault,
}

/// Channels by peer.
#[derive(Debug)]
pub(super) struct Channels {
    tls: TlsParts,
    met: Arc<Met>,
    // Calls run in tasks of their own. Held for a map operation, never across an await.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    channels: BTreeMap<To, Kept>,
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    /// The use in which it was last used.
    last_use: u64,
    opened_at: UnixMs,
    channel: PeerChannel,
}

impl Channels {
    pub(super) fn new(tls: TlsParts) -> Self {
        let met = Arc::new(Met::new(tls.directory.clone()));
        Self { tls, met, open: Mutex::default() }
    }

    /// How the key that `peer` showed last stands to what it published, if both are known.
    pub(super) fn key_standing(&self, peer: &Hotkey) -> Option<KeyStanding> {
        self.met.standing(peer, self.tls.clock.unix())
    }

    /// The channel to `peer` at `endpoint`; connecting happens with the first call on it.
    pub(super) fn channel(
        &self,
        peer: Hotkey,
        endpoint: SocketAddr,
    ) -> Result<PeerChannel, AskError> {
        // A key that was published anew takes a new connection, which is then checked against it.
        let published = self.tls.directory.borrow().published(&peer).map(<[u8]>::to_vec);
        let to = To { peer, endpoint, published };
        let now = self.tls.clock.unix();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        let last_use = open.uses;
        if let Some(kept) = open.channels.get_mut(&to) {
            // A server that ends no connection must not be taken by an old handshake for ever: its
            // key may have been a new one then.
            if now.0.saturating_sub(kept.opened_at.0) < NEW_KEY_MS_MAX {
                kept.last_use = last_use;
                return Ok(kept.channel.clone());
            }
            open.channels.remove(&to);
        }
        if open.channels.len() >= CHANNELS_MAX {
            open.close_least_recently_used();
        }
        let channel = self.connect_lazily(peer, endpoint)?;
        open.channels.insert(to, Kept { last_use, opened_at: now, channel: channel.clone() });
        Ok(channel)
    }

    fn connect_lazily(&self, peer: Hotkey, endpoint: SocketAddr) -> Result<PeerChannel, AskError> {
        let unreachable = |error: &dyn std::error::Error| AskError::unreachable(error);
        let config = client_config(self.tls.clone(), peer).map_err(|error| unreachable(&error))?;
        let fault = Fault::default();
        let (config, met) = (Arc::new(config), Arc::clone(&self.met));
        let connector = Connector { peer, endpoint, config, fault: fault.clone(), met };
        // The connector does TLS; the library would refuse a URI that asks it for that.
        let uri = Endpoint::from_shared(format!("http://{endpoint}"));
        let uri = uri.map_err(|error| unreachable(&error))?;
        let origin = http::Uri::try_from(format!("https://{endpoint}"));
        let configured = uri
            .origin(origin.map_err(|error| unreachable(&error))?)
            .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .http2_keep_alive_interval(Duration::from_millis(KEEPALIVE_MS))
            .keep_alive_timeout(Duration::from_millis(KEEPALIVE_ANSWER_MS_MAX));
        let channel = configured.connect_with_connector_lazy(connector);
        Ok(PeerChannel { channel, fault })
    }
}

impl Open {
    fn close_least_recently_used(&mut self) {
        let oldest = self.channels.iter().min_by_key(|(_, kept)| kept.last_use);
        if let Some(to) = oldest.map(|(to, _)| to.clone()) {
            self.channels.remove(&to);
        }
    }
}

#[cfg(test)]
mod tests {
    use node_core::unit::BlockNumber;
    use tokio::sync::watch;

    use super::*;
    use crate::directory::PeerDirectory;
    use crate::tls::tests::{certificate, parts};

    const PEER: Hotkey = Hotkey([1; 32]);

    fn endpoint(port: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], u16::try_from(port + 1).unwrap()))
    }

    fn is_open(channels: &Channels, wanted: SocketAddr) -> bool {
        channels.open.lock().unwrap().channels.keys().any(|to| to.endpoint == wanted)
    }

    #[tokio::test]
    async fn the_least_recently_used_channel_is_closed_for_a_new_one() {
        let (_view, directory) = watch::channel(PeerDirectory::default());
        let (_certificate, shown) = watch::channel(certificate());
        let channels = Channels::new(parts(shown, directory));
        for port in 0..CHANNELS_MAX {
            channels.channel(PEER, endpoint(port)).unwrap();
        }
        channels.channel(PEER, endpoint(0)).unwrap();
        channels.channel(PEER, endpoint(CHANNELS_MAX)).unwrap();
        assert_eq!(channels.open.lock().unwrap().channels.len(), CHANNELS_MAX);
        assert!(is_open(&channels, endpoint(0)));
        assert!(!is_open(&channels, endpoint(1)));
    }

    #[tokio::test]
    async fn another_peer_at_the_same_endpoint_or_a_newly_published_key_takes_a_channel_of_its_own()
    {
        let (view, directory) = watch::channel(PeerDirectory::of(BlockNumber(1), [(PEER, None)]));
        let (_certificate, shown) = watch::channel(certificate());
        let channels = Channels::new(parts(shown, directory));
        let count = |channels: &Channels| channels.open.lock().unwrap().channels.len();
        channels.channel(PEER, endpoint(0)).unwrap();
        channels.channel(PEER, endpoint(0)).unwrap();
        assert_eq!(count(&channels), 1);
        channels.channel(Hotkey([2; 32]), endpoint(0)).unwrap();
        assert_eq!(count(&channels), 2);
        view.send_modify(|view| *view = view.clone().with_certificates([(PEER, vec![1; 33])]));
        channels.channel(PEER, endpoint(0)).unwrap();
        assert_eq!(count(&channels), 3);
    }
}
