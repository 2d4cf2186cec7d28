//! `POST /store/verify`: reads every row and every line of the journal, for one who asks at a time.
//!
//! It goes on when whoever asked has hung up, and until then nobody else is let in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Json;

use super::operator::refuse;
use crate::admin::AdminState;
use crate::run::describe;

pub(super) async fn verify(State(state): State<AdminState>) -> Response {
    let Some(door) = state.store else {
        let message = "the node is starting, and has no store yet";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message);
    };
    let Some(claim) = door.claim_look() else {
        let message = "the store is being read through already; ask again when that is done";
        return refuse(StatusCode::CONFLICT, "busy", message);
    };
    match tokio::task::spawn_blocking(move || door.look_through(claim)).await {
        Ok(Ok(summary)) => Json(summary).into_response(),
        Ok(Err(error)) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &describe(&error))
        }
        Err(_) => {
            let message = "the thread that reads the store died; the node's log says why";
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use node_core::policy::Policy;
    use node_store::Store;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::admin::store::StoreDoor;
    use crate::admin::OperatorRefusal;
    use crate::metrics::Metrics;
    use crate::status::sample;

    fn state(dir: &Path) -> AdminState {
        let (store, _) = Store::open(dir).unwrap();
        let policy = Arc::new(Policy::dev());
        AdminState {
            reports: watch::channel(Arc::new(sample::healthy().into())).1,
            metrics: Arc::new(Metrics::new()),
            instance: Arc::from("1-2"),
            operator: mpsc::channel(1).0,
            token: None,
            store: Some(StoreDoor::new(Arc::new(store), dir.to_owned(), policy)),
        }
    }

    async fn refusal(response: Response) -> OperatorRefusal {
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_second_look_is_refused_until_the_first_has_ended_whoever_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let first = state.store.as_ref().unwrap().claim_look().unwrap();
        let second = verify(State(state.clone())).await;
        assert_eq!(second.status(), StatusCode::CONFLICT);
        let refusal = refusal(second).await;
        assert_eq!(refusal.refused, "busy");
        assert!(refusal.message.contains("ask again"), "{}", refusal.message);
        drop(first);
        // Each gives its claim back.
        for _ in 0..2 {
            assert_eq!(verify(State(state.clone())).await.status(), StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn a_node_that_starts_has_nothing_to_look_through() {
        let dir = tempfile::tempdir().unwrap();
        let state = AdminState { store: None, ..state(dir.path()) };
        let response = verify(State(state)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refusal(response).await.refused, "not_ready");
    }
}
