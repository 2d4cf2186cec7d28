//! Sketches as they are remembered: most of them without their samples.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{similarity_max_ppm, Sketch, BANDS, SAMPLE_MAX};
use crate::policy::DuplicateRules;
use crate::similarity::similarity_ppm;

/// Sketches with one key in common that are compared with each other at a start. Lower: samples
/// are remembered that nobody asks for. Higher: who gives many works one key delays a start.
pub(super) const SHARERS_MAX: usize = 64;

/// A sketch whose sample may be away.
///
/// A sample is most of what there is to remember of a work, and few works are like another one.
/// Of the others it is read again where it is stored, when something comes that the search finds
/// them by.
pub struct KnownSketch {
    shingles: u32,
    pub(super) bands: [u32; BANDS],
    sample: OnceLock<Box<[u32]>>,
}

impl KnownSketch {
    /// A sketch without its sample.
    #[must_use]
    pub fn outline(sketch: &Sketch) -> Self {
        Self { shingles: sketch.shingles, bands: sketch.bands, sample: OnceLock::new() }
    }

    /// How many shingles the submission has.
    #[must_use]
    pub fn shingles(&self) -> u32 {
        self.shingles
    }

    /// Whether its sample is here.
    #[must_use]
    pub fn has_sample(&self) -> bool {
        self.sample.get().is_some()
    }

    /// The same without its sample.
    #[must_use]
    pub fn without_sample(&self) -> Self {
        Self { shingles: self.shingles, bands: self.bands, sample: OnceLock::new() }
    }

    /// Takes in the sample again, if it is that of this sketch; one that is here stays.
    ///
    /// A content that was judged by two policies may have two sketches: another way to shingles
    /// (`FINGERPRINT_VERSION`) gives other keys as well as another sample.
    pub fn recall(&self, sketch: Sketch) {
        if self.is_of(&sketch) {
            // The same sketch has the same sample.
            drop(self.sample.set(sketch.sample));
        }
    }

    /// Whether it is what is remembered of this sketch.
    #[must_use]
    pub fn is_of(&self, sketch: &Sketch) -> bool {
        (self.shingles, self.bands) == (sketch.shingles, sketch.bands)
    }

    /// Whether the sample can have a say when these two are judged: [`super::judge`] looks at none
    /// where one of them is too small for the rules, or they differ too much in size to be alike.
    #[must_use]
    pub(crate) fn can_decide(&self, sketch: &Sketch, rules: &DuplicateRules) -> bool {
        self.shingles.min(sketch.shingles) >= rules.shingles_min
            && similarity_max_ppm(self.shingles, sketch.shingles) >= u64::from(rules.held_ppm)
    }

    /// Whether the search finds it by one of these keys.
    #[must_use]
    pub fn has_one_of(&self, keys: &BTreeSet<u32>) -> bool {
        self.bands.iter().any(|key| keys.contains(key))
    }

    /// The share of the shingles of both that both have, in millionths: exact where the samples
    /// hold all of them, else estimated. `None` where a sample is away.
    #[must_use]
    pub fn similarity_ppm(&self, other: &Self) -> Option<u32> {
        let (sample, other) = (self.sample.get()?, other.sample.get()?);
        Some(similarity_ppm(sample, other, SAMPLE_MAX))
    }

    /// The largest similarity that two sets of these sizes can have, in millionths.
    pub(super) fn similarity_max_ppm(&self, other: &Self) -> u64 {
        similarity_max_ppm(self.shingles, other.shingles)
    }
}

impl fmt::Debug for KnownSketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownSketch")
            .field("shingles", &self.shingles)
            .field("sample", &self.sample.get().map(|sample| sample.len()))
            .finish_non_exhaustive()
    }
}

/// Which of these are similar by `least_ppm` or more to another one that the search finds by them,
/// by their places. Those of a key that more than [`SHARERS_MAX`] have are not looked at, and taken
/// for similar.
#[must_use]
pub(crate) fn similar_ones(sketches: &[&KnownSketch], least_ppm: u32) -> BTreeSet<usize> {
    let keys_of = |(place, known): (usize, &&KnownSketch)| known.bands.map(|key| (key, place));
    let mut keys: Vec<(u32, usize)> = sketches.iter().enumerate().flat_map(keys_of).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut similar = BTreeSet::new();
    for sharers in keys.chunk_by(|(key, _), (next, _)| key == next) {
        if sharers.len() > SHARERS_MAX {
            similar.extend(sharers.iter().map(|(_, place)| *place));
            continue;
        }
        for (number, (_, one)) in sharers.iter().enumerate() {
            for (_, other) in sharers.iter().skip(number.saturating_add(1)) {
                let is_known = similar.contains(one) && similar.contains(other);
                if !is_known && are_similar(sketches, *one, *other, least_ppm) {
                    similar.extend([*one, *other]);
                }
            }
        }
    }
    similar
}

fn are_similar(sketches: &[&KnownSketch], one: usize, other: usize, least_ppm: u32) -> bool {
    let (Some(one), Some(other)) = (sketches.get(one), sketches.get(other)) else { return false };
    one.similarity_ppm(other).is_some_and(|ppm| ppm >= least_ppm)
}

/// With its sample.
impl From<Sketch> for KnownSketch {
    fn from(sketch: Sketch) -> Self {
        let known = Self::outline(&sketch);
        known.recall(sketch);
        known
    }
}

/// With its sample.
impl From<Sketch> for Arc<KnownSketch> {
    fn from(sketch: Sketch) -> Self {
        Self::new(sketch.into())
    }
}
