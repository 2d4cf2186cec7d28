//! `POST /store/backup`: a copy of everything that the node knows, as JSON lines.
//!
//! It comes as it is read, so a store of any size takes the same memory. Whoever takes it knows by
//! its last line whether it is whole.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::mpsc;

use super::operator::refuse;
use crate::admin::store::{Pipe, PIECES_WAITING_MAX};
use crate::admin::AdminState;
use crate::run::describe;

pub(super) async fn backup(State(state): State<AdminState>) -> Response {
    let not_ready = || {
        let message = "the node is starting, and has nothing yet that could be copied";
        refuse(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
    };
    let Some(door) = state.store else { return not_ready() };
    let head = match door.head() {
        Ok(Some(head)) => head,
        Ok(None) => return not_ready(),
        Err(error) => {
            let message = describe(&error);
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &message);
        }
    };
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let pipe = Pipe::new(sender);
    tokio::task::spawn_blocking(move || door.copy(&head, pipe));
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response()
}
