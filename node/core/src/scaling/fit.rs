//! The best law for weighted runs.
//!
//! The law is linear in `E`, `A` and `B` once the exponents are given, so only those are searched:
//! variable projection. A grid and a simplex find the least squared relative error; then the same
//! search polishes Huber's loss of ln L, which a few bad runs do not bend.

use super::least_squares::{Normal, COLUMNS};
use super::minimum::{minimum, Point};
use super::runs::{Level, Run};
use super::Law;

/// Errors of ln L beyond this count in proportion and not squared.
const HUBER_DELTA: f64 = 1e-3;
/// Exponents are searched between these.
const EXPONENT_MIN: f64 = 0.02;
const EXPONENT_MAX: f64 = 2.5;
const GRID: [f64; 8] = [0.06, 0.12, 0.2, 0.3, 0.42, 0.6, 0.9, 1.4];
/// Rounds of reweighting for one pair of exponents.
const ROUNDS: usize = 6;

/// A run as the fit sees it.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// ln N and ln D, less their means: the columns stay near one.
    size: f64,
    text: f64,
    loss: f64,
    ln_loss: f64,
    weight: f64,
}

/// Runs ready to be fitted again and again.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    rows: Vec<Row>,
    mean_size: f64,
    mean_text: f64,
    has_text: bool,
}

#[allow(clippy::cast_precision_loss, reason = "sizes and counts of tokens, to 16 digits")]
fn ln(value: u64) -> f64 {
    libm::log(value as f64)
}

impl Problem {
    pub(super) fn new(runs: &[Run], level: Level) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "at most 2,000 runs")]
        let count = runs.len().max(1) as f64;
        let mean_size = runs.iter().map(|run| ln(run.parameters)).sum::<f64>() / count;
        let mean_text = runs.iter().map(|run| ln(run.tokens)).sum::<f64>() / count;
        let row = |run: &Run| Row {
            size: ln(run.parameters) - mean_size,
            text: ln(run.tokens) - mean_text,
            loss: run.bits_per_byte,
            ln_loss: libm::log(run.bits_per_byte),
            weight: 1.0,
        };
        let rows = runs.iter().map(row).collect();
        Self { rows, mean_size, mean_text, has_text: level == Level::Full }
    }

    /// The same runs, each counting as much as its weight says.
    pub(super) fn weighted(&self, weights: &[f64]) -> Self {
        let mut problem = self.clone();
        for (row, weight) in problem.rows.iter_mut().zip(weights) {
            row.weight = *weight;
        }
        problem
    }

    /// Unknowns of the law.
    pub(super) fn unknowns(&self) -> usize {
        if self.has_text {
            5
        } else {
            3
        }
    }

    /// The best law, looked for everywhere.
    pub(super) fn fit(&self) -> Law {
        let texts: &[f64] = if self.has_text { &GRID } else { &GRID[..1] };
        let mut best = ([0.3_f64, 0.3], f64::INFINITY);
        for size in GRID {
            for text in texts {
                let point = [libm::log(size), libm::log(*text)];
                let (_, error) = self.project(point);
                if error < best.1 {
                    best = (point, error);
                }
            }
        }
        let mut squared = |point| self.project(point).1;
        let (start, _) = minimum(self.dimensions(), best.0, 0.2, 120, &mut squared);
        self.polish(start, 160)
    }

    /// The best law near another one, for resampled weights.
    pub(super) fn fit_near(&self, law: &Law) -> Law {
        let exponents = [law.size_exponent, law.text_exponent.max(EXPONENT_MIN)];
        let mut squared = |point| self.project(point).1;
        let near = exponents.map(libm::log);
        let (start, _) = minimum(self.dimensions(), near, 0.2, 40, &mut squared);
        self.polish(start, 50)
    }

    fn polish(&self, start: Point, evaluations: usize) -> Law {
        let mut huber = |point| self.polished(point).1;
        let (point, _) = minimum(self.dimensions(), start, 0.1, evaluations, &mut huber);
        self.law(point, self.polished(point).0)
    }

    fn dimensions(&self) -> usize {
        if self.has_text {
            2
        } else {
            1
        }
    }

    /// The least squared relative error for these exponents (as logarithms).
    fn project(&self, point: Point) -> ([f64; COLUMNS], f64) {
        let Some(exponents) = exponents(point) else { return ([0.0; COLUMNS], f64::INFINITY) };
        let mut normal = Normal::default();
        for row in &self.rows {
            let columns = self.columns(row, exponents).map(|column| column / row.loss);
            normal.add(columns, 1.0, row.weight);
        }
        normal.solve()
    }

    /// The least Huber loss of ln L for these exponents: Gauss-Newton steps with reweighting.
    fn polished(&self, point: Point) -> ([f64; COLUMNS], f64) {
        let Some(exponents) = exponents(point) else { return ([0.0; COLUMNS], f64::INFINITY) };
        let columns: Vec<[f64; COLUMNS]> =
            self.rows.iter().map(|row| self.columns(row, exponents)).collect();
        let mut best = (self.project(point).0, f64::INFINITY);
        let mut x = best.0;
        for _ in 0..ROUNDS {
            let mut normal = Normal::default();
            let mut sum = 0.0;
            for (row, columns) in self.rows.iter().zip(&columns) {
                let predicted = dot(columns, &x).max(1e-12);
                let error = libm::log(predicted) - row.ln_loss;
                sum += row.weight * huber(error);
                let weight = row.weight * (HUBER_DELTA / error.abs().max(1e-15)).min(1.0);
                normal.add(columns.map(|column| column / predicted), 1.0 - error, weight);
            }
            if sum < best.1 {
                let is_settled = best.1 - sum < 1e-9 * best.1;
                best = (x, sum);
                if is_settled {
                    break;
                }
            } else if best.1.is_finite() {
                break;
            }
            x = normal.solve().0;
        }
        best
    }

    fn columns(&self, row: &Row, [size, text]: Point) -> [f64; COLUMNS] {
        let text = if self.has_text { libm::exp(-text * row.text) } else { 0.0 };
        [1.0, libm::exp(-size * row.size), text]
    }

    fn law(&self, point: Point, [floor, size, text]: [f64; COLUMNS]) -> Law {
        let [alpha, beta] = exponents(point).unwrap_or([EXPONENT_MIN; 2]);
        Law {
            floor,
            size_scale: size * libm::exp(alpha * self.mean_size),
            size_exponent: alpha,
            text_scale: text * libm::exp(beta * self.mean_text),
            text_exponent: if self.has_text { beta } else { 0.0 },
        }
    }
}

fn exponents(point: Point) -> Option<Point> {
    let exponents = point.map(libm::exp);
    exponents
        .iter()
        .all(|exponent| (EXPONENT_MIN..=EXPONENT_MAX).contains(exponent))
        .then_some(exponents)
}

fn dot(one: &[f64; COLUMNS], other: &[f64; COLUMNS]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn huber(error: f64) -> f64 {
    let size = error.abs();
    if size <= HUBER_DELTA {
        0.5 * size * size
    } else {
        HUBER_DELTA * (size - 0.5 * HUBER_DELTA)
    }
}
