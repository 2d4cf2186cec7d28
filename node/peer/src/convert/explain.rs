//! How a submission stands at a node, between the wire and core.

use node_core::id::{AssignmentId, Attempt, Hotkey, SubmissionId};
use node_core::lease::{Explanation, ReplicaStanding};
use node_core::limits::{DETAIL_CHARS_MAX, RECEIPTS_PER_SUBMISSION_MAX, REPLICA_NUMBERS_MAX};
use proto::v1;

use super::{at_most, fixed, in_range, paragraph, small, ConvertError};

pub(crate) fn explain_request_to_wire(submission: &SubmissionId) -> v1::ExplainRequest {
    v1::ExplainRequest { submission: submission.0.to_vec() }
}

pub(crate) fn explain_request_from_wire(
    request: &v1::ExplainRequest,
) -> Result<SubmissionId, ConvertError> {
    fixed("submission", &request.submission).map(SubmissionId)
}

pub(crate) fn explanation_to_wire(explanation: &Explanation) -> v1::ExplainResponse {
    let to_wire = |replica: &ReplicaStanding| v1::ReplicaStanding {
        assignment: replica.assignment.0.to_vec(),
        replica: replica.replica.into(),
        attempt: replica.attempt.0,
        holder: replica.holder.map(|holder| holder.0.to_vec()),
        state: replica.state.clone(),
    };
    v1::ExplainResponse {
        summary: explanation.summary.clone(),
        replicas: explanation.replicas.iter().map(to_wire).collect(),
        claims: explanation.claims.iter().map(|worker| worker.0.to_vec()).collect(),
        required: explanation.required,
    }
}

pub(crate) fn explanation_from_wire(
    response: v1::ExplainResponse,
) -> Result<Explanation, ConvertError> {
    at_most("replicas", &response.replicas, REPLICA_NUMBERS_MAX.into())?;
    at_most("claims", &response.claims, RECEIPTS_PER_SUBMISSION_MAX)?;
    in_range("required", response.required.into(), 0, u8::MAX.into())?;
    let claims = response.claims.iter().map(|worker| fixed("claims", worker).map(Hotkey));
    let replicas = response.replicas.into_iter().map(replica_from_wire);
    Ok(Explanation {
        summary: paragraph("summary", response.summary, DETAIL_CHARS_MAX)?,
        replicas: replicas.collect::<Result<_, _>>()?,
        claims: claims.collect::<Result<_, _>>()?,
        required: response.required,
    })
}

fn replica_from_wire(replica: v1::ReplicaStanding) -> Result<ReplicaStanding, ConvertError> {
    let holder = replica.holder.map(|holder| fixed("holder", &holder).map(Hotkey));
    Ok(ReplicaStanding {
        assignment: AssignmentId(fixed("assignment", &replica.assignment)?),
        replica: small("replica", replica.replica, u8::MAX.into())?,
        attempt: Attempt(replica.attempt),
        holder: holder.transpose()?,
        state: paragraph("state", replica.state, DETAIL_CHARS_MAX)?,
    })
}
