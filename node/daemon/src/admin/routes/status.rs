//! `/status`: the latest report.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::Json;

use crate::admin::AdminState;

pub(super) async fn status(State(state): State<AdminState>) -> Response {
    let report = state.reports.borrow().clone();
    Json(report.as_ref()).into_response()
}
