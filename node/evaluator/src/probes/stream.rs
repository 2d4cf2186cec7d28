//! Numbers from a seed, the same on every machine and for ever.

use node_core::id::{Digest, DigestBuilder};

/// A stream of numbers for a seed and a purpose: the words of SHA-256 over the domain
/// `assay/probe-stream/v1`, the seed, the purpose and a counter.
#[derive(Debug)]
pub(super) struct Stream {
    base: DigestBuilder,
    counter: u64,
    left: Vec<u64>,
}

impl Stream {
    pub(super) fn new(seed: &Digest, purpose: &str) -> Self {
        let base =
            DigestBuilder::new("assay/probe-stream/v1").bytes(&seed.0).bytes(purpose.as_bytes());
        Self { base, counter: 0, left: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        if self.left.is_empty() {
            let digest = self.base.clone().number(self.counter).finish();
            self.counter = self.counter.wrapping_add(1);
            let words = digest.chunks_exact(8).rev();
            let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            self.left.extend(words.map(word));
        }
        self.left.pop().unwrap_or_default()
    }

    /// A number below `bound`, each equally likely up to `bound` in 2^64. Zero if `bound` is.
    pub(super) fn below(&mut self, bound: u16) -> u16 {
        let product = u128::from(self.next()) * u128::from(bound);
        u16::try_from(product >> 64).unwrap_or_default()
    }

    /// All numbers below `bound` in random order.
    pub(super) fn shuffled(&mut self, bound: u16) -> Vec<u16> {
        let mut all: Vec<u16> = (0..bound).collect();
        for place in (1..bound).rev() {
            all.swap(usize::from(place), usize::from(self.below(place + 1)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes_and_depends_on_seed_and_purpose() {
        let first = |seed, purpose| {
            let mut stream = Stream::new(&Digest([seed; 32]), purpose);
            (0..6).map(|_| stream.below(10_000)).collect::<Vec<_>>()
        };
        assert_eq!(first(7, "x"), first(7, "x"));
        assert_ne!(first(7, "x"), first(8, "x"));
        assert_ne!(first(7, "x"), first(7, "y"));
    }

    #[test]
    fn a_shuffle_has_each_number_once() {
        let mut all = Stream::new(&Digest([1; 32]), "x").shuffled(200);
        assert_ne!(all, (0..200).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
    }
}
