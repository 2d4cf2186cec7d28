//! One submission: what it is, how it stands and why, who measured it, and what came out.

use askama::Template;
use node_core::evidence::ProbeFigure;
use node_core::funnel::{Scale, Task, Trainer, UnitPlan};
use node_core::id::SubmissionId;
use node_core::rows::{OutcomeRow, ReceiptRow};
use node_core::unit::{BlockNumber, UnixMs};

use super::charts::{loss, share, Svg};
use super::evidence::{measured, Receipt};
use super::frame::Frame;
use super::overview::{progress, Progress};
use super::standing::{
    findings, identity, opinion, reasons, reopenings, replicas, stage_of, Finding, Opinion,
    Reopening, Replica,
};
use super::submissions;
use super::words::{Badge, Fact, Facts, Name, When};
use crate::api::Known;
use crate::status::{
    decided, grouped, micro, MetricsStatus, RunStatus, StatusReport, SubmissionStatus, UnitStatus,
};

/// What the loop told beside the report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    /// All that it can tell.
    pub(super) known: Option<&'a Known>,
    /// What a report would say, of one that was put away.
    pub(super) row: Option<&'a SubmissionStatus>,
    /// What runs left behind.
    pub(super) receipts: &'a [ReceiptRow],
    /// Whether that had been put away.
    pub(super) put_away: Option<&'a PutAway>,
}

/// What became of what was put away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PutAway {
    /// What was measured is shown, and was put away at this block.
    At(BlockNumber),
    /// So was the submission itself.
    Whole(BlockNumber),
    /// It cannot be read, and why.
    Unreadable(String),
}

impl PutAway {
    fn words(&self) -> String {
        match self {
            Self::At(block) => format!(
                "Not on the chain any more: what was measured was put away at block {}.",
                grouped(block.0)
            ),
            Self::Whole(block) => format!(
                "Long gone from the chain: all that was known of it was put away at block {}, and \
                 is shown as it was then.",
                grouped(block.0)
            ),
            Self::Unreadable(reason) => format!(
                "What was measured was put away and cannot be read: {reason}. `assay verify` looks \
                 through the store."
            ),
        }
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "submission.html")]
pub(super) struct OneSubmission {
    frame: Frame,
    stage: Badge,
    identity: Facts,
    reasons: Facts,
    findings: Vec<Finding>,
    opinion: Option<Opinion>,
    curve: Option<Svg>,
    measured: Facts,
    runs: Vec<Run>,
    replicas: Vec<Replica>,
    required: u32,
    reopenings: Vec<Reopening>,
    outcomes: Vec<Outcome>,
    units: Vec<Unit>,
    probes: Vec<Probe>,
    receipts: Vec<Receipt>,
    /// What is to be said of what was put away.
    put_away: Option<String>,
    /// Whether the loop did not answer, and something may be missing.
    is_partial: bool,
}

/// A run of it on this node.
#[derive(Debug)]
struct Run {
    id: Name,
    device: String,
    state: String,
    started: When,
    progress: Option<Progress>,
}

/// What was decided in a trial.
#[derive(Debug)]
struct Outcome {
    trial: String,
    verdict: String,
    worker: Option<Name>,
    block: String,
}

/// A unit of a tier.
#[derive(Debug)]
struct Unit {
    tier: u8,
    unit: u8,
    task: String,
    seed: u8,
    points: String,
    bits: String,
    parameters: String,
    tokens: String,
    ending: String,
}

/// What a model came to in a probe task.
#[derive(Debug)]
struct Probe {
    unit: String,
    task: u8,
    score: String,
    bar: Svg,
    loss: String,
    floor: String,
}

impl OneSubmission {
    /// `None` if nobody knows it.
    pub(super) fn of(
        report: &StatusReport,
        now: UnixMs,
        id: SubmissionId,
        told: Told<'_>,
    ) -> Option<Self> {
        let Told { known, row, receipts, put_away } = told;
        let row = row.or_else(|| report.submissions.iter().find(|row| row.id == id));
        let stage = row.map(|row| row.stage);
        let stage = stage.or_else(|| known.map(|known| stage_of(&known.account.submission)))?;
        let evaluation = report.evaluations.iter().find(|one| one.submission == id);
        let explanation = evaluation.map(|evaluation| &evaluation.explanation);
        let explanation = explanation.or(known.map(|known| &known.account.explanation));
        let metrics = known.and_then(|known| known.account.metrics.as_ref());
        let reported = row.and_then(|row| row.metrics).as_ref().map(measured_in_report);
        let units = row.map(|row| row.units.as_slice()).unwrap_or_default();
        let theirs = |run: &&RunStatus| run.submission == id;
        let title = format!("Submission {}", id.short());
        Some(Self {
            frame: Frame::of(report, now, "/submissions", &title),
            stage: submissions::stage(stage),
            identity: identity(row, known).into(),
            reasons: reasons(row, known).into(),
            findings: known.map(findings).unwrap_or_default(),
            opinion: known.and_then(opinion),
            curve: metrics.and_then(|metrics| loss(&metrics.loss_curve_microbpb)),
            measured: metrics.map(measured).or(reported).unwrap_or_default().into(),
            runs: report.runs.iter().filter(theirs).map(|one| run(one, report.as_of)).collect(),
            replicas: explanation.map(replicas).unwrap_or_default(),
            required: explanation.map_or(1, |explanation| explanation.required),
            reopenings: evaluation.map(reopenings).unwrap_or_default(),
            outcomes: known.iter().flat_map(|one| &one.account.outcomes).map(outcome).collect(),
            units: units.iter().map(unit).collect(),
            probes: units.iter().flat_map(probes).collect(),
            receipts: receipts_of(report, id, known, receipts),
            put_away: put_away.map(PutAway::words),
            is_partial: known.is_none(),
        })
    }
}

/// From the loop, or as far as the report says.
fn receipts_of(
    report: &StatusReport,
    id: SubmissionId,
    known: Option<&Known>,
    told: &[ReceiptRow],
) -> Vec<Receipt> {
    match known.filter(|_| !told.is_empty()) {
        Some(known) => told.iter().map(|row| Receipt::of(row, &known.account.submission)).collect(),
        None => {
            let theirs = report.receipts.iter().filter(|receipt| receipt.submission == id);
            theirs.map(Receipt::reported).collect()
        }
    }
}

fn measured_in_report(metrics: &MetricsStatus) -> Vec<Fact> {
    let MetricsStatus {
        train_microbpb,
        heldout_init_microbpb,
        heldout_microbpb,
        covered_bytes,
        parameters,
    } = *metrics;
    let bits = train_microbpb.map(|bits| Fact::said("Bits per byte", micro(bits)));
    let heldout =
        format!("{}, untrained {}", micro(heldout_microbpb), micro(heldout_init_microbpb));
    let others = [
        Fact::said("Of held-out text", heldout),
        Fact::said("Training text", format!("{} bytes", grouped(covered_bytes))),
        Fact::said("Parameters", grouped(parameters)),
    ];
    bits.into_iter().chain(others).collect()
}

fn run(run: &RunStatus, as_of: UnixMs) -> Run {
    Run {
        id: Name::of(&run.run, run.run.short()),
        device: run.device.clone(),
        state: format!("{}, attempt {}", run.state, run.attempt),
        started: When::ago(run.started_at, as_of),
        progress: progress(run),
    }
}

fn outcome(row: &OutcomeRow) -> Outcome {
    Outcome {
        trial: format!("tier {}, unit {}", row.trial.tier, row.trial.unit),
        verdict: decided(&row.verdict),
        worker: row.worker.as_ref().map(Name::hotkey),
        block: grouped(row.decided_at.0),
    }
}

fn unit(unit: &UnitStatus) -> Unit {
    let UnitPlan { unit: number, seed, task } = unit.plan;
    let some = |number: Option<u64>| number.map(grouped).unwrap_or_default();
    Unit {
        tier: unit.tier,
        unit: number,
        task: task_name(task),
        seed,
        points: some(unit.points),
        bits: unit.nanobpb.map(|nano| micro(nano / 1000)).unwrap_or_default(),
        parameters: some(unit.parameters),
        tokens: some(unit.tokens),
        ending: unit.ending.clone().unwrap_or_default(),
    }
}

fn task_name(task: Task) -> String {
    let Task::Text { trainer, scale } = task else { return "probe tasks".to_owned() };
    let trainer = match trainer {
        Trainer::Own => "own trainer",
        Trainer::Reference => "reference trainer",
    };
    let scale = match scale {
        Scale::Quartered(0) => String::new(),
        Scale::Quartered(times) => format!(", parameters quartered {times} times"),
        Scale::LongSequences => ", longer sequences".to_owned(),
        Scale::LargeBatches => ", larger batches".to_owned(),
    };
    format!("{trainer}{scale}")
}

fn probes(unit: &UnitStatus) -> impl Iterator<Item = Probe> + '_ {
    let name = format!("tier {}, unit {}", unit.tier, unit.plan.unit);
    unit.probes.iter().map(move |figure| probe(&name, figure))
}

fn probe(unit: &str, figure: &ProbeFigure) -> Probe {
    let score = u64::from(figure.score_ppm);
    let said = format!("{}.{} %", score / 10_000, score % 10_000 / 1_000);
    Probe {
        unit: unit.to_owned(),
        task: figure.task,
        bar: share(score, 1_000_000, &said),
        score: said,
        loss: micro(u64::from(figure.loss_micronats)),
        floor: micro(u64::from(figure.floor_micronats)),
    }
}
