//! Claims about review by a language model: only an explicit opinion rejects, nothing is asked
//! twice, and what a model does not say keeps submissions waiting.

use super::world::{miner, Fate, World, BLOCK_MS};
use crate::hold::{Doubt, Resolution};
use crate::id::SubmissionId;
use crate::limits::{REVIEW_RETRY_MS, REVIEW_RETRY_MS_MAX};
use crate::machine::event::Event;
use crate::review::{Opinion, Review, ReviewFailure, ReviewMode, ReviewRules};
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

/// Validators of which the first has submissions reviewed.
fn reviewed(seed: u64, nodes: usize, mode: ReviewMode) -> World {
    let mut world = World::new(seed, nodes, 2);
    configure(&mut world, Some((mode, "one")));
    world
}

fn configure(world: &mut World, review: Option<(ReviewMode, &str)>) {
    world.kill(0);
    let rules = |(mode, model): (ReviewMode, &str)| ReviewRules { mode, model: model.to_owned() };
    world.hosts[0].config.review = review.map(rules);
    world.start(0);
}

fn says(opinion: Opinion) -> Result<Review, ReviewFailure> {
    let file = Some("training.py".to_owned());
    let reason = "it reads\nthe targets".to_owned();
    Ok(Review { opinion, reason, file, line: Some(7), snippet: None })
}

fn away(retry_after_ms: Option<u64>) -> Result<Review, ReviewFailure> {
    Err(ReviewFailure { detail: "it is away".to_owned(), retry_after_ms })
}

fn is_scored(world: &World, id: SubmissionId) -> bool {
    matches!(world.state(0, id), Some(SubmissionState::Scored { .. }))
}

fn waits_since(world: &World, id: SubmissionId) -> Option<Option<String>> {
    match world.state(0, id) {
        Some(SubmissionState::Held { doubt: Doubt::Unreviewed { failure }, .. }) => Some(failure),
        _ => None,
    }
}

#[test]
fn a_submission_is_evaluated_once_the_model_has_nothing_against_it() {
    let mut world = reviewed(1, 1, ReviewMode::Gate);
    let id = world.submit(miner(0), GOOD);
    world.run_for(60_000);
    assert_eq!(waits_since(&world, id), Some(None), "nothing is said, nothing begins");
    assert_eq!((world.runs_started(), world.reviews_asked.len()), (0, 1));
    let held = world.state(0, id).unwrap().to_string();
    assert_eq!(held, "held: it waits for its review by a language model");
    let (life, content) = (world.hosts[0].life, world.reviews_asked[0].2);
    let result = says(Opinion::Approve);
    world.deliver(0, life, Event::Reviewed { content, result });
    world.run_until(120_000, "scored", |world| is_scored(world, id));
    // Another life knows it.
    world.kill(0);
    world.start(0);
    world.run_for(10_000);
    assert_eq!(world.reviews_asked.len(), 1);
    let review = world.hosts[0].machine().account(&id).unwrap().review.unwrap();
    assert_eq!((review.0.as_str(), review.1.opinion), ("one", Opinion::Approve));
}

#[test]
fn an_opinion_against_it_rejects_with_the_models_words_and_place_and_is_not_asked_for_again() {
    let mut world = reviewed(2, 1, ReviewMode::Gate);
    world.reviews.push_back(says(Opinion::Reject));
    let id = world.submit(miner(0), GOOD);
    let is_rejected =
        |world: &World, id| matches!(world.state(0, id), Some(SubmissionState::Rejected { .. }));
    world.run_until(60_000, "rejected", |world| is_rejected(world, id));
    let Some(SubmissionState::Rejected { rejection }) = world.state(0, id) else { panic!() };
    let said = "review-rejected: the model `one` says: it reads the targets (training.py:7)";
    assert_eq!(rejection.to_string(), said);
    // The same content again, by the same miner: what was said holds.
    world.run_for(world.hosts[0].config.policy.recommit_blocks * BLOCK_MS);
    let content = world.reviews_asked[0].2;
    let again = world.submit_content(miner(0), content, GOOD);
    world.run_until(60_000, "rejected too", |world| is_rejected(world, again));
    assert_eq!((world.reviews_asked.len(), world.runs_started()), (1, 0));
}

#[test]
fn a_model_that_is_away_is_asked_ever_more_rarely_and_time_alone_admits_nobody() {
    let mut world = reviewed(3, 1, ReviewMode::Gate);
    world.reviews.extend((0..100_000).map(|_| away(None)));
    let id = world.submit(miner(0), GOOD);
    world.run_until(60_000, "told why", |world| {
        waits_since(world, id) == Some(Some("it is away".to_owned()))
    });
    world.tick_ms = 3_000;
    let patience_ms = world.hosts[0].config.policy.hold_blocks * BLOCK_MS;
    world.run_for(patience_ms + 4 * REVIEW_RETRY_MS_MAX);
    assert!(waits_since(&world, id).is_some() && world.runs_started() == 0);
    let times: Vec<u64> = world.reviews_asked.iter().map(|(at, _, _)| *at).collect();
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] >= REVIEW_RETRY_MS && pauses[0] < 3 * REVIEW_RETRY_MS, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause < REVIEW_RETRY_MS_MAX + 60_000), "{pauses:?}");
    assert!(*pauses.last().unwrap() >= REVIEW_RETRY_MS_MAX, "{pauses:?}");
}

#[test]
fn a_model_that_asks_for_time_gets_it() {
    let mut world = reviewed(4, 1, ReviewMode::Gate);
    world.reviews.extend([away(Some(300_000)), says(Opinion::Approve)]);
    let id = world.submit(miner(0), GOOD);
    world.run_until(600_000, "scored", |world| is_scored(world, id));
    let times: Vec<u64> = world.reviews_asked.iter().map(|(at, _, _)| *at).collect();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= 300_000, "{times:?}");
}

#[test]
fn advice_is_kept_and_nothing_waits_for_it() {
    let mut world = reviewed(5, 1, ReviewMode::Advise);
    world.reviews.extend([away(None), says(Opinion::Reject)]);
    let id = world.submit(miner(0), GOOD);
    world.run_until(120_000, "scored", |world| is_scored(world, id));
    world.run_until(60_000, "advised", |world| {
        world.hosts[0].machine().account(&id).unwrap().review.is_some()
    });
    assert!(is_scored(&world, id), "advice takes nothing back");
}

#[test]
fn a_person_decides_in_the_models_place() {
    for (resolution, is_admitted) in
        [(Resolution::Admit, true), (Resolution::Reject { reason: "no".to_owned() }, false)]
    {
        let mut world = reviewed(6, 1, ReviewMode::Gate);
        let id = world.submit(miner(0), GOOD);
        world.run_until(60_000, "waits", |world| waits_since(world, id).is_some());
        world.resolve(0, id, resolution).unwrap();
        world.run_for(120_000);
        assert_eq!(is_scored(&world, id), is_admitted, "{:?}", world.state(0, id));
        if let Some(SubmissionState::Rejected { rejection }) = world.state(0, id) {
            assert_eq!(rejection.rule.id(), "review-rejected");
        }
    }
}

#[test]
fn another_model_is_asked_anew_and_without_a_model_nothing_waits() {
    let mut world = reviewed(7, 1, ReviewMode::Gate);
    let id = world.submit(miner(0), GOOD);
    world.run_until(60_000, "waits", |world| waits_since(world, id).is_some());
    configure(&mut world, Some((ReviewMode::Gate, "two")));
    world.run_for(10_000);
    assert_eq!(world.reviews_asked.len(), 2);
    assert!(waits_since(&world, id).is_some());
    configure(&mut world, None);
    world.run_until(120_000, "scored", |world| is_scored(world, id));
}

#[test]
fn what_one_validator_refuses_the_others_still_evaluate() {
    let mut world = reviewed(8, 3, ReviewMode::Gate);
    world.reviews.push_back(says(Opinion::Reject));
    let id = world.submit(miner(0), GOOD);
    world.run_until(600_000, "scored elsewhere", |world| {
        (1..3).all(|node| matches!(world.state(node, id), Some(SubmissionState::Scored { .. })))
    });
    assert!(matches!(world.state(0, id), Some(SubmissionState::Rejected { .. })));
}
