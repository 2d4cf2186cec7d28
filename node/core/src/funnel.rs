//! Who passes a tier of the funnel.
//!
//! Submissions committed in the same window of blocks compete: a *cohort*, which every validator
//! derives from the chain, whenever it saw their content. Of a cohort the best share passes, at
//! least one, and each other with a small chance as an audit, which shows how often the tier errs.
//!
//! ```text
//! window of blocks ──cohort──> points, as they settle ──promote──> passes | audit | out | open
//! ```
//!
//! Results settle in any order. Until the cohort is due, a member passes or is out only if no
//! missing result can change that; what is decided early is what is decided in the end. When it is
//! due, missing results displace nobody any more. One that still comes may put another out: then
//! validators agree again as soon as they have the same results, and one evaluation was in vain.
//!
//! Not here: what a tier measures (the policy), and what a final result is paid (`reward`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Digest, DigestBuilder, SubmissionId};
use crate::policy::{FunnelRules, TierRules, PPM};
use crate::priority::Priority;
use crate::unit::{window_end, BlockCount, BlockNumber};

pub use report::{kendall_tau_b_ppm, report, TierMember, TierReport};
pub use tier::{attribute, quality, reference_points, tier_state};
pub use units::{ProjectKind, Scale, Task, Trainer, UnitPlan};

/// A window of blocks whose submissions compete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CohortId(pub u64);

impl CohortId {
    /// The cohort of a submission that was committed in this block.
    #[must_use]
    pub fn of(rules: &FunnelRules, committed_at: BlockNumber) -> Self {
        Self(committed_at.0.checked_div(rules.window_blocks.max(1)).unwrap_or(0))
    }

    /// The first block after its window. The hash of this block, final, draws the audits: nobody
    /// who commits within the window can know it.
    #[must_use]
    pub fn closes_at(self, rules: &FunnelRules) -> BlockNumber {
        let first = BlockNumber(self.0.saturating_mul(rules.window_blocks.max(1)));
        window_end(BlockCount(rules.window_blocks), first)
    }

    /// From this block on a tier's missing results displace nobody. Each tier has as long again.
    #[must_use]
    pub fn due_at(self, rules: &FunnelRules, tier: u8) -> BlockNumber {
        let late = rules.late_blocks.saturating_mul(u64::from(tier));
        self.closes_at(rules).plus(BlockCount(late))
    }
}

/// How far a member of a cohort got in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Not settled here.
    Missing,
    /// Settled without a score: it takes no place.
    Failed,
    /// Settled.
    Scored {
        /// Larger is better.
        points: u64,
    },
}

/// A submission that entered a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Decides between equal points: the earlier one is better.
    pub priority: Priority,
    /// How far it got.
    pub state: MemberState,
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passage {
    /// It is among the best.
    Passes,
    /// It is not, and passes to see whether the tier errs.
    Audit,
    /// It ends here.
    Out,
    /// Not decided.
    Open,
}

/// How a tier went for a submission, and what became of it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierPlace {
    /// How far it got.
    pub state: MemberState,
    /// What became of it.
    pub passage: Passage,
}

impl Passage {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Audit => "audit",
            Self::Out => "out",
            Self::Open => "open",
        }
    }
}

/// Decides who passes a tier; the same for whoever has the same results. Not to be asked before the
/// cohort closed: until then it may have members that nobody knows.
///
/// - `members`: those of one cohort that entered the tier.
/// - `is_due`: whether missing results displace nobody any more, see [`CohortId::due_at`].
/// - `seed`: the hash of the block at [`CohortId::closes_at`].
#[must_use]
pub fn promote(
    rules: &TierRules,
    members: &BTreeMap<SubmissionId, Member>,
    is_due: bool,
    seed: &[u8; 32],
) -> BTreeMap<SubmissionId, Passage> {
    let missing = members.values().filter(|member| member.state == MemberState::Missing).count();
    let missing = if is_due { 0 } else { missing };
    let ranked = ranked(members);
    let most = quota(rules, ranked.len().saturating_add(missing));
    let passage = |better: usize, id: &SubmissionId| {
        // With every missing result ahead of it, it is still among the best; or, with every one
        // behind it, it still is not.
        if better.saturating_add(missing) < most {
            Passage::Passes
        } else if better < most {
            Passage::Open
        } else if is_audited(rules, seed, id) {
            Passage::Audit
        } else {
            Passage::Out
        }
    };
    let mut passages: BTreeMap<SubmissionId, Passage> =
        ranked.iter().enumerate().map(|(better, id)| (*id, passage(better, id))).collect();
    for (id, member) in members {
        match member.state {
            MemberState::Missing => passages.insert(*id, Passage::Open),
            MemberState::Failed => passages.insert(*id, Passage::Out),
            MemberState::Scored { .. } => None,
        };
    }
    passages
}

/// Scored members, the best first.
fn ranked(members: &BTreeMap<SubmissionId, Member>) -> Vec<SubmissionId> {
    let scored = members.iter().filter_map(|(id, member)| match member.state {
        MemberState::Scored { points } => Some((std::cmp::Reverse(points), member.priority, *id)),
        MemberState::Missing | MemberState::Failed => None,
    });
    let ordered: BTreeSet<_> = scored.collect();
    ordered.into_iter().map(|(_, _, id)| id).collect()
}

/// How many of so many pass: never more than the share, but the best one always.
fn quota(rules: &TierRules, scored: usize) -> usize {
    let scored = u64::try_from(scored).unwrap_or(u64::MAX);
    let share = u128::from(scored).saturating_mul(u128::from(rules.pass_ppm));
    let share = share.checked_div(u128::from(PPM)).unwrap_or(0);
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

/// Each member by itself, so that it does not matter who else is there.
fn is_audited(rules: &TierRules, seed: &[u8; 32], id: &SubmissionId) -> bool {
    let digest =
        Digest(DigestBuilder::new("assay/funnel-audit/v1").bytes(seed).bytes(&id.0).finish());
    let drawn = u64::from_le_bytes(digest.0.first_chunk::<8>().copied().unwrap_or_default());
    let below = u128::from(drawn).saturating_mul(u128::from(PPM)) >> 64;
    below < u128::from(rules.audit_ppm)
}

mod report;
mod tier;
mod units;

#[cfg(test)]
mod tests;
