use node_core::evidence::{Evidence, Metrics, Receipt};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId,
    Signature, SubmissionId,
};
use node_core::inventory::DeviceKind;
use node_core::lease::{
    AcquireRequest, HeldLease, HeldStage, LeaseAnswer, LeaseRefusal, ReleaseReason, Renewal,
};
use node_core::limits::{
    LEASES_PER_ACQUIRE_MAX, LEASE_TOTAL_MS_MAX, LOSS_CURVE_POINTS_MAX, RECEIPTS_PER_PAGE_MAX,
};
use node_core::outcome::Ending;
use node_core::unit::UnixMs;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::limits::{DEVICE_CHARS_MAX, RECEIPT_BYTES_MAX, RENEW_ITEMS_MAX};

fn endings() -> Vec<Ending> {
    let detail = || "line one\nline two".to_owned();
    vec![
        Ending::Completed,
        Ending::NotCausal { batch: 3 },
        Ending::SubmissionFailed { detail: detail() },
        Ending::ContractViolated { detail: detail() },
        Ending::TooManyParameters { parameters: u64::MAX },
        Ending::TooSlow { ran_ms: 7 },
        Ending::OutOfMemory,
        Ending::OutOfPids,
        Ending::TooMuchOutput,
        Ending::Killed { exit_code: -9 },
        Ending::EngineFailed { detail: String::new() },
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
    }
}

fn receipt(ending: Ending, metrics: Option<Metrics>) -> Receipt {
    let evidence = Evidence {
        genesis: BlockHash([1; 32]),
        netuid: Netuid(u16::MAX),
        assignment: AssignmentId([2; 32]),
        submission: SubmissionId([3; 32]),
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

    for device in [0, 3, -1] {
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
    for reason in [ReleaseReason::NoDevice, ReleaseReason::ContentMissing].into_iter().chain(ended)
    {
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

/// Reads `bytes` as every message that comes from outside. Nothing may panic; what comes of it is
/// of no interest.
fn read_as_everything(bytes: &[u8]) -> usize {
    let mut read = 0;
    read += usize::from(
        v1::AcquireRequest::decode(bytes)
            .is_ok_and(|message| acquire_request_from_wire(&message).is_ok()),
    );
    read += usize::from(
        v1::AcquireResponse::decode(bytes)
            .is_ok_and(|message| acquire_response_from_wire(message).is_ok()),
    );
    read += usize::from(
        v1::RenewRequest::decode(bytes)
            .is_ok_and(|message| renew_request_from_wire(message).is_ok()),
    );
    read += usize::from(
        v1::CompleteRequest::decode(bytes)
            .is_ok_and(|message| complete_request_from_wire(message).is_ok()),
    );
    read += usize::from(
        v1::ReceiptEntry::decode(bytes)
            .is_ok_and(|message| required_receipt_from_wire(message.receipt).is_ok()),
    );
    read += usize::from(
        v1::ReleaseRequest::decode(bytes)
            .is_ok_and(|message| release_request_from_wire(message).is_ok()),
    );
    read += usize::from(
        v1::LeaseAnswer::decode(bytes).is_ok_and(|message| answer_from_wire(message).is_ok()),
    );
    read += usize::from(
        v1::GetRequest::decode(bytes)
            .is_ok_and(|message| content_from_wire(&message.content).is_ok()),
    );
    read += usize::from(
        v1::InfoResponse::decode(bytes).is_ok_and(|message| info_from_wire(message).is_ok()),
    );
    read
}

fn good_messages() -> Vec<Vec<u8>> {
    let reason = ReleaseReason::RunEnded { ending: Ending::Stopped };
    let entry = v1::ReceiptEntry { sequence: 1, receipt: Some(wire_receipt()) };
    vec![
        wire_acquire().encode_to_vec(),
        granted(vec![wire_grant()]).encode_to_vec(),
        renew_request_to_wire(&[renewal()]).encode_to_vec(),
        v1::CompleteRequest { receipts: vec![wire_receipt()] }.encode_to_vec(),
        entry.encode_to_vec(),
        release_request_to_wire(&held(), &reason).encode_to_vec(),
        answer_to_wire(LeaseAnswer::Accepted).encode_to_vec(),
    ]
}

#[test]
fn each_good_message_is_read_by_at_least_one_reader() {
    for message in good_messages() {
        assert!(read_as_everything(&message) > 0);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn damaged_good_messages_never_panic_a_reader(
        which in 0usize..7,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = good_messages().swap_remove(which);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        read_as_everything(&bytes);
    }
}
