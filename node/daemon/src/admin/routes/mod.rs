//! The routes, a file each.

mod backup;
mod frozen;
mod livez;
mod metrics;
mod operator;
mod order;
mod readyz;
mod reopen;
mod resolve;
mod status;
mod verify;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderValue;
use axum::middleware::{from_fn_with_state, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::Router;

use super::{AdminState, INSTANCE_HEADER};
use crate::page::{self, PageState};

/// Bytes of what the operator sends: an id, and a reason of a sentence or two.
const BODY_BYTES_MAX: usize = 2048;

pub(super) fn routes(state: AdminState, page: PageState) -> Router {
    let operator = Router::new()
        .route("/leases/reopen", post(reopen::reopen))
        .route("/devices/order", post(order::order))
        .route("/submissions/resolve", post(resolve::resolve))
        .route("/store/backup", post(backup::backup))
        .route("/store/verify", post(verify::verify))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(from_fn_with_state(state.clone(), operator::only_the_operator));
    let routes = Router::new()
        .route("/livez", get(livez::livez))
        .route("/readyz", get(readyz::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/status", get(status::status))
        .route("/frozen/{submission}", get(frozen::frozen))
        .merge(operator)
        .with_state(state.clone())
        .merge(page::routes(page.clone()));
    page::guarded(routes, page).layer(from_fn_with_state(state, name_instance))
}

/// Puts the instance's name on every answer.
async fn name_instance(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Ok(instance) = HeaderValue::from_str(&state.instance) {
        response.headers_mut().insert(INSTANCE_HEADER, instance);
    }
    response
}
