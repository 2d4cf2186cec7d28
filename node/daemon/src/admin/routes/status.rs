//! `/status`: the latest report.

use axum::extract::State;
use axum::Json;

use crate::admin::AdminState;
use crate::status::StatusReport;

pub(super) async fn status(State(state): State<AdminState>) -> Json<StatusReport> {
    Json(state.reports.borrow().clone())
}
