//! What the service is, and where the subnet stands.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Json;

use super::{unavailable, SLUG};
use crate::api::schema::{EpochAnswer, Health, Version};
use crate::api::{Answer, ApiState, Question};

#[utoipa::path(get, path = "/health", responses(
    (status = 200, description = "It works", body = Health),
    (status = 503, description = "The chain was not read yet", body = Health)
))]
pub(super) async fn health(State(state): State<ApiState>) -> Response {
    let is_ready = matches!(state.ask(Question::Health).await, Some(Answer::Health(true)));
    let (code, status) = match is_ready {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
    };
    (code, Json(Health { status, slug: SLUG })).into_response()
}

#[utoipa::path(get, path = "/version", responses((status = 200, body = Version)))]
pub(super) async fn version() -> Json<Version> {
    Json(Version {
        slug: SLUG,
        version: env!("CARGO_PKG_VERSION"),
        api_version: "1.0",
        capabilities: ["get_weights", "proxy_routes"],
    })
}

#[utoipa::path(get, path = "/v1/epochs/current", responses(
    (status = 200, body = EpochAnswer),
    (status = 503, description = "The chain was not read yet")
))]
pub(super) async fn epoch(State(state): State<ApiState>) -> Response {
    match state.ask(Question::Epoch).await {
        Some(Answer::Epoch(Some(epoch))) => Json(EpochAnswer::from(epoch)).into_response(),
        _ => unavailable(),
    }
}
