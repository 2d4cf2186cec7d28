//! Deterministic choices from an assignment's seed, the same on every machine and for ever.

use std::collections::HashMap;

use node_core::id::{Digest, DigestBuilder};

/// A stream of numbers from a seed and a purpose.
///
/// Number `i` is the first eight bytes, little-endian, of SHA-256 over the domain
/// `assay/meter-stream/v1`, the seed, the purpose and `i` (each with its length).
#[derive(Debug)]
pub(super) struct SeedStream {
    base: DigestBuilder,
    counter: u64,
}

impl SeedStream {
    pub(super) fn new(seed: &Digest, purpose: &str) -> Self {
        let base =
            DigestBuilder::new("assay/meter-stream/v1").bytes(&seed.0).bytes(purpose.as_bytes());
        Self { base, counter: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        let digest = self.base.clone().number(self.counter).finish();
        self.counter = self.counter.wrapping_add(1);
        u64::from_le_bytes(digest.first_chunk::<8>().copied().unwrap_or_default())
    }

    /// A number below `bound`, each equally likely up to `bound` in 2^64. Zero if `bound` is.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// `count` different numbers below `bound`, in random order; fewer if there are not as many.
    ///
    /// A Fisher-Yates shuffle that keeps only the places it touched.
    pub(super) fn distinct_below(&mut self, bound: u64, count: u64) -> Vec<u64> {
        let mut moved: HashMap<u64, u64> = HashMap::new();
        (0..count.min(bound))
            .map(|place| {
                let other = place + self.below(bound - place);
                let here = moved.get(&place).copied().unwrap_or(place);
                let there = moved.insert(other, here).unwrap_or(other);
                if other == place {
                    here
                } else {
                    there
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes() {
        let mut stream = SeedStream::new(&Digest([7; 32]), "train");
        let first: Vec<u64> = (0..3).map(|_| stream.below(1_000_000)).collect();
        assert_eq!(first, [68_224, 172_819, 306_616]);
    }

    #[test]
    fn distinct_numbers_are_a_permutation_and_their_beginning_depends_on_the_seed() {
        let all = |byte| SeedStream::new(&Digest([byte; 32]), "x").distinct_below(100, 100);
        let mut sorted = all(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<u64>>());
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        let few = SeedStream::new(&Digest([1; 32]), "x").distinct_below(100, 5);
        assert_eq!(few, all(1)[..5]);
        assert_eq!(SeedStream::new(&Digest([1; 32]), "x").distinct_below(3, 9).len(), 3);
    }
}
