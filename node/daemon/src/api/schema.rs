//! What the public interface says, as JSON. Names are stable: fields are added, never renamed.

use node_core::admission::Rejection;
use node_core::machine::account::{Account, EpochAccount, Merit};
use node_core::machine::places::{Place as PlaceOf, Places, Worth};
use node_core::points::bits_per_byte;
use node_core::queue_place::{Cause, Place};
use node_core::round::Verdict;
use node_core::rows::OutcomeRow;
use node_core::submission::{Submission, SubmissionState};
use node_core::unit::BlockNumber;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Known, LiveRun};

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
    /// Stage of the funnel in which it is, or ended: 0 is admission.
    pub(super) tier: u8,
    /// What becomes of it in that tier: `open` while that is not known, `passes`, `audit` (it goes
    /// on to see whether the tier errs) or `out`; null where nobody passes, as there is one tier.
    pub(super) passage: Option<&'static str>,
    /// Why it has no score, if it has none and will have none.
    pub(super) error: Option<String>,
    /// The rule that it broke, if one.
    pub(super) evidence: Option<EvidenceAnswer>,
    /// What gates in shadow found in its files; it costs nothing yet.
    pub(super) flags: Vec<EvidenceAnswer>,
    /// From 0 to 1, in the tier `score_tier`.
    pub(super) final_score: Option<f64>,
    /// The latest tier in which it has a score.
    pub(super) score_tier: Option<u8>,
    /// Where it stands among those that are not decided.
    pub(super) queue: Option<QueueAnswer>,
    /// What the language model said that this validator asks, if it asks one.
    pub(super) review: Option<ReviewAnswer>,
    /// How its evaluation stands here, in one sentence.
    pub(super) evaluation: String,
    /// Runs of it on this validator that are not over.
    pub(super) runs: Vec<RunAnswer>,
    /// What was decided so far.
    pub(super) trials: Vec<TrialAnswer>,
    /// What was measured.
    pub(super) metrics: Option<MetricsAnswer>,
    /// Validators whose results are here.
    pub(super) evaluated_by: Vec<String>,
    /// How many results are needed.
    pub(super) results_required: u32,
    /// The finalized block at which this validator put away all that it knew of it: it left the
    /// chain long before, and is told as it was then. Null of one that it still keeps.
    pub(super) put_away_at: Option<u64>,
}

/// Submissions of one hotkey.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubmissionsAnswer {
    /// The latest commitment first; at most 16.
    pub(super) submissions: Vec<SubmissionAnswer>,
}

/// What a language model said of a submission. Its words are nobody's but its own.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReviewAnswer {
    /// Which model, as its endpoint calls it.
    pub(super) model: String,
    /// `approve` or `reject`.
    pub(super) opinion: &'static str,
    /// Why, in its words.
    pub(super) reason: String,
    /// The file that it means.
    pub(super) file: Option<String>,
    /// The line, counted from one.
    pub(super) line: Option<u32>,
}

/// A run of this validator.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunAnswer {
    /// Stage of the funnel.
    pub(super) tier: u8,
    /// Which of its units.
    pub(super) unit: u8,
    /// `running`, or `measured` when its result is on its way.
    pub(super) state: &'static str,
    /// Milliseconds since 1970.
    pub(super) started_at_unix_ms: u64,
    /// How far it is; null if it is over, or was taken up by an earlier life of the node.
    pub(super) progress: Option<ProgressAnswer>,
}

/// How far a run is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProgressAnswer {
    /// `starting`, `held_out_before`, `training`, `held_out_after` or `finished`.
    pub(super) phase: &'static str,
    /// Training text measured.
    pub(super) covered_bytes: u64,
    /// Training text in all.
    pub(super) total_bytes: u64,
    /// Bits per byte so far; null before the first batch.
    pub(super) bits_per_byte: Option<f64>,
    /// Training text per second so far.
    pub(super) bytes_per_second: Option<u64>,
    /// Until the text is used up at this rate.
    pub(super) remaining_seconds: Option<u64>,
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
    /// SHA-256 of what stands there, in hexadecimal.
    pub(super) snippet: Option<String>,
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
    /// Of them, those of tables that are looked up by token or position, as the container says;
    /// null of an older result.
    pub(super) embedding_parameters: Option<u64>,
    /// Of all, those that got no gradient from a first batch, as the container says; null where
    /// that was not looked at.
    pub(super) idle_parameters: Option<u64>,
    /// Most memory of its devices that it used, bytes, as the container says.
    pub(super) peak_device_bytes: u64,
    /// How often each hook that is there was called, as the container says.
    pub(super) hooks_used: std::collections::BTreeMap<&'static str, u32>,
    /// What the gate of the untrained model found, where it is in shadow.
    pub(super) flags: Vec<&'static str>,
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
    /// The latest tier in which it has a score; who got further stands before who did not.
    pub(super) tier: u8,
    /// From 0 to 1, in that tier.
    pub(super) final_score: f64,
}

/// An architecture that is in the running.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ArchitectureAnswer {
    /// The family, or the submission where families are not told apart.
    pub(super) id: String,
    /// Digest of the family's fingerprint; null where families are not told apart.
    pub(super) family_hash: Option<String>,
    /// Who is paid for it; null for a reference that nobody took over.
    pub(super) owner_hotkey: Option<String>,
    /// The submission that is the best of it; null for a reference.
    pub(super) canonical_submission_id: Option<String>,
    /// Its content digest.
    pub(super) code_hash: Option<String>,
    /// Block from which its author has a claim to it.
    pub(super) committed_at: Option<u64>,
    /// How good it is under the reference trainer, in units of the reference submission; null
    /// where parts are not measured.
    pub(super) q_arch_best: Option<f64>,
    /// The score of its submission as a whole; null where parts are measured.
    pub(super) final_score: Option<f64>,
}

/// A recipe that is in the running.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrainingVariantAnswer {
    /// Its submission.
    pub(super) id: String,
    /// The architecture that it trains, as `/v1/architectures` names it.
    pub(super) architecture_id: String,
    /// Its content digest.
    pub(super) training_hash: Option<String>,
    /// Who is paid for it.
    pub(super) owner_hotkey: Option<String>,
    /// Its submission.
    pub(super) submission_id: String,
    /// Block from which its author has a claim to it.
    pub(super) committed_at: Option<u64>,
    /// What it adds to the reference trainer, in units of the reference submission; null where
    /// parts are not measured.
    pub(super) q_recipe: Option<f64>,
    /// The spread over seeds of that.
    pub(super) metric_std: Option<f64>,
    /// The score of its submission as a whole; null where parts are measured.
    pub(super) final_score: Option<f64>,
    /// Whether it is the best for its architecture.
    pub(super) is_current_best: bool,
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

#[allow(clippy::cast_precision_loss, reason = "for people; below 2^53 it is exact")]
fn from_micro(value: u64) -> f64 {
    value as f64 / 1e6
}

pub(super) fn submission(known: Known) -> SubmissionAnswer {
    let Known { account, place, runs } = known;
    let tier = tier(&account, &runs);
    let Account {
        submission,
        explanation,
        outcomes,
        metrics,
        merit,
        place: in_funnel,
        flags,
        review,
    } = account;
    let (status, error, broken) = stage(&submission.state);
    SubmissionAnswer {
        id: submission.id.to_string(),
        hotkey: submission.hotkey.to_string(),
        committed_at: submission.committed_at.0,
        code_hash: submission.content.to_string(),
        status,
        detail: submission.state.to_string(),
        tier,
        passage: in_funnel.map(|(_, passage)| passage.name()),
        error,
        evidence: broken,
        flags: flags.iter().map(evidence).collect(),
        final_score: merit.map(|merit| score(merit.points)),
        score_tier: merit.map(|merit| merit.tier),
        queue: place.map(queue),
        review: review.map(|(model, review)| ReviewAnswer {
            model,
            opinion: review.opinion.name(),
            reason: review.reason,
            file: review.file,
            line: review.line,
        }),
        evaluation: explanation.summary,
        runs: runs.iter().map(run).collect(),
        trials: outcomes.iter().map(trial).collect(),
        metrics: metrics.as_ref().map(measured),
        evaluated_by: explanation.claims.iter().map(ToString::to_string).collect(),
        results_required: explanation.required,
        put_away_at: None,
    }
}

/// - `at`: the finalized block at which it was put away.
pub(super) fn past(account: Account, at: BlockNumber) -> SubmissionAnswer {
    SubmissionAnswer { put_away_at: Some(at.0), ..submission(Known::past(account)) }
}

/// The stage that it entered last, or the latest of which anything is known here.
fn tier(account: &Account, runs: &[LiveRun]) -> u8 {
    if let Some((tier, _)) = account.place {
        return tier;
    }
    if !account.submission.state.is_admitted() {
        return 0;
    }
    let decided = account.outcomes.iter().map(|row| row.trial.tier);
    decided.chain(runs.iter().map(|run| run.trial.tier)).fold(1, u8::max)
}

fn run(run: &LiveRun) -> RunAnswer {
    let progress = run.attempt.map(|attempt| ProgressAnswer {
        phase: attempt.phase.name(),
        covered_bytes: attempt.covered_bytes,
        total_bytes: attempt.total_bytes,
        bits_per_byte: attempt.microbpb.map(from_micro),
        bytes_per_second: attempt.bytes_per_second,
        remaining_seconds: attempt.remaining_s,
    });
    RunAnswer {
        tier: run.trial.tier,
        unit: run.trial.unit,
        state: run.state,
        started_at_unix_ms: run.started_at.0,
        progress,
    }
}

fn evidence(rejection: &Rejection) -> EvidenceAnswer {
    EvidenceAnswer {
        rule: rejection.rule.id(),
        file: rejection.file.clone(),
        line: rejection.line,
        snippet: rejection.snippet.map(|snippet| snippet.to_string()),
        detail: rejection.detail.clone(),
    }
}

fn stage(state: &SubmissionState) -> (&'static str, Option<String>, Option<EvidenceAnswer>) {
    match state {
        SubmissionState::Committed { .. } => ("committed", None, None),
        SubmissionState::Fetched => ("fetched", None, None),
        SubmissionState::Admitted => ("admitted", None, None),
        SubmissionState::Held { .. } => ("held", None, None),
        SubmissionState::Rejected { rejection } => {
            ("rejected", Some(rejection.to_string()), Some(evidence(rejection)))
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
        embedding_parameters: metrics.conduct.embedding_parameters,
        idle_parameters: metrics.conduct.idle_parameters,
        peak_device_bytes: metrics.conduct.peak_device_bytes,
        hooks_used: metrics.conduct.hooks_used.iter().map(|(h, n)| (h.name(), *n)).collect(),
        flags: metrics.conduct.flags.iter().map(|flag| flag.name()).collect(),
        loss_curve: metrics.loss_curve_microbpb.iter().map(|p| f64::from(*p) / 1e6).collect(),
    }
}

/// What a place is worth: a part's quality and its spread, or a score.
fn worth(worth: &Worth) -> (Option<f64>, Option<f64>, Option<f64>) {
    match worth {
        Worth::Points(points) => (None, None, Some(score(*points))),
        Worth::Part(quality) => {
            #[allow(clippy::cast_precision_loss, reason = "for people")]
            let (mean, variance) = (quality.mean_nano as f64, quality.variance_nano2 as f64);
            (Some(mean / 1e9), Some(variance.sqrt() / 1e9), None)
        }
    }
}

/// What an architecture is called: its family, or the submission that stands alone.
fn architecture_id(place: &PlaceOf) -> String {
    let submission = place.submission.map(|id| id.to_string());
    place.family.map(|family| family.0.to_string()).or(submission).unwrap_or_default()
}

pub(super) fn architectures(places: &Places, limit: usize) -> Vec<ArchitectureAnswer> {
    let answer = |place: &PlaceOf| {
        let (q_arch_best, _, final_score) = worth(&place.worth);
        ArchitectureAnswer {
            id: architecture_id(place),
            family_hash: place.family.map(|family| family.0.to_string()),
            owner_hotkey: place.owner.map(|owner| owner.to_string()),
            canonical_submission_id: place.submission.map(|id| id.to_string()),
            code_hash: place.content.map(|content| content.to_string()),
            committed_at: place.since.map(|block| block.0),
            q_arch_best,
            final_score,
        }
    };
    places.architectures.iter().take(limit).map(answer).collect()
}

/// - `architecture`: those of this one alone.
pub(super) fn training_variants(
    places: &Places,
    architecture: Option<&str>,
    limit: usize,
) -> Vec<TrainingVariantAnswer> {
    let answer = |place: &PlaceOf| {
        let (q_recipe, metric_std, final_score) = worth(&place.worth);
        let submission = place.submission?.to_string();
        Some(TrainingVariantAnswer {
            id: submission.clone(),
            architecture_id: architecture_id(place),
            training_hash: place.content.map(|content| content.to_string()),
            owner_hotkey: place.owner.map(|owner| owner.to_string()),
            submission_id: submission,
            committed_at: place.since.map(|block| block.0),
            q_recipe,
            metric_std,
            final_score,
            // Of each architecture the best alone has a place.
            is_current_best: true,
        })
    };
    let wanted = |one: &TrainingVariantAnswer| {
        architecture.is_none_or(|architecture| one.architecture_id == architecture)
    };
    places.recipes.iter().filter_map(answer).filter(wanted).take(limit).collect()
}

pub(super) fn leaderboard(
    epoch: Option<EpochAccount>,
    ranked: &[(Merit, Submission)],
) -> Leaderboard {
    let line = |(rank, (merit, one)): (usize, &(Merit, Submission))| Ranked {
        rank,
        id: one.id.to_string(),
        hotkey: one.hotkey.to_string(),
        code_hash: one.content.to_string(),
        committed_at: one.committed_at.0,
        tier: merit.tier,
        final_score: score(merit.points),
    };
    Leaderboard {
        epoch_id: epoch.map(|epoch| epoch.index.0),
        submissions: (1..).zip(ranked).map(line).collect(),
    }
}
