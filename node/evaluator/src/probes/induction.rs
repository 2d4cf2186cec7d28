//! Keys with values, then one of the keys: which value was beside it?
//!
//! Keys differ from each other; values are drawn each for itself; both from one alphabet, so that
//! a token alone does not say which of the two it is.

use std::collections::BTreeMap;

use super::stream::Stream;
use super::{count, Example, DATA, PAD, SEPARATOR};

/// Different data tokens: ten for three pairs, as in the published task, and three for each pair
/// where there are more.
pub(super) fn alphabet(pairs: u16) -> u16 {
    pairs.saturating_mul(3).max(10)
}

/// `k1 v1 .. kn vn | k _`
pub(super) fn example(stream: &mut Stream, pairs: u16) -> Example {
    let keys = stream.shuffled(alphabet(pairs));
    let shown: Vec<(u16, u16)> = keys
        .iter()
        .take(usize::from(pairs))
        .map(|key| (DATA + key, DATA + stream.below(alphabet(pairs))))
        .collect();
    let (key, value) = shown[usize::from(stream.below(pairs))];
    let mut inputs: Vec<u16> = shown.iter().flat_map(|(key, value)| [*key, *value]).collect();
    inputs.extend([SEPARATOR, key, PAD]);
    let last = inputs.len() - 1;
    Example { inputs, answers: vec![(last, value)] }
}

/// The loss of the best reader that knows how often each token is among the pairs, but neither
/// the order nor the query.
///
/// Of the ways to part the tokens into `n` different keys and `n` values, one with keys `S` is as
/// likely as the product of the counts of `S` says. So with elementary symmetric polynomials `e`
/// of the counts, a token is a key with probability `count * e(n - 1, without it) / e(n)`, and how
/// often it is a value is its count less that.
pub(super) fn floor(example: &Example, pairs: u16) -> f64 {
    let pairs = usize::from(pairs);
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for token in example.inputs.iter().take(2 * pairs) {
        *counts.entry(*token).or_default() += 1;
    }
    let Some((_, answer)) = example.answers.first() else { return 0.0 };
    let all = counts.values().copied();
    let others = counts.iter().filter(|(token, _)| *token != answer).map(|(_, count)| *count);
    let of_answer = count(counts.get(answer).copied().unwrap_or_default());
    let is_key = of_answer * symmetric(others, pairs - 1) / symmetric(all, pairs);
    -libm::log((of_answer - is_key) / count(pairs))
}

/// The sum of the products of all `degree` of the values.
fn symmetric(values: impl Iterator<Item = usize>, degree: usize) -> f64 {
    let mut sums = vec![0.0; degree + 1];
    sums[0] = 1.0;
    for value in values {
        for taken in (1..=degree).rev() {
            sums[taken] += count(value) * sums[taken - 1];
        }
    }
    sums[degree]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_polynomials_of_a_known_list() {
        let of = |degree| symmetric([1, 2, 3].into_iter(), degree);
        assert_eq!([of(0), of(1), of(2), of(3)], [1.0, 6.0, 11.0, 6.0]);
    }

    #[test]
    fn of_six_different_tokens_each_may_be_the_answer() {
        let inputs = vec![3, 4, 5, 6, 7, 8, SEPARATOR, 3, PAD];
        let example = Example { inputs, answers: vec![(8, 4)] };
        assert!((floor(&example, 3) - libm::log(6.0)).abs() < 1e-12);
    }

    #[test]
    fn what_is_there_three_times_is_a_value_at_least_twice() {
        // Keys 3, 4, 5 and values 3, 3, 3: only 4 and 5 are keys for sure, so 3 is the answer.
        let inputs = vec![3, 3, 4, 3, 5, 3, SEPARATOR, 4, PAD];
        let example = Example { inputs, answers: vec![(8, 3)] };
        assert!(floor(&example, 3).abs() < 1e-12);
    }
}
