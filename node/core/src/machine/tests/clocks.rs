//! Claims about wall clocks: nobody's lease depends on one.

use super::world::{miner, Fate, World};
use crate::machine::effect::Note;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };
const HOUR_MS: i64 = 60 * 60 * 1000;

fn leases_ended(world: &World) -> usize {
    let is_end =
        |note: &Note| matches!(note, Note::LeaseExpired { .. } | Note::LeaseReleased { .. });
    (0..world.hosts.len()).map(|node| world.notes(node, is_end)).sum()
}

/// A run of a bit more than a TTL, with a jump of one node's wall clock in the middle.
fn jump(node: usize, ms: i64) {
    let mut world = World::with_replicas(1, 2, 1, 2);
    world.run_ms = 90_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "both run it", |world| world.is_running(0) && world.is_running(1));
    world.run_for(10_000);
    world.hosts[node].wall_skew_ms = ms;
    world.run_until(180_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(leases_ended(&world), 0, "node {node} jumped by {ms} ms");
    assert_eq!(world.runs_started(), 2);
    world.check_scores();
}

#[test]
fn case_17_a_wall_clock_that_jumps_an_hour_ends_no_lease() {
    for node in 0..2 {
        for ms in [HOUR_MS, -HOUR_MS] {
            jump(node, ms);
        }
    }
}
