//! Claims about works that are like others': copies are refused and what may be one waits, whatever
//! the order in which validators got to know them.

use std::collections::BTreeSet;
use std::ops::Range;

use super::prng::Prng;
use super::world::{miner, Fate, World, BLOCK_MS};
use crate::admission::Verdict;
use crate::duplicates::{KnownSketch, Sketch};
use crate::hold::{NotResolved, Resolution};
use crate::id::{ContentDigest, Digest, SubmissionId};
use crate::limits::RECALL_MAX;
use crate::rows::{Row, VerdictRow, Write};
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

/// Spread, as hashes are.
fn shingle(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

fn sketch_of(numbers: Range<u64>) -> Sketch {
    Sketch::of(&numbers.map(shingle).collect::<BTreeSet<u64>>())
}

/// Of a work whose structure begins at `first`: one that begins 50 later has nine tenths of it.
fn sketch(first: u64) -> Sketch {
    sketch_of(first..first + 1_000)
}

fn submit(world: &mut World, number: usize, first: u64) -> (SubmissionId, ContentDigest) {
    submit_as(world, number, sketch(first))
}

fn submit_as(world: &mut World, number: usize, sketch: Sketch) -> (SubmissionId, ContentDigest) {
    let content = world.new_content(|_| true);
    world.sketches.insert(content, sketch);
    (world.submit_content(miner(number), content, GOOD), content)
}

/// Starts node 0 with more verdicts on its disk than it had.
fn restart_with(world: &mut World, sketches: Vec<(ContentDigest, Digest, Sketch)>) {
    world.kill(0);
    for (content, policy, sketch) in sketches {
        let (verdict, sketch) = (Verdict::admitted(1, 100), Some(sketch));
        let row = Row::Verdict(VerdictRow { content, policy, verdict, sketch });
        world.hosts[0].disk.commit_rows(&[Write::Put(row)]);
    }
    world.start(0);
}

/// An original, and in a later block what somebody else made of it.
fn two_works(seed: u64, nodes: usize, first: u64) -> (World, [SubmissionId; 2], ContentDigest) {
    let mut world = World::with_replicas(seed, nodes, 2, 1);
    let (original, content) = submit(&mut world, 0, 0);
    world.unreachable_contents.insert(content);
    world.run_for(2 * BLOCK_MS);
    let (other, _) = submit(&mut world, 1, first);
    (world, [original, other], content)
}

fn is_scored(world: &World, node: usize, id: SubmissionId) -> bool {
    matches!(world.state(node, id), Some(SubmissionState::Scored { .. }))
}

fn is_rejected(world: &World, node: usize, id: SubmissionId) -> bool {
    matches!(world.state(node, id), Some(SubmissionState::Rejected { .. }))
}

fn is_held(world: &World, node: usize, id: SubmissionId) -> bool {
    matches!(world.state(node, id), Some(SubmissionState::Held { .. }))
}

#[test]
fn a_copy_is_refused_also_where_it_was_known_before_its_original() {
    let (mut world, [original, copy], content) = two_works(1, 2, 0);
    world.run_until(120_000, "the copy alone has a score", |world| {
        (0..2).all(|node| is_scored(world, node, copy))
    });
    world.unreachable_contents.remove(&content);
    world.run_until(600_000, "the original takes its place", |world| {
        (0..2).all(|node| is_scored(world, node, original) && is_rejected(world, node, copy))
    });
    let points = world.hosts[0].machine().points_now();
    assert!(points.contains_key(&miner(0)) && !points.contains_key(&miner(1)), "{points:?}");
    let Some(SubmissionState::Rejected { rejection }) = world.state(0, copy) else { panic!() };
    assert!(rejection.detail.contains(&original.to_string()), "{rejection}");
    // A third node that knows the original first says the same, and so does a restarted one.
    world.kill(0);
    world.start(0);
    world.run_for(60_000);
    assert!(is_rejected(&world, 0, copy) && is_scored(&world, 0, original));
}

#[test]
fn a_copy_that_comes_after_its_original_is_never_evaluated() {
    let (mut world, [original, copy], content) = two_works(2, 2, 0);
    world.unreachable_contents.remove(&content);
    world.run_until(300_000, "one is scored, the other refused", |world| {
        (0..2).all(|node| is_scored(world, node, original) && is_rejected(world, node, copy))
    });
    let runs = world.runs_started();
    world.run_for(60_000);
    assert_eq!(world.runs_started(), runs);
}

/// How many samples of sketches a node remembers.
fn samples(world: &World, node: usize) -> usize {
    world.hosts[node].machine().sketches.values().filter(|known| known.has_sample()).count()
}

#[test]
fn what_nothing_is_like_is_remembered_without_its_sample_until_its_like_comes() {
    let mut world = World::with_replicas(7, 1, 2, 1);
    let contents: Vec<(SubmissionId, ContentDigest)> =
        (0..4).map(|n| submit(&mut world, n, 5_000 * n as u64)).collect();
    let (original, content) = contents[0];
    world.run_until(300_000, "all are scored", |world| {
        contents.iter().all(|(id, _)| is_scored(world, 0, *id))
    });
    assert_eq!((samples(&world, 0), world.recalled.len()), (0, 0));
    let (copy, _) = submit(&mut world, 4, 0);
    world.run_until(120_000, "it is refused", |world| is_rejected(world, 0, copy));
    assert_eq!(world.recalled, [(0, vec![content])]);
    assert_eq!(samples(&world, 0), 2);
    // A node that starts has both, and asks no more.
    world.kill(0);
    world.start(0);
    assert_eq!(samples(&world, 0), 2);
    let (again, _) = submit(&mut world, 5, 0);
    world.run_until(120_000, "it is refused", |world| is_rejected(world, 0, again));
    assert_eq!((samples(&world, 0), world.recalled.len()), (3, 1));
    assert!(is_scored(&world, 0, original));
}

/// Two of one block that are alike are found by a third that is like neither, so that both wait for
/// its sample; whoever is done first is not known to the other when that begins to wait.
#[test]
fn works_that_wait_at_the_same_time_are_compared_with_each_other() {
    let alike_ppm = World::with_replicas(0, 1, 2, 1).hosts[0].config.policy.duplicates.held_ppm;
    let third = sketch(0);
    let is_near = |first: &u64| KnownSketch::outline(&third).has_one_of(&sketch(*first).keys());
    let first = (90..400).find(|first| is_near(first) && is_near(&(first + 10))).unwrap();
    assert!(third.similarity_ppm(&sketch(first)) < alike_ppm);
    for seed in 0..4 {
        let mut world = World::with_replicas(seed, 1, 2, 1);
        let (original, content) = submit(&mut world, 0, 0);
        world.run_until(120_000, "scored", |world| is_scored(world, 0, original));
        let both = [submit(&mut world, 1, first).0, submit(&mut world, 2, first + 10).0];
        world.run_until(300_000, "one is scored, and one refused", |world| {
            both.iter().any(|id| is_scored(world, 0, *id))
                && both.iter().any(|id| is_rejected(world, 0, *id))
        });
        let asked = world.recalled.iter().filter(|(_, of)| of.contains(&content)).count();
        assert_eq!(asked, 2, "both waited for it: {:?}", world.recalled);
        assert_eq!(samples(&world, 0), 2, "the third is like neither");
        world.kill(0);
        world.start(0);
        assert_eq!(samples(&world, 0), 2);
    }
}

/// Works that the search finds by the one of `sketch_of(0..64)`, and that are neither like it nor
/// like each other, under contents that come before all others.
fn near_works(count: usize, policy: Digest) -> Vec<(ContentDigest, Digest, Sketch)> {
    let mut rng = Prng::new(1);
    let keys = sketch_of(0..64).keys();
    let others = std::iter::repeat_with(|| {
        let mut numbers: BTreeSet<u64> = (0..64).collect();
        while numbers.len() > 52 {
            numbers.remove(&rng.below(64));
        }
        let own = std::iter::repeat_with(|| rng.next()).take(12);
        Sketch::of(&numbers.into_iter().map(shingle).chain(own).collect())
    });
    let near = others.filter(|sketch| KnownSketch::outline(sketch).has_one_of(&keys));
    let numbered = (0_u16..).zip(near.take(count));
    let work = |(number, sketch): (u16, Sketch)| {
        let mut content = [0; 32];
        content[2..4].copy_from_slice(&number.to_be_bytes());
        (ContentDigest(content), policy, sketch)
    };
    numbered.map(work).collect()
}

/// All of them are near it, and the last one alone is like it.
#[test]
fn one_that_is_near_more_works_than_are_asked_for_at_once_is_judged_beside_all_of_them() {
    let mut world = World::with_replicas(8, 1, 2, 1);
    let (original, content) = submit_as(&mut world, 0, sketch_of(0..64));
    world.run_until(120_000, "scored", |world| is_scored(world, 0, original));
    let policy = world.hosts[0].config.policy.digest();
    let near = near_works(RECALL_MAX + 10, policy);
    let mut expected: BTreeSet<ContentDigest> = near.iter().map(|(of, ..)| *of).collect();
    assert!(expected.insert(content) && expected.last() == Some(&content));
    restart_with(&mut world, near);
    assert_eq!(samples(&world, 0), 0, "they are like nothing that is known");
    let (copy, _) = submit_as(&mut world, 1, sketch_of(0..64));
    world.run_until(120_000, "it is refused", |world| is_rejected(world, 0, copy));
    let rounds: Vec<usize> = world.recalled.iter().map(|(_, of)| of.len()).collect();
    assert_eq!(rounds, [RECALL_MAX, 11]);
    let asked_for: Vec<ContentDigest> =
        world.recalled.iter().flat_map(|(_, of)| of.iter().copied()).collect();
    assert!(asked_for.into_iter().eq(expected), "each of them once");
    assert!(is_scored(&world, 0, original));
}

#[test]
fn what_is_too_large_or_too_small_to_be_like_a_work_is_not_read_for_it() {
    let [large, small] = [sketch_of(0..1_200), sketch_of(0..1_000)];
    assert!(KnownSketch::outline(&large).has_one_of(&small.keys()), "the search finds it");
    for works in [[large.clone(), small.clone()], [small, large]] {
        let mut world = World::with_replicas(9, 1, 2, 1);
        for (number, sketch) in works.into_iter().enumerate() {
            let (id, _) = submit_as(&mut world, number, sketch);
            world.run_until(120_000, "scored", |world| is_scored(world, 0, id));
        }
        assert_eq!((samples(&world, 0), world.recalled.len()), (0, 0));
    }
}

#[test]
fn of_a_content_that_several_policies_judged_the_sketch_of_this_one_counts() {
    for other_policy in [Digest([0; 32]), Digest([u8::MAX; 32])] {
        let mut world = World::with_replicas(10, 1, 2, 1);
        let (original, content) = submit(&mut world, 0, 0);
        world.run_until(120_000, "scored", |world| is_scored(world, 0, original));
        restart_with(&mut world, vec![(content, other_policy, sketch(9_000))]);
        let (copy, _) = submit(&mut world, 1, 0);
        world.run_until(120_000, "it is refused", |world| is_rejected(world, 0, copy));
        let (other, _) = submit(&mut world, 2, 9_000);
        world.run_until(120_000, "scored", |world| is_scored(world, 0, other));
    }
}

/// What another policy made of a content is a copy's sketch; what this one did is only near it.
#[test]
fn a_sample_is_not_taken_for_that_of_another_sketch_of_its_content() {
    let copied = sketch(0);
    let is_near = |first: &u64| KnownSketch::outline(&copied).has_one_of(&sketch(*first).keys());
    let first = (90..400).find(is_near).unwrap();
    let mut world = World::with_replicas(11, 1, 2, 1);
    let (original, content) = submit(&mut world, 0, first);
    world.run_until(120_000, "scored", |world| is_scored(world, 0, original));
    restart_with(&mut world, vec![(content, Digest([0; 32]), copied)]);
    let (other, _) = submit(&mut world, 1, 0);
    world.run_until(120_000, "scored", |world| is_scored(world, 0, other));
    assert_eq!(world.recalled, [(0, vec![content])]);
    assert_eq!(samples(&world, 0), 0);
}

#[test]
fn who_dies_while_samples_are_read_or_cannot_read_them_judges_the_copy_later() {
    for seed in 0..8 {
        let (is_damaged, is_killed) = (seed % 2 == 0, seed % 4 > 1);
        let mut world = World::with_replicas(seed, 1, 2, 1);
        let (original, content) = submit(&mut world, 0, 0);
        world.run_until(120_000, "scored", |world| is_scored(world, 0, original));
        world.has_damaged_sketches = is_damaged;
        let (copy, copied) = submit(&mut world, 1, 0);
        world.run_until(120_000, "samples are asked for", |world| !world.recalled.is_empty());
        assert_eq!(world.recalled, [(0, vec![content])]);
        if is_killed {
            world.kill(0);
            world.start(0);
        }
        world.run_for(BLOCK_MS);
        world.has_damaged_sketches = false;
        world.run_until(3_600_000, "the copy is refused", |world| is_rejected(world, 0, copy));
        // Who died had no verdict yet; who lives waits for the answer and asks for no second one.
        let times = 1 + usize::from(is_damaged) + usize::from(is_killed);
        assert_eq!(world.judged[&(0, copied)], times, "{seed}");
        assert!(is_scored(&world, 0, original));
    }
}

#[test]
fn a_miner_may_send_its_own_work_again_and_others_work_of_their_own() {
    let mut world = World::with_replicas(3, 1, 2, 1);
    let (first, _) = submit(&mut world, 0, 0);
    world.run_until(60_000, "scored", |world| is_scored(world, 0, first));
    world.run_for(world.hosts[0].config.policy.recommit_blocks * BLOCK_MS);
    let (own, _) = submit(&mut world, 0, 0);
    let (other, _) = submit(&mut world, 1, 5_000);
    world.run_until(120_000, "both are scored", |world| {
        is_scored(world, 0, own) && is_scored(world, 0, other)
    });
}

#[test]
fn what_may_be_a_copy_waits_for_a_person_and_is_evaluated_when_one_says_so() {
    let (mut world, [original, similar], content) = two_works(4, 1, 50);
    world.unreachable_contents.remove(&content);
    world.run_until(300_000, "held", |world| is_held(world, 0, similar));
    world.run_until(120_000, "scored", |world| is_scored(world, 0, original));
    let held = world.state(0, similar).unwrap();
    assert!(held.to_string().starts_with("held: 90."), "{held}");
    assert_eq!(world.runs_started(), 1);
    assert_eq!(world.resolve(0, original, Resolution::Admit), Err(NotResolved::NotHeld));
    let unknown = SubmissionId([9; 32]);
    assert_eq!(world.resolve(0, unknown, Resolution::Admit), Err(NotResolved::Unknown));
    let admitted = world.resolve(0, similar, Resolution::Admit).unwrap();
    assert_eq!(admitted.state, SubmissionState::Admitted);
    let resolved = admitted.resolved.unwrap();
    assert_eq!(resolved.by_person, Some(Resolution::Admit));
    world.run_until(120_000, "scored", |world| is_scored(world, 0, similar));
    // Nobody is asked again.
    world.kill(0);
    world.start(0);
    world.run_for(60_000);
    assert!(is_scored(&world, 0, similar));
}

#[test]
fn what_a_person_refuses_is_rejected_with_the_reason() {
    let (mut world, [_, similar], content) = two_works(5, 1, 50);
    world.unreachable_contents.remove(&content);
    world.run_until(300_000, "held", |world| is_held(world, 0, similar));
    let reason = "the same model with another name".to_owned();
    let refused = world.resolve(0, similar, Resolution::Reject { reason }).unwrap();
    assert!(refused.state.to_string().contains("the same model with another name"));
    world.kill(0);
    world.start(0);
    world.run_for(60_000);
    assert!(is_rejected(&world, 0, similar));
}

#[test]
fn what_nobody_decides_about_is_evaluated_after_the_policys_time() {
    let (mut world, [_, similar], content) = two_works(6, 1, 50);
    world.unreachable_contents.remove(&content);
    world.run_until(300_000, "held", |world| is_held(world, 0, similar));
    world.tick_ms = 3_000;
    let patience_ms = world.hosts[0].config.policy.hold_blocks * BLOCK_MS;
    world.run_for(patience_ms - 10 * BLOCK_MS);
    assert!(is_held(&world, 0, similar));
    world.run_until(120_000 + 10 * BLOCK_MS, "scored", |world| is_scored(world, 0, similar));
}
