//! Claims about settling, one by one.

use super::*;
use crate::commitment::Location;
use crate::evidence::tests::metrics;
use crate::id::{Attempt, ContentDigest, LeaseId, RunId, Salt, Signature};
use crate::submission::Submission;
use crate::unit::{BlockNumber, UnixMs};

const SECOND: Hotkey = Hotkey([2; 32]);
const WORKER: Hotkey = Hotkey([3; 32]);
const DATASET: Digest = Digest([6; 32]);
const GENESIS: BlockHash = BlockHash([0; 32]);

fn assignment() -> Assignment {
    let submission = Submission::committed(
        Hotkey([9; 32]),
        BlockNumber(1),
        ContentDigest([4; 32]),
        Location::Peers,
        BlockHash([5; 32]),
    );
    Assignment::derive(&submission, (1, 0), 0, Digest([7; 32]))
}

pub(super) fn evidence() -> Evidence {
    let assignment = assignment();
    Evidence {
        genesis: GENESIS,
        netuid: Netuid(1),
        assignment: assignment.id,
        submission: assignment.submission,
        tier: 1,
        unit: 0,
        content: assignment.content,
        lease: LeaseId([8; 32]),
        attempt: Attempt(1),
        run: RunId([8; 32]),
        coordinator: WORKER,
        worker: WORKER,
        policy: assignment.policy,
        dataset: DATASET,
        image: Digest([0; 32]),
        device: "cpu_slot (one CPU)".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics(400_000_000_000_000)),
        started_at: UnixMs(1),
        ended_at: UnixMs(2),
        salt: Salt([0; 32]),
        coordinator_sealed: None,
        shown_before: BTreeMap::new(),
    }
}

fn check(change: impl Fn(&mut Evidence)) -> Result<(), EvidenceRejected> {
    let assignment = assignment();
    let expected =
        Expected { genesis: GENESIS, netuid: Netuid(1), assignment: &assignment, dataset: DATASET };
    let mut evidence = evidence();
    change(&mut evidence);
    check_evidence(&expected, &evidence)
}

fn receipt(change: impl Fn(&mut Evidence)) -> Receipt {
    let mut evidence = evidence();
    change(&mut evidence);
    Receipt { evidence, signature: Signature([0; 64]) }
}

#[test]
fn evidence_for_what_was_expected_passes_and_each_difference_has_its_name() {
    use EvidenceRejected as Rejected;
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(check(|e| e.genesis.0[0] ^= 1), Err(Rejected::OtherChain));
    assert_eq!(check(|e| e.netuid.0 ^= 1), Err(Rejected::OtherChain));
    assert_eq!(check(|e| e.assignment.0[0] ^= 1), Err(Rejected::OtherAssignment));
    assert_eq!(check(|e| e.submission.0[0] ^= 1), Err(Rejected::OtherAssignment));
    assert_eq!(check(|e| e.content.0[0] ^= 1), Err(Rejected::OtherAssignment));
    let policy = check(|e| e.policy.0[0] ^= 1);
    assert!(matches!(policy, Err(Rejected::PolicyMismatch { .. })));
    let dataset = check(|e| e.dataset.0[0] ^= 1);
    assert!(matches!(dataset, Err(Rejected::DatasetMismatch { .. })));
}

#[test]
fn metrics_and_a_completed_run_come_together_or_not_at_all() {
    let empty = Err(EvidenceRejected::Empty);
    assert_eq!(check(|e| e.metrics = None), empty);
    assert_eq!(check(|e| e.ending = Ending::OutOfMemory), empty);
    assert_eq!(
        check(|e| {
            e.ending = Ending::OutOfMemory;
            e.metrics = None;
        }),
        Ok(())
    );
    for ending in [Ending::LeaseLost, Ending::ImageMissing, Ending::Stopped] {
        assert_eq!(check(|e| e.ending = ending.clone()), empty, "with metrics");
        let is_no_result = check(|e| {
            e.ending = ending.clone();
            e.metrics = None;
        });
        assert_eq!(is_no_result, empty, "a fault of the machine is no result");
    }
}

fn claim(worker: u8, bpb_nano: u64) -> Receipt {
    receipt(|e| {
        (e.worker, e.coordinator) = (Hotkey([worker; 32]), Hotkey([worker; 32]));
        // 200,000 bytes; one nat is 1/ln 2 bits.
        let nll = u128::from(bpb_nano) * 200_000 * 693_147_181 / 1_000_000_000;
        e.metrics = Some(metrics(u64::try_from(nll).unwrap()));
    })
}

fn failed(worker: u8) -> Receipt {
    receipt(|e| {
        (e.worker, e.coordinator) = (Hotkey([worker; 32]), Hotkey([worker; 32]));
        e.ending = Ending::NotCausal { batch: u32::from(worker) };
        e.metrics = None;
    })
}

const TOLERANCE_PPM: u32 = 2_500;
/// That of [`BPB`].
const TOLERANCE: u64 = 5_000_000;
const BPB: u64 = 2_000_000_000;

fn jury(wanted: usize, eligible: usize) -> Jury {
    let eligible = (1..).take(eligible).map(|number| Hotkey([number; 32])).collect();
    Jury { wanted, eligible, tolerance_ppm: TOLERANCE_PPM, own: None }
}

fn own(worker: u8, jury: Jury) -> Jury {
    Jury { own: Some(Hotkey([worker; 32])), ..jury }
}

fn settled(jury: &Jury, receipts: &[Receipt]) -> Standing {
    let standing = settle(jury, receipts.iter());
    let reversed = settle(jury, receipts.iter().rev());
    assert_eq!(standing, reversed, "the order of receipts changes nothing");
    standing
}

fn keys(workers: &[u8]) -> BTreeSet<Hotkey> {
    workers.iter().map(|worker| Hotkey([*worker; 32])).collect()
}

#[test]
fn nothing_is_settled_before_enough_agree() {
    assert_eq!(settled(&jury(2, 4), &[]).needed, 2);
    let one = settled(&jury(2, 4), &[claim(1, BPB)]);
    assert_eq!((one.decision, one.needed), (None, 2));
    let two = settled(&jury(2, 4), &[claim(1, BPB), claim(2, BPB + TOLERANCE / 2)]);
    let decision = two.decision.unwrap();
    assert!(matches!(decision.verdict, Verdict::Scored { points: 1.. }));
    assert_eq!(decision.worker, Some(Hotkey([1; 32])), "the lower median");
    assert_eq!(decision.alone, keys(&[]));
    assert_eq!(two.needed, 2, "nobody else is asked");
}

#[test]
fn the_same_worker_counts_once_under_however_many_leases() {
    let again = Receipt {
        evidence: Evidence {
            attempt: Attempt(2),
            coordinator: SECOND,
            lease: LeaseId([9; 32]),
            ..claim(1, BPB).evidence
        },
        ..claim(1, BPB)
    };
    let standing = settled(&jury(2, 4), &[claim(1, BPB), again]);
    assert_eq!(standing.claimants, keys(&[1, 2]), "and who was shown it");
    assert_eq!((standing.decision, standing.needed), (None, 3));
}

#[test]
fn who_says_two_things_says_nothing() {
    let receipts = [claim(1, BPB), claim(1, BPB + 1_000), claim(2, BPB), claim(3, BPB)];
    let standing = settled(&jury(2, 4), &receipts);
    assert_eq!((standing.claimants, standing.equivocal), (keys(&[2, 3]), keys(&[1])));
    assert!(standing.decision.is_some());
}

#[test]
fn case_35_who_lies_stands_alone_and_changes_nothing() {
    let liar = claim(3, BPB / 2);
    let disputed = settled(&jury(2, 4), &[claim(1, BPB), liar.clone()]);
    assert_eq!((disputed.decision, disputed.needed), (None, 3), "one more is asked");
    let honest = settled(&jury(2, 4), &[claim(1, BPB), claim(2, BPB)]);
    let settled = settled(&jury(2, 4), &[claim(1, BPB), liar, claim(2, BPB)]);
    let decision = settled.decision.unwrap();
    assert_eq!(decision.verdict, honest.decision.unwrap().verdict);
    assert_eq!(decision.alone, keys(&[3]));
}

#[test]
fn a_tie_is_no_majority() {
    let two_and_two = [claim(1, BPB), claim(2, BPB), claim(3, BPB / 2), claim(4, BPB / 2)];
    let standing = settled(&jury(2, 9), &two_and_two);
    assert_eq!((standing.decision, standing.needed), (None, 5));
}

#[test]
fn failures_agree_with_failures_only() {
    let failed_twice = settled(&jury(2, 4), &[failed(1), failed(2)]);
    let verdict = failed_twice.decision.unwrap().verdict;
    assert_eq!(verdict, Verdict::Failed { ending: Ending::NotCausal { batch: 1 } });
    assert_eq!(settled(&jury(2, 4), &[failed(1), claim(2, BPB)]).decision, None);
    let impossible = settled(&jury(1, 1), &[claim(1, 0)]).decision.unwrap().verdict;
    let Verdict::Failed { ending: Ending::ContractViolated { .. } } = impossible else {
        panic!("a loss of zero is not a score: {impossible:?}");
    };
}

/// A claim that was accepted by this coordinator, which had fixed this then.
fn shown_to(coordinator: u8, sealed: Option<&Receipt>, claim: Receipt) -> Receipt {
    let evidence = Evidence {
        coordinator: Hotkey([coordinator; 32]),
        coordinator_sealed: sealed.map(|receipt| receipt.evidence.sealed()),
        ..claim.evidence
    };
    Receipt { evidence, ..claim }
}

#[test]
fn case_35_who_saw_a_result_before_fixing_its_own_confirms_nothing() {
    let copy = shown_to(3, None, claim(3, BPB));
    let other = claim(3, BPB + 1);
    for sealed in [None, Some(&other)] {
        let honest = shown_to(3, sealed, claim(1, BPB));
        let standing = settled(&jury(2, 4), &[honest.clone(), copy.clone()]);
        assert_eq!(standing.decision, None);
        assert_eq!((standing.claimants, standing.needed), (keys(&[1, 3]), 3), "one more");
        let third = settled(&jury(2, 4), &[honest, copy.clone(), claim(2, BPB + 1_000)]);
        let decision = third.decision.unwrap();
        assert_eq!((decision.worker, decision.alone), (Some(Hotkey([1; 32])), keys(&[])));
    }
}

#[test]
fn case_35_who_was_shown_a_result_and_took_no_receipt_confirms_nothing_under_another_coordinator() {
    let copy = shown_to(4, None, claim(3, BPB));
    let own = claim(4, BPB);
    // Nothing, something else, and what it brings now.
    let something = claim(3, BPB + 1).evidence.sealed();
    let copied = copy.evidence.sealed();
    for (sealed, is_decided) in [(None, false), (Some(something), false), (Some(copied), true)] {
        let mut honest = shown_to(4, Some(&own), claim(1, BPB));
        honest.evidence.shown_before = [(Hotkey([3; 32]), sealed)].into();
        let standing = settled(&jury(2, 4), &[honest, copy.clone()]);
        assert_eq!(standing.decision.is_some(), is_decided, "{sealed:?}");
    }
}

#[test]
fn a_liar_that_names_everybody_is_outvoted_all_the_same() {
    let mut liar = shown_to(2, None, claim(1, BPB / 2));
    liar.evidence.shown_before = [3, 4].map(|other| (Hotkey([other; 32]), None)).into();
    let asked = settled(&jury(2, 4), &[liar.clone(), claim(2, BPB)]);
    assert_eq!((asked.decision, asked.needed), (None, 3), "one more is asked");
    let decision = settled(&jury(2, 4), &[liar, claim(2, BPB), claim(3, BPB + 1)]).decision;
    let decision = decision.unwrap();
    assert_eq!((decision.worker, decision.alone), (Some(Hotkey([2; 32])), keys(&[1])));
}

#[test]
fn a_coordinator_that_had_fixed_its_result_counts_as_everybody_does() {
    let own = shown_to(3, None, claim(3, BPB));
    let other = shown_to(3, Some(&own), claim(1, BPB));
    assert!(settled(&jury(2, 4), &[other.clone(), own]).decision.is_some());
    let waiting = settled(&jury(2, 4), &[other]);
    assert_eq!((waiting.claimants, waiting.needed), (keys(&[1]), 2), "its result comes");
}

#[test]
fn who_coordinates_and_has_no_result_is_not_asked_for_one_while_others_are_there() {
    let standing = settled(&jury(2, 4), &[shown_to(3, None, claim(1, BPB))]);
    assert_eq!((standing.claimants, standing.needed), (keys(&[1, 3]), 3));
}

#[test]
fn with_nobody_else_left_a_coordinator_that_saw_the_results_breaks_the_tie() {
    let two = [shown_to(3, None, claim(1, BPB)), shown_to(3, None, claim(2, BPB / 2))];
    let standing = settled(&jury(2, 3), &two);
    assert_eq!((standing.decision, standing.needed), (None, 3));
    assert_eq!(standing.claimants, keys(&[1, 2]), "the third one is asked");
    let [one, other] = two;
    let third = shown_to(3, None, claim(3, BPB + 1_000));
    let decision = settled(&jury(2, 3), &[one, other, third]).decision.unwrap();
    assert_eq!((decision.worker, decision.alone), (Some(Hotkey([1; 32])), keys(&[2])));
}

#[test]
fn of_two_validators_both_take_the_result_that_was_not_seen_before() {
    let slow = shown_to(2, None, claim(2, BPB - 1_000));
    let first = shown_to(2, None, claim(1, BPB));
    for node in [1, 2] {
        let receipts = [first.clone(), slow.clone()];
        let decision = settled(&own(node, jury(2, 2)), &receipts).decision.unwrap();
        assert_eq!(decision.worker, Some(Hotkey([1; 32])), "at node {node}");
    }
    // Who has no device believes neither of them alone.
    let alone = settled(&jury(2, 2), std::slice::from_ref(&first));
    assert_eq!((alone.decision, alone.needed), (None, 2));
    assert!(settled(&jury(2, 2), &[first, slow]).decision.is_some());
}

#[test]
fn who_was_shown_a_result_is_asked_before_anybody_believes_itself_alone() {
    // Else who coordinates believes itself and grants nothing, and the other one waits.
    let first = shown_to(2, None, claim(1, BPB));
    for node in [1, 2] {
        let standing = settled(&own(node, jury(2, 2)), std::slice::from_ref(&first));
        assert_eq!((standing.decision, standing.needed), (None, 2), "at node {node}");
        assert_eq!(standing.claimants, keys(&[1]), "at node {node}");
    }
    let two = [shown_to(3, None, claim(1, BPB)), claim(2, BPB)];
    for node in [1, 2, 3] {
        let standing = settled(&own(node, jury(3, 3)), &two);
        assert_eq!((standing.decision, standing.needed), (None, 3), "at node {node}");
    }
    // It lies: who does not believe two of three believes itself.
    let [one, other] = two;
    let lie = shown_to(3, None, claim(3, BPB / 2));
    let receipts = [one, other, lie];
    for (node, believed) in [(1, 1), (2, 1), (3, 3)] {
        let decision = settled(&own(node, jury(3, 3)), &receipts).decision.unwrap();
        assert_eq!(decision.worker, Some(Hotkey([believed; 32])), "at node {node}");
    }
}

#[test]
fn case_35_who_says_two_things_cannot_make_others_count_for_less() {
    let liar = [BPB / 2, BPB / 3].map(|bpb| shown_to(3, None, claim(4, bpb)));
    let own = shown_to(3, None, claim(3, BPB));
    let honest = [shown_to(3, Some(&own), claim(1, BPB)), own];
    let alone = settled(&jury(2, 3), &honest);
    let receipts: Vec<Receipt> = honest.into_iter().chain(liar).collect();
    let standing = settled(&jury(2, 4), &receipts);
    assert_eq!(standing.decision, alone.decision);
    assert!(standing.decision.is_some());
}

#[test]
fn who_saw_a_result_and_says_otherwise_did_not_copy_it() {
    let liar = shown_to(3, None, claim(1, BPB / 2));
    let honest = shown_to(3, None, claim(3, BPB));
    let standing = settled(&jury(1, 4), &[liar.clone(), honest.clone()]);
    assert_eq!((standing.decision, standing.needed), (None, 3), "one more is asked");
    let third = settled(&jury(1, 4), &[liar, honest, claim(2, BPB)]);
    assert_ne!(third.decision.map(|decision| decision.alone), Some(keys(&[3])));
}

#[test]
fn who_saw_a_result_and_says_otherwise_stands_alone() {
    let receipts =
        [shown_to(3, None, claim(1, BPB)), claim(2, BPB), shown_to(3, None, claim(3, BPB / 2))];
    let decision = settled(&jury(2, 4), &receipts).decision.unwrap();
    assert_eq!(decision.alone, keys(&[3]));
}

#[test]
fn a_chain_of_small_differences_is_no_agreement() {
    let step = TOLERANCE * 2 / 3;
    let receipts = [claim(1, BPB), claim(2, BPB + step), claim(3, BPB + 2 * step)];
    let standing = settled(&jury(3, 5), &receipts);
    assert_eq!(standing.decision, None, "the first and the third do not agree");
}

#[test]
fn alone_the_own_result_is_enough_and_a_foreign_one_is_not() {
    let alone = own(1, jury(2, 1));
    assert!(settled(&alone, &[claim(1, BPB)]).decision.is_some());
    // Node 2 left a receipt and is gone; this node has still to measure itself.
    let with_foreign = settled(&own(1, jury(2, 2)), &[claim(2, BPB)]);
    assert_eq!((with_foreign.decision, with_foreign.needed), (None, 2));
    let unable = settled(&jury(2, 1), &[claim(2, BPB)]);
    assert!(unable.decision.is_some(), "a node without a device has nobody else");
}

#[test]
fn made_short_of_peers_a_node_does_not_believe_the_rest_without_its_own_result() {
    let short = own(1, jury(3, 2));
    assert_eq!(short.required(), 2);
    let others = settled(&short, &[claim(2, BPB), claim(3, BPB)]);
    assert_ne!(others.decision.and_then(|decision| decision.worker), Some(Hotkey([2; 32])));
}

#[test]
fn with_nobody_left_to_ask_each_believes_itself() {
    let receipts = [claim(1, BPB), claim(2, BPB / 2)];
    for node in [1, 2] {
        let decision = settled(&own(node, jury(2, 2)), &receipts).decision.unwrap();
        assert_eq!(decision.worker, Some(Hotkey([node; 32])));
        assert_eq!(decision.alone, keys(&[]), "one against one proves nothing");
    }
    let decision = settled(&own(3, jury(2, 2)), &receipts).decision.unwrap();
    assert_eq!((decision.verdict, decision.worker), (Verdict::Disputed, None));
}
