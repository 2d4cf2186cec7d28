//! One row per validator, one column per miner; both by uid.

use super::share::{normalize, Share};
use std::collections::BTreeMap;

/// The entries of a row that are not zero, by column.
pub(crate) type Row = BTreeMap<usize, Share>;

/// A row per uid.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) rows: Vec<Row>,
}

impl Matrix {
    /// Rows as they are stored, in 65535ths. Columns the matrix does not have are passed over.
    pub(crate) fn stored(rows: &[Vec<(u16, u16)>]) -> Self {
        let n = rows.len();
        let entry = |(column, value): &(u16, u16)| (usize::from(*column), Share::of_u16(*value));
        let row = |row: &Vec<(u16, u16)>| {
            row.iter().map(entry).filter(|(column, v)| *column < n && *v > Share::ZERO).collect()
        };
        Self { rows: rows.iter().map(row).collect() }
    }

    /// An entry.
    pub(crate) fn at(&self, row: usize, column: usize) -> Share {
        self.rows[row].get(&column).copied().unwrap_or_default()
    }

    /// Keeps the entries for which `keep(row, column)` holds.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize, usize) -> bool) {
        for (i, row) in self.rows.iter_mut().enumerate() {
            row.retain(|j, _| keep(i, *j));
        }
    }

    /// The same places with other values.
    pub(crate) fn map(&self, value: impl Fn(usize, usize, Share) -> Share) -> Self {
        let row = |(i, row): (usize, &Row)| {
            row.iter().map(|(j, share)| (*j, value(i, *j, *share))).collect()
        };
        Self { rows: self.rows.iter().enumerate().map(row).collect() }
    }

    /// Entry by entry `this * share + other * (1 - share)`.
    pub(crate) fn blend(&self, other: &Self, share: Share) -> Self {
        let rest = Share::ONE.minus(share);
        let row = |(this, other): (&Row, &Row)| {
            let mut row: Row = this.iter().map(|(j, v)| (*j, v.times(share))).collect();
            for (j, value) in other {
                let entry = row.entry(*j).or_default();
                *entry = entry.plus(value.times(rest));
            }
            row
        };
        Self { rows: self.rows.iter().zip(&other.rows).map(row).collect() }
    }

    /// Scales each row so that it sums to 1.
    pub(crate) fn normalize_rows(&mut self) {
        for row in &mut self.rows {
            let mut values: Vec<Share> = row.values().copied().collect();
            normalize(&mut values);
            for (entry, value) in row.values_mut().zip(values) {
                *entry = value;
            }
        }
    }

    /// Scales each column so that it sums to 1.
    pub(crate) fn normalize_columns(&mut self) {
        let sums = self.columns(Share::plus);
        *self = self.map(|_, column, share| share.over(sums[column]));
    }

    /// Each column's highest entry as 65535, as it is stored. Zeros are left out.
    pub(crate) fn upscaled_columns(&self) -> Vec<Vec<(u16, u16)>> {
        let highest = self.columns(Share::max);
        let entry = |(column, share): (&usize, &Share)| {
            let value = share.over(highest[*column]).to_u16();
            (value > 0).then(|| Some((u16::try_from(*column).ok()?, value))).flatten()
        };
        self.rows.iter().map(|row| row.iter().filter_map(entry).collect()).collect()
    }

    /// Each column folded into one number.
    fn columns(&self, fold: impl Fn(Share, Share) -> Share) -> Vec<Share> {
        let mut columns = vec![Share::ZERO; self.rows.len()];
        for (column, share) in self.rows.iter().flatten() {
            columns[*column] = fold(columns[*column], *share);
        }
        columns
    }

    /// By column, the sum of each row's entry times the row's share.
    pub(crate) fn weighted_columns(&self, by_row: &[Share]) -> Vec<Share> {
        self.map(|row, _, share| share.times(by_row[row])).columns(Share::plus)
    }

    /// By row, the sum of each entry times its column's share.
    pub(crate) fn weighted_rows(&self, by_column: &[Share]) -> Vec<Share> {
        let sum = |row: &Row| row.iter().map(|(j, share)| share.times(by_column[*j])).sum();
        self.rows.iter().map(sum).collect()
    }

    /// By row, the sum of its entries.
    pub(crate) fn row_sums(&self) -> Vec<Share> {
        self.rows.iter().map(|row| row.values().copied().sum()).collect()
    }
}
