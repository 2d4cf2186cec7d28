//! Who holds which place: families, their owners, their best architectures and recipes.
//!
//! Results settle in any order, at another time on each validator. So the standings keep the
//! results and replay them in the order of their priority: what comes out depends on which results
//! are settled and on the block, and on nothing else. A result that settles late can take a family
//! from who was thought to have found it first, as it should: until it is so old that what came of
//! its like is settled for good ([`Standings::settled`]), and is not replayed any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attribution::{Attribution, Quality};
use super::fingerprint::{family_of, Fingerprint, Kinship};
use super::takeover::takes_over;
use crate::id::{Digest, DigestBuilder, Hotkey};
use crate::policy::{Margin, ScoringRules};
use crate::priority::Priority;
use crate::unit::{window_end, BlockCount, BlockNumber};

/// A submission whose second tier is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Its place in the order, and its author.
    pub priority: Priority,
    /// Its architecture, or the one it trains.
    pub fingerprint: Fingerprint,
    /// What it is paid for.
    pub attribution: Attribution,
}

/// An architecture that is known from the start and that nobody is paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its quality under the reference trainer.
    pub quality: Quality,
}

/// A family's name: a digest of its founder's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FamilyId(pub Digest);

/// The best of its kind in a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Champion {
    /// The submission; `None` for a reference.
    pub priority: Option<Priority>,
    /// How good it is.
    pub quality: Quality,
}

impl Champion {
    /// Blocks since its priority, zero before it. A reference does not age.
    #[must_use]
    pub fn age(&self, at: BlockNumber) -> BlockCount {
        self.priority.map_or(BlockCount(0), |priority| at.since(priority.block))
    }

    fn author(&self) -> Option<Hotkey> {
        self.priority.map(|priority| priority.author)
    }
}

/// A family of architectures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// Its founder's fingerprint, with which all others are compared.
    pub founder: Fingerprint,
    /// Who is paid for it; nobody for a reference that nobody took over.
    pub owner: Option<Hotkey>,
    /// The best architecture.
    pub architecture: Champion,
    /// The best recipe, if one is better than the reference trainer.
    pub recipe: Option<Champion>,
}

/// A result that is neither alike enough to a family nor different enough from all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose.
    pub priority: Priority,
    /// The nearest family; from `until` on it counts as a variant of it.
    pub nearest: FamilyId,
    /// When.
    pub until: BlockNumber,
}

/// Who holds which place at a block.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// The families.
    pub families: BTreeMap<FamilyId, Family>,
    /// What is held, in the order of priority.
    pub held: Vec<Held>,
}

/// All settled results, in the order of their priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standings {
    rules: ScoringRules,
    base: BTreeMap<FamilyId, Family>,
    references: Vec<Reference>,
    results: BTreeMap<Priority, Settled>,
}

impl Standings {
    /// Standings before the first result.
    ///
    /// - `references`: the challenge's own submissions, in the order of the policy.
    #[must_use]
    pub fn new(rules: ScoringRules, references: Vec<Reference>) -> Self {
        Self { rules, base: BTreeMap::new(), references, results: BTreeMap::new() }
    }

    /// Goes on from families that are settled for good: what made them is not to be applied again.
    #[must_use]
    pub fn from_families(self, base: BTreeMap<FamilyId, Family>) -> Self {
        Self { base, ..self }
    }

    /// The families that all results of an earlier block than `until` come to. From a block on at
    /// which none of those is held any more, [`Self::from_families`] with the later results alone
    /// gives the same tables as all of them do.
    #[must_use]
    pub fn settled(&self, until: BlockNumber, at: BlockNumber) -> BTreeMap<FamilyId, Family> {
        self.replay(|result| result.priority.block < until, at).families
    }

    /// Takes a settled result, whenever it settled. The same one again changes nothing; another one
    /// of the same submission replaces it.
    pub fn apply(&mut self, result: Settled) {
        self.results.insert(result.priority, result);
    }

    /// Who holds which place at a block. Results of later priority do not count.
    #[must_use]
    pub fn table(&self, at: BlockNumber) -> Table {
        self.replay(|result| result.priority.block <= at, at)
    }

    fn replay(&self, counts: impl Fn(&Settled) -> bool, at: BlockNumber) -> Table {
        let mut table = Table { families: self.base.clone(), held: Vec::new() };
        for reference in &self.references {
            let champion = Champion { priority: None, quality: reference.quality };
            table.found(reference.fingerprint.clone(), None, champion);
        }
        let known = self.results.values().take_while(|result| counts(result));
        for result in known {
            table.step(&self.rules, result, at);
        }
        table
    }
}

impl Table {
    fn found(&mut self, founder: Fingerprint, owner: Option<Hotkey>, architecture: Champion) {
        let family = Family { founder, owner, architecture, recipe: None };
        self.families.entry(FamilyId::of(&family.founder)).or_insert(family);
    }

    fn step(&mut self, rules: &ScoringRules, result: &Settled, at: BlockNumber) {
        let founders = self.families.iter().map(|(id, family)| (*id, &family.founder));
        let id = match family_of(&rules.families, &result.fingerprint, founders) {
            Kinship::Belongs(id) => id,
            Kinship::Unclear(id) => {
                // From when it could be measured first: nobody enters the paying tier before that.
                let window = BlockCount(rules.funnel.window_blocks);
                let closes_at = window_end(window, result.priority.block);
                let until = closes_at.plus(BlockCount(rules.families.hold_blocks));
                if at < until {
                    self.held.push(Held { priority: result.priority, nearest: id, until });
                    return;
                }
                id
            }
            Kinship::Founds => {
                // A recipe alone founds nothing: the architecture it trains is not known here.
                let Some(quality) = result.attribution.architecture else { return };
                let champion = Champion { priority: Some(result.priority), quality };
                self.found(result.fingerprint.clone(), Some(result.priority.author), champion);
                FamilyId::of(&result.fingerprint)
            }
        };
        if let Some(family) = self.families.get_mut(&id) {
            family.challenge(rules, result);
        }
    }
}

impl Family {
    fn challenge(&mut self, rules: &ScoringRules, result: &Settled) {
        let takeover = &rules.takeover;
        let challenger = |quality| Champion { priority: Some(result.priority), quality };
        if let Some(quality) = result.attribution.architecture {
            let old = self.architecture.quality;
            let takes_family = takes_over(&takeover.ownership, &quality, &old);
            if takes_family {
                self.owner = Some(result.priority.author);
            }
            if takes_family || takes_over(&takeover.architecture, &quality, &old) {
                self.architecture = challenger(quality);
            }
        }
        if let Some(quality) = result.attribution.recipe {
            let old = self.recipe.as_ref().map(|recipe| recipe.quality).unwrap_or_default();
            if takes_over(self.recipe_margin(rules, &result.priority.author), &quality, &old) {
                self.recipe = Some(challenger(quality));
            }
        }
    }

    /// A free place and one's own take less than another's.
    fn recipe_margin<'a>(&self, rules: &'a ScoringRules, author: &Hotkey) -> &'a Margin {
        let holder = self.recipe.as_ref().and_then(Champion::author);
        if holder.is_none_or(|holder| holder == *author) {
            &rules.takeover.recipe
        } else {
            &rules.takeover.recipe_transfer
        }
    }
}

impl FamilyId {
    fn of(founder: &Fingerprint) -> Self {
        let digest = DigestBuilder::new("assay/family/v1");
        Self(Digest(digest.numbers(founder.labels().iter().copied()).finish()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::ContentDigest;
    use crate::reward::fingerprint::tests::{fingerprint, hybrid, ssm, transformer};
    use proptest::prelude::*;

    pub(crate) const ALICE: u8 = 1;
    pub(crate) const BOB: u8 = 2;

    /// A result with these qualities in thousandths and spread zero.
    pub(crate) fn result(
        block: u64,
        author: u8,
        fingerprint: &Fingerprint,
        architecture: Option<i64>,
        recipe: Option<i64>,
    ) -> Settled {
        let quality = |milli: i64| Quality { mean_nano: milli * 1_000_000, variance_nano2: 0 };
        let content = ContentDigest([u8::try_from(block % 251).unwrap(); 32]);
        Settled {
            priority: Priority { block: BlockNumber(block), content, author: Hotkey([author; 32]) },
            fingerprint: fingerprint.clone(),
            attribution: Attribution {
                architecture: architecture.map(quality),
                recipe: recipe.map(quality),
            },
        }
    }

    fn standings(results: &[Settled]) -> Standings {
        let mut standings = Standings::new(ScoringRules::standard(), Vec::new());
        results.iter().for_each(|result| standings.apply(result.clone()));
        standings
    }

    fn only_family(table: &Table) -> &Family {
        assert_eq!(table.families.len(), 1);
        table.families.values().next().unwrap()
    }

    fn owner(author: u8) -> Option<Hotkey> {
        Some(Hotkey([author; 32]))
    }

    #[test]
    fn the_first_discoverer_owns_a_family_also_if_its_result_comes_late() {
        let known = fingerprint(&transformer(2));
        let mut standings = standings(&[result(7, BOB, &known, Some(1_000), None)]);
        assert_eq!(only_family(&standings.table(BlockNumber(9))).owner, owner(BOB));
        standings.apply(result(6, ALICE, &fingerprint(&transformer(4)), Some(990), None));
        let table = standings.table(BlockNumber(9));
        assert_eq!(only_family(&table).owner, owner(ALICE));
        // Bob's is better by just 0.01, which is not more than 0.01.
        assert_eq!(only_family(&table).architecture.author(), owner(ALICE));
    }

    #[test]
    fn in_one_block_the_smaller_content_digest_was_first() {
        let known = fingerprint(&ssm(2));
        let mut one = result(5, BOB, &known, Some(1_000), None);
        let mut other = result(5, ALICE, &known, Some(1_000), None);
        one.priority.content = ContentDigest([3; 32]);
        other.priority.content = ContentDigest([4; 32]);
        let table = standings(&[other, one]).table(BlockNumber(5));
        assert_eq!(only_family(&table).owner, owner(BOB));
    }

    #[test]
    fn a_better_architecture_raises_the_family_and_only_a_much_better_one_takes_it() {
        let known = fingerprint(&transformer(2));
        let first = result(1, ALICE, &known, Some(1_000), None);
        let better = result(2, BOB, &known, Some(1_050), None);
        let table = standings(&[first.clone(), better.clone()]).table(BlockNumber(9));
        assert_eq!(only_family(&table).owner, owner(ALICE));
        assert_eq!(only_family(&table).architecture.quality.mean_nano, 1_050_000_000);
        let much = result(3, BOB, &known, Some(1_140), None);
        let table = standings(&[first, better, much]).table(BlockNumber(9));
        assert_eq!(only_family(&table).owner, owner(BOB));
    }

    #[test]
    fn a_recipe_takes_a_free_place_its_authors_own_or_by_more_anothers() {
        let known = fingerprint(&transformer(2));
        let found = result(1, ALICE, &known, Some(1_000), Some(15));
        let table = standings(std::slice::from_ref(&found)).table(BlockNumber(9));
        assert_eq!(only_family(&table).recipe, None, "0.015 is within the noise");
        let first = result(2, ALICE, &known, None, Some(30));
        let close = result(3, BOB, &known, None, Some(70));
        let own = result(4, ALICE, &known, None, Some(60));
        let taken = result(5, BOB, &known, None, Some(111));
        let mut results = vec![found];
        for (next, holder, milli) in
            [(first, ALICE, 30), (close, ALICE, 30), (own, ALICE, 60), (taken, BOB, 111)]
        {
            results.push(next);
            let table = standings(&results).table(BlockNumber(9));
            let recipe = only_family(&table).recipe.clone().unwrap();
            assert_eq!(recipe.author(), owner(holder));
            assert_eq!(recipe.quality.mean_nano, milli * 1_000_000);
        }
    }

    #[test]
    fn what_is_unclear_is_held_and_then_a_variant_of_the_nearest() {
        let known = result(1, ALICE, &fingerprint(&transformer(4)), Some(1_000), None);
        let unclear = result(2, BOB, &fingerprint(&hybrid(2)), Some(1_200), None);
        let standings = standings(&[known, unclear]);
        let table = standings.table(BlockNumber(14_399));
        assert_eq!(table.held.len(), 1);
        assert_eq!(table.held[0].until, BlockNumber(14_400), "a window after its window closed");
        assert_eq!(only_family(&table).owner, owner(ALICE));
        let table = standings.table(BlockNumber(14_400));
        assert!(table.held.is_empty());
        assert_eq!(only_family(&table).owner, owner(BOB));
    }

    #[test]
    fn a_variant_of_a_reference_is_nobodys_discovery() {
        let quality = Quality { mean_nano: 1_000_000_000, variance_nano2: 0 };
        let reference = Reference { fingerprint: fingerprint(&transformer(2)), quality };
        let mut standings = Standings::new(ScoringRules::standard(), vec![reference]);
        standings.apply(result(1, ALICE, &fingerprint(&transformer(6)), Some(1_070), Some(50)));
        let table = standings.table(BlockNumber(9));
        assert_eq!(only_family(&table).owner, None);
        assert_eq!(only_family(&table).recipe.as_ref().unwrap().author(), owner(ALICE));
        standings.apply(result(2, BOB, &fingerprint(&transformer(6)), Some(1_160), None));
        assert_eq!(only_family(&standings.table(BlockNumber(9))).owner, owner(BOB));
    }

    #[test]
    fn a_recipe_for_an_architecture_that_nobody_found_counts_nothing() {
        let lone = result(1, ALICE, &fingerprint(&ssm(2)), None, Some(500));
        assert_eq!(standings(&[lone]).table(BlockNumber(9)), Table::default());
    }

    /// Results of four authors in three families and between them.
    fn results() -> impl Strategy<Value = Vec<Settled>> {
        let one = (
            0u64..9_000,
            1u8..5,
            0usize..4,
            prop::option::of(900i64..1_300),
            prop::option::of(-50i64..200),
        );
        let known = [transformer(2), ssm(2), hybrid(2), transformer(4)];
        let known = known.map(|operators| fingerprint(&operators));
        prop::collection::vec(one, 0..16).prop_map(move |all| {
            let settled = |(block, author, which, architecture, recipe): (u64, u8, usize, _, _)| {
                result(block, author, &known[which], architecture, recipe)
            };
            let all = all.into_iter().map(settled);
            // One result per submission.
            let by_priority: BTreeMap<Priority, Settled> =
                all.map(|result| (result.priority, result)).collect();
            by_priority.into_values().collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_settling_changes_nothing(
            (ordered, shuffled) in results().prop_flat_map(|all| {
                (Just(all.clone()), Just(all).prop_shuffle())
            }),
            at in 0u64..20_000,
        ) {
            let (one, mut other) = (standings(&ordered), standings(&shuffled));
            prop_assert_eq!(one.table(BlockNumber(at)), other.table(BlockNumber(at)));
            shuffled.iter().for_each(|again| other.apply(again.clone()));
            prop_assert_eq!(one.table(BlockNumber(at)), other.table(BlockNumber(at)));
        }

        #[test]
        fn what_is_settled_for_good_stands_for_the_results_that_made_it(
            all in results(),
            until in 0u64..9_000,
            later in 0u64..20_000,
        ) {
            let whole = standings(&all);
            let until = BlockNumber(until);
            // A window of 7,200 blocks and as long a hold: nothing before `until` is held then.
            let at = BlockNumber(14_400 * 2 + later);
            let since: Vec<Settled> =
                all.into_iter().filter(|result| result.priority.block >= until).collect();
            let rest = standings(&since).from_families(whole.settled(until, at));
            prop_assert_eq!(rest.table(at), whole.table(at));
        }
    }
}
