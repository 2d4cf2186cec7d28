//! Claims about receipts that reach a node past the coordinator that accepted them.

use super::world::{miner, validator, Fate, World};
use crate::evidence::Receipt;
use crate::id::SubmissionId;
use crate::limits::{GONE_AFTER_MS, RECEIPTS_PER_PAGE_MAX};
use crate::rows::{ReceiptRow, ReceiptStanding, Row, Write};
use crate::submission::SubmissionState;

const NLL: u64 = 400_000_000_000_000;
const GOOD: Fate = Fate::Scores { nll_nanonats: NLL };

/// Nodes 0 and 1 know a receipt of node 0's sequence; node 2 was away and has no device, and node
/// 0 has died since.
fn known_to_a_mirror(seed: u64) -> (World, SubmissionId) {
    let mut world = World::new(seed, 3, 2);
    world.hosts[2].devices = 0;
    world.kill(2);
    world.start(2);
    world.run_for(2_000);
    world.hosts[2].is_cut_off = true;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled(0, id) && world.is_settled(1, id));
    world.kill(0);
    (world, id)
}

#[test]
fn case_34_receipts_of_a_dead_coordinator_come_from_others_and_its_cursor_stays() {
    let (mut world, id) = known_to_a_mirror(1);
    assert_eq!(world.state(2, id), Some(SubmissionState::Admitted));
    world.hosts[2].is_cut_off = false;
    world.run_until(GONE_AFTER_MS + 60_000, "adopted", |world| world.is_settled(2, id));
    assert_eq!(world.state(2, id), world.state(1, id));
    assert_eq!(world.hosts[2].disk.cursor(&validator(0)).unwrap_or(0), 0);
    world.start(0);
    world.run_until(60_000, "read from itself", |world| {
        world.hosts[2].disk.cursor(&validator(0)) == Some(1)
    });
    assert_eq!(world.hosts[2].machine().receipts().count(), 1);
    world.check_scores();
}

#[test]
fn a_mirrored_receipt_that_waits_for_its_submission_moves_no_cursor() {
    let (mut world, _) = known_to_a_mirror(2);
    let good = world.hosts[1].machine().receipts().next().unwrap().receipt.clone();
    world.hosts[2].is_blind = true;
    let other = world.submit(miner(1), GOOD);
    let unknown = |sequence: u64| {
        let mut receipt = good.clone();
        receipt.evidence.submission.0[0] ^= 1;
        receipt.evidence.lease.0[..8].copy_from_slice(&sequence.to_le_bytes());
        (sequence, receipt)
    };
    // One that becomes known makes the node store its cursor.
    let mut soon = good.clone();
    soon.evidence.submission = other;
    world.give_receipts(2, 1, 0, vec![(8, soon), unknown(9)]);
    world.hosts[2].is_blind = false;
    world.run_until(30_000, "its submission is seen", |world| world.is_admitted_at(2, other));
    world.run_for(10_000);
    assert_eq!(world.hosts[2].disk.cursor(&validator(0)).unwrap_or(0), 0);
}

#[test]
fn a_mirror_that_numbers_wrongly_hides_nothing_that_another_one_has() {
    let mut world = World::new(3, 4, 1);
    for node in [2, 3] {
        world.hosts[node].devices = 0;
        world.kill(node);
        world.start(node);
    }
    world.run_for(2_000);
    world.hosts[2].is_cut_off = true;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled(0, id) && world.is_settled(1, id));
    world.kill(0);
    let good = world.hosts[1].machine().receipts().next().unwrap().receipt.clone();
    let mut nonsense = good;
    nonsense.evidence.submission.0[0] ^= 1;
    world.give_receipts(2, 3, 0, vec![(u64::MAX, nonsense)]);
    world.kill(3);
    world.hosts[2].is_cut_off = false;
    world.run_until(GONE_AFTER_MS + 90_000, "adopted", |world| world.is_settled(2, id));
}

/// Stores receipts with the numbers `from..=until` at `node`, as if node 0 had accepted them.
fn store(world: &mut World, node: usize, good: &Receipt, from: u64, until: u64) {
    let row = |sequence: u64| {
        let mut receipt = good.clone();
        receipt.evidence.submission.0[..8].copy_from_slice(&sequence.to_le_bytes());
        let standing = ReceiptStanding::Counts;
        ReceiptRow { sequence: Some(sequence), standing, receipt }
    };
    let writes: Vec<_> =
        (from..=until).map(row).map(|row| Write::Put(Row::Receipt(Box::new(row)))).collect();
    world.hosts[node].disk.commit_rows(&writes);
}

#[test]
fn a_node_that_was_away_for_long_catches_up_from_a_mirror_page_by_page() {
    let (mut world, id) = known_to_a_mirror(4);
    let good = world.hosts[1].machine().receipts().next().unwrap().receipt.clone();
    let pages = 6;
    let last = pages * u64::try_from(RECEIPTS_PER_PAGE_MAX).unwrap() + 10;
    // What is wanted comes last.
    let mut wanted = good.clone();
    wanted.evidence.lease.0[0] ^= 1;
    world.kill(1);
    let (standing, sequence) = (ReceiptStanding::Counts, Some(last + 1));
    store(&mut world, 1, &good, 2, last);
    let row = ReceiptRow { sequence, standing, receipt: wanted };
    world.hosts[1].disk.commit_rows(&[Write::Put(Row::Receipt(Box::new(row)))]);
    let first = good.evidence.digest();
    world.hosts[1]
        .disk
        .commit_rows(&[Write::Delete(crate::rows::Table::Receipts, first.0.to_vec())]);
    world.start(1);
    world.hosts[2].is_cut_off = false;
    world.run_until(GONE_AFTER_MS + 30_000, "all pages", |world| world.is_settled(2, id));
}
