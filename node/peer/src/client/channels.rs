//! One connection per endpoint, opened when first used and reopened when broken.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::AskError;
use crate::limits::{
    CHANNELS_MAX, CONNECT_MS_MAX, HEADERS_BYTES_MAX, KEEPALIVE_ANSWER_MS_MAX, KEEPALIVE_MS,
};

/// Bytes that peers may send before we read them, per stream and per connection: large enough
/// that one content comes at a useful speed over a slow path.
const WINDOW_BYTES: u32 = 1 << 20;

/// Channels by endpoint.
#[derive(Debug, Default)]
pub(super) struct Channels {
    // Calls run in tasks of their own. Held for a map operation, never across an await.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// With the use in which each was last used.
    by_endpoint: BTreeMap<SocketAddr, (u64, Channel)>,
    uses: u64,
}

impl Channels {
    /// The channel to `endpoint`; connecting happens with the first call on it.
    pub(super) fn channel(&self, endpoint: SocketAddr) -> Result<Channel, AskError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        let use_number = open.uses;
        if let Some((last_use, channel)) = open.by_endpoint.get_mut(&endpoint) {
            *last_use = use_number;
            return Ok(channel.clone());
        }
        if open.by_endpoint.len() >= CHANNELS_MAX {
            open.close_least_recently_used();
        }
        let channel = connect_lazily(endpoint)?;
        open.by_endpoint.insert(endpoint, (use_number, channel.clone()));
        Ok(channel)
    }
}

impl Open {
    fn close_least_recently_used(&mut self) {
        let oldest = self.by_endpoint.iter().min_by_key(|(_, (last_use, _))| *last_use);
        if let Some(endpoint) = oldest.map(|(endpoint, _)| *endpoint) {
            self.by_endpoint.remove(&endpoint);
        }
    }
}

fn connect_lazily(endpoint: SocketAddr) -> Result<Channel, AskError> {
    let uri = Endpoint::from_shared(format!("http://{endpoint}"));
    let uri = uri.map_err(|error| AskError::unreachable(&error))?;
    let configured = uri
        .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keep_alive_interval(Duration::from_millis(KEEPALIVE_MS))
        .keep_alive_timeout(Duration::from_millis(KEEPALIVE_ANSWER_MS_MAX))
        .tcp_nodelay(true);
    Ok(configured.connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_least_recently_used_channel_is_closed_for_a_new_one() {
        let channels = Channels::default();
        let endpoint =
            |port: usize| SocketAddr::from(([127, 0, 0, 1], u16::try_from(port + 1).unwrap()));
        for port in 0..CHANNELS_MAX {
            channels.channel(endpoint(port)).unwrap();
        }
        channels.channel(endpoint(0)).unwrap();
        channels.channel(endpoint(CHANNELS_MAX)).unwrap();
        let open = channels.open.lock().unwrap();
        assert_eq!(open.by_endpoint.len(), CHANNELS_MAX);
        assert!(open.by_endpoint.contains_key(&endpoint(0)));
        assert!(!open.by_endpoint.contains_key(&endpoint(1)));
    }
}
