//! Frames between the meter and the container, and what one may contain.
//!
//! A frame is a kind (1 byte), a length (4 bytes, little-endian) and a payload. Numbers in
//! payloads are little-endian. The other end is `shim/assay_shim.py`.
//!
//! | kind | from | payload |
//! |---|---|---|
//! | 1 start | meter | JSON: numbers of the policy, the submission's files and entries |
//! | 2 ask | meter | u32 each: request, sequences, tokens, positions; inputs; positions u32 each |
//! | 3 train | meter | nothing: held-out text is done, training may begin |
//! | 4 targets | meter | the targets of the last ask |
//! | 5 end | meter | nothing: no more batches |
//! | 6 finish | meter | nothing: all is measured |
//! | 26 probe | meter | as ask; the model is untrained, and the tokens are no text |
//! | 27 count | meter | nothing: probing is over |
//! | 30 task | meter | JSON: of which size the model of the next probe task is |
//! | 31 lesson | meter | u32 each: sequences, tokens, positions; inputs; positions; answers |
//! | 17 hello | container | protocol version u32, then the UUIDs of its devices, a line each |
//! | 18 ready | container | parameters u64 of the untrained model |
//! | 19 predictions | container | request u32, then log-probabilities f32, a row per position |
//! | 20 next | container | parameters u64: a batch is wanted |
//! | 21 trained | container | it is over: parameters u64, peak bytes of the devices u64, |
//! | | | parameters of embeddings u64, hooks that are there u32, uses u32 of |
//! | | | each of [`Hook::ALL`] |
//! | 22 log | container | JSON: numbers by name |
//! | 23 error | container | text: the submission raised an exception |
//! | 24 no memory | container | text: the exception was that of a device out of memory |
//! | 28 raised | container | text: the model raised an exception at a probe |
//! | 29 counted | container | parameters u64, and how many of them got no gradient u64 (all bits |
//! | | | set: not known) |
//! | 25 operators | container | JSON: the untrained model's operators (`operators`); before ready |
//!
//! Tokens have as many bytes as the start frame's `id_bytes` says. Zero positions are all of them;
//! otherwise they count through the batch, sequence after sequence, in ascending order.

use std::collections::BTreeMap;

use node_core::evidence::Hook;
pub use node_core::limits::PREDICTION_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Version that the container must name in its first frame.
pub const PROTOCOL_VERSION: u32 = 5;

/// Bytes of a submission's last words. Lower: tracebacks lose their end. Higher: evidence keeps
/// only some hundred characters anyway.
pub const ERROR_BYTES_MAX: usize = 4096;

/// Bytes of the list of devices in a hello. Lower: a host with many GPUs cannot name them all.
/// Higher: nothing needs more.
pub const DEVICES_BYTES_MAX: usize = 4096;

/// Bytes of one log line.
pub const LOG_BYTES_MAX: usize = 1024;

/// Log lines of one run. Lower: an honest loop that logs each step is refused. Higher: a container
/// can keep the node reading numbers that nobody will see.
pub const LOG_FRAMES_MAX: u32 = 1_000_000;

/// Bytes of a traced graph: as many operators and edges as are read. Lower: deep models have no
/// family. Higher: a container can keep the node reading.
pub const OPERATORS_BYTES_MAX: usize = 2 << 20;

/// Bytes of a number in a payload.
const U32_BYTES: usize = 4;
const U64_BYTES: usize = 8;

/// Bytes of the frame that says how training went.
const TRAINED_BYTES: usize = 3 * U64_BYTES + U32_BYTES * (1 + Hook::ALL.len());

/// Bytes of a token of this vocabulary.
pub(super) fn id_bytes(vocabulary: u32) -> usize {
    match vocabulary {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => U32_BYTES,
    }
}

/// Appends tokens, each in so many bytes.
pub(super) fn push_ids(payload: &mut Vec<u8>, ids: &[u32], id_bytes: usize) {
    payload.reserve(ids.len().saturating_mul(id_bytes));
    for id in ids {
        payload.extend(id.to_le_bytes().iter().take(id_bytes));
    }
}

/// What the meter asks in a frame: a request's number, sequences and tokens of a batch, its inputs,
/// and the positions that are asked for; none stand for all.
pub(super) fn ask_payload(
    request: u32,
    sizes: [usize; 2],
    (inputs, positions): (&[u32], &[usize]),
    id_bytes: usize,
) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let [sequences, tokens] = sizes;
    let head = [sequences, tokens, positions.len()].map(number);
    let mut payload = request.to_le_bytes().to_vec();
    payload.extend(head.iter().flat_map(|number| number.to_le_bytes()));
    push_ids(&mut payload, inputs, id_bytes);
    payload.extend(positions.iter().flat_map(|at| number(*at).to_le_bytes()));
    payload
}

/// Kinds of frames that the meter sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToPeer {
    Start = 1,
    Ask = 2,
    Train = 3,
    Targets = 4,
    End = 5,
    Finish = 6,
    Probe = 26,
    Count = 27,
    ProbeTask = 30,
    Lesson = 31,
}

/// The frame with predictions, the only long one.
const PREDICTIONS: u8 = 19;

/// Bytes of predictions that are read at a time: what a core's cache holds. A multiple of four.
const CHUNK_BYTES: usize = 64 << 10;

/// Frames that the container may send.
#[derive(Debug, PartialEq)]
pub(super) enum FromPeer {
    Hello {
        version: u32,
        /// UUIDs of the GPUs or slices that it sees, in any order.
        devices: Vec<String>,
    },
    Ready {
        parameters: u64,
    },
    /// Log-probabilities, as many as were asked for.
    Predictions {
        request: u32,
        log_probs: Vec<f32>,
    },
    Next {
        parameters: u64,
    },
    Trained {
        parameters: u64,
        peak_device_bytes: u64,
        /// Of the parameters, those of embeddings.
        embeddings: u64,
        hooks_used: BTreeMap<Hook, u32>,
    },
    Log {
        json: Vec<u8>,
    },
    Error {
        text: String,
    },
    /// A claim: the submission shares the process that makes it. Whoever lies fails by it.
    OutOfDeviceMemory,
    /// The untrained model raised an exception.
    Raised {
        text: String,
    },
    Counted {
        parameters: u64,
        /// Parameters without a gradient.
        idle: Option<u64>,
    },
    /// The traced model, a claim as well.
    Operators {
        json: Vec<u8>,
    },
}

/// Why no frame was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The channel is closed or broken.
    #[error("the channel was closed")]
    Closed,
    /// Bytes that are no frame, or too long a one.
    #[error("{0}")]
    Malformed(String),
}

/// The channel to a container.
#[derive(Debug)]
pub(super) struct Wire<S> {
    io: S,
    /// Log-probabilities that the only acceptable predictions have.
    predictions_len: usize,
    /// Predictions that are not needed any more: memory for the next ones. Of a large vocabulary
    /// they are tens of megabytes, which would be mapped and cleared anew with every batch.
    spare: Vec<f32>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire<S> {
    pub(super) fn new(io: S, predictions_len: usize) -> Self {
        Self { io, predictions_len, spare: Vec::new() }
    }

    /// Takes back predictions that were used.
    pub(super) fn take_back(&mut self, log_probs: Vec<f32>) {
        self.spare = log_probs;
    }

    /// From now on the only acceptable predictions have so many log-probabilities.
    pub(super) fn expect(&mut self, predictions_len: usize) {
        self.predictions_len = predictions_len;
    }

    /// Sends one frame.
    pub(super) async fn send(&mut self, kind: ToPeer, payload: &[u8]) -> Result<(), WireError> {
        let too_long = |_| WireError::Malformed("a frame of ours is too long".to_owned());
        let length = u32::try_from(payload.len()).map_err(too_long)?;
        let mut head = vec![kind as u8];
        head.extend(length.to_le_bytes());
        let closed = |_| WireError::Closed;
        self.io.write_all(&head).await.map_err(closed)?;
        self.io.write_all(payload).await.map_err(closed)?;
        self.io.flush().await.map_err(closed)
    }

    /// Reads one frame. Its length is checked against its kind before a byte of it is kept.
    pub(super) async fn receive(&mut self) -> Result<FromPeer, WireError> {
        let mut head = [0; 1 + U32_BYTES];
        self.fill(&mut head).await?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let predictions = self.predictions_len.saturating_mul(U32_BYTES).saturating_add(U32_BYTES);
        let (least, most) = match kind {
            17 => (U32_BYTES, U32_BYTES + DEVICES_BYTES_MAX),
            18 | 20 => (U64_BYTES, U64_BYTES),
            21 => (TRAINED_BYTES, TRAINED_BYTES),
            PREDICTIONS => (predictions, predictions),
            22 => (0, LOG_BYTES_MAX),
            23 | 24 | 28 => (0, ERROR_BYTES_MAX),
            29 => (2 * U64_BYTES, 2 * U64_BYTES),
            25 => (0, OPERATORS_BYTES_MAX),
            other => return Err(WireError::Malformed(format!("there is no frame {other}"))),
        };
        if length < least || length > most {
            let detail = format!("frame {kind} has {length} bytes, expected {least} to {most}");
            return Err(WireError::Malformed(detail));
        }
        if kind == PREDICTIONS {
            return self.predictions().await;
        }
        let mut payload = vec![0; length];
        self.fill(&mut payload).await?;
        Ok(decode(kind, &payload))
    }

    /// Reads predictions of the length that is expected.
    async fn predictions(&mut self) -> Result<FromPeer, WireError> {
        let mut request = [0; U32_BYTES];
        self.fill(&mut request).await?;
        let mut log_probs = std::mem::take(&mut self.spare);
        log_probs.clear();
        log_probs.reserve_exact(self.predictions_len);
        let mut chunk = vec![0; CHUNK_BYTES];
        while log_probs.len() < self.predictions_len {
            let left = (self.predictions_len - log_probs.len()).saturating_mul(U32_BYTES);
            let part = &mut chunk[..left.min(CHUNK_BYTES)];
            self.io.read_exact(part).await.map_err(|_| WireError::Closed)?;
            let values = part.as_chunks::<U32_BYTES>().0;
            log_probs.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        Ok(FromPeer::Predictions { request: u32::from_le_bytes(request), log_probs })
    }

    async fn fill(&mut self, into: &mut [u8]) -> Result<(), WireError> {
        self.io.read_exact(into).await.map(|_| ()).map_err(|_| WireError::Closed)
    }
}

/// A payload whose length fits its kind.
fn decode(kind: u8, payload: &[u8]) -> FromPeer {
    let number = || u64::from_le_bytes(payload.first_chunk().copied().unwrap_or_default());
    let short = || u32::from_le_bytes(payload.first_chunk().copied().unwrap_or_default());
    match kind {
        17 => {
            let list = String::from_utf8_lossy(payload.get(U32_BYTES..).unwrap_or_default());
            let devices = list.lines().map(str::to_owned).collect();
            FromPeer::Hello { version: short(), devices }
        }
        18 => FromPeer::Ready { parameters: number() },
        20 => FromPeer::Next { parameters: number() },
        21 => trained(payload),
        22 => FromPeer::Log { json: payload.to_vec() },
        24 => FromPeer::OutOfDeviceMemory,
        28 => FromPeer::Raised { text: String::from_utf8_lossy(payload).into_owned() },
        29 => {
            let idle = payload.get(U64_BYTES..).and_then(<[u8]>::first_chunk).copied();
            let idle = idle.map(u64::from_le_bytes).filter(|idle| *idle != u64::MAX);
            FromPeer::Counted { parameters: number(), idle }
        }
        25 => FromPeer::Operators { json: payload.to_vec() },
        _ => FromPeer::Error { text: String::from_utf8_lossy(payload).into_owned() },
    }
}

fn trained(payload: &[u8]) -> FromPeer {
    let number = |at: usize| {
        let bytes = payload.get(at..).and_then(<[u8]>::first_chunk).copied();
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    let rest = payload.get(3 * U64_BYTES..).unwrap_or_default().as_chunks::<4>().0;
    let mut rest = rest.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let there = rest.next().unwrap_or_default();
    let uses = (0_u32..).zip(Hook::ALL).zip(rest);
    let uses = uses.filter(|((bit, _), _)| there & (1 << bit) != 0);
    FromPeer::Trained {
        parameters: number(0),
        peak_device_bytes: number(U64_BYTES),
        embeddings: number(2 * U64_BYTES),
        hooks_used: uses.map(|((_, hook), uses)| (hook, uses)).collect(),
    }
}

impl FromPeer {
    /// The frame's name in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Ready { .. } => "ready",
            Self::Predictions { .. } => "predictions",
            Self::Next { .. } => "next",
            Self::Trained { .. } => "trained",
            Self::Log { .. } => "log",
            Self::Error { .. } => "error",
            Self::OutOfDeviceMemory => "no memory",
            Self::Raised { .. } => "raised",
            Self::Counted { .. } => "counted",
            Self::Operators { .. } => "operators",
        }
    }
}
