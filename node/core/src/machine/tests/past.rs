//! Claims about what can be told of a submission from what a machine put away of it.

use super::world::{miner, Fate, World, BLOCK_MS};
use crate::id::Hotkey;
use crate::limits::RETENTION_BLOCKS;
use crate::machine::past::Past;
use crate::rows::Frozen;

#[test]
fn what_was_put_away_tells_what_the_machine_had_told() {
    let mut world = World::new(18, 1, 1);
    let id = world.submit(miner(0), Fate::Scores { nll_nanonats: 400_000_000_000_000 });
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(10_000);
    let known = world.hosts[0].machine().account(&id).unwrap();
    assert!(known.metrics.is_some() && !known.outcomes.is_empty(), "{known:?}");
    world.tick_ms = 30_000;
    world.chain.replace(&miner(0), Hotkey([250; 32]));
    // What was promised on rows that are put away is not held against anybody.
    world.granted.clear();
    world.acknowledged.clear();
    world.run_for((RETENTION_BLOCKS + 40) * BLOCK_MS);
    let host = &world.hosts[0];
    let records: Vec<Frozen> =
        host.disk.freezer().iter().filter(|one| one.submission == id).cloned().collect();
    let past = Past::of(&records, &host.config.policy).unwrap();
    assert_eq!(past.account.submission.state, known.submission.state);
    assert_eq!(past.account.outcomes, known.outcomes);
    assert_eq!(past.account.metrics, known.metrics);
    assert_eq!(past.account.merit.map(|merit| merit.tier), Some(1));
    assert_eq!(past.account.explanation.claims, known.explanation.claims);
}
