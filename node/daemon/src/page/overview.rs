//! How the node stands: the first page, in the order in which `assay status` says it.

use askama::Template;
use node_core::funnel::TierReport;
use node_core::preflight::Level;
use node_core::unit::{BlockCount, UnixMs};

use super::charts::{flow, share, Stage, Svg};
use super::frame::Frame;
use super::words::{percent, Badge, Fact, Facts, Name, When};
use crate::status::{
    blocks, grouped, micro, peers_line, reveal_text, span, CheckStatus, DeviceState, RunStatus,
    StatusReport, WeightsIntent,
};

/// The page.
#[derive(Debug, Template)]
#[template(path = "overview.html")]
pub(super) struct Overview {
    frame: Frame,
    wrong: Vec<String>,
    needs: Vec<String>,
    safety: Vec<Check>,
    not_safe: Option<String>,
    warnings: Vec<Check>,
    in_order: Vec<Check>,
    time: Facts,
    epoch: Option<EpochBar>,
    funnel: Svg,
    stages: Vec<Stage>,
    runs: Vec<Run>,
    waiting: Vec<Waiting>,
    devices: String,
    peers: String,
    leases: String,
}

/// Something that was looked at.
#[derive(Debug)]
struct Check {
    id: String,
    level: Badge,
    text: String,
}

/// How far the epoch is.
#[derive(Debug)]
struct EpochBar {
    bar: Svg,
    said: String,
}

/// A run of this node.
#[derive(Debug)]
struct Run {
    id: Name,
    submission: Name,
    device: String,
    state: String,
    started: When,
    progress: Option<Progress>,
}

/// How far a meter is.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) percent: u64,
    pub(super) said: String,
}

/// Submissions that wait for the same.
#[derive(Debug)]
struct Waiting {
    reason: &'static str,
    count: u64,
}

impl Overview {
    /// - `epoch_blocks`: blocks of an epoch, if that is known.
    pub(super) fn of(report: &StatusReport, now: UnixMs, epoch_blocks: Option<BlockCount>) -> Self {
        let of_level = |level: Level| {
            let is_safety =
                |check: &CheckStatus| report.safety_checks().any(|safety| safety.id == check.id);
            let other = report.checks.iter().filter(move |check| !is_safety(check));
            other.filter(move |check| check.is(level)).map(check).collect::<Vec<Check>>()
        };
        let stages = stages(report);
        let waiting = report.waiting().into_iter();
        Self {
            frame: Frame::of(report, now, "/", "Overview"),
            wrong: report.wrong_at(now),
            needs: report.needs_person(),
            safety: report.safety_checks().map(check).collect(),
            not_safe: report.weights.not_safe.clone(),
            warnings: of_level(Level::Warn),
            in_order: of_level(Level::Ok),
            time: time(report).into(),
            epoch: epoch_blocks.and_then(|length| epoch_bar(report, length)),
            funnel: flow(&stages),
            stages,
            runs: report.runs.iter().map(|one| run(one, report.as_of)).collect(),
            waiting: waiting.map(|(reason, count)| Waiting { reason, count }).collect(),
            devices: devices(report),
            peers: peers_line(report),
            leases: leases(report),
        }
    }
}

fn check(check: &CheckStatus) -> Check {
    let (word, class) = if check.is(Level::Alarm) {
        ("alarm", "bad")
    } else if check.is(Level::Warn) {
        ("warning", "warn")
    } else {
        ("in order", "good")
    };
    Check { id: check.id.clone(), level: Badge { word, class }, text: check.text.clone() }
}

/// Where the chain is, and whether this node is in time.
fn time(report: &StatusReport) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(chain) = &report.chain {
        let (best, finalized) = (chain.best_number.0, chain.finalized_number.0);
        let age = span(report.as_of.0.saturating_sub(chain.finalized_seen_at.0));
        let best = grouped(best.max(finalized));
        let finalized = grouped(finalized);
        facts.push(Fact::said("Block", format!("{best}, finalized {finalized}, {age} ago")));
    } else {
        facts.push(Fact::said("Block", "none seen yet"));
    }
    let weights = &report.weights;
    if let (Some(epoch), Some(end), Some(left)) =
        (weights.epoch, weights.next_epoch_block, weights.blocks_left)
    {
        let (epoch, end, left) = (grouped(epoch.0), grouped(end.0), blocks(left.0));
        facts.push(Fact::said("Epoch", format!("{epoch}, ends at {end}, in {left}")));
    } else {
        facts.push(Fact::said("Epoch", "none is due"));
    }
    facts.push(Fact::said("Last vector", landed(weights.last_landed.as_ref())));
    facts.extend(weights.reveal_due.as_ref().map(|one| Fact::said("Reveal", reveal_text(one))));
    facts.push(Fact::said("Weights", format!("mode {}", weights.mode)));
    let restart = if weights.safe_to_restart { "safe now" } else { "not safe now" };
    facts.push(Fact::said("Restart", restart));
    let up = span(report.as_of.0.saturating_sub(report.node.started_at.0));
    facts.push(Fact::said("Up", format!("{up}, version {}", report.node.version)));
    facts
}

fn landed(intent: Option<&WeightsIntent>) -> String {
    let Some(intent) = intent else { return "none has landed".to_owned() };
    let block = intent.block.map_or_else(|| "?".to_owned(), |block| grouped(block.0));
    format!("epoch {}, landed at {block}", grouped(intent.epoch.0))
}

fn epoch_bar(report: &StatusReport, length: BlockCount) -> Option<EpochBar> {
    let left = report.weights.blocks_left?.0.min(length.0);
    let done = length.0 - left;
    let said = format!("{done} of {} of the epoch", blocks(length.0));
    Some(EpochBar { bar: share(done, length.0, &said), said })
}

/// The funnel, from the commitment on.
fn stages(report: &StatusReport) -> Vec<Stage> {
    let counts = report.submission_counts;
    let admitted = counts.admitted + counts.scored + counts.failed + counts.disputed;
    let judged = counts.committed + counts.fetched + counts.held + counts.rejected;
    let admission = Stage {
        name: "Admission".to_owned(),
        entered: admitted + judged,
        passed: admitted,
        notes: notes(&[
            (counts.committed, "without content"),
            (counts.fetched, "being judged"),
            (counts.held, "held"),
            (counts.rejected, "rejected"),
        ]),
    };
    let mut stages = vec![admission];
    stages.extend(report.funnel.tiers.iter().map(tier_stage));
    if report.funnel.tiers.is_empty() {
        let notes = notes(&[
            (counts.admitted, "being measured"),
            (counts.scored, "scored"),
            (counts.failed, "failed"),
            (counts.disputed, "disputed"),
        ]);
        let name = "Evaluation".to_owned();
        stages.push(Stage { name, entered: admitted, passed: counts.scored, notes });
    }
    stages
}

fn tier_stage(tier: &TierReport) -> Stage {
    Stage {
        name: format!("Tier {}", tier.tier),
        entered: tier.entered,
        passed: tier.passed.saturating_add(tier.audits),
        notes: notes(&[
            (tier.entered.saturating_sub(tier.scored), "without a score"),
            (tier.scored, "scored"),
            (tier.passed, "passed"),
            (tier.audits, "passed as audits"),
        ]),
    }
}

fn notes(counts: &[(u64, &str)]) -> Vec<String> {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| format!("{count} {what}")).collect()
}

fn run(run: &RunStatus, as_of: UnixMs) -> Run {
    Run {
        id: Name::of(&run.run, run.run.short()),
        submission: Name::of(&run.submission, run.submission.short()),
        device: run.device.clone(),
        state: format!("{}, attempt {}", run.state, run.attempt),
        started: When::ago(run.started_at, as_of),
        progress: progress(run),
    }
}

/// How far a run is; `None` where its meter does not say.
pub(super) fn progress(run: &RunStatus) -> Option<Progress> {
    let progress = run.progress?;
    let percent = percent(progress.covered_bytes, progress.total_bytes);
    let mut said = format!("{percent} %, {}", progress.phase.name().replace('_', " "));
    if let Some(bits) = progress.microbpb {
        said.push_str(&format!(", {} bits per byte", micro(bits)));
    }
    if let Some(left_s) = progress.remaining_s {
        said.push_str(&format!(", {} left", span(left_s.saturating_mul(1000))));
    }
    Some(Progress { percent, said })
}

fn devices(report: &StatusReport) -> String {
    let of = |state| report.devices.iter().filter(|one| one.state() == state).count();
    let states = DeviceState::ALL.map(|state| (of(state) as u64, state.name()));
    match notes(&states) {
        some if some.is_empty() => "this node has none".to_owned(),
        some => some.join(", "),
    }
}

fn leases(report: &StatusReport) -> String {
    let leases = report.leases;
    let counts = notes(&[
        (leases.open, "open"),
        (leases.granted, "granted"),
        (leases.sealed, "sealed"),
        (leases.complete, "complete"),
        (leases.exhausted, "exhausted"),
    ]);
    if counts.is_empty() {
        "there are none".to_owned()
    } else {
        counts.join(", ")
    }
}
