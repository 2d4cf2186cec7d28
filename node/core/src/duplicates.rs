//! Whether a submission's code has the structure of somebody else's earlier work.
//!
//! A submission comes as a set of shingles: 64-bit hashes of small pieces of its code, without
//! names and literals. Two submissions are as similar as the share of the shingles of both that
//! both have (Jaccard). A [`Sketch`] keeps what that takes and no more:
//!
//! - a sample: the [`SAMPLE_MAX`] smallest of the shingles by a fixed hash. Two samples give the
//!   similarity exactly where the sets are no larger than that, and else with a standard error of
//!   `sqrt(s * (1 - s) / SAMPLE_MAX)`: 0.6 % at 0.96 and 1.1 % at 0.85;
//! - [`BANDS`] keys for the search ([`SketchIndex`]): two sketches are compared when one key is the
//!   same in both, for which the chance is `1 - (1 - s^8)^32`: at a similarity of 0.85 all but one
//!   in 26,000 pairs, at 0.96 all.
//!
//! Hashes and constants are fixed, and everything is in whole numbers: all validators with the same
//! works decide the same.
//!
//! Not here: shingles of source files (`node/evaluator`), and which works were accepted
//! (`machine`).

mod index;
mod known;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::admission::{Rejection, Rule};
use crate::id::{Hotkey, SubmissionId};
use crate::limits::clip_detail;
use crate::policy::DuplicateRules;
use crate::priority::Priority;
use crate::similarity::similarity_ppm;
use crate::unit::BlockNumber;

pub use index::{SketchIndex, Work};
pub(crate) use known::similar_ones;
pub use known::KnownSketch;

/// Shingles of a sample. Lower: estimates are worse, by the square root. Higher: a sketch takes
/// four more bytes for each.
pub const SAMPLE_MAX: usize = 1_024;

/// Keys of a sketch for the search.
pub const BANDS: usize = 32;

/// Hashes that make up a key. Lower: honest works are compared more often. Higher: more copies at
/// the limit of being held are missed.
const ROWS: usize = 8;

/// A whole, in millionths.
const WHOLE_PPM: u64 = 1_000_000;

/// What is kept of a submission's shingles.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Sketch {
    shingles: u32,
    bands: [u32; BANDS],
    sample: Box<[u32]>,
}

impl Sketch {
    /// The sketch of a set of shingles.
    #[must_use]
    pub fn of(shingles: &BTreeSet<u64>) -> Self {
        let mut sample: Vec<u32> = shingles.iter().map(|shingle| high(mixed(*shingle))).collect();
        sample.sort_unstable();
        sample.dedup();
        sample.truncate(SAMPLE_MAX);
        let shingles_count = u32::try_from(shingles.len()).unwrap_or(u32::MAX);
        Self { shingles: shingles_count, bands: bands(shingles), sample: sample.into() }
    }

    /// How many shingles the submission has.
    #[must_use]
    pub fn shingles(&self) -> u32 {
        self.shingles
    }

    /// By what the search finds it.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<u32> {
        self.bands.into_iter().collect()
    }

    /// The share of the shingles of both that both have, in millionths: exact where the samples
    /// hold all of them, else estimated. Two empty sketches are not similar.
    #[must_use]
    pub fn similarity_ppm(&self, other: &Self) -> u32 {
        similarity_ppm(&self.sample, &other.sample, SAMPLE_MAX)
    }
}

/// The largest similarity that two sets of these sizes can have, in millionths.
fn similarity_max_ppm(one: u32, other: u32) -> u64 {
    let part = u64::from(one.min(other)).saturating_mul(WHOLE_PPM);
    part.checked_div(u64::from(one.max(other))).unwrap_or_default()
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sketch")
            .field("shingles", &self.shingles)
            .field("sample", &self.sample.len())
            .finish_non_exhaustive()
    }
}

/// Keys of a set, each made of [`ROWS`] minima under as many hash functions.
fn bands(shingles: &BTreeSet<u64>) -> [u32; BANDS] {
    let mut seed = 0_u64;
    let mut minimum = || {
        seed = seed.wrapping_add(GOLDEN);
        let salt = mixed(seed);
        shingles.iter().map(|shingle| mixed(shingle ^ salt)).min().unwrap_or(u64::MAX)
    };
    std::array::from_fn(|band| {
        let start = mixed(band as u64);
        high((0..ROWS).fold(start, |key, _| mixed(key ^ minimum())))
    })
}

/// 2^64 divided by the golden ratio, odd: what splitmix64 counts with.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The mixing function of splitmix64: one number to another that looks like a random one.
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(GOLDEN);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[allow(clippy::cast_possible_truncation, reason = "the upper half fits")]
fn high(number: u64) -> u32 {
    (number >> 32) as u32
}

/// A sketch as it is stored; read with its limits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    shingles: u32,
    bands: [u32; BANDS],
    sample: Vec<u32>,
}

/// Stored parts that no set of shingles has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    /// The sample has more entries than a sample may have, or than the set has shingles.
    #[error("a sample of {got} entries from {shingles} shingles, where {SAMPLE_MAX} are allowed")]
    TooLong {
        /// Entries found.
        got: usize,
        /// Shingles claimed.
        shingles: u32,
    },
    /// The sample's entries do not ascend.
    #[error("the sample's entries do not ascend")]
    NotAscending,
}

impl TryFrom<Parts> for Sketch {
    type Error = SketchError;

    fn try_from(parts: Parts) -> Result<Self, SketchError> {
        let Parts { shingles, bands, sample } = parts;
        let got = sample.len();
        if got > SAMPLE_MAX || got as u64 > u64::from(shingles) {
            return Err(SketchError::TooLong { got, shingles });
        }
        if !sample.is_sorted_by(|a, b| a < b) {
            return Err(SketchError::NotAscending);
        }
        Ok(Self { shingles, bands, sample: sample.into() })
    }
}

impl From<Sketch> for Parts {
    fn from(sketch: Sketch) -> Self {
        let Sketch { shingles, bands, sample } = sketch;
        Self { shingles, bands, sample: sample.into_vec() }
    }
}

/// Whether a submission is somebody else's earlier work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "judgement")]
pub enum Judgement {
    /// No other hotkey's earlier work is similar.
    Unique,
    /// Similar enough for a person to look at.
    Held {
        /// Which work, and how similar.
        likeness: Likeness,
    },
    /// A copy.
    Rejected {
        /// Which work, and how similar.
        likeness: Likeness,
    },
}

impl Judgement {
    /// The rule and the evidence, unless the submission is unique.
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Unique => None,
            Self::Held { likeness } | Self::Rejected { likeness } => {
                let detail = clip_detail(&likeness.to_string());
                let rule = Rule::DuplicateStructure;
                Some(Rejection::new(rule, detail))
            }
        }
    }
}

/// The earlier work that a submission is similar to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likeness {
    /// The earlier submission.
    pub similar_to: SubmissionId,
    /// Who committed to it.
    pub hotkey: Hotkey,
    /// Since when it counts.
    pub block: BlockNumber,
    /// How similar, in millionths.
    pub similarity_ppm: u32,
}

impl fmt::Display for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { similar_to, hotkey, block, similarity_ppm } = self;
        // Tenths of a percent, rounded down: what is just below a limit must not read as it.
        let tenths = similarity_ppm.checked_div(1_000).unwrap_or_default();
        let (percent, tenth) = (
            tenths.checked_div(10).unwrap_or_default(),
            tenths.checked_rem(10).unwrap_or_default(),
        );
        write!(
            f,
            "{percent}.{tenth} % of the code's structure is that of submission {similar_to} by \
             {hotkey} at block {block}, whatever the names, literals and order"
        )
    }
}

/// Compares a submission with the earlier works of other hotkeys.
///
/// - `index`: the works that were accepted.
/// - `sketch`, `priority`: of the submission to judge; whether it is in the index too
///   makes no difference.
/// - Result: the most similar earlier work decides; of equals the earliest. Works whose samples are
///   away are passed over: who drops samples keeps those that could decide.
#[must_use]
pub fn judge(
    index: &SketchIndex,
    rules: &DuplicateRules,
    sketch: &KnownSketch,
    priority: Priority,
) -> Judgement {
    judge_beside(index, rules, sketch, priority, |_, _| true)
}

/// [`judge`], beside those works alone that `counts` says yes of. It is asked last.
#[must_use]
pub fn judge_beside(
    index: &SketchIndex,
    rules: &DuplicateRules,
    sketch: &KnownSketch,
    priority: Priority,
    counts: impl Fn(&SubmissionId, &Work) -> bool,
) -> Judgement {
    let is_enough = |sketch: &KnownSketch| sketch.shingles() >= rules.shingles_min;
    if !is_enough(sketch) {
        return Judgement::Unique;
    }
    let is_earlier = |work: &Work| {
        work.priority.author != priority.author
            && work.priority < priority
            && is_enough(&work.sketch)
    };
    let best = index
        .candidates(sketch)
        .filter(|(_, work)| is_earlier(work))
        .filter(|(_, work)| sketch.similarity_max_ppm(&work.sketch) >= u64::from(rules.held_ppm))
        .filter_map(|(id, work)| Some((sketch.similarity_ppm(&work.sketch)?, id, work)))
        .filter(|(ppm, id, work)| *ppm >= rules.held_ppm && counts(id, work))
        .max_by(|(ppm, _, work), (other_ppm, _, other)| {
            ppm.cmp(other_ppm).then(other.priority.cmp(&work.priority))
        });
    let Some((similarity_ppm, similar_to, work)) = best else { return Judgement::Unique };
    let Priority { block, author: hotkey, .. } = work.priority;
    let likeness = Likeness { similar_to, hotkey, block, similarity_ppm };
    if similarity_ppm >= rules.rejected_ppm {
        Judgement::Rejected { likeness }
    } else {
        Judgement::Held { likeness }
    }
}
