//! That there is no such submission, or that nobody can say.

use askama::Template;
use node_core::id::SubmissionId;
use node_core::unit::UnixMs;

use super::frame::Frame;
use crate::status::StatusReport;

/// The page instead of one that is not there.
#[derive(Debug, Template)]
#[template(path = "missing.html")]
pub(super) struct Missing {
    frame: Frame,
    asked: String,
    /// Why it is not known whether it was put away, if it is not.
    unreadable: Option<String>,
}

impl Missing {
    /// - `asked`: the id as it was asked for; any text.
    pub(super) fn of(report: &StatusReport, now: UnixMs, asked: &str) -> Self {
        let frame = Frame::of(report, now, "/submissions", "No such submission");
        Self { frame, asked: asked.to_owned(), unreadable: None }
    }

    /// Of one that the loop does not know, while what was put away cannot be read.
    pub(super) fn unreadable(
        report: &StatusReport,
        now: UnixMs,
        id: SubmissionId,
        reason: &str,
    ) -> Self {
        let frame = Frame::of(report, now, "/submissions", "A submission that cannot be read");
        Self { frame, asked: id.to_string(), unreadable: Some(reason.to_owned()) }
    }
}
