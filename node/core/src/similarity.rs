//! How much two sets have in common (Jaccard), of their smallest members.

use crate::policy::PPM;

/// The share of the members of either set that both have, in parts per million: exact while the
/// sets together have at most `max` members, beyond that an estimate from the `max` smallest. Two
/// empty sets have nothing in common.
///
/// - `one`, `other`: members, ascending, each once.
pub(crate) fn similarity_ppm<T: Ord>(one: &[T], other: &[T], max: usize) -> u32 {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let (mut either, mut both) = (0_usize, 0_u64);
    while either < max {
        match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                both = both.saturating_add(1);
                left.next();
                right.next();
            }
            (Some(a), Some(b)) if a < b => drop(left.next()),
            (_, Some(_)) => drop(right.next()),
            (Some(_), None) => drop(left.next()),
        }
        either = either.saturating_add(1);
    }
    let ppm = both.saturating_mul(PPM).checked_div(either as u64).unwrap_or_default();
    u32::try_from(ppm).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_both_have_counts_as_a_part_of_what_either_has() {
        assert_eq!(similarity_ppm::<u8>(&[], &[], 9), 0);
        assert_eq!(similarity_ppm(&[1, 2], &[1, 2], 9), 1_000_000);
        assert_eq!(similarity_ppm(&[1, 2, 3], &[2, 3, 4], 9), 500_000);
        assert_eq!(similarity_ppm(&[1], &[2, 3], 9), 0);
        assert_eq!(similarity_ppm(&[1, 2, 3], &[1, 2, 4], 2), 1_000_000, "the smallest ones");
    }

    proptest! {
        #[test]
        fn it_is_what_counting_the_smallest_of_the_union_gives(
            one in proptest::collection::btree_set(0_u8..60, 0..40),
            other in proptest::collection::btree_set(0_u8..60, 0..40),
            max in 1_usize..50,
        ) {
            let union: BTreeSet<u8> = one.union(&other).copied().collect();
            let smallest: Vec<u8> = union.into_iter().take(max).collect();
            let both = smallest.iter().filter(|x| one.contains(x) && other.contains(x)).count();
            let expected = (both * 1_000_000).checked_div(smallest.len()).unwrap_or_default();
            let sorted = |set: &BTreeSet<u8>| set.iter().copied().collect::<Vec<u8>>();
            let got = similarity_ppm(&sorted(&one), &sorted(&other), max);
            prop_assert_eq!(got as usize, expected);
            prop_assert_eq!(got, similarity_ppm(&sorted(&other), &sorted(&one), max));
        }
    }
}
