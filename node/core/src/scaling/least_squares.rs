//! Least squares with at most three unknowns that may not be negative.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "indices stay below the arrays' fixed length"
)]

/// Unknowns at most.
pub(super) const COLUMNS: usize = 3;

/// Sums over rows, from which every subset of columns can be solved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Normal {
    products: [[f64; COLUMNS]; COLUMNS],
    targets: [f64; COLUMNS],
    square: f64,
}

impl Normal {
    /// Adds a row: `weight * (row . x - target)^2`.
    pub(super) fn add(&mut self, row: [f64; COLUMNS], target: f64, weight: f64) {
        for i in 0..COLUMNS {
            self.targets[i] += weight * row[i] * target;
            for j in 0..=i {
                self.products[i][j] += weight * row[i] * row[j];
            }
        }
        self.square += weight * target * target;
    }

    /// The best non-negative unknowns, with columns of zeros left at zero, and their squared error.
    ///
    /// With three columns there are seven sets of positive ones. All are tried unless the whole
    /// set is non-negative, when it is best.
    pub(super) fn solve(&self) -> ([f64; COLUMNS], f64) {
        let mut best = ([0.0; COLUMNS], self.square);
        for set in (1_usize..1 << COLUMNS).rev() {
            let Some(x) = self.solve_set(set) else { continue };
            let is_feasible = x.iter().all(|value| *value >= 0.0);
            let error = self.error(&x);
            if is_feasible && error < best.1 {
                best = (x, error);
            }
            if is_feasible && set + 1 == 1 << COLUMNS {
                break;
            }
        }
        best
    }

    /// Gaussian elimination of the columns in `set`, by Cholesky's pivots.
    fn solve_set(&self, set: usize) -> Option<[f64; COLUMNS]> {
        let has = |column: usize| set >> column & 1 == 1;
        let mut lower = [[0.0; COLUMNS]; COLUMNS];
        let mut y = [0.0; COLUMNS];
        for i in (0..COLUMNS).filter(|i| has(*i)) {
            let mut target = self.targets[i];
            for j in (0..=i).filter(|j| has(*j)) {
                let mut sum = self.products[i][j];
                for k in (0..j).filter(|k| has(*k)) {
                    sum -= lower[i][k] * lower[j][k];
                }
                if i == j {
                    if sum <= self.products[i][i] * 1e-13 || !sum.is_finite() {
                        return None;
                    }
                    lower[i][i] = libm::sqrt(sum);
                } else {
                    lower[i][j] = sum / lower[j][j];
                    target -= lower[i][j] * y[j];
                }
            }
            y[i] = target / lower[i][i];
        }
        let mut x = [0.0; COLUMNS];
        for i in (0..COLUMNS).rev().filter(|i| has(*i)) {
            let mut value = y[i];
            for k in (i + 1..COLUMNS).filter(|k| has(*k)) {
                value -= lower[k][i] * x[k];
            }
            x[i] = value / lower[i][i];
        }
        Some(x)
    }

    fn error(&self, x: &[f64; COLUMNS]) -> f64 {
        let mut error = self.square;
        for i in 0..COLUMNS {
            error -= 2.0 * x[i] * self.targets[i];
            for j in 0..COLUMNS {
                let (row, column) = (i.max(j), i.min(j));
                error += x[i] * x[j] * self.products[row][column];
            }
        }
        error.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solve(rows: &[([f64; 3], f64)]) -> [f64; 3] {
        let mut normal = Normal::default();
        rows.iter().for_each(|(row, target)| normal.add(*row, *target, 1.0));
        normal.solve().0
    }

    #[test]
    fn an_exact_system_is_solved_exactly() {
        let rows = [([1.0, 2.0, 0.0], 5.0), ([1.0, 0.0, 1.0], 4.0), ([1.0, 1.0, 1.0], 6.0)];
        let x = solve(&rows);
        for (got, expected) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((got - expected).abs() < 1e-9, "{x:?}");
        }
    }

    #[test]
    fn an_unknown_that_would_be_negative_is_zero_and_the_others_are_best_without_it() {
        let x = solve(&[([1.0, 0.0, 0.0], 2.0), ([1.0, 1.0, 0.0], 1.0)]);
        assert!((x[0] - 1.5).abs() < 1e-12 && x[1] == 0.0 && x[2] == 0.0, "{x:?}");
    }
}
