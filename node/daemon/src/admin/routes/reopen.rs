//! `POST /leases/reopen`: the operator says that what used up an assignment's attempts is mended.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use node_core::lease::NotReopened;
use tokio::sync::oneshot;

use crate::admin::operator::{OperatorCall, OperatorRefusal, ReopenRequest, TOKEN_HEADER};
use crate::admin::AdminState;

/// How long the loop may take. Lower: a slow disk looks like a refusal. Higher: who asks a node
/// that hangs waits for nothing.
const LOOP_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Lets a request pass only with the token of the address file.
pub(super) async fn only_the_operator(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(TOKEN_HEADER);
    let is_operator =
        given.zip(state.token.as_ref()).is_some_and(|(given, token)| token.is(given.as_bytes()));
    if is_operator {
        next.run(request).await
    } else {
        let message = "only who can read `admin.addr` in the data directory may ask for this";
        refuse(StatusCode::FORBIDDEN, "not_the_operator", message)
    }
}

pub(super) async fn reopen(
    State(state): State<AdminState>,
    Json(request): Json<ReopenRequest>,
) -> Response {
    let (answer, answered) = oneshot::channel();
    let call = OperatorCall { assignment: request.assignment, answer };
    let asked = async {
        state.operator.send(call).await.ok()?;
        answered.await.ok()
    };
    match tokio::time::timeout(LOOP_ANSWERS_WITHIN, asked).await {
        Ok(Some(Ok(reopening))) => Json(reopening).into_response(),
        Ok(Some(Err(reason))) => refused(reason),
        Ok(None) => refused(NotReopened::NotReady),
        Err(_) => {
            let message = "the node did not answer in time: it is starting, or waits for its disk";
            refuse(StatusCode::GATEWAY_TIMEOUT, "no_answer", message)
        }
    }
}

fn refused(reason: NotReopened) -> Response {
    let (status, word) = match reason {
        NotReopened::Unknown => (StatusCode::NOT_FOUND, "unknown"),
        NotReopened::NotExhausted => (StatusCode::CONFLICT, "not_exhausted"),
        NotReopened::Settled => (StatusCode::CONFLICT, "settled"),
        NotReopened::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    refuse(status, word, &reason.to_string())
}

fn refuse(status: StatusCode, word: &str, message: &str) -> Response {
    let refusal = OperatorRefusal { refused: word.to_owned(), message: message.to_owned() };
    (status, Json(refusal)).into_response()
}
