//! Which architectures and recipes are in the running.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use serde::Deserialize;

use super::{bad_query, unavailable};
use crate::api::schema::{self, ArchitectureAnswer, TrainingVariantAnswer};
use crate::api::{Answer, ApiState, Question};

/// Entries of one answer at most.
const LIMIT_MAX: usize = 256;

/// How many are asked for, and of what.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    limit: Option<usize>,
    architecture_id: Option<String>,
}

impl Asked {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX)
    }
}

#[utoipa::path(get, path = "/v1/architectures", params(
    ("limit" = Option<usize>, Query, description = "How many at most; 256 without it")
), responses((status = 200, body = Vec<ArchitectureAnswer>)))]
pub(super) async fn architectures(
    State(state): State<ApiState>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return bad_query(&rejection),
    };
    match state.ask(Question::Places).await {
        Some(Answer::Places(places)) => {
            Json(schema::architectures(&places, asked.limit())).into_response()
        }
        _ => unavailable(),
    }
}

#[utoipa::path(get, path = "/v1/training-variants", params(
    ("architecture_id" = Option<String>, Query, description = "Those of this one alone"),
    ("limit" = Option<usize>, Query, description = "How many at most; 256 without it")
), responses((status = 200, body = Vec<TrainingVariantAnswer>)))]
pub(super) async fn training_variants(
    State(state): State<ApiState>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return bad_query(&rejection),
    };
    match state.ask(Question::Places).await {
        Some(Answer::Places(places)) => {
            let architecture = asked.architecture_id.as_deref();
            let told = schema::training_variants(&places, architecture, asked.limit());
            Json(told).into_response()
        }
        _ => unavailable(),
    }
}
