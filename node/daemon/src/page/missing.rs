//! That there is no such submission.

use askama::Template;
use node_core::unit::UnixMs;

use super::frame::Frame;
use crate::status::StatusReport;

/// The page instead of one that is not there.
#[derive(Debug, Template)]
#[template(path = "missing.html")]
pub(super) struct Missing {
    frame: Frame,
    asked: String,
}

impl Missing {
    /// - `asked`: the id as it was asked for; any text.
    pub(super) fn of(report: &StatusReport, now: UnixMs, asked: &str) -> Self {
        let frame = Frame::of(report, now, "/submissions", "No such submission");
        Self { frame, asked: asked.to_owned() }
    }
}
