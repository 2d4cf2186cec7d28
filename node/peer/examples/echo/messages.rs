//! Messages as large as those that a worker and its coordinator exchange.

use proto::v1;

/// Points of a receipt's loss curve: a run of the development policy has as many batches.
const CURVE_POINTS: u32 = 195;

fn id() -> Vec<u8> {
    vec![0x5a; 32]
}

pub(crate) fn acquire(leases_max: u32) -> v1::AcquireRequest {
    v1::AcquireRequest { device: 1, leases_max, image: id(), dataset: id(), policy: id() }
}

pub(crate) fn grants(count: u32) -> v1::AcquireResponse {
    let assignment = || v1::Assignment {
        id: id(),
        submission: id(),
        content: id(),
        tier: 1,
        unit: 0,
        replica: 0,
        seed: id(),
        policy: id(),
    };
    let grant = |_| v1::Grant {
        lease: id(),
        assignment: Some(assignment()),
        attempt: 1,
        coordinator: id(),
        ttl_ms: 60_000,
        total_ms: 14_400_000,
    };
    let grants = v1::Grants { grants: (0..count).map(grant).collect() };
    v1::AcquireResponse { answer: Some(v1::acquire_response::Answer::Granted(grants)) }
}

pub(crate) fn seals(count: usize) -> v1::SealRequest {
    let lease = || v1::HeldLease { assignment: id(), lease: id(), attempt: 1 };
    let seal = |_| v1::Seal {
        lease: Some(lease()),
        worker: id(),
        result: id(),
        signature: vec![0x5a; 64],
    };
    v1::SealRequest { seals: (0..count).map(seal).collect() }
}

pub(crate) fn reveals(request: v1::SealRequest) -> v1::SealResponse {
    use v1::hold_answer::Answer;
    let reveal = |seal| Answer::Reveal(v1::Seals { seals: vec![seal] });
    let answers =
        request.seals.into_iter().map(|seal| v1::HoldAnswer { answer: Some(reveal(seal)) });
    v1::SealResponse { answers: answers.collect() }
}

pub(crate) fn receipts(count: usize) -> v1::CompleteRequest {
    let receipt = |_| v1::Receipt { evidence: Some(evidence()), signature: vec![0x5a; 64] };
    v1::CompleteRequest { receipts: (0..count).map(receipt).collect() }
}

pub(crate) fn accepted(request: &v1::CompleteRequest) -> v1::CompleteResponse {
    use v1::lease_answer::Answer;
    let answer = |_: &_| v1::LeaseAnswer { answer: Some(Answer::Accepted(v1::Nothing {})) };
    v1::CompleteResponse { answers: request.receipts.iter().map(answer).collect() }
}

fn evidence() -> v1::Evidence {
    v1::Evidence {
        genesis: id(),
        netuid: 7,
        assignment: id(),
        submission: id(),
        tier: 1,
        unit: 0,
        content: id(),
        lease: id(),
        attempt: 1,
        run: id(),
        coordinator: id(),
        worker: id(),
        policy: id(),
        dataset: id(),
        image: id(),
        device: "cpu_slot (one CPU)".to_owned(),
        ending: Some(v1::Ending { ending: Some(v1::ending::Ending::Completed(v1::Nothing {})) }),
        metrics: Some(v1::Metrics {
            sum_nll_nanonats: 400_000_000_000_000,
            covered_bytes: 200_000,
            tokens: 200_000,
            batches: CURVE_POINTS,
            bad_batches: 0,
            audits: 5,
            step0_loss_nanonats: 5_545_177_444,
            vocabulary: 256,
            heldout_init_nanobpb: 8_000_000_000,
            heldout_nanobpb: 2_000_000_000,
            last_tenth_nanobpb: 2_000_000_000,
            parameters: 1_000_000,
            peak_memory_bytes: 100 << 20,
            loss_curve_microbpb: (0..CURVE_POINTS).map(|n| 8_000_000 - n * 30_000).collect(),
            ..v1::Metrics::default()
        }),
        started_at_unix_ms: 1_700_000_000_000,
        ended_at_unix_ms: 1_700_000_060_000,
        salt: id(),
        coordinator_sealed: Vec::new(),
        shown_before: Vec::new(),
    }
}
