//! Which page answers where, and how a page becomes an answer.

use askama::Template;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::Router;
use node_core::id::SubmissionId;
use node_core::unit::UnixMs;

use super::devices::Devices;
use super::epochs::Epochs;
use super::leaderboard::Leaderboard;
use super::missing::Missing;
use super::overview::Overview;
use super::peers::Peers;
use super::submission::OneSubmission;
use super::submissions::{Chosen, Submissions};
use super::{assets, events, guard, PageState};
use crate::status::{unix_now, PublishedReport};

/// The pages' own routes: whoever merges them adds nothing to their answers.
pub(crate) fn routes(state: PageState) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/submissions", get(submissions))
        .route("/submissions/{id}", get(submission))
        .route("/leaderboard", get(leaderboard))
        .route("/devices", get(devices))
        .route("/epochs", get(epochs))
        .route("/peers", get(peers))
        .route("/events", get(events::events))
        .route("/assets/{name}", get(assets::asset))
        .route_layer(from_fn_with_state(state.clone(), guard::only_by_address))
        // Outermost, so that a refusal has the headers too.
        .route_layer(from_fn(guard::headers))
        .with_state(state)
}

/// Lets requests to any of these routes pass only under this machine's own names, where only this
/// machine asks: what pages show is in `/status` too.
pub(crate) fn guarded(routes: Router, state: PageState) -> Router {
    routes.layer(from_fn_with_state(state, guard::only_by_address))
}

impl PageState {
    /// The latest report, and the time.
    fn now(&self) -> (Arc<PublishedReport>, UnixMs) {
        (self.reports.borrow().clone(), unix_now())
    }
}

async fn overview(State(state): State<PageState>) -> Response {
    let epoch_blocks = state.epoch().await.map(|epoch| epoch.length);
    let (report, now) = state.now();
    written(&Overview::of(&report, now, epoch_blocks))
}

async fn submissions(State(state): State<PageState>, Query(chosen): Query<Chosen>) -> Response {
    let (report, now) = state.now();
    written(&Submissions::of(&report, now, &chosen))
}

async fn submission(State(state): State<PageState>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<SubmissionId>() else {
        let (report, now) = state.now();
        return missing(&Missing::of(&report, now, &id));
    };
    let found = state.find(id).await;
    let (report, now) = state.now();
    match OneSubmission::of(&report, now, id, found.told()) {
        Some(page) => written(&page),
        None => match found.unreadable() {
            Some(reason) => {
                let page = Missing::unreadable(&report, now, id, reason);
                (StatusCode::INTERNAL_SERVER_ERROR, written(&page)).into_response()
            }
            None => missing(&Missing::of(&report, now, &id.to_string())),
        },
    }
}

async fn leaderboard(State(state): State<PageState>) -> Response {
    let ranking = state.ranking().await;
    let (report, now) = state.now();
    written(&Leaderboard::of(&report, now, ranking.as_deref()))
}

async fn devices(State(state): State<PageState>) -> Response {
    let (report, now) = state.now();
    let page = Devices::of(&report, now, &state.history.borrow());
    written(&page)
}

async fn epochs(State(state): State<PageState>) -> Response {
    let (report, now) = state.now();
    let vectors = state.vectors().await;
    let page = Epochs::of(&report, now, vectors.as_deref());
    written(&page)
}

async fn peers(State(state): State<PageState>) -> Response {
    let (report, now) = state.now();
    written(&Peers::of(&report, now))
}

fn missing(page: &Missing) -> Response {
    (StatusCode::NOT_FOUND, written(page)).into_response()
}

fn written(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be written\n").into_response()
        }
    }
}
