use node_core::evidence::{Conduct, Evidence, Flag, Hook, Metrics, ProbeFigure, Receipt};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId, Salt,
    Signature, SubmissionId,
};
use node_core::inventory::DeviceKind;
use node_core::lease::{
    AcquireRequest, Explanation, HeldLease, HeldStage, HoldAnswer, LeaseAnswer, LeaseRefusal,
    ReleaseReason, Renewal, Seal,
};
use node_core::limits::{
    LEASES_PER_ACQUIRE_MAX, LEASE_TOTAL_MS_MAX, LOSS_CURVE_POINTS_MAX, PEER_MESSAGE_BYTES_MAX,
    PROBE_TASKS_MAX, RECEIPTS_PER_PAGE_MAX, RECEIPTS_PER_SUBMISSION_MAX, REPLICA_NUMBERS_MAX,
};
use node_core::outcome::Ending;
use node_core::reward::{Fingerprint, SKETCH_MAX};
use node_core::unit::UnixMs;
use prost::Message;

use super::*;
use crate::limits::{
    BATCH_ITEMS_MAX, DEVICE_CHARS_MAX, RECEIPT_BYTES_MAX, RENEW_ITEMS_MAX, SEAL_BYTES_MAX,
};

fn endings() -> Vec<Ending> {
    let detail = || "line one\nline two".to_owned();
    vec![
        Ending::Completed,
        Ending::NotCausal { batch: 3 },
        Ending::UntrainedNotCausal { tokens: 64 },
        Ending::UntrainedBatchDependent { tokens: 129 },
        Ending::UntrainedNotFinite { tokens: u32::MAX },
        Ending::SubmissionFailed { detail: detail() },
        Ending::ContractViolated { detail: detail() },
        Ending::TooManyParameters { parameters: u64::MAX },
        Ending::TooSlow { ran_ms: 7 },
        Ending::OutOfMemory,
        Ending::OutOfDeviceMemory,
        Ending::OutOfPids,
        Ending::TooMuchOutput,
        Ending::TooMuchCpuTime { used_ms: 8 },
        Ending::TokenizerRefused { detail: detail() },
        Ending::TokenizerLossy { batch: 9 },
        Ending::Killed { exit_code: -9 },
        Ending::EngineFailed { detail: String::new() },
        Ending::DeviceFailed { detail: detail() },
        Ending::ImageMissing,
        Ending::DatasetMissing,
        Ending::ProfileMismatch { detail: detail() },
        Ending::WorkerRestarted,
        Ending::LeaseLost,
        Ending::Stopped,
    ]
}

fn metrics() -> Metrics {
    Metrics {
        sum_nll_nanonats: 1,
        covered_bytes: 2,
        tokens: 3,
        batches: 4,
        bad_batches: 5,
        audits: 6,
        step0_loss_nanonats: 7,
        vocabulary: 8,
        heldout_init_nanobpb: 9,
        heldout_nanobpb: 10,
        last_tenth_nanobpb: 11,
        parameters: 12,
        peak_memory_bytes: 13,
        loss_curve_microbpb: vec![u32::MAX; LOSS_CURVE_POINTS_MAX],
        conduct: Conduct {
            scored_positions: 14,
            trained_batches: 15,
            wall_ms: 16,
            peak_device_bytes: 17,
            hooks_used: Hook::ALL.into_iter().map(|hook| (hook, 18)).collect(),
            architecture: Fingerprint::try_from(labels(SKETCH_MAX)).ok(),
            flags: Flag::ALL.into(),
            idle_parameters: Some(19),
            embedding_parameters: Some(23),
            probes: (0..=u8::MAX).take(PROBE_TASKS_MAX).map(figure).collect(),
        },
    }
}

fn figure(task: u8) -> ProbeFigure {
    let most = u32::MAX;
    ProbeFigure { task, score_ppm: most, loss_micronats: most, floor_micronats: most }
}

/// So many labels, each as long as one can be.
fn labels(count: usize) -> Vec<u64> {
    let count = u64::try_from(count).unwrap();
    (0..count).map(|label| u64::MAX - count + label).collect()
}

fn receipt(ending: Ending, metrics: Option<Metrics>) -> Receipt {
    let evidence = Evidence {
        genesis: BlockHash([1; 32]),
        netuid: Netuid(u16::MAX),
        assignment: AssignmentId([2; 32]),
        submission: SubmissionId([3; 32]),
        tier: 255,
        unit: 254,
        content: ContentDigest([4; 32]),
        lease: LeaseId([5; 32]),
        attempt: Attempt(6),
        run: RunId([7; 32]),
        coordinator: Hotkey([8; 32]),
        worker: Hotkey([9; 32]),
        policy: Digest([10; 32]),
        dataset: Digest([11; 32]),
        image: Digest([12; 32]),
        device: "NVIDIA H100 80GB HBM3".to_owned(),
        ending,
        metrics,
        started_at: UnixMs(13),
        ended_at: UnixMs(14),
        salt: Salt([16; 32]),
        coordinator_sealed: Some(Digest([17; 32])),
        shown_before: [(Hotkey([18; 32]), None), (Hotkey([19; 32]), Some(Digest([20; 32])))].into(),
    };
    Receipt { evidence, signature: Signature([15; 64]) }
}

/// Encodes and decodes as the network does.
fn wired<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn read(receipt: v1::Receipt) -> Result<Receipt, ConvertError> {
    required_receipt_from_wire(Some(receipt))
}

fn wire_receipt() -> v1::Receipt {
    receipt_to_wire(&receipt(Ending::Completed, Some(metrics())))
}

fn changed_evidence(change: impl FnOnce(&mut v1::Evidence)) -> Result<Receipt, ConvertError> {
    let mut receipt = wire_receipt();
    change(receipt.evidence.as_mut().unwrap());
    read(wired(&receipt))
}

#[test]
fn every_ending_with_and_without_metrics_survives_the_wire() {
    for ending in endings() {
        for metrics in [None, Some(metrics())] {
            let receipt = receipt(ending.clone(), metrics);
            assert_eq!(read(wired(&receipt_to_wire(&receipt))), Ok(receipt));
        }
    }
}

#[test]
fn the_largest_honest_receipt_fits_the_limit_of_a_page_entry() {
    let detail = "\u{10ffff}".repeat(node_core::limits::DETAIL_CHARS_MAX);
    let mut largest = receipt(Ending::SubmissionFailed { detail }, Some(metrics()));
    largest.evidence.device = "\u{10ffff}".repeat(DEVICE_CHARS_MAX);
    let entry = v1::ReceiptEntry { sequence: u64::MAX, receipt: Some(receipt_to_wire(&largest)) };
    assert_eq!(read(wired(&entry.clone().receipt.unwrap())), Ok(largest));
    assert!(entry.encoded_len() <= RECEIPT_BYTES_MAX, "{}", entry.encoded_len());
    assert!(entry.encoded_len() * RECEIPTS_PER_PAGE_MAX <= 4 << 20);
}

#[test]
fn every_digest_and_key_must_have_its_length() {
    type Field = fn(&mut v1::Evidence) -> &mut Vec<u8>;
    let fields: [(&str, Field); 11] = [
        ("genesis", |evidence| &mut evidence.genesis),
        ("assignment", |evidence| &mut evidence.assignment),
        ("submission", |evidence| &mut evidence.submission),
        ("content", |evidence| &mut evidence.content),
        ("lease", |evidence| &mut evidence.lease),
        ("run", |evidence| &mut evidence.run),
        ("coordinator", |evidence| &mut evidence.coordinator),
        ("worker", |evidence| &mut evidence.worker),
        ("policy", |evidence| &mut evidence.policy),
        ("dataset", |evidence| &mut evidence.dataset),
        ("image", |evidence| &mut evidence.image),
    ];
    for (field, of) in fields {
        for got in [0, 31, 33] {
            let refused = changed_evidence(|evidence| *of(evidence) = vec![1; got]);
            assert_eq!(refused, Err(ConvertError::Length { field, got, want: 32 }));
        }
    }
    let mut unsigned = wire_receipt();
    unsigned.signature.pop();
    let want = ConvertError::Length { field: "signature", got: 63, want: 64 };
    assert_eq!(read(unsigned), Err(want));
}

#[test]
fn what_is_missing_or_unknown_is_refused_and_never_a_default() {
    assert_eq!(required_receipt_from_wire(None), Err(ConvertError::Missing { field: "receipt" }));
    let no_evidence = v1::Receipt { evidence: None, ..wire_receipt() };
    assert_eq!(read(no_evidence), Err(ConvertError::Missing { field: "evidence" }));
    let no_ending = changed_evidence(|evidence| evidence.ending = None);
    assert_eq!(no_ending, Err(ConvertError::Missing { field: "ending" }));
    // An ending of a later version is a field that this one does not know.
    let later = v1::Ending::decode([0xf2, 0x07, 0x00].as_slice()).unwrap();
    let later = changed_evidence(|evidence| evidence.ending = Some(later));
    assert_eq!(later, Err(ConvertError::Missing { field: "ending" }));

    for device in [0, 4, -1] {
        let request = v1::AcquireRequest { device, ..wire_acquire() };
        let got = device.to_string();
        let want = ConvertError::UnknownValue { field: "device", got };
        assert_eq!(acquire_request_from_wire(&request), Err(want));
    }
}

#[test]
fn numbers_texts_and_lists_are_held_to_their_limits() {
    let netuid = changed_evidence(|evidence| evidence.netuid = 65_536);
    assert!(matches!(netuid, Err(ConvertError::Range { field: "netuid", got: 65_536, .. })));

    let device = changed_evidence(|evidence| evidence.device = "é".repeat(DEVICE_CHARS_MAX + 1));
    assert!(matches!(device, Err(ConvertError::TooLong { field: "device", .. })));
    let device = changed_evidence(|evidence| evidence.device = "\u{1b}[2J".to_owned());
    assert_eq!(device, Err(ConvertError::ControlCharacter { field: "device" }));

    let curve = changed_evidence(|evidence| {
        let metrics = evidence.metrics.as_mut().unwrap();
        metrics.loss_curve_microbpb = vec![0; LOSS_CURVE_POINTS_MAX + 1];
    });
    assert!(matches!(curve, Err(ConvertError::TooMany { field: "loss_curve_microbpb", .. })));

    let probes = |tasks: &[u32]| {
        changed_evidence(|evidence| {
            let figure = |task: &u32| v1::ProbeFigure { task: *task, ..Default::default() };
            evidence.metrics.as_mut().unwrap().probes = tasks.iter().map(figure).collect();
        })
    };
    assert!(probes(&[0, 255]).is_ok());
    assert!(matches!(probes(&[256]), Err(ConvertError::Range { field: "task", .. })));
    assert_eq!(probes(&[1, 1]), Err(ConvertError::Order { field: "probes" }));
    let many = probes(&(0..33).collect::<Vec<u32>>());
    assert!(matches!(many, Err(ConvertError::TooMany { field: "probes", .. })));

    let architecture = |labels: Vec<u64>| {
        changed_evidence(|evidence| evidence.metrics.as_mut().unwrap().architecture = labels)
    };
    let untraced = architecture(Vec::new()).unwrap().evidence.metrics.unwrap();
    assert_eq!(untraced.conduct.architecture, None);
    let disorder = Err(ConvertError::Order { field: "architecture" });
    assert_eq!(architecture(vec![2, 1]), disorder);
    assert_eq!(architecture(vec![1, 1]), disorder);
    let many = architecture(labels(SKETCH_MAX + 1));
    assert!(matches!(many, Err(ConvertError::TooMany { field: "architecture", .. })));

    let shown = |coordinators: &[u8]| {
        changed_evidence(|evidence| {
            let to = |byte: &u8| v1::Shown { coordinator: vec![*byte; 32], sealed: Vec::new() };
            evidence.shown_before = coordinators.iter().map(to).collect();
        })
    };
    let many: Vec<u8> = (0..=8).collect();
    assert!(matches!(shown(&many), Err(ConvertError::TooMany { field: "shown_before", .. })));
    for disordered in [[2, 1], [2, 2]] {
        assert_eq!(shown(&disordered), Err(ConvertError::Order { field: "shown_before" }));
    }
    assert!(shown(&[1, 2]).is_ok());

    let renew = renew_request_from_wire(renew_request_to_wire(&[renewal(); RENEW_ITEMS_MAX + 1]));
    assert!(matches!(renew, Err(ConvertError::TooMany { field: "renewals", .. })));
}

fn renewal() -> Renewal {
    Renewal { held: held(), stage: HeldStage::Sealed }
}

fn held() -> HeldLease {
    HeldLease {
        assignment: AssignmentId([1; 32]),
        lease: LeaseId([2; 32]),
        attempt: Attempt(u32::MAX),
    }
}

fn wire_acquire() -> v1::AcquireRequest {
    acquire_request_to_wire(&AcquireRequest {
        device: DeviceKind::Gpu,
        leases_max: 4,
        image: Digest([1; 32]),
        dataset: Digest([2; 32]),
        policy: Digest([3; 32]),
    })
}

fn wire_grant() -> v1::Grant {
    v1::Grant {
        lease: vec![1; 32],
        assignment: Some(v1::Assignment {
            id: vec![2; 32],
            submission: vec![3; 32],
            content: vec![4; 32],
            tier: 255,
            unit: 254,
            replica: 255,
            seed: vec![5; 32],
            policy: vec![6; 32],
        }),
        attempt: 1,
        coordinator: vec![7; 32],
        ttl_ms: 60_000,
        total_ms: LEASE_TOTAL_MS_MAX,
    }
}

fn granted(grants: Vec<v1::Grant>) -> v1::AcquireResponse {
    let granted = v1::acquire_response::Answer::Granted(v1::Grants { grants });
    v1::AcquireResponse { answer: Some(granted) }
}

#[test]
fn grants_survive_the_wire_and_are_held_to_their_limits() {
    let good = granted(vec![wire_grant(); LEASES_PER_ACQUIRE_MAX]);
    let grants = acquire_response_from_wire(wired(&good)).unwrap();
    assert_eq!(acquire_response_to_wire(&grants), good);

    let refused = |grant| acquire_response_from_wire(granted(vec![grant])).unwrap_err();
    let total_ms = LEASE_TOTAL_MS_MAX + 1;
    let error = refused(v1::Grant { total_ms, ..wire_grant() });
    assert!(matches!(error, ConvertError::Range { field: "total_ms", .. }));
    for ttl_ms in [0, LEASE_TOTAL_MS_MAX + 1] {
        let error = refused(v1::Grant { ttl_ms, ..wire_grant() });
        assert!(matches!(error, ConvertError::Range { field: "ttl_ms", .. }));
    }
    let mut high_tier = wire_grant();
    high_tier.assignment.as_mut().unwrap().tier = 256;
    assert!(matches!(refused(high_tier), ConvertError::Range { field: "tier", .. }));
    let too_many = granted(vec![wire_grant(); LEASES_PER_ACQUIRE_MAX + 1]);
    let error = acquire_response_from_wire(too_many).unwrap_err();
    assert!(matches!(error, ConvertError::TooMany { field: "grants", .. }));
}

#[test]
fn every_lease_refusal_and_answer_survives_the_wire() {
    for refusal in LeaseRefusal::ALL {
        let answer = LeaseAnswer::Refused(*refusal);
        assert_eq!(answer_from_wire(wired(&answer_to_wire(answer))), Ok(answer));
        let acquire = wired(&acquire_response_to_wire(&Err(*refusal)));
        assert_eq!(acquire_response_from_wire(acquire), Ok(Err(*refusal)));
    }
    for answer in [LeaseAnswer::Accepted, LeaseAnswer::AlreadyDone] {
        assert_eq!(answer_from_wire(wired(&answer_to_wire(answer))), Ok(answer));
    }
    let unknown = v1::lease_answer::Answer::Refused("because\u{7}".repeat(99));
    let error = answer_from_wire(v1::LeaseAnswer { answer: Some(unknown) }).unwrap_err();
    let ConvertError::UnknownValue { field: "refused", got } = error else { panic!("{error}") };
    assert!(got.chars().count() <= 40 && !got.contains('\u{7}'), "{got}");
}

#[test]
fn every_reason_for_a_release_survives_the_wire() {
    let ended = endings().into_iter().map(|ending| ReleaseReason::RunEnded { ending });
    let others = [ReleaseReason::NoDevice, ReleaseReason::ContentMissing, ReleaseReason::Declined];
    for reason in others.into_iter().chain(ended) {
        let request = release_request_to_wire(&held(), &reason);
        assert_eq!(release_request_from_wire(wired(&request)), Ok((held(), reason)));
    }
}

#[test]
fn a_nodes_account_of_itself_survives_the_wire_and_is_held_to_its_limits() {
    let identity = NodeIdentity {
        hotkey: Hotkey([1; 32]),
        genesis: BlockHash([2; 32]),
        netuid: Netuid(3),
        software_version: "assay 0.1.0".to_owned(),
    };
    let wire = info_to_wire(&identity);
    let info = info_from_wire(wired(&wire)).unwrap();
    assert_eq!(info, NodeInfo { protocol_version: crate::PROTOCOL_VERSION, identity });
    let long = v1::InfoResponse { software_version: "x".repeat(101), ..wire };
    let error = info_from_wire(long).unwrap_err();
    assert!(matches!(error, ConvertError::TooLong { field: "software_version", .. }));
}

#[test]
fn the_answer_to_the_largest_renewal_fits_a_message() {
    let seal = seal();
    let revealed = HoldAnswer::Reveal(vec![seal; REPLICA_NUMBERS_MAX.into()]);
    let wire = seal_request_to_wire(&[seal]);
    assert!(wire.encoded_len() <= SEAL_BYTES_MAX, "{}", wire.encoded_len());
    let answers = vec![hold_answer_to_wire(&revealed); RENEW_ITEMS_MAX];
    let response = v1::RenewResponse { answers };
    assert!(response.encoded_len() <= PEER_MESSAGE_BYTES_MAX, "{}", response.encoded_len());
}

fn seal() -> Seal {
    Seal {
        held: held(),
        worker: Hotkey([3; 32]),
        result: Digest([4; 32]),
        signature: Signature([5; 64]),
    }
}

#[test]
fn seals_and_reveals_are_held_to_their_limits_and_a_bad_seal_says_nothing_of_the_others() {
    let many = seal_request_to_wire(&[seal(); BATCH_ITEMS_MAX + 1]);
    let refused = seal_request_from_wire(many);
    assert!(matches!(refused, Err(ConvertError::TooMany { field: "seals", .. })));
    let many = vec![receipt(Ending::OutOfMemory, None); BATCH_ITEMS_MAX + 1];
    let refused = complete_request_from_wire(complete_request_to_wire(&many));
    assert!(matches!(refused, Err(ConvertError::TooMany { field: "receipts", .. })));

    let revealed = |seals| v1::HoldAnswer {
        answer: Some(v1::hold_answer::Answer::Reveal(v1::Seals { seals })),
    };
    let good = seal_request_to_wire(&[seal()]).seals.remove(0);
    let many = revealed(vec![good.clone(); usize::from(REPLICA_NUMBERS_MAX) + 1]);
    let refused = hold_answer_from_wire(many, Result::ok);
    assert!(matches!(refused, Err(ConvertError::TooMany { field: "seals", .. })));

    let short = v1::Seal { worker: vec![3; 31], ..good.clone() };
    let unheld = v1::Seal { lease: None, ..good.clone() };
    let mut faults = Vec::new();
    let read = hold_answer_from_wire(revealed(vec![short, good, unheld]), |seal| {
        seal.map_err(|fault| faults.push(fault)).ok()
    });
    assert_eq!(read, Ok(HoldAnswer::Reveal(vec![seal()])));
    let length = ConvertError::Length { field: "worker", got: 31, want: 32 };
    assert_eq!(faults, vec![length, ConvertError::Missing { field: "lease" }]);
}

#[test]
fn a_stage_and_a_coordinator_are_what_was_said_or_refused() {
    for stage in [0, 4, -1] {
        let mut request = renew_request_to_wire(&[renewal()]);
        request.renewals[0].stage = stage;
        let want = ConvertError::UnknownValue { field: "stage", got: stage.to_string() };
        assert_eq!(renew_request_from_wire(request), Err(want));
    }
    let asked = Hotkey([1; 32]);
    let own = v1::SinceRequest { after: 7, of: Vec::new() };
    assert_eq!(since_request_from_wire(&own, asked), Ok((asked, 7)));
    assert_eq!(since_request_to_wire(asked, 7, asked), own);
    let short = v1::SinceRequest { after: 7, of: vec![1; 31] };
    let want = ConvertError::Length { field: "of", got: 31, want: 32 };
    assert_eq!(since_request_from_wire(&short, asked), Err(want));
}

#[test]
fn an_explanation_is_held_to_its_limits() {
    let wire = explanation_to_wire(&Explanation::default());
    let long = v1::ExplainResponse { summary: "x".repeat(DETAIL_CHARS_MAX + 1), ..wire.clone() };
    let refused = explanation_from_wire(long).unwrap_err();
    assert!(matches!(refused, ConvertError::TooLong { field: "summary", .. }), "{refused}");
    let claims = vec![vec![1; 32]; RECEIPTS_PER_SUBMISSION_MAX + 1];
    let refused = explanation_from_wire(v1::ExplainResponse { claims, ..wire.clone() });
    assert!(matches!(refused, Err(ConvertError::TooMany { field: "claims", .. })));
    let refused = explanation_from_wire(v1::ExplainResponse { required: 256, ..wire.clone() });
    assert!(matches!(refused, Err(ConvertError::Range { field: "required", .. })));
    let replicas = vec![v1::ReplicaStanding::default(); usize::from(REPLICA_NUMBERS_MAX) + 1];
    let refused = explanation_from_wire(v1::ExplainResponse { replicas, ..wire });
    assert!(matches!(refused, Err(ConvertError::TooMany { field: "replicas", .. })));
}
