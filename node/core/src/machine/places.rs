//! Which architectures and which recipes are in the running, as a node tells anybody.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ContentDigest, Hotkey, SubmissionId};
use crate::machine::Machine;
use crate::priority::Priority;
use crate::reward::{pay_ppb, Champion, FamilyId, Quality, Table};
use crate::unit::BlockNumber;

/// What an architecture or a recipe is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// What its submission as a whole was scored with.
    Points(u64),
    /// Its own part, in units of the reference submission.
    Part(Quality),
}

/// An architecture or a recipe that is in the running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its family; `None` where families are not told apart.
    pub family: Option<FamilyId>,
    /// Who is paid for it; nobody for a reference that nobody took over.
    pub owner: Option<Hotkey>,
    /// The submission that is the best of it; `None` for a reference.
    pub submission: Option<SubmissionId>,
    /// Its content.
    pub content: Option<ContentDigest>,
    /// Since when its author has a claim to it.
    pub since: Option<BlockNumber>,
    /// How good it is.
    pub worth: Worth,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Architectures.
    pub architectures: Vec<Place>,
    /// Recipes.
    pub recipes: Vec<Place>,
}

impl Places {
    /// The places of a table of families.
    ///
    /// - `submission`: which one a priority belongs to.
    #[must_use]
    pub fn of_table(table: &Table, submission: impl Fn(&Priority) -> Option<SubmissionId>) -> Self {
        let place = |family: FamilyId, owner: Option<Hotkey>, champion: &Champion| Place {
            family: Some(family),
            owner,
            submission: champion.priority.as_ref().and_then(&submission),
            content: champion.priority.map(|priority| priority.content),
            since: champion.priority.map(|priority| priority.block),
            worth: Worth::Part(champion.quality),
        };
        let mut places = Self::default();
        for (id, family) in &table.families {
            places.architectures.push(place(*id, family.owner, &family.architecture));
            let recipe = family
                .recipe
                .as_ref()
                .map(|recipe| place(*id, recipe.priority.map(|priority| priority.author), recipe));
            places.recipes.extend(recipe);
        }
        places
    }
}

impl Machine {
    /// The submissions that hold a place in a family, where families are told apart.
    pub(super) fn champions(&self) -> BTreeSet<SubmissionId> {
        self.priorities_of_places().map(|priority| priority.submission()).collect()
    }

    /// Those of them that are still paid for it.
    pub(super) fn paid_champions(&self) -> BTreeSet<SubmissionId> {
        let (rules, number) = (&self.config.policy.scoring.pools, self.number());
        let is_paid = |one: &Priority| pay_ppb(rules, number.since(one.block)) > 0;
        self.priorities_of_places().filter(is_paid).map(|priority| priority.submission()).collect()
    }

    fn priorities_of_places(&self) -> impl Iterator<Item = Priority> {
        let at = self.view().map(|view| view.epoch.last_epoch_block).unwrap_or_default();
        let families = if self.pays_standings() {
            // Those that nothing measures now were measured once.
            let table = self.table(at).map(|table| table.families);
            table.unwrap_or_else(|| self.horizon.families.clone())
        } else {
            BTreeMap::new()
        };
        let champions =
            families.into_values().flat_map(|family| [Some(family.architecture), family.recipe]);
        champions.flatten().filter_map(|champion| champion.priority)
    }

    /// What is in the running here: the best of each family as of the present epoch, none of them
    /// before the references are measured. Where submissions are paid as a whole by their points,
    /// each that has a score stands with both of its parts, the best first.
    #[must_use]
    pub fn places(&self) -> Places {
        if self.pays_standings() {
            let at = self.view().map(|view| view.epoch.last_epoch_block).unwrap_or_default();
            let id = |one: &Priority| Some(one.submission());
            return self.table(at).map(|table| Places::of_table(&table, id)).unwrap_or_default();
        }
        let scored = self.ranking().into_iter().map(|(merit, one)| Place {
            family: None,
            owner: Some(one.hotkey),
            submission: Some(one.id),
            content: Some(one.content),
            since: Some(one.committed_at),
            worth: Worth::Points(merit.points),
        });
        let scored: Vec<Place> = scored.collect();
        Places { architectures: scored.clone(), recipes: scored }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ScoringRules;
    use crate::reward::{
        Attribution, Fingerprint, Operator, OperatorGraph, Reference, Settled, Standings,
    };

    /// A chain of operators, all of one kind: chains of different kinds have nothing in common.
    fn fingerprint(kind: &str) -> Fingerprint {
        let operator = |index: u32| Operator {
            name: format!("aten.{kind}{index}.default"),
            inputs: index.checked_sub(1).into_iter().collect(),
        };
        let operators: Vec<Operator> = (0..40).map(operator).collect();
        Fingerprint::of(&OperatorGraph::new(&operators).unwrap())
    }

    #[test]
    fn a_table_gives_each_family_its_place_and_a_recipe_only_where_there_is_one() {
        let quality = |mean_nano| Quality { mean_nano, variance_nano2: 0 };
        let known = fingerprint("linear");
        let reference = Reference { fingerprint: known.clone(), quality: quality(1_000_000_000) };
        let mut standings = Standings::new(ScoringRules::standard(), vec![reference]);
        let author = Hotkey([7; 32]);
        let priority =
            |block| Priority { block: BlockNumber(block), content: ContentDigest([9; 32]), author };
        let found = Attribution { architecture: Some(quality(900_000_000)), recipe: None };
        let recipe = Attribution { architecture: None, recipe: Some(quality(50_000_000)) };
        let fingerprint = fingerprint("scan");
        standings.apply(Settled { priority: priority(1), fingerprint, attribution: found });
        standings.apply(Settled { priority: priority(2), fingerprint: known, attribution: recipe });
        let table = standings.table(BlockNumber(9));
        let id =
            |priority: &Priority| Some(SubmissionId([u8::try_from(priority.block.0).ok()?; 32]));
        let places = Places::of_table(&table, id);
        assert_eq!(places.architectures.len(), 2);
        let of_reference = |place: &&Place| place.submission.is_none();
        let reference = places.architectures.iter().find(of_reference).unwrap();
        assert_eq!((reference.owner, reference.since), (None, None));
        let mine = places.architectures.iter().find(|place| !of_reference(place)).unwrap();
        assert_eq!((mine.owner, mine.since), (Some(author), Some(BlockNumber(1))));
        assert_eq!(mine.worth, Worth::Part(quality(900_000_000)));
        let [trained] = places.recipes.as_slice() else { panic!("{places:?}") };
        assert_eq!((trained.owner, trained.family), (Some(author), reference.family));
        assert_eq!(trained.submission, Some(SubmissionId([2; 32])));
    }
}
