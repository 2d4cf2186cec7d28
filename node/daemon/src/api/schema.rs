//! What the public interface says, as JSON. Names are stable: fields are added, never renamed.

use node_core::machine::account::{Account, EpochAccount};
use node_core::points::bits_per_byte;
use node_core::queue_place::{Cause, Place};
use node_core::round::Verdict;
use node_core::rows::OutcomeRow;
use node_core::submission::{Submission, SubmissionState};
use serde::Serialize;
use utoipa::ToSchema;

/// Largest score; `final_score` is points divided by it.
const POINTS: f64 = 1e9;

/// Whether the service works.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, or `starting` before the chain was read.
    pub(super) status: &'static str,
    /// The challenge.
    pub(super) slug: &'static str,
}

/// What this is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Version {
    /// The challenge.
    pub(super) slug: &'static str,
    /// Of the node.
    pub(super) version: &'static str,
    /// Of these routes.
    pub(super) api_version: &'static str,
    /// What it offers.
    pub(super) capabilities: [&'static str; 2],
}

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// One word.
    pub(super) error: String,
    /// A sentence with the next step.
    pub(super) message: String,
}

/// An archive that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Uploaded {
    /// Its content digest.
    pub(super) code_hash: String,
    /// What to commit to on chain; the location is empty: validators get it from each other.
    pub(super) commitment: String,
    /// Files in it.
    pub(super) files: u32,
    /// Whether every rule that can be judged without running it holds. One that does not is kept
    /// nevertheless: the verdict is what was asked for.
    pub(super) admitted: bool,
    /// The rule that it breaks, with file and line.
    pub(super) problem: Option<String>,
}

/// A submission.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubmissionAnswer {
    /// Its id.
    pub(super) id: String,
    /// The miner.
    pub(super) hotkey: String,
    /// Block of the commitment.
    pub(super) committed_at: u64,
    /// Its content digest.
    pub(super) code_hash: String,
    /// `committed`, `fetched`, `held`, `admitted`, `rejected`, `scored`, `failed` or `disputed`.
    pub(super) status: &'static str,
    /// One sentence about it.
    pub(super) detail: String,
    /// Why it has no score, if it has none and will have none.
    pub(super) error: Option<String>,
    /// The rule that it broke, if one.
    pub(super) evidence: Option<EvidenceAnswer>,
    /// From 0 to 1.
    pub(super) final_score: Option<f64>,
    /// Where it stands among those that are not decided.
    pub(super) queue: Option<QueueAnswer>,
    /// What was decided so far.
    pub(super) trials: Vec<TrialAnswer>,
    /// What was measured.
    pub(super) metrics: Option<MetricsAnswer>,
    /// Validators whose results are here.
    pub(super) evaluated_by: Vec<String>,
    /// How many results are needed.
    pub(super) results_required: u32,
}

/// A broken rule.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EvidenceAnswer {
    /// Its public id.
    pub(super) rule: &'static str,
    /// The file.
    pub(super) file: Option<String>,
    /// The line, counted from one.
    pub(super) line: Option<u32>,
    /// One sentence.
    pub(super) detail: String,
}

/// A place in the queue.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueAnswer {
    /// Counted from one.
    pub(super) position: usize,
    /// How many wait.
    pub(super) length: usize,
    /// The last time it moved.
    pub(super) moved: Option<MovedAnswer>,
}

/// Why a place changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MovedAnswer {
    /// The place before.
    pub(super) from: usize,
    /// The place after.
    pub(super) to: usize,
    /// Milliseconds since 1970.
    pub(super) at_unix_ms: u64,
    /// A sentence per cause.
    pub(super) because: Vec<String>,
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrialAnswer {
    /// Stage of the funnel.
    pub(super) tier: u8,
    /// Which of its units.
    pub(super) unit: u8,
    /// `scored`, `failed` or `disputed`.
    pub(super) verdict: &'static str,
    /// From 0 to 1.
    pub(super) score: Option<f64>,
    /// How its run ended, if it failed.
    pub(super) ending: Option<String>,
}

/// What the meter measured.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MetricsAnswer {
    /// Bits per byte of the training text, while it was learned.
    pub(super) bits_per_byte: Option<f64>,
    /// Of the held-out text, after the last batch.
    pub(super) heldout_bits_per_byte: f64,
    /// Of the held-out text, before the first.
    pub(super) heldout_bits_per_byte_untrained: f64,
    /// Bytes of training text.
    pub(super) covered_bytes: u64,
    /// Parameters of the model.
    pub(super) parameters: u64,
    /// Bits per byte over the run.
    pub(super) loss_curve: Vec<f64>,
}

/// A line of the leaderboard.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ranked {
    /// Counted from one.
    pub(super) rank: usize,
    /// The submission.
    pub(super) id: String,
    /// The miner.
    pub(super) hotkey: String,
    /// Its content digest.
    pub(super) code_hash: String,
    /// Block of the commitment.
    pub(super) committed_at: u64,
    /// From 0 to 1.
    pub(super) final_score: f64,
}

/// The leaderboard.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Leaderboard {
    /// The subnet's epoch.
    pub(super) epoch_id: Option<u64>,
    /// The best first.
    pub(super) submissions: Vec<Ranked>,
}

/// The subnet's epoch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EpochAnswer {
    /// Which.
    pub(super) epoch_id: u64,
    /// The newest finalized block.
    pub(super) block: u64,
    /// Blocks of an epoch.
    pub(super) epoch_blocks: u64,
}

/// Weights for a master that asks for them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Weights {
    /// The challenge.
    pub(super) challenge_slug: &'static str,
    /// The subnet's epoch.
    pub(super) epoch: u64,
    /// Shares by hotkey; they sum to one, or are none at all.
    pub(super) weights: std::collections::BTreeMap<String, f64>,
}

impl From<EpochAccount> for EpochAnswer {
    fn from(epoch: EpochAccount) -> Self {
        Self { epoch_id: epoch.index.0, block: epoch.block.0, epoch_blocks: epoch.length.0 }
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people; below 2^53 it is exact")]
fn score(points: u64) -> f64 {
    points as f64 / POINTS
}

#[allow(clippy::cast_precision_loss, reason = "for people; below 2^53 it is exact")]
fn from_nano(value: u64) -> f64 {
    value as f64 / 1e9
}

pub(super) fn submission(account: Account, place: Option<Place>) -> SubmissionAnswer {
    let Account { submission, explanation, outcomes, metrics } = account;
    let (status, error, evidence) = stage(&submission.state);
    let final_score = match submission.state {
        SubmissionState::Scored { points } => Some(score(points)),
        _ => None,
    };
    SubmissionAnswer {
        id: submission.id.to_string(),
        hotkey: submission.hotkey.to_string(),
        committed_at: submission.committed_at.0,
        code_hash: submission.content.to_string(),
        status,
        detail: submission.state.to_string(),
        error,
        evidence,
        final_score,
        queue: place.map(queue),
        trials: outcomes.iter().map(trial).collect(),
        metrics: metrics.as_ref().map(measured),
        evaluated_by: explanation.claims.iter().map(ToString::to_string).collect(),
        results_required: explanation.required,
    }
}

fn stage(state: &SubmissionState) -> (&'static str, Option<String>, Option<EvidenceAnswer>) {
    match state {
        SubmissionState::Committed { .. } => ("committed", None, None),
        SubmissionState::Fetched => ("fetched", None, None),
        SubmissionState::Admitted => ("admitted", None, None),
        SubmissionState::Held { .. } => ("held", None, None),
        SubmissionState::Rejected { rejection } => {
            let evidence = EvidenceAnswer {
                rule: rejection.rule.id(),
                file: rejection.file.clone(),
                line: rejection.line,
                detail: rejection.detail.clone(),
            };
            ("rejected", Some(rejection.to_string()), Some(evidence))
        }
        SubmissionState::Scored { .. } => ("scored", None, None),
        SubmissionState::Failed { ending } => ("failed", Some(ending.to_string()), None),
        SubmissionState::Disputed => ("disputed", Some(state.to_string()), None),
    }
}

fn queue(place: Place) -> QueueAnswer {
    let moved = place.moved.map(|moved| {
        let mut because: Vec<String> = moved.causes.iter().map(cause).collect();
        if moved.more > 0 {
            because.push(format!("and {} more", moved.more));
        }
        let (from, to) = (moved.from, moved.to);
        MovedAnswer { from, to, at_unix_ms: moved.at.0, because }
    });
    QueueAnswer { position: place.place, length: place.of, moved }
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Left { submission, became } => {
            format!("{} was before it and is {became}", submission.short())
        }
        Cause::Came { submission } => {
            format!("{} was committed earlier and came into the queue", submission.short())
        }
    }
}

fn trial(row: &OutcomeRow) -> TrialAnswer {
    let (verdict, points, ending) = match &row.verdict {
        Verdict::Scored { points } => ("scored", Some(score(*points)), None),
        Verdict::Failed { ending } => ("failed", None, Some(ending.to_string())),
        Verdict::Disputed => ("disputed", None, None),
    };
    TrialAnswer { tier: row.trial.tier, unit: row.trial.unit, verdict, score: points, ending }
}

fn measured(metrics: &node_core::evidence::Metrics) -> MetricsAnswer {
    MetricsAnswer {
        bits_per_byte: bits_per_byte(metrics).ok(),
        heldout_bits_per_byte: from_nano(metrics.heldout_nanobpb),
        heldout_bits_per_byte_untrained: from_nano(metrics.heldout_init_nanobpb),
        covered_bytes: metrics.covered_bytes,
        parameters: metrics.parameters,
        loss_curve: metrics.loss_curve_microbpb.iter().map(|p| f64::from(*p) / 1e6).collect(),
    }
}

pub(super) fn leaderboard(epoch: Option<EpochAccount>, ranked: &[Submission]) -> Leaderboard {
    let line = |(rank, one): (usize, &Submission)| {
        let SubmissionState::Scored { points } = one.state else { return None };
        Some(Ranked {
            rank,
            id: one.id.to_string(),
            hotkey: one.hotkey.to_string(),
            code_hash: one.content.to_string(),
            committed_at: one.committed_at.0,
            final_score: score(points),
        })
    };
    Leaderboard {
        epoch_id: epoch.map(|epoch| epoch.index.0),
        submissions: (1..).zip(ranked).filter_map(line).collect(),
    }
}
