//! Claims about who passes.

use proptest::prelude::*;

use super::*;
use crate::id::{ContentDigest, Hotkey};
use crate::policy::ScoringRules;

const SEED: [u8; 32] = [7; 32];

fn rules() -> TierRules {
    *ScoringRules::standard().funnel.tier(1).unwrap()
}

fn without_audits() -> TierRules {
    TierRules { audit_ppm: 0, ..rules() }
}

fn id(number: u16) -> SubmissionId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    SubmissionId(bytes)
}

fn member(block: u64, state: MemberState) -> Member {
    let content = ContentDigest([0; 32]);
    let priority = Priority { block: BlockNumber(block), content, author: Hotkey([0; 32]) };
    Member { priority, state }
}

/// Members with these points; `None` is missing, zero has failed.
fn cohort(points: &[Option<u64>]) -> BTreeMap<SubmissionId, Member> {
    let state = |points: &Option<u64>| match points {
        None => MemberState::Missing,
        Some(0) => MemberState::Failed,
        Some(points) => MemberState::Scored { points: *points },
    };
    (0..).zip(points).map(|(at, points)| (id(at), member(at.into(), state(points)))).collect()
}

fn who(passages: &BTreeMap<SubmissionId, Passage>, passage: Passage) -> Vec<u16> {
    let of = |id: &SubmissionId| u16::from_be_bytes([id.0[0], id.0[1]]);
    passages.iter().filter(|(_, is)| **is == passage).map(|(id, _)| of(id)).collect()
}

#[test]
fn the_best_quarter_passes_and_of_equals_the_earlier() {
    let points = [5, 9, 9, 1, 9, 2, 3, 4].map(Some);
    let passages = promote(&without_audits(), &cohort(&points), false, &SEED);
    assert_eq!(who(&passages, Passage::Passes), [1, 2]);
    assert_eq!(who(&passages, Passage::Out).len(), 6);
}

#[test]
fn of_a_few_the_best_one_passes_and_of_none_nobody() {
    for points in [&[Some(3)][..], &[Some(3), Some(2), Some(0)], &[Some(3), Some(1), Some(2)]] {
        let passages = promote(&without_audits(), &cohort(points), false, &SEED);
        assert_eq!(who(&passages, Passage::Passes), [0]);
    }
    let failed = promote(&rules(), &cohort(&[Some(0), Some(0)]), true, &SEED);
    assert_eq!(who(&failed, Passage::Out), [0, 1]);
    assert!(promote(&rules(), &cohort(&[]), true, &SEED).is_empty());
}

#[test]
fn a_missing_result_keeps_open_only_what_it_can_change() {
    // Two of eight pass: one is surely among them, one may be, the rest surely not.
    let points = [Some(90), Some(80), Some(70), Some(60), Some(50), Some(40), Some(30), None];
    let before = promote(&without_audits(), &cohort(&points), false, &SEED);
    assert_eq!(who(&before, Passage::Passes), [0]);
    assert_eq!(who(&before, Passage::Open), [1, 7]);
    assert_eq!(who(&before, Passage::Out).len(), 5);
    // When it is due, one of seven passes.
    let due = promote(&without_audits(), &cohort(&points), true, &SEED);
    assert_eq!(who(&due, Passage::Passes), [0]);
    assert_eq!(who(&due, Passage::Open), [7]);
}

#[test]
fn audits_are_drawn_by_the_seed_at_about_their_rate() {
    let points: Vec<Option<u64>> = (1..=4_000).map(Some).collect();
    let audits = |seed| who(&promote(&rules(), &cohort(&points), true, &seed), Passage::Audit);
    let (one, other) = (audits([1; 32]), audits([2; 32]));
    // 5 % of the 3,000 that do not pass.
    assert!((110..190).contains(&one.len()), "{}", one.len());
    assert_ne!(one, other);
    assert!(one.iter().all(|at| *at < 3_000), "the best quarter is no audit");
}

#[test]
fn a_cohort_is_a_window_of_blocks_and_each_tier_is_due_later() {
    let rules = ScoringRules::standard().funnel;
    let of = |block| CohortId::of(&rules, BlockNumber(block));
    assert_eq!(of(7_199), of(0));
    assert_ne!(of(7_200), of(0));
    assert_eq!(of(0).closes_at(&rules), BlockNumber(7_200));
    assert_eq!(of(7_200).due_at(&rules, 1), BlockNumber(21_600));
    assert_eq!(of(7_200).due_at(&rules, 2), BlockNumber(28_800));
    let never = FunnelRules { window_blocks: 0, ..rules };
    assert_eq!(CohortId::of(&never, BlockNumber(5)), CohortId(5));
}

#[test]
fn tau_of_known_rankings() {
    let tau = |pairs: &[(u64, u64)]| kendall_tau_b_ppm(pairs);
    assert_eq!(tau(&[(1, 10), (2, 20), (3, 30)]), Some(1_000_000));
    assert_eq!(tau(&[(1, 30), (2, 20), (3, 10)]), Some(-1_000_000));
    assert_eq!(tau(&[(1, 2), (2, 1), (3, 3)]), Some(333_333));
    // One tie on each side: 4 agree, 0 differ, 6 pairs: 4 / sqrt(5 * 5).
    assert_eq!(tau(&[(1, 1), (1, 2), (3, 3), (4, 3)]), Some(800_000));
    assert_eq!(tau(&[(1, 1), (1, 2)]), None);
    assert_eq!(tau(&[]), None);
}

#[test]
fn the_report_counts_what_the_audits_found() {
    let at = |points: u64, passage| TierMember { points: Some(points), passage, device_ms: 1_500 };
    let first = [
        (id(0), at(90, Passage::Passes)),
        (id(1), at(50, Passage::Audit)),
        (id(2), at(40, Passage::Audit)),
        (id(3), at(30, Passage::Out)),
    ];
    let second = [
        (id(0), at(8, Passage::Out)),
        (id(1), at(9, Passage::Passes)),
        (id(2), at(7, Passage::Out)),
    ];
    let third = [(id(1), at(5, Passage::Passes))];
    let tiers = [first.into(), second.into(), third.into()];
    let report = report(&tiers);
    assert_eq!(report.len(), 3);
    let one = &report[0];
    assert_eq!((one.entered, one.scored, one.passed, one.audits), (4, 4, 1, 2));
    assert_eq!((one.pass_rate_ppm, one.device_seconds), (Some(250_000), 6));
    // 90 > 50 > 40 became 8 < 9 > 7: two pairs agree, one differs.
    assert_eq!(one.tau_to_next_ppm, Some(333_333));
    assert_eq!((one.audits_decided, one.false_negatives_ppm), (2, Some(500_000)));
    assert_eq!(report[1].false_negatives_ppm, None);
    assert_eq!(report[2].tau_to_next_ppm, None);
}

proptest! {
    #[test]
    fn what_is_decided_early_is_what_is_decided_in_the_end(
        all in prop::collection::vec(0u64..20, 1..30),
        settled in prop::collection::vec(any::<bool>(), 30),
        pass_ppm in 0u32..=1_000_000,
    ) {
        let rules = TierRules { pass_ppm, ..rules() };
        let full: Vec<Option<u64>> = all.iter().copied().map(Some).collect();
        let part: Vec<Option<u64>> =
            all.iter().zip(&settled).map(|(points, is)| is.then_some(*points)).collect();
        let last = promote(&rules, &cohort(&full), false, &SEED);
        prop_assert!(last.values().all(|passage| *passage != Passage::Open));
        for (id, early) in promote(&rules, &cohort(&part), false, &SEED) {
            prop_assert!(early == Passage::Open || early == last[&id], "{:?}", id);
        }
    }

    #[test]
    fn a_due_cohort_decides_all_that_settled_and_more_points_never_pass_less(
        all in prop::collection::vec(prop::option::of(0u64..20), 1..30),
    ) {
        let members = cohort(&all);
        let passages = promote(&without_audits(), &members, true, &SEED);
        for (one, passage) in &passages {
            let missing = members[one].state == MemberState::Missing;
            prop_assert_eq!(missing, *passage == Passage::Open);
        }
        let points = |number: u16| all[usize::from(number)];
        let least = who(&passages, Passage::Passes).into_iter().map(points).min().flatten();
        let most = who(&passages, Passage::Out).into_iter().map(points).max().flatten();
        prop_assert!(least.is_none() || most <= least);
    }

    #[test]
    fn tau_is_symmetric_and_turns_with_the_order(
        pairs in prop::collection::vec((0u64..6, 0u64..6), 0..20),
    ) {
        let turned: Vec<(u64, u64)> = pairs.iter().map(|(one, other)| (*other, *one)).collect();
        let against: Vec<(u64, u64)> = pairs.iter().map(|(one, other)| (*one, 9 - other)).collect();
        let tau = kendall_tau_b_ppm(&pairs);
        prop_assert_eq!(tau, kendall_tau_b_ppm(&turned));
        prop_assert_eq!(tau, kendall_tau_b_ppm(&against).map(|tau| -tau));
        prop_assert!(tau.is_none_or(|tau| tau.abs() <= 1_000_000));
    }
}
