//! The way to the collector: a bounded queue, and one task that empties it.
//!
//! Whoever hands in a span never waits. A collector that is away is tried again for a minute with
//! the same spans, then they are given up and the next ones are tried; what does not fit into the
//! queue meanwhile is dropped. Both are counted, and the log has one line when it begins and one
//! when it is over, not one per span.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::metrics::{Metrics, SpanFate};

/// Spans that wait for the collector. Lower: a short absence of it loses some. Higher: memory, some
/// two kilobytes each, for what nobody may ever read.
pub(super) const QUEUED_MAX: usize = 4_096;

/// Spans of one message, below the 4 MiB that a collector takes unless told otherwise.
const BATCH_MAX: usize = 512;

/// How long a span waits for others to be sent with. Lower: a message for nearly each. Higher:
/// a trace is looked for before it is there.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// How long the collector may take for a message.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Pause before a message that the collector did not take is sent again.
const AGAIN_PAUSE: Duration = Duration::from_secs(5);

/// How often a message is sent before it is given up. Lower: a collector that is restarted loses
/// spans. Higher: one message that it never takes keeps the others waiting for longer.
const TRIES_MAX: u32 = 12;

/// How long the last spans may take when the node stops.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Hands spans over; never waits.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    metrics: Arc<Metrics>,
}

impl Queue {
    pub(super) fn put(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.metrics.count_spans(SpanFate::QueueFull, 1);
        }
    }
}

/// The task that sends, to be waited for when the node stops.
#[derive(Debug)]
pub(super) struct Flush(JoinHandle<()>);

impl Flush {
    /// Waits until everything is sent that was put into the queue, at most two seconds. For when
    /// nobody has the queue any more.
    pub(super) async fn finish(mut self) {
        if timeout(FLUSH_MAX, &mut self.0).await.is_err() {
            self.0.abort();
            tracing::warn!("the last traces were not sent: their collector did not take them");
        }
    }
}

/// Starts a queue to `exporter`.
///
/// - `queued_max`: spans that wait in it.
pub(super) fn start<E: SpanExporter + 'static>(
    exporter: E,
    queued_max: usize,
    metrics: &Arc<Metrics>,
) -> (Queue, Flush) {
    let (sender, spans) = mpsc::channel(queued_max);
    let metrics = Arc::clone(metrics);
    let queue = Queue { spans: sender, metrics: Arc::clone(&metrics) };
    let courier = Courier { exporter, spans, metrics, lost: None };
    (queue, Flush(tokio::spawn(courier.carry())))
}

/// Empties the queue.
struct Courier<E> {
    exporter: E,
    spans: mpsc::Receiver<SpanData>,
    metrics: Arc<Metrics>,
    /// Spans that were given up since the collector last took some; `None` while it takes them.
    lost: Option<u64>,
}

impl<E: SpanExporter> Courier<E> {
    /// Until nobody can hand in any more, and all is sent or given up.
    async fn carry(mut self) {
        loop {
            let mut batch = Vec::new();
            if self.spans.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return;
            }
            // However this ends, what was received is in the batch.
            tokio::select! {
                () = fill(&mut batch, &mut self.spans) => {}
                () = tokio::time::sleep(BATCH_WAIT) => {}
            }
            self.deliver(batch).await;
        }
    }

    async fn deliver(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        for tried in 1..=TRIES_MAX {
            match self.send(batch.clone()).await {
                Ok(()) => {
                    self.metrics.count_spans(SpanFate::Sent, count);
                    return self.taken();
                }
                Err(error) => self.not_taken(&error),
            }
            // At the end of the node there is no later.
            if tried < TRIES_MAX && !self.spans.is_closed() {
                tokio::time::sleep(AGAIN_PAUSE).await;
            }
        }
        self.metrics.count_spans(SpanFate::GivenUp, count);
        self.lost = self.lost.map(|lost| lost.saturating_add(count));
    }

    async fn send(&self, batch: Vec<SpanData>) -> Result<(), String> {
        match timeout(ANSWER_MAX, self.exporter.export(batch)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
        }
    }

    fn not_taken(&mut self, error: &str) {
        if self.lost.is_none() {
            self.lost = Some(0);
            tracing::warn!(error, "the collector of traces does not take them; trying again");
        }
    }

    fn taken(&mut self) {
        if let Some(lost) = self.lost.take() {
            tracing::info!(lost, "the collector of traces takes them again");
        }
    }
}

/// Adds what comes until the batch is full or nothing more can come.
async fn fill(batch: &mut Vec<SpanData>, spans: &mut mpsc::Receiver<SpanData>) {
    while batch.len() < BATCH_MAX {
        let Some(span) = spans.recv().await else { return };
        batch.push(span);
    }
}
