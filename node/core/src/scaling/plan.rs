//! Which runs to make for a claim within a budget.

use serde::Serialize;

use super::runs::Level;
use super::FLOPS_PER_PARAMETER_TOKEN;

/// Parameters below which a model says nothing about large ones.
const PARAMETERS_MIN: f64 = 10_000.0;
/// Tokens per parameter of the plan's middle.
const TOKENS_PER_PARAMETER: f64 = 20.0;

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PlanRefused {
    /// No number above zero.
    #[error("a budget of {flops} floating point operations is no budget")]
    NoBudget {
        /// What was given.
        flops: f64,
    },
    /// Too little for models large enough to say anything.
    #[error(
        "{flops:.2e} floating point operations are too few for a {level} fit, it takes {least:.2e}"
    )]
    TooSmall {
        /// What was given.
        flops: f64,
        /// For what.
        level: Level,
        /// What it takes.
        least: f64,
    },
}

/// A run to make.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlannedRun {
    /// Parameters without embeddings.
    pub parameters: u64,
    /// Tokens to train on.
    pub tokens: u64,
    /// Its seed.
    pub seed: u64,
    /// Floating point operations.
    pub flops: f64,
}

/// Runs that together make a claim possible.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The claim.
    pub level: Level,
    /// Cheapest first.
    pub runs: Vec<PlannedRun>,
    /// Of all runs together.
    pub flops: f64,
}

/// Sizes and amounts of text relative to the middle, and seeds.
fn shape(level: Level) -> (&'static [f64], &'static [f64], u64) {
    match level {
        Level::Slope => (&[0.25, 1.0, 4.0], &[1.0], 1),
        Level::Curve => (&[0.125, 0.35, 1.0, 2.8, 8.0], &[1.0], 2),
        // A fourth size, so that the largest can be held out.
        Level::Full => (&[0.125, 0.5, 2.0, 8.0], &[0.125, 1.0, 8.0], 2),
    }
}

/// The runs for a claim, as large as the budget allows.
///
/// Sizes and amounts of text are spread evenly in logarithms and crossed, since what varies
/// together cannot be told apart.
///
/// # Errors
///
/// [`PlanRefused`] if the budget is too small.
pub fn plan(level: Level, flops: f64) -> Result<Plan, PlanRefused> {
    if !flops.is_finite() || flops <= 0.0 {
        return Err(PlanRefused::NoBudget { flops });
    }
    let (sizes, texts, seeds) = shape(level);
    #[allow(clippy::cast_precision_loss, reason = "at most two")]
    let pairs = sizes.iter().sum::<f64>() * texts.iter().sum::<f64>() * seeds as f64;
    let cost = FLOPS_PER_PARAMETER_TOKEN * TOKENS_PER_PARAMETER * pairs;
    let middle = libm::sqrt(flops / cost);
    let smallest = sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let least_middle = PARAMETERS_MIN / smallest;
    if middle < least_middle {
        let least = cost * least_middle * least_middle;
        return Err(PlanRefused::TooSmall { flops, level, least });
    }
    let mut runs: Vec<PlannedRun> = Vec::new();
    for size in sizes {
        for text in texts {
            for seed in 0..seeds {
                let tokens = middle * TOKENS_PER_PARAMETER * text;
                runs.push(planned(middle * size, tokens, seed));
            }
        }
    }
    runs.sort_by(|one, other| one.flops.total_cmp(&other.flops));
    let flops = runs.iter().map(|run| run.flops).sum();
    Ok(Plan { level, runs, flops })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rounded down from numbers above zero; what does not fit saturates"
)]
fn planned(parameters: f64, tokens: f64, seed: u64) -> PlannedRun {
    let (parameters, tokens) = (libm::floor(parameters) as u64, libm::floor(tokens) as u64);
    let flops = FLOPS_PER_PARAMETER_TOKEN * parameters as f64 * tokens as f64;
    PlannedRun { parameters, tokens, seed, flops }
}
