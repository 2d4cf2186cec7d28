//! `/metrics`: OpenMetrics text.

use axum::extract::State;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::admin::AdminState;
use crate::metrics::CONTENT_TYPE;
use crate::status::unix_now;

pub(super) async fn metrics(State(state): State<AdminState>) -> Response {
    let report = state.reports.borrow().clone();
    match state.metrics.encode(&report, unix_now()) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
