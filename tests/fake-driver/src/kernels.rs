//! What the probe's kernels leave behind, computed on the host.
//!
//! Written from what the kernels are for, not from their text: that the two agree is checked by
//! the probe itself.

/// What is in an allocation.
#[derive(Clone, Debug)]
pub(crate) enum Contents {
    /// Words of a pattern, not written down: a buffer may have many gigabytes.
    Pattern {
        /// Which pattern.
        seed: u32,
        /// Which bits of it are turned round.
        flip: u32,
        /// The word that is wrong, if one is.
        wrong_at: Option<u64>,
    },
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Word `index` of a pattern.
pub(crate) fn pattern(index: u64, seed: u32, flip: u32) -> u32 {
    let (low, high) = (index & 0xffff_ffff, index >> 32);
    let mixed = low.wrapping_mul(2_654_435_761).wrapping_add(high).wrapping_add(u64::from(seed));
    let mixed = u32::try_from(mixed & 0xffff_ffff).unwrap_or_default();
    (mixed ^ (mixed >> 15)) ^ flip
}

/// Entry `index` of the kernel with a known result.
pub(crate) fn known(index: u32, seed: u32) -> u32 {
    (0..64).fold(index ^ seed, |x, _| {
        let x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x ^ (x >> 13)
    })
}

/// `C = A × B` of square matrices, row by row.
pub(crate) fn product(a: &[f32], b: &[f32], side: usize) -> Vec<f32> {
    let mut c = vec![0.0; side * side];
    for (row, out) in a.chunks_exact(side).zip(c.chunks_exact_mut(side)) {
        for (factor, line) in row.iter().zip(b.chunks_exact(side)) {
            for (out, value) in out.iter_mut().zip(line) {
                *out += factor * value;
            }
        }
    }
    c
}

/// Words that are not of the pattern: how many, and the first.
pub(crate) fn wrong_words(contents: &Contents, words: u64, seed: u32, flip: u32) -> (u64, u64) {
    match contents {
        Contents::Pattern { seed: s, flip: f, wrong_at } if (*s, *f) == (seed, flip) => {
            wrong_at.map_or((0, u64::MAX), |at| (1, at))
        }
        Contents::Pattern { .. } => (words, 0),
        Contents::Bytes(bytes) => {
            let words = bytes
                .chunks_exact(4)
                .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
            let wrong = (0..).zip(words).filter(|(at, word)| *word != pattern(*at, seed, flip));
            wrong.fold((0, u64::MAX), |(count, first), (at, _)| (count + 1, first.min(at)))
        }
    }
}

/// The first `len` bytes.
pub(crate) fn bytes(contents: &Contents, len: usize) -> Vec<u8> {
    match contents {
        Contents::Bytes(bytes) => {
            let mut bytes = bytes.clone();
            bytes.resize(len, 0);
            bytes
        }
        Contents::Pattern { seed, flip, wrong_at } => {
            let word = |at: u64| pattern(at, *seed, *flip) ^ u32::from(*wrong_at == Some(at));
            (0..len as u64 / 4).flat_map(|at| word(at).to_le_bytes()).collect()
        }
    }
}

/// Bytes as 32-bit floats.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.chunks_exact(4);
    words.map(|word| f32::from_le_bytes(word.try_into().unwrap_or_default())).collect()
}
