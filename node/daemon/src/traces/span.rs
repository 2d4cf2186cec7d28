//! A span while it is open, and what it becomes.

use std::time::SystemTime;

use node_core::id::SubmissionId;
use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId, TraceFlags, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::id;
use crate::config::hide_credentials;

/// Events of one span. Lower: a submission that is given out often loses the end of its story.
/// Higher: one that is refused for hours makes a message that a collector refuses.
const EVENTS_MAX: usize = 128;

/// Characters of a text in an attribute: reasons hold what miners and peers wrote.
const TEXT_CHARS_MAX: usize = 200;

/// The span below which another one stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parent {
    /// None: it is the first of its node.
    None,
    /// One of this node.
    Own(SpanId),
    /// One of another node.
    Remote(SpanId),
}

/// A span that is open, or that waits to be sent with others.
#[derive(Debug)]
pub(super) struct Draft {
    span: SpanData,
    has_ended: bool,
}

impl Draft {
    /// Begins a span in the trace of `submission`.
    pub(super) fn begin(
        name: &'static str,
        submission: &SubmissionId,
        span_id: SpanId,
        parent: Parent,
        at: SystemTime,
    ) -> Self {
        let (trace, flags) = (id::trace(submission), TraceFlags::SAMPLED);
        let (parent_span_id, parent_span_is_remote) = match parent {
            Parent::None => (SpanId::INVALID, false),
            Parent::Own(parent) => (parent, false),
            Parent::Remote(parent) => (parent, true),
        };
        let scope = InstrumentationScope::builder("assay").with_version(env!("CARGO_PKG_VERSION"));
        let span = SpanData {
            span_context: SpanContext::new(trace, span_id, flags, false, TraceState::NONE),
            parent_span_id,
            parent_span_is_remote,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: at,
            end_time: at,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.build(),
        };
        Self { span, has_ended: false }
    }

    pub(super) fn id(&self) -> SpanId {
        self.span.span_context.span_id()
    }

    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.attributes.push(KeyValue::new(key, value));
    }

    /// Adds an event; of too many only the number is kept.
    pub(super) fn event(&mut self, name: &'static str, at: SystemTime, facts: Vec<KeyValue>) {
        let events = &mut self.span.events;
        if events.events.len() < EVENTS_MAX {
            events.events.push(Event::new(name, at, facts, 0));
        } else {
            events.dropped_count = events.dropped_count.saturating_add(1);
        }
    }

    /// Marks what this node, and not the submission, did not manage.
    pub(super) fn fail(&mut self, why: &str) {
        self.span.status = Status::error(text(why));
    }

    /// Ends it; again changes nothing.
    pub(super) fn end(&mut self, at: SystemTime) {
        if !self.has_ended {
            self.has_ended = true;
            // A wall clock may have been set back.
            self.span.end_time = at.max(self.span.start_time);
        }
    }

    /// Ends it, unless it has ended, for sending.
    pub(super) fn finish(mut self, at: SystemTime) -> SpanData {
        self.end(at);
        self.span
    }
}

/// A text of somebody else's as it may leave the node: short, and without credentials in URLs.
pub(super) fn text(given: &str) -> String {
    hide_credentials(given).chars().take(TEXT_CHARS_MAX).collect()
}

/// A number as attributes have them.
pub(super) fn number(given: u64) -> Value {
    Value::I64(i64::try_from(given).unwrap_or(i64::MAX))
}
