//! Measured runs, and how much they prove.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

/// Runs in one fit.
pub const RUNS_MAX: usize = 2_000;

/// A trained model, measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Parameters without embeddings.
    pub parameters: u64,
    /// Tokens it was trained on.
    pub tokens: u64,
    /// Its seed.
    pub seed: u64,
    /// What was measured.
    pub bits_per_byte: f64,
}

/// Why runs are not taken.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum RunsRefused {
    /// Too many.
    #[error("{got} runs are too many, at most {RUNS_MAX} are fitted")]
    TooMany {
        /// How many.
        got: usize,
    },
    /// No parameters or no tokens.
    #[error(
        "run {number} has {parameters} parameters and {tokens} tokens; both must be above zero"
    )]
    Empty {
        /// Which, from 1.
        number: usize,
        /// Its parameters.
        parameters: u64,
        /// Its tokens.
        tokens: u64,
    },
    /// A loss that no model has.
    #[error(
        "run {number} has {bits_per_byte} bits per byte; a number above 0 and up to 64 is one"
    )]
    Loss {
        /// Which, from 1.
        number: usize,
        /// What was given.
        bits_per_byte: f64,
    },
    /// Too little to claim anything.
    #[error("insufficient evidence: {evidence}; at least 3 sizes are needed for a slope")]
    Thin {
        /// What there is.
        evidence: Evidence,
    },
    /// Enough for something else, but not for this.
    #[error(
        "insufficient evidence: {evidence}; a recommendation needs 9 runs, 3 sizes with 3 amounts \
         of text each, and 2 seeds"
    )]
    TooThinToRecommend {
        /// What there is.
        evidence: Evidence,
    },
    /// The law does not fall with both size and text.
    #[error(
        "the fitted loss does not fall with both size and text, so no balance of them is best"
    )]
    NoOptimum,
}

/// What can be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A slope over sizes.
    Slope,
    /// `E + A N^-alpha`.
    Curve,
    /// The whole law.
    Full,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slope => "slope",
            Self::Curve => "curve",
            Self::Full => "full",
        })
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Runs.
    pub runs: usize,
    /// Different sizes.
    pub sizes: usize,
    /// Sizes with at least three amounts of text: with one amount per size, nobody can tell what
    /// size did from what text did.
    pub crossed_sizes: usize,
    /// Different seeds.
    pub seeds: usize,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, sizes, crossed_sizes, seeds } = self;
        write!(
            f,
            "{runs} runs of {sizes} sizes, {crossed_sizes} of them with 3 amounts of text, and \
             {seeds} seeds"
        )
    }
}

impl Evidence {
    /// What it suffices for, if for anything.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        if self.runs >= 9 && self.crossed_sizes >= 3 && self.seeds >= 2 {
            Some(Level::Full)
        } else if self.sizes >= 4 {
            Some(Level::Curve)
        } else if self.sizes >= 3 {
            Some(Level::Slope)
        } else {
            None
        }
    }
}

/// Checked runs, in one order whatever the order they came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Checks runs.
    ///
    /// # Errors
    ///
    /// [`RunsRefused`], the first thing that is wrong; too little evidence is not.
    pub fn new(mut runs: Vec<Run>) -> Result<Self, RunsRefused> {
        if runs.len() > RUNS_MAX {
            return Err(RunsRefused::TooMany { got: runs.len() });
        }
        for (run, number) in runs.iter().zip(1..) {
            let Run { parameters, tokens, bits_per_byte, .. } = *run;
            if parameters == 0 || tokens == 0 {
                return Err(RunsRefused::Empty { number, parameters, tokens });
            }
            if !bits_per_byte.is_finite() || bits_per_byte <= 0.0 || bits_per_byte > 64.0 {
                return Err(RunsRefused::Loss { number, bits_per_byte });
            }
        }
        runs.sort_by(|one, other| {
            let key = |run: &Run| (run.parameters, run.tokens, run.seed);
            key(one).cmp(&key(other)).then(one.bits_per_byte.total_cmp(&other.bits_per_byte))
        });
        Ok(Self(runs))
    }

    /// The runs, by size, text and seed.
    #[must_use]
    pub fn all(&self) -> &[Run] {
        &self.0
    }

    /// How much there is.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut texts: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for run in &self.0 {
            texts.entry(run.parameters).or_default().insert(run.tokens);
        }
        let seeds: BTreeSet<u64> = self.0.iter().map(|run| run.seed).collect();
        Evidence {
            runs: self.0.len(),
            sizes: texts.len(),
            crossed_sizes: texts.values().filter(|tokens| tokens.len() >= 3).count(),
            seeds: seeds.len(),
        }
    }

    /// Runs of all sizes but the largest, and those of the largest.
    pub(super) fn without_largest(&self) -> (Self, Vec<Run>) {
        let largest = self.0.last().map_or(0, |run| run.parameters);
        let (held, rest) = self.0.iter().partition(|run| run.parameters == largest);
        (Self(rest), held)
    }
}
