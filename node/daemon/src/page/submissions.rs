//! All submissions, or those that got so far.

use askama::Template;
use node_core::unit::UnixMs;
use serde::Deserialize;

use super::frame::Frame;
use super::words::{Badge, Name};
use crate::status::{
    grouped, micro, StatusReport, SubmissionCounts, SubmissionStage, SubmissionStatus,
};

/// Rows of one page. Lower: one turns pages all the time. Higher: each change sends that much
/// again to whoever looks.
const ROWS_MAX: usize = 100;

/// The stages, in the order of the way through them.
const STAGES: [SubmissionStage; 8] = [
    SubmissionStage::Committed,
    SubmissionStage::Fetched,
    SubmissionStage::Held,
    SubmissionStage::Admitted,
    SubmissionStage::Scored,
    SubmissionStage::Failed,
    SubmissionStage::Disputed,
    SubmissionStage::Rejected,
];

/// What is asked for behind the `?`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chosen {
    /// Only those in this stage; one that nobody knows chooses nothing.
    pub(super) stage: Option<String>,
    /// How many of the newest to leave out.
    #[serde(default)]
    pub(super) from: usize,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "submissions.html")]
pub(super) struct Submissions {
    frame: Frame,
    filters: Vec<Filter>,
    rows: Vec<Row>,
    shown: String,
    newer: Option<String>,
    older: Option<String>,
}

/// The way to the submissions of one stage.
#[derive(Debug)]
struct Filter {
    address: String,
    text: &'static str,
    count: u64,
    is_current: bool,
}

/// One submission.
#[derive(Debug)]
struct Row {
    id: Name,
    miner: Name,
    uid: String,
    block: String,
    stage: Badge,
    tier: String,
    points: String,
    bits: String,
    said: String,
}

impl Submissions {
    /// - `chosen`: which of them.
    pub(super) fn of(report: &StatusReport, now: UnixMs, chosen: &Chosen) -> Self {
        let named = |stage: &SubmissionStage| Some(stage.name()) == chosen.stage.as_deref();
        let stage = STAGES.into_iter().find(named);
        let is_wanted = |row: &&SubmissionStatus| stage.is_none_or(|stage| row.stage == stage);
        let wanted: Vec<_> = report.submissions.iter().filter(is_wanted).collect();
        let from = chosen.from.min(wanted.len());
        let to = from.saturating_add(ROWS_MAX).min(wanted.len());
        let rows = wanted.get(from..to).unwrap_or_default();
        let turned = |to: usize| address(stage, to);
        let shown = match rows.len() {
            0 => "No submission is so far.".to_owned(),
            _ => format!("{} to {to} of {}, the newest first.", from + 1, wanted.len()),
        };
        Self {
            frame: Frame::of(report, now, "/submissions", "Submissions"),
            filters: filters(report, stage),
            rows: rows.iter().map(|one| row(one)).collect(),
            shown,
            newer: (from > 0).then(|| turned(from.saturating_sub(ROWS_MAX))),
            older: (to < wanted.len()).then(|| turned(to)),
        }
    }
}

fn address(stage: Option<SubmissionStage>, from: usize) -> String {
    let stage = stage.map(|stage| format!("stage={}", stage.name()));
    let from = (from > 0).then(|| format!("from={from}"));
    let query: Vec<String> = stage.into_iter().chain(from).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/submissions{mark}{}", query.join("&"))
}

fn filters(report: &StatusReport, chosen: Option<SubmissionStage>) -> Vec<Filter> {
    let counts = report.submission_counts;
    let all = STAGES.iter().map(|stage| count(counts, *stage)).sum();
    let all =
        Filter { address: address(None, 0), text: "all", count: all, is_current: chosen.is_none() };
    let of_stage = |stage: SubmissionStage| Filter {
        address: address(Some(stage), 0),
        text: stage.name(),
        count: count(counts, stage),
        is_current: chosen == Some(stage),
    };
    std::iter::once(all).chain(STAGES.into_iter().map(of_stage)).collect()
}

fn count(counts: SubmissionCounts, stage: SubmissionStage) -> u64 {
    match stage {
        SubmissionStage::Committed => counts.committed,
        SubmissionStage::Fetched => counts.fetched,
        SubmissionStage::Admitted => counts.admitted,
        SubmissionStage::Held => counts.held,
        SubmissionStage::Rejected => counts.rejected,
        SubmissionStage::Scored => counts.scored,
        SubmissionStage::Failed => counts.failed,
        SubmissionStage::Disputed => counts.disputed,
    }
}

/// A stage, and how it is coloured.
pub(super) fn stage(stage: SubmissionStage) -> Badge {
    let class = match stage {
        SubmissionStage::Scored => "good",
        SubmissionStage::Held | SubmissionStage::Disputed => "warn",
        SubmissionStage::Rejected | SubmissionStage::Failed => "bad",
        SubmissionStage::Committed | SubmissionStage::Fetched | SubmissionStage::Admitted => {
            "plain"
        }
    };
    Badge { word: stage.name(), class }
}

fn row(row: &SubmissionStatus) -> Row {
    let waits = row.waits_for.as_ref().map(|reason| format!("waits for {reason}"));
    let place = row.place.map(|place| format!("{}, {}", place.tier, place.passage.name()));
    // Without a funnel there is one tier.
    let only_tier = || row.points.map(|_| "1".to_owned());
    let bits = row.metrics.and_then(|metrics| metrics.train_microbpb);
    Row {
        id: Name::of(&row.id, row.id.short()),
        miner: Name::hotkey(&row.hotkey),
        uid: row.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
        block: grouped(row.committed_at.0),
        stage: stage(row.stage),
        tier: place.or_else(only_tier).unwrap_or_default(),
        points: row.points.map(grouped).unwrap_or_default(),
        bits: bits.map(micro).unwrap_or_default(),
        said: waits.or_else(|| row.detail.clone()).unwrap_or_default(),
    }
}
