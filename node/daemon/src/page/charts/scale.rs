//! A scale whose lines stand at round numbers.

use super::canvas::length;

/// What a step may be, of a power of ten.
const ROUND: [u64; 3] = [1, 2, 5];

/// Powers of ten: from what is still shown of a number, four decimals, to above all numbers.
const EXPONENTS: std::ops::Range<u32> = 2..11;

/// A scale of numbers that are kept times 1e6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// Where it begins, a multiple of the step.
    from: u64,
    /// Where it ends, as well, and behind its beginning.
    to: u64,
    /// Between two lines.
    step: u64,
}

impl Scale {
    /// The one with the smallest round step that needs no more than some lines from below `least`
    /// to above `most`.
    pub(super) fn of(least: u32, most: u32, lines_max: u64) -> Self {
        let (least, most) = (u64::from(least), u64::from(most));
        let with_step = |step: u64| {
            let from = least / step * step;
            Self { from, to: (most.div_ceil(step) * step).max(from + step), step }
        };
        let has_few_lines = |scale: &Self| (scale.to - scale.from) / scale.step < lines_max;
        let steps = EXPONENTS.flat_map(|exponent| ROUND.map(|round| round * 10_u64.pow(exponent)));
        let whole = with_step(10_u64.pow(EXPONENTS.end));
        steps.map(with_step).find(has_few_lines).unwrap_or(whole)
    }

    /// Where a value stands between beginning (0) and end (1).
    pub(super) fn part(&self, value: u64) -> f64 {
        let value = value.clamp(self.from, self.to);
        length(value - self.from) / length(self.to - self.from)
    }

    /// Where its lines stand, ascending.
    pub(super) fn lines(self) -> impl Iterator<Item = u64> {
        let count = (self.to - self.from) / self.step;
        (0..=count).map(move |line| self.from + line * self.step)
    }

    /// A line's number, with as many decimals as the step has.
    pub(super) fn name(&self, value: u64) -> String {
        let is_shown = |decimals: &u32| self.step.is_multiple_of(10_u64.pow(6 - decimals));
        let decimals = (0..6).find(is_shown).unwrap_or(6);
        let (whole, rest) = (value / 1_000_000, value % 1_000_000 / 10_u64.pow(6 - decimals));
        match usize::try_from(decimals).unwrap_or_default() {
            0 => whole.to_string(),
            width => format!("{whole}.{rest:0width$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(least: u32, most: u32) -> Vec<String> {
        let scale = Scale::of(least, most, 6);
        scale.lines().map(|line| scale.name(line)).collect()
    }

    #[test]
    fn lines_stand_at_round_numbers_around_what_is_shown() {
        assert_eq!(names(3_353_961, 8_000_000), ["3", "4", "5", "6", "7", "8"]);
        assert_eq!(names(1_904_250, 2_111_000), ["1.90", "1.95", "2.00", "2.05", "2.10", "2.15"]);
        assert_eq!(names(0, u32::MAX), ["0", "1000", "2000", "3000", "4000", "5000"]);
    }

    #[test]
    fn one_value_alone_stands_in_a_scale_too() {
        let scale = Scale::of(2_000_000, 2_000_000, 6);
        assert!(scale.part(2_000_000).abs() < f64::EPSILON && scale.lines().count() == 2);
        assert_eq!(names(2_000_000, 2_000_000), ["2.0000", "2.0001"]);
    }

    #[test]
    fn every_value_stands_between_beginning_and_end() {
        for (least, most) in [(0, 0), (0, 1), (7, 1_000_003), (u32::MAX - 1, u32::MAX)] {
            let scale = Scale::of(least, most, 6);
            assert!((2..=6).contains(&scale.lines().count()), "{scale:?}");
            assert!(scale.from <= u64::from(least) && u64::from(most) <= scale.to, "{scale:?}");
            assert!((0.0..=1.0).contains(&scale.part(u64::from(most))), "{scale:?}");
        }
    }
}
