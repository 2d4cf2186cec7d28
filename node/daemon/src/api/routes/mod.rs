//! The routes, a file per subject.

mod facts;
mod places;
mod submissions;
mod weights;

use std::net::{IpAddr, SocketAddr};

use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use utoipa::OpenApi;

use super::limit::UPLOAD_COST;
use super::schema::Problem;
use super::ApiState;

/// The challenge's name.
const SLUG: &str = "nas";

/// An archive as base64 in JSON, beside its other fields.
const JSON_OVERHEAD: u64 = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(title = "Assay", description = "Submissions of the `nas` challenge at one validator."),
    paths(
        facts::health,
        facts::version,
        facts::epoch,
        submissions::one,
        submissions::of_hotkey,
        submissions::upload,
        submissions::leaderboard,
        places::architectures,
        places::training_variants,
        weights::weights
    )
)]
struct Documentation;

pub(super) fn routes(state: ApiState) -> Router {
    let packed = state.archive.packed_bytes_max;
    let body = usize::try_from(packed / 3 * 4 + JSON_OVERHEAD).unwrap_or(usize::MAX);
    Router::new()
        .route("/health", get(facts::health))
        .route("/version", get(facts::version))
        .route("/openapi.json", get(|| async { Json(Documentation::openapi()) }))
        .route(
            "/v1/submissions",
            post(submissions::upload)
                .layer(DefaultBodyLimit::max(body))
                .get(submissions::of_hotkey),
        )
        .route("/v1/submissions/{id}", get(submissions::one))
        .route("/v1/leaderboard", get(submissions::leaderboard))
        .route("/v1/architectures", get(places::architectures))
        .route("/v1/training-variants", get(places::training_variants))
        .route("/v1/epochs/current", get(facts::epoch))
        .route("/internal/v1/get_weights", get(weights::weights))
        .fallback(|| async {
            refuse(StatusCode::NOT_FOUND, "no_such_route", "`/openapi.json` describes the routes")
        })
        .layer(from_fn_with_state(state.clone(), limit))
        .with_state(state)
}

/// Counts a request for its address, and refuses it if there are too many.
async fn limit(
    State(state): State<ApiState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let address = asked_by(&state, peer, request.headers());
    let cost = if request.method() == Method::POST { UPLOAD_COST } else { 1 };
    if state.limit.allows(address, cost) {
        next.run(request).await
    } else {
        let message = "too many requests from this address; ask again in a minute";
        let mut refused = refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        refused.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("60"));
        refused
    }
}

/// Whose request it is: of the connection, or the last that a trusted proxy named.
fn asked_by(state: &ApiState, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let named = || {
        let all = headers.get_all("x-forwarded-for").iter().next_back()?;
        all.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    state.behind_proxy.then(named).flatten().unwrap_or(peer.ip())
}

fn refuse(status: StatusCode, error: &str, message: &str) -> Response {
    let problem = Problem { error: error.to_owned(), message: message.to_owned() };
    (status, Json(problem)).into_response()
}

/// What stands behind the `?` cannot be read.
fn bad_query(rejection: &QueryRejection) -> Response {
    refuse(StatusCode::BAD_REQUEST, "bad_query", &rejection.body_text())
}

/// The loop does not answer.
fn unavailable() -> Response {
    let message = "the node starts, stops, or has too much to do; ask again";
    refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
}
