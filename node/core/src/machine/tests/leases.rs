//! Claims about leases between nodes: who runs what, who may say so, and what is tried again.

use super::world::{metrics, miner, salt, validator, Fate, World};
use crate::evidence::Receipt;
use crate::id::{AssignmentId, SubmissionId};
use crate::inventory::DeviceKind;
use crate::lease::{
    AcquireRequest, Grant, HeldLease, LeaseAnswer, LeaseRefusal, LeaseState, NotReopened,
    PeerAnswer, PeerRequest, ReleaseReason, Spent,
};
use crate::limits::{FAULTS_MAX, LEASE_STOP_AFTER_MS, LEASE_TTL_MS};
use crate::machine::effect::Note;
use crate::machine::event::{Event, Question};
use crate::outcome::Ending;
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

fn runs_started(world: &World) -> usize {
    let count = |node| world.notes(node, |note| matches!(note, Note::RunStarted { .. }));
    (0..world.hosts.len()).map(count).sum()
}

fn is_running(world: &World, node: usize) -> bool {
    !world.hosts[node].containers.is_empty()
}

fn attempt_of(world: &World, node: usize, submission: SubmissionId) -> u32 {
    let mut leases = world.hosts[node].machine().leases();
    let lease = leases.find(|lease| lease.row().assignment.submission == submission);
    lease.map_or(0, |lease| lease.row().attempt.0)
}

/// Asks node 0 for one lease in the name of a validator.
fn acquire(world: &mut World, peer: usize) -> Grant {
    let config = &world.hosts[0].config;
    let request = PeerRequest::Acquire(AcquireRequest {
        device: DeviceKind::CpuSlot,
        leases_max: 1,
        image: config.image,
        dataset: config.dataset,
        policy: config.policy.digest(),
    });
    let answer = world.ask_directly(validator(peer), 0, request);
    let PeerAnswer::Acquired(Ok(mut grants)) = answer else { panic!("{answer:?}") };
    grants.remove(0)
}

fn release(world: &mut World, peer: usize, grant: &Grant) -> LeaseAnswer {
    let item =
        HeldLease { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt };
    let request = PeerRequest::Release { item, reason: ReleaseReason::NoDevice };
    let answer = world.ask_directly(validator(peer), 0, request);
    let PeerAnswer::Released(answer) = answer else { panic!("{answer:?}") };
    answer
}

/// Seals a result for `grant` at node 0 in the name of a validator and hands it in.
fn complete(world: &mut World, peer: usize, grant: &Grant) -> LeaseAnswer {
    let receipt = world.receipt(validator(peer), grant);
    let request = PeerRequest::Seal(Box::new(World::seal(&receipt)));
    let answer = world.ask_directly(validator(peer), 0, request);
    assert!(matches!(answer, PeerAnswer::Sealed(_)), "{answer:?}");
    let request = PeerRequest::Complete(Box::new(receipt));
    let answer = world.ask_directly(validator(peer), 0, request);
    let PeerAnswer::Completed(answer) = answer else { panic!("{answer:?}") };
    answer
}

#[test]
fn two_nodes_share_the_work_and_neither_runs_what_it_coordinates() {
    let mut world = World::new(1, 2, 4);
    world.run_ms = 4_000;
    let submissions: Vec<_> =
        (0..4).map(|index| world.submit_to(index % 2, miner(index), GOOD)).collect();
    world.run_until(120_000, "all settled", |world| {
        submissions.iter().all(|id| world.is_settled_everywhere(*id))
    });
    world.check_scores();
    for node in 0..2 {
        assert_eq!(world.notes(node, |note| matches!(note, Note::RunStarted { .. })), 2);
    }
    for row in world.hosts[0].machine().receipts() {
        assert_ne!(row.receipt.evidence.worker, row.receipt.evidence.coordinator);
    }
}

#[test]
fn both_nodes_end_with_equal_scores_and_equal_vectors() {
    let mut world = World::new(2, 2, 3);
    let submissions: Vec<_> = (0..3)
        .map(|index| {
            let nll_nanonats = 300_000_000_000_000 + 50_000_000_000_000 * index as u64;
            world.submit(miner(index), Fate::Scores { nll_nanonats })
        })
        .collect();
    world.run_until(120_000, "all settled", |world| {
        submissions.iter().all(|id| world.is_settled_everywhere(*id))
    });
    let landed = [world.landed(0), world.landed(1)];
    world.run_until(300_000, "a vector of each", |world| {
        (0..2).all(|node| world.landed(node) > landed[node])
    });
    for id in submissions {
        assert!(matches!(world.state(0, id), Some(SubmissionState::Scored { points: 1.. })));
        assert_eq!(world.state(0, id), world.state(1, id));
    }
    let vector = world.chain.weights_of(&validator(0));
    assert_eq!(vector.len(), 3);
    assert_eq!(vector, world.chain.weights_of(&validator(1)));
}

#[test]
fn a_node_alone_does_its_own_work() {
    let mut world = World::new(3, 1, 1);
    let id = world.submit(miner(0), GOOD);
    world.run_until(60_000, "scored", |world| world.is_settled_everywhere(id));
}

#[test]
fn a_repeated_completion_is_already_done_and_another_one_is_refused() {
    let mut world = World::new(4, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(id));
    let receipt = world.hosts[0].machine().receipts().next().unwrap().receipt.clone();
    let complete = |receipt: &Receipt| PeerRequest::Complete(Box::new(receipt.clone()));
    let again = world.ask_directly(validator(1), 0, complete(&receipt));
    assert_eq!(again, PeerAnswer::Completed(LeaseAnswer::AlreadyDone));
    let mut other = receipt;
    other.evidence.ended_at.0 += 1;
    let refused = world.ask_directly(validator(1), 0, complete(&other));
    let settled = LeaseAnswer::Refused(LeaseRefusal::AlreadySettled);
    assert_eq!(refused, PeerAnswer::Completed(settled));
    world.check_scores();
}

#[test]
fn case_14_a_holder_stopped_past_its_ttl_is_refused_and_the_new_holder_scores() {
    let mut world = World::new(5, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node runs it", |world| is_running(world, 1));
    world.hosts[1].is_paused = true;
    world.run_until(120_000, "scored by its coordinator", |world| world.is_settled(0, id));
    assert_eq!(attempt_of(&world, 0, id), 2);
    world.hosts[1].is_paused = false;
    world.run_until(60_000, "the late result is refused", |world| {
        world.seals_refused_at(0) == [LeaseRefusal::AlreadySettled]
    });
    world.run_until(60_000, "known everywhere", |world| world.is_settled_everywhere(id));
    world.check_scores();
    let row = world.hosts[1].machine().receipts().next().unwrap();
    assert_eq!(row.receipt.evidence.worker, validator(0));
}

#[test]
fn case_14_a_late_result_is_refused_while_the_new_holder_runs() {
    let mut world = World::new(6, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node runs it", |world| is_running(world, 1));
    world.hosts[1].is_paused = true;
    world.run_ms = 30_000;
    world.run_until(120_000, "its coordinator runs it", |world| is_running(world, 0));
    world.hosts[1].is_paused = false;
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.seals_refused_at(0), [LeaseRefusal::StaleAttempt]);
    assert_eq!(world.completions_at(0), [LeaseAnswer::Accepted]);
    world.check_scores();
}

#[test]
fn case_15_an_old_attempt_is_refused_after_the_lease_went_away_and_came_back() {
    let mut world = World::new(7, 3, 1);
    world.kill(1);
    world.kill(2);
    world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "open", |world| world.hosts[0].machine().leases().next().is_some());
    let first = acquire(&mut world, 1);
    assert_eq!(release(&mut world, 1, &first), LeaseAnswer::Accepted);
    let second = acquire(&mut world, 2);
    assert_eq!(release(&mut world, 2, &second), LeaseAnswer::Accepted);
    let third = acquire(&mut world, 1);
    assert_eq!([first.attempt.0, second.attempt.0, third.attempt.0], [1, 2, 3]);
    let refused = |refusal| LeaseAnswer::Refused(refusal);
    assert_eq!(complete(&mut world, 1, &first), refused(LeaseRefusal::StaleAttempt));
    assert_eq!(complete(&mut world, 2, &third), refused(LeaseRefusal::NotHolder));
    assert_eq!(release(&mut world, 1, &first), refused(LeaseRefusal::StaleAttempt));
    assert_eq!(complete(&mut world, 1, &third), LeaseAnswer::Accepted);
}

#[test]
fn a_worker_that_cannot_renew_stops_its_run_before_the_lease_is_given_away() {
    let mut world = World::new(8, 2, 1);
    world.run_ms = 200_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node runs it", |world| is_running(world, 1));
    let started_ms = world.now_ms;
    world.hosts[1].is_cut_off = true;
    world.run_until(LEASE_TTL_MS, "it stopped", |world| !is_running(world, 1));
    let ran_ms = world.now_ms - started_ms;
    assert!(ran_ms < LEASE_STOP_AFTER_MS + 3_000, "stopped only after {ran_ms} ms");
    assert_eq!(attempt_of(&world, 0, id), 1, "given away while it ran");
    // The world checks that nobody runs what is granted anew.
    world.run_until(LEASE_TTL_MS, "granted anew", |world| attempt_of(world, 0, id) == 2);
    world.hosts[1].is_cut_off = false;
    world.run_until(400_000, "settled", |world| world.is_settled_everywhere(id));
    world.check_scores();
}

#[test]
fn a_node_whose_loop_hangs_keeps_its_lease_and_scores() {
    let mut world = World::new(20, 2, 1);
    world.run_ms = 30_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node runs it", |world| is_running(world, 1));
    world.run_for(5_000);
    world.hosts[1].is_hung = true;
    world.run_for(3 * LEASE_TTL_MS);
    assert_eq!(attempt_of(&world, 0, id), 1, "given away while its loop hung");
    world.hosts[1].is_hung = false;
    world.run_until(60_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(runs_started(&world), 1);
    world.check_scores();
}

#[test]
fn a_node_whose_loop_hangs_has_stopped_its_run_before_its_lease_is_given_away() {
    let mut world = World::new(21, 2, 1);
    world.run_ms = 200_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node runs it", |world| is_running(world, 1));
    world.hosts[1].is_hung = true;
    world.hosts[1].is_cut_off = true;
    let stop_ms = LEASE_STOP_AFTER_MS + 3_000;
    world.run_until(stop_ms, "it stopped", |world| !is_running(world, 1));
    assert_eq!(attempt_of(&world, 0, id), 1, "given away while it ran");
    // The world checks that nobody runs what is granted anew.
    world.run_until(LEASE_TTL_MS, "granted anew", |world| attempt_of(world, 0, id) == 2);
    world.hosts[1].is_hung = false;
    world.hosts[1].is_cut_off = false;
    world.run_until(400_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(world.notes(1, |note| matches!(note, Note::RunLapsed { .. })), 1);
    world.check_scores();
}

#[test]
fn a_run_that_renews_for_ever_stops_before_its_lease_ends() {
    let mut world = World::new(9, 2, 1);
    world.run_ms = u64::MAX / 2;
    world.tick_ms = 5_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node runs it", |world| is_running(world, 1));
    let end = world.hosts[0].config.policy.limits_in(1).lease_total_ms() + 60_000;
    // The world checks that nobody runs what is granted anew.
    world.run_until(end, "granted anew", |world| attempt_of(world, 0, id) == 2);
}

#[test]
fn a_submissions_own_fault_is_never_tried_again() {
    let mut world = World::new(10, 2, 1);
    let ending = Ending::NotCausal { batch: 3 };
    let id = world.submit(miner(0), Fate::Ends(ending.clone()));
    world.run_until(120_000, "settled", |world| world.is_settled_everywhere(id));
    world.run_for(120_000);
    assert_eq!(runs_started(&world), 1);
    for node in 0..2 {
        let failed = SubmissionState::Failed { ending: ending.clone() };
        assert_eq!(world.state(node, id), Some(failed));
    }
}

#[test]
fn an_infrastructure_fault_is_tried_again_elsewhere() {
    let mut world = World::new(11, 2, 2);
    world.hosts[1].run_fault = Some(Ending::ImageMissing);
    world.run_ms = 30_000;
    world.submit_to(1, miner(0), GOOD);
    world.run_until(60_000, "node 0 is busy", |world| is_running(world, 0));
    world.run_ms = 500;
    let id = world.submit_to(0, miner(1), GOOD);
    // Node 1 is free all the time, and every run there fails at once.
    world.run_until(120_000, "scored by node 0", |world| world.is_settled(0, id));
    assert!(matches!(world.state(0, id), Some(SubmissionState::Scored { .. })));
    assert_eq!(attempt_of(&world, 0, id), 2);
}

#[test]
fn a_run_that_completed_without_metrics_is_given_back_at_once() {
    let mut world = World::new(18, 2, 1);
    let id = world.submit_to(0, miner(0), Fate::Ends(Ending::Completed));
    world.run_until(LEASE_TTL_MS, "given back", |world| {
        world.notes(0, |note| matches!(note, Note::LeaseReleased { .. })) == 1
    });
    assert_eq!(world.state(0, id), Some(SubmissionState::Admitted));
    assert_eq!(world.completions_at(0), vec![]);
}

#[test]
fn metrics_of_a_failed_run_are_left_out_of_its_evidence() {
    let mut world = World::new(19, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node runs it", |world| is_running(world, 1));
    let (run, _) = world.hosts[1].containers.pop_first().unwrap();
    let (life, ended_at) = (world.hosts[1].life, world.hosts[1].now(world.now_ms).unix);
    let (ending, metrics) = (Ending::OutOfMemory, Some(metrics(1)));
    world.deliver(1, life, Event::RunEnded { run, ending, metrics, ended_at, salt: salt(&run) });
    world.run_until(30_000, "settled", |world| world.is_settled_everywhere(id));
    let failed = SubmissionState::Failed { ending: Ending::OutOfMemory };
    assert_eq!(world.state(0, id), Some(failed));
}

#[test]
fn infrastructure_faults_everywhere_use_up_the_attempts_and_no_more() {
    let mut world = World::new(12, 2, 1);
    for host in &mut world.hosts {
        host.run_fault = Some(Ending::EngineFailed { detail: "gone".to_owned() });
    }
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_for(900_000);
    let lease = world.hosts[0].machine().leases().next().unwrap().row().clone();
    assert!(matches!(lease.state, LeaseState::Exhausted { .. }), "{lease:?}");
    assert_eq!(lease.attempt.0, FAULTS_MAX);
    assert_eq!(runs_started(&world), usize::try_from(FAULTS_MAX).unwrap());
    assert_eq!(world.state(1, id), Some(SubmissionState::Admitted));
}

#[test]
fn what_a_person_opens_again_is_stored_given_out_and_settled() {
    let mut world = World::new(12, 2, 1);
    for host in &mut world.hosts {
        host.run_fault = Some(Ending::EngineFailed { detail: "gone".to_owned() });
    }
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(LEASE_TTL_MS, "granted", |world| attempt_of(world, 0, id) > 0);
    let lease = |world: &World| world.hosts[0].machine().leases().next().unwrap().row().clone();
    let assignment = lease(&world).assignment.id;
    assert_eq!(world.reopen(0, assignment), Err(NotReopened::NotExhausted));
    assert_eq!(world.reopen(0, AssignmentId([1; 32])), Err(NotReopened::Unknown));
    world.run_for(900_000);
    for host in &mut world.hosts {
        host.run_fault = None;
    }
    let reopened = world.reopen(0, assignment).unwrap();
    let told = (reopened.submission, reopened.replica, reopened.before.attempt.0);
    assert_eq!(told, (id, 0, FAULTS_MAX));
    assert!(reopened.is_on_duty);
    // Nobody who starts now has to be told again.
    world.kill(0);
    world.start(0);
    let kept = lease(&world);
    assert_eq!((kept.state, kept.spent), (LeaseState::Open, Spent::default()));
    assert_eq!(kept.reopened, [reopened.before]);
    world.run_until(300_000, "settled", |world| world.is_settled_everywhere(id));
    assert_eq!(attempt_of(&world, 0, id), FAULTS_MAX + 1);
    assert_eq!(world.reopen(0, assignment), Err(NotReopened::Settled));
}

#[test]
fn a_rejected_submission_is_never_leased() {
    let mut world = World::new(13, 2, 1);
    let id = world.submit(miner(0), Fate::IsRejected);
    world.run_until(60_000, "rejected", |world| world.is_settled_everywhere(id));
    world.run_for(60_000);
    for node in 0..2 {
        assert!(matches!(world.state(node, id), Some(SubmissionState::Rejected { .. })));
        assert_eq!(world.hosts[node].machine().leases().count(), 0);
    }
    assert_eq!(runs_started(&world), 0);
}

#[test]
fn coordinators_that_never_answer_do_not_keep_a_node_from_work() {
    let mut world = World::new(14, 4, 4);
    for node in [0, 1] {
        world.submit_to(node, miner(node), GOOD);
    }
    let id = world.submit_to(3, miner(3), GOOD);
    world.run_until(30_000, "admitted", |world| {
        world.state(2, id) == Some(SubmissionState::Admitted)
    });
    for node in [0, 1] {
        world.kill(node);
    }
    world.run_until(90_000, "scored", |world| world.is_settled(2, id) && world.is_settled(3, id));
}

#[test]
fn a_coordinator_without_an_address_does_not_keep_a_node_from_work() {
    let mut world = World::new(15, 3, 2);
    for node in 1..3 {
        world.hosts[node].config.endpoints.remove(&validator(0));
        world.kill(node);
        world.start(node);
    }
    world.kill(0);
    world.submit_to(0, miner(0), GOOD);
    let id = world.submit_to(2, miner(1), GOOD);
    world.run_until(90_000, "scored", |world| world.is_settled(1, id) && world.is_settled(2, id));
}

#[test]
fn an_answer_of_the_wrong_kind_counts_as_none() {
    let mut world = World::new(16, 2, 2);
    world.nonsense =
        vec![(1, Some(Question::Acquire)), (1, Some(Question::Receipts { of: validator(0) }))];
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(200_000, "settled", |world| world.is_settled_everywhere(id));
    let runs = |world: &World, node| world.notes(node, |n| matches!(n, Note::RunStarted { .. }));
    assert_eq!(world.nonsense, vec![]);
    assert_eq!([runs(&world, 0), runs(&world, 1)], [1, 0], "node 1 did not hear of its grant");
    world.run_ms = 90_000;
    world.nonsense = vec![(1, None), (1, None)];
    let next = world.submit_to(0, miner(1), GOOD);
    world.run_until(200_000, "settled", |world| world.is_settled_everywhere(next));
    assert_eq!(world.nonsense, vec![]);
    assert_eq!([runs(&world, 0), runs(&world, 1)], [1, 1], "node 1 kept its lease");
}

#[test]
fn an_answer_that_was_not_asked_for_starts_nothing() {
    let mut world = World::new(17, 2, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(60_000, "the other node ran it", |world| {
        let is_asking = |world: &World| {
            world.questions.values().any(|a| a.node == 1 && a.question == Some(Question::Acquire))
        };
        runs_started(world) == 1
            && world.hosts[1].machine().runs().next().is_none()
            && !is_asking(world)
    });
    assert_eq!(world.state(1, id), Some(SubmissionState::Admitted));
    let answers = world.answers.iter().map(|(_, answer)| answer.clone());
    let mut granted = answers.filter(|a| matches!(a, PeerAnswer::Acquired(Ok(g)) if !g.is_empty()));
    let (life, peer, question) = (world.hosts[1].life, validator(0), Question::Acquire);
    let result = Ok(granted.next_back().unwrap());
    world.deliver(1, life, Event::PeerAnswered { peer, question, result });
    assert_eq!(runs_started(&world), 1, "the second copy of an answer started a run");
}
