//! The spans of one submission at this node: the whole, and under it fetch, admission, and the
//! reading of earlier works that may be like it.

use std::time::SystemTime;

use node_core::id::{Hotkey, SubmissionId};
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;

use super::id;
use super::span::{text, Draft, Parent};

/// A submission that this node has seen and not settled.
#[derive(Debug)]
pub(super) struct OpenSubmission {
    submission: SubmissionId,
    whole: Draft,
    fetch: Option<Draft>,
    admission: Option<Draft>,
    recall: Option<Draft>,
}

impl OpenSubmission {
    /// A submission, as `own` sees it from now on.
    pub(super) fn begin(submission: SubmissionId, own: &Hotkey, at: SystemTime) -> Self {
        let span_id = id::of_submission(&submission, own);
        let mut whole = Draft::begin("submission", &submission, span_id, Parent::None, at);
        whole.set("assay.submission", submission.to_string());
        whole.set("assay.validator", own.to_string());
        Self { submission, whole, fetch: None, admission: None, recall: None }
    }

    pub(super) fn whole_mut(&mut self) -> &mut Draft {
        &mut self.whole
    }

    pub(super) fn event(&mut self, name: &'static str, at: SystemTime, facts: Vec<KeyValue>) {
        self.whole.event(name, at, facts);
    }

    pub(super) fn begin_fetch(&mut self, at: SystemTime) {
        self.fetch = Some(self.stage("fetch", at));
    }

    /// - `failure`: why there is nothing, if so.
    pub(super) fn end_fetch(&mut self, failure: Option<&str>, at: SystemTime) -> Option<SpanData> {
        Some(ended(self.fetch.take()?, failure, at))
    }

    pub(super) fn begin_admission(&mut self, at: SystemTime) {
        self.admission = Some(self.stage("admission", at));
    }

    /// - `verdict`: what came of it; `None` if nothing did.
    /// - `failure`: why nothing did.
    pub(super) fn end_admission(
        &mut self,
        verdict: Option<&'static str>,
        failure: Option<&str>,
        at: SystemTime,
    ) -> Option<SpanData> {
        let mut admission = self.admission.take()?;
        if let Some(verdict) = verdict {
            admission.set("assay.verdict", verdict);
        }
        Some(ended(admission, failure, at))
    }

    pub(super) fn begin_recall(&mut self, at: SystemTime) {
        self.recall = Some(self.stage("recall", at));
    }

    /// - `failure`: why earlier works could not be read, if so.
    pub(super) fn end_recall(&mut self, failure: Option<&str>, at: SystemTime) -> Option<SpanData> {
        Some(ended(self.recall.take()?, failure, at))
    }

    /// A part that is tried again when it fails, so without an id that others could derive.
    fn stage(&self, name: &'static str, at: SystemTime) -> Draft {
        Draft::begin(name, &self.submission, id::random(), Parent::Own(self.whole.id()), at)
    }

    /// Everything of it, ended.
    pub(super) fn settle(
        mut self,
        outcome: &'static str,
        reason: Option<&str>,
        at: SystemTime,
    ) -> Vec<SpanData> {
        self.whole.set("assay.outcome", outcome);
        if let Some(reason) = reason {
            self.whole.set("assay.reason", text(reason));
        }
        let stages = [self.fetch, self.admission, self.recall, Some(self.whole)];
        stages.into_iter().flatten().map(|span| span.finish(at)).collect()
    }

    /// How many spans are lost with it.
    pub(super) fn spans(&self) -> u64 {
        let stages = [&self.fetch, &self.admission, &self.recall];
        1 + stages.into_iter().flatten().count() as u64
    }
}

fn ended(mut span: Draft, failure: Option<&str>, at: SystemTime) -> SpanData {
    if let Some(failure) = failure {
        span.fail(failure);
    }
    span.finish(at)
}
