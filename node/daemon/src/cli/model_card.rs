//! `assay report`: the model card of a submission, the winner's unless another is named.

mod render;

use std::path::PathBuf;

use clap::Args;
use node_core::funnel::{Scale, Task, TierReport};
use node_core::id::SubmissionId;
use node_core::scaling::{fit, Fit, Recommendation, Run, Runs};
use serde::Serialize;

use super::report::{ask, Asked};
use super::scaling::read;
use super::submissions::find;
use super::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{FamilyStatus, HeldStatus, ReferenceStatus, StatusReport, SubmissionStatus};

const EXAMPLES: &str = "\
Examples:
  assay report                                 the winner's model card, as Markdown
  assay report > CARD.md
  assay report 7866e9f2                        of another submission
  assay report --flops 1e20                    with the size to train with that budget
  assay report --flops 1e20 --runs RUNS        the same, with more runs than the funnel's
  assay report --json | jq .fit.slope

The winner is who got furthest in the funnel, there with the most points. A law of scaling is fitted
to its runs of several sizes, as far as there are enough. The funnel's three sizes give a slope; for
a recommendation train what `assay scaling plan` says, and give those runs with `--runs`.

Exit codes: 0 shown; 1 nobody has a score, or no such submission; 3 not running or not answering.";

/// Write the model card of the winner, or of one submission: lineage, scores, fit, recommendation.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportCommand {
    /// The beginning of a submission's id, or all of it; the winner without
    #[arg(value_name = "SUBMISSION")]
    submission: Option<String>,

    /// Floating point operations of the training to recommend a size for
    #[arg(long, value_name = "C")]
    flops: Option<f64>,

    /// Further runs of this submission, in a file as `assay scaling fit` takes it: they are fitted
    /// together with those that the node measured
    #[arg(long, value_name = "FILE")]
    runs: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Nobody to write about.
#[derive(Debug, thiserror::Error)]
#[error("no submission has a score yet")]
struct NoWinner;

/// All that a card says.
#[derive(Debug, Serialize)]
pub(super) struct ModelCard<'a> {
    /// Whether it is the one that got furthest.
    pub(super) is_winner: bool,
    /// The submission, with what its units measured.
    pub(super) submission: &'a SubmissionStatus,
    /// The families in which it holds a place.
    pub(super) families: Vec<&'a FamilyStatus>,
    /// The hold of its architecture, if its family is not clear.
    pub(super) held: Option<&'a HeldStatus>,
    /// What its sizes say; `None` if they are too few.
    pub(super) fit: Option<Fit>,
    /// Why there is no fit.
    pub(super) no_fit: Option<String>,
    /// What to train with the budget that was asked for.
    pub(super) recommendation: Option<Recommendation>,
    /// Why there is no recommendation.
    pub(super) no_recommendation: Option<String>,
    /// The references, whose probe tasks its own are shown beside.
    pub(super) references: &'a [ReferenceStatus],
    /// The funnel that it went through.
    pub(super) funnel: &'a [TierReport],
}

impl ReportCommand {
    /// Prints the card.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nobody to write about, or no node to ask.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let Asked { report, headline, exit } = ask(&self.flags)?;
        let winner = winner(&report);
        let row = match &self.submission {
            Some(id) => find(&report, id)?,
            None => winner.ok_or_else(|| {
                Failure::new(ExitReason::Failed, NoWinner)
                    .hint("`assay submissions list` says how far each of them is")
            })?,
        };
        let further = self.runs.as_deref().map(read::runs).transpose()?;
        let further = further.as_ref().map(Runs::all).unwrap_or_default();
        let card = card(&report, row, winner.map(|winner| winner.id), self.flops, further);
        let text = if self.json {
            serde_json::to_string_pretty(&card).map_err(Failure::unexpected)?
        } else {
            format!("{headline}{}", render::render(&card))
        };
        output::print(&text)?;
        Ok(exit)
    }
}

/// Who got furthest, there with the most points; of equals the earlier one.
fn winner(report: &StatusReport) -> Option<&SubmissionStatus> {
    let rank = |row: &SubmissionStatus| {
        let tier = row.place.map_or(1, |place| place.tier);
        let there = row.place.and_then(|place| place.points);
        // In a tier that it only entered it has none yet; those before count then.
        let points = there.or(row.points);
        points.map(|points| (tier, there.is_some(), points, std::cmp::Reverse(row.committed_at)))
    };
    let ranked = report.submissions.iter().filter_map(|row| Some((rank(row)?, row)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, row)| row)
}

fn card<'a>(
    report: &'a StatusReport,
    row: &'a SubmissionStatus,
    winner: Option<SubmissionId>,
    flops: Option<f64>,
    further: &[Run],
) -> ModelCard<'a> {
    let holds = |family: &&FamilyStatus| {
        let recipe = family.recipe.as_ref().and_then(|recipe| recipe.submission);
        family.architecture.submission == Some(row.id) || recipe == Some(row.id)
    };
    let families = report.funnel.families.iter().flatten().filter(holds).collect();
    let held = report.funnel.held.iter().find(|held| held.submission == row.id);
    let runs = Runs::new(runs(row).into_iter().chain(further.iter().copied()).collect());
    let fitted = runs.as_ref().map_err(ToString::to_string).and_then(|runs| {
        fit(runs, 0).map(|fit| (fit, runs)).map_err(|refused| refused.to_string())
    });
    let recommended = flops.map(|flops| match &fitted {
        Ok((fit, runs)) => fit.recommend(flops, runs).map_err(|refused| refused.to_string()),
        Err(refused) => Err(refused.clone()),
    });
    let (recommendation, no_recommendation) = match recommended {
        Some(Ok(recommendation)) => (Some(recommendation), None),
        Some(Err(refused)) => (None, Some(refused)),
        None => (None, None),
    };
    let (fit, no_fit) = match fitted {
        Ok((fit, _)) => (Some(fit), None),
        Err(refused) => (None, Some(refused)),
    };
    ModelCard {
        is_winner: winner == Some(row.id),
        submission: row,
        families,
        held,
        fit,
        no_fit,
        recommendation,
        no_recommendation,
        references: &report.funnel.references,
        funnel: &report.funnel.tiers,
    }
}

/// Its trainings in the policy's own setting and in smaller ones, of the last tier that has them.
fn runs(row: &SubmissionStatus) -> Vec<Run> {
    let sized = row.units.iter().filter_map(|unit| {
        let Task::Text { scale: Scale::Quartered(_), .. } = unit.plan.task else { return None };
        let bits_per_byte = micro(unit.nanobpb?);
        // The law is one of what computes; a model that is a table has nothing of it.
        let parameters = unit.parameters?.checked_sub(unit.embedding_parameters?)?;
        let (parameters, tokens) = (Some(parameters).filter(|n| *n > 0)?, unit.tokens?);
        let seed = u64::from(unit.plan.seed);
        Some((unit.tier, Run { parameters, tokens, seed, bits_per_byte }))
    });
    let sized: Vec<(u8, Run)> = sized.collect();
    let last = sized.iter().map(|(tier, _)| *tier).max();
    sized.into_iter().filter(|(tier, _)| Some(*tier) == last).map(|(_, run)| run).collect()
}

#[allow(clippy::cast_precision_loss, reason = "bits per byte are small")]
fn micro(nano: u64) -> f64 {
    nano as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{sample, PlaceStatus, UnitStatus};
    use node_core::evidence::ProbeFigure;
    use node_core::funnel::{Passage, Trainer, UnitPlan};

    fn unit(number: u8, nanobpb: u64, parameters: u64) -> UnitStatus {
        let task = Task::Text { trainer: Trainer::Own, scale: Scale::Quartered(number) };
        UnitStatus {
            tier: 3,
            plan: UnitPlan { unit: number, seed: 0, task },
            points: Some(1_000_000_000 / (1 + nanobpb / 1_000_000_000)),
            ending: None,
            nanobpb: Some(nanobpb),
            parameters: Some(parameters + 1_000),
            embedding_parameters: Some(1_000),
            tokens: Some(400_000),
            probes: Vec::new(),
        }
    }

    /// A unit of probe tasks, with this score in the first and none in the last.
    fn probed(seed: u8, score_ppm: u32) -> UnitStatus {
        let figure = |task, score_ppm| ProbeFigure {
            task,
            score_ppm,
            loss_micronats: 400_000,
            floor_micronats: 1_800_000,
        };
        UnitStatus {
            plan: UnitPlan { unit: 5 + seed, seed, task: Task::Probes },
            points: None,
            nanobpb: None,
            parameters: None,
            embedding_parameters: None,
            tokens: None,
            probes: vec![figure(0, score_ppm), figure(8, 0)],
            ..unit(0, 0, 0)
        }
    }

    fn finalist() -> StatusReport {
        let mut report = sample::healthy();
        let scored = report.submissions.iter_mut().find(|row| row.points.is_some()).unwrap();
        let place = PlaceStatus { tier: 3, points: scored.points, passage: Passage::Passes };
        scored.place = Some(place);
        scored.units = vec![
            unit(0, 2_100_000_000, 16_000_000),
            unit(1, 2_300_000_000, 4_000_000),
            unit(2, 2_600_000_000, 1_000_000),
            probed(0, 700_000),
            probed(1, 900_000),
        ];
        let reference = |name: &str, units| ReferenceStatus { name: name.to_owned(), units };
        report.funnel.references = vec![
            reference("transformer-rope", vec![probed(0, 950_000), probed(1, 970_000)]),
            reference("ssm", Vec::new()),
        ];
        report
    }

    #[test]
    fn the_winner_is_who_got_furthest_there_with_the_most_points() {
        let mut report = finalist();
        let best = winner(&report).unwrap().id;
        let mut other = winner(&report).unwrap().clone();
        other.id.0[0] ^= 1;
        other.points = Some(u64::MAX);
        other.place = Some(PlaceStatus { tier: 2, points: Some(9), passage: Passage::Out });
        report.submissions.insert(0, other.clone());
        assert_eq!(winner(&report).unwrap().id, best);
        other.id.0[0] ^= 2;
        other.place = Some(PlaceStatus { tier: 3, points: Some(u64::MAX), ..other.place.unwrap() });
        report.submissions.push(other.clone());
        assert_eq!(winner(&report).unwrap().id, other.id);
        report.submissions.clear();
        assert!(winner(&report).is_none());
    }

    #[test]
    fn three_sizes_give_a_slope_and_no_recommendation() {
        let report = finalist();
        let row = winner(&report).unwrap();
        let card = card(&report, row, Some(row.id), Some(1e20), &[]);
        assert!(card.fit.as_ref().unwrap().slope.slope < 0.0);
        assert!(card.recommendation.is_none() && card.no_recommendation.is_some());
        insta::assert_snapshot!("model_card", render::render(&card));
    }

    /// The published law, at four sizes, three lengths of text and two seeds.
    fn published() -> Vec<Run> {
        let law = |parameters: f64, tokens: f64| {
            1.8172 + 482.01 / parameters.powf(0.3478) + 2085.43 / tokens.powf(0.3658)
        };
        let mut runs = Vec::new();
        for parameters in [1_000_000_u64, 4_000_000, 16_000_000, 64_000_000] {
            for tokens in [20_000_000_u64, 200_000_000, 2_000_000_000] {
                #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
                let bits_per_byte = law(parameters as f64, tokens as f64);
                runs.extend([0, 1].map(|seed| Run { parameters, tokens, seed, bits_per_byte }));
            }
        }
        runs
    }

    #[test]
    fn with_the_runs_of_a_plan_the_card_recommends_a_size() {
        let mut report = finalist();
        report.submissions.iter_mut().for_each(|row| row.units.clear());
        let row = report.submissions.iter().find(|row| row.points.is_some()).unwrap();
        let card = card(&report, row, Some(row.id), Some(1e20), &published());
        let recommended = card.recommendation.as_ref().unwrap();
        let billions = recommended.optimum.parameters / 1e9;
        assert!((0.75..0.95).contains(&billions), "{recommended:?}");
        assert!(render::render(&card).contains("## Recommendation"));
    }

    #[test]
    fn one_size_is_no_fit_and_the_card_says_why() {
        let mut report = finalist();
        report.submissions.iter_mut().for_each(|row| row.units.truncate(1));
        let row = winner(&report).unwrap();
        let card = card(&report, row, None, None, &[]);
        assert!(card.fit.is_none() && !card.is_winner);
        assert!(render::render(&card).contains(card.no_fit.as_ref().unwrap()));
    }
}
