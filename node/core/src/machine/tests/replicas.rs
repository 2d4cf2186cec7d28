//! Claims about evaluations by several validators: sealed first, shown together, believed where
//! they agree.

use super::asking::held;
use super::perform::SIGN_MS;
use super::world::{miner, validator, Fate, World, BLOCK_MS};
use crate::evidence::{Evidence, Receipt};
use crate::id::{Digest, Hotkey, RunId, Signature, SubmissionId};
use crate::lease::{
    lease_id, Grant, HeldStage, HoldAnswer, LeaseAnswer, LeaseRefusal, LeaseState, PeerAnswer,
    Seal, Spent,
};
use crate::limits::{
    LEASE_TTL_MS, REPLICAS_MAX, REVEAL_WAIT_MS, SELF_GRANT_AFTER_MS, UNABLE_AFTER_BLOCKS,
};
use crate::machine::effect::Note;
use crate::machine::event::{Event, Question};
use crate::rows::{ReceiptStanding, RunState};
use crate::submission::SubmissionState;

const NLL: u64 = 400_000_000_000_000;
const GOOD: Fate = Fate::Scores { nll_nanonats: NLL };
const LIE: u64 = NLL / 2;

/// `validators` nodes with `replicas`, of which only node 0 is up; a submission that it
/// coordinates is open there.
fn open_at_node_0(seed: u64, validators: usize, replicas: u8) -> (World, SubmissionId) {
    let mut world = World::with_replicas(seed, validators, 1, replicas);
    for node in 1..validators {
        world.kill(node);
    }
    // It evaluates nothing itself and grants to whoever asks.
    world.hosts[0].devices = 0;
    world.kill(0);
    world.start(0);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(30_000, "open", |world| world.hosts[0].machine().leases().next().is_some());
    (world, id)
}

#[test]
fn two_validators_evaluate_each_submission_and_agree() {
    let mut world = World::with_replicas(1, 2, 2, 2);
    let ids = [world.submit_to(0, miner(0), GOOD), world.submit_to(1, miner(1), GOOD)];
    world.run_until(120_000, "settled", |world| {
        ids.iter().all(|id| world.is_settled_everywhere(*id))
    });
    world.run_for(60_000);
    assert_eq!([world.runs_started_at(0), world.runs_started_at(1)], [2, 2]);
    for id in ids {
        assert_eq!(world.state(0, id), world.state(1, id));
        assert_eq!(world.claimants_at(0, id), [0, 1]);
        assert_eq!(world.claimants_at(1, id), [0, 1]);
    }
    world.check_scores();
}

#[test]
fn where_two_agree_a_third_is_not_asked() {
    let mut world = World::with_replicas(2, 3, 1, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(120_000);
    assert_eq!(world.runs_started(), 2);
    world.check_scores();
}

#[test]
fn a_validator_alone_believes_itself_however_many_the_policy_asks_for() {
    let mut world = World::with_replicas(3, 1, 1, 3);
    let id = world.submit(miner(0), GOOD);
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.runs_started(), 1);
}

#[test]
fn three_validators_settle_what_the_policy_wants_from_five() {
    let mut world = World::with_replicas(4, 3, 1, 5);
    let id = world.submit(miner(0), GOOD);
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.runs_started(), 3);
    world.check_scores();
}

#[test]
fn sixteen_validators_agree_and_each_evaluation_is_run_three_times() {
    let mut world = World::with_replicas(5, 16, 6, 3);
    world.tick_ms = 2_000;
    world.run_ms = 2_000;
    let ids: Vec<_> = (0..6).map(|index| world.submit(miner(index), GOOD)).collect();
    world.run_until(120_000, "settled", |world| {
        ids.iter().all(|id| world.is_settled_everywhere(*id))
    });
    assert_eq!(world.runs_started(), 18);
    for id in ids {
        let state = world.state(0, id);
        assert!((1..16).all(|node| world.state(node, id) == state));
    }
    world.check_scores();
}

#[test]
fn sixty_four_validators_agree_and_run_each_evaluation_no_more_often() {
    let mut world = World::with_replicas(5, 64, 2, 3);
    world.tick_ms = 3_000;
    world.run_ms = 2_000;
    let ids: Vec<_> = (0..2).map(|index| world.submit(miner(index), GOOD)).collect();
    world.run_until(120_000, "settled", |world| {
        ids.iter().all(|id| world.is_settled_everywhere(*id))
    });
    assert_eq!(world.runs_started(), 6);
    for id in ids {
        let state = world.state(0, id);
        assert!((1..64).all(|node| world.state(node, id) == state));
    }
}

#[test]
fn results_are_shown_when_as_many_are_sealed_as_were_opened() {
    let (mut world, _) = open_at_node_0(6, 3, 2);
    let grants = [world.acquire(1, 0), world.acquire(2, 0)];
    let receipts = [1, 2].map(|worker| world.receipt_saying(worker, &grants[worker - 1], NLL));
    assert_eq!(world.seal_at(0, &receipts[0]), HoldAnswer::Kept);
    let early = world.renew_at(1, 0, &grants[0], HeldStage::Sealed);
    assert_eq!(early, HoldAnswer::Kept, "the other one still runs");
    let both = HoldAnswer::Reveal(receipts.iter().map(World::seal).collect());
    assert_eq!(world.seal_at(0, &receipts[1]), both);
    assert_eq!(world.renew_at(1, 0, &grants[0], HeldStage::Sealed), both);
}

#[test]
fn case_35_receipts_are_public_only_once_their_evaluation_is_decided() {
    let (mut world, id) = open_at_node_0(7, 3, 2);
    let grants = [world.acquire(1, 0), world.acquire(2, 0)];
    let receipts = [1, 2].map(|worker| world.receipt_saying(worker, &grants[worker - 1], NLL));
    world.seal_at(0, &receipts[0]);
    // A worker that shows its result early does not make it public.
    assert_eq!(world.complete_at(0, &receipts[0]), LeaseAnswer::Accepted);
    let sequences = |world: &World| -> Vec<Option<u64>> {
        world.hosts[0].machine().receipts().map(|row| row.sequence).collect()
    };
    assert_eq!(sequences(&world), [None]);
    world.seal_at(0, &receipts[1]);
    world.run_for(5_000);
    assert_eq!(sequences(&world), [None], "the other one could still seal anew");
    assert_eq!(world.complete_at(0, &receipts[1]), LeaseAnswer::Accepted);
    let mut public = sequences(&world);
    public.sort_unstable();
    assert_eq!(public, [Some(1), Some(2)]);
    assert!(matches!(world.state(0, id), Some(SubmissionState::Scored { .. })));
}

#[test]
fn a_result_that_is_public_elsewhere_is_not_kept_from_others_here() {
    let (mut world, id) = open_at_node_0(43, 3, 3);
    let receipts = [1, 2].map(|worker| {
        let grant = world.acquire(worker, 0);
        world.receipt_saying(worker, &grant, NLL)
    });
    for receipt in &receipts {
        world.seal_at(0, receipt);
    }
    assert_eq!(world.complete_at(0, &receipts[0]), LeaseAnswer::Accepted);
    let own_rows = |world: &World| -> Vec<Option<u64>> {
        let rows = world.hosts[0].machine().receipts();
        let own = rows.filter(|row| row.receipt.evidence.coordinator == validator(0));
        own.map(|row| row.sequence).collect()
    };
    assert_eq!(own_rows(&world), [None], "the other one is not shown");
    let elsewhere = world.granted_before(id, 1);
    let same = world.receipt_saying(1, &elsewhere, NLL);
    world.give_receipts(0, 1, 1, vec![(1, same)]);
    // What it says of node 0 is what others have to know to settle as it does.
    assert_eq!(own_rows(&world), [Some(1)]);
}

#[test]
fn a_receipt_for_a_trial_that_nobody_asks_for_is_not_kept_and_opens_nothing() {
    let (mut world, id) = open_at_node_0(45, 3, 2);
    let mut grant = world.granted_before(id, 1);
    let known = world.hosts[0].machine().submissions().find(|known| known.id == id).unwrap();
    let policy = world.hosts[0].config.policy.digest();
    grant.assignment = crate::assignment::Assignment::derive(known, (2, 7), 0, policy);
    let receipt = world.receipt_saying(1, &grant, NLL);
    world.give_receipts(0, 1, 1, vec![(1, receipt)]);
    assert_eq!(world.hosts[0].machine().receipts().count(), 0);
    let mut leases = world.hosts[0].machine().leases();
    assert!(leases.all(|lease| lease.row().assignment.tier == 1));
}

#[test]
fn what_comes_after_a_decision_is_public_though_it_opens_the_question_again() {
    let (mut world, id) = open_at_node_0(24, 6, 2);
    let hand_in = |world: &mut World, worker: usize, grant: &Grant, nll: u64| {
        let receipt = world.receipt_saying(worker, grant, nll);
        world.seal_at(0, &receipt);
        assert_eq!(world.complete_at(0, &receipt), LeaseAnswer::Accepted);
    };
    let grants = [world.acquire(1, 0), world.acquire(2, 0)];
    hand_in(&mut world, 1, &grants[0], NLL);
    hand_in(&mut world, 2, &grants[1], LIE);
    let third = world.acquire(3, 0);
    let elsewhere = world.granted_before(id, 4);
    let agreeing = world.receipt_saying(4, &elsewhere, NLL);
    world.give_receipts(0, 4, 4, vec![(1, agreeing)]);
    assert!(world.is_settled(0, id), "two of three agree");
    hand_in(&mut world, 3, &third, LIE / 2);
    let own = validator(0);
    let rows = world.hosts[0].machine().receipts();
    let own_rows = rows.filter(|row| row.receipt.evidence.coordinator == own);
    let mut numbers: Vec<_> = own_rows.map(|row| row.sequence).collect();
    numbers.sort_unstable();
    // Or nobody else would know that one more is needed, and nobody would ask for its lease.
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
    assert!(world.try_acquire(5, 0).unwrap().is_some(), "two of four do not decide");
}

#[test]
fn case_35_a_replica_that_shows_another_result_than_it_sealed_is_refused_and_marked() {
    let (mut world, id) = open_at_node_0(8, 4, 2);
    let grants = [world.acquire(1, 0), world.acquire(2, 0)];
    let honest = world.receipt_saying(1, &grants[0], NLL);
    // It does not know the result yet and seals something.
    world.seal_at(0, &world.receipt_saying(2, &grants[1], 1).clone());
    world.seal_at(0, &honest);
    assert_eq!(world.complete_at(0, &honest), LeaseAnswer::Accepted);
    let copy = world.receipt_saying(2, &grants[1], NLL);
    let refused = LeaseAnswer::Refused(LeaseRefusal::SealMismatch);
    assert_eq!(world.complete_at(0, &copy), refused);
    assert_eq!(world.claimants_at(0, id), [1]);
    let strikes: Vec<_> = world.hosts[0].machine().strikes().map(|s| s.validator).collect();
    assert_eq!(strikes, [validator(2)]);
    assert!(!world.is_settled(0, id), "one result is not enough");
    // Its lease is over at once, and somebody else gets it.
    let over = LeaseAnswer::Refused(LeaseRefusal::NotGranted);
    assert_eq!(world.complete_at(0, &copy), over);
    assert_eq!(world.try_acquire(2, 0), Ok(None));
    let next = world.acquire(3, 0);
    assert_eq!((next.assignment, next.attempt.0), (grants[1].assignment.clone(), 2));
}

#[test]
fn case_35_a_result_without_a_seal_is_refused() {
    let (mut world, _) = open_at_node_0(9, 3, 2);
    let grant = world.acquire(1, 0);
    let receipt = world.receipt_saying(1, &grant, NLL);
    let refused = LeaseAnswer::Refused(LeaseRefusal::NotSealed);
    assert_eq!(world.complete_at(0, &receipt), refused);
}

#[test]
fn case_35_a_result_that_comes_late_is_kept_and_never_counts() {
    let (mut world, id) = open_at_node_0(10, 3, 2);
    let grants = [world.acquire(1, 0), world.acquire(2, 0)];
    world.run_for(LEASE_TTL_MS + 5_000);
    let late = world.receipt_saying(1, &grants[0], NLL);
    let refused = HoldAnswer::Refused(LeaseRefusal::NotGranted);
    assert_eq!(world.seal_at(0, &late), refused);
    let refused = LeaseAnswer::Refused(LeaseRefusal::NotGranted);
    assert_eq!(world.complete_at(0, &late), refused);
    let rows: Vec<_> = world.hosts[0].machine().receipts().collect();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].standing, rows[0].sequence), (ReceiptStanding::Late, None));
    assert_eq!(world.claimants_at(0, id), Vec::<usize>::new());
}

#[test]
fn a_worker_holds_one_replica_of_an_evaluation() {
    let (mut world, _) = open_at_node_0(11, 3, 2);
    world.acquire(1, 0);
    assert_eq!(world.try_acquire(1, 0), Ok(None));
    assert!(world.try_acquire(2, 0).unwrap().is_some());
}

/// Node 1 has sealed its result at node 0, which does not answer.
fn sealed_at_node_1(seed: u64) -> (World, SubmissionId, RunId, Receipt) {
    sealed_at_node_1_of(seed, 3)
}

fn sealed_at_node_1_of(seed: u64, nodes: usize) -> (World, SubmissionId, RunId, Receipt) {
    let mut world = World::with_replicas(seed, nodes, 2, 3);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "node 1 runs it", |world| world.is_running(1));
    world.hosts[1].is_cut_off = true;
    world.run_until(30_000, "it has a result", |world| sealed_run(world).is_some());
    let (run, receipt) = sealed_run(&world).unwrap();
    (world, id, run, receipt)
}

fn sealed_run(world: &World) -> Option<(RunId, Receipt)> {
    let mut runs = world.hosts[1].machine().runs();
    runs.find_map(|run| {
        let RunState::Sealing { evidence, .. } = &run.row.state else { return None };
        let receipt = Receipt { evidence: (**evidence).clone(), signature: Signature([1; 64]) };
        Some((run.row.run, receipt))
    })
}

/// A seal of `worker` for a replica of the same submission as `receipt`.
fn seal_of(worker: Hotkey, receipt: &Receipt) -> Seal {
    Seal { worker, signature: Signature([3; 64]), ..World::seal(receipt) }
}

/// Says to node 1 in the name of its coordinator that it may show its result.
fn reveal(world: &mut World, run: RunId, seals: Vec<Seal>) -> bool {
    reveal_by(world, validator(0), run, seals)
}

fn reveal_by(world: &mut World, peer: Hotkey, run: RunId, seals: Vec<Seal>) -> bool {
    let life = world.hosts[1].life;
    let result = Ok(PeerAnswer::Sealed(HoldAnswer::Reveal(seals)));
    let question = Question::Seal(run);
    world.deliver(1, life, Event::PeerAnswered { peer, question, result });
    world.run_for(SIGN_MS);
    sealed_run(world).is_none()
}

#[test]
fn case_35_a_coordinator_cannot_make_a_worker_show_its_result_before_others_fixed_theirs() {
    for (number, case) in (0..).zip(["nobody's", "its own", "a stranger's", "another's"]) {
        let (mut world, _, run, own) = sealed_at_node_1(20 + number);
        let mut elsewhere = own.clone();
        elsewhere.evidence.assignment.0[0] ^= 1;
        let seals = match case {
            "nobody's" => vec![],
            "its own" => vec![World::seal(&own), World::seal(&own)],
            "a stranger's" => vec![seal_of(miner(0), &own)],
            _ => vec![seal_of(validator(2), &elsewhere)],
        };
        assert!(!reveal(&mut world, run, seals), "shown for {case} seal");
    }
    let (mut world, _, run, own) = sealed_at_node_1(29);
    assert!(reveal(&mut world, run, vec![seal_of(validator(2), &own)]));
}

/// The result of node 1 as it shows it.
fn shown_by_node_1(world: &World) -> Evidence {
    let shown = world.hosts[1].machine().runs().find_map(|run| match &run.row.state {
        RunState::Completing { receipt } => Some(receipt.evidence.clone()),
        RunState::Started | RunState::Sealing { .. } | RunState::Releasing { .. } => None,
    });
    shown.unwrap()
}

/// What it says that its coordinator had fixed then.
fn coordinator_sealed(world: &World) -> Option<Digest> {
    shown_by_node_1(world).coordinator_sealed
}

#[test]
fn case_35_a_result_says_what_its_coordinator_had_fixed_when_it_was_shown() {
    let (mut world, _, run, own) = sealed_at_node_1(31);
    let seal = seal_of(validator(0), &own);
    assert!(reveal(&mut world, run, vec![seal_of(validator(2), &own), seal]));
    assert_eq!(coordinator_sealed(&world), Some(seal.result));
    let (mut world, _, run, own) = sealed_at_node_1(31);
    assert!(reveal(&mut world, run, vec![seal_of(validator(2), &own)]));
    assert_eq!(coordinator_sealed(&world), None);
}

/// Node 1's coordinator refuses its result, and `coordinator` grants it the next attempt.
fn regrant(world: &mut World, run: RunId, coordinator: Hotkey) {
    let granted = world.hosts[1].machine().runs().find(|known| known.row.run == run);
    let granted = granted.unwrap().row.grant.clone();
    let life = world.hosts[1].life;
    let refused = Ok(PeerAnswer::Completed(LeaseAnswer::Refused(LeaseRefusal::NotGranted)));
    let (peer, question) = (granted.coordinator, Question::Complete(run));
    world.deliver(1, life, Event::PeerAnswered { peer, question, result: refused });
    let attempt = granted.attempt.next();
    let lease = lease_id(&granted.assignment.id, &coordinator, attempt);
    let grant = Grant { lease, attempt, coordinator, ..granted };
    let now = world.hosts[1].now(world.now_ms).mono;
    let peers = &mut world.hosts[1].machine_mut().peers;
    peers.get_mut(&coordinator).unwrap().acquire_asked_at = Some(now);
    let (peer, question) = (coordinator, Question::Acquire);
    let result = Ok(PeerAnswer::Acquired(Ok(vec![grant])));
    world.deliver(1, life, Event::PeerAnswered { peer, question, result });
    world.run_for(SIGN_MS);
}

#[test]
fn case_35_a_result_says_under_another_coordinator_who_was_shown_it_before() {
    let (mut world, _, run, own) = sealed_at_node_1(34);
    assert!(reveal(&mut world, run, vec![seal_of(validator(2), &own)]));
    assert_eq!(coordinator_sealed(&world), None);
    regrant(&mut world, run, validator(2));
    let (run, _) = sealed_run(&world).unwrap();
    assert!(reveal_by(&mut world, validator(2), run, vec![seal_of(validator(0), &own)]));
    assert_eq!(shown_by_node_1(&world).shown_before, [(validator(0), None)].into());
}

#[test]
fn case_35_what_the_next_coordinator_fixes_after_the_first_was_shown_a_result_is_no_confirmation() {
    // What one of them made public the other can have copied before it was shown anything.
    for (first, expected) in [(validator(2), true), (validator(3), false)] {
        let (mut world, _, run, own) = sealed_at_node_1_of(36, 4);
        assert!(reveal(&mut world, run, vec![seal_of(first, &own)]));
        regrant(&mut world, run, validator(2));
        let (run, _) = sealed_run(&world).unwrap();
        let seals = vec![seal_of(validator(2), &own), seal_of(validator(0), &own)];
        assert!(reveal_by(&mut world, validator(2), run, seals));
        assert_eq!(coordinator_sealed(&world).is_some(), expected, "{first} had sealed first");
    }
}

#[test]
fn case_35_what_a_coordinator_fixes_after_it_was_shown_a_result_is_known_to_come_later() {
    let (mut world, _, run, own) = sealed_at_node_1(32);
    assert!(reveal(&mut world, run, vec![seal_of(validator(2), &own)]));
    // It never acknowledges that result, and grants anew.
    regrant(&mut world, run, validator(0));
    let (run, again) = sealed_run(&world).unwrap();
    assert_eq!(again.evidence.sealed(), own.evidence.sealed(), "the same promise");
    let seals = [0, 2].map(|node| seal_of(validator(node), &own));
    assert!(reveal(&mut world, run, seals.to_vec()));
    assert_eq!(coordinator_sealed(&world), None);
}

#[test]
fn case_35_a_coordinator_that_copies_what_it_was_shown_confirms_nothing() {
    let (mut world, id) = open_at_node_0(33, 4, 2);
    world.run_for(SELF_GRANT_AFTER_MS);
    let grants = [1, 0].map(|worker| world.acquire(worker, 0));
    let honest = world.receipt_saying(1, &grants[0], NLL);
    world.seal_at(0, &honest);
    assert_eq!(world.complete_at(0, &honest), LeaseAnswer::Accepted);
    let copy = world.receipt_saying(0, &grants[1], NLL);
    world.seal_at(0, &copy);
    assert_eq!(world.complete_at(0, &copy), LeaseAnswer::Accepted);
    assert!(!world.is_settled(0, id), "one result, seen twice");
    world.start(2);
    world.run_until(200_000, "a third one measures it", |world| world.is_settled(0, id));
    assert!(world.claimants_at(0, id).contains(&2));
}

#[test]
fn a_coordinator_that_was_shown_a_result_leaves_the_evaluation_to_others() {
    let (mut world, id) = open_at_node_0(34, 4, 2);
    let grant = world.acquire(1, 0);
    let honest = world.receipt_saying(1, &grant, NLL);
    world.seal_at(0, &honest);
    assert_eq!(world.complete_at(0, &honest), LeaseAnswer::Accepted);
    world.run_for(SELF_GRANT_AFTER_MS);
    assert!(!world.is_settled(0, id));
    assert_eq!(world.try_acquire(0, 0), Ok(None));
    assert!(world.try_acquire(2, 0).unwrap().is_some());
}

#[test]
fn a_coordinator_that_asks_for_a_result_without_enough_seals_waits_and_gets_it() {
    let (mut world, _, run, _) = sealed_at_node_1(30);
    world.tick_ms = 10_000;
    let sealed_ms = world.now_ms;
    assert!(!reveal(&mut world, run, vec![]));
    while sealed_run(&world).is_some() {
        assert!(world.now_ms < sealed_ms + REVEAL_WAIT_MS + 60_000);
        // It asks again and again, and is told the same.
        world.run_for(60_000);
        reveal(&mut world, run, vec![]);
    }
    assert!(world.now_ms >= sealed_ms + REVEAL_WAIT_MS);
}

#[test]
fn a_node_alone_gets_a_second_opinion_when_another_one_comes() {
    let mut world = World::with_replicas(31, 2, 1, 2);
    world.kill(1);
    let id = world.submit(miner(0), GOOD);
    world.run_until(180_000, "settled alone", |world| world.is_settled(0, id));
    assert_eq!(world.claimants_at(0, id), [0]);
    world.start(1);
    world.run_until(120_000, "both have both", |world| {
        (0..2).all(|node| world.is_settled(node, id) && world.claimants_at(node, id) == [0, 1])
    });
    assert_eq!(world.state(0, id), world.state(1, id));
    assert_eq!([world.runs_started_at(0), world.runs_started_at(1)], [1, 1]);
}

#[test]
fn case_35_a_verdict_that_was_reached_alone_is_replaced_when_the_others_say_otherwise() {
    let mut world = World::with_replicas(32, 3, 1, 2);
    world.hosts[0].lie_nanonats = Some(LIE);
    world.kill(1);
    world.kill(2);
    let id = world.submit(miner(0), GOOD);
    world.run_until(180_000, "settled alone", |world| world.is_settled(0, id));
    let alone = world.state(0, id);
    world.start(1);
    world.start(2);
    world.run_until(240_000, "all say the same", |world| {
        let states = [0, 1, 2].map(|node| world.state(node, id));
        states[0] != alone && states[0] == states[1] && states[1] == states[2]
    });
    let marked = |node: usize| {
        world.hosts[node].machine().strikes().any(|strike| strike.validator == validator(0))
    };
    assert!(marked(1) && marked(2));
}

#[test]
fn a_tie_of_everybody_leaves_each_with_its_own_and_ends() {
    let mut world = World::with_replicas(33, 2, 1, 2);
    world.hosts[1].lie_nanonats = Some(LIE);
    let id = world.submit(miner(0), GOOD);
    world.run_until(180_000, "ends", |world| world.is_settled_everywhere(id));
    assert_ne!(world.state(0, id), world.state(1, id));
    assert_eq!(world.runs_started(), 2);
    for node in 0..2 {
        assert_eq!(world.hosts[node].machine().strikes().count(), 0, "one word against another");
    }
}

#[test]
fn a_disagreement_without_end_stops_at_a_bound() {
    let mut world = World::with_replicas(34, 7, 1, 2);
    for node in 0..7 {
        world.hosts[node].lie_nanonats = Some(NLL - 30_000_000_000_000 * node as u64);
    }
    let id = world.submit(miner(0), GOOD);
    world.run_until(600_000, "ends", |world| world.is_settled_everywhere(id));
    world.run_for(120_000);
    assert_eq!(world.runs_started(), REPLICAS_MAX);
}

#[test]
fn a_replica_whose_worker_went_away_is_run_by_another_and_the_first_waits_for_it() {
    let mut world = World::with_replicas(35, 3, 1, 2);
    world.hosts[0].devices = 1;
    world.run_ms = 20_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "two run it", |world| {
        (0..3).filter(|node| world.is_running(*node)).count() == 2
    });
    let lost = (0..3).rev().find(|node| world.is_running(*node)).unwrap();
    world.kill(lost);
    world.hosts[lost].containers.clear();
    let others: Vec<usize> = (0..3).filter(|node| *node != lost).collect();
    world.run_until(300_000, "settled by the others", |world| {
        others.iter().all(|node| world.is_settled(*node, id))
    });
    assert_eq!(world.claimants_at(0, id), others);
}

#[test]
fn a_known_result_is_handed_in_under_another_lease_and_not_run_again() {
    let mut world = World::with_replicas(36, 2, 1, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "node 1 runs it", |world| world.is_running(1));
    // Sealed after its lease went to nobody: the coordinator refuses it and grants anew.
    world.hosts[1].is_cut_off = true;
    world.hosts[0].devices = 0;
    world.kill(0);
    world.start(0);
    world.run_for(LEASE_TTL_MS + 20_000);
    assert_eq!(world.state(0, id), Some(SubmissionState::Admitted));
    world.hosts[1].is_cut_off = false;
    world.run_until(200_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.runs_started_at(1), 1);
    assert_eq!(world.claimants_at(0, id), [1]);
    world.check_scores();
}

#[test]
fn a_grant_that_cannot_be_used_is_given_back_at_once_and_offered_again_later() {
    let mut world = World::with_replicas(23, 2, 2, 2);
    world.run_ms = 10_000_000;
    for (node, devices) in [0, 2].into_iter().enumerate() {
        world.hosts[node].devices = devices;
        world.kill(node);
        world.start(node);
    }
    world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "node 1 runs it and has a free device", |world| world.is_running(1));
    world.hosts[1].is_blind = true;
    let unseen = world.submit_to(0, miner(1), GOOD);
    let is_back = |note: &Note| matches!(note, Note::LeaseReleased { .. });
    world.run_until(60_000, "given back", |world| world.notes(0, is_back) == 1);
    world.run_for(30_000);
    assert_eq!(world.attempts_at(0, unseen), [1], "nobody is asked again so soon");
    let row = |world: &World| {
        let mut leases = world.hosts[0].machine().leases();
        leases.find(|lease| lease.row().assignment.submission == unseen).unwrap().row().clone()
    };
    assert_eq!((row(&world).state, row(&world).spent), (LeaseState::Open, Spent::default()));
    world.hosts[1].is_blind = false;
    world.run_until(60_000, "and runs it then", |world| world.runs_started_at(1) == 2);
}

#[test]
fn a_grant_that_is_never_started_ends_although_it_is_renewed() {
    let (mut world, id) = open_at_node_0(37, 3, 1);
    let grant = world.acquire(1, 0);
    for _ in 0..40 {
        let kept = world.renew_at(1, 0, &grant, HeldStage::Preparing);
        if kept != HoldAnswer::Kept {
            assert_eq!(kept, HoldAnswer::Refused(LeaseRefusal::NotGranted));
            assert_eq!(world.attempts_at(0, id), [1]);
            return;
        }
        world.run_for(20_000);
    }
    panic!("{:?} was renewed for ever", held(&grant));
}

#[test]
fn who_has_no_replica_cannot_seal_complete_or_renew_one() {
    let (mut world, _) = open_at_node_0(38, 3, 2);
    let grant = world.acquire(1, 0);
    let foreign = world.receipt_saying(2, &grant, NLL);
    let refused = HoldAnswer::Refused(LeaseRefusal::NotHolder);
    assert_eq!(world.seal_at(0, &foreign), refused);
    assert_eq!(world.renew_at(2, 0, &grant, HeldStage::Running), refused);
    let mut unknown = grant.clone();
    unknown.assignment.id.0[0] ^= 1;
    let refused = HoldAnswer::Refused(LeaseRefusal::NotCoordinator);
    assert_eq!(world.renew_at(1, 0, &unknown, HeldStage::Running), refused);
    let mut mismatch = world.receipt_saying(1, &grant, NLL);
    mismatch.evidence.dataset = Digest([9; 32]);
    let refused = LeaseAnswer::Refused(LeaseRefusal::EvidenceMismatch);
    assert_eq!(world.complete_at(0, &mismatch), refused);
}

#[test]
fn a_validator_without_a_device_is_waited_for_once_and_not_again() {
    let mut world = World::with_replicas(40, 2, 4, 2);
    let restart = |world: &mut World, devices: usize| {
        world.hosts[1].devices = devices;
        world.kill(1);
        world.start(1);
    };
    restart(&mut world, 0);
    let ids = [world.submit_to(0, miner(0), GOOD), world.submit_to(1, miner(1), GOOD)];
    world.tick_ms = 3_000;
    world.run_until((UNABLE_AFTER_BLOCKS + 60) * BLOCK_MS, "settled in the end", |world| {
        ids.iter().all(|id| world.is_settled_everywhere(*id))
    });
    world.tick_ms = 1_000;
    let next = world.submit_to(0, miner(2), GOOD);
    world.run_until(90_000, "at once", |world| world.is_settled_everywhere(next));
    assert_eq!(world.claimants_at(1, next), [0]);
    // It gets one: from its first result on it is counted again.
    restart(&mut world, 1);
    let last = world.submit_to(0, miner(3), GOOD);
    world.run_until(120_000, "by both", |world| {
        (0..2).all(|node| world.claimants_at(node, last) == [0, 1])
    });
    world.run_until(120_000, "second opinions", |world| world.claimants_at(0, next) == [0, 1]);
    world.check_scores();
}

#[test]
fn who_brings_the_last_result_that_is_missing_does_not_wait_for_those_who_decided_without_it() {
    let mut world = World::with_replicas(42, 2, 1, 2);
    let restart = |world: &mut World, devices: usize| {
        world.hosts[1].devices = devices;
        world.kill(1);
        world.start(1);
    };
    restart(&mut world, 0);
    let id = world.submit_to(0, miner(0), GOOD);
    world.tick_ms = 3_000;
    world.run_until((UNABLE_AFTER_BLOCKS + 60) * BLOCK_MS, "settled without it", |world| {
        world.is_settled_everywhere(id)
    });
    world.tick_ms = 1_000;
    restart(&mut world, 1);
    world.run_until(240_000, "both results are everywhere", |world| {
        (0..2).all(|node| world.claimants_at(node, id) == [0, 1])
    });
    assert_eq!(world.runs_started(), 2);
    world.check_scores();
}

#[test]
fn coordinators_without_a_device_do_not_keep_results_from_being_shown() {
    let mut world = World::with_replicas(41, 3, 1, 3);
    world.hosts[0].devices = 0;
    world.kill(0);
    world.start(0);
    world.tick_ms = 3_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until((UNABLE_AFTER_BLOCKS + 60) * BLOCK_MS, "settled", |world| {
        world.is_settled_everywhere(id)
    });
    assert_eq!(world.claimants_at(0, id), [1, 2]);
    world.check_scores();
}
