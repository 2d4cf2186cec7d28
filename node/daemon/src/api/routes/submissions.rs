//! Submissions: how they stand, who leads, and where miners leave archives.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use base64::Engine as _;
use node_core::admission::Verdict;
use node_core::commitment::{Commitment, Location};
use node_core::id::{ContentDigest, Hotkey, Signature, SignatureVerifier as _, SubmissionId};
use node_evaluator::archive::{content_digest, read_archive};
use node_peer::Sr25519Verifier;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{bad_query, refuse, unavailable};
use crate::api::schema::{self, Leaderboard, SubmissionAnswer, SubmissionsAnswer, Uploaded};
use crate::api::{Answer, ApiState, Question};
use crate::freezer::Thawed;

/// How old a signature may be, seconds either way. Lower: clocks that are a little off are refused.
/// Higher: what somebody recorded can be sent again for longer, to no effect but its own cost.
const SIGNED_WITHIN_S: u64 = 300;

#[utoipa::path(get, path = "/v1/submissions/{id}", responses(
    (status = 200, body = SubmissionAnswer),
    (status = 404, description = "No such submission"),
    (status = 500, description = "What was put away cannot be read")
))]
pub(super) async fn one(State(state): State<ApiState>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<SubmissionId>() else {
        let message = "a submission's id has 64 hexadecimal digits";
        return refuse(StatusCode::BAD_REQUEST, "bad_id", message);
    };
    match state.ask(Question::Submission(id)).await {
        Some(Answer::Submission(Some(mut known))) => {
            state.recall(&mut known).await;
            Json(schema::submission(*known)).into_response()
        }
        Some(Answer::Submission(None)) => past(&state, id).await,
        _ => unavailable(),
    }
}

/// What was put away of one that the loop does not know.
async fn past(state: &ApiState, id: SubmissionId) -> Response {
    match state.freezer.of(id).await {
        Ok(Thawed { at: Some(at), submission: Some(past), .. }) => {
            Json(schema::past(past.account, at)).into_response()
        }
        Ok(_) => {
            let message = "this validator has not seen its commitment in a finalized block";
            refuse(StatusCode::NOT_FOUND, "unknown", message)
        }
        Err(reason) => {
            // Of the operator's disk: the public learns that there is one, and no more.
            tracing::error!(reason, "what was put away cannot be read");
            let message = "this validator cannot read what it put away; its operator finds why in \
                           its log. Ask another validator";
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", message)
        }
    }
}

/// Whose submissions are asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Whose {
    hotkey: Option<String>,
}

#[utoipa::path(get, path = "/v1/submissions", params(
    ("hotkey" = String, Query, description = "The miner's address")
), responses(
    (status = 200, description = "The latest commitment first", body = SubmissionsAnswer),
    (status = 400, description = "Without an address of a hotkey")
))]
pub(super) async fn of_hotkey(
    State(state): State<ApiState>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Response {
    let whose = match whose {
        Ok(Query(whose)) => whose,
        Err(rejection) => return bad_query(&rejection),
    };
    let Some(Ok(hotkey)) = whose.hotkey.map(|text| text.parse::<Hotkey>()) else {
        let message = "ask with `?hotkey=` and the address of a hotkey";
        return refuse(StatusCode::BAD_REQUEST, "bad_hotkey", message);
    };
    match state.ask(Question::OfHotkey(hotkey)).await {
        Some(Answer::OfHotkey(known)) => {
            let submissions = known.into_iter().map(schema::submission).collect();
            Json(SubmissionsAnswer { submissions }).into_response()
        }
        _ => unavailable(),
    }
}

#[utoipa::path(get, path = "/v1/leaderboard", responses((status = 200, body = Leaderboard)))]
pub(super) async fn leaderboard(State(state): State<ApiState>) -> Response {
    match state.ask(Question::Leaderboard).await {
        Some(Answer::Leaderboard(epoch, ranked)) => {
            Json(schema::leaderboard(epoch, &ranked)).into_response()
        }
        _ => unavailable(),
    }
}

/// The body that PRISM's clients send; others send the ZIP itself.
#[derive(Deserialize)]
struct Packed {
    code: String,
}

/// Why an upload was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(
        "send `X-Hotkey`, `X-Signature`, `X-Nonce` and `X-Timestamp`: {0} is missing or wrong"
    )]
    Header(&'static str),
    #[error("`X-Timestamp` is more than {SIGNED_WITHIN_S} s from this node's clock")]
    Stale,
    #[error(
        "the signature is not that of the hotkey under \
         `prism:<hotkey>:<nonce>:<timestamp>:<sha256 of the body, hex>`"
    )]
    Signature,
    #[error("the body is neither a ZIP nor JSON with a ZIP in base64 as `code`")]
    Body,
}

#[utoipa::path(post, path = "/v1/submissions", responses(
    (status = 200, description = "The archive is kept until it is committed", body = Uploaded),
    (status = 400, description = "The request is not well formed"),
    (status = 401, description = "The signature is wrong or too old"),
    (status = 403, description = "The hotkey is not registered, or a validator's"),
    (status = 422, description = "It is no archive that can be read within the limits")
))]
pub(super) async fn upload(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let hotkey = match check_signature(&headers, &body) {
        Ok(hotkey) => hotkey,
        Err(error @ NotTaken::Header(_)) => {
            return refuse(StatusCode::BAD_REQUEST, "bad_headers", &error.to_string());
        }
        Err(error) => return refuse(StatusCode::UNAUTHORIZED, "unsigned", &error.to_string()),
    };
    match state.ask(Question::Upload(hotkey)).await {
        Some(Answer::Upload(Ok(()))) => {}
        Some(Answer::Upload(Err(refused))) => {
            return refuse(StatusCode::FORBIDDEN, "not_a_miner", &refused.to_string());
        }
        _ => return unavailable(),
    }
    let Ok(bytes) = archive_in(&headers, &body) else {
        return refuse(StatusCode::BAD_REQUEST, "bad_body", &NotTaken::Body.to_string());
    };
    take(&state, bytes).await
}

async fn take(state: &ApiState, bytes: Vec<u8>) -> Response {
    let (limits, gates) = (state.archive.clone(), Arc::clone(&state.gates));
    let judged = tokio::task::spawn_blocking(move || {
        let archive = read_archive(&bytes, &limits)?;
        let content = content_digest(&archive.files);
        let (verdict, _) = node_evaluator::admit::admit(&bytes, &content, &gates);
        Ok((bytes, content, u32::try_from(archive.files.len()).unwrap_or(u32::MAX), verdict))
    });
    let (bytes, content, files, verdict) = match judged.await {
        Ok(Ok(judged)) => judged,
        Ok(Err(rejection)) => {
            let rejection: node_core::admission::Rejection = rejection;
            let (rule, said) = (rejection.rule.id(), rejection.to_string());
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, rule, &said);
        }
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    if let Err(error) = state.uploads.keep(&content, bytes).await {
        tracing::error!(%error, "an uploaded archive cannot be kept");
        return refuse(StatusCode::INSUFFICIENT_STORAGE, "not_kept", "the node cannot store it");
    }
    Json(uploaded(content, files, verdict)).into_response()
}

fn uploaded(content: ContentDigest, files: u32, verdict: Verdict) -> Uploaded {
    let problem = match verdict {
        Verdict::Admitted { .. } => None,
        Verdict::Rejected { rejection } => Some(rejection.to_string()),
    };
    Uploaded {
        code_hash: content.to_string(),
        commitment: Commitment { content, location: Location::Peers }.to_string(),
        files,
        admitted: problem.is_none(),
        problem,
    }
}

fn archive_in(headers: &HeaderMap, body: &Bytes) -> Result<Vec<u8>, NotTaken> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/json")) {
        let packed: Packed = serde_json::from_slice(body).map_err(|_| NotTaken::Body)?;
        let decoded = base64::engine::general_purpose::STANDARD.decode(packed.code);
        decoded.map_err(|_| NotTaken::Body)
    } else {
        Ok(body.to_vec())
    }
}

/// Whose upload it is. Sent again by somebody else it does the same, so no nonce is remembered.
fn check_signature(headers: &HeaderMap, body: &Bytes) -> Result<Hotkey, NotTaken> {
    let text = |name: &'static str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.filter(|value| value.len() <= 256).ok_or(NotTaken::Header(name))
    };
    let (hotkey, nonce) = (text("x-hotkey")?, text("x-nonce")?);
    let (timestamp, signature) = (text("x-timestamp")?, text("x-signature")?);
    let signer: Hotkey = hotkey.parse().map_err(|_| NotTaken::Header("x-hotkey"))?;
    let signed_at: u64 = timestamp.parse().map_err(|_| NotTaken::Header("x-timestamp"))?;
    let mut bytes = [0; 64];
    hex::decode_to_slice(signature.strip_prefix("0x").unwrap_or(signature), &mut bytes)
        .map_err(|_| NotTaken::Header("x-signature"))?;
    let now = crate::run::unix_now().0 / 1_000;
    if now.abs_diff(signed_at) > SIGNED_WITHIN_S {
        return Err(NotTaken::Stale);
    }
    let digest = hex::encode(Sha256::digest(body));
    let message = format!("prism:{hotkey}:{nonce}:{timestamp}:{digest}");
    if Sr25519Verifier.is_valid(&signer, message.as_bytes(), &Signature(bytes)) {
        Ok(signer)
    } else {
        Err(NotTaken::Signature)
    }
}
