//! What the runs say, and how sure that is.

use serde::Serialize;

use super::fit::Problem;
use super::runs::{Evidence, Level, Run, Runs, RunsRefused};
use super::{Law, Optimum};

/// Resampled fits. Lower: the ends of intervals jump with the seed. Higher: seconds.
const RESAMPLES: usize = 200;

/// An interval that holds the true value in 95 of 100 cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a value lies in it.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Intervals of a law's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LawIntervals {
    /// Of `E`.
    pub floor: Interval,
    /// Of `A`.
    pub size_scale: Interval,
    /// Of `alpha`.
    pub size_exponent: Interval,
    /// Of `B`; `None` where only sizes were compared.
    pub text_scale: Option<Interval>,
    /// Of `beta`.
    pub text_exponent: Option<Interval>,
}

/// The slope of ln L over ln N.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slope {
    /// Negative where larger is better.
    pub slope: f64,
    /// Of the slope.
    pub interval: Interval,
}

/// How well the other sizes predict the largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HoldOut {
    /// The largest size, left out of this fit.
    pub parameters: u64,
    /// Mean of predicted over measured, less one.
    pub relative_error: f64,
    /// The largest of a run, without its sign.
    pub relative_error_max: f64,
}

/// What the runs say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// How much is claimed.
    pub level: Level,
    /// From what.
    pub evidence: Evidence,
    /// At every level.
    pub slope: Slope,
    /// The law, above [`Level::Slope`].
    pub law: Option<Law>,
    /// Of its constants.
    pub intervals: Option<LawIntervals>,
    /// The prediction of the largest size from the others, where those suffice for the same level.
    pub hold_out: Option<HoldOut>,
    /// Laws of resampled runs, for intervals of what is computed from a law.
    #[serde(skip)]
    resampled: Vec<Law>,
    #[serde(skip)]
    widening: f64,
}

/// What to train with a budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recommendation {
    /// Floating point operations.
    pub flops: f64,
    /// The best use of them.
    pub optimum: Optimum,
    /// Of its parameters.
    pub parameters: Interval,
    /// Of its tokens.
    pub tokens: Interval,
    /// Of the loss of exactly this size and text.
    pub bits_per_byte: Interval,
    /// Budget over that of the dearest measured run: how far this looks ahead.
    pub extrapolation: f64,
}

/// Fits what the evidence allows.
///
/// - `seed`: of the resampling; the same runs and seed give the same fit.
///
/// # Errors
///
/// [`RunsRefused::Thin`] below three sizes.
pub fn fit(runs: &Runs, seed: u64) -> Result<Fit, RunsRefused> {
    fit_with(runs, seed, RESAMPLES)
}

pub(super) fn fit_with(runs: &Runs, seed: u64, resamples: usize) -> Result<Fit, RunsRefused> {
    let evidence = runs.evidence();
    let level = evidence.level().ok_or(RunsRefused::Thin { evidence })?;
    let slope = slope(runs.all());
    let (law, intervals, resampled, widening) = if level == Level::Slope {
        (None, None, Vec::new(), 1.0)
    } else {
        let problem = Problem::new(runs.all(), level);
        let law = problem.fit();
        let resampled = resample(&problem, &law, runs.all().len(), seed, resamples);
        let widening = widening(runs.all().len(), problem.unknowns());
        let intervals = intervals(level, &law, &resampled, widening);
        (Some(law), Some(intervals), resampled, widening)
    };
    let hold_out = hold_out(runs, level);
    Ok(Fit { level, evidence, slope, law, intervals, hold_out, resampled, widening })
}

impl Fit {
    /// The best use of a budget, with intervals.
    ///
    /// - `dearest_flops`: of the dearest measured run.
    ///
    /// # Errors
    ///
    /// [`RunsRefused::TooThinToRecommend`] below [`Level::Full`]; [`RunsRefused::NoOptimum`] if the
    /// law does not fall with both.
    pub fn recommend(&self, flops: f64, runs: &Runs) -> Result<Recommendation, RunsRefused> {
        let too_thin = RunsRefused::TooThinToRecommend { evidence: self.evidence };
        let law = self.law.filter(|_| self.level == Level::Full).ok_or(too_thin)?;
        let optimum = law.optimum(flops).ok_or(RunsRefused::NoOptimum)?;
        let optima: Vec<Optimum> =
            self.resampled.iter().filter_map(|law| law.optimum(flops)).collect();
        let of = |value: f64, get: fn(&Optimum) -> f64| {
            interval(value, optima.iter().map(get).collect(), self.widening, true)
        };
        let losses =
            self.resampled.iter().map(|law| law.predict(optimum.parameters, optimum.tokens));
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        let cost = |run: &Run| {
            super::FLOPS_PER_PARAMETER_TOKEN * run.parameters as f64 * run.tokens as f64
        };
        let dearest = runs.all().iter().map(cost).fold(1.0, f64::max);
        Ok(Recommendation {
            flops,
            optimum,
            parameters: of(optimum.parameters, |optimum| optimum.parameters),
            tokens: of(optimum.tokens, |optimum| optimum.tokens),
            bits_per_byte: interval(optimum.bits_per_byte, losses.collect(), self.widening, true),
            extrapolation: flops / dearest,
        })
    }
}

/// Fits of runs whose weights are drawn: each run counts as often as by chance (the Bayesian
/// bootstrap, whose resamples never lack a size).
fn resample(problem: &Problem, law: &Law, runs: usize, seed: u64, count: usize) -> Vec<Law> {
    let mut random = Random(seed);
    let fit = |_| {
        let weights: Vec<f64> = (0..runs).map(|_| -libm::log(random.above_zero())).collect();
        problem.weighted(&weights).fit_near(law)
    };
    (0..count).map(fit).collect()
}

/// How much wider than its resamples an interval is: few runs spread less than they err.
fn widening(runs: usize, unknowns: usize) -> f64 {
    let free = runs.saturating_sub(unknowns).max(1);
    #[allow(clippy::cast_precision_loss, reason = "at most 2,000 runs")]
    let (runs, free_f64) = (runs as f64, free as f64);
    student(free) / student(usize::MAX) * libm::sqrt(runs / free_f64)
}

/// The 97.5 % point of Student's t.
fn student(free: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    #[allow(clippy::cast_precision_loss, reason = "an approximation for many")]
    let for_many = 1.960 + 2.4 / free as f64;
    TABLE.get(free.saturating_sub(1)).copied().unwrap_or(for_many)
}

fn intervals(level: Level, law: &Law, resampled: &[Law], widening: f64) -> LawIntervals {
    let of = |get: fn(&Law) -> f64, is_scale: bool| {
        interval(get(law), resampled.iter().map(get).collect(), widening, is_scale)
    };
    let is_full = level == Level::Full;
    let floor = of(|law| law.floor, false);
    LawIntervals {
        floor: Interval { low: floor.low.max(0.0), high: floor.high },
        size_scale: of(|law| law.size_scale, true),
        size_exponent: of(|law| law.size_exponent, true),
        text_scale: is_full.then(|| of(|law| law.text_scale, true)),
        text_exponent: is_full.then(|| of(|law| law.text_exponent, true)),
    }
}

/// The middle 95 % of resamples, widened around the estimate; in logarithms where only factors
/// mean something.
fn interval(estimate: f64, mut values: Vec<f64>, widening: f64, is_scale: bool) -> Interval {
    values.sort_by(f64::total_cmp);
    let (low, high) = (quantile(&values, 0.025), quantile(&values, 0.975));
    let (low, high) = (low.unwrap_or(estimate), high.unwrap_or(estimate));
    if is_scale && estimate > 0.0 && low > 0.0 {
        Interval {
            low: estimate * libm::pow(low.min(estimate) / estimate, widening),
            high: estimate * libm::pow(high.max(estimate) / estimate, widening),
        }
    } else {
        Interval {
            low: estimate + widening * (low.min(estimate) - estimate),
            high: estimate + widening * (high.max(estimate) - estimate),
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a small count"
)]
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let low = sorted.get(libm::floor(place) as usize)?;
    let high = sorted.get(libm::ceil(place) as usize)?;
    Some(low + (high - low) * (place - libm::floor(place)))
}

/// Least squares of ln L over ln N, with Student's interval.
fn slope(runs: &[Run]) -> Slope {
    #[allow(clippy::cast_precision_loss, reason = "sizes, to 16 digits")]
    let points: Vec<(f64, f64)> = runs
        .iter()
        .map(|run| (libm::log(run.parameters as f64), libm::log(run.bits_per_byte)))
        .collect();
    #[allow(clippy::cast_precision_loss, reason = "at most 2,000 runs")]
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let sum_xx: f64 = points.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
    let sum_xy: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = sum_xy / sum_xx;
    let error = |(x, y): &(f64, f64)| {
        let error = y - mean_y - slope * (x - mean_x);
        error * error
    };
    let free = points.len().saturating_sub(2).max(1);
    #[allow(clippy::cast_precision_loss, reason = "at most 2,000 runs")]
    let variance = points.iter().map(error).sum::<f64>() / free as f64;
    let half = student(free) * libm::sqrt(variance / sum_xx);
    Slope { slope, interval: Interval { low: slope - half, high: slope + half } }
}

fn hold_out(runs: &Runs, level: Level) -> Option<HoldOut> {
    let (rest, held) = runs.without_largest();
    if level == Level::Slope || rest.evidence().level()? < level {
        return None;
    }
    let law = Problem::new(rest.all(), level).fit();
    #[allow(clippy::cast_precision_loss, reason = "sizes, to 16 digits")]
    let error =
        |run: &Run| law.predict(run.parameters as f64, run.tokens as f64) / run.bits_per_byte - 1.0;
    let errors: Vec<f64> = held.iter().map(error).collect();
    #[allow(clippy::cast_precision_loss, reason = "at most 2,000 runs")]
    let count = errors.len().max(1) as f64;
    Some(HoldOut {
        parameters: held.first()?.parameters,
        relative_error: errors.iter().sum::<f64>() / count,
        relative_error_max: errors.iter().map(|error| error.abs()).fold(0.0, f64::max),
    })
}

/// Splitmix64: for resampling, where a seed gives the same numbers for ever.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above zero and at most one.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn above_zero(&mut self) -> f64 {
        (self.next() >> 11).saturating_add(1) as f64 / 9_007_199_254_740_992.0
    }
}
