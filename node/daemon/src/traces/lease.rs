//! The spans of one lease that this node holds as a worker: the lease, and under it the run, the
//! sealing of its result and its showing.
//!
//! All are sent together, once the lease is over. A result is sealed so that nobody can copy it
//! before everybody has fixed their own, and validators may well share a collector: what a run
//! found is added only when it has been shown, or when there is nothing to show.

use std::time::SystemTime;

use node_core::id::{Hotkey, RunId};
use node_core::lease::{Grant, ReleaseReason};
use node_core::machine::effect::RunSpec;
use node_core::outcome::{Ending, Fault};
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;

use super::id;
use super::span::{number, text, Draft, Parent};

/// How a lease was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Its coordinator has the result.
    Completed,
    /// Its coordinator has it back.
    Released,
    /// Its coordinator did not want the result any more, or did not answer.
    Abandoned,
}

impl Over {
    fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What a run found, until it may be told.
#[derive(Debug)]
struct Found {
    ending: &'static str,
    is_fault: bool,
    points: Option<u64>,
}

/// A lease that this node holds.
#[derive(Debug)]
pub(super) struct OpenLease {
    run_id: RunId,
    grant: Grant,
    lease: Draft,
    devices: Option<String>,
    run: Option<Draft>,
    found: Option<Found>,
    seal: Option<Draft>,
    show: Option<Draft>,
    is_given_back: bool,
}

impl OpenLease {
    /// A lease that `own` holds since `at`. It stands below the submission's span of whoever
    /// granted it: that is where its attempts are beside each other.
    pub(super) fn begin(grant: Grant, own: &Hotkey, at: SystemTime) -> Self {
        let (submission, run_id) = (grant.assignment.submission, grant.run_of(own));
        let above = id::of_submission(&submission, &grant.coordinator);
        let parent =
            if grant.coordinator == *own { Parent::Own(above) } else { Parent::Remote(above) };
        let mut lease =
            Draft::begin("lease", &submission, id::of_run(&run_id, "lease"), parent, at);
        describe(&mut lease, &grant);
        lease.set("assay.replica", number(u64::from(grant.assignment.replica)));
        lease.set("assay.coordinator", grant.coordinator.to_string());
        lease.set("assay.worker", own.to_string());
        Self {
            run_id,
            grant,
            lease,
            devices: None,
            run: None,
            found: None,
            seal: None,
            show: None,
            is_given_back: false,
        }
    }

    pub(super) fn lease_mut(&mut self) -> &mut Draft {
        &mut self.lease
    }

    /// Its run is about to be started.
    pub(super) fn placed(&mut self, spec: &RunSpec) {
        let names: Vec<&str> = spec.devices.iter().map(|device| device.id.0.as_str()).collect();
        self.devices = Some(names.join(", "));
    }

    /// Its container was started.
    pub(super) fn started(&mut self, at: SystemTime) {
        let mut run = self.stage("run", at);
        describe(&mut run, &self.grant);
        run.set("assay.run", self.run_id.to_string());
        if let Some(devices) = self.devices.clone() {
            run.set("assay.device", devices);
        }
        self.run = Some(run);
    }

    /// Its container is gone. What came of it is kept.
    pub(super) fn ended(&mut self, ending: &Ending, points: Option<u64>, at: SystemTime) {
        if let Some(run) = &mut self.run {
            run.end(at);
        }
        let is_fault = matches!(ending.fault(), Fault::Infrastructure | Fault::Worker);
        self.found = Some(Found { ending: ending.name(), is_fault, points });
    }

    /// Its result is being sealed, or handed in sealed; again changes nothing.
    pub(super) fn begin_seal(&mut self, at: SystemTime) {
        if self.seal.is_none() {
            self.seal = Some(self.stage("seal", at));
        }
    }

    pub(super) fn end_seal(&mut self, at: SystemTime) {
        if let Some(seal) = &mut self.seal {
            seal.end(at);
        }
    }

    /// Its result is being shown; again changes nothing.
    pub(super) fn begin_show(&mut self, at: SystemTime) {
        if self.show.is_none() {
            self.show = Some(self.stage("show", at));
        }
    }

    /// It is being given back; again changes nothing.
    pub(super) fn giving_back(&mut self, reason: &ReleaseReason, at: SystemTime) {
        if std::mem::replace(&mut self.is_given_back, true) {
            return;
        }
        let reason = match reason {
            ReleaseReason::NoDevice => "no_device",
            ReleaseReason::ContentMissing => "content_missing",
            ReleaseReason::Declined => "declined",
            ReleaseReason::RunEnded { ending } => ending.name(),
        };
        self.lease.event("giving_back", at, vec![KeyValue::new("assay.reason", reason)]);
    }

    fn stage(&self, name: &'static str, at: SystemTime) -> Draft {
        let (submission, parent) = (self.grant.assignment.submission, Parent::Own(self.lease.id()));
        Draft::begin(name, &submission, id::of_run(&self.run_id, name), parent, at)
    }

    /// All of its spans, ended.
    pub(super) fn close(
        mut self,
        over: Over,
        reason: Option<&str>,
        at: SystemTime,
    ) -> Vec<SpanData> {
        self.lease.set("assay.outcome", over.name());
        if let Some(reason) = reason {
            self.lease.set("assay.reason", text(reason));
        }
        // A result that was sealed in vain may be handed in again, to another coordinator.
        let may_tell = over == Over::Released || self.show.is_some();
        if let Some(found) = self.found.take().filter(|_| may_tell) {
            // Without a container there is no run that could tell.
            tell(self.run.as_mut().unwrap_or(&mut self.lease), &found);
        }
        let spans = [self.run, self.seal, self.show, Some(self.lease)];
        spans.into_iter().flatten().map(|span| span.finish(at)).collect()
    }

    /// How many spans are lost with it.
    pub(super) fn spans(&self) -> u64 {
        let parts = [&self.run, &self.seal, &self.show].into_iter().filter(|span| span.is_some());
        1 + parts.count() as u64
    }
}

fn describe(span: &mut Draft, grant: &Grant) {
    span.set("assay.tier", number(u64::from(grant.assignment.tier)));
    span.set("assay.unit", number(u64::from(grant.assignment.unit)));
    span.set("assay.attempt", number(u64::from(grant.attempt.0)));
}

fn tell(span: &mut Draft, found: &Found) {
    span.set("assay.ending", found.ending);
    if let Some(points) = found.points {
        span.set("assay.points", number(points));
    }
    if found.is_fault {
        span.fail(found.ending);
    }
}
