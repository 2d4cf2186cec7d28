//! Recipes for architectures that other miners found: which submission a recipe means, what waits
//! for one, and which of them are measured for a recipe's sake.
//!
//! A recipe names a content. What it means is the earliest accepted submission of that content
//! that was committed in an earlier block than the recipe: so an architecture has its place before
//! any recipe for it has one. It counts beside the recipe, as with copies: what does not, some have
//! forgotten. Whether there is one follows from what is accepted, and from nothing else; nodes that
//! accept the same derive the same, whenever they got to know it. So a rejection for want of an
//! architecture ends when one is accepted after all.

use std::collections::BTreeSet;

use crate::admission::{Rejection, Rule, Verdict};
use crate::funnel::ProjectKind;
use crate::hold::Doubt;
use crate::id::{ContentDigest, SubmissionId};
use crate::machine::effect::{ContentSource, Note, Outcome};
use crate::machine::Machine;
use crate::priority::Priority;
use crate::submission::{Submission, SubmissionState};
use crate::unit::{BlockCount, BlockNumber};

/// Whose architecture a submission trains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trained {
    /// Its own, or that of a reference, which every node has.
    Here,
    /// That of an accepted submission.
    Of(SubmissionId),
    /// Nobody's yet.
    Awaited {
        /// What it names.
        content: ContentDigest,
        /// How long it waits.
        until: BlockNumber,
    },
    /// Nobody's, and it waits no longer.
    Missing {
        /// Why, for the miner.
        detail: String,
    },
}

impl Trained {
    fn is_known(&self) -> bool {
        match self {
            Self::Here | Self::Of(_) => true,
            Self::Awaited { .. } | Self::Missing { .. } => false,
        }
    }
}

impl Machine {
    /// Whose architecture a submission trains, as far as it is known now.
    pub(super) fn trained_by(&self, submission: &Submission) -> Trained {
        let Some(content) = self.brings(submission).named_content() else { return Trained::Here };
        let missing = |why: &str| Trained::Missing { detail: format!("`{content}` {why}") };
        // One content has one verdict, whoever committed to it.
        match self.verdicts.get(&(content, self.policy_digest)) {
            Some(Verdict::Rejected { .. }) => return missing("breaks a rule of admission"),
            Some(Verdict::Admitted { brings, .. }) => match brings.kind {
                ProjectKind::TrainingForArch => return missing("brings no architecture"),
                ProjectKind::Full | ProjectKind::ArchitectureOnly => {}
            },
            None => {}
        }
        let is_meant = |one: &&Submission| {
            one.content == content
                && one.committed_at < submission.committed_at
                && one.state.is_admitted()
                && !self.is_reference(&one.id)
                && self.is_remembered(one, submission.committed_at)
        };
        let meant = self.submissions.values().filter(is_meant).min_by_key(|one| Priority::of(one));
        if let Some(meant) = meant {
            return Trained::Of(meant.id);
        }
        let until = submission.committed_at.plus(BlockCount(self.config.policy.hold_blocks));
        if self.number() < until {
            return Trained::Awaited { content, until };
        }
        missing("is the content of no accepted submission that was committed before this one")
    }

    /// Whether what a submission trains is here. If not, it waits or is rejected.
    pub(super) fn has_its_architecture(&mut self, id: SubmissionId, out: &mut Outcome) -> bool {
        let Some(submission) = self.submissions.get(&id) else { return true };
        match self.trained_by(submission) {
            Trained::Here | Trained::Of(_) => true,
            Trained::Awaited { content, until } => {
                if !is_waiting(submission) {
                    let since = self.number();
                    self.hold(id, Doubt::NoArchitecture { content, until }, since, out);
                }
                false
            }
            Trained::Missing { detail } => {
                self.withdraw(id, out);
                self.reject(id, Rejection::new(Rule::ArchitectureUnknown, detail), out);
                false
            }
        }
    }

    /// Looks at every recipe for another's architecture again, since architectures come and go.
    pub(super) fn look_for_architectures(&mut self, out: &mut Outcome) {
        let is_recipe = |one: &&Submission| self.brings(one).named_content().is_some();
        let recipes: Vec<SubmissionId> =
            self.submissions.values().filter(is_recipe).map(|one| one.id).collect();
        for id in recipes {
            self.look_for_architecture(id, out);
        }
    }

    fn look_for_architecture(&mut self, id: SubmissionId, out: &mut Outcome) {
        let Some(submission) = self.submissions.get(&id) else { return };
        let is_known = self.trained_by(submission).is_known();
        let (is_waiting, is_refused) = (is_waiting(submission), is_refused(submission));
        if is_known && (is_waiting || is_refused) {
            out.note(Note::HoldResolved { submission: id, by_person: false });
            self.compare(id, out);
        } else if !is_known && (is_waiting || submission.state.is_admitted()) {
            self.has_its_architecture(id, out);
        }
    }

    /// Where the architecture is that a submission trains and does not bring.
    pub(super) fn architecture_source(&self, id: &SubmissionId) -> Option<ContentSource> {
        match self.trained_by(self.submissions.get(id)?) {
            Trained::Of(other) => {
                let Submission { content, location, .. } = self.submissions.get(&other)?;
                let (content, location) = (*content, location.clone());
                Some(ContentSource { content, location, peers: self.other_validators() })
            }
            Trained::Here | Trained::Awaited { .. } | Trained::Missing { .. } => None,
        }
    }

    /// The submissions that recipes in a tier that attributes are compared with, by tier.
    pub(super) fn compared_with(&self) -> BTreeSet<(u8, SubmissionId)> {
        let rules = &self.config.policy.scoring.funnel.tiers;
        let attributing = (1_u8..).zip(rules.iter().zip(&self.tiers));
        let attributing = attributing.filter(|(_, (rules, _))| rules.attributes);
        let compared = attributing.flat_map(|(tier, (_, entrants))| {
            let trained =
                entrants.keys().filter_map(|id| match self.trained_by(self.submissions.get(id)?) {
                    Trained::Of(other) => Some(other),
                    Trained::Here | Trained::Awaited { .. } | Trained::Missing { .. } => None,
                });
            trained.map(move |other| (tier, other))
        });
        compared.collect()
    }
}

/// Whether it waits for the architecture that it trains.
fn is_waiting(submission: &Submission) -> bool {
    matches!(submission.state, SubmissionState::Held { doubt: Doubt::NoArchitecture { .. }, .. })
}

/// Whether it waited for an architecture in vain.
fn is_refused(submission: &Submission) -> bool {
    let SubmissionState::Rejected { rejection } = &submission.state else { return false };
    rejection.rule == Rule::ArchitectureUnknown
}
