//! Claims about what is settled for good, and about what is forgotten and what is not.

use std::collections::BTreeSet;

use super::world::{miner, reference, validator, Fate, World, BLOCK_MS};
use crate::admission::Brings;
use crate::duplicates::Sketch;
use crate::funnel::{Passage, ProjectKind};
use crate::id::{ContentDigest, Hotkey, SubmissionId};
use crate::limits::{FORGET_EVERY_BLOCKS, RETENTION_BLOCKS};
use crate::machine::past::Past;
use crate::policy::Policy;
use crate::reward::fingerprint_tests::{fingerprint, ssm, transformer};
use crate::reward::SHARES_TOTAL;
use crate::rows::{Frozen, Row, Table};
use crate::submission::SubmissionState;

const LOSS: u64 = 100_000_000_000_000;

/// Blocks for which the policies of these tests remember.
const MEMORY: u64 = 200;

/// From a commitment until it is forgotten, with some blocks to spare.
const FORGOTTEN_MS: u64 = (MEMORY + RETENTION_BLOCKS + 4 * FORGET_EVERY_BLOCKS) * BLOCK_MS;

fn quick() -> Policy {
    let mut policy = Policy { memory_blocks: MEMORY, ..Policy::quick() };
    policy.agreement.replicas = 1;
    policy
}

fn standings() -> Policy {
    let mut policy = Policy { memory_blocks: MEMORY, ..Policy::dev() };
    policy.agreement.replicas = 1;
    for tier in &mut policy.scoring.funnel.tiers {
        tier.audit_ppm = 0;
    }
    policy
}

fn scores(tenths: u64) -> Fate {
    Fate::Scores { nll_nanonats: LOSS / 10 * tenths }
}

fn submit(world: &mut World, number: usize, fate: Fate) -> (SubmissionId, ContentDigest) {
    let content = world.new_content(|_| true);
    (world.submit_content(miner(number), content, fate), content)
}

fn settle(world: &mut World, ids: &[SubmissionId]) {
    world.run_until(600_000, "settled", |world| {
        ids.iter().all(|id| world.is_settled_everywhere(*id))
    });
    world.run_for(10_000);
}

/// Lets so much time pass that nothing is remembered for its age alone.
fn age(world: &mut World) {
    let tick_ms = std::mem::replace(&mut world.tick_ms, 30_000);
    // Its own bookkeeping is of the promises about rows that are dropped now.
    for ms in [FORGOTTEN_MS / 2, FORGOTTEN_MS / 2] {
        world.run_for(ms);
        world.granted.clear();
        world.acknowledged.clear();
    }
    world.tick_ms = tick_ms;
}

fn is_known(world: &World, id: SubmissionId) -> bool {
    (0..world.hosts.len()).all(|node| world.state(node, id).is_some())
}

fn sketch(first: u64) -> Sketch {
    let shingle = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    Sketch::of(&(first..first + 1_000).map(shingle).collect::<BTreeSet<u64>>())
}

#[test]
fn what_nothing_rests_on_is_forgotten_after_the_memory_and_kept_in_the_freezer() {
    let mut world = World::with_policy(1, 2, 2, quick());
    let content = world.new_content(|_| true);
    world.sketches.insert(content, sketch(0));
    let id = world.submit_content(miner(0), content, scores(40));
    settle(&mut world, &[id]);
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    age(&mut world);
    for node in 0..2 {
        assert_eq!(world.state(node, id), None);
        let disk = &world.hosts[node].disk;
        for table in [Table::Submissions, Table::Outcomes, Table::Verdicts, Table::Receipts] {
            assert_eq!(disk.count(table), 0, "{table:?} at node {node}");
        }
        let of_it = disk.freezer().iter().filter(|frozen| frozen.submission == id);
        let rows: Vec<&Row> = of_it.flat_map(|frozen| &frozen.rows).collect();
        for table in [Table::Submissions, Table::Outcomes, Table::Verdicts, Table::Receipts] {
            assert!(rows.iter().any(|row| row.table() == table), "{table:?} at node {node}");
        }
        let has_sketch = |row: &&&Row| matches!(row, Row::Verdict(row) if row.sketch.is_some());
        assert_eq!(rows.iter().filter(has_sketch).count(), 0);
        assert!(world.dropped.contains(&(node, content)), "its archive goes too");
    }
}

/// Each of these leaves at a block of its own, so that one of them loses its receipts and is
/// forgotten at the same block.
#[test]
fn what_is_put_away_twice_at_one_block_is_in_the_freezer_twice() {
    let every = usize::try_from(FORGET_EVERY_BLOCKS).unwrap();
    let mut world = World::with_policy(12, 1, every, quick());
    let ids: Vec<SubmissionId> =
        (0..every).map(|number| submit(&mut world, number, scores(40)).0).collect();
    settle(&mut world, &ids);
    // Older than the memory while they are on the chain.
    age(&mut world);
    for number in 0..every {
        world.chain.replace(&miner(number), Hotkey([200 + u8::try_from(number).unwrap(); 32]));
        world.run_for(BLOCK_MS);
    }
    age(&mut world);
    let freezer = world.hosts[0].disk.freezer();
    let mut at_once = 0;
    for id in ids {
        assert!(!is_known(&world, id));
        let of_it = || freezer.iter().filter(|frozen| frozen.submission == id);
        assert!(of_it().any(|frozen| frozen.receipts().next().is_some()), "its receipts");
        let has_verdict =
            |frozen: &&Frozen| frozen.rows.iter().any(|row| matches!(row, Row::Verdict(_)));
        assert!(of_it().any(|frozen| has_verdict(&frozen)), "and its verdict");
        let blocks: BTreeSet<_> = of_it().map(|frozen| frozen.at).collect();
        at_once += usize::from(blocks.len() == 1);
    }
    assert!(at_once > 0, "none was put away twice at one block");
}

#[test]
fn a_restart_does_not_begin_the_day_anew_after_which_receipts_are_put_away() {
    let mut world = World::with_policy(13, 1, 2, quick());
    let (gone, _) = submit(&mut world, 0, scores(40));
    settle(&mut world, &[gone]);
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    world.tick_ms = 30_000;
    for _ in 0..2 {
        assert_eq!(world.hosts[0].disk.freezer(), []);
        world.kill(0);
        world.start(0);
        world.run_for((RETENTION_BLOCKS + 20) * BLOCK_MS / 2);
        world.granted.clear();
        world.acknowledged.clear();
    }
    let freezer = world.hosts[0].disk.freezer();
    assert!(freezer.iter().any(|frozen| frozen.receipts().next().is_some()));
}

#[test]
fn a_content_stays_as_long_as_one_of_its_submissions() {
    let mut world = World::with_policy(10, 1, 2, quick());
    let content = world.new_content(|_| true);
    let first = world.submit_content(miner(0), content, scores(40));
    settle(&mut world, &[first]);
    let copy = world.submit_content(miner(1), content, scores(40));
    settle(&mut world, &[copy]);
    world.chain.replace(&miner(1), Hotkey([250; 32]));
    age(&mut world);
    assert!(is_known(&world, first) && !is_known(&world, copy));
    assert_eq!(world.hosts[0].disk.count(Table::Verdicts), 1);
    assert_eq!(world.dropped, []);
}

#[test]
fn the_best_work_of_a_hotkey_is_remembered_while_it_is_registered() {
    let mut world = World::with_policy(2, 1, 2, quick());
    let (best, _) = submit(&mut world, 0, scores(30));
    settle(&mut world, &[best]);
    world.run_for(30 * BLOCK_MS);
    let (worse, _) = submit(&mut world, 0, scores(40));
    settle(&mut world, &[worse]);
    let points = world.hosts[0].machine().points_now();
    age(&mut world);
    assert!(is_known(&world, best) && is_known(&world, worse), "paid, and on the chain");
    assert_eq!(world.hosts[0].machine().points_now(), points);
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    age(&mut world);
    assert!(!is_known(&world, best), "nobody is paid for it any more");
    assert_eq!(world.hosts[0].machine().points_now(), [].into());
}

#[test]
fn a_restart_brings_back_nothing_that_is_forgotten() {
    let mut world = World::with_policy(3, 1, 2, quick());
    let (gone, _) = submit(&mut world, 0, scores(40));
    let (stays, _) = submit(&mut world, 1, scores(40));
    settle(&mut world, &[gone, stays]);
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    age(&mut world);
    let points = world.hosts[0].machine().points_now();
    let runs = world.started.len();
    world.kill(0);
    world.start(0);
    world.run_for(20 * BLOCK_MS);
    assert!(!is_known(&world, gone) && is_known(&world, stays));
    assert_eq!(world.hosts[0].machine().points_now(), points);
    assert_eq!(world.started.len(), runs, "nothing is evaluated again");
}

/// What becomes of a copy of a work that is older than the memory.
fn copy_of_an_old_work(seed: u64, is_replaced: bool) -> SubmissionState {
    let mut world = World::with_policy(seed, 1, 3, quick());
    let content = world.new_content(|_| true);
    world.sketches.insert(content, sketch(0));
    let original = world.submit_content(miner(0), content, scores(40));
    settle(&mut world, &[original]);
    world.run_for(30 * BLOCK_MS);
    if is_replaced {
        let (better, _) = submit(&mut world, 0, scores(30));
        settle(&mut world, &[better]);
    }
    // Older than the memory, and not yet forgotten.
    world.run_for(MEMORY * BLOCK_MS);
    assert!(is_known(&world, original));
    let content = world.new_content(|_| true);
    world.sketches.insert(content, sketch(0));
    let copy = world.submit_content(miner(1), content, scores(40));
    settle(&mut world, &[copy]);
    world.state(0, copy).unwrap()
}

#[test]
fn a_copy_of_a_work_on_the_chain_is_refused_however_old_that_is() {
    let state = copy_of_an_old_work(4, false);
    assert!(matches!(state, SubmissionState::Rejected { .. }), "{state:?}");
}

#[test]
fn what_its_miner_replaced_protects_nothing_beyond_the_memory_whether_forgotten_or_not() {
    let state = copy_of_an_old_work(5, true);
    assert!(matches!(state, SubmissionState::Scored { .. }), "{state:?}");
}

#[test]
fn a_copy_is_judged_beside_what_was_there_when_it_was_committed_whenever_it_is_fetched() {
    let mut world = World::with_policy(14, 1, 3, quick());
    let content = world.new_content(|_| true);
    world.sketches.insert(content, sketch(0));
    let original = world.submit_content(miner(0), content, scores(40));
    settle(&mut world, &[original]);
    world.run_for((MEMORY + 30) * BLOCK_MS);
    let content = world.new_content(|_| true);
    world.sketches.insert(content, sketch(0));
    world.unreachable_contents.insert(content);
    let copy = world.submit_content(miner(1), content, scores(40));
    world.run_for(2 * BLOCK_MS);
    // The original is on the chain no more by the time that the copy is read.
    let (better, _) = submit(&mut world, 0, scores(30));
    world.run_for(30 * BLOCK_MS);
    world.unreachable_contents.clear();
    settle(&mut world, &[copy, better]);
    let state = world.state(0, copy).unwrap();
    assert!(matches!(state, SubmissionState::Rejected { .. }), "{state:?}");
}

/// What becomes of a recipe for an architecture that is older than the memory, and not forgotten.
fn recipe_for_an_old_architecture(seed: u64, is_replaced: bool) -> SubmissionState {
    let mut world = World::with_policy(seed, 1, 3, quick());
    let (architecture, named) = submit(&mut world, 0, scores(40));
    settle(&mut world, &[architecture]);
    world.run_for(30 * BLOCK_MS);
    if is_replaced {
        let (better, _) = submit(&mut world, 0, scores(30));
        settle(&mut world, &[better]);
    }
    world.run_for(MEMORY * BLOCK_MS);
    assert!(is_known(&world, architecture));
    let recipe = world.new_content(|_| true);
    let brings =
        Brings { kind: ProjectKind::TrainingForArch, architecture_id: Some(named.to_string()) };
    world.brings.insert(recipe, brings);
    let recipe = world.submit_content(miner(1), recipe, scores(35));
    settle(&mut world, &[recipe]);
    world.state(0, recipe).unwrap()
}

#[test]
fn a_recipe_can_name_what_is_on_the_chain_and_nothing_that_others_may_have_forgotten() {
    let state = recipe_for_an_old_architecture(15, false);
    assert!(matches!(state, SubmissionState::Scored { .. }), "{state:?}");
    let state = recipe_for_an_old_architecture(16, true);
    assert!(matches!(state, SubmissionState::Rejected { .. }), "{state:?}");
}

#[test]
fn what_a_known_recipe_trains_is_remembered() {
    let mut world = World::with_policy(6, 1, 3, quick());
    let (architecture, named) = submit(&mut world, 0, scores(40));
    settle(&mut world, &[architecture]);
    let recipe = world.new_content(|_| true);
    let brings =
        Brings { kind: ProjectKind::TrainingForArch, architecture_id: Some(named.to_string()) };
    world.brings.insert(recipe, brings);
    let recipe = world.submit_content(miner(1), recipe, scores(35));
    settle(&mut world, &[recipe]);
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    age(&mut world);
    assert!(is_known(&world, architecture) && is_known(&world, recipe));
    world.chain.replace(&miner(1), Hotkey([251; 32]));
    age(&mut world);
    world.run_for(4 * FORGET_EVERY_BLOCKS * BLOCK_MS);
    assert!(!is_known(&world, architecture) && !is_known(&world, recipe));
}

/// A window of five of which one found a family and took the second tier, all of whose miners left.
fn closed_window(seed: u64) -> (World, Vec<SubmissionId>) {
    let mut world = World::with_policy(seed, 2, 6, standings());
    world.architectures.insert(reference().content, fingerprint(&transformer(2)));
    world.chain.params.owner_hotkey = Some(validator(0));
    let mut ids = Vec::new();
    for number in 0..5 {
        let content = world.new_content(|_| true);
        world.architectures.insert(content, fingerprint(&ssm(2)));
        let fate = scores(30 + u64::try_from(number).unwrap());
        ids.push(world.submit_content(miner(number), content, fate));
    }
    world.run_until(3_000_000, "the best one passed all tiers", |world| {
        world.hosts.iter().all(|host| {
            let place = host.machine().place_in_funnel(&ids[0]);
            place.is_some_and(|(tier, _, passage)| (tier, passage) == (3, Passage::Passes))
        })
    });
    for number in 1..5 {
        world.chain.replace(&miner(number), Hotkey([240 + u8::try_from(number).unwrap(); 32]));
    }
    (world, ids)
}

#[test]
fn a_window_that_is_closed_for_good_pays_what_it_paid_before() {
    let (mut world, ids) = closed_window(7);
    let table = |world: &World, node: usize| {
        let machine = world.hosts[node].machine();
        machine.table(machine.view().unwrap().number).unwrap()
    };
    let (before, placed) = (table(&world, 0), world.hosts[0].machine().place_in_funnel(&ids[0]));
    let account = world.hosts[0].machine().account(&ids[1]).unwrap();
    assert_eq!(account.place, Some((1, Passage::Out)));
    assert_eq!(before.families.values().filter(|family| family.owner.is_some()).count(), 1);
    age(&mut world);
    age(&mut world);
    for node in 0..2 {
        assert_eq!(table(&world, node), before, "node {node}");
        let disk = &world.hosts[node].disk;
        assert_eq!(disk.count(Table::Families), before.families.len());
        assert_eq!(disk.count(Table::Horizon), 1);
        assert!(world.state(node, ids[0]).is_some(), "it holds a place");
        assert!(ids[1..].iter().all(|id| world.state(node, *id).is_none()), "the others do not");
        let machine = world.hosts[node].machine();
        assert_eq!(machine.place_in_funnel(&ids[0]), placed, "alone, it is not judged anew");
    }
    let host = &world.hosts[0];
    let freezer = host.disk.freezer().iter().filter(|one| one.submission == ids[1]);
    let records: Vec<Frozen> = freezer.cloned().collect();
    let past = Past::of(&records, &host.config.policy).unwrap().account;
    assert_eq!((past.place, past.merit), (account.place, account.merit));
    world.kill(0);
    world.start(0);
    world.run_for(10 * BLOCK_MS);
    assert_eq!(table(&world, 0), before);
}

#[test]
fn a_later_result_meets_the_families_of_closed_windows() {
    let (mut world, _) = closed_window(8);
    age(&mut world);
    let content = world.new_content(|_| true);
    world.architectures.insert(content, fingerprint(&ssm(2)));
    let much_better = world.submit_content(miner(5), content, scores(15));
    world.run_until(3_000_000, "it takes the family over", |world| {
        world.hosts.iter().all(|host| {
            let shares = host.machine().shares(host.machine().view().unwrap().number);
            shares.is_some_and(|shares| {
                shares.by_hotkey.get(&miner(5)).is_some_and(|part| *part > SHARES_TOTAL / 4)
            })
        })
    });
    assert!(is_known(&world, much_better));
}

/// Up to where windows are closed for good.
fn closed_until(world: &World) -> u64 {
    let rows = world.hosts[0].disk.rows();
    let mut horizons = rows.into_iter().filter_map(|row| {
        let Row::Horizon(row) = row else { return None };
        Some(row.until.0)
    });
    horizons.next().unwrap_or_default()
}

#[test]
fn a_window_with_work_that_is_owed_is_waited_for_twice_as_long() {
    let mut world = World::with_policy(9, 1, 3, standings());
    world.architectures.insert(reference().content, fingerprint(&transformer(2)));
    let content = world.new_content(|_| true);
    world.unreachable_contents.insert(content);
    world.submit_content(miner(0), content, scores(30));
    world.tick_ms = 30_000;
    world.run_for((MEMORY + RETENTION_BLOCKS + 40) * BLOCK_MS);
    assert_eq!(closed_until(&world), 0, "its content may still come");
    world.run_for(MEMORY * BLOCK_MS);
    assert!(closed_until(&world) > 0);
}

#[test]
fn who_was_away_for_long_waits_for_what_is_owed_as_one_that_is_new() {
    let mut world = World::with_policy(17, 1, 3, standings());
    world.architectures.insert(reference().content, fingerprint(&transformer(2)));
    let content = world.new_content(|_| true);
    world.unreachable_contents.insert(content);
    world.submit_content(miner(0), content, scores(30));
    world.run_for(4 * BLOCK_MS);
    world.tick_ms = 30_000;
    world.kill(0);
    world.run_for(2 * (MEMORY + RETENTION_BLOCKS) * BLOCK_MS);
    world.start(0);
    world.run_for(MEMORY / 2 * BLOCK_MS);
    assert_eq!(closed_until(&world), 0, "peers may not even have been asked");
    world.run_for(MEMORY * BLOCK_MS);
    assert!(closed_until(&world) > 0);
}

#[test]
fn what_was_put_away_in_an_earlier_life_is_known_as_such_and_not_listed() {
    let mut world = World::with_policy(11, 1, 2, quick());
    let (gone, _) = submit(&mut world, 0, scores(40));
    let (stays, _) = submit(&mut world, 1, scores(40));
    settle(&mut world, &[gone, stays]);
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    world.tick_ms = 30_000;
    world.run_for((RETENTION_BLOCKS + 20) * BLOCK_MS / 2);
    world.granted.clear();
    world.acknowledged.clear();
    world.run_for((RETENTION_BLOCKS + 20) * BLOCK_MS / 2);
    let listed = |world: &World| -> Vec<SubmissionId> {
        world.hosts[0].machine().listed().map(|one| one.id).collect()
    };
    assert_eq!(listed(&world), [stays]);
    world.kill(0);
    world.start(0);
    world.run_for(3 * BLOCK_MS);
    assert_eq!(listed(&world), [stays], "a restart asks for nothing again");
    // The memory is over; nothing waits for another day after the restart.
    world.run_for((MEMORY + 2 * FORGET_EVERY_BLOCKS) * BLOCK_MS);
    assert!(!is_known(&world, gone) && is_known(&world, stays));
}
