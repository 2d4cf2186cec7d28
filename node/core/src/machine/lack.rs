//! What runs need of this host beside devices: the evaluator image, the data set, an engine that
//! keeps to the sandbox profile.
//!
//! A run that finds one of them missing says nothing about what it was to measure, and so would the
//! next. While a host lacks something this node asks for no work, or each lease would be lost here,
//! one after another; from time to time it tries one, and goes on if that gets to its end.

use crate::limits::LACK_RETRY_MS;
use crate::machine::effect::{Note, Outcome};
use crate::machine::Machine;
use crate::outcome::{Ending, Fault};
use crate::unit::{MonoMs, Now, UnixMs};

/// Something that this host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLack {
    /// How the run ended that found out.
    pub ending: Ending,
    /// Since when.
    pub since: UnixMs,
    /// When the next one is tried.
    pub again_at: MonoMs,
}

impl Machine {
    /// What this host lacks, as far as its runs told.
    #[must_use]
    pub fn host_lack(&self) -> Option<&HostLack> {
        self.host_lack.as_ref()
    }

    /// Whether no run is tried at present.
    pub(super) fn is_host_lacking(&self, now: Now) -> bool {
        self.host_lack.as_ref().is_some_and(|lack| now.mono < lack.again_at)
    }

    /// Takes down what a run's end tells about this host.
    pub(super) fn learn_lack(&mut self, now: Now, ending: &Ending, out: &mut Outcome) {
        if !ending.is_lack_of_host() {
            if matches!(ending.fault(), Fault::None | Fault::Submission) {
                self.host_lack = None;
            }
            return;
        }
        let known = self.host_lack.take().filter(|lack| lack.ending.name() == ending.name());
        if known.is_none() {
            let (cause, reason) = (ending.name().to_owned(), ending.to_string());
            out.note(Note::HostLacks { cause, reason });
        }
        let since = known.map_or(now.unix, |lack| lack.since);
        let again_at = now.mono.plus_ms(LACK_RETRY_MS);
        self.host_lack = Some(HostLack { ending: ending.clone(), since, again_at });
    }
}
