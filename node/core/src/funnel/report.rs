//! What the funnel says about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Passage;
use crate::id::SubmissionId;
use crate::policy::PPM;

/// What is known of a submission in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierMember {
    /// Its points, if it has a score.
    pub points: Option<u64>,
    /// What became of it.
    pub passage: Passage,
    /// Time on devices of all its runs there, whoever's: for people, never for scores.
    pub device_ms: u64,
}

/// A tier in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierReport {
    /// Which, from 1.
    pub tier: u8,
    /// Submissions that entered.
    pub entered: u64,
    /// Submissions with a score.
    pub scored: u64,
    /// Submissions that passed for their score.
    pub passed: u64,
    /// Submissions that passed as audits.
    pub audits: u64,
    /// `passed` of `scored`, of 1,000,000; `None` of none.
    pub pass_rate_ppm: Option<u32>,
    /// Seconds on devices.
    pub device_seconds: u64,
    /// How alike this tier and the next order the submissions that both scored: Kendall's tau-b,
    /// in 1e-6. `None` where there is no order to compare.
    pub tau_to_next_ppm: Option<i32>,
    /// Audits whose next tier is decided.
    pub audits_decided: u64,
    /// Of those, the ones that passed the next tier for their score, of 1,000,000: how often this
    /// tier would have lost a good one. `None` without decided audits, and where the next tier is
    /// the last, since that one passes everybody.
    pub false_negatives_ppm: Option<u32>,
}

/// Reports on tiers of one or several cohorts.
///
/// - `tiers`: the first tier first.
#[must_use]
pub fn report(tiers: &[BTreeMap<SubmissionId, TierMember>]) -> Vec<TierReport> {
    let next = tiers.iter().skip(1).map(Some).chain([None]);
    let is_last = |place: usize| place.saturating_add(1) == tiers.len();
    let both = tiers.iter().zip(next).enumerate();
    both.map(|(place, (tier, next))| {
        let passes_all = is_last(place.saturating_add(1));
        tier_report(
            u8::try_from(place.saturating_add(1)).unwrap_or(u8::MAX),
            tier,
            next,
            passes_all,
        )
    })
    .collect()
}

fn tier_report(
    number: u8,
    tier: &BTreeMap<SubmissionId, TierMember>,
    next: Option<&BTreeMap<SubmissionId, TierMember>>,
    passes_all: bool,
) -> TierReport {
    let with = |passage| count(tier.values().filter(|member| member.passage == passage));
    let scored = count(tier.values().filter(|member| member.points.is_some()));
    let passed = with(Passage::Passes);
    let empty = BTreeMap::new();
    let next = next.unwrap_or(&empty);
    let later =
        |(id, member): (&SubmissionId, &TierMember)| next.get(id).map(|later| (*member, *later));
    let common: Vec<(TierMember, TierMember)> = tier.iter().filter_map(later).collect();
    let pairs: Vec<(u64, u64)> =
        common.iter().filter_map(|(here, later)| here.points.zip(later.points)).collect();
    let decided = common
        .iter()
        .filter(|(here, later)| here.passage == Passage::Audit && later.passage != Passage::Open);
    let audits_decided = count(decided.clone());
    let good = count(decided.filter(|(_, later)| later.passage == Passage::Passes));
    let device_ms = tier.values().map(|member| member.device_ms).fold(0, u64::saturating_add);
    TierReport {
        tier: number,
        entered: count(tier.iter()),
        scored,
        passed,
        audits: with(Passage::Audit),
        pass_rate_ppm: share_ppm(passed, scored),
        device_seconds: device_ms / 1_000,
        tau_to_next_ppm: kendall_tau_b_ppm(&pairs),
        audits_decided,
        false_negatives_ppm: share_ppm(good, audits_decided).filter(|_| !passes_all),
    }
}

fn count(items: impl Iterator) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}

fn share_ppm(part: u64, whole: u64) -> Option<u32> {
    let share = u128::from(part).saturating_mul(u128::from(PPM)).checked_div(u128::from(whole))?;
    u32::try_from(share).ok()
}

/// Kendall's tau-b of pairs of scores, in 1e-6, rounded towards zero: 1 if both order all alike,
/// -1 if they reverse. Ties in one of them count as neither.
///
/// `None` if either has no two different scores. Takes time in the square of the pairs.
///
/// Source: M. G. Kendall, *The treatment of ties in ranking problems*, Biometrika 33 (1945).
#[must_use]
pub fn kendall_tau_b_ppm(pairs: &[(u64, u64)]) -> Option<i32> {
    let (mut agree, mut differ, mut tied_first, mut tied_second) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (place, one) in pairs.iter().enumerate() {
        for other in pairs.iter().skip(place.saturating_add(1)) {
            let first = one.0.cmp(&other.0);
            let second = one.1.cmp(&other.1);
            tied_first = tied_first.saturating_add(u64::from(first.is_eq()));
            tied_second = tied_second.saturating_add(u64::from(second.is_eq()));
            if first.is_ne() && second.is_ne() {
                let counter = if first == second { &mut agree } else { &mut differ };
                *counter = counter.saturating_add(1);
            }
        }
    }
    let count = count(pairs.iter());
    let all = count.saturating_mul(count.saturating_sub(1)) / 2;
    let first = u128::from(all.saturating_sub(tied_first));
    let second = u128::from(all.saturating_sub(tied_second));
    let excess = u128::from(agree.abs_diff(differ)).saturating_mul(u128::from(PPM));
    let square = excess.saturating_mul(excess).checked_div(first.saturating_mul(second))?;
    let tau = i32::try_from(square.isqrt()).ok()?;
    Some(if agree < differ { tau.saturating_neg() } else { tau })
}
