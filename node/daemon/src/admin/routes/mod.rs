//! The routes, a file each.

mod livez;
mod metrics;
mod readyz;
mod status;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::{from_fn_with_state, Next};
use axum::response::Response;
use axum::routing::get;
use axum::Router;

use super::{AdminState, INSTANCE_HEADER};

pub(super) fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(livez::livez))
        .route("/readyz", get(readyz::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/status", get(status::status))
        .layer(from_fn_with_state(state.clone(), name_instance))
        .with_state(state)
}

/// Puts the instance's name on every answer.
async fn name_instance(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Ok(instance) = HeaderValue::from_str(&state.instance) {
        response.headers_mut().insert(INSTANCE_HEADER, instance);
    }
    response
}
