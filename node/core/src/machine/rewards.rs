//! From what was decided in the funnel to what each hotkey is paid.

use std::collections::BTreeMap;

use crate::funnel::{attribute, quality, reference_points, ProjectKind};
use crate::id::{Hotkey, SubmissionId};
use crate::machine::trained::Trained;
use crate::machine::Machine;
use crate::policy::TierRules;
use crate::priority::Priority;
use crate::reward::{shares, Fingerprint, Quality, Reference, Settled, Shares, Standings, Table};
use crate::submission::Submission;
use crate::trial::Trial;
use crate::unit::BlockNumber;
use crate::vector::VectorError;
use crate::view::ChainView;

/// What others are measured by, as it was measured itself.
struct Measured {
    /// Points of the first reference, one per seed.
    points: Vec<u64>,
    /// All of them, in the order of the configuration.
    references: Vec<Reference>,
    /// By the names under which projects train them.
    by_name: BTreeMap<String, Quality>,
}

impl Machine {
    /// The tier that parts are paid by: the first that attributes, with its number.
    pub(super) fn paying_tier(&self) -> Option<(u8, &TierRules)> {
        (1_u8..).zip(&self.config.policy.scoring.funnel.tiers).find(|(_, rules)| rules.attributes)
    }

    /// Who holds which place at a block, of what is settled here. `None` while the references are
    /// not measured, and under a policy that pays points.
    #[must_use]
    pub fn table(&self, at: BlockNumber) -> Option<Table> {
        if self.told.is_applying {
            return Some(self.standings()?.table(at));
        }
        // Readers ask several times a second.
        Some(self.told.standings.get_or_init(|| self.standings()).as_ref()?.table(at))
    }

    /// Whether readers are told what is so now.
    #[cfg(test)]
    pub(super) fn tells_the_truth(&self) -> bool {
        *self.told.standings.get_or_init(|| self.standings()) == self.standings()
    }

    /// What is paid for the table of a block.
    #[must_use]
    pub fn shares(&self, at: BlockNumber) -> Option<Shares> {
        Some(shares(&self.config.policy.scoring.pools, &self.table(at)?, at))
    }

    /// What closed windows came to, and the results of the others.
    pub(super) fn standings(&self) -> Option<Standings> {
        let (tier, rules) = self.paying_tier().filter(|_| self.pays_standings())?;
        let measured = self.measured(tier, rules)?;
        let mut standings =
            Standings::new(self.config.policy.scoring.clone(), measured.references.clone())
                .from_families(self.horizon.families.clone());
        for id in self.tiers.get(usize::from(tier.saturating_sub(1)))?.keys() {
            let submission = self.submissions.get(id)?;
            if self.is_in_closed_window(submission) {
                continue;
            }
            if let Some(settled) = self.settled(submission, tier, rules, &measured) {
                standings.apply(settled);
            }
        }
        Some(standings)
    }

    /// What the references came to; `None` until all of them are decided.
    fn measured(&self, tier: u8, rules: &TierRules) -> Option<Measured> {
        let (first, _) = self.references.first()?;
        let points = reference_points(rules, |unit| self.verdict_in(*first, tier, unit))?;
        let mut references = Vec::new();
        let mut by_name = BTreeMap::new();
        for (id, name) in &self.references {
            let verdict_in = |unit| self.verdict_in(*id, tier, unit);
            let kind = ProjectKind::ArchitectureOnly;
            let quality = quality(rules, kind, verdict_in, &points).ok()??;
            let fingerprint = self.architecture_in(*id, tier, rules, kind)?;
            references.push(Reference { fingerprint, quality });
            by_name.insert(name.clone(), quality);
        }
        Some(Measured { points, references, by_name })
    }

    /// A submission as it is paid; `None` while something is missing, and without an architecture
    /// that was traced: nobody knows its family.
    fn settled(
        &self,
        submission: &Submission,
        tier: u8,
        rules: &TierRules,
        measured: &Measured,
    ) -> Option<Settled> {
        let brings = self.brings(submission);
        let (known, fingerprint) = match self.trained_by(submission) {
            Trained::Here => {
                let known = brings.architecture_id.as_ref();
                let known = known.and_then(|name| measured.by_name.get(name)).copied();
                (known, self.architecture_in(submission.id, tier, rules, brings.kind)?)
            }
            // As it was measured itself. So a recipe is in the family of what it was given,
            // whatever its own runs show.
            Trained::Of(other) => {
                let verdict_in = |unit| self.verdict_in(other, tier, unit);
                let kind = ProjectKind::ArchitectureOnly;
                let known = quality(rules, kind, verdict_in, &measured.points).ok()??;
                let kind = self.brings(self.submissions.get(&other)?).kind;
                (Some(known), self.architecture_in(other, tier, rules, kind)?)
            }
            Trained::Awaited { .. } | Trained::Missing { .. } => return None,
        };
        let verdict_in = |unit| self.verdict_in(submission.id, tier, unit);
        let attribution =
            attribute(rules, brings.kind, verdict_in, &measured.points, known.as_ref()).ok()??;
        Some(Settled { priority: Priority::of(submission), fingerprint, attribution })
    }

    /// The architecture as the first unit shows it that has one.
    fn architecture_in(
        &self,
        submission: SubmissionId,
        tier: u8,
        rules: &TierRules,
        kind: ProjectKind,
    ) -> Option<Fingerprint> {
        let trials = rules.units(kind).into_iter();
        let trials = trials.map(|plan| Trial { submission, tier, unit: plan.unit });
        let mut traced = trials.filter_map(|trial| self.outcomes.get(&trial)?.architecture.clone());
        traced.next()
    }

    /// What the vector for a view is made of: points, or shares and what is burned.
    ///
    /// # Errors
    ///
    /// [`VectorError::NobodyBurns`], [`VectorError::NoReference`]: the caller keeps what is on
    /// chain.
    pub(in crate::machine) fn parts_by_hotkey(
        &self,
        view: &ChainView,
    ) -> Result<BTreeMap<Hotkey, u64>, VectorError> {
        if !self.pays_standings() {
            return Ok(self.points_by_hotkey(view));
        }
        // The same for all who compute it in this epoch.
        let at = view.epoch.last_epoch_block;
        let shares = match self.shares(at) {
            Some(shares) => shares,
            None if self.has_entrants() => return Err(VectorError::NoReference),
            None => Shares::nobodys(),
        };
        // What a hotkey without a place had is nobody's gain.
        let has_place = |hotkey: &Hotkey| view.neuron(hotkey).is_some();
        let shares = shares.without(|hotkey| !has_place(hotkey));
        let owner = view.params.owner_hotkey.filter(has_place);
        shares
            .with_burn_to(owner)
            .map_err(|error| VectorError::NobodyBurns { burned: error.burned })
    }

    /// Whether somebody entered the tier that parts are paid by, or holds a place since long ago.
    fn has_entrants(&self) -> bool {
        let Some((tier, _)) = self.paying_tier() else { return false };
        let entrants = self.tiers.get(usize::from(tier.saturating_sub(1)));
        !self.horizon.families.is_empty() || entrants.is_some_and(|entrants| !entrants.is_empty())
    }
}
