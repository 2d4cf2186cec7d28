//! What a collector may do to the node: nothing.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node_core::id::{Digest, Netuid};
use opentelemetry::{Key, Value};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use opentelemetry_sdk::Resource;
use tokio::time::Instant;

use super::world::{attribute, scored, seen, submission, ALICE};
use crate::config;
use crate::metrics::Metrics;
use crate::status::sample;
use crate::traces::{queue, start, start_with, Tracer, Traces};

const TRACER: Tracer =
    Tracer { hotkey: ALICE, netuid: Netuid(3), policy: Digest([5; 32]), references: Vec::new() };

/// How a collector behaves.
#[derive(Clone, Copy, Debug, Default)]
enum Mood {
    #[default]
    Takes,
    /// Refuses so many messages, then takes them.
    Refuses(u32),
    /// Never answers.
    Hangs,
}

/// A collector in memory.
#[derive(Clone, Debug, Default)]
struct Collector {
    mood: Arc<Mutex<Mood>>,
    spans: Arc<Mutex<Vec<SpanData>>>,
    resource: Arc<Mutex<Option<Resource>>>,
}

impl Collector {
    fn in_mood(mood: Mood) -> Self {
        Self { mood: Arc::new(Mutex::new(mood)), ..Self::default() }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.spans.lock().unwrap().clone()
    }

    /// The mood in which it gets a message.
    fn next(&self) -> Mood {
        let mut mood = self.mood.lock().unwrap();
        let now = *mood;
        if let Mood::Refuses(left) = now {
            *mood = if left > 1 { Mood::Refuses(left - 1) } else { Mood::Takes };
        }
        now
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self.next() {
            Mood::Takes => {
                self.spans.lock().unwrap().extend(batch);
                Ok(())
            }
            Mood::Refuses(_) => Err(OTelSdkError::InternalFailure("not today".to_owned())),
            Mood::Hangs => std::future::pending().await,
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        *self.resource.lock().unwrap() = Some(resource.clone());
    }
}

/// How many spans met this fate, as operators read it.
fn count(metrics: &Metrics, fate: &str) -> u64 {
    let report = sample::healthy();
    let text = metrics.encode(&report, report.as_of).unwrap();
    let name = format!("assay_spans_total{{fate=\"{fate}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}in\n{text}")).parse().unwrap()
}

fn traces(collector: &Collector) -> (Traces, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (start_with(collector.clone(), &TRACER, &metrics), metrics)
}

/// A submission from its beginning to its end.
fn trace(traces: &mut Traces, number: u8) {
    let submission = submission(number);
    traces.heard(&seen(&submission));
    traces.heard(&scored(submission.id));
}

/// What is logged while the guard lives.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let builder = tracing_subscriber::fmt().without_time().with_ansi(false);
        tracing::subscriber::set_default(builder.with_writer(move || writer.clone()).finish())
    }

    fn count(&self, what: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(what).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_sends_what_has_ended_and_nothing_that_is_open() {
    let collector = Collector::default();
    let (mut traces, metrics) = traces(&collector);
    trace(&mut traces, 1);
    traces.heard(&seen(&submission(2)));
    traces.finish().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    let expected = Value::from(submission(1).id.to_string());
    assert_eq!(attribute(&spans[0], "assay.submission"), Some(expected));
    assert_eq!(count(&metrics, "sent"), 1);
    // Whatever comes behind it is nobody's.
    trace(&mut traces, 3);
    traces.finish().await;
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_never_answers_delays_a_stop_by_two_seconds_and_the_loop_not_at_all() {
    let (mut traces, metrics) = traces(&Collector::in_mood(Mood::Hangs));
    let began = Instant::now();
    for number in 0..200 {
        trace(&mut traces, number);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    traces.finish().await;
    assert!(began.elapsed() < Duration::from_millis(2_100), "{:?}", began.elapsed());
    assert_eq!(count(&metrics, "sent"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_the_queue_is_dropped_and_counted() {
    let collector = Collector::default();
    let (mut traces, metrics) = traces(&collector);
    // Nothing is taken out before this task waits.
    let over = 10;
    for place in 0..queue::QUEUED_MAX + over {
        trace(&mut traces, u8::try_from(place % 256).unwrap());
    }
    assert_eq!(count(&metrics, "dropped"), over as u64);
    traces.finish().await;
    assert_eq!(collector.spans().len(), queue::QUEUED_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_was_away_gets_what_waited_and_the_log_has_two_lines_of_it() {
    let lines = Lines::default();
    let listening = lines.listen();
    let collector = Collector::in_mood(Mood::Refuses(5));
    let (mut traces, metrics) = traces(&collector);
    for number in 0..20 {
        trace(&mut traces, number);
    }
    while collector.spans().len() < 20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    trace(&mut traces, 21);
    traces.finish().await;
    drop(listening);
    assert_eq!(collector.spans().len(), 21);
    assert_eq!((count(&metrics, "sent"), count(&metrics, "given_up")), (21, 0));
    assert_eq!(lines.count("does not take them; trying again"), 1);
    assert_eq!(lines.count("takes them again"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_collector_never_takes_is_given_up_after_a_minute_and_the_next_is_tried() {
    let collector = Collector::in_mood(Mood::Refuses(12));
    let (mut traces, metrics) = traces(&collector);
    trace(&mut traces, 1);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(count(&metrics, "given_up"), 1);
    trace(&mut traces, 2);
    traces.finish().await;
    assert_eq!((collector.spans().len(), count(&metrics, "sent")), (1, 1));
}

#[tokio::test]
async fn a_collector_is_told_who_traces_and_nothing_secret() {
    let collector = Collector::default();
    let (mut traces, _) = traces(&collector);
    let resource = collector.resource.lock().unwrap().clone().unwrap();
    let expected = [
        ("service.name", Value::from("assay")),
        ("service.version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("service.instance.id", Value::from(ALICE.to_string())),
        ("assay.netuid", Value::I64(3)),
        ("assay.policy", Value::from(Digest([5; 32]).to_string())),
    ];
    assert_eq!(resource.len(), expected.len(), "{resource:?}");
    for (key, value) in expected {
        assert_eq!(resource.get(&Key::from_static_str(key)), Some(value), "{key}");
    }
    traces.finish().await;
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_traced() {
    let metrics = Arc::new(Metrics::new());
    let mut traces = start(&config::Traces { endpoint: None }, &TRACER, &metrics).unwrap();
    trace(&mut traces, 1);
    traces.finish().await;
    for fate in ["sent", "given_up", "dropped", "displaced"] {
        assert_eq!(count(&metrics, fate), 0, "{fate}");
    }
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_no_reason_not_to_start() {
    let endpoint = Some("http://127.0.0.1:1".to_owned());
    let metrics = Arc::new(Metrics::new());
    let mut traces = start(&config::Traces { endpoint }, &TRACER, &metrics).unwrap();
    trace(&mut traces, 1);
    traces.finish().await;
    assert_eq!(count(&metrics, "sent"), 0);
}
