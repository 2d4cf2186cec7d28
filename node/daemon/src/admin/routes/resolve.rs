//! `POST /submissions/resolve`: the operator decides about a submission that is held.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use node_core::hold::NotResolved;
use node_core::machine::operator::{OperatorAnswer, OperatorRequest};

use super::operator::{ask, refuse};
use crate::admin::operator::ResolveRequest;
use crate::admin::AdminState;

pub(super) async fn resolve(
    State(state): State<AdminState>,
    Json(ResolveRequest { submission, resolution }): Json<ResolveRequest>,
) -> Response {
    match ask(&state, OperatorRequest::Resolve { submission, resolution }).await {
        Ok(OperatorAnswer::Resolved(Ok(submission))) => Json(submission).into_response(),
        Ok(OperatorAnswer::Resolved(Err(reason))) => {
            let status = match reason {
                NotResolved::Unknown => StatusCode::NOT_FOUND,
                NotResolved::NotHeld | NotResolved::NoArchitecture => StatusCode::CONFLICT,
                NotResolved::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            };
            refuse(status, reason.name(), &reason.to_string())
        }
        Ok(OperatorAnswer::Reopened(_) | OperatorAnswer::Ordered(_)) => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(response) => response,
    }
}
