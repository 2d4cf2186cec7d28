//! Whatever core says survives the wire, and whatever comes over the wire keeps the limits.

use node_core::assignment::Assignment;
use node_core::evidence::{Conduct, Evidence, Flag, Hook, Metrics, ProbeFigure, Receipt};
use node_core::id::{
    AssignmentId, Attempt, ContentDigest, Digest, LeaseId, RunId, Salt, Signature, SubmissionId,
};
use node_core::inventory::DeviceKind;
use node_core::lease::{
    AcquireRequest, Explanation, Grant, HeldLease, HeldStage, HoldAnswer, LeaseAnswer,
    LeaseRefusal, ReleaseReason, Renewal, ReplicaStanding, Seal,
};
use node_core::limits::{
    LEASES_PER_ACQUIRE_MAX, LEASE_TOTAL_MS_MAX, LOSS_CURVE_POINTS_MAX, RECEIPTS_PER_SUBMISSION_MAX,
    REPLICA_NUMBERS_MAX,
};
use node_core::outcome::Ending;
use node_core::reward::{Fingerprint, SKETCH_MAX};
use node_core::unit::UnixMs;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

use super::*;
use crate::fuzzing::TARGETS;
use crate::limits::DEVICE_CHARS_MAX;

/// Encodes and decodes as the network does.
fn wired<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn digest() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn signature() -> impl Strategy<Value = Signature> {
    [digest(), digest()].prop_map(|halves| Signature(halves.concat().try_into().unwrap()))
}

/// Any text that is allowed, as long as it may be.
fn text(chars_max: usize) -> impl Strategy<Value = String> {
    let printable = any::<char>().prop_filter("printable", |c| !c.is_control());
    vec(printable, 0..=chars_max).prop_map(String::from_iter)
}

fn detail() -> impl Strategy<Value = String> {
    [text(DETAIL_CHARS_MAX / 2), text(DETAIL_CHARS_MAX / 2 - 1)].prop_map(|lines| lines.join("\n"))
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        select(vec![
            Ending::Completed,
            Ending::OutOfMemory,
            Ending::OutOfDeviceMemory,
            Ending::OutOfPids,
            Ending::TooMuchOutput,
            Ending::ImageMissing,
            Ending::DatasetMissing,
            Ending::WorkerRestarted,
            Ending::LeaseLost,
            Ending::Stopped,
        ]),
        any::<u32>().prop_map(|batch| Ending::NotCausal { batch }),
        any::<u32>().prop_map(|tokens| Ending::UntrainedNotCausal { tokens }),
        any::<u32>().prop_map(|tokens| Ending::UntrainedBatchDependent { tokens }),
        any::<u32>().prop_map(|tokens| Ending::UntrainedNotFinite { tokens }),
        any::<u64>().prop_map(|parameters| Ending::TooManyParameters { parameters }),
        any::<u64>().prop_map(|ran_ms| Ending::TooSlow { ran_ms }),
        any::<u64>().prop_map(|used_ms| Ending::TooMuchCpuTime { used_ms }),
        any::<i64>().prop_map(|exit_code| Ending::Killed { exit_code }),
        detail().prop_map(|detail| Ending::SubmissionFailed { detail }),
        detail().prop_map(|detail| Ending::ContractViolated { detail }),
        detail().prop_map(|detail| Ending::DeviceFailed { detail }),
        detail().prop_map(|detail| Ending::TokenizerRefused { detail }),
        any::<u32>().prop_map(|batch| Ending::TokenizerLossy { batch }),
        detail().prop_map(|detail| Ending::EngineFailed { detail }),
        detail().prop_map(|detail| Ending::ProfileMismatch { detail }),
    ]
}

fn figure((task, number): (u8, u32)) -> ProbeFigure {
    let score_ppm = number % 1_000_001;
    ProbeFigure { task, score_ppm, loss_micronats: number, floor_micronats: number / 2 }
}

fn metrics() -> impl Strategy<Value = Metrics> {
    let curve = vec(any::<u32>(), 0..=LOSS_CURVE_POINTS_MAX);
    // None of no labels.
    let labels = btree_set(any::<u64>(), 0..=SKETCH_MAX)
        .prop_map(|labels| Fingerprint::try_from(Vec::from_iter(labels)).ok());
    let numbers = (any::<[u64; 9]>(), any::<[u32; 4]>());
    (numbers, curve, labels).prop_map(|((large, small), curve, architecture)| Metrics {
        sum_nll_nanonats: large[0],
        covered_bytes: large[1],
        tokens: large[2],
        batches: small[0],
        bad_batches: small[1],
        audits: small[2],
        step0_loss_nanonats: large[3],
        vocabulary: small[3],
        heldout_init_nanobpb: large[4],
        heldout_nanobpb: large[5],
        last_tenth_nanobpb: large[6],
        parameters: large[7],
        peak_memory_bytes: large[8],
        loss_curve_microbpb: curve,
        conduct: Conduct {
            scored_positions: large[0],
            trained_batches: small[0],
            wall_ms: large[1],
            peak_device_bytes: large[2],
            hooks_used: Hook::ALL.into_iter().zip(small).collect(),
            architecture,
            flags: Flag::ALL.into_iter().filter(|flag| small[*flag as usize] % 2 == 1).collect(),
            idle_parameters: (small[3] % 2 == 0).then_some(large[3]),
            embedding_parameters: (small[3] % 3 == 0).then_some(large[2]),
            probes: (0..).zip(small).map(figure).collect(),
        },
    })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let said = (text(DEVICE_CHARS_MAX), ending(), option::of(metrics()));
    (any::<[[u8; 32]; 13]>(), any::<(u16, u32, u64, u64)>(), said, signature()).prop_map(
        |(ids, (netuid, attempt, started_at, ended_at), (device, ending, metrics), signature)| {
            let evidence = Evidence {
                genesis: BlockHash(ids[0]),
                netuid: Netuid(netuid),
                assignment: AssignmentId(ids[1]),
                submission: SubmissionId(ids[2]),
                tier: ids[12][0],
                unit: ids[12][1],
                content: ContentDigest(ids[3]),
                lease: LeaseId(ids[4]),
                attempt: Attempt(attempt),
                run: RunId(ids[5]),
                coordinator: Hotkey(ids[6]),
                worker: Hotkey(ids[7]),
                policy: Digest(ids[8]),
                dataset: Digest(ids[9]),
                image: Digest(ids[10]),
                device,
                ending,
                metrics,
                started_at: UnixMs(started_at),
                ended_at: UnixMs(ended_at),
                salt: Salt(ids[11]),
                coordinator_sealed: (attempt % 2 == 0).then_some(Digest(ids[12])),
                shown_before: [(Hotkey(ids[11]), None), (Hotkey(ids[10]), Some(Digest(ids[9])))]
                    .into_iter()
                    .take((attempt % 3).try_into().unwrap())
                    .collect(),
            };
            Receipt { evidence, signature }
        },
    )
}

fn held() -> impl Strategy<Value = HeldLease> {
    (digest(), digest(), any::<u32>()).prop_map(|(assignment, lease, attempt)| HeldLease {
        assignment: AssignmentId(assignment),
        lease: LeaseId(lease),
        attempt: Attempt(attempt),
    })
}

fn renewal() -> impl Strategy<Value = Renewal> {
    let stages = vec![HeldStage::Preparing, HeldStage::Running, HeldStage::Sealed];
    (held(), select(stages)).prop_map(|(held, stage)| Renewal { held, stage })
}

fn seal() -> impl Strategy<Value = Seal> {
    (held(), digest(), digest(), signature()).prop_map(|(held, worker, result, signature)| Seal {
        held,
        worker: Hotkey(worker),
        result: Digest(result),
        signature,
    })
}

fn refusal() -> impl Strategy<Value = LeaseRefusal> {
    select(LeaseRefusal::ALL)
}

fn hold_answer() -> impl Strategy<Value = HoldAnswer> {
    prop_oneof![
        Just(HoldAnswer::Kept),
        vec(seal(), 0..=REPLICA_NUMBERS_MAX.into()).prop_map(HoldAnswer::Reveal),
        refusal().prop_map(HoldAnswer::Refused),
    ]
}

fn lease_answer() -> impl Strategy<Value = LeaseAnswer> {
    prop_oneof![
        Just(LeaseAnswer::Accepted),
        Just(LeaseAnswer::AlreadyDone),
        refusal().prop_map(LeaseAnswer::Refused),
    ]
}

fn reason() -> impl Strategy<Value = ReleaseReason> {
    prop_oneof![
        Just(ReleaseReason::NoDevice),
        Just(ReleaseReason::ContentMissing),
        Just(ReleaseReason::Declined),
        ending().prop_map(|ending| ReleaseReason::RunEnded { ending }),
    ]
}

fn wanted() -> impl Strategy<Value = AcquireRequest> {
    let device = select(vec![DeviceKind::CpuSlot, DeviceKind::Gpu, DeviceKind::MigSlice]);
    (device, any::<u32>(), any::<[[u8; 32]; 3]>()).prop_map(|(device, leases_max, ids)| {
        AcquireRequest {
            device,
            leases_max,
            image: Digest(ids[0]),
            dataset: Digest(ids[1]),
            policy: Digest(ids[2]),
        }
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    let times = (1..=LEASE_TOTAL_MS_MAX).prop_flat_map(|total| (1..=total, Just(total)));
    (any::<[[u8; 32]; 7]>(), any::<(u8, u8, u8, u32)>(), times).prop_map(
        |(ids, (tier, unit, replica, attempt), (ttl_ms, total_ms))| Grant {
            lease: LeaseId(ids[0]),
            assignment: Assignment {
                id: AssignmentId(ids[1]),
                submission: SubmissionId(ids[2]),
                content: ContentDigest(ids[3]),
                tier,
                unit,
                replica,
                seed: Digest(ids[4]),
                policy: Digest(ids[5]),
            },
            attempt: Attempt(attempt),
            coordinator: Hotkey(ids[6]),
            ttl_ms,
            total_ms,
        },
    )
}

fn explanation() -> impl Strategy<Value = Explanation> {
    let replica = (digest(), any::<u8>(), any::<u32>(), option::of(digest()), detail()).prop_map(
        |(assignment, replica, attempt, holder, state)| ReplicaStanding {
            assignment: AssignmentId(assignment),
            replica,
            attempt: Attempt(attempt),
            holder: holder.map(Hotkey),
            state,
        },
    );
    let replicas = vec(replica, 0..=REPLICA_NUMBERS_MAX.into());
    let claims = vec(digest().prop_map(Hotkey), 0..=RECEIPTS_PER_SUBMISSION_MAX);
    (detail(), replicas, claims, any::<u8>()).prop_map(|(summary, replicas, claims, required)| {
        Explanation { summary, replicas, claims, required: required.into() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_survive_the_wire(
        wanted in wanted(),
        renewals in vec(renewal(), 0..9),
        seals in vec(seal(), 0..9),
        receipts in vec(receipt(), 0..4),
        held in held(),
        reason in reason(),
    ) {
        let wire = wired(&acquire_request_to_wire(&wanted));
        prop_assert_eq!(acquire_request_from_wire(&wire), Ok(wanted));
        let wire = wired(&renew_request_to_wire(&renewals));
        prop_assert_eq!(renew_request_from_wire(wire), Ok(renewals));
        let wire = wired(&seal_request_to_wire(&seals));
        prop_assert_eq!(seal_request_from_wire(wire), Ok(seals));
        let wire = wired(&complete_request_to_wire(&receipts));
        prop_assert_eq!(complete_request_from_wire(wire), Ok(receipts));
        let wire = wired(&release_request_to_wire(&held, &reason));
        prop_assert_eq!(release_request_from_wire(wire), Ok((held, reason)));
    }

    #[test]
    fn questions_about_receipts_and_submissions_survive_the_wire(
        submission in digest(), of in digest(), asked in digest(), after in any::<u64>(),
    ) {
        let wire = wired(&explain_request_to_wire(&SubmissionId(submission)));
        prop_assert_eq!(explain_request_from_wire(&wire), Ok(SubmissionId(submission)));
        let (of, asked) = (Hotkey(of), Hotkey(asked));
        for of in [of, asked] {
            let wire = wired(&since_request_to_wire(of, after, asked));
            prop_assert_eq!(since_request_from_wire(&wire, asked), Ok((of, after)));
        }
    }

    #[test]
    fn answers_survive_the_wire(
        granted in vec(grant(), 0..=LEASES_PER_ACQUIRE_MAX),
        hold in hold_answer(),
        answer in lease_answer(),
        explanation in explanation(),
    ) {
        let wire = wired(&acquire_response_to_wire(&Ok(granted.clone())));
        prop_assert_eq!(acquire_response_from_wire(wire), Ok(Ok(granted)));
        let wire = wired(&hold_answer_to_wire(&hold));
        prop_assert_eq!(hold_answer_from_wire(wire, Result::ok), Ok(hold));
        prop_assert_eq!(answer_from_wire(wired(&answer_to_wire(answer))), Ok(answer));
        let wire = wired(&explanation_to_wire(&explanation));
        prop_assert_eq!(explanation_from_wire(wire), Ok(explanation));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_become_anything_beyond_a_limit(bytes in vec(any::<u8>(), 0..600)) {
        for target in TARGETS {
            prop_assert!((target.read)(&bytes).is_ok(), "{}", target.name);
        }
    }

    #[test]
    fn damaged_messages_never_become_anything_beyond_a_limit(
        receipt in receipt(),
        hold in hold_answer(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let receipts = complete_request_to_wire(&[receipt]).encode_to_vec();
        let answers = v1::RenewResponse { answers: vec![hold_answer_to_wire(&hold)] };
        for mut bytes in [receipts, answers.encode_to_vec()] {
            for (place, byte) in &damage {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            for target in TARGETS {
                prop_assert!((target.read)(&bytes).is_ok(), "{}", target.name);
            }
        }
    }
}
