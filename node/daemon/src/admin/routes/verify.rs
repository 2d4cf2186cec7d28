//! `POST /store/verify`: reads every row and every line of the journal.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Json;

use super::operator::refuse;
use crate::admin::AdminState;
use crate::run::describe;

pub(super) async fn verify(State(state): State<AdminState>) -> Response {
    let Some(door) = state.store else {
        let message = "the node is starting, and has no store yet";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message);
    };
    match tokio::task::spawn_blocking(move || door.look_through()).await {
        Ok(Ok(summary)) => Json(summary).into_response(),
        Ok(Err(error)) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &describe(&error))
        }
        Err(_) => {
            let message = "the thread that reads the store died; the node's log says why";
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", message)
        }
    }
}
