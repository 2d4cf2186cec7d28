//! From points to the `u16` weights that the chain stores.
//!
//! The largest weight is always `u16::MAX`: then the chain's own scaling changes nothing and what
//! is read back equals what was sent, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Digest, DigestBuilder, Hotkey, Uid};
use crate::reward::SHARES_TOTAL;
use crate::view::ChainView;

/// Why no vector can be made or sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// No entry above zero. The caller keeps what is on chain; zeros are never submitted.
    #[error("no hotkey has points")]
    AllZero,
    /// A part is to be burned, and nobody registered burns it.
    #[error(
        "{burned} of {SHARES_TOTAL} parts are to be burned, and the subnet's owner has no place"
    )]
    NobodyBurns {
        /// Parts of [`SHARES_TOTAL`].
        burned: u64,
    },
    /// Nothing can be compared.
    #[error("the references that others are measured by are not measured yet")]
    NoReference,
    /// A uid appears twice.
    #[error("uid {uid} appears twice")]
    DuplicateUid {
        /// Which.
        uid: Uid,
    },
    /// A uid is not in the subnet.
    #[error("uid {uid} is not in the subnet of {neurons} neurons")]
    UnknownUid {
        /// Which.
        uid: Uid,
        /// Neurons of the subnet.
        neurons: usize,
    },
    /// Fewer entries than the chain accepts.
    #[error("the vector has {got} entries, the chain wants at least {min}")]
    TooShort {
        /// Entries.
        got: usize,
        /// Entries wanted.
        min: usize,
    },
    /// The largest weight is not `u16::MAX`.
    #[error("the largest weight is {got}, not 65535")]
    NotScaled {
        /// The largest weight.
        got: u16,
    },
}

/// Scales points to weights, the largest becoming `u16::MAX`.
///
/// - `points`: one entry per uid, any order (integers, so that two validators with the same
///   receipts get the same bytes).
/// - Result: same length and order. Rounds down, but a positive score never rounds to zero.
///
/// # Errors
///
/// [`VectorError::AllZero`] if no entry is above zero, also when `points` is empty.
///
/// Source: the chain scales the same way, see `set_weights` in subtensor.
pub fn scale_to_u16(points: &[(Uid, u64)]) -> Result<Vec<(Uid, u16)>, VectorError> {
    let largest = points.iter().map(|(_, points)| *points).max().unwrap_or(0);
    if largest == 0 {
        return Err(VectorError::AllZero);
    }
    let scale = |points: u64| {
        let scaled = u128::from(points)
            .saturating_mul(u128::from(u16::MAX))
            .checked_div(u128::from(largest))
            .unwrap_or(0);
        let weight = u16::try_from(scaled).unwrap_or(u16::MAX);
        if points > 0 {
            weight.max(1)
        } else {
            0
        }
    };
    Ok(points.iter().map(|(uid, points)| (*uid, scale(*points))).collect())
}

/// The vector for `view`: each hotkey's points at its present uid, ascending by uid, padded with
/// zeros up to the chain's least length.
///
/// Hotkeys that are not registered any more get nothing.
///
/// # Errors
///
/// As [`scale_to_u16`].
pub fn vector(
    view: &ChainView,
    points: &BTreeMap<Hotkey, u64>,
) -> Result<Vec<(Uid, u16)>, VectorError> {
    let mut by_uid: Vec<(Uid, u64)> = view
        .neurons
        .iter()
        .filter_map(|neuron| points.get(&neuron.hotkey).map(|points| (neuron.uid, *points)))
        .filter(|(_, points)| *points > 0)
        .collect();
    if by_uid.is_empty() {
        return Err(VectorError::AllZero);
    }
    let missing = least_length(view).saturating_sub(by_uid.len());
    let used: BTreeSet<Uid> = by_uid.iter().map(|(uid, _)| *uid).collect();
    let padding = view.neurons.iter().map(|neuron| neuron.uid).filter(|uid| !used.contains(uid));
    by_uid.extend(padding.take(missing).map(|uid| (uid, 0)));
    by_uid.sort_unstable();
    scale_to_u16(&by_uid)
}

/// Checks a vector against the chain's limits as of `view`.
///
/// # Errors
///
/// The first broken limit.
pub fn check(view: &ChainView, vector: &[(Uid, u16)]) -> Result<(), VectorError> {
    let mut seen = BTreeSet::new();
    for (uid, _) in vector {
        if !seen.insert(*uid) {
            return Err(VectorError::DuplicateUid { uid: *uid });
        }
        if usize::from(uid.0) >= view.neurons.len() {
            return Err(VectorError::UnknownUid { uid: *uid, neurons: view.neurons.len() });
        }
    }
    let largest = vector.iter().map(|(_, weight)| *weight).max().unwrap_or(0);
    if largest == 0 {
        return Err(VectorError::AllZero);
    }
    if largest != u16::MAX {
        return Err(VectorError::NotScaled { got: largest });
    }
    let min = least_length(view);
    if vector.len() < min {
        return Err(VectorError::TooShort { got: vector.len(), min });
    }
    Ok(())
}

fn least_length(view: &ChainView) -> usize {
    usize::from(view.params.min_allowed_weights).min(view.neurons.len())
}

/// Digest of a vector, for the journal.
#[must_use]
pub fn digest(vector: &[(Uid, u16)]) -> Digest {
    let start = DigestBuilder::new("assay/vector/v1").number(vector.len() as u64);
    let all = vector.iter().fold(start, |digest, (uid, weight)| {
        digest.number(u64::from(uid.0)).number(u64::from(*weight))
    });
    Digest(all.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlockHash, Netuid};
    use crate::unit::{BlockCount, BlockNumber, UnixMs};
    use crate::view::{Neuron, SubnetParams};
    use proptest::prelude::*;

    fn view(neurons: u8, min_allowed_weights: u16) -> ChainView {
        let neuron = |uid: u8| Neuron {
            uid: Uid(uid.into()),
            hotkey: Hotkey([uid; 32]),
            stake_rao: 0,
            validator_permit: false,
            ..Neuron::default()
        };
        ChainView {
            genesis: BlockHash([0; 32]),
            netuid: Netuid(1),
            number: BlockNumber(1),
            hash: BlockHash([1; 32]),
            timestamp: UnixMs(0),
            spec_version: 1,
            neurons: (0..neurons).map(neuron).collect(),
            params: SubnetParams {
                tempo: BlockCount(10),
                min_allowed_weights,
                weights_rate_limit: BlockCount(1),
                stake_threshold_rao: 10,
                ..SubnetParams::default()
            },
            ..ChainView::default()
        }
    }

    fn points(of: &[(u8, u64)]) -> BTreeMap<Hotkey, u64> {
        of.iter().map(|(hotkey, points)| (Hotkey([*hotkey; 32]), *points)).collect()
    }

    #[test]
    fn each_hotkey_is_weighed_at_its_present_uid_and_strangers_are_left_out() {
        let vector = vector(&view(4, 1), &points(&[(3, 50), (1, 100), (99, 1_000)])).unwrap();
        assert_eq!(vector, vec![(Uid(1), 65_535), (Uid(3), 32_767)]);
    }

    #[test]
    fn a_short_vector_is_padded_with_zeros_to_what_the_chain_accepts() {
        let padded = vector(&view(4, 3), &points(&[(2, 7)])).unwrap();
        assert_eq!(padded, vec![(Uid(0), 0), (Uid(1), 0), (Uid(2), 65_535)]);
        let whole = vector(&view(2, 8), &points(&[(1, 7)])).unwrap();
        assert_eq!(whole, vec![(Uid(0), 0), (Uid(1), 65_535)], "never more than the subnet has");
        assert_eq!(check(&view(4, 3), &padded), Ok(()));
        assert_eq!(check(&view(2, 8), &whole), Ok(()));
    }

    #[test]
    fn nobody_with_points_is_no_vector() {
        for points in [points(&[]), points(&[(1, 0)]), points(&[(99, 5)])] {
            assert_eq!(vector(&view(4, 1), &points), Err(VectorError::AllZero));
        }
    }

    #[test]
    fn case_13_each_bad_vector_is_refused_with_its_reason() {
        let view = view(4, 2);
        let check = |vector: &[(u16, u16)]| {
            check(&view, &vector.iter().map(|(uid, w)| (Uid(*uid), *w)).collect::<Vec<_>>())
        };
        assert_eq!(check(&[(0, 65_535), (3, 0)]), Ok(()));
        let duplicate = Err(VectorError::DuplicateUid { uid: Uid(1) });
        assert_eq!(check(&[(1, 65_535), (1, 65_535)]), duplicate);
        let unknown = Err(VectorError::UnknownUid { uid: Uid(4), neurons: 4 });
        assert_eq!(check(&[(0, 65_535), (4, 1)]), unknown);
        assert_eq!(check(&[(0, 0), (1, 0)]), Err(VectorError::AllZero));
        assert_eq!(check(&[]), Err(VectorError::AllZero));
        assert_eq!(check(&[(0, 65_534), (1, 1)]), Err(VectorError::NotScaled { got: 65_534 }));
        assert_eq!(check(&[(0, 65_535)]), Err(VectorError::TooShort { got: 1, min: 2 }));
    }

    #[test]
    fn the_largest_becomes_65535_and_order_is_kept() {
        let points = [(Uid(3), 10), (Uid(1), 20), (Uid(2), 70)];
        let weights = scale_to_u16(&points).unwrap();
        assert_eq!(weights, vec![(Uid(3), 9362), (Uid(1), 18724), (Uid(2), 65535)]);
    }

    #[test]
    fn zeros_are_never_a_vector() {
        assert_eq!(scale_to_u16(&[]), Err(VectorError::AllZero));
        assert_eq!(scale_to_u16(&[(Uid(0), 0)]), Err(VectorError::AllZero));
    }

    proptest! {
        #[test]
        fn every_vector_passes_the_check_and_gives_no_positive_score_nothing(
            scores in proptest::collection::vec(0u64..u64::MAX, 1..32),
            neurons in 1u8..40,
            min in 0u16..50,
        ) {
            let view = view(neurons, min);
            let points = (0u8..).zip(&scores).map(|(uid, points)| (Hotkey([uid; 32]), *points));
            let points: BTreeMap<_, _> = points.collect();
            let Ok(vector) = vector(&view, &points) else { return Ok(()) };
            prop_assert_eq!(check(&view, &vector), Ok(()));
            prop_assert!(vector.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (uid, weight) in vector {
                let hotkey = view.neurons[usize::from(uid.0)].hotkey;
                prop_assert_eq!(weight > 0, points.get(&hotkey).is_some_and(|points| *points > 0));
            }
        }

        #[test]
        fn scaling_keeps_the_order_of_points(
            points in proptest::collection::vec(0u64..u64::MAX, 1..64),
        ) {
            let points: Vec<_> = points.iter().zip(0u16..).map(|(p, uid)| (Uid(uid), *p)).collect();
            let Ok(weights) = scale_to_u16(&points) else { return Ok(()); };
            prop_assert_eq!(weights.iter().map(|(_, w)| *w).max(), Some(u16::MAX));
            for (one, other) in points.iter().zip(&weights).flat_map(|a| {
                points.iter().zip(&weights).map(move |b| (a, b))
            }) {
                if one.0.1 > other.0.1 {
                    prop_assert!(one.1.1 >= other.1.1);
                }
            }
        }
    }
}
