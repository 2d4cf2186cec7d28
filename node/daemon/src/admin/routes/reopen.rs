//! `POST /leases/reopen`: the operator says that what used up an assignment's attempts is mended.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use node_core::lease::NotReopened;
use node_core::machine::operator::{OperatorAnswer, OperatorRequest};

use super::operator::{ask, refuse};
use crate::admin::operator::ReopenRequest;
use crate::admin::AdminState;

pub(super) async fn reopen(
    State(state): State<AdminState>,
    Json(ReopenRequest { assignment }): Json<ReopenRequest>,
) -> Response {
    match ask(&state, OperatorRequest::Reopen { assignment }).await {
        Ok(OperatorAnswer::Reopened(Ok(reopening))) => Json(reopening).into_response(),
        Ok(OperatorAnswer::Reopened(Err(reason))) => {
            let (status, word) = match reason {
                NotReopened::Unknown => (StatusCode::NOT_FOUND, "unknown"),
                NotReopened::NotExhausted => (StatusCode::CONFLICT, "not_exhausted"),
                NotReopened::Settled => (StatusCode::CONFLICT, "settled"),
                NotReopened::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            };
            refuse(status, word, &reason.to_string())
        }
        Ok(OperatorAnswer::Ordered(_) | OperatorAnswer::Resolved(_)) => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(response) => response,
    }
}
