//! What only the operator may ask for: how it is let in, and how the loop is asked.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use node_core::machine::operator::{OperatorAnswer, OperatorRequest};
use tokio::sync::oneshot;

use crate::admin::operator::{OperatorCall, OperatorRefusal, TOKEN_HEADER};
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

/// Asks the loop; the answer comes after the change is durable.
///
/// # Errors
///
/// The response that says why there is no answer.
pub(super) async fn ask(
    state: &AdminState,
    request: OperatorRequest,
) -> Result<OperatorAnswer, Response> {
    let (answer, answered) = oneshot::channel();
    let call = OperatorCall { request, answer };
    let asked = async {
        state.operator.send(call).await.ok()?;
        answered.await.ok()
    };
    match tokio::time::timeout(LOOP_ANSWERS_WITHIN, asked).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => {
            let message = "the node is starting or stopping";
            Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message))
        }
        Err(_) => {
            let message = "the node did not answer in time: it is starting, or waits for its disk";
            Err(refuse(StatusCode::GATEWAY_TIMEOUT, "no_answer", message))
        }
    }
}

pub(super) fn refuse(status: StatusCode, word: &str, message: &str) -> Response {
    let refusal = OperatorRefusal { refused: word.to_owned(), message: message.to_owned() };
    (status, Json(refusal)).into_response()
}
