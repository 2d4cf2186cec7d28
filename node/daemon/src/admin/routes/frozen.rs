//! `/frozen/{submission}`: what was put away of one that left the chain.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use node_core::id::SubmissionId;

use super::operator::refuse;
use crate::admin::AdminState;
use crate::status::FrozenStatus;

pub(super) async fn frozen(State(state): State<AdminState>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<SubmissionId>() else {
        let message = "a submission's id has 64 hexadecimal digits";
        return refuse(StatusCode::BAD_REQUEST, "bad_id", message);
    };
    let Some(door) = state.store else {
        let message = "the node is starting, and has no store yet";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message);
    };
    match door.freezer().of(id).await {
        Ok(thawed) => Json(FrozenStatus::of(id, &thawed)).into_response(),
        Err(reason) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &reason),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;
    use std::sync::Arc;

    use node_core::policy::Policy;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::admin::store::StoreDoor;
    use crate::admin::OperatorRefusal;
    use crate::freezer::sample as past;
    use crate::metrics::Metrics;
    use crate::status::sample;

    fn state(dir: &FilePath) -> AdminState {
        let (store, policy) = (Arc::new(past::store(dir)), Arc::new(Policy::dev()));
        AdminState {
            reports: watch::channel(Arc::new(sample::healthy().into())).1,
            metrics: Arc::new(Metrics::new()),
            instance: Arc::from("1-2"),
            operator: mpsc::channel(1).0,
            token: None,
            store: Some(StoreDoor::new(store, dir.to_owned(), policy)),
        }
    }

    async fn ask(state: AdminState, id: SubmissionId) -> (StatusCode, Vec<u8>) {
        let response = frozen(State(state), Path(id.to_string())).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, body.to_vec())
    }

    #[tokio::test]
    async fn what_was_put_away_is_told_with_its_submission_and_what_was_decided() {
        let dir = tempfile::tempdir().unwrap();
        let id = past::submission().id;
        let (status, body) = ask(state(dir.path()), id).await;
        assert_eq!(status, StatusCode::OK);
        let told: FrozenStatus = serde_json::from_slice(&body).unwrap();
        assert_eq!(told, FrozenStatus::of(id, &past::thawed()));
        let known = told.known.unwrap();
        assert_eq!((known.id, known.points), (id, Some(250_000_000)));
        assert_eq!((told.receipts.len(), told.outcomes.len()), (1, 2));
        assert_eq!(told.explanation.unwrap().summary, past::submission().state.to_string());
    }

    #[tokio::test]
    async fn nothing_was_put_away_of_one_that_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let (status, body) = ask(state(dir.path()), SubmissionId([0xee; 32])).await;
        assert_eq!(status, StatusCode::OK);
        let told: FrozenStatus = serde_json::from_slice(&body).unwrap();
        assert_eq!((told.at, told.known, told.receipts.len()), (None, None, 0));
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_an_error_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        past::damage(dir.path());
        let (status, body) = ask(state, past::submission().id).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let refusal: OperatorRefusal = serde_json::from_slice(&body).unwrap();
        assert_eq!(refusal.refused, "unreadable");
        assert!(refusal.message.contains("cannot read the freezer"), "{}", refusal.message);
    }
}
