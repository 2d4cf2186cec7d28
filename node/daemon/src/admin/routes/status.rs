//! `/status`: the latest report.

use axum::extract::State;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::admin::AdminState;

pub(super) async fn status(State(state): State<AdminState>) -> Response {
    let report = state.reports.borrow().clone();
    match report.json() {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
