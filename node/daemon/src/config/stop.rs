//! How the node stops.

use std::time::Duration;

use super::key::{Default, Key, Kind};
use super::reader::{duration, Reader};
use super::Section;

const GRACE: Key = Key::new("stop.grace", Kind::Text, Default::Value("30s"))
    .about(
        "How long running evaluations may go on after the first signal. What is not done by then \
         is stopped and handed back, and the exit code is 75.",
    )
    .example("\"10m\"");

pub(super) const SECTION: Section =
    Section { name: "stop", about: "How the node stops.", keys: &[GRACE] };

/// How the node stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// How long running evaluations may go on.
    pub grace: Duration,
}

impl Stop {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { grace: reader.take(&GRACE, duration)? })
    }
}
