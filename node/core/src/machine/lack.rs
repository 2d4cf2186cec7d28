//! What runs need of this host beside devices: the evaluator image, the data set, an engine that
//! answers and keeps to the sandbox profile.
//!
//! A run that finds one of them missing says nothing about what it was to measure, and so would the
//! next. While a host lacks something this node asks for no work, or each lease would be lost here,
//! one after another; from time to time it tries one, and goes on if that gets to its end. The
//! engine is asked by itself, and needs no run to be known as gone or as back.

use crate::limits::{clip_detail, LACK_RETRY_MS};
use crate::machine::effect::{Note, Outcome};
use crate::machine::work::Run;
use crate::machine::Machine;
use crate::outcome::{Ending, Fault};
use crate::unit::{MonoMs, Now, UnixMs};

/// Something that this host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLack {
    /// How the run ended that found out, or how one would end.
    pub ending: Ending,
    /// Since when.
    pub since: UnixMs,
    /// When that was learnt first: what began before tells nothing of how it is now.
    pub learnt_at: MonoMs,
    /// When the next run is tried.
    pub again_at: MonoMs,
}

impl HostLack {
    /// Whether the container engine does not answer: nobody has to try a run to see it back.
    #[must_use]
    pub fn is_engine(&self) -> bool {
        matches!(self.ending, Ending::EngineFailed { .. })
    }
}

impl Machine {
    /// What this host lacks, as far as its runs and its engine told.
    #[must_use]
    pub fn host_lack(&self) -> Option<&HostLack> {
        self.host_lack.as_ref()
    }

    /// How many leases to ask for where there is room for `free`: while the host lacks something,
    /// one now and then, and none beside a run that may tell.
    pub(super) fn leases_to_ask(&self, now: Now, free: usize) -> usize {
        let Some(lack) = &self.host_lack else { return free };
        let tries = |run: &Run| run.holds_device() && run.leased_at >= lack.learnt_at;
        if now.mono < lack.again_at || self.runs.values().any(tries) {
            return 0;
        }
        free.min(1)
    }

    /// Takes down what the end of a run, leased at `leased_at`, tells about this host.
    pub(super) fn learn_lack(
        &mut self,
        now: Now,
        leased_at: MonoMs,
        ending: &Ending,
        out: &mut Outcome,
    ) {
        if !ending.is_lack_of_host() {
            let tells = matches!(ending.fault(), Fault::None | Fault::Submission);
            if tells && self.host_lack.as_ref().is_some_and(|lack| leased_at >= lack.learnt_at) {
                self.host_lack = None;
            }
            return;
        }
        self.lacks(now, ending.clone(), out);
    }

    /// Takes down whether the container engine answers, and why it does not. A failed run alone
    /// says nothing about it: one container may fail on an engine that runs all others.
    pub(super) fn on_engine_asked(&mut self, now: Now, fault: Option<&str>, out: &mut Outcome) {
        if let Some(fault) = fault {
            self.lacks(now, Ending::EngineFailed { detail: clip_detail(fault) }, out);
        } else if self.host_lack.as_ref().is_some_and(HostLack::is_engine) {
            self.host_lack = None;
        }
    }

    fn lacks(&mut self, now: Now, ending: Ending, out: &mut Outcome) {
        let known = self.host_lack.take().filter(|lack| lack.ending.name() == ending.name());
        if known.is_none() {
            let (cause, reason) = (ending.name().to_owned(), ending.to_string());
            out.note(Note::HostLacks { cause, reason });
        }
        let (since, learnt_at) =
            known.map_or((now.unix, now.mono), |lack| (lack.since, lack.learnt_at));
        let again_at = now.mono.plus_ms(LACK_RETRY_MS);
        self.host_lack = Some(HostLack { ending, since, learnt_at, again_at });
    }
}
