//! Claims about what can be told of a submission that was put away.

use super::*;
use crate::admission::{Brings, Rule};
use crate::assignment::Assignment;
use crate::commitment::Location;
use crate::evidence::tests::metrics;
use crate::evidence::{Evidence, Receipt};
use crate::funnel::Task;
use crate::id::{
    Attempt, BlockHash, ContentDigest, Digest, LeaseId, Netuid, RunId, Salt, Signature,
};
use crate::lease::{LeaseState, Spent};
use crate::outcome::Ending;
use crate::review::{Opinion, Review};
use crate::round;
use crate::unit::{BlockNumber, UnixMs};

const WORKER: Hotkey = Hotkey([7; 32]);

fn submission(state: SubmissionState) -> Submission {
    let (content, seed) = (ContentDigest([2; 32]), BlockHash([3; 32]));
    let (block, location) = (BlockNumber(5), Location::Peers);
    let mut one = Submission::committed(Hotkey([1; 32]), block, content, location, seed);
    one.state = state;
    one
}

fn scored(points: u64) -> Submission {
    submission(SubmissionState::Scored { points })
}

fn outcome(tier: u8, unit: u8, points: u64) -> Row {
    Row::Outcome(OutcomeRow {
        trial: Trial { submission: scored(0).id, tier, unit },
        verdict: round::Verdict::Scored { points },
        worker: Some(WORKER),
        architecture: None,
        decided_at: BlockNumber(9),
    })
}

/// That it was admitted, with a finding that costs nothing.
fn admitted(policy: Digest) -> Row {
    let flags = vec![Rejection::new(Rule::ArchiveFormat, "only told")];
    let brings = Brings { kind: ProjectKind::Full, architecture_id: None };
    let verdict = Verdict::Admitted { files: 1, unpacked_bytes: 2, flags, brings };
    Row::Verdict(VerdictRow { content: scored(0).content, policy, verdict, sketch: None })
}

fn receipt(tier: u8, unit: u8, standing: ReceiptStanding) -> ReceiptRow {
    let submission = scored(0);
    let evidence = Evidence {
        genesis: BlockHash([1; 32]),
        netuid: Netuid(2),
        assignment: assignment(tier, unit).id,
        submission: submission.id,
        tier,
        unit,
        content: submission.content,
        lease: LeaseId([6; 32]),
        attempt: Attempt(1),
        run: RunId([8; 32]),
        coordinator: Hotkey([9; 32]),
        worker: WORKER,
        policy: Policy::dev().digest(),
        dataset: Digest([12; 32]),
        image: Digest([13; 32]),
        device: "cpu".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics(1_000 + u64::from(tier))),
        started_at: UnixMs(14),
        ended_at: UnixMs(15),
        salt: Salt([16; 32]),
        coordinator_sealed: None,
        shown_before: BTreeMap::new(),
    };
    let receipt = Receipt { evidence, signature: Signature([0; 64]) };
    ReceiptRow { sequence: Some(1), standing, receipt }
}

fn assignment(tier: u8, unit: u8) -> Assignment {
    Assignment::derive(&scored(0), (tier, unit), 0, Policy::dev().digest())
}

fn lease(state: LeaseState) -> Row {
    let (assignment, spent) = (assignment(1, 0), Spent::default());
    let (attempt, reopened) = (Attempt(3), Vec::new());
    Row::Lease(Box::new(LeaseRow { assignment, attempt, spent, state, reopened }))
}

fn record(at: u64, rows: Vec<Row>) -> Frozen {
    Frozen { submission: scored(0).id, at: BlockNumber(at), part: 0, rows }
}

fn past(records: &[Frozen]) -> Past {
    Past::of(records, &Policy::dev()).unwrap()
}

#[test]
fn nothing_is_told_of_one_of_which_nothing_was_put_away() {
    assert_eq!(Past::of(&[], &Policy::dev()), None);
    let unnamed = record(7, vec![outcome(1, 0, 5)]);
    assert_eq!(Past::of(&[unnamed], &Policy::dev()), None);
}

#[test]
fn of_several_records_the_newest_row_counts() {
    let disputed = Row::Submission(submission(SubmissionState::Disputed));
    let first = record(7, vec![disputed, outcome(1, 0, 5), outcome(1, 1, 6)]);
    let second = record(9, vec![Row::Submission(scored(8)), outcome(1, 0, 8)]);
    let account = past(&[first, second]).account;
    assert_eq!(account.submission, scored(8));
    let points = |row: &OutcomeRow| match row.verdict {
        round::Verdict::Scored { points } => points,
        round::Verdict::Failed { .. } | round::Verdict::Disputed => 0,
    };
    assert_eq!(account.outcomes.iter().map(points).collect::<Vec<_>>(), [8, 6]);
    assert_eq!(account.explanation.summary, "scored with 8 points");
    assert_eq!(account.explanation.required, 0, "nobody waits for a result");
}

/// Scored with 5 points in the first tier, and with 400 in all units of the second one.
fn in_second_tier(policy: Digest) -> Vec<Frozen> {
    let funnel = Policy::dev().scoring.funnel;
    let units = funnel.tier(2).unwrap().units(ProjectKind::Full);
    let decided = units.iter().map(|plan| outcome(2, plan.unit, 400));
    let rows = [Row::Submission(scored(5)), admitted(policy), outcome(1, 0, 5)];
    vec![record(7, rows.into_iter().chain(decided).collect())]
}

#[test]
fn its_merit_is_that_of_the_latest_tier_in_which_it_has_a_score() {
    let records = in_second_tier(Policy::dev().digest());
    assert_eq!(past(&records).account.merit, Some(Merit { tier: 2, points: 400 }));
    let failed = submission(SubmissionState::Failed { ending: Ending::OutOfMemory });
    let failed = record(7, vec![Row::Submission(failed), admitted(Policy::dev().digest())]);
    assert_eq!(past(&[failed]).account.merit, None);
}

#[test]
fn under_other_rules_its_merit_is_that_of_the_first_tier_and_its_units_are_not_told() {
    let past = past(&in_second_tier(Digest([99; 32])));
    assert_eq!(past.account.merit, Some(Merit { tier: 1, points: 5 }));
    assert_eq!(past.account.flags.len(), 1, "what was found then was found");
    let funnel = Policy::dev().scoring.funnel;
    assert!(past.unit_results(&funnel, &[]).is_empty());
}

#[test]
fn its_units_are_told_with_the_numbers_that_decided() {
    let past = past(&in_second_tier(Policy::dev().digest()));
    let funnel = Policy::dev().scoring.funnel;
    let receipts = [receipt(2, 0, ReceiptStanding::Late), receipt(2, 1, ReceiptStanding::Counts)];
    let results = past.unit_results(&funnel, &receipts);
    let of_second = results.iter().filter(|result| result.tier == 2);
    let measured: Vec<_> = of_second
        .map(|result| (result.plan.unit, result.metrics.map(|one| one.sum_nll_nanonats)))
        .collect();
    assert_eq!(measured.get(..2).unwrap(), [(0, None), (1, Some(1_002))]);
    let texts = results.iter().filter(|one| matches!(one.plan.task, Task::Text { .. }));
    assert!(texts.count() > 2, "{results:?}");
}

#[test]
fn the_curve_of_the_first_decisive_run_and_who_measured_are_told() {
    let rows = vec![
        Row::Submission(scored(5)),
        outcome(1, 0, 5),
        Row::Receipt(Box::new(receipt(1, 0, ReceiptStanding::Counts))),
        lease(LeaseState::Exhausted { last: "no disk".to_owned() }),
    ];
    let account = past(&[record(7, rows)]).account;
    assert_eq!(account.metrics, Some(metrics(1_001)));
    assert_eq!(account.explanation.claims, [WORKER]);
    let [replica] = account.explanation.replicas.as_slice() else { panic!("one replica") };
    assert_eq!((replica.assignment, replica.attempt), (assignment(1, 0).id, Attempt(3)));
    assert_eq!(replica.state, "no disk");
}

#[test]
fn what_a_model_said_of_it_is_told_with_the_models_name() {
    let review = Review {
        opinion: Opinion::Approve,
        reason: "it learns".to_owned(),
        file: None,
        line: None,
        snippet: None,
    };
    let row = ReviewRow {
        content: scored(0).content,
        policy: Policy::dev().digest(),
        model: "one".to_owned(),
        review: review.clone(),
    };
    let rows = vec![Row::Submission(scored(5)), Row::Review(row)];
    assert_eq!(past(&[record(7, rows)]).account.review, Some(("one".to_owned(), review)));
}
