//! How loss falls with size and text, and what that says about the next model.
//!
//! ```text
//! L(N, D) = E + A N^-alpha + B D^-beta
//! ```
//!
//! `L` in bits per byte, `N` parameters without embeddings, `D` tokens of training text; training
//! costs `C = 6 N D` floating point operations. What is claimed depends on the evidence:
//!
//! | evidence | claim |
//! |---|---|
//! | 3 sizes | the slope of ln L over ln N |
//! | 4 sizes | `E + A N^-alpha` |
//! | 9 runs: 3 sizes with 3 amounts of text each, 2 seeds | all of it, and a recommendation |
//!
//! This is advice for people: no validator compares it with another's, and nothing is paid by it.
//! So it is floating point. It is still deterministic: `libm`, fixed orders, seeded resampling.
//!
//! Source of the model: J. Hoffmann et al., *Training compute-optimal large language models*, 2022.

mod bootstrap;
mod fit;
mod least_squares;
mod minimum;
mod plan;
mod runs;

use serde::Serialize;

pub use bootstrap::{fit, Fit, HoldOut, Interval, LawIntervals, Recommendation, Slope};
pub use plan::{plan, Plan, PlanRefused, PlannedRun};
pub use runs::{Evidence, Level, Run, Runs, RunsRefused, RUNS_MAX};

/// Floating point operations per parameter and token of training.
pub const FLOPS_PER_PARAMETER_TOKEN: f64 = 6.0;

/// The constants of the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Law {
    /// `E`: what no size and no text removes, bits per byte.
    pub floor: f64,
    /// `A`.
    pub size_scale: f64,
    /// `alpha`.
    pub size_exponent: f64,
    /// `B`; zero where only sizes were compared.
    pub text_scale: f64,
    /// `beta`.
    pub text_exponent: f64,
}

/// The best use of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Optimum {
    /// Parameters without embeddings.
    pub parameters: f64,
    /// Tokens of training text.
    pub tokens: f64,
    /// What the law predicts, bits per byte.
    pub bits_per_byte: f64,
}

impl Law {
    /// Bits per byte of a model of this size after so many tokens.
    #[must_use]
    pub fn predict(&self, parameters: f64, tokens: f64) -> f64 {
        let size = self.size_scale * libm::pow(parameters, -self.size_exponent);
        let text = if self.text_scale > 0.0 {
            self.text_scale * libm::pow(tokens, -self.text_exponent)
        } else {
            0.0
        };
        self.floor + size + text
    }

    /// Size and text with the least loss for a budget of floating point operations.
    ///
    /// `None` if the budget is no positive number, or if one of the two terms does not fall: then
    /// no balance of them is best.
    #[must_use]
    pub fn optimum(&self, flops: f64) -> Option<Optimum> {
        let Self { floor: _, size_scale: a, size_exponent: alpha, .. } = *self;
        let (b, beta) = (self.text_scale, self.text_exponent);
        let falls = a > 0.0 && alpha > 0.0 && b > 0.0 && beta > 0.0;
        if !falls || !flops.is_finite() || flops <= 0.0 {
            return None;
        }
        let pairs = flops / FLOPS_PER_PARAMETER_TOKEN;
        let balance = libm::pow(alpha * a / (beta * b), 1.0 / (alpha + beta));
        let parameters = balance * libm::pow(pairs, beta / (alpha + beta));
        let tokens = pairs / parameters;
        let bits_per_byte = self.predict(parameters, tokens);
        let all = [parameters, tokens, bits_per_byte];
        let is_sane = all.iter().all(|value| value.is_finite() && *value > 0.0);
        is_sane.then_some(Optimum { parameters, tokens, bits_per_byte })
    }
}

#[cfg(test)]
mod tests;
