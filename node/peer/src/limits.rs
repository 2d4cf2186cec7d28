//! Every bound of the peer protocol that is not already in [`node_core::limits`], with what
//! breaks on either side.

use node_core::limits::{
    PEER_CALL_MS_MAX, PEER_MESSAGE_BYTES_MAX, RECEIPTS_PER_PAGE_MAX, RENEWALS_PER_CALL_MAX,
    REPLICA_NUMBERS_MAX,
};

/// How far a call's signed time may lie from the receiver's clock, either way. Lower: validators
/// with sloppy clocks cannot talk. Higher: nonces are remembered for longer.
pub const CALL_WINDOW_MS: u64 = 30_000;

/// How much older than its sender's newest call a call may be. A caller gives up after
/// [`PEER_CALL_MS_MAX`], so an older one was held back on the way and nobody waits for its answer.
pub const CALL_HELD_BACK_MS_MAX: u64 = PEER_CALL_MS_MAX;
const _: () = assert!(CALL_HELD_BACK_MS_MAX < CALL_WINDOW_MS);

/// Calls of one validator remembered at once. Lower: a busy worker is refused. Higher: one hostile
/// validator makes us hold more.
pub const NONCES_PER_PEER_MAX: usize = 2_048;

/// Calls of all validators remembered at once, about 10 MiB. Lower: a few hostile validators shut
/// out the others. Higher: memory.
pub const NONCES_MAX: usize = 1 << 18;
const _: () = assert!(NONCES_MAX / NONCES_PER_PEER_MAX >= 128);

/// Calls of one validator being read or answered at once.
pub const CALLS_PER_PEER_MAX: u32 = 8;

/// Calls of all validators being read or answered at once. Each may hold a whole message, so this
/// bounds the memory of slow senders to 64 MiB.
pub const CALLS_MAX: u32 = 64;
const _: () = assert!(CALLS_MAX as usize * PEER_MESSAGE_BYTES_MAX <= 64 << 20);

/// How long the node may think about a call. Ends before the caller gives up, so that it learns
/// why.
pub const ANSWER_MS_MAX: u64 = 8_000;
const _: () = assert!(ANSWER_MS_MAX < PEER_CALL_MS_MAX);

/// Open connections. Lower: a large subnet does not fit. Higher: idle connections hold buffers.
pub const CONNECTIONS_MAX: u32 = 256;

/// Open connections from one IP address. Lower: validators behind one address translation are
/// refused. Higher: one host takes all connections.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 32;

/// Open connections of one validator. It needs two, one of them for renewals only; the rest is for
/// those that are about to end, and for tools. Lower: a restart is refused while its old
/// connections linger. Higher: few hostile validators take all connections.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 8;
const _: () = assert!(CONNECTIONS_MAX / CONNECTIONS_PER_PEER_MAX >= 32);

/// How long a TLS handshake may take. Lower: slow networks never get in. Higher: strangers occupy
/// places for longer.
pub const HANDSHAKE_MS_MAX: u64 = 3_000;

/// Handshakes at once with hosts that no validator published as its address. A handshake costs a
/// stranger nothing, and us a few signatures and up to 64 KiB; so strangers have places of their
/// own, which keep nobody waiting who is known.
pub const HANDSHAKES_OF_STRANGERS_MAX: u32 = 32;

/// Handshakes at once with one such host.
pub const HANDSHAKES_PER_STRANGER_MAX: u32 = 8;

/// Handshakes at once with hosts that validators published.
pub const HANDSHAKES_MAX: u32 = 64;

/// Handshakes at once with one such host.
pub const HANDSHAKES_PER_ADDRESS_MAX: u32 = 16;

/// Bytes of a certificate; ours has about 500. Lower: a longer name does not fit. Higher: strangers
/// make us parse more.
pub const CERTIFICATE_BYTES_MAX: usize = 1 << 10;

/// How long a certificate's endorsement is valid. Lower: a node that was away for long is refused
/// until it renews. Higher: a stolen key is good for longer.
pub const ENDORSEMENT_LIFE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Longest life that is believed: a day more, for clocks that are off.
pub const ENDORSEMENT_LIFE_MS_MAX: u64 = ENDORSEMENT_LIFE_MS + 24 * 60 * 60 * 1000;

/// Age at which a connection is asked to end, so that load and settings spread again.
pub const CONNECTION_AGE_MS_MAX: u64 = 30 * 60 * 1000;

/// Time after that in which calls may finish before the connection is cut.
pub const CONNECTION_AGE_GRACE_MS: u64 = 90_000;
const _: () = assert!(ENDORSEMENT_LIFE_MS / 3 > 2 * CONNECTION_AGE_MS_MAX);
const _: () = assert!(STREAM_MS_MAX < CONNECTION_AGE_GRACE_MS);

/// Streams that one connection may have open.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 64;

/// Calls of one connection in work at once; above it they are refused at once, not queued.
pub const CALLS_PER_CONNECTION_MAX: usize = 32;

/// Bytes that a peer may send on one stream before we read them.
pub const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// Bytes that a peer may send on one connection before we read them.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
const _: () = assert!(CONNECTION_WINDOW_BYTES as u64 * CONNECTIONS_MAX as u64 <= 64 << 20);

/// Bytes of a call's headers.
pub const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// How often a quiet connection is pinged.
pub const KEEPALIVE_MS: u64 = 20_000;

/// How long the answer to a ping may take before the connection counts as dead.
pub const KEEPALIVE_ANSWER_MS_MAX: u64 = 10_000;

/// How long calls in work may take when the server stops.
pub const STOP_GRACE_MS: u64 = PEER_CALL_MS_MAX;

/// How long opening a connection may take, its handshake included. Less than a call, so that the
/// caller learns which failed.
pub const CONNECT_MS_MAX: u64 = 3_000;
const _: () = assert!(CONNECT_MS_MAX < PEER_CALL_MS_MAX);

/// Connections to peers kept for reuse; the least recently used one is closed first.
pub const CHANNELS_MAX: usize = 256;

/// Tries to fetch one content from one peer: the first, and those that go on where a stream broke.
/// Lower: a flaky path never delivers. Higher: a peer that breaks off on purpose holds us longer.
pub const CONTENT_TRIES_MAX: u32 = 4;

/// Pause before a stream that broke is taken up again, times the number of the try.
pub const CONTENT_RETRY_PAUSE_MS: u64 = 200;

/// Bytes of content in one message.
pub const CONTENT_CHUNK_BYTES: usize = 64 << 10;

/// How long one content, or one page of receipts, may take to be sent or fetched in all, every try
/// included.
pub const STREAM_MS_MAX: u64 = 60_000;

/// How long a peer may stay silent in the middle of a stream.
pub const STREAM_IDLE_MS_MAX: u64 = 10_000;

/// Contents sent at once; each is held in memory meanwhile.
pub const CONTENT_STREAMS_MAX: u32 = 8;

/// Contents sent to one validator at once.
pub const CONTENT_STREAMS_PER_PEER_MAX: u32 = 2;

/// Pages of receipts sent at once.
pub const RECEIPT_STREAMS_MAX: u32 = 32;

/// Pages of receipts sent to one validator at once.
pub const RECEIPT_STREAMS_PER_PEER_MAX: u32 = 2;

/// Bytes of one receipt on the wire: a full loss curve and the longest texts take about 5 KiB.
pub const RECEIPT_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(RECEIPT_BYTES_MAX * RECEIPTS_PER_PAGE_MAX <= 4 << 20);

/// Bytes of one seal on the wire.
pub const SEAL_BYTES_MAX: usize = 224;

/// Leases renewed in one call.
pub const RENEW_ITEMS_MAX: usize = RENEWALS_PER_CALL_MAX;
const _: () = assert!(
    RENEW_ITEMS_MAX * REPLICA_NUMBERS_MAX as usize * SEAL_BYTES_MAX < PEER_MESSAGE_BYTES_MAX
);

/// Seals, or receipts, in one call. Lower: a busy worker needs more calls. Higher: one call takes
/// more places of the node's queue, which it gets all at once or not at all.
pub const BATCH_ITEMS_MAX: usize = 64;
const _: () = assert!(BATCH_ITEMS_MAX * RECEIPT_BYTES_MAX <= PEER_MESSAGE_BYTES_MAX);

/// Batches of one validator in work at once. More would let it fill the node's queue.
pub const BATCHES_PER_PEER_MAX: u32 = 1;

/// Characters of a device's description in a receipt.
pub const DEVICE_CHARS_MAX: usize = 200;

/// Characters of a software version.
pub const SOFTWARE_CHARS_MAX: usize = 100;
