//! Claims about receipts between nodes.

use super::world::{miner, validator, Fate, World, BLOCK_MS};
use crate::evidence::Receipt;
use crate::id::{Digest, SubmissionId};
use crate::lease::PeerAnswer;
use crate::machine::effect::Note;
use crate::machine::event::{Event, Question};
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

/// Node 0 has scored a submission of its own coordination; node 1 has not yet asked.
fn scored_at_node_0(world: &mut World) -> (SubmissionId, Receipt) {
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "scored at node 0", |world| world.is_settled(0, id));
    let row = world.hosts[0].machine().receipts().next().unwrap();
    (id, row.receipt.clone())
}

/// Gives node 1 a page of receipts, as if node 0 had answered.
fn give_page(world: &mut World, page: Vec<(u64, Receipt)>) {
    let life = world.hosts[1].life;
    let (peer, question) = (validator(0), Question::Receipts { of: validator(0) });
    let result = Ok(PeerAnswer::Receipts(page));
    world.deliver(1, life, Event::PeerAnswered { peer, question, result });
}

#[test]
fn receipts_of_unknown_submissions_are_adopted_when_the_submission_is_seen() {
    let mut world = World::new(1, 2, 1);
    world.run_for(2_000);
    world.hosts[1].is_blind = true;
    let (id, _) = scored_at_node_0(&mut world);
    world.run_for(10_000);
    assert_eq!(world.state(1, id), None, "node 1 sees no blocks");
    let peer = validator(0);
    let known = world.hosts[1].machine().peers().find(|(hotkey, _)| **hotkey == peer).unwrap();
    assert_eq!(known.1.receipts_until(), 1, "node 1 fetched the receipt");
    assert_eq!(world.hosts[1].disk.cursor(&peer), Some(0), "and would fetch it again");
    world.hosts[1].is_blind = false;
    world.run_until(30_000, "adopted", |world| world.is_settled(1, id));
    assert_eq!(world.hosts[1].disk.cursor(&peer), Some(1));
    assert_eq!(world.state(0, id), world.state(1, id));
}

#[test]
fn receipts_of_unknown_submissions_survive_a_restart() {
    let mut world = World::new(2, 2, 1);
    world.run_for(2_000);
    world.hosts[1].is_blind = true;
    let (id, _) = scored_at_node_0(&mut world);
    world.run_for(10_000);
    world.kill(1);
    world.start(1);
    world.hosts[1].is_blind = false;
    world.run_until(30_000, "adopted", |world| world.is_settled(1, id));
    world.check_scores();
}

#[test]
fn receipts_for_something_else_do_not_count() {
    let mut world = World::new(3, 2, 1);
    world.hosts[1].is_cut_off = true;
    let (id, good) = scored_at_node_0(&mut world);
    let change = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = good.clone();
        change(&mut receipt);
        receipt
    };
    let forged = [
        change(&|r| r.evidence.policy = Digest([1; 32])),
        change(&|r| r.evidence.dataset = Digest([1; 32])),
        change(&|r| r.evidence.content.0[0] ^= 1),
        change(&|r| r.evidence.assignment.0[0] ^= 1),
        change(&|r| r.evidence.netuid.0 += 1),
        change(&|r| r.evidence.genesis.0[0] ^= 1),
        change(&|r| r.evidence.metrics = None),
        change(&|r| r.evidence.coordinator = validator(1)),
    ];
    let count = forged.len();
    give_page(&mut world, (1..).zip(forged).collect());
    // Kept, but its worker is nobody: it does not settle anything.
    give_page(&mut world, vec![(20, change(&|r| r.evidence.worker = miner(0)))]);
    assert_eq!(world.state(1, id), Some(SubmissionState::Admitted));
    let ignored = world.notes(1, |note| matches!(note, Note::ReceiptIgnored { .. }));
    assert_eq!(ignored, count);
    give_page(&mut world, vec![(21, good)]);
    assert_eq!(world.state(1, id), world.state(0, id));
}

#[test]
fn a_flood_of_receipts_from_one_peer_does_not_push_out_those_of_another() {
    let mut world = World::new(4, 3, 1);
    world.run_for(2_000);
    world.hosts[1].is_blind = true;
    let id = world.submit_to(2, miner(0), GOOD);
    world.run_for(4 * BLOCK_MS);
    world.hosts[1].is_cut_off = true;
    world.run_until(120_000, "scored at node 2", |world| world.is_settled(2, id));
    let good = world.hosts[2].machine().receipts().next().unwrap().receipt.clone();
    let flood = |number: u64| {
        let mut receipt = good.clone();
        receipt.evidence.coordinator = validator(0);
        receipt.evidence.submission.0[..8].copy_from_slice(&number.to_le_bytes());
        (number, receipt)
    };
    give_page(&mut world, (1..5_000).map(flood).collect());
    world.hosts[0].is_cut_off = true;
    world.hosts[1].is_cut_off = false;
    world.run_for(20_000);
    world.hosts[1].is_cut_off = true;
    world.hosts[1].is_blind = false;
    world.run_until(30_000, "adopted", |world| world.is_settled(1, id));
}

#[test]
fn every_receipt_arrives_though_pages_are_bounded() {
    let mut world = World::new(5, 2, 1);
    let (_, good) = scored_at_node_0(&mut world);
    let many = u64::try_from(crate::limits::RECEIPTS_PER_PAGE_MAX).unwrap() + 50;
    world.hosts[1].is_cut_off = true;
    let rows = (2..=many).map(|sequence| {
        let mut receipt = good.clone();
        receipt.evidence.assignment.0[..8].copy_from_slice(&sequence.to_le_bytes());
        let standing = crate::rows::ReceiptStanding::Counts;
        crate::rows::ReceiptRow { sequence: Some(sequence), standing, receipt }
    });
    let writes: Vec<_> =
        rows.map(|row| crate::rows::Write::Put(crate::rows::Row::Receipt(Box::new(row)))).collect();
    world.kill(0);
    world.hosts[0].disk.commit_rows(&writes);
    world.start(0);
    world.hosts[1].is_cut_off = false;
    world.run_until(60_000, "all fetched", |world| {
        world.hosts[1].disk.cursor(&validator(0)) == Some(many)
    });
}
