//! Claims about the way from a commitment to a verdict.

use super::host::CrashPoint;
use super::world::{miner, validator, Fate, World, BLOCK_MS};
use crate::admission::{Rejection, Rule};
use crate::machine::effect::Note;
use crate::machine::event::Event;
use crate::policy::Policy;
use crate::rows::{Row, Write};
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

#[test]
fn a_verdict_is_computed_once_for_equal_contents_seen_at_once() {
    let mut world = World::new(1, 1, 3);
    let content = world.new_content(|_| true);
    let ids = [0, 1].map(|index| world.submit_content(miner(index), content, GOOD));
    world.run_until(60_000, "both scored", |world| ids.iter().all(|id| world.is_settled(0, *id)));
    assert_eq!(world.judged[&(0, content)], 1);
    // Nor for one that is seen later, in another life.
    world.kill(0);
    world.start(0);
    let third = world.submit_content(miner(2), content, GOOD);
    world.run_until(60_000, "the third too", |world| world.is_settled(0, third));
    assert_eq!(world.judged[&(0, content)], 1);
}

#[test]
fn a_verdict_lost_in_a_crash_is_computed_again_and_one_that_was_stored_is_not() {
    for (point, times) in [(CrashPoint::BeforeWrites, 2), (CrashPoint::AfterWrites, 1)] {
        let mut world = World::new(2, 1, 2);
        let content = world.new_content(|_| true);
        let ids = [0, 1].map(|index| world.submit_content(miner(index), content, GOOD));
        world.crash_at(0, point, |outcome| {
            outcome.writes.iter().any(|write| matches!(write, Write::Put(Row::Verdict(_))))
        });
        world.run_until(60_000, "scored", |world| ids.iter().all(|id| world.is_settled(0, *id)));
        assert_eq!(world.judged[&(0, content)], times, "{point:?}");
    }
}

#[test]
fn a_commitment_too_soon_after_the_last_one_is_passed_over_and_a_later_one_counts() {
    let mut world = World::new(3, 2, 1);
    let first = world.submit(miner(0), GOOD);
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(first));
    let blocks = Policy::dev().recommit_blocks;
    let allowed_at = world.hosts[0].machine().submissions().next().unwrap().committed_at.0 + blocks;
    world.run_until(90_000, "one block early", |world| world.chain.best().0 + 2 == allowed_at);
    let too_soon = world.submit(miner(0), GOOD);
    world.run_for(BLOCK_MS);
    world.run_until(90_000, "noted", |world| {
        world.notes(0, |note| matches!(note, Note::CommitmentTooSoon { .. })) == 1
            || world.state(0, too_soon).is_some()
    });
    world.run_for(5 * BLOCK_MS);
    assert_eq!(world.state(0, too_soon), None);
    let later = world.submit(miner(0), GOOD);
    world.run_until(90_000, "settled", |world| world.is_settled_everywhere(later));
    assert_eq!(world.notes(0, |note| matches!(note, Note::CommitmentTooSoon { .. })), 1);
}

#[test]
fn a_commitment_exactly_at_the_distance_counts() {
    let mut world = World::new(4, 1, 1);
    let first = world.submit(miner(0), GOOD);
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(first));
    let blocks = Policy::dev().recommit_blocks;
    let allowed_at = world.hosts[0].machine().submissions().next().unwrap().committed_at.0 + blocks;
    world.run_until(90_000, "the block before", |world| world.chain.best().0 + 1 == allowed_at);
    let second = world.submit(miner(0), GOOD);
    world.run_until(90_000, "settled", |world| world.is_settled_everywhere(second));
}

#[test]
fn what_validators_commit_and_what_is_unreadable_is_no_submission_and_said_once() {
    let mut world = World::new(5, 1, 1);
    world.submit(validator(0), GOOD);
    world.chain.commit(miner(0), b"nas:1:nonsense".to_vec());
    world.run_for(20 * BLOCK_MS);
    assert_eq!(world.hosts[0].machine().submissions().count(), 0);
    assert_eq!(world.notes(0, |note| matches!(note, Note::CommitmentByValidator { .. })), 1);
    assert_eq!(world.notes(0, |note| matches!(note, Note::CommitmentUnreadable { .. })), 1);
}

#[test]
fn bytes_that_cannot_be_had_are_asked_for_again_and_a_restart_goes_on_asking() {
    let mut world = World::new(6, 1, 1);
    let content = world.new_content(|_| true);
    world.unreachable_contents.insert(content);
    let id = world.submit_content(miner(0), content, GOOD);
    let has_failed = |world: &World| {
        matches!(world.state(0, id), Some(SubmissionState::Committed { fetch_failure: Some(_) }))
    };
    world.run_until(60_000, "the fetch failed", has_failed);
    world.run_for(30_000);
    assert_eq!(world.notes(0, |note| matches!(note, Note::FetchFailed { .. })), 1, "said once");
    world.kill(0);
    world.start(0);
    world.unreachable_contents.clear();
    world.run_until(60_000, "scored", |world| world.is_settled(0, id));
}

#[test]
fn an_admission_that_failed_here_is_no_verdict_and_is_tried_again_ten_minutes_later() {
    let mut world = World::new(21, 1, 1);
    let content = world.new_content(|_| true);
    world.crashing_contents.insert(content);
    let id = world.submit_content(miner(0), content, GOOD);
    world.run_for(120_000);
    let Some(SubmissionState::Committed { fetch_failure: Some(why) }) = world.state(0, id) else {
        panic!("{:?}", world.state(0, id))
    };
    assert_eq!(why, "a panic");
    assert_eq!(world.judged[&(0, content)], 1);
    world.crashing_contents.clear();
    world.run_until(900_000, "scored", |world| world.is_settled_everywhere(id));
    assert_eq!(world.judged[&(0, content)], 2);
}

#[test]
fn a_copy_of_earlier_content_is_rejected_and_the_original_is_scored() {
    let mut world = World::new(6, 2, 2);
    let content = world.new_content(|_| true);
    let original = world.submit_content(miner(1), content, GOOD);
    world.run_for(2 * BLOCK_MS);
    let copy = world.submit_content(miner(0), content, GOOD);
    world.run_until(90_000, "settled", |world| {
        world.is_settled_everywhere(original) && world.is_settled_everywhere(copy)
    });
    for node in 0..2 {
        let scored = world.state(node, original);
        assert!(matches!(scored, Some(SubmissionState::Scored { .. })), "{scored:?}");
        let Some(SubmissionState::Rejected { rejection }) = world.state(node, copy) else {
            panic!("the copy was not rejected");
        };
        assert_eq!(rejection.rule, Rule::ContentDuplicate);
        assert!(rejection.detail.contains(&miner(1).to_string()), "{rejection}");
    }
}

#[test]
fn unreadable_bytes_reject_the_submission_that_pointed_to_them_and_no_other() {
    let mut world = World::new(7, 1, 2);
    let content = world.new_content(|_| true);
    world.unreachable_contents.insert(content);
    let squatter = world.submit_content(miner(0), content, GOOD);
    world.run_until(60_000, "seen", |world| world.state(0, squatter).is_some());
    let rejection = Rejection::new(Rule::ArchiveFormat, "");
    let life = world.hosts[0].life;
    world.deliver(0, life, Event::ContentUnreadable { submission: squatter, rejection });
    let state = world.state(0, squatter);
    assert!(matches!(state, Some(SubmissionState::Rejected { .. })), "{state:?}");
    world.unreachable_contents.clear();
    let honest = world.submit_content(miner(1), content, GOOD);
    world.run_until(90_000, "settled", |world| world.is_settled(0, honest));
    let state = world.state(0, honest);
    assert!(matches!(state, Some(SubmissionState::Scored { .. })), "{state:?}");
}
