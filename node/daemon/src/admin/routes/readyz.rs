//! `/readyz`: whether the node does its work, and what is wrong.

use axum::extract::State;
use axum::http::StatusCode;
use axum::Json;

use crate::admin::AdminState;
use crate::status::{unix_now, Readiness};

pub(super) async fn readyz(State(state): State<AdminState>) -> (StatusCode, Json<Readiness>) {
    let readiness = state.reports.borrow().readiness_at(unix_now());
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness))
}
