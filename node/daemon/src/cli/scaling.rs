//! `assay scaling`: how loss falls with size and text, and what to train next.

pub(super) mod read;
mod render;

pub(in crate::cli) use render::{fit as fit_text, recommendation as recommendation_text};

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use node_core::scaling::{
    fit, plan, Fit, Law, Level, Plan, PlanRefused, Recommendation, Runs, RunsRefused,
};
use serde::Serialize;

use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay scaling plan --flops 3e17                 which runs to make for a full fit
  assay scaling fit runs.jsonl                    what the runs say, with intervals
  assay scaling recommend runs.jsonl --flops 1e20   what to train with that budget

L(N, D) = E + A N^-alpha + B D^-beta: bits per byte L, parameters N without embeddings, tokens D;
training costs C = 6 N D floating point operations. Published constants, without a file:
  assay scaling recommend --constants 1.8172,482.01,2085.43,0.3478,0.3658 --flops 1e20";

const PLAN_EXAMPLES: &str = "\
Examples:
  assay scaling plan --flops 3e17                 4 sizes x 3 amounts of text x 2 seeds
  assay scaling plan --flops 1e15 --level slope   3 sizes, one run each
  assay scaling plan --flops 3e17 --json | jq -c '.runs[]'

Sizes and amounts of text are crossed: what grows together cannot be told apart.

Exit codes: 0 planned; 64 the budget is too small.";

const FIT_EXAMPLES: &str = "\
Examples:
  assay scaling fit runs.jsonl
  assay scaling fit runs.csv --json | jq .law

A file has a line for each run, JSON or CSV with a header:
  {\"parameters\": 1000000, \"tokens\": 20000000, \"seed\": 1, \"bits_per_byte\": 1.42}

What is claimed depends on the evidence: with 3 sizes the slope of ln L; with 4 sizes
E + A N^-alpha; with 9 runs, 3 sizes with 3 amounts of text each and 2 seeds the whole law.
Intervals hold the true value in 95 of 100 cases. With sizes to spare, the largest is predicted from
the others.

Exit codes: 0 fitted; 1 insufficient evidence; 64 the file cannot be read.";

const RECOMMEND_EXAMPLES: &str = "\
Examples:
  assay scaling recommend runs.jsonl --flops 1e20
  assay scaling recommend --constants 1.8172,482.01,2085.43,0.3478,0.3658 --flops 1e20

A recommendation needs the evidence of a full fit; see `assay scaling fit --help`.

Exit codes: 0 recommended; 1 insufficient evidence; 64 the file or a number cannot be read.";

/// Plan, fit and use scaling laws.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScalingCommand {
    #[command(subcommand)]
    command: ScalingSubcommand,
}

#[derive(Debug, Subcommand)]
enum ScalingSubcommand {
    Plan(PlanCommand),
    Fit(FitCommand),
    Recommend(RecommendCommand),
}

/// Say which runs to make within a budget.
#[derive(Debug, Args)]
#[command(after_help = PLAN_EXAMPLES)]
struct PlanCommand {
    /// Floating point operations of all runs together
    #[arg(long, value_name = "C")]
    flops: f64,

    /// What is to be claimed
    #[arg(long, value_enum, default_value_t = Claim::Full)]
    level: Claim,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Fit what the evidence allows.
#[derive(Debug, Args)]
#[command(after_help = FIT_EXAMPLES)]
struct FitCommand {
    /// The runs, as JSON lines or CSV
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Seed of the resampling: the same runs and seed give the same intervals
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Say what to train with a budget.
#[derive(Debug, Args)]
#[command(after_help = RECOMMEND_EXAMPLES)]
struct RecommendCommand {
    /// The runs, as JSON lines or CSV
    #[arg(value_name = "FILE", required_unless_present = "constants")]
    file: Option<PathBuf>,

    /// Use these constants and no runs
    #[arg(long, value_name = "E,A,B,alpha,beta", value_parser = constants, conflicts_with = "file")]
    constants: Option<Law>,

    /// Floating point operations of the one training
    #[arg(long, value_name = "C")]
    flops: f64,

    /// Seed of the resampling: the same runs and seed give the same intervals
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is to be claimed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Claim {
    /// The slope of ln L over ln N, from 3 sizes
    Slope,
    /// E + A N^-alpha, from 5 sizes with 2 seeds
    Curve,
    /// The whole law, from 4 sizes with 3 amounts of text and 2 seeds
    Full,
}

impl From<Claim> for Level {
    fn from(claim: Claim) -> Self {
        match claim {
            Claim::Slope => Self::Slope,
            Claim::Curve => Self::Curve,
            Claim::Full => Self::Full,
        }
    }
}

impl ScalingCommand {
    /// Prints the plan, the fit or the recommendation.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is none.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let text = match self.command {
            ScalingSubcommand::Plan(arguments) => arguments.text(),
            ScalingSubcommand::Fit(arguments) => arguments.text(),
            ScalingSubcommand::Recommend(arguments) => arguments.text(),
        }?;
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

impl PlanCommand {
    fn text(self) -> Result<String, Failure> {
        let plan: Plan = plan(self.level.into(), self.flops).map_err(plan_failure)?;
        shown(&plan, self.json, render::plan)
    }
}

impl FitCommand {
    fn text(self) -> Result<String, Failure> {
        let runs = read::runs(&self.file)?;
        let fit: Fit = fit(&runs, self.seed).map_err(thin)?;
        shown(&fit, self.json, render::fit)
    }
}

impl RecommendCommand {
    fn text(self) -> Result<String, Failure> {
        if let Some(law) = self.constants {
            let no_optimum = || {
                Failure::bad_configuration(RunsRefused::NoOptimum)
                    .hint("give a budget and constants above zero")
            };
            let optimum = law.optimum(self.flops).ok_or_else(no_optimum)?;
            return shown(&optimum, self.json, render::optimum);
        }
        if !self.flops.is_finite() || self.flops <= 0.0 {
            let refused = PlanRefused::NoBudget { flops: self.flops };
            return Err(plan_failure(refused));
        }
        let runs: Runs = read::runs(&self.file.unwrap_or_default())?;
        let fit = fit(&runs, self.seed).map_err(thin)?;
        let recommendation: Recommendation = fit.recommend(self.flops, &runs).map_err(thin)?;
        shown(&recommendation, self.json, render::recommendation)
    }
}

fn shown<T: Serialize>(
    value: &T,
    is_json: bool,
    text: fn(&T) -> String,
) -> Result<String, Failure> {
    if is_json {
        serde_json::to_string_pretty(value).map_err(Failure::unexpected)
    } else {
        Ok(text(value))
    }
}

fn plan_failure(error: PlanRefused) -> Failure {
    let hint = match &error {
        PlanRefused::NoBudget { .. } => "give a number above zero, for example `--flops 3e17`",
        PlanRefused::TooSmall { .. } => "raise `--flops`, or ask for less with `--level slope`",
    };
    Failure::bad_configuration(error).hint(hint)
}

fn thin(error: RunsRefused) -> Failure {
    Failure::new(ExitReason::Failed, error).hint("`assay scaling plan` says which runs to make")
}

/// Why a text is not the constants of a law.
#[derive(Debug, thiserror::Error)]
enum ConstantsRefused {
    #[error("`{text}` is not a number")]
    Number { text: String },
    #[error("E,A,B,alpha,beta are five numbers, not {count}")]
    Count { count: usize },
}

/// Reads `E,A,B,alpha,beta`.
fn constants(text: &str) -> Result<Law, ConstantsRefused> {
    let number = |text: &str| {
        let refused = |_| ConstantsRefused::Number { text: text.to_owned() };
        text.trim().parse::<f64>().map_err(refused)
    };
    let numbers: Vec<f64> = text.split(',').map(number).collect::<Result<_, _>>()?;
    let [floor, size_scale, text_scale, size_exponent, text_exponent] = numbers
        .as_slice()
        .try_into()
        .map_err(|_| ConstantsRefused::Count { count: numbers.len() })?;
    Ok(Law { floor, size_scale, size_exponent, text_scale, text_exponent })
}
