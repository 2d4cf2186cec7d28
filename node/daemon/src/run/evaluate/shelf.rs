//! Submissions in memory from their admission on, so that no run waits for the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use node_core::id::ContentDigest;
use node_evaluator::archive::Archive;

/// Submissions kept. Lower: in a burst the first ones are read from the disk again. Higher: each
/// takes what the policy allows unpacked, two megabytes, for longer than anybody needs it.
const KEPT_MAX: usize = 16;

/// The latest admitted submissions.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    // Held for an operation on the list, never across an await.
    latest: Mutex<VecDeque<(ContentDigest, Arc<Archive>)>>,
}

impl Shelf {
    fn latest(&self) -> MutexGuard<'_, VecDeque<(ContentDigest, Arc<Archive>)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one; the oldest goes if there is no room.
    pub(super) fn put(&self, content: ContentDigest, archive: Arc<Archive>) {
        let mut latest = self.latest();
        latest.retain(|(kept, _)| *kept != content);
        latest.truncate(KEPT_MAX - 1);
        latest.push_front((content, archive));
    }

    /// One that is kept.
    pub(super) fn get(&self, content: &ContentDigest) -> Option<Arc<Archive>> {
        let latest = self.latest();
        latest.iter().find(|(kept, _)| kept == content).map(|(_, archive)| Arc::clone(archive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_one_that_comes_again_counts_once() {
        let shelf = Shelf::default();
        let content = |number: u8| ContentDigest([number; 32]);
        for number in 0..=u8::try_from(KEPT_MAX).unwrap() {
            shelf.put(content(number), Arc::default());
            shelf.put(content(1), Arc::default());
        }
        assert!(shelf.get(&content(0)).is_none());
        assert!(shelf.get(&content(1)).is_some());
        assert_eq!(shelf.latest().len(), KEPT_MAX);
    }
}
