//! Where a submission stands in the queue of those that are not decided, and why it moved.
//!
//! Older commitments come first. A place changes only because another submission left the queue, or
//! because an older one came into it; both are named.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::SubmissionId;
use crate::unit::{BlockNumber, UnixMs};

/// Causes of one move that are named; of more, their number is told.
pub const CAUSES_TOLD_MAX: usize = 8;

/// Why a submission moved in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum Cause {
    /// One that was before it left the queue.
    Left {
        /// Which.
        submission: SubmissionId,
        /// What became of it.
        became: String,
    },
    /// One that was committed earlier came into the queue.
    Came {
        /// Which.
        submission: SubmissionId,
    },
}

/// The last time that a submission moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// From this place.
    pub from: usize,
    /// To this one.
    pub to: usize,
    /// When, by this node's wall clock.
    pub at: UnixMs,
    /// Why; at most [`CAUSES_TOLD_MAX`].
    pub causes: Vec<Cause>,
    /// Causes that are not told.
    pub more: usize,
}

/// Where a submission stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its place, counted from one.
    pub place: usize,
    /// How many are in the queue.
    pub of: usize,
    /// When it last moved; `None` if it stands where it came in.
    pub moved: Option<Moved>,
}

/// The queue as it was seen last.
#[derive(Clone, Debug, Default)]
pub struct QueuePlaces {
    order: Vec<SubmissionId>,
    places: BTreeMap<SubmissionId, Place>,
}

impl QueuePlaces {
    /// Takes over which submissions are undecided now, in any order.
    ///
    /// - `became`: what became of one that is in the queue no more, in words.
    pub fn update(
        &mut self,
        now: UnixMs,
        open: &[(BlockNumber, SubmissionId)],
        became: impl Fn(&SubmissionId) -> String,
    ) {
        let ordered: BTreeSet<(BlockNumber, SubmissionId)> = open.iter().copied().collect();
        let order: Vec<SubmissionId> = ordered.into_iter().map(|(_, id)| id).collect();
        if order == self.order {
            return;
        }
        let known = std::mem::take(&mut self.places);
        let before: BTreeSet<SubmissionId> = self.order.iter().copied().collect();
        let after: BTreeSet<SubmissionId> = order.iter().copied().collect();
        let came: Vec<(usize, SubmissionId)> =
            order.iter().copied().enumerate().filter(|(_, id)| !before.contains(id)).collect();
        let left: Vec<(usize, SubmissionId)> =
            self.order.iter().copied().enumerate().filter(|(_, id)| !after.contains(id)).collect();
        for (index, id) in order.iter().enumerate() {
            let (to, of) = (index.saturating_add(1), order.len());
            let moved = known.get(id).and_then(|was| {
                if was.place == to {
                    return was.moved.clone();
                }
                let left = left.iter().take_while(|(at, _)| at.saturating_add(1) < was.place);
                let left = left.map(|(_, id)| Cause::Left { submission: *id, became: became(id) });
                let came = came.iter().take_while(|(at, _)| *at < index);
                let came = came.map(|(_, id)| Cause::Came { submission: *id });
                let mut causes: Vec<Cause> = left.chain(came).collect();
                let more = causes.len().saturating_sub(CAUSES_TOLD_MAX);
                causes.truncate(CAUSES_TOLD_MAX);
                Some(Moved { from: was.place, to, at: now, causes, more })
            });
            self.places.insert(*id, Place { place: to, of, moved });
        }
        self.order = order;
    }

    /// Where a submission stands; `None` if it is not in the queue.
    #[must_use]
    pub fn of(&self, submission: &SubmissionId) -> Option<&Place> {
        self.places.get(submission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u8) -> SubmissionId {
        SubmissionId([number; 32])
    }

    fn open(numbers: &[u8]) -> Vec<(BlockNumber, SubmissionId)> {
        numbers.iter().map(|number| (BlockNumber((*number).into()), id(*number))).collect()
    }

    fn scored(_: &SubmissionId) -> String {
        "scored".to_owned()
    }

    #[test]
    fn older_commitments_come_first_and_who_just_came_did_not_move() {
        let mut places = QueuePlaces::default();
        places.update(UnixMs(1), &open(&[3, 1, 2]), scored);
        assert_eq!(places.of(&id(3)), Some(&Place { place: 3, of: 3, moved: None }));
        assert_eq!(places.of(&id(9)), None);
    }

    #[test]
    fn a_move_names_who_left_and_who_came_before_it() {
        let mut places = QueuePlaces::default();
        places.update(UnixMs(1), &open(&[1, 2, 5]), scored);
        places.update(UnixMs(2), &open(&[2, 3, 4, 5, 6]), scored);
        let moved = places.of(&id(5)).unwrap().moved.clone().unwrap();
        assert_eq!((moved.from, moved.to, moved.at, moved.more), (3, 4, UnixMs(2), 0));
        let left = Cause::Left { submission: id(1), became: "scored".to_owned() };
        let came = [3, 4].map(|number| Cause::Came { submission: id(number) });
        assert_eq!(moved.causes, [vec![left], came.to_vec()].concat());
        assert_eq!(places.of(&id(6)).unwrap().moved, None);
        // What it was told stays until it moves again.
        places.update(UnixMs(3), &open(&[2, 3, 4, 5]), scored);
        assert_eq!(places.of(&id(5)).unwrap().moved, Some(moved));
    }

    #[test]
    fn of_many_causes_a_few_are_told_and_the_others_counted() {
        let mut places = QueuePlaces::default();
        places.update(UnixMs(1), &open(&(0..=20).collect::<Vec<_>>()), scored);
        places.update(UnixMs(2), &open(&[20]), scored);
        let moved = places.of(&id(20)).unwrap().moved.clone().unwrap();
        assert_eq!((moved.causes.len(), moved.more), (CAUSES_TOLD_MAX, 12));
    }

    proptest! {
        #[test]
        fn causes_explain_every_step(before: BTreeSet<u8>, after: BTreeSet<u8>) {
            let list = |set: &BTreeSet<u8>| open(&set.iter().copied().collect::<Vec<_>>());
            let mut places = QueuePlaces::default();
            places.update(UnixMs(1), &list(&before), scored);
            places.update(UnixMs(2), &list(&after), scored);
            for number in before.intersection(&after) {
                let place = places.of(&id(*number)).unwrap();
                let Some(moved) = &place.moved else { continue };
                let left = before.range(..number).filter(|one| !after.contains(one)).count();
                let came = after.range(..number).filter(|one| !before.contains(one)).count();
                prop_assert_eq!(moved.to + left, moved.from + came);
                prop_assert_eq!(moved.causes.len() + moved.more, left + came);
                prop_assert_eq!(place.of, after.len());
            }
        }
    }
}
