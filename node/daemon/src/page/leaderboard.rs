//! Who leads, and the best of each family.

use std::cmp::Reverse;

use askama::Template;
use node_core::machine::account::Merit;
use node_core::submission::Submission;
use node_core::unit::UnixMs;

use super::charts::{share, Svg};
use super::frame::Frame;
use super::words::{nano, Name};
use crate::status::{
    grouped, ChampionStatus, FamilyStatus, StatusReport, SubmissionStage, SubmissionStatus,
};

/// Rows of the page. Lower: somebody does not find themselves. Higher: nobody reads so far.
const ROWS_MAX: usize = 256;

/// The page.
#[derive(Debug, Template)]
#[template(path = "leaderboard.html")]
pub(super) struct Leaderboard {
    frame: Frame,
    rows: Vec<Row>,
    families: Option<Vec<Family>>,
    held: Vec<Held>,
}

/// One submission.
#[derive(Debug)]
struct Row {
    rank: usize,
    id: Name,
    miner: Name,
    tier: u8,
    points: String,
    bar: Svg,
    block: String,
}

/// A family and its best.
#[derive(Debug)]
struct Family {
    id: Name,
    owner: Option<Name>,
    architecture: Champion,
    recipe: Option<Champion>,
}

/// The best of its kind.
#[derive(Debug)]
struct Champion {
    submission: Option<Name>,
    quality: String,
    bar: Svg,
    since: String,
}

/// One whose family is not clear.
#[derive(Debug)]
struct Held {
    submission: Name,
    nearest: Name,
    until: String,
}

/// What ranks a submission, and what is shown of it.
struct Entry {
    merit: Merit,
    id: Name,
    miner: Name,
    block: u64,
}

impl Leaderboard {
    /// - `ranking`: as the loop knows it; without it, as far as the report says.
    pub(super) fn of(
        report: &StatusReport,
        now: UnixMs,
        ranking: Option<&[(Merit, Submission)]>,
    ) -> Self {
        let entries = match ranking {
            Some(ranking) => ranking.iter().map(|(merit, one)| ranked(*merit, one)).collect(),
            None => reported(report),
        };
        let families = report.funnel.families.as_ref();
        let held = report.funnel.held.iter().map(|one| Held {
            submission: Name::of(&one.submission, one.submission.short()),
            nearest: Name::of(&one.nearest.0, one.nearest.0.short()),
            until: grouped(one.until.0),
        });
        Self {
            frame: Frame::of(report, now, "/leaderboard", "Leaderboard"),
            rows: rows(entries),
            families: families.map(|all| families_of(all)),
            held: held.collect(),
        }
    }
}

fn ranked(merit: Merit, one: &Submission) -> Entry {
    Entry {
        merit,
        id: Name::of(&one.id, one.id.short()),
        miner: Name::hotkey(&one.hotkey),
        block: one.committed_at.0,
    }
}

/// Those with a score, the latest tier first, then the most points, then who came first.
fn reported(report: &StatusReport) -> Vec<Entry> {
    let mut entries: Vec<Entry> = report.submissions.iter().filter_map(entry).collect();
    entries.sort_by_key(|entry| (Reverse(entry.merit), entry.block));
    entries
}

fn entry(row: &SubmissionStatus) -> Option<Entry> {
    let in_place =
        row.place.and_then(|place| place.points.map(|points| Merit { tier: place.tier, points }));
    let is_scored = row.stage == SubmissionStage::Scored;
    let first = row.points.filter(|_| is_scored).map(|points| Merit { tier: 1, points });
    Some(Entry {
        merit: in_place.or(first)?,
        id: Name::of(&row.id, row.id.short()),
        miner: Name::hotkey(&row.hotkey),
        block: row.committed_at.0,
    })
}

fn rows(entries: Vec<Entry>) -> Vec<Row> {
    let most = entries.iter().map(|entry| entry.merit.points).max().unwrap_or_default();
    let row = |(rank, entry): (usize, Entry)| {
        let Entry { merit, id, miner, block } = entry;
        let points = grouped(merit.points);
        let bar = share(merit.points, most, &format!("{points} points"));
        Row { rank, id, miner, tier: merit.tier, points, bar, block: grouped(block) }
    };
    (1..).zip(entries.into_iter().take(ROWS_MAX)).map(row).collect()
}

fn families_of(families: &[FamilyStatus]) -> Vec<Family> {
    let recipes = families.iter().filter_map(|family| family.recipe.as_ref());
    let architectures = families.iter().map(|family| family.architecture.quality_nano);
    let architecture = architectures.max().unwrap_or_default();
    let recipe = recipes.map(|recipe| recipe.quality_nano).max().unwrap_or_default();
    let family = |family: &FamilyStatus| Family {
        id: Name::of(&family.id.0, family.id.0.short()),
        owner: family.owner.as_ref().map(Name::hotkey),
        architecture: champion(&family.architecture, architecture),
        recipe: family.recipe.as_ref().map(|one| champion(one, recipe)),
    };
    families.iter().map(family).collect()
}

/// - `most_nano`: the quality of the best of all families.
fn champion(champion: &ChampionStatus, most_nano: i64) -> Champion {
    let quality = nano(champion.quality_nano);
    let length = |nano: i64| u64::try_from(nano).unwrap_or(0);
    let bar = share(length(champion.quality_nano), length(most_nano), &quality);
    Champion {
        submission: champion.submission.map(|id| Name::of(&id, id.short())),
        quality,
        bar,
        since: champion.since.map_or_else(|| "-".to_owned(), |block| grouped(block.0)),
    }
}
