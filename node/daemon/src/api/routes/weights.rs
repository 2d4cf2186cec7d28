//! Weights for a master that asks for them: of those that are trusted with the token.

use axum::extract::State;
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use sha2::{Digest as _, Sha256};

use super::{refuse, unavailable, SLUG};
use crate::api::schema::Weights;
use crate::api::{Answer, ApiState, Question};

#[utoipa::path(get, path = "/internal/v1/get_weights", responses(
    (status = 200, body = Weights),
    (status = 401, description = "Without the token"),
    (status = 503, description = "The chain was not read yet")
))]
pub(super) async fn weights(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    if !is_trusted(&state, &headers) {
        let message = "send `Authorization: Bearer` with the token of `api.token_file`";
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized", message);
    }
    let Some(Answer::Points(Some(epoch), points)) = state.ask(Question::Points).await else {
        return unavailable();
    };
    let sum: u128 = points.values().map(|points| u128::from(*points)).sum();
    #[allow(clippy::cast_precision_loss, reason = "shares are for a program that reads floats")]
    let share = |points: u64| points as f64 / sum as f64;
    let shares = points.iter().filter(|(_, points)| **points > 0);
    let weights = shares.map(|(hotkey, points)| (hotkey.to_string(), share(*points))).collect();
    Json(Weights { challenge_slug: SLUG, epoch: epoch.index.0, weights }).into_response()
}

/// Compares digests: how long that takes says nothing about the token.
fn is_trusted(state: &ApiState, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|given| given.strip_prefix("Bearer "));
    let Some((given, token)) = given.zip(state.token.as_deref()) else { return false };
    Sha256::digest(given.as_bytes()) == Sha256::digest(token.as_bytes())
}
