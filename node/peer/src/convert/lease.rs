//! Leases, their requests and answers, between the wire and core.

use node_core::assignment::Assignment;
use node_core::id::{AssignmentId, Attempt, ContentDigest, Digest, Hotkey, LeaseId, SubmissionId};
use node_core::inventory::DeviceKind;
use node_core::lease::{
    AcquireRequest, Grant, HeldLease, HeldStage, LeaseAnswer, LeaseRefusal, ReleaseReason, Renewal,
};
use node_core::limits::{LEASES_PER_ACQUIRE_MAX, LEASE_TOTAL_MS_MAX};
use proto::v1;

use super::{at_most, ending, fixed, in_range, required, shown, small, ConvertError};
use crate::limits::RENEW_ITEMS_MAX;

fn device_to_wire(device: DeviceKind) -> v1::DeviceKind {
    match device {
        DeviceKind::CpuSlot => v1::DeviceKind::CpuSlot,
        DeviceKind::Gpu => v1::DeviceKind::Gpu,
        DeviceKind::MigSlice => v1::DeviceKind::MigSlice,
    }
}

fn device_from_wire(device: i32) -> Result<DeviceKind, ConvertError> {
    match v1::DeviceKind::try_from(device) {
        Ok(v1::DeviceKind::CpuSlot) => Ok(DeviceKind::CpuSlot),
        Ok(v1::DeviceKind::Gpu) => Ok(DeviceKind::Gpu),
        Ok(v1::DeviceKind::MigSlice) => Ok(DeviceKind::MigSlice),
        Ok(v1::DeviceKind::Unspecified) | Err(_) => {
            Err(ConvertError::UnknownValue { field: "device", got: device.to_string() })
        }
    }
}

pub(super) fn refusal_from_wire(id: &str) -> Result<LeaseRefusal, ConvertError> {
    LeaseRefusal::from_id(id)
        .ok_or_else(|| ConvertError::UnknownValue { field: "refused", got: shown(id) })
}

pub(crate) fn acquire_request_to_wire(request: &AcquireRequest) -> v1::AcquireRequest {
    v1::AcquireRequest {
        device: device_to_wire(request.device).into(),
        leases_max: request.leases_max,
        image: request.image.0.to_vec(),
        dataset: request.dataset.0.to_vec(),
        policy: request.policy.0.to_vec(),
    }
}

pub(crate) fn acquire_request_from_wire(
    request: &v1::AcquireRequest,
) -> Result<AcquireRequest, ConvertError> {
    Ok(AcquireRequest {
        device: device_from_wire(request.device)?,
        leases_max: request.leases_max,
        image: Digest(fixed("image", &request.image)?),
        dataset: Digest(fixed("dataset", &request.dataset)?),
        policy: Digest(fixed("policy", &request.policy)?),
    })
}

pub(crate) fn acquire_response_to_wire(
    answer: &Result<Vec<Grant>, LeaseRefusal>,
) -> v1::AcquireResponse {
    use v1::acquire_response::Answer;
    let answer = match answer {
        Ok(grants) => {
            Answer::Granted(v1::Grants { grants: grants.iter().map(grant_to_wire).collect() })
        }
        Err(refusal) => Answer::Refused(refusal.id().to_owned()),
    };
    v1::AcquireResponse { answer: Some(answer) }
}

pub(crate) fn acquire_response_from_wire(
    response: v1::AcquireResponse,
) -> Result<Result<Vec<Grant>, LeaseRefusal>, ConvertError> {
    use v1::acquire_response::Answer;
    match required("answer", response.answer)? {
        Answer::Granted(v1::Grants { grants }) => {
            at_most("grants", &grants, LEASES_PER_ACQUIRE_MAX)?;
            grants.into_iter().map(grant_from_wire).collect::<Result<_, _>>().map(Ok)
        }
        Answer::Refused(id) => refusal_from_wire(&id).map(Err),
    }
}

fn assignment_to_wire(assignment: &Assignment) -> v1::Assignment {
    v1::Assignment {
        id: assignment.id.0.to_vec(),
        submission: assignment.submission.0.to_vec(),
        content: assignment.content.0.to_vec(),
        tier: assignment.tier.into(),
        unit: assignment.unit.into(),
        replica: assignment.replica.into(),
        seed: assignment.seed.0.to_vec(),
        policy: assignment.policy.0.to_vec(),
    }
}

fn assignment_from_wire(assignment: &v1::Assignment) -> Result<Assignment, ConvertError> {
    Ok(Assignment {
        id: AssignmentId(fixed("id", &assignment.id)?),
        submission: SubmissionId(fixed("submission", &assignment.submission)?),
        content: ContentDigest(fixed("content", &assignment.content)?),
        tier: small("tier", assignment.tier, u8::MAX.into())?,
        unit: small("unit", assignment.unit, u8::MAX.into())?,
        replica: small("replica", assignment.replica, u8::MAX.into())?,
        seed: Digest(fixed("seed", &assignment.seed)?),
        policy: Digest(fixed("policy", &assignment.policy)?),
    })
}

fn grant_to_wire(grant: &Grant) -> v1::Grant {
    v1::Grant {
        lease: grant.lease.0.to_vec(),
        assignment: Some(assignment_to_wire(&grant.assignment)),
        attempt: grant.attempt.0,
        coordinator: grant.coordinator.0.to_vec(),
        ttl_ms: grant.ttl_ms,
        total_ms: grant.total_ms,
    }
}

fn grant_from_wire(grant: v1::Grant) -> Result<Grant, ConvertError> {
    let total_ms = in_range("total_ms", grant.total_ms, 1, LEASE_TOTAL_MS_MAX)?;
    Ok(Grant {
        lease: LeaseId(fixed("lease", &grant.lease)?),
        assignment: assignment_from_wire(&required("assignment", grant.assignment)?)?,
        attempt: Attempt(grant.attempt),
        coordinator: Hotkey(fixed("coordinator", &grant.coordinator)?),
        ttl_ms: in_range("ttl_ms", grant.ttl_ms, 1, total_ms)?,
        total_ms,
    })
}

pub(super) fn held_to_wire(held: &HeldLease) -> v1::HeldLease {
    v1::HeldLease {
        assignment: held.assignment.0.to_vec(),
        lease: held.lease.0.to_vec(),
        attempt: held.attempt.0,
    }
}

pub(super) fn held_from_wire(held: Option<v1::HeldLease>) -> Result<HeldLease, ConvertError> {
    let held = required("lease", held)?;
    Ok(HeldLease {
        assignment: AssignmentId(fixed("assignment", &held.assignment)?),
        lease: LeaseId(fixed("lease", &held.lease)?),
        attempt: Attempt(held.attempt),
    })
}

fn stage_to_wire(stage: HeldStage) -> v1::HeldStage {
    match stage {
        HeldStage::Preparing => v1::HeldStage::Preparing,
        HeldStage::Running => v1::HeldStage::Running,
        HeldStage::Sealed => v1::HeldStage::Sealed,
    }
}

fn stage_from_wire(stage: i32) -> Result<HeldStage, ConvertError> {
    match v1::HeldStage::try_from(stage) {
        Ok(v1::HeldStage::Preparing) => Ok(HeldStage::Preparing),
        Ok(v1::HeldStage::Running) => Ok(HeldStage::Running),
        Ok(v1::HeldStage::Sealed) => Ok(HeldStage::Sealed),
        Ok(v1::HeldStage::Unspecified) | Err(_) => {
            Err(ConvertError::UnknownValue { field: "stage", got: stage.to_string() })
        }
    }
}

pub(crate) fn renew_request_to_wire(renewals: &[Renewal]) -> v1::RenewRequest {
    let to_wire = |renewal: &Renewal| v1::Renewal {
        lease: Some(held_to_wire(&renewal.held)),
        stage: stage_to_wire(renewal.stage).into(),
    };
    v1::RenewRequest { renewals: renewals.iter().map(to_wire).collect() }
}

pub(crate) fn renew_request_from_wire(
    request: v1::RenewRequest,
) -> Result<Vec<Renewal>, ConvertError> {
    at_most("renewals", &request.renewals, RENEW_ITEMS_MAX)?;
    let from_wire = |renewal: v1::Renewal| {
        let held = held_from_wire(renewal.lease)?;
        Ok(Renewal { held, stage: stage_from_wire(renewal.stage)? })
    };
    request.renewals.into_iter().map(from_wire).collect()
}

pub(crate) fn answer_to_wire(answer: LeaseAnswer) -> v1::LeaseAnswer {
    use v1::lease_answer::Answer;
    let answer = match answer {
        LeaseAnswer::Accepted => Answer::Accepted(v1::Nothing {}),
        LeaseAnswer::AlreadyDone => Answer::AlreadyDone(v1::Nothing {}),
        LeaseAnswer::Refused(refusal) => Answer::Refused(refusal.id().to_owned()),
    };
    v1::LeaseAnswer { answer: Some(answer) }
}

pub(crate) fn answer_from_wire(answer: v1::LeaseAnswer) -> Result<LeaseAnswer, ConvertError> {
    use v1::lease_answer::Answer;
    match required("answer", answer.answer)? {
        Answer::Accepted(v1::Nothing {}) => Ok(LeaseAnswer::Accepted),
        Answer::AlreadyDone(v1::Nothing {}) => Ok(LeaseAnswer::AlreadyDone),
        Answer::Refused(id) => refusal_from_wire(&id).map(LeaseAnswer::Refused),
    }
}

/// The answer that a message with exactly one must carry.
pub(crate) fn required_answer_from_wire(
    answer: Option<v1::LeaseAnswer>,
) -> Result<LeaseAnswer, ConvertError> {
    answer_from_wire(required("answer", answer)?)
}

fn reason_to_wire(reason: &ReleaseReason) -> v1::ReleaseReason {
    use v1::release_reason::Reason;
    let reason = match reason {
        ReleaseReason::NoDevice => Reason::NoDevice(v1::Nothing {}),
        ReleaseReason::ContentMissing => Reason::ContentMissing(v1::Nothing {}),
        ReleaseReason::Declined => Reason::Declined(v1::Nothing {}),
        ReleaseReason::RunEnded { ending } => Reason::RunEnded(ending::to_wire(ending)),
    };
    v1::ReleaseReason { reason: Some(reason) }
}

fn reason_from_wire(reason: Option<v1::ReleaseReason>) -> Result<ReleaseReason, ConvertError> {
    use v1::release_reason::Reason;
    match required("reason", required("reason", reason)?.reason)? {
        Reason::NoDevice(v1::Nothing {}) => Ok(ReleaseReason::NoDevice),
        Reason::ContentMissing(v1::Nothing {}) => Ok(ReleaseReason::ContentMissing),
        Reason::Declined(v1::Nothing {}) => Ok(ReleaseReason::Declined),
        Reason::RunEnded(ending) => {
            ending::from_wire(ending).map(|ending| ReleaseReason::RunEnded { ending })
        }
    }
}

pub(crate) fn release_request_to_wire(
    held: &HeldLease,
    reason: &ReleaseReason,
) -> v1::ReleaseRequest {
    v1::ReleaseRequest { lease: Some(held_to_wire(held)), reason: Some(reason_to_wire(reason)) }
}

pub(crate) fn release_request_from_wire(
    request: v1::ReleaseRequest,
) -> Result<(HeldLease, ReleaseReason), ConvertError> {
    Ok((held_from_wire(request.lease)?, reason_from_wire(request.reason)?))
}
