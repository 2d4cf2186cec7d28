//! Histories chosen by chance: whatever goes wrong, after healing everybody agrees.

use super::world::{miner, validator, Fate, Faults, World, BLOCK_MS};
use crate::id::SubmissionId;
use crate::lease::LeaseState;
use crate::outcome::Ending;

const NODES: usize = 3;
const MINERS: usize = 10;

fn fate(world: &mut World) -> Fate {
    match world.rng.below(8) {
        0 => Fate::IsRejected,
        1 => Fate::Ends(Ending::NotCausal { batch: 1 }),
        2 => Fate::Ends(Ending::OutOfMemory),
        _ => Fate::Scores { nll_nanonats: 200_000_000_000_000 + world.rng.below(1 << 48) },
    }
}

fn choose_faults(world: &mut World) -> Faults {
    Faults {
        lost_messages: world.rng.below(200),
        duplicated_messages: world.rng.below(200),
        delay_ms_max: 1 + world.rng.below(15_000),
        crashes: world.rng.below(12),
        failed_fetches: world.rng.below(300),
        lost_extrinsics: world.rng.below(500),
    }
}

/// Whether its lease ran out of attempts: then it waits for a person.
fn is_exhausted(world: &World, id: SubmissionId) -> bool {
    world.hosts.iter().filter(|host| host.is_up()).any(|host| {
        host.machine().leases().any(|lease| {
            let row = lease.row();
            row.assignment.submission == id && matches!(row.state, LeaseState::Exhausted { .. })
        })
    })
}

fn history(seed: u64) -> usize {
    let replicas = 1 + u8::try_from(seed % 3).unwrap();
    let mut world = World::with_replicas(seed, NODES, MINERS, replicas);
    world.tick_ms = 2_000;
    world.run_ms = 1_000 + world.rng.below(20_000);
    world.faults = choose_faults(&mut world);
    world.chain.include_after = 1 + world.rng.below(4);
    let mut ids = Vec::new();
    for index in 0..MINERS {
        let fate = fate(&mut world);
        ids.push(world.submit(miner(index), fate));
        let pause_ms = BLOCK_MS + world.rng.below(8_000);
        world.run_for(pause_ms);
        let node = usize::try_from(world.rng.below(NODES as u64)).unwrap();
        let is_cut_off = world.rng.happens(300);
        world.hosts[node].is_cut_off = is_cut_off;
        world.chain.is_forgetful = world.rng.happens(200);
    }
    heal(&mut world);
    world.run_until(900_000, "everything ends after healing", |world| {
        ids.iter().all(|id| world.is_settled_everywhere(*id) || is_exhausted(world, *id))
    });
    let landed: Vec<usize> = (0..NODES).map(|node| world.landed(node)).collect();
    world.run_until(400_000, "two more vectors of each", |world| {
        (0..NODES).all(|node| world.landed(node) >= landed[node] + 2)
    });
    agree(&world, &ids);
    ids.iter().filter(|id| is_exhausted(&world, **id)).count()
}

fn heal(world: &mut World) {
    world.faults = Faults::default();
    world.chain.is_forgetful = false;
    world.chain.include_after = 1;
    for host in &mut world.hosts {
        host.is_cut_off = false;
    }
}

fn agree(world: &World, ids: &[SubmissionId]) {
    world.check_scores();
    for node in 1..NODES {
        for id in ids {
            assert_eq!(world.state(0, *id), world.state(node, *id), "{id}\n{}", world.picture());
        }
        let vectors = [0, node].map(|node| world.chain.weights_of(&validator(node)));
        assert_eq!(vectors[0], vectors[1], "{}", world.picture());
    }
}

/// Fifty seeds; more than a few exhausted leases would mean that faults are counted wrongly.
fn histories(from: u64) {
    let exhausted: usize = (from..from + 50).map(history).sum();
    assert!(exhausted < 10, "{exhausted} of 500 submissions ran out of attempts");
}

#[test]
fn case_16_after_any_faults_everything_ends_and_all_agree_first_part() {
    histories(0);
}

#[test]
fn case_16_after_any_faults_everything_ends_and_all_agree_second_part() {
    histories(50);
}

#[test]
fn case_16_after_any_faults_everything_ends_and_all_agree_third_part() {
    histories(100);
}

#[test]
fn case_16_after_any_faults_everything_ends_and_all_agree_fourth_part() {
    histories(150);
}
