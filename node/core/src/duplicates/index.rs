//! The works that a submission is compared with, and the search among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::KnownSketch;
use crate::id::SubmissionId;
use crate::priority::Priority;

/// An accepted work.
#[derive(Clone, Debug)]
pub struct Work {
    /// Since when it counts, and whose it is.
    pub priority: Priority,
    /// Its structure.
    pub sketch: Arc<KnownSketch>,
}

/// Accepted works by the keys of their sketches (locality-sensitive hashing).
#[derive(Clone, Debug, Default)]
pub struct SketchIndex {
    pub(super) slots: Vec<Option<(SubmissionId, Work)>>,
    slot_of: BTreeMap<SubmissionId, u32>,
    free: Vec<u32>,
    /// A key in the upper half, the slot of a work that has it in the lower.
    pub(super) keys: BTreeSet<u64>,
}

impl SketchIndex {
    /// Takes in a work, in the place of an earlier one of the same submission.
    pub fn insert(&mut self, submission: SubmissionId, work: Work) {
        self.remove(&submission);
        let slot = self.free.pop().or_else(|| {
            let next = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(None);
            Some(next)
        });
        // Four billion works: there is no memory for so many.
        let Some(slot) = slot else { return };
        self.keys.extend(work.sketch.bands.iter().map(|band| entry(*band, slot)));
        self.slot_of.insert(submission, slot);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some((submission, work));
        }
    }

    /// Forgets a work. Returns whether there was one.
    pub fn remove(&mut self, submission: &SubmissionId) -> bool {
        let Some(slot) = self.slot_of.remove(submission) else { return false };
        if let Some((_, work)) = self.slots.get_mut(slot as usize).and_then(Option::take) {
            for band in work.sketch.bands {
                self.keys.remove(&entry(band, slot));
            }
        }
        self.free.push(slot);
        true
    }

    /// Works that have a key in common with `sketch`, each once.
    pub fn candidates(&self, sketch: &KnownSketch) -> impl Iterator<Item = (SubmissionId, &Work)> {
        let sharing = |band: &u32| self.keys.range(entry(*band, 0)..=entry(*band, u32::MAX));
        let slots: BTreeSet<u32> = sketch.bands.iter().flat_map(sharing).map(slot).collect();
        slots.into_iter().filter_map(|slot| {
            let (id, work) = self.slots.get(slot as usize)?.as_ref()?;
            Some((*id, work))
        })
    }

    /// How many works there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slot_of.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slot_of.is_empty()
    }
}

fn entry(band: u32, slot: u32) -> u64 {
    u64::from(band) << 32 | u64::from(slot)
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half fits")]
fn slot(entry: &u64) -> u32 {
    *entry as u32
}
