//! Traces: the way of each submission through this node, and in one trace with it its way through
//! all others, as OpenTelemetry spans. The only door to its crates.
//!
//! ```text
//! events, notes, effects --> book (what is open) --ended spans--> queue --OTLP, gRPC--> collector
//! ```
//!
//! ```text
//! submission (validator A, from its commitment until it is settled)
//! +- fetch, admission, recall
//! +- lease (held by A)            each lease stands below whoever granted it
//! |  +- run, seal, show
//! +- lease (held by B)
//!    +- run, seal, show
//! submission (validator B)
//! +- fetch, admission, recall
//! ```
//!
//! Ids of traces and spans follow from ids that every validator derives (`id`), so nothing of a
//! trace travels between nodes, and nobody can write into another one's headers. What a run found
//! leaves the node only once it is shown (`lease`). Off unless `traces.endpoint` is set; the loop
//! never waits for any of this.
//!
//! Not here: log lines and counters (`notes`, `metrics`).

mod book;
mod bounded;
mod id;
mod lease;
mod queue;
mod span;
mod submission;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use node_core::id::{Digest, Hotkey, Netuid, SubmissionId};
use node_core::machine::effect::{Effect, Note};
use node_core::machine::event::Event;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{RetryPolicy, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::trace::SpanExporter;
use opentelemetry_sdk::Resource;

use self::book::{Book, Bounds};
use self::queue::{Flush, Queue};
use crate::config;
use crate::metrics::{Metrics, SpanFate};

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to `{endpoint}`")]
pub(crate) struct TracesError {
    endpoint: String,
    #[source]
    source: opentelemetry_otlp::ExporterBuildError,
}

/// Who traces.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    /// The validator.
    pub(crate) hotkey: Hotkey,
    /// Its subnet.
    pub(crate) netuid: Netuid,
    /// The rules that it applies.
    pub(crate) policy: Digest,
    /// Submissions that nobody commits, with their names: the challenge's own.
    pub(crate) references: Vec<(SubmissionId, String)>,
}

impl Tracer {
    /// What a collector shows beside each span. All public: the hotkey stands on the chain, and the
    /// policy's digest in every receipt.
    fn resource(&self) -> Resource {
        let attributes = [
            KeyValue::new("service.name", "assay"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", self.hotkey.to_string()),
            KeyValue::new("assay.netuid", i64::from(self.netuid.0)),
            KeyValue::new("assay.policy", self.policy.to_string()),
        ];
        // Without the detectors, which take attributes from the environment.
        Resource::builder_empty().with_attributes(attributes).build()
    }
}

/// What is traced, if anything is.
#[derive(Debug, Default)]
pub(crate) struct Traces(Option<Tracing>);

#[derive(Debug)]
struct Tracing {
    book: Book,
    queue: Queue,
    flush: Flush,
    metrics: Arc<Metrics>,
}

/// Starts to trace, if the operator wants it. Within the runtime; connects when there is something
/// to send.
///
/// # Errors
///
/// [`TracesError`] if the endpoint is none; a checked configuration has none such.
pub(crate) fn start(
    config: &config::Traces,
    tracer: &Tracer,
    metrics: &Arc<Metrics>,
) -> Result<Traces, TracesError> {
    let Some(endpoint) = &config.endpoint else { return Ok(Traces::default()) };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(queue::ANSWER_MAX)
        // The queue tries again, for longer.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|source| TracesError { endpoint: endpoint.clone(), source })?;
    tracing::info!(%endpoint, "submissions are traced");
    Ok(start_with(exporter, tracer, metrics))
}

fn start_with<E: SpanExporter + 'static>(
    mut exporter: E,
    tracer: &Tracer,
    metrics: &Arc<Metrics>,
) -> Traces {
    exporter.set_resource(&tracer.resource());
    let (queue, flush) = queue::start(exporter, queue::QUEUED_MAX, metrics);
    let book = Book::new(tracer.hotkey, tracer.references.clone(), Bounds::default());
    Traces(Some(Tracing { book, queue, flush, metrics: Arc::clone(metrics) }))
}

impl Traces {
    /// Something happened, and the machine is about to be told.
    pub(crate) fn saw(&mut self, event: &Event) {
        self.write(|book, at| book.saw(event, at));
    }

    /// The machine said something.
    pub(crate) fn heard(&mut self, note: &Note) {
        self.write(|book, at| book.heard(note, at));
    }

    /// What the machine wants is about to be done.
    pub(crate) fn performs(&mut self, effect: &Effect) {
        self.write(|book, at| book.performs(effect, at));
    }

    /// Sends what has ended, for at most two seconds. Nothing is traced any more.
    pub(crate) async fn finish(&mut self) {
        let Some(Tracing { queue, flush, .. }) = self.0.take() else { return };
        drop(queue);
        flush.finish().await;
    }

    fn write(&mut self, entry: impl FnOnce(&mut Book, SystemTime)) {
        let Some(Tracing { book, queue, metrics, .. }) = &mut self.0 else { return };
        entry(book, SystemTime::now());
        for span in book.take_ended() {
            queue.put(span);
        }
        let displaced = book.take_displaced();
        if displaced > 0 {
            metrics.count_spans(SpanFate::Displaced, displaced);
        }
    }
}
